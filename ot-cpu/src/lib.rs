//! CPU backend of a computational optimal transport framework.
//!
//! A [`CpuBackend`] is a pool of threads with vectorised arithmetic. It makes four geometries: [`GridGeometry`] works
//! with the axes of two grids under a separable cost, and forms neither matrix nor kernel;
//! [`DenseGeometry`] keeps a cost matrix and iterates on an absorbed copy of its Gibbs kernel, one
//! multiply-add per entry; [`StreamingGeometry`] keeps two point clouds and recomputes entries from
//! coordinates, one exponential per pair and full iteration, in memory O(n + m); [`BlockSparseGeometry`] leaves out those
//! pairs of large clouds that are too far apart to matter, and knows by how much.
//!
//! Results do not depend on the number of threads, to the bit.
//!
//! ```
//! use ot_core::{GeometryBuilder, Measure, PointCloud, Side, SqEuclidean};
//! use ot_cpu::CpuBackend;
//!
//! let backend = CpuBackend::<f64>::new(2)?;
//! let source = PointCloud::new(vec![0.0, 1.0, 2.0], 1, vec![0.25, 0.5, 0.25])?;
//! let target = PointCloud::new(vec![0.5, 1.5], 1, vec![0.5, 0.5])?;
//! let geometry = backend.geometry(source.support(), target.support(), &SqEuclidean)?;
//! assert_eq!((geometry.len(Side::Source), geometry.len(Side::Target)), (3, 2));
//! # Ok::<(), ot_core::Error>(())
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod backend;
pub mod geometry;
mod simd;

pub use backend::{CpuBackend, KeptEntries};
pub use geometry::{
    ArcsGeometry, BlockSparseGeometry, CpuScalar, DenseGeometry, FeatureGeometry, GridGeometry, StreamingGeometry,
};
#[cfg(feature = "heat")]
pub use geometry::{
    CotangentGraph, HeatDistance, HeatGeometry, HeatReport, MeshReport, PointCloudHeat, cotangent_graph,
};
pub use simd::LineCounts;

/// The vectorised passes at every instruction-set level, for the benchmarks of this repository alone: they are methods
/// of [`CpuScalar`], and take these.
#[doc(hidden)]
pub mod bench_support {
    pub use crate::simd::{GibbsTerms, Level, PRODUCT_LANES, PointCost, PointPairs};
}
