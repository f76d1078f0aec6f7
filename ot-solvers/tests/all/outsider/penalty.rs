//! A penalty of an outsider's own: four formulas.

use ot_core::{MarginalPenalty, Real};

/// The Burg entropy (reverse Kullback-Leibler divergence) of densities up to [`CAP`](Burg::CAP),
///
/// ```text
/// phi(r) = rho (r - 1 - log r)        phi*(q) = -rho log(1 - q / rho)
/// ```
///
/// which forbids that an atom be left without mass. The cap keeps phi* from its pole at rho: from
/// there on it is a straight line of slope CAP, finite and convex.
#[derive(Clone, Debug)]
pub struct Burg {
    pub rho: f64,
}

impl Burg {
    /// The largest density.
    pub const CAP: f64 = 1e4;

    /// Newton steps: the error of the start is at most 1 and squares from then on.
    const NEWTON_STEPS: usize = 6;

    /// What stands for infinity, in f32 too.
    const HUGE: f64 = 1e30;
}

impl MarginalPenalty for Burg {
    fn density_bounds(&self) -> [f64; 2] {
        [0.0, Self::CAP]
    }

    /// The optimality condition rho / (rho + f) = exp((f - s) / epsilon) is w + log w = y for
    /// w = (rho + f) / epsilon and y = (rho + s) / epsilon + log(rho / epsilon): Wright's omega
    /// function. In t = log w it is convex and increasing, so that Newton's iteration descends to
    /// the root from anywhere above it, and y (if y <= 1) or log y (if y > 1) is above.
    fn step<R: Real>(&self, softmin: R, epsilon: R) -> R {
        let log_ratio = (self.rho / epsilon).ln();
        let y = ((self.rho + softmin) / epsilon + log_ratio).clamp(-Self::HUGE, Self::HUGE);
        let mut t = (y - 1.0).select(y.max(1.0).ln(), y);
        for _ in 0..Self::NEWTON_STEPS {
            let w = t.exp();
            t = t - (w + t - y) / (w + 1.0);
        }
        let log_density = log_ratio - t;
        softmin + epsilon * log_density.min(Self::CAP.ln())
    }

    fn conjugate<R: Real>(&self, slope: R) -> R {
        let inverse_density = 1.0 - slope / self.rho;
        let beyond = (1.0 / Self::CAP - inverse_density).max(0.0);
        self.rho * (Self::CAP * beyond - inverse_density.max(1.0 / Self::CAP).ln())
    }

    fn value<R: Real>(&self, density: R) -> R {
        let value = density - 1.0 - density.max(1e-30).ln();
        density.select(self.rho * value, Self::HUGE)
    }

    fn conjugate_subdifferential<R: Real>(&self, potential: R, _epsilon: R) -> [R; 2] {
        let inverse_density = 1.0 + potential / self.rho;
        [1.0 / inverse_density.max(1.0 / Self::CAP); 2]
    }
}
