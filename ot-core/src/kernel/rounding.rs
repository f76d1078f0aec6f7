//! A plan near a plan, with marginals that both penalties accept, and by how much entropy exceeds at it.

use super::{KernelOp, PlanView};
use crate::{
    backend::{Backend, Device, Fold, Operand},
    error::Error,
    power_of_two::{binary_exponent, times_power_of_two},
    program::{Program, recorded},
    real::Real,
    scalar::Scalar,
    side::Side,
};

/// A rounded plan P' as seen from a plan P.
#[derive(Debug)]
pub enum PlanRounding<'a, D: Device> {
    /// P' = diag(x) P diag(y) + u w^T + s t^T: factors, and mass of its own in parts of rank one. One for each column of
    /// the batch.
    Scaled {
        /// Factors and parts.
        columns: &'a [RoundedColumn],
        /// A bound on the absolute value of the finite costs, for a kernel that cannot price the parts.
        cost_bound: Option<f64>,
    },
    /// P'_ij = P_ij (1 + x_j - y_i) with |x_j - y_i| < 1: no mass where there was none.
    Relative {
        /// y.
        source: &'a D::Vector,
        /// x.
        target: &'a D::Vector,
    },
}

/// What a kernel tells of a rounded plan; see [`KernelOp::fenchel_gap`].
#[derive(Debug)]
pub struct RoundedValue<'a, D: Device> {
    /// The Fenchel gap.
    pub gap: &'a mut D::Reduced,
    /// The gap less the conjugate of the plan.
    pub value: &'a mut D::Reduced,
}

impl<D: Device> RoundedValue<'_, D> {
    /// The same places, for a call.
    pub fn reborrow(&mut self) -> RoundedValue<'_, D> {
        RoundedValue { gap: &mut *self.gap, value: &mut *self.value }
    }
}

impl<D: Device> Copy for PlanRounding<'_, D> {}
impl<D: Device> Clone for PlanRounding<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

/// One column of a plan and of its rounded plan, on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundedColumn {
    /// The rows.
    pub source: RoundedSide,
    /// The columns.
    pub target: RoundedSide,
}

/// One side of a plan and of its rounded plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoundedSide {
    /// Weights: a.
    pub weights: Vec<f64>,
    /// Potential: f.
    pub potential: Vec<f64>,
    /// Marginal of the plan: P 1.
    pub marginal: Vec<f64>,
    /// log x: never positive, minus infinity for a row that is taken out.
    pub log_scaling: Vec<f64>,
    /// Marginal of the scaled plan: diag(x) P diag(y) 1.
    pub scaled: Vec<f64>,
    /// This side's factors of the two parts of rank one: u and s.
    pub added: [Vec<f64>; 2],
}

impl RoundedColumn {
    /// One side.
    #[must_use]
    pub fn side(&self, side: Side) -> &RoundedSide {
        side.of([&self.source, &self.target])
    }

    /// The mass of each part of rank one.
    #[must_use]
    pub fn added_masses(&self) -> [f64; 2] {
        [0, 1].map(|part| total(&self.source.added[part]) * total(&self.target.added[part]))
    }

    /// The marginal of both parts of rank one on one side.
    #[must_use]
    pub fn added_marginal(&self, side: Side) -> Vec<f64> {
        let (own, other) = (self.side(side), self.side(side.opposite()));
        let totals = [0, 1].map(|part| total(&other.added[part]));
        own.added[0].iter().zip(&own.added[1]).map(|(u, s)| u * totals[0] + s * totals[1]).collect()
    }

    /// A bound of KL(P' | P) - mass(P) less <Q, C> / epsilon, for the mass Q that is added to the scaled plan P_1. By
    /// convexity,
    ///
    /// ```text
    /// KL(P' | P) - mass(P) <= <P_1, log(P_1 / P)> + <Q, log(P' / P)> - mass(P_1)
    /// log(P'_ij / P_ij) <= log(max_j r'_j / a_i) + (C_ij - f_i - g_j) / epsilon
    /// ```
    ///
    /// with the densities r' of the marginals of P'.
    fn value_without_cost(&self, epsilon: f64) -> f64 {
        let scaled_logarithm = |side: &RoundedSide| -> f64 {
            let terms = side.scaled.iter().zip(&side.log_scaling);
            terms.map(|(mass, log)| if *mass > 0.0 { mass * log } else { 0.0 }).sum()
        };
        let log_bound = |side: Side| -> f64 {
            let highest = self.largest_density(side.opposite());
            let added = self.added_marginal(side);
            let term = |(mass, weight): (&f64, &f64)| if *mass > 0.0 { mass * (highest / weight).ln() } else { 0.0 };
            added.iter().zip(&self.side(side).weights).map(term).sum()
        };
        let pairing = |side: Side| -> f64 {
            let added = self.added_marginal(side);
            let terms = added.iter().zip(&self.side(side).potential);
            terms.map(|(mass, potential)| if *mass > 0.0 { mass * potential } else { 0.0 }).sum()
        };
        let scaled = scaled_logarithm(&self.source) + scaled_logarithm(&self.target);
        let added = log_bound(Side::Source).min(log_bound(Side::Target));
        scaled + added - total(&self.source.scaled) - (pairing(Side::Source) + pairing(Side::Target)) / epsilon
    }

    /// The largest density of a marginal of the rounded plan.
    fn largest_density(&self, side: Side) -> f64 {
        let (own, added) = (self.side(side), self.added_marginal(side));
        let masses = own.scaled.iter().zip(&added).zip(&own.weights);
        masses
            .map(|((scaled, added), weight)| if *weight > 0.0 { (scaled + added) / weight } else { 0.0 })
            .fold(0.0, f64::max)
    }
}

/// The factors and parts of scaled roundings as vectors on the device, for kernels that price a rounded plan pair by
/// pair: densities
///
/// ```text
/// p'_ij = x_i p_ij y_j + u_i v_j + s_i t_j
/// ```
#[derive(Debug)]
pub struct RoundedFactors<D: Device> {
    /// x and y.
    pub scaling: [D::Vector; 2],
    /// u and v, and s and t.
    pub added: [[D::Vector; 2]; 2],
}

impl<D: Device> RoundedFactors<D> {
    /// Uploads the roundings of all columns.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], a failure of the device.
    pub fn upload(backend: &dyn Backend<D>, columns: &[RoundedColumn]) -> Result<Self, Error> {
        let upload = |values: &dyn Fn(&RoundedColumn) -> Vec<f64>| {
            let values: Vec<D::Elem> = columns.iter().flat_map(values).map(D::Elem::from_f64).collect();
            backend.upload(&values, columns.len())
        };
        let scaling =
            |side: Side| upload(&|column| column.side(side).log_scaling.iter().map(|log| log.exp()).collect());
        let added = |part: usize, side: Side| {
            upload(&|column| {
                let side = column.side(side);
                let density = |(mass, weight): (&f64, &f64)| if *weight > 0.0 { mass / weight } else { 0.0 };
                side.added[part].iter().zip(&side.weights).map(density).collect()
            })
        };
        let [source, target] = Side::BOTH;
        Ok(Self {
            scaling: [scaling(source)?, scaling(target)?],
            added: [[added(0, source)?, added(0, target)?], [added(1, source)?, added(1, target)?]],
        })
    }
}

/// [`KernelOp::fenchel_gap`] of a Gibbs kernel: a bound of KL(P' | P) without a pass over the entries, but for the cost of
/// the parts of rank one.
pub(super) fn entropic_gap<D: Device, K: KernelOp<D> + ?Sized>(
    kernel: &mut K,
    backend: &dyn Backend<D>,
    plan: PlanView<'_, D>,
    rounding: PlanRounding<'_, D>,
    out: RoundedValue<'_, D>,
) -> Result<(), Error> {
    match rounding {
        PlanRounding::Scaled { columns, cost_bound } => scaled_gap(kernel, backend, columns, cost_bound, out),
        PlanRounding::Relative { source, target } => relative_gap(kernel, backend, plan, [source, target], out),
    }
}

/// The values without cost, <Q, C> / epsilon as the kernel prices it, or the bound does, and the mass of the plan.
fn scaled_gap<D: Device, K: KernelOp<D> + ?Sized>(
    kernel: &mut K,
    backend: &dyn Backend<D>,
    columns: &[RoundedColumn],
    cost_bound: Option<f64>,
    out: RoundedValue<'_, D>,
) -> Result<(), Error> {
    let epsilon = kernel.epsilon();
    let values: Vec<f64> = columns.iter().map(|column| column.value_without_cost(epsilon)).collect();
    let masses = |part: usize| columns.iter().map(move |column| column.added_masses()[part]);
    let RoundedValue { gap, value } = out;
    backend.write_reduced(&values, value)?;
    let add = recorded!(|[value, cost, unit, share]| [value + share.select((cost * unit) * share, 0.0)])?;
    for part in (0..2).filter(|&part| masses(part).any(|mass| mass > 0.0)) {
        let mut costs = backend.alloc_reduced(columns.len())?;
        match kernel.transport_cost() {
            Some(cost) => {
                let [u, w] = unit_factors(backend, columns, part)?;
                cost.rank_one_cost(&u, &w, &mut costs)?;
            }
            None => backend.write_reduced(&vec![cost_bound.unwrap_or(f64::INFINITY); columns.len()], &mut costs)?,
        }
        // Mass over epsilon, in two factors of one size: it may vanish where the product with the cost does not.
        let factors = masses(part).map(|mass| match mass {
            mass if mass > 0.0 => {
                let half = (0.5 * (binary_exponent(mass) - binary_exponent(epsilon))).floor();
                let scaled = times_power_of_two(mass, -binary_exponent(mass));
                let rest = scaled / times_power_of_two(epsilon, -binary_exponent(epsilon));
                let other = binary_exponent(mass) - binary_exponent(epsilon) - half;
                [times_power_of_two(1.0, half), times_power_of_two(rest, other)]
            }
            _ => [1.0, 0.0],
        });
        let factors: Vec<[f64; 2]> = factors.collect();
        let [units, shares] = [0, 1].map(|factor| factors.iter().map(|pair| pair[factor]).collect::<Vec<_>>());
        let [units, shares] = [backend.upload_reduced(&units)?, backend.upload_reduced(&shares)?];
        let operands = [&costs, &units, &shares].map(Operand::Reduced);
        let operands = [Operand::Output(0), operands[0], operands[1], operands[2]];
        backend.map_reduced(add, &operands, &mut [&mut *value])?;
    }
    let plan_masses: Vec<f64> = columns.iter().map(|column| total(&column.source.marginal)).collect();
    let plan_masses = backend.upload_reduced(&plan_masses)?;
    let positive = recorded!(|[value, mass]| [(value + mass).max(0.0)])?;
    backend.map_reduced(positive, &[Operand::Reduced(value), Operand::Reduced(&plan_masses)], &mut [gap])
}

/// The factors of a part, each of mass one: products of tiny weights would vanish in the element type.
pub(crate) fn unit_factors<D: Device>(
    backend: &dyn Backend<D>,
    columns: &[RoundedColumn],
    part: usize,
) -> Result<[D::Vector; 2], Error> {
    let unit = |side: Side| {
        let values = columns.iter().flat_map(|column| {
            let added = &column.side(side).added[part];
            let mass = total(added);
            added.iter().map(move |value| D::Elem::from_f64(if mass > 0.0 { value / mass } else { 0.0 }))
        });
        backend.upload(&values.collect::<Vec<_>>(), columns.len())
    };
    Ok([unit(Side::Source)?, unit(Side::Target)?])
}

/// sum_ij P_ij (x_j - y_i)^2 >= KL(P' | P), by one product with the values 1, x and x^2.
fn relative_gap<D: Device, K: KernelOp<D> + ?Sized>(
    kernel: &mut K,
    backend: &dyn Backend<D>,
    plan: PlanView<'_, D>,
    [y, x]: [&D::Vector; 2],
    out: RoundedValue<'_, D>,
) -> Result<(), Error> {
    let (rows, columns) = (kernel.len(Side::Source), kernel.columns());
    let values = backend.alloc(kernel.len(Side::Target), columns)?;
    let mut values = [values, backend.filled(1.0, kernel.len(Side::Target), columns)?, backend.copied(x)?];
    let square = Program::record(|[x]| [x * x])?;
    backend.map(&square, &[Operand::Vector(x)], &mut [&mut values[0]])?;
    let mut sums = Vec::with_capacity(values.len());
    for values in &values {
        let mut sum = backend.alloc(rows, columns)?;
        kernel.apply(Side::Source, plan, values, &mut sum)?;
        sums.push(sum);
    }
    let term = Program::record(|[squares, mass, first, y]| [(squares - 2.0 * y * first + y * y * mass).max(0.0)])?;
    let [squares, mass, first] = [0, 1, 2].map(|index| Operand::Vector(&sums[index]));
    let RoundedValue { gap, value } = out;
    backend.reduce(&term, Fold::Sum, rows, &[squares, mass, first, Operand::Vector(y)], &mut [gap])?;
    backend.reduce(&Program::record(|[mass]| [mass])?, Fold::Sum, rows, &[mass], &mut [&mut *value])?;
    let difference = Program::record(|[mass, gap]| [gap - mass])?;
    backend.map_reduced(&difference, &[Operand::Output(0), Operand::Reduced(gap)], &mut [value])
}

/// The sum of some masses.
fn total(values: &[f64]) -> f64 {
    values.iter().sum()
}
