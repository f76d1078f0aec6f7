//! Computational optimal transport: one crate to depend on.
//!
//! A cost matrix and an epsilon, as most start:
//!
//! ```
//! use ot::prelude::*;
//!
//! # #[cfg(feature = "cpu")]
//! # fn main() -> Result<(), Error> {
//! let cost = CostMatrix::new(vec![0.0, 1.0, 4.0, 1.0, 0.0, 1.0], 2, 3)?; // row after row
//! let a = Histogram::new(vec![0.5, 0.5])?;
//! let b = Histogram::new(vec![0.25, 0.25, 0.5])?;
//!
//! let solution = ot::transport(&a, &b, &cost).epsilon(Epsilon::Absolute(0.05)).solve()?;
//! println!("{}: {}", solution.status(), solution.certificate());
//! let plan = solution.plan()?.to_dense(0)?;
//! assert!(plan.len() == 6 && solution.status().is_converged());
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "cpu"))]
//! # fn main() {}
//! ```
//!
//! Points, and the true distance between them:
//!
//! ```
//! use ot::prelude::*;
//!
//! # #[cfg(feature = "cpu")]
//! # fn main() -> Result<(), Error> {
//! let a = PointCloud::uniform(vec![0.0, 0.0, 1.0, 0.0, 0.0, 1.0], 2)?; // three points in the plane
//! let b = PointCloud::uniform(vec![2.0, 1.0, 3.0, 1.0, 2.0, 2.0], 2)?;
//! let exact = ot::transport(&a, &b, &SqEuclidean).exact()?;
//! println!("W_2 = {:.3}, off by at most {:.0e}", exact.transport_cost().sqrt(), exact.gap());
//! assert!((exact.transport_cost() - 5.0).abs() < 1e-12);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "cpu"))]
//! # fn main() {}
//! ```
//!
//! All distances between some measures:
//!
//! ```
//! use ot::prelude::*;
//!
//! # #[cfg(feature = "cpu")]
//! # fn main() -> Result<(), Error> {
//! let clouds = [0.0, 1.0, 3.0].map(|x| PointCloud::uniform(vec![x, x + 1.0], 1));
//! let clouds = clouds.into_iter().collect::<Result<Vec<_>, _>>()?;
//! let table = ot::pairwise(&clouds, &SqEuclidean, &Method::exact())?;
//! assert_eq!(table.distances(2.0), Some(vec![0.0, 1.0, 3.0, 1.0, 0.0, 2.0, 3.0, 2.0, 0.0]));
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "cpu"))]
//! # fn main() {}
//! ```
//!
//! | where | what |
//! |---|---|
//! | here | [`transport`], [`pairwise`], [`cross`], [`zip`] on the threads of this machine (feature `cpu`, on by default) |
//! | [`solvers`] | every solver, over any backend |
//! | [`core`] | measures, costs, penalties, problems, solutions, certificates; the contract for a part of your own |
//! | [`cpu`] | the backend of this machine |
//! | `cpu::HeatGeometry` | heat kernels on meshes and graphs (feature `heat`) |
//! | `diff` | derivatives of solutions (feature `diff`) |
//! | `wgpu` | GPUs as a backend: Vulkan, Metal and DX12 (feature `wgpu`) |
//! | `core::interop` | arrays and matrices of `ndarray`, `nalgebra`, `nalgebra-sparse` and `faer`, files of NumPy and SciPy (`npy`), comma-separated values (`csv`): features of these names |
//!
//! Libraries that add a cost, a kernel or a solver depend on `ot-core` alone.

pub use ot_core as core;
#[cfg(feature = "cpu")]
pub use ot_cpu as cpu;
#[cfg(feature = "diff")]
pub use ot_diff as diff;
pub use ot_solvers as solvers;
#[cfg(feature = "wgpu")]
pub use ot_wgpu as wgpu;

#[cfg(feature = "cpu")]
mod threads;

#[cfg(feature = "cpu")]
pub use self::threads::{ThisMachine, Threaded, cross, pairwise, transport, zip};

/// What most programs name: measures, costs, penalties, epsilon, solutions, solvers.
pub mod prelude {
    pub use ot_core::{
        Axis, Balanced, Certificate, Cosine, CostFunction, CostMatrix, Epsilon, Error, Euclidean, Free,
        GeometryBuilder, Graph, Grid, GridHistogram, GroundCost, HalfSqEuclidean, Histogram, ImpliedCost, Kl,
        Manhattan, Measure, Observer, PointCloud, PowerOfDistance, Problem, Progress, Range, Side, Solution,
        SqEuclidean, Status, TotalVariation, TriangleMesh, VertexHistogram,
    };
    #[cfg(feature = "cpu")]
    pub use ot_cpu::{CpuBackend, FeatureGeometry};
    #[cfg(feature = "heat")]
    pub use ot_cpu::{HeatGeometry, PointCloudHeat};
    pub use ot_solvers::{
        ExactSolution, ExactTransport, LowRankTransport, Method, Newton, PairTable, Sinkhorn, SinkhornDivergence,
        SlicedWasserstein, Start, Transport,
    };
}

/// The pages with programs, compiled and run.
#[cfg(all(doctest, feature = "cpu"))]
mod pages {
    #[doc = include_str!("../README.md")]
    struct Readme;

    #[doc = include_str!("../docs/from-pot.md")]
    struct FromPot;

    #[cfg(feature = "diff")]
    #[doc = include_str!("../docs/from-ott-geomloss.md")]
    struct FromOttAndGeomLoss;

    #[doc = include_str!("../docs/many-small-problems.md")]
    struct ManySmallProblems;

    #[cfg(feature = "wgpu")]
    #[doc = include_str!("../docs/your-cost-on-the-gpu.md")]
    struct YourCostOnTheGpu;
}
