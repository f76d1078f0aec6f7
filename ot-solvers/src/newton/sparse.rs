//! Newton's method for plans with zeros: regularizers whose densities vanish below some exponent, as squared L2.
//!
//! A pair carries mass where C_ij - f_i - g_j is below -epsilon h'(0), and nothing elsewhere. With W_ij = a_i b_j h*''(z_ij), which
//! is zero there too, r' = W 1 and c' = W^T 1, the dual as a function of g, f the c-transform of g, has the gradient b d(g) - c
//! and the generalised Hessian -L / epsilon,
//!
//! ```text
//! L x = c' x / u - W^T (t / r') W x        t_i = r'_i / (r'_i - epsilon a_i d'(f_i)),  and u likewise
//! ```
//!
//! A step solves (L + lambda max(c', mean)) x = epsilon (b d(g) - c) (semi-smooth Newton: Lorenz, Manns, Meyer 2021). For squares W is a_i b_j
//! on the pairs that carry mass: once these are found the step is exact.
//!
//! Where epsilon is above a thousandth of the largest cost so many pairs carry mass that products with a list of them cost more than
//! passes over all pairs: the [ascent](crate::DualAscent) is the start, and mostly the end. Below, it brings a coarse error at the
//! first epsilon of the path. Then a pass lists the pairs near enough to carry mass, epsilon falls by factors of four, and the list
//! is cut down to what is near. That a pair is missing shows in the next pass over all pairs: a step that has lost by
//! it is undone for the c-transform, and the reach of the list is kept to from then on.

mod arcs;
mod row;
mod steps;

use std::mem;

use ot_core::{
    Device, Error, KernelOp, Progress, RecordedRegularizer, Scalar, Side, Status, certificate::marginal_errors_with,
};

use self::{
    arcs::{SparseArcs, Terms},
    steps::Trust,
};
use super::{
    all_pairs::AllPairs,
    column::{ColumnEnd, ColumnSolver, Entry},
    direction::LinearWork,
    path::{RATIO, stages},
    restricted::End,
    sides::Sides,
};
use crate::ascent::climb_towards;

/// The first epsilon of the path is the first that is not below this part of the bound of the cost.
const FIRST: f64 = 1e-3;
/// The error that the ascent hands over at, and its most iterations.
const START_ERROR: f64 = 0.05;
const START_ITERATIONS: usize = 60;
/// The most iterations of an ascent that is to go all the way.
const DENSE_ITERATIONS: usize = 200;
/// The error of a stage before the last.
const STAGE_ERROR: f64 = 0.05;
/// How near pairs are listed at least, in epsilons, and at first, in mean depths; that doubles where it was too little.
const LEAST_MARGIN: f64 = 8.0;
const MARGIN: f64 = 1.0;
/// The largest margin: all arcs of potentials that move no farther.
const LARGEST_MARGIN: f64 = 4096.0;
/// Rounds that potentials given are good for, besides one for each stage.
const GIVEN_ROUNDS: usize = 12;
/// Tries to meet errors that tell more than the iteration.
const CHANCES: usize = 3;
/// Rounds without a smaller error or a larger dual after which nothing is gained any more.
const PATIENCE: usize = 6;

/// Refuses a regularizer none of whose densities vanish.
///
/// # Errors
/// [`Error::MissingCapability`].
pub(super) fn require_zeros(regularizer: &RecordedRegularizer) -> Result<(), Error> {
    match regularizer.slope_at_zero().is_finite() {
        true => Ok(()),
        false => Err(Error::MissingCapability("Newton's method for a regularizer whose plans have no zeros")),
    }
}

impl<D: Device> ColumnSolver<'_, '_, D> {
    /// Solves from given potentials, with a kernel of one column.
    pub(super) fn solve_sparse<K: KernelOp<D> + ?Sized>(
        mut self,
        kernel: &mut K,
        entry: Entry,
        given: [Vec<D::Elem>; 2],
    ) -> Result<ColumnEnd<D::Elem>, Error> {
        let (problem, epsilon) = (self.problem, self.problem.epsilon());
        kernel.hard_transform().ok_or(Error::MissingCapability("arcs below a threshold"))?;
        problem.require_equal_components()?;
        let sides = Sides::of(problem)?;
        let numbers = |potentials: [Vec<D::Elem>; 2]| {
            potentials.map(|potential| potential.iter().map(|value| value.to_f64()).collect::<Vec<_>>())
        };
        let from_zero = stages(epsilon, FIRST * self.largest_cost());
        let from_given = match entry {
            Entry::Zero => None,
            Entry::Given(None) => Some(vec![epsilon]),
            Entry::Given(Some(known)) => Some(stages(epsilon, known * RATIO)),
        };
        let mut pairs = AllPairs::new(problem, kernel, self.settings.most_arcs)?;
        let mut path = match &from_given {
            Some(stages) => {
                let mut path = SparsePath::new(&sides, problem.regularizer(), stages, numbers(given));
                self.follow(&mut path, &mut pairs, GIVEN_ROUNDS + stages.len())?;
                path
            }
            None => SparsePath::new(&sides, problem.regularizer(), &from_zero, numbers(given)),
        };
        // Potentials that were given may be farther from the solution than those of another epsilon.
        if matches!(self.status, Status::IterationLimit | Status::Stalled) && pairs.passes() < self.settings.limits.most
        {
            let work = path.work;
            path = SparsePath::new(
                &sides,
                problem.regularizer(),
                &from_zero,
                numbers(self.climb_at(from_zero[0], pairs.passes())?),
            );
            path.work = work;
            path.stage = 1.min(from_zero.len() - 1);
            path.is_reached = from_zero.len() == 1;
            if self.status != Status::Cancelled {
                self.follow(&mut path, &mut pairs, usize::MAX)?;
            }
        }
        path.finish(&mut pairs, epsilon)?;
        self.report.sweeps = pairs.sweeps;
        self.report.listings = pairs.listings;
        self.report.count(&path.work);
        let elements = |values: &[f64]| values.iter().map(|&value| D::Elem::from_f64(value)).collect();
        let potentials = [elements(&path.f), elements(&path.g)];
        Ok(ColumnEnd { potentials, status: self.status, error: path.error, report: self.report })
    }

    /// Potentials that an ascent of the dual brings to a coarse error, or to the tolerance at the epsilon of the problem.
    fn climb_at(&mut self, epsilon: f64, passes: usize) -> Result<[Vec<D::Elem>; 2], Error> {
        let problem = self.problem.with_epsilon(epsilon)?;
        let (error, most) = match epsilon == self.problem.epsilon() {
            true => (self.settings.tolerance_on(self.problem), DENSE_ITERATIONS),
            false => (START_ERROR, START_ITERATIONS),
        };
        let (history, before) = (&mut *self.told.history, self.told.before + passes);
        let mut tell = |progress: Progress| history.tell(Progress { done: before + progress.done, ..progress });
        let (potentials, end) = climb_towards(&problem, error, most.min(self.settings.most_start), &mut tell)?;
        self.report.start_iterations = end.iterations;
        if end.statuses.contains(&Status::Cancelled) {
            self.status = Status::Cancelled;
        }
        let read = problem.backend().download(&Side::BOTH.map(|side| potentials.side(side)))?;
        let mut read = read.into_iter();
        Ok([(); 2].map(|()| read.next().unwrap_or_default()))
    }

    /// Rounds until the tolerance, certified, at most so many.
    fn follow<K: KernelOp<D> + ?Sized>(
        &mut self,
        path: &mut SparsePath<'_>,
        pairs: &mut AllPairs<'_, D, K>,
        rounds: usize,
    ) -> Result<(), Error> {
        self.status = Status::IterationLimit;
        let tolerance = self.settings.tolerance_on(self.problem);
        let (mut smallest, mut highest, mut at) = (f64::INFINITY, f64::NEG_INFINITY, 0);
        let (mut since, mut chances) = (0, 0);
        for round in 0.. {
            if self.tell(path.epsilon(), [path.error, path.dual], pairs.passes()) {
                self.status = Status::Cancelled;
                return Ok(());
            }
            if path.is_reached {
                pairs.rebind(path.epsilon(), &path.f, &path.g)?;
                let (kernel, potentials) = pairs.kernel();
                let errors = marginal_errors_with(kernel, self.problem, potentials)?[0];
                path.error = errors.error;
                if errors.meets(tolerance) || errors.rounding > tolerance / 4.0 || chances == CHANCES {
                    self.status = Status::Converged;
                    return Ok(());
                }
                chances += 1;
                path.widen();
            }
            if round == rounds || pairs.passes() >= self.settings.limits.most {
                return Ok(());
            }
            path.round(pairs, tolerance / 4.0)?;
            let Entering { stage, error, dual, dual_rounding } = path.entering;
            if mem::replace(&mut at, stage) != stage {
                (smallest, highest) = (f64::INFINITY, f64::NEG_INFINITY);
            }
            let gains = error < smallest * (1.0 - 1e-4) || dual > highest + dual_rounding;
            since = if gains { 0 } else { since + 1 };
            (smallest, highest) = (smallest.min(error), highest.max(dual));
            if since >= PATIENCE || !error.is_finite() {
                self.status = if error.is_finite() { Status::Stalled } else { Status::NotFinite };
                return Ok(());
            }
        }
        Ok(())
    }
}

/// What is carried along the path.
struct SparsePath<'a> {
    sides: &'a Sides,
    regularizer: &'a RecordedRegularizer,
    stages: &'a [f64],
    stage: usize,
    f: Vec<f64>,
    g: Vec<f64>,
    /// Error and dual as the arcs tell them.
    error: f64,
    dual: f64,
    /// What the last round began with.
    entering: Entering,
    /// Is the error that of the last stage and within the goal?
    is_reached: bool,
    /// How near pairs are listed, in mean depths, and the depth at the last stage that was looked at.
    margin: f64,
    depth: f64,
    trust: Trust,
    /// Potentials to go back to: f, and its c-transform.
    before: Option<[Vec<f64>; 2]>,
    work: LinearWork,
}

/// What all pairs tell of the point that a round began with.
#[derive(Copy, Clone, Default)]
struct Entering {
    stage: usize,
    error: f64,
    dual: f64,
    dual_rounding: f64,
}

impl<'a> SparsePath<'a> {
    fn new(sides: &'a Sides, regularizer: &'a RecordedRegularizer, stages: &'a [f64], [f, g]: [Vec<f64>; 2]) -> Self {
        Self {
            sides,
            regularizer,
            stages,
            stage: 0,
            f,
            g,
            error: f64::INFINITY,
            dual: f64::NEG_INFINITY,
            entering: Entering::default(),
            is_reached: false,
            margin: MARGIN,
            depth: 0.0,
            trust: Trust::Beyond,
            before: None,
            work: LinearWork::default(),
        }
    }

    fn epsilon(&self) -> f64 {
        self.stages[self.stage]
    }

    fn is_last(&self) -> bool {
        self.stage + 1 == self.stages.len()
    }

    fn terms(&self) -> Terms<'a> {
        Terms { sides: self.sides, regularizer: self.regularizer, epsilon: self.epsilon() }
    }

    /// One round: a sweep and a list around it, and the path on the listed arcs as far as it goes.
    fn round<D: Device, K: KernelOp<D> + ?Sized>(
        &mut self,
        pairs: &mut AllPairs<'_, D, K>,
        goal: f64,
    ) -> Result<(), Error> {
        self.is_reached = false;
        let terms = self.terms();
        if pairs.epsilon() != terms.epsilon {
            pairs.rebind(terms.epsilon, &self.f, &self.g)?;
        }
        let [f, transform] = pairs.sweep(&self.f, &self.g)?;
        let raised: Vec<f64> = self.g.iter().zip(&transform).map(|(g, transform)| g.max(*transform)).collect();
        let base = terms.level() + (self.margin * self.depth).max(LEAST_MARGIN * terms.epsilon);
        let listed = pairs.list_near(&f, &raised, base)?;
        let mut arcs = SparseArcs::new(&listed, self.sides, f.clone(), raised, base);
        let mut now = arcs.point(terms, &f, self.g.clone());
        let before = mem::replace(
            &mut self.entering,
            Entering { stage: self.stage, error: now.error, dual: now.dual, dual_rounding: now.dual_rounding },
        );
        let falls = now.dual < before.dual - now.dual_rounding && now.error > before.error / 2.0;
        if let Some([f, transform]) = self.before.take().filter(|_| falls && before.stage == self.stage) {
            (self.f, self.g) = (f, transform);
            self.trust = Trust::Within;
            self.widen();
            return Ok(());
        }
        self.before = Some([f, transform]);
        loop {
            let terms = self.terms();
            self.depth = arcs.depth(terms, &now);
            if self.trust == Trust::Beyond {
                (arcs, now) = arcs.within(terms, now, self.margin * self.depth);
            }
            let goal = if self.is_last() { goal } else { STAGE_ERROR };
            let (found, end) = steps::solve(&arcs, terms, now, goal, self.trust, &mut self.work);
            now = found;
            self.is_reached = end == End::Reached && self.is_last();
            if end != End::Reached {
                self.widen();
                break;
            }
            if self.is_last() {
                break;
            }
            self.stage += 1;
            let terms = self.terms();
            let g = mem::take(&mut now.g);
            now = arcs.point(terms, &now.f, g);
            if !arcs.cover(terms, &now, self.trust) {
                self.widen();
                break;
            }
        }
        (self.f, self.g, self.error, self.dual) = (now.f, now.g, now.error, now.dual);
        Ok(())
    }

    /// Lists farther from now on.
    fn widen(&mut self) {
        self.margin = (2.0 * self.margin).min(LARGEST_MARGIN);
    }

    /// Leaves potentials at the epsilon of the problem, also of atoms without mass.
    fn finish<D: Device, K: KernelOp<D> + ?Sized>(
        &mut self,
        pairs: &mut AllPairs<'_, D, K>,
        epsilon: f64,
    ) -> Result<(), Error> {
        let is_elsewhere = pairs.epsilon() != epsilon || self.stage + 1 < self.stages.len();
        pairs.rebind(epsilon, &self.f, &self.g)?;
        let lacks_mass = self.sides.weights.iter().flatten().any(|weight| *weight <= 0.0);
        if is_elsewhere || lacks_mass {
            let swept = pairs.sweep(&self.f, &self.g)?;
            for (side, (potential, swept)) in [&mut self.f, &mut self.g].into_iter().zip(swept).enumerate() {
                let is_moved = |weight: &f64| *weight <= 0.0 || (is_elsewhere && side == 0);
                let moved = potential.iter_mut().zip(swept).zip(&self.sides.weights[side]);
                moved.filter(|(_, weight)| is_moved(weight)).for_each(|((potential, swept), _)| *potential = swept);
            }
        }
        Ok(())
    }
}
