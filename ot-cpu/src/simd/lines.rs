//! Logarithms of sums along the lines of a grid: one axis of a Gibbs kernel that is never formed.
//!
//! ```text
//! out_i = log sum_j exp(h_j - C_ij / epsilon)
//! ```
//!
//! for inputs h_j, given as logarithms, and a cost C between the nodes of one axis. Outputs are worked on in blocks of a
//! few neighbours. For each block the inputs that matter to any of its outputs are found, with a bound of all others,
//! and their terms are written as a product,
//!
//! ```text
//! exp(h_j - C_ij / epsilon) = exp(reference) u_j K_ij        u_j <= 1
//! ```
//!
//! with one exponential for each input and one multiplication for each pair. [`Squares`] have the same small factor K
//! for all blocks, once the terms of each are tilted around its largest ([`squares`]); other costs keep a table of K
//! ([`Table`]). Where the terms of a block span more than the exponents of the element type, each output takes a sum of
//! exponentials of its own. [`Distances`] take two running sums. Neighbouring lines under squares go [side by side](side_by_side), one for each lane of a
//! vector; others go one after the other.

pub(super) mod distances;
pub(super) mod side_by_side;
pub(super) mod squares;
pub(super) mod table;
pub(super) mod windows;

use std::ops::AddAssign;

use ot_core::LOG_ZERO;

use self::side_by_side::TileScratch;
pub use self::{distances::Distances, side_by_side::lines_of_tile, squares::Squares, table::Table};
pub(super) use self::{distances::log_sums_of_distances, side_by_side::log_sums_side_by_side};
use super::element::Element;

/// Inputs that are looked at together. Lines are followed by as many entries of no mass.
pub const LINE_PADDING: usize = 8;

/// The largest number of outputs of a block.
pub const LARGEST_BLOCK: usize = 16;

/// The cost of one axis over epsilon, seen from the outputs.
#[derive(Clone, Debug)]
pub enum LineCost<T> {
    /// A multiple of the square of a difference, between evenly spaced nodes.
    Squares(Squares<T>),
    /// A multiple of the distance, between evenly spaced nodes: its lines always go side by side.
    Distances(Distances),
    /// Anything else.
    Table(Table<T>),
}

impl<T> LineCost<T> {
    /// The number of inputs.
    pub fn inputs(&self) -> usize {
        match self {
            Self::Squares(squares) => squares.inputs,
            Self::Distances(distances) => distances.inputs,
            Self::Table(table) => table.inputs,
        }
    }

    /// Can lines under squares go side by side, plain or with each term times its cost? A few go one after the other all the
    /// same.
    pub fn goes_side_by_side(&self, times_cost: bool) -> bool
    where
        T: Element,
    {
        match self {
            Self::Squares(Squares { blocks: Some(blocks), .. }) => !times_cost || blocks.reaches_under_costs(),
            _ => false,
        }
    }

    /// The least cost over epsilon: what is taken from the cost that multiplies terms.
    pub fn least_weight(&self) -> f64
    where
        T: Element,
    {
        match self {
            Self::Squares(_) | Self::Distances(_) => 0.0,
            Self::Table(table) => table.least(),
        }
    }

    /// The number of outputs.
    pub fn outputs(&self) -> usize {
        match self {
            Self::Squares(squares) => squares.outputs,
            Self::Distances(distances) => distances.outputs,
            Self::Table(table) => table.outputs,
        }
    }
}

/// How blocks of outputs were summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineCounts {
    /// By one product of a factor that all blocks share.
    pub tilted: u64,
    /// By several such products, added by their logarithms.
    pub joined: u64,
    /// By one product of a factor from a table.
    pub stabilised: u64,
    /// Output by output, by exponentials of their own.
    pub direct: u64,
    /// Whole lines, by running sums from both ends.
    pub recursive: u64,
    /// Not at all: lines without mass.
    pub unlit: u64,
}

impl AddAssign for LineCounts {
    fn add_assign(&mut self, other: Self) {
        self.tilted += other.tilted;
        self.joined += other.joined;
        self.stabilised += other.stabilised;
        self.direct += other.direct;
        self.recursive += other.recursive;
        self.unlit += other.unlit;
    }
}

/// What a thread works with while it is at a line.
#[derive(Clone, Debug)]
pub struct LineScratch<T> {
    /// Maxima at the borders of blocks, and where they are.
    borders: Vec<(T, usize)>,
    /// The inputs that matter to each block, from the first to behind the last.
    windows: Vec<(usize, usize)>,
    /// Factors u.
    factors: Vec<T>,
    tiles: TileScratch<T>,
}

impl<T: Element> LineScratch<T> {
    /// For lines of so many inputs and outputs.
    pub fn new(inputs: usize, outputs: usize) -> Self {
        let blocks = outputs.div_ceil(LARGEST_BLOCK / 2) + 1;
        Self {
            borders: vec![(T::NEUTRAL_OF_SUM, 0); blocks],
            windows: vec![(0, 0); blocks],
            factors: vec![T::NEUTRAL_OF_SUM; inputs + 2 * LINE_PADDING],
            tiles: TileScratch::default(),
        }
    }
}

/// A term that is smaller than the largest by more than this exponent is left out: all of them together, of this many
/// inputs, are less than a quarter of a rounding of the sum.
pub fn least_exponent<T: Element>(inputs: usize) -> f64 {
    (8.0 * inputs as f64 / T::GAP).ln()
}

/// The largest exponent within which a factor of the element type keeps `relevant` exponents below one.
fn exponent_range<T: Element>() -> f64 {
    -T::SMALLEST_NORMAL.ln() - 1.0
}

/// The sums along one line, plain, or each term times its cost (over epsilon, above the least): `line` has the inputs
/// followed by [`LINE_PADDING`] entries without mass.
#[inline(always)]
pub(super) fn log_sums<T: Element, const FUSED: bool>(
    cost: &LineCost<T>,
    line: &[T],
    times_cost: bool,
    out: &mut [T],
    scratch: &mut LineScratch<T>,
    counts: &mut LineCounts,
) {
    let dark = T::of_double(LOG_ZERO);
    let mut top = dark;
    for &input in line {
        top = top.larger(input);
    }
    if top.as_double() <= 0.5 * LOG_ZERO {
        out.fill(dark);
        counts.unlit += 1;
        return;
    }
    match cost {
        LineCost::Squares(squares) => match (squares.block, times_cost) {
            (8, false) => squares::log_sums::<T, 8, false, FUSED>(squares, line, out, scratch, counts),
            (8, true) => squares::log_sums::<T, 8, true, FUSED>(squares, line, out, scratch, counts),
            (_, false) => squares::log_sums::<T, 16, false, FUSED>(squares, line, out, scratch, counts),
            (_, true) => squares::log_sums::<T, 16, true, FUSED>(squares, line, out, scratch, counts),
        },
        // Never one line by itself.
        LineCost::Distances(_) => out.fill(dark),
        LineCost::Table(table) if times_cost => table::log_sums::<T, true, FUSED>(table, line, out, scratch, counts),
        LineCost::Table(table) => table::log_sums::<T, false, FUSED>(table, line, out, scratch, counts),
    }
}

/// `sum_j u_j K_j` for the rows of a factor. `factors` are a multiple of eight, and no more than rows.
#[inline(always)]
fn product<T: Element, const B: usize, const FUSED: bool>(factors: &[T], rows: &[[T; B]]) -> [T; B] {
    // As many sums in turn as registers hold beside what else they need: additions do not wait for each other.
    match B * size_of::<T>() / 32 {
        1 => product_in_turn::<T, B, 8, FUSED>(factors, rows),
        2 => product_in_turn::<T, B, 4, FUSED>(factors, rows),
        _ => product_in_turn::<T, B, 2, FUSED>(factors, rows),
    }
}

/// [`product`], in so many sums in turn.
#[inline(always)]
fn product_in_turn<T: Element, const B: usize, const TURNS: usize, const FUSED: bool>(
    factors: &[T],
    rows: &[[T; B]],
) -> [T; B] {
    let mut sums = [[T::NEUTRAL_OF_SUM; B]; TURNS];
    let (factors, _) = factors.as_chunks::<TURNS>();
    let (rows, _) = rows.as_chunks::<TURNS>();
    for (factors, rows) in factors.iter().zip(rows) {
        for turn in 0..TURNS {
            for k in 0..B {
                sums[turn][k] = rows[turn][k].multiply_add::<FUSED>(factors[turn], sums[turn][k]);
            }
        }
    }
    let mut width = TURNS / 2;
    while width > 0 {
        let (low, high) = sums.split_at_mut(width);
        for (low, high) in low.iter_mut().zip(high) {
            for (low, high) in low.iter_mut().zip(high) {
                *low = *low + *high;
            }
        }
        width /= 2;
    }
    sums[0]
}

/// The logarithms of the sums of a block: a plain loop, which is compiled with the code around it.
#[inline(always)]
fn logarithms<T: Element, const B: usize, const FUSED: bool>(mut sums: [T; B]) -> [T; B] {
    for sum in &mut sums {
        *sum = sum.logarithm::<FUSED>();
    }
    sums
}

/// The index of a node as a number: lines are shorter than 2^31, and signed conversions are single instructions.
#[inline(always)]
fn number<T: Element>(index: usize) -> T {
    T::of_double(f64::from(index as i32))
}
