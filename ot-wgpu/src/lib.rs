//! GPUs as a backend of the framework: Vulkan, Metal and DX12 through [wgpu].
//!
//! Every solver of `ot-solvers` runs on it unchanged. Iterates stay on the device: a solve reads a few numbers at each
//! check. The densities and costs of its certificate come from the device, the host sums them in `f64`, and what rounding may hide
//! is a part of the bounds.
//!
//! ```
//! use ot_core::{Epsilon, Error, GeometryBuilder, Measure, PointCloud, Problem, SqEuclidean};
//! use ot_solvers::Sinkhorn;
//! use ot_wgpu::{Adapter, WgpuBackend};
//!
//! # fn main() -> Result<(), Error> {
//! let backend = match WgpuBackend::new(Adapter::Default) {
//!     Ok(backend) => backend,
//!     Err(error) => {
//!         println!("{error}");
//!         return Ok(());
//!     }
//! };
//! let a = PointCloud::uniform(vec![0.0_f32, 0.0, 1.0, 0.0, 0.0, 1.0], 2)?;
//! let b = PointCloud::uniform(vec![2.0, 1.0, 3.0, 1.0, 2.0, 2.0], 2)?;
//! let geometry = backend.geometry(a.support(), b.support(), &SqEuclidean)?;
//! let problem = Problem::new(geometry, &a, &b, Epsilon::Absolute(0.1))?;
//! let solution = Sinkhorn::default().solve(&problem)?;
//! assert!(solution.status().is_converged());
//! # Ok(())
//! # }
//! ```
//!
//! | what | where |
//! |---|---|
//! | which device: the default, one by name, by power, one that a program has already | [`Adapter`], [`WgpuBackend`] |
//! | grids and a cost that is a sum over the axes | [`GridGeometry`]: axis by axis, nothing formed |
//! | points and a cost that is a formula, or a [text](ot_core::GroundCost::wgsl) in WGSL | [`WgpuGeometry::streaming`]: costs from coordinates, memory O(n + m) |
//! | a matrix, a closure | [`WgpuGeometry::dense`]: the costs in single precision |
//! | vectors | single precision; reduced numbers are pairs of numbers with 48 bits |
//! | all numbers in pairs, for points and matrices | [`WgpuBackend::in_pairs`]: [`WgpuPairGeometry`], elements in `f64` |
//!
//! # Accuracy
//!
//! Everything is computed in single precision, sums over vectors with 48 bits. [`Precision`](ot_core::Precision) tells a unit of
//! 2^-22: a rounding, and as much again for exponential and cost. At an epsilon below 1e-3 of the mean cost the marginal error
//! that single precision allows is above 1e-3; a solution then says so with its status and its floor. [In
//! pairs](WgpuBackend::in_pairs) the unit is 2^-38.
//!
//! # Drivers
//!
//! Vulkan, Metal and DX12. Where there is only OpenGL, a program that depends on `wgpu` 30 with its feature `gles` has it here too.
//! Software serves without a GPU (Mesa's `lavapipe`); with neither, [`WgpuBackend::new`] says so.
//!
//! # What a device may do
//!
//! A lost device, too little memory, a read that takes too long and a shader that its compiler refuses are typed errors:
//! [`BackendFailure`](ot_core::BackendFailure). Operations only record; reads tell what went wrong.

mod adapter;
mod backend;
mod device;
mod geometry;
mod gpu;
mod limit;
mod vector;
mod wgsl;

pub use self::{
    adapter::Adapter,
    backend::WgpuBackend,
    device::{Wgpu, WgpuDevice, WgpuPairs},
    geometry::{GridGeometry, WgpuGeometry, WgpuPairGeometry},
    gpu::Work,
    vector::{DeviceReduced, DeviceVector},
};
/// For the measurements of this framework alone.
#[doc(hidden)]
pub mod bench_support {
    pub use crate::limit::exponentials_and_squares;
}

/// The version of wgpu whose devices this crate takes.
pub use wgpu;
