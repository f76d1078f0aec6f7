//! Space for missing mass where a side is at its upper bound.
//!
//! A plan scaled down to the upper bounds of both penalties may lack mass in some rows while its columns have space for
//! none. With (1 - theta) of it kept, the rows lack at most theta times its mass more and the columns have exactly
//! that much more space:
//!
//! ```text
//! missing(theta) = sum_i (low a_i - (1 - theta) p_i)_+        space(theta) = high mass(b) - (1 - theta) mass(P)
//! ```
//!
//! The space rises faster than what is missing, and at theta = 1 it suffices if any plan satisfies both penalties.

/// One side of a plan: its marginal, and the mass bounds of each atom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounded<'a> {
    pub(super) marginal: &'a [f64],
    pub(super) weights: &'a [f64],
    pub(super) bounds: [f64; 2],
}

impl Bounded<'_> {
    /// What atoms lack to their lower bounds, if this factor of the plan is kept.
    fn missing(&self, factor: f64) -> f64 {
        let [low, _] = self.bounds;
        self.marginal.iter().zip(self.weights).map(|(mass, weight)| (low * weight - factor * mass).max(0.0)).sum()
    }

    /// What atoms may take up to their upper bounds.
    fn space(&self, factor: f64) -> f64 {
        let [_, high] = self.bounds;
        let space =
            |(mass, weight): (&f64, &f64)| if *weight > 0.0 { (high * weight - factor * mass).max(0.0) } else { 0.0 };
        self.marginal.iter().zip(self.weights).map(space).sum()
    }
}

/// The largest factor of the plan at which either side has space for what the other lacks, to a `slack` of rounding. Where
/// both marginals are prescribed the one lacks what the other does, and all of the plan is kept.
pub(super) fn shrinking_factor(source: Bounded<'_>, target: Bounded<'_>, slack: f64) -> f64 {
    let fits = |factor: f64| {
        source.missing(factor) <= target.space(factor) + slack && target.missing(factor) <= source.space(factor) + slack
    };
    let prescribed = |side: &Bounded<'_>| side.bounds[0] == side.bounds[1];
    if prescribed(&source) && prescribed(&target) || fits(1.0) || !fits(0.0) {
        return 1.0;
    }
    let (mut kept, mut lost) = (1.0, 0.0);
    // Halves until neighbouring numbers.
    for _ in 0..52 {
        let middle = 0.5 * (kept + lost);
        if fits(1.0 - middle) {
            kept = middle;
        } else {
            lost = middle;
        }
    }
    1.0 - kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_side_makes_room() {
        // Rows want at least 0.9 of their weight, columns exactly theirs; the first row lacks 0.1.
        let source = Bounded { marginal: &[0.35, 0.65], weights: &[0.5, 0.5], bounds: [0.9, 1.5] };
        let target = Bounded { marginal: &[0.5, 0.5], weights: &[0.5, 0.5], bounds: [1.0, 1.0] };
        let factor = shrinking_factor(source, target, 1e-15);
        // 0.45 - 0.35 (1 - theta) = theta
        assert!((1.0 - factor - 0.1 / 0.65).abs() < 1e-14, "{factor}");
        assert_eq!(shrinking_factor(source, Bounded { bounds: [0.9, 1.5], ..target }, 1e-15), 1.0);
        // Both are prescribed, and differ by rounding.
        let prescribed = Bounded { marginal: &[0.5, 0.5 + 1e-12], weights: &[0.5, 0.5 + 1e-12], bounds: [1.0, 1.0] };
        assert_eq!(shrinking_factor(Bounded { bounds: [1.0, 1.0], ..source }, prescribed, 1e-15), 1.0);
        // No plan obeys both.
        assert_eq!(shrinking_factor(source, Bounded { bounds: [0.1, 0.2], ..target }, 1e-15), 1.0);
    }
}
