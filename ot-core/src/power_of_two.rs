//! Products with powers of two, which round nothing: how numbers that would leave the range are brought into it.

/// The largest whole number e with 2^e <= |value|, subnormal numbers included; that of the smallest number for zero.
///
/// ```
/// use ot_core::power_of_two::binary_exponent;
///
/// assert_eq!([1.0, -7.0, 0.1, 5e-324].map(binary_exponent), [0.0, 2.0, -4.0, -1074.0]);
/// ```
#[must_use]
pub fn binary_exponent(value: f64) -> f64 {
    const SHIFT: f64 = 54.0;
    let of_normal = |value: f64| ((value.to_bits() >> 52) & 0x7ff) as f64 - 1023.0;
    match value.abs() {
        0.0 => -1074.0,
        size if size < f64::MIN_POSITIVE => of_normal(size * power_of_two(SHIFT)) - SHIFT,
        size => of_normal(size),
    }
}

/// value 2^exponent. Exact for a whole exponent, unless the product leaves the normal range.
///
/// ```
/// use ot_core::power_of_two::times_power_of_two;
///
/// assert_eq!(times_power_of_two(3.0, 2.0), 12.0);
/// assert_eq!(times_power_of_two(5e-324, 1074.0), 1.0);
/// assert_eq!(times_power_of_two(1.0, 2000.0), f64::INFINITY);
/// ```
#[must_use]
pub fn times_power_of_two(value: f64, exponent: f64) -> f64 {
    // Three factors, none of which leaves the range unless the product does.
    let third = (exponent / 3.0).trunc();
    value * power_of_two(third) * power_of_two(third) * power_of_two(exponent - 2.0 * third)
}

/// The product of numbers that are not negative. It overflows or vanishes only if it is out of range itself, and powers of
/// two in the factors are powers of two in the product, to the bit.
///
/// ```
/// use ot_core::power_of_two::product;
///
/// assert_eq!(product([1e200, 1e-200, 1e200, 1e-200]), 1.0);
/// assert_eq!(product([0.1, 0.3 * 2_f64.powi(-500), 0.7]), 2_f64.powi(-500) * product([0.1, 0.3, 0.7]));
/// ```
#[must_use]
pub fn product<const N: usize>(factors: [f64; N]) -> f64 {
    if factors.contains(&0.0) {
        return 0.0;
    }
    let exponents = factors.map(binary_exponent);
    let mantissas = factors.iter().zip(exponents).map(|(&factor, exponent)| times_power_of_two(factor, -exponent));
    times_power_of_two(mantissas.product(), exponents.iter().sum())
}

/// 2^exponent, of a size that is a normal number.
fn power_of_two(exponent: f64) -> f64 {
    let whole = exponent.floor().clamp(-1022.0, 1023.0);
    f64::from_bits(((whole + 1023.0) as u64) << 52) * (exponent - whole).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_stay_in_range() {
        let [large, small] = [1000, -1000].map(|exponent| 2_f64.powi(exponent));
        assert_eq!(product([large, small, large]), large);
        assert_eq!(product([small, large, small]), small);
        assert_eq!(product([large, 0.0, large]), 0.0);
        assert_eq!(product([small, small, large, large]), 1.0);
    }

    #[test]
    fn powers_of_two_are_exact() {
        let mut expected = 1.0;
        for exponent in 0..1024 {
            let exponent = f64::from(exponent);
            assert_eq!(times_power_of_two(1.0, exponent), expected);
            assert_eq!(times_power_of_two(expected, -2.0 * exponent), times_power_of_two(1.0, -exponent));
            assert_eq!(binary_exponent(expected * 1.5), exponent);
            assert_eq!(binary_exponent(0.75 / expected), -exponent - 1.0);
            expected *= 2.0;
        }
        assert!((times_power_of_two(1.0, 0.5) / 2.0_f64.sqrt() - 1.0).abs() < 1e-15);
        assert!((times_power_of_two(3.0, -100.3) / (3.0 * 2.0_f64.powf(-100.3)) - 1.0).abs() < 1e-14);
    }
}
