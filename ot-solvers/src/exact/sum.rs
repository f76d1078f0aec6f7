//! Sums that keep the digits that rounding would lose (Neumaier 1974), and those that the range would.

use ot_core::{
    Error,
    cost::check_bound,
    power_of_two::{binary_exponent, times_power_of_two},
};

/// A running sum and what rounding took from it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CompensatedSum {
    sum: f64,
    lost: f64,
}

impl CompensatedSum {
    /// Adds a term.
    #[inline]
    pub(crate) fn add(&mut self, term: f64) {
        let sum = self.sum + term;
        self.lost += if self.sum.abs() >= term.abs() { (self.sum - sum) + term } else { (term - sum) + self.sum };
        self.sum = sum;
    }

    /// The sum, rounded once.
    pub(crate) fn value(self) -> f64 {
        self.sum + self.lost
    }
}

impl FromIterator<f64> for CompensatedSum {
    fn from_iter<I: IntoIterator<Item = f64>>(terms: I) -> Self {
        let mut sum = Self::default();
        terms.into_iter().for_each(|term| sum.add(term));
        sum
    }
}

/// The sum of the terms, rounded once.
pub(super) fn sum_of(terms: impl IntoIterator<Item = f64>) -> f64 {
    terms.into_iter().collect::<CompensatedSum>().value()
}

/// A sum of products of two numbers, in units of a power of two near its largest term: no term that counts overflows or
/// vanishes, whatever the factors, and powers of two in them are powers of two in the sum.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProductSum {
    units: f64,
    /// The unit is two to this power.
    exponent: f64,
}

impl ProductSum {
    /// Beyond all numbers.
    pub(super) const INFINITE: Self = Self { units: f64::INFINITY, exponent: 0.0 };

    /// The sum of products of finite factors, with the digits of [`CompensatedSum`].
    pub(super) fn of(terms: impl Iterator<Item = [f64; 2]> + Clone) -> Self {
        /// Products of this size need no unit: the smallest that counts beside them is a normal number.
        const ORDINARY: std::ops::RangeInclusive<f64> = 1e-270..=1e270;

        let largest = terms.clone().map(|[x, y]| (x * y).abs()).fold(0.0, f64::max);
        if ORDINARY.contains(&largest) {
            return Self { units: sum_of(terms.map(|[x, y]| x * y)), exponent: 0.0 };
        }
        let counted = terms.filter(|factors| !factors.contains(&0.0));
        let exponents = counted.clone().map(|[x, y]| binary_exponent(x) + binary_exponent(y));
        let Some(exponent) = exponents.reduce(f64::max) else { return Self { units: 0.0, exponent: 0.0 } };
        let in_units = |[x, y]: [f64; 2]| {
            let of_x = binary_exponent(x);
            times_power_of_two(x, -of_x) * times_power_of_two(y, of_x - exponent)
        };
        Self { units: sum_of(counted.map(in_units)), exponent }
    }

    /// The sum of both.
    pub(super) fn plus(self, other: Self) -> Self {
        let exponent = match [self.units, other.units] {
            [_, 0.0] => self.exponent,
            [0.0, _] => other.exponent,
            _ => self.exponent.max(other.exponent),
        };
        let units = |sum: Self| times_power_of_two(sum.units, sum.exponent - exponent);
        Self { units: units(self) + units(other), exponent }
    }

    /// The sum times a factor near 1.
    pub(super) fn times(self, factor: f64) -> Self {
        Self { units: factor * self.units, ..self }
    }

    /// The number, which may be infinite if a cost is.
    ///
    /// # Errors
    /// [`Error::CostOverflow`].
    pub(super) fn value(self) -> Result<f64, Error> {
        if self.units.is_infinite() {
            return Ok(self.units);
        }
        let value = times_power_of_two(self.units, self.exponent);
        check_bound::<f64>(value.abs())?;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_any_size_are_summed() {
        let of = |terms: &[[f64; 2]]| ProductSum::of(terms.iter().copied()).value();
        let [large, small] = [1000, -1000].map(|exponent| 2_f64.powi(exponent));
        assert_eq!(of(&[[large, small], [small, large], [0.0, large]]), Ok(2.0));
        // A factor that is larger by far, of nothing.
        assert_eq!(of(&[[0.0, 1e300], [0.5, 1e-300]]), Ok(0.5 * 1e-300));
        // The largest products are not those of the largest factors.
        assert_eq!(of(&[[1.0, 0.0], [5e-324, 1.0], [1e-160, 3e-161]]), Ok(1e-160 * 3e-161 + 5e-324));
        assert_eq!(of(&[[large, large], [large, -large]]), Ok(0.0));
        assert!(of(&[[large, large]]).is_err());
        assert_eq!(of(&[]), Ok(0.0));
    }

    #[test]
    fn sums_of_other_units_are_added() {
        let [large, small] = [[1e200, 1e80], [1e-200, 1e-100]].map(|term| ProductSum::of([term].into_iter()));
        assert_eq!(large.plus(small).value(), Ok(1e200 * 1e80));
        assert_eq!(small.plus(ProductSum::of(std::iter::empty())).value(), Ok(1e-200 * 1e-100));
        assert_eq!(large.plus(large.times(-1.0)).plus(small).value(), Ok(1e-200 * 1e-100));
        assert_eq!(large.plus(ProductSum::INFINITE).value(), Ok(f64::INFINITY));
    }

    #[test]
    fn small_terms_survive_large_ones() {
        assert_eq!(sum_of([1.0, 1e100, 1.0, -1e100]), 2.0);
        assert_eq!(sum_of(std::iter::repeat_n(0.1, 1_000_000)), 100_000.0 + 5.551_115_123_125_783e-13);
    }
}
