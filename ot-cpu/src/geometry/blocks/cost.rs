//! A cost between two clouds, each in the order of a tree of boxes, by which pairs that are far apart are left out.

use std::{ops::Range, sync::Arc};

use ot_core::{BoundingBox, BoxTree, CostForm, Error, PointsView, Side, cost::GroundCost};

use crate::{
    geometry::{
        CpuScalar,
        clouds::Clouds,
        rows::{BLOCK, CostRows, Heights, MOST_SLOPES, Top},
        streaming::StreamedCost,
    },
    simd::GibbsTerms,
};

/// Atoms of a leaf: a whole number of blocks, and few enough that what a leaf reaches is hardly wider than what an atom does.
pub(super) const LEAF: usize = 16;

const _: () = assert!(LEAF.is_multiple_of(BLOCK));

/// The clouds in the order of their trees, and the cost.
#[derive(Debug)]
pub(in crate::geometry) struct BlockCost<T> {
    streamed: StreamedCost<T>,
    boxes: [Boxes; 2],
    /// The factor of a squared distance in few coordinates, under which potentials are followed along their slope.
    square: Option<f64>,
}

/// A tree of boxes, its leaves found by their number, and the middles of its boxes and half of their widths side by side.
#[derive(Debug)]
struct Boxes {
    tree: BoxTree,
    /// The node of each leaf.
    leaves: Vec<u32>,
    /// The middle of each node, and half of its widths, rounded up.
    frames: Vec<f64>,
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
            CostForm::SqEuclidean { scale } if dimension <= MOST_SLOPES => Some(scale),
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

    /// The median over leaves of the cost between the ends of a leaf, as a part of that between the ends of a cloud: how sharply
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
            let mut parts = boxes.leaves.iter().map(across).collect::<Option<Vec<f64>>>()?;
            parts.sort_unstable_by(f64::total_cmp);
            parts.get(parts.len() / 2).copied()
        };
        let [source, target] = self.boxes.each_ref().map(of_side);
        Some(source?.max(target?))
    }
}

impl Boxes {
    fn new(tree: BoxTree) -> Self {
        let leaves = (0..).zip(tree.nodes()).filter(|(_, node)| node.is_leaf()).map(|(index, _)| index).collect();
        let frames = tree.nodes().iter().flat_map(|node| frame(node.around())).collect();
        Self { tree, leaves, frames }
    }

    /// The leaf that holds the first of some places.
    fn leaf_of(&self, places: &Range<usize>) -> usize {
        self.leaves[places.start / LEAF] as usize
    }

    /// The middle of a node, and half of its widths.
    fn frame(&self, node: usize, dimension: usize) -> [&[f64]; 2] {
        let both = &self.frames[node * 2 * dimension..][..2 * dimension];
        let (middle, half) = both.split_at(dimension);
        [middle, half]
    }
}

/// The middle of a box, and half of its widths, rounded up.
fn frame(around: &BoundingBox) -> Vec<f64> {
    let sides = || around.low().iter().zip(around.high());
    let middle = sides().map(|(low, high)| 0.5 * low + 0.5 * high);
    let half = sides().map(|(low, high)| {
        let middle = 0.5 * low + 0.5 * high;
        (high - middle).max(middle - low) * (1.0 + 4.0 * f64::EPSILON)
    });
    middle.chain(half).collect()
}

impl<T: CpuScalar> BlockCost<T> {
    /// An upper bound of f_i + g_j - C_ij between a leaf of `side` and each node of the other side, as a function.
    ///
    /// With x = a + u in the box of the leaf and y = b + v in that of the node, potentials at most f + p u and g + q v, and
    /// D = a - b, a squared distance leaves
    ///
    /// ```text
    /// f + g - s D^2 + sum_k max ((p - q - 4 s D)_k / 2 (u - v)_k - s (u - v)_k^2) + |p + q|_k (h + h')_k / 2
    /// ```
    ///
    /// at most, where |u - v| is at most the sum of the half widths h + h': the slopes of potentials cancel those of the
    /// cost, so that what a leaf reaches does not grow with how far mass travels.
    fn bound_to<'a>(&'a self, side: Side, leaf: usize, top: &Top, heights: &'a Heights) -> impl Fn(usize) -> f64 + 'a {
        let (own, other, dimension) = (self.boxes(side), self.boxes(side.opposite()), self.dimension());
        let [middle, half] = own.frame(leaf, dimension);
        let (around, top) = (own.tree.nodes()[leaf].around(), *top);
        move |node| {
            let height = &heights.of_nodes[node];
            let Some(scale) = self.square else {
                let other = other.tree.nodes()[node].around();
                let least = match side {
                    Side::Source => self.streamed.cost().least(around, other),
                    Side::Target => self.streamed.cost().least(other, around),
                };
                // Nothing is left out where nothing is known.
                return top.value + height.value - least.unwrap_or(f64::NEG_INFINITY);
            };
            let [other_middle, other_half] = other.frame(node, dimension);
            let mut bound = top.value + height.value;
            for axis in 0..dimension {
                let (apart, reach) = (middle[axis] - other_middle[axis], half[axis] + other_half[axis]);
                let (p, q) = (top.slope[axis], height.slope[axis]);
                let along = 0.5 * (p - q) - 2.0 * scale * apart;
                let across = (along / (2.0 * scale)).clamp(-reach, reach);
                bound += 0.5 * (p + q).abs() * reach + across * (along - scale * across) - scale * apart * apart;
            }
            bound
        }
    }

    /// An affine function nowhere below the potentials of some atoms, around the middle of a node. Its slope is fitted
    /// coordinate by coordinate.
    fn top_of(&self, side: Side, node: usize, atoms: Range<usize>, potential: impl Fn(usize) -> f64) -> Top {
        let dimension = self.dimension();
        let highest = || atoms.clone().map(&potential).fold(f64::NEG_INFINITY, f64::max);
        if self.square.is_none() {
            return Top { value: highest(), ..Top::default() };
        }
        let [middle, _] = self.boxes(side).frame(node, dimension);
        let points = self.streamed.points(side, atoms.clone());
        let along = |atom: usize, axis: usize| points[(atom - atoms.start) * dimension + axis].to_f64() - middle[axis];
        let mut top = Top::default();
        let above = |atom: usize, slope: &[f64; MOST_SLOPES]| {
            potential(atom) - (0..dimension).map(|axis| slope[axis] * along(atom, axis)).sum::<f64>()
        };
        for axis in 0..dimension {
            let (mut count, mut sums, mut squares, mut products) = (0.0, [0.0; 2], 0.0, 0.0);
            for atom in atoms.clone() {
                let (x, value) = (along(atom, axis), above(atom, &top.slope));
                if value > f64::NEG_INFINITY {
                    count += 1.0;
                    sums[0] += x;
                    sums[1] += value;
                    squares += x * x;
                    products += x * value;
                }
            }
            let variance = squares - sums[0] * sums[0] / count;
            if count > 1.0 && variance > 1e-6 * squares {
                top.slope[axis] = (products - sums[0] * sums[1] / count) / variance;
            }
        }
        top.value = atoms.clone().map(|atom| above(atom, &top.slope)).fold(f64::NEG_INFINITY, f64::max);
        if top.slope.iter().all(|slope| slope.is_finite()) { top } else { Top { value: highest(), ..Top::default() } }
    }

    /// An affine function nowhere below those of two halves of a node.
    fn top_over(&self, side: Side, node: usize, halves: [(usize, Top); 2]) -> Top {
        let dimension = self.dimension();
        let counted = halves.iter().filter(|(_, half)| half.value > f64::NEG_INFINITY);
        let share = 1.0 / counted.clone().count().max(1) as f64;
        let mut top = Top { value: f64::NEG_INFINITY, ..Top::default() };
        for (_, half) in counted.clone() {
            top.slope.iter_mut().zip(half.slope).for_each(|(slope, of_half)| *slope += share * of_half);
        }
        let [middle, _] = self.boxes(side).frame(node, dimension);
        for (index, half) in counted {
            let [of_half, reach] = self.boxes(side).frame(*index, dimension);
            let value = (0..dimension).fold(half.value, |value, axis| {
                let turned = (half.slope[axis] - top.slope[axis]).abs() * reach[axis];
                value + turned - top.slope[axis] * (of_half[axis] - middle[axis])
            });
            top.value = top.value.max(value);
        }
        top
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
        let mut of_nodes = vec![Top::default(); nodes.len()];
        for (index, node) in nodes.iter().enumerate().rev() {
            of_nodes[index] = match node.is_leaf() {
                true => self.top_of(side, index, node.places(), &potential),
                false => {
                    let halves = [index + 1, index + 1 + nodes[index + 1].size()];
                    self.top_over(side, index, halves.map(|half| (half, of_nodes[half])))
                }
            };
        }
        let finite = (0..self.len(side)).map(potential).filter(|potential| potential.is_finite());
        let largest = finite.fold(0.0, |largest: f64, potential| largest.max(potential.abs()));
        Heights { of_nodes, largest }
    }

    fn top(&self, side: Side, block: Range<usize>, potential: impl Fn(usize) -> f64) -> Top {
        self.top_of(side, self.boxes(side).leaf_of(&block), block, potential)
    }

    fn partners(
        &self,
        side: Side,
        block: Range<usize>,
        top: &Top,
        heights: &Heights,
        level: f64,
        out: &mut Vec<Range<usize>>,
    ) {
        out.clear();
        let nodes = self.boxes(side.opposite()).tree.nodes();
        let bound = self.bound_to(side, self.boxes(side).leaf_of(&block), top, heights);
        let mut at = 0;
        while let Some(node) = nodes.get(at) {
            // What is no number matters.
            if bound(at) <= level {
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
        let bound = self.bound_to(side, self.boxes(side).leaf_of(&block), &Top::default(), heights);
        let (mut best, mut places, mut at) = (f64::NEG_INFINITY, 0..0, 0);
        while let Some(node) = nodes.get(at) {
            let value = bound(at);
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
