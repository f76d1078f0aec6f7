//! Lines under c (x - j)^2, side by side: each lane of a vector is at a line of its own.
//!
//! Neighbouring lines have nearly the same windows. So a block of outputs takes one window for all lines of a tile, and
//! whatever does not depend on inputs is computed once for all of them: places, costs, the factor K. With an input J in
//! the middle of the window, t = j - J, and outputs at x + xi around the centre x of a block,
//!
//! ```text
//! h_j - c (x + xi - j)^2  =  base - c (x + xi - J)^2  +  (h_j - base) - d_t  +  2 c xi t
//!                            ------- reference ------     ----- log u -----     - log K -
//! ```
//!
//! where d_t = c t^2 - 2 c (x - J) t, and base is the largest h_j - d_t of the line. So u <= 1, one exponential for each
//! input of a block, and K is the same for all blocks of all lines. An exponent below the range is raised to its lowest, and
//! such terms are, beside the largest, less than exp(2 |log K| - range): |log K| is kept below the half of the range less
//! what matters. Terms times their cost take K c (x + xi - j)^2, made for a block, in the place of K: twice as much matters of
//! them, for the largest term may cost nothing. A window that is longer than that allows is cut into pieces, whose sums are added by their logarithms: so
//! nothing depends on how much the lines of a tile have in common but the time.

use std::f64::consts::{LN_2, LOG2_E};

use ot_core::LOG_ZERO;

use super::{LineCounts, LineScratch, Squares, exponent_range};
use crate::simd::{
    element::Element,
    exp::power_of_two,
    vector::{MOST_LANES, Vector},
};

/// Inputs that windows begin and end with.
pub(super) const CHUNK: usize = 4;

/// Outputs of a block, one of these.
const BLOCKS: [usize; 5] = [4, 8, 16, 32, 64];

/// What an exponential costs, and what two sums take to be added by their logarithms, in multiplications.
const EXPONENTIAL: f64 = 16.0;
const JOINING: f64 = 40.0;

/// The largest exponent of two that a factor u is left with: more than rounding of the base leaves.
const HIGHEST: f64 = 64.0;

/// The lines that go side by side.
pub const fn lines_of_tile<T>() -> usize {
    64 / size_of::<T>()
}

/// How the outputs of lines that go side by side are cut into blocks, and the factor that all blocks share.
#[derive(Clone, Debug)]
pub(super) struct Blocks<T> {
    /// Outputs of a block.
    pub(super) len: usize,
    /// The largest |t| of a piece of a window, and that where terms are multiplied by their cost.
    most: usize,
    most_of_costs: usize,
    /// exp(2 c xi t), for [`columns`] outputs after the others, and there for t = -most, ..., most.
    factor: Vec<T>,
}

/// Outputs whose sums stay in registers together.
const fn columns(block: usize) -> usize {
    if block < 8 { block } else { 8 }
}

impl<T: Element> Blocks<T> {
    /// The blocks that take the least time; `None` where a factor would reach no further than a few inputs.
    pub(super) fn new(inputs: usize, outputs: usize, step: f64, curvature: f64, tau: f64) -> Option<Self> {
        let width = (tau / curvature).sqrt();
        let reach_of = |tau: f64, len: usize| {
            let range = 0.5 * (exponent_range::<T>() - tau);
            (range / (curvature * (len - 1) as f64 * step)).min(inputs as f64).floor()
        };
        let reach = |len: usize| reach_of(tau, len);
        let time = |len: usize| {
            let window = (len as f64 * step + 2.0 * width + CHUNK as f64).min(inputs as f64);
            let joined = (window / (2.0 * reach(len))).ceil() - 1.0;
            outputs.div_ceil(len) as f64 * (window * (len as f64 + EXPONENTIAL) + joined * JOINING * len as f64)
        };
        let reaches = |len: &usize| reach(*len) >= CHUNK.min(inputs) as f64;
        let len = BLOCKS.into_iter().filter(reaches).min_by(|left, right| time(*left).total_cmp(&time(*right)))?;
        let (most, most_of_costs) = (reach(len) as usize, reach_of(2.0 * tau, len).max(0.0) as usize);
        let columns = columns(len);
        let mut factor = Vec::with_capacity(len * (2 * most + 1));
        for first in (0..len).step_by(columns) {
            for row in 0..=2 * most {
                let t = row as f64 - most as f64;
                factor.extend((first..first + columns).map(|k| {
                    let xi = (k as f64 - 0.5 * (len - 1) as f64) * step;
                    T::of_double((2.0 * curvature * xi * t).exp())
                }));
            }
        }
        Some(Self { len, most, most_of_costs, factor })
    }

    /// Is a piece more than a few inputs where terms are multiplied by their cost?
    pub(super) fn reaches_under_costs(&self) -> bool {
        2 * self.most_of_costs >= CHUNK.min(2 * self.most)
    }
}

/// What a thread works with while it is at a tile: nothing before the first.
#[derive(Clone, Debug)]
pub(super) struct TileScratch<T> {
    /// Maxima of all lines at the borders of blocks, and the chunks that they are in: the first and the last.
    maxima: Vec<T>,
    places: Vec<(usize, usize)>,
    windows: Vec<(usize, usize)>,
    /// Maxima of chunks, for one border.
    of_chunks: Vec<T>,
    /// Costs, or the exponents -d_t of a window.
    costs: Vec<T>,
    /// Factors u.
    factors: Vec<T>,
    /// K times the costs of a block.
    weighted: Vec<T>,
    /// The sums of a block.
    sums: Vec<T>,
    /// Running sums at all outputs, three numbers each.
    running: Vec<T>,
}

impl<T> Default for TileScratch<T> {
    fn default() -> Self {
        Self {
            maxima: Vec::new(),
            places: Vec::new(),
            windows: Vec::new(),
            of_chunks: Vec::new(),
            costs: Vec::new(),
            factors: Vec::new(),
            weighted: Vec::new(),
            sums: Vec::new(),
            running: Vec::new(),
        }
    }
}

impl<T: Element> TileScratch<T> {
    /// Memory for lines of so many inputs and outputs, in blocks.
    fn fit(&mut self, inputs: usize, outputs: usize, block: usize) {
        let (borders, inputs, lines) =
            (outputs.div_ceil(block) + 1, inputs.next_multiple_of(CHUNK), lines_of_tile::<T>());
        grow(&mut self.maxima, borders * lines, T::NEUTRAL_OF_SUM);
        grow(&mut self.places, borders, (0, 0));
        grow(&mut self.windows, borders, (0, 0));
        grow(&mut self.of_chunks, inputs / CHUNK * lines, T::NEUTRAL_OF_SUM);
        grow(&mut self.costs, inputs, T::NEUTRAL_OF_SUM);
        grow(&mut self.factors, inputs * lines, T::NEUTRAL_OF_SUM);
        grow(&mut self.sums, block * lines, T::NEUTRAL_OF_SUM);
    }

    /// Memory for running sums.
    pub(super) fn running(&mut self, len: usize) -> &mut [T] {
        grow(&mut self.running, len, T::NEUTRAL_OF_SUM);
        &mut self.running[..len]
    }
}

/// What was used once is kept.
fn grow<T: Copy>(buffer: &mut Vec<T>, len: usize, value: T) {
    if buffer.len() < len {
        buffer.resize(len, value);
    }
}

/// The sums along the lines of a tile, plain, or each term times its cost (over epsilon), one line after the other in `out`;
/// in the tile an input of all lines follows another. Inputs, whole chunks of them, and lines without mass have entries of no
/// mass.
#[inline(always)]
pub(in crate::simd) fn log_sums_side_by_side<V: Vector>(
    squares: &Squares<V::Element>,
    tile: &[V::Element],
    times_cost: bool,
    out: &mut [V::Element],
    scratch: &mut LineScratch<V::Element>,
    counts: &mut LineCounts,
) {
    let dark = V::Element::of_double(LOG_ZERO);
    let Some(blocks) = &squares.blocks else { return };
    let rows = &tile[..squares.inputs.next_multiple_of(CHUNK) * V::LEN];
    let mut top = V::splat(dark);
    for row in rows.chunks_exact(V::LEN) {
        top = top.larger(V::load(row));
    }
    let (mut tops, mut shade) = ([V::Element::NEUTRAL_OF_SUM; MOST_LANES], [V::Element::NEUTRAL_OF_SUM; MOST_LANES]);
    top.store(&mut tops);
    let lines = out.len() / squares.outputs;
    let is_lit = tops.map(|top| top.as_double() > 0.5 * LOG_ZERO);
    let lit = is_lit[..lines].iter().filter(|is_lit| **is_lit).count();
    counts.unlit += (lines - lit) as u64;
    if lit == 0 {
        out.fill(dark);
        return;
    }
    for (shade, is_lit) in shade.iter_mut().zip(is_lit) {
        *shade = V::Element::of_double(if is_lit { 0.0 } else { -10.0 * LOG_ZERO });
    }
    let (tau, most) = if times_cost { (2.0 * squares.tau, blocks.most_of_costs) } else { (squares.tau, blocks.most) };
    let search = Search { squares, tau, block: blocks.len, rows, shade: V::load(&shade) };
    let tiles = &mut scratch.tiles;
    tiles.fit(squares.inputs, squares.outputs, blocks.len);
    if squares.outputs <= blocks.len && squares.inputs <= blocks.len.min(2 * most) {
        // A single block of outputs reaches nearly all inputs: looking for those that matter costs more than it saves.
        tiles.windows[0] = (0, squares.inputs);
    } else {
        search.find(tiles);
    }
    for b in 0..squares.outputs.div_ceil(blocks.len) {
        let (first, behind) = tiles.windows[b];
        let count = blocks.len.min(squares.outputs - b * blocks.len);
        let mut start = first;
        while start < behind {
            let end = behind.min(start + 2 * most);
            let piece = Piece { squares, blocks, start, end, first: b * blocks.len, count, times_cost };
            piece.add::<V>(&rows[start * V::LEN..end * V::LEN], tiles, start > first);
            start = end;
        }
        if !times_cost {
            let is_joined = behind - first > 2 * most;
            let counted = if is_joined { &mut counts.joined } else { &mut counts.tilted };
            *counted += lit as u64;
        }
        for (line, out) in out.chunks_exact_mut(squares.outputs).enumerate() {
            let out = &mut out[b * blocks.len..][..count];
            if is_lit[line] {
                for (out, sums) in out.iter_mut().zip(tiles.sums.chunks_exact(V::LEN)) {
                    *out = sums[line];
                }
            } else {
                out.fill(dark);
            }
        }
    }
}

/// The search for the inputs that matter to each block, on any line: by halving and by two pointers, as
/// [`windows`](super::windows) say, in chunks.
struct Search<'a, V: Vector> {
    squares: &'a Squares<V::Element>,
    /// The exponent below the largest at which inputs do not matter.
    tau: f64,
    block: usize,
    rows: &'a [V::Element],
    /// What is added to a bound, so that nothing on a line without mass reaches it.
    shade: V,
}

impl<V: Vector> Search<'_, V> {
    /// Fills the windows of all blocks.
    #[inline(always)]
    fn find(&self, tiles: &mut TileScratch<V::Element>) {
        let blocks = self.squares.outputs.div_ceil(self.block);
        let last = self.rows.len() / (CHUNK * V::LEN) - 1;
        self.border(0, 0, last, tiles);
        self.border(blocks, tiles.places[0].0, last, tiles);
        let mut stride = blocks.next_power_of_two() / 2;
        while stride > 0 {
            let mut b = stride;
            while b < blocks {
                let (left, right) = (tiles.places[b - stride].0, tiles.places[blocks.min(b + stride)].1);
                self.border(b, left, right, tiles);
                b += 2 * stride;
            }
            stride /= 2;
        }
        let mut first = 0;
        for b in 0..blocks {
            let (x, least) = (self.place(b), self.least(b, tiles));
            while first < last && !self.chunk(x, first).reaches(least) {
                first += 1;
            }
            tiles.windows[b].0 = first * CHUNK;
        }
        let mut behind = last + 1;
        for b in (0..blocks).rev() {
            let (x, least) = (self.place(b + 1), self.least(b + 1, tiles));
            while behind > 1 && !self.chunk(x, behind - 1).reaches(least) {
                behind -= 1;
            }
            // No window is empty, whatever rounding does.
            tiles.windows[b].1 = (behind * CHUNK).max(tiles.windows[b].0 + 1).min(self.squares.inputs);
            tiles.windows[b].0 = tiles.windows[b].0.min(tiles.windows[b].1 - 1);
        }
    }

    /// The place of the first output of a block, and that of the last output of all behind the last block.
    #[inline(always)]
    fn place(&self, b: usize) -> f64 {
        self.squares.place((b * self.block).min(self.squares.outputs - 1))
    }

    /// What an input must reach at a border to matter.
    #[inline(always)]
    fn least(&self, b: usize, tiles: &TileScratch<V::Element>) -> V {
        let maximum = V::load(&tiles.maxima[b * V::LEN..]);
        let [constant, relative] = [self.squares.slack(0.0), self.squares.slack(1.0) - self.squares.slack(0.0)];
        let slack = maximum.magnitude().times(splat(relative)).plus(splat(self.tau + constant));
        maximum.minus(slack).plus(self.shade)
    }

    /// The largest values of a chunk at a place.
    #[inline(always)]
    fn chunk(&self, x: f64, chunk: usize) -> V {
        let from = x - f64::from((chunk * CHUNK) as i32);
        let mut costs = [V::Element::NEUTRAL_OF_SUM; CHUNK];
        for (i, cost) in costs.iter_mut().enumerate() {
            *cost = self.squares.cost(from - f64::from(i as i32));
        }
        self.chunk_under(&costs, chunk)
    }

    /// The largest values of a chunk whose inputs have these costs.
    #[inline(always)]
    fn chunk_under(&self, costs: &[V::Element], chunk: usize) -> V {
        let rows = &self.rows[chunk * CHUNK * V::LEN..][..CHUNK * V::LEN];
        let mut largest = V::splat(V::Element::NEUTRAL_OF_MAXIMUM);
        for (row, &cost) in rows.chunks_exact(V::LEN).zip(&costs[..CHUNK]) {
            largest = largest.larger(V::load(row).minus(V::splat(cost)));
        }
        largest
    }

    /// The maxima at a border, which are within some chunks.
    #[inline(always)]
    fn border(&self, b: usize, mut first: usize, mut last: usize, tiles: &mut TileScratch<V::Element>) {
        let TileScratch { maxima, places, of_chunks, costs, .. } = tiles;
        let from = self.place(b) - f64::from((first * CHUNK) as i32);
        let costs = &mut costs[..(last + 1 - first) * CHUNK];
        for (i, cost) in costs.iter_mut().enumerate() {
            *cost = self.squares.cost(from - f64::from(i as i32));
        }
        let mut largest = V::splat(V::Element::NEUTRAL_OF_MAXIMUM);
        for (chunk, costs) in (first..).zip(costs.chunks_exact(CHUNK)) {
            let own = self.chunk_under(costs, chunk);
            own.store(&mut of_chunks[chunk * V::LEN..]);
            largest = largest.larger(own);
        }
        largest.store(&mut maxima[b * V::LEN..]);
        let largest = largest.plus(self.shade);
        let has_one = |chunk: usize| V::load(&of_chunks[chunk * V::LEN..]).reaches(largest);
        while first < last && !has_one(first) {
            first += 1;
        }
        while last > first && !has_one(last) {
            last -= 1;
        }
        places[b] = (first, last);
    }
}

/// Some inputs, and the outputs of a block.
struct Piece<'a, T> {
    squares: &'a Squares<T>,
    blocks: &'a Blocks<T>,
    start: usize,
    end: usize,
    /// The first output, and how many.
    first: usize,
    count: usize,
    /// Is each term multiplied by its cost?
    times_cost: bool,
}

impl<T: Element> Piece<'_, T> {
    /// The sums of a block over the inputs of a piece, in the place of those that are there or added to them.
    #[inline(always)]
    fn add<V: Vector<Element = T>>(&self, rows: &[T], tiles: &mut TileScratch<T>, is_added: bool) {
        let Self { squares, blocks, start, end, first, count, times_cost } = *self;
        let middle = start + (end - start) / 2;
        let centre = squares.place(first) + 0.5 * (blocks.len - 1) as f64 * squares.step;
        let slope = 2.0 * squares.curvature * (centre - middle as f64);
        let TileScratch { costs, factors, weighted, sums, .. } = tiles;
        let (exponents, factors) = (&mut costs[..end - start], &mut factors[..rows.len()]);
        for (i, exponent) in exponents.iter_mut().enumerate() {
            let t = f64::from(start as i32 + i as i32 - middle as i32);
            *exponent = T::of_double((t * (slope - squares.curvature * t)).clamp(LOG_ZERO, -LOG_ZERO) * LOG2_E);
        }
        let (unit, highest) = (splat::<V>(LOG2_E), splat::<V>(HIGHEST));
        let mut top = V::splat(T::NEUTRAL_OF_MAXIMUM);
        for (row, &exponent) in rows.chunks_exact(V::LEN).zip(&*exponents) {
            top = top.larger(V::load(row).multiply_add(unit, V::splat(exponent)));
        }
        // Any number of this size will do: what is added is what was taken away.
        let base = top.times(splat(LN_2));
        let inputs = rows.chunks_exact(V::LEN).zip(&*exponents);
        for ((row, &exponent), factor) in inputs.zip(factors.chunks_exact_mut(V::LEN)) {
            let exponent = V::load(row).minus(base).multiply_add(unit, V::splat(exponent));
            power_of_two(exponent.smaller(highest)).store(factor);
        }
        let group = columns(blocks.len);
        let (mut table, mut rows_of_group, mut skipped) =
            (blocks.factor.as_slice(), 2 * blocks.most + 1, blocks.most + start - middle);
        let mut scale = 0.0;
        if times_cost {
            let rows = |column: usize| &table[(column / group * rows_of_group + skipped) * group..];
            scale = self.weigh(rows, &mut *weighted);
            (table, rows_of_group, skipped) = (weighted.as_slice(), end - start, 0);
        }
        let reference = Reference { squares, base, middle, scale };
        for column in (0..count).step_by(group) {
            let table = &table[(column / group * rows_of_group + skipped) * group..];
            let sums = &mut sums[column * V::LEN..];
            let first = first + column;
            match (group, V::REGISTERS) {
                (8, 1) => reference.finish(product::<V, 8, 8>(factors, table, 0), first, sums, is_added),
                (8, _) => {
                    reference.finish(product::<V, 8, 4>(factors, table, 0), first, sums, is_added);
                    let sums = &mut sums[4 * V::LEN..];
                    reference.finish(product::<V, 8, 4>(factors, table, 4), first + 4, sums, is_added);
                }
                _ => reference.finish(product::<V, 4, 4>(factors, table, 0), first, sums, is_added),
            }
        }
    }
}

impl<T: Element> Piece<'_, T> {
    /// K times the cost of each pair over the largest, from what tells the rows of K from a column on; and the logarithm of the
    /// largest cost.
    #[inline(always)]
    fn weigh<'t>(&self, factor: impl Fn(usize) -> &'t [T], weighted: &mut Vec<T>) -> f64
    where
        T: 't,
    {
        let Self { squares, blocks, start, end, first, count, .. } = *self;
        let (group, len) = (columns(blocks.len), end - start);
        grow(weighted, count.next_multiple_of(group) * len, T::NEUTRAL_OF_SUM);
        let distance = |output: usize, input: usize| squares.place(output) - f64::from(input as i32);
        let corners = [(first, start), (first, end - 1), (first + count - 1, start), (first + count - 1, end - 1)];
        let largest = corners.into_iter().map(|(output, input)| distance(output, input).abs()).fold(0.0, f64::max);
        let unit = if largest > 0.0 { 1.0 / largest } else { 0.0 };
        for (index, rows) in weighted.chunks_exact_mut(group * len).take(count.div_ceil(group)).enumerate() {
            let column = index * group;
            for (row, (out, factor)) in rows.chunks_exact_mut(group).zip(factor(column).chunks_exact(group)).enumerate()
            {
                for (k, (out, &factor)) in out.iter_mut().zip(factor).enumerate() {
                    let share = distance(first + column + k, start + row) * unit;
                    *out = factor * T::of_double(share * share);
                }
            }
        }
        (squares.curvature * largest * largest).ln().clamp(LOG_ZERO, -LOG_ZERO)
    }
}

/// Sums of products with `N` columns of a table of `R`, from one of them on.
#[inline(always)]
fn product<V: Vector, const R: usize, const N: usize>(
    factors: &[V::Element],
    table: &[V::Element],
    from: usize,
) -> [V; N] {
    let mut sums = [V::splat(V::Element::NEUTRAL_OF_SUM); N];
    for (factor, row) in factors.chunks_exact(V::LEN).zip(table.as_chunks::<R>().0) {
        let factor = V::load(factor);
        for k in 0..N {
            sums[k] = V::splat(row[from + k]).multiply_add(factor, sums[k]);
        }
    }
    sums
}

/// base - c (x + xi - J)^2 on all lines, and the logarithm of what the sums are seen from.
struct Reference<'a, V: Vector> {
    squares: &'a Squares<V::Element>,
    base: V,
    middle: usize,
    scale: f64,
}

impl<V: Vector> Reference<'_, V> {
    /// Logarithms of sums, with the reference of each output.
    #[inline(always)]
    fn finish<const N: usize>(&self, products: [V; N], first: usize, out: &mut [V::Element], is_added: bool) {
        for (k, (sum, out)) in products.into_iter().zip(out.chunks_exact_mut(V::LEN)).enumerate() {
            let distance = self.squares.place(first + k) - self.middle as f64;
            let cost = (self.squares.curvature * distance * distance).min(-LOG_ZERO) - self.scale;
            let high = V::Element::of_double(cost);
            let low = V::Element::of_double(cost - high.as_double());
            // The difference and its rounding (Knuth 1969).
            let minus_cost = V::splat(V::Element::NEUTRAL_OF_SUM - high);
            let reference = self.base.plus(minus_cost);
            let taken = reference.minus(self.base);
            let rounding = self.base.minus(reference.minus(taken)).plus(minus_cost.minus(taken));
            let own = reference.plus(sum.logarithm().plus(rounding.minus(V::splat(low))));
            // Terms that cost nothing have no logarithm.
            let own = own.larger(splat(LOG_ZERO));
            let own = if is_added { log_add(V::load(out), own) } else { own };
            own.store(out);
        }
    }
}

/// log(exp(a) + exp(b)).
#[inline(always)]
fn log_add<V: Vector>(a: V, b: V) -> V {
    let (high, low) = (a.larger(b), a.smaller(b));
    let ratio = power_of_two(low.minus(high).times(splat(LOG2_E)));
    high.plus(splat::<V>(1.0).plus(ratio).logarithm())
}

/// A number of `f64` in all lanes.
#[inline(always)]
pub(super) fn splat<V: Vector>(value: f64) -> V {
    V::splat(V::Element::of_double(value))
}
