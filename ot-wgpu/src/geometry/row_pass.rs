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
const MAX_LISTED: usize = 256;

/// Words of partial sums, for each split, that one launch should not exceed.
const MAX_PARTIAL: usize = 1 << 22;

/// Words of workgroup memory that a tile may take.
const TILE_WORDS: usize = 2048;

/// Workgroups that fill a device, one in software and one in hardware.
const FULL: [usize; 2] = [32, 2048];

/// The columns of one launch over so many rows.
pub(super) fn listed(rows: usize) -> usize {
    (MAX_PARTIAL / rows).clamp(1, MAX_LISTED)
}

/// How the pairs are cut into workgroups.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// Atoms of the other side in a tile.
    pub(super) tile: usize,
    /// Atoms of the other side for each workgroup, a multiple of the tile.
    pub(super) chunk: usize,
    /// Workgroups along the other side.
    pub(super) splits: usize,
    /// Atoms of the own side for each invocation.
    own: usize,
    /// Atoms of the other side in a step of the loop.
    lanes: usize,
}

impl Cut {
    /// A cut for a pass that keeps some words for each atom of a tile beside its coordinates.
    pub(super) fn new(costs: &Costs, side: Side, columns: usize, fields: usize) -> Self {
        Self::of_long(costs, side, columns, fields, 0)
    }

    /// The same for a pass with so many instructions for each pair beside those of the cost.
    pub(super) fn of_long(costs: &Costs, side: Side, columns: usize, fields: usize, instructions: usize) -> Self {
        let [rows, others] = [side, side.opposite()].map(|side| costs.len(side));
        let words = (costs.tile_words() + fields).max(1);
        let tile = if 4 * WORKGROUP * words <= TILE_WORDS { 4 * WORKGROUP } else { WORKGROUP };
        // Steps over pairs, over coordinates, over the tile and over tiles, for each tile.
        let [own, lanes] = costs.lanes(rows, instructions);
        let steps = tile / lanes * costs.steps() + tile / WORKGROUP + 1;
        let most = (MAX_STEPS / steps).max(1) * tile;
        let full = FULL[usize::from(!costs.gpu.is_software())];
        let wanted = full.div_ceil(rows.div_ceil(own * WORKGROUP) * columns.max(1));
        let chunk = others.div_ceil(wanted).next_multiple_of(tile).min(most);
        Self { tile, chunk, splits: others.div_ceil(chunk), own, lanes }
    }
}

impl Cut {
    /// What the text of a pass depends on.
    pub(super) fn options(&self) -> [u32; 3] {
        [self.tile, self.own, self.lanes].map(|count| count as u32)
    }
}

/// The text of a pass. An invocation has some atoms of its own; `#` stands for the number of one of them. The text knows the
/// variables `row#`, `own#` (the same, of an atom that exists), `column`, `split`, `list_place` (where in the list the column
/// stands), and, where it fills a tile, `slot`, `other`, `index` (the same, of an atom that may not exist) and `is_inside`.
#[derive(Debug, Default)]
pub(super) struct RowPass {
    /// Names of arrays with a number for each atom of a tile, and what fills them.
    pub(super) fields: Vec<(&'static str, String)>,
    /// Declarations of the module.
    pub(super) declarations: String,
    /// Statements before all others.
    pub(super) prologue: String,
    /// Statements before the loop, for each own atom.
    pub(super) start: String,
    /// Statements where a tile is filled.
    pub(super) fill: String,
    /// Statements before the pairs of a tile, for each own atom.
    pub(super) before_tile: String,
    /// Statements after them, for each own atom.
    pub(super) after_tile: String,
    /// Statements at the end, for each own atom that exists.
    pub(super) end: String,
}

/// A pair in the loop over pairs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// The number of the own atom.
    pub(super) row: &'a str,
    /// The number of the other atom in this step.
    pub(super) lane: usize,
    /// The index of the other atom, an expression: it may not exist.
    pub(super) index: &'a str,
    /// The variable that holds the cost, [`FORBIDDEN`](super::costs::FORBIDDEN) for a forbidden pair.
    pub(super) cost: &'a str,
}

impl Place<'_> {
    /// The number of a field at the other atom.
    pub(super) fn field(&self, name: &str) -> String {
        format!("{name}_{}", self.lane)
    }

    /// The index of an atom that exists, for the other atom.
    pub(super) fn other(&self) -> String {
        format!("min({}, P.others - 1u)", self.index)
    }
}

/// Pairs of one own atom with the others of a step.
pub(super) struct Step<'a> {
    pub(super) places: Vec<Place<'a>>,
    /// All others, and the side of the own atom, for formulas.
    pub(super) others: &'a [Other],
    pub(super) side: Side,
    pub(super) tile: usize,
}

impl RowPass {
    /// The kernel. `pairs` writes the statements for the pairs of an own atom with some others.
    pub(super) fn source(&self, costs: &Costs, side: Side, cut: Cut, pairs: &dyn Fn(&Step<'_>) -> String) -> String {
        let Cut { tile, own, lanes, .. } = cut;
        let others: Vec<Other> = (0..lanes)
            .map(|lane| Other { slot: Some(format!("c + {lane}u")), index: format!("(first + c + {lane}u)") })
            .collect();
        let rows: Vec<String> = (0..own).map(|row| row.to_string()).collect();
        let (mut body, names) = costs.between(side, &rows, &others, tile);
        let (mut arrays, mut fills) = (String::new(), String::new());
        for (name, value) in &self.fields {
            let _ = writeln!(arrays, "var<workgroup> {name}: array<f32, {tile}>;");
            let _ = writeln!(fills, "{name}[slot] = {value};");
            for lane in 0..lanes {
                let _ = writeln!(body, "let {name}_{lane} = {name}[c + {lane}u];");
            }
        }
        for (row, costs) in rows.iter().zip(&names) {
            let place = |(lane, cost): (usize, _)| Place { row, lane, index: &others[lane].index, cost };
            let places = costs.iter().map(String::as_str).enumerate().map(place).collect();
            body += &pairs(&Step { places, others: &others, side, tile });
        }
        let for_rows = |text: &str| rows.iter().map(|row| text.replace('#', row)).collect::<String>();
        format!(
            "{declarations}{arrays}{of_pass}
@compute @workgroup_size({WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {{
let list_place = group.y;
let column = P.list[list_place];
let split = group.z;
let end = min(P.others, (split + 1u) * P.chunk);
{prologue}{own_rows}{read_own}{start}for (var first = split * P.chunk; first < end; first += {tile}u) {{
workgroupBarrier();
for (var slot = id.x; slot < {tile}u; slot += {WORKGROUP}u) {{
let index = first + slot;
let is_inside = index < end;
let other = min(index, P.others - 1u);
{fill}{fill_points}{fills}}}
workgroupBarrier();
{before}for (var c = 0u; c < {tile}u; c += {lanes}u) {{
{body}}}
{after}}}
{ending}}}
",
            declarations = costs.declarations(Some(tile)),
            of_pass = self.declarations,
            prologue = costs.read_parameters() + &self.prologue,
            own_rows = for_rows(&format!(
                "let row# = P.first_row + (group.x * {own}u + #u) * {WORKGROUP}u + id.x;\nlet own# = min(row#, P.rows - 1u);\n"
            )),
            read_own = rows.iter().map(|row| costs.read_own(row)).collect::<String>(),
            start = for_rows(&self.start),
            fill = self.fill,
            fill_points = costs.fill_tile(tile),
            before = for_rows(&self.before_tile),
            after = for_rows(&self.after_tile),
            ending = for_rows(&format!("if (row# < P.rows) {{\n{}}}\n", self.end)),
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
    let of_group = cut.own * WORKGROUP;
    let most = (MAX_PAIRS / pairs_of_row.max(1)).clamp(1, (MAX_GROUPS * of_group) as u64) as usize;
    let step = most.next_multiple_of(of_group);
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
            groups: [count.div_ceil(of_group), list.len(), cut.splits],
            pairs: count as u64 * pairs_of_row,
        })?;
    }
    Ok(())
}
