//! Transport with an answer in closed form, or by an algorithm of its own: the line, the circle, slices, Gaussians, assignment,
//! interpolation. Everything is compared with formulas, brute force and certificates.

mod assignment;
mod circle;
mod gaussian;
mod interpolation;
mod line;
mod sliced;
mod support;
