//! What is descended: a Sinkhorn loss of a given number of iterations, or a Gaussian discrepancy.

use ot_core::{Epsilon, Error, GeometryBuilder, Host, Measure, PointCloud, Problem, Side, SqEuclidean};
use ot_cpu::CpuBackend;
use ot_diff::{DiscrepancyGradient, Gradient, Objective, Trajectory, Unrolled};
use ot_solvers::MaximumMeanDiscrepancy;

use crate::iris::DIMENSION;

/// A loss between the model and the flowers.
#[derive(Copy, Clone, Debug)]
pub enum Loss {
    /// 2 W(model, data) - W(model, model) - W(data, data), W = <P_L, C>.
    Sinkhorn {
        /// epsilon.
        epsilon: f64,
        /// L.
        iterations: usize,
    },
    /// The squared discrepancy of a Gaussian kernel.
    Discrepancy {
        /// Its deviation.
        deviation: f64,
    },
}

impl Loss {
    /// As the table calls it.
    pub fn name(&self) -> String {
        match self {
            Loss::Sinkhorn { epsilon, .. } => format!("Sinkhorn, epsilon {epsilon}"),
            Loss::Discrepancy { deviation } => format!("Gaussian MMD, sigma {deviation}"),
        }
    }

    /// The loss at the points of the model, and its gradient in them.
    pub fn value_and_gradient(
        &self,
        backend: &CpuBackend<f64>,
        model: &[f64],
        data: &[f64],
    ) -> Result<(f64, Vec<f64>), Error> {
        let (x, y) = (PointCloud::uniform(model, DIMENSION)?, PointCloud::uniform(data, DIMENSION)?);
        match *self {
            Loss::Discrepancy { deviation } => {
                let discrepancy = MaximumMeanDiscrepancy::gaussian(deviation)?.between(backend, &x, &y)?;
                Ok((discrepancy.squared(), DiscrepancyGradient::of(&discrepancy).points(Side::Source)?))
            }
            Loss::Sinkhorn { epsilon, iterations } => {
                let run =
                    |one: &PointCloud<'_, f64>, other: &PointCloud<'_, f64>| -> Result<Trajectory<Host<f64>>, Error> {
                        let geometry = backend.geometry(one.support(), other.support(), &SqEuclidean)?;
                        let problem = Problem::new(geometry, one, other, Epsilon::Absolute(epsilon))?;
                        Unrolled::genevay_2017(iterations).run(&problem)
                    };
                let cost = Objective::TransportCost;
                let (mut across, mut own, mut rest) = (run(&x, &y)?, run(&x, &x)?, run(&y, &y)?);
                let value = 2.0 * across.value(cost)?[0] - own.value(cost)?[0] - rest.value(cost)?[0];
                let across = across.gradient(cost)?.points(Side::Source)?;
                let mut of_own = own.gradient(cost)?;
                let (first, second) = (of_own.points(Side::Source)?, of_own.points(Side::Target)?);
                let sum = |((across, first), second): ((&f64, &f64), &f64)| 2.0 * across - first - second;
                Ok((value, across.iter().zip(&first).zip(&second).map(sum).collect()))
            }
        }
    }
}
