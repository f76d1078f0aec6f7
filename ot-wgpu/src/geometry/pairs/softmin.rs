//! Softmins in pairs.
//!
//! ```text
//! S_i = sum_j exp((f_i + g_j - C_ij) / epsilon + log b_j)        out_i = f_i - epsilon log S_i
//! ```
//!
//! around the previous potential f. Where S_i leaves [2^-64, 2^64], the atom is done again around its largest exponent.

use ot_core::{ActiveColumns, Error, PlanSide, Scalar, Side};

use super::{
    costs::PairCosts,
    row_fold::{HEADER, Kernel, WORKGROUP, launch},
};
use crate::{device::WgpuPairs, gpu::Arguments, vector::DeviceVector};

/// Loops over the atoms of the other side: around the shift, for the largest exponent, and around it.
const LOOPS: usize = 3;

/// What a softmin is asked.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) side: Side,
    pub(super) epsilon: f64,
    /// Potential and weights of the other side.
    pub(super) other: PlanSide<'a, WgpuPairs>,
    /// The previous potential.
    pub(super) shift: &'a DeviceVector<WgpuPairs>,
    pub(super) active: &'a ActiveColumns,
}

impl Request<'_> {
    pub(super) fn record(&self, costs: &PairCosts, out: &DeviceVector<WgpuPairs>) -> Result<(), Error> {
        let mut arguments = Arguments::new();
        costs.tell(self.side, &mut arguments);
        arguments
            .pair("epsilon", self.epsilon)
            .pair("inverse_epsilon", self.epsilon.recip())
            .vector("shift", self.shift);
        arguments.vector("potential", self.other.potential).vector("logarithms", self.other.log_weights);
        arguments.place("out", out.start());
        let columns: Vec<u32> = self.active.indices().iter().map(|&column| column as u32).collect();
        let source = || source(costs, self.side);
        let kernel = Kernel { name: "softmins in pairs", options: &[], loops: LOOPS };
        launch(costs, self.side, kernel, &source, &arguments, &columns)
    }
}

/// The exponent of an atom of the other side less its largest possible one, and whether it counts at all.
pub(super) const EXPONENT: &str = "
fn exponent(slack: vec2<f32>, logarithm: vec2<f32>) -> vec2<f32> {
let inverse = vec2<f32>(P.inverse_epsilon_high, P.inverse_epsilon_low);
let power = pair_add(pair_mul(slack, inverse), logarithm);
return select(vec2<f32>(-1000.0f, 0.0f), power, power.x > -1000.0f);
}
fn is_counted(cost: vec2<f32>, logarithm: vec2<f32>) -> bool { return logarithm.x > -0.5e30f && cost.x < 1.0e38f; }
";

fn source(costs: &PairCosts, side: Side) -> String {
    let loop_over = |body: &str| {
        format!(
            "for (var other = lane; other < P.others; other += {WORKGROUP}u) {{
{cost}let logarithm = load_pair(P.logarithms_at + 2u * (column * P.logarithms_stride + other));
let potential = load_pair(P.potential_at + 2u * (column * P.potential_stride + other));
let counted = is_counted(cost, logarithm);
{body}}}
",
            cost = costs.between(side)
        )
    };
    let tree = |joined: &str| {
        format!(
            "workgroupBarrier();
for (var span = {}u; span > 0u; span /= 2u) {{
if (lane < span) {{ tree[lane] = {joined}; }}
workgroupBarrier();
}}
",
            WORKGROUP / 2
        )
    };
    let sum = tree("pair_add(tree[lane], tree[lane + span])");
    format!(
        "{EXPONENT}
var<workgroup> tree: array<vec2<f32>, {WORKGROUP}>;
var<workgroup> again: u32;
{HEADER}{own}let shift = load_pair(P.shift_at + 2u * (column * P.shift_stride + row));
let epsilon = vec2<f32>(P.epsilon_high, P.epsilon_low);
var total = vec2<f32>(0.0f, 0.0f);
{around_shift}tree[lane] = total;
{sum}let first = tree[0];
if (lane == 0u) {{
let bits = bitcast<u32>(first.x);
again = select(1u, 0u, bits >= {SMALLEST:#x}u && bits <= {LARGEST:#x}u);
}}
var softmin = pair_add(shift, -pair_mul(epsilon, pair_ln(first)));
if (workgroupUniformLoad(&again) != 0u) {{
var best = vec2<f32>(-3.0e38f, 0.0f);
{greatest}tree[lane] = best;
{largest}let largest = vec2<f32>(tree[0].x, 0.0f);
workgroupBarrier();
total = vec2<f32>(0.0f, 0.0f);
{around_largest}tree[lane] = total;
{sum}let found = -pair_add(largest, pair_mul(epsilon, pair_ln(tree[0])));
softmin = select(vec2<f32>(1.0e30f, 0.0f), found, largest.x > -1.0e38f);
}}
if (lane == 0u) {{
let is_small = softmin.x < -{LIMIT:e}f;
let is_large = softmin.x > {LIMIT:e}f;
softmin = select(softmin, vec2<f32>(select({LIMIT:e}f, -{LIMIT:e}f, is_small), 0.0f), is_small || is_large);
store_pair(P.out + 2u * (column * P.rows + row), softmin);
}}
}}
",
        own = costs.read_own(),
        around_shift = loop_over(
            "let power = exponent(pair_add(pair_add(shift, potential), -cost), logarithm);
total = pair_add(total, select(vec2<f32>(0.0f, 0.0f), pair_exp(power), counted));
"
        ),
        greatest = loop_over(
            "let value = pair_add(pair_add(potential, -cost), pair_mul(epsilon, logarithm));
best = select(best, value, counted && value.x > best.x);
"
        ),
        largest = tree("select(tree[lane], tree[lane + span], tree[lane + span].x > tree[lane].x)"),
        around_largest = loop_over(
            "let power = exponent(pair_add(pair_add(potential, -cost), -largest), logarithm);
total = pair_add(total, select(vec2<f32>(0.0f, 0.0f), pair_exp(power), counted));
"
        ),
        SMALLEST = 2.0_f32.powi(-64).to_bits(),
        LARGEST = 2.0_f32.powi(64).to_bits(),
        LIMIT = <f32 as Scalar>::LARGEST_COST,
    )
}
