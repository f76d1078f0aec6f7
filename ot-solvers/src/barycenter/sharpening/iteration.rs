//! The loop of bounded entropy: plain projections, each followed by one onto the bound.

use std::{ops::ControlFlow, sync::Arc};

use ot_core::{
    Backend, Certificate, Device, End, Error, JointProblem, JointSolution, Phase, Potentials, Progress, Scalar, Side,
    Status, WeightsView, certify,
};

use super::power::Power;
use crate::{
    barycenter::{group::Group, unknown::Unknown},
    history::History,
    limits::Limits,
};

/// The state of one run.
pub(super) struct Iteration<'a, D: Device> {
    pub(super) limits: Limits,
    pub(super) problem: &'a JointProblem<D>,
    pub(super) backend: &'a dyn Backend<D>,
    pub(super) groups: Vec<Group<D>>,
    pub(super) unknown: Unknown<'a, D>,
    pub(super) power: Power<D>,
}

impl<D: Device> Iteration<'_, D> {
    pub(super) fn run(mut self, mut history: History<'_>) -> Result<JointSolution<D>, Error> {
        let Self { limits, problem, backend, .. } = self;
        let (epsilon, columns) = (problem.epsilon(), problem.columns());
        let tolerance = limits.tolerance_on(backend);
        let (mut goal, mut iterations) = (tolerance, 0);
        loop {
            let mut ended = Status::IterationLimit;
            while iterations < limits.most {
                iterations += 1;
                let at_check = iterations.is_multiple_of(limits.check_interval) || iterations == limits.most;
                self.unknown.step(&mut self.groups, at_check)?;
                self.power.project(backend, &mut self.unknown, &mut self.groups, epsilon)?;
                if !at_check {
                    continue;
                }
                let error = self.largest_error()?;
                let progress = Progress {
                    of: Some(limits.most),
                    epsilon: Some(epsilon),
                    marginal_error: Some(error).filter(|error| error.is_finite()),
                    active_columns: columns,
                    ..Progress::new(Phase::Iterations, iterations)
                };
                if matches!(history.tell(progress), ControlFlow::Break(())) {
                    ended = Status::Cancelled;
                    break;
                }
                if !error.is_finite() {
                    ended = Status::NotFinite;
                    break;
                }
                if error <= goal {
                    ended = Status::Converged;
                    break;
                }
            }
            let certificates = self.certify(epsilon)?;
            let all_meet = certificates.iter().all(|certificate| certificate.meets(tolerance));
            if ended == Status::Converged && !all_meet && goal > tolerance / 100.0 {
                goal /= 3.0;
                continue;
            }
            let status = |certificate: &Certificate| match ended {
                _ if certificate.meets(tolerance) => Status::Converged,
                Status::Converged => Status::Stalled,
                ended => ended,
            };
            let statuses = certificates.iter().map(status).collect();
            let potentials = Group::potentials_of_terms(&self.groups)?.into_iter().map(Arc::new).collect();
            let measures = vec![Arc::new(self.unknown.into_masses())];
            let (problem, history) = (problem.clone(), history.into_told());
            let solution =
                JointSolution::new(problem, measures, potentials, statuses, certificates, iterations, history);
            return Ok(solution.with_powers(self.power.powers(backend)?));
        }
    }

    /// What is proven of the transports to p, in values of the objective.
    fn certify(&mut self, epsilon: f64) -> Result<Vec<Certificate>, Error> {
        let (problem, backend, columns) = (self.problem, self.backend, self.problem.columns());
        let p = backend.download(&[self.unknown.masses()])?.swap_remove(0);
        let mut sums: Vec<Option<Certificate>> = vec![None; columns];
        for group in &mut self.groups {
            // The potential with the reference p in the place of m is the softmin.
            group.transform(Side::Target)?;
        }
        let states = self.groups.iter().flat_map(|group| (0..group.terms().len()).map(move |place| (group, place)));
        for (group, place) in states {
            let term = &problem.terms()[group.terms()[place]];
            let m = backend.download(&[term.problem.marginal(Side::Target).weights()])?.swap_remove(0);
            let given = term.problem.with_weights(Side::Target, WeightsView::new(&p, columns)?)?;
            let target = group.of_place(&group.scratch.target, place)?;
            let source = group.of_place(&group.potentials.source, place)?;
            let certificates = certify(&given, &Potentials { source, target, epsilon })?;
            let len = p.len() / columns;
            for (column, (certificate, sum)) in certificates.into_iter().zip(&mut sums).enumerate() {
                let total: f64 = problem.terms().iter().map(|term| term.weight(column)).sum();
                let weight = term.weight(column);
                if weight > 0.0 {
                    let (p, m) = (&p[column * len..][..len], &m[column.min(m.len() / len - 1) * len..][..len]);
                    let offset = epsilon * divergence(p, m);
                    *sum = Some(added(*sum, certificate, weight, weight / total, offset));
                }
            }
        }
        Ok(sums.into_iter().flatten().collect())
    }

    /// The largest error of the given ends over the columns, of the iterate that the last step entered with.
    fn largest_error(&self) -> Result<f64, Error> {
        let numbers: Vec<_> = self.groups.iter().flat_map(Group::numbers).collect();
        let read = self.backend.read(&numbers)?;
        let mut errors = vec![0.0; self.problem.columns()];
        for (group, numbers) in self.groups.iter().zip(read.chunks_exact(5)) {
            for side in Side::BOTH.into_iter().filter(|side| side.of(group.ends()) == End::Given) {
                for (term, residuals) in group.by_term(&numbers[side.index()]) {
                    let term = &self.problem.terms()[term];
                    for (column, (error, residual)) in errors.iter_mut().zip(residuals).enumerate() {
                        let weight = term.weight(column);
                        if weight > 0.0 {
                            *error +=
                                weight * residual / term.problem.marginal(side).mass(column).max(f64::MIN_POSITIVE);
                        }
                    }
                }
            }
        }
        let total = |column: usize| self.problem.terms().iter().map(|term| term.weight(column)).sum::<f64>();
        let relative = errors.iter().enumerate().map(|(column, error)| error / total(column));
        Ok(relative.fold(0.0, |largest: f64, error| if error <= largest { largest } else { error }))
    }
}

/// sum_j p_j log(p_j / m_j): what KL(P | a m^T) has more than KL(P | a p^T) for any P of marginal p, where masses are equal.
fn divergence<T: Scalar>(p: &[T], m: &[T]) -> f64 {
    let term = |(p, m): (&T, &T)| if p.to_f64() > 0.0 { p.to_f64() * (p.to_f64() / m.to_f64()).ln() } else { 0.0 };
    p.iter().zip(m).map(term).sum()
}

/// Sums with the weight of a term; errors and rounding are means.
fn added(sum: Option<Certificate>, own: Certificate, weight: f64, share: f64, offset: f64) -> Certificate {
    let zero = Certificate {
        epsilon: own.epsilon,
        marginal_error: 0.0,
        source_residual: 0.0,
        target_residual: 0.0,
        mass: 0.0,
        transport_cost: Some(0.0),
        primal: 0.0,
        dual: 0.0,
        gap: 0.0,
        form: own.form,
        rounding: 0.0,
    };
    let sum = sum.unwrap_or(zero);
    Certificate {
        epsilon: own.epsilon,
        marginal_error: sum.marginal_error + share * own.marginal_error,
        source_residual: sum.source_residual + weight * own.source_residual,
        target_residual: sum.target_residual + weight * own.target_residual,
        mass: sum.mass + weight * own.mass,
        transport_cost: sum.transport_cost.zip(own.transport_cost).map(|(sum, own)| sum + weight * own),
        primal: sum.primal + weight * (own.primal + offset),
        dual: sum.dual + weight * (own.dual + offset),
        gap: sum.gap + weight * own.gap,
        form: own.form,
        rounding: sum.rounding + share * own.rounding,
    }
}
