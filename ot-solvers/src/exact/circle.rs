//! Transport on the circle, by the best place to cut it.
//!
//! On a circle of circumference L, the quantile functions of two distributions of mass M go on as F^-1(u + M) = F^-1(u) + L, and
//!
//! ```text
//! W_p^p = min over theta of  C(theta) = int_0^M |F^-1(u) - G^-1(u - theta)|^p du
//! ```
//!
//! (Delon, Salomon, Sobolevskii 2010). C is convex and, for atoms, piecewise affine: its one-sided derivatives are sums over
//! the atoms of one side, and the minimum is where they change sign. For p = 1 it is the median of the difference of the
//! distribution functions (Werman, Peleg, Melter, Kong 1986; Cabrelli, Molter 1995).
//!
//! Cumulative masses that agree within the rounding of their sums are one level, as on the [line](super::line): at a kink of
//! C, where atoms end together, none of them leaves a rest to be sent around the circle.

mod levels;
mod power;

use ot_core::{Error, Measure, PlanEntry, Scalar, cost::check_bound};

use self::{
    levels::{Lap, Levels, centred},
    power::Power,
};
use super::{
    SparsePlan,
    line::{PowerSum, QuantileFunction},
    masses::check_single,
};
use crate::unit::invertible_power_of_two;

/// Steps of a search; a bracket of the shift is at least halved by every second.
const STEPS: usize = 160;
/// Searches, each in a unit of its own.
const SEARCHES: usize = 64;
/// Below this part of the mass, powers of the distances that matter may have vanished in the unit of a search.
const VANISHING: f64 = 1e-150;

/// Optimal transport between two distributions on a circle for the cost d(x, y)^p, d the length of the shorter arc, p >= 1.
///
/// Found in O((n + m) log n) by bisection on the derivative of C. Masses of plan entries are differences of cumulative
/// weights, exact to the rounding of the whole mass. Powers are taken in a unit of the distances that matter, so that those
/// of no p leave the range.
///
/// ```
/// use ot_core::PointCloud;
/// use ot_solvers::exact::CircleTransport;
///
/// // Hours of a clock: from 11 to 1 and from 5 to 6.
/// let a = PointCloud::uniform(vec![11.0, 5.0], 1)?;
/// let b = PointCloud::uniform(vec![6.0, 1.0], 1)?;
/// let transport = CircleTransport::new(&a, &b, 12.0, 1.0)?;
/// assert_eq!(transport.transport_cost()?, 1.5);
/// assert_eq!(CircleTransport::new(&a, &b, 12.0, 2.0)?.transport_cost()?, 2.5);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct CircleTransport {
    source: Levels,
    target: Levels,
    shape: (usize, usize),
    circumference: f64,
    /// The mass that the levels are in units of, a power of two.
    mass_unit: f64,
    /// Levels that differ by no more are one.
    rounding: f64,
    shift: f64,
    cost: PowerSum,
}

/// A shift that was tried: C, and its derivatives from the left and from the right.
#[derive(Clone, Copy, Debug)]
struct Tried {
    theta: f64,
    cost: f64,
    slopes: [f64; 2],
}

impl CircleTransport {
    /// Transport between measures on points of one coordinate, taken modulo the circumference (arc lengths, or angles with a
    /// circumference of two pi). Weights that differ in total by rounding are scaled to the mass of the source.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a circumference that is not positive and finite or p that is below 1 or infinite,
    /// [`Error::CostOverflow`] for a circumference beyond the range; [`Error::DimensionMismatch`], those of
    /// [`QuantileFunction::of`]; [`Error::MassMismatch`]; [`Error::BatchMismatch`] and [`Error::Length`] for batches.
    pub fn new<T: Scalar>(
        source: &dyn Measure<T>,
        target: &dyn Measure<T>,
        circumference: f64,
        p: f64,
    ) -> Result<Self, Error> {
        if !(circumference > 0.0 && circumference.is_finite()) {
            let expected = "a finite number > 0";
            return Err(Error::Parameter { name: "the circumference of a circle", value: circumference, expected });
        }
        if !(p >= 1.0 && p.is_finite()) {
            let expected = "a finite number >= 1";
            return Err(Error::Parameter { name: "the order of a distance on the circle", value: p, expected });
        }
        check_bound::<f64>(circumference)?;
        if let (Some(x), Some(y)) = (source.support().points()?, target.support().points()?)
            && x.dimension() != y.dimension()
        {
            let (source_dimension, target_dimension) = (x.dimension(), y.dimension());
            return Err(Error::DimensionMismatch { source_dimension, target_dimension });
        }
        check_single(source, target)?;
        let (a, b) = (QuantileFunction::of(source, 0)?, QuantileFunction::of(target, 0)?);
        let (scale, mass_unit) = (a.scale_to(&b)?, invertible_power_of_two(a.mass()));
        let source = Levels::new(&a, circumference, mass_unit.recip());
        let target = Levels::new(&b, circumference, scale / mass_unit).with_mass(source.mass());
        let mut transport = Self {
            shape: (a.positions().len(), b.positions().len()),
            source,
            target,
            circumference,
            mass_unit,
            rounding: a.level_rounding(&b) / mass_unit,
            shift: 0.0,
            cost: PowerSum { sum: 0.0, mass_unit, distance_unit: 1.0, exponent: p },
        };
        transport.solve();
        check_bound::<f64>(transport.distance())?;
        Ok(transport)
    }

    /// <P, d^p>, the optimum.
    ///
    /// # Errors
    /// [`Error::CostOverflow`]: where the power is beyond the range, its root may still be known.
    pub fn transport_cost(&self) -> Result<f64, Error> {
        self.cost.value()
    }

    /// W_p, the p-th root of the [`transport_cost`](Self::transport_cost).
    #[must_use]
    pub fn distance(&self) -> f64 {
        self.cost.root()
    }

    /// The best theta, in [-M, M]: how much mass crosses the origin.
    #[must_use]
    pub fn shift(&self) -> f64 {
        self.shift * self.mass_unit
    }

    /// The optimal plan, by the indices of the measures: at most n + m entries.
    ///
    /// # Errors
    /// Those of [`SparsePlan::new`].
    pub fn plan(&self) -> Result<SparsePlan, Error> {
        let mut entries = Vec::with_capacity(self.shape.0 + self.shape.1);
        self.coupling(self.shift, |i, j, _, mass| {
            let (source, target) = (self.source.atom(i), self.target.atom(j));
            entries.push(PlanEntry { source, target, mass: mass * self.mass_unit });
        });
        SparsePlan::new(self.shape.0, self.shape.1, entries)
    }

    /// Finds the shift. The unit of the first search bounds all distances; where powers of those that matter vanish in it, the
    /// largest distance of the best coupling so far, which bounds those of the optimum but for light atoms, is the next.
    ///
    /// The optimum moves along shorter arcs; what rounding has left on a longer one pays the shorter.
    fn solve(&mut self) {
        let mut unit = 4.0 * invertible_power_of_two(self.circumference);
        for _ in 0..SEARCHES {
            let power = Power::new(unit, self.cost.exponent);
            self.shift = self.at_kink(self.search(power).theta);
            let (mut sum, mut largest) = (0.0, 0.0_f64);
            self.coupling(self.shift, |_, _, displacement, mass| {
                let arc = centred(displacement, self.circumference).abs();
                sum += mass * power.of(arc);
                largest = largest.max(arc);
            });
            (self.cost.sum, self.cost.distance_unit) = (sum, unit);
            if sum >= VANISHING || largest == 0.0 || largest == unit {
                return;
            }
            unit = largest;
        }
    }

    /// The minimum of C: the tangents at both ends of a bracket meet below the minimum, at the minimum itself once only one
    /// kink is left between them; halving keeps the bracket falling.
    fn search(&self, power: Power) -> Tried {
        let mass = self.source.mass();
        let evaluate = |theta: f64| Tried { theta, cost: self.cost(theta, power), slopes: self.slopes(theta, power) };
        let (mut low, mut high) = (evaluate(-mass), evaluate(mass));
        let mut best = if low.cost <= high.cost { low } else { high };
        for step in 0..STEPS {
            let middle = 0.5 * low.theta + 0.5 * high.theta;
            let (rise, fall) = (low.slopes[1], high.slopes[0]);
            let meeting = low.theta + (high.cost - low.cost - fall * (high.theta - low.theta)) / (rise - fall);
            let inside = |theta: f64| theta > low.theta && theta < high.theta;
            // The first step tries no shift at all, which is exact for equal distributions.
            let theta = if step % 2 == 1 && inside(meeting) { meeting } else { middle };
            if !inside(theta) {
                break;
            }
            let tried = evaluate(theta);
            if tried.cost <= best.cost {
                best = tried;
            }
            match tried.slopes {
                [_, right] if right < 0.0 => low = tried,
                [left, _] if left > 0.0 => high = tried,
                _ => return tried,
            }
        }
        best
    }

    /// The nearest shift at which a level of the target is one of the source, of those that rounding does not tell apart: C has its
    /// minimum at such a kink, and beside it a mass of the difference is sent around.
    fn at_kink(&self, theta: f64) -> f64 {
        let (x, y) = (&self.source, &self.target);
        let mut source = Lap { atom: 0, turn: (theta / x.mass()).floor() - 1.0 };
        let mut nearest = f64::INFINITY;
        for upper in y.cumulative() {
            let level = upper + theta;
            while source.end(x) < level - self.rounding {
                source.step(x);
            }
            let change = source.end(x) - level;
            if change.abs() < nearest.abs() {
                nearest = change;
            }
        }
        if nearest.abs() <= self.rounding { theta + nearest } else { theta }
    }

    /// C(theta).
    fn cost(&self, theta: f64, power: Power) -> f64 {
        let mut sum = 0.0;
        self.coupling(theta, |_, _, distance, mass| sum += mass * power.of(distance));
        sum
    }

    /// The derivatives of C from the left and from the right: as theta grows, every atom of the target takes over from the
    /// next one at its upper level.
    fn slopes(&self, theta: f64, power: Power) -> [f64; 2] {
        let (x, y) = (&self.source, &self.target);
        // The sources that hold a level just below and just above it.
        let start = (theta / x.mass()).floor() - 1.0;
        let mut below = Lap { atom: 0, turn: start };
        let mut above = below;
        let mut slopes = [0.0; 2];
        for (j, &upper) in y.cumulative().iter().enumerate() {
            let level = upper + theta;
            while below.end(x) < level - self.rounding {
                below.step(x);
            }
            while above.end(x) <= level + self.rounding {
                above.step(x);
            }
            let here = Lap { atom: j, turn: 0.0 };
            let mut next = here;
            next.step(y);
            for (slope, source) in slopes.iter_mut().zip([below, above]) {
                *slope += power.of(self.displacement(source, here)) - power.of(self.displacement(source, next));
            }
        }
        slopes
    }

    /// Visits the coupling of a shift: source, target, displacement and mass.
    fn coupling(&self, theta: f64, mut visit: impl FnMut(usize, usize, f64, f64)) {
        let (x, y) = (&self.source, &self.target);
        let mass = x.mass();
        // The first atom of the target that reaches above level 0.
        let mut target = Lap { atom: 0, turn: (-theta / mass).floor() - 1.0 };
        while target.end(y) + theta <= self.rounding {
            target.step(y);
        }
        let (mut i, mut level) = (0, 0.0);
        while i < x.cumulative().len() {
            let (source_end, target_end) = (x.cumulative()[i], target.end(y) + theta);
            let are_one = (source_end - target_end).abs() <= self.rounding;
            let end = if are_one { source_end } else { source_end.min(target_end) };
            if end > level {
                visit(i, target.atom, self.displacement(Lap { atom: i, turn: 0.0 }, target), end - level);
                level = end;
            }
            if are_one || source_end > target_end {
                target.step(y);
            }
            if are_one || source_end <= target_end {
                i += 1;
            }
        }
    }

    /// x - y.
    fn displacement(&self, source: Lap, target: Lap) -> f64 {
        let ((x, x_turns), (y, y_turns)) = (source.position(&self.source), target.position(&self.target));
        (x + (x_turns - y_turns) * self.circumference) - y
    }
}
