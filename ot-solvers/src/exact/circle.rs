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

use ot_core::{Error, Measure, PlanEntry, Scalar, cost::check_bound};

use super::{SparsePlan, line::QuantileFunction};

/// Steps of the search; a bracket of the shift is at least halved by every second.
const STEPS: usize = 160;

/// Optimal transport between two distributions on a circle for the cost d(x, y)^p, d the length of the shorter arc, p >= 1.
///
/// Found in O((n + m) log n) by bisection on the derivative of C. Masses of plan entries are differences of cumulated
/// weights, exact to the rounding of the whole mass.
///
/// ```
/// use ot_core::PointCloud;
/// use ot_solvers::exact::CircleTransport;
///
/// // Hours of a clock: from 11 to 1 and from 5 to 6.
/// let a = PointCloud::uniform(vec![11.0, 5.0], 1)?;
/// let b = PointCloud::uniform(vec![6.0, 1.0], 1)?;
/// let transport = CircleTransport::new(&a, &b, 12.0, 1.0)?;
/// assert_eq!(transport.transport_cost(), 1.5);
/// assert_eq!(CircleTransport::new(&a, &b, 12.0, 2.0)?.transport_cost(), 2.5);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct CircleTransport {
    source: Levels,
    target: Levels,
    shape: (usize, usize),
    circumference: f64,
    exponent: f64,
    shift: f64,
    transport_cost: f64,
}

impl CircleTransport {
    /// Transport between measures on points of one coordinate, taken modulo the circumference (arc lengths, or angles with a
    /// circumference of two pi). Weights that differ in total by rounding are scaled to the mass of the source.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a circumference that is not positive and finite or p that is below 1 or infinite; those of
    /// [`QuantileFunction::of`]; [`Error::MassMismatch`], [`Error::BatchMismatch`] for batches, [`Error::CostOverflow`].
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
        check_bound::<f64>(circumference.powf(p))?;
        let [source_columns, target_columns] =
            [source, target].map(|measure| measure.weights().map_or(1, |weights| weights.columns()));
        if (source_columns, target_columns) != (1, 1) {
            return Err(Error::BatchMismatch { source_columns, target_columns });
        }
        let (a, b) = (QuantileFunction::of(source, 0)?, QuantileFunction::of(target, 0)?);
        let scale = a.scale_to(&b)?;
        let mut transport = Self {
            shape: (a.positions().len(), b.positions().len()),
            source: Levels::new(&a, circumference, 1.0),
            target: Levels::new(&b, circumference, scale),
            circumference,
            exponent: p,
            shift: 0.0,
            transport_cost: 0.0,
        };
        // One mass, to the last bit.
        let mass = transport.source.mass();
        if let Some(last) = transport.target.cumulative.last_mut() {
            *last = mass;
        }
        transport.search();
        Ok(transport)
    }

    /// <P, d^p>, the optimum.
    #[must_use]
    pub fn transport_cost(&self) -> f64 {
        self.transport_cost
    }

    /// W_p, the p-th root of the [`transport_cost`](Self::transport_cost).
    #[must_use]
    pub fn distance(&self) -> f64 {
        self.transport_cost.powf(1.0 / self.exponent)
    }

    /// The best theta, in [-M, M]: how much mass crosses the origin.
    #[must_use]
    pub fn shift(&self) -> f64 {
        self.shift
    }

    /// The optimal plan, by the indices of the measures: at most n + m entries.
    ///
    /// # Errors
    /// Those of [`SparsePlan::new`].
    pub fn plan(&self) -> Result<SparsePlan, Error> {
        let mut entries = Vec::with_capacity(self.shape.0 + self.shape.1);
        self.coupling(self.shift, |i, j, _, mass| {
            entries.push(PlanEntry { source: self.source.atoms[i], target: self.target.atoms[j], mass });
        });
        SparsePlan::new(self.shape.0, self.shape.1, entries)
    }

    /// Finds the shift: the tangents at both ends of a bracket meet below the minimum, at the minimum itself once only one
    /// kink is left between them; halving keeps the bracket falling.
    fn search(&mut self) {
        let mass = self.source.mass();
        let evaluate = |theta: f64| (theta, self.cost(theta), self.slopes(theta));
        let (mut low, mut high) = (evaluate(-mass), evaluate(mass));
        let mut best = if low.1 <= high.1 { low } else { high };
        for step in 0..STEPS {
            let middle = 0.5 * low.0 + 0.5 * high.0;
            let (rise, fall) = (low.2[1], high.2[0]);
            let meeting = low.0 + (high.1 - low.1 - fall * (high.0 - low.0)) / (rise - fall);
            let inside = |theta: f64| theta > low.0 && theta < high.0;
            // The first step tries no shift at all, which is exact for equal distributions.
            let theta = if step % 2 == 1 && inside(meeting) { meeting } else { middle };
            if !inside(theta) {
                break;
            }
            let tried = evaluate(theta);
            if tried.1 <= best.1 {
                best = tried;
            }
            match tried.2 {
                [_, right] if right < 0.0 => low = tried,
                [left, _] if left > 0.0 => high = tried,
                _ => {
                    best = tried;
                    break;
                }
            }
        }
        (self.shift, self.transport_cost) = (best.0, best.1);
    }

    /// C(theta).
    fn cost(&self, theta: f64) -> f64 {
        let mut sum = 0.0;
        self.coupling(theta, |_, _, distance, mass| sum += mass * self.power(distance));
        sum
    }

    /// The derivatives of C from the left and from the right: as theta grows, every atom of the target takes over from the
    /// next one at its upper level.
    fn slopes(&self, theta: f64) -> [f64; 2] {
        let (x, y) = (&self.source, &self.target);
        // The sources that hold a level just below and just above it.
        let start = (theta / x.mass()).floor() - 1.0;
        let mut below = Lap { atom: 0, turn: start };
        let mut above = below;
        let mut slopes = [0.0; 2];
        for (j, &upper) in y.cumulative.iter().enumerate() {
            let level = upper + theta;
            while below.end(x) < level {
                below.step(x);
            }
            while above.end(x) <= level {
                above.step(x);
            }
            let (here, next) = if j + 1 < y.len() {
                (y.positions[j], y.positions[j + 1])
            } else {
                (y.positions[j], y.positions[0] + self.circumference)
            };
            for (slope, source) in slopes.iter_mut().zip([below, above]) {
                let at = x.positions[source.atom] + source.turn * self.circumference;
                *slope += self.power(at - here) - self.power(at - next);
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
        while target.end(y) + theta <= 0.0 {
            target.step(y);
        }
        let (mut i, mut level) = (0, 0.0);
        while i < x.len() {
            let (source_end, target_end) = (x.cumulative[i], target.end(y) + theta);
            let end = source_end.min(target_end);
            if end > level {
                let displacement = x.positions[i] - y.positions[target.atom] - target.turn * self.circumference;
                visit(i, target.atom, displacement, end - level);
                level = end;
            }
            if source_end <= target_end {
                i += 1;
            } else {
                target.step(y);
            }
        }
    }

    /// |displacement|^p.
    fn power(&self, displacement: f64) -> f64 {
        match self.exponent {
            1.0 => displacement.abs(),
            2.0 => displacement * displacement,
            p => displacement.abs().powf(p),
        }
    }
}

/// An atom, so many turns of the circle on.
#[derive(Clone, Copy, Debug)]
struct Lap {
    atom: usize,
    turn: f64,
}

impl Lap {
    /// The level up to which the atom reaches.
    fn end(self, levels: &Levels) -> f64 {
        levels.cumulative[self.atom] + self.turn * levels.mass()
    }

    /// On to the next atom.
    fn step(&mut self, levels: &Levels) {
        self.atom += 1;
        if self.atom == levels.len() {
            *self = Self { atom: 0, turn: self.turn + 1.0 };
        }
    }
}

/// Atoms of mass around the circle and the levels that they fill.
#[derive(Clone, Debug)]
struct Levels {
    /// In [0, L), increasing.
    positions: Vec<f64>,
    /// Indices of the measure.
    atoms: Vec<u32>,
    /// Mass up to and with each atom.
    cumulative: Vec<f64>,
}

impl Levels {
    fn new(function: &QuantileFunction, circumference: f64, scale: f64) -> Self {
        let around = |position: f64| {
            let rest = position.rem_euclid(circumference);
            // A tiny negative number is rounded to the circumference itself.
            if rest < circumference { rest } else { 0.0 }
        };
        let parts = function.positions().iter().zip(function.order()).zip(function.weights());
        let mut atoms: Vec<(f64, u32, f64)> = parts
            .filter(|(_, weight)| **weight > 0.0)
            .map(|((&position, &index), &weight)| (around(position), index, scale * weight))
            .collect();
        atoms.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut mass = 0.0;
        let cumulative = atoms.iter().map(|&(_, _, weight)| {
            mass += weight;
            mass
        });
        Self {
            cumulative: cumulative.collect(),
            positions: atoms.iter().map(|&(position, _, _)| position).collect(),
            atoms: atoms.iter().map(|&(_, index, _)| index).collect(),
        }
    }

    fn len(&self) -> usize {
        self.positions.len()
    }

    fn mass(&self) -> f64 {
        self.cumulative.last().copied().unwrap_or(0.0)
    }
}
