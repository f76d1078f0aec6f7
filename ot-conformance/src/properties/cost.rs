//! What every ground cost must be: of one mind about values, rows, programs, derivatives and bounds.

use ot_core::{BoundingBox, CostForm, GroundCost, Number, PointsView, Scalar};

use crate::{
    seeded::{Seeded, elements, numbers},
    verdict::{Trial, Verdict},
};

/// Points that a cost is tried on.
const POINTS: usize = 37;

/// The step of central differences.
const STEP: f64 = 1e-5;

/// Points of two clouds, far enough from kinks to be differentiated.
struct Clouds {
    dimension: usize,
    x: Vec<f64>,
    y: Vec<f64>,
}

impl Clouds {
    /// Points with coordinates of f32, so that both element types see the same.
    fn new(dimension: usize) -> Self {
        let mut seeded = Seeded::new(dimension as u64);
        let x = seeded.vector::<f32>(POINTS * dimension, 0.2, 1.0);
        let y = seeded.vector::<f32>(POINTS * dimension, 0.1, 1.3);
        Self { dimension, x, y }
    }

    fn pair(&self, index: usize) -> (&[f64], &[f64]) {
        let coordinates = index * self.dimension..(index + 1) * self.dimension;
        (&self.x[coordinates.clone()], &self.y[coordinates])
    }

    /// The pairs away from kinks of the cost along every axis, as far as a difference can tell: where
    /// forward and backward slope agree.
    fn smooth_pairs<'a>(&'a self, cost: &'a dyn GroundCost) -> impl Iterator<Item = (&'a [f64], &'a [f64])> + 'a {
        (0..POINTS).map(|index| self.pair(index)).filter(move |(x, y)| {
            let both = [*x, *y].concat();
            (0..both.len()).all(|axis| {
                let [before, here, after] = [-10.0 * STEP, 0.0, 10.0 * STEP].map(|step| moved(cost, &both, axis, step));
                let (forward, backward) = (after - here, here - before);
                (forward - backward).abs() <= 0.02 * (forward.abs() + backward.abs()) + 1e-9 * (1.0 + here.abs())
            })
        })
    }
}

/// The cost of points given as one slice, one coordinate of it moved.
fn moved(cost: &dyn GroundCost, both: &[f64], axis: usize, step: f64) -> f64 {
    let mut both = both.to_vec();
    both[axis] += step;
    let (x, y) = both.split_at(both.len() / 2);
    value(cost, x, y)
}

/// c(x, y).
fn value(cost: &dyn GroundCost, x: &[f64], y: &[f64]) -> f64 {
    let mut out = [f64::NAN];
    cost.costs_f64(x, y, &mut out);
    out[0]
}

/// The dimension that a cost is tried in.
fn dimension(cost: &dyn GroundCost) -> usize {
    cost.dimension().unwrap_or(3)
}

/// A row of costs has, for each point, the bits of the point alone; f32 agrees with f64; no cost is NaN
/// or minus infinity, and an infinite one is announced.
pub fn rows_are_values(cost: &dyn GroundCost) -> Verdict {
    let trial = Trial::new("rows are values", format!("{cost:?}"));
    let clouds = Clouds::new(dimension(cost));
    let narrow_points = elements::<f32>(&clouds.y);
    for index in 0..POINTS {
        let (x, _) = clouds.pair(index);
        for len in [0, 1, 5, 16, POINTS] {
            let points = &clouds.y[..len * clouds.dimension];
            let (mut row, mut narrow) = (vec![f64::NAN; len], vec![f32::NAN; len]);
            cost.costs_f64(x, points, &mut row);
            cost.costs_f32(&elements::<f32>(x), &narrow_points[..points.len()], &mut narrow);
            let alone: Vec<f64> = points.chunks_exact(clouds.dimension).map(|y| value(cost, x, y)).collect();
            trial.all_close("cost", &row, &alone, |_| 0.0)?;
            let unit = 64.0 * clouds.dimension as f64 * <f32 as Scalar>::EPSILON;
            trial.all_close("cost in f32", &numbers(&narrow), &alone, |point| unit * (1.0 + alone[point].abs()))?;
            let is_cost = |cost: &f64| *cost > f64::NEG_INFINITY;
            trial.holds(alone.iter().all(is_cost), || format!("a cost that is none among {alone:?}"))?;
            let announced = cost.may_forbid() || alone.iter().all(|cost| cost.is_finite());
            trial.holds(announced, || "forbidden pairs were not announced".into())?;
        }
    }
    Ok(())
}

/// The program of a cost gives its values.
pub fn programs_are_the_cost(cost: &dyn GroundCost) -> Verdict {
    let trial = Trial::new("programs are the cost", format!("{cost:?}"));
    let clouds = Clouds::new(dimension(cost));
    let Some(program) = cost.program(clouds.dimension) else { return Ok(()) };
    let program = program?;
    trial.holds(program.inputs() == 2 * clouds.dimension && program.outputs() == 1, || {
        format!("{} inputs and {} outputs", program.inputs(), program.outputs())
    })?;
    for index in 0..POINTS {
        let (x, y) = clouds.pair(index);
        let expected = value(cost, x, y);
        let found = program.evaluate(&[x, y].concat())?;
        trial.all_close(&format!("pair {index}"), &found, &[expected], |_| 1e-14 * expected.abs())?;
        let narrow: Vec<Number<f32>> = elements(&[x, y].concat()).into_iter().map(Number).collect();
        let narrow: Vec<f64> = program.evaluate(&narrow)?.into_iter().map(|number| number.0.into()).collect();
        let unit = 64.0 * clouds.dimension as f64 * <f32 as Scalar>::EPSILON;
        trial.all_close(&format!("pair {index} in f32"), &narrow, &[expected], |_| unit * (1.0 + expected.abs()))?;
    }
    Ok(())
}

/// The gradient of a cost is that of central differences, and finite at coincident points.
pub fn gradients_are_differences(cost: &dyn GroundCost) -> Verdict {
    let trial = Trial::new("gradients are differences", format!("{cost:?}"));
    let clouds = Clouds::new(dimension(cost));
    let mut gradient = vec![0.0; 2 * clouds.dimension];
    let mut tried = 0;
    for (x, y) in clouds.smooth_pairs(cost) {
        if !cost.gradient(x, y, &mut gradient) {
            return Ok(());
        }
        tried += 1;
        let both = [x, y].concat();
        let difference =
            |axis: usize| (moved(cost, &both, axis, STEP) - moved(cost, &both, axis, -STEP)) / (2.0 * STEP);
        let expected: Vec<f64> = (0..both.len()).map(difference).collect();
        trial.all_close("axis", &gradient, &expected, |axis| 1e-5 * (1.0 + expected[axis].abs()))?;
    }
    trial.holds(tried > POINTS / 4, || format!("only {tried} pairs away from kinks"))?;
    let (x, _) = clouds.pair(0);
    cost.gradient(x, x, &mut gradient);
    trial.holds(gradient.iter().all(|slope| slope.is_finite()), || format!("{gradient:?} at coincident points"))
}

/// The second derivative of a cost is that of central differences of its gradient.
pub fn second_derivatives_are_differences(cost: &dyn GroundCost) -> Verdict {
    let trial = Trial::new("second derivatives are differences", format!("{cost:?}"));
    let clouds = Clouds::new(dimension(cost));
    let direction = Seeded::new(3).vector::<f64>(2 * clouds.dimension, -1.0, 1.0);
    let mut product = vec![0.0; 2 * clouds.dimension];
    for (x, y) in clouds.smooth_pairs(cost) {
        let gradient = |size: f64| {
            let both: Vec<f64> = [x, y].concat().iter().zip(&direction).map(|(value, d)| value + size * d).collect();
            let (x, y) = both.split_at(clouds.dimension);
            let mut gradient = vec![0.0; both.len()];
            cost.gradient(x, y, &mut gradient).then_some(gradient)
        };
        let (Some(after), Some(before)) = (gradient(STEP), gradient(-STEP)) else { return Ok(()) };
        if !cost.second_derivative(x, y, &direction, &mut product) {
            return Ok(());
        }
        let expected: Vec<f64> =
            after.iter().zip(before).map(|(after, before)| (after - before) / (2.0 * STEP)).collect();
        let scale = expected.iter().fold(1.0, |scale: f64, value| scale.max(value.abs()));
        trial.all_close("axis", &product, &expected, |_| 1e-4 * scale)?;
    }
    Ok(())
}

/// A bound of the cost over two boxes is one, and a cost that claims to see differences only does.
pub fn claims_are_true(cost: &dyn GroundCost) -> Verdict {
    let trial = Trial::new("claims are true", format!("{cost:?}"));
    let clouds = Clouds::new(dimension(cost));
    let around = |points: &[f64]| PointsView::new(points, clouds.dimension).map(BoundingBox::of);
    let bound = cost.bound(&around(&clouds.x)?, &around(&clouds.y)?);
    for index in 0..POINTS {
        let (x, y) = clouds.pair(index);
        let mut row = vec![0.0; POINTS];
        cost.costs_f64(x, &clouds.y, &mut row);
        let largest = row.iter().filter(|cost| cost.is_finite()).fold(0.0_f64, |largest, cost| largest.max(cost.abs()));
        trial.holds(bound.is_none_or(|bound| largest <= bound), || format!("a cost of {largest} above {bound:?}"))?;
        let claimed = match cost.form() {
            CostForm::SqEuclidean { scale } => Some(scale * x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum::<f64>()),
            CostForm::PowerOfNorm { norm, exponent } => {
                let sizes = || x.iter().zip(y).map(|(x, y)| (x - y).abs());
                let length = if norm.is_infinite() {
                    sizes().fold(0.0, f64::max)
                } else {
                    sizes().map(|size| size.powf(norm)).sum::<f64>().powf(1.0 / norm)
                };
                Some(length.powf(exponent))
            }
            _ => None,
        };
        if let Some(claimed) = claimed {
            trial.close("the form", value(cost, x, y), claimed, 1e-12 * (1.0 + claimed.abs()))?;
        }
    }
    Ok(())
}

/// A cost that can be shared is the same cost.
pub fn shared_costs_are_the_cost(cost: &dyn GroundCost) -> Verdict {
    let trial = Trial::new("shared costs are the cost", format!("{cost:?}"));
    let clouds = Clouds::new(dimension(cost));
    let Some(shared) = cost.shared() else { return Ok(()) };
    for index in 0..POINTS {
        let (x, y) = clouds.pair(index);
        trial.close(format_args!("pair {index}"), value(shared.as_ref(), x, y), value(cost, x, y), 0.0)?;
        let (mut mine, mut theirs) = (vec![0.0; 2 * clouds.dimension], vec![0.0; 2 * clouds.dimension]);
        let (know, knows) = (cost.gradient(x, y, &mut mine), shared.gradient(x, y, &mut theirs));
        trial.holds(know == knows && numbers(&mine) == numbers(&theirs), || "another gradient".into())?;
    }
    Ok(())
}
