//! The order in which a forest gives its flows: leaves first.
//!
//! Under the potentials of a solution the arcs of reduced cost zero are a tree, whose flows follow from its leaves: what
//! a leaf has goes along its one arc. Under good potentials the spanning forest of least reduced cost (Kruskal 1956) is
//! nearly that tree.

use super::candidates::Candidate;

/// Arcs of the forest of least reduced cost, each when one of its ends is a leaf of what is left. `arcs` are in the order
/// of their reduced cost; nodes are so many sources and so many targets.
pub(super) fn leaves_first(arcs: &[Candidate], sources: usize, targets: usize) -> Vec<Candidate> {
    let nodes = sources + targets;
    let ends = |arc: &Candidate| [arc.source as usize, arc.target as usize + sources];
    let mut parts: Vec<u32> = (0..nodes as u32).collect();
    let mut joins = |arc: &&Candidate| {
        let [s, t] = ends(arc).map(|node| top_of(&mut parts, node as u32));
        parts[s as usize] = t;
        s != t
    };
    let forest: Vec<Candidate> = arcs.iter().filter(&mut joins).copied().collect();

    // Of each node the arcs that are left, as their number and the sum of their places: of one arc, its place.
    let mut left = vec![(0_u32, 0_usize); nodes];
    for (place, arc) in forest.iter().enumerate() {
        ends(arc).into_iter().for_each(|node| left[node] = (left[node].0 + 1, left[node].1 + place));
    }
    let mut leaves: Vec<usize> = (0..nodes).filter(|&node| left[node].0 == 1).collect();
    let mut order = Vec::with_capacity(forest.len());
    let mut next = 0;
    while next < leaves.len() {
        let (count, place) = left[leaves[next]];
        next += 1;
        if count == 0 {
            continue;
        }
        order.push(forest[place]);
        for node in ends(&forest[place]) {
            left[node] = (left[node].0 - 1, left[node].1 - place);
            if left[node].0 == 1 {
                leaves.push(node);
            }
        }
    }
    order
}

/// The node that stands for a part; paths to it are halved on the way (Tarjan 1975).
fn top_of(parts: &mut [u32], mut node: u32) -> u32 {
    while parts[node as usize] != node {
        parts[node as usize] = parts[parts[node as usize] as usize];
        node = parts[node as usize];
    }
    node
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_taken_apart_from_its_leaves() {
        let arc = |source, target, reduced_cost| Candidate { source, target, cost: 0.0, reduced_cost };
        // The path 0 - 3 - 1 - 4 - 2, and an arc that closes a cycle.
        let arcs = [arc(1, 0, 0.0), arc(0, 0, 0.1), arc(1, 1, 0.2), arc(2, 1, 0.3), arc(0, 1, 0.4)];
        let order = leaves_first(&arcs, 3, 2);
        assert_eq!(order, [arcs[1], arcs[3], arcs[0], arcs[2]]);
    }
}
