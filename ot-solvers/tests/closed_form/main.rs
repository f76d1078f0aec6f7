//! Transport with an answer in closed form, or by an algorithm of its own: the line, the circle, slices, Gaussians, assignment,
//! interpolation. Everything is compared with formulas, brute force and certificates.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod assignment;
mod circle;
mod gaussian;
mod interpolation;
mod line;
mod sliced;
mod support;
