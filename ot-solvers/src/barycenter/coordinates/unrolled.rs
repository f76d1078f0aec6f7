//! A fixed number of iterations from potentials of zero, and their reverse mode.
//!
//! ```text
//! f_k = softmin(g_k),   s_k = softmin(f_k),   s = sum_k lambda_k s_k,   g_k <- s_k - s,   p = m exp(-s / epsilon)
//! ```
//!
//! A softmin s_j = -epsilon log sum_i a_i exp((f_i - C_ij) / epsilon) has the slope -a_i exp((f_i + s_j - C_ij) / epsilon) in f_i: minus a plan
//! with weights of one on the side of s. So the reverse mode of an iteration is two products of plans with values.

use ot_core::{
    ActiveColumns, Backend, CTransform, Device, Error, Fold, JointProblem, KernelOp, LOG_ZERO, Operand, PlanSide,
    PlanView, Potentials, Problem, Program, Real, Scalar, Side,
};

use super::loss::{CoordinateLoss, Loss};

/// The iterations of one problem.
#[derive(Debug)]
pub(super) struct Unrolled<'a, D: Device> {
    backend: &'a dyn Backend<D>,
    terms: Vec<Input<'a, D>>,
    /// s after each iteration.
    means: Vec<D::Vector>,
    loss: Loss<D>,
    epsilon: f64,
    /// Weights of one, and their logarithms.
    ones: D::Vector,
    zeros: D::Vector,
    mass: D::Vector,
    /// The cotangents of p and of s.
    of_mass: D::Vector,
    of_mean: D::Vector,
    programs: Programs,
}

/// One input, with what its iterations leave behind.
#[derive(Debug)]
struct Input<'a, D: Device> {
    problem: &'a Problem<D>,
    kernel: Box<dyn KernelOp<D>>,
    /// f and s of each iteration.
    potentials: Vec<Potentials<D>>,
    /// g before an iteration, made again where it is needed.
    entering: D::Vector,
    /// The first guess.
    zero: Potentials<D>,
    ones: D::Vector,
    zeros: D::Vector,
    /// The cotangents of f and of g.
    cotangents: Potentials<D>,
    /// That of s_k.
    of_softmin: D::Vector,
    product: D::Reduced,
    /// The slope of the loss in lambda_k.
    slope: D::Reduced,
}

#[derive(Debug)]
struct Programs {
    /// (s, lambda) to lambda s.
    first: Program,
    /// (sum, s, lambda) to sum + lambda s.
    next: Program,
    /// (x, y) to x - y.
    subtract: Program,
    /// (s, log m, epsilon) to m exp(-s / epsilon).
    mass: Program,
    /// (p, cotangent of p, epsilon) to the cotangent of s.
    of_mean: Program,
    /// (cotangent of g_k, of s, lambda) to that of s_k.
    of_softmin: Program,
    /// (x, y) to x y.
    product: Program,
    /// (x, y) to x + y.
    add: Program,
}

impl<'a, D: Device> Unrolled<'a, D> {
    pub(super) fn new(
        problem: &'a JointProblem<D>,
        loss: &CoordinateLoss,
        histogram: &[D::Elem],
        iterations: usize,
    ) -> Result<Self, Error> {
        let backend = problem.terms()[0].problem.backend();
        let (len, epsilon) = (problem.unknown()[0], problem.epsilon());
        let input = |term: &'a ot_core::JointTerm<D>| -> Result<Input<'a, D>, Error> {
            let (problem, atoms) = (&term.problem, term.problem.marginal(Side::Source).len());
            let both = || -> Result<Potentials<D>, Error> {
                Ok(Potentials { source: backend.alloc(atoms, 1)?, target: backend.alloc(len, 1)?, epsilon })
            };
            Ok(Input {
                kernel: problem.bind()?,
                potentials: (0..iterations).map(|_| both()).collect::<Result<_, _>>()?,
                entering: backend.alloc(len, 1)?,
                ones: backend.filled(1.0, atoms, 1)?,
                zeros: backend.filled(0.0, atoms, 1)?,
                cotangents: both()?,
                zero: Potentials {
                    source: backend.filled(0.0, atoms, 1)?,
                    target: backend.filled(0.0, len, 1)?,
                    epsilon,
                },
                of_softmin: backend.alloc(len, 1)?,
                product: backend.alloc_reduced(1)?,
                slope: backend.alloc_reduced(1)?,
                problem,
            })
        };
        let largest = backend.range()[1].ln();
        Ok(Self {
            terms: problem.terms().iter().map(input).collect::<Result<_, _>>()?,
            means: (0..iterations).map(|_| backend.alloc(len, 1)).collect::<Result<_, _>>()?,
            loss: Loss::new(*loss, problem, histogram)?,
            ones: backend.filled(1.0, len, 1)?,
            zeros: backend.filled(0.0, len, 1)?,
            mass: backend.alloc(len, 1)?,
            of_mass: backend.alloc(len, 1)?,
            of_mean: backend.alloc(len, 1)?,
            programs: Programs {
                first: Program::record(|[s, lambda]| [lambda * s])?,
                next: Program::record(|[sum, s, lambda]| [sum + lambda * s])?,
                subtract: Program::record(|[x, y]| [x - y])?,
                mass: Program::record(move |[s, log_m, epsilon]| {
                    [(log_m - 0.5 * LOG_ZERO).select((log_m - s / epsilon).min(largest).exp(), 0.0)]
                })?,
                of_mean: Program::record(|[p, of_p, epsilon]| [-(p * of_p) / epsilon])?,
                of_softmin: Program::record(|[of_g, of_s, lambda]| [of_g + lambda * of_s])?,
                product: Program::record(|[x, y]| [x * y])?,
                add: Program::record(|[x, y]| [x + y])?,
            },
            backend,
            epsilon,
        })
    }

    /// The loss at weights of sum one, and its slope in each.
    pub(super) fn value_and_gradient(&mut self, lambda: &[f64]) -> Result<(f64, Vec<f64>), Error> {
        self.forward(lambda)?;
        let p: Vec<f64> = self.barycenter()?.iter().map(|p| p.to_f64()).collect();
        let (value, slope) = self.loss.at(&p)?;
        let slope: Vec<D::Elem> = slope.into_iter().map(D::Elem::from_f64).collect();
        self.backend.write(&slope, &mut self.of_mass)?;
        Ok((value, self.backward(lambda)?))
    }

    /// p of the last weights.
    pub(super) fn barycenter(&self) -> Result<Vec<D::Elem>, Error> {
        Ok(self.backend.download(&[&self.mass])?.swap_remove(0))
    }

    fn forward(&mut self, lambda: &[f64]) -> Result<(), Error> {
        let Self { backend, terms, means, programs, .. } = self;
        for iteration in 0..means.len() {
            let (before, now) = means.split_at_mut(iteration);
            let mean = &mut now[0];
            for (index, (input, lambda)) in terms.iter_mut().zip(lambda).enumerate() {
                input.enter(*backend, programs, iteration, before.last())?;
                input.transform(*backend, iteration)?;
                let operands = [Operand::Vector(&input.potentials[iteration].target), Operand::Constant(*lambda)];
                match index {
                    0 => backend.map(&programs.first, &operands, &mut [&mut *mean])?,
                    _ => {
                        let operands = [Operand::Output(0), operands[0], operands[1]];
                        backend.map(&programs.next, &operands, &mut [&mut *mean])?;
                    }
                }
            }
        }
        let Some(last) = means.last() else { return Ok(()) };
        let log_m = terms[0].problem.marginal(Side::Target).log_weights();
        let operands = [Operand::Vector(last), Operand::Vector(log_m), Operand::Constant(self.epsilon)];
        backend.map(&programs.mass, &operands, &mut [&mut self.mass])
    }

    fn backward(&mut self, lambda: &[f64]) -> Result<Vec<f64>, Error> {
        let Self { backend, terms, means, programs, ones, zeros, mass, of_mass, of_mean, epsilon, .. } = self;
        let operands = [Operand::Vector(mass), Operand::Vector(of_mass), Operand::Constant(*epsilon)];
        backend.map(&programs.of_mean, &operands, &mut [&mut *of_mean])?;
        for input in terms.iter_mut() {
            backend.fill(0.0, &mut input.cotangents.target)?;
            backend.write_reduced(&[0.0], &mut input.slope)?;
        }
        for iteration in (0..means.len()).rev() {
            if iteration + 1 < means.len() {
                // g_k = s_k - s.
                backend.fill(0.0, of_mean)?;
                for input in terms.iter() {
                    let operands = [Operand::Output(0), Operand::Vector(&input.cotangents.target)];
                    backend.map(&programs.subtract, &operands, &mut [&mut *of_mean])?;
                }
            }
            for (input, &lambda) in terms.iter_mut().zip(lambda) {
                let s = &input.potentials[iteration].target;
                let (len, operands) = (backend.shape(s).0, [Operand::Vector(s), Operand::Vector(of_mean)]);
                backend.reduce(&programs.product, Fold::Sum, len, &operands, &mut [&mut input.product])?;
                let operands = [Operand::Output(0), Operand::Reduced(&input.product)];
                backend.map_reduced(&programs.add, &operands, &mut [&mut input.slope])?;
                let operands =
                    [Operand::Vector(&input.cotangents.target), Operand::Vector(of_mean), Operand::Constant(lambda)];
                backend.map(&programs.of_softmin, &operands, &mut [&mut input.of_softmin])?;
                input.pull_back(*backend, programs, iteration, [ones, zeros], means)?;
            }
        }
        let slopes: Vec<_> = terms.iter().map(|input| &input.slope).collect();
        Ok(backend.read(&slopes)?.into_iter().map(|slope| slope[0]).collect())
    }
}

impl<D: Device> Input<'_, D> {
    /// g before an iteration: 0, or s_k - s after the one before.
    fn enter(
        &mut self,
        backend: &dyn Backend<D>,
        programs: &Programs,
        iteration: usize,
        mean: Option<&D::Vector>,
    ) -> Result<(), Error> {
        match mean {
            None => backend.fill(0.0, &mut self.entering),
            Some(mean) => {
                let operands = [Operand::Vector(&self.potentials[iteration - 1].target), Operand::Vector(mean)];
                backend.map(&programs.subtract, &operands, &mut [&mut self.entering])
            }
        }
    }

    /// f from g, and s from f. The last iterate is the guess of the next.
    fn transform(&mut self, backend: &dyn Backend<D>, iteration: usize) -> Result<(), Error> {
        let Self { problem, kernel, potentials, entering, zero, .. } = self;
        let (known, open) = potentials.split_at_mut(iteration);
        let (guess, Potentials { source: f, target: s, .. }) = (known.last().unwrap_or(zero), &mut open[0]);
        let [a, m] = Side::BOTH.map(|side| problem.marginal(side));
        let (penalty, active) = (m.penalty(), &ActiveColumns::all(1));
        let of = |source, target| PlanView {
            source: PlanSide::new(source, a.device_weights()),
            target: PlanSide::new(target, m.device_weights()),
        };
        let plan = of(&guess.source, &*entering);
        kernel.c_transform(backend, CTransform { side: Side::Source, plan, penalty, active }, f, None)?;
        let plan = of(&*f, &guess.target);
        kernel.c_transform(backend, CTransform { side: Side::Target, plan, penalty, active }, s, None)
    }

    /// The cotangent of g before an iteration, from that of s_k after it.
    fn pull_back(
        &mut self,
        backend: &dyn Backend<D>,
        programs: &Programs,
        iteration: usize,
        [ones, zeros]: [&D::Vector; 2],
        means: &[D::Vector],
    ) -> Result<(), Error> {
        let before = if iteration == 0 { None } else { Some(&means[iteration - 1]) };
        self.enter(backend, programs, iteration, before)?;
        let Self { problem, kernel, potentials, entering, cotangents, of_softmin, .. } = self;
        let Potentials { source: f, target: s, .. } = &potentials[iteration];
        let (a, m) = (problem.marginal(Side::Source), problem.marginal(Side::Target));
        let bare = PlanSide { potential: s, weights: ones, log_weights: zeros };
        let plan = PlanView { source: PlanSide::new(f, a.device_weights()), target: bare };
        kernel.apply(Side::Source, plan, of_softmin, &mut cotangents.source)?;
        let bare = PlanSide { potential: f, weights: &self.ones, log_weights: &self.zeros };
        let plan = PlanView { source: bare, target: PlanSide::new(entering, m.device_weights()) };
        // Two signs cancel.
        kernel.apply(Side::Target, plan, &cotangents.source, &mut cotangents.target)?;
        Ok(())
    }
}
