//! The plan of potentials, rounded to one that both laws accept (Altschuler, Weed, Rigollet 2017).
//!
//! Rows and then columns above the largest density that their law allows are scaled down, and the
//! mass that is missing below the smallest is added by plans of rank one:
//!
//! ```text
//! P' = diag(x) P diag(y) + u w^T + ...
//! ```
//!
//! Where a side is too full for that, some of the whole plan is taken away first.
//!
//! Scaling is a change of potentials, and rank one needs two vectors, so that the rounded plan is
//! never stored either. It costs four softmins. Where the plan is not entropic, factors are kept beside the
//! potentials, for two passes and two products.

mod shrinking;

use std::sync::Arc;

use self::shrinking::{Bounded, shrinking_factor};
use crate::{
    backend::{Backend, Operand, Side},
    error::Error,
    family::RoundedFactors,
    kernel::{ActiveColumns, KernelOp, Potentials, SoftMin},
    marginal::Marginal,
    plan::Plan,
    problem::Problem,
    program::{BlockInput, LibraryMath, Program, Registers},
    real::Real,
    scalar::{Scalar, UNREACHABLE},
};

/// A plan with marginals that the laws of its problem accept, to rounding.
#[derive(Debug)]
pub struct RoundedPlan<'a, B: Backend> {
    problem: &'a Problem<B>,
    scaled: Scaled<B>,
    pub(crate) columns: Vec<RoundedColumn>,
}

/// The scaled plan.
#[derive(Debug)]
enum Scaled<B: Backend> {
    /// That of other potentials: entropy.
    Potentials(Arc<Potentials<B>>),
    /// diag(x) P diag(y) of the plan of potentials.
    Factors { plan: Arc<Potentials<B>>, factors: [B::Vector; 2] },
}

impl<'a, B: Backend> RoundedPlan<'a, B> {
    /// Rounds the plan of potentials, with a kernel bound to their epsilon.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn round<K: KernelOp<B> + ?Sized>(
        kernel: &mut K,
        problem: &'a Problem<B>,
        potentials: &Potentials<B>,
    ) -> Result<Self, Error> {
        match kernel.family().is_some() {
            true => Self::round_by_factors(kernel, problem, potentials),
            false => Self::round_by_potentials(kernel, problem, potentials),
        }
    }

    /// The rounded plan of entropy.
    fn round_by_potentials<K: KernelOp<B> + ?Sized>(
        kernel: &mut K,
        problem: &'a Problem<B>,
        potentials: &Potentials<B>,
    ) -> Result<Self, Error> {
        let softmins = Softmins::of(kernel, problem, potentials)?;
        let mut numbers = softmins.download(problem, potentials)?;
        let Softmins { softmin, scaled: [mut source, target], scaled_softmin } = softmins;
        drop((softmin, scaled_softmin));
        let of_column = |column| {
            let numbers =
                numbers.each_mut().map(|side| side.take(column, problem.columns()).marginals(potentials.epsilon));
            RoundedColumn::new(problem, numbers, potentials.epsilon)
        };
        let columns: Vec<RoundedColumn> = (0..problem.columns()).map(of_column).collect::<Result<_, _>>()?;
        if columns.iter().any(|column| column.kept < 1.0) {
            let backend = problem.backend();
            let shifts: Vec<f64> = columns.iter().map(|column| potentials.epsilon * column.kept.ln()).collect();
            let shifts = backend.upload_reduced(&shifts)?;
            let add = Program::record(|[potential, shift]| [potential + shift])?;
            backend.map(&add, &[Operand::Output(0), Operand::Reduced(&shifts)], &mut [&mut source])?;
        }
        let scaled = Scaled::Potentials(Arc::new(Potentials { source, target, epsilon: potentials.epsilon }));
        Ok(Self { problem, scaled, columns })
    }

    /// The rounded plan of any other regularizer.
    fn round_by_factors<K: KernelOp<B> + ?Sized>(
        kernel: &mut K,
        problem: &'a Problem<B>,
        potentials: &Potentials<B>,
    ) -> Result<Self, Error> {
        let backend = problem.backend();
        let (mut factors, conjugate) = Factors::of(kernel, problem, potentials)?;
        let mut numbers = factors.download(problem, potentials)?;
        let conjugate = backend.read(&[&conjugate])?.swap_remove(0);
        let of_column = |column: usize| -> Result<RoundedColumn, Error> {
            let numbers = numbers.each_mut().map(|side| side.take(column, problem.columns()));
            let rounded = RoundedColumn::new(problem, numbers, potentials.epsilon)?;
            Ok(RoundedColumn { conjugate: conjugate[column], ..rounded })
        };
        let columns: Vec<RoundedColumn> = (0..problem.columns()).map(of_column).collect::<Result<_, _>>()?;
        if columns.iter().any(|column| column.kept < 1.0) {
            let kept: Vec<f64> = columns.iter().map(|column| column.kept).collect();
            let kept = backend.upload_reduced(&kept)?;
            let multiply = Program::record(|[factor, kept]| [factor * kept])?;
            let operands = [Operand::Output(0), Operand::Reduced(&kept)];
            backend.map(&multiply, &operands, &mut [&mut factors.scaling[0]])?;
        }
        let copy = |side: Side| -> Result<B::Vector, Error> {
            let vector = potentials.side(side);
            let (rows, columns) = backend.shape(vector);
            let mut copy = backend.alloc(rows, columns)?;
            backend.copy(vector, &mut copy)?;
            Ok(copy)
        };
        let (source, target) = (copy(Side::Source)?, copy(Side::Target)?);
        let plan = Arc::new(Potentials { source, target, epsilon: potentials.epsilon });
        Ok(Self { problem, scaled: Scaled::Factors { plan, factors: factors.scaling }, columns })
    }

    /// By how much the rounded plan exceeds the plan: sum_ij a_i b_j (h(p') + h*(z) - z p') of each column, where the
    /// plan is that of a [`PlanFamily`](crate::PlanFamily). One read.
    pub(crate) fn excess<K: KernelOp<B> + ?Sized>(
        &self,
        kernel: &mut K,
        potentials: &Potentials<B>,
    ) -> Result<Vec<f64>, Error> {
        let (backend, columns) = (self.problem.backend(), self.columns.len());
        let Scaled::Factors { factors: [x, y], .. } = &self.scaled else {
            return Err(Error::MissingCapability("excess of a plan"));
        };
        let upload = |part: usize, index: usize| {
            let densities = self.columns.iter().flat_map(|column| {
                let side = if index == 0 { &column.source } else { &column.target };
                let density = |(mass, weight): (&f64, &f64)| if *weight > 0.0 { mass / weight } else { 0.0 };
                column.added[part][index].iter().zip(&side.weights).map(density)
            });
            let densities: Vec<B::Elem> = densities.map(B::Elem::from_f64).collect();
            backend.upload(&densities, columns)
        };
        let [u, v, s, t] = [upload(0, 0)?, upload(0, 1)?, upload(1, 0)?, upload(1, 1)?];
        let rounded = RoundedFactors { scaling: [x, y], added: [[&u, &v], [&s, &t]] };
        let mut out = backend.alloc_reduced(columns)?;
        let family = kernel.family().ok_or(Error::MissingCapability("excess of a plan"))?;
        family.excess(self.problem.view(potentials), rounded, &mut out)?;
        Ok(backend.read(&[&out])?.swap_remove(0))
    }

    /// <P', C> of each column; infinite where the missing mass would have to cross forbidden pairs
    /// or finds no room.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for a kernel without a cost, or for a plan that is not entropic; a failure of the
    /// device.
    pub fn transport_cost<K: KernelOp<B> + ?Sized>(&self, kernel: &mut K) -> Result<Vec<f64>, Error> {
        if kernel.transport_cost().is_none() {
            return Err(Error::MissingCapability("transport cost"));
        }
        let Scaled::Potentials(scaled) = &self.scaled else {
            return Err(Error::MissingCapability("cost of a rounded plan that is not entropic"));
        };
        let [scaled, added] = self.costs(kernel, scaled)?;
        let sum = |((scaled, added), column): ((&f64, &f64), &RoundedColumn)| match column.feasible {
            true => scaled + added,
            false => f64::INFINITY,
        };
        Ok(scaled.iter().zip(&added).zip(&self.columns).map(sum).collect())
    }

    /// All entries of one column, row-major, n x m.
    ///
    /// # Errors
    /// Those of [`Plan::to_dense`].
    pub fn to_dense(&self, column: usize) -> Result<Vec<f64>, Error> {
        let plan = match &self.scaled {
            Scaled::Potentials(plan) | Scaled::Factors { plan, .. } => Arc::clone(plan),
        };
        let mut dense = Plan::new(self.problem.clone(), plan)?.to_dense(column)?;
        if let Scaled::Factors { factors: [x, y], .. } = &self.scaled {
            let factors = self.problem.backend().download(&[x, y])?;
            let [x, y] = [0, 1].map(|side| {
                let len = factors[side].len() / self.columns.len();
                &factors[side][column * len..][..len]
            });
            for (row, x) in dense.chunks_exact_mut(y.len()).zip(x) {
                row.iter_mut().zip(y).for_each(|(entry, y)| *entry *= x.to_f64() * y.to_f64());
            }
        }
        for [u, w] in &self.columns[column].added {
            for (row, u) in dense.chunks_exact_mut(w.len()).zip(u) {
                row.iter_mut().zip(w).for_each(|(entry, w)| *entry += u * w);
            }
        }
        Ok(dense)
    }

    /// <P, C> of a plan of potentials and <Q, C> of the mass added by rounding, for each column: one
    /// read. The kernel has a cost.
    pub(crate) fn costs<K: KernelOp<B> + ?Sized>(
        &self,
        kernel: &mut K,
        potentials: &Potentials<B>,
    ) -> Result<[Vec<f64>; 2], Error> {
        let (backend, columns) = (self.problem.backend(), self.columns.len());
        let cost = kernel.transport_cost().ok_or(Error::MissingCapability("transport cost"))?;
        let view = self.problem.view(potentials);
        let mut numbers = vec![backend.alloc_reduced(columns)?];
        cost.plan_cost(view, &mut numbers[0])?;
        let mut masses = Vec::with_capacity(2);
        for part in 0..2 {
            let Some(factors) = UnitFactors::new(self.columns.iter().map(|column| &column.added[part])) else {
                continue;
            };
            let [u, w] = [backend.upload(&factors.left, columns)?, backend.upload(&factors.right, columns)?];
            let mut out = backend.alloc_reduced(columns)?;
            cost.rank_one_cost(&u, &w, &mut out)?;
            numbers.push(out);
            masses.push(factors.masses);
        }

        let mut read = backend.read(&numbers.iter().collect::<Vec<_>>())?;
        let mut added = vec![0.0; columns];
        for (costs, masses) in read[1..].iter().zip(&masses) {
            for ((sum, cost), mass) in added.iter_mut().zip(costs).zip(masses) {
                *sum += if *mass > 0.0 { cost * mass } else { 0.0 };
            }
        }
        Ok([read.swap_remove(0), added])
    }

    /// The mass added by rounding, per column.
    pub(crate) fn added_mass(&self) -> Vec<f64> {
        let mass = |[u, w]: &[Vec<f64>; 2]| u.iter().sum::<f64>() * w.iter().sum::<f64>();
        self.columns.iter().map(|column| column.added.iter().map(mass).sum()).collect()
    }
}

/// Rank-one factors of unit mass, column after column: products of tiny weights would vanish in
/// the element type.
struct UnitFactors<T> {
    left: Vec<T>,
    right: Vec<T>,
    masses: Vec<f64>,
}

impl<T: Scalar> UnitFactors<T> {
    /// `None` if no column has any mass.
    fn new<'a>(parts: impl Iterator<Item = &'a [Vec<f64>; 2]>) -> Option<Self> {
        let mut factors = Self { left: Vec::new(), right: Vec::new(), masses: Vec::new() };
        for [left, right] in parts {
            let masses = [left.iter().sum::<f64>(), right.iter().sum::<f64>()];
            for (values, mass, into) in [(left, masses[0], &mut factors.left), (right, masses[1], &mut factors.right)] {
                let inverse = if mass > 0.0 { 1.0 / mass } else { 0.0 };
                into.extend(values.iter().map(|value| T::from_f64(value * inverse)));
            }
            factors.masses.push(masses[0] * masses[1]);
        }
        factors.masses.iter().any(|&mass| mass > 0.0).then_some(factors)
    }
}

/// Softmins at the potentials, and at the potentials scaled down to the bounds of the laws.
struct Softmins<B: Backend> {
    softmin: [B::Vector; 2],
    scaled: [B::Vector; 2],
    scaled_softmin: [B::Vector; 2],
}

impl<B: Backend> Softmins<B> {
    fn of<K: KernelOp<B> + ?Sized>(
        kernel: &mut K,
        problem: &Problem<B>,
        potentials: &Potentials<B>,
    ) -> Result<Self, Error> {
        let backend = problem.backend();
        let active = ActiveColumns::all(problem.columns());
        let room = || -> Result<[B::Vector; 2], Error> {
            let side = |side| backend.alloc(problem.marginal(side).len(), problem.columns());
            Ok([side(Side::Source)?, side(Side::Target)?])
        };
        let [mut softmin, mut scaled, mut scaled_softmin] = [room()?, room()?, room()?];
        kernel.softmins(problem.view(potentials), &active, softmin.each_mut())?;
        let mut ask = |side: Side, potential: &B::Vector, shift: &B::Vector, out: &mut B::Vector| {
            let log_weights = problem.marginal(side.opposite()).log_weights();
            kernel.softmin(SoftMin { side, potential, log_weights, shift, active: &active }, out)
        };
        let (f, g) = (&potentials.source, &potentials.target);

        // Rows above their bound first, then the columns of what is left.
        let scale_down = Program::record(|[potential, softmin, shift]| [potential.min(softmin + shift)])?;
        let scale = |side: Side, potential, softmin, out: &mut B::Vector| {
            let [_, high] = problem.marginal(side).regularizer().density_bounds();
            if high.is_finite() {
                let shift = Operand::Constant(potentials.epsilon * high.ln());
                backend.map(&scale_down, &[Operand::Vector(potential), Operand::Vector(softmin), shift], &mut [out])
            } else {
                backend.copy(potential, out)
            }
        };
        let [scaled_source, scaled_target] = &mut scaled;
        scale(Side::Source, f, &softmin[0], scaled_source)?;
        ask(Side::Target, scaled_source, g, &mut scaled_softmin[1])?;
        scale(Side::Target, g, &scaled_softmin[1], scaled_target)?;
        ask(Side::Source, scaled_target, scaled_source, &mut scaled_softmin[0])?;
        Ok(Self { softmin, scaled, scaled_softmin })
    }

    /// Everything on the host, in f64: the arithmetic of a certificate is not that of the solver.
    fn download(&self, problem: &Problem<B>, potentials: &Potentials<B>) -> Result<[SideNumbers; 2], Error> {
        let mut vectors = Vec::with_capacity(10);
        for (index, side) in [Side::Source, Side::Target].into_iter().enumerate() {
            let weights = problem.marginal(side).weights();
            let (scaled, scaled_softmin) = (&self.scaled[index], &self.scaled_softmin[index]);
            vectors.extend([weights, potentials.side(side), &self.softmin[index], scaled, scaled_softmin]);
        }
        let mut columns = problem.backend().download(&vectors)?.into_iter();
        let mut next = || -> Vec<f64> { columns.next().unwrap_or_default().into_iter().map(Scalar::to_f64).collect() };
        let mut side = || SideNumbers {
            weights: next(),
            potential: next(),
            softmin: next(),
            scaled: next(),
            scaled_softmin: next(),
        };
        Ok([side(), side()])
    }
}

/// Densities, factors and products of a plan that is not entropic.
struct Factors<B: Backend> {
    density: [B::Vector; 2],
    /// x and y.
    scaling: [B::Vector; 2],
    /// P y and P^T x.
    product: [B::Vector; 2],
}

impl<B: Backend> Factors<B> {
    /// And sum_ij a_i b_j (h*(z_ij) + h(0)).
    fn of<K: KernelOp<B> + ?Sized>(
        kernel: &mut K,
        problem: &Problem<B>,
        potentials: &Potentials<B>,
    ) -> Result<(Self, B::Reduced), Error> {
        let backend = problem.backend();
        let (plan, active) = (problem.view(potentials), ActiveColumns::all(problem.columns()));
        let room = || -> Result<[B::Vector; 2], Error> {
            let side = |side| backend.alloc(problem.marginal(side).len(), problem.columns());
            Ok([side(Side::Source)?, side(Side::Target)?])
        };
        let [mut density, mut scaling, mut product] = [room()?, room()?, room()?];
        let mut conjugate = backend.alloc_reduced(problem.columns())?;
        let family = kernel.family().ok_or(Error::MissingCapability("family of the plan"))?;
        family.marginals(plan, &active, density.each_mut(), &mut conjugate)?;

        // Rows above their bound first, then the columns of what is left.
        let of_density = Program::record(|[density, high]| [(density - high).select(high / density, 1.0)])?;
        let of_mass = Program::record(|[mass, weight, high]| {
            let most = high * weight;
            [(mass - most).select(most / mass, 1.0)]
        })?;
        let high = |side: Side| {
            let [_, high] = problem.marginal(side).regularizer().density_bounds();
            Operand::Constant(high.min(<B::Elem as Scalar>::MAX))
        };
        let weights = Operand::Vector(problem.marginal(Side::Target).weights());
        let ([x, y], [of_source, of_target]) = (&mut scaling, &mut product);
        backend.map(&of_density, &[Operand::Vector(&density[0]), high(Side::Source)], &mut [x])?;
        kernel.apply(Side::Target, plan, x, of_target)?;
        backend.map(&of_mass, &[Operand::Vector(of_target), weights, high(Side::Target)], &mut [y])?;
        kernel.apply(Side::Source, plan, y, of_source)?;
        Ok((Self { density, scaling, product }, conjugate))
    }

    /// Everything on the host, in f64.
    fn download(&self, problem: &Problem<B>, potentials: &Potentials<B>) -> Result<[Marginals; 2], Error> {
        let mut vectors = Vec::with_capacity(10);
        for (index, side) in [Side::Source, Side::Target].into_iter().enumerate() {
            let (weights, density) = (problem.marginal(side).weights(), &self.density[index]);
            vectors.extend([weights, potentials.side(side), density, &self.scaling[index], &self.product[index]]);
        }
        let mut columns = problem.backend().download(&vectors)?.into_iter();
        let mut next = || -> Vec<f64> { columns.next().unwrap_or_default().into_iter().map(Scalar::to_f64).collect() };
        let mut side = || {
            let [weights, potential, density, scaling, product] = std::array::from_fn(|_| next());
            // One histogram may serve all columns.
            let marginal = density.iter().zip(weights.iter().cycle()).map(|(r, a)| finite_or_zero(a * r)).collect();
            let scaled = scaling.iter().zip(&product).map(|(x, mass)| finite_or_zero(x * mass)).collect();
            let partnered = potential.iter().map(|f| *f < 0.5 * UNREACHABLE).collect();
            Marginals { weights, potential, marginal, scaled, scaled_log: 0.0, partnered }
        };
        Ok([side(), side()])
    }
}

/// One side of a plan and of the scaled plan: their marginals, column after column.
struct Marginals {
    weights: Vec<f64>,
    potential: Vec<f64>,
    marginal: Vec<f64>,
    scaled: Vec<f64>,
    /// <scaled marginal, log of the scaling>, of entropy alone.
    scaled_log: f64,
    /// Has the atom a partner?
    partnered: Vec<bool>,
}

impl Marginals {
    /// One column of a batch; the only one is moved, not copied.
    fn take(&mut self, column: usize, columns: usize) -> Self {
        let len = self.potential.len() / columns;
        Self {
            weights: column_of(&mut self.weights, column, columns, len),
            potential: column_of(&mut self.potential, column, columns, len),
            marginal: column_of(&mut self.marginal, column, columns, len),
            scaled: column_of(&mut self.scaled, column, columns, len),
            scaled_log: self.scaled_log,
            partnered: column_of(&mut self.partnered, column, columns, len),
        }
    }
}

/// One column of a batch of vectors of so many rows; the only one is moved, not copied.
fn column_of<T: Clone>(values: &mut Vec<T>, column: usize, columns: usize, rows: usize) -> Vec<T> {
    match columns {
        1 => std::mem::take(values),
        _ => values[column.min(values.len() / rows - 1) * rows..][..rows].to_vec(),
    }
}

/// The vectors of one side of an entropic plan, column after column.
struct SideNumbers {
    weights: Vec<f64>,
    potential: Vec<f64>,
    softmin: Vec<f64>,
    scaled: Vec<f64>,
    scaled_softmin: Vec<f64>,
}

impl SideNumbers {
    /// The marginals that softmins tell of, in one column.
    fn marginals(self, epsilon: f64) -> Marginals {
        let Self { weights, potential, softmin, scaled, scaled_softmin } = self;
        let marginal_of = |potential: &[f64], softmin: &[f64]| -> Vec<f64> {
            let terms = weights.iter().zip(potential).zip(softmin);
            terms.map(|((a, f), s)| finite_or_zero(a * ((f - s) / epsilon).clamp(-700.0, 300.0).exp())).collect()
        };
        let marginal = marginal_of(&potential, &softmin);
        let scaled_marginal = marginal_of(&scaled, &scaled_softmin);
        let log = |i: usize| match weights[i] {
            weight if weight > 0.0 => scaled_marginal[i] * ((scaled[i] - potential[i]) / epsilon),
            _ => 0.0,
        };
        let scaled_log = (0..weights.len()).map(log).sum();
        let partnered = softmin.iter().map(|s| *s < 0.5 * UNREACHABLE).collect();
        Marginals { weights, potential, marginal, scaled: scaled_marginal, scaled_log, partnered }
    }

    /// One column of a batch; the only one is moved, not copied.
    fn take(&mut self, column: usize, columns: usize) -> Self {
        let len = self.potential.len() / columns;
        let at = |values: &mut Vec<f64>| column_of(values, column, columns, len);
        Self {
            weights: at(&mut self.weights),
            potential: at(&mut self.potential),
            softmin: at(&mut self.softmin),
            scaled: at(&mut self.scaled),
            scaled_softmin: at(&mut self.scaled_softmin),
        }
    }
}

/// One side of one column, with its rounded marginal.
#[derive(Debug)]
pub(crate) struct RoundedSide {
    /// |marginal - demanded|_1.
    pub(crate) residual: f64,
    /// Mass of the plan, as this side sums it.
    pub(crate) mass: f64,
    /// Mass asked for.
    pub(crate) weight: f64,
    /// -sum_i a_i phi*(-f_i).
    pub(crate) dual: f64,
    /// The largest |f_i| of an atom with mass and a partner.
    pub(crate) largest_potential: f64,
    /// Marginal of the scaled plan.
    scaled_mass: f64,
    /// <scaled marginal, log of the scaling>.
    scaled_log: f64,
    /// What the scaled marginal lacks to its lower bound.
    missing: Vec<f64>,
    /// What it may still take.
    spare: Vec<f64>,
    bounds: [f64; 2],
    scaled: Vec<f64>,
    weights: Vec<f64>,
    potential: Vec<f64>,
}

impl RoundedSide {
    fn new<B: Backend>(marginal: &Marginal<B>, numbers: Marginals, epsilon: f64) -> Result<Self, Error> {
        let Marginals { weights, potential, marginal: plan_marginal, scaled, scaled_log, partnered } = numbers;
        let len = marginal.len();

        let law = marginal.regularizer();
        // Demands fall with the potential, which its element type knows to a rounding: a kink may be within it.
        let demanded = |direction: f64| -> Result<[Vec<f64>; 2], Error> {
            let rounding = direction * <B::Elem as Scalar>::EPSILON;
            let moved: Vec<f64> = potential.iter().map(|f| f + rounding * f.abs()).collect();
            run(&law.demand()?, [&moved, &vec![epsilon; len]])
        };
        let ([demand_low, _], [_, demand_high]) = (demanded(1.0)?, demanded(-1.0)?);
        let slopes: Vec<f64> = potential.iter().map(|f| -f).collect();
        let [conjugate] = run(&law.conjugate()?, [&slopes])?;
        let bounds = law.density_bounds();
        let heavy = |values: f64, weight: f64| if weight > 0.0 { values } else { 0.0 };
        let sum = |term: &dyn Fn(usize) -> f64| (0..len).map(term).sum::<f64>();
        // Of potentials that are no numbers nothing is claimed: no dual, and an infinite error.
        let broken = (0..len).any(|i| weights[i] > 0.0 && !potential[i].is_finite());
        let outside = (0..len).any(|i| weights[i] > 0.0 && is_outside(potential[i], law.potential_bounds()));
        Ok(Self {
            residual: match broken {
                true => f64::INFINITY,
                false => sum(&|i| {
                    (weights[i] * demand_low[i] - plan_marginal[i])
                        .max(plan_marginal[i] - weights[i] * demand_high[i])
                        .max(0.0)
                }),
            },
            mass: plan_marginal.iter().sum(),
            weight: weights.iter().sum(),
            dual: match broken || outside {
                true => f64::NEG_INFINITY,
                false => sum(&|i| -heavy(weights[i] * conjugate[i], weights[i])),
            },
            largest_potential: (0..len)
                .filter(|&i| partnered[i])
                .fold(0.0, |a: f64, i| a.max(heavy(potential[i].abs(), weights[i]))),
            scaled_mass: scaled.iter().sum(),
            scaled_log,
            missing: Vec::new(),
            spare: Vec::new(),
            bounds,
            scaled,
            weights,
            potential,
        })
    }

    /// This side as far as its bounds are concerned.
    fn bounded(&self) -> Bounded<'_> {
        Bounded { marginal: &self.scaled, weights: &self.weights, bounds: self.bounds }
    }

    /// Keeps a factor of the scaled plan, and finds what it lacks and may still take.
    fn keep(&mut self, factor: f64) {
        let [low, high] = self.bounds;
        self.scaled_mass *= factor;
        self.scaled_log *= factor;
        self.scaled.iter_mut().for_each(|mass| *mass *= factor);
        let spare = |(mass, weight): (&f64, &f64)| match high.is_finite() {
            true => (high * weight - mass.max(low * weight)).max(0.0),
            false => *weight,
        };
        let missing = |(mass, weight): (&f64, &f64)| (low * weight - mass).max(0.0);
        self.missing = self.scaled.iter().zip(&self.weights).map(missing).collect();
        self.spare = self.scaled.iter().zip(&self.weights).map(spare).collect();
    }

    /// sum_i a_i (phi(r_i) + phi*(-f_i) + f_i r_i) at densities r of the rounded plan.
    fn fenchel_young<B: Backend>(&self, marginal: &Marginal<B>, added: &[f64]) -> Result<f64, Error> {
        let [low, high] = self.bounds;
        let density = |i: usize| match self.weights[i] {
            weight if weight > 0.0 => ((self.scaled[i] + added[i]) / weight).clamp(low, high),
            _ => low.max(0.0),
        };
        let densities: Vec<f64> = (0..self.weights.len()).map(density).collect();
        let slopes: Vec<f64> = self.potential.iter().map(|f| -f).collect();
        let law = marginal.regularizer();
        let [value] = run(&law.value()?, [&densities])?;
        let [conjugate] = run(&law.conjugate()?, [&slopes])?;
        let term = |i: usize| match self.weights[i] {
            weight if weight > 0.0 => weight * (value[i] + conjugate[i] + self.potential[i] * densities[i]).max(0.0),
            _ => 0.0,
        };
        Ok((0..self.weights.len()).map(term).sum())
    }
}

/// The rounded plan of one column, and the terms of its gap that need no cost.
#[derive(Debug)]
pub(crate) struct RoundedColumn {
    pub(crate) source: RoundedSide,
    pub(crate) target: RoundedSide,
    /// u and w of the two parts u w^T that are added; the second only where one side lacks mass
    /// and the other has room.
    added: [[Vec<f64>; 2]; 2],
    /// The factor of the scaled plan that is kept.
    kept: f64,
    /// sum_ij a_i b_j (h*(z_ij) + h(0)): the mass of an entropic plan.
    pub(crate) conjugate: f64,
    /// The divergence of entropy without its cost, and the Fenchel-Young terms.
    pub(crate) divergence: f64,
    pub(crate) fenchel_young: f64,
    /// Could the missing mass be placed within the bounds?
    pub(crate) feasible: bool,
}

impl RoundedColumn {
    fn new<B: Backend>(problem: &Problem<B>, [source, target]: [Marginals; 2], epsilon: f64) -> Result<Self, Error> {
        let (law, other_law) = (problem.marginal(Side::Source), problem.marginal(Side::Target));
        let mut source = RoundedSide::new(law, source, epsilon)?;
        let mut target = RoundedSide::new(other_law, target, epsilon)?;
        // What rounding of the potentials makes of a mass.
        let digits = (source.largest_potential + target.largest_potential) / epsilon + 8.0;
        let rounding = digits * <B::Elem as Scalar>::EPSILON * source.weight.max(target.weight);
        let kept = shrinking_factor(source.bounded(), target.bounded(), rounding);
        source.keep(kept);
        target.keep(kept);
        let total = |values: &[f64]| values.iter().sum::<f64>();
        let scaled = |values: &[f64], factor: f64| values.iter().map(|value| value * factor).collect::<Vec<_>>();
        let (u, v) = (total(&source.missing), total(&target.missing));
        let (spare_u, spare_v) = (total(&source.spare), total(&target.spare));

        // What both lack is shared out between them; what one lacks more goes where the other has room.
        let both = if u > 0.0 && v > 0.0 { u.min(v) / (u * v) } else { 0.0 };
        let into_target = (u - v).max(0.0);
        let into_source = (v - u).max(0.0);
        let prescribed = |side: &RoundedSide| side.bounds[0] == side.bounds[1];
        let feasible = (into_target <= spare_v + rounding || prescribed(&source) && prescribed(&target))
            && (into_source <= spare_u + rounding || prescribed(&source) && prescribed(&target));
        let per = |mass: f64, room: f64| if mass > 0.0 && room > 0.0 { mass / room } else { 0.0 };
        let to_target = per(into_target, u * spare_v);
        let to_source = per(into_source, v * spare_u);
        let partner: Vec<f64> =
            target.missing.iter().zip(&target.spare).map(|(lack, room)| both * lack + to_target * room).collect();
        let first = [source.missing.clone(), partner];
        let second = [scaled(&source.spare, to_source), target.missing.clone()];

        let added_to = |own: usize| -> Vec<f64> {
            let (first_total, second_total) = (total(&first[1 - own]), total(&second[1 - own]));
            first[own].iter().zip(&second[own]).map(|(one, two)| one * first_total + two * second_total).collect()
        };
        let (added_source, added_target) = (added_to(0), added_to(1));
        let fenchel_young =
            source.fenchel_young(law, &added_source)? + target.fenchel_young(other_law, &added_target)?;

        // log(P' / a b^T) <= log(high_b / a_i) and <= log(high_a / b_j).
        let log_bound = |side: &RoundedSide, added: &[f64], high: f64| -> f64 {
            let term = |(mass, weight): (&f64, &f64)| if *mass > 0.0 { mass * (high / weight).ln() } else { 0.0 };
            added.iter().zip(&side.weights).map(term).sum()
        };
        let log_bound = log_bound(&source, &added_source, target.bounds[1]).min(log_bound(
            &target,
            &added_target,
            source.bounds[1],
        ));
        let pairing = |side: &RoundedSide, added: &[f64]| -> f64 {
            added.iter().zip(&side.potential).map(|(mass, f)| if *mass > 0.0 { mass * f } else { 0.0 }).sum()
        };
        let potentials = pairing(&source, &added_source) + pairing(&target, &added_target);
        let scaled_log = source.scaled_log + target.scaled_log + source.scaled_mass * kept.ln();
        let divergence = source.mass - source.scaled_mass + scaled_log + log_bound - potentials / epsilon;
        let conjugate = source.mass;
        Ok(Self { source, target, added: [first, second], kept, conjugate, divergence, fenchel_young, feasible })
    }
}

/// A number, or zero for what is none.
fn finite_or_zero(value: f64) -> f64 {
    if value.is_finite() { value } else { 0.0 }
}

/// Is phi* infinite at this potential, beyond what rounding of a bound to the element type explains?
fn is_outside(potential: f64, [low, high]: [f64; 2]) -> bool {
    let slack = |bound: f64| 4.0 * f64::from(f32::EPSILON) * bound.abs();
    (low.is_finite() && potential < low - slack(low)) || (high.is_finite() && potential > high + slack(high))
}

/// A program over whole host slices, in f64.
fn run<const INPUTS: usize, const OUTPUTS: usize>(
    program: &Program,
    inputs: [&[f64]; INPUTS],
) -> Result<[Vec<f64>; OUTPUTS], Error> {
    let len = inputs.first().map_or(0, |input| input.len());
    let mut outputs: [Vec<f64>; OUTPUTS] = std::array::from_fn(|_| vec![0.0; len]);
    let lanes = inputs.map(BlockInput::Lanes);
    let mut slices = outputs.each_mut().map(Vec::as_mut_slice);
    program.run_block::<f64, LibraryMath>(&lanes, &mut Registers::new(), &mut slices)?;
    Ok(outputs)
}
