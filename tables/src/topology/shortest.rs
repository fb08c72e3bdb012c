//! The shortest ways between two nodes that visit no node twice, in a stable order: those with fewer links first, and of
//! equally long ones those whose links come first by their names. Links side by side make ways of their own.
//!
//! The method is Yen's, in the form that looks for nothing twice: each way that was given splits the ones that are left into
//! sets by where they leave it, and the first one of each set waits for its turn.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Topology;
use super::paths::Neighbours;

/// Ways that may be asked for, at most.
pub const MOST_PATHS: usize = 1000;

/// Links that one question may look at: about a second. A fabric of a thousand switches and ten thousand links has its thousand
/// ways for a hundredth of that; what comes near it is a chain of thousands of nodes.
const MOST_STEPS: u64 = 100_000_000;

/// Ways that cannot be looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// None are asked for, or too many.
    #[error("{0} paths cannot be asked for: 1 to {MOST_PATHS}")]
    Count(usize),
    /// It takes too long.
    #[error(
        "this takes too long in a topology with ways of so many links: ask for fewer paths, or for shorter ones"
    )]
    TooFar,
}

/// A way, ordered by its length and then by its links.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    hops: usize,
    links: Vec<u32>,
    /// It is the first one of those that have so many of its links to begin with...
    kept: usize,
    /// ...and do not go on with one of these.
    without: Vec<u32>,
}

/// A search from one node to another.
struct Search<'n> {
    neighbours: &'n Neighbours,
    to: u32,
    /// For each node how far it is from the end; `None` where it is not connected with it.
    left: Vec<Option<u32>>,
    /// The number of the walk that has met a node, and by which link and node it came there.
    met: Vec<(u32, u32, u32)>,
    walk: u32,
    steps: u64,
}

impl Topology {
    /// Up to `most` ways between two nodes that visit no node twice, each as the names of its links, shortest first; of equally
    /// long ones those first whose links come first by name. `longest` is the number of links that a way may have, any when
    /// `None`. There are none where a node is not known, or the two are not connected; from a node to itself there is one,
    /// which is empty.
    ///
    /// # Errors
    /// See [`PathError`].
    pub fn paths(
        &self,
        from: &str,
        to: &str,
        most: usize,
        longest: Option<usize>,
    ) -> Result<Vec<Vec<Arc<str>>>, PathError> {
        if !(1..=MOST_PATHS).contains(&most) {
            return Err(PathError::Count(most));
        }
        let Some(definition) = &self.definition else { return Ok(Vec::new()) };
        let Some((from, to)) = definition.node(from).zip(definition.node(to)) else { return Ok(Vec::new()) };
        let neighbours = Neighbours::of(definition);
        let ways = Search::new(&neighbours, to).ways(from, most, longest.unwrap_or(usize::MAX))?;
        Ok(ways.iter().map(|way| self.names_of_links(way)).collect())
    }
}

impl<'n> Search<'n> {
    fn new(neighbours: &'n Neighbours, to: u32) -> Self {
        let left = neighbours.distances(to).into_iter().map(|reached| Some(reached?.hops)).collect();
        Self { neighbours, to, left, met: vec![(0, 0, 0); neighbours.len()], walk: 0, steps: 0 }
    }

    fn ways(mut self, from: u32, most: usize, longest: usize) -> Result<Vec<Vec<u32>>, PathError> {
        let mut found: Vec<Vec<u32>> = Vec::new();
        let mut waiting = BTreeSet::new();
        waiting.extend(self.first(&[from], &[], &[], longest)?);
        while let Some(way) = waiting.pop_first() {
            let wanted = most - found.len() - 1;
            if wanted == 0 {
                found.push(way.links);
                break;
            }
            let nodes = self.nodes(from, &way.links);
            for kept in way.kept..way.links.len() {
                // Of those that wait no more are kept than may still be given.
                let longest = match waiting.last() {
                    Some(Way { hops, .. }) if waiting.len() >= wanted => longest.min(*hops),
                    _ => longest,
                };
                let (Some(begin), Some(nodes)) = (way.links.get(..kept), nodes.get(..=kept)) else { break };
                let mut without = if kept == way.kept { way.without.clone() } else { Vec::new() };
                without.extend(way.links.get(kept));
                waiting.extend(self.first(nodes, begin, &without, longest)?);
                if waiting.len() > wanted {
                    waiting.pop_last();
                }
            }
            found.push(way.links);
        }
        Ok(found)
    }

    /// The nodes that links lead over.
    fn nodes(&self, from: u32, links: &[u32]) -> Vec<u32> {
        let mut nodes = vec![from];
        let mut at = from;
        for link in links {
            let to = self.neighbours.at(at).iter().find(|(number, _)| number == link);
            at = to.map_or(at, |(_, to)| *to);
            nodes.push(at);
        }
        nodes
    }

    /// The first of all ways of at most `longest` links that begin with these nodes and links and go on without these others. It
    /// is found by a walk in width: what that meets first at a node has come there by the first links.
    fn first(
        &mut self,
        nodes: &[u32],
        begin: &[u32],
        without: &[u32],
        longest: usize,
    ) -> Result<Option<Way>, PathError> {
        let Some(start) = nodes.last().copied() else { return Ok(None) };
        self.walk += 1;
        for node in nodes {
            self.meet(*node, 0, 0);
        }
        let mut here = vec![start];
        let mut hops = begin.len();
        let mut arrived = start == self.to && without.is_empty();
        while !arrived && !here.is_empty() {
            hops += 1;
            let mut next = Vec::new();
            'level: for from in here {
                let links = self.neighbours.at(from);
                self.steps += links.len() as u64;
                for (link, to) in links {
                    let is_barred = from == start && without.contains(link);
                    let is_near = self.left.get(*to as usize).copied().flatten();
                    let is_near = is_near.is_some_and(|left| hops + left as usize <= longest);
                    if is_barred || !is_near || !self.meet(*to, *link, from) {
                        continue;
                    }
                    arrived = *to == self.to;
                    if arrived {
                        break 'level;
                    }
                    next.push(*to);
                }
            }
            here = next;
        }
        self.steps += hops as u64;
        if self.steps > MOST_STEPS {
            return Err(PathError::TooFar);
        }
        if !arrived {
            return Ok(None);
        }
        let mut end = Vec::new();
        let mut at = self.to;
        while at != start {
            let Some((_, link, before)) = self.met.get(at as usize) else { break };
            end.push(*link);
            at = *before;
        }
        let links: Vec<u32> = begin.iter().copied().chain(end.into_iter().rev()).collect();
        Ok(Some(Way { hops: links.len(), links, kept: begin.len(), without: without.to_vec() }))
    }

    /// Notes how a node was met in this walk; false where it was before.
    fn meet(&mut self, node: u32, link: u32, from: u32) -> bool {
        match self.met.get_mut(node as usize) {
            Some(met) if met.0 != self.walk => {
                *met = (self.walk, link, from);
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;
    use serde_json::{Map, Value as Json, json};

    use super::super::tests::topology;
    use super::*;

    /// Links between numbered nodes; the names of links sort as their numbers do.
    fn of(links: impl IntoIterator<Item = (usize, usize)>) -> Topology {
        let link = |(n, (a, b)): (usize, (usize, usize))| {
            let (port1, port2) = (format!("{n}a"), format!("{n}b"));
            let link =
                json!({"node1": format!("n{a}"), "port1": port1, "node2": format!("n{b}"), "port2": port2});
            (format!("l{n:05}"), link)
        };
        let links: Map<String, Json> = links.into_iter().enumerate().map(link).collect();
        topology(&json!({ "links": links }), Vec::new())
    }

    fn texts(paths: &[Vec<Arc<str>>]) -> Vec<String> {
        let one = |path: &Vec<Arc<str>>| path.iter().map(|link| &**link).collect::<Vec<_>>().join(" ");
        paths.iter().map(one).collect()
    }

    #[test]
    fn ways_come_by_length_and_then_by_the_names_of_their_links() {
        let link = |a: &str, p: u32, b: &str, q: u32| json!({"node1": a, "port1": p, "node2": b, "port2": q});
        let topology = topology(
            &json!({"links": {
                "a1": link("leaf1", 1, "spine1", 1), "a2": link("leaf1", 2, "spine2", 1), "a3": link("leaf1", 3, "spine2", 3),
                "b1": link("leaf2", 1, "spine1", 2), "b2": link("leaf2", 2, "spine2", 2), "c": link("spine1", 9, "spine2", 9),
                "alone": link("x", 1, "y", 1),
            }}),
            Vec::new(),
        );
        let paths = |most, longest| texts(&topology.paths("leaf1", "leaf2", most, longest).unwrap());
        assert_eq!(paths(100, None), ["a1 b1", "a2 b2", "a3 b2", "a1 c b2", "a2 c b1", "a3 c b1"]);
        assert_eq!(paths(2, None), ["a1 b1", "a2 b2"]);
        assert_eq!(paths(100, Some(2)), ["a1 b1", "a2 b2", "a3 b2"]);
        assert!(paths(100, Some(1)).is_empty());
        let others = |from: &str, to: &str| texts(&topology.paths(from, to, 5, None).unwrap());
        assert_eq!(others("leaf1", "leaf1"), [""]);
        assert_eq!((others("leaf1", "x"), others("leaf1", "nosuch")), (Vec::new(), Vec::new()));
        assert!(Topology::default().paths("a", "b", 1, None).unwrap().is_empty());
        for most in [0, MOST_PATHS + 1] {
            assert_eq!(topology.paths("leaf1", "leaf2", most, None), Err(PathError::Count(most)));
        }
    }

    /// All ways, looked for one by one.
    fn all(links: &[(usize, usize)], from: usize, to: usize) -> Vec<Vec<usize>> {
        fn go(
            links: &[(usize, usize)],
            (at, to): (usize, usize),
            seen: &mut Vec<usize>,
            way: &mut Vec<usize>,
            found: &mut Vec<Vec<usize>>,
        ) {
            if at == to {
                found.push(way.clone());
                return;
            }
            seen.push(at);
            for (number, (a, b)) in links.iter().enumerate() {
                let next = if *a == at { *b } else { *a };
                if (*a == at || *b == at) && !seen.contains(&next) {
                    way.push(number);
                    go(links, (next, to), seen, way, found);
                    way.pop();
                }
            }
            seen.pop();
        }
        let mut found = Vec::new();
        go(links, (from, to), &mut Vec::new(), &mut Vec::new(), &mut found);
        found.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        found
    }

    proptest! {
        #[test]
        fn the_ways_are_the_first_of_all(
            links in prop::collection::vec((0..7_usize, 0..7_usize), 1..14),
            (from, to) in (0..7_usize, 0..7_usize),
            most in 1..40_usize,
            longest in prop::option::of(0..8_usize),
        ) {
            let topology = of(links.iter().copied());
            let (a, b) = (format!("n{from}"), format!("n{to}"));
            let known = |node: usize| links.iter().any(|(a, b)| *a == node || *b == node);
            let mut expected = if known(from) && known(to) { all(&links, from, to) } else { Vec::new() };
            expected.retain(|way| longest.is_none_or(|longest| way.len() <= longest));
            expected.truncate(most);
            let name = |way: &Vec<usize>| way.iter().map(|n| format!("l{n:05}")).collect::<Vec<_>>().join(" ");
            let expected: Vec<String> = expected.iter().map(name).collect();
            prop_assert_eq!(texts(&topology.paths(&a, &b, most, longest).unwrap()), expected.clone());
            if longest.is_none() {
                let first = topology.path(&a, &b).map(|path| texts(&[path]).concat());
                prop_assert_eq!(first, expected.first().cloned());
            }
        }
    }

    /// A thousand switches, ten thousand links: 50 spines, 950 leaves with ten links each and two that are side by side.
    #[test]
    fn a_large_fabric_has_its_thousand_ways_soon_and_a_long_chain_is_refused() {
        let links = (0..950).flat_map(|leaf| (0..10).map(move |n| (50 + leaf, (leaf * 7 + n) % 50)));
        let fabric = of(links.chain((0..500).map(|n| (50 + n, n % 50))));
        assert_eq!((fabric.node_names().len(), fabric.link_names().len()), (1000, 10_000));
        let began = Instant::now();
        let paths = fabric.paths("n50", "n999", MOST_PATHS, None).unwrap();
        assert_eq!(paths.len(), MOST_PATHS);
        assert!(paths.windows(2).all(|two| (two[0].len(), &two[0]) < (two[1].len(), &two[1])));
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        // Every ten nodes of a chain there are two ways to go on.
        let chain =
            (0..9_000).flat_map(|n| [(n, n + 1)].into_iter().chain((n % 10 == 0).then_some((n, n + 1))));
        let chain = of(chain);
        let began = Instant::now();
        assert_eq!(chain.paths("n0", "n9000", MOST_PATHS, None), Err(PathError::TooFar));
        assert_eq!(chain.paths("n0", "n100", 5, None).unwrap().len(), 5);
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    }
}
