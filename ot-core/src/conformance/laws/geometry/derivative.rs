//! Derivatives of the cost in its parameters, under the plan.

use super::MODERATE_EPSILONS;
use crate::{
    backend::{Backend, Side},
    capability::{CostDerivative, CostParameter, PairWeight},
    conformance::{
        GeometryCase, Verdict,
        case::{CasePoints, SIDES, Scene, at},
        naive::Naive,
        seeded::{Seeded, elements},
        verdict::Trial,
    },
    error::Error,
    kernel::PlanView,
    scalar::Scalar,
};

/// The step of central differences.
const STEP: f64 = 1e-4;

/// How far central differences may be off, per unit of mass and slope.
const DIFFERENCES: f64 = 1e-5;

/// The parameters that a cost may have.
const PARAMETERS: [CostParameter; 3] =
    [CostParameter::Points(Side::Source), CostParameter::Points(Side::Target), CostParameter::Matrix];

/// out = sum_ij P_ij w_ij dC_ij/dtheta, against central differences of the cost.
pub fn pull_backs_are_differences<B: Backend>(case: &GeometryCase<B>) -> Verdict {
    for_each_parameter("pull-backs are differences", case, |trial, scene, parameter| {
        let (column, truth) = (1, &case.truth);
        let weight = Weight::new(case);
        let found = scene.pull_back(&weight, parameter, column)?;
        let plan = scene.inner.true_plan(column);
        let weighted = |i: usize, j: usize| plan[i * truth.columns + j] * weight.at(case, column, i, j);
        let relative = scene.inner.relative() + case.unit();
        match parameter {
            CostParameter::Points(side) => {
                let Some(points) = &case.points else { return Ok(()) };
                let (rows, dimension) = (truth.len(side), points.dimension);
                let (mut expected, mut sizes) = (vec![0.0; rows * dimension], vec![0.0; rows * dimension]);
                for (i, j, _) in truth.allowed() {
                    for axis in 0..dimension {
                        let (entry, slope) = (axis * rows + [i, j][at(side)], slope(points, i, j, side, axis));
                        expected[entry] += weighted(i, j) * slope;
                        sizes[entry] += weighted(i, j).abs() * (slope.abs() + truth.scale());
                    }
                }
                trial.all_close("entry", &found, &expected, |entry| (relative + DIFFERENCES) * sizes[entry])
            }
            CostParameter::Matrix => {
                let mut expected = vec![0.0; truth.costs.len()];
                for (i, j, _) in truth.allowed() {
                    expected[j * truth.rows + i] = weighted(i, j);
                }
                // A weight may be a small difference of its terms.
                let size = |entry: usize| {
                    plan[entry % truth.rows * truth.columns + entry / truth.rows] * 8.0 * (1.0 + truth.largest())
                };
                // Entries that vanish beside the others may be dropped.
                let floor = B::Elem::EPSILON.powi(2);
                trial.all_close("entry", &found, &expected, |entry| relative * size(entry) + floor)
            }
        }
    })
}

/// sum_i r_i push(t)_i = <pull(r), t> for factors r of one side, and sum_i push(t, w)_i = <pull(w), t>
/// for a factor w of all its terms, from either side.
pub fn push_forwards_are_adjoint_to_pull_backs<B: Backend>(case: &GeometryCase<B>) -> Verdict {
    for_each_parameter("push-forwards are adjoint to pull-backs", case, |trial, scene, parameter| {
        let (rows, columns) = scene.shape(parameter);
        let mut seeded = Seeded::new(8);
        let tangent = seeded.vector::<B::Elem>(rows * columns, -1.0, 1.0);
        for side in SIDES {
            let r = seeded.vector::<B::Elem>(2 * case.truth.len(side), 0.5, 2.0);
            let ones = vec![1.0; case.truth.len(side)];
            let (plain, full) = (Weight::one(), Weight::new(case));
            for (name, pushed, pulled, factors) in [
                ("a factor of one side", &plain, &Weight::of_side(side, r.clone()), &r[ones.len()..]),
                ("a factor of all terms", &full, &full, &ones[..]),
            ] {
                let pushed = scene.push_forward(side, pushed, parameter, &tangent, 1)?;
                let pulled = scene.pull_back(pulled, parameter, 1)?;
                let left: f64 = pushed.iter().zip(factors).map(|(pushed, r)| pushed.to_f64() * r).sum();
                let terms = || pulled.iter().zip(&tangent).map(|(pulled, tangent)| pulled.to_f64() * tangent);
                // Entries of a pull-back are sums themselves, whose terms may cancel.
                let size = 4.0 * terms().map(f64::abs).sum::<f64>() + scene.largest_slope();
                let tolerance = (scene.inner.relative() + case.unit()) * size;
                trial.at(format_args!("{side}, {name}")).close("", left, terms().sum(), tolerance)?;
            }
        }
        Ok(())
    })
}

/// out = sum_ij P_ij (d2C_ij/dtheta2 . tangent), against central differences of the slopes. The entries
/// of a matrix have no curvature.
pub fn curvatures_are_second_differences<B: Backend>(case: &GeometryCase<B>) -> Verdict {
    for_each_parameter("curvatures are second differences", case, |trial, scene, parameter| {
        let (backend, truth, column) = (case.backend(), &case.truth, 1);
        let (rows, columns) = scene.shape(parameter);
        let tangent = Seeded::new(9).vector::<B::Elem>(rows * columns, -1.0, 1.0);
        let vector = backend.upload(&elements::<B::Elem>(&tangent), columns)?;
        let mut out = backend.alloc(rows, columns)?;
        scene.ask(|derivative, plan| derivative.curvature(plan, parameter, &vector, column, &mut out))?;
        let found = backend.download(&[&out])?.swap_remove(0);
        let (mut expected, mut sizes) = (vec![0.0; rows * columns], vec![0.0; rows * columns]);
        if let (CostParameter::Points(side), Some(points)) = (parameter, &case.points) {
            let plan = scene.inner.true_plan(column);
            for (i, j, _) in truth.allowed().filter(|(i, j, _)| plan[i * truth.columns + j] > 0.0) {
                let (mass, own) = (plan[i * truth.columns + j], [i, j][at(side)]);
                let direction: Vec<f64> = (0..columns).map(|axis| tangent[axis * rows + own]).collect();
                for (axis, second) in second_slope(points, i, j, side, &direction).into_iter().enumerate() {
                    expected[axis * rows + own] += mass * second;
                    sizes[axis * rows + own] += mass * (second.abs() + truth.scale());
                }
            }
        }
        let relative = scene.inner.relative() + case.unit() + 10.0 * DIFFERENCES;
        trial.all_close("entry", &found, &expected, |entry| relative * sizes[entry])
    })
}

/// Tries a law on all parameters that a kernel knows the derivative in, in the second of two columns.
fn for_each_parameter<B: Backend>(
    law: &'static str,
    case: &GeometryCase<B>,
    hold: impl Fn(&Trial, &mut DerivativeScene<'_, B>, CostParameter) -> Verdict,
) -> Verdict {
    for epsilon in case.epsilons(&MODERATE_EPSILONS) {
        let mut scene = DerivativeScene { inner: Scene::new(case, epsilon, 2)? };
        for parameter in PARAMETERS {
            let known = scene.inner.kernel.cost_derivative().is_some_and(|known| known.depends_on(parameter));
            if known {
                let trial = Trial::new(law, &case.name).at(format_args!("epsilon {epsilon:e}, {parameter:?}"));
                hold(&trial, &mut scene, parameter)?;
            }
        }
    }
    Ok(())
}

/// A scene whose kernel knows derivatives.
struct DerivativeScene<'a, B: Backend> {
    inner: Scene<'a, B>,
}

impl<B: Backend> DerivativeScene<'_, B> {
    /// Rows and columns of the vector of a parameter.
    fn shape(&self, parameter: CostParameter) -> (usize, usize) {
        let (truth, points) = (&self.inner.case.truth, &self.inner.case.points);
        match parameter {
            CostParameter::Points(side) => (truth.len(side), points.as_ref().map_or(1, |points| points.dimension)),
            CostParameter::Matrix => (truth.rows, truth.columns),
        }
    }

    /// A scale of what entries of a pull-back are summed from.
    fn largest_slope(&self) -> f64 {
        self.inner.case.truth.largest()
    }

    /// Asks the kernel about its derivatives.
    fn ask<R>(
        &mut self,
        ask: impl FnOnce(&mut dyn CostDerivative<B>, PlanView<'_, B>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        self.inner.ask(|kernel, plan| {
            ask(kernel.cost_derivative().ok_or(Error::MissingCapability("derivative of the cost"))?, plan)
        })
    }

    fn pull_back(&mut self, weight: &Weight, parameter: CostParameter, column: usize) -> Result<Vec<B::Elem>, Error> {
        let (backend, (rows, columns)) = (self.inner.case.backend().clone(), self.shape(parameter));
        let (weight, mut out) = (weight.upload(&backend)?, backend.alloc(rows, columns)?);
        self.ask(|derivative, plan| derivative.pull_back(plan, weight.view(), parameter, column, &mut out))?;
        Ok(backend.download(&[&out])?.swap_remove(0))
    }

    fn push_forward(
        &mut self,
        side: Side,
        weight: &Weight,
        parameter: CostParameter,
        tangent: &[f64],
        column: usize,
    ) -> Result<Vec<B::Elem>, Error> {
        let (backend, (_, columns)) = (self.inner.case.backend().clone(), self.shape(parameter));
        let tangent = backend.upload(&elements::<B::Elem>(tangent), columns)?;
        let (weight, mut out) = (weight.upload(&backend)?, backend.alloc(self.inner.case.truth.len(side), 1)?);
        self.ask(|derivative, plan| {
            derivative.push_forward(side, plan, weight.view(), parameter, &tangent, column, &mut out)
        })?;
        Ok(backend.download(&[&out])?.swap_remove(0))
    }
}

/// [`PairWeight`] in f64, r and s with two columns.
struct Weight {
    constant: f64,
    source: Option<Vec<f64>>,
    target: Option<Vec<f64>>,
    cost: f64,
}

impl Weight {
    /// The factor 1.
    fn one() -> Self {
        Self { constant: 1.0, source: None, target: None, cost: 0.0 }
    }

    /// A factor of one side.
    fn of_side(side: Side, factor: Vec<f64>) -> Self {
        match side {
            Side::Source => Self { constant: 0.0, source: Some(factor), ..Self::one() },
            Side::Target => Self { constant: 0.0, target: Some(factor), ..Self::one() },
        }
    }

    /// A factor with all its terms.
    fn new<B: Backend>(case: &GeometryCase<B>) -> Self {
        let mut seeded = Seeded::new(7);
        let mut vector = |len: usize| Some(seeded.vector::<B::Elem>(2 * len, -1.0, 1.0));
        Self { constant: 0.25, source: vector(case.truth.rows), target: vector(case.truth.columns), cost: 0.5 }
    }

    /// w_ij in a column.
    fn at<B: Backend>(&self, case: &GeometryCase<B>, column: usize, i: usize, j: usize) -> f64 {
        let Naive { rows, columns, .. } = case.truth;
        let term = |factor: &Option<Vec<f64>>, index: usize| factor.as_ref().map_or(0.0, |factor| factor[index]);
        self.constant
            + term(&self.source, column * rows + i)
            + term(&self.target, column * columns + j)
            + self.cost * case.truth.cost(i, j)
    }

    fn upload<B: Backend>(&self, backend: &B) -> Result<WeightOnDevice<B>, Error> {
        let upload = |factor: &Option<Vec<f64>>| {
            factor.as_ref().map(|factor| backend.upload(&elements::<B::Elem>(factor), 2)).transpose()
        };
        let (source, target) = (upload(&self.source)?, upload(&self.target)?);
        Ok(WeightOnDevice { constant: self.constant, source, target, cost: self.cost })
    }
}

/// [`PairWeight`], owning its vectors.
struct WeightOnDevice<B: Backend> {
    constant: f64,
    source: Option<B::Vector>,
    target: Option<B::Vector>,
    cost: f64,
}

impl<B: Backend> WeightOnDevice<B> {
    fn view(&self) -> PairWeight<'_, B> {
        let (source, target) = (self.source.as_ref(), self.target.as_ref());
        PairWeight { constant: self.constant, source, target, cost: self.cost }
    }
}

/// The cost of a pair of points, one side of it moved.
fn moved_cost(points: &CasePoints, i: usize, j: usize, side: Side, step: &[f64]) -> f64 {
    let mut pair = [points.point(Side::Source, i).to_vec(), points.point(Side::Target, j).to_vec()];
    for (value, step) in pair[at(side)].iter_mut().zip(step) {
        *value += step;
    }
    let mut cost = [0.0];
    points.cost.costs_f64(&pair[0], &pair[1], &mut cost);
    cost[0]
}

/// dC_ij along one axis of one side, by central differences.
fn slope(points: &CasePoints, i: usize, j: usize, side: Side, axis: usize) -> f64 {
    let step = |size: f64| (0..points.dimension).map(|k| if k == axis { size } else { 0.0 }).collect::<Vec<_>>();
    let cost = |size: f64| moved_cost(points, i, j, side, &step(size));
    (cost(STEP) - cost(-STEP)) / (2.0 * STEP)
}

/// d2C_ij of one side along a direction, by central differences of the gradient.
fn second_slope(points: &CasePoints, i: usize, j: usize, side: Side, direction: &[f64]) -> Vec<f64> {
    let gradient = |size: f64| {
        let mut pair = [points.point(Side::Source, i).to_vec(), points.point(Side::Target, j).to_vec()];
        for (value, direction) in pair[at(side)].iter_mut().zip(direction) {
            *value += size * direction;
        }
        let mut gradient = vec![0.0; 2 * points.dimension];
        points.cost.gradient(&pair[0], &pair[1], &mut gradient);
        gradient[at(side) * points.dimension..][..points.dimension].to_vec()
    };
    gradient(STEP).iter().zip(gradient(-STEP)).map(|(after, before)| (after - before) / (2.0 * STEP)).collect()
}
