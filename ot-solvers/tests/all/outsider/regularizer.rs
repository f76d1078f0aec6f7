//! A regularizer of an outsider's own: three formulas.

use ot_core::{Real, Regularizer};

/// Tsallis entropy of order q > 1 (Muzellec, Nock, Patrini, Nielsen 2017),
///
/// ```text
/// h(p) = (p^q - p) / (q - 1)        h*'(z) = t^(1 / (q - 1))        h*(z) = t^(q / (q - 1))
/// ```
///
/// with t = max(1 + (q - 1) z, 0) / q: zeros below z = -1 / (q - 1), entropy as q falls to 1, squares at q = 2.
#[derive(Clone, Debug)]
pub struct Tsallis {
    pub order: f64,
}

impl Tsallis {
    fn root<R: Real>(&self, exponent: R) -> R {
        let linear = 1.0 + (self.order - 1.0) * exponent;
        linear.max(0.0) / self.order
    }
}

impl Regularizer for Tsallis {
    fn value<R: Real>(&self, density: R) -> R {
        (density.power(self.order) - density) / (self.order - 1.0)
    }

    fn conjugate<R: Real>(&self, exponent: R) -> R {
        self.root(exponent).power(self.order / (self.order - 1.0))
    }

    fn density<R: Real>(&self, exponent: R) -> R {
        self.root(exponent).power(1.0 / (self.order - 1.0))
    }
}
