//! Sorting numbers by their bits.
//!
//! A finite f64 and the unsigned integer of its bits are in the same order once negative numbers are complemented and
//! the sign is flipped. Three passes of a least-significant-digit radix sort (Knuth, *The Art of Computer Programming* 3,
//! section 5.2.5) over the leading 33 bits of the range in use put almost all random numbers into place; runs that agree in
//! these bits are sorted by comparison. Fewer numbers are put into as many intervals of equal length as there are numbers
//! (the same, section 5.2.1), and those of one interval are sorted by comparison. O(n) for spread numbers, O(n log n) for any.

/// Numbers from which passes over their bits are faster than intervals.
const SMALL: usize = 1024;
/// Bits of one pass.
const DIGIT: u32 = 11;
/// Passes.
const PASSES: usize = 3;

/// An unsigned integer in the order of finite numbers.
#[inline]
pub(crate) fn ordered_bits(value: f64) -> u64 {
    let bits = value.to_bits();
    bits ^ ((bits as i64 >> 63) as u64 | 1 << 63)
}

/// The number of [`ordered_bits`].
#[inline]
fn from_ordered_bits(bits: u64) -> f64 {
    f64::from_bits(if bits >> 63 == 1 { bits ^ 1 << 63 } else { !bits })
}

/// Numbers in increasing order.
pub(crate) fn sort(values: &mut [f64]) {
    let mut keys: Vec<u64> = values.iter().map(|&value| ordered_bits(value)).collect();
    sort_by_bits(&mut keys, |&key| key);
    for (value, key) in values.iter_mut().zip(keys) {
        *value = from_ordered_bits(key);
    }
}

/// The numbers in increasing order, with the places they come from. Equal numbers keep their order.
pub(crate) fn sort_with_order(values: impl Iterator<Item = f64>) -> (Vec<f64>, Vec<u32>) {
    let mut keys: Vec<(u64, u32)> = values.zip(0..).map(|(value, index)| (ordered_bits(value), index)).collect();
    sort_by_bits(&mut keys, |&(key, _)| key);
    (keys.iter().map(|&(key, _)| from_ordered_bits(key)).collect(), keys.iter().map(|&(_, index)| index).collect())
}

/// Sorts items by an unsigned key, stably.
fn sort_by_bits<E: Copy + Default>(items: &mut Vec<E>, key: impl Fn(&E) -> u64 + Copy) {
    if items.len() < SMALL {
        sort_by_interval(items, key);
        return;
    }
    let (low, high) = items.iter().map(key).fold((u64::MAX, 0), |(low, high), key| (low.min(key), high.max(key)));
    let shift = (u64::BITS - (high - low).leading_zeros()).saturating_sub(PASSES as u32 * DIGIT);
    let leading = |item: &E| (key(item) - low) >> shift;
    let digit = |item: &E, pass: usize| (leading(item) >> (pass as u32 * DIGIT)) as usize & ((1 << DIGIT) - 1);

    let mut counts = [[0_usize; 1 << DIGIT]; PASSES];
    for item in items.iter() {
        for (pass, counts) in counts.iter_mut().enumerate() {
            counts[digit(item, pass)] += 1;
        }
    }
    let mut other = vec![E::default(); items.len()];
    for (pass, counts) in counts.iter_mut().enumerate() {
        if counts.contains(&items.len()) {
            continue;
        }
        let mut start = 0;
        for count in counts.iter_mut() {
            start += std::mem::replace(count, start);
        }
        for item in items.iter() {
            let place = &mut counts[digit(item, pass)];
            other[*place] = *item;
            *place += 1;
        }
        std::mem::swap(items, &mut other);
    }
    if shift > 0 {
        for run in items.chunk_by_mut(|a, b| leading(a) == leading(b)) {
            if run.len() > 1 {
                run.sort_by_key(key);
            }
        }
    }
}

/// Sorts fewer than [`SMALL`] items by the ordered bits of a number, stably.
fn sort_by_interval<E: Copy + Default>(items: &mut Vec<E>, key: impl Fn(&E) -> u64 + Copy) {
    let value = |item: &E| from_ordered_bits(key(item));
    let (low, high) = items.iter().map(key).fold((u64::MAX, 0), |(low, high), key| (low.min(key), high.max(key)));
    let (low, intervals) = (from_ordered_bits(low), items.len().next_power_of_two());
    let per_unit = intervals as f64 / (from_ordered_bits(high) - low);
    // Increasing, whatever is rounded; of a range beyond that of numbers, or of none, all are in the first.
    let interval = |item: &E| (((value(item) - low) * per_unit) as usize).min(intervals - 1);

    let mut ends = [0_u16; SMALL];
    let ends = &mut ends[..intervals];
    items.iter().for_each(|item| ends[interval(item)] += 1);
    let mut start = 0;
    for end in ends.iter_mut() {
        start += std::mem::replace(end, start);
    }
    let mut other = vec![E::default(); items.len()];
    for item in items.iter() {
        let place = &mut ends[interval(item)];
        other[usize::from(*place)] = *item;
        *place += 1;
    }
    std::mem::swap(items, &mut other);
    let mut start = 0;
    for end in ends.iter().map(|&end| usize::from(end)) {
        if end - start > 1 {
            items[start..end].sort_by_key(key);
        }
        start = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: Vec<f64>) {
        let mut expected: Vec<(f64, u32)> = values.iter().copied().zip(0..).collect();
        expected.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (sorted, order) = sort_with_order(values.iter().copied());
        assert_eq!(sorted.iter().copied().zip(order).collect::<Vec<_>>(), expected);
        let mut plain = values;
        sort(&mut plain);
        assert_eq!(plain, sorted);
    }

    #[test]
    fn every_kind_of_numbers_is_sorted_stably() {
        let mut state = 1_u64;
        let mut bits = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state
        };
        let mut uniform = move || (bits() >> 11) as f64 / (1_u64 << 53) as f64;
        for len in [0, 1, 2, 100, SMALL - 1, SMALL, 5000] {
            check((0..len).map(|_| uniform() - 0.5).collect());
            check((0..len).map(|_| 1e6 + 1e-9 * uniform()).collect());
            check((0..len).map(|_| (8.0 * uniform()).floor() - 4.0).collect());
            check((0..len).map(|_| (uniform() - 0.5) * 10_f64.powf(600.0 * uniform() - 300.0)).collect());
            check((0..len).map(|i| if i % 3 == 0 { f64::MAX } else { -f64::MIN_POSITIVE * uniform() }).collect());
            check(vec![-3.0; len]);
            check((0..len).map(|i| if i % 2 == 0 { 0.0 } else { -0.0 }).collect());
            check((0..len).map(|i| -(i as f64)).collect());
        }
    }
}
