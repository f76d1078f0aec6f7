//! The statements of a program.

use std::fmt::Write;

use ot_core::program::{Instruction, Operand, Program};

use super::Arithmetic;

/// How a formula reads its inputs.
pub(crate) trait Inputs {
    /// An input, as an expression.
    fn input(&self, index: usize) -> String;

    /// The input `first + k`, as an expression in the variable `k` of a loop; `None` where inputs are known by name only,
    /// and a loop over them is written out.
    fn indexed(&self, first: usize, k: &str) -> Option<String>;
}

/// Inputs known by name.
pub(crate) struct Names<'a>(pub(crate) &'a [String]);

impl Inputs for Names<'_> {
    fn input(&self, index: usize) -> String {
        self.0[index].clone()
    }

    fn indexed(&self, _: usize, _: &str) -> Option<String> {
        None
    }
}

/// Instructions of a program, those of its loops counted once.
pub(crate) fn length(program: &Program) -> usize {
    let of_loops: usize = program.folds().iter().map(|fold| fold.instructions().len()).sum();
    program.instructions().len() + of_loops
}

/// Statements, and the expressions of the outputs after them.
#[derive(Clone, Debug)]
pub(crate) struct Emitted {
    pub(crate) statements: String,
    pub(crate) outputs: Vec<String>,
}

/// The statements of a program. Names start with `tag`; `parameter` tells how a parameter is read.
pub(crate) fn emit(
    program: &Program,
    arithmetic: Arithmetic,
    inputs: &dyn Inputs,
    parameter: &dyn Fn(usize) -> String,
    tag: &str,
) -> Emitted {
    let (statements, mut outputs) = emit_lanes(program, arithmetic, &[inputs], "", parameter, tag);
    Emitted { statements, outputs: outputs.swap_remove(0) }
}

/// The statements of a program for several lanes of inputs at once, whose loops they share, and the outputs of each lane.
/// `in_loops` are statements at the start of each step of a loop over `k`.
pub(crate) fn emit_lanes(
    program: &Program,
    arithmetic: Arithmetic,
    lanes: &[&dyn Inputs],
    in_loops: &str,
    parameter: &dyn Fn(usize) -> String,
    tag: &str,
) -> (String, Vec<Vec<String>>) {
    let writer = Writer { arithmetic, parameter };
    let mut text = String::new();
    let mut folded: Vec<Vec<String>> = vec![Vec::new(); lanes.len()];
    for (index, fold) in program.folds().iter().enumerate() {
        let first = folded[0].len();
        let name = |lane: usize, state: usize| format!("{tag}f{}_{lane}", first + state);
        for lane in 0..lanes.len() {
            for (state, start) in fold.start().iter().enumerate() {
                let start = writer.operand(*start, &|_| String::new(), &[], &[]);
                let _ = writeln!(text, "var {} = {start};", name(lane, state));
            }
        }
        let step = |k: &str, text: &mut String, coordinates: &dyn Fn(&dyn Inputs) -> [String; 2]| {
            for (lane, inputs) in lanes.iter().enumerate() {
                let states: Vec<String> = (0..fold.states()).map(|state| name(lane, state)).collect();
                let mut arguments = states.clone();
                arguments.extend(coordinates(*inputs));
                // Names are told apart by loop, lane and coordinate.
                let tag = format!("{tag}s{index}_{lane}_{k}_");
                let registers = writer.line(fold.instructions(), &|input| arguments[input].clone(), &[], &tag, text);
                // All states move at once.
                for (state, next) in fold.next().iter().enumerate() {
                    let next = writer.operand(*next, &|input| arguments[input].clone(), &[], &registers);
                    let _ = writeln!(text, "let {tag}n{state} = {next};");
                }
                for (state, name) in states.iter().enumerate() {
                    let _ = writeln!(text, "{name} = {tag}n{state};");
                }
            }
        };
        let [x, y] = fold.first_inputs().map(usize::from);
        if lanes.iter().all(|lane| lane.indexed(x, "k").is_some() && lane.indexed(y, "k").is_some()) {
            let _ = writeln!(text, "for (var k = 0u; k < {}u; k++) {{\n{in_loops}", fold.count());
            step("k", &mut text, &|lane| [x, y].map(|first| lane.indexed(first, "k").unwrap_or_default()));
            text += "}\n";
        } else {
            for k in 0..fold.count() {
                step(&k.to_string(), &mut text, &|lane| [x, y].map(|first| lane.input(first + k)));
            }
        }
        for (lane, folded) in folded.iter_mut().enumerate() {
            folded.extend((0..fold.states()).map(|state| name(lane, state)));
        }
    }
    let outputs = lanes.iter().zip(&folded).enumerate().map(|(lane, (inputs, folded))| {
        let tag = format!("{tag}{lane}_");
        let input = |index: usize| inputs.input(index);
        let registers = writer.line(program.instructions(), &input, folded, &tag, &mut text);
        let output = |output: &Operand| writer.operand(*output, &input, folded, &registers);
        program.output_operands().iter().map(output).collect()
    });
    let outputs = outputs.collect();
    (text, outputs)
}

/// Writes straight lines of instructions.
struct Writer<'a> {
    arithmetic: Arithmetic,
    parameter: &'a dyn Fn(usize) -> String,
}

impl Writer<'_> {
    /// Appends a statement for each instruction, and says what stands in each register after the last.
    fn line(
        &self,
        instructions: &[Instruction],
        input: &dyn Fn(usize) -> String,
        folded: &[String],
        tag: &str,
        text: &mut String,
    ) -> Vec<String> {
        let mut registers = Vec::new();
        for (step, instruction) in instructions.iter().enumerate() {
            let operands = instruction.operands.map(|operand| self.operand(operand, input, folded, &registers));
            let [a, b, c] = &operands;
            let expression = self.arithmetic.operation(instruction.operation, [a, b, c]);
            let register = usize::from(instruction.register);
            if registers.len() <= register {
                registers.resize(register + 1, String::new());
            }
            registers[register] = format!("{tag}{step}");
            let _ = writeln!(text, "let {tag}{step} = {expression};");
        }
        registers
    }

    fn operand(
        &self,
        operand: Operand,
        input: &dyn Fn(usize) -> String,
        folded: &[String],
        registers: &[String],
    ) -> String {
        match operand {
            Operand::Input(index) => input(usize::from(index)),
            Operand::Constant(value) => self.arithmetic.constant(value),
            Operand::Parameter(index) => (self.parameter)(usize::from(index)),
            Operand::Folded(index) => folded[usize::from(index)].clone(),
            Operand::Register(index) => registers[usize::from(index)].clone(),
        }
    }
}
