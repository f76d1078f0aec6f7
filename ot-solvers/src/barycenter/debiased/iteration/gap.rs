//! The gap of an iterate, from the transports of its p.

use std::sync::Arc;

use ot_core::{
    ActiveColumns, CTransform, Device, Epsilon, Error, KernelOp, Operand, Potentials, Problem, Scalar, Side, Solution,
    WeightsView,
};

use super::Iteration;
use crate::{
    barycenter::inputs::Weighted,
    entropic::{Sinkhorn, Start, Update},
};

/// The marginal error of the transports of p over the tolerance of the gap, and the least that is asked for unasked.
const INNER: f64 = 1e-2;
const LEAST_INNER: f64 = 1e-7;

/// What is known of an iterate.
pub(super) struct Check<D: Device> {
    /// p of the mass of the inputs.
    pub(super) measure: Vec<D::Elem>,
    /// The gap of each column.
    pub(super) gaps: Vec<f64>,
    /// From each input to p, and of p to itself.
    pub(super) transports: Vec<Solution<D>>,
    pub(super) own: Option<Solution<D>>,
}

impl<D: Device> Iteration<'_, D> {
    /// What is known of p. Transports settle, as sweeps tell of it; where the gap that they make is accepted they are solved from
    /// there, certified, and make the gap.
    pub(super) fn check(&mut self, epsilon: f64, accepts: impl Fn(&[f64]) -> bool) -> Result<Check<D>, Error> {
        let (len, columns) = (self.problem.unknown()[0], self.problem.columns());
        let mut measure = self.backend.download(&[self.unknown.masses()])?.swap_remove(0);
        for (column, values) in measure.chunks_exact_mut(len).enumerate() {
            let mass = self.problem.terms()[0].problem.marginal(Side::Source).mass(column);
            let ratio = mass / values.iter().map(|p| p.to_f64()).sum::<f64>();
            values.iter_mut().for_each(|p| *p = D::Elem::from_f64(p.to_f64() * ratio));
        }
        let weights = WeightsView::new(&measure, columns)?;
        if weights.validate().is_err() {
            return Ok(Check { measure, gaps: vec![f64::INFINITY; columns], transports: Vec::new(), own: None });
        }
        let mut given = Vec::with_capacity(self.groups.len() + 1);
        for group in &mut self.groups {
            let target = measure.repeat(group.terms().len());
            let weights = WeightsView::new(&target, group.problem.columns())?;
            let problem = group.problem.with_weights(Side::Target, weights)?;
            given.push(Given {
                problem,
                start: group.beside(&self.logarithm, &self.subtract)?,
                update: Update::Alternating,
            });
        }
        let atoms = Weighted(weights);
        let own = Problem::new(Arc::clone(&self.geometry), &atoms, &atoms, Epsilon::Absolute(epsilon))?;
        let mut source = self.backend.copied(&self.own)?;
        let operands = [Operand::Output(0), Operand::Vector(&self.logarithm)];
        self.backend.map(&self.subtract, &operands, &mut [&mut source])?;
        let start = Potentials { target: self.backend.copied(&source)?, source, epsilon };
        given.push(Given { problem: own, start, update: Update::Symmetric });
        if self.of_transports.is_empty() {
            self.of_transports = given.iter().map(|given| given.problem.bind()).collect::<Result<_, _>>()?;
        }

        let inner = self.settings.inner_tolerance;
        let inner = inner.unwrap_or_else(|| (INNER * self.settings.limits.tolerance_or(1e-3)).max(LEAST_INNER));
        let sinkhorn = Sinkhorn::new().tolerance(inner);
        let mut potentials = Vec::with_capacity(given.len());
        for (given, kernel) in given.iter_mut().zip(&mut self.of_transports) {
            potentials.push(given.settle(&sinkhorn, kernel.as_mut())?);
        }
        let gaps = self.gaps(&measure, &potentials);
        if !accepts(&gaps) {
            return Ok(Check { measure, gaps, transports: Vec::new(), own: None });
        }
        potentials.clear();
        let mut solutions = Vec::with_capacity(given.len());
        for (given, kernel) in given.iter().zip(&mut self.of_transports) {
            let settings = sinkhorn.clone().update(given.update);
            let solution = settings.run(&given.problem).start(Start::Warm(&given.start)).solve_with(kernel.as_mut())?;
            potentials.push(exact(kernel.as_mut(), &given.problem, solution.potentials())?);
            solutions.push(solution);
        }
        let gaps = self.gaps(&measure, &potentials);
        let own = solutions.pop();
        let mut transports = Vec::with_capacity(self.problem.terms().len());
        for (group, solution) in self.groups.iter().zip(&solutions) {
            transports.extend(group.solutions_of_terms(self.problem, solution, weights)?);
        }
        transports.sort_by_key(|(term, _)| *term);
        let transports = transports.into_iter().map(|(_, transport)| transport).collect();
        Ok(Check { measure, gaps, transports, own })
    }

    /// <p, G> - mass min G of each column, from the potentials of p: of each group of transports, and of that to itself.
    fn gaps(&self, measure: &[D::Elem], potentials: &[Vec<D::Elem>]) -> Vec<f64> {
        let (len, columns) = (self.problem.unknown()[0], self.problem.columns());
        let total = |column: usize| -> f64 { self.problem.terms().iter().map(|term| term.weight(column)).sum() };
        let mut slope = vec![0.0; len * columns];
        for (group, g) in self.groups.iter().zip(potentials) {
            for (&term, g) in group.terms().iter().zip(g.chunks_exact(len * columns)) {
                for (column, (slope, g)) in slope.chunks_exact_mut(len).zip(g.chunks_exact(len)).enumerate() {
                    let weight = self.problem.terms()[term].weight(column) / total(column);
                    slope.iter_mut().zip(g).for_each(|(slope, g)| *slope += weight * g.to_f64());
                }
            }
        }
        if let Some(h) = potentials.last() {
            slope.iter_mut().zip(h).for_each(|(slope, h)| *slope -= h.to_f64());
        }
        let gap = |(p, slope): (&[D::Elem], &[f64])| -> f64 {
            let least = slope.iter().copied().fold(f64::INFINITY, f64::min);
            p.iter().zip(slope).map(|(p, slope)| p.to_f64() * (slope - least)).sum()
        };
        measure.chunks_exact(len).zip(slope.chunks_exact(len)).map(gap).collect()
    }
}

/// Transports of p, with potentials to start from.
struct Given<D: Device> {
    problem: Problem<D>,
    start: Potentials<D>,
    update: Update,
}

impl<D: Device> Given<D> {
    /// The potential of p as sweeps settle it; they are the start of what follows.
    fn settle(&mut self, sinkhorn: &Sinkhorn, kernel: &mut dyn KernelOp<D>) -> Result<Vec<D::Elem>, Error> {
        let settings = sinkhorn.clone().update(self.update);
        let settled = settings.run(&self.problem).start(Start::Warm(&self.start)).settle(kernel)?;
        self.start = settled.potentials;
        exact(kernel, &self.problem, &self.start)
    }
}

/// The potential of p at all atoms: the softmin of that of the other side.
fn exact<D: Device>(
    kernel: &mut dyn KernelOp<D>,
    problem: &Problem<D>,
    potentials: &Potentials<D>,
) -> Result<Vec<D::Elem>, Error> {
    let (backend, active) = (problem.backend(), ActiveColumns::all(problem.columns()));
    let penalty = problem.marginal(Side::Target).penalty();
    let request = CTransform { side: Side::Target, plan: problem.view(potentials), penalty, active: &active };
    let mut out = backend.alloc(problem.marginal(Side::Target).len(), problem.columns())?;
    kernel.c_transform(backend, request, &mut out, None)?;
    Ok(backend.download(&[&out])?.swap_remove(0))
}
