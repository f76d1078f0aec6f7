//! Passes over a row of costs, compiled for the vectors of this machine.
//!
//! Each pass is one body, written without branches so that it vectorises, and instantiated for AVX-512, AVX2 and what the
//! compiler was told to assume; all compute the same bits.

#![allow(unsafe_code, reason = "functions with target features are called after their detection")]

/// Columns of one block: a relaxation leaves the minimum of each.
pub(super) const BLOCK: usize = 64;
/// Numbers that are compared at a time.
const LANES: usize = 8;

/// Compiles a body for every level, and calls the best that this machine has.
macro_rules! vectorised {
    ($(#[$attribute:meta])* $name:ident = $body:ident($($argument:ident: $kind:ty),*) -> $result:ty) => {
        $(#[$attribute])*
        pub(super) fn $name($($argument: $kind),*) -> $result {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx2")]
                fn avx512($($argument: $kind),*) -> $result {
                    $body($($argument),*)
                }

                #[target_feature(enable = "avx2")]
                fn avx2($($argument: $kind),*) -> $result {
                    $body($($argument),*)
                }

                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx2")
                {
                    // SAFETY: all its features were detected.
                    return unsafe { avx512($($argument),*) };
                }
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: its feature was detected.
                    return unsafe { avx2($($argument),*) };
                }
            }
            $body($($argument),*)
        }
    };
}

vectorised! {
    /// Lowers the minima of columns by row `i`, and notes it where it is the lowest so far.
    lower_minima = lower_minima_body(row: &[f64], i: u32, minima: &mut [f64], rows: &mut [u32]) -> ()
}

#[inline(always)]
fn lower_minima_body(row: &[f64], i: u32, minima: &mut [f64], rows: &mut [u32]) {
    for ((&cost, minimum), lowest) in row.iter().zip(minima).zip(rows) {
        let lower = cost < *minimum;
        *lowest = if lower { i } else { *lowest };
        *minimum = if lower { cost } else { *minimum };
    }
}

vectorised! {
    /// The largest size of a finite cost of a row.
    largest_size = largest_size_body(row: &[f64]) -> f64
}

#[inline(always)]
fn largest_size_body(row: &[f64]) -> f64 {
    let mut largest = [0.0; LANES];
    let (rows, rest) = row.as_chunks::<LANES>();
    let larger =
        |largest: f64, cost: f64| if cost.abs() > largest && cost < f64::INFINITY { cost.abs() } else { largest };
    for row in rows {
        for lane in 0..LANES {
            largest[lane] = larger(largest[lane], row[lane]);
        }
    }
    rest.iter().copied().chain(largest).fold(0.0, larger)
}

/// The two smallest reduced costs of a row, and a column of the first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TwoSmallest {
    pub(super) first: f64,
    pub(super) column: usize,
    /// As large as the first, if it is met twice.
    pub(super) second: f64,
}

vectorised! {
    /// The two smallest C_ij - v_j of a row; the last column of the smallest lane where several are equal.
    two_smallest = two_smallest_body(row: &[f64], v: &[f64]) -> TwoSmallest
}

#[inline(always)]
fn two_smallest_body(row: &[f64], v: &[f64]) -> TwoSmallest {
    let (mut first, mut second, mut place) = ([f64::INFINITY; LANES], [f64::INFINITY; LANES], [0_u64; LANES]);
    let ((rows, rest), (potentials, other_potentials)) = (row.as_chunks::<LANES>(), v.as_chunks::<LANES>());
    for (chunk, (costs, potentials)) in rows.iter().zip(potentials).enumerate() {
        for lane in 0..LANES {
            let reduced = costs[lane] - potentials[lane];
            let lower = reduced < first[lane];
            let loser = if lower { first[lane] } else { reduced };
            second[lane] = if loser < second[lane] { loser } else { second[lane] };
            place[lane] = if lower { chunk as u64 } else { place[lane] };
            first[lane] = if lower { reduced } else { first[lane] };
        }
    }
    let mut best = TwoSmallest { first: f64::INFINITY, column: 0, second: f64::INFINITY };
    let mut offer = |reduced: f64, column: usize| {
        if reduced < best.first {
            best = TwoSmallest { first: reduced, column, second: best.first };
        } else if reduced < best.second {
            best.second = reduced;
        }
    };
    for lane in 0..LANES {
        offer(first[lane], place[lane] as usize * LANES + lane);
    }
    for (lane, (cost, v)) in rest.iter().zip(other_potentials).enumerate() {
        offer(cost - v, rows.len() * LANES + lane);
    }
    let second = second.iter().fold(best.second, |least, &second| if second < least { second } else { least });
    TwoSmallest { second, ..best }
}

vectorised! {
    /// Relaxes the distances of all columns by a row: C_ij - v_j - h_i where that is less, noting `i` as the way there; and
    /// the least distance of each block. A column whose v is minus infinity stays as it is.
    relax = relax_body(
        row: &[f64],
        v: &[f64],
        h: f64,
        i: u32,
        distances: &mut [f64],
        ways: &mut [u32],
        minima: &mut [f64]
    ) -> ()
}

#[inline(always)]
fn relax_body(row: &[f64], v: &[f64], h: f64, i: u32, distances: &mut [f64], ways: &mut [u32], minima: &mut [f64]) {
    let ((rows, row), (vs, v)) = (row.as_chunks::<BLOCK>(), v.as_chunks::<BLOCK>());
    let (wide_distances, distances) = distances.as_chunks_mut::<BLOCK>();
    let (wide_ways, ways) = ways.as_chunks_mut::<BLOCK>();
    let blocks = rows.iter().zip(vs).zip(wide_distances).zip(wide_ways);
    let (wide_minima, last) = minima.split_at_mut(rows.len());
    for ((((row, v), distances), ways), minimum) in blocks.zip(wide_minima) {
        let mut offers = [0.0; BLOCK];
        for k in 0..BLOCK {
            offers[k] = row[k] - v[k] - h;
        }
        for k in 0..BLOCK {
            ways[k] = if offers[k] < distances[k] { i } else { ways[k] };
        }
        let mut least = [f64::INFINITY; LANES];
        for (distances, offers) in distances.as_chunks_mut::<LANES>().0.iter_mut().zip(offers.as_chunks::<LANES>().0) {
            for lane in 0..LANES {
                distances[lane] = if offers[lane] < distances[lane] { offers[lane] } else { distances[lane] };
                least[lane] = if distances[lane] < least[lane] { distances[lane] } else { least[lane] };
            }
        }
        *minimum = least.into_iter().fold(f64::INFINITY, f64::min);
    }
    if let [last] = last {
        *last = f64::INFINITY;
        for (((cost, v), distance), way) in row.iter().zip(v).zip(distances).zip(ways) {
            let offer = cost - v - h;
            if offer < *distance {
                (*distance, *way) = (offer, i);
            }
            *last = last.min(*distance);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Costs, potentials and distances of so many columns, with ties and infinities.
    fn row(len: usize) -> [Vec<f64>; 3] {
        let mut state = len as u64;
        let mut uniform = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        [0.2, 0.0, 0.3].map(|infinite| {
            (0..len).map(|_| if uniform() < infinite { f64::INFINITY } else { (20.0 * uniform()).floor() }).collect()
        })
    }

    #[test]
    fn every_pass_is_its_formula() {
        for len in (1..40).chain([63, 64, 65, 127, 128, 200]) {
            let [costs, mut v, distances] = row(len);
            assert_eq!(largest_size(&costs), costs.iter().copied().filter(|cost| cost.is_finite()).fold(0.0, f64::max));
            let mut reduced: Vec<f64> = costs.iter().zip(&v).map(|(cost, v)| cost - v).collect();
            let found = two_smallest(&costs, &v);
            assert_eq!(found, two_smallest_body(&costs, &v));
            assert_eq!(if found.first < f64::INFINITY { reduced[found.column] } else { found.first }, found.first);
            reduced.sort_by(f64::total_cmp);
            assert_eq!((found.first, found.second), (reduced[0], *reduced.get(1).unwrap_or(&f64::INFINITY)));

            v[len / 2] = f64::NEG_INFINITY;
            let (mut relaxed, mut ways) = (distances.clone(), vec![7; len]);
            let mut minima = vec![0.0; len.div_ceil(BLOCK)];
            relax(&costs, &v, 0.5, 9, &mut relaxed, &mut ways, &mut minima);
            for j in 0..len {
                let offer = costs[j] - v[j] - 0.5;
                let expected = if offer < distances[j] { (offer, 9) } else { (distances[j], 7) };
                assert_eq!((relaxed[j], ways[j]), expected);
            }
            assert_eq!(relaxed[len / 2], distances[len / 2], "a column of no potential stays");
            let least = |block: &[f64]| block.iter().copied().fold(f64::INFINITY, f64::min);
            assert_eq!(minima, relaxed.chunks(BLOCK).map(least).collect::<Vec<f64>>());
            let (mut again, mut twin_ways, mut twin_minima) = (distances.clone(), vec![7; len], minima.clone());
            relax_body(&costs, &v, 0.5, 9, &mut again, &mut twin_ways, &mut twin_minima);
            assert_eq!((again, twin_ways, twin_minima), (relaxed, ways, minima));

            let (mut lowest, mut rows) = (distances.clone(), vec![1; len]);
            lower_minima(&costs, 2, &mut lowest, &mut rows);
            for j in 0..len {
                let expected = if costs[j] < distances[j] { (costs[j], 2) } else { (distances[j], 1) };
                assert_eq!((lowest[j], rows[j]), expected);
            }
        }
    }
}
