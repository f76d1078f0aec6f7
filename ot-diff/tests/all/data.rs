//! Problems as plain numbers, which can be moved along a direction and solved again.

use ot_conformance::Seeded;
use ot_core::{
    Balanced, CostFormula, CostMatrix, Device, Epsilon, GeometryBuilder, Histogram, Kl, Measure, PointCloud, Problem,
    Real, RecordedPenalty, Scalar, Side, Solution, SqEuclidean, TotalVariation,
};
use ot_diff::{Output, Tangent};
use ot_solvers::{Annealing, Sinkhorn};

/// The dimension of all points.
pub const DIMENSION: usize = 2;

/// The data of a problem, or a direction in which they move.
#[derive(Clone, Debug)]
pub struct Data {
    /// What the cost is computed from.
    pub cost: Cost,
    /// a and b, column after column.
    pub weights: [Vec<f64>; 2],
    /// Histograms of each side.
    pub columns: [usize; 2],
    /// epsilon.
    pub epsilon: f64,
    /// The penalties of the marginals, or how their strengths move.
    pub penalties: [Penalty; 2],
}

/// What a cost is computed from.
#[derive(Clone, Debug)]
pub enum Cost {
    /// Points of both sides, point by point, under the squared Euclidean distance.
    Points([Vec<f64>; 2]),
    /// A matrix, row-major.
    Matrix(Vec<f64>),
    /// Points under a formula of two parameters.
    Formula([Vec<f64>; 2], [f64; 2]),
}

/// A penalty and its strength.
#[derive(Copy, Clone, Debug, PartialEq)]
pub enum Penalty {
    Balanced,
    Kl(f64),
    TotalVariation(f64),
}

/// theta_0 |x - y|^2 + sqrt(theta_1^2 + |x - y|^2).
#[derive(Clone, Debug)]
struct Hyperbolic([f64; 2]);

impl CostFormula for Hyperbolic {
    fn cost<R: Real>(&self, x: &[R], y: &[R]) -> R {
        let [square] = R::fold_coordinates(x, y, [-0.0], |[sum], x, y| [sum + (x - y) * (x - y)]);
        let width = square.parameter(1, self.0[1]);
        square.parameter(0, self.0[0]) * square + (width * width + square).sqrt()
    }
}

/// Seeded uniform numbers in (-1, 1).
pub fn noise(seed: u64, len: usize) -> Vec<f64> {
    Seeded::new(seed).vector::<f64>(len, -1.0, 1.0)
}

impl Penalty {
    fn recorded(self) -> RecordedPenalty {
        match self {
            Penalty::Balanced => RecordedPenalty::new(&Balanced),
            Penalty::Kl(rho) => RecordedPenalty::new(&Kl::new(rho).unwrap()),
            Penalty::TotalVariation(rho) => RecordedPenalty::new(&TotalVariation::new(rho).unwrap()),
        }
        .unwrap()
    }

    fn strength(self) -> Option<f64> {
        match self {
            Penalty::Balanced => None,
            Penalty::Kl(rho) | Penalty::TotalVariation(rho) => Some(rho),
        }
    }

    fn with(self, strength: f64) -> Self {
        match self {
            Penalty::Balanced => Penalty::Balanced,
            Penalty::Kl(_) => Penalty::Kl(strength),
            Penalty::TotalVariation(_) => Penalty::TotalVariation(strength),
        }
    }
}

impl Data {
    /// `source` and `target` points in the plane with uneven weights of the same mass.
    pub fn clouds(source: usize, target: usize) -> Self {
        let points = [noise(1, DIMENSION * source), noise(2, DIMENSION * target)];
        Self { cost: Cost::Points(points), ..Self::weighted(source, target) }
    }

    /// The same points under a formula with parameters.
    pub fn formula(source: usize, target: usize) -> Self {
        let points = [noise(1, DIMENSION * source), noise(2, DIMENSION * target)];
        Self { cost: Cost::Formula(points, [0.7, 0.4]), ..Self::weighted(source, target) }
    }

    /// A matrix of costs in (0, 2) with uneven weights of the same mass.
    pub fn matrix(source: usize, target: usize) -> Self {
        let entries = noise(3, source * target).into_iter().map(|x| x + 1.0).collect();
        Self { cost: Cost::Matrix(entries), ..Self::weighted(source, target) }
    }

    fn weighted(source: usize, target: usize) -> Self {
        let weights = |seed, len| {
            let weights: Vec<f64> = noise(seed, len).into_iter().map(|x| 1.2 + x).collect();
            let mass: f64 = weights.iter().sum();
            weights.into_iter().map(|weight| 1.3 * weight / mass).collect()
        };
        Self {
            cost: Cost::Matrix(Vec::new()),
            weights: [weights(4, source), weights(5, target)],
            columns: [1, 1],
            epsilon: 0.3,
            penalties: [Penalty::Balanced; 2],
        }
    }

    /// Under penalties.
    pub fn under(self, penalties: [Penalty; 2]) -> Self {
        Self { penalties, ..self }
    }

    /// The direction in which nothing moves.
    pub fn rest(&self) -> Self {
        let zeros = |x: &[f64]| vec![0.0; x.len()];
        let both = |x: &[Vec<f64>; 2]| x.each_ref().map(|x| zeros(x));
        Self {
            cost: match &self.cost {
                Cost::Points(points) => Cost::Points(both(points)),
                Cost::Matrix(entries) => Cost::Matrix(zeros(entries)),
                Cost::Formula(points, _) => Cost::Formula(both(points), [0.0; 2]),
            },
            weights: both(&self.weights),
            columns: self.columns,
            epsilon: 0.0,
            penalties: self.penalties.map(|penalty| penalty.with(0.0)),
        }
    }

    /// A direction in which the points of a side move.
    pub fn moving_points(&self, side: Side, seed: u64) -> Self {
        let mut direction = self.rest();
        if let Cost::Points(points) | Cost::Formula(points, _) = &mut direction.cost {
            points[side.index()] = noise(seed, points[side.index()].len());
        }
        direction
    }

    /// A direction in which the entries of the matrix, or the parameters of the formula, move.
    pub fn moving_cost(&self, seed: u64) -> Self {
        let mut direction = self.rest();
        match &mut direction.cost {
            Cost::Matrix(entries) => *entries = noise(seed, entries.len()),
            Cost::Formula(_, parameters) => *parameters = [0.8, -0.6],
            Cost::Points(_) => {}
        }
        direction
    }

    /// A direction in which the weights of a side move, and the mass of every histogram rests.
    pub fn moving_weights(&self, side: Side, seed: u64) -> Self {
        let mut direction = self.rest();
        let (len, columns) = (self.len(side), self.columns[side.index()]);
        direction.weights[side.index()] = (0..columns as u64)
            .flat_map(|column| {
                let moves = noise(seed + 100 * column, len);
                let mean = moves.iter().sum::<f64>() / len as f64;
                moves.into_iter().map(move |x| 0.1 * (x - mean))
            })
            .collect();
        direction
    }

    /// A direction in which both sides gain the same mass.
    pub fn growing(&self) -> Self {
        let mut direction = self.rest();
        for (side, seed) in Side::BOTH.into_iter().zip([26, 27]) {
            let moves = self.moving_weights(side, seed).weights[side.index()].clone();
            let gain = 0.07 / self.len(side) as f64;
            direction.weights[side.index()] = moves.into_iter().map(|x| x + gain).collect();
        }
        direction
    }

    /// The direction in which epsilon grows.
    pub fn moving_epsilon(&self) -> Self {
        Self { epsilon: 1.0, ..self.rest() }
    }

    /// The direction in which the strengths of the penalties grow.
    pub fn moving_penalties(&self) -> Self {
        Self { penalties: self.penalties.map(|penalty| penalty.with(1.0)), ..self.rest() }
    }

    /// Directions in which data move.
    pub fn directions(&self) -> Vec<(&'static str, Self)> {
        let mut directions =
            vec![("epsilon", self.moving_epsilon()), ("target weights", self.moving_weights(Side::Target, 21))];
        // A weight of zero has no weight below it to take a difference with.
        if self.weights[0].iter().all(|&weight| weight > 0.0) {
            directions.push(("source weights", self.moving_weights(Side::Source, 22)));
            directions.push(("masses", self.growing()));
        }
        if !matches!(self.cost, Cost::Matrix(_)) {
            directions.push(("source points", self.moving_points(Side::Source, 23)));
            directions.push(("target points", self.moving_points(Side::Target, 24)));
        }
        if !matches!(self.cost, Cost::Points(_)) {
            directions.push(("cost", self.moving_cost(25)));
        }
        if self.penalties != [Penalty::Balanced; 2] {
            directions.push(("penalties", self.moving_penalties()));
        }
        directions
    }

    /// The direction as the crate takes it.
    pub fn tangent<T: Scalar>(&self) -> Tangent<T> {
        let moves = |values: &[f64]| values.iter().any(|value| *value != 0.0);
        let mut tangent = Tangent::new().epsilon(self.epsilon);
        if let Cost::Points(points) | Cost::Formula(points, _) = &self.cost {
            for side in Side::BOTH {
                if moves(&points[side.index()]) {
                    tangent = tangent.points(side, narrow(&points[side.index()]));
                }
            }
        }
        match &self.cost {
            Cost::Matrix(entries) if moves(entries) => tangent = tangent.matrix(narrow(entries)),
            Cost::Formula(_, parameters) if moves(parameters) => tangent = tangent.parameters(narrow(parameters)),
            _ => {}
        }
        for side in Side::BOTH {
            if moves(&self.weights[side.index()]) {
                tangent = tangent.weights(side, narrow(&self.weights[side.index()]));
            }
            if let Some(strength) = self.penalties[side.index()].strength().filter(|strength| *strength != 0.0) {
                tangent = tangent.penalty(side, vec![strength]);
            }
        }
        tangent
    }

    /// Number of atoms of a side.
    pub fn len(&self, side: Side) -> usize {
        self.weights[side.index()].len() / self.columns[side.index()]
    }

    /// Columns of the batch.
    pub fn batch(&self) -> usize {
        self.columns[0].max(self.columns[1])
    }

    /// self + step direction.
    pub fn moved(&self, direction: &Self, step: f64) -> Self {
        let add = |x: &[f64], d: &[f64]| x.iter().zip(d).map(|(x, d)| x + step * d).collect::<Vec<_>>();
        let both = |x: &[Vec<f64>; 2], d: &[Vec<f64>; 2]| [add(&x[0], &d[0]), add(&x[1], &d[1])];
        let cost = match (&self.cost, &direction.cost) {
            (Cost::Points(x), Cost::Points(d)) => Cost::Points(both(x, d)),
            (Cost::Matrix(x), Cost::Matrix(d)) => Cost::Matrix(add(x, d)),
            (Cost::Formula(x, p), Cost::Formula(d, q)) => {
                Cost::Formula(both(x, d), [p[0] + step * q[0], p[1] + step * q[1]])
            }
            _ => panic!("a direction of another cost"),
        };
        let penalty = |side: usize| {
            let (own, moves) = (self.penalties[side], direction.penalties[side]);
            own.with(own.strength().unwrap_or(0.0) + step * moves.strength().unwrap_or(0.0))
        };
        Self {
            cost,
            weights: both(&self.weights, &direction.weights),
            columns: self.columns,
            epsilon: self.epsilon + step * direction.epsilon,
            penalties: [penalty(0), penalty(1)],
        }
    }

    /// The problem on a backend.
    pub fn problem<D: Device>(&self, builder: &dyn GeometryBuilder<Device = D>) -> Problem<D> {
        let measure = |side: Side| -> Box<dyn Measure<D::Elem>> {
            let (weights, columns) = (narrow(&self.weights[side.index()]), self.columns[side.index()]);
            match &self.cost {
                Cost::Points(points) | Cost::Formula(points, _) => {
                    let points = narrow(&points[side.index()]);
                    Box::new(PointCloud::batch(points, DIMENSION, weights, columns).unwrap())
                }
                Cost::Matrix(_) => Box::new(Histogram::batch(weights, columns).unwrap()),
            }
        };
        let (source, target) = (measure(Side::Source), measure(Side::Target));
        let geometry = match &self.cost {
            Cost::Points(_) => builder.geometry(source.support(), target.support(), &SqEuclidean),
            Cost::Formula(_, parameters) => {
                builder.geometry(source.support(), target.support(), &Hyperbolic(*parameters))
            }
            Cost::Matrix(entries) => {
                let (rows, columns) = (self.len(Side::Source), self.len(Side::Target));
                let matrix = CostMatrix::new(narrow::<D::Elem>(entries), rows, columns).unwrap();
                builder.geometry(source.support(), target.support(), &matrix)
            }
        };
        let [of_source, of_target] = self.penalties.map(Penalty::recorded);
        let epsilon = Epsilon::Absolute(self.epsilon);
        Problem::unbalanced(geometry.unwrap(), source.as_ref(), target.as_ref(), epsilon, &of_source, &of_target)
            .unwrap()
    }

    /// Outputs to be differentiated.
    pub fn outputs<T: Scalar>(&self) -> Vec<(&'static str, Output<T>)> {
        let values = |side: Side, seed| narrow(&noise(seed, 2 * self.len(side.opposite()) * self.batch()));
        let points = |side: Side, seed| narrow(&noise(seed, DIMENSION * self.len(side.opposite())));
        vec![
            ("source potential", Output::Potential(Side::Source)),
            ("target potential", Output::Potential(Side::Target)),
            ("transport cost", Output::TransportCost),
            ("source marginal", Output::Marginal(Side::Source)),
            ("target marginal", Output::Marginal(Side::Target)),
            ("product", Output::Product { side: Side::Source, values: values(Side::Source, 41) }),
            ("transposed product", Output::Product { side: Side::Target, values: values(Side::Target, 42) }),
            (
                "projection",
                Output::Projection { side: Side::Source, points: points(Side::Source, 43), dimension: DIMENSION },
            ),
            (
                "projection of the target",
                Output::Projection { side: Side::Target, points: points(Side::Target, 44), dimension: DIMENSION },
            ),
        ]
    }
}

/// Numbers of an element type.
pub fn narrow<T: Scalar>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&value| T::from_f64(value)).collect()
}

/// Numbers in f64.
pub fn wide<T: Scalar>(values: Vec<T>) -> Vec<f64> {
    values.into_iter().map(Scalar::to_f64).collect()
}

/// Converges to the last digits, whatever the rounding floor says about the very last.
pub fn solve<D: Device>(problem: &Problem<D>) -> Solution<D> {
    let unit = if D::Elem::EPSILON < 1e-10 { 1e-13 } else { 1e-6 };
    let solution = Sinkhorn::new().tolerance(unit).annealing(Annealing::Off).solve(problem).unwrap();
    for certificate in solution.certificates() {
        assert!(certificate.marginal_error < 10.0 * unit, "{}: {certificate:?}", solution.status());
    }
    solution
}

/// The derivative at 0 of a function of one number: central differences of sixth order, whose steps are small against
/// the scale on which a solution at `epsilon` bends.
pub fn difference(epsilon: f64, of: impl Fn(f64) -> Vec<f64>) -> Vec<f64> {
    let unit = epsilon / 150.0;
    let weights = [(1.0, 45.0 / 60.0), (2.0, -9.0 / 60.0), (3.0, 1.0 / 60.0)];
    let mut derivative = Vec::new();
    for (steps, weight) in weights {
        let (above, below) = (of(steps * unit), of(-steps * unit));
        derivative.resize(above.len(), 0.0);
        for (out, (above, below)) in derivative.iter_mut().zip(above.iter().zip(&below)) {
            *out += weight * (above - below) / unit;
        }
    }
    derivative
}

/// x . y
pub fn dot(x: &[f64], y: &[f64]) -> f64 {
    assert_eq!(x.len(), y.len());
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

/// Asserts that two lists of numbers agree, relative to the largest of what is expected, or to `floor` if that is larger.
#[track_caller]
pub fn assert_agree(what: &str, found: &[f64], expected: &[f64], tolerance: f64, floor: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0_f64, |a, b| a.max(b.abs()));
    let size = largest(&mut expected.iter().copied()).max(floor);
    let error = largest(&mut found.iter().zip(expected).map(|(found, expected)| found - expected));
    assert!(error <= tolerance * size, "{what}: {:e}\nfound    {found:?}\nexpected {expected:?}", error / size);
    assert!(found.iter().all(|value| value.is_finite()), "{what}: {found:?}");
}
