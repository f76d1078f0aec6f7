//! Hostile but finite inputs, over the whole range of the element type.
//!
//! Numbers are held in f64, rounded to the element type.

use ot_core::Scalar;

use crate::seeded::Seeded;

/// A whole number below a limit.
pub fn below(random: &mut Seeded, limit: usize) -> usize {
    (random.uniform() * limit as f64) as usize
}

/// One of these.
pub fn one_of<V: Copy>(random: &mut Seeded, values: &[V]) -> V {
    values[below(random, values.len())]
}

/// True in so many of a hundred cases.
pub fn percent(random: &mut Seeded, share: usize) -> bool {
    below(random, 100) < share
}

/// 10^x for x uniform between two exponents.
pub fn decade(random: &mut Seeded, low: f64, high: f64) -> f64 {
    10_f64.powf(low + (high - low) * random.uniform())
}

/// The number that the element type holds.
pub fn rounded<T: Scalar>(value: f64) -> f64 {
    T::from_f64(value).to_f64()
}

/// The numbers in the element type.
pub fn narrow<T: Scalar>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&value| T::from_f64(value)).collect()
}

/// The numbers of the element type in f64.
pub fn wide<T: Scalar>(values: &[T]) -> Vec<f64> {
    values.iter().map(|value| value.to_f64()).collect()
}

/// A unit: mostly one, else anywhere that the element type reaches, denormal numbers included.
pub fn unit<T: Scalar>(random: &mut Seeded) -> f64 {
    match below(random, 20) {
        0..12 => 1.0,
        12..16 => decade(random, -6.0, 6.0),
        16..19 => decade(random, T::TINY.log10(), T::MAX.log10() - 2.0),
        _ => T::TINY * decade(random, T::EPSILON.log10() + 1.0, 0.0),
    }
}

/// The nearest power of two below.
fn power_of_two(value: f64) -> f64 {
    2_f64.powi(value.log2().floor() as i32)
}

/// Weights of two sides.
#[derive(Clone, Debug)]
pub struct Masses {
    /// Of the source.
    pub source: Vec<f64>,
    /// Of the target.
    pub target: Vec<f64>,
    /// Whole numbers of one power of two, of equal sums: no sum of them is ever rounded.
    pub exact: bool,
}

/// Weights of equal mass to rounding.
pub fn masses<T: Scalar>(random: &mut Seeded, n: usize, m: usize) -> Masses {
    let unit = unit::<T>(random).min(T::MAX * 1e-6);
    if percent(random, 60) {
        let [a, b] = [n, m].map(|len| whole_numbers(random, len));
        let [of_source, of_target] = [&a, &b].map(|numbers| numbers.iter().sum::<f64>());
        let unit = power_of_two(unit).max(T::TINY * T::EPSILON);
        let times = |numbers: &[f64], other: f64| numbers.iter().map(|number| number * other * unit).collect();
        return Masses { source: times(&a, of_target), target: times(&b, of_source), exact: true };
    }
    let [source, target] = [n, m].map(|len| {
        let shares = shares::<T>(random, len);
        let total: f64 = shares.iter().sum();
        shares.iter().map(|share| rounded::<T>(share / total * unit)).collect::<Vec<f64>>()
    });
    // Denormal units may round to nothing, or to other masses.
    let [one, other] = [&source, &target].map(|weights| weights.iter().sum::<f64>());
    if one > 0.0 && (one - other).abs() <= 32.0 * T::EPSILON * one {
        Masses { source, target, exact: false }
    } else {
        Masses { source: vec![m as f64; n], target: vec![n as f64; m], exact: true }
    }
}

/// Weights of several measures of exactly one mass: whole numbers of one power of two. For a few measures of at most five atoms.
pub fn equal_masses<T: Scalar>(random: &mut Seeded, lens: &[usize]) -> Vec<Vec<f64>> {
    let unit = power_of_two(unit::<T>(random).min(T::MAX * 1e-12)).max(T::TINY * T::EPSILON);
    let numbers: Vec<Vec<f64>> = lens.iter().map(|&len| whole_numbers(random, len)).collect();
    let totals: Vec<f64> = numbers.iter().map(|numbers| numbers.iter().sum()).collect();
    let all: f64 = totals.iter().product();
    let scaled =
        |(numbers, total): (&Vec<f64>, &f64)| numbers.iter().map(|number| number * (all / total) * unit).collect();
    numbers.iter().zip(&totals).map(scaled).collect()
}

/// The relative rounding of weights: more than that of f64 where some are denormal.
pub fn rounding_of(weights: &[Vec<f64>; 2]) -> f64 {
    let least =
        weights.iter().flatten().filter(|weight| **weight > 0.0).fold(f64::MAX, |least, weight| least.min(*weight));
    f64::EPSILON + f64::MIN_POSITIVE * f64::EPSILON / least
}

/// Weights of any masses.
pub fn free_masses<T: Scalar>(random: &mut Seeded, n: usize, m: usize) -> [Vec<f64>; 2] {
    let common = unit::<T>(random).min(T::MAX * 1e-9);
    [n, m].map(|len| {
        let own = if percent(random, 70) { decade(random, -1.0, 1.0) } else { decade(random, -4.0, 4.0) };
        let weights: Vec<f64> =
            shares::<T>(random, len).iter().map(|share| rounded::<T>(share * own * common)).collect();
        if weights.iter().sum::<f64>() > 0.0 { weights } else { vec![1.0; len] }
    })
}

/// Whole numbers up to nine, not all zero.
fn whole_numbers(random: &mut Seeded, len: usize) -> Vec<f64> {
    let zeros = percent(random, 40);
    let mut numbers = random.draw(len, |random| {
        let number = 1 + below(random, 9);
        if zeros && percent(random, 30) { 0.0 } else { number as f64 }
    });
    if numbers.iter().sum::<f64>() == 0.0 {
        numbers[0] = 1.0;
    }
    numbers
}

/// Shares of a mass: equal, of one size, over decades, with zeros.
fn shares<T: Scalar>(random: &mut Seeded, len: usize) -> Vec<f64> {
    let kind = below(random, 5);
    let mut shares = random.draw(len, |random| match kind {
        0 => 1.0,
        1 => 0.05 + random.uniform(),
        2 => decade(random, -12.0, 0.0),
        3 => decade(random, T::TINY.log10(), 0.0),
        _ if percent(random, 30) => 0.0,
        _ => random.uniform(),
    });
    shares[below(random, len)] = 1.0;
    shares
}

/// Costs row by row: any numbers, small whole numbers, distances, over decades, none; with equal rows, negative, huge and
/// forbidden ones among them.
pub fn costs<T: Scalar>(random: &mut Seeded, n: usize, m: usize) -> Vec<f64> {
    let kind = below(random, 8);
    let mut costs: Vec<f64> = (0..n * m)
        .map(|index| {
            let distance = ((index / m) as f64 - (index % m) as f64).abs();
            match kind {
                0..3 => random.uniform(),
                3 => below(random, 4) as f64,
                4 => distance,
                5 => distance * distance,
                6 => decade(random, -12.0, 3.0),
                _ => 0.0,
            }
        })
        .collect();
    if percent(random, 20) {
        let (from, to) = (below(random, n), below(random, n));
        costs.copy_within(from * m..(from + 1) * m, to * m);
    }
    if percent(random, 10) {
        costs.iter_mut().for_each(|cost| *cost -= 0.5);
    }
    let unit = unit::<T>(random);
    costs.iter_mut().for_each(|cost| *cost *= unit);
    let (sentinels, forbidden) = (percent(random, 15), percent(random, 10));
    let huge = one_of(random, &[1e10, 1e20, 4e29, 1e31, 1e37, 1e100, 1e300]);
    for cost in &mut costs {
        if sentinels && percent(random, 30) {
            *cost = huge * unit.max(1e-30);
        }
        *cost = rounded::<T>(cost.clamp(-T::LARGEST_COST, T::LARGEST_COST));
        if forbidden && percent(random, 20) {
            *cost = f64::INFINITY;
        }
    }
    costs
}

/// The mean size of costs that are neither forbidden nor sentinels: half of them are smaller than twice the median.
pub fn typical_cost(costs: &[f64]) -> f64 {
    let mut sizes: Vec<f64> =
        costs.iter().map(|cost| cost.abs()).filter(|cost| cost.is_finite() && *cost > 0.0).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.get(sizes.len() / 2).copied().unwrap_or(1.0)
}

/// Two clouds of one kind: spread, on a grid, in clusters, far from the origin, all at one place; in any unit up to a
/// largest coordinate.
pub fn clouds<T: Scalar>(random: &mut Seeded, [n, m]: [usize; 2], dimension: usize, largest: f64) -> [Vec<f64>; 2] {
    let unit = unit::<T>(random);
    let kind = below(random, 7);
    [n, m].map(|len| {
        random.draw(len * dimension, |random| {
            let coordinate = match kind {
                0..2 => random.normal(),
                2 => below(random, 4) as f64,
                3 => one_of(random, &[0.0, 1.0, 5.0]) + 1e-4 * random.normal(),
                4 => 1e6 + random.normal(),
                5 => 1.0,
                _ => random.normal() * decade(random, -8.0, 0.0),
            };
            rounded::<T>((coordinate * unit).clamp(-largest, largest))
        })
    })
}
