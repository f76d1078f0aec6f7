//! Measures: non-negative weights over a support.
//!
//! Optimal transport asks of a measure two things only: where its atoms lie (a [`Support`]) and how
//! heavy they are (a [`WeightsView`]). Everything else (how a grid, a mesh, a graph or a distribution is
//! stored) stays with the type that implements [`Measure`]. What this crate ships is validated when
//! it is built: [`PointCloud`] for atoms with coordinates, [`GridHistogram`] for the nodes of a [`Grid`],
//! [`VertexHistogram`] for the vertices of a [`TriangleMesh`] or a [`Graph`], [`Histogram`] for atoms known by their index.
//!
//! A measure may be a batch: several histograms, the *columns*, over one support. Zero weights are
//! legal; a column without mass is not, unless [`PointCloud::without_mass`] says that it is meant.

mod bounding_box;
mod box_tree;
mod components;
mod graph;
mod grid;
mod grid_histogram;
mod histogram;
mod mesh;
mod paths;
mod point_cloud;
mod points;
mod vertex_histogram;
mod weights;

use std::{any::Any, fmt::Debug, sync::Arc};

pub use self::{
    bounding_box::BoundingBox,
    box_tree::{BoxNode, BoxTree},
    components::Components,
    graph::Graph,
    grid::{Axis, Grid},
    grid_histogram::GridHistogram,
    histogram::Histogram,
    mesh::TriangleMesh,
    point_cloud::PointCloud,
    points::PointsView,
    vertex_histogram::{VertexHistogram, Vertices},
    weights::WeightsView,
};
use crate::{error::Error, scalar::Scalar};

/// Where the atoms of a measure lie.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Support<'a, T> {
    /// Atoms with coordinates: the cost is a function of two points.
    Points(PointsView<'a, T>),
    /// The nodes of a grid: the cost is a function of two points. Backends that know grids never store the points, nor a
    /// kernel between them.
    Grid(&'a Grid<T>),
    /// The vertices of a triangulated surface: kernels are diffusions on it.
    Mesh(&'a TriangleMesh),
    /// The vertices of a weighted graph: kernels are diffusions on it.
    Graph(&'a Graph),
    /// This many atoms known by their index alone: the cost is a matrix, or a function of two indices.
    Indices(usize),
    /// A support that this crate does not know (a third party's distribution). A
    /// backend that knows the type downcasts it.
    Foreign {
        /// What the support is, in a word, for errors.
        kind: &'static str,
        /// The number of atoms; `None` for a distribution that is not discrete.
        len: Option<usize>,
        /// The support itself.
        support: &'a (dyn Any + Send + Sync),
    },
}

impl<'a, T: Scalar> Support<'a, T> {
    /// The number of atoms; `None` for a distribution that is not discrete.
    #[must_use]
    pub fn len(&self) -> Option<usize> {
        match self {
            Self::Points(points) => Some(points.len()),
            Self::Grid(grid) => Some(grid.len()),
            Self::Mesh(mesh) => Some(mesh.len()),
            Self::Graph(graph) => Some(graph.len()),
            Self::Indices(len) => Some(*len),
            Self::Foreign { len, .. } => *len,
        }
    }

    /// Is the support known to hold no atom?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// The atoms as points of a vector space, if they are: those of a cloud, and the nodes of a grid none of whose axes is
    /// periodic.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] for the nodes of a grid.
    pub fn points(&self) -> Result<Option<PointsView<'a, T>>, Error> {
        match *self {
            Self::Points(points) => Ok(Some(points)),
            Self::Grid(grid) if !grid.is_periodic() => grid.points().map(Some),
            _ => Ok(None),
        }
    }

    /// Does every atom have coordinates, on a line or a circle each?
    #[must_use]
    pub fn has_coordinates(&self) -> bool {
        matches!(self, Self::Points(_) | Self::Grid(_))
    }

    /// Are the atoms known to be the same, in the same order? Foreign supports never are.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Points(x), Self::Points(y)) => {
                let (one, other) = (x.coordinates(), y.coordinates());
                x.dimension() == y.dimension() && (std::ptr::eq(one, other) || one == other)
            }
            (Self::Grid(x), Self::Grid(y)) => x == y,
            (Self::Mesh(x), Self::Mesh(y)) => x == y,
            (Self::Graph(x), Self::Graph(y)) => x == y,
            (Self::Indices(rows), Self::Indices(columns)) => rows == columns,
            _ => false,
        }
    }

    /// What the support is, in a word: `"points"`, `"grid"`, `"periodic grid"`, `"mesh"`, `"graph"`, `"indices"`, or what a foreign one calls
    /// itself.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Points(_) => "points",
            Self::Grid(grid) if grid.is_periodic() => "periodic grid",
            Self::Grid(_) => "grid",
            Self::Mesh(_) => "mesh",
            Self::Graph(_) => "graph",
            Self::Indices(_) => "indices",
            Self::Foreign { kind, .. } => kind,
        }
    }
}

/// Non-negative weights over a support.
///
/// Object-safe, so that a problem can hold `&dyn Measure<T>`. An implementation hands out views of
/// what it stores; a problem rechecks them ([`PointsView::validate`], [`WeightsView::validate`]).
///
/// ```
/// use ot_core::{Measure, PointCloud, Support, WeightsView};
///
/// /// The two faces of a coin.
/// #[derive(Debug)]
/// struct Coin([f64; 2]);
///
/// impl Measure<f64> for Coin {
///     fn support(&self) -> Support<'_, f64> {
///         Support::Indices(2)
///     }
///     fn weights(&self) -> Option<WeightsView<'_, f64>> {
///         WeightsView::new(&self.0, 1).ok()
///     }
/// }
///
/// let coin = Coin([0.5, 0.5]);
/// let measure: &dyn Measure<f64> = &coin;
/// assert_eq!(measure.support().len(), Some(2));
/// assert_eq!(measure.weights().map(|weights| weights.mass(0)), Some(1.0));
/// ```
pub trait Measure<T: Scalar>: Debug + Send + Sync {
    /// Where the atoms lie.
    fn support(&self) -> Support<'_, T>;

    /// How heavy the atoms are; `None` for a distribution that is not discrete (a Gaussian, a sampler).
    fn weights(&self) -> Option<WeightsView<'_, T>>;
}

/// A pointer to a measure is a measure.
macro_rules! measure_behind_pointer {
    ($($pointer:ty),*) => {$(
        impl<T: Scalar, M: Measure<T> + ?Sized> Measure<T> for $pointer {
            fn support(&self) -> Support<'_, T> {
                (**self).support()
            }

            fn weights(&self) -> Option<WeightsView<'_, T>> {
                (**self).weights()
            }
        }
    )*};
}

measure_behind_pointer!(&M, Box<M>, Arc<M>);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[derive(Debug)]
    struct Tetrahedra {
        side: usize,
        weights: Vec<f64>,
    }

    impl Measure<f64> for Tetrahedra {
        fn support(&self) -> Support<'_, f64> {
            Support::Foreign { kind: "tetrahedra", len: Some(self.side * self.side), support: &self.side }
        }

        fn weights(&self) -> Option<WeightsView<'_, f64>> {
            WeightsView::new(&self.weights, 1).ok()
        }
    }

    #[test]
    fn a_foreign_support_is_downcast_by_who_knows_it() {
        let mesh = Tetrahedra { side: 3, weights: vec![1.0; 9] };
        let Support::Foreign { support, .. } = mesh.support() else {
            panic!("tetrahedra are foreign");
        };
        assert_eq!(support.downcast_ref::<usize>(), Some(&3));
        assert_eq!(support.downcast_ref::<f64>(), None);
        assert_eq!(mesh.support().kind(), "tetrahedra");
        assert_eq!(mesh.support().len(), Some(9));
        assert!(!mesh.support().is_empty());
    }

    #[test]
    fn pointers_are_measures() -> Result<(), Error> {
        fn mass(measure: impl Measure<f64>) -> Option<f64> {
            measure.weights().map(|weights| weights.mass(0))
        }
        let cloud = PointCloud::new(vec![0.0, 1.0], 1, vec![0.25, 0.5])?;
        assert_eq!(mass(&cloud), Some(0.75));
        assert_eq!(mass(&&cloud as &dyn Measure<f64>), Some(0.75));
        assert_eq!(mass(Arc::new(cloud.clone())), Some(0.75));
        assert_eq!(mass(Box::new(cloud) as Box<dyn Measure<f64>>), Some(0.75));
        Ok(())
    }
}
