//! Multiplication and addition, with one rounding or with two.

/// `a·b + c` in `f64`: rounded once where `FUSED`, twice where not.
#[inline(always)]
pub(super) fn multiply_add_f64<const FUSED: bool>(a: f64, b: f64, c: f64) -> f64 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// `a·b + c` in `f32`: rounded once where `FUSED`, twice where not.
#[inline(always)]
pub(super) fn multiply_add_f32<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}
