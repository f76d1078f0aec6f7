//! Hard c-transforms axis after axis: minima of minima, and the node at which each is.

use ot_core::{ArcThreshold, Error, HardTransform, PlanOperator, PricedArc, Side};

use super::{
    kernel::GridKernel,
    lines::{LinePass, enter},
};
use crate::{
    backend::Wgpu,
    gpu::{Arguments, Key},
    vector::DeviceVector,
};

impl HardTransform<Wgpu> for GridKernel {
    fn hard_c_transform(
        &mut self,
        side: Side,
        potential: &DeviceVector,
        log_weights: &DeviceVector,
        out: &mut DeviceVector,
        argument: Option<&mut Vec<u32>>,
    ) -> Result<(), Error> {
        let (tables, rows, columns) = (&*self.tables, out.rows(), out.columns());
        let minimisers = tables.gpu.take(rows * columns, "minimisers")?;
        let (lines, stride) = (tables.lines(side), tables.largest(side));
        let list: Vec<u32> = (0..columns as u32).collect();
        for list in list.chunks(tables.listed(side)) {
            // Minima and their places, of the tensor that enters and of the one that leaves.
            let take = || tables.gpu.take(2 * stride * list.len(), "minima of a grid");
            let (mut from, mut to) = (take()?, take()?);
            let offset = (stride * list.len()) as u32;
            self.enter(side, [potential, log_weights], from.start(), stride, list)?;
            for (k, &of_axis) in lines.iter().enumerate() {
                let (is_first, is_last) = (k == 0, k + 1 == lines.len());
                let mut arguments = Arguments::new();
                arguments.place("entering", from.start()).place("places", from.start() + offset);
                arguments.index("stride", stride).index("columns", columns).index("channels", columns);
                match is_last {
                    true => arguments.place("leaving", out.start()).place("leaving_places", minimisers.start()),
                    false => arguments.place("leaving", to.start()).place("leaving_places", to.start() + offset),
                };
                arguments.index("rows", rows);
                let options = vec![u32::from(is_first), u32::from(is_last)];
                let key = Key { kernel: "minima along lines", formulas: Vec::new(), options };
                minima(is_first, is_last).launch(tables, of_axis, &key, arguments, list)?;
                std::mem::swap(&mut from, &mut to);
            }
        }
        if let Some(argument) = argument {
            *argument = tables.gpu.read(&[(minimisers.start(), rows * columns)])?.concat();
        }
        Ok(())
    }

    /// By all pairs of nodes.
    fn arcs_below(
        &mut self,
        source_potential: &DeviceVector,
        target_potential: &DeviceVector,
        column: usize,
        threshold: ArcThreshold<'_>,
        limit: usize,
    ) -> Result<Vec<PricedArc>, Error> {
        let nodes = self.nodes.hard_transform().ok_or(Error::MissingCapability("arcs below a threshold"))?;
        nodes.arcs_below(source_potential, target_potential, column, threshold, limit)
    }
}

impl GridKernel {
    /// -g, out of reach where there is no mass.
    fn enter(
        &self,
        side: Side,
        [potential, log_weights]: [&DeviceVector; 2],
        entering: u32,
        stride: usize,
        list: &[u32],
    ) -> Result<(), Error> {
        let nodes = self.tables.costs.len(side.opposite());
        let mut arguments = Arguments::new();
        arguments.place("entering", entering).index("stride", stride).index("nodes", nodes);
        arguments.vector("potential", potential).vector("logarithms", log_weights);
        arguments.index("channels", potential.columns()).index("columns", potential.columns());
        let key = Key { kernel: "leaves of a grid", formulas: Vec::new(), options: Vec::new() };
        let text = "let is_lit = load(P.logarithms_at + column * P.logarithms_stride + node) > -0.5e30f;
let value = select(1.0e38f, -load(P.potential_at + column * P.potential_stride + node), is_lit);
";
        enter(&self.tables, &key, text, &arguments, list, nodes)
    }
}

/// The least of C + t along lines, and the node at which it is: the first of equals in the order of the nodes.
fn minima(is_first: bool, is_last: bool) -> LinePass {
    let place = match is_first {
        true => "let node$_ = other$;\n",
        false => "let node$_ = S[P.places + tensor * P.stride + place$] * P.others + other$;\n",
    };
    let end = match is_last {
        true => {
            "let is_lit = least# < 5.0e37f;
store(P.leaving + column * P.rows + node#, select(opaque(1.0e30f), least#, is_lit));
S[P.leaving_places + column * P.rows + node#] = select(0xffffffffu, argument#, is_lit);
"
        }
        false => {
            "store(P.leaving + tensor * P.stride + node#, least#);
S[P.leaving_places + tensor * P.stride + node#] = argument#;
"
        }
    };
    LinePass {
        start: "var least# = 3.0e38f;\nvar argument# = 0u;\n".into(),
        entering: format!(
            "let value$ = select(2.0e38f, load(P.entering + tensor * P.stride + place$), is_inside$);\n{place}"
        ),
        pair: "let sum#_$ = min(value$ + cost#_$, 2.0e38f);
if (sum#_$ < least# || (sum#_$ == least# && node$_ < argument#)) { least# = sum#_$; argument# = node$_; }
"
        .into(),
        end: end.into(),
        ..LinePass::default()
    }
}
