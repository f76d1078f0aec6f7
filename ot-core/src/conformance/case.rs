//! Geometries with the costs that they should have, and the scenes in which laws ask them.

use std::sync::Arc;

use super::{
    naive::Naive,
    seeded::{Seeded, elements, numbers},
};
use crate::{
    backend::{Backend, Side},
    cost::{CostMatrix, GroundCost, HalfSqEuclidean, Manhattan, PNorm, PowerOfDistance, SqEuclidean},
    error::Error,
    geometry::Geometry,
    kernel::{ActiveColumns, KernelOp, PlanSide, PlanView, SoftMin},
    marginal::Marginal,
    measure::{PointsView, Support, WeightsView},
    regularizer::{Balanced, Regularizer},
    scalar::Scalar,
};

/// Both sides.
pub(super) const SIDES: [Side; 2] = [Side::Source, Side::Target];

/// A geometry and the truth about its cost, for the laws of geometries and kernels.
///
/// A backend is tried on [`standard_cases`]; the author of a geometry that is built in another way
/// makes cases of it, from its cost in f64.
#[derive(Clone, Debug)]
pub struct GeometryCase<B: Backend> {
    pub(super) name: String,
    pub(super) geometry: Arc<dyn Geometry<B>>,
    pub(super) truth: Naive,
    pub(super) points: Option<CasePoints>,
    pub(super) slack: f64,
}

/// The points of both sides, point-major, and the cost between them.
#[derive(Clone, Debug)]
pub(super) struct CasePoints {
    pub(super) dimension: usize,
    pub(super) coordinates: [Vec<f64>; 2],
    pub(super) cost: Arc<dyn GroundCost>,
}

impl CasePoints {
    /// The coordinates of one point.
    pub(super) fn point(&self, side: Side, index: usize) -> &[f64] {
        &self.coordinates[at(side)][index * self.dimension..][..self.dimension]
    }
}

impl<B: Backend> GeometryCase<B> {
    /// A geometry and its costs, row-major, infinite for forbidden pairs.
    ///
    /// # Errors
    /// [`Error::Length`] for a matrix of another size.
    pub fn new(name: impl Into<String>, geometry: Arc<dyn Geometry<B>>, costs: Vec<f64>) -> Result<Self, Error> {
        let (rows, columns) = (geometry.len(Side::Source), geometry.len(Side::Target));
        if costs.len() != rows * columns {
            return Err(Error::Length { what: "costs of a case", expected: rows * columns, found: costs.len() });
        }
        Ok(Self { name: name.into(), geometry, truth: Naive::new(rows, columns, costs), points: None, slack: 1.0 })
    }

    /// The geometry that a backend makes of a cost between points (point-major, rounded to the element
    /// type).
    ///
    /// # Errors
    /// Those of [`Backend::geometry`].
    pub fn between_points(
        backend: &B,
        name: impl Into<String>,
        [source, target]: [Vec<f64>; 2],
        dimension: usize,
        cost: Arc<dyn GroundCost>,
    ) -> Result<Self, Error> {
        let narrow = [elements::<B::Elem>(&source), elements::<B::Elem>(&target)];
        let views = [PointsView::new(&narrow[0], dimension)?, PointsView::new(&narrow[1], dimension)?];
        let geometry = backend.geometry(Support::Points(views[0]), Support::Points(views[1]), cost.as_ref())?;
        let coordinates = narrow.map(|narrow| numbers(&narrow));
        let mut costs = vec![0.0; coordinates[0].len() / dimension * (coordinates[1].len() / dimension)];
        let columns = coordinates[1].len() / dimension;
        for (x, row) in coordinates[0].chunks_exact(dimension).zip(costs.chunks_exact_mut(columns)) {
            cost.costs_f64(x, &coordinates[1], row);
        }
        let case = Self::new(name, geometry, costs)?;
        Ok(Self { points: Some(CasePoints { dimension, coordinates, cost }), ..case })
    }

    /// The geometry that a backend makes of a cost matrix, row-major, rounded to the element type.
    ///
    /// # Errors
    /// Those of [`CostMatrix::new`] and [`Backend::geometry`].
    pub fn of_matrix(
        backend: &B,
        name: impl Into<String>,
        costs: &[f64],
        rows: usize,
        columns: usize,
    ) -> Result<Self, Error> {
        let costs: Vec<f64> = costs.iter().map(|&cost| B::Elem::from_f64(cost).to_f64()).collect();
        let matrix = CostMatrix::new(&costs, rows, columns)?;
        let geometry = backend.geometry(Support::Indices(rows), Support::Indices(columns), &matrix)?;
        Self::new(name, geometry, costs.clone())
    }

    /// The same case with tolerances multiplied, for a kernel that approximates its cost.
    #[must_use]
    pub fn with_slack(self, slack: f64) -> Self {
        Self { slack, ..self }
    }

    /// The same case with another geometry, which should be the same: one that wraps it, say.
    #[must_use]
    pub fn with_geometry(self, wrap: impl FnOnce(Arc<dyn Geometry<B>>) -> Arc<dyn Geometry<B>>) -> Self {
        Self { geometry: wrap(Arc::clone(&self.geometry)), ..self }
    }

    /// The geometry.
    #[must_use]
    pub fn geometry(&self) -> &Arc<dyn Geometry<B>> {
        &self.geometry
    }

    /// What the case is, in a few words.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The backend of the geometry.
    pub(super) fn backend(&self) -> &B {
        self.geometry.backend()
    }

    /// The epsilons at which a kernel is tried: multiples of the mean cost, or the only one it has.
    pub(super) fn epsilons(&self, multiples: &[f64]) -> Vec<f64> {
        match self.geometry.fixed_epsilon() {
            Some(fixed) => vec![fixed],
            None => multiples.iter().map(|multiple| multiple * self.truth.scale()).collect(),
        }
    }

    /// Units in the last place that a result may be off, per unit of magnitude.
    pub(super) fn unit(&self) -> f64 {
        32.0 * self.slack * B::Elem::EPSILON
    }
}

/// The cases that the geometries of a backend are tried on: one pair, one row, one column, sizes that
/// are no multiple of any block, coincident points, costs of several forms, forbidden pairs and
/// negative costs.
///
/// # Errors
/// What the backend refuses to build.
pub fn standard_cases<B: Backend>(backend: &B) -> Result<Vec<GeometryCase<B>>, Error> {
    let mut seeded = Seeded::new(11);
    let mut cloud = |len: usize, dimension: usize| seeded.vector::<B::Elem>(len * dimension, -1.0, 1.0);
    let half: Arc<dyn GroundCost> = Arc::new(HalfSqEuclidean);
    let square: Arc<dyn GroundCost> = Arc::new(SqEuclidean);
    let same = cloud(21, 2);
    let mut cases = Vec::new();
    for (name, points, dimension, cost) in [
        ("1 x 1, half square", [cloud(1, 1), cloud(1, 1)], 1, Arc::clone(&half)),
        ("1 x 9, square", [cloud(1, 2), cloud(9, 2)], 2, Arc::clone(&square)),
        ("9 x 1, half square", [cloud(9, 3), cloud(1, 3)], 3, Arc::clone(&half)),
        ("33 x 65, square", [cloud(33, 2), cloud(65, 2)], 2, Arc::clone(&square)),
        ("131 x 71, half square", [cloud(131, 3), cloud(71, 3)], 3, half),
        ("a cloud and itself, square", [same.clone(), same], 2, square),
        ("40 x 23, distance to the power 3/2", [cloud(40, 2), cloud(23, 2)], 2, Arc::new(PowerOfDistance::new(1.5)?)),
        ("19 x 30, Manhattan", [cloud(19, 4), cloud(30, 4)], 4, Arc::new(Manhattan)),
        ("20 x 18, norm 3", [cloud(20, 5), cloud(18, 5)], 5, Arc::new(PNorm::new(3.0)?)),
    ] {
        cases.push(GeometryCase::between_points(backend, name, points, dimension, cost)?);
    }
    let forbid = |index: usize, cost: f64| match (index / 19, index % 19) {
        (i, j) if i > 0 && j > 0 && (i + j) % 3 == 0 => f64::INFINITY,
        _ => cost,
    };
    let costs: Vec<f64> = (0..17 * 19).map(|index| forbid(index, seeded.uniform(0.0, 3.0))).collect();
    cases.push(GeometryCase::of_matrix(backend, "17 x 19, matrix with forbidden pairs", &costs, 17, 19)?);
    let costs: Vec<f64> = (0..12 * 7).map(|_| seeded.uniform(-1.0, 1.0)).collect();
    cases.push(GeometryCase::of_matrix(backend, "12 x 7, matrix with negative costs", &costs, 12, 7)?);
    Ok(cases)
}

/// Index of a side.
pub(super) fn at(side: Side) -> usize {
    match side {
        Side::Source => 0,
        Side::Target => 1,
    }
}

/// A kernel bound to an epsilon and a number of columns, weights and potentials close to optimal, on
/// the device and in f64.
pub(super) struct Scene<'a, B: Backend> {
    pub(super) case: &'a GeometryCase<B>,
    pub(super) epsilon: f64,
    pub(super) columns: usize,
    /// Weights of both sides, column after column; one histogram if shared.
    pub(super) weights: [Vec<f64>; 2],
    /// f and g, column after column.
    pub(super) potentials: [Vec<f64>; 2],
    pub(super) marginals: [Marginal<B>; 2],
    pub(super) vectors: [B::Vector; 2],
    pub(super) kernel: Box<dyn KernelOp<B>>,
    tolerance: f64,
}

impl<'a, B: Backend> Scene<'a, B> {
    /// A balanced scene: weights with zeros, a histogram of its own for each column of the target, one
    /// for all of the source.
    pub(super) fn new(case: &'a GeometryCase<B>, epsilon: f64, columns: usize) -> Result<Self, Error> {
        Self::with_laws(case, epsilon, columns, [Arc::new(Balanced), Arc::new(Balanced)])
    }

    /// A scene with other laws.
    pub(super) fn with_laws(
        case: &'a GeometryCase<B>,
        epsilon: f64,
        columns: usize,
        [source_law, target_law]: [Arc<dyn Regularizer>; 2],
    ) -> Result<Self, Error> {
        let (backend, truth) = (case.backend(), &case.truth);
        let mut seeded = Seeded::new(columns as u64);
        let a = seeded.weights::<B::Elem>(truth.rows, true);
        let b: Vec<f64> = (0..columns).flat_map(|_| seeded.weights::<B::Elem>(truth.columns, true)).collect();
        let mut potentials = [Vec::new(), Vec::new()];
        for column in 0..columns {
            let b = &b[column * truth.columns..][..truth.columns];
            for (all, own) in potentials.iter_mut().zip(truth.potentials([&a, b], epsilon)) {
                // Not quite optimal, so that residuals are no rounding.
                all.extend(
                    own.iter()
                        .map(|value| B::Elem::from_f64(value + 0.1 * epsilon * seeded.uniform(-1.0, 1.0)).to_f64()),
                );
            }
        }
        let marginal = |weights: &[f64], columns: usize, law| {
            Marginal::new(backend, WeightsView::new(&elements::<B::Elem>(weights), columns)?, law)
        };
        let vector = |values: &[f64]| backend.upload(&elements::<B::Elem>(values), columns);
        Ok(Self {
            epsilon,
            columns,
            marginals: [marginal(&a, 1, source_law)?, marginal(&b, columns, target_law)?],
            vectors: [vector(&potentials[0])?, vector(&potentials[1])?],
            tolerance: case.unit() * (magnitude(truth, &potentials) + epsilon * logarithms([&a, &b])),
            weights: [a, b],
            potentials,
            kernel: case.geometry.bind(epsilon, columns)?,
            case,
        })
    }

    /// Vectors of changed potentials.
    pub(super) fn upload_potentials(&self, change: impl Fn(f64) -> f64) -> Result<[B::Vector; 2], Error> {
        let upload = |values: &[f64]| {
            let changed: Vec<B::Elem> = values.iter().map(|&value| B::Elem::from_f64(change(value))).collect();
            self.case.backend().upload(&changed, self.columns)
        };
        Ok([upload(&self.potentials[0])?, upload(&self.potentials[1])?])
    }

    /// The weights of a side in a column.
    pub(super) fn weights(&self, side: Side, column: usize) -> &[f64] {
        let (weights, len) = (&self.weights[at(side)], self.case.truth.len(side));
        &weights[column.min(weights.len() / len - 1) * len..][..len]
    }

    /// The potential of a side in a column.
    pub(super) fn potential(&self, side: Side, column: usize) -> &[f64] {
        let len = self.case.truth.len(side);
        &self.potentials[at(side)][column * len..][..len]
    }

    /// The softmin of a side in f64, column after column.
    pub(super) fn true_softmin(&self, side: Side) -> Vec<f64> {
        let other = side.opposite();
        let column = |column: usize| {
            let (potential, weights) = (self.potential(other, column), self.weights(other, column));
            self.case.truth.softmin(side, potential, weights, self.epsilon)
        };
        (0..self.columns).flat_map(column).collect()
    }

    /// The plan of a column in f64, row-major.
    pub(super) fn true_plan(&self, column: usize) -> Vec<f64> {
        let of = |side| (self.potential(side, column), self.weights(side, column));
        let ((f, a), (g, b)) = (of(Side::Source), of(Side::Target));
        self.case.truth.plan([f, g], [a, b], self.epsilon)
    }

    /// The softmin of a side by the kernel, for a shift, into memory that holds `held`.
    pub(super) fn softmin(
        &mut self,
        side: Side,
        shift: &[f64],
        active: &ActiveColumns,
        held: f64,
    ) -> Result<Vec<B::Elem>, Error> {
        let backend = self.case.backend().clone();
        let shift = backend.upload(&elements::<B::Elem>(shift), self.columns)?;
        let mut out = backend.upload(&vec![B::Elem::from_f64(held); shift_len(&backend, &shift)], self.columns)?;
        let other = at(side.opposite());
        let (potential, log_weights) = (&self.vectors[other], self.marginals[other].log_weights());
        self.kernel.softmin(SoftMin { side, potential, log_weights, shift: &shift, active }, &mut out)?;
        Ok(backend.download(&[&out])?.swap_remove(0))
    }

    /// The softmin of a side by the kernel, the potential of the scene as the shift.
    pub(super) fn plain_softmin(&mut self, side: Side) -> Result<Vec<B::Elem>, Error> {
        let (shift, active) = (self.potentials[at(side)].clone(), ActiveColumns::all(self.columns));
        self.softmin(side, &shift, &active, 0.0)
    }

    /// The softmins of both sides at once.
    pub(super) fn both_softmins(&mut self) -> Result<[Vec<B::Elem>; 2], Error> {
        let (backend, active) = (self.case.backend().clone(), ActiveColumns::all(self.columns));
        let room = |side| {
            let (rows, columns) = backend.shape(&self.vectors[at(side)]);
            backend.alloc(rows, columns.max(self.columns))
        };
        let [mut source, mut target] = [room(Side::Source)?, room(Side::Target)?];
        self.ask(|kernel, plan| kernel.softmins(plan, &active, [&mut source, &mut target]))?;
        let mut found = backend.download(&[&source, &target])?;
        let target = found.pop().unwrap_or_default();
        Ok([found.pop().unwrap_or_default(), target])
    }

    /// Asks the kernel something about the plan.
    pub(super) fn ask<R>(&mut self, ask: impl FnOnce(&mut dyn KernelOp<B>, PlanView<'_, B>) -> R) -> R {
        let [source, target] = [0, 1].map(|side| PlanSide::new(&self.vectors[side], &self.marginals[side]));
        ask(self.kernel.as_mut(), PlanView { source, target })
    }

    /// How far a softmin may be off.
    pub(super) fn tolerance(&self) -> f64 {
        self.tolerance
    }

    /// How far an entry of the plan, or a sum of them, may be off relative to itself.
    pub(super) fn relative(&self) -> f64 {
        (self.tolerance / self.epsilon).exp_m1()
    }
}

/// The size of the numbers in an exponent, in units of the cost.
fn magnitude(truth: &Naive, potentials: &[Vec<f64>; 2]) -> f64 {
    let largest = |values: &[f64]| values.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    truth.largest() + largest(&potentials[0]) + largest(&potentials[1])
}

/// The size of the logarithms of weights, and of a sum of them.
fn logarithms(weights: [&[f64]; 2]) -> f64 {
    let weights = weights.into_iter().flatten().filter(|&&weight| weight > 0.0);
    8.0 + weights.fold(0.0_f64, |largest, weight| largest.max(weight.ln().abs()))
}

/// Number of elements of a vector.
fn shift_len<B: Backend>(backend: &B, vector: &B::Vector) -> usize {
    let (rows, columns) = backend.shape(vector);
    rows * columns
}
