//! Sums over half-steps of s'_i T_ij dC_ij, in few passes over the pairs.
//!
//! Every T_ij of the iteration is w_j exp((s_i + g_j - C_ij) / epsilon), so that it is the kernel of one reference pair (F, G)
//! times a number of each atom:
//!
//! ```text
//! s'_i T_ij = x_i y_j exp((F_i + G_j - C_ij) / epsilon)     x_i = s'_i exp((s_i - F_i) / epsilon),  y_j = w_j exp((g_j - G_j) / epsilon)
//! ```
//!
//! The sums of products x_i y_j over many half-steps are one factor of pairs ([`PairWeight`]), and meet dC in one pass. A
//! half-step too far from the reference, in units of epsilon, starts another group with a reference of its own.

use ot_core::{CostParameter, Device, Error, KernelOp, PairWeight, PlanView, Scalar, Side, WeightedPlan};

use super::adjoint::Back;
use crate::{
    algebra::{Sided, add, host},
    frame::Frame,
};

/// The most half-steps of a group.
const MOST: usize = 64;

/// The derivative in a parameter of the cost, gathered half-step by half-step.
pub(super) struct Products<'f, D: Device> {
    frame: &'f Frame<D>,
    parameter: CostParameter,
    /// The largest exponent that a factor may have.
    farthest: f64,
    group: Option<Group<D>>,
    pub(super) total: Option<D::Vector>,
}

/// Half-steps near one reference.
struct Group<D: Device> {
    /// F and G, on the device and on the host.
    reference: Sided<D::Vector>,
    on_host: Sided<Vec<f64>>,
    /// x and y of each half-step, column after column.
    factors: Vec<[Vec<f64>; 2]>,
}

impl<'f, D: Device> Products<'f, D> {
    pub(super) fn new(frame: &'f Frame<D>, parameter: CostParameter) -> Self {
        let farthest = D::Elem::MAX.to_f64().ln() / 4.0;
        Self { frame, parameter, farthest, group: None, total: None }
    }

    /// Adds a half-step.
    pub(super) fn add(&mut self, kernel: &mut dyn KernelOp<D>, back: &Back<'_, D>) -> Result<(), Error> {
        let (frame, backend) = (self.frame, self.frame.backend());
        let (side, other) = (back.half.side, back.half.side.opposite());
        let wide = |vector: &D::Vector| -> Result<Vec<f64>, Error> {
            Ok(host(backend, vector)?.into_iter().map(Scalar::to_f64).collect())
        };
        let (softmin, cotangent) = (wide(back.half.softmin)?, wide(back.softmin)?);
        let (potential, weights) = (wide(back.half.other.potential)?, wide(back.half.other.weights)?);
        let factors = match &self.group {
            Some(group) if group.factors.len() < MOST => {
                self.factors(group, side, [&softmin, &cotangent], [&potential, &weights])
            }
            _ => None,
        };
        let factors = match factors {
            Some(factors) => factors,
            None => {
                self.flush(kernel)?;
                let mut on_host = Sided { source: softmin.clone(), target: potential.clone() };
                if side == Side::Target {
                    std::mem::swap(&mut on_host.source, &mut on_host.target);
                }
                let mut reference = Sided {
                    source: backend.copied(back.half.softmin)?,
                    target: frame.in_all_columns(other, back.half.other.potential)?,
                };
                if side == Side::Target {
                    std::mem::swap(&mut reference.source, &mut reference.target);
                }
                let group = Group { reference, on_host, factors: Vec::new() };
                let factors = self.factors(&group, side, [&softmin, &cotangent], [&potential, &weights]);
                self.group = Some(group);
                factors.unwrap_or_default()
            }
        };
        if let Some(group) = &mut self.group {
            group.factors.push(factors);
        }
        Ok(())
    }

    /// x and y of a half-step, by source and target, or nothing if it is too far from the reference of a group.
    fn factors(
        &self,
        group: &Group<D>,
        side: Side,
        [softmin, cotangent]: [&[f64]; 2],
        [potential, weights]: [&[f64]; 2],
    ) -> Option<[Vec<f64>; 2]> {
        let epsilon = self.frame.epsilon();
        let factors = |of: &[f64], reference: &[f64], times: &[f64]| -> Option<Vec<f64>> {
            let factor = |(index, (of, reference)): (usize, (&f64, &f64))| {
                let (exponent, times) = ((of - reference) / epsilon, times[index % times.len()]);
                match times == 0.0 {
                    true => Some(0.0),
                    false => (exponent.abs() <= self.farthest).then(|| times * exponent.exp()),
                }
            };
            of.iter().zip(reference).enumerate().map(factor).collect()
        };
        let own = factors(softmin, &group.on_host[side], cotangent)?;
        let other = factors(potential, &group.on_host[side.opposite()], weights)?;
        Some(side.of([[own.clone(), other.clone()], [other, own]]))
    }

    /// Meets the cost with what has been gathered.
    pub(super) fn flush(&mut self, kernel: &mut dyn KernelOp<D>) -> Result<(), Error> {
        let Some(group) = self.group.take() else { return Ok(()) };
        let (frame, backend) = (self.frame, self.frame.backend());
        let columns = frame.columns();
        let channels = |side: Side| {
            let rows = frame.len(side);
            let mut values = Vec::with_capacity(rows * columns * group.factors.len());
            for column in 0..columns {
                for factors in &group.factors {
                    let factors = &factors[side.index()];
                    let own = &factors[column * rows % factors.len().max(1)..];
                    values.extend(own.iter().take(rows).map(|&factor| D::Elem::from_f64(factor)));
                }
            }
            backend.upload(&values, columns * group.factors.len())
        };
        let (source, target) = (channels(Side::Source)?, channels(Side::Target)?);
        let plan = PlanView {
            source: frame.unweighted(Side::Source, &group.reference.source),
            target: frame.unweighted(Side::Target, &group.reference.target),
        };
        let weight = PairWeight { product: Some((&source, &target)), ..PairWeight::constant(0.0) };
        let sums = frame.cost_sums(kernel, WeightedPlan { plan, weight }, self.parameter)?;
        match &mut self.total {
            None => self.total = Some(sums),
            Some(total) => add(backend, total, &sums)?,
        }
        Ok(())
    }
}
