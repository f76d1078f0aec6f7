//! Two measures and a cost: a matrix, or a formula between points.

use ot_core::{CostMatrix, Error, GroundCost, Histogram, Measure, PointCloud, Scalar};

use super::{
    generate::{below, clouds, costs, narrow, one_of, percent},
    ground::Ground,
    report::Report,
};
use crate::seeded::Seeded;

/// What a solver is given.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Weights of source and target.
    pub weights: [Vec<f64>; 2],
    /// Costs of all pairs, row by row, in f64.
    pub costs: Vec<f64>,
    /// Where the costs come from if they are no matrix.
    pub points: Option<Points>,
}

/// Points with a cost.
#[derive(Clone, Debug)]
pub struct Points {
    /// Of source and target.
    pub coordinates: [Vec<f64>; 2],
    /// Coordinates of a point.
    pub dimension: usize,
    /// The cost.
    pub ground: Ground,
}

/// Numbers of atoms: mostly a few, often one of one side.
pub fn sizes(random: &mut Seeded) -> [usize; 2] {
    let few = |random: &mut Seeded| 1 + below(random, 5);
    match below(random, 8) {
        0 => [1, few(random)],
        1 => [few(random), 1],
        2 => [2, 7],
        _ => [few(random), few(random)],
    }
}

impl Instance {
    /// A matrix or points for given weights.
    pub fn draw<T: Scalar>(random: &mut Seeded, weights: [Vec<f64>; 2]) -> Self {
        let [n, m] = [weights[0].len(), weights[1].len()];
        if percent(random, 60) {
            return Self { weights, costs: costs::<T>(random, n, m), points: None };
        }
        Self::between_points::<T>(random, weights)
    }

    /// Points for given weights.
    pub fn between_points<T: Scalar>(random: &mut Seeded, weights: [Vec<f64>; 2]) -> Self {
        let dimension = one_of(random, &[1, 1, 2, 3, 5]);
        let coordinates = clouds::<T>(random, [weights[0].len(), weights[1].len()], dimension, T::MAX / 64.0);
        let ground = Ground::draw(random);
        let costs = ground.table(&coordinates[0], &coordinates[1], dimension);
        Self { weights, costs, points: Some(Points { coordinates, dimension, ground }) }
    }

    /// Tells the report what is given.
    pub fn describe<T: Scalar>(&self, report: &mut Report) {
        report.given("element", T::NAME);
        report.given("a", &self.weights[0]);
        report.given("b", &self.weights[1]);
        match &self.points {
            Some(Points { coordinates: [x, y], dimension, ground }) => {
                report.given("x", x);
                report.given("y", y);
                report.given("dimension", dimension);
                report.given("cost", ground);
            }
            None => report.given("costs", &self.costs),
        }
    }

    /// Both measures.
    ///
    /// # Errors
    /// Those of the measures.
    pub fn measures<T: Scalar>(&self) -> Result<[Box<dyn Measure<T>>; 2], Error> {
        Ok([self.measure(0, &self.weights[0])?, self.measure(1, &self.weights[1])?])
    }

    /// Weights on the support of a side.
    ///
    /// # Errors
    /// Those of the measure.
    pub fn measure<T: Scalar>(&self, side: usize, weights: &[f64]) -> Result<Box<dyn Measure<T>>, Error> {
        let weights = narrow::<T>(weights);
        Ok(match &self.points {
            Some(points) => {
                Box::new(PointCloud::new(narrow::<T>(&points.coordinates[side]), points.dimension, weights)?)
            }
            None => Box::new(Histogram::new(weights)?),
        })
    }

    /// The cost.
    ///
    /// # Errors
    /// Those of the cost.
    pub fn cost<T: Scalar>(&self) -> Result<Box<dyn GroundCost>, Error> {
        Ok(match &self.points {
            Some(points) => points.ground.cost()?,
            None => Box::new(CostMatrix::new(narrow::<T>(&self.costs), self.weights[0].len(), self.weights[1].len())?),
        })
    }

    /// Is there a cost that the element type cannot compute with?
    #[must_use]
    pub fn overflows<T: Scalar>(&self) -> bool {
        // A bound of the costs is allowed to see further than any pair: across both clouds, in every coordinate.
        let margin = if self.points.is_some() { 1e-6 } else { 1.0 };
        let finite = self.points.is_some();
        self.costs.iter().any(|&cost| cost.abs() > margin * T::LARGEST_COST && (finite || cost < f64::INFINITY))
    }

    /// May the costs of points be refused, as too small for normal numbers or too large?
    #[must_use]
    pub fn leaves_range<T: Scalar>(&self) -> bool {
        let largest = self.costs.iter().fold(0.0_f64, |largest, cost| largest.max(cost.abs()));
        self.overflows::<T>() || (self.points.is_some() && largest < 1e3 * T::TINY)
    }

    /// May sums over plans be refused?
    #[must_use]
    pub fn sums_leave_range<T: Scalar>(&self) -> bool {
        let [a, b]: [f64; 2] = [0, 1].map(|side| self.weights[side].iter().sum());
        // Of larger masses one over the mass, which densities are of the size of, has too few digits.
        let largest = (1e-9 * T::MAX).min(0.5 * T::EPSILON / T::TINY);
        a.max(b) > largest || self.overflows_as_product()
    }

    /// May the objective of entropy be refused, of which the product of the masses times epsilon is a part?
    #[must_use]
    pub fn entropy_leaves_range<T: Scalar>(&self, epsilon: f64) -> bool {
        let [a, b]: [f64; 2] = [0, 1].map(|side| self.weights[side].iter().sum());
        a * b * epsilon.max(1.0) > 1e-6 * f64::MAX || self.sums_leave_range::<T>()
    }

    /// How far a cost may be off by rounding beside its own: of cosines the root is known to a rounding, norms of powers are to the
    /// roundings of a power and a root, and distances between denormal numbers to the smallest number.
    #[must_use]
    pub fn cost_error<T: Scalar>(&self) -> f64 {
        let Some(points) = &self.points else { return 0.0 };
        let largest = self.costs.iter().fold(0.0_f64, |largest, cost| largest.max(*cost));
        let degree = match points.ground {
            Ground::Cosine => return 8.0 * T::EPSILON * (largest.sqrt() + T::EPSILON),
            Ground::SqEuclidean | Ground::HalfSqEuclidean => 2.0,
            Ground::PowerOfDistance(p) => p,
            _ => 1.0,
        };
        let of_powers = if matches!(points.ground, Ground::PNorm(_)) { 4.0 * T::EPSILON * largest } else { 0.0 };
        let [x, y] = &points.coordinates;
        let distances = Ground::Euclidean.table(x, y, points.dimension);
        let pairs = distances.iter().zip(&self.costs).filter(|(distance, _)| **distance > 0.0);
        // The difference of powers, where the smallest number is not small beside the distance.
        let smallest = 8.0 * T::TINY * T::EPSILON;
        pairs.fold(of_powers, |error: f64, (distance, cost)| {
            let relative = (1.0 + smallest / distance).powf(degree) - 1.0;
            if *distance < T::TINY { error.max(cost * relative) } else { error }
        })
    }

    /// Can a cost times a mass leave the range of f64?
    #[must_use]
    pub fn overflows_as_product(&self) -> bool {
        let mass: f64 = self.weights.iter().flatten().sum();
        let finite = self.costs.iter().filter(|cost| cost.is_finite());
        finite.fold(0.0_f64, |largest, cost| largest.max(cost.abs())) * mass.max(1.0) > 1e300
    }

    /// Is a pair forbidden?
    #[must_use]
    pub fn forbids(&self) -> bool {
        self.costs.contains(&f64::INFINITY)
    }
}
