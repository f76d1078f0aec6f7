//! Powers of distances in a unit, for a search that looks far beyond it.

/// Powers are taken up to this one.
const LARGEST_POWER: f64 = 1e100;
/// What nothing exceeds, so that sums stay finite.
const LARGEST: f64 = 1e280;

/// |distance / unit|^p, and from some distance on its tangent there: convex all the same, and no more than the power. A shift
/// that is best for it, and moves nothing so far, is best for the power itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Power {
    unit: f64,
    exponent: f64,
    /// In units.
    largest: f64,
}

impl Power {
    pub(super) fn new(unit: f64, exponent: f64) -> Self {
        Self { unit, exponent, largest: LARGEST_POWER.powf(exponent.recip()) }
    }

    pub(super) fn of(self, distance: f64) -> f64 {
        let distance = (distance / self.unit).abs();
        match self.exponent {
            1.0 => distance.min(LARGEST),
            2.0 if distance <= self.largest => distance * distance,
            p if distance <= self.largest => distance.powf(p),
            p => (LARGEST_POWER * (1.0 + p * (distance / self.largest - 1.0))).min(LARGEST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_convex_and_finite() {
        for exponent in [1.0, 2.0, 3.5, 120.0] {
            let power = Power::new(1e-300, exponent);
            let values: Vec<f64> = (0..4000).map(|k| power.of(1e-302 * 1.2_f64.powi(k))).collect();
            assert!(values.iter().all(|value| value.is_finite()) && values.is_sorted());
            for k in (1..3999).take_while(|k| values[k + 1] < LARGEST) {
                // The slope grows: distances are in geometric progression.
                let (left, right) = (values[k] - values[k - 1], (values[k + 1] - values[k]) / 1.2);
                assert!(left <= right * (1.0 + 1e-12), "{exponent} {k}");
            }
            assert!((power.of(3e-300) / 3_f64.powf(exponent) - 1.0).abs() < 1e-12);
        }
    }
}
