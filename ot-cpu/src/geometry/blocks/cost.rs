//! A cost between two clouds, each in the order of a tree of boxes, by which pairs that are far apart are left out.

use std::{ops::Range, sync::Arc};

use ot_core::{BoundingBox, BoxTree, CostForm, Error, PointsView, Side, cost::GroundCost};

use crate::{
    geometry::{
        CpuScalar,
        clouds::Clouds,
        rows::{BLOCK, CostRows, Heights, Reach},
        streaming::StreamedCost,
    },
    simd::GibbsTerms,
};

/// Atoms of a leaf: a whole number of blocks, and few enough that what a leaf reaches is hardly wider than what an atom does.
pub(super) const LEAF: usize = 32;

const _: () = assert!(LEAF.is_multiple_of(BLOCK));

/// The clouds in the order of their trees, and the cost.
#[derive(Debug)]
pub(in crate::geometry) struct BlockCost<T> {
    streamed: StreamedCost<T>,
    boxes: [Boxes; 2],
    /// The factor of a squared distance, whose least value between boxes is found without a call.
    square: Option<f64>,
}

/// A tree of boxes, its leaves found by their number and the corners of its boxes side by side.
#[derive(Debug)]
struct Boxes {
    tree: BoxTree,
    /// The node of each leaf.
    leaves: Vec<u32>,
    /// The lower and then the upper corner of each node.
    corners: Vec<f64>,
}

impl<T: CpuScalar> BlockCost<T> {
    /// A cost that tells the least value between boxes; `None` for another.
    pub(super) fn new(
        points: [PointsView<'_, T>; 2],
        cost: &Arc<dyn GroundCost>,
        bound: f64,
    ) -> Result<Option<Self>, Error> {
        let boxes = points.map(|points| Boxes::new(BoxTree::new(points, LEAF)));
        let [x, y] = boxes.each_ref().map(|boxes| boxes.tree.nodes()[0].around());
        if cost.least(x, y).is_none() {
            return Ok(None);
        }
        let dimension = points[0].dimension();
        let placed = [0, 1].map(|side| placed(points[side], boxes[side].tree.order()));
        let [source, target] = placed.each_ref().map(|coordinates| PointsView::new(coordinates, dimension));
        let streamed = StreamedCost::new(source?, target?, Arc::clone(cost), Some(bound))?;
        let square = match cost.form() {
            // Less what rounding may add.
            CostForm::SqEuclidean { scale } => Some(scale * (1.0 - (4 + dimension) as f64 * f64::EPSILON)),
            _ => None,
        };
        Ok(Some(Self { streamed, boxes, square }))
    }

    /// The atom at each place.
    pub(super) fn order(&self, side: Side) -> &[u32] {
        self.boxes(side).tree.order()
    }

    fn boxes(&self, side: Side) -> &Boxes {
        &self.boxes[side.index()]
    }

    /// The mean over leaves of the cost between the ends of a leaf, as a part of that between the ends of a cloud: how sharply
    /// boxes tell what is near. `None` where costs tell no bound, or a cloud has no extent.
    pub(super) fn resolution(&self) -> Option<f64> {
        let cost = self.streamed.cost();
        let of_side = |boxes: &Boxes| {
            let nodes = boxes.tree.nodes();
            let whole = cost.bound(nodes[0].around(), nodes[0].around()).filter(|&whole| whole > 0.0)?;
            let across = |leaf: &u32| {
                let around = nodes[*leaf as usize].around();
                Some(cost.bound(around, around)? / whole)
            };
            Some(boxes.leaves.iter().map(across).sum::<Option<f64>>()? / boxes.leaves.len() as f64)
        };
        let [source, target] = self.boxes.each_ref().map(of_side);
        Some(source?.max(target?))
    }
}

impl Boxes {
    fn new(tree: BoxTree) -> Self {
        let leaves = (0..).zip(tree.nodes()).filter(|(_, node)| node.is_leaf()).map(|(index, _)| index).collect();
        let corners = |around: &BoundingBox| [around.low().to_vec(), around.high().to_vec()].concat();
        let corners = tree.nodes().iter().flat_map(|node| corners(node.around())).collect();
        Self { tree, leaves, corners }
    }

    /// The leaf that holds the first of some places.
    fn leaf_of(&self, places: &Range<usize>) -> usize {
        self.leaves[places.start / LEAF] as usize
    }

    /// Lower and upper corner of a node.
    fn corners(&self, node: usize, dimension: usize) -> [&[f64]; 2] {
        let both = &self.corners[node * 2 * dimension..][..2 * dimension];
        let (low, high) = both.split_at(dimension);
        [low, high]
    }
}

impl<T: CpuScalar> BlockCost<T> {
    /// The least cost between a leaf of `side` and each node of the other side, as a function.
    fn least_to<'a>(&'a self, side: Side, leaf: usize) -> impl Fn(usize) -> f64 + 'a {
        let (own, other, dimension) = (self.boxes(side), self.boxes(side.opposite()), self.dimension());
        let [low, high] = own.corners(leaf, dimension);
        let around = own.tree.nodes()[leaf].around();
        move |node| match self.square {
            Some(scale) => {
                let [other_low, other_high] = other.corners(node, dimension);
                let mut sum = 0.0;
                for axis in 0..dimension {
                    let apart = (low[axis] - other_high[axis]).max(other_low[axis] - high[axis]).max(0.0);
                    sum += apart * apart;
                }
                scale * sum
            }
            None => {
                let other = other.tree.nodes()[node].around();
                let least = match side {
                    Side::Source => self.streamed.cost().least(around, other),
                    Side::Target => self.streamed.cost().least(other, around),
                };
                // Nothing is left out where nothing is known.
                least.unwrap_or(f64::NEG_INFINITY)
            }
        }
    }

    fn dimension(&self) -> usize {
        self.streamed.dimension()
    }
}

impl<T: CpuScalar> CostRows<T> for BlockCost<T> {
    const STORED: bool = false;
    const PRUNES: bool = true;

    fn len(&self, side: Side) -> usize {
        self.streamed.len(side)
    }

    fn index(&self, side: Side, place: usize) -> u32 {
        self.order(side)[place]
    }

    fn tile(&self, side: Side, atoms: Range<usize>, others: Range<usize>, stride: usize, out: &mut [T]) {
        self.streamed.tile(side, atoms, others, stride, out);
    }

    fn entries(
        &self,
        side: Side,
        atoms: Range<usize>,
        others: Range<usize>,
        terms: GibbsTerms<'_, T>,
        stride: usize,
        out: &mut [T],
        sums: &mut [f64],
    ) {
        self.streamed.entries(side, atoms, others, terms, stride, out, sums);
    }

    fn clouds(&self) -> Option<&Clouds<T>> {
        self.streamed.clouds()
    }

    fn bound(&self) -> Option<f64> {
        self.streamed.bound()
    }

    fn heights(&self, side: Side, potential: impl Fn(usize) -> f64) -> Heights {
        let nodes = self.boxes(side).tree.nodes();
        let mut of_nodes = vec![f64::NEG_INFINITY; nodes.len()];
        for (index, node) in nodes.iter().enumerate().rev() {
            of_nodes[index] = match node.is_leaf() {
                true => node.places().map(&potential).fold(f64::NEG_INFINITY, f64::max),
                false => of_nodes[index + 1].max(of_nodes[index + 1 + nodes[index + 1].size()]),
            };
        }
        Heights { of_nodes }
    }

    fn partners(&self, side: Side, block: Range<usize>, reach: Reach<'_>, out: &mut Vec<Range<usize>>) {
        out.clear();
        let nodes = self.boxes(side.opposite()).tree.nodes();
        let least = self.least_to(side, self.boxes(side).leaf_of(&block));
        let mut at = 0;
        while let Some(node) = nodes.get(at) {
            // What is no number matters.
            if reach.highest + reach.heights.of_nodes[at] - least(at) <= reach.level {
                at += node.size();
                continue;
            }
            at += 1;
            if node.is_leaf() {
                let places = node.places();
                match out.last_mut().filter(|last| last.end == places.start) {
                    Some(last) => last.end = places.end,
                    None => out.push(places),
                }
            }
        }
    }

    fn nearest(&self, side: Side, block: Range<usize>, heights: &Heights) -> Range<usize> {
        let nodes = self.boxes(side.opposite()).tree.nodes();
        let least = self.least_to(side, self.boxes(side).leaf_of(&block));
        let (mut best, mut places, mut at) = (f64::NEG_INFINITY, 0..0, 0);
        while let Some(node) = nodes.get(at) {
            let value = heights.of_nodes[at] - least(at);
            if value > best && node.is_leaf() {
                (best, places) = (value, node.places());
            }
            at += if value > best { 1 } else { node.size() };
        }
        places
    }
}

/// The points in an order.
fn placed<T: CpuScalar>(points: PointsView<'_, T>, order: &[u32]) -> Vec<T> {
    order.iter().flat_map(|&point| points.point(point as usize)).copied().collect()
}
