//! Sums over the entries of a plan, row by row: products with values, costs, derivatives.
//!
//! ```text
//! out_ik = a_i sum_j b_j 2^(K (f_i + g_j - C_ij)) q_ijk
//! ```
//!
//! for up to four factors q at once. A first pass sums over tiles, a second one over what is split over workgroups; both add
//! the sums of tiles as pairs.

use std::{f64::consts::LOG2_E, fmt::Write};

use ot_core::{Error, Side};

use super::{
    costs::Costs,
    row_pass::{Cut, Place, RowPass, Step, launch, listed},
};
use crate::{
    gpu::{Arguments, Key, Launch, MAX_GROUPS},
    vector::DeviceVector,
};

/// The most factors of one pass.
pub(super) const MAX_FACTORS: usize = 4;

/// Invocations of a workgroup of the second pass.
const WORKGROUP: usize = 64;

/// What multiplies the entries of a pair.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mass<'a> {
    /// Those of a plan: potentials and weights of the own side and of the other.
    Plan { potentials: [&'a DeviceVector; 2], weights: [&'a DeviceVector; 2], epsilon: f64 },
    /// u_i v_j, of the own side and of the other.
    Product { weights: [&'a DeviceVector; 2] },
}

/// Statements for the pairs of an own atom with some others, and the factors of each pair.
pub(super) type FactorsOf<'a> = dyn Fn(&Step<'_>) -> (String, Vec<Vec<String>>) + 'a;

/// A pass that sums entries times factors.
pub(super) struct Sums<'a> {
    pub(super) costs: &'a Costs,
    pub(super) side: Side,
    pub(super) mass: Mass<'a>,
    /// Columns of the batch.
    pub(super) columns: usize,
    /// The name of the kernel, and what else its text depends on.
    pub(super) kernel: &'static str,
    pub(super) options: Vec<u32>,
    /// What the factors are told.
    pub(super) arguments: Arguments,
    /// Arrays of a tile beside the potential and the weight, and what fills them.
    pub(super) fields: Vec<(&'static str, String)>,
    /// Statements before the loop.
    pub(super) start: String,
    /// How many factors there are.
    pub(super) factors: usize,
    /// Instructions of the factors of a pair.
    pub(super) instructions: usize,
}

impl Sums<'_> {
    /// Fills columns `first`, `first + 1`, ... of the `channels` that `out` has for each column of the batch. `factors` writes
    /// statements for some pairs, and the factors of each.
    pub(super) fn record(
        &self,
        factors: &FactorsOf<'_>,
        [first, channels]: [usize; 2],
        out: &DeviceVector,
    ) -> Result<(), Error> {
        let (costs, rows) = (self.costs, self.costs.len(self.side));
        let mut arguments = self.arguments.clone();
        costs.tell(self.side, &mut arguments);
        let [own_weights, other_weights] = match self.mass {
            Mass::Plan { potentials: [own, other], weights, epsilon } => {
                arguments.number("inverse_epsilon", LOG2_E / epsilon);
                arguments.vector("own_potential", own).vector("other_potential", other);
                weights
            }
            Mass::Product { weights } => weights,
        };
        arguments.vector("other_weights", other_weights);
        let columns: Vec<u32> = (0..self.columns as u32).collect();
        for columns in columns.chunks(listed(rows)) {
            let fields = 2 + self.fields.len();
            let cut = Cut::of_long(costs, self.side, columns.len(), fields, self.instructions);
            let sums = costs.gpu.take(2 * rows * cut.splits * columns.len() * self.factors, "partial sums")?;
            let mut arguments = arguments.clone();
            arguments.place("sums", sums.start()).index("listed", columns.len());
            let is_plan = u32::from(matches!(self.mass, Mass::Plan { .. }));
            let of_pass = [is_plan, self.factors as u32];
            let key = costs.key(self.kernel, self.side, &[&cut.options()[..], &of_pass, &self.options].concat());
            launch(costs, self.side, cut, &key, &|| self.source(cut, factors), &arguments, columns)?;

            let mut arguments = Arguments::new();
            arguments.index("rows", rows).index("listed", columns.len()).index("splits", cut.splits);
            arguments.place("sums", sums.start()).vector("weights", own_weights).place("out", out.start());
            arguments.index("first", first).index("channels", channels).index("factors", self.factors);
            let groups = rows.div_ceil(WORKGROUP);
            costs.gpu.launch(&Launch {
                key: &Key { kernel: "sums of sums", formulas: Vec::new(), options: Vec::new() },
                source: &|| join_source(),
                arguments: &arguments,
                list: columns,
                windows: None,
                groups: [groups.min(MAX_GROUPS), columns.len() * self.factors, groups.div_ceil(MAX_GROUPS)],
                pairs: 0,
            })?;
        }
        Ok(())
    }

    /// The first pass.
    fn source(&self, cut: Cut, factors: &FactorsOf<'_>) -> String {
        let mut pass = RowPass {
            fields: vec![("tile_weight", "weight".into())],
            fill: "let weight = select(0.0f, load(P.other_weights_at + column * P.other_weights_stride + other), is_inside);\n"
                .into(),
            start: self.start.clone(),
            ..RowPass::default()
        };
        let is_plan = matches!(self.mass, Mass::Plan { .. });
        if is_plan {
            pass.prologue += "let inverse_epsilon = P.inverse_epsilon;\n";
            let potential = "load(P.other_potential_at + column * P.other_potential_stride + other)";
            pass.fields.push(("tile_potential", format!("select(-1.0e30f, {potential}, weight > 0.0f)")));
            pass.start += "let own_potential# = load(P.own_potential_at + column * P.own_potential_stride + own#);\n";
        }
        pass.fields.extend(self.fields.iter().cloned());
        for factor in 0..self.factors {
            let (total, part) = (format!("total{factor}_#"), format!("part{factor}_#"));
            let _ = writeln!(pass.start, "var {total} = vec2<f32>(0.0f, 0.0f);");
            let _ = writeln!(pass.before_tile, "var {part} = 0.0f;");
            let _ = writeln!(pass.after_tile, "{total} = pair_add_number({total}, {part});");
            let at = format!("((split * P.listed + list_place) * {}u + {factor}u) * P.rows + row#", self.factors);
            let _ = writeln!(pass.end, "store_pair(P.sums + 2u * ({at}), {total});");
        }
        pass.source(self.costs, self.side, cut, &|step| {
            let (mut text, factors) = factors(step);
            for (place, factors) in step.places.iter().zip(factors) {
                let Place { row, lane, cost, .. } = place;
                let [weight, potential] = ["tile_weight", "tile_potential"].map(|name| place.field(name));
                let mass = if is_plan {
                    format!("{weight} * exp2(inverse_epsilon * (({potential} - {cost}) + own_potential{row}))")
                } else {
                    weight
                };
                let _ = writeln!(text, "let mass{row}_{lane} = {mass};");
                for (index, factor) in factors.iter().enumerate() {
                    let _ = writeln!(text, "part{index}_{row} += mass{row}_{lane} * {factor};");
                }
            }
            text
        })
    }
}

/// The second pass: an atom without weight of its own has none.
fn join_source() -> String {
    format!(
        "@compute @workgroup_size({WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {{
let row = (group.x + group.z * {MAX_GROUPS}u) * {WORKGROUP}u + id.x;
if (row >= P.rows) {{ return; }}
let list_place = group.y / P.factors;
let factor = group.y % P.factors;
let column = P.list[list_place];
var total = vec2<f32>(0.0f, 0.0f);
for (var split = 0u; split < P.splits; split++) {{
let at = ((split * P.listed + list_place) * P.factors + factor) * P.rows + row;
total = pair_add(total, load_pair(P.sums + 2u * at));
}}
let weight = load(P.weights_at + column * P.weights_stride + row);
let out = P.out + (column * P.channels + P.first + factor) * P.rows + row;
store(out, select(0.0f, weight * total.x, weight > 0.0f));
}}
"
    )
}

/// out_k = sum over the rows of column k, in pairs, as numbers: one after the other in the words from `out` on.
pub(super) fn sum_rows(costs: &Costs, vector: &DeviceVector, out: u32, columns: usize) -> Result<(), Error> {
    let mut arguments = Arguments::new();
    arguments.index("rows", vector.rows()).place("vector", vector.start()).place("out", out).index("columns", columns);
    costs.gpu.launch(&Launch {
        key: &Key { kernel: "sums of columns", formulas: Vec::new(), options: Vec::new() },
        source: &|| {
            format!(
                "var<workgroup> tree: array<vec2<f32>, {WORKGROUP}>;
@compute @workgroup_size({WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {{
let column = group.x;
var total = vec2<f32>(0.0f, 0.0f);
for (var row = id.x; row < P.rows; row += {WORKGROUP}u) {{
total = pair_add_number(total, load(P.vector + column * P.rows + row));
}}
tree[id.x] = total;
workgroupBarrier();
for (var span = {}u; span > 0u; span /= 2u) {{
if (id.x < span) {{ tree[id.x] = pair_add(tree[id.x], tree[id.x + span]); }}
workgroupBarrier();
}}
if (id.x == 0u) {{ store(P.out + column, tree[0].x); }}
}}
",
                WORKGROUP / 2
            )
        },
        arguments: &arguments,
        list: &[],
        windows: None,
        groups: [columns, 1, 1],
        pairs: 0,
    })
}
