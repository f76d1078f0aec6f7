//! Positive parts t = max(f + d, 0) of differences d = g − c: the entries of a plan regularised by its squares.
//!
//! Sums go over lanes of `f64`: element `i` goes to lane `i mod LANES`. Nothing is fused, so the bits are the same at
//! every level; but in [`positive_marginals`]. A difference of minus infinity, a forbidden pair, has no positive part.

use super::costs::load_some;
use super::element::Element;
use super::gibbs::{AHEAD, RUN, add_run};
use super::reduce::{LANES, sum_of_lanes};
use super::vector::{MOST_LANES, Vector, fetch};

/// Rows whose sums stay in registers together.
const ROWS: usize = 4;

/// `costs[j] ← g[j] − costs[j]`.
#[inline(always)]
pub(super) fn differences_from<T: Element, const FUSED: bool>(g: &[T], costs: &mut [T]) {
    for (cost, &g) in costs.iter_mut().zip(g) {
        *cost = g - *cost;
    }
}

/// `Σ w[j]·t[j]` and `Σ w[j]` over `t[j] > 0`.
#[inline(always)]
pub(super) fn positive_sums<T: Element, const FUSED: bool>(f: T, d: &[T], weights: &[T]) -> [f64; 2] {
    let length = d.len().min(weights.len());
    let ((chunks, rest), (weight_chunks, weight_rest)) =
        (d[..length].as_chunks::<LANES>(), weights[..length].as_chunks::<LANES>());
    let mut sums = PositiveSums { sums: [0.0; LANES], counts: [0.0; LANES] };
    for (chunk, weights) in chunks.iter().zip(weight_chunks) {
        sums.add(f, chunk, weights);
    }
    // What is not there has no weight.
    let (mut chunk, mut weights) = ([T::NEUTRAL_OF_SUM; LANES], [T::NEUTRAL_OF_SUM; LANES]);
    chunk[..rest.len()].copy_from_slice(rest);
    weights[..rest.len()].copy_from_slice(weight_rest);
    sums.add(f, &chunk, &weights);
    [sum_of_lanes(sums.sums), sum_of_lanes(sums.counts)]
}

/// What [`positive_sums`] sums.
struct PositiveSums {
    sums: [f64; LANES],
    counts: [f64; LANES],
}

impl PositiveSums {
    /// Adds a chunk, without branches: a part of a normal number or more, times the reciprocal of the smallest one, is at least 1.
    #[inline(always)]
    fn add<T: Element>(&mut self, f: T, d: &[T; LANES], weights: &[T; LANES]) {
        let (zero, huge) = (T::NEUTRAL_OF_SUM, T::of_double(1.0 / T::SMALLEST_NORMAL));
        for lane in 0..LANES {
            let part = zero.larger(f + d[lane]);
            let counted = T::ONE - zero.larger(T::ONE - part * huge);
            self.sums[lane] += part.as_double() * weights[lane].as_double();
            self.counts[lane] += counted.as_double() * weights[lane].as_double();
        }
    }
}

/// `d[j] ← t[j]`, and `Σ w[j]·t[j]` and `Σ w[j]·t[j]²`.
#[inline(always)]
pub(super) fn positive_parts<T: Element, const FUSED: bool>(f: T, d: &mut [T], weights: &[T]) -> [f64; 2] {
    let length = d.len().min(weights.len());
    let ((chunks, rest), (weight_chunks, weight_rest)) =
        (d[..length].as_chunks_mut::<LANES>(), weights[..length].as_chunks::<LANES>());
    let (mut sums, mut squares) = ([0.0; LANES], [0.0; LANES]);
    let mut add = |lane: usize, d: &mut T, weight: T| {
        let part = f + *d;
        *d = if part > T::NEUTRAL_OF_SUM { part } else { T::NEUTRAL_OF_SUM };
        let weighted = d.as_double() * weight.as_double();
        sums[lane] += weighted;
        squares[lane] += weighted * d.as_double();
    };
    for (chunk, weights) in chunks.iter_mut().zip(weight_chunks) {
        for lane in 0..LANES {
            add(lane, &mut chunk[lane], weights[lane]);
        }
    }
    for (lane, (d, &weight)) in rest.iter_mut().zip(weight_rest).enumerate() {
        add(lane, d, weight);
    }
    [sum_of_lanes(sums), sum_of_lanes(squares)]
}

/// Rows of costs, and what makes positive parts `t[r][j] = max((g[j] − costs[r][j]) + f[r], 0)` of them.
#[derive(Clone, Copy, Debug)]
pub struct PositiveRows<'a, T> {
    /// The potentials of the rows.
    pub f: &'a [T],
    /// The weights of the rows.
    pub a: &'a [T],
    /// The potentials of the columns.
    pub g: &'a [T],
    /// The weights of the columns.
    pub b: &'a [T],
    /// The rows.
    pub costs: &'a [&'a [T]],
}

/// `sums[r] += Σ_j b[j]·t[r][j]`, `columns[j] += Σ_r a[r]·t[r][j]`; returns `Σ a[r]·b[j]·t[r][j]²`.
#[inline(always)]
pub(super) fn positive_marginals<V: Vector>(
    rows: PositiveRows<'_, V::Element>,
    sums: &mut [f64],
    columns: &mut [f64],
) -> f64 {
    let (groups, rest) = sums.as_chunks_mut::<ROWS>();
    let whole = ROWS * groups.len();
    let mut squares = 0.0;
    for (group, sums) in groups.iter_mut().enumerate() {
        squares += marginals_of_rows::<V, ROWS>(rows, ROWS * group, sums, columns);
    }
    for (offset, sum) in rest.iter_mut().enumerate() {
        squares += marginals_of_rows::<V, 1>(rows, whole + offset, std::array::from_mut(sum), columns);
    }
    squares
}

/// [`positive_marginals`] of `R` rows. Their weights are taken as shares of the largest, so that no product of two leaves the range.
#[inline(always)]
fn marginals_of_rows<V: Vector, const R: usize>(
    rows: PositiveRows<'_, V::Element>,
    first: usize,
    sums: &mut [f64; R],
    columns: &mut [f64],
) -> f64 {
    let (zero, length) = (V::Element::NEUTRAL_OF_SUM, columns.len());
    let (g, b) = (&rows.g[..length], &rows.b[..length]);
    let costs: [&[V::Element]; R] = std::array::from_fn(|row| &rows.costs[first + row][..length]);
    let largest = rows.a[first..][..R].iter().fold(0.0, |largest: f64, weight| largest.max(weight.as_double()));
    let share = |weight: V::Element| if largest > 0.0 { weight.as_double() / largest } else { 0.0 };
    let f: [V; R] = std::array::from_fn(|row| V::splat(rows.f[first + row]));
    let a: [V; R] = std::array::from_fn(|row| V::splat(V::Element::of_double(share(rows.a[first + row]))));

    let ahead = AHEAD / (R * size_of::<V::Element>());
    let (mut totals, mut squares) = ([[0.0; MOST_LANES]; R], [0.0; MOST_LANES]);
    for start in (0..length).step_by(RUN) {
        let end = length.min(start + RUN);
        let mut run = RowSums { of_rows: [V::splat(zero); R], of_squares: V::splat(zero) };
        let mut at = start;
        while at + V::LEN <= end {
            let mut loaded = [V::splat(zero); R];
            for row in 0..R {
                fetch(costs[row], at + ahead);
                loaded[row] = V::load(&costs[row][at..]);
            }
            let of_column = run.add(loaded, [&f, &a], V::load(&g[at..]), V::load(&b[at..]));
            let mut lanes = [zero; MOST_LANES];
            of_column.store(&mut lanes);
            let columns = &mut columns[at..at + V::LEN];
            for lane in 0..V::LEN {
                columns[lane] += lanes[lane].as_double() * largest;
            }
            at += V::LEN;
        }
        if at < end {
            // What is not there has no weight.
            let mut loaded = [V::splat(zero); R];
            for row in 0..R {
                loaded[row] = load_some(&costs[row][at..end]);
            }
            let of_column = run.add(loaded, [&f, &a], load_some(&g[at..end]), load_some(&b[at..end]));
            let mut lanes = [zero; MOST_LANES];
            of_column.store(&mut lanes);
            for (column, lane) in columns[at..end].iter_mut().zip(lanes) {
                *column += lane.as_double() * largest;
            }
        }
        for (total, of_row) in totals.iter_mut().zip(run.of_rows) {
            add_run(total, of_row);
        }
        add_run(&mut squares, run.of_squares);
    }
    for (sum, total) in sums.iter_mut().zip(totals) {
        *sum += sum_of_lanes(total);
    }
    sum_of_lanes(squares) * largest
}

/// What [`positive_marginals`] sums over columns, of `R` rows.
struct RowSums<V, const R: usize> {
    of_rows: [V; R],
    of_squares: V,
}

impl<V: Vector, const R: usize> RowSums<V, R> {
    /// Adds the positive parts of a vector of columns, and returns their sums over the rows, times weights.
    #[inline(always)]
    fn add(&mut self, costs: [V; R], [f, a]: [&[V; R]; 2], g: V, b: V) -> V {
        let zero = V::splat(V::Element::NEUTRAL_OF_SUM);
        let mut of_column = zero;
        for row in 0..R {
            let part = g.minus(costs[row]).plus(f[row]).larger(zero);
            let (weighted, shared) = (part.times(b), part.times(a[row]));
            self.of_rows[row] = self.of_rows[row].plus(weighted);
            self.of_squares = weighted.multiply_add(shared, self.of_squares);
            of_column = of_column.plus(shared);
        }
        of_column
    }
}

/// How the densities p = t/ε of a row are changed: `p'[j] = x·p[j]·y[j] + u·v[j] + s·t[j]`.
#[derive(Clone, Copy, Debug)]
pub struct SquareChange<'a, T> {
    /// x, u and s.
    pub factors: [f64; 3],
    /// y, v and t.
    pub columns: [&'a [T]; 3],
    /// The strength ε.
    pub epsilon: f64,
}

/// `Σ w[j]·((p' − p)²/2 + p'·(p − z))` with `z = (f + d[j])/ε` and `p = max(z, 0)`; NaN where a pair is forbidden.
#[inline(always)]
pub(super) fn square_fenchel_gap<T: Element, const FUSED: bool>(
    f: T,
    d: &[T],
    weights: &[T],
    change: SquareChange<'_, T>,
) -> f64 {
    let SquareChange { factors: [x, u, s], columns: [y, v, t], epsilon } = change;
    let length = d.len();
    let (f, inverse) = (f.as_double(), 1.0 / epsilon);
    let term = |[d, weight, y, v, t]: [T; 5]| {
        let exponent = (f + d.as_double()) * inverse;
        let density = if exponent > 0.0 { exponent } else { 0.0 };
        let changed = x * density * y.as_double() + u * v.as_double() + s * t.as_double();
        let difference = changed - density;
        weight.as_double() * (0.5 * difference * difference + changed * (density - exponent))
    };
    let slices = [d, weights, y, v, t].map(|slice| slice[..length].as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for chunk in 0..length / LANES {
        let chunks = slices.map(|(chunks, _)| &chunks[chunk]);
        for lane in 0..LANES {
            lanes[lane] += term(chunks.map(|chunk| chunk[lane]));
        }
    }
    for lane in 0..length % LANES {
        lanes[lane] += term(slices.map(|(_, rest)| rest[lane]));
    }
    sum_of_lanes(lanes)
}
