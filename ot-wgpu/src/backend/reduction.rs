//! Folds over the rows of columns, in pairs.

use std::{fmt::Write, sync::Arc};

use ot_core::{Error, Fold, Operand, Program};

use super::{Computed, WgpuDevice, operands::Operands};
use crate::{
    gpu::{Arguments, Chunk, Gpu, Key, Launch, MAX_GROUPS},
    vector::DeviceReduced,
    wgsl::{Arithmetic, fold_start, joined_pairs},
};

/// Invocations of a workgroup.
const WORKGROUP: usize = 128;

/// Rows that one workgroup folds.
const BLOCK: usize = 8192;

/// outputs_k = fold over the rows of program(operands), block by block, and then over the blocks.
pub(super) fn reduce<D: WgpuDevice>(
    gpu: &Arc<Gpu>,
    program: &Program,
    fold: Fold,
    rows: usize,
    operands: &[Operand<'_, D>],
    outputs: &mut [&mut DeviceReduced],
) -> Result<(), Error> {
    let Some(columns) = outputs.first().map(|output| output.len()) else { return Ok(()) };
    let blocks = rows.div_ceil(BLOCK).max(1);
    let folding = Folding { gpu, fold, rows, columns };
    if blocks == 1 {
        let starts: Vec<u32> = outputs.iter().map(|output| output.start()).collect();
        return folding.fold_program(program, operands, blocks, &starts);
    }
    // The memory may be used again as soon as the launches are recorded.
    let partial = |_| gpu.take(2 * blocks * columns, "partial sums");
    let partial = (0..outputs.len()).map(partial).collect::<Result<Vec<Chunk>, Error>>()?;
    let starts: Vec<u32> = partial.iter().map(Chunk::start).collect();
    folding.fold_program(program, operands, blocks, &starts)?;
    let of_blocks = Folding { rows: blocks, ..folding };
    partial.iter().zip(outputs).try_for_each(|(partial, output)| of_blocks.fold_pairs(partial, output.start()))
}

/// A fold over rows of columns.
struct Folding<'a> {
    gpu: &'a Gpu,
    fold: Fold,
    rows: usize,
    columns: usize,
}

impl Folding<'_> {
    /// Folds a program over blocks of rows, into as many pairs for each column.
    fn fold_program<D: WgpuDevice>(
        &self,
        program: &Program,
        operands: &[Operand<'_, D>],
        blocks: usize,
        starts: &[u32],
    ) -> Result<(), Error> {
        let mut arguments = self.arguments(blocks);
        for (index, &start) in starts.iter().enumerate() {
            arguments.place(format!("out{index}"), start);
        }
        let operands = Operands::new(program, operands, D::ARITHMETIC, &mut arguments);
        let source = || {
            let (statements, results) = operands.emit(program);
            self.source(&statements, &results, |total, value| match (D::ARITHMETIC, self.fold) {
                (Arithmetic::Pair, _) => joined_pairs(self.fold, total, value),
                (Arithmetic::Single, Fold::Sum) => format!("pair_add_number({total}, {value})"),
                (Arithmetic::Single, _) => joined_pairs(self.fold, total, &format!("vec2<f32>({value}, 0.0f)")),
            })
        };
        let options = [&[self.fold as u32, D::ARITHMETIC as u32], &*operands.kinds].concat();
        let key = Key { kernel: "reduction", formulas: vec![program.code_key()], options };
        self.launch(&key, &source, &arguments, blocks)
    }

    /// Folds pairs, the results of blocks.
    fn fold_pairs(&self, pairs: &Chunk, output: u32) -> Result<(), Error> {
        let mut arguments = self.arguments(1);
        arguments.place("pairs", pairs.start()).place("out0", output);
        let source = || {
            let read = "let pair = load_pair(P.pairs + 2u * (column * P.rows + row));\n";
            self.source(read, &["pair".into()], |total, value| joined_pairs(self.fold, total, value))
        };
        let key = Key { kernel: "reduction of pairs", formulas: Vec::new(), options: vec![self.fold as u32] };
        self.launch(&key, &source, &arguments, 1)
    }

    fn arguments(&self, blocks: usize) -> Arguments {
        let mut arguments = Arguments::new();
        arguments.index("rows", self.rows).index("columns", self.columns).index("blocks", blocks);
        arguments
    }

    fn launch(
        &self,
        key: &Key,
        source: &dyn Fn() -> String,
        arguments: &Arguments,
        blocks: usize,
    ) -> Result<(), Error> {
        let groups = [blocks, self.columns.min(MAX_GROUPS), self.columns.div_ceil(MAX_GROUPS)];
        self.gpu.launch(&Launch { key, source, arguments, list: &[], windows: None, groups, pairs: 0 })
    }

    /// One workgroup for each block of rows of each column: an invocation folds every so manieth row, a tree the rest.
    /// The order depends on the shape alone.
    fn source(&self, statements: &str, results: &[String], take: impl Fn(&str, &str) -> String) -> String {
        let start = fold_start(self.fold);
        let [mut trees, mut totals, mut takes, mut keeps, mut joins, mut stores] = [const { String::new() }; 6];
        for (index, result) in results.iter().enumerate() {
            let (total, tree) = (format!("total{index}"), format!("tree{index}"));
            let joined = joined_pairs(self.fold, &format!("{tree}[lane]"), &format!("{tree}[lane + span]"));
            let _ = writeln!(trees, "var<workgroup> {tree}: array<vec2<f32>, {WORKGROUP}>;");
            let _ = writeln!(totals, "var {total} = vec2<f32>({start}, 0.0f);");
            let _ = writeln!(takes, "{total} = {};", take(&total, result));
            let _ = writeln!(keeps, "{tree}[lane] = {total};");
            let _ = writeln!(joins, "{tree}[lane] = {joined};");
            let _ = writeln!(stores, "store_pair(P.out{index} + 2u * (column * P.blocks + group.x), {tree}[0]);");
        }
        format!(
            "{trees}
@compute @workgroup_size({WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {{
let lane = id.x;
let column = group.y + group.z * {MAX_GROUPS}u;
if (column >= P.columns) {{ return; }}
let end = min(P.rows, (group.x + 1u) * {BLOCK}u);
{totals}for (var row = group.x * {BLOCK}u + lane; row < end; row += {WORKGROUP}u) {{
{statements}{takes}}}
{keeps}workgroupBarrier();
for (var span = {WORKGROUP}u / 2u; span > 0u; span /= 2u) {{
if (lane < span) {{
{joins}}}
workgroupBarrier();
}}
if (lane == 0u) {{
{stores}}}
}}
"
        )
    }
}
