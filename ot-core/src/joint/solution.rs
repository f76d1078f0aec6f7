//! What a solve of several plans returns.

use std::sync::Arc;

use super::JointProblem;
use crate::{
    backend::Device, certificate::Certificate, error::Error, kernel::Potentials, plan::Plan, progress::Progress,
    status::Status,
};

/// Unknown measures, the potentials of each term, what is proven of them, and why the solver stopped: a
/// [`Solution`](crate::Solution) of more than two marginals.
#[derive(Debug)]
pub struct JointSolution<D: Device> {
    problem: JointProblem<D>,
    measures: Vec<Arc<D::Vector>>,
    potentials: Vec<Arc<Potentials<D>>>,
    statuses: Vec<Status>,
    certificates: Vec<Certificate>,
    iterations: usize,
    history: Vec<Progress>,
    powers: Option<Vec<f64>>,
}

impl<D: Device> JointSolution<D> {
    /// Made by solvers: the masses of each unknown measure, the potentials of each term, one status and one certificate for
    /// each column.
    #[must_use]
    pub fn new(
        problem: JointProblem<D>,
        measures: Vec<Arc<D::Vector>>,
        potentials: Vec<Arc<Potentials<D>>>,
        statuses: Vec<Status>,
        certificates: Vec<Certificate>,
        iterations: usize,
        history: Vec<Progress>,
    ) -> Self {
        Self { problem, measures, potentials, statuses, certificates, iterations, history, powers: None }
    }

    /// Made by solvers that bound the entropy of the unknown measure: the power beta of the mean that it is, for each column.
    #[must_use]
    pub fn with_powers(self, powers: Vec<f64>) -> Self {
        Self { powers: Some(powers), ..self }
    }

    /// What was solved.
    #[must_use]
    pub fn problem(&self) -> &JointProblem<D> {
        &self.problem
    }

    /// The masses of the unknown measures, on the device.
    #[must_use]
    pub fn measures(&self) -> &[Arc<D::Vector>] {
        &self.measures
    }

    /// The masses of one unknown measure on the host, column after column.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn measure(&self, index: usize) -> Result<Vec<D::Elem>, Error> {
        let backend = self.problem.terms()[0].problem.backend();
        Ok(backend.download(&[&self.measures[index]])?.swap_remove(0))
    }

    /// The dual potentials of each term, on the device.
    #[must_use]
    pub fn potentials(&self) -> &[Arc<Potentials<D>>] {
        &self.potentials
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

    /// What is proven of the first column: of the problem, where it is no batch.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificates[0]
    }

    /// What is proven of each column.
    #[must_use]
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
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

    /// The power beta of each column where the entropy of the unknown measure is bounded, p = c (m exp(-s / epsilon))^beta with the
    /// mean softmin s: 1 where it has no more entropy than allowed anyway. `None` without a bound.
    #[must_use]
    pub fn powers(&self) -> Option<&[f64]> {
        self.powers.as_deref()
    }

    /// The plan of one term as an operator, with a binding of its own.
    ///
    /// # Errors
    /// Those of [`Geometry::bind`](crate::Geometry::bind).
    pub fn plan(&self, term: usize) -> Result<Plan<D>, Error> {
        let potentials = Arc::clone(&self.potentials[term]);
        Plan::new(self.problem.terms()[term].problem.with_epsilon(potentials.epsilon)?, potentials)
    }
}
