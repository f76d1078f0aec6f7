//! Linear functionals of the plan, sum_ij R_ij w_ij with R = P or the conditional plan, and their derivatives.
//!
//! ```text
//! P_ij = a_i b_j exp(z_ij),  z_ij = (f_i + g_j - C_ij) / epsilon
//! dP_ij = P_ij (df_i + dg_j - dC_ij) / epsilon + P_ij (da_i / a_i + db_j / b_j) - P_ij z_ij d epsilon / epsilon
//! ```
//!
//! Rows of the conditional plan Q_ij = b_j exp((s_i + g_j - C_ij) / epsilon) keep their sum of 1, so that s takes the mean off
//! the factor of a row: with w_ij of mean zero under each row, s does not count.

use ot_core::{CostParameter, Device, Error, KernelOp, PairWeight, PlanView, Side, WeightedPlan};

use super::{
    Linearised, Output,
    channels::Channels,
    output::{Values, product},
};
use crate::{
    algebra::{Sided, add, for_channels, pairing, scaled, sum_of_channels, times, total},
    frame::Weight,
    optimum::Optimum,
};

/// Which plan a functional is one of.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// P.
    Joint,
    /// The distributions given the atoms of a side, under factors of mean zero.
    Conditional(Side),
}

/// sum_ij R_ij w_ij.
#[derive(Debug)]
pub(super) struct Functional<D: Device> {
    which: Which,
    weight: Weight<D>,
    /// dw_ij / dC_ij.
    by_cost: f64,
    /// The cotangent of R v and the side that it lies on, of which derivatives in v are made.
    seed: Option<(Side, D::Vector)>,
}

impl<D: Device> Linearised<D> {
    /// <cotangent, output>, for an output that is linear in the plan.
    pub(super) fn functional(
        &mut self,
        output: &Output<D::Elem>,
        cotangent: &[D::Elem],
    ) -> Result<Option<Functional<D>>, Error> {
        let values = self.values_of(output)?;
        let channels = values.as_ref().map_or(1, |values| values.channels);
        let seed = self.upload_cotangent(output, cotangent, channels)?;
        let (optimum, kernel) = (&self.optimum, self.kernel.as_mut());
        let (frame, backend) = (&optimum.frame, optimum.frame.backend());
        let mut weight = Weight::default();
        let functional = match (output, values) {
            (Output::TransportCost, _) => {
                let kappa = ot_core::Scalar::to_f64(cotangent[0]);
                if cotangent.iter().any(|&other| other != cotangent[0]) {
                    return Err(Error::Disagreement { what: "the cotangents of the transport costs of a batch" });
                }
                weight.cost = kappa;
                Functional { which: Which::Joint, weight, by_cost: kappa, seed: None }
            }
            (Output::Marginal(side), _) => {
                weight.sides[*side] = Some(seed);
                Functional { which: Which::Joint, weight, by_cost: 0.0, seed: None }
            }
            (Output::Product { .. }, Some(Values { side, vector, .. })) => {
                let copy = backend.copied(&seed)?;
                weight.product = Some(product(side, seed, vector));
                Functional { which: Which::Joint, weight, by_cost: 0.0, seed: Some((side, copy)) }
            }
            (Output::Projection { .. }, Some(Values { side, vector, .. })) => {
                let projection = frame.apply(kernel, side, optimum.conditional(side), &vector)?;
                let mean = sum_of_channels(backend, &times(backend, &seed, &projection)?, frame.columns())?;
                weight.sides[side] = Some(scaled(backend, &mean, -1.0)?);
                let copy = backend.copied(&seed)?;
                weight.product = Some(product(side, seed, vector));
                Functional { which: Which::Conditional(side), weight, by_cost: 0.0, seed: Some((side, copy)) }
            }
            _ => return Ok(None),
        };
        Ok(Some(functional))
    }
}

impl<D: Device> Functional<D> {
    /// Is it one of a barycentric projection?
    pub(super) fn is_projection(&self) -> bool {
        matches!(self.which, Which::Conditional(_))
    }

    /// R.
    fn plan<'o>(&self, optimum: &'o Optimum<D>) -> PlanView<'o, D> {
        match self.which {
            Which::Joint => optimum.plan(),
            Which::Conditional(side) => optimum.conditional(side),
        }
    }

    /// Its derivative in the potential of a side, times epsilon; `None` if there is none.
    pub(super) fn sums(
        &self,
        optimum: &Optimum<D>,
        kernel: &mut dyn KernelOp<D>,
        side: Side,
    ) -> Result<Option<D::Vector>, Error> {
        if self.which == Which::Conditional(side) {
            return Ok(None);
        }
        let sums = match self.which {
            Which::Joint => optimum.frame.sums_by(kernel, side, optimum.plan(), &self.weight, |kernel, values| {
                optimum.apply_plan(kernel, side, values)
            }),
            Which::Conditional(_) => optimum.frame.sums(kernel, side, self.plan(optimum), &self.weight),
        };
        sums.map(Some)
    }

    /// Its explicit derivatives in the costs, dR_ij w_ij / dC_ij, as factors of G; those that multiply the costs themselves are
    /// [another sum](Self::in_scaled_cost).
    pub(super) fn in_cost(&self, optimum: &Optimum<D>, channels: &mut Channels<D>) -> Result<(), Error> {
        let (frame, backend) = (&optimum.frame, optimum.frame.backend());
        let Weight { constant, sides, product, .. } = self.weight.scaled(backend, -1.0 / frame.epsilon())?;
        // R_ij = mu_i G_ij nu_j, without the marginal on whose atoms R is conditional.
        let marginal = |side: Side| match self.which {
            Which::Conditional(own) if own == side => frame.filled(side, 1.0),
            _ => backend.copied(&optimum.marginals[side]),
        };
        let constant = constant + self.by_cost;
        if constant != 0.0 || sides.source.is_some() {
            let mut own = frame.filled(Side::Source, constant)?;
            if let Some(values) = &sides.source {
                add(backend, &mut own, values)?;
            }
            channels.push(Sided {
                source: times(backend, &marginal(Side::Source)?, &own)?,
                target: marginal(Side::Target)?,
            });
        }
        if let Some(values) = &sides.target {
            let target = times(backend, &marginal(Side::Target)?, values)?;
            channels.push(Sided { source: marginal(Side::Source)?, target });
        }
        if let Some(product) = &product {
            channels.push(Sided::try_new(|side| {
                let count = backend.shape(&product[side]).1 / frame.columns();
                times(backend, &for_channels(backend, &marginal(side)?, count)?, &product[side])
            })?);
        }
        Ok(())
    }

    /// Its explicit derivatives in a parameter of the cost that are multiples of the costs; `None` if there are none.
    pub(super) fn in_scaled_cost(
        &self,
        optimum: &Optimum<D>,
        kernel: &mut dyn KernelOp<D>,
        parameter: CostParameter,
    ) -> Result<Option<D::Vector>, Error> {
        if self.weight.cost == 0.0 {
            return Ok(None);
        }
        let factor = -self.weight.cost / optimum.frame.epsilon();
        let weight = PairWeight { cost: factor, ..PairWeight::constant(0.0) };
        optimum.frame.cost_sums(kernel, WeightedPlan { plan: self.plan(optimum), weight }, parameter).map(Some)
    }

    /// Its explicit derivative in the weights of a side, column by column; `None` if there is none.
    pub(super) fn in_weights(
        &self,
        optimum: &Optimum<D>,
        kernel: &mut dyn KernelOp<D>,
        side: Side,
    ) -> Result<Option<D::Vector>, Error> {
        let plan = match self.which {
            Which::Joint => optimum.per_weight(side),
            Which::Conditional(own) if own == side => return Ok(None),
            Which::Conditional(own) => optimum.density(own),
        };
        optimum.frame.sums(kernel, side, plan, &self.weight).map(Some)
    }

    /// Its explicit derivative in epsilon: -(1 / epsilon) sum_ij R_ij w_ij z_ij.
    pub(super) fn in_epsilon(&self, optimum: &Optimum<D>, kernel: &mut dyn KernelOp<D>) -> Result<f64, Error> {
        let (frame, backend) = (&optimum.frame, optimum.frame.backend());
        let mut exponents = 0.0;
        for side in Side::BOTH {
            if let Some(sums) = self.sums(optimum, kernel, side)? {
                exponents += total(backend, &pairing(backend, frame.shape(side), &sums, optimum.potential(side))?)?;
            }
        }
        let pairs = WeightedPlan { plan: self.plan(optimum), weight: self.weight.view() };
        let costs = frame.cost_rows(kernel, Side::Source, pairs, frame.scale())?;
        let ones = frame.filled(Side::Source, 1.0)?;
        exponents -= total(backend, &pairing(backend, frame.shape(Side::Source), &costs, &ones)?)?;
        Ok(-exponents / (frame.epsilon() * frame.epsilon()))
    }

    /// The side of the values v of an output R v, if it takes any.
    pub(super) fn side_of_values(&self) -> Option<Side> {
        self.seed.as_ref().map(|(side, _)| side.opposite())
    }

    /// Its derivative in these values; `None` if it has none.
    pub(super) fn in_values(
        &self,
        optimum: &Optimum<D>,
        kernel: &mut dyn KernelOp<D>,
    ) -> Result<Option<D::Vector>, Error> {
        let Some((side, seed)) = &self.seed else { return Ok(None) };
        optimum.frame.apply(kernel, side.opposite(), self.plan(optimum), seed).map(Some)
    }
}

/// A factor of each atom, for all channels of values.
pub(super) fn spread<D: Device>(
    linearised: &Linearised<D>,
    factor: &D::Vector,
    values: &D::Vector,
    channels: usize,
) -> Result<D::Vector, Error> {
    let backend = linearised.optimum.frame.backend();
    times(backend, &for_channels(backend, factor, channels)?, values)
}
