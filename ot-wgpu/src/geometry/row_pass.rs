//! A pass over all pairs: one invocation for each atom of a side, and tiles of the atoms of the other in workgroup memory.
//!
//! The atoms of the other side are split over workgroups, so that few atoms fill a large device too, and so that no invocation
//! runs a loop for long: software Vulkan ends the loops of an invocation after 65 535 steps, silently.

use std::fmt::Write;

use ot_core::{Error, Side};

use super::costs::{Costs, Other};
use crate::gpu::{Arguments, Key, Launch, MAX_GROUPS, MAX_PAIRS};

/// Invocations of a workgroup.
pub(super) const WORKGROUP: usize = 64;

/// Steps of all loops of an invocation.
pub(super) const MAX_STEPS: usize = 50_000;

/// The most columns of one launch.
pub(super) const MAX_LISTED: usize = 256;

/// Words of workgroup memory that a tile may take.
const TILE_WORDS: usize = 2048;

/// Workgroups that fill a device, one in software and one in hardware.
const FULL: [usize; 2] = [32, 2048];

/// How the pairs are cut into workgroups.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// Atoms of the other side in a tile.
    pub(super) tile: usize,
    /// Atoms of the other side for each workgroup, a multiple of the tile.
    pub(super) chunk: usize,
    /// Workgroups along the other side.
    pub(super) splits: usize,
}

impl Cut {
    /// A cut for a pass that keeps some words for each atom of a tile beside its coordinates.
    pub(super) fn new(costs: &Costs, side: Side, columns: usize, fields: usize) -> Self {
        let [rows, others] = [side, side.opposite()].map(|side| costs.len(side));
        let words = (costs.tile_words() + fields).max(1);
        let tile = if 4 * WORKGROUP * words <= TILE_WORDS { 4 * WORKGROUP } else { WORKGROUP };
        // Steps over pairs, over coordinates, over the tile and over tiles, for each tile.
        let steps = tile / costs.lanes() * costs.steps() + tile / WORKGROUP + 1;
        let most = (MAX_STEPS / steps).max(1) * tile;
        let full = FULL[usize::from(!costs.gpu.is_software())];
        let wanted = full.div_ceil(rows.div_ceil(WORKGROUP) * columns.max(1));
        let chunk = others.div_ceil(wanted).next_multiple_of(tile).min(most);
        Self { tile, chunk, splits: others.div_ceil(chunk) }
    }
}

/// The text of a pass. It knows the variables `row`, `own` (the same, of an atom that exists), `column`, `split`, `list_place`
/// (where in the list the column stands), and, where it fills a tile, `slot`, `other`, `index` (the same, of an atom that may
/// not exist) and `is_inside`.
#[derive(Debug, Default)]
pub(super) struct RowPass {
    /// Names of arrays with a number for each atom of a tile, and what fills them.
    pub(super) fields: Vec<(&'static str, String)>,
    /// Declarations of the module.
    pub(super) declarations: String,
    /// Statements before the loop.
    pub(super) start: String,
    /// Statements where a tile is filled.
    pub(super) fill: String,
    /// Statements before the pairs of a tile.
    pub(super) before_tile: String,
    /// Statements after them.
    pub(super) after_tile: String,
    /// Statements for an atom `row` at the end.
    pub(super) end: String,
}

impl RowPass {
    /// The kernel. `pairs` writes the statements for some others, of these costs.
    pub(super) fn source(
        &self,
        costs: &Costs,
        side: Side,
        cut: Cut,
        pairs: &dyn Fn(&[Other], &[String]) -> String,
    ) -> String {
        let (tile, lanes) = (cut.tile, costs.lanes());
        let others: Vec<Other> = (0..lanes)
            .map(|lane| Other { slot: Some(format!("c + {lane}u")), index: format!("first + c + {lane}u") })
            .collect();
        let (evaluate, names) = costs.between(side, &others, tile, "c");
        let body = pairs(&others, &names);
        let (mut arrays, mut fills) = (String::new(), String::new());
        for (name, value) in &self.fields {
            let _ = writeln!(arrays, "var<workgroup> {name}: array<f32, {tile}>;");
            let _ = writeln!(fills, "{name}[slot] = {value};");
        }
        format!(
            "{declarations}{arrays}{of_pass}
@compute @workgroup_size({WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {{
let row = P.first_row + group.x * {WORKGROUP}u + id.x;
let own = min(row, P.rows - 1u);
let list_place = group.y;
let column = P.list[list_place];
let split = group.z;
let end = min(P.others, (split + 1u) * P.chunk);
{read_own}{start}for (var first = split * P.chunk; first < end; first += {tile}u) {{
workgroupBarrier();
for (var slot = id.x; slot < {tile}u; slot += {WORKGROUP}u) {{
let index = first + slot;
let is_inside = index < end;
let other = min(index, P.others - 1u);
{fill}{fill_points}{fills}}}
workgroupBarrier();
{before}for (var c = 0u; c < {tile}u; c += {lanes}u) {{
{evaluate}{body}}}
{after}}}
if (row < P.rows) {{
{ending}}}
}}
",
            declarations = costs.declarations(Some(tile)),
            of_pass = self.declarations,
            read_own = costs.read_own(),
            start = self.start,
            fill = self.fill,
            fill_points = costs.fill_tile(tile),
            before = self.before_tile,
            after = self.after_tile,
            ending = self.end,
        )
    }
}

/// Launches a pass for the columns of a list, few rows at a time where there are many pairs.
pub(super) fn launch(
    costs: &Costs,
    side: Side,
    cut: Cut,
    key: &Key,
    source: &dyn Fn() -> String,
    arguments: &Arguments,
    list: &[u32],
) -> Result<(), Error> {
    let [rows, others] = [side, side.opposite()].map(|side| costs.len(side));
    let pairs_of_row = others as u64 * list.len() as u64;
    let most = (MAX_PAIRS / pairs_of_row.max(1)).clamp(1, MAX_GROUPS as u64 * WORKGROUP as u64) as usize;
    let step = most.next_multiple_of(WORKGROUP).min(MAX_GROUPS * WORKGROUP);
    for first in (0..rows).step_by(step) {
        let count = step.min(rows - first);
        let mut arguments = arguments.clone();
        arguments.index("first_row", first).index("chunk", cut.chunk).index("splits", cut.splits);
        costs.gpu.launch(&Launch {
            key,
            source,
            arguments: &arguments,
            list,
            windows: costs.windows(),
            groups: [count.div_ceil(WORKGROUP), list.len(), cut.splits],
            pairs: count as u64 * pairs_of_row,
        })?;
    }
    Ok(())
}
