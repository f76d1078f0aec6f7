//! Units: powers of two that bring numbers near 1, so that their squares and powers stay in range.
//!
//! Multiplied or divided by a power of two a number keeps all its digits. What is computed in a unit of the data and scaled
//! back is therefore right at any scale, and scales exactly with the data.

use ot_core::{Measure, Scalar, power_of_two::binary_exponent};

/// The largest power of two that is at most a positive finite number; 1 for any other.
pub(crate) fn power_of_two(value: f64) -> f64 {
    const EXPONENT: u64 = 0x7ff0_0000_0000_0000;
    if !(value > 0.0 && value < f64::INFINITY) {
        return 1.0;
    }
    let bits = value.to_bits();
    match bits & EXPONENT {
        // A subnormal number: its leading digit.
        0 => f64::from_bits(1 << (u64::BITS - 1 - bits.leading_zeros())),
        exponent => f64::from_bits(exponent),
    }
}

/// [`power_of_two`], where the reciprocal is finite too.
pub(crate) fn invertible_power_of_two(value: f64) -> f64 {
    power_of_two(value).max(f64::MIN_POSITIVE)
}

/// The binary logarithm of a unit of mass, where products of masses come near an end of the range; 0 for ordinary masses.
pub(crate) fn mass_exponent<T: Scalar>(measures: [&dyn Measure<T>; 2]) -> f64 {
    let masses = measures.into_iter().filter_map(|measure| measure.weights());
    let masses = masses.flat_map(|weights| (0..weights.columns()).map(move |column| weights.mass(column)));
    let exponent = binary_exponent(masses.fold(0.0, f64::max));
    if exponent.abs() > binary_exponent(T::MAX) / 4.0 { exponent } else { 0.0 }
}

/// The root of a sum of squares, in their own unit.
pub(crate) fn norm<'a>(values: impl IntoIterator<Item = &'a f64> + Clone) -> f64 {
    let largest = values.clone().into_iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    let unit = power_of_two(largest);
    let square: f64 = values.into_iter().map(|value| (value / unit) * (value / unit)).sum();
    unit * square.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_at_both_ends_of_the_range() {
        for exponent in [-1074, -1073, -1022, -1021, -1, 0, 1, 1022, 1023] {
            let power = 2_f64.powi(exponent / 2) * 2_f64.powi(exponent - exponent / 2);
            assert_eq!(power_of_two(power), power);
            let above = f64::from_bits(power.to_bits() + 1);
            assert_eq!(power_of_two(above), if exponent == -1074 { above } else { power });
        }
        assert_eq!([0.0, -3.0, f64::INFINITY, f64::NAN].map(power_of_two), [1.0; 4]);
        assert!(invertible_power_of_two(5e-324).recip().is_finite());
    }

    #[test]
    fn norms_stay_in_range() {
        let [large, small] = [1000, -1000].map(|exponent| 2_f64.powi(exponent));
        for scale in [large, 1.0, small, f64::from_bits(1)] {
            assert_eq!(norm(&[3.0 * scale, -4.0 * scale]), 5.0 * scale);
        }
        assert_eq!(norm(&[0.0, -0.0]), 0.0);
    }
}
