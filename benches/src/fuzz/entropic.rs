//! Entropic solvers and their certificates beside the definitions in f64.

use ot_core::{
    Balanced, Entropy, Epsilon, Error, Free, GeometryBuilder, Host, Kl, MarginalPenalty, Problem, Range,
    RecordedPenalty, Side, Solution, SquaredL2, TotalVariation,
};
use ot_cpu::{CpuBackend, CpuScalar, KeptEntries};
use ot_solvers::{Annealing, Newton, Relaxation, Sinkhorn, StochasticAveragedGradient, Update};

use super::{
    generate::{below, decade, free_masses, masses, one_of, percent, rounded, typical_cost},
    instance::{Instance, sizes},
    judge::{Asked, check_bounds, judge},
    oracle::{
        entropic::{Penalty, Regularizer},
        transport::least_cost,
    },
    report::Report,
};
use crate::seeded::Seeded;

/// Prescribed marginals, entropy.
pub fn balanced<T: CpuScalar>(backends: &[CpuBackend<T>; 3], random: &mut Seeded, report: &mut Report) {
    case(backends, random, report, [Penalty::Balanced; 2], Regularizer::Entropy, Method::Sinkhorn);
}

/// Penalties with a derivative, entropy, by Newton's method.
pub fn newton<T: CpuScalar>(backends: &[CpuBackend<T>; 3], random: &mut Seeded, report: &mut Report) {
    let penalties = match percent(random, 60) {
        true => [Penalty::Balanced; 2],
        false => penalties(random),
    };
    case(backends, random, report, penalties, Regularizer::Entropy, Method::Newton);
}

/// Prescribed marginals, entropy, by stochastic averaged gradients.
pub fn averaged_gradient<T: CpuScalar>(backends: &[CpuBackend<T>; 3], random: &mut Seeded, report: &mut Report) {
    let batch = 1 + below(random, 3);
    case(backends, random, report, [Penalty::Balanced; 2], Regularizer::Entropy, Method::AveragedGradient { batch });
}

/// Any penalties, entropy.
pub fn unbalanced<T: CpuScalar>(backends: &[CpuBackend<T>; 3], random: &mut Seeded, report: &mut Report) {
    let penalties = penalties(random);
    case(backends, random, report, penalties, Regularizer::Entropy, Method::Sinkhorn);
}

/// Any penalties, plans with zeros.
pub fn squared_l2<T: CpuScalar>(backends: &[CpuBackend<T>; 3], random: &mut Seeded, report: &mut Report) {
    let penalties = if percent(random, 60) { [Penalty::Balanced; 2] } else { penalties(random) };
    case(backends, random, report, penalties, Regularizer::SquaredL2, Method::Sinkhorn);
}

/// Penalties with strengths in units of a cost of one.
pub(super) fn penalties(random: &mut Seeded) -> [Penalty; 2] {
    let same = percent(random, 50);
    let mut next = || {
        let rho = if percent(random, 80) { decade(random, -2.0, 2.0) } else { decade(random, -12.0, 12.0) };
        let (low, high) = (random.uniform(), 1.0 + 3.0 * random.uniform());
        match below(random, 6) {
            0 => Penalty::Balanced,
            1 | 2 => Penalty::Kl(rho),
            3 => Penalty::TotalVariation(rho),
            4 => Penalty::Range(one_of(random, &[0.0, low, 1.0]), high),
            _ => Penalty::Free,
        }
    };
    let source = next();
    [source, if same { source } else { next() }]
}

/// A penalty in the units of a cost.
pub(super) fn scaled(penalty: Penalty, unit: f64) -> Penalty {
    let within = |rho: f64| (rho * unit).clamp(1e-30, 1e30);
    match penalty {
        Penalty::Kl(rho) => Penalty::Kl(within(rho)),
        Penalty::TotalVariation(rho) => Penalty::TotalVariation(within(rho)),
        other => other,
    }
}

/// A penalty of the framework.
pub(super) fn recorded(penalty: Penalty) -> Result<RecordedPenalty, Error> {
    match penalty {
        Penalty::Balanced => Balanced.recorded(),
        Penalty::Kl(rho) => Kl::new(rho)?.recorded(),
        Penalty::TotalVariation(rho) => TotalVariation::new(rho)?.recorded(),
        Penalty::Range(low, high) => Range::new(low, high)?.recorded(),
        Penalty::Free => Free.recorded(),
    }
}

fn case<T: CpuScalar>(
    backends: &[CpuBackend<T>; 3],
    random: &mut Seeded,
    report: &mut Report,
    penalties: [Penalty; 2],
    regularizer: Regularizer,
    method: Method,
) {
    let [n, m] = sizes(random);
    let prescribed = penalties.iter().all(|penalty| *penalty == Penalty::Balanced);
    let (weights, exact) = if prescribed || percent(random, 50) {
        let drawn = masses::<T>(random, n, m);
        ([drawn.source, drawn.target], drawn.exact)
    } else {
        (free_masses::<T>(random, n, m), false)
    };
    let instance = Instance::draw::<T>(random, weights);
    let unit = typical_cost(&instance.costs);
    let penalties = penalties.map(|penalty| scaled(penalty, unit));
    let strength = unit * if percent(random, 80) { decade(random, -3.0, 1.0) } else { decade(random, -6.0, 3.0) };
    let epsilon = match below(random, 8) {
        0 => Epsilon::RelativeToMean(decade(random, -3.0, 1.0)),
        1 => Epsilon::default(),
        _ => Epsilon::Absolute(rounded::<T>(strength)),
    };
    let largest_epsilon = match epsilon {
        Epsilon::Absolute(epsilon) => epsilon,
        _ => instance
            .costs
            .iter()
            .filter(|cost| cost.is_finite())
            .fold(0.0, |most: f64, cost| most.max(10.0 * cost.abs())),
    };
    let settings = Settings::draw(random, T::EPSILON);
    instance.describe::<T>(report);
    report.given("penalties", penalties);
    report.given("regularizer", regularizer);
    report.given("epsilon", epsilon);
    report.given("settings", &settings);

    let solve = |backend: &CpuBackend<T>| -> Result<Solution<Host<T>>, Error> {
        let backend = settings.backend(backend);
        let [source, target] = instance.measures::<T>()?;
        let cost = instance.cost::<T>()?;
        if let Method::AveragedGradient { batch } = method {
            let solver = settings.averaged_gradient(batch);
            return solver.solve(&backend, source.as_ref(), target.as_ref(), cost.as_ref(), epsilon);
        }
        let geometry = backend.geometry(source.support(), target.support(), cost.as_ref())?;
        let [of_source, of_target] = [recorded(penalties[0])?, recorded(penalties[1])?];
        let problem = Problem::unbalanced(geometry, source.as_ref(), target.as_ref(), epsilon, &of_source, &of_target)?;
        let problem = match regularizer {
            Regularizer::Entropy => problem.with_regularizer(&Entropy)?,
            Regularizer::SquaredL2 => problem.with_regularizer(&SquaredL2)?,
        };
        match method {
            Method::Newton => settings.newton().solve(&problem),
            _ => settings.sinkhorn().solve(&problem),
        }
    };
    let solution = match solve(&backends[0]) {
        Ok(solution) => solution,
        Err(error) => {
            let allowed = match error {
                Error::Epsilon(_) => true,
                Error::MassMismatch { .. } => !prescribed,
                Error::Stranded { .. } => instance.forbids(),
                Error::Infeasible { .. } => {
                    let [a, b] = &instance.weights;
                    instance.forbids() && (!exact || least_cost(a, b, &instance.costs).is_none())
                }
                // Of penalties with kinks.
                Error::MissingCapability(_) => method == Method::Newton && !penalties.iter().all(has_derivative),
                _ => {
                    let objective = match regularizer {
                        Regularizer::Entropy => instance.entropy_leaves_range::<T>(largest_epsilon),
                        Regularizer::SquaredL2 => instance.sums_leave_range::<T>(),
                    };
                    objective || instance.leaves_range::<T>()
                }
            };
            return report.refused(&error, allowed);
        }
    };
    report.status(solution.status());
    let asked = Asked { penalties, regularizer, tolerance: settings.tolerance };
    match judge(&solution, 0, &instance, asked, report) {
        Err(error) => report.require(false, || format!("no potentials: {error}")),
        Ok(problem) => {
            if prescribed && problem.least_mass() >= 1e9 * T::TINY {
                check_bounds(&solution, 0, &problem, exact, instance.cost_error::<T>(), report);
            }
        }
    }
    if percent(random, 20) {
        let bits = |solution: &Solution<Host<T>>| {
            let potentials = Side::BOTH.map(|side| solution.potential(side));
            format!("{potentials:?} {:?} {:?}", solution.status(), solution.certificates())
        };
        for backend in &backends[1..] {
            let same = solve(backend).is_ok_and(|other| bits(&other) == bits(&solution));
            report.require(same, || format!("other bits with {} threads", backend.threads()));
        }
    }
}

/// Who solves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Method {
    Sinkhorn,
    Newton,
    AveragedGradient { batch: usize },
}

/// Does the c-transform under a penalty have a derivative everywhere, and not only zero?
fn has_derivative(penalty: &Penalty) -> bool {
    matches!(penalty, Penalty::Balanced | Penalty::Kl(_))
}

/// How a problem is solved.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) tolerance: f64,
    iterations: usize,
    streaming: bool,
    kept: KeptEntries,
    annealing: Annealing,
    relaxation: Relaxation,
    update: Update,
}

impl Settings {
    pub(super) fn draw(random: &mut Seeded, unit: f64) -> Self {
        Self {
            tolerance: if unit < 1e-10 { one_of(random, &[1e-6, 1e-9, 1e-3]) } else { one_of(random, &[1e-4, 1e-2]) },
            iterations: one_of(random, &[1, 20, 300, 300]),
            streaming: percent(random, 30),
            kept: one_of(random, &[KeptEntries::Automatic, KeptEntries::Single, KeptEntries::Full]),
            annealing: one_of(random, &[Annealing::Automatic, Annealing::Automatic, Annealing::Off]),
            relaxation: one_of(random, &[Relaxation::Adaptive, Relaxation::Adaptive, Relaxation::Off]),
            update: Update::Alternating,
        }
    }

    pub(super) fn backend<T: CpuScalar>(&self, backend: &CpuBackend<T>) -> CpuBackend<T> {
        let limit = if self.streaming { 0 } else { usize::MAX };
        backend.clone().with_dense_limit(limit).with_kept_entries(self.kept)
    }

    fn newton(&self) -> Newton {
        Newton::new().tolerance(self.tolerance).max_passes(self.iterations)
    }

    fn averaged_gradient(&self, batch: usize) -> StochasticAveragedGradient {
        StochasticAveragedGradient::new().batch(batch).tolerance(self.tolerance).max_epochs(self.iterations)
    }

    pub(super) fn sinkhorn(&self) -> Sinkhorn {
        Sinkhorn::new()
            .tolerance(self.tolerance)
            .max_iterations(self.iterations)
            .annealing(self.annealing)
            .relaxation(self.relaxation)
            .update(self.update)
    }
}
