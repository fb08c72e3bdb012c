//! Links of nodes, the shortest way between two of them, the diameter and a spanning tree. Further ways are in
//! [`super::shortest`]. All links are equally long.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Topology;
use super::definition::Definition;

/// For each node its links and the nodes at their other ends, in the order of the links' names.
pub(super) struct Neighbours {
    /// Where the links of each node begin; one more than there are nodes.
    starts: Vec<usize>,
    links: Vec<(u32, u32)>,
}

/// How a node is reached from another one.
#[derive(Clone, Copy)]
pub(super) struct Reached {
    /// Links on the way.
    pub(super) hops: u32,
    /// The last link, and the node before it; `None` at the start.
    by: Option<(u32, u32)>,
}

impl Neighbours {
    pub(super) fn of(definition: &Definition) -> Self {
        let mut by_node = vec![Vec::new(); definition.nodes.len()];
        for (number, link) in (0..).zip(&definition.links) {
            let [(one, _), (other, _)] = &link.ends;
            for (from, to) in [(*one, *other), (*other, *one)] {
                if let Some(links) = by_node.get_mut(from as usize) {
                    links.push((number, to));
                }
            }
        }
        let mut neighbours = Self { starts: vec![0], links: Vec::with_capacity(2 * definition.links.len()) };
        for links in by_node {
            neighbours.links.extend(links);
            neighbours.starts.push(neighbours.links.len());
        }
        neighbours
    }

    /// How many nodes there are.
    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// The links of a node: their numbers, and the nodes at their other ends.
    #[inline]
    pub(super) fn at(&self, node: u32) -> &[(u32, u32)] {
        let node = node as usize;
        let bounds = self.starts.get(node).zip(self.starts.get(node + 1));
        bounds.and_then(|(start, end)| self.links.get(*start..*end)).unwrap_or_default()
    }

    /// For each node how it is reached; `None` where it is not.
    pub(super) fn distances(&self, from: u32) -> Vec<Option<Reached>> {
        let mut found = vec![None; self.len()];
        let mut next = VecDeque::from([from]);
        if let Some(start) = found.get_mut(from as usize) {
            *start = Some(Reached { hops: 0, by: None });
        }
        while let Some(node) = next.pop_front() {
            let hops = found.get(node as usize).copied().flatten().map_or(0, |reached| reached.hops);
            for (link, to) in self.at(node) {
                if let Some(place @ None) = found.get_mut(*to as usize) {
                    *place = Some(Reached { hops: hops + 1, by: Some((*link, node)) });
                    next.push_back(*to);
                }
            }
        }
        found
    }

    /// The hops to the node that is the furthest from any of these, which are 64 at most. Each node has a bit for each of
    /// them, so that one walk does for all.
    fn furthest(&self, from: &[u32]) -> usize {
        let (mut seen, mut found) = (vec![0_u64; self.len()], vec![0_u64; self.len()]);
        let mut here: Vec<(u32, u64)> = (0..).zip(from).map(|(bit, node)| (*node, 1 << bit)).collect();
        for (node, bit) in &here {
            if let Some(seen) = seen.get_mut(*node as usize) {
                *seen |= bit;
            }
        }
        for hops in 0.. {
            let mut next = Vec::new();
            for (node, bits) in &here {
                for (_, to) in self.at(*node) {
                    let to = *to as usize;
                    let (Some(seen), Some(found)) = (seen.get(to), found.get_mut(to)) else { continue };
                    let new = bits & !seen;
                    if new != 0 && *found == 0 {
                        next.push(to as u32);
                    }
                    *found |= new;
                }
            }
            if next.is_empty() {
                return hops;
            }
            let arrive = |node: u32| {
                let bits = std::mem::take(found.get_mut(node as usize)?);
                *seen.get_mut(node as usize)? |= bits;
                Some((node, bits))
            };
            here = next.into_iter().filter_map(arrive).collect();
        }
        0
    }
}

impl Topology {
    /// The names of all nodes: in their order in the definition, where nodes that only links name come as these do.
    pub fn node_names(&self) -> Vec<Arc<str>> {
        let nodes = self.definition.iter().flat_map(|definition| &definition.nodes);
        nodes.map(|node| Arc::clone(&node.name)).collect()
    }

    /// The names of all links, in their order.
    pub fn link_names(&self) -> Vec<Arc<str>> {
        let links = self.definition.iter().flat_map(|definition| &definition.links);
        links.map(|link| Arc::clone(&link.name)).collect()
    }

    /// The names of links that are known by their numbers.
    pub(super) fn names_of_links(&self, links: &[u32]) -> Vec<Arc<str>> {
        let Some(definition) = &self.definition else { return Vec::new() };
        let links = links.iter().filter_map(|link| definition.links.get(*link as usize));
        links.map(|link| Arc::clone(&link.name)).collect()
    }

    /// The links of a node, in the order of their names; `None` where there is no such node.
    pub fn links_of(&self, node: &str) -> Option<Vec<Arc<str>>> {
        let definition = self.definition.as_ref()?;
        let node = definition.nodes.get(definition.node(node)? as usize)?;
        let mut links: Vec<u32> = node.ports.values().filter_map(|port| port.link).collect();
        links.sort_unstable();
        links.dedup();
        Some(self.names_of_links(&links))
    }

    /// The links of a shortest way between two nodes: of several the one whose links come first by their names. `None`
    /// where there is none.
    pub fn path(&self, from: &str, to: &str) -> Option<Vec<Arc<str>>> {
        let definition = self.definition.as_ref()?;
        let (from, mut at) = (definition.node(from)?, definition.node(to)?);
        let found = Neighbours::of(definition).distances(from);
        let mut path = Vec::new();
        while let Some((link, before)) = (*found.get(at as usize)?)?.by {
            path.push(link);
            at = before;
        }
        path.reverse();
        Some(self.names_of_links(&path))
    }

    /// The links of the longest of all shortest ways. It looks from every node, 64 at once: for the largest topology that is
    /// a few tenths of a second.
    pub fn diameter(&self) -> usize {
        let Some(definition) = &self.definition else { return 0 };
        let neighbours = Neighbours::of(definition);
        let nodes: Vec<u32> = (0..neighbours.len() as u32).collect();
        nodes.chunks(64).map(|nodes| neighbours.furthest(nodes)).max().unwrap_or(0)
    }

    /// The links of a minimum spanning tree, in the order of their names: of several trees the one whose links come first. Where
    /// not all nodes are connected it is a forest, a tree for each part.
    pub fn spanning_tree(&self) -> Vec<Arc<str>> {
        let Some(definition) = &self.definition else { return Vec::new() };
        let mut parents: Vec<u32> = (0..definition.nodes.len() as u32).collect();
        let mut tree = Vec::new();
        for (number, link) in (0..).zip(&definition.links) {
            let [one, other] = link.ends.each_ref().map(|(node, _)| root(&mut parents, *node));
            if one != other
                && let Some(parent) = parents.get_mut(one as usize)
            {
                *parent = other;
                tree.push(number);
            }
        }
        self.names_of_links(&tree)
    }
}

/// The node that stands for all that are connected with this one.
fn root(parents: &mut [u32], node: u32) -> u32 {
    let mut at = node;
    while let Some(parent) = parents.get(at as usize).copied().filter(|parent| *parent != at) {
        // The way is halved for those who come after.
        let above = parents.get(parent as usize).copied().unwrap_or(parent);
        if let Some(place) = parents.get_mut(at as usize) {
            *place = above;
        }
        at = above;
    }
    at
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
        let texts =
            |names: Vec<Arc<str>>| names.iter().map(|name| name.to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(texts(topology.spanning_tree()), "a1 a2 alone b1 c1", "a tree for each part");
        assert_eq!(texts(Topology::default().spanning_tree()), "");
        assert_eq!(texts(topology.link_names()), "a1 a2 alone b1 b2 c1");
        assert_eq!(texts(topology.node_names()), "leaf1 spine1 spine2 x y leaf2 leaf3");
    }

    /// The diameter of a ring of n is half of n, that of a chain n - 1, whatever the number of nodes.
    #[test]
    fn the_diameter_is_that_of_the_widest_part() {
        let link = |a: usize, b: usize| {
            let (a, b) = (a.to_string(), b.to_string());
            let (port1, port2) = (format!("to {b}"), format!("to {a}"));
            (format!("{a}-{b}"), json!({"node1": a, "port1": port1, "node2": b, "port2": port2}))
        };
        let of = |links: Vec<(String, serde_json::Value)>| {
            topology(&json!({ "links": links.into_iter().collect::<serde_json::Map<_, _>>() }), Vec::new())
        };
        for n in [3, 64, 65, 200] {
            let chain: Vec<_> = (1..n).map(|at| link(at - 1, at)).collect();
            let mut ring = chain.clone();
            ring.push(link(n - 1, 0));
            assert_eq!(of(chain.clone()).diameter(), n - 1);
            assert_eq!(of(chain.clone()).spanning_tree().len(), n - 1);
            assert_eq!(of(ring.clone()).diameter(), n / 2);
            assert_eq!(of(ring.clone()).spanning_tree().len(), n - 1);
            let mut both = ring;
            both.extend((0..n).map(|at| link(1000 + at, 1001 + at)));
            assert_eq!(of(both.clone()).diameter(), n, "the chain beside the ring");
            assert_eq!(of(both).spanning_tree().len(), 2 * n - 1);
        }
    }

    /// The largest topology that is taken, as a fabric.
    #[test]
    fn the_diameter_of_the_largest_topology_is_known_soon() {
        let links = (0..9_900).flat_map(|leaf| (0..5).map(move |n| (leaf, (leaf * 3 + n) % 100)));
        let link = |(n, (leaf, spine)): (usize, (usize, usize))| {
            let (node1, node2) = (format!("leaf{leaf}"), format!("spine{spine}"));
            (n.to_string(), json!({"node1": node1, "port1": n, "node2": node2, "port2": n}))
        };
        let links: serde_json::Map<_, _> = links.enumerate().map(link).collect();
        let topology = topology(&json!({ "links": links }), Vec::new());
        assert_eq!(topology.node_names().len(), 10_000);
        let began = std::time::Instant::now();
        let diameter = topology.diameter();
        assert!(began.elapsed() < std::time::Duration::from_secs(10), "{:?}", began.elapsed());
        // Leaves of spines far apart go round by others: every step reaches four spines further, of a ring of a hundred.
        assert_eq!(diameter, 26);
    }
}
