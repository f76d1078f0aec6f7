//! The pairs of least reduced cost of each atom, the nearest boxes looked at first.

use std::{cmp::Ordering, collections::BinaryHeap};

use ot_core::{Side, host::for_each_chunk};

use super::{
    super::candidates::{Candidate, Least, Parallel},
    LEAF, PairBoxes, Tops,
};

/// Pieces that the blocks are cut into, whatever the threads.
const TASKS: usize = 32;

/// A node of the other side, and the least reduced cost that it may hold.
#[derive(Clone, Copy, Debug)]
struct Near {
    least: f64,
    node: u32,
}

impl Ord for Near {
    /// The nearer is the greater; of equals the first node.
    fn cmp(&self, other: &Self) -> Ordering {
        other.least.total_cmp(&self.least).then(other.node.cmp(&self.node))
    }
}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Near {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Near {}

/// The `count` pairs of least C_ij - f_i - g_j of each atom of a side, of equals those of the first partners, without their costs;
/// and how many pairs were looked at.
pub(in super::super) fn least(
    boxes: &PairBoxes<'_>,
    side: Side,
    tops: [&Tops; 2],
    count: usize,
    parallel: Parallel<'_>,
) -> (Vec<Candidate>, u64) {
    let blocks = boxes.blocks(side);
    let share = blocks.div_ceil(TASKS);
    let mut found: Vec<(Vec<Candidate>, u64)> = vec![(Vec::new(), 0); blocks.div_ceil(share)];
    for_each_chunk(parallel, found.len(), found.iter_mut(), |task, (found, priced)| {
        let mut heap = BinaryHeap::new();
        let mut kept = vec![Least::new(count); LEAF];
        for block in task * share..blocks.min((task + 1) * share) {
            *priced += of_block(boxes, side, block, tops, &mut heap, &mut kept);
            for (place, least) in boxes.places(side, block).zip(&kept) {
                let atom = boxes.order(side)[place];
                found.extend(least.pairs().map(|(reduced_cost, partner)| {
                    let (source, target) = side.of([(atom, partner), (partner, atom)]);
                    Candidate { source, target, cost: f64::NAN, reduced_cost }
                }));
            }
        }
    });
    let priced = found.iter().map(|(_, priced)| priced).sum();
    (found.into_iter().flat_map(|(found, _)| found).collect(), priced)
}

/// The pairs of a block, and how many were looked at.
fn of_block(
    boxes: &PairBoxes<'_>,
    side: Side,
    block: usize,
    tops: [&Tops; 2],
    heap: &mut BinaryHeap<Near>,
    kept: &mut [Least],
) -> u64 {
    let (own, other) = (boxes.boxes(side), boxes.boxes(side.opposite()));
    let (node, places, nodes) = (own.leaves[block] as usize, boxes.places(side, block), other.tree.nodes());
    let near = |index: usize| {
        let least = boxes.least_reduced(side.of([[node, index], [index, node]]), tops);
        // What is no number may be near.
        Near { least: if least.is_nan() { f64::NEG_INFINITY } else { least }, node: index as u32 }
    };
    heap.clear();
    heap.push(near(0));
    kept.iter_mut().for_each(Least::clear);
    // What is not above the bound of an atom may be one of its least.
    let (mut bounds, mut worst, mut priced) = ([f64::INFINITY; LEAF], f64::INFINITY, 0);
    let mut reduced = [0.0; LEAF];
    while let Some(Near { least, node }) = heap.pop() {
        if least > worst {
            break;
        }
        let (index, of_node) = (node as usize, &nodes[node as usize]);
        if !of_node.is_leaf() {
            let halves = [index + 1, index + 1 + nodes[index + 1].size()];
            heap.extend(halves.map(near).into_iter().filter(|near| near.least <= worst));
            continue;
        }
        let [sources, targets] = side.of([[places.clone(), of_node.places()], [of_node.places(), places.clone()]]);
        priced += (sources.len() * targets.len()) as u64;
        for source in sources {
            let reduced = &mut reduced[..targets.len()];
            boxes.costs(source, targets.clone(), reduced);
            let f = tops[0].placed[source];
            let potentials = &tops[1].placed[targets.clone()];
            reduced.iter_mut().zip(potentials).for_each(|(cost, g)| *cost = *cost - f - g);
            // Without a branch, so that several are compared at once.
            let matters = match side {
                Side::Source => {
                    let bound = bounds[source - places.start];
                    reduced.iter().fold(false, |any, reduced| any | (*reduced <= bound))
                }
                Side::Target => {
                    reduced.iter().zip(&bounds).fold(false, |any, (reduced, bound)| any | (reduced <= bound))
                }
            };
            if !matters {
                continue;
            }
            for (target, &reduced_cost) in targets.clone().zip(&*reduced) {
                let (mine, partner) = side.of([(source, target), (target, source)]);
                let mine = mine - places.start;
                if reduced_cost <= bounds[mine] {
                    kept[mine].offer(reduced_cost, other.tree.order()[partner]);
                    bounds[mine] = kept[mine].bound();
                }
            }
        }
        worst = bounds[..places.len()].iter().copied().fold(f64::NEG_INFINITY, f64::max);
    }
    priced
}
