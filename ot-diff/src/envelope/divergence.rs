//! Gradients of Sinkhorn divergences, in every form.
//!
//! S = OT(a, b) - OT(a, a) / 2 - OT(b, b) / 2 + epsilon / 2 (mass(a) - mass(b))^2. In the full form OT are optimal values, and
//! the envelope theorem gives the gradient of each. In the sharp forms OT are transport costs, which are no optimal values:
//! their gradients go through the linearised solves.

use ot_core::{CostParameter, Device, Error, Scalar, Side, Solution};
use ot_solvers::{Divergence, DivergenceForm};

use super::{ValueGradient, value_and_gradient};
use crate::{Gradient, LinearSolver, Linearised, Output};

/// The divergence of each column and its gradient (of their sum, where columns share data).
///
/// | form | costs, for each block |
/// |---|---|
/// | full | three times those of [`ValueGradient`](crate::ValueGradient) |
/// | sharp, Genevay | three linear solves, once, and three times those of [`Cotangent`](crate::Cotangent) |
///
/// ```
/// use ot_core::{Epsilon, PointCloud, Side, SqEuclidean};
/// use ot_cpu::CpuBackend;
/// use ot_diff::{Gradient, divergence_and_gradient};
/// use ot_solvers::SinkhornDivergence;
///
/// let backend = CpuBackend::<f64>::new(1)?;
/// let a = PointCloud::uniform(vec![0.0, 1.0], 1)?;
/// let b = PointCloud::uniform(vec![2.0, 3.0], 1)?;
/// let divergence = SinkhornDivergence::new().between(&backend, &a, &b, &SqEuclidean, Epsilon::Absolute(0.5))?;
/// let (values, mut gradient) = divergence_and_gradient(&divergence)?;
/// assert!((values[0] - 4.0).abs() < 1e-5); // a translation by 2
/// let points = gradient.points(Side::Source)?;
/// assert!((points[0] + 2.0).abs() < 1e-5 && (points[1] + 2.0).abs() < 1e-5);
/// # Ok::<(), ot_core::Error>(())
/// ```
///
/// # Errors
/// Those of [`value_and_gradient`] and [`Linearised::new`].
pub fn divergence_and_gradient<D: Device>(
    divergence: &Divergence<D>,
) -> Result<(Vec<f64>, DivergenceGradient<D>), Error> {
    let term = |solution: &Solution<D>| match divergence.form() {
        DivergenceForm::Full => Ok(Term::Full(Box::new(value_and_gradient(solution)?.1))),
        _ => {
            // Blocks that are read one after the other pull the same cotangent back.
            let solver = LinearSolver::new().warm(true);
            Ok::<_, Error>(Term::Sharp(Box::new(Linearised::new(solution)?.with_solver(solver)?)))
        }
    };
    let own = |side: Side| divergence.self_term(side);
    let columns = divergence.cross().problem().columns();
    let shares = Side::BOTH.map(|side| columns as f64 / own(side).problem().columns() as f64);
    let factor = if divergence.form() == DivergenceForm::Genevay { 2.0 } else { 1.0 };
    let gradient = DivergenceGradient {
        cross: term(divergence.cross())?,
        own: [term(own(Side::Source))?, term(own(Side::Target))?],
        shares,
        factor,
        masses: masses(divergence),
        is_full: divergence.form() == DivergenceForm::Full,
        epsilon: divergence.cross().problem().epsilon(),
    };
    Ok((divergence.values(), gradient))
}

/// The gradient of a divergence.
#[derive(Debug)]
pub struct DivergenceGradient<D: Device> {
    cross: Term<D>,
    own: [Term<D>; 2],
    /// Columns of the batch that one column of a self term stands for.
    shares: [f64; 2],
    factor: f64,
    /// Of source and target, column by column.
    masses: Vec<[f64; 2]>,
    is_full: bool,
    epsilon: f64,
}

/// One of the three numbers that a divergence is made of.
#[derive(Debug)]
enum Term<D: Device> {
    Full(Box<ValueGradient<D>>),
    Sharp(Box<Linearised<D>>),
}

impl<D: Device> Term<D> {
    fn read<R>(&mut self, of: impl FnOnce(&mut dyn Gradient<D>) -> Result<R, Error>) -> Result<R, Error> {
        match self {
            Term::Full(gradient) => of(gradient.as_mut()),
            Term::Sharp(linearised) => {
                let seeds = vec![D::Elem::from_f64(1.0); linearised.certificates().len()];
                let mut cotangent = linearised.pull_back(&[(&Output::TransportCost, &seeds)])?;
                let solve = cotangent.solve();
                if solve.status == ot_core::Status::NotFinite {
                    return Err(Error::Parameter {
                        name: "residual of a linear solve",
                        value: solve.residual,
                        expected: "finite numbers",
                    });
                }
                of(&mut cotangent)
            }
        }
    }
}

/// The masses of both measures, column by column.
fn masses<D: Device>(divergence: &Divergence<D>) -> Vec<[f64; 2]> {
    let problem = divergence.cross().problem();
    (0..problem.columns()).map(|column| Side::BOTH.map(|side| problem.marginal(side).mass(column))).collect()
}

/// x + factor y, entry by entry.
fn combined<T: Scalar>(x: Vec<T>, parts: &[(f64, Vec<T>)], factor: f64) -> Vec<T> {
    let entry = |(index, value): (usize, T)| {
        let rest: f64 = parts.iter().map(|(times, part)| times * part[index].to_f64()).sum();
        T::from_f64(factor * (value.to_f64() + rest))
    };
    x.into_iter().enumerate().map(entry).collect()
}

impl<D: Device> Gradient<D> for DivergenceGradient<D> {
    fn cost(&mut self, parameter: CostParameter) -> Result<Vec<D::Elem>, Error> {
        let across = self.cross.read(|gradient| gradient.cost(parameter))?;
        let mut parts = Vec::new();
        match parameter {
            // A point of a self term stands on either side of a pair.
            CostParameter::Points(side) => {
                let half = -0.5 * self.shares[side.index()];
                for standing in Side::BOTH {
                    let points = self.own[side.index()].read(|gradient| gradient.points(standing))?;
                    parts.push((half, points));
                }
            }
            CostParameter::Formula | CostParameter::EdgeWeights | CostParameter::Scale => {
                for (own, share) in self.own.iter_mut().zip(self.shares) {
                    parts.push((-0.5 * share, own.read(|gradient| gradient.cost(parameter))?));
                }
            }
            // The three costs are matrices of their own.
            _ => return Err(Error::MissingCapability("gradient of a divergence in one cost matrix")),
        }
        Ok(combined(across, &parts, self.factor))
    }

    /// Of the full form, with the term of the masses.
    fn weights(&mut self, side: Side) -> Result<Vec<D::Elem>, Error> {
        let across = self.cross.read(|gradient| gradient.weights(side))?;
        let half = -0.5 * self.shares[side.index()];
        let mut parts = Vec::new();
        for standing in Side::BOTH {
            let weights = self.own[side.index()].read(|gradient| gradient.weights(standing))?;
            parts.push((half, weights));
        }
        let histograms = across.len() / self.atoms(side);
        let mut out = combined(across, &parts, self.factor);
        if self.is_full {
            let difference = |[source, target]: [f64; 2]| self.epsilon * (source - target) * side.of([1.0, -1.0]);
            let atoms = self.atoms(side);
            for (index, value) in out.iter_mut().enumerate() {
                let of_masses = match histograms == self.masses.len() {
                    true => difference(self.masses[index / atoms]),
                    false => self.masses.iter().copied().map(difference).sum(),
                };
                *value = D::Elem::from_f64(value.to_f64() + of_masses);
            }
        }
        Ok(out)
    }

    fn epsilon(&mut self) -> Result<f64, Error> {
        let mut derivative = self.cross.read(|gradient| gradient.epsilon())?;
        for (own, share) in self.own.iter_mut().zip(self.shares) {
            derivative -= 0.5 * share * own.read(|gradient| gradient.epsilon())?;
        }
        if self.is_full {
            derivative += self.masses.iter().map(|[source, target]| 0.5 * (source - target).powi(2)).sum::<f64>();
        }
        Ok(self.factor * derivative)
    }

    /// The derivatives in the parameters of the one penalty of all marginals, whichever side is asked.
    fn penalty(&mut self, _: Side) -> Result<Vec<f64>, Error> {
        let both = |gradient: &mut dyn Gradient<D>| {
            let (source, target) = (gradient.penalty(Side::Source)?, gradient.penalty(Side::Target)?);
            Ok(source.iter().zip(&target).map(|(source, target)| source + target).collect::<Vec<f64>>())
        };
        let mut derivatives = self.cross.read(both)?;
        for (own, share) in self.own.iter_mut().zip(self.shares) {
            for (sum, part) in derivatives.iter_mut().zip(own.read(both)?) {
                *sum -= 0.5 * share * part;
            }
        }
        derivatives.iter_mut().for_each(|derivative| *derivative *= self.factor);
        Ok(derivatives)
    }

    fn atoms(&self, side: Side) -> usize {
        match &self.cross {
            Term::Full(gradient) => gradient.atoms(side),
            Term::Sharp(linearised) => linearised.atoms(side),
        }
    }
}
