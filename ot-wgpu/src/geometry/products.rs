//! Products with the plan, and sums of the cost under it.

use ot_core::{Backend, Error, Fold, Operand, PlanOperator, PlanProduct, PlanView, Program, Side, TransportCost};

use super::{
    kernel::WgpuKernel,
    row_pass::{Place, Step},
    sums::{MAX_FACTORS, Mass, Sums},
};
use crate::{
    backend::{Wgpu, WgpuBackend, WgpuDevice},
    gpu::Arguments,
    vector::{DeviceReduced, DeviceVector},
};

impl WgpuKernel {
    /// out = P values, four channels in a pass.
    pub(super) fn product(
        &self,
        side: Side,
        plan: PlanView<'_, Wgpu>,
        values: &DeviceVector,
        out: &DeviceVector,
    ) -> Result<(), Error> {
        const TILES: [&str; MAX_FACTORS] = ["tile_value0", "tile_value1", "tile_value2", "tile_value3"];
        let channels = values.columns() / self.binding.columns();
        for first in (0..channels).step_by(MAX_FACTORS) {
            let factors = MAX_FACTORS.min(channels - first);
            let mut arguments = Arguments::new();
            arguments.place("values", values.start()).index("channels", channels).index("first", first);
            let read = |factor: usize| {
                let channel = format!("(column * P.channels + P.first + {factor}u)");
                format!("select(0.0f, load(P.values + {channel} * P.others + other), is_inside)")
            };
            let sums = Sums {
                costs: &self.costs,
                side,
                mass: self.mass(side, plan),
                columns: self.binding.columns(),
                kernel: "product",
                options: Vec::new(),
                arguments,
                fields: TILES.into_iter().take(factors).enumerate().map(|(k, tile)| (tile, read(k))).collect(),
                start: String::new(),
                factors,
                instructions: factors,
            };
            let of_place = |place: &Place<'_>| -> Vec<String> {
                TILES.iter().take(factors).map(|tile| place.field(tile)).collect()
            };
            let of_step = |step: &Step<'_>| (String::new(), step.places.iter().map(of_place).collect());
            sums.record(&of_step, [first, channels], out)?;
        }
        Ok(())
    }

    /// out_k = sum of the mass times the cost, where `factor` makes a factor of a cost.
    fn total_cost(
        &self,
        mass: Mass<'_>,
        kernel: &'static str,
        factor: &dyn Fn(&Place<'_>) -> String,
        out: &mut DeviceReduced,
    ) -> Result<(), Error> {
        let (side, columns) = (Side::Source, out.len());
        let rows = self.backend.alloc(self.costs.len(side), columns)?;
        let sums = Sums {
            costs: &self.costs,
            side,
            mass,
            columns,
            kernel,
            options: Vec::new(),
            arguments: Arguments::new(),
            fields: Vec::new(),
            start: String::new(),
            factors: 1,
            instructions: 1,
        };
        let of_step = |step: &Step<'_>| (String::new(), step.places.iter().map(|place| vec![factor(place)]).collect());
        sums.record(&of_step, [0, 1], &rows)?;
        self.total(&rows, out)
    }

    /// out_k = the sum of the rows of column k.
    pub(super) fn total(&self, rows: &DeviceVector, out: &mut DeviceReduced) -> Result<(), Error> {
        let itself = Program::record(|[x]| [x])?;
        self.backend.reduce(&itself, Fold::Sum, rows.rows(), &[Operand::Vector(rows)], &mut [out])
    }
}

/// out = P^T diag(d) P v, or with the sides the other way round, by two products with the plan.
pub(super) fn two_products<D: WgpuDevice>(
    kernel: &mut dyn PlanOperator<D>,
    backend: &WgpuBackend<D>,
    side: Side,
    plan: PlanView<'_, D>,
    [diagonal, values]: [&DeviceVector<D>; 2],
    out: &mut DeviceVector<D>,
) -> Result<(), Error> {
    let other = side.opposite();
    let mut middle = backend.alloc(kernel.len(other), kernel.columns())?;
    kernel.apply(other, plan, values, &mut middle)?;
    let times = Program::record(|[d, v]| [d * v])?;
    backend.map(&times, &[Operand::Vector(diagonal), Operand::Output(0)], &mut [&mut middle])?;
    kernel.apply(side, plan, &middle, out)
}

impl TransportCost<Wgpu> for WgpuKernel {
    /// A forbidden pair has no mass, and a finite number for a cost.
    fn plan_cost(&mut self, plan: PlanView<'_, Wgpu>, out: &mut DeviceReduced) -> Result<(), Error> {
        self.total_cost(self.mass(Side::Source, plan), "cost of a plan", &|place| place.cost.into(), out)
    }

    fn rank_one_cost(&mut self, u: &DeviceVector, v: &DeviceVector, out: &mut DeviceReduced) -> Result<(), Error> {
        let factor = |place: &Place<'_>| {
            let cost = place.cost;
            let is_forbidden = format!("{cost} > 1.0e38f && {} > 0.0f", place.field("tile_weight"));
            format!("select({cost}, opaque_bits(0x7f800000u), {is_forbidden})")
        };
        self.total_cost(Mass::Product { weights: [u, v] }, "cost of a product", &factor, out)
    }
}

impl PlanProduct<Wgpu> for WgpuKernel {
    fn normal_product(
        &mut self,
        side: Side,
        plan: PlanView<'_, Wgpu>,
        diagonal: &DeviceVector,
        values: &DeviceVector,
        out: &mut DeviceVector,
    ) -> Result<(), Error> {
        let backend = self.backend.clone();
        two_products(self, &backend, side, plan, [diagonal, values], out)
    }

    /// For entropy h*'' is h*'.
    fn curvature_product(
        &mut self,
        side: Side,
        plan: PlanView<'_, Wgpu>,
        values: &DeviceVector,
        out: &mut DeviceVector,
    ) -> Result<(), Error> {
        self.product(side, plan, values, out)
    }
}
