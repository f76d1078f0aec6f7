//! A ground metric learned through optimal transport (Cuturi, Avis 2014): which measurements tell penguins of six kinds apart,
//! three species of two sexes each?
//!
//! Penguins come in bags of one kind. The cost between two penguins is sum_k w_k (x_k - y_k)^2 with weights w of mean 1, that
//! the formula of the cost names as parameters. What is descended is the mean entropic cost between bags of one kind
//! over that between bags of two: its gradient in w needs no derivative by hand and no linear system.
//!
//! ```text
//! cargo run --release --example learn_metric
//! ```

#![expect(clippy::print_stdout, reason = "a program for the command line")]

mod penguins;

use std::error::Error;

use ot_core::{CostFormula, Epsilon, GeometryBuilder, Measure, PointCloud, Problem, Real};
use ot_cpu::CpuBackend;
use ot_diff::{Gradient, value_and_gradient};
use ot_solvers::Sinkhorn;

use crate::penguins::{Bag, MEASUREMENTS, bags};

/// Measurements.
const DIMENSION: usize = MEASUREMENTS.len();

/// Penguins in a bag.
const SIZE: usize = 2;

/// Steps of the descent, and their length in log w. Few: in the end the ratio prefers the one measurement that spreads most.
const STEPS: usize = 30;
const RATE: f64 = 4.0;

/// A sixteenth of the mean cost between any two penguins, with weights of mean 1.
const EPSILON: f64 = 0.5;

/// sum_k w_k (x_k - y_k)^2.
#[derive(Clone, Debug)]
struct Weighted([f64; DIMENSION]);

impl CostFormula for Weighted {
    fn cost<R: Real>(&self, x: &[R], y: &[R]) -> R {
        let mut sum = R::constant(0.0);
        for (axis, weight) in self.0.into_iter().enumerate() {
            let difference = x[axis] - y[axis];
            sum = sum + x[axis].parameter(axis as u16, weight) * difference * difference;
        }
        sum
    }

    fn fixed_dimension(&self) -> Option<usize> {
        Some(DIMENSION)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let all = bags(SIZE, 2014)?;
    // Every other bag is learned from.
    let (train, test): (Vec<_>, Vec<_>) = all.iter().enumerate().partition(|(index, _)| index % 2 == 0);
    let [train, test] = [train, test].map(|bags| bags.into_iter().map(|(_, bag)| bag).collect::<Vec<_>>());
    let backend = CpuBackend::<f64>::new(1)?;
    println!("bags                 {} to learn from, {} to try, {SIZE} penguins each", train.len(), test.len());

    let mut metric = Weighted([1.0; DIMENSION]);
    for step in 0..=STEPS {
        let (ratio, slopes) = ratio(&backend, &train, &metric)?;
        if step % 10 == 0 {
            let right = accuracy(&backend, &train, &test, &metric)?;
            println!(
                "step {step:>3}             within / between {ratio:.4}, nearest bag right {:.1} %",
                100.0 * right
            );
        }
        if step < STEPS {
            for (weight, slope) in metric.0.iter_mut().zip(slopes) {
                // d / d log w = w d / dw.
                *weight *= (-RATE * *weight * slope).exp();
            }
            let mean = metric.0.iter().sum::<f64>() / DIMENSION as f64;
            metric.0.iter_mut().for_each(|weight| *weight /= mean);
        }
    }
    for (name, weight) in MEASUREMENTS.iter().zip(metric.0) {
        println!("weight of {name:<15} {weight:.3}");
    }
    Ok(())
}

/// The entropic cost between two bags, and its gradient in w.
fn distance(
    backend: &CpuBackend<f64>,
    [one, other]: [&Bag; 2],
    metric: &Weighted,
) -> Result<(f64, Vec<f64>), ot_core::Error> {
    let [x, y] = [one, other].map(|bag| PointCloud::uniform(bag.measurements.as_slice(), DIMENSION));
    let (x, y) = (x?, y?);
    let geometry = backend.geometry(x.support(), y.support(), metric)?;
    let problem = Problem::new(geometry, &x, &y, Epsilon::Absolute(EPSILON))?;
    let (values, mut gradient) = value_and_gradient(&Sinkhorn::new().solve(&problem)?)?;
    Ok((values[0], gradient.parameters()?))
}

/// The mean cost between bags of one kind over that between bags of two, and its gradient in w.
fn ratio(
    backend: &CpuBackend<f64>,
    bags: &[&Bag],
    metric: &Weighted,
) -> Result<(f64, [f64; DIMENSION]), ot_core::Error> {
    // Sums of costs, of their gradients, and counts: within kinds, and between.
    let mut sums = [(0.0, [0.0; DIMENSION], 0.0); 2];
    for (index, one) in bags.iter().enumerate() {
        for other in &bags[..index] {
            let (cost, slopes) = distance(backend, [one, other], metric)?;
            let (total, gradient, count) = &mut sums[usize::from(one.kind != other.kind)];
            *total += cost;
            *count += 1.0;
            gradient.iter_mut().zip(slopes).for_each(|(sum, slope)| *sum += slope);
        }
    }
    let [(within, d_within, n), (between, d_between, m)] = sums;
    let ratio = (within / n) / (between / m);
    let slope = |axis: usize| ratio * (d_within[axis] / within - d_between[axis] / between);
    Ok((ratio, std::array::from_fn(slope)))
}

/// The share of bags whose nearest one is of their kind.
fn accuracy(
    backend: &CpuBackend<f64>,
    train: &[&Bag],
    test: &[&Bag],
    metric: &Weighted,
) -> Result<f64, ot_core::Error> {
    let mut right = 0;
    for bag in test {
        let mut nearest = (f64::INFINITY, "");
        for known in train {
            let (cost, _) = distance(backend, [bag, known], metric)?;
            if cost < nearest.0 {
                nearest = (cost, &known.kind);
            }
        }
        right += usize::from(nearest.1 == bag.kind);
    }
    Ok(right as f64 / test.len() as f64)
}
