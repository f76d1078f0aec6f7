//! Point clouds, costs, plans and potentials in the types of the linear algebra crates, without a copy where the layout
//! allows, and in files.
//!
//! | feature | in | out |
//! |---|---|---|
//! | `ndarray` | `PointCloud::from_ndarray`, `Histogram::from_ndarray`, `CostMatrix::from_ndarray` | `into_ndarray`, `PointsView::to_ndarray`, `StridedMatrix::to_ndarray` |
//! | `nalgebra` | `PointCloud::from_nalgebra`, `CostMatrix::from_nalgebra` | `into_nalgebra`, `into_nalgebra_vector` |
//! | `faer` | `PointCloud::from_faer`, `CostMatrix::from_faer` | `to_faer`, `to_faer_column`, `PointsView::to_faer` |
//! | `nalgebra-sparse` | `entries_of_coo` | `coo_matrix` |
//! | `npy` | `npy::read_matrix`, `read_vector`, `read_potentials`, `read_sparse_plan` | `npy::write_matrix`, `write_vector`, `write_potentials`, `write_sparse_plan` |
//! | `csv` | `csv::read_matrix`, `read_sparse_plan` | `csv::write_matrix`, `write_sparse_plan` |

#[cfg(feature = "csv")]
pub mod csv;
#[cfg(feature = "faer")]
mod faer;
#[cfg(any(feature = "csv", feature = "npy"))]
mod file;
#[cfg(feature = "nalgebra")]
mod nalgebra;
#[cfg(feature = "nalgebra-sparse")]
mod nalgebra_sparse;
#[cfg(feature = "ndarray")]
mod ndarray;
#[cfg(feature = "npy")]
pub mod npy;
#[cfg(feature = "npy")]
mod npz;

#[cfg(feature = "faer")]
pub use self::faer::{to_faer, to_faer_column};
#[cfg(any(feature = "csv", feature = "npy"))]
pub use self::file::FileError;
#[cfg(feature = "nalgebra")]
pub use self::nalgebra::{into_nalgebra, into_nalgebra_vector};
#[cfg(feature = "nalgebra-sparse")]
pub use self::nalgebra_sparse::{coo_matrix, entries_of_coo};
#[cfg(feature = "ndarray")]
pub use self::ndarray::into_ndarray;
