//! Columns of an iteration that go over to Newton's method, and those that a violated cut ends.

use ot_core::{Device, Error, KernelOp, Potentials, Status};

use super::{Iteration, choose_columns};
use crate::{
    entropic::{
        Relaxation, Update,
        column::Column,
        feasibility::{may_be_infeasible, refuse_violated_cuts},
        hand_over::{LARGEST_ERROR, Watch},
    },
    newton::{self, Entry, Newton, NewtonReport, Told},
};

impl<D: Device> Iteration<'_, D> {
    /// Looks out for slow rates and violated cuts from now on, where the rate is observed.
    pub(in crate::entropic) fn look_out<K: KernelOp<D> + ?Sized>(&mut self, kernel: &mut K) {
        let settings = self.settings;
        let has_rate = settings.update == Update::Alternating && settings.relaxation == Relaxation::Adaptive;
        self.watch = match has_rate {
            true => Watch::new(self.problem, kernel, settings.hand_over, settings.limits.most),
            false => None,
        };
    }

    /// Newton's method before any iteration, where a single column starts from nothing at a small epsilon; the start of a batch is
    /// cheaper together. Says whether it came anywhere.
    pub(in crate::entropic) fn begin_with_newton<K: KernelOp<D> + ?Sized>(
        &mut self,
        kernel: &mut K,
    ) -> Result<bool, Error> {
        let begins = self.columns.len() == 1 && self.watch.as_ref().is_some_and(Watch::begins_with_newton);
        Ok(begins && self.hand_over(kernel)?)
    }

    /// Is Newton's method due?
    pub(in crate::entropic) fn is_handed_over(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.is_due)
    }

    /// Iterations that are allowed yet.
    fn allowed(&self) -> usize {
        self.settings.limits.most.saturating_sub(self.iterations)
    }

    /// Iterations that are left to the tolerance for every column that moves, at least.
    fn predicted(&self, slowing: f64) -> Option<f64> {
        let tolerance = self.settings.tolerance_on(self.problem);
        let of_column = |&index: &usize| self.columns[index].iterations_to(tolerance, slowing);
        let predicted = self.active.indices().iter().map(of_column);
        predicted.reduce(|least, other| Some(least?.min(other?))).flatten()
    }

    /// Before the first iteration, with the rate that is expected.
    pub(in crate::entropic) fn foresee_rate(&mut self) {
        let (tolerance, allowed) = (self.settings.tolerance_on(self.problem), self.allowed());
        let of_column = |column: &Column| column.controller.iterations_expected(tolerance, LARGEST_ERROR);
        let predicted = self.columns.iter().map(of_column);
        let predicted = predicted.reduce(|least, other| Some(least?.min(other?))).flatten();
        if let Some(watch) = &mut self.watch {
            watch.foresee_rate(predicted, allowed);
        }
    }

    /// At a check at the epsilon of the problem.
    pub(super) fn watch_rate(&mut self) {
        let (predicted, iterations, allowed) = (self.predicted(1.0), self.iterations, self.allowed());
        if let Some(watch) = &mut self.watch {
            watch.see_rate(predicted, iterations, allowed);
        }
    }

    /// At the end of a stage of the annealing: its rate predicts that of the problem, whose 1 - eta is smaller as epsilon is.
    pub(super) fn watch_stage(&mut self, epsilon: f64) -> Result<(), Error> {
        if self.watch.is_none() {
            return Ok(());
        }
        let (predicted, allowed) = (self.predicted(self.problem.epsilon() / epsilon), self.allowed());
        let backend = self.problem.backend();
        let (source, target) = (backend.copied(&self.potentials.source)?, backend.copied(&self.potentials.target)?);
        if let Some(watch) = &mut self.watch {
            watch.see_stage(Potentials { source, target, epsilon }, predicted, allowed);
        }
        Ok(())
    }

    /// Where forbidden pairs may leave no plan, columns that have not come to their end are searched for a cut: once with few
    /// sweeps, and once more with many.
    pub(super) fn refuse_violated_cuts<K: KernelOp<D> + ?Sized>(&mut self, kernel: &mut K) -> Result<(), Error> {
        let (problem, tolerance) = (self.problem, self.settings.tolerance_on(self.problem));
        let is_open = |index: &usize| matches!(self.columns[*index].rest, None | Some(Status::Stalled));
        let open: Vec<usize> = (0..self.columns.len()).filter(is_open).collect();
        if open.is_empty() || !may_be_infeasible(problem, kernel) {
            return Ok(());
        }
        match self.searches.next() {
            Some(sweeps) => {
                refuse_violated_cuts(kernel, problem, &open, tolerance, sweeps.min(self.iterations))?;
                kernel.recenter(problem.view(&self.potentials))
            }
            None => Ok(()),
        }
    }

    /// Newton's method for the columns that move. Those that it brings to the tolerance rest; the others iterate on. Says whether
    /// it came anywhere.
    pub(super) fn hand_over<K: KernelOp<D> + ?Sized>(&mut self, kernel: &mut K) -> Result<bool, Error> {
        let Some(watch) = self.watch.take() else { return Ok(false) };
        if watch.may_be_infeasible {
            self.refuse_violated_cuts(kernel)?;
        }
        if !watch.has_newton {
            return Ok(false);
        }
        let (problem, backend, columns) = (self.problem, self.problem.backend(), self.columns.len());
        let moving = self.active.indices().to_vec();
        self.choose_best(|column| column.rest.is_none())?;
        let errors = moving.iter().map(|&index| self.columns[index].error().unwrap_or(f64::INFINITY));
        let from = watch.start(&self.potentials, errors.fold(0.0, f64::max));
        let given = backend.download(&[&from.source, &from.target])?;
        let mut found = backend.download(&[&self.potentials.source, &self.potentials.target])?;
        let entry =
            if self.starts_from_zero && self.iterations == 0 { Entry::Zero } else { Entry::Given(Some(from.epsilon)) };
        let mut is_found = vec![false; columns];
        let mut total = NewtonReport::default();
        for index in moving {
            let left = self.allowed();
            if left == 0 || self.ended.is_some() {
                break;
            }
            let tolerance = self.settings.tolerance_on(problem);
            let settings = Newton::new().tolerance(tolerance).within(left).most_arcs(watch.most_arcs);
            let told = Told { history: &mut self.history, before: self.iterations };
            let mut end = match newton::solve_column(&settings, problem, kernel, index, entry, &given, told) {
                // More arcs than are worth listing.
                Err(Error::OutOfMemory { .. }) => break,
                end => end?,
            };
            // Its start is Sinkhorn's iteration.
            self.iterations += std::mem::take(&mut end.report.start_iterations) + end.report.passes();
            total.add(end.report);
            if end.status == Status::Cancelled {
                self.ended = Some(Status::Cancelled);
            }
            let column = &mut self.columns[index];
            if end.status.is_converged() || column.error().is_none_or(|error| end.error < error) {
                for (found, own) in found.iter_mut().zip(end.potentials) {
                    found[own.len() * index..][..own.len()].copy_from_slice(&own);
                }
                is_found[index] = true;
                column.forget();
                column.rest = end.status.is_converged().then_some(end.status);
            }
        }
        self.newton = Some(total);
        let Self { potentials, best, chosen, .. } = self;
        backend.write(&found[0], &mut potentials.source)?;
        backend.write(&found[1], &mut potentials.target)?;
        choose_columns(backend, best, potentials, &is_found, chosen)?;
        kernel.rebind(problem.epsilon())?;
        self.checked = self.iterations;
        self.wake_moving();
        Ok(is_found.contains(&true))
    }
}
