//! Recorded pointwise formulas: what a host interprets in blocks and a device compiles.
//!
//! A [`Program`] is a straight line of instructions over a few registers, made by running a formula
//! once on [`Recorder`]s, after the loops over coordinates that the formula has. Common subexpressions are merged, constant ones folded, dead ones dropped,
//! and registers are allocated by liveness, so that an interpreter needs a fixed buffer on the stack
//! and a shader stays small.
//!
//! ```
//! use ot_core::{Program, Real};
//!
//! /// The Kullback-Leibler term `x ln(x / y) - x + y`.
//! fn divergence<R: Real>([x, y]: [R; 2]) -> [R; 1] {
//!     [x * (x / y).ln() - x + y]
//! }
//!
//! let program = Program::record(|arguments| divergence(arguments))?;
//! assert_eq!(program.instructions().len(), 5);
//! assert_eq!(program.call([0.3, 0.7])?, divergence([0.3, 0.7]));
//! # Ok::<(), ot_core::ProgramError>(())
//! ```
//!
//! # What is kept exactly
//!
//! Evaluated on numbers, a program gives the bits of its formula, with one exception: constants that
//! meet constants are combined in `f64` and rounded once, which in `f32` may be more accurate than
//! the formula. Only rewritings that are exact for every argument (infinities and signed zeros
//! included) are made: `1 x = x`, but not `0 x = 0`.

mod fold;
mod interpreter;
mod node;
#[cfg(test)]
pub(crate) mod random_formula;
mod recorder;
mod schedule;

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use crate::{dual::Dual, real::Real};

pub use fold::{CoordinateFold, MAX_FOLDED, MAX_STATES};
pub use interpreter::{BLOCK, BlockInput, BlockMath, LibraryMath, Registers};
pub use recorder::Recorder;

/// A formula without captures, recorded at the first use and kept: a result of a reference to its program.
macro_rules! recorded {
    ($formula:expr) => {{
        static PROGRAM: std::sync::LazyLock<Result<$crate::program::Program, $crate::program::ProgramError>> =
            std::sync::LazyLock::new(|| $crate::program::Program::record($formula));
        PROGRAM.as_ref().map_err(Clone::clone)
    }};
}
pub(crate) use recorded;

/// The most registers a program may use: an interpreter keeps that many blocks on the stack.
pub const MAX_REGISTERS: usize = 32;

/// The most instructions a program may have.
pub const MAX_INSTRUCTIONS: usize = 16_384;

/// The most inputs a program may take.
pub const MAX_INPUTS: usize = u16::MAX as usize + 1;

/// A recorded pointwise formula with a fixed number of inputs and outputs.
///
/// Immutable; a clone shares the code. Two programs are equal if their code and the values of their
/// [parameters](Real::parameter) are, compared bit by bit. Programs of one formula that differ in the values of
/// parameters alone share their [`code_key`](Program::code_key), the key of a cache of compiled shaders. Printed, a
/// program is a listing of its instructions.
#[derive(Clone, Debug)]
pub struct Program {
    code: Arc<Code>,
    parameters: Arc<[f64]>,
}

impl PartialEq for Program {
    fn eq(&self, other: &Self) -> bool {
        let bits = |program: &Self| program.parameters.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        self.code == other.code && bits(self) == bits(other)
    }
}

impl Eq for Program {}

impl Hash for Program {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.code.hash(state);
        self.parameters.iter().for_each(|value| value.to_bits().hash(state));
    }
}

/// What a program shares between its clones, and what a step of a loop is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Code {
    folds: Box<[CoordinateFold]>,
    inputs: usize,
    registers: usize,
    instructions: Box<[Instruction]>,
    outputs: Box<[Operand]>,
}

/// The code of a program without the values of its parameters: what a cache of compiled shaders knows it by
/// ([`Program::code_key`]).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CodeKey(Arc<Code>);

/// One step: `register = operation(operands)`.
///
/// An instruction never writes a register that it reads, so that it needs no temporary copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Instruction {
    /// What is computed.
    pub operation: Operation,
    /// From what. The first [`Operation::arity`] operands count, the others are the constant 0.
    pub operands: [Operand; 3],
    /// Where the result goes.
    pub register: u8,
}

/// What an operand of an instruction, or an output of a program, is read from.
///
/// Constants are equal if their bits are.
#[derive(Clone, Copy, Debug)]
pub enum Operand {
    /// An input of the program.
    Input(u16),
    /// A parameter of the formula, whose value goes with the program and is not part of its code.
    Parameter(u16),
    /// A result of a loop over coordinates, counted over all [loops](Program::folds) of the program.
    Folded(u16),
    /// A number. It may be infinite if the formula's constants are.
    Constant(f64),
    /// The result of the last instruction that wrote this register.
    Register(u8),
}

/// The operations of programs; those of [`Real`], whose conventions they follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a b`.
    Mul,
    /// `a / b`.
    Div,
    /// `-a`.
    Neg,
    /// `e^a`.
    Exp,
    /// The natural logarithm of `a`.
    Ln,
    /// The square root of `a`.
    Sqrt,
    /// `|a|`.
    Abs,
    /// The sine of `a`.
    Sin,
    /// The cosine of `a`.
    Cos,
    /// The arc tangent of `a`.
    Atan,
    /// `b` where `b < a`, else `a`.
    Min,
    /// `b` where `b > a`, else `a`.
    Max,
    /// `b` where `a > 0`, else `c`.
    Select,
}

/// A formula that cannot be recorded, or a program given the wrong number of arguments.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// Too few or too many inputs.
    #[error("the program takes {expected} inputs, found {found}")]
    Arity {
        /// The inputs of the program.
        expected: usize,
        /// The inputs given.
        found: usize,
    },
    /// Too few or too many outputs.
    #[error("the program gives {expected} outputs, found {found}")]
    OutputArity {
        /// The outputs of the program.
        expected: usize,
        /// The outputs asked for.
        found: usize,
    },
    /// Lanes of different lengths.
    #[error("expected {expected} lanes, as in the first output, found {found}")]
    Lanes {
        /// The length of the first output.
        expected: usize,
        /// The length found.
        found: usize,
    },
    /// A formula without outputs.
    #[error("the formula has no output")]
    NoOutputs,
    /// A formula of too many inputs.
    #[error("the formula has {found} inputs, more than {limit}")]
    TooManyInputs {
        /// The most inputs a program may take.
        limit: usize,
        /// The inputs of the formula.
        found: usize,
    },
    /// A formula of too many operations.
    #[error("the formula has {found} operations, more than {limit}")]
    TooLong {
        /// The most operations a program may have.
        limit: usize,
        /// The operations of the formula (at least, if the recording was cut short).
        found: usize,
    },
    /// A formula of too many intermediate results that are needed at the same time.
    #[error("the formula needs {found} registers, more than {limit}")]
    TooManyRegisters {
        /// The most registers a program may use.
        limit: usize,
        /// The registers the formula needs.
        found: usize,
    },
    /// Two values for one parameter.
    #[error("parameter {index} of the formula is {first} and {second}: expected one value")]
    Parameter {
        /// Index of the parameter.
        index: usize,
        /// Its first value.
        first: f64,
        /// Another one.
        second: f64,
    },
    /// A number of one recording used in another one.
    #[error("the formula uses a recorder that belongs to another recording")]
    ForeignRecorder,
}

impl Program {
    /// Records `formula(inputs) -> outputs`.
    ///
    /// The formula is run once. Pass a generic function as `|inputs| function(inputs)`.
    ///
    /// ```
    /// use ot_core::{Program, Real};
    ///
    /// let logistic = Program::record(|[x]| [1.0 / (1.0 + (-x).exp())])?;
    /// assert_eq!(logistic.call([0.0])?, [0.5]);
    /// # Ok::<(), ot_core::ProgramError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ProgramError::NoOutputs`], [`TooManyInputs`](ProgramError::TooManyInputs),
    /// [`TooLong`](ProgramError::TooLong), [`TooManyRegisters`](ProgramError::TooManyRegisters), and
    /// [`ForeignRecorder`](ProgramError::ForeignRecorder) where recordings are nested and mixed.
    pub fn record<const N: usize, const M: usize>(
        formula: impl for<'a> FnOnce([Recorder<'a>; N]) -> [Recorder<'a>; M],
    ) -> Result<Self, ProgramError> {
        Self::try_record(|inputs| Ok(formula(inputs)))
    }

    /// Records a formula that may fail because it calls other programs.
    ///
    /// ```
    /// use ot_core::{Program, ProgramError};
    ///
    /// let cost = Program::record(|[x, y]| [(x - y) * (x - y)])?;
    /// let scaled = Program::try_record(|[x, y, scale]| {
    ///     let [cost] = cost.call([x, y])?;
    ///     Ok([cost / scale])
    /// })?;
    /// assert_eq!(scaled.call([3.0, 1.0, 2.0])?, [2.0]);
    ///
    /// let wrong = Program::try_record(|[x]| cost.call::<_, 1, 1>([x]));
    /// assert_eq!(wrong, Err(ProgramError::Arity { expected: 2, found: 1 }));
    /// # Ok::<(), ot_core::ProgramError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`record`](Program::record) and of the formula.
    pub fn try_record<const N: usize, const M: usize>(
        formula: impl for<'a> FnOnce([Recorder<'a>; N]) -> Result<[Recorder<'a>; M], ProgramError>,
    ) -> Result<Self, ProgramError> {
        let arena = recorder::Arena::default();
        let inputs = arena.inputs(N)?;
        let outputs = formula(std::array::from_fn(|index| inputs[index]))?;
        arena.compile(N, &outputs)
    }

    /// Records a formula whose numbers of inputs and outputs are known only when it runs.
    ///
    /// ```
    /// use ot_core::{Program, Real, Recorder};
    ///
    /// let norm = Program::record_dynamic(3, |x| {
    ///     vec![x.iter().fold(Recorder::constant(0.0), |sum, &x| sum + x * x).sqrt()]
    /// })?;
    /// assert_eq!(norm.evaluate(&[2.0, 3.0, 6.0])?, [7.0]);
    /// # Ok::<(), ot_core::ProgramError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`record`](Program::record).
    pub fn record_dynamic(
        inputs: usize,
        formula: impl for<'a> FnOnce(&[Recorder<'a>]) -> Vec<Recorder<'a>>,
    ) -> Result<Self, ProgramError> {
        let arena = recorder::Arena::default();
        let arguments = arena.inputs(inputs)?;
        let outputs = formula(&arguments);
        arena.compile(inputs, &outputs)
    }

    /// The number of inputs.
    pub fn inputs(&self) -> usize {
        self.code.inputs
    }

    /// The number of outputs.
    pub fn outputs(&self) -> usize {
        self.code.outputs.len()
    }

    /// The values of the parameters that the formula has named ([`Real::parameter`]).
    ///
    /// ```
    /// use ot_core::{Dual, Program, Real};
    ///
    /// let program = Program::record(|[x]| [x * x.parameter(0, 3.0)])?;
    /// assert_eq!(program.parameters(), [3.0]);
    /// assert_eq!(program.call([2.0])?, [6.0]);
    /// // The derivative in the parameter.
    /// let slopes = program.evaluate_at(&[Dual::constant(2.0)], &[Dual::variable(3.0)])?;
    /// assert_eq!(slopes[0].derivative, 2.0);
    /// # Ok::<(), ot_core::ProgramError>(())
    /// ```
    pub fn parameters(&self) -> &[f64] {
        &self.parameters
    }

    /// What programs share that differ in the values of their parameters alone: a key for compiled code.
    pub fn code_key(&self) -> CodeKey {
        CodeKey(Arc::clone(&self.code))
    }

    /// The number of registers, at most [`MAX_REGISTERS`]; instructions name those below it.
    pub fn registers(&self) -> usize {
        self.code.registers
    }

    /// The loops over coordinates that are run before the instructions ([`Real::fold_coordinates`]).
    pub fn folds(&self) -> &[CoordinateFold] {
        &self.code.folds
    }

    /// The instructions in order. Every register is written before it is read.
    pub fn instructions(&self) -> &[Instruction] {
        &self.code.instructions
    }

    /// Where the outputs are found after the last instruction.
    pub fn output_operands(&self) -> &[Operand] {
        &self.code.outputs
    }

    /// The formula read again over any [`Real`]: numbers evaluate it, duals differentiate it, a
    /// recorder inlines it in a larger program.
    ///
    /// # Errors
    ///
    /// [`ProgramError::Arity`] unless there are [`inputs`](Program::inputs) inputs.
    pub fn evaluate<R: Real>(&self, inputs: &[R]) -> Result<Vec<R>, ProgramError> {
        let values = self.run(inputs, None)?;
        Ok(self.output_operands().iter().map(|output| values.read(*output)).collect())
    }

    /// [`evaluate`](Program::evaluate) at other values of the parameters: dual numbers differentiate in them.
    ///
    /// # Errors
    ///
    /// [`ProgramError::Arity`] unless there are [`inputs`](Program::inputs) inputs and as many parameters as the
    /// program has.
    pub fn evaluate_at<R: Real>(&self, inputs: &[R], parameters: &[R]) -> Result<Vec<R>, ProgramError> {
        let (expected, found) = (self.parameters.len(), parameters.len());
        if expected != found {
            return Err(ProgramError::Arity { expected, found });
        }
        let values = self.run(inputs, Some(parameters))?;
        Ok(self.output_operands().iter().map(|output| values.read(*output)).collect())
    }

    /// The program of the derivatives of all outputs in one parameter; zeros where the program has no such parameter.
    ///
    /// ```
    /// use ot_core::{Program, Real};
    ///
    /// let power = Program::record(|[x]| [(x.parameter(0, 3.0) * x.ln()).exp()])?;
    /// let slope = power.parameter_derivative(0)?;
    /// assert!((slope.call::<f64, 1, 1>([2.0])?[0] - 8.0 * 2.0_f64.ln()).abs() < 1e-14);
    /// # Ok::<(), ot_core::ProgramError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`record`](Program::record).
    pub fn parameter_derivative(&self, parameter: usize) -> Result<Self, ProgramError> {
        let outputs = self.outputs();
        let mut fault = None;
        let derivative = Self::record_dynamic(self.inputs(), |inputs| {
            let points: Vec<_> = inputs.iter().map(|&input| Dual::constant(input)).collect();
            let theta: Vec<_> = (0u16..)
                .zip(&*self.parameters)
                .map(|(index, &value)| {
                    let value = inputs.first().map_or(Recorder::constant(value), |x| x.parameter(index, value));
                    Dual::new(value, Recorder::constant(f64::from(usize::from(index) == parameter)))
                })
                .collect();
            let values = self.evaluate_at(&points, &theta).unwrap_or_else(|error| {
                fault = Some(error);
                vec![Dual::constant(Recorder::constant(0.0)); outputs]
            });
            values.into_iter().map(|value| value.derivative).collect()
        });
        fault.map_or(derivative, Err)
    }

    /// [`evaluate`](Program::evaluate) with numbers of inputs and outputs known to the compiler;
    /// allocates nothing.
    ///
    /// ```
    /// use ot_core::{Dual, Program, Real};
    ///
    /// let cost = Program::record(|[x, y]| [(x - y).abs().power(3.0)])?;
    /// let [slope] = cost.call([Dual::variable(2.0), Dual::constant(0.0)])?;
    /// assert_eq!((slope.value, slope.derivative), (8.0, 12.0));
    /// # Ok::<(), ot_core::ProgramError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ProgramError::Arity`] or [`ProgramError::OutputArity`] unless `N` and `M` are the numbers of
    /// inputs and outputs.
    pub fn call<R: Real, const N: usize, const M: usize>(&self, inputs: [R; N]) -> Result<[R; M], ProgramError> {
        self.check_outputs(M)?;
        let values = self.run(&inputs, None)?;
        Ok(std::array::from_fn(|index| values.read(self.code.outputs[index])))
    }

    /// All values after the last instruction.
    fn run<'a, R: Real>(&'a self, inputs: &'a [R], parameters: Option<&'a [R]>) -> Result<Values<'a, R>, ProgramError> {
        self.check_inputs(inputs.len())?;
        let zero = R::constant(0.0);
        let mut folded = [zero; MAX_FOLDED];
        let mut first = 0;
        for fold in self.folds() {
            let results = &mut folded[first..first + fold.states()];
            match results.len() {
                1 => self.fold::<R, 1>(fold, inputs, parameters, results),
                2 => self.fold::<R, 2>(fold, inputs, parameters, results),
                3 => self.fold::<R, 3>(fold, inputs, parameters, results),
                _ => self.fold::<R, MAX_STATES>(fold, inputs, parameters, results),
            }
            first += fold.states();
        }
        let mut values = Values {
            inputs,
            registers: [zero; MAX_REGISTERS],
            folded,
            parameters: Parameters { known: &self.parameters, given: parameters },
        };
        values.execute(self.instructions());
        Ok(values)
    }

    /// One loop over coordinates.
    fn fold<R: Real, const S: usize>(
        &self,
        fold: &CoordinateFold,
        inputs: &[R],
        parameters: Option<&[R]>,
        results: &mut [R],
    ) {
        let [x, y] = fold.inputs_at(0).map(|first| &inputs[first..first + fold.count()]);
        let constant = |slot: usize| match fold.start()[slot] {
            Operand::Constant(value) => value,
            _ => f64::NAN,
        };
        let zero = R::constant(0.0);
        let folded = R::fold_coordinates(x, y, std::array::from_fn::<f64, S, _>(constant), |state, x, y| {
            let mut arguments = [zero; MAX_STATES + 2];
            arguments[..S].copy_from_slice(&state);
            arguments[S..S + 2].copy_from_slice(&[x, y]);
            let mut values = Values {
                inputs: &arguments,
                registers: [zero; MAX_REGISTERS],
                folded: [zero; MAX_FOLDED],
                parameters: Parameters { known: &self.parameters, given: parameters },
            };
            values.execute(fold.instructions());
            std::array::from_fn(|slot| values.read(fold.next()[slot]))
        });
        results.copy_from_slice(&folded);
    }

    /// Whether `found` is the number of inputs.
    fn check_inputs(&self, found: usize) -> Result<(), ProgramError> {
        let expected = self.inputs();
        if found == expected { Ok(()) } else { Err(ProgramError::Arity { expected, found }) }
    }

    /// Whether `found` is the number of outputs.
    fn check_outputs(&self, found: usize) -> Result<(), ProgramError> {
        let expected = self.outputs();
        if found == expected { Ok(()) } else { Err(ProgramError::OutputArity { expected, found }) }
    }
}

/// What operands are read from.
struct Values<'a, R> {
    inputs: &'a [R],
    registers: [R; MAX_REGISTERS],
    folded: [R; MAX_FOLDED],
    parameters: Parameters<'a, R>,
}

/// The values of parameters that a program knows, and those given in their place.
struct Parameters<'a, R> {
    known: &'a [f64],
    given: Option<&'a [R]>,
}

impl<R: Real> Values<'_, R> {
    fn execute(&mut self, instructions: &[Instruction]) {
        for instruction in instructions {
            let operands = instruction.operands.map(|operand| self.read(operand));
            self.registers[usize::from(instruction.register)] = instruction.operation.apply(operands);
        }
    }

    #[inline]
    fn read(&self, operand: Operand) -> R {
        match operand {
            Operand::Input(index) => self.inputs[usize::from(index)],
            Operand::Constant(value) => R::constant(value),
            Operand::Register(index) => self.registers[usize::from(index)],
            Operand::Folded(index) => self.folded[usize::from(index)],
            Operand::Parameter(index) => {
                let known = self.parameters.known[usize::from(index)];
                match (self.parameters.given, self.inputs.first()) {
                    (Some(given), _) => given[usize::from(index)],
                    // A program that is called while another is recorded hands its parameters on.
                    (None, Some(input)) => input.parameter(index, known),
                    (None, None) => R::constant(known),
                }
            }
        }
    }
}

impl Instruction {
    /// The operands that count: the first [`Operation::arity`] ones.
    pub fn arguments(&self) -> &[Operand] {
        &self.operands[..self.operation.arity()]
    }
}

impl Operand {
    /// What tells operands apart: the kind, and the index or the bits of the constant.
    fn key(self) -> (u8, u64) {
        match self {
            Self::Input(index) => (0, u64::from(index)),
            Self::Constant(value) => (1, value.to_bits()),
            Self::Register(index) => (2, u64::from(index)),
            Self::Parameter(index) => (3, u64::from(index)),
            Self::Folded(index) => (4, u64::from(index)),
        }
    }
}

impl PartialEq for Operand {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Operand {}

impl Hash for Operand {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl Operation {
    /// The number of operands: 1, 2, or 3 for [`Select`](Operation::Select).
    pub fn arity(self) -> usize {
        match self {
            Self::Neg | Self::Exp | Self::Ln | Self::Sqrt | Self::Abs | Self::Sin | Self::Cos | Self::Atan => 1,
            Self::Add | Self::Sub | Self::Mul | Self::Div | Self::Min | Self::Max => 2,
            Self::Select => 3,
        }
    }

    /// The operation on the first [`arity`](Operation::arity) operands.
    #[inline]
    pub fn apply<R: Real>(self, [a, b, c]: [R; 3]) -> R {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
            Self::Neg => -a,
            Self::Exp => a.exp(),
            Self::Ln => a.ln(),
            Self::Sqrt => a.sqrt(),
            Self::Abs => a.abs(),
            Self::Sin => a.sin(),
            Self::Cos => a.cos(),
            Self::Atan => a.atan(),
            Self::Min => a.min(b),
            Self::Max => a.max(b),
            Self::Select => a.select(b, c),
        }
    }

    /// The lower-case name, as in listings: `"add"`, ..., `"select"`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Sub => "sub",
            Self::Mul => "mul",
            Self::Div => "div",
            Self::Neg => "neg",
            Self::Exp => "exp",
            Self::Ln => "ln",
            Self::Sqrt => "sqrt",
            Self::Abs => "abs",
            Self::Sin => "sin",
            Self::Cos => "cos",
            Self::Atan => "atan",
            Self::Min => "min",
            Self::Max => "max",
            Self::Select => "select",
        }
    }
}

/// A listing: the loops, one line per instruction, `r1 = mul r0 x2`, and a last one, `return r1`.
impl fmt::Display for Program {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fold in self.folds() {
            write!(formatter, "{fold}")?;
        }
        for instruction in self.instructions() {
            writeln!(formatter, "{instruction}")?;
        }
        write!(formatter, "return")?;
        for output in self.output_operands() {
            write!(formatter, " {output}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Instruction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "r{} = {}", self.register, self.operation.name())?;
        for operand in self.arguments() {
            write!(formatter, " {operand}")?;
        }
        Ok(())
    }
}

/// `x0` for an input, `p0` for a parameter, `f0` for a result of a loop, `r0` for a register, the shortest exact decimal for a constant.
impl fmt::Display for Operand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(index) => write!(formatter, "x{index}"),
            Self::Parameter(index) => write!(formatter, "p{index}"),
            Self::Folded(index) => write!(formatter, "f{index}"),
            Self::Constant(value) => write!(formatter, "{value:?}"),
            Self::Register(index) => write!(formatter, "r{index}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        random_formula::{Random, RandomFormula},
        *,
    };

    #[test]
    fn every_operation_computes_what_its_name_says() {
        let program = Program::record(|[a, b, c]| {
            [
                a + b,
                a - b,
                a * b,
                a / b,
                -a,
                a.exp(),
                a.ln(),
                a.sqrt(),
                (-a).abs(),
                a.min(b),
                a.max(b),
                (a - b).select(b, c),
                (b - a).select(b, c),
            ]
        })
        .unwrap();
        let found: [f64; 13] = program.call([4.0, 0.5, 7.0]).unwrap();
        let (e, ln) = (4.0_f64.exp(), 4.0_f64.ln());
        let expected = [4.5, 3.5, 2.0, 8.0, -4.0, e, ln, 2.0, 4.0, 0.5, 4.0, 0.5, 7.0];
        assert_eq!(found, expected);
        assert_eq!((program.inputs(), program.outputs()), (3, 13));
    }

    #[test]
    fn programs_equal_their_formulas_bit_for_bit() {
        let mut random = Random::new(3);
        let mut finite = 0;
        for _ in 0..2000 {
            let formula = RandomFormula::new(&mut random, 4, 30, 3);
            let program = formula.record();
            assert_sound(&program);
            let inputs = [0; 4].map(|_| random.between(-2.0, 2.0));
            let (found, expected) = (program.evaluate(&inputs).unwrap(), formula.evaluate(&inputs));
            for (found, expected) in found.iter().zip(&expected) {
                let same = found.to_bits() == expected.to_bits();
                assert!(same || (found.is_nan() && expected.is_nan()), "{program}");
                finite += usize::from(expected.is_finite());
            }
        }
        assert!(finite > 2000, "{finite} finite results");
    }

    /// What the documentation promises to those who run or compile a program.
    fn assert_sound(program: &Program) {
        let mut written = [false; MAX_REGISTERS];
        let is_readable = |operand: &Operand, written: &[bool]| match *operand {
            Operand::Register(register) => written[usize::from(register)],
            Operand::Input(input) => usize::from(input) < program.inputs(),
            Operand::Parameter(parameter) => usize::from(parameter) < program.parameters().len(),
            Operand::Folded(index) => usize::from(index) < program.folds().iter().map(CoordinateFold::states).sum(),
            Operand::Constant(_) => true,
        };
        for instruction in program.instructions() {
            let arguments = instruction.arguments();
            assert!(arguments.iter().all(|operand| is_readable(operand, &written)), "{program}");
            assert!(!arguments.contains(&Operand::Register(instruction.register)), "{program}");
            let unused = &instruction.operands[arguments.len()..];
            assert!(unused.iter().all(|&operand| operand == Operand::Constant(0.0)));
            assert!(usize::from(instruction.register) < program.registers());
            written[usize::from(instruction.register)] = true;
        }
        let outputs = program.output_operands();
        assert!(outputs.iter().all(|operand| is_readable(operand, &written)), "{program}");
    }

    /// A derivative read from the program is the derivative of the formula, and a program of duals
    /// computes it.
    #[test]
    fn derivatives_of_programs_and_programs_of_derivatives() {
        fn formula<R: Real>([x, y]: [R; 2]) -> R {
            ((x * y).exp() + x.abs().power(1.5) / y).ln().max(x.min(y))
        }
        let program = Program::record(|inputs| [formula(inputs)]).unwrap();
        let slope = Program::record(|[x, y]| [formula([Dual::variable(x), Dual::constant(y)]).derivative]).unwrap();
        let mut random = Random::new(4);
        for _ in 0..100 {
            let [x, y] = [random.between(-2.0, 2.0), random.between(0.1, 2.0)];
            let inputs = [Dual::variable(x), Dual::constant(y)];
            let expected = formula(inputs);
            assert_eq!(program.call(inputs).unwrap(), [expected]);
            assert_eq!(slope.call([x, y]).unwrap(), [expected.derivative]);
        }
    }

    #[test]
    fn a_program_inlined_in_another_is_their_composition() {
        let inner = Program::record(|[x, y]| [x * y, x / (y * y)]).unwrap();
        let outer = Program::try_record(|[x]| {
            let [product, ratio] = inner.call([x, x + 1.0])?;
            Ok([product - ratio.sqrt()])
        })
        .unwrap();
        let direct = Program::record(|[x]| {
            let y = x + 1.0;
            [x * y - (x / (y * y)).sqrt()]
        })
        .unwrap();
        assert_eq!(outer, direct);
        let again = Program::try_record(|[x, y]| inner.call::<_, 2, 2>([x, y])).unwrap();
        assert_eq!(again, inner);
    }

    #[test]
    fn arity_is_checked() {
        let program = Program::record(|[x, y]| [x + y]).unwrap();
        let arity = ProgramError::Arity { expected: 2, found: 3 };
        assert_eq!(program.evaluate(&[1.0; 3]), Err(arity.clone()));
        assert_eq!(program.call::<_, 3, 1>([1.0; 3]), Err(arity));
        let outputs = ProgramError::OutputArity { expected: 1, found: 2 };
        assert_eq!(program.call::<_, 2, 2>([1.0; 2]), Err(outputs));
        assert_eq!(Program::record(|[_]| []), Err(ProgramError::NoOutputs));
        let none = Program::record_dynamic(0, |_| Vec::new());
        assert_eq!(none, Err(ProgramError::NoOutputs));
    }

    #[test]
    fn programs_are_equal_if_their_code_is() {
        use std::collections::HashSet;
        let with = |value: f64| Program::record(move |[x]| [x * value]).unwrap();
        assert_eq!(with(2.0), with(2.0));
        assert_eq!(with(f64::NAN), with(f64::NAN));
        assert_ne!(with(0.0), with(-0.0));
        let mut cache = HashSet::from([with(2.0), with(0.0)]);
        assert!(!cache.insert(with(2.0)) && cache.insert(with(-0.0)));
        let other = Program::record(|[x, _]| [x * 2.0]).unwrap();
        assert_ne!(with(2.0), other);
    }

    #[test]
    fn a_listing_reads_like_the_formula() {
        let program = Program::record(|[x, y]| {
            let scaled = x * 0.5;
            [(y - x).select(scaled.exp(), y), y]
        })
        .unwrap();
        let listing = ["r0 = mul x0 0.5", "r1 = sub x1 x0", "r2 = exp r0", "r0 = select r1 r2 x1", "return r0 x1"];
        assert_eq!(program.to_string(), listing.join("\n"));
    }

    #[test]
    fn programs_cross_threads() {
        fn shareable<T: Send + Sync + 'static>(_: &T) {}
        shareable(&Program::record(|[x]| [x]).unwrap());
    }
}
