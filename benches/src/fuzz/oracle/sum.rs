//! Sums without rounding: expansions of f64 (Shewchuk 1997).

use std::cmp::Ordering;

/// A sum of numbers, exact as long as none overflows: parts of increasing size that do not overlap.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExactSum(Vec<f64>);

impl ExactSum {
    /// A number.
    #[must_use]
    pub fn of(value: f64) -> Self {
        Self(if value == 0.0 { Vec::new() } else { vec![value] })
    }

    /// Adds a number.
    pub fn add(&mut self, term: f64) {
        let mut carried = term;
        let mut parts = Vec::with_capacity(self.0.len() + 1);
        for &part in &self.0 {
            let (sum, lost) = two_sum(carried, part);
            if lost != 0.0 {
                parts.push(lost);
            }
            carried = sum;
        }
        if carried != 0.0 {
            parts.push(carried);
        }
        self.0 = parts;
    }

    /// Adds a product, exact unless a part of it underflows.
    pub fn add_product(&mut self, one: f64, other: f64) {
        let product = one * other;
        self.add(product);
        self.add(one.mul_add(other, -product));
    }

    /// The sum with another.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let mut sum = self.clone();
        other.0.iter().for_each(|&part| sum.add(part));
        sum
    }

    /// The difference from another.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        let mut sum = self.clone();
        other.0.iter().for_each(|&part| sum.add(-part));
        sum
    }

    /// The parts, small to large.
    #[must_use]
    pub fn parts(&self) -> &[f64] {
        &self.0
    }

    /// The sum, rounded.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.0.iter().sum()
    }

    /// Above zero?
    #[must_use]
    pub fn is_positive(&self) -> bool {
        self.0.last().is_some_and(|part| *part > 0.0)
    }

    /// Compared with another, without rounding.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Ordering {
        self.minus(other).0.last().map_or(Ordering::Equal, |part| part.total_cmp(&0.0))
    }
}

impl FromIterator<f64> for ExactSum {
    fn from_iter<I: IntoIterator<Item = f64>>(terms: I) -> Self {
        let mut sum = Self::default();
        terms.into_iter().for_each(|term| sum.add(term));
        sum
    }
}

/// A sum and what rounding took from it (Knuth).
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let of_b = sum - a;
    (sum, (a - (sum - of_b)) + (b - of_b))
}

/// The sum of the terms, rounded once.
pub fn sum(terms: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut lost) = (0.0_f64, 0.0);
    for term in terms {
        let next = sum + term;
        lost += if sum.abs() >= term.abs() { (sum - next) + term } else { (term - next) + sum };
        sum = next;
    }
    if lost.is_finite() { sum + lost } else { sum }
}

/// value 2^exponent, in steps that neither overflow nor vanish on the way.
#[must_use]
pub fn times_power_of_two(value: f64, exponent: i32) -> f64 {
    let quarter = exponent / 4;
    let step = 2_f64.powi(quarter);
    value * step * step * step * 2_f64.powi(exponent - 3 * quarter)
}

/// The exponent e of the largest finite |value|, which lies in [2^e, 2^(e + 1)); 0 of zeros.
pub fn largest_exponent(values: &[f64]) -> i32 {
    let largest =
        values.iter().filter(|value| value.is_finite()).fold(0.0_f64, |largest, value| largest.max(value.abs()));
    if largest > 0.0 { largest.log2().floor() as i32 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost() {
        let terms = [1e100, 1.0, -1e100, 5e-324, 1e-30, -1.0, 3e200];
        let mut sum: ExactSum = terms.into_iter().collect();
        sum.add(-3e200);
        assert_eq!(sum.minus(&ExactSum::of(1e-30)).value(), 5e-324);
        sum.add(-5e-324);
        assert_eq!(sum.compare(&ExactSum::of(1e-30)), Ordering::Equal);
        assert_eq!(sum.compare(&ExactSum::of(1.1e-30)), Ordering::Less);
        assert!(sum.is_positive());
    }
}
