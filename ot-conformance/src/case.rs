//! Geometries with the costs that they should have.

use std::{fmt, sync::Arc};

use ot_core::{
    Axis, CostBetween, CostMatrix, Device, Elem, Error, Geometry, GeometryBuilder, Grid, GroundCost, PointsView,
    ReferenceGeometry, Scalar, Side, Support,
    cost::{CostHandle, CostParameters},
};

use crate::{
    reference_backend::ReferenceBackend,
    seeded::{elements, numbers},
};

/// What the atoms of a case are known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SupportKind {
    /// Coordinates.
    Points,
    /// Their index in a cost matrix.
    Indices,
    /// Something that only the author of the geometry knows.
    Other,
}

impl fmt::Display for SupportKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Points => "points",
            Self::Indices => "indices",
            Self::Other => "another support",
        })
    }
}

/// A geometry, and a reference geometry in f64 of the cost that it should have.
///
/// A backend is tried on [`standard_cases`](crate::standard_cases); the author of a geometry that is built in another way
/// makes cases of it.
#[derive(Debug)]
pub struct GeometryCase<D: Device> {
    name: String,
    kind: SupportKind,
    geometry: Arc<dyn Geometry<D>>,
    reference: Arc<ReferenceGeometry<f64>>,
    points: Option<CasePoints>,
    /// dC_ij / dw_e, row-major, for each edge e.
    edge_slopes: Vec<Vec<f64>>,
    scale: f64,
    slack: f64,
}

/// The points of both sides, point-major, and the cost between them.
#[derive(Clone, Debug)]
pub(crate) struct CasePoints {
    pub(crate) dimension: usize,
    pub(crate) cost: Arc<dyn GroundCost>,
    coordinates: [Vec<f64>; 2],
}

impl CasePoints {
    /// The coordinates of one point.
    pub(crate) fn point(&self, side: Side, index: usize) -> &[f64] {
        &self.coordinates[side.index()][index * self.dimension..][..self.dimension]
    }
}

impl<D: Device> GeometryCase<D> {
    /// A geometry and its costs, row-major, infinite for forbidden pairs.
    ///
    /// # Errors
    /// [`Error::Length`] for a matrix of another size, and those of [`CostMatrix::new`].
    pub fn new(name: impl Into<String>, geometry: Arc<dyn Geometry<D>>, costs: Vec<f64>) -> Result<Self, Error> {
        let [rows, columns] = Side::BOTH.map(|side| geometry.len(side));
        let matrix = CostMatrix::new(costs, rows, columns)?;
        let (source, target) = (Support::Indices(rows), Support::Indices(columns));
        let reference = ReferenceGeometry::new(Arc::new(ReferenceBackend::<f64>::default()), source, target, &matrix)?;
        Ok(Self::of(name.into(), SupportKind::Other, geometry, reference, None))
    }

    /// The geometry that a builder makes of a cost between points (point-major, rounded to the element type).
    ///
    /// # Errors
    /// Those of [`GeometryBuilder::geometry`].
    pub fn between_points<G: GeometryBuilder<Device = D> + ?Sized>(
        builder: &G,
        name: impl Into<String>,
        points: [Vec<f64>; 2],
        dimension: usize,
        cost: Arc<dyn GroundCost>,
    ) -> Result<Self, Error> {
        let narrow = points.map(|points| elements::<Elem<G>>(&points));
        let coordinates = narrow.each_ref().map(|points| numbers(points));
        let of_case = |side: Side| PointsView::new(&narrow[side.index()], dimension).map(Support::Points);
        let of_reference = |side: Side| PointsView::new(&coordinates[side.index()], dimension).map(Support::Points);
        let geometry = builder.geometry(of_case(Side::Source)?, of_case(Side::Target)?, cost.as_ref())?;
        let reference = ReferenceGeometry::new(
            Arc::new(ReferenceBackend::<f64>::default()),
            of_reference(Side::Source)?,
            of_reference(Side::Target)?,
            cost.as_ref(),
        )?;
        let points = CasePoints { dimension, cost, coordinates };
        Ok(Self::of(name.into(), SupportKind::Points, geometry, reference, Some(points)))
    }

    /// The geometry that a builder makes of a cost between the nodes of two grids, the costs those between the nodes as
    /// points, or between their nearest images.
    ///
    /// # Errors
    /// Those of [`Grid::new`] and [`GeometryBuilder::geometry`].
    pub fn between_grids<G: GeometryBuilder<Device = D> + ?Sized>(
        builder: &G,
        name: impl Into<String>,
        axes: [&[Axis]; 2],
        cost: Arc<dyn GroundCost>,
    ) -> Result<Self, Error> {
        let [x, y] = axes.map(|axes| Grid::<Elem<G>>::new(axes.iter().copied()));
        let geometry = builder.geometry(Support::Grid(&x?), Support::Grid(&y?), cost.as_ref())?;
        let [x, y] = axes.map(|axes| Grid::<f64>::new(axes.iter().copied()));
        let (x, y) = (x?, y?);
        let (source, target) = (Support::Grid(&x), Support::Grid(&y));
        let backend = Arc::new(ReferenceBackend::<f64>::default());
        let reference = ReferenceGeometry::new(backend, source, target, cost.as_ref())?;
        let coordinates = [x.points()?.coordinates().to_vec(), y.points()?.coordinates().to_vec()];
        let images = match CostBetween::new(source, target, cost.as_ref())?.into_cost() {
            CostHandle::Shared(images) => Some(images),
            CostHandle::Borrowed(_) => None,
        };
        let points = CasePoints { dimension: x.dimension(), cost: images.unwrap_or(cost), coordinates };
        Ok(Self::of(name.into(), SupportKind::Other, geometry, reference, Some(points)))
    }

    /// The geometry that a builder makes of a cost matrix, row-major, rounded to the element type.
    ///
    /// # Errors
    /// Those of [`CostMatrix::new`] and [`GeometryBuilder::geometry`].
    pub fn of_matrix<G: GeometryBuilder<Device = D> + ?Sized>(
        builder: &G,
        name: impl Into<String>,
        costs: &[f64],
        rows: usize,
        columns: usize,
    ) -> Result<Self, Error> {
        let costs = numbers(&elements::<Elem<G>>(costs));
        let matrix = CostMatrix::new(&costs, rows, columns)?;
        let geometry = builder.geometry(Support::Indices(rows), Support::Indices(columns), &matrix)?;
        Ok(Self { kind: SupportKind::Indices, ..Self::new(name, geometry, costs)? })
    }

    fn of(
        name: String,
        kind: SupportKind,
        geometry: Arc<dyn Geometry<D>>,
        reference: ReferenceGeometry<f64>,
        points: Option<CasePoints>,
    ) -> Self {
        let reference = Arc::new(reference);
        let edge_slopes = Vec::new();
        let mut case = Self { name, kind, geometry, reference, points, edge_slopes, scale: 1.0, slack: 1.0 };
        let (sum, count) =
            case.allowed().fold((0.0, 0.0), |(sum, count), (_, _, cost)| (sum + cost.abs(), count + 1.0));
        case.scale = if sum > 0.0 { sum / count } else { 1.0 };
        case
    }

    /// The same case with tolerances multiplied, for a kernel that approximates its cost.
    #[must_use]
    pub fn with_slack(self, slack: f64) -> Self {
        Self { slack, ..self }
    }

    /// The same case with the derivatives dC_ij / dw_e of its costs in the weights of edges, for each edge row-major, and 0 for
    /// forbidden pairs: of a diffusion, that knows them.
    ///
    /// # Errors
    /// [`Error::Length`] for a matrix of another size.
    pub fn with_edge_slopes(self, edge_slopes: Vec<Vec<f64>>) -> Result<Self, Error> {
        let expected = self.len(Side::Source) * self.len(Side::Target);
        match edge_slopes.iter().find(|slopes| slopes.len() != expected) {
            Some(slopes) => Err(Error::Length { what: "slopes of an edge", expected, found: slopes.len() }),
            None => Ok(Self { edge_slopes, ..self }),
        }
    }

    /// The same case with another geometry, which should be the same: one that wraps it, say.
    #[must_use]
    pub fn with_geometry<E: Device>(
        &self,
        wrap: impl FnOnce(Arc<dyn Geometry<D>>) -> Arc<dyn Geometry<E>>,
    ) -> GeometryCase<E> {
        GeometryCase {
            name: self.name.clone(),
            kind: self.kind,
            geometry: wrap(Arc::clone(&self.geometry)),
            reference: Arc::clone(&self.reference),
            points: self.points.clone(),
            edge_slopes: self.edge_slopes.clone(),
            scale: self.scale,
            slack: self.slack,
        }
    }

    /// The geometry.
    #[must_use]
    pub fn geometry(&self) -> &Arc<dyn Geometry<D>> {
        &self.geometry
    }

    /// What the case is, in a few words.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its atoms are known by.
    #[must_use]
    pub fn kind(&self) -> SupportKind {
        self.kind
    }

    /// What the geometry is compared with.
    pub(crate) fn reference(&self) -> &ReferenceGeometry<f64> {
        &self.reference
    }

    /// The points, if there are any.
    pub(crate) fn points(&self) -> Option<&CasePoints> {
        self.points.as_ref()
    }

    /// The derivatives of the costs in the weights of edges, if there are any.
    pub(crate) fn edge_slopes(&self) -> &[Vec<f64>] {
        &self.edge_slopes
    }

    /// How many parameters the formula of the cost names.
    pub(crate) fn parameters(&self) -> usize {
        let known = |points: &CasePoints| CostParameters::of(points.cost.as_ref(), points.dimension);
        self.points.as_ref().and_then(known).map_or(0, |parameters| parameters.values().len())
    }

    /// Number of atoms of a side.
    pub(crate) fn len(&self, side: Side) -> usize {
        self.reference.len(side)
    }

    /// All pairs that are not forbidden, with their costs.
    pub(crate) fn allowed(&self) -> impl Iterator<Item = (usize, usize, f64)> + '_ {
        let columns = self.len(Side::Target);
        let pairs = (0..self.len(Side::Source)).flat_map(move |i| (0..columns).map(move |j| (i, j)));
        pairs.map(|(i, j)| (i, j, self.reference.cost(i, j))).filter(|(_, _, cost)| cost.is_finite())
    }

    /// The mean of the costs that are not forbidden, in absolute value (1 if all are zero).
    pub(crate) fn scale(&self) -> f64 {
        self.scale
    }

    /// The largest |C_ij| that is finite.
    pub(crate) fn largest(&self) -> f64 {
        self.reference.cost_bound().unwrap_or(0.0)
    }

    /// The epsilons at which a kernel is tried: multiples of the mean cost, or the only one it has.
    pub(crate) fn epsilons(&self, multiples: &[f64]) -> Vec<f64> {
        match self.geometry.fixed_epsilon() {
            Some(fixed) => vec![fixed],
            None => multiples.iter().map(|multiple| multiple * self.scale).collect(),
        }
    }

    /// How far a result may be off, per unit of magnitude: some roundings of the backend.
    pub(crate) fn unit(&self) -> f64 {
        32.0 * self.slack * self.geometry.backend().precision().unit
    }

    /// Numbers rounded to the element type.
    pub(crate) fn round(&self, values: &[f64]) -> Vec<f64> {
        values.iter().map(|&value| D::Elem::from_f64(value).to_f64()).collect()
    }
}
