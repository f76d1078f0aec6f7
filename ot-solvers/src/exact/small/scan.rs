//! Rows of a table scanned by the widest vectors of the machine.

use ot_core::instructions::{Loops, run_widest};

use super::super::network_simplex::{ROUNDING, is_negative};

/// Entries that are looked at together. Rows of a table, and vectors beside them, are padded to multiples of it.
pub(super) const LANES: usize = 8;

/// The least C_j + offset_j of a row, and its place; `None` if all are infinite.
pub(super) fn least(row: &[f64], offsets: &[f64]) -> Option<usize> {
    run_widest(Least { row, offsets })
}

struct Least<'a> {
    row: &'a [f64],
    offsets: &'a [f64],
}

impl Loops for Least<'_> {
    type Output = Option<usize>;

    #[inline(always)]
    fn run(self) -> Option<usize> {
        let least = least_sum(self.row, self.offsets);
        if least < f64::INFINITY { place_of(self.row, self.offsets, least) } else { None }
    }
}

/// The least entry of a padded row.
pub(super) fn least_cost(row: &[f64]) -> f64 {
    run_widest(LeastCost(row))
}

struct LeastCost<'a>(&'a [f64]);

impl Loops for LeastCost<'_> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        let mut lanes = [f64::INFINITY; LANES];
        for costs in self.0.as_chunks::<LANES>().0 {
            for lane in 0..LANES {
                lanes[lane] = if costs[lane] < lanes[lane] { costs[lane] } else { lanes[lane] };
            }
        }
        lanes.into_iter().fold(f64::INFINITY, |least, cost| if cost < least { cost } else { least })
    }
}

/// least_j = min(least_j, C_j - value).
pub(super) fn lower(least: &mut [f64], row: &[f64], value: f64) {
    run_widest(Lower { least, row, value });
}

struct Lower<'a> {
    least: &'a mut [f64],
    row: &'a [f64],
    value: f64,
}

impl Loops for Lower<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (least, cost) in self.least.iter_mut().zip(self.row) {
            let reduced = cost - self.value;
            *least = if reduced < *least { reduced } else { *least };
        }
    }
}

/// Some rows of a table, and potentials.
pub(super) struct Rows<'a> {
    pub(super) entries: &'a [f64],
    pub(super) stride: usize,
    /// Those of the rows.
    pub(super) f: &'a [f64],
    pub(super) minus_g: &'a [f64],
}

impl Rows<'_> {
    /// The pair of the least reduced cost, if it is negative beyond rounding, by row and place.
    pub(super) fn most_negative(self) -> Option<(usize, usize, f64)> {
        run_widest(self)
    }
}

impl Loops for Rows<'_> {
    type Output = Option<(usize, usize, f64)>;

    #[inline(always)]
    fn run(self) -> Self::Output {
        let Self { entries, stride, f, minus_g } = self;
        let (mut best, mut least) = (None, 0.0);
        for (i, (row, &f)) in entries.chunks_exact(stride).zip(f).enumerate() {
            let sum = least_sum(row, minus_g);
            // Of less than this rounding no pair is negative.
            if sum - f >= f64::min(least, -ROUNDING * f.abs()) {
                continue;
            }
            let Some(mut j) = place_of(row, minus_g, sum) else { continue };
            if !is_negative(row[j], f, minus_g[j]) {
                // Only rounding makes it negative; another one may be so all the same.
                match (0..row.len()).find(|&j| is_negative(row[j], f, minus_g[j])) {
                    Some(other) if row[other] - f + minus_g[other] < least => j = other,
                    _ => continue,
                }
            }
            least = row[j] - f + minus_g[j];
            best = Some((i, j, least));
        }
        best
    }
}

/// min_j row_j + offset_j.
#[inline(always)]
fn least_sum(row: &[f64], offsets: &[f64]) -> f64 {
    let ((costs, costs_rest), (offsets, offsets_rest)) = (row.as_chunks::<LANES>(), offsets.as_chunks::<LANES>());
    let mut lanes = [f64::INFINITY; LANES];
    for (costs, offsets) in costs.iter().zip(offsets) {
        for lane in 0..LANES {
            let sum = costs[lane] + offsets[lane];
            lanes[lane] = if sum < lanes[lane] { sum } else { lanes[lane] };
        }
    }
    for (cost, offset) in costs_rest.iter().zip(offsets_rest) {
        lanes[0] = if cost + offset < lanes[0] { cost + offset } else { lanes[0] };
    }
    lanes.into_iter().fold(f64::INFINITY, |least, sum| if sum < least { sum } else { least })
}

/// The first place of a sum.
#[inline(always)]
fn place_of(row: &[f64], offsets: &[f64], sum: f64) -> Option<usize> {
    let ((chunks, _), (wide_offsets, _)) = (row.as_chunks::<LANES>(), offsets.as_chunks::<LANES>());
    let mut start = 0;
    for (costs, offsets) in chunks.iter().zip(wide_offsets) {
        let mut any = false;
        for lane in 0..LANES {
            any |= costs[lane] + offsets[lane] == sum;
        }
        if any {
            break;
        }
        start += LANES;
    }
    (start..row.len()).find(|&j| row[j] + offsets[j] == sum)
}
