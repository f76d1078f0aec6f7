//! What operations read.

use std::fmt::Write;

use ot_core::{Operand, Program};

use crate::{
    backend::WgpuDevice,
    gpu::Arguments,
    wgsl::{Arithmetic, Names, emit},
};

/// What the operands of an operation are, and how a shader reads them.
pub(super) struct Operands {
    /// What the text of the shader depends on.
    pub(super) kinds: Vec<u32>,
    /// Statements that read them into the variables `names`.
    statements: String,
    names: Vec<String>,
    arithmetic: Arithmetic,
}

impl Operands {
    /// Adds to the arguments where they are, and the parameters of the program that reads them. The shader knows the
    /// variables `row` and `column`.
    pub(super) fn new<D: WgpuDevice>(
        program: &Program,
        operands: &[Operand<'_, D>],
        arithmetic: Arithmetic,
        arguments: &mut Arguments,
    ) -> Self {
        let (mut kinds, mut statements, mut names) = (Vec::new(), String::new(), Vec::new());
        for (index, operand) in operands.iter().enumerate() {
            let name = format!("x{index}");
            let (kind, single, pair) = match operand {
                Operand::Vector(vector) => {
                    arguments.vector(&name, vector);
                    let (start, entry) = (format!("P.{name}_at"), format!("column * P.{name}_stride + row"));
                    (0, Arithmetic::Single.load(&start, &entry), Arithmetic::Pair.load(&start, &entry))
                }
                Operand::Reduced(reduced) => {
                    arguments.reduced(&name, reduced);
                    let at = format!("(P.{name}_at + column * P.{name}_stride)");
                    (1, format!("load{at}"), format!("load_pair{at}"))
                }
                Operand::Constant(value) => {
                    arguments.pair(&name, *value);
                    (2, format!("P.{name}_high"), format!("vec2<f32>(P.{name}_high, P.{name}_low)"))
                }
                Operand::Output(output) => {
                    let (start, entry) = (format!("P.out{output}"), "column * P.rows + row");
                    let read = |arithmetic: Arithmetic| arithmetic.load(&start, entry);
                    (3 + *output as u32, read(Arithmetic::Single), read(Arithmetic::Pair))
                }
            };
            let read = if arithmetic == Arithmetic::Single { single } else { pair };
            let _ = writeln!(statements, "let {name} = {read};");
            kinds.push(kind);
            names.push(name);
        }
        arguments.parameters("p", program, arithmetic);
        Self { kinds, statements, names, arithmetic }
    }

    /// The statements of a program on them, and its outputs.
    pub(super) fn emit(&self, program: &Program) -> (String, Vec<String>) {
        let parameter = |index: usize| Arguments::parameter("p", index, self.arithmetic);
        let emitted = emit(program, self.arithmetic, &Names(&self.names), &parameter, "t");
        (format!("{}{}", self.statements, emitted.statements), emitted.outputs)
    }
}
