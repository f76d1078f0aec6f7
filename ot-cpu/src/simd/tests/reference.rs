//! The reference that the vectorised functions are measured against: double-double arithmetic.
//!
//! A number is an unevaluated sum of two `f64`, which carries about 106 bits. Nothing here shares a
//! method with the code under test: the exponential is a Taylor series on a range 2⁸ times smaller,
//! squared eight times; the logarithm is one Newton step on that exponential.

/// `high + low`, with `|low|` at most half a unit in the last place of `high`.
#[derive(Clone, Copy)]
pub(super) struct DoubleDouble {
    /// The number, rounded.
    pub high: f64,
    /// What the rounding left.
    pub low: f64,
}

impl DoubleDouble {
    /// `a + b`, exact.
    fn sum_of(a: f64, b: f64) -> DoubleDouble {
        let high = a + b;
        let b_part = high - a;
        let low = (a - (high - b_part)) + (b - b_part);
        DoubleDouble { high, low }
    }

    /// `a·b`, exact.
    fn product_of(a: f64, b: f64) -> DoubleDouble {
        let high = a * b;
        let low = a.mul_add(b, -high);
        DoubleDouble { high, low }
    }

    /// The sum.
    fn plus(self, other: DoubleDouble) -> DoubleDouble {
        let high = DoubleDouble::sum_of(self.high, other.high);
        DoubleDouble::sum_of(high.high, high.low + (self.low + other.low))
    }

    /// The product.
    fn times(self, other: DoubleDouble) -> DoubleDouble {
        let high = DoubleDouble::product_of(self.high, other.high);
        let cross = self.high * other.low + self.low * other.high;
        DoubleDouble::sum_of(high.high, high.low + cross)
    }

    /// The quotient by a number that `f64` holds.
    fn over(self, divisor: f64) -> DoubleDouble {
        let high = self.high / divisor;
        let product = DoubleDouble::product_of(high, divisor);
        let rest = (self.high - product.high) - product.low + self.low;
        DoubleDouble::sum_of(high, rest / divisor)
    }

    /// How far `value` is from this number, in units in the last place of this number.
    pub(super) fn ulps_to(self, value: f64) -> f64 {
        let exponent_only = f64::from_bits(self.high.abs().to_bits() & !((1 << 52) - 1));
        let ulp = exponent_only * f64::EPSILON;
        (((value - self.high) - self.low) / ulp).abs()
    }
}

/// `x·2^k`, in two steps so that neither power leaves the range.
pub(super) fn scaled(x: f64, k: i32) -> f64 {
    let half = k / 2;
    x * 2.0_f64.powi(half) * 2.0_f64.powi(k - half)
}

/// `exp(x)` as `2^k` times a number near 1: `k` and that number.
pub(super) fn exp(x: f64) -> (i32, DoubleDouble) {
    /// ln 2 in three parts; the first times any `k` is exact.
    const LN_2: [f64; 3] = [0.6931471805598903, 5.497923018708371e-14, 1.94704509238075e-31];
    let k = (x / std::f64::consts::LN_2).round();
    let high = DoubleDouble::sum_of(x, -k * LN_2[0]);
    let middle = DoubleDouble::product_of(-k, LN_2[1]);
    let low = DoubleDouble::sum_of(-k * LN_2[2], 0.0);
    let r = high.plus(middle).plus(low).over(256.0);
    let one = DoubleDouble::sum_of(1.0, 0.0);
    let mut series = one;
    for n in (1..=12).rev() {
        series = series.times(r).over(f64::from(n)).plus(one);
    }
    for _ in 0..8 {
        series = series.times(series);
    }
    (k as i32, series)
}

/// `ln(x)` for positive finite `x`.
pub(super) fn ln(x: f64) -> DoubleDouble {
    let f = x - 1.0;
    if f.abs() < 1.0 / 1024.0 {
        // The series in f, where a Newton step would lose the small result.
        let f = DoubleDouble::sum_of(f, 0.0);
        let mut series = DoubleDouble::sum_of(0.0, 0.0);
        for n in (1..=13).rev() {
            let sign = if n % 2 == 1 { 1.0 } else { -1.0 };
            let term = DoubleDouble::sum_of(sign, 0.0).over(f64::from(n));
            series = series.times(f).plus(term);
        }
        return series.times(f);
    }
    let guess = x.ln();
    let (k, power) = exp(-guess);
    let ratio = DoubleDouble::sum_of(scaled(x, k), 0.0).times(power);
    let rest = ratio.plus(DoubleDouble::sum_of(-1.0, 0.0));
    let correction = rest.high + rest.low - 0.5 * rest.high * rest.high;
    DoubleDouble::sum_of(guess, correction)
}
