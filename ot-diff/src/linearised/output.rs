//! What can be read off a solution and differentiated.

use ot_core::{Device, Error, PlanView, Scalar, Side};

use super::Linearised;
use crate::{
    algebra::{Sided, column_major, host, row_major},
    tangent::check,
};

/// A number, or a list of numbers, that a solution determines. A batch gives those of one column after the other.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Output<T> {
    /// The potential of a side: n numbers. Where both marginals are prescribed, that of the gauge <a, f> = <b, g>, which moves
    /// with the weights.
    Potential(Side),
    /// <P, C>, the cost without entropy: one number. The sharp cost of an entropic plan.
    TransportCost,
    /// The marginal of the plan, P 1 or P^T 1: n numbers. Prescribed marginals do not move but with their weights.
    Marginal(Side),
    /// The plan applied to values of the other side, P v: n numbers a channel. Channels follow each other, as in
    /// [`Plan::apply`](ot_core::Plan::apply).
    Product {
        /// The side that gets values.
        side: Side,
        /// v.
        values: Vec<T>,
    },
    /// The barycentric projection of points of the other side, sum_j P_ij y_j / sum_j P_ij: n points, point by point, as in
    /// [`Plan::barycentric_projection`](ot_core::Plan::barycentric_projection). All columns of a batch share the points.
    Projection {
        /// The side that gets points.
        side: Side,
        /// The points y, point by point.
        points: Vec<T>,
        /// Their coordinates.
        dimension: usize,
    },
}

/// The values under a plan, on the device, and the side that gets the result.
#[derive(Debug)]
pub(super) struct Values<D: Device> {
    pub(super) side: Side,
    pub(super) vector: D::Vector,
    /// Values for each column of the batch.
    pub(super) channels: usize,
}

impl<D: Device> Linearised<D> {
    /// The numbers of an output.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::Parameter`], [`Error::ZeroDimension`] for values that do not fit;
    /// [`Error::MissingCapability`] for a kernel without transport cost; a failure of the device.
    pub fn value(&mut self, output: &Output<D::Elem>) -> Result<Vec<D::Elem>, Error> {
        let values = self.values_of(output)?;
        let Self { optimum, kernel, .. } = self;
        let (frame, backend) = (&optimum.frame, optimum.frame.backend());
        backend.scope(|| match output {
            Output::Potential(side) => host(backend, optimum.potential(*side)),
            Output::TransportCost => {
                let mut out = backend.alloc_reduced(frame.columns())?;
                let transport = kernel.transport_cost().ok_or(Error::MissingCapability("transport cost"))?;
                transport.plan_cost(optimum.plan(), &mut out)?;
                Ok(backend.read(&[&out])?.swap_remove(0).into_iter().map(D::Elem::from_f64).collect())
            }
            Output::Marginal(side) => {
                let ones = frame.filled(side.opposite(), 1.0)?;
                host(backend, &frame.apply(kernel.as_mut(), *side, optimum.plan(), &ones)?)
            }
            Output::Product { .. } | Output::Projection { .. } => {
                let Some(Values { side, vector, .. }) = values else { return Ok(Vec::new()) };
                let image = frame.apply(kernel.as_mut(), side, optimum.plan_of(output), &vector)?;
                optimum.frame.laid_out(output, side, &host(backend, &image)?)
            }
        })
    }

    /// The values that an output takes of the plan, checked and uploaded, if it does.
    pub(super) fn values_of(&self, output: &Output<D::Elem>) -> Result<Option<Values<D>>, Error> {
        let frame = &self.optimum.frame;
        let columns = frame.columns();
        match output {
            Output::Product { side, values } => {
                let rows = frame.len(side.opposite());
                let channels = values.len() / (rows * columns);
                check("values under the plan", values, channels.max(1) * rows * columns)?;
                let vector = frame.backend().upload(values, channels * columns)?;
                Ok(Some(Values { side: *side, vector, channels }))
            }
            Output::Projection { side, points, dimension } => {
                if *dimension == 0 {
                    return Err(Error::ZeroDimension);
                }
                let rows = frame.len(side.opposite());
                check("points to project on", points, rows * dimension)?;
                let one = column_major(points, rows, *dimension);
                let vector = frame.backend().upload(&one.repeat(columns), dimension * columns)?;
                Ok(Some(Values { side: *side, vector, channels: *dimension }))
            }
            _ => Ok(None),
        }
    }

    /// A cotangent of an output on the device, with as many columns as channels of all columns of the batch.
    pub(super) fn upload_cotangent(
        &self,
        output: &Output<D::Elem>,
        cotangent: &[D::Elem],
        channels: usize,
    ) -> Result<D::Vector, Error> {
        let (frame, columns) = (&self.optimum.frame, self.optimum.frame.columns());
        let rows = match output {
            Output::TransportCost => 1,
            Output::Potential(side)
            | Output::Marginal(side)
            | Output::Product { side, .. }
            | Output::Projection { side, .. } => frame.len(*side),
        };
        check("a cotangent", cotangent, rows * channels * columns)?;
        let backend = frame.backend();
        match output {
            Output::Projection { .. } => backend.upload(&column_major(cotangent, rows, channels), channels * columns),
            _ => backend.upload(cotangent, channels * columns),
        }
    }
}

impl<D: Device> crate::optimum::Optimum<D> {
    /// The plan that an output applies: of a projection, the conditional one.
    pub(super) fn plan_of(&self, output: &Output<D::Elem>) -> PlanView<'_, D> {
        match output {
            Output::Projection { side, .. } => self.conditional(*side),
            _ => self.plan(),
        }
    }
}

impl<D: Device> crate::frame::Frame<D> {
    /// Numbers of an output as the host has them: projections point by point.
    pub(super) fn laid_out(
        &self,
        output: &Output<D::Elem>,
        side: Side,
        values: &[D::Elem],
    ) -> Result<Vec<D::Elem>, Error> {
        Ok(match output {
            Output::Projection { dimension, .. } => row_major(values, self.len(side), *dimension),
            _ => values.to_vec(),
        })
    }
}

/// A product of values u of a side with values v of the other.
pub(super) fn product<T>(side: Side, own: T, other: T) -> Sided<T> {
    match side {
        Side::Source => Sided { source: own, target: other },
        Side::Target => Sided { source: other, target: own },
    }
}
