//! Derivatives of the cost in its parameters, under the plan.

use super::MODERATE_EPSILONS;
use crate::{
    backend::{Backend, Side},
    capability::{CostDerivative, CostParameter, CostTangent, PairWeight, WeightedPlan},
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
const PARAMETERS: [CostParameter; 4] = [
    CostParameter::Points(Side::Source),
    CostParameter::Points(Side::Target),
    CostParameter::Matrix,
    CostParameter::Scale,
];

/// out = sum_ij P_ij w_ij dC_ij/dtheta, against central differences of the cost in points, and exactly in parameters
/// that enter linearly.
pub fn pull_backs_are_differences<B: Backend>(case: &GeometryCase<B>) -> Verdict {
    for_each_parameter("pull-backs are differences", case, |trial, scene, parameter| {
        let (column, truth) = (1, &case.truth);
        let weight = Weight::new(case);
        let found = scene.pull_back(&weight, parameter, column)?;
        let plan = scene.inner.true_plan(column);
        let (relative, differences, extra) = match parameter {
            CostParameter::Points(_) => (scene.inner.relative() + case.unit(), DIFFERENCES, truth.scale()),
            _ => (scene.inner.relative() + case.unit(), 0.0, 0.0),
        };
        let (mut expected, mut sizes) = (vec![0.0; found.len()], vec![0.0; found.len()]);
        for (i, j, _) in truth.allowed() {
            let mass = plan[i * truth.columns + j];
            let weighted = mass * weight.at(case, column, i, j);
            for (entry, slope) in scene.slopes(parameter, i, j) {
                expected[entry] += weighted * slope;
                // A weight may be a small difference of its terms.
                let terms = relative * mass * 8.0 * (1.0 + truth.largest()) + differences * weighted.abs();
                sizes[entry] += terms * (slope.abs() + extra);
            }
        }
        trial.all_close("entry", &found, &expected, |entry| sizes[entry] + floor::<B>())
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

/// out = sum_ij P_ij w_ij (d2C_ij / dtheta dtau . tangent) for all pairs of parameters, against central differences of
/// the slopes. The scale and the entries of a matrix enter linearly.
pub fn curvatures_are_second_differences<B: Backend>(case: &GeometryCase<B>) -> Verdict {
    for_each_parameter("curvatures are second differences", case, |trial, scene, parameter| {
        let (backend, truth, column) = (case.backend(), &case.truth, 1);
        let (rows, columns) = scene.shape(parameter);
        let weight = Weight::new(case);
        let plan = scene.inner.true_plan(column);
        let known: Vec<_> = PARAMETERS.into_iter().filter(|&moving| scene.knows(moving)).collect();
        for moving in known {
            let (moving_rows, moving_columns) = scene.shape(moving);
            let tangent = Seeded::new(9).vector::<B::Elem>(moving_rows * moving_columns, -1.0, 1.0);
            let values = backend.upload(&elements::<B::Elem>(&tangent), moving_columns)?;
            let (weight_on_device, mut out) = (weight.upload(backend)?, backend.alloc(rows, columns)?);
            scene.ask(|derivative, plan| {
                let pairs = WeightedPlan { plan, weight: weight_on_device.view(), column };
                derivative.curvature(pairs, parameter, CostTangent { parameter: moving, values: &values }, &mut out)
            })?;
            let found = backend.download(&[&out])?.swap_remove(0);
            let (mut expected, mut sizes) = (vec![0.0; rows * columns], vec![0.0; rows * columns]);
            for (i, j, _) in truth.allowed().filter(|(i, j, _)| plan[i * truth.columns + j] > 0.0) {
                let mass = plan[i * truth.columns + j];
                for (entry, second) in scene.second_slopes(parameter, moving, &tangent, i, j) {
                    expected[entry] += mass * weight.at(case, column, i, j) * second;
                    sizes[entry] += mass * 8.0 * (1.0 + truth.largest()) * (second.abs() + truth.scale());
                }
            }
            let relative = scene.inner.relative() + case.unit() + 10.0 * DIFFERENCES;
            let trial = trial.at(format_args!("moving {moving:?}"));
            trial.all_close("entry", &found, &expected, |entry| relative * sizes[entry] + floor::<B>())?;
        }
        Ok(())
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
            let known = scene.inner.kernel.cost_derivative().and_then(|known| known.shape(parameter));
            if let Some(shape) = known {
                let trial = Trial::new(law, &case.name).at(format_args!("epsilon {epsilon:e}, {parameter:?}"));
                let expected = scene.shape(parameter);
                trial.holds(shape == expected, || format!("the shape is {shape:?}, not {expected:?}"))?;
                hold(&trial, &mut scene, parameter)?;
            }
        }
    }
    Ok(())
}

/// Entries that vanish beside the others may be dropped.
fn floor<B: Backend>() -> f64 {
    B::Elem::EPSILON.powi(2)
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
            CostParameter::Scale => (1, 1),
        }
    }

    /// Does the kernel know the derivative in a parameter?
    fn knows(&mut self, parameter: CostParameter) -> bool {
        self.inner.kernel.cost_derivative().is_some_and(|known| known.shape(parameter).is_some())
    }

    /// dC_ij/dtheta: the entries of theta that a pair depends on, and the slopes in them.
    fn slopes(&self, parameter: CostParameter, i: usize, j: usize) -> Vec<(usize, f64)> {
        let (truth, points) = (&self.inner.case.truth, &self.inner.case.points);
        match (parameter, points) {
            (CostParameter::Points(side), Some(points)) => {
                let entry = |axis: usize| axis * truth.len(side) + [i, j][at(side)];
                (0..points.dimension).map(|axis| (entry(axis), slope(points, i, j, side, axis))).collect()
            }
            (CostParameter::Points(_), None) => Vec::new(),
            (CostParameter::Matrix, _) => vec![(j * truth.rows + i, 1.0)],
            (CostParameter::Scale, _) => vec![(0, truth.cost(i, j))],
        }
    }

    /// d2C_ij / dtheta dtau . tangent: the entries of theta that a pair depends on, and the changes of their slopes.
    fn second_slopes(
        &self,
        parameter: CostParameter,
        moving: CostParameter,
        tangent: &[f64],
        i: usize,
        j: usize,
    ) -> Vec<(usize, f64)> {
        let (truth, points) = (&self.inner.case.truth, &self.inner.case.points);
        match (parameter, moving, points) {
            (CostParameter::Points(side), CostParameter::Points(moving), Some(points)) => {
                let moved = |axis: usize| tangent[axis * truth.len(moving) + [i, j][at(moving)]];
                let direction: Vec<f64> = (0..points.dimension).map(moved).collect();
                let changes = second_slope(points, i, j, side, moving, &direction).into_iter().enumerate();
                changes.map(|(axis, change)| (axis * truth.len(side) + [i, j][at(side)], change)).collect()
            }
            (CostParameter::Scale, CostParameter::Points(_) | CostParameter::Matrix, _) => {
                let slopes = self.slopes(moving, i, j).into_iter();
                vec![(0, slopes.map(|(entry, slope)| slope * tangent[entry]).sum())]
            }
            (CostParameter::Points(_) | CostParameter::Matrix, CostParameter::Scale, _) => {
                let slopes = self.slopes(parameter, i, j).into_iter();
                slopes.map(|(entry, slope)| (entry, slope * tangent[0])).collect()
            }
            _ => Vec::new(),
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
        self.ask(|derivative, plan| {
            derivative.pull_back(WeightedPlan { plan, weight: weight.view(), column }, parameter, &mut out)
        })?;
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
        let values = backend.upload(&elements::<B::Elem>(tangent), columns)?;
        let (weight, mut out) = (weight.upload(&backend)?, backend.alloc(self.inner.case.truth.len(side), 1)?);
        self.ask(|derivative, plan| {
            let pairs = WeightedPlan { plan, weight: weight.view(), column };
            derivative.push_forward(side, pairs, CostTangent { parameter, values: &values }, &mut out)
        })?;
        Ok(backend.download(&[&out])?.swap_remove(0))
    }
}

/// Channels of the product in a factor.
const CHANNELS: usize = 2;

/// [`PairWeight`] in f64, r and s with two columns, u and v with as many times the channels.
struct Weight {
    constant: f64,
    source: Option<Vec<f64>>,
    target: Option<Vec<f64>>,
    product: Option<[Vec<f64>; 2]>,
    cost: f64,
}

impl Weight {
    /// The factor 1.
    fn one() -> Self {
        Self { constant: 1.0, source: None, target: None, product: None, cost: 0.0 }
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
        let mut vector = |len: usize| seeded.vector::<B::Elem>(2 * len, -1.0, 1.0);
        let Naive { rows, columns, .. } = case.truth;
        let (source, target) = (Some(vector(rows)), Some(vector(columns)));
        let product = Some([vector(CHANNELS * rows), vector(CHANNELS * columns)]);
        Self { constant: 0.25, source, target, product, cost: 0.5 }
    }

    /// w_ij in a column.
    fn at<B: Backend>(&self, case: &GeometryCase<B>, column: usize, i: usize, j: usize) -> f64 {
        let Naive { rows, columns, .. } = case.truth;
        let term = |factor: &Option<Vec<f64>>, index: usize| factor.as_ref().map_or(0.0, |factor| factor[index]);
        let product = self.product.as_ref().map_or(0.0, |[u, v]| {
            let channels = column * CHANNELS..(column + 1) * CHANNELS;
            channels.map(|channel| u[channel * rows + i] * v[channel * columns + j]).sum()
        });
        self.constant
            + term(&self.source, column * rows + i)
            + term(&self.target, column * columns + j)
            + product
            + self.cost * case.truth.cost(i, j)
    }

    fn upload<B: Backend>(&self, backend: &B) -> Result<WeightOnDevice<B>, Error> {
        let upload = |factor: &[f64], columns: usize| backend.upload(&elements::<B::Elem>(factor), columns);
        let of_side = |factor: &Option<Vec<f64>>| factor.as_ref().map(|factor| upload(factor, 2)).transpose();
        let (source, target) = (of_side(&self.source)?, of_side(&self.target)?);
        let product = match &self.product {
            Some([u, v]) => Some((upload(u, 2 * CHANNELS)?, upload(v, 2 * CHANNELS)?)),
            None => None,
        };
        Ok(WeightOnDevice { constant: self.constant, source, target, product, cost: self.cost })
    }
}

/// [`PairWeight`], owning its vectors.
struct WeightOnDevice<B: Backend> {
    constant: f64,
    source: Option<B::Vector>,
    target: Option<B::Vector>,
    product: Option<(B::Vector, B::Vector)>,
    cost: f64,
}

impl<B: Backend> WeightOnDevice<B> {
    fn view(&self) -> PairWeight<'_, B> {
        let (source, target) = (self.source.as_ref(), self.target.as_ref());
        let product = self.product.as_ref().map(|(u, v)| (u, v));
        PairWeight { constant: self.constant, source, target, product, cost: self.cost }
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

/// The change of the gradient of C_ij in the points of `side` when those of side `moving` move along a direction, by
/// central differences.
fn second_slope(points: &CasePoints, i: usize, j: usize, side: Side, moving: Side, direction: &[f64]) -> Vec<f64> {
    let gradient = |size: f64| {
        let mut pair = [points.point(Side::Source, i).to_vec(), points.point(Side::Target, j).to_vec()];
        for (value, direction) in pair[at(moving)].iter_mut().zip(direction) {
            *value += size * direction;
        }
        let mut gradient = vec![0.0; 2 * points.dimension];
        points.cost.gradient(&pair[0], &pair[1], &mut gradient);
        gradient[at(side) * points.dimension..][..points.dimension].to_vec()
    };
    gradient(STEP).iter().zip(gradient(-STEP)).map(|(after, before)| (after - before) / (2.0 * STEP)).collect()
}
