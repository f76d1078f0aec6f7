//! The Gibbs kernel of costs in pairs.

use std::{fmt::Write, sync::Arc};

use ot_core::{
    Backend, Binding, Error, Fold, GibbsKernel, Operand, PlanOperator, PlanProduct, PlanView, Program, Side, SoftMin,
    TransportCost, check_epsilon,
};

use super::{
    costs::PairCosts,
    row_fold::RowFold,
    softmin::{EXPONENT, Request},
};
use crate::{
    backend::WgpuBackend,
    device::WgpuPairs,
    geometry::products::two_products,
    gpu::Arguments,
    vector::{DeviceReduced, DeviceVector},
};

/// The second number of the inverse of a larger epsilon is below the normal numbers.
const LARGEST_EPSILON: f64 = 1e30;

/// The most channels of one pass.
const MAX_CHANNELS: usize = 4;

/// exp(-C / epsilon), whose entries are computed as they are needed.
#[derive(Debug)]
pub(super) struct PairKernel {
    backend: WgpuBackend<WgpuPairs>,
    costs: Arc<PairCosts>,
    binding: Binding,
}

/// The entries that are summed over.
enum Mass<'a> {
    Plan(PlanView<'a, WgpuPairs>),
    /// u_i v_j.
    Product([&'a DeviceVector<WgpuPairs>; 2]),
}

impl PairKernel {
    pub(super) fn new(
        backend: &WgpuBackend<WgpuPairs>,
        costs: &Arc<PairCosts>,
        epsilon: f64,
        columns: usize,
    ) -> Result<Self, Error> {
        let binding = Binding::new(Side::BOTH.map(|side| costs.len(side)), columns, checked(epsilon)?)?;
        Ok(Self { backend: backend.clone(), costs: Arc::clone(costs), binding })
    }

    /// out_ik = sum_j mass_ij q_ijk for the factors q at channels `first`, `first + 1`, ... of `channels`.
    fn sums(
        &self,
        side: Side,
        mass: &Mass<'_>,
        (kernel, mut arguments): (&'static str, Arguments),
        factors: &[String],
        [first, channels]: [usize; 2],
        out: &DeviceVector<WgpuPairs>,
    ) -> Result<(), Error> {
        let mut start = String::new();
        self.costs.tell(side, &mut arguments);
        arguments.place("out", out.start()).index("channels", channels).index("first", first);
        let entry =
            |name: &str, atom: &str| format!("load_pair(P.{name}_at + 2u * (column * P.{name}_stride + {atom}))");
        let (pair, own) = match mass {
            Mass::Plan(plan) => {
                let (own, other) = (plan.side(side), plan.side(side.opposite()));
                arguments.pair("inverse_epsilon", self.binding.epsilon().recip());
                arguments.vector("own_potential", own.potential).vector("own_weights", own.weights);
                arguments.vector("potential", other.potential).vector("logarithms", other.log_weights);
                let _ = writeln!(start, "let own_potential = {};", entry("own_potential", "row"));
                let pair = format!(
                    "let logarithm = {};
let slack = pair_add(pair_add(own_potential, {}), -cost);
let mass = select(vec2<f32>(0.0f, 0.0f), pair_exp(exponent(slack, logarithm)), is_counted(cost, logarithm));
",
                    entry("logarithms", "other"),
                    entry("potential", "other")
                );
                (pair, entry("own_weights", "row"))
            }
            Mass::Product(weights) => {
                let [own, other] = side.of([[weights[0], weights[1]], [weights[1], weights[0]]]);
                arguments.vector("own_weights", own).vector("other_weights", other);
                (format!("let mass = {};\n", entry("other_weights", "other")), entry("own_weights", "row"))
            }
        };
        let mut end = format!("let weight = {own};\n");
        for k in 0..factors.len() {
            let at = format!("P.out + 2u * ((column * P.channels + P.first + {k}u) * P.rows + row)");
            let value = format!("select(vec2<f32>(0.0f, 0.0f), pair_mul(weight, result{k}), weight.x > 0.0f)");
            let _ = writeln!(end, "store_pair({at}, {value});");
        }
        let folds: Vec<(Fold, String)> =
            factors.iter().map(|factor| (Fold::Sum, format!("pair_mul(mass, {factor})"))).collect();
        let is_plan = matches!(mass, Mass::Plan(_));
        let fold = RowFold {
            costs: &self.costs,
            side,
            kernel,
            options: vec![u32::from(is_plan), factors.len() as u32],
            declarations: if is_plan { EXPONENT } else { "" },
            start: &start,
            pair: &pair,
            folds: &folds,
            end: &end,
        };
        fold.launch(&arguments, self.binding.columns())
    }

    /// out_k = the sum of the mass times a factor.
    fn total(&self, mass: &Mass<'_>, kernel: &'static str, factor: &str, out: &mut DeviceReduced) -> Result<(), Error> {
        let rows = self.backend.alloc(self.costs.len(Side::Source), self.binding.columns())?;
        self.sums(Side::Source, mass, (kernel, Arguments::new()), &[factor.into()], [0, 1], &rows)?;
        let itself = Program::record(|[x]| [x])?;
        self.backend.reduce(&itself, Fold::Sum, rows.rows(), &[Operand::Vector(&rows)], &mut [out])
    }
}

/// An epsilon that has an inverse of 48 bits in the range of single precision.
fn checked(epsilon: f64) -> Result<f64, Error> {
    if epsilon > LARGEST_EPSILON { Err(Error::Epsilon(epsilon)) } else { check_epsilon::<f32>(epsilon) }
}

impl PlanOperator<WgpuPairs> for PairKernel {
    fn binding(&self) -> &Binding {
        &self.binding
    }

    fn rebind(&mut self, epsilon: f64) -> Result<(), Error> {
        self.binding.rebind(checked(epsilon)?)
    }

    fn apply(
        &mut self,
        side: Side,
        plan: PlanView<'_, WgpuPairs>,
        values: &DeviceVector<WgpuPairs>,
        out: &mut DeviceVector<WgpuPairs>,
    ) -> Result<(), Error> {
        let channels = values.columns() / self.binding.columns();
        for first in (0..channels).step_by(MAX_CHANNELS) {
            let mut arguments = Arguments::new();
            arguments.place("values", values.start());
            let factor = |k: usize| {
                format!("load_pair(P.values + 2u * ((column * P.channels + P.first + {k}u) * P.others + other))")
            };
            let factors: Vec<String> = (0..MAX_CHANNELS.min(channels - first)).map(factor).collect();
            self.sums(side, &Mass::Plan(plan), ("product in pairs", arguments), &factors, [first, channels], out)?;
        }
        Ok(())
    }

    fn transport_cost(&mut self) -> Option<&mut dyn TransportCost<WgpuPairs>> {
        Some(self)
    }

    fn plan_product(&mut self) -> Option<&mut dyn PlanProduct<WgpuPairs>> {
        Some(self)
    }
}

impl GibbsKernel<WgpuPairs> for PairKernel {
    fn softmin(&mut self, request: SoftMin<'_, WgpuPairs>, out: &mut DeviceVector<WgpuPairs>) -> Result<(), Error> {
        let SoftMin { side, other, shift, active } = request;
        Request { side, epsilon: self.binding.epsilon(), other, shift, active }.record(&self.costs, out)
    }
}

impl TransportCost<WgpuPairs> for PairKernel {
    /// A forbidden pair has no mass, and a finite number for a cost.
    fn plan_cost(&mut self, plan: PlanView<'_, WgpuPairs>, out: &mut DeviceReduced) -> Result<(), Error> {
        self.total(&Mass::Plan(plan), "cost of a plan in pairs", "cost", out)
    }

    fn rank_one_cost(
        &mut self,
        u: &DeviceVector<WgpuPairs>,
        v: &DeviceVector<WgpuPairs>,
        out: &mut DeviceReduced,
    ) -> Result<(), Error> {
        let infinite = "vec2<f32>(opaque_bits(0x7f800000u), 0.0f)";
        let factor = format!("select(cost, {infinite}, cost.x > 1.0e38f && mass.x > 0.0f)");
        self.total(&Mass::Product([u, v]), "cost of a product in pairs", &factor, out)
    }
}

impl PlanProduct<WgpuPairs> for PairKernel {
    fn normal_product(
        &mut self,
        side: Side,
        plan: PlanView<'_, WgpuPairs>,
        diagonal: &DeviceVector<WgpuPairs>,
        values: &DeviceVector<WgpuPairs>,
        out: &mut DeviceVector<WgpuPairs>,
    ) -> Result<(), Error> {
        let backend = self.backend.clone();
        two_products(self, &backend, side, plan, [diagonal, values], out)
    }

    /// For entropy h*'' is h*'.
    fn curvature_product(
        &mut self,
        side: Side,
        plan: PlanView<'_, WgpuPairs>,
        values: &DeviceVector<WgpuPairs>,
        out: &mut DeviceVector<WgpuPairs>,
    ) -> Result<(), Error> {
        self.apply(side, plan, values, out)
    }
}
