//! Elementwise passes: one function of one element, applied along a slice.
//!
//! A slice that is no whole number of chunks ends on a chunk that overlaps the one before: it is
//! read before anything is written, and writes the overlap a second time with the same values. A
//! slice shorter than a chunk is copied into one and back. So every element runs at the speed, and
//! through the instructions, of the rest.

use super::element::Element;

/// Elements to a chunk: two 512-bit registers of `f64`, one of `f32`.
const LANES: usize = 16;

/// `x[i] ← exp(x[i])`.
#[inline(always)]
pub(super) fn exp_in_place<T: Element, const FUSED: bool>(x: &mut [T]) {
    map_in_place(x, T::exponential::<FUSED>);
}

/// `x[i] ← ln(x[i])`.
#[inline(always)]
pub(super) fn ln_in_place<T: Element, const FUSED: bool>(x: &mut [T]) {
    map_in_place(x, T::logarithm::<FUSED>);
}

/// `out[i] ← out[i] + alpha·x[i]`, over the common length.
///
/// A plain loop: the body is so small that the compiler's own tail is good enough. Not fused at any
/// level, for the sake of equal bits; memory is the limit here.
#[inline(always)]
pub(super) fn axpy<T: Element, const FUSED: bool>(alpha: T, x: &[T], out: &mut [T]) {
    for (sum, &term) in out.iter_mut().zip(x) {
        *sum = sum.plus_product(alpha, term);
    }
}

/// `x[i] ← function(x[i])`.
#[inline(always)]
fn map_in_place<T: Element>(x: &mut [T], function: impl Fn(T) -> T) {
    let end = x.last_chunk::<LANES>().copied();
    let (chunks, tail) = x.as_chunks_mut::<LANES>();
    for chunk in chunks {
        map_chunk(chunk, &function);
    }
    if tail.is_empty() {
        return;
    }
    if let Some(mut end) = end {
        map_chunk(&mut end, &function);
        if let Some(place) = x.last_chunk_mut::<LANES>() {
            *place = end;
        }
    } else {
        let mut padded = [T::NEUTRAL_OF_SUM; LANES];
        for (slot, &entry) in padded.iter_mut().zip(tail.iter()) {
            *slot = entry;
        }
        map_chunk(&mut padded, &function);
        for (entry, &slot) in tail.iter_mut().zip(padded.iter()) {
            *entry = slot;
        }
    }
}

/// One whole chunk, the loop that the compiler turns into vector instructions.
#[inline(always)]
fn map_chunk<T: Element>(chunk: &mut [T; LANES], function: &impl Fn(T) -> T) {
    for entry in chunk {
        *entry = function(*entry);
    }
}
