//! Problems as plain numbers, which can be moved along a direction and solved again.

use ot_conformance::Seeded;
use ot_core::{
    Backend, Balanced, CostMatrix, CostParameter, Device, Epsilon, GeometryBuilder, Histogram, Measure, PointCloud,
    Problem, Side, Solution, SqEuclidean,
};
use ot_solvers::{Annealing, Sinkhorn};

use super::algebra::Sided;
use crate::support::{Penalty, penalty};

/// The dimension of all points.
pub const DIMENSION: usize = 2;

/// The data of a problem, or a direction in which they move.
#[derive(Clone, Debug)]
pub struct Data {
    /// What the cost is computed from.
    pub cost: Cost,
    /// a and b, column after column.
    pub weights: Sided<Vec<f64>>,
    /// Histograms of each side.
    pub columns: Sided<usize>,
    /// epsilon.
    pub epsilon: f64,
}

/// What a cost is computed from.
#[derive(Clone, Debug)]
pub enum Cost {
    /// Points of both sides, point by point, under the squared Euclidean distance.
    Points(Sided<Vec<f64>>),
    /// A matrix, row-major.
    Matrix(Vec<f64>),
}

/// The penalties of both marginals.
pub type Penalties = Sided<Penalty>;

/// Both marginals prescribed.
pub fn balanced() -> Penalties {
    Sided { source: penalty(Balanced), target: penalty(Balanced) }
}

/// Seeded uniform numbers in (-1, 1).
pub fn noise(seed: u64, len: usize) -> Vec<f64> {
    Seeded::new(seed).vector::<f64>(len, -1.0, 1.0)
}

impl Data {
    /// `source` and `target` points in the plane with uneven weights of the same mass.
    pub fn clouds(source: usize, target: usize) -> Self {
        let points = Sided { source: noise(1, DIMENSION * source), target: noise(2, DIMENSION * target) };
        Self { cost: Cost::Points(points), ..Self::weighted(source, target) }
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
            weights: Sided { source: weights(4, source), target: weights(5, target) },
            columns: Sided { source: 1, target: 1 },
            epsilon: 0.3,
        }
    }

    /// The direction in which nothing moves.
    pub fn rest(&self) -> Self {
        self.map(|_| 0.0)
    }

    /// A direction in which the points of a side move.
    pub fn moving_points(&self, side: Side, seed: u64) -> Self {
        let mut direction = self.rest();
        if let Cost::Points(points) = &mut direction.cost {
            points[side] = noise(seed, points[side].len());
        }
        direction
    }

    /// A direction in which the entries of the matrix move.
    pub fn moving_matrix(&self, seed: u64) -> Self {
        let mut direction = self.rest();
        if let Cost::Matrix(entries) = &mut direction.cost {
            *entries = noise(seed, entries.len());
        }
        direction
    }

    /// A direction in which the weights of a side move, and the mass of every histogram rests.
    pub fn moving_weights(&self, side: Side, seed: u64) -> Self {
        let mut direction = self.rest();
        let (len, columns) = (self.len(side), self.columns[side]);
        direction.weights[side] = (0..columns as u64)
            .flat_map(|column| {
                let moves = noise(seed + 100 * column, len);
                let mean = moves.iter().sum::<f64>() / len as f64;
                moves.into_iter().map(move |x| 0.1 * (x - mean))
            })
            .collect();
        direction
    }

    /// The direction in which epsilon grows.
    pub fn moving_epsilon(&self) -> Self {
        Self { epsilon: 1.0, ..self.rest() }
    }

    /// Number of atoms of a side.
    pub fn len(&self, side: Side) -> usize {
        self.weights[side].len() / self.columns[side]
    }

    /// self + step direction.
    pub fn moved(&self, direction: &Self, step: f64) -> Self {
        let add = |x: &[f64], d: &[f64]| x.iter().zip(d).map(|(x, d)| x + step * d).collect::<Vec<_>>();
        let both = |x: &Sided<Vec<f64>>, d: &Sided<Vec<f64>>| Sided {
            source: add(&x.source, &d.source),
            target: add(&x.target, &d.target),
        };
        let cost = match (&self.cost, &direction.cost) {
            (Cost::Points(x), Cost::Points(d)) => Cost::Points(both(x, d)),
            (Cost::Matrix(x), Cost::Matrix(d)) => Cost::Matrix(add(x, d)),
            _ => panic!("a direction of another cost"),
        };
        Self {
            cost,
            weights: both(&self.weights, &direction.weights),
            columns: self.columns,
            epsilon: self.epsilon + step * direction.epsilon,
        }
    }

    fn map(&self, of: impl Fn(f64) -> f64) -> Self {
        let all = |x: &[f64]| x.iter().map(|&x| of(x)).collect::<Vec<_>>();
        let both = |x: &Sided<Vec<f64>>| Sided { source: all(&x.source), target: all(&x.target) };
        Self {
            cost: match &self.cost {
                Cost::Points(points) => Cost::Points(both(points)),
                Cost::Matrix(entries) => Cost::Matrix(all(entries)),
            },
            weights: both(&self.weights),
            columns: self.columns,
            epsilon: of(self.epsilon),
        }
    }

    /// The problem on a backend.
    pub fn problem<D: Device<Elem = f64>>(
        &self,
        builder: &dyn GeometryBuilder<Device = D>,
        penalties: &Penalties,
    ) -> Problem<D> {
        let measure = |side: Side| -> Box<dyn Measure<f64>> {
            let (weights, columns) = (self.weights[side].clone(), self.columns[side]);
            match &self.cost {
                Cost::Points(points) => {
                    Box::new(PointCloud::batch(points[side].clone(), DIMENSION, weights, columns).unwrap())
                }
                Cost::Matrix(_) => Box::new(Histogram::batch(weights, columns).unwrap()),
            }
        };
        let (source, target) = (measure(Side::Source), measure(Side::Target));
        let geometry = match &self.cost {
            Cost::Points(_) => builder.geometry(source.support(), target.support(), &SqEuclidean),
            Cost::Matrix(entries) => {
                let (rows, columns) = (self.len(Side::Source), self.len(Side::Target));
                let matrix = CostMatrix::new(entries.clone(), rows, columns).unwrap();
                builder.geometry(source.support(), target.support(), &matrix)
            }
        };
        let Sided { source: of_source, target: of_target } = penalties;
        let epsilon = Epsilon::Absolute(self.epsilon);
        Problem::unbalanced(geometry.unwrap(), source.as_ref(), target.as_ref(), epsilon, of_source, of_target).unwrap()
    }

    /// The parameters of the cost and their values, as vectors on a backend.
    pub fn parameters<D: Device<Elem = f64>>(&self, backend: &dyn Backend<D>) -> Vec<(CostParameter, D::Vector)> {
        match &self.cost {
            Cost::Points(points) => {
                let of = |side: Side| {
                    let vector = backend.upload(&transposed(&points[side], DIMENSION), DIMENSION).unwrap();
                    (CostParameter::Points(side), vector)
                };
                vec![of(Side::Source), of(Side::Target)]
            }
            Cost::Matrix(entries) => {
                let columns = self.len(Side::Target);
                vec![(CostParameter::Matrix, backend.upload(&transposed(entries, columns), columns).unwrap())]
            }
        }
    }

    /// <self, gradient>, with a gradient in the parameters of the cost in the order of
    /// [`parameters`](Self::parameters).
    pub fn cost_pairing(&self, gradient: &[Vec<f64>]) -> f64 {
        let pair = |direction: &[f64], columns, gradient: &[f64]| dot(&transposed(direction, columns), gradient);
        match &self.cost {
            Cost::Points(points) => {
                pair(&points.source, DIMENSION, &gradient[0]) + pair(&points.target, DIMENSION, &gradient[1])
            }
            Cost::Matrix(entries) => pair(entries, self.len(Side::Target), &gradient[0]),
        }
    }
}

/// Converges to the last digits, whatever the rounding floor says about the very last.
pub fn solve<D: Device<Elem = f64>>(problem: &Problem<D>) -> Solution<D> {
    let solution = Sinkhorn::new().tolerance(1e-13).annealing(Annealing::Off).solve(problem).unwrap();
    for certificate in solution.certificates() {
        assert!(certificate.marginal_error < 1e-12, "{}: {certificate:?}", solution.status());
    }
    solution
}

/// The derivative at 0 of a function of one number: central differences of sixth order, whose steps are small against
/// the scale on which a solution at `epsilon` bends.
pub fn difference(data: &Data, of: impl Fn(f64) -> Vec<f64>) -> Vec<f64> {
    let unit = data.epsilon / 150.0;
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

/// Row-major entries, column after column.
fn transposed(values: &[f64], columns: usize) -> Vec<f64> {
    (0..columns).flat_map(|column| values.iter().skip(column).step_by(columns).copied()).collect()
}

/// Asserts that two lists of numbers agree, relative to the largest of what is expected.
#[track_caller]
pub fn assert_agree(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0_f64, |a, b| a.max(b.abs()));
    let size = largest(&mut expected.iter().copied());
    let error = largest(&mut found.iter().zip(expected).map(|(found, expected)| found - expected));
    assert!(size > 1e-4, "{what}: nothing to compare with");
    assert!(error <= tolerance * size, "{what}: {:e}\nfound    {found:?}\nexpected {expected:?}", error / size);
}
