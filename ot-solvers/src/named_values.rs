//! The same names for the same numbers on every solution: `transport_cost` is <P, C>, `distance` its root where that has a
//! meaning, `gap` a bound of what a value is off by, `potential` that of one side, `status` why a solve ended.
//!
//! [`Solution`](ot_core::Solution) and [`ExactSolution`](crate::ExactSolution) have them where they are defined.

use ot_core::{Device, Error, Side, Status};

use crate::{CircleTransport, Divergence, Gaussian, LineTransport, PartialSolution, SlicedDistance, UnregularizedPlan};

impl LineTransport<'_> {
    /// W_p for the cost |x - y|^p: the p-th root of the [`transport_cost`](Self::transport_cost).
    ///
    /// # Errors
    /// Those of [`transport_cost`](Self::transport_cost).
    pub fn distance(&self, p: f64) -> Result<f64, Error> {
        Ok(self.transport_cost()?.max(0.0).powf(p.recip()))
    }

    /// The potential of one side: see [`potentials`](Self::potentials).
    #[must_use]
    pub fn potential(&self, side: Side) -> Vec<f64> {
        let [f, g] = self.potentials();
        side.of([f, g])
    }

    /// Converged: the coupling of a convex cost is found, not searched for.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::Converged
    }
}

impl CircleTransport {
    /// Converged: the best cut is found to the last digits.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::Converged
    }
}

impl SlicedDistance {
    /// The mean of W_p^p over directions: [`power`](Self::power).
    ///
    /// # Errors
    /// Those of [`power`](Self::power).
    pub fn transport_cost(&self) -> Result<f64, Error> {
        self.power()
    }

    /// Converged: each direction is solved exactly.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::Converged
    }
}

impl Gaussian {
    /// W_2^2, the least mean squared distance: the square of [`wasserstein`](Self::wasserstein).
    ///
    /// # Errors
    /// Those of [`wasserstein`](Self::wasserstein).
    pub fn transport_cost(&self, other: &Self) -> Result<f64, Error> {
        let distance = self.wasserstein(other)?;
        ot_core::cost::check_bound::<f64>(distance * distance)?;
        Ok(distance * distance)
    }

    /// W_2: [`wasserstein`](Self::wasserstein).
    ///
    /// # Errors
    /// Those of [`wasserstein`](Self::wasserstein).
    pub fn distance(&self, other: &Self) -> Result<f64, Error> {
        self.wasserstein(other)
    }
}

impl<D: Device> PartialSolution<D> {
    /// <P, C> of what moves; `None` from a kernel that has no cost.
    #[must_use]
    pub fn transport_cost(&self) -> Option<f64> {
        self.solution().transport_cost()
    }

    /// An upper bound of what the entropic objective is off by.
    #[must_use]
    pub fn gap(&self) -> f64 {
        self.solution().gap()
    }

    /// The potential of one side, without that of the atom where mass rests.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn potential(&self, side: Side) -> Result<Vec<D::Elem>, Error> {
        let mut potential = self.solution().potential(side)?;
        potential.pop();
        Ok(potential)
    }

    /// Why the solve ended.
    #[must_use]
    pub fn status(&self) -> Status {
        self.solution().status()
    }
}

impl<D: Device> Divergence<D> {
    /// <P, C> between the two measures; `None` from a kernel that has no cost.
    #[must_use]
    pub fn transport_cost(&self) -> Option<f64> {
        self.cross().transport_cost()
    }

    /// The root of the [`value`](Self::value), which for squared distances has the unit of a length. `None` for a negative
    /// value, which rounding may leave of equal measures.
    #[must_use]
    pub fn distance(&self) -> Option<f64> {
        Some(self.value()).filter(|value| *value >= 0.0).map(f64::sqrt)
    }

    /// How far the value may be from that of the exact solutions: [`error_bound`](Self::error_bound).
    #[must_use]
    pub fn gap(&self) -> f64 {
        self.error_bound()
    }

    /// The potential of one side, between the two measures.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn potential(&self, side: Side) -> Result<Vec<D::Elem>, Error> {
        self.cross().potential(side)
    }
}

impl UnregularizedPlan {
    /// <P, C>.
    #[must_use]
    pub fn transport_cost(&self) -> f64 {
        self.transport_cost
    }

    /// An upper bound of primal minus the optimum.
    #[must_use]
    pub fn gap(&self) -> f64 {
        self.gap.max(0.0)
    }

    /// The entries, row-major, n x m.
    #[must_use]
    pub fn plan(&self) -> &[f64] {
        &self.plan
    }

    /// Why the solve ended.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }
}
