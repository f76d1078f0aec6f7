//! Products in `f64` with entries that are kept in any type, and which of them are worth keeping.

use super::element::Element;
use super::reduce::{LANES, sum_of_lanes};

/// Columns of a tile of [`largest_of_tiles`].
pub const TILE_COLUMNS: usize = LANES;

/// `sums[r] = Σ_j rows[r·stride + j]·weights[j]`.
///
/// Products of two `f32` are exact, and nothing is fused, so that all levels have the same bits.
#[inline(always)]
pub(super) fn row_sums<T: Element, const FUSED: bool>(rows: &[T], stride: usize, weights: &[f64], sums: &mut [f64]) {
    let (chunks, tail) = weights.as_chunks::<LANES>();
    for (row, sum) in sums.iter_mut().enumerate() {
        let row = &rows[row * stride..][..weights.len()];
        let (entries, rest) = row.as_chunks::<LANES>();
        let mut lanes = [0.0; LANES];
        for (entries, weights) in entries.iter().zip(chunks) {
            for lane in 0..LANES {
                lanes[lane] += entries[lane].as_double() * weights[lane];
            }
        }
        for ((lane, entry), weight) in lanes.iter_mut().zip(rest).zip(tail) {
            *lane += entry.as_double() * weight;
        }
        *sum = sum_of_lanes(lanes);
    }
}

/// `out[j] ← out[j] + Σ_r factors[r]·rows[r·stride + j]`.
#[inline(always)]
pub(super) fn accumulate<T: Element, const FUSED: bool>(factors: &[f64], rows: &[T], stride: usize, out: &mut [f64]) {
    let (eights, rest) = factors.as_chunks::<8>();
    for (group, factors) in eights.iter().enumerate() {
        accumulate_rows(factors, &rows[8 * group * stride..], stride, out);
    }
    for (offset, &factor) in rest.iter().enumerate() {
        accumulate_rows(&[factor], &rows[(8 * eights.len() + offset) * stride..], stride, out);
    }
}

/// [`accumulate`] for `R` rows.
#[inline(always)]
fn accumulate_rows<T: Element, const R: usize>(factors: &[f64; R], rows: &[T], stride: usize, out: &mut [f64]) {
    let length = out.len();
    let rows: [&[T]; R] = std::array::from_fn(|row| &rows[row * stride..][..length]);
    for (j, sum) in out.iter_mut().enumerate() {
        let mut total = *sum;
        for row in 0..R {
            total += factors[row] * rows[row][j].as_double();
        }
        *sum = total;
    }
}

/// `largest[k] = max rows[r·stride + j]` over `count` rows r and the columns j of the k-th tile.
#[inline(always)]
pub(super) fn largest_of_tiles<T: Element, const FUSED: bool>(
    rows: &[T],
    count: usize,
    stride: usize,
    width: usize,
    largest: &mut [T],
) {
    for (tile, largest) in largest[..width.div_ceil(LANES)].iter_mut().enumerate() {
        let start = tile * LANES;
        let columns = LANES.min(width - start);
        let mut lanes = [T::NEUTRAL_OF_MAXIMUM; LANES];
        for row in 0..count {
            let entries = &rows[row * stride + start..][..columns];
            match entries.first_chunk::<LANES>() {
                Some(entries) => {
                    for lane in 0..LANES {
                        lanes[lane] = if entries[lane] > lanes[lane] { entries[lane] } else { lanes[lane] };
                    }
                }
                None => {
                    for (lane, &entry) in lanes.iter_mut().zip(entries) {
                        *lane = if entry > *lane { entry } else { *lane };
                    }
                }
            }
        }
        *largest = lanes.into_iter().fold(T::NEUTRAL_OF_MAXIMUM, |a, b| if b > a { b } else { a });
    }
}

#[cfg(test)]
mod tests {
    use crate::simd::{Level, TILE_COLUMNS, VectorMath};

    /// Numbers in [0, 1), reproducible.
    fn numbers(len: usize, seed: u64) -> Vec<f64> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        (0..len).map(|_| next()).collect()
    }

    #[test]
    fn products_are_those_of_the_formula_in_double_precision() {
        for (count, width) in [(1, 1), (3, 15), (8, 16), (9, 33), (16, 200)] {
            let stride = width + 5;
            let rows: Vec<f32> = numbers(count * stride, 1).into_iter().map(|entry| entry as f32).collect();
            let entry = |r: usize, j: usize| f64::from(rows[r * stride + j]);
            let (weights, factors) = (numbers(width, 2), numbers(count, 3));
            let mut of_twin: Option<Vec<f64>> = None;
            for level in Level::available() {
                let mut sums = vec![9.0; count];
                f32::wide_row_sums_at(level, &rows, stride, &weights, &mut sums);
                let mut out = vec![1.0; width];
                f32::wide_accumulate_at(level, &factors, &rows, stride, &mut out);
                for (r, sum) in sums.iter().enumerate() {
                    let exact: f64 = (0..width).map(|j| entry(r, j) * weights[j]).sum();
                    assert!((sum - exact).abs() <= 1e-14 * exact, "{level:?}");
                }
                for (j, sum) in out.iter().enumerate() {
                    let exact = 1.0 + (0..count).map(|r| entry(r, j) * factors[r]).sum::<f64>();
                    assert!((sum - exact).abs() <= 1e-14 * exact, "{level:?}");
                }
                // All levels have the bits of the scalar twin.
                sums.extend(out);
                assert_eq!(&sums, of_twin.get_or_insert_with(|| sums.clone()), "{level:?}");
            }
        }
    }

    #[test]
    fn the_largest_of_tiles() {
        let (count, width, stride) = (8, 3 * TILE_COLUMNS + 5, 60);
        let mut rows = numbers(count * stride, 4);
        rows[2 * stride + TILE_COLUMNS + 3] = f64::NAN;
        for level in Level::available() {
            let mut largest = vec![0.0; 4];
            f64::largest_of_tiles_at(level, &rows, count, stride, width, &mut largest);
            for (tile, found) in largest.iter().enumerate() {
                let columns = tile * TILE_COLUMNS..width.min((tile + 1) * TILE_COLUMNS);
                let entries = (0..count).flat_map(|r| columns.clone().map(move |j| r * stride + j)).map(|at| rows[at]);
                assert_eq!(*found, entries.fold(f64::NEG_INFINITY, f64::max), "{level:?}");
            }
        }
    }
}
