//! What every ground cost must be: of one mind about values, rows, programs, derivatives and bounds.

use ot_core::{BoundingBox, CostForm, Number, PointsView, Scalar};

use crate::{
    cost_case::{CostCase, POINTS},
    seeded::{Seeded, elements, numbers},
    verdict::{Trial, Verdict},
};

/// A row of costs has, for each point, the bits of the point alone; f32 agrees with f64; no cost is NaN
/// or minus infinity, and an infinite one is announced.
pub fn rows_are_values(case: &CostCase) -> Verdict {
    let trial = Trial::new("rows are values", case.name());
    let (cost, clouds) = (case.cost(), Clouds::new(case));
    let narrow_points = elements::<f32>(&clouds.y);
    for index in 0..POINTS {
        let (x, _) = clouds.pair(index);
        for len in [0, 1, 5, 16, POINTS] {
            let points = &clouds.y[..len * clouds.dimension];
            let mut alone = Vec::with_capacity(len);
            for y in points.chunks_exact(clouds.dimension) {
                let value = case.value(x, y);
                trial.holds(value > f64::NEG_INFINITY, || format!("the cost between {x:?} and {y:?} is {value}"))?;
                let is_announced = value.is_finite() || cost.may_forbid();
                trial.holds(is_announced, || format!("the pair {x:?}, {y:?} is forbidden, and not announced"))?;
                alone.push(value);
            }
            let (mut row, mut narrow) = (vec![f64::NAN; len], vec![f32::NAN; len]);
            cost.costs_f64(x, points, &mut row);
            cost.costs_f32(&elements::<f32>(x), &narrow_points[..points.len()], &mut narrow);
            let trial = trial.at(format_args!("the row of {x:?}"));
            trial.all_close("cost", &row, &alone, |_| 0.0)?;
            let unit = 64.0 * clouds.dimension as f64 * <f32 as Scalar>::EPSILON;
            trial.all_close("cost in f32", &numbers(&narrow), &alone, |point| unit * (1.0 + alone[point].abs()))?;
        }
    }
    Ok(())
}

/// The program of a cost gives its values.
pub fn programs_are_the_cost(case: &CostCase) -> Verdict {
    let trial = Trial::new("programs are the cost", case.name());
    let clouds = Clouds::new(case);
    let Some(program) = case.cost().program(clouds.dimension) else { return Ok(()) };
    let program = program?;
    trial.holds(program.inputs() == 2 * clouds.dimension && program.outputs() == 1, || {
        format!("{} inputs and {} outputs", program.inputs(), program.outputs())
    })?;
    for index in 0..POINTS {
        let (x, y) = clouds.pair(index);
        let expected = case.value(x, y);
        let found = program.evaluate(&[x, y].concat())?;
        trial.all_close(&format!("pair {index}"), &found, &[expected], |_| 1e-14 * expected.abs())?;
        let narrow: Vec<Number<f32>> = elements(&[x, y].concat()).into_iter().map(Number).collect();
        let narrow: Vec<f64> = program.evaluate(&narrow)?.into_iter().map(|number| number.0.into()).collect();
        let unit = 64.0 * clouds.dimension as f64 * <f32 as Scalar>::EPSILON;
        trial.all_close(&format!("pair {index} in f32"), &narrow, &[expected], |_| unit * (1.0 + expected.abs()))?;
    }
    Ok(())
}

/// The gradient of a cost is that of central differences; at points that coincide too, where the cost is smooth there,
/// and finite where it is not.
pub fn gradients_are_differences(case: &CostCase) -> Verdict {
    let trial = Trial::new("gradients are differences", case.name());
    let (clouds, step) = (Clouds::new(case), case.step());
    let mut gradient = vec![0.0; 2 * clouds.dimension];
    let mut tried = 0;
    for (x, y) in clouds.smooth_pairs(case) {
        if !case.cost().gradient(x, y, &mut gradient) {
            return Ok(());
        }
        tried += 1;
        let both = [x, y].concat();
        let difference =
            |axis: usize| (moved(case, &both, axis, step) - moved(case, &both, axis, -step)) / (2.0 * step);
        let expected: Vec<f64> = (0..both.len()).map(difference).collect();
        trial.all_close("axis", &gradient, &expected, |axis| 1e-5 * (1.0 + expected[axis].abs()))?;
    }
    trial.holds(tried > POINTS / 4, || format!("only {tried} pairs away from kinks"))?;
    for both in clouds.coincident_pairs() {
        let (x, y) = both.split_at(clouds.dimension);
        case.cost().gradient(x, y, &mut gradient);
        trial.holds(gradient.iter().all(|slope| slope.is_finite()), || format!("{gradient:?} at {x:?} and {y:?}"))?;
        for (axis, slope) in gradient.iter().enumerate() {
            let [before, here, after] = [-step, 0.0, step].map(|step| moved(case, &both, axis, step));
            let (forward, backward) = ((after - here) / step, (here - before) / step);
            let middle = 0.5 * (forward + backward);
            if (forward - backward).abs() <= 1e-3 * (1.0 + middle.abs()) {
                let trial = trial.at(format_args!("{x:?} and {y:?}"));
                trial.close(format_args!("axis {axis}"), *slope, middle, 1e-3 * (1.0 + middle.abs()))?;
            }
        }
    }
    Ok(())
}

/// The second derivative of a cost is that of central differences of its gradient; at points that coincide too, where
/// the gradient is smooth there, and never NaN.
pub fn second_derivatives_are_differences(case: &CostCase) -> Verdict {
    let trial = Trial::new("second derivatives are differences", case.name());
    let (cost, clouds, step) = (case.cost(), Clouds::new(case), case.step());
    let direction = Seeded::new(3).vector::<f64>(2 * clouds.dimension, -1.0, 1.0);
    // The difference of gradients along the direction, over a step.
    let difference = |both: &[f64], step: f64| {
        let gradient = |size: f64| {
            let both: Vec<f64> = both.iter().zip(&direction).map(|(value, d)| value + size * d).collect();
            let (x, y) = both.split_at(clouds.dimension);
            let mut gradient = vec![0.0; both.len()];
            cost.gradient(x, y, &mut gradient).then_some(gradient)
        };
        let (after, before) = (gradient(step)?, gradient(-step)?);
        Some(after.iter().zip(before).map(|(after, before)| (after - before) / (2.0 * step)).collect::<Vec<f64>>())
    };
    let scale = |values: &[f64]| values.iter().fold(1.0, |scale: f64, value| scale.max(value.abs()));
    let mut product = vec![0.0; 2 * clouds.dimension];
    for (x, y) in clouds.smooth_pairs(case) {
        let Some(expected) = difference(&[x, y].concat(), step) else { return Ok(()) };
        if !cost.second_derivative(x, y, &direction, &mut product) {
            return Ok(());
        }
        trial.all_close("axis", &product, &expected, |_| 1e-4 * scale(&expected))?;
    }
    for both in clouds.coincident_pairs() {
        let (x, y) = both.split_at(clouds.dimension);
        cost.second_derivative(x, y, &direction, &mut product);
        let trial = trial.at(format_args!("{x:?} and {y:?}"));
        trial.holds(product.iter().all(|value| !value.is_nan()), || format!("{product:?}"))?;
        // At a kink of the gradient the differences depend on the step.
        let (Some(expected), Some(wider)) = (difference(&both, step), difference(&both, 8.0 * step)) else {
            return Ok(());
        };
        let size = 1e-4 * scale(&expected);
        if expected.iter().zip(&wider).all(|(near, wide)| (near - wide).abs() <= size) {
            trial.all_close("axis", &product, &expected, |_| 2.0 * size)?;
        }
    }
    Ok(())
}

/// A cost that claims to be one of a known form is.
pub fn claims_are_true(case: &CostCase) -> Verdict {
    let trial = Trial::new("claims are true", case.name());
    let clouds = Clouds::new(case);
    for index in 0..POINTS {
        let (x, y) = clouds.pair(index);
        let claimed = match case.cost().form() {
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
            trial.close("the form", case.value(x, y), claimed, 1e-12 * (1.0 + claimed.abs()))?;
        }
    }
    Ok(())
}

/// Bounds of the cost over two boxes are bounds, from above and from below: between points within, between corners, and for
/// boxes around fewer points.
pub fn bounds_are_bounds(case: &CostCase) -> Verdict {
    let trial = Trial::new("bounds are bounds", case.name());
    let clouds = Clouds::new(case);
    let pairs = (0..POINTS).flat_map(|i| (0..POINTS).map(move |j| (i, j)));
    let inner = pairs.map(|(i, j)| [clouds.pair(i).0, clouds.pair(j).1].map(<[f64]>::to_vec));
    bounded(case, &trial.at("points"), &inner.collect::<Vec<_>>())?;
    // All pairs of corners in up to three dimensions, and some beyond.
    let mut seeded = Seeded::new(21);
    let beyond = (0..64).map(|_| seeded.bits()).collect::<Vec<_>>();
    let corners = (0..64).chain(beyond).map(|bits| case.corners(bits));
    bounded(case, &trial.at("corners"), &corners.collect::<Vec<_>>())?;
    let first = [clouds.pair(0).0, clouds.pair(0).1].map(<[f64]>::to_vec);
    bounded(case, &trial.at("one pair"), &[first])
}

/// Are the costs of some pairs within the bounds of the boxes around them?
fn bounded(case: &CostCase, trial: &Trial, pairs: &[[Vec<f64>; 2]]) -> Verdict {
    let around = |side: usize| {
        let points = pairs.iter().flat_map(|pair| pair[side].iter().copied()).collect::<Vec<_>>();
        PointsView::new(&points, case.dimension()).map(BoundingBox::of)
    };
    let (source, target) = (around(0)?, around(1)?);
    let (bound, least) = (case.cost().bound(&source, &target), case.cost().least(&source, &target));
    for [x, y] in pairs {
        let value = case.value(x, y);
        let is_below = bound.is_none_or(|bound| !value.is_finite() || value.abs() <= bound);
        trial.holds(is_below, || format!("the cost between {x:?} and {y:?} is {value}, above the bound {bound:?}"))?;
        let is_above = least.is_none_or(|least| least <= value);
        trial.holds(is_above, || format!("the cost between {x:?} and {y:?} is {value}, below the least {least:?}"))?;
    }
    Ok(())
}

/// A cost that can be shared is the same cost.
pub fn shared_costs_are_the_cost(case: &CostCase) -> Verdict {
    let trial = Trial::new("shared costs are the cost", case.name());
    let clouds = Clouds::new(case);
    let Some(shared) = case.cost().shared() else { return Ok(()) };
    for index in 0..POINTS {
        let (x, y) = clouds.pair(index);
        let mut theirs = [f64::NAN];
        shared.costs_f64(x, y, &mut theirs);
        trial.close(format_args!("pair {index}"), theirs[0], case.value(x, y), 0.0)?;
        let (mut mine, mut theirs) = (vec![0.0; 2 * clouds.dimension], vec![0.0; 2 * clouds.dimension]);
        let (know, knows) = (case.cost().gradient(x, y, &mut mine), shared.gradient(x, y, &mut theirs));
        trial.holds(know == knows && numbers(&mine) == numbers(&theirs), || "another gradient".into())?;
    }
    Ok(())
}

/// Points of two clouds.
struct Clouds {
    dimension: usize,
    x: Vec<f64>,
    y: Vec<f64>,
}

impl Clouds {
    fn new(case: &CostCase) -> Self {
        let [x, y] = case.clouds();
        Self { dimension: case.dimension(), x, y }
    }

    fn pair(&self, index: usize) -> (&[f64], &[f64]) {
        let coordinates = index * self.dimension..(index + 1) * self.dimension;
        (&self.x[coordinates.clone()], &self.y[coordinates])
    }

    /// The pairs away from kinks of the cost along every axis, as far as a difference can tell: where
    /// forward and backward slope agree.
    fn smooth_pairs<'a>(&'a self, case: &'a CostCase) -> impl Iterator<Item = (&'a [f64], &'a [f64])> + 'a {
        let step = 10.0 * case.step();
        (0..POINTS).map(|index| self.pair(index)).filter(move |(x, y)| {
            let both = [*x, *y].concat();
            (0..both.len()).all(|axis| {
                let [before, here, after] = [-step, 0.0, step].map(|step| moved(case, &both, axis, step));
                let (forward, backward) = (after - here, here - before);
                (forward - backward).abs() <= 0.02 * (forward.abs() + backward.abs()) + 1e-9 * (1.0 + here.abs())
            })
        })
    }

    /// Pairs of points that coincide, or have their first coordinate in common, x then y.
    fn coincident_pairs(&self) -> [Vec<f64>; 2] {
        let (x, y) = self.pair(0);
        [[x, x].concat(), [x, &x[..1], &y[1..]].concat()]
    }
}

/// The cost of points given as one slice, one coordinate of it moved.
fn moved(case: &CostCase, both: &[f64], axis: usize, step: f64) -> f64 {
    let mut both = both.to_vec();
    both[axis] += step;
    let (x, y) = both.split_at(both.len() / 2);
    case.value(x, y)
}
