//! Links of nodes, and the shortest ways through them.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Topology;
use super::definition::Definition;

/// For each node its links and the nodes at their other ends, in the order of the links' names.
struct Neighbours(Vec<Vec<(u32, u32)>>);

/// How a node is reached from another one.
#[derive(Clone, Copy)]
struct Reached {
    /// Links on the way.
    hops: usize,
    /// The last link, and the node before it; `None` at the start.
    by: Option<(u32, u32)>,
}

impl Neighbours {
    fn of(definition: &Definition) -> Self {
        let mut neighbours = vec![Vec::new(); definition.nodes.len()];
        for (number, link) in (0..).zip(&definition.links) {
            let [(one, _), (other, _)] = &link.ends;
            for (from, to) in [(*one, *other), (*other, *one)] {
                if let Some(links) = neighbours.get_mut(from as usize) {
                    links.push((number, to));
                }
            }
        }
        Self(neighbours)
    }

    /// For each node how it is reached; `None` where it is not.
    fn distances(&self, from: u32) -> Vec<Option<Reached>> {
        let mut found = vec![None; self.0.len()];
        let mut next = VecDeque::from([from]);
        if let Some(start) = found.get_mut(from as usize) {
            *start = Some(Reached { hops: 0, by: None });
        }
        while let Some(node) = next.pop_front() {
            let hops = found.get(node as usize).copied().flatten().map_or(0, |reached| reached.hops);
            for (link, to) in self.0.get(node as usize).into_iter().flatten() {
                if let Some(place @ None) = found.get_mut(*to as usize) {
                    *place = Some(Reached { hops: hops + 1, by: Some((*link, node)) });
                    next.push_back(*to);
                }
            }
        }
        found
    }
}

impl Topology {
    /// The links of a node, in the order of their names; `None` where there is no such node.
    pub fn links_of(&self, node: &str) -> Option<Vec<Arc<str>>> {
        let definition = self.definition.as_ref()?;
        let node = definition.nodes.get(definition.node(node)? as usize)?;
        let mut links: Vec<u32> = node.ports.values().filter_map(|port| port.link).collect();
        links.sort_unstable();
        links.dedup();
        Some(
            links
                .into_iter()
                .filter_map(|link| definition.links.get(link as usize))
                .map(|link| Arc::clone(&link.name))
                .collect(),
        )
    }

    /// The links of a shortest way between two nodes: the first one of several by the order of names. `None` where there
    /// is none.
    pub fn path(&self, from: &str, to: &str) -> Option<Vec<Arc<str>>> {
        let definition = self.definition.as_ref()?;
        let (from, mut at) = (definition.node(from)?, definition.node(to)?);
        let found = Neighbours::of(definition).distances(from);
        let mut path = Vec::new();
        while let Some((link, before)) = (*found.get(at as usize)?)?.by {
            path.push(Arc::clone(&definition.links.get(link as usize)?.name));
            at = before;
        }
        path.reverse();
        Some(path)
    }

    /// The links of the longest of all shortest ways. It looks from every node: for a fabric of a thousand switches that is
    /// a few tenths of a second.
    pub fn diameter(&self) -> usize {
        let Some(definition) = &self.definition else { return 0 };
        let neighbours = Neighbours::of(definition);
        let nodes = 0..definition.nodes.len() as u32;
        let furthest =
            |node| neighbours.distances(node).into_iter().flatten().map(|reached| reached.hops).max();
        nodes.filter_map(furthest).max().unwrap_or(0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::tests::topology;
    use super::*;
    use serde_json::json;

    #[test]
    fn ways_are_short_and_always_the_same() {
        let link = |a: &str, p: u32, b: &str, q: u32| json!({"node1": a, "port1": p, "node2": b, "port2": q});
        let topology = topology(
            &json!({"links": {
                "a1": link("leaf1", 1, "spine1", 1), "a2": link("leaf1", 2, "spine2", 1),
                "b1": link("leaf2", 1, "spine1", 2), "b2": link("leaf2", 2, "spine2", 2),
                "c1": link("leaf3", 1, "spine1", 3), "alone": link("x", 1, "y", 1),
            }}),
            Vec::new(),
        );
        let path = |from: &str, to: &str| {
            topology
                .path(from, to)
                .map(|links| links.iter().map(|link| link.to_string()).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(path("leaf1", "leaf2").as_deref(), Some("a1 b1"));
        assert_eq!(path("leaf1", "leaf1").as_deref(), Some(""));
        assert_eq!(path("spine2", "leaf3").as_deref(), Some("a2 a1 c1"));
        assert_eq!((path("leaf1", "x"), path("leaf1", "nosuch")), (None, None));
        let links = |node: &str| topology.links_of(node).map(|links| links.len());
        assert_eq!((links("leaf1"), links("leaf3"), links("nosuch")), (Some(2), Some(1), None));
        assert_eq!((topology.diameter(), Topology::default().diameter()), (3, 0));
    }
}
