//! Matrix products of a panel of entries with weights: one column of weights, or sixteen or eight side by side.
//!
//! Entries are stored row after row. Products are summed in the element type, runs of at most 256 terms to a sum, and
//! the runs in `f64`. Some rows by sixteen columns of sums stay in registers (Goto, van de Geijn 2008), so that each
//! entry loaded serves sixteen multiply-adds.

use super::element::Element;
use super::reduce::{LANES, sum_of_lanes};
use super::vector::Vector;

/// Columns of weights that stand side by side in a matrix product: as many as a sum has lanes.
pub const PRODUCT_LANES: usize = LANES;

/// Columns of the narrow products, for what is left of a batch.
pub const NARROW_LANES: usize = 8;

/// The most terms summed in the element type, over all lanes.
const RUN: usize = 256;

/// `sums[r] = Σ_j rows[r·stride + j]·weights[j]`.
#[inline(always)]
pub(super) fn row_sums<V: Vector>(rows: &[V::Element], stride: usize, weights: &[V::Element], sums: &mut [f64]) {
    match LANES / V::LEN {
        1 => row_sums_of::<V, 1>(rows, stride, weights, sums),
        _ => row_sums_of::<V, 2>(rows, stride, weights, sums),
    }
}

/// [`row_sums`] over vectors of which `K` make sixteen lanes.
#[inline(always)]
fn row_sums_of<V: Vector, const K: usize>(
    rows: &[V::Element],
    stride: usize,
    weights: &[V::Element],
    sums: &mut [f64],
) {
    let (fours, rest) = sums.as_chunks_mut::<4>();
    let whole = 4 * fours.len();
    for (group, sums) in fours.iter_mut().enumerate() {
        *sums = sums_of_rows::<V, K, 4>(&rows[4 * group * stride..], stride, weights);
    }
    for (offset, sum) in rest.iter_mut().enumerate() {
        [*sum] = sums_of_rows::<V, K, 1>(&rows[(whole + offset) * stride..], stride, weights);
    }
}

/// [`row_sums`] of `R` rows.
#[inline(always)]
fn sums_of_rows<V: Vector, const K: usize, const R: usize>(
    rows: &[V::Element],
    stride: usize,
    weights: &[V::Element],
) -> [f64; R] {
    let zero = V::Element::NEUTRAL_OF_SUM;
    let entries = rows;
    let rows: [&[V::Element]; R] = std::array::from_fn(|row| &rows[row * stride..][..weights.len()]);
    let mut totals = [[0.0; LANES]; R];
    for (run, weights) in weights.chunks(RUN).enumerate() {
        let rows: [&[V::Element]; R] = std::array::from_fn(|row| &rows[row][run * RUN..][..weights.len()]);
        let (chunks, tail) = weights.as_chunks::<LANES>();
        let whole = chunks.len();
        let rows_of_chunks: [&[[V::Element; LANES]]; R] =
            std::array::from_fn(|row| &rows[row].as_chunks::<LANES>().0[..whole]);
        let mut lanes = [Wide::<V, K>::splat(zero); R];
        for (chunk, weights) in chunks.iter().enumerate() {
            let weights = Wide::<V, K>::load(weights);
            for row in 0..R {
                lanes[row] = Wide::<V, K>::load(&rows_of_chunks[row][chunk]).multiply_add(weights, lanes[row]);
            }
        }
        if !tail.is_empty() {
            let padded = |values: &[V::Element]| {
                let mut chunk = [zero; LANES];
                chunk[..values.len()].copy_from_slice(values);
                Wide::<V, K>::load(&chunk)
            };
            let weights = padded(tail);
            for row in 0..R {
                // What stands behind a row has no weight. An entry that is infinite there makes the sum no number.
                let behind =
                    entries.get(row * stride + run * RUN + LANES * whole..).and_then(<[_]>::first_chunk::<LANES>);
                let entries = match behind {
                    Some(behind) => Wide::<V, K>::load(behind),
                    None => padded(&rows[row][LANES * whole..]),
                };
                lanes[row] = entries.multiply_add(weights, lanes[row]);
            }
        }
        for row in 0..R {
            let lanes = lanes[row].lanes();
            for (total, lane) in totals[row].iter_mut().zip(lanes) {
                *total += lane.as_double();
            }
        }
    }
    totals.map(sum_of_lanes)
}

/// `sums[r][k] += Σ_j rows[r·stride + j]·weights[j][k]`, for sixteen columns.
#[inline(always)]
pub(super) fn add_row_products<V: Vector>(
    rows: &[V::Element],
    stride: usize,
    weights: &[[V::Element; LANES]],
    sums: &mut [[f64; LANES]],
) {
    match LANES / V::LEN {
        1 => add_row_products_of::<V, 1, LANES>(rows, stride, weights, sums),
        _ => add_row_products_of::<V, 2, LANES>(rows, stride, weights, sums),
    }
}

/// [`add_row_products`] for eight columns.
#[inline(always)]
pub(super) fn add_narrow_row_products<V: Vector>(
    rows: &[V::Element],
    stride: usize,
    weights: &[[V::Element; NARROW_LANES]],
    sums: &mut [[f64; NARROW_LANES]],
) {
    add_row_products_of::<V, 1, NARROW_LANES>(rows, stride, weights, sums);
}

/// [`add_row_products`] over `K` vectors, which have `N` lanes or more.
#[inline(always)]
fn add_row_products_of<V: Vector, const K: usize, const N: usize>(
    rows: &[V::Element],
    stride: usize,
    weights: &[[V::Element; N]],
    sums: &mut [[f64; N]],
) {
    for (run, weights) in weights.chunks(RUN).enumerate() {
        let rows = &rows[run * RUN..];
        let mut row = 0;
        while row < sums.len() {
            let (rows, sums) = (&rows[row * stride..], &mut sums[row..]);
            let most = rows_in_registers::<V, K>();
            let count = if sums.len() >= most { most } else { 1 };
            match count {
                8 => row_products::<V, K, 8, N>(rows, stride, weights, sums),
                4 => row_products::<V, K, 4, N>(rows, stride, weights, sums),
                2 => row_products::<V, K, 2, N>(rows, stride, weights, sums),
                _ => row_products::<V, K, 1, N>(rows, stride, weights, sums),
            }
            row += count;
        }
    }
}

/// [`add_row_products`] of the first `R` rows over one run.
#[inline(always)]
fn row_products<V: Vector, const K: usize, const R: usize, const N: usize>(
    rows: &[V::Element],
    stride: usize,
    weights: &[[V::Element; N]],
    sums: &mut [[f64; N]],
) {
    let rows: [&[V::Element]; R] = std::array::from_fn(|row| &rows[row * stride..][..weights.len()]);
    let mut products = [Wide::<V, K>::splat(V::Element::NEUTRAL_OF_SUM); R];
    for (term, weights) in weights.iter().enumerate() {
        let weights = Wide::<V, K>::load(weights);
        for row in 0..R {
            products[row] = Wide::<V, K>::splat(rows[row][term]).multiply_add(weights, products[row]);
        }
    }
    add(&products, sums);
}

/// `sums[j][k] += Σ_r factors[r][k]·rows[r·stride + j]`, for sixteen columns.
#[inline(always)]
pub(super) fn add_column_products<V: Vector>(
    rows: &[V::Element],
    stride: usize,
    factors: &[[V::Element; LANES]],
    sums: &mut [[f64; LANES]],
) {
    match LANES / V::LEN {
        1 => add_column_products_of::<V, 1, LANES>(rows, stride, factors, sums),
        _ => add_column_products_of::<V, 2, LANES>(rows, stride, factors, sums),
    }
}

/// [`add_column_products`] for eight columns.
#[inline(always)]
pub(super) fn add_narrow_column_products<V: Vector>(
    rows: &[V::Element],
    stride: usize,
    factors: &[[V::Element; NARROW_LANES]],
    sums: &mut [[f64; NARROW_LANES]],
) {
    add_column_products_of::<V, 1, NARROW_LANES>(rows, stride, factors, sums);
}

/// [`add_column_products`] over `K` vectors, which have `N` lanes or more.
#[inline(always)]
fn add_column_products_of<V: Vector, const K: usize, const N: usize>(
    rows: &[V::Element],
    stride: usize,
    factors: &[[V::Element; N]],
    sums: &mut [[f64; N]],
) {
    for (run, factors) in factors.chunks(RUN).enumerate() {
        let rows = &rows[run * RUN * stride..];
        let mut column = 0;
        while column < sums.len() {
            let (rows, sums) = (&rows[column..], &mut sums[column..]);
            let most = rows_in_registers::<V, K>();
            let count = if sums.len() >= most { most } else { 1 };
            match count {
                8 => column_products::<V, K, 8, N>(rows, stride, factors, sums),
                4 => column_products::<V, K, 4, N>(rows, stride, factors, sums),
                2 => column_products::<V, K, 2, N>(rows, stride, factors, sums),
                _ => column_products::<V, K, 1, N>(rows, stride, factors, sums),
            }
            column += count;
        }
    }
}

/// [`add_column_products`] of the first `R` columns over one run.
#[inline(always)]
fn column_products<V: Vector, const K: usize, const R: usize, const N: usize>(
    rows: &[V::Element],
    stride: usize,
    factors: &[[V::Element; N]],
    sums: &mut [[f64; N]],
) {
    let mut products = [Wide::<V, K>::splat(V::Element::NEUTRAL_OF_SUM); R];
    for (term, factors) in factors.iter().enumerate() {
        let entries = &rows[term * stride..][..R];
        let factors = Wide::<V, K>::load(factors);
        for column in 0..R {
            products[column] = Wide::<V, K>::splat(entries[column]).multiply_add(factors, products[column]);
        }
    }
    add(&products, sums);
}

/// Adds sums of a run in `f64`.
#[inline(always)]
fn add<V: Vector, const K: usize, const R: usize, const N: usize>(products: &[Wide<V, K>; R], sums: &mut [[f64; N]]) {
    for (sums, products) in sums.iter_mut().zip(products) {
        let lanes = products.lanes();
        for (sum, lane) in sums.iter_mut().zip(lanes) {
            *sum += lane.as_double();
        }
    }
}

/// Numbers in `K` vectors, sixteen lanes at most.
#[derive(Clone, Copy)]
struct Wide<V, const K: usize>([V; K]);

impl<V: Vector, const K: usize> Wide<V, K> {
    #[inline(always)]
    fn splat(value: V::Element) -> Self {
        Self([V::splat(value); K])
    }

    /// As many numbers as there are lanes; fewer are filled up by zeros.
    #[inline(always)]
    fn load<const N: usize>(values: &[V::Element; N]) -> Self {
        if N < K * V::LEN {
            let mut filled = [V::Element::NEUTRAL_OF_SUM; LANES];
            filled[..N].copy_from_slice(values);
            return Self(std::array::from_fn(|k| V::load(&filled[k * V::LEN..])));
        }
        Self(std::array::from_fn(|k| V::load(&values[k * V::LEN..])))
    }

    #[inline(always)]
    fn lanes(self) -> [V::Element; LANES] {
        let mut lanes = [V::Element::NEUTRAL_OF_SUM; LANES];
        for (k, vector) in self.0.into_iter().enumerate() {
            vector.store(&mut lanes[k * V::LEN..]);
        }
        lanes
    }

    /// self·b + c.
    #[inline(always)]
    fn multiply_add(self, b: Self, c: Self) -> Self {
        Self(std::array::from_fn(|k| self.0[k].multiply_add(b.0[k], c.0[k])))
    }
}

/// Rows of sums that stay in registers: 32 of them where a vector is one register, 16 where it is two.
const fn rows_in_registers<V: Vector, const K: usize>() -> usize {
    match V::REGISTERS {
        1 => 8,
        2 => 4 / K,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use crate::simd::{Level, NARROW_LANES, PRODUCT_LANES as LANES, VectorMath};

    /// Numbers in [-1/2, 1/2), reproducible.
    fn number(index: usize) -> f64 {
        let mixed = (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
    }

    macro_rules! tests_of_type {
        ($module:ident, $type:ident) => {
            mod $module {
                use super::*;

                /// Rows of entries, further apart than they are long.
                fn panel(rows: usize, terms: usize) -> (Vec<$type>, usize) {
                    let stride = terms + 3;
                    ((0..rows * stride).map(|index| number(index) as $type).collect(), stride)
                }

                fn lanes(terms: usize) -> Vec<[$type; LANES]> {
                    let lane = |term: usize, k: usize| number(7_000_000 + term * LANES + k) as $type;
                    (0..terms).map(|term| std::array::from_fn(|k| lane(term, k))).collect()
                }

                const SLACK: f64 = 3.0 * $type::EPSILON as f64;

                #[test]
                fn products_are_those_of_the_formula() {
                    for (rows, terms) in [(1, 1), (3, 15), (4, 16), (8, 256), (9, 257), (13, 600), (30, 31)] {
                        let (entries, stride) = panel(rows, terms);
                        let entry = |r: usize, j: usize| f64::from(entries[r * stride + j]);
                        let (weights, factors) = (lanes(terms), lanes(rows));
                        let one: Vec<$type> = weights.iter().map(|lanes| lanes[3]).collect();
                        for level in Level::available() {
                            let mut sums = vec![0.0; rows];
                            $type::row_sums_at(level, &entries, stride, &one, &mut sums);
                            let mut products = vec![[1.0; LANES]; rows];
                            $type::add_row_products_at(level, &entries, stride, &weights, &mut products);
                            for r in 0..rows {
                                for k in 0..LANES {
                                    let exact = |j: usize| entry(r, j) * f64::from(weights[j][k]);
                                    let expected: f64 = (0..terms).map(exact).sum();
                                    let size: f64 = 1.0 + (0..terms).map(|j| exact(j).abs()).sum::<f64>();
                                    assert!((products[r][k] - 1.0 - expected).abs() <= SLACK * size);
                                    assert!(k != 3 || (sums[r] - expected).abs() <= SLACK * size);
                                }
                            }
                            let narrow = |wide: &[[$type; LANES]]| -> Vec<[$type; NARROW_LANES]> {
                                wide.iter().map(|lanes| std::array::from_fn(|k| lanes[k])).collect()
                            };
                            let mut narrow_products = vec![[1.0; NARROW_LANES]; rows];
                            $type::add_narrow_row_products_at(
                                level,
                                &entries,
                                stride,
                                &narrow(&weights),
                                &mut narrow_products,
                            );
                            assert!(narrow_products.iter().zip(&products).all(|(few, all)| all.starts_with(few)));
                            let mut products = vec![[2.0; LANES]; terms];
                            $type::add_column_products_at(level, &entries, stride, &factors, &mut products);
                            let mut narrow_products = vec![[2.0; NARROW_LANES]; terms];
                            $type::add_narrow_column_products_at(
                                level,
                                &entries,
                                stride,
                                &narrow(&factors),
                                &mut narrow_products,
                            );
                            assert!(narrow_products.iter().zip(&products).all(|(few, all)| all.starts_with(few)));
                            for j in 0..terms {
                                for k in 0..LANES {
                                    let exact = |r: usize| entry(r, j) * f64::from(factors[r][k]);
                                    let expected: f64 = (0..rows).map(exact).sum();
                                    let size: f64 = 2.0 + (0..rows).map(|r| exact(r).abs()).sum::<f64>();
                                    assert!((products[j][k] - 2.0 - expected).abs() <= SLACK * size);
                                }
                            }
                        }
                    }
                }

                #[test]
                fn fused_levels_have_the_same_bits() {
                    let (entries, stride) = panel(11, 333);
                    let (weights, factors) = (lanes(333), lanes(11));
                    let one: Vec<$type> = weights.iter().map(|lanes| lanes[0]).collect();
                    let all = |level: Level| {
                        let (mut sums, mut rows) = (vec![0.0; 11], vec![[0.0; LANES]; 11]);
                        let mut columns = vec![[0.0; LANES]; 333];
                        $type::row_sums_at(level, &entries, stride, &one, &mut sums);
                        $type::add_row_products_at(level, &entries, stride, &weights, &mut rows);
                        $type::add_column_products_at(level, &entries, stride, &factors, &mut columns);
                        let of_lanes = rows.into_iter().chain(columns).flatten();
                        sums.into_iter().chain(of_lanes).map(f64::to_bits).collect::<Vec<_>>()
                    };
                    let fused: Vec<_> = Level::available().filter(|level| level.is_fused()).map(all).collect();
                    assert!(fused.windows(2).all(|pair| pair[0] == pair[1]));
                }
            }
        };
    }

    tests_of_type!(type_f32, f32);
    tests_of_type!(type_f64, f64);
}
