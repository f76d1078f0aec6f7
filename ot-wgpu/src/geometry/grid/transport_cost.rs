//! The cost of a plan, axis after axis: on the axis whose cost is summed, terms are multiplied by it.

use ot_core::{Backend, Error, PlanOperator, PlanView, Side, TransportCost};

use super::{
    kernel::{GridKernel, added},
    sums::{Ending, Entering, LogSums, Sign},
};
use crate::{
    backend::Wgpu,
    gpu::{Arguments, Key},
    vector::{DeviceReduced, DeviceVector},
};

/// A part of the cost: the axis whose cost above the least is meant, and what it is a multiple of.
type Part = (Option<usize>, f64);

impl GridKernel {
    /// The cost as a sum of parts: each axis above its least, and all that is least.
    fn parts(&self) -> Vec<Part> {
        let ranges = || self.tables.costs.axes().iter().map(|axis| axis.range());
        let least: f64 = ranges().map(|[least, _]| least).sum();
        let above = ranges().enumerate().map(|(axis, [least, largest])| (Some(axis), largest - least));
        above.chain((least != 0.0).then_some((None, least))).collect()
    }
}

impl TransportCost<Wgpu> for GridKernel {
    fn plan_cost(&mut self, plan: PlanView<'_, Wgpu>, out: &mut DeviceReduced) -> Result<(), Error> {
        let (side, columns) = (Side::Source, out.len());
        let rows = self.nodes.backend.alloc(self.tables.costs.len(side), columns)?;
        let list: Vec<u32> = (0..columns as u32).collect();
        for (index, (weighted, factor)) in self.parts().into_iter().enumerate() {
            let sums = LogSums {
                tables: &self.tables,
                side,
                epsilon: Some(self.epsilon()),
                entering: Entering { plan: Some([plan.target.potential, plan.target.log_weights]), values: None },
                weighted,
                ending: self.mass(plan.source, factor, index == 0, &rows),
            };
            sums.record(&list, [columns; 2])?;
        }
        self.nodes.total(&rows, out)
    }

    fn rank_one_cost(&mut self, u: &DeviceVector, v: &DeviceVector, out: &mut DeviceReduced) -> Result<(), Error> {
        let (side, columns) = (Side::Source, out.len());
        let rows = self.nodes.backend.alloc(self.tables.costs.len(side), columns)?;
        let list: Vec<u32> = (0..columns as u32).collect();
        let mut is_first = true;
        for (weighted, factor) in self.parts() {
            for sign in Sign::BOTH {
                let mut arguments = Arguments::new();
                arguments.place("out", rows.start()).index("rows", rows.rows()).vector("u", u);
                arguments.number("factor", sign.factor() * factor);
                let counted = "let counted = P.factor * load(P.u_at + column * P.u_stride + node#) * select(0.0f, exp2(sum), is_lit);\n";
                let options = vec![u32::from(is_first)];
                let sums = LogSums {
                    tables: &self.tables,
                    side,
                    epsilon: None,
                    entering: Entering { plan: None, values: Some((v, sign)) },
                    weighted,
                    ending: Ending {
                        kernel: Key { kernel: "product of marginals of a grid", formulas: Vec::new(), options },
                        text: format!("{counted}{}", added(is_first)),
                        arguments,
                    },
                };
                sums.record(&list, [columns; 2])?;
                is_first = false;
            }
        }
        self.nodes.total(&rows, out)
    }
}
