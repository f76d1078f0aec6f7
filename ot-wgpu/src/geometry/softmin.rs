//! Softmins: a pass that sums exponentials around the previous potential, and one that joins the sums.
//!
//! ```text
//! S_i = sum_j b_j 2^(K (f_i + g_j - C_ij))        out_i = f_i - epsilon log S_i        K = 1 / (epsilon log 2)
//! ```
//!
//! With the previous potential f as shift no maximum is needed: S_i is the density of the plan at atom i. Where it leaves
//! [2^-64, 2^64], and where weights underflow that their logarithms tell, the second pass does the atom again with the largest
//! exponent as shift. That path is rare, and kept out of the first pass, which it would slow down.

use std::f64::consts::{LN_2, LOG2_E};

use ot_core::{ActiveColumns, Error, PlanSide, Program, Scalar, Side};

use super::{
    costs::{Costs, FORBIDDEN, Other},
    row_pass::{Cut, MAX_STEPS, Place, RowPass, launch, listed},
};
use crate::{
    backend::Wgpu,
    gpu::{Arguments, Launch, MAX_GROUPS},
    vector::{DeviceReduced, DeviceVector},
    wgsl::{Arithmetic, Names, emit},
};

/// Invocations of a workgroup of the second pass.
const WORKGROUP: usize = 256;

/// Pairs of one step of its loops.
const LANES: usize = 4;

/// What a softmin is asked, and what is made of it.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) side: Side,
    pub(super) epsilon: f64,
    /// Potential and weights of the other side.
    pub(super) other: PlanSide<'a, Wgpu>,
    /// The previous potential.
    pub(super) shift: &'a DeviceVector,
    pub(super) active: &'a ActiveColumns,
    /// The relaxed step of a penalty, (f, s, omega, epsilon) to the next potential, and omega: f is the shift.
    pub(super) step: Option<(&'a Program, &'a DeviceReduced)>,
}

impl Request<'_> {
    /// Records both passes.
    pub(super) fn record(&self, costs: &Costs, out: &DeviceVector) -> Result<(), Error> {
        let rows = costs.len(self.side);
        let mut arguments = Arguments::new();
        costs.tell(self.side, &mut arguments);
        arguments.number("inverse_epsilon", LOG2_E / self.epsilon).vector("shift", self.shift);
        arguments.vector("potential", self.other.potential).vector("weights", self.other.weights);
        arguments.vector("logarithms", self.other.log_weights);
        let columns: Vec<u32> = self.active.indices().iter().map(|&column| column as u32).collect();
        for columns in columns.chunks(listed(rows)) {
            let cut = Cut::new(costs, self.side, columns.len(), 2);
            let sums = costs.gpu.take(rows * cut.splits * columns.len(), "partial sums")?;
            let mut arguments = arguments.clone();
            arguments.place("sums", sums.start()).index("listed", columns.len());
            let key = costs.key("sums of exponentials", self.side, &cut.options());
            launch(costs, self.side, cut, &key, &|| sum_source(costs, self.side, cut), &arguments, columns)?;
            self.join(costs, cut, arguments, columns, out)?;
        }
        Ok(())
    }

    /// The second pass.
    fn join(
        &self,
        costs: &Costs,
        cut: Cut,
        mut arguments: Arguments,
        columns: &[u32],
        out: &DeviceVector,
    ) -> Result<(), Error> {
        let [rows, others] = [self.side, self.side.opposite()].map(|side| costs.len(side));
        // Two loops over the others for each atom that is done again.
        let steps = 2 * others.div_ceil(WORKGROUP * LANES) * costs.steps();
        let atoms = 1 << (MAX_STEPS / steps.max(1)).clamp(1, 64).ilog2();
        arguments.index("splits", cut.splits).place("out", out.start());
        arguments.number("epsilon_ln_2", LN_2 * self.epsilon).number("epsilon", self.epsilon);
        if let Some((program, omega)) = self.step {
            arguments.reduced("omega", omega).parameters("p", program, Arithmetic::Single);
        }
        let mut key = costs.key("softmins of sums", self.side, &[atoms as u32, u32::from(self.step.is_some())]);
        key.formulas.extend(self.step.map(|(program, _)| program.code_key()));
        let groups = rows.div_ceil(atoms);
        costs.gpu.launch(&Launch {
            key: &key,
            source: &|| self.join_source(costs, atoms),
            arguments: &arguments,
            list: columns,
            windows: costs.windows(),
            groups: [groups.min(MAX_GROUPS), columns.len(), groups.div_ceil(MAX_GROUPS)],
            pairs: 0,
        })
    }

    /// Joins the sums of an atom, and does those atoms again, all invocations together, whose sum cannot be trusted.
    fn join_source(&self, costs: &Costs, atoms: usize) -> String {
        let lanes = 0..LANES;
        let others: Vec<Other> = lanes.clone().map(|lane| Other { slot: None, index: format!("j{lane}") }).collect();
        let indices: String = lanes.map(|lane| format!("let j{lane} = j + {}u;\n", lane * WORKGROUP)).collect();
        let (evaluate, names) = costs.between(self.side, &[String::new()], &others, 0);
        let names = &names[0];
        let each = |statement: &dyn Fn(usize, &String) -> String| -> String {
            names.iter().enumerate().map(|(lane, cost)| statement(lane, cost)).collect()
        };
        let greatest = each(&|lane, cost| format!("best = max(best, exponent(j{lane}, column, {cost}));\n"));
        let sums = each(&|lane, cost| format!("total += term(j{lane}, column, {cost}, largest);\n"));
        let (statements, result) = ending(self.step.map(|(program, _)| program), "before");
        format!(
            "{declarations}{RARE}
var<workgroup> again: array<u32, {atoms}>;
var<workgroup> any: u32;
var<workgroup> tree: array<f32, {WORKGROUP}>;
var<workgroup> found: array<f32, {atoms}>;
@compute @workgroup_size({WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {{
let lane = id.x;
{parameters}let list_place = group.y;
let column = P.list[list_place];
let first = (group.x + group.z * {MAX_GROUPS}u) * {atoms}u;
let row = first + lane;
let is_atom = lane < {atoms}u && row < P.rows;
if (lane == 0u) {{ any = 0u; }}
workgroupBarrier();
var before = 0.0f;
if (is_atom) {{
before = load(P.shift_at + column * P.shift_stride + row);
var sum = 0.0f;
var is_good = true;
for (var split = 0u; split < P.splits; split++) {{
let part = load(P.sums + (split * P.listed + list_place) * P.rows + row);
is_good = is_good && bitcast<u32>(part) <= {LARGEST:#x}u;
sum += part;
}}
is_good = is_good && bitcast<u32>(sum) >= {SMALLEST:#x}u && bitcast<u32>(sum) <= {LARGEST:#x}u;
found[lane] = before - P.epsilon_ln_2 * log2(sum);
again[lane] = select(1u, 0u, is_good);
if (!is_good) {{ any = 1u; }}
}}
if (workgroupUniformLoad(&any) != 0u) {{
for (var atom = 0u; atom < {atoms}u; atom++) {{
let own = min(first + atom, P.rows - 1u);
let is_wanted = again[atom] != 0u && first + atom < P.rows;
var best = -{FORBIDDEN:e}f;
if (is_wanted) {{
{read_own}for (var j = lane; j < P.others; j += {step}u) {{
{indices}{evaluate}{greatest}}}
}}
tree[lane] = best;
{largest}let largest = tree[0];
workgroupBarrier();
var total = 0.0f;
if (is_wanted) {{
{read_own}for (var j = lane; j < P.others; j += {step}u) {{
{indices}{evaluate}{sums}}}
}}
tree[lane] = total;
{joined}if (lane == 0u && is_wanted) {{
found[atom] = select(unreachable(), -largest - P.epsilon_ln_2 * log2(tree[0]), largest > -1.0e38f);
}}
workgroupBarrier();
}}
}}
workgroupBarrier();
if (is_atom) {{
let softmin = clamp(found[lane], -{LIMIT:e}f, {LIMIT:e}f);
{statements}store(P.out + column * P.rows + row, {result});
}}
}}
",
            declarations = costs.declarations(None),
            parameters = costs.read_parameters(),
            read_own = costs.read_own(""),
            step = WORKGROUP * LANES,
            largest = tree_of("max(tree[lane], tree[lane + span])"),
            joined = tree_of("tree[lane] + tree[lane + span]"),
            LARGEST = 2.0_f32.powi(64).to_bits(),
            SMALLEST = 2.0_f32.powi(-64).to_bits(),
            LIMIT = <f32 as Scalar>::LARGEST_COST,
        )
    }
}

/// What is made of the variable `softmin`, statements and the number: itself, or the relaxed step of a penalty from `before`.
pub(super) fn ending(step: Option<&Program>, before: &str) -> (String, String) {
    let Some(program) = step else { return (String::new(), "softmin".into()) };
    let names = [before, "softmin", "load(P.omega_at + column * P.omega_stride)", "P.epsilon"].map(String::from);
    let parameter = |index: usize| Arguments::parameter("p", index, Arithmetic::Single);
    let mut emitted = emit(program, Arithmetic::Single, &Names(&names), &parameter, "t");
    (emitted.statements, emitted.outputs.swap_remove(0))
}

/// A tree over the array `tree`, whose root is the first of it.
fn tree_of(joined: &str) -> String {
    format!(
        "workgroupBarrier();
for (var span = {}u; span > 0u; span /= 2u) {{
if (lane < span) {{ tree[lane] = {joined}; }}
workgroupBarrier();
}}
",
        WORKGROUP / 2
    )
}

/// The exponent of an atom in units of the cost, and its term around the largest exponent.
const RARE: &str = "
fn unreachable() -> f32 { return 1.0e30f; }
fn exponent(j: u32, column: u32, cost: f32) -> f32 {
let other = min(j, P.others - 1u);
let logarithm = load(P.logarithms_at + column * P.logarithms_stride + other);
let is_counted = j < P.others && logarithm > -0.5e30f && cost < 1.0e38f;
let value = load(P.potential_at + column * P.potential_stride + other) - cost + P.epsilon * logarithm;
return select(-3.0e38f, value, is_counted);
}
fn term(j: u32, column: u32, cost: f32, largest: f32) -> f32 {
let other = min(j, P.others - 1u);
let logarithm = load(P.logarithms_at + column * P.logarithms_stride + other);
let is_counted = j < P.others && logarithm > -0.5e30f && cost < 1.0e38f;
let value = (load(P.potential_at + column * P.potential_stride + other) - cost) - largest;
let power = max(P.inverse_epsilon * value + 1.44269504f * logarithm, -1000.0f);
return select(0.0f, exp2(power), is_counted);
}
";

/// The first pass: sums of an atom and column over the others of a chunk. A sum below zero asks for the second path.
fn sum_source(costs: &Costs, side: Side, cut: Cut) -> String {
    let pass = RowPass {
        fields: vec![
            (
                "tile_potential",
                "select(-1.0e30f, load(P.potential_at + column * P.potential_stride + other), weight > 0.0f)".into(),
            ),
            ("tile_weight", "weight".into()),
        ],
        declarations: "var<workgroup> lost: atomic<u32>;\n".into(),
        prologue: "if (id.x == 0u) { atomicStore(&lost, 0u); }\nlet inverse_epsilon = P.inverse_epsilon;\n".into(),
        start: "let shift# = load(P.shift_at + column * P.shift_stride + own#);
var total# = vec2<f32>(0.0f, 0.0f);
"
        .into(),
        fill: format!(
            "let weight = select(0.0f, load(P.weights_at + column * P.weights_stride + other), is_inside);
if (is_inside && weight < {TINY:e}f) {{
if (load(P.logarithms_at + column * P.logarithms_stride + other) > -0.5e30f) {{ atomicStore(&lost, 1u); }}
}}
",
            TINY = f32::MIN_POSITIVE
        ),
        before_tile: "var part# = 0.0f;\n".into(),
        after_tile: "total# = pair_add_number(total#, part#);\n".into(),
        end: "let sum = select(total#.x, -1.0f, atomicLoad(&lost) != 0u);
store(P.sums + (split * P.listed + list_place) * P.rows + row#, sum);
"
        .into(),
    };
    pass.source(costs, side, cut, &|step| {
        let term = |place: &Place<'_>| {
            let [weight, potential] = ["tile_weight", "tile_potential"].map(|name| place.field(name));
            let slack = format!("(({potential} - {}) + shift{})", place.cost, place.row);
            format!("{weight} * exp2(inverse_epsilon * {slack})")
        };
        let terms: Vec<String> = step.places.iter().map(term).collect();
        format!("part{} += {};\n", step.places[0].row, terms.join(" + "))
    })
}
