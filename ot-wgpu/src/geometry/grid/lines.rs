//! A pass along the lines of one axis: one invocation for a few nodes of a line, which read the entering nodes together.

use std::fmt::Write;

use ot_core::Error;

use super::tables::{Lines, Tables};
use crate::gpu::{Arguments, Key, Launch, MAX_GROUPS, MAX_PAIRS};

/// Invocations of a workgroup.
const WORKGROUP: usize = 64;

/// Leaving nodes of an invocation.
const OWN: usize = 4;

/// Entering nodes of a step of its loop.
const LANES: usize = 4;

/// The text of a pass. `#` stands for the number of a leaving node; the text knows `channel` and `column`, `tensor` (where in
/// the list the channel stands), and of a leaving node `own#` (its index on the axis) and `node#` (in the tensor).
#[derive(Clone, Debug, Default)]
pub(super) struct LinePass {
    /// Statements before the loop, for each leaving node.
    pub(super) start: String,
    /// Statements for each entering node, `$`, whose index on the axis is `other$` and in the tensor `place$`, and which exists
    /// if `is_inside$`.
    pub(super) entering: String,
    /// Statements for a leaving node after those, which know the costs `cost#_$`: the text for each entering node, and the text
    /// behind all of them.
    pub(super) pair: String,
    pub(super) step: String,
    /// Statements at the end, for each leaving node that exists.
    pub(super) end: String,
}

impl LinePass {
    fn source(&self) -> String {
        let for_own = |text: &str| (0..OWN).map(|own| text.replace('#', &own.to_string())).collect::<String>();
        let for_lanes = |text: &str| (0..LANES).map(|lane| text.replace('$', &lane.to_string())).collect::<String>();
        let mut body = for_lanes(&format!(
            "let is_inside$ = j + $u < P.others;
let other$ = min(j + $u, P.others - 1u);
let place$ = line + other$ * P.inner;
{}",
            self.entering
        ));
        for own in 0..OWN {
            let costs = for_lanes(&format!("let cost{own}_$ = load(P.table + other$ * P.own + own{own});\n"));
            let pairs = for_lanes(&self.pair.replace('#', &own.to_string()));
            let _ = write!(body, "{costs}{pairs}{}", self.step.replace('#', &own.to_string()));
        }
        format!(
            "@compute @workgroup_size({WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {{
let at = P.first + (group.x + group.z * {MAX_GROUPS}u) * {WORKGROUP}u + id.x;
if (at >= P.count) {{ return; }}
let tensor = group.y;
let channel = P.list[tensor];
let column = channel * P.columns / P.channels;
let before = at / P.inner / P.steps;
let first = at / P.inner % P.steps;
let behind = at % P.inner;
let line = before * P.others * P.inner + behind;
{own}{start}for (var j = 0u; j < P.others; j += {LANES}u) {{
{body}}}
{end}}}
",
            own = for_own(
                "let own# = min(first + #u * P.steps, P.own - 1u);\nlet node# = (before * P.own + own#) * P.inner + behind;\n"
            ),
            start = for_own(&self.start),
            end = for_own(&format!("if (first + #u * P.steps < P.own) {{\n{}}}\n", self.end)),
        )
    }

    /// Launches the pass along some lines, few of them at a time where there are many pairs.
    pub(super) fn launch(
        &self,
        tables: &Tables,
        lines: Lines,
        key: &Key,
        mut arguments: Arguments,
        list: &[u32],
    ) -> Result<(), Error> {
        let Lines { own, others, outer, inner, table, .. } = lines;
        let steps = own.div_ceil(OWN);
        let count = outer * steps * inner;
        arguments.index("own", own).index("others", others).index("inner", inner).index("steps", steps);
        arguments.index("count", count).place("table", table);
        let pairs_of_one = (OWN * others * list.len()) as u64;
        let most = (MAX_PAIRS / pairs_of_one.max(1)).clamp(1, (MAX_GROUPS * WORKGROUP) as u64) as usize;
        let piece = most.next_multiple_of(WORKGROUP);
        for first in (0..count).step_by(piece) {
            let invocations = piece.min(count - first);
            let mut arguments = arguments.clone();
            arguments.index("first", first);
            let groups = invocations.div_ceil(WORKGROUP);
            tables.gpu.launch(&Launch {
                key,
                source: &|| self.source(),
                arguments: &arguments,
                list,
                windows: None,
                groups: [groups.min(MAX_GROUPS), list.len(), groups.div_ceil(MAX_GROUPS)],
                pairs: invocations as u64 * pairs_of_one,
            })?;
        }
        Ok(())
    }
}

/// Launches statements for each of so many nodes of each tensor. The text knows `node`, `channel`, `column`, and writes `value`,
/// which becomes the node's number in the tensors from `P.entering` on.
pub(super) fn enter(
    tables: &Tables,
    key: &Key,
    text: &str,
    arguments: &Arguments,
    list: &[u32],
    nodes: usize,
) -> Result<(), Error> {
    let groups = nodes.div_ceil(WORKGROUP);
    tables.gpu.launch(&Launch {
        key,
        source: &|| {
            format!(
                "@compute @workgroup_size({WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {{
let node = (group.x + group.z * {MAX_GROUPS}u) * {WORKGROUP}u + id.x;
if (node >= P.nodes) {{ return; }}
let channel = P.list[group.y];
let column = channel * P.columns / P.channels;
{text}store(P.entering + group.y * P.stride + node, value);
}}
"
            )
        },
        arguments,
        list,
        windows: None,
        groups: [groups.min(MAX_GROUPS), list.len(), groups.div_ceil(MAX_GROUPS)],
        pairs: 0,
    })
}
