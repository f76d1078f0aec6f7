//! The plan of potentials, rounded along itself to prescribed marginals.
//!
//! P'_ij = P_ij (1 + x_j - y_i) has the marginals a and b where, with r = P 1 and c = P^T 1,
//!
//! ```text
//! sum_j P_ij (x_j - y_i) = a_i - r_i        sum_i P_ij (x_j - y_i) = b_j - c_j
//! ```
//!
//! With y eliminated this is one equation with the Laplacian of the plan's graph,
//!
//! ```text
//! c_j x_j - sum_i P_ij (P x)_i / r_i = b_j - c_j - sum_i P_ij (a_i - r_i) / r_i
//! ```
//!
//! solved by conjugate gradients (Hestenes, Stiefel 1952) that c preconditions: two products with the plan a step, with its arcs
//! alone where it has few. P' is a plan if |x_j - y_i| < 1. It has no mass where P has none, so that nothing crosses a forbidden pair, and
//!
//! ```text
//! KL(P' | P) <= sum_ij P_ij (x_j - y_i)^2
//! ```
//!
//! is quadratic in the residuals, where that of added mass is linear.

mod arcs;

use std::sync::Arc;

use self::arcs::PlanArcs;
use super::RoundedPlan;
use crate::{
    backend::{Backend, Device},
    error::Error,
    kernel::{KernelOp, PlanRounding, PlanView, Potentials},
    plan::Plan,
    problem::Problem,
    scalar::Scalar,
    side::Side,
};

/// The most steps by products with all pairs, and by products with arcs, which together cost no more.
const STEPS: usize = 200;
const STEPS_ON_ARCS: usize = 2000;
/// Factors beyond this do not come back to below 1.
const LARGEST: f64 = 2.0;
/// The part of what rounding makes of the marginals that the solve may leave.
const LEFT: f64 = 0.125;

/// A plan P (1 + x_j - y_i) with the marginals of a balanced problem, to rounding.
#[derive(Debug)]
pub struct RelativePlan<'a, D: Device> {
    problem: &'a Problem<D>,
    potentials: Arc<Potentials<D>>,
    /// y and x, column after column; zero where there are none.
    factors: [Vec<D::Elem>; 2],
    on_device: [D::Vector; 2],
    /// The columns that meet their marginals.
    rounded: Vec<bool>,
}

impl<'a, D: Device> RelativePlan<'a, D> {
    /// Rounds the plan of potentials along itself, with a kernel bound to their epsilon. The host waits at every step.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for marginals that are not prescribed, or another regularizer than entropy;
    /// [`Error::OutOfMemory`], a failure of the device.
    pub fn round<K: KernelOp<D> + ?Sized>(
        kernel: &mut K,
        problem: &'a Problem<D>,
        potentials: &Potentials<D>,
    ) -> Result<Self, Error> {
        problem.require_entropy()?;
        if !problem.is_balanced() {
            return Err(Error::MissingCapability("rounding along the plan to marginals that are not prescribed"));
        }
        let rounded = RoundedPlan::round(kernel, problem, potentials)?;
        Self::solve(kernel, problem, potentials, &rounded, &vec![true; problem.columns()])
    }

    /// Does a column meet its marginals? Where |x_j - y_i| would have to be 1 or more, or the plan has rows without mass,
    /// it does not, and is the plan P.
    #[must_use]
    pub fn is_rounded(&self, column: usize) -> bool {
        self.rounded[column]
    }

    /// y of the source or x of the target, of one column.
    #[must_use]
    pub fn factors(&self, side: Side, column: usize) -> &[D::Elem] {
        let len = self.problem.marginal(side).len();
        &self.factors[side.index()][column * len..][..len]
    }

    /// All entries of one column, row-major, n x m.
    ///
    /// # Errors
    /// Those of [`Plan::to_dense`].
    pub fn to_dense(&self, column: usize) -> Result<Vec<f64>, Error> {
        let mut entries = Plan::new(self.problem.clone(), Arc::clone(&self.potentials))?.to_dense(column)?;
        let [y, x] = Side::BOTH.map(|side| self.factors(side, column));
        for (row, y) in entries.chunks_exact_mut(x.len()).zip(y) {
            row.iter_mut().zip(x).for_each(|(entry, x)| *entry *= 1.0 + (x.to_f64() - y.to_f64()));
        }
        Ok(entries)
    }

    /// The wanted columns of a balanced problem. `rounded` tells the marginals of the plan.
    pub(super) fn solve<K: KernelOp<D> + ?Sized>(
        kernel: &mut K,
        problem: &'a Problem<D>,
        potentials: &Potentials<D>,
        rounded: &RoundedPlan<'_, D>,
        wanted: &[bool],
    ) -> Result<Self, Error> {
        let backend = problem.backend();
        let mut products = Products { kernel, backend, plan: problem.view(potentials) };
        let mut systems: Vec<System<'_>> = (0..wanted.len()).map(|column| System::new(rounded, column)).collect();
        systems.iter_mut().zip(wanted).for_each(|(system, wanted)| system.rests |= !wanted);

        // P^T ((a - r) / r) is what the residuals of the rows ask of the columns.
        let lack: Vec<Vec<f64>> = systems.iter().map(System::lack_of_rows).collect();
        let of_rows = products.of(Side::Target, &lack)?;
        systems.iter_mut().zip(&of_rows).for_each(|(system, of_rows)| system.start(of_rows));
        for (column, system) in systems.iter_mut().enumerate().filter(|(_, system)| !system.rests) {
            let weights = [system.rows.wanted, system.columns.wanted];
            let plan = products.plan;
            if let Some(arcs) = PlanArcs::of(products.kernel, plan, column, weights, system.goal)? {
                system.step_on(&arcs);
            }
        }
        for _ in 0..STEPS {
            if systems.iter().all(|system| system.rests) {
                break;
            }
            let directions: Vec<Vec<f64>> = systems.iter().map(|system| system.direction.clone()).collect();
            let mut images = products.of(Side::Source, &directions)?;
            systems.iter().zip(&mut images).for_each(|(system, image)| system.divide_by_rows(image));
            let images = products.of(Side::Target, &images)?;
            systems.iter_mut().zip(&images).for_each(|(system, image)| system.step(image));
        }

        // y from x, and what is left of the residuals of the columns.
        let x: Vec<Vec<f64>> = systems.iter().map(|system| system.x.clone()).collect();
        let mut y = products.of(Side::Source, &x)?;
        for ((system, y), lack) in systems.iter().zip(&mut y).zip(&lack) {
            system.divide_by_rows(y);
            y.iter_mut().zip(lack).for_each(|(y, lack)| *y -= lack);
        }
        let pushed = products.of(Side::Target, &y)?;
        let mut solved = vec![false; wanted.len()];
        let mut factors = [Vec::new(), Vec::new()];
        for (column, (system, pushed)) in systems.iter().zip(&pushed).enumerate() {
            solved[column] = wanted[column] && system.is_met(&y[column], pushed);
            let kept = |values: &[f64]| -> Vec<D::Elem> {
                values.iter().map(|&value| D::Elem::from_f64(if solved[column] { value } else { 0.0 })).collect()
            };
            factors[0].extend(kept(&y[column]));
            factors[1].extend(kept(&system.x));
        }
        let [source, target] = factors.each_ref().map(|values| backend.upload(values, wanted.len()));
        let on_device = [source?, target?];
        let (source, target) = (backend.copied(&potentials.source)?, backend.copied(&potentials.target)?);
        let potentials = Arc::new(Potentials { source, target, epsilon: potentials.epsilon });
        Ok(Self { problem, potentials, factors, on_device, rounded: solved })
    }

    /// As kernels see it.
    #[must_use]
    pub fn rounding(&self) -> PlanRounding<'_, D> {
        let [source, target] = &self.on_device;
        PlanRounding::Relative { source, target }
    }
}

/// Products of the plan with values on the host.
struct Products<'a, D: Device, K: ?Sized> {
    kernel: &'a mut K,
    backend: &'a dyn Backend<D>,
    plan: PlanView<'a, D>,
}

impl<D: Device, K: KernelOp<D> + ?Sized> Products<'_, D, K> {
    /// The plan applied for the atoms of a side, of values for each column over the other.
    fn of(&mut self, side: Side, values: &[Vec<f64>]) -> Result<Vec<Vec<f64>>, Error> {
        let columns = values.len();
        let elements: Vec<D::Elem> = values.iter().flatten().map(|&value| D::Elem::from_f64(value)).collect();
        let values = self.backend.upload(&elements, columns)?;
        let len = self.kernel.len(side);
        let mut out = self.backend.alloc(len, columns)?;
        self.kernel.apply(side, self.plan, &values, &mut out)?;
        let read = self.backend.download(&[&out])?.swap_remove(0);
        Ok(read.chunks_exact(len).map(|column| column.iter().map(|value| value.to_f64()).collect()).collect())
    }
}

/// The equation of one column, and the state of its conjugate gradients.
struct System<'a> {
    rows: Masses<'a>,
    columns: Masses<'a>,
    /// The L1 norm of a residual that rounding explains.
    goal: f64,
    x: Vec<f64>,
    residual: Vec<f64>,
    direction: Vec<f64>,
    /// <residual, residual / c>.
    size: f64,
    rests: bool,
}

/// What one side has and what it shall have.
struct Masses<'a> {
    found: &'a [f64],
    wanted: &'a [f64],
}

impl<'a> System<'a> {
    fn new<D: Device>(rounded: &'a RoundedPlan<'_, D>, column: usize) -> Self {
        let (of_column, values) = (&rounded.columns()[column], &rounded.values()[column]);
        let [rows, columns] = Side::BOTH.map(|side| {
            let side = of_column.side(side);
            Masses { found: &side.marginal, wanted: &side.weights }
        });
        // A row without mass cannot get any.
        let stranded =
            [&rows, &columns].iter().any(|side| side.found.iter().zip(side.wanted).any(|(r, a)| *r <= 0.0 && *a > 0.0));
        let zeros = || vec![0.0; columns.found.len()];
        Self {
            goal: LEFT * values.mass_rounding,
            x: zeros(),
            residual: zeros(),
            direction: zeros(),
            size: 0.0,
            rests: stranded,
            rows,
            columns,
        }
    }

    /// (a - r) / r.
    fn lack_of_rows(&self) -> Vec<f64> {
        let lack = |(found, wanted): (&f64, &f64)| if *found > 0.0 { (wanted - found) / found } else { 0.0 };
        self.rows.found.iter().zip(self.rows.wanted).map(lack).collect()
    }

    fn divide_by_rows(&self, values: &mut [f64]) {
        for (value, found) in values.iter_mut().zip(self.rows.found) {
            *value = if *found > 0.0 { *value / found } else { 0.0 };
        }
    }

    /// Takes in the right-hand side.
    fn start(&mut self, of_rows: &[f64]) {
        for (j, residual) in self.residual.iter_mut().enumerate() {
            *residual = match self.columns.found[j] > 0.0 {
                true => self.columns.wanted[j] - self.columns.found[j] - of_rows[j],
                false => 0.0,
            };
        }
        self.centre();
        self.size = self.preconditioned_size();
        self.direction = self.preconditioned();
        self.rest();
    }

    /// One step, of P^T diag(1 / r) P times the direction.
    fn step(&mut self, image: &[f64]) {
        if self.rests {
            return;
        }
        let laplacian = |j: usize| self.columns.found[j] * self.direction[j] - image[j];
        let image: Vec<f64> = (0..image.len()).map(laplacian).collect();
        let curvature: f64 = image.iter().zip(&self.direction).map(|(image, direction)| image * direction).sum();
        if !(curvature > 0.0 && self.size > 0.0) {
            self.rests = true;
            return;
        }
        let length = self.size / curvature;
        self.x.iter_mut().zip(&self.direction).for_each(|(x, direction)| *x += length * direction);
        self.residual.iter_mut().zip(&image).for_each(|(residual, image)| *residual -= length * image);
        self.centre();
        let size = self.preconditioned_size();
        let ratio = size / std::mem::replace(&mut self.size, size);
        let next = self.preconditioned();
        self.direction.iter_mut().zip(next).for_each(|(direction, next)| *direction = next + ratio * *direction);
        self.rest();
    }

    /// Steps until it rests, by products with the arcs that carry the plan.
    fn step_on(&mut self, arcs: &PlanArcs) {
        let pairs = self.rows.found.len().saturating_mul(self.columns.found.len());
        let most = STEPS.saturating_mul(pairs / arcs.len().max(1)).min(STEPS_ON_ARCS);
        for _ in 0..most {
            if self.rests {
                break;
            }
            let image = arcs.normal_product(self.rows.found, &self.direction);
            self.step(&image);
        }
        self.rests = true;
    }

    /// Takes out what constants see: the Laplacian is zero on them.
    fn centre(&mut self) {
        let mass: f64 = self.columns.found.iter().sum();
        let mean = self.residual.iter().sum::<f64>() / mass.max(f64::MIN_POSITIVE);
        self.residual.iter_mut().zip(self.columns.found).for_each(|(residual, found)| *residual -= mean * found);
    }

    fn preconditioned(&self) -> Vec<f64> {
        let divided = |(residual, found): (&f64, &f64)| if *found > 0.0 { residual / found } else { 0.0 };
        self.residual.iter().zip(self.columns.found).map(divided).collect()
    }

    fn preconditioned_size(&self) -> f64 {
        self.residual.iter().zip(self.preconditioned()).map(|(residual, divided)| residual * divided).sum()
    }

    fn rest(&mut self) {
        let left: f64 = self.residual.iter().map(|residual| residual.abs()).sum();
        let is_large = self.x.iter().any(|x| x.abs() > LARGEST);
        self.rests |= !left.is_finite() || left <= 0.5 * self.goal || is_large;
    }

    /// Are the columns met, at P^T y, and is P' a plan?
    fn is_met(&self, y: &[f64], pushed: &[f64]) -> bool {
        let Masses { found, wanted } = &self.columns;
        let left = |j: usize| (wanted[j] - found[j] - found[j] * self.x[j] + pushed[j]).abs();
        let left: f64 = (0..pushed.len()).map(left).sum();
        let largest = |values: &[f64]| values.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        let is_reachable = |side: &Masses<'_>| side.found.iter().zip(side.wanted).all(|(r, a)| *r > 0.0 || *a == 0.0);
        is_reachable(&self.rows)
            && is_reachable(&self.columns)
            && left <= self.goal
            && largest(&self.x) + largest(y) < 1.0
    }
}
