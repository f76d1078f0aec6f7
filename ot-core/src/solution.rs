//! What a solve returns.

use std::sync::Arc;

use crate::{
    backend::Device, certificate::Certificate, error::Error, kernel::Potentials, plan::Plan, problem::Problem,
    progress::Progress, side::Side, status::Status,
};

/// Potentials, what is proven of them, and why the solver stopped. Borrows nothing, so a problem
/// can be solved again, warm, while its solution lives.
#[derive(Debug)]
pub struct Solution<D: Device> {
    problem: Problem<D>,
    potentials: Arc<Potentials<D>>,
    statuses: Vec<Status>,
    certificates: Vec<Certificate>,
    is_certified: bool,
    iterations: usize,
    history: Vec<Progress>,
}

impl<D: Device> Solution<D> {
    /// Made by solvers: one status and one certificate for each column.
    #[must_use]
    pub fn new(
        problem: Problem<D>,
        potentials: Arc<Potentials<D>>,
        statuses: Vec<Status>,
        certificates: Vec<Certificate>,
        iterations: usize,
        history: Vec<Progress>,
    ) -> Self {
        Self { problem, potentials, statuses, certificates, is_certified: true, iterations, history }
    }

    /// Made by solvers that were cancelled: one status for each column, and [nothing proven](Certificate::unproven).
    #[must_use]
    pub fn uncertified(
        problem: Problem<D>,
        potentials: Arc<Potentials<D>>,
        statuses: Vec<Status>,
        iterations: usize,
        history: Vec<Progress>,
    ) -> Self {
        let certificates = vec![Certificate::unproven(problem.epsilon()); problem.columns()];
        Self { problem, potentials, statuses, certificates, is_certified: false, iterations, history }
    }

    /// Was anything proven of the potentials? Not of a solve that was cancelled, which ends within a pass: there a certificate is
    /// optional, and [`certify`](crate::certify) makes it.
    #[must_use]
    pub fn is_certified(&self) -> bool {
        self.is_certified
    }

    /// What was solved.
    #[must_use]
    pub fn problem(&self) -> &Problem<D> {
        &self.problem
    }

    /// The dual potentials, on the device.
    #[must_use]
    pub fn potentials(&self) -> &Arc<Potentials<D>> {
        &self.potentials
    }

    /// The potential of one side on the host, column after column.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn potential(&self, side: Side) -> Result<Vec<D::Elem>, Error> {
        Ok(self.problem.backend().download(&[self.potentials.side(side)])?.swap_remove(0))
    }

    /// The worst status of all columns.
    #[must_use]
    pub fn status(&self) -> Status {
        let worst = self.statuses.iter().copied().max_by_key(Status::severity);
        worst.unwrap_or(Status::Converged)
    }

    /// The status of each column.
    #[must_use]
    pub fn statuses(&self) -> &[Status] {
        &self.statuses
    }

    /// What is proven of the first column: of the problem, where it is no batch. Nothing of a solve that was cancelled: see
    /// [`is_certified`](Self::is_certified).
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificates[0]
    }

    /// What is proven of each column.
    #[must_use]
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// <P, C> of the first column; `None` from a kernel that has no cost.
    #[must_use]
    pub fn transport_cost(&self) -> Option<f64> {
        self.certificate().transport_cost
    }

    /// The p-th root of the [`transport_cost`](Self::transport_cost), for the cost |x - y|^p: the distance along the entropic
    /// plan, which is above that of an exact one. `None` where that cost is not known, or negative.
    #[must_use]
    pub fn distance(&self, p: f64) -> Option<f64> {
        self.transport_cost().filter(|cost| *cost >= 0.0).map(|cost| cost.powf(p.recip()))
    }

    /// An upper bound of what the objective of the first column is off by: see [`Certificate::gap`].
    #[must_use]
    pub fn gap(&self) -> f64 {
        self.certificate().gap
    }

    /// Iterations done, over all stages of an annealing.
    #[must_use]
    pub fn iterations(&self) -> usize {
        self.iterations
    }

    /// What was read at each check.
    #[must_use]
    pub fn history(&self) -> &[Progress] {
        &self.history
    }

    /// The plan as an operator, with a binding of its own.
    ///
    /// # Errors
    /// Those of [`Geometry::bind`](crate::Geometry::bind).
    pub fn plan(&self) -> Result<Plan<D>, Error> {
        Plan::new(self.problem.with_epsilon(self.potentials.epsilon)?, Arc::clone(&self.potentials))
    }
}

impl<D: Device> Clone for Solution<D> {
    fn clone(&self) -> Self {
        Self {
            problem: self.problem.clone(),
            potentials: Arc::clone(&self.potentials),
            statuses: self.statuses.clone(),
            certificates: self.certificates.clone(),
            is_certified: self.is_certified,
            iterations: self.iterations,
            history: self.history.clone(),
        }
    }
}
