//! Folds over the pairs of each atom of a side: a workgroup for each atom, whose invocations share the atoms of the other side.

use std::fmt::Write;

use ot_core::{Error, Fold, Side};

use super::costs::PairCosts;
use crate::{
    gpu::{Arguments, Launch, MAX_GROUPS, MAX_PAIRS},
    wgsl::{fold_start, joined_pairs},
};

/// Invocations of a workgroup.
pub(super) const WORKGROUP: usize = 64;

/// Steps of all loops of an invocation: software ends them after 65 535, silently.
const MAX_STEPS: usize = 50_000;

/// Steps of the loop in an exponential.
const EXPONENTIAL_STEPS: usize = 8;

/// How many times the work of a pair in single precision a pair of atoms is.
const OPERATIONS: u64 = 32;

/// Pairs of atoms of one launch.
const MAX_PAIRS_OF_LAUNCH: u64 = MAX_PAIRS / OPERATIONS;

/// The most columns of one launch.
const MAX_LISTED: usize = 256;

/// Sums, maxima and minima of expressions in pairs over all others, for each own atom.
pub(super) struct RowFold<'a> {
    pub(super) costs: &'a PairCosts,
    pub(super) side: Side,
    /// The name of the kernel, and what else its text depends on.
    pub(super) kernel: &'static str,
    pub(super) options: Vec<u32>,
    /// Declarations of the module.
    pub(super) declarations: &'a str,
    /// Statements before the loop. They know `row`, `column` and `lane`.
    pub(super) start: &'a str,
    /// Statements for a pair, behind those of the cost. They know `other` and `cost`.
    pub(super) pair: &'a str,
    /// What is folded.
    pub(super) folds: &'a [(Fold, String)],
    /// Statements of one invocation at the end, which know the variables `result0`, ...
    pub(super) end: &'a str,
}

impl RowFold<'_> {
    /// Launches the fold for some columns.
    pub(super) fn launch(&self, arguments: &Arguments, columns: usize) -> Result<(), Error> {
        let columns: Vec<u32> = (0..columns as u32).collect();
        let kernel = Kernel { name: self.kernel, options: &self.options, loops: 1 };
        launch(self.costs, self.side, kernel, &|| self.source(), arguments, &columns)
    }

    fn source(&self) -> String {
        let [mut trees, mut totals, mut takes, mut keeps, mut joins, mut results] = [const { String::new() }; 6];
        for (index, (fold, value)) in self.folds.iter().enumerate() {
            let (total, tree) = (format!("total{index}"), format!("tree{index}"));
            let _ = writeln!(trees, "var<workgroup> {tree}: array<vec2<f32>, {WORKGROUP}>;");
            let _ = writeln!(totals, "var {total} = vec2<f32>({}, 0.0f);", fold_start(*fold));
            let _ = writeln!(
                takes,
                "let value{index} = {value};\n{total} = {};",
                joined_pairs(*fold, &total, &format!("value{index}"))
            );
            let _ = writeln!(keeps, "{tree}[lane] = {total};");
            let _ = writeln!(
                joins,
                "{tree}[lane] = {};",
                joined_pairs(*fold, &format!("{tree}[lane]"), &format!("{tree}[lane + span]"))
            );
            let _ = writeln!(results, "let result{index} = {tree}[0];");
        }
        format!(
            "{declarations}{trees}{HEADER}{own}{start}{totals}for (var other = lane; other < P.others; other += {WORKGROUP}u) {{
{cost}{pair}{takes}}}
{keeps}workgroupBarrier();
for (var span = {half}u; span > 0u; span /= 2u) {{
if (lane < span) {{
{joins}}}
workgroupBarrier();
}}
if (lane == 0u) {{
{results}{end}}}
}}
",
            declarations = self.declarations,
            own = self.costs.read_own(),
            start = self.start,
            cost = self.costs.between(self.side),
            pair = self.pair,
            half = WORKGROUP / 2,
            end = self.end,
        )
    }
}

/// The head of a kernel of which a workgroup has the atom `row` and the column `column`.
pub(super) const HEADER: &str = "@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {
let lane = id.x;
let column = P.list[group.y];
let row = P.first_row + group.x;
if (row >= P.rows) { return; }
";

/// What a kernel is, beside the costs.
#[derive(Clone, Copy)]
pub(super) struct Kernel<'a> {
    pub(super) name: &'static str,
    /// What else its text depends on.
    pub(super) options: &'a [u32],
    /// How many loops over the atoms of the other side it has.
    pub(super) loops: usize,
}

/// Launches a kernel with [`HEADER`] for the columns of a list, few rows at a time where there are many pairs.
pub(super) fn launch(
    costs: &PairCosts,
    side: Side,
    kernel: Kernel<'_>,
    source: &dyn Fn() -> String,
    arguments: &Arguments,
    list: &[u32],
) -> Result<(), Error> {
    let [rows, others] = [side, side.opposite()].map(|side| costs.len(side));
    let steps = kernel.loops * others.div_ceil(WORKGROUP) * (costs.steps() + EXPONENTIAL_STEPS);
    if costs.gpu.is_software() && steps > MAX_STEPS {
        return Err(Error::MissingCapability("way to loop over so many atoms: its device is software"));
    }
    let key = costs.key(kernel.name, side, kernel.options);
    for list in list.chunks(MAX_LISTED) {
        let pairs_of_row = others as u64 * list.len() as u64;
        let step = (MAX_PAIRS_OF_LAUNCH / pairs_of_row.max(1)).clamp(1, MAX_GROUPS as u64) as usize;
        for first in (0..rows).step_by(step) {
            let count = step.min(rows - first);
            let mut arguments = arguments.clone();
            arguments.index("first_row", first);
            costs.gpu.launch(&Launch {
                key: &key,
                source,
                arguments: &arguments,
                list,
                windows: None,
                groups: [count, list.len(), 1],
                pairs: OPERATIONS * count as u64 * pairs_of_row,
            })?;
        }
    }
    Ok(())
}
