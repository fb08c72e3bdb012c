//! Elastic load balancing: how many replicas a swarm service should have.
