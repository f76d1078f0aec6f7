//! Weights in f64, and masses as whole numbers.

use ot_core::{Error, Measure, Scalar, Support, WeightsView};

use super::sum::sum_of;
use crate::unit::power_of_two;

/// Refuses batches.
///
/// # Errors
/// [`Error::BatchMismatch`], or [`Error::Length`] for two batches of one size.
pub(super) fn check_single<T: Scalar>(source: &dyn Measure<T>, target: &dyn Measure<T>) -> Result<(), Error> {
    let [source_columns, target_columns] =
        [source, target].map(|measure| measure.weights().map_or(1, |weights| weights.columns()));
    match (source_columns, target_columns) {
        (1, 1) => Ok(()),
        (found, other) if found == other => {
            Err(Error::Length { what: "columns of either measure", expected: 1, found })
        }
        _ => Err(Error::BatchMismatch { source_columns, target_columns }),
    }
}

/// The one histogram of each of two measures, checked.
pub(crate) fn single_weights<'a, T: Scalar>(
    source: &'a dyn Measure<T>,
    target: &'a dyn Measure<T>,
) -> Result<[WeightsView<'a, T>; 2], Error> {
    check_single(source, target)?;
    Ok([checked_weights(source)?, checked_weights(target)?])
}

/// Refuses what is no measure of one histogram.
///
/// # Errors
/// Those of [`single_weights`] and [`ot_core::PointsView::validate`].
pub(crate) fn check_histogram<T: Scalar>(measure: &dyn Measure<T>) -> Result<(), Error> {
    let weights = checked_weights(measure)?;
    if let Support::Points(points) = measure.support() {
        points.validate()?;
    }
    match weights.columns() {
        1 => Ok(()),
        found => Err(Error::Length { what: "columns of a measure", expected: 1, found }),
    }
}

/// The histogram of a measure that is no batch.
fn checked_weights<T: Scalar>(measure: &dyn Measure<T>) -> Result<WeightsView<'_, T>, Error> {
    let unsupported = || Error::UnsupportedSupport { what: "a discrete problem", found: measure.support().kind() };
    let weights = measure.weights().ok_or_else(unsupported)?;
    weights.validate()?;
    match measure.support().len() {
        Some(expected) if expected != weights.len() => {
            Err(Error::Length { what: "weights", expected, found: weights.len() })
        }
        _ => Ok(weights),
    }
}

/// The weights in f64.
pub(super) fn wide<T: Scalar>(weights: WeightsView<'_, T>) -> Vec<f64> {
    weights.values().iter().map(|weight| weight.to_f64()).collect()
}

/// Both weights in f64, those of the target rescaled to the mass of the source.
///
/// # Errors
/// [`Error::MassMismatch`] for masses that differ by more than the rounding of n + m weights explains.
pub(crate) fn balanced_weights<T: Scalar>(
    [source, target]: [WeightsView<'_, T>; 2],
) -> Result<(Vec<f64>, Vec<f64>), Error> {
    let (a, mut b) = (wide(source), wide(target));
    balance::<T>(&a, &mut b)?;
    Ok((a, b))
}

/// Rescales the weights of the target to the mass of the source.
///
/// # Errors
/// Those of [`balanced_weights`].
pub(super) fn balance<T: Scalar>(a: &[f64], b: &mut [f64]) -> Result<(), Error> {
    let [source_mass, target_mass] = [a, b].map(|weights| sum_of(weights.iter().copied()));
    let tolerance = T::EPSILON * (64.0 + 8.0 * ((a.len() + b.len()) as f64).sqrt());
    if (source_mass - target_mass).abs() > tolerance * source_mass.max(target_mass) {
        return Err(Error::MassMismatch { column: 0, source_mass, target_mass, tolerance });
    }
    if source_mass != target_mass {
        let ratio = source_mass / target_mass;
        b.iter_mut().for_each(|weight| *weight *= ratio);
    }
    Ok(())
}

/// Masses of both sides as whole numbers of one unit, of equal sums, none of them zero.
///
/// Whole numbers make the flows of a tree exact: no marginal drifts, and what is zero is zero. Weights keep all their
/// digits down to 2^-48 of the total. Where both sides are uniform, the unit is the greatest common divisor of their
/// weights, so that a plan between them has no flows of the size of rounding.
#[derive(Debug, Default)]
pub(super) struct WholeMasses {
    /// Numbers of units, source and target.
    pub(super) units: [Vec<i128>; 2],
    /// The mass of `1 / per_mass` units.
    mass: f64,
    /// A power of two.
    per_mass: f64,
}

/// Units in the largest power of two below the total: it leaves digits for sums, and for as many digits of a weight of 2^-48
/// as an f64 has.
const UNITS: f64 = (1_u128 << 99) as f64;

impl WholeMasses {
    /// The masses of weights that are all positive and of one sum up to rounding, which the target makes up for.
    ///
    /// An atom of less than 2^-101 of the total counts as one unit.
    pub(super) fn new(a: &[f64], b: &[f64]) -> Self {
        let mut masses = Self::default();
        masses.weigh(a, b);
        masses
    }

    /// Makes these the masses of weights, as [`new`](Self::new) does.
    pub(super) fn weigh(&mut self, a: &[f64], b: &[f64]) {
        let is_uniform = |weights: &[f64]| weights.iter().all(|weight| *weight == weights[0]);
        if is_uniform(a) && is_uniform(b) {
            let divisor = greatest_common_divisor(a.len(), b.len());
            let (of_source, of_target) = (b.len() / divisor, a.len() / divisor);
            for (units, (each, atoms)) in self.units.iter_mut().zip([(of_source, a.len()), (of_target, b.len())]) {
                units.clear();
                units.resize(atoms, each as i128);
            }
            (self.mass, self.per_mass) = (a[0] / of_source as f64, 1.0);
            return;
        }
        self.round(a, b);
        self.balance();
    }

    /// The masses where `moved` of them moves, and the last atoms of the sides named are those where the rest stays: it is
    /// the difference of whole numbers, for that of weights has lost the digits of a small mass.
    pub(super) fn partial(a: &[f64], b: &[f64], moved: f64, rests: [bool; 2]) -> Self {
        if rests == [false; 2] {
            return Self::new(a, b);
        }
        let mut masses = Self::default();
        masses.round(a, b);
        let moves = |side: usize| masses.units[side].len() - usize::from(rests[side]);
        let [supply, demand] = [0, 1].map(|side| masses.units[side][..moves(side)].iter().sum::<i128>());
        let moved = match rests {
            [false, _] => demand,
            [_, false] => supply,
            _ => masses.whole(moved),
        };
        for (side, rest) in [demand - moved, supply - moved].into_iter().enumerate().filter(|&(side, _)| rests[side]) {
            if let Some(last) = masses.units[side].last_mut() {
                *last = rest;
            }
        }
        masses
    }

    /// The weights of both sides, each rounded.
    fn round(&mut self, a: &[f64], b: &[f64]) {
        (self.mass, self.per_mass) = (power_of_two(sum_of(a.iter().copied())), UNITS.recip());
        let mut units = std::mem::take(&mut self.units);
        for (units, weights) in units.iter_mut().zip([a, b]) {
            units.clear();
            units.extend(weights.iter().map(|&weight| self.whole(weight)));
        }
        self.units = units;
    }

    /// The number of units of a mass, at least one.
    fn whole(&self, mass: f64) -> i128 {
        rounded(mass / self.mass / self.per_mass).max(1)
    }

    /// The mass of so many units.
    pub(super) fn mass(&self, units: i128) -> f64 {
        units as f64 * self.per_mass * self.mass
    }

    /// Spreads the difference of the sums over the target, in proportion to its masses.
    fn balance(&mut self) {
        let [source, target] = &mut self.units;
        let (source_sum, target_sum) = (source.iter().sum::<i128>(), target.iter().sum::<i128>());
        let ratio = (source_sum - target_sum) as f64 / target_sum as f64;
        if source_sum != target_sum {
            target.iter_mut().for_each(|units| *units = (*units + (*units as f64 * ratio).round() as i128).max(1));
            let missing = source_sum - target.iter().sum::<i128>();
            if let Some(largest) = target.iter_mut().max() {
                *largest += missing;
            }
        }
    }
}

/// The whole number nearest to a non-negative one below 2^127; from 2^52 on all are whole, and their digits are shifted.
fn rounded(value: f64) -> i128 {
    const DIGITS: u32 = f64::MANTISSA_DIGITS - 1;
    const WHOLE: f64 = (1_u64 << DIGITS) as f64;
    if value < WHOLE {
        return i128::from(value.round() as i64);
    }
    let bits = value.to_bits();
    let digits = (bits & ((1 << DIGITS) - 1)) | 1 << DIGITS;
    let exponent = (bits >> DIGITS) as u32 - (f64::MAX_EXP as u32 - 1 + DIGITS);
    i128::from(digits) << exponent
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_equal_and_masses_keep_their_digits() {
        let a = [0.1, 0.2, 0.3e-12, 0.4];
        let b = [0.3, 0.3 * (1.0 + 1e-15), 0.1 + 0.3e-12];
        let masses = WholeMasses::new(&a, &b);
        let [source, target] = &masses.units;
        assert_eq!(source.iter().sum::<i128>(), target.iter().sum::<i128>());
        for (weights, units) in [(&a[..], source), (&b[..], target)] {
            for (weight, &units) in weights.iter().zip(units) {
                assert!((masses.mass(units) - weight).abs() <= 4.0 * f64::EPSILON * weight, "{weight}");
            }
        }
    }

    #[test]
    fn whole_numbers_are_those_of_a_conversion() {
        let mut value = 0.3;
        while value < 1e37 {
            assert_eq!(rounded(value), value.round() as i128, "{value}");
            value *= 1.37;
        }
        for exponent in [51, 52, 53, 54, 99, 125] {
            let power = 2_f64.powi(exponent);
            for value in [power * (1.0 - f64::EPSILON / 2.0), power, power * (1.0 + f64::EPSILON)] {
                assert_eq!(rounded(value), value.round() as i128, "{value}");
            }
        }
    }

    #[test]
    fn uniform_masses_have_a_common_divisor() {
        let masses = WholeMasses::new(&[1.0 / 9.0; 9], &[1.0 / 3.0; 3]);
        assert_eq!(masses.units, [vec![1; 9], vec![3; 3]]);
        assert_eq!(masses.mass(1), 1.0 / 9.0);
    }

    #[test]
    fn a_small_mass_that_moves_keeps_its_digits() {
        let (a, b) = ([0.25, 0.75, 2.0 - 1e-12], [0.5, 0.5, 1.0, 1.0 - 1e-12]);
        let masses = WholeMasses::partial(&a, &b, 1e-12, [true, true]);
        let [source, target] = &masses.units;
        assert_eq!(source.iter().sum::<i128>(), target.iter().sum::<i128>());
        let moved = source[..2].iter().sum::<i128>() - target[3];
        assert!((masses.mass(moved) / 1e-12 - 1.0).abs() < 1e-15);
        assert!((masses.mass(source[2]) - a[2]).abs() < 1e-15 && (masses.mass(target[3]) - b[3]).abs() < 1e-15);
    }

    #[test]
    fn masses_at_both_ends_of_the_range() {
        for scale in [1e-300, 1e300] {
            let masses = WholeMasses::new(&[scale, 2.0 * scale], &[3.0 * scale]);
            assert_eq!(masses.mass(masses.units[0][1]), 2.0 * scale);
        }
    }
}
