//! Point clouds and cost matrices from the linear algebra crates, without a copy where the layout
//! allows.

#[cfg(feature = "faer")]
mod faer;
#[cfg(feature = "nalgebra")]
mod nalgebra;

#[cfg(feature = "nalgebra")]
pub use self::nalgebra::{into_nalgebra, into_nalgebra_vector};
