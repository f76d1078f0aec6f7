//! The Gibbs kernel of two grids on a device.

use std::{
    f64::consts::{LN_2, LOG2_E},
    sync::Arc,
};

use ot_core::{
    Backend, Binding, CostDerivative, Error, GibbsKernel, HardTransform, PlanOperator, PlanSide, PlanView, Program,
    Scalar, Side, SoftMin, Sweep, TransportCost, kernel::half_step,
};

use super::{
    super::{kernel::WgpuKernel, softmin::ending},
    sums::{Ending, Entering, LogSums, Sign},
    tables::Tables,
};
use crate::{
    backend::Wgpu,
    gpu::{Arguments, Key},
    vector::{DeviceReduced, DeviceVector},
    wgsl::Arithmetic,
};

/// A kernel over two grids.
#[derive(Debug)]
pub(super) struct GridKernel {
    /// The kernel of the nodes as points, for what looks at single pairs.
    pub(super) nodes: WgpuKernel,
    pub(super) tables: Arc<Tables>,
}

/// A relaxed step of a penalty, (f, s, omega, epsilon) to the next potential, with f and omega.
type Step<'a> = (&'a Program, &'a DeviceVector, &'a DeviceReduced);

impl GridKernel {
    pub(super) fn new(nodes: WgpuKernel, tables: &Arc<Tables>) -> Self {
        Self { nodes, tables: Arc::clone(tables) }
    }

    /// Softmins of the listed columns, or the next potentials.
    fn record_softmins(
        &self,
        side: Side,
        other: PlanSide<'_, Wgpu>,
        columns: &[usize],
        step: Option<Step<'_>>,
        out: &DeviceVector,
    ) -> Result<(), Error> {
        let epsilon = self.epsilon();
        let mut arguments = Arguments::new();
        arguments.place("out", out.start()).index("rows", out.rows()).number("epsilon_ln_2", LN_2 * epsilon);
        let mut kernel = Key { kernel: "softmins of a grid", formulas: Vec::new(), options: Vec::new() };
        if let Some((program, before, omega)) = step {
            arguments.vector("before", before).reduced("omega", omega).number("epsilon", epsilon);
            arguments.parameters("p", program, Arithmetic::Single);
            kernel.formulas.push(program.code_key());
        }
        let before = "load(P.before_at + column * P.before_stride + node#)";
        let (statements, result) = ending(step.map(|(program, ..)| program), before);
        let text = format!(
            "let softmin = select(opaque(1.0e30f), clamp(-P.epsilon_ln_2 * sum, -{LIMIT:e}f, {LIMIT:e}f), is_lit);
{statements}store(P.out + column * P.rows + node#, {result});
",
            LIMIT = <f32 as Scalar>::LARGEST_COST,
        );
        let sums = LogSums {
            tables: &self.tables,
            side,
            epsilon: Some(epsilon),
            entering: Entering { plan: Some([other.potential, other.log_weights]), values: None },
            weighted: None,
            ending: Ending { kernel, text, arguments },
        };
        let list: Vec<u32> = columns.iter().map(|&column| column as u32).collect();
        sums.record(&list, [self.columns(); 2])
    }

    /// What adds `factor` times the mass a_i exp(f_i / epsilon + V_i) of each node to a vector, or starts it.
    pub(super) fn mass(&self, own: PlanSide<'_, Wgpu>, factor: f64, is_first: bool, out: &DeviceVector) -> Ending {
        let mut arguments = Arguments::new();
        arguments.place("out", out.start()).index("rows", out.rows()).number("factor", factor);
        arguments.number("own_inverse", LOG2_E / self.epsilon());
        arguments.vector("own_potential", own.potential).vector("own_logarithms", own.log_weights);
        let text = "let logarithm = load(P.own_logarithms_at + column * P.own_logarithms_stride + node#);
let potential = P.own_inverse * load(P.own_potential_at + column * P.own_potential_stride + node#);
let mass = exp2(clamp(potential + 1.44269504f * logarithm + sum, -200.0f, 127.0f));
let counted = P.factor * select(0.0f, mass, is_lit && logarithm > -0.5e30f);
";
        let text = format!("{text}{}", added(is_first));
        let kernel = Key { kernel: "masses of a grid", formulas: Vec::new(), options: vec![u32::from(is_first)] };
        Ending { kernel, text, arguments }
    }
}

/// Adds the variable `counted` to what is there, or starts with it.
pub(super) fn added(is_first: bool) -> &'static str {
    match is_first {
        true => "store(P.out + channel * P.rows + node#, counted);\n",
        false => "let place = P.out + channel * P.rows + node#;\nstore(place, load(place) + counted);\n",
    }
}

impl PlanOperator<Wgpu> for GridKernel {
    fn binding(&self) -> &Binding {
        self.nodes.binding()
    }

    fn rebind(&mut self, epsilon: f64) -> Result<(), Error> {
        self.nodes.rebind(epsilon)
    }

    /// The positive part less the negative one.
    fn apply(
        &mut self,
        side: Side,
        plan: PlanView<'_, Wgpu>,
        values: &DeviceVector,
        out: &mut DeviceVector,
    ) -> Result<(), Error> {
        let (own, other) = (plan.side(side), plan.side(side.opposite()));
        let list: Vec<u32> = (0..values.columns() as u32).collect();
        for sign in Sign::BOTH {
            let sums = LogSums {
                tables: &self.tables,
                side,
                epsilon: Some(self.epsilon()),
                entering: Entering { plan: Some([other.potential, other.log_weights]), values: Some((values, sign)) },
                weighted: None,
                ending: self.mass(own, sign.factor(), sign == Sign::Positive, out),
            };
            sums.record(&list, [values.columns(), self.columns()])?;
        }
        Ok(())
    }

    fn transport_cost(&mut self) -> Option<&mut dyn TransportCost<Wgpu>> {
        Some(self)
    }

    fn cost_derivative(&mut self) -> Option<&mut dyn CostDerivative<Wgpu>> {
        self.nodes.cost_derivative()
    }

    fn hard_transform(&mut self) -> Option<&mut dyn HardTransform<Wgpu>> {
        Some(self)
    }
}

impl GibbsKernel<Wgpu> for GridKernel {
    /// The guess is not needed.
    fn softmin(&mut self, request: SoftMin<'_, Wgpu>, out: &mut DeviceVector) -> Result<(), Error> {
        let SoftMin { side, other, active, .. } = request;
        self.record_softmins(side, other, active.indices(), None, out)
    }

    /// Without by-products, the relaxed step of the penalty is the end of the last pass of the softmin.
    fn fused_half_step(
        &mut self,
        backend: &dyn Backend<Wgpu>,
        side: Side,
        sweep: &mut Sweep<'_, Wgpu>,
    ) -> Result<(), Error> {
        if sweep.by_products.is_some() {
            return half_step(self, backend, side, sweep);
        }
        let other = side.opposite();
        let potential = sweep.potentials.side(side);
        let entering = PlanSide::new(sweep.potentials.side(other), sweep.marginal(other).device_weights());
        let step = (sweep.marginal(side).penalty().relaxed_step(), potential, sweep.relaxation);
        self.record_softmins(side, entering, sweep.active.indices(), Some(step), potential)
    }
}
