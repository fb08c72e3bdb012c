//! Events and actions told to a webhook and by syslog.
