//! Exponentials of many numbers at once, with the same bits on every machine.

use std::f64::consts::LOG2_E;

use ot_core::instructions::{Loops, run_widest};

/// Replaces numbers by their exponentials, to two units in the last place; those below -708 by zero, and those above 709 by the
/// exponential of that.
pub(super) fn exponentials(numbers: &mut [f64]) {
    run_widest(Exponentials(numbers));
}

struct Exponentials<'a>(&'a mut [f64]);

impl Loops for Exponentials<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for number in self.0 {
            *number = exponential(*number);
        }
    }
}

/// The exponents between which no exponential leaves the normal numbers.
const SMALLEST: f64 = -708.0;
const LARGEST: f64 = 709.0;
/// Added to a number, it leaves the nearest integer in the last bits.
const ROUND: f64 = 6_755_399_441_055_744.0;
/// ln 2 in two parts: products of the first with integers below 2^11 are exact.
const LN_2: [f64; 2] = [6.931_471_803_691_238e-1, 1.908_214_929_270_587_7e-10];
/// 1 / k!, from k = 13 down to 2: the next term is below a tenth of a rounding on [-ln 2 / 2, ln 2 / 2].
const TAYLOR: [f64; 12] = [
    1.0 / 6_227_020_800.0,
    1.0 / 479_001_600.0,
    1.0 / 39_916_800.0,
    1.0 / 3_628_800.0,
    1.0 / 362_880.0,
    1.0 / 40_320.0,
    1.0 / 5_040.0,
    1.0 / 720.0,
    1.0 / 120.0,
    1.0 / 24.0,
    1.0 / 6.0,
    1.0 / 2.0,
];

/// e^x = 2^k e^r with k the integer nearest to x / ln 2 (Cody, Waite 1980).
#[inline(always)]
fn exponential(x: f64) -> f64 {
    let above = if x > SMALLEST { x } else { SMALLEST };
    let within = if above < LARGEST { above } else { LARGEST };
    let shifted = within * LOG2_E + ROUND;
    let power = shifted - ROUND;
    let rest = (within - power * LN_2[0]) - power * LN_2[1];
    let mut tail = TAYLOR[0];
    for coefficient in &TAYLOR[1..] {
        tail = tail * rest + coefficient;
    }
    let value = 1.0 + (rest + rest * rest * tail);
    let scaled = f64::from_bits(value.to_bits().wrapping_add(shifted.to_bits() << 52));
    if x > SMALLEST { scaled } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_those_of_the_library() {
        let exponents = || (-70_790..=70_899).map(|k| f64::from(k) / 100.0 + 1e-3);
        let mut found: Vec<f64> = exponents().collect();
        exponentials(&mut found);
        for (x, found) in exponents().zip(found) {
            assert!((found / x.exp() - 1.0).abs() <= 2.0 * f64::EPSILON, "{x}: {found}");
        }
    }

    #[test]
    fn what_leaves_the_normal_numbers_is_zero_or_stays_finite() {
        let mut ends = [0.0, -708.5, f64::NEG_INFINITY, 800.0, f64::INFINITY];
        exponentials(&mut ends);
        assert_eq!(ends[..3], [1.0, 0.0, 0.0]);
        assert!(ends[3] == ends[4] && ends[4] > 1e307 && ends[4].is_finite());
    }
}
