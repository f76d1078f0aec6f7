//! Kernels of thin factors beside a plain dense product of them, their bounds, and what solvers make of them.

use ot_core::{
    DeviceWeights, Epsilon, Error, Geometry, Histogram, Host, ImpliedCost, PlanSide, PlanView, PointsView, Problem,
    Side, Solution, WeightsView, check_epsilon,
};
use ot_cpu::{CpuBackend, CpuScalar, FeatureGeometry};
use ot_solvers::{Sinkhorn, SinkhornDivergence};

use super::{
    generate::{below, clouds, decade, masses, narrow, one_of, percent, rounded, typical_cost, wide},
    ground::Ground,
    instance::{Instance, sizes},
    judge::{Asked, judge},
    oracle::{
        entropic::{Penalty, Regularizer},
        sum::sum,
    },
    report::Report,
};
use crate::seeded::Seeded;

/// How a kernel is made.
#[derive(Clone, Debug)]
enum Made {
    Gaussian { features: usize, seed: u64 },
    Nystrom { columns: usize },
    Given { logarithms: [Vec<f64>; 2], rank: usize },
}

/// Factors and the points that they are of, if any.
#[derive(Clone, Debug)]
struct Features {
    made: Made,
    coordinates: [Vec<f64>; 2],
    dimension: usize,
    epsilon: f64,
}

impl Features {
    fn draw<T: CpuScalar>(random: &mut Seeded, [n, m]: [usize; 2]) -> Self {
        if percent(random, 40) {
            let rank = 1 + below(random, 6);
            let size = one_of(random, &[0.0, 1.0, 30.0, 2e3, 1e9, 1e15]);
            let logarithms = [n, m].map(|len| random.draw(len * rank, |random| size * (2.0 * random.uniform() - 1.0)));
            let epsilon = if percent(random, 60) { decade(random, -3.0, 3.0) } else { decade(random, -300.0, 300.0) };
            let coordinates = [vec![], vec![]];
            return Self { made: Made::Given { logarithms, rank }, coordinates, dimension: 0, epsilon };
        }
        let dimension = one_of(random, &[1, 1, 2, 3, 5]);
        let coordinates = clouds::<T>(random, [n, m], dimension, T::MAX / 64.0);
        let unit = typical_cost(&Ground::SqEuclidean.table(&coordinates[0], &coordinates[1], dimension));
        let epsilon = unit * if percent(random, 70) { decade(random, -1.0, 2.0) } else { decade(random, -6.0, 12.0) };
        let made = match percent(random, 50) {
            true => Made::Gaussian { features: one_of(random, &[1, 7, 100]), seed: below(random, 100) as u64 },
            false => Made::Nystrom { columns: one_of(random, &[1, 4, 20]) },
        };
        Self { made, coordinates, dimension, epsilon }
    }

    /// The same in coordinates times `scale`, and epsilon in the square of it; of given factors, epsilon alone.
    fn scaled(&self, scale: f64) -> Self {
        let coordinates = self.coordinates.clone().map(|x| x.iter().map(|x| scale * x).collect());
        Self { coordinates, epsilon: scale * scale * self.epsilon, ..self.clone() }
    }

    fn geometry<T: CpuScalar>(&self, backend: &CpuBackend<T>) -> Result<FeatureGeometry<T>, Error> {
        let points = self.coordinates.clone().map(|x| narrow::<T>(&x));
        let view = |side: usize| PointsView::new(&points[side], self.dimension);
        match &self.made {
            Made::Gaussian { features, seed } => {
                FeatureGeometry::gaussian(backend, view(0)?, view(1)?, self.epsilon, *features, *seed)
            }
            Made::Nystrom { columns } => FeatureGeometry::nystrom(backend, view(0)?, view(1)?, self.epsilon, *columns),
            Made::Given { logarithms: [f, g], rank } => {
                FeatureGeometry::from_logarithms(backend, self.epsilon, f.clone(), g.clone(), *rank)
            }
        }
    }

    /// Squared distances of all pairs, of sources and targets, or of all points together.
    fn squares(&self, all: bool) -> Vec<f64> {
        let [x, y] = &self.coordinates;
        let union = [&x[..], y].concat();
        let [x, y] = if all { [&union, &union] } else { [x, y] };
        Ground::SqEuclidean.table(x, y, self.dimension)
    }

    /// May these be refused?
    fn is_unfit<T: CpuScalar>(&self) -> bool {
        let largest = |values: &[f64]| values.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        let leaves_range = |largest: f64| largest > 1e-6 * T::LARGEST_COST;
        match &self.made {
            Made::Given { logarithms: [f, g], .. } => {
                leaves_range(self.epsilon * (largest(f) + largest(g))) || check_epsilon::<T>(self.epsilon).is_err()
            }
            made => {
                // A bound sees the box of all points.
                let square = self.dimension as f64 * largest(&self.squares(true));
                let vanishes = square < 1e3 * T::TINY;
                let outside = leaves_range(square) || vanishes || square / self.epsilon > 1e13;
                let atoms = (self.coordinates[0].len() + self.coordinates[1].len()) / self.dimension;
                let no_factor = match *made {
                    Made::Nystrom { columns } => square / self.epsilon > 18.0 || columns < atoms,
                    _ => false,
                };
                outside || no_factor || check_epsilon::<T>(self.epsilon).is_err()
            }
        }
    }
}

/// One case.
pub fn case<T: CpuScalar>(backends: &[CpuBackend<T>; 3], random: &mut Seeded, report: &mut Report) {
    let shape = sizes(random);
    let drawn = masses::<T>(random, shape[0], shape[1]);
    let features = Features::draw::<T>(random, shape);
    let weights = [drawn.source, drawn.target];
    report.given("element", T::NAME);
    report.given("weights", &weights);
    report.given("features", &features);
    let geometry = match features.geometry(&backends[0]) {
        Ok(geometry) => geometry,
        Err(error) => return report.refused(&error, features.is_unfit::<T>()),
    };
    report.ended("made");
    let table = match implied_costs(&features, shape) {
        Ok(table) => table,
        Err(error) => return report.require(false, || format!("no costs of features in f64: {error}")),
    };
    report.numbers("implied costs", &table);
    let potentials = shape.map(|len| {
        random.draw(len, |random| {
            rounded::<T>(one_of(&mut *random, &[0.0, 1.0, 50.0]) * features.epsilon * random.normal())
        })
    });
    bounds(&features, &geometry, &table, report);
    products(&geometry, &table, &potentials, &weights, report);
    let scale = 2_f64.powi(below(random, 61) as i32 - 30);
    scales(&features, &geometry, scale, &backends[0], report);

    let solver = Sinkhorn::new().tolerance(if T::EPSILON < 1e-10 { 1e-6 } else { 1e-3 }).max_iterations(200);
    let instance = Instance { weights, costs: table, points: None };
    match solve(&geometry, &solver, &instance) {
        Err(error) => {
            let objective = instance.entropy_leaves_range::<T>(features.epsilon);
            report.refused(&error, objective || instance.leaves_range::<T>());
        }
        Ok(solution) => {
            report.status(solution.status());
            let asked = Asked {
                penalties: [Penalty::Balanced; 2],
                regularizer: Regularizer::Entropy,
                tolerance: if T::EPSILON < 1e-10 { 1e-6 } else { 1e-3 },
            };
            if let Err(error) = judge(&solution, 0, &instance, asked, report) {
                report.require(false, || format!("no potentials: {error}"));
            }
            if percent(random, 30) {
                let bits = |solution: &Solution<Host<T>>| {
                    let potentials = Side::BOTH.map(|side| solution.potential(side));
                    format!("{potentials:?} {:?} {:?}", solution.status(), solution.certificates())
                };
                for backend in &backends[1..] {
                    let other = features.geometry(backend).and_then(|other| solve(&other, &solver, &instance));
                    let same = other.is_ok_and(|other| bits(&other) == bits(&solution));
                    report.require(same, || format!("other bits with {} threads", backend.threads()));
                }
            }
        }
    }
    if !matches!(features.made, Made::Given { .. }) && percent(random, 30) {
        divergence(&features, &geometry, &instance, report);
    }
}

fn solve<T: CpuScalar>(
    geometry: &FeatureGeometry<T>,
    solver: &Sinkhorn,
    instance: &Instance,
) -> Result<Solution<Host<T>>, Error> {
    let [a, b] = [0, 1].map(|side: usize| Histogram::new(narrow::<T>(&instance.weights[side])));
    solver.solve(&Problem::new(geometry.shared(), &a?, &b?, geometry.epsilon())?)
}

/// -epsilon log K^: the plain sum over given features; of features of points what a kernel in f64 says of single atoms.
fn implied_costs(features: &Features, [n, m]: [usize; 2]) -> Result<Vec<f64>, Error> {
    let epsilon = features.epsilon;
    if let Made::Given { logarithms: [f, g], rank } = &features.made {
        let entry = |i: usize, j: usize| {
            let terms: Vec<f64> = (0..*rank).map(|k| f[i * rank + k] + g[j * rank + k]).collect();
            let top = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            -epsilon * (top + sum(terms.iter().map(|term| (term - top).exp())).ln())
        };
        return Ok((0..n * m).map(|pair| entry(pair / m, pair % m)).collect());
    }
    let geometry = features.geometry(&CpuBackend::<f64>::new(1)?)?;
    let single: Vec<f64> = (0..m * m).map(|index| if index / m == index % m { 1.0 } else { 0.0 }).collect();
    let columns = softmin(&geometry, Side::Source, &vec![0.0; m * m], &single, m)?;
    Ok((0..n * m).map(|pair| columns[pair % m * n + pair / m]).collect())
}

/// The softmins of a side, for potentials and weights of the other in so many columns.
fn softmin<T: CpuScalar>(
    geometry: &FeatureGeometry<T>,
    side: Side,
    potentials: &[f64],
    weights: &[f64],
    columns: usize,
) -> Result<Vec<f64>, Error> {
    let Epsilon::Absolute(epsilon) = geometry.epsilon() else { return Err(Error::Epsilon(0.0)) };
    let (backend, mut kernel) = (geometry.backend(), geometry.bind_entropic(epsilon, columns)?);
    let own = geometry.len(side);
    let ones = DeviceWeights::new(&*backend, WeightsView::new(&vec![T::from_f64(1.0); own * columns], columns)?)?;
    let others = DeviceWeights::new(&*backend, WeightsView::new(&narrow::<T>(weights), columns)?)?;
    let mut out = backend.filled(0.0, own, columns)?;
    let zeros = backend.filled(0.0, own, columns)?;
    let potentials = backend.upload(&narrow::<T>(potentials), columns)?;
    let (own, other) = (PlanSide::new(&zeros, &ones), PlanSide::new(&potentials, &others));
    let plan = PlanView { source: side.of([own, other]), target: side.of([other, own]) };
    kernel.conditional_potential(&*backend, side, plan, &mut out)?;
    Ok(wide(&backend.download(&[&out])?.swap_remove(0)))
}

/// What is told of the features without a problem.
fn bounds<T: CpuScalar>(features: &Features, geometry: &FeatureGeometry<T>, table: &[f64], report: &mut Report) {
    let epsilon = features.epsilon;
    let largest = table.iter().fold(0.0_f64, |largest, cost| largest.max(cost.abs()));
    let bound = geometry.cost_bound().unwrap_or(f64::NAN);
    report.at_most("the largest cost, at most its bound", largest, bound + 8.0 * f64::EPSILON * (bound + epsilon));
    if matches!(features.made, Made::Given { .. }) {
        return;
    }
    let squares = features.squares(false);
    let errors = table.iter().zip(&squares).map(|(cost, square)| (cost - square).abs());
    let error = errors.fold(0.0, f64::max);
    // Logarithms of features are about as large as the exponents.
    let rounding = 64.0 * f64::EPSILON * (largest + squares.iter().fold(bound, |a: f64, b| a.max(*b)) + epsilon);
    match geometry.measured_cost_error() {
        Ok(Some(measured)) => report.near("the measured error of the costs", measured, error, rounding),
        other => report.require(false, || format!("no measured error: {other:?}")),
    }
    if let Some(bound) = geometry.cost_error() {
        report.at_most("the error of the costs, at most its bound", error, bound + 8.0 * f64::EPSILON * epsilon);
    }
    if let Some(deviation) = geometry.relative_deviation() {
        report.number("the relative deviation", deviation);
        // By Chebyshev's inequality, for a few thousand cases.
        for (cost, square) in table.iter().zip(&squares) {
            let ratio = ((square - cost) / epsilon).exp_m1();
            report.at_most("an entry over the true one, less one", ratio, 1e4 * deviation + rounding / epsilon);
            if deviation < 1e-5 {
                report.at_most("one less an entry over the true one", -ratio, 1e4 * deviation + rounding / epsilon);
            }
        }
    }
}

/// Softmins of both sides beside those of the table, and marginals of the plan.
fn products<T: CpuScalar>(
    geometry: &FeatureGeometry<T>,
    table: &[f64],
    potentials: &[Vec<f64>; 2],
    weights: &[Vec<f64>; 2],
    report: &mut Report,
) {
    let Epsilon::Absolute(epsilon) = geometry.epsilon() else { return };
    let m = weights[1].len();
    for side in Side::BOTH {
        let (own, other) = (side.index(), side.opposite().index());
        let found = match softmin(geometry, side, &potentials[other], &weights[other], 1) {
            Ok(found) => found,
            Err(error) => return report.require(false, || format!("no softmins: {error}")),
        };
        report.numbers("softmins", &found);
        for (atom, found) in found.iter().enumerate().take(weights[own].len()) {
            let cost = |partner: usize| if own == 0 { table[atom * m + partner] } else { table[partner * m + atom] };
            let terms: Vec<f64> = (0..weights[other].len())
                .filter(|&partner| weights[other][partner] > 0.0)
                .map(|partner| (potentials[other][partner] - cost(partner)) / epsilon + weights[other][partner].ln())
                .collect();
            let top = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let expected = -epsilon * (top + sum(terms.iter().map(|term| (term - top).exp())).ln());
            let sizes = (0..weights[other].len()).map(|partner| cost(partner).abs() + potentials[other][partner].abs());
            let size = sizes.fold(1e3 * epsilon + geometry.cost_bound().unwrap_or(0.0), f64::max);
            let unit = T::EPSILON.max(64.0 * f64::EPSILON);
            report.near("a softmin", *found, expected, 8.0 * unit * size + T::TINY);
        }
    }
}

/// Another unit of length gives the same bits times the square of it.
fn scales<T: CpuScalar>(
    features: &Features,
    geometry: &FeatureGeometry<T>,
    scale: f64,
    backend: &CpuBackend<T>,
    report: &mut Report,
) {
    let other = features.scaled(scale);
    let fits = |value: f64| value == 0.0 || (1e6 * T::TINY..1e-6 * T::LARGEST_COST).contains(&value.abs());
    let squares = if features.dimension > 0 { features.squares(true) } else { vec![] };
    let both = [1.0, scale * scale];
    let coordinates = features.coordinates.iter().flatten();
    if !coordinates.clone().all(|x| fits(*x) && fits(scale * x))
        || !both.iter().all(|factor| squares.iter().chain([&features.epsilon]).all(|square| fits(factor * square)))
    {
        return;
    }
    let m = geometry.len(Side::Target);
    let minima = |geometry: &FeatureGeometry<T>| softmin(geometry, Side::Source, &vec![0.0; m], &vec![1.0; m], 1);
    let Ok(before) = minima(geometry) else { return };
    if !before.iter().all(|value| fits(*value) && fits(scale * scale * value)) {
        return;
    }
    match other.geometry(backend).and_then(|geometry| minima(&geometry)) {
        Err(error) => report.require(false, || format!("in another unit: {error}")),
        Ok(after) => {
            let wanted: Vec<f64> = before.iter().map(|value| scale * scale * value).collect();
            report.require(after == wanted, || format!("in units of {scale:e}: {after:?}, expected {wanted:?}"));
        }
    }
}

/// Kernels of features of all points are positive semi-definite: their divergences are not negative.
fn divergence<T: CpuScalar>(
    features: &Features,
    geometry: &FeatureGeometry<T>,
    instance: &Instance,
    report: &mut Report,
) {
    let points = Instance {
        points: Some(super::instance::Points {
            coordinates: features.coordinates.clone(),
            dimension: features.dimension,
            ground: Ground::SqEuclidean,
        }),
        ..instance.clone()
    };
    let divergence = points.measures::<T>().and_then(|[source, target]| {
        let settings = SinkhornDivergence::new().sinkhorn(Sinkhorn::new().max_iterations(200));
        settings.between(geometry, source.as_ref(), target.as_ref(), &ImpliedCost, geometry.epsilon())
    });
    match divergence {
        Err(error) => {
            let objective = instance.entropy_leaves_range::<T>(features.epsilon);
            report.refused(&error, objective || instance.leaves_range::<T>());
        }
        Ok(divergence) => {
            let [lower, upper] = divergence.bounds()[0];
            report.numbers("divergence and bounds", &[divergence.value(), lower, upper]);
            report.require(lower <= divergence.value() && divergence.value() <= upper, || {
                format!("divergence {:e} outside of [{lower:e}, {upper:e}]", divergence.value())
            });
            // Between masses near the smallest number terms have no digits.
            let mass = sum(instance.weights[0].iter().copied());
            report.require(upper >= 0.0 || mass < 1e9 * T::TINY, || format!("a divergence of at most {upper:e}"));
        }
    }
}
