//! Over-relaxation of the half-steps, adapted to the rate observed and guarded by the dual.
//!
//! Near its solution Sinkhorn's iteration is block Gauss-Seidel on the Hessian of the dual, with a
//! linear rate eta (the square of the second singular value of the plan's Markov operator). With
//! relaxation omega the theory of successive over-relaxation (Young 1954; for transport Thibault,
//! Chizat, Dossal, Papadakis 2021; Lehmann, von Renesse, Sambale, Uschmajew 2022) gives
//!
//! ```text
//! (theta + omega - 1)^2 = theta omega^2 eta          omega_best = 2 / (1 + sqrt(1 - eta))
//! ```
//!
//! where theta is the rate at omega; beyond the best omega the rate is omega - 1. So an observed theta
//! tells eta, and eta tells omega. The rate is read off the dual, whose distance to the optimum falls
//! with the square of the error: unlike a residual, it rises steadily even where errors swing. Where it
//! falls, omega returns to 1 and may not come as far again, until the dual has risen for a while at the highest omega
//! that is allowed: longer after each fall.

use ot_core::Error;

/// How strongly half-steps are over-relaxed.
#[derive(Copy, Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Relaxation {
    /// The plain iteration, omega = 1.
    Off,
    /// The same omega in (0, 2) throughout.
    Fixed(f64),
    /// omega from the rate observed at checks, per column, guarded by the dual.
    Adaptive,
}

impl Relaxation {
    /// # Errors
    /// [`Error::Parameter`] for an omega outside (0, 2).
    pub(crate) fn check(&self) -> Result<(), Error> {
        match *self {
            Relaxation::Fixed(omega) if !(omega > 0.0 && omega < 2.0) => {
                Err(Error::Parameter { name: "relaxation", value: omega, expected: "a number within (0, 2)" })
            }
            _ => Ok(()),
        }
    }

    /// The controller of one column.
    pub(crate) fn controller(&self) -> Controller {
        match *self {
            Relaxation::Off => Controller::fixed(1.0),
            Relaxation::Fixed(omega) => Controller::fixed(omega),
            Relaxation::Adaptive => Controller::adaptive(),
        }
    }
}

/// The relaxation of one column over the checks of a stage.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Controller {
    omega: f64,
    ceiling: f64,
    adaptive: bool,
    /// Checks since omega last changed.
    checks: usize,
    /// How often the dual has fallen.
    falls: u32,
    last: Option<Observed>,
    /// Rise of the dual up to the last check.
    last_gain: f64,
    /// The rate of the plain iteration, as last observed.
    eta: Option<f64>,
    /// That of problems of the same kind, to be taken up at the first check.
    expected: Option<f64>,
}

/// What one check tells of one column.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(crate) struct Observed {
    /// Marginal error.
    pub error: f64,
    /// Dual value.
    pub dual: f64,
    /// How far the dual may fall by rounding.
    pub dual_rounding: f64,
    /// The sum of the sizes of its terms.
    pub dual_size: f64,
}

impl Observed {
    /// Duals of half-steps are known to this part of their terms: kept entries may be of a shorter type.
    const NOISE: f64 = 1e-9;

    /// A larger dual is nearer to the optimum; of duals that noise does not tell apart, the smaller error counts.
    pub(crate) fn is_better_than(&self, other: &Self) -> bool {
        let noise = self.dual_rounding.max(Self::NOISE * self.dual_size.max(other.dual_size));
        self.dual > other.dual + noise || (self.dual >= other.dual - noise && self.error < other.error)
    }
}

impl Controller {
    /// No omega above this: the linear theory fails first.
    const CEILING: f64 = 1.98;
    /// Checks at one omega before the rate is believed.
    const SETTLED: usize = 3;
    /// Falls of the dual after which the ceiling takes no longer to rise than before.
    const MOST_FALLS: u32 = 5;
    /// An error that rises this many times, while the dual falls, is no noise of a half-step.
    const BLOWN_UP: f64 = 4.0;
    /// A gain of the dual this many times its rounding tells a rate.
    const TELLING: f64 = 1e3;

    fn fixed(omega: f64) -> Self {
        Self {
            omega,
            ceiling: omega,
            adaptive: false,
            checks: 0,
            falls: 0,
            last: None,
            last_gain: f64::NAN,
            eta: None,
            expected: None,
        }
    }

    fn adaptive() -> Self {
        Self { adaptive: true, ceiling: Self::CEILING, ..Self::fixed(1.0) }
    }

    /// Starts from the best relaxation at a rate of the plain iteration that was predicted; the rate observed takes over.
    pub(crate) fn predicted(mut self, eta: Option<f64>) -> Self {
        if let Some(eta) = eta.filter(|_| self.adaptive) {
            self.set(best_relaxation(eta.clamp(0.0, 1.0)));
        }
        self
    }

    /// Goes over to the best relaxation at a rate that problems of the same kind have had, at the first check: what iterations
    /// from far away do is no matter of rates. The rate observed takes over.
    pub(crate) fn expecting(self, eta: Option<f64>) -> Self {
        Self { expected: eta.filter(|_| self.adaptive), ..self }
    }

    /// The rate of the plain iteration, as last observed.
    pub(crate) fn rate(&self) -> Option<f64> {
        self.eta
    }

    /// The rate that the one observed predicts at another epsilon, so many times this one: 1 - eta is smaller as epsilon is.
    pub(crate) fn rate_at(&self, share_of_epsilon: f64) -> Option<f64> {
        Some(rate_at(self.eta?, share_of_epsilon))
    }

    /// The relaxation in use.
    pub(crate) fn omega(&self) -> f64 {
        self.omega
    }

    /// Returns to the plain iteration for now.
    pub(crate) fn restart(&mut self) {
        self.set(1.0);
    }

    /// Returns to the plain iteration for good. Says whether that changes anything.
    pub(crate) fn calm(&mut self) -> bool {
        let changes = self.adaptive && self.ceiling > 1.0;
        if changes {
            *self = Self::fixed(1.0);
        }
        changes
    }

    /// Takes in a check that comes `iterations` after the last. Says whether the iterate blew up, so that what led there is
    /// better undone; the next check is then compared with nothing.
    pub(crate) fn observe(&mut self, now: Observed, iterations: usize) -> bool {
        let Some(last) = self.last.replace(now).filter(|_| self.adaptive) else {
            if let Some(eta) = self.expected.take() {
                self.set(best_relaxation(eta.clamp(0.0, 1.0)));
            }
            return false;
        };
        let gain = now.dual - last.dual;
        let last_gain = std::mem::replace(&mut self.last_gain, gain);
        self.checks += 1;
        if gain < -now.dual_rounding {
            self.ceiling = 1.0 + 0.7 * (self.omega.min(self.ceiling) - 1.0);
            self.falls = (self.falls + 1).min(Self::MOST_FALLS);
            self.set(1.0);
            let blew_up = now.error > Self::BLOWN_UP * last.error;
            if blew_up {
                (self.last, self.last_gain) = (None, f64::NAN);
            }
            return blew_up;
        }
        if self.checks >= Self::SETTLED {
            // The distance of the dual to its optimum falls with the square of the error.
            let telling = Self::TELLING * now.dual_rounding;
            let theta = if gain > telling && last_gain > telling {
                (gain / last_gain).powf(0.5 / iterations as f64)
            } else {
                (now.error / last.error).powf(1.0 / iterations as f64)
            };
            if theta > 0.0 {
                self.eta = Some(self.plain_rate(theta.min(1.0)));
            }
            if theta < 1.0 && theta > 0.0 {
                let wanted = self.towards_best(theta);
                let held = wanted > self.ceiling && self.omega >= self.ceiling;
                if !held {
                    self.set(wanted);
                } else if self.checks >= Self::SETTLED << self.falls {
                    self.ceiling = (2.0 - 0.8 * (2.0 - self.ceiling)).min(Self::CEILING);
                    self.set(wanted);
                }
            }
        }
        false
    }

    /// The next relaxation, from the rate observed at this one. Never more than a step: rates of the
    /// first iterations are not the last ones.
    fn towards_best(&self, theta: f64) -> f64 {
        if self.is_below_best(theta) {
            best_relaxation(self.plain_rate(theta)).min(2.0 - 0.35 * (2.0 - self.omega))
        } else {
            // omega - 1 is the rate at the best omega and above it: step back.
            2.0 - 1.2 * (2.0 - self.omega)
        }
    }

    /// Is a rate slower than what the best relaxation and all above it have?
    fn is_below_best(&self, theta: f64) -> bool {
        let over = self.omega - 1.0;
        over <= 0.0 || theta.ln() > 0.9 * over.ln()
    }

    /// The rate eta of the plain iteration that a rate at this relaxation tells.
    fn plain_rate(&self, theta: f64) -> f64 {
        match self.is_below_best(theta) {
            true => ((theta + self.omega - 1.0).powi(2) / (theta * self.omega * self.omega)).min(1.0),
            false => 1.0 - (2.0 / self.omega - 1.0).powi(2),
        }
    }

    /// Iterations that an error takes to a tolerance at the best relaxation that is allowed, where 1 - eta is that of the
    /// rate observed times `slowing`. `None` if no rate was observed.
    pub(crate) fn iterations_to(&self, tolerance: f64, error: f64, slowing: f64) -> Option<f64> {
        Some(self.iterations_at(self.rate_at(slowing)?, tolerance, error))
    }

    /// The same at the rate that is [expected](Self::expecting).
    pub(crate) fn iterations_expected(&self, tolerance: f64, error: f64) -> Option<f64> {
        Some(self.iterations_at(self.expected?, tolerance, error))
    }

    fn iterations_at(&self, eta: f64, tolerance: f64, error: f64) -> f64 {
        let omega = best_relaxation(eta).min(self.ceiling);
        // The larger root of (theta + omega - 1)^2 = theta omega^2 eta; at the best omega both are one.
        let discriminant = (omega * omega * eta - 4.0 * (omega - 1.0)).max(0.0);
        let theta = ((omega * eta.sqrt() + discriminant.sqrt()) / 2.0).powi(2);
        (error / tolerance).ln().max(0.0) / -theta.min(1.0 - f64::EPSILON).ln()
    }

    fn set(&mut self, omega: f64) {
        self.omega = omega.clamp(1.0, self.ceiling);
        self.checks = 0;
    }
}

/// The rate at another epsilon, so many times the one of a rate.
pub(super) fn rate_at(eta: f64, share_of_epsilon: f64) -> f64 {
    1.0 - share_of_epsilon * (1.0 - eta)
}

/// omega_best at a rate of the plain iteration.
fn best_relaxation(eta: f64) -> f64 {
    2.0 / (1.0 + (1.0 - eta).max(0.0).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Errors of a model iteration with rate eta at omega = 1, relaxed as the controller says.
    fn iterations_to(tolerance: f64, eta: f64, relaxation: Relaxation) -> usize {
        let mut controller = relaxation.controller();
        let (mut error, mut iteration) = (1.0_f64, 0);
        while error > tolerance && iteration < 100_000 {
            let omega = controller.omega();
            let mu = eta.sqrt();
            // The larger root of (theta + omega - 1)^2 = theta omega^2 eta, or omega - 1 beyond the best.
            let discriminant = (omega * mu).powi(2) - 4.0 * (omega - 1.0);
            let theta =
                if discriminant > 0.0 { ((omega * mu + discriminant.sqrt()) / 2.0).powi(2) } else { omega - 1.0 };
            error *= theta.powi(10);
            iteration += 10;
            controller.observe(Observed { error, dual: -error * error, dual_rounding: 1e-16, dual_size: 1.0 }, 10);
        }
        iteration
    }

    #[test]
    fn adaptive_relaxation_finds_the_best_rate() {
        let eta = 0.99_f64;
        let plain = iterations_to(1e-9, eta, Relaxation::Off);
        let best = iterations_to(1e-9, eta, Relaxation::Fixed(2.0 / (1.0 + (1.0 - eta).sqrt())));
        let adaptive = iterations_to(1e-9, eta, Relaxation::Adaptive);
        assert!(plain > 8 * best, "plain {plain}, best {best}");
        assert!(adaptive <= 2 * best, "adaptive {adaptive}, best {best}");
    }

    /// What is predicted after a few checks is what the model iteration then takes.
    #[test]
    fn iterations_to_a_tolerance_are_predicted() {
        for eta in [0.9_f64, 0.99, 0.999] {
            let mut controller = Relaxation::Adaptive.controller();
            assert_eq!(controller.iterations_to(1e-9, 1.0, 1.0), None);
            for check in 0..5 {
                let error = eta.powi(10 * check);
                controller.observe(Observed { error, dual: -error * error, dual_rounding: 1e-16, dual_size: 1.0 }, 10);
                if check == 3 {
                    break;
                }
            }
            let best = (2.0 / (1.0 + (1.0 - eta).sqrt()) - 1.0).ln();
            let predicted = controller.iterations_to(1e-9, 1.0, 1.0).unwrap();
            assert!((predicted / (1e-9_f64.ln() / best) - 1.0).abs() < 0.05, "{eta}: {predicted}");
            assert!(controller.iterations_to(1e-9, 1.0, 0.1).unwrap() > 2.0 * predicted);
            assert_eq!(controller.iterations_to(1e-9, 1e-10, 1.0), Some(0.0));
        }
    }

    #[test]
    fn a_predicted_rate_is_where_it_starts() {
        let controller = Relaxation::Adaptive.controller().predicted(Some(0.75));
        assert!((controller.omega() - 4.0 / 3.0).abs() < 1e-15);
        assert_eq!(Relaxation::Adaptive.controller().predicted(Some(1.0)).omega(), Controller::CEILING);
        assert_eq!(Relaxation::Adaptive.controller().predicted(None).omega(), 1.0);
        assert_eq!(Relaxation::Off.controller().predicted(Some(0.75)).omega(), 1.0);
        assert_eq!(Relaxation::Fixed(1.5).controller().predicted(Some(0.75)).omega(), 1.5);
    }

    #[test]
    fn a_falling_dual_resets() {
        let mut controller = Relaxation::Adaptive.controller();
        let mut observe = |error: f64, dual: f64| {
            controller.observe(Observed { error, dual, dual_rounding: 1e-12, dual_size: 1.0 }, 10);
            controller.omega()
        };
        let mut omega = 1.0;
        for check in 0..8 {
            let error = 0.98_f64.powi(10 * check);
            omega = observe(error, -error * error);
        }
        assert!(omega > 1.2, "{omega}");
        assert_eq!(observe(1e-2, -1.0), 1.0);
    }

    /// A fall lowers the ceiling, and a dual that rises brings it back.
    #[test]
    fn the_ceiling_recovers() {
        let mut controller = Relaxation::Adaptive.controller();
        let mut largest = 0.0_f64;
        for check in 0..60 {
            let error = 0.999_f64.powi(check);
            let falls = check == 20
                && controller
                    .observe(Observed { error: 9.0 * error, dual: -9.0, dual_rounding: 1e-12, dual_size: 1.0 }, 5);
            assert_eq!(falls, check == 20);
            controller.observe(Observed { error, dual: -error * error, dual_rounding: 1e-12, dual_size: 1.0 }, 5);
            largest = largest.max(controller.omega());
            if check == 20 {
                assert!(controller.omega() == 1.0 && largest > 1.9);
                largest = 0.0;
            }
        }
        assert!(largest > 1.75, "{largest}");
    }

    #[test]
    fn relaxations_outside_the_interval_are_refused() {
        for omega in [0.0, 2.0, f64::NAN, -1.0] {
            assert!(Relaxation::Fixed(omega).check().is_err(), "{omega}");
        }
        assert!(Relaxation::Fixed(1.5).check().is_ok());
    }
}
