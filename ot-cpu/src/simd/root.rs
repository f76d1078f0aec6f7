//! Roots of integer degree, by multiplications alone.
//!
//! `x^(−1/p)` is read off the bits of x (Mitchell 1962: the bits of a number, as an integer, are its logarithm to base
//! two to within 0.09), which is right to 5 %, and refined by Newton's method for `z^(−p) = x`, where the error
//! is squared each time:
//!
//! ```text
//! z ← z + z·(1 − x·z^p)/p,       x^(1/p) = x·z^(p − 1)
//! ```
//!
//! Errors of 5 % are below 5·10⁻⁵ after two steps, 6·10⁻⁹ after three, 10⁻¹⁶ after four, for p = 3 and 4.

use super::element::Element;
use super::vector::Vector;

/// How much too small the logarithm is that is read off the bits: half of the most that it can be.
const CENTRE: f64 = 0.043;

/// `x^(1/P)` for `P` = 3 or 4 and a normal `x > 0` whose inverse is normal.
#[inline(always)]
pub(super) fn root<V: Vector, const P: u32>(x: V) -> V {
    let steps = if V::Element::GAP > 1e-10 { 3 } else { 4 };
    let inverse_degree = 1.0 / f64::from(P);

    let of_one = 256.0 * (V::Element::BIAS - CENTRE);
    let logarithm =
        x.upper_bits().multiply_add(constant::<V>(-inverse_degree), constant::<V>((1.0 + inverse_degree) * of_one));
    let mut z = logarithm.of_upper_bits();
    let minus_x = constant::<V>(0.0).minus(x);
    for _ in 0..steps {
        let square = z.times(z);
        let power = if P == 3 { square.times(z) } else { square.times(square) };
        let rest = minus_x.multiply_add(power, constant::<V>(1.0));
        z = z.times(constant::<V>(inverse_degree)).multiply_add(rest, z);
    }
    let square = z.times(z);
    x.times(if P == 3 { square } else { square.times(z) })
}

/// The same number in all lanes.
#[inline(always)]
fn constant<V: Vector>(value: f64) -> V {
    V::splat(V::Element::of_double(value))
}
