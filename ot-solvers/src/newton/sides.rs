//! Weights and penalties of both sides on the host, and what they make of a potential.

use ot_core::{Device, Dual, Error, LOG_ZERO, MarginalPenalty, PenaltyKind, Problem, RecordedPenalty, Scalar, Side};

use crate::exact::sum::CompensatedSum;

/// A penalty whose conjugate has a derivative everywhere: its potential moves smoothly with the softmin.
#[derive(Clone, Debug)]
pub(super) struct SmoothPenalty {
    penalty: RecordedPenalty,
    is_balanced: bool,
}

impl SmoothPenalty {
    /// # Errors
    /// [`Error::MissingCapability`] for a penalty with kinks: Newton's matrix jumps there.
    pub(super) fn new(penalty: &RecordedPenalty) -> Result<Self, Error> {
        let is_balanced = penalty.kind() == PenaltyKind::Balanced;
        // Total variation stops at a bound of the potential, ranges of the density jump at 0.
        let bounded = penalty.potential_bounds().iter().any(|bound| bound.is_finite());
        let [low, high] = MarginalPenalty::conjugate_subdifferential(penalty, 0.0, 1.0);
        match !is_balanced && (bounded || low != high) {
            true => Err(Error::MissingCapability("Newton's method for a penalty with kinks: Sinkhorn has it")),
            false => Ok(Self { penalty: penalty.clone(), is_balanced }),
        }
    }

    /// The best potential for a softmin s.
    fn step(&self, softmin: f64, epsilon: f64) -> f64 {
        if self.is_balanced { softmin } else { MarginalPenalty::step(&self.penalty, softmin, epsilon) }
    }

    /// d(f) = phi*'(-f), the density that the penalty asks for.
    fn density(&self, potential: f64, epsilon: f64) -> f64 {
        match self.is_balanced {
            true => 1.0,
            false => MarginalPenalty::conjugate_subdifferential(&self.penalty, potential, epsilon)[0],
        }
    }

    /// -phi*(-f).
    fn dual(&self, potential: f64) -> f64 {
        if self.is_balanced { potential } else { -MarginalPenalty::conjugate(&self.penalty, -potential) }
    }

    /// The derivative of the step in the softmin, t = 1 / (1 - epsilon d'(f) / d(f)) at f = step(s), in (0, 1].
    fn slope(&self, potential: f64, epsilon: f64) -> f64 {
        if self.is_balanced {
            return 1.0;
        }
        let [density, derivative] = self.density_and_derivative(potential, epsilon);
        let slope = 1.0 / (1.0 - epsilon * derivative / density);
        if slope > 0.0 { slope.min(1.0) } else { f64::MIN_POSITIVE }
    }

    /// d(f) and d'(f).
    fn density_and_derivative(&self, potential: f64, epsilon: f64) -> [f64; 2] {
        if self.is_balanced {
            return [1.0, 0.0];
        }
        let [density, _] = MarginalPenalty::conjugate_subdifferential(
            &self.penalty,
            Dual::variable(potential),
            Dual::constant(epsilon),
        );
        [density.value, density.derivative]
    }
}

/// Weights, their logarithms and penalties of one column of a problem.
#[derive(Debug)]
pub(super) struct Sides {
    pub(super) weights: [Vec<f64>; 2],
    pub(super) log_weights: [Vec<f64>; 2],
    /// The least and the most of the logarithms of both sides, zeros left out.
    pub(super) log_range: [f64; 2],
    penalties: [SmoothPenalty; 2],
    mean_mass: f64,
}

/// A potential g of the target with f, the c-transform of g. Rows meet what their penalty asks for; columns do at the
/// solution.
#[derive(Clone, Debug)]
pub(super) struct Iterate {
    /// f.
    pub(super) f: Vec<f64>,
    /// g.
    pub(super) g: Vec<f64>,
    /// The c-transform of f: what Sinkhorn's iteration would take for g.
    pub(super) transform: Vec<f64>,
    /// c = P^T 1.
    pub(super) marginal: Vec<f64>,
    /// The dual value, as a function of g alone, without epsilon mass(a) mass(b).
    pub(super) dual: f64,
    /// What rounding may make of the dual.
    pub(super) dual_rounding: f64,
    /// |c - b d(g)|_1 over the mean mass.
    pub(super) error: f64,
}

impl Iterate {
    /// g, or its transform where that is larger: at these every atom has an arc within reach.
    pub(super) fn raised(&self) -> Vec<f64> {
        self.g.iter().zip(&self.transform).map(|(g, transform)| g.max(*transform)).collect()
    }
}

impl Sides {
    /// # Errors
    /// [`Error::MissingCapability`] for a penalty with kinks; a failure of the device.
    pub(super) fn of<D: Device>(problem: &Problem<D>) -> Result<Self, Error> {
        let marginals = Side::BOTH.map(|side| problem.marginal(side));
        let [a, b] = marginals.map(|marginal| marginal.weights());
        let read = problem.backend().download(&[a, b])?;
        let weights = [0, 1].map(|side: usize| read[side].iter().map(|weight| weight.to_f64()).collect::<Vec<_>>());
        let logarithm = |&weight: &f64| if weight > 0.0 { weight.ln() } else { LOG_ZERO };
        let log_weights: [Vec<f64>; 2] = [0, 1].map(|side: usize| weights[side].iter().map(logarithm).collect());
        let of_mass = log_weights.iter().flatten().filter(|logarithm| **logarithm > LOG_ZERO);
        let log_range = of_mass
            .fold([f64::INFINITY, f64::NEG_INFINITY], |[least, most], &value| [least.min(value), most.max(value)]);
        let [source, target] = marginals.map(|marginal| SmoothPenalty::new(marginal.penalty()));
        Ok(Self { weights, log_weights, log_range, penalties: [source?, target?], mean_mass: problem.mean_mass(0) })
    }

    /// Number of atoms.
    pub(super) fn len(&self, side: Side) -> usize {
        side.of([&self.weights[0], &self.weights[1]]).len()
    }

    /// Atoms of the larger side.
    pub(super) fn most_atoms(&self) -> usize {
        self.weights.iter().map(Vec::len).max().unwrap_or(1)
    }

    /// The penalty of a side.
    pub(super) fn penalty(&self, side: Side) -> &RecordedPenalty {
        &self.penalties[side.index()].penalty
    }

    /// The mean of both masses.
    pub(super) fn mean_mass(&self) -> f64 {
        self.mean_mass
    }

    /// The density that the penalty of a side asks for at a potential.
    pub(super) fn density(&self, side: Side, potential: f64, epsilon: f64) -> f64 {
        self.penalties[side.index()].density(potential, epsilon)
    }

    /// Its derivative, which is not above zero.
    pub(super) fn density_slope(&self, side: Side, potential: f64, epsilon: f64) -> f64 {
        self.penalties[side.index()].density_and_derivative(potential, epsilon)[1]
    }

    /// What an atom of a side adds to the dual for each unit of its weight, -phi*(-f).
    pub(super) fn dual(&self, side: Side, potential: f64) -> f64 {
        self.penalties[side.index()].dual(potential)
    }

    /// Is a constant free between f and g?
    pub(super) fn has_gauge(&self) -> bool {
        self.penalties.iter().all(|penalty| penalty.is_balanced)
    }

    /// The potential f for a softmin, and the density that it has then.
    pub(super) fn best_source(&self, softmin: f64, epsilon: f64) -> [f64; 2] {
        let potential = self.penalties[0].step(softmin, epsilon);
        [potential, self.penalties[0].density(potential, epsilon)]
    }

    /// The potential g for a softmin.
    pub(super) fn best_target(&self, softmin: f64, epsilon: f64) -> f64 {
        self.penalties[1].step(softmin, epsilon)
    }

    /// The density of a row whose potential is a c-transform.
    pub(super) fn density_of_source(&self, potential: f64, epsilon: f64) -> f64 {
        self.penalties[0].density(potential, epsilon)
    }

    /// The derivative of a c-transform in the softmin, for potentials that are c-transforms.
    pub(super) fn slopes(&self, side: Side, potentials: &[f64], epsilon: f64) -> Vec<f64> {
        let penalty = &self.penalties[side.index()];
        potentials.iter().map(|&potential| penalty.slope(potential, epsilon)).collect()
    }

    /// The iterate of potentials f and g, where f is the c-transform of g and `transform` that of f.
    pub(super) fn iterate(&self, epsilon: f64, f: Vec<f64>, mut g: Vec<f64>, transform: Vec<f64>) -> Iterate {
        let [a, b] = &self.weights;
        let [source, target] = &self.penalties;
        // By its first-order condition the transform has the density d(transform); entries differ by the potentials.
        let mass = |j: usize, g: f64, transform: f64| {
            let exponent = (g - transform) / epsilon;
            let mass = match exponent < LARGEST_EXPONENT {
                true => b[j] * exponent.exp(),
                // Beside a tiny weight it may be all of the mass.
                false => (exponent + self.log_weights[1][j]).min(LARGEST_EXPONENT).exp(),
            };
            target.density(transform, epsilon) * mass
        };
        let mut marginal = Vec::with_capacity(b.len());
        let (mut dual, mut size, mut missed) = (CompensatedSum::default(), 0.0, CompensatedSum::default());
        let mut gain = |term: f64| {
            dual.add(term);
            size += term.abs();
        };
        for (j, &weight) in b.iter().enumerate() {
            if weight == 0.0 {
                g[j] = transform[j];
                marginal.push(0.0);
                continue;
            }
            let mass = mass(j, g[j], transform[j]);
            marginal.push(mass);
            gain(weight * target.dual(g[j]));
            missed.add((mass - weight * target.density(g[j], epsilon)).abs());
        }
        for (&weight, &f) in a.iter().zip(&f).filter(|(weight, _)| **weight > 0.0) {
            gain(weight * source.dual(f));
            if !source.is_balanced {
                gain(-epsilon * weight * source.density(f, epsilon));
            }
        }
        let (dual, dual_rounding) = (dual.value(), 4.0 * f64::EPSILON * size);
        Iterate { f, g, transform, marginal, dual, dual_rounding, error: missed.value() / self.mean_mass }
    }

    /// The derivative of the dual along a direction of g: <b d(g) - c, direction>.
    pub(super) fn slope_along(&self, epsilon: f64, iterate: &Iterate, direction: &[f64]) -> f64 {
        let asked = |(b, g): (&f64, &f64)| b * self.penalties[1].density(*g, epsilon);
        let asked = self.weights[1].iter().zip(&iterate.g).map(asked);
        asked.zip(&iterate.marginal).zip(direction).map(|((asked, c), direction)| (asked - c) * direction).sum()
    }
}

/// Exponents above this stand for "far too large", of densities and of masses.
const LARGEST_EXPONENT: f64 = 600.0;
