//! The pairs of two clouds whose reduced cost may be small, told by boxes.
//!
//! Each cloud stands in the order of a [tree of boxes](BoxTree). In the box of a node, of middle a and half widths h, a
//! potential is at most affine, f + p u at the point a + u. Between two nodes, with y = b + v, g + q v and D = a - b, no pair has
//! a reduced cost C - f - g below the negative of
//!
//! ```text
//! f + g - least C                                                                                     of any cost
//! f + g - s D^2 + sum_k max_w ((p - q - 4 s D)_k / 2 w - s w^2) + |p + q|_k (h + h')_k / 2            of s |x - y|^2
//! ```
//!
//! where w runs over the differences of u and v, at most h + h'. The slopes of the potentials cancel those of the cost, so that
//! what is found does not grow with how far mass travels. A bound counts the rounding of its own sum, and that of the reduced
//! costs that are compared with it: leaving out what it leaves out changes no answer.

mod least;

use std::ops::Range;

use ot_core::{BoundingBox, BoxTree, CostForm, GroundCost, PointsView, Side};

pub(super) use self::least::least;

/// Points of a leaf.
pub(super) const LEAF: usize = 16;

/// In more coordinates boxes overlap too much to tell anything.
const MOST_DIMENSIONS: usize = 8;

/// The median cost across a leaf is to be below this part of that across the cloud; above it a leaf reaches most of a cloud.
const COARSEST: f64 = 0.02;

/// Two clouds, each in the order of its tree, and the cost between them.
#[derive(Debug)]
pub(super) struct PairBoxes<'a> {
    cost: &'a dyn GroundCost,
    dimension: usize,
    /// The factor of a squared distance, under which potentials are followed along their slopes.
    square: Option<f64>,
    sides: [Boxes; 2],
}

/// A tree, its leaves by their number, and what is told of its nodes and places.
#[derive(Debug)]
struct Boxes {
    tree: BoxTree,
    leaves: Vec<u32>,
    frames: Vec<Frame>,
    /// The coordinates of the point at each place.
    points: Vec<f64>,
}

/// The middle of a box and half of its widths, rounded up.
#[derive(Clone, Copy, Debug)]
struct Frame {
    middle: [f64; MOST_DIMENSIONS],
    half: [f64; MOST_DIMENSIONS],
}

/// Potentials of a side, at each place and from above in each node.
#[derive(Debug)]
pub(super) struct Tops {
    /// The potential at each place.
    pub(super) placed: Vec<f64>,
    /// The largest absolute value.
    pub(super) largest: f64,
    of_nodes: Vec<Top>,
}

/// An affine function around the middle of a box, nowhere below the potentials in it.
#[derive(Clone, Copy, Debug)]
struct Top {
    value: f64,
    slope: [f64; MOST_DIMENSIONS],
}

impl<'a> PairBoxes<'a> {
    /// Boxes around the points of both sides, given one after the other; `None` where the cost tells no least value between
    /// boxes, and for too many coordinates.
    pub(super) fn new(cost: &'a dyn GroundCost, dimension: usize, points: [&[f64]; 2]) -> Option<Self> {
        if dimension > MOST_DIMENSIONS {
            return None;
        }
        let square = match cost.form() {
            CostForm::SqEuclidean { scale } => Some(scale),
            _ => None,
        };
        let [source, target] = points.map(|points| Boxes::new(points, dimension));
        let (source, target) = (source?, target?);
        cost.least(source.around(0), target.around(0))?;
        Some(Self { cost, dimension, square, sides: [source, target] })
    }

    /// Do boxes tell what is near, so that looking at them can pay?
    pub(super) fn pay(&self) -> bool {
        self.sides.iter().all(|boxes| {
            let across = |node: usize| self.cost.bound(boxes.around(node), boxes.around(node)).unwrap_or(f64::NAN);
            let mut of_leaves: Vec<f64> = boxes.leaves.iter().map(|&leaf| across(leaf as usize)).collect();
            of_leaves.sort_unstable_by(f64::total_cmp);
            of_leaves[of_leaves.len() / 2] < COARSEST * across(0)
        })
    }

    /// Coordinates of a point.
    pub(super) fn dimension(&self) -> usize {
        self.dimension
    }

    fn boxes(&self, side: Side) -> &Boxes {
        &self.sides[side.index()]
    }

    /// The atom at each place.
    pub(super) fn order(&self, side: Side) -> &[u32] {
        self.boxes(side).tree.order()
    }

    /// The number of blocks of a side, each of [`LEAF`] places but for the last.
    pub(super) fn blocks(&self, side: Side) -> usize {
        self.boxes(side).leaves.len()
    }

    /// The places of a block.
    pub(super) fn places(&self, side: Side, block: usize) -> Range<usize> {
        let boxes = self.boxes(side);
        boxes.tree.nodes()[boxes.leaves[block] as usize].places()
    }

    /// The costs between the source at a place and the targets at some.
    pub(super) fn costs(&self, source: usize, targets: Range<usize>, out: &mut [f64]) {
        let [x, y] = self.sides.each_ref().map(|boxes| &boxes.points);
        let d = self.dimension;
        self.cost.costs_f64(&x[source * d..][..d], &y[targets.start * d..targets.end * d], out);
    }

    /// Potentials of a side, atom by atom, from above.
    pub(super) fn tops(&self, side: Side, potential: impl Fn(usize) -> f64) -> Tops {
        let boxes = self.boxes(side);
        let placed: Vec<f64> = boxes.tree.order().iter().map(|&atom| potential(atom as usize)).collect();
        let largest = placed.iter().fold(0.0, |largest: f64, potential| largest.max(potential.abs()));
        let nodes = boxes.tree.nodes();
        let mut of_nodes = vec![Top { value: 0.0, slope: [0.0; MOST_DIMENSIONS] }; nodes.len()];
        for (index, node) in nodes.iter().enumerate().rev() {
            of_nodes[index] = match node.is_leaf() {
                true => self.top_of_leaf(boxes, index, &placed),
                false => {
                    let halves = [index + 1, index + 1 + nodes[index + 1].size()];
                    self.top_over(boxes, index, halves, halves.map(|half| of_nodes[half]))
                }
            };
        }
        Tops { placed, largest, of_nodes }
    }

    /// The places of the targets, in ranges, that may have a reduced cost of at most `level` to a source of a block.
    pub(super) fn partners(&self, block: usize, tops: [&Tops; 2], level: f64, out: &mut Vec<Range<usize>>) {
        out.clear();
        let node = self.boxes(Side::Source).leaves[block] as usize;
        let nodes = self.boxes(Side::Target).tree.nodes();
        let mut at = 0;
        while let Some(other) = nodes.get(at) {
            if self.least_reduced([node, at], tops) > level {
                at += other.size();
                continue;
            }
            at += 1;
            if other.is_leaf() {
                let places = other.places();
                match out.last_mut().filter(|last| last.end == places.start) {
                    Some(last) => last.end = places.end,
                    None => out.push(places),
                }
            }
        }
    }

    /// A lower bound of C - f - g between two nodes, as it is evaluated for any pair of them; not a number, or minus infinity, where
    /// none is known.
    fn least_reduced(&self, [source, target]: [usize; 2], tops: [&Tops; 2]) -> f64 {
        let (f, g) = (&tops[0].of_nodes[source], &tops[1].of_nodes[target]);
        // The sum, and the sizes of its terms.
        let (mut least, mut size) = (-f.value - g.value, f.value.abs() + g.value.abs());
        if let Some(scale) = self.square {
            let (x, y) = (&self.sides[0].frames[source], &self.sides[1].frames[target]);
            for axis in 0..self.dimension {
                let (apart, reach) = (x.middle[axis] - y.middle[axis], x.half[axis] + y.half[axis]);
                let (p, q) = (f.slope[axis], g.slope[axis]);
                let along = 0.5 * (p - q) - 2.0 * scale * apart;
                let across = (0.5 * along / scale).clamp(-reach, reach);
                let (of_sum, of_difference) = (0.5 * (p + q).abs() * reach, across * (along - scale * across));
                let square = scale * apart * apart;
                least += square - of_difference - of_sum;
                size += square
                    + of_sum
                    + across.abs() * (0.5 * (p - q).abs() + 2.0 * scale * apart.abs() + scale * across.abs());
            }
        } else {
            let cost = self.cost.least(self.sides[0].around(source), self.sides[1].around(target));
            let cost = cost.unwrap_or(f64::NEG_INFINITY);
            least += cost;
            size += cost.abs();
        }
        // Of the terms here, and of a reduced cost, whose cost is at most itself and both potentials.
        let roundings = (16 + 8 * self.dimension) as f64 * f64::EPSILON;
        least - roundings * (size + least.abs() + tops[0].largest + tops[1].largest)
    }

    /// The affine function over the potentials of a leaf. Its slope is fitted coordinate by coordinate.
    fn top_of_leaf(&self, boxes: &Boxes, node: usize, placed: &[f64]) -> Top {
        let (d, frame, places) = (self.dimension, &boxes.frames[node], boxes.tree.nodes()[node].places());
        let along = |place: usize, axis: usize| boxes.points[place * d + axis] - frame.middle[axis];
        let mut slope = [0.0; MOST_DIMENSIONS];
        let above = |place: usize, slope: &[f64; MOST_DIMENSIONS]| {
            placed[place] - (0..d).map(|axis| slope[axis] * along(place, axis)).sum::<f64>()
        };
        let count = places.len() as f64;
        for axis in 0..if self.square.is_some() { d } else { 0 } {
            let (mut sums, mut squares, mut products) = ([0.0; 2], 0.0, 0.0);
            for place in places.clone() {
                let (x, value) = (along(place, axis), above(place, &slope));
                sums = [sums[0] + x, sums[1] + value];
                squares += x * x;
                products += x * value;
            }
            let variance = squares - sums[0] * sums[0] / count;
            if variance > 1e-6 * squares {
                slope[axis] = (products - sums[0] * sums[1] / count) / variance;
            }
        }
        if !slope.iter().all(|slope| slope.is_finite()) {
            slope = [0.0; MOST_DIMENSIONS];
        }
        let value = places.clone().map(|place| above(place, &slope)).fold(f64::NEG_INFINITY, f64::max);
        let largest = places.map(|place| placed[place].abs()).fold(0.0, f64::max);
        self.rounded_up(Top { value, slope }, largest, frame)
    }

    /// An affine function nowhere below those of two halves.
    fn top_over(&self, boxes: &Boxes, node: usize, halves: [usize; 2], tops: [Top; 2]) -> Top {
        let frame = &boxes.frames[node];
        let slope: [f64; MOST_DIMENSIONS] =
            std::array::from_fn(|axis| 0.5 * tops[0].slope[axis] + 0.5 * tops[1].slope[axis]);
        let (mut value, mut largest) = (f64::NEG_INFINITY, 0.0_f64);
        for (half, top) in halves.into_iter().zip(tops) {
            let of_half = &boxes.frames[half];
            let (mut of_top, mut size) = (top.value, top.value.abs());
            for (axis, slope) in slope.iter().enumerate().take(self.dimension) {
                let turned = (top.slope[axis] - slope).abs() * of_half.half[axis];
                of_top += turned - slope * (of_half.middle[axis] - frame.middle[axis]);
                size += turned;
            }
            value = value.max(of_top);
            largest = largest.max(size);
        }
        self.rounded_up(Top { value, slope }, largest, frame)
    }

    /// A top that rounding cannot have put too low, if it was summed from terms of this size and its slopes across the box.
    fn rounded_up(&self, top: Top, size: f64, frame: &Frame) -> Top {
        let across = (0..self.dimension).map(|axis| top.slope[axis].abs() * frame.half[axis]).sum::<f64>();
        let roundings = (8 + 4 * self.dimension) as f64 * f64::EPSILON;
        Top { value: top.value + roundings * (size + across + top.value.abs()), ..top }
    }
}

impl Boxes {
    fn new(points: &[f64], dimension: usize) -> Option<Self> {
        let tree = BoxTree::new(PointsView::new(points, dimension).ok()?, LEAF);
        let leaves = (0..).zip(tree.nodes()).filter(|(_, node)| node.is_leaf()).map(|(index, _)| index).collect();
        let frames = tree.nodes().iter().map(|node| frame(node.around())).collect();
        let point = |&atom: &u32| points[atom as usize * dimension..][..dimension].iter().copied();
        let points = tree.order().iter().flat_map(point).collect();
        Some(Self { tree, leaves, frames, points })
    }

    fn around(&self, node: usize) -> &BoundingBox {
        self.tree.nodes()[node].around()
    }
}

fn frame(around: &BoundingBox) -> Frame {
    let mut frame = Frame { middle: [0.0; MOST_DIMENSIONS], half: [0.0; MOST_DIMENSIONS] };
    for (axis, (low, high)) in around.low().iter().zip(around.high()).enumerate() {
        let middle = 0.5 * low + 0.5 * high;
        frame.middle[axis] = middle;
        frame.half[axis] = (high - middle).max(middle - low) * (1.0 + 4.0 * f64::EPSILON);
    }
    frame
}

#[cfg(test)]
mod tests;
