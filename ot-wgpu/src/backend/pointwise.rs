//! Pointwise maps, and mixtures of columns.

use std::{fmt::Write, sync::Arc};

use ot_core::{Error, Operand, Program};

use super::{Computed, WgpuDevice, operands::Operands};
use crate::{
    gpu::{Arguments, Gpu, Key, Launch, MAX_GROUPS},
    vector::{DeviceReduced, DeviceVector},
    wgsl::Arithmetic,
};

/// Invocations of a workgroup.
const WORKGROUP: usize = 128;

/// outputs(i, k) = program(operands at (i, k)).
pub(super) fn map<D: WgpuDevice>(
    gpu: &Gpu,
    program: &Program,
    operands: &[Operand<'_, D>],
    outputs: &mut [&mut DeviceVector<D>],
) -> Result<(), Error> {
    let Some(entries) = outputs.first().map(|output| output.entries()) else { return Ok(()) };
    let mut arguments = Arguments::new();
    arguments.index("rows", outputs[0].rows());
    for (index, output) in outputs.iter().enumerate() {
        arguments.place(format!("out{index}"), output.start());
    }
    let operands = Operands::new(program, operands, D::ARITHMETIC, &mut arguments);
    let options = [&[D::ARITHMETIC as u32], &*operands.kinds].concat();
    let pointwise = Pointwise { kernel: "map", program: Some(program), options: &options, entries };
    pointwise.launch(gpu, &mut arguments, &|| {
        let (statements, results) = operands.emit(program);
        let statements = format!("{ROW_AND_COLUMN}{statements}");
        (statements, results, |index| D::ARITHMETIC.store(&format!("P.out{index}"), "entry"))
    })
}

/// outputs_k = program(operands at k), in pairs.
pub(super) fn map_reduced<D: WgpuDevice>(
    gpu: &Gpu,
    program: &Program,
    operands: &[Operand<'_, D>],
    outputs: &mut [&mut DeviceReduced],
) -> Result<(), Error> {
    let Some(entries) = outputs.first().map(|output| output.len()) else { return Ok(()) };
    let mut arguments = Arguments::new();
    arguments.index("rows", 1);
    for (index, output) in outputs.iter().enumerate() {
        arguments.place(format!("out{index}"), output.start());
    }
    let operands = Operands::new(program, operands, Arithmetic::Pair, &mut arguments);
    let pointwise = Pointwise { kernel: "map of reduced", program: Some(program), options: &operands.kinds, entries };
    pointwise.launch(gpu, &mut arguments, &|| {
        let (statements, results) = operands.emit(program);
        let statements = format!("let row = 0u;\nlet column = entry;\n{statements}");
        (statements, results, |index| Arithmetic::Pair.store(&format!("P.out{index}"), "entry"))
    })
}

/// out = vector * matrix.
pub(super) fn mix<D: WgpuDevice>(
    gpu: &Arc<Gpu>,
    vector: &DeviceVector<D>,
    matrix: &[f64],
    out: &mut DeviceVector<D>,
) -> Result<(), Error> {
    let arithmetic = D::ARITHMETIC;
    let matrix = gpu.upload(&arithmetic.encoded(matrix), "a mixing matrix")?;
    let mut arguments = Arguments::new();
    arguments.index("rows", out.rows()).index("columns", out.columns()).index("inner", vector.columns());
    arguments.place("vector", vector.start()).place("matrix", matrix.start()).place("out0", out.start());
    let options = [arithmetic as u32];
    let pointwise = Pointwise { kernel: "mix", program: None, options: &options, entries: out.entries() };
    pointwise.launch(gpu, &mut arguments, &|| {
        let factor = arithmetic.load("P.matrix", "k * P.columns + column");
        let number = arithmetic.load("P.vector", "k * P.rows + row");
        let (zero, is_zero, sum) = match arithmetic {
            Arithmetic::Single => ("0.0f", "factor == 0.0f", format!("sum + {number} * factor")),
            Arithmetic::Pair => {
                ("vec2<f32>(0.0f, 0.0f)", "factor.x == 0.0f", format!("pair_add(sum, pair_mul({number}, factor))"))
            }
        };
        let statements = format!(
            "{ROW_AND_COLUMN}var sum = {zero};
for (var k = 0u; k < P.inner; k++) {{
let factor = {factor};
if (!({is_zero})) {{ sum = {sum}; }}
}}
"
        );
        (statements, vec!["sum".into()], |index| arithmetic.store(&format!("P.out{index}"), "entry"))
    })
}

/// The row and the column of an entry.
const ROW_AND_COLUMN: &str = "let row = entry % P.rows;\nlet column = entry / P.rows;\n";

/// A kernel that does the same for each entry.
struct Pointwise<'a> {
    kernel: &'static str,
    program: Option<&'a Program>,
    options: &'a [u32],
    entries: usize,
}

impl Pointwise<'_> {
    /// Launches the kernel of statements that know the variable `entry`, of results after them, and of the start of the
    /// statement that stores a result. All results are there before the first is stored.
    fn launch<S: Fn(usize) -> String>(
        &self,
        gpu: &Gpu,
        arguments: &mut Arguments,
        body: &dyn Fn() -> (String, Vec<String>, S),
    ) -> Result<(), Error> {
        arguments.index("count", self.entries);
        let source = || {
            let (statements, results, store) = body();
            let (mut keeps, mut stores) = (String::new(), String::new());
            for (index, result) in results.iter().enumerate() {
                let _ = writeln!(keeps, "let y{index} = {result};");
                let _ = writeln!(stores, "{}y{index});", store(index));
            }
            format!(
                "@compute @workgroup_size({WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {{
for (var entry = id.x; entry < P.count; entry += groups.x * {WORKGROUP}u) {{
{statements}{keeps}{stores}}}
}}
"
            )
        };
        let formulas = self.program.iter().map(|program| program.code_key()).collect();
        let key = Key { kernel: self.kernel, formulas, options: self.options.to_vec() };
        let groups = [self.entries.div_ceil(WORKGROUP).min(MAX_GROUPS), 1, 1];
        gpu.launch(&Launch { key: &key, source: &source, arguments, list: &[], windows: None, groups, pairs: 0 })
    }
}
