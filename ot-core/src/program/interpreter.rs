//! The block interpreter: how a host runs a program over slices.
//!
//! Slices are worked through [`BLOCK`] lanes at a time. Within a block each instruction is one simple
//! loop over its lanes, chosen outside the loop, so that it vectorises; the registers are a fixed
//! buffer that stays in the first-level cache. What is the same for the whole block (inputs given as
//! [`BlockInput::Uniform`], constants, and whatever is computed from them) is computed once.

use std::marker::PhantomData;

use super::{
    CoordinateFold, Instruction, MAX_FOLDED, MAX_REGISTERS, MAX_STATES, Operand, Operation, Program, ProgramError,
};
use crate::{
    instructions::{Loops, run_widest},
    real::constant,
    scalar::Scalar,
};

/// The number of lanes that an instruction works on at a time.
///
/// Large enough that choosing the loop costs less than running it, small enough that the registers
/// of a typical program (up to a dozen, 1 KiB each in `f64`) stay in the first-level cache.
pub const BLOCK: usize = 128;

/// An input of a program for a run of lanes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BlockInput<'a, T> {
    /// One value per lane.
    Lanes(&'a [T]),
    /// The same value for every lane.
    Uniform(T),
}

/// The transcendental functions of a host, on lanes in place.
///
/// A lane's result must not depend on where in the slice it stands, or on how many there are: the
/// interpreter calls with up to [`BLOCK`] lanes, and with one for what is uniform. The defaults are the standard library's,
/// lane by lane.
pub trait BlockMath<T: Scalar> {
    /// Replaces every lane by its exponential.
    fn exp(lanes: &mut [T]);
    /// Replaces every lane by its natural logarithm.
    fn ln(lanes: &mut [T]);

    /// Replaces every lane by its sine. By default the standard library's.
    fn sin(lanes: &mut [T]) {
        lanes.iter_mut().for_each(|lane| *lane = lane.sin());
    }

    /// Replaces every lane by its cosine. By default the standard library's.
    fn cos(lanes: &mut [T]) {
        lanes.iter_mut().for_each(|lane| *lane = lane.cos());
    }

    /// Replaces every lane by its arc tangent. By default the standard library's.
    fn atan(lanes: &mut [T]) {
        lanes.iter_mut().for_each(|lane| *lane = lane.atan());
    }
}

/// [`BlockMath`] by the standard library, lane by lane: the bits of the formula.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LibraryMath;

impl<T: Scalar> BlockMath<T> for LibraryMath {
    fn exp(lanes: &mut [T]) {
        for lane in lanes {
            *lane = lane.exp();
        }
    }

    fn ln(lanes: &mut [T]) {
        for lane in lanes {
            *lane = lane.ln();
        }
    }
}

/// The working memory of [`Program::run_block`]: 8 KiB on the stack for `f64`, and for programs of more than
/// eight registers or with loops over coordinates as much as they need, which is allocated once.
///
/// Holds nothing between runs.
#[derive(Clone, Debug)]
pub struct Registers<T> {
    /// Results of the instructions of a small program.
    few: [[T; BLOCK]; FEW],
    /// Results of the instructions of any other.
    many: Vec<[T; BLOCK]>,
    /// Those that are the same for every lane, which take the place of the others.
    uniform: [Option<T>; MAX_REGISTERS],
    /// What loops over coordinates work with.
    loops: Option<Box<LoopRegisters<T>>>,
}

/// Registers that are kept without an allocation.
const FEW: usize = 8;

/// The working memory of loops over coordinates.
#[derive(Clone, Debug)]
struct LoopRegisters<T> {
    /// Their results.
    folded: Bank<T, MAX_FOLDED>,
    /// States before and after a step.
    states: [Bank<T, MAX_STATES>; 2],
}

/// Numbers for each lane of a block, `N` of them.
#[derive(Clone, Debug)]
struct Bank<T, const N: usize> {
    /// Those that differ between lanes.
    lanes: [[T; BLOCK]; N],
    /// Those that are the same for every lane, which take the place of `lanes`.
    uniform: [Option<T>; N],
}

impl<T: Scalar, const N: usize> Bank<T, N> {
    fn new() -> Self {
        Self { lanes: [[T::default(); BLOCK]; N], uniform: [None; N] }
    }

    /// The lanes at `index`, of which a block has `count`.
    #[inline(always)]
    fn get(&self, index: usize, count: usize) -> BlockInput<'_, T> {
        self.uniform[index].map_or(BlockInput::Lanes(&self.lanes[index][..count]), BlockInput::Uniform)
    }

    #[inline(always)]
    fn set(&mut self, index: usize, value: BlockInput<'_, T>) {
        self.uniform[index] = match value {
            BlockInput::Uniform(value) => Some(value),
            BlockInput::Lanes(lanes) => {
                self.lanes[index][..lanes.len()].copy_from_slice(lanes);
                None
            }
        };
    }
}

/// The registers that instructions write.
struct Results<'a, T> {
    lanes: &'a mut [[T; BLOCK]],
    uniform: &'a mut [Option<T>; MAX_REGISTERS],
}

impl<T: Scalar> Registers<T> {
    /// Cleared registers.
    #[inline]
    pub fn new() -> Self {
        Self { few: [[T::default(); BLOCK]; FEW], many: Vec::new(), uniform: [None; MAX_REGISTERS], loops: None }
    }

    /// What a program writes its results and those of its loops to.
    #[inline(always)]
    fn of_program(&mut self, program: &Program) -> (Results<'_, T>, Option<&mut LoopRegisters<T>>) {
        let Self { few, many, uniform, loops } = self;
        let steps = program.folds().iter().map(CoordinateFold::registers);
        let count = steps.fold(program.registers(), usize::max);
        let lanes = if count <= FEW {
            &mut few[..]
        } else {
            if many.len() < count {
                many.resize(count, [T::default(); BLOCK]);
            }
            &mut many[..]
        };
        let loops = match program.folds() {
            [] => None,
            _ => Some(&mut **loops.get_or_insert_with(|| {
                Box::new(LoopRegisters { folded: Bank::new(), states: [Bank::new(), Bank::new()] })
            })),
        };
        (Results { lanes, uniform }, loops)
    }
}

impl<T: Scalar> Default for Registers<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl Program {
    /// Runs the program on lanes: `outputs[k][i]` becomes output `k` of the inputs of lane `i`.
    ///
    /// All slices have the same length, which may be any: they are worked through [`BLOCK`] lanes at
    /// a time. Nothing is allocated but, once, what [`Registers`] lack. With [`LibraryMath`] every lane has the bits of
    /// [`evaluate`](Program::evaluate), whatever the length and wherever it stands.
    ///
    /// The loops run by the widest vectors of the machine, found out at run time. No operations are contracted, so the
    /// bits are those of any other.
    ///
    /// ```
    /// use ot_core::{
    ///     Program, Real,
    ///     program::{BlockInput, LibraryMath, Registers},
    /// };
    ///
    /// let axpy = Program::record(|[a, x, y]| [a * x + y])?;
    /// let (x, y) = ([1.0, 2.0, 3.0], [0.5, 0.5, 0.0]);
    /// let mut z = [0.0; 3];
    /// axpy.run_block::<f64, LibraryMath>(
    ///     &[BlockInput::Uniform(2.0), BlockInput::Lanes(&x), BlockInput::Lanes(&y)],
    ///     &mut Registers::new(),
    ///     &mut [&mut z],
    /// )?;
    /// assert_eq!(z, [2.5, 4.5, 6.0]);
    /// # Ok::<(), ot_core::ProgramError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ProgramError::Arity`], [`ProgramError::OutputArity`] or [`ProgramError::Lanes`] if the
    /// inputs and outputs do not fit the program or each other; nothing is written then.
    pub fn run_block<T: Scalar, M: BlockMath<T>>(
        &self,
        inputs: &[BlockInput<'_, T>],
        registers: &mut Registers<T>,
        outputs: &mut [&mut [T]],
    ) -> Result<(), ProgramError> {
        self.check_inputs(inputs.len())?;
        self.check_outputs(outputs.len())?;
        let length = common_length(inputs, outputs)?;
        run_widest(Blocks { program: self, inputs, registers, outputs, length, math: PhantomData::<M> });
        Ok(())
    }

    /// Runs a loop over coordinates on the lanes of one block. Its results go to `folded`, from `first` on.
    #[inline(always)]
    fn run_fold<T: Scalar, M: BlockMath<T>>(
        &self,
        fold: &CoordinateFold,
        inputs: &[BlockInput<'_, T>],
        lanes: std::ops::Range<usize>,
        first: usize,
        results: &mut Results<'_, T>,
        LoopRegisters { folded, states: [states, next] }: &mut LoopRegisters<T>,
    ) {
        let (mut states, mut next, count) = (states, next, lanes.len());
        for (slot, start) in fold.start().iter().enumerate() {
            if let Operand::Constant(value) = *start {
                states.set(slot, BlockInput::Uniform(constant(value)));
            }
        }
        for k in 0..fold.count() {
            let coordinate = |index: usize| match inputs[index] {
                BlockInput::Lanes(values) => BlockInput::Lanes(&values[lanes.clone()]),
                uniform => uniform,
            };
            let [x, y] = fold.inputs_at(k).map(coordinate);
            let mut arguments = [x; MAX_STATES + 2];
            for (slot, argument) in arguments[..fold.states()].iter_mut().enumerate() {
                *argument = states.get(slot, count);
            }
            arguments[fold.states() + 1] = y;
            let block = Block { inputs: &arguments, parameters: &self.parameters, folded: None, start: 0, count };
            for instruction in fold.instructions() {
                block.execute::<M>(instruction, results);
            }
            for (slot, &operand) in fold.next().iter().enumerate() {
                next.set(slot, block.result(operand, results));
            }
            std::mem::swap(&mut states, &mut next);
        }
        for slot in 0..fold.states() {
            folded.set(first + slot, states.get(slot, count));
        }
    }
}

/// A program on lanes that fit it, block by block.
struct Blocks<'a, 'o, T, M> {
    program: &'a Program,
    inputs: &'a [BlockInput<'a, T>],
    registers: &'a mut Registers<T>,
    outputs: &'a mut [&'o mut [T]],
    length: usize,
    math: PhantomData<M>,
}

impl<T: Scalar, M: BlockMath<T>> Loops for Blocks<'_, '_, T, M> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { program, inputs, registers, outputs, length, .. } = self;
        let (mut results, mut loops) = registers.of_program(program);
        for start in (0..length).step_by(BLOCK) {
            let count = BLOCK.min(length - start);
            let mut first = 0;
            for fold in program.folds() {
                if let Some(loops) = &mut loops {
                    program.run_fold::<T, M>(fold, inputs, start..start + count, first, &mut results, loops);
                }
                first += fold.states();
            }
            let folded = loops.as_ref().map(|loops| &loops.folded);
            let block = Block { inputs, parameters: &program.parameters, folded, start, count };
            for instruction in program.instructions() {
                block.execute::<M>(instruction, &mut results);
            }
            for (output, &operand) in outputs.iter_mut().zip(program.output_operands()) {
                let target = &mut output[start..start + count];
                match block.result(operand, &results) {
                    BlockInput::Lanes(lanes) => target.copy_from_slice(lanes),
                    BlockInput::Uniform(value) => target.fill(value),
                }
            }
        }
    }
}

/// The length of the first output, if all lanes share it.
fn common_length<T>(inputs: &[BlockInput<'_, T>], outputs: &[&mut [T]]) -> Result<usize, ProgramError> {
    let expected = outputs.first().map_or(0, |output| output.len());
    let of_inputs = inputs.iter().filter_map(|input| match input {
        BlockInput::Lanes(lanes) => Some(lanes.len()),
        BlockInput::Uniform(_) => None,
    });
    let mut lengths = of_inputs.chain(outputs.iter().map(|output| output.len()));
    match lengths.find(|&length| length != expected) {
        Some(found) => Err(ProgramError::Lanes { expected, found }),
        None => Ok(expected),
    }
}

/// At most [`BLOCK`] consecutive lanes of the inputs.
struct Block<'a, T> {
    inputs: &'a [BlockInput<'a, T>],
    parameters: &'a [f64],
    /// None for a program without loops, and for the step of a loop, which reads no results of loops.
    folded: Option<&'a Bank<T, MAX_FOLDED>>,
    start: usize,
    count: usize,
}

/// The registers that may be read: all, or all but the one between `before` and `after`.
struct Readable<'a, T> {
    before: &'a [[T; BLOCK]],
    after: &'a [[T; BLOCK]],
    uniform: &'a [Option<T>; MAX_REGISTERS],
}

impl<T: Scalar> Block<'_, T> {
    /// Runs one instruction.
    #[inline(always)]
    fn execute<M: BlockMath<T>>(&self, instruction: &Instruction, registers: &mut Results<'_, T>) {
        // An instruction reads no register that it writes, so its target can be set apart.
        let register = usize::from(instruction.register);
        let (before, rest) = registers.lanes.split_at_mut(register);
        let Some((target, after)) = rest.split_first_mut() else {
            return;
        };
        let readable = Readable { before, after, uniform: registers.uniform };
        let target = &mut target[..self.count];
        let read = |index: usize| self.read(instruction.operands[index], &readable);
        registers.uniform[register] = match instruction.operation {
            Operation::Add => binary(target, read(0), read(1), |a, b| a + b),
            Operation::Sub => binary(target, read(0), read(1), |a, b| a - b),
            Operation::Mul => binary(target, read(0), read(1), |a, b| a * b),
            Operation::Div => binary(target, read(0), read(1), |a, b| a / b),
            Operation::Min => binary(target, read(0), read(1), T::min),
            Operation::Max => binary(target, read(0), read(1), T::max),
            Operation::Neg => unary(target, read(0), |a| -a),
            Operation::Sqrt => unary(target, read(0), T::sqrt),
            Operation::Abs => unary(target, read(0), T::abs),
            Operation::Exp => in_place(target, read(0), M::exp),
            Operation::Ln => in_place(target, read(0), M::ln),
            Operation::Sin => in_place(target, read(0), M::sin),
            Operation::Cos => in_place(target, read(0), M::cos),
            Operation::Atan => in_place(target, read(0), M::atan),
            Operation::Select => {
                ternary(target, read(0), read(1), read(2), |a, b, c| if a > T::default() { b } else { c })
            }
        };
    }

    /// What the operand is after the last instruction.
    #[inline(always)]
    fn result<'a>(&'a self, operand: Operand, registers: &'a Results<'_, T>) -> BlockInput<'a, T> {
        self.read(operand, &Readable { before: registers.lanes, after: &[], uniform: registers.uniform })
    }

    /// The lanes of the operand.
    #[inline(always)]
    fn read<'a>(&'a self, operand: Operand, readable: &Readable<'a, T>) -> BlockInput<'a, T> {
        let register = match operand {
            Operand::Constant(value) => return BlockInput::Uniform(constant(value)),
            Operand::Parameter(index) => {
                return BlockInput::Uniform(constant(self.parameters[usize::from(index)]));
            }
            Operand::Input(index) => {
                return match self.inputs[usize::from(index)] {
                    BlockInput::Lanes(lanes) => BlockInput::Lanes(&lanes[self.start..self.start + self.count]),
                    uniform => uniform,
                };
            }
            Operand::Folded(index) => {
                let none = BlockInput::Uniform(T::default());
                return self.folded.map_or(none, |folded| folded.get(usize::from(index), self.count));
            }
            Operand::Register(register) => usize::from(register),
        };
        if let Some(value) = readable.uniform[register] {
            return BlockInput::Uniform(value);
        }
        let lanes = match readable.before.get(register) {
            Some(lanes) => lanes,
            None => &readable.after[register - readable.before.len() - 1],
        };
        BlockInput::Lanes(&lanes[..self.count])
    }
}

// The loops. Each combination of lanes and uniform values is a loop of its own, so that none of them
// branches or loads what does not change. If all operands are uniform, the result is returned, and
// no lane is written.

#[inline(always)]
fn unary<T: Copy>(target: &mut [T], a: BlockInput<'_, T>, f: impl Fn(T) -> T) -> Option<T> {
    match a {
        BlockInput::Uniform(a) => return Some(f(a)),
        BlockInput::Lanes(a) => {
            for (target, &a) in target.iter_mut().zip(a) {
                *target = f(a);
            }
        }
    }
    None
}

#[inline(always)]
fn binary<T: Copy>(target: &mut [T], a: BlockInput<'_, T>, b: BlockInput<'_, T>, f: impl Fn(T, T) -> T) -> Option<T> {
    match (a, b) {
        (BlockInput::Uniform(a), b) => return unary(target, b, |b| f(a, b)),
        (a, BlockInput::Uniform(b)) => return unary(target, a, |a| f(a, b)),
        (BlockInput::Lanes(a), BlockInput::Lanes(b)) => {
            for ((target, &a), &b) in target.iter_mut().zip(a).zip(b) {
                *target = f(a, b);
            }
        }
    }
    None
}

#[inline(always)]
fn ternary<T: Copy>(
    target: &mut [T],
    a: BlockInput<'_, T>,
    b: BlockInput<'_, T>,
    c: BlockInput<'_, T>,
    f: impl Fn(T, T, T) -> T,
) -> Option<T> {
    match (a, b, c) {
        (BlockInput::Uniform(a), b, c) => return binary(target, b, c, |b, c| f(a, b, c)),
        (a, BlockInput::Uniform(b), c) => return binary(target, a, c, |a, c| f(a, b, c)),
        (a, b, BlockInput::Uniform(c)) => return binary(target, a, b, |a, b| f(a, b, c)),
        (BlockInput::Lanes(a), BlockInput::Lanes(b), BlockInput::Lanes(c)) => {
            for (((target, &a), &b), &c) in target.iter_mut().zip(a).zip(b).zip(c) {
                *target = f(a, b, c);
            }
        }
    }
    None
}

/// A function that works in place, on a copy of the operand.
#[inline(always)]
fn in_place<T: Copy>(target: &mut [T], a: BlockInput<'_, T>, f: impl Fn(&mut [T])) -> Option<T> {
    match a {
        BlockInput::Uniform(a) => {
            let mut lane = [a];
            f(&mut lane);
            Some(lane[0])
        }
        BlockInput::Lanes(a) => {
            target.copy_from_slice(a);
            f(target);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        program::{
            Recorder,
            random_formula::{Random, RandomFormula},
        },
        real::{Number, Real},
    };

    /// The block interpreter against the formula itself, every lane, bit for bit.
    fn lanes_equal_the_formula<T: Scalar>(seed: u64, same_bits: impl Fn(T, T) -> bool) {
        let mut random = Random::new(seed);
        let mut registers = Registers::new();
        for round in 0..300 {
            let formula = RandomFormula::new(&mut random, 3, 24, 2);
            let program = formula.record();
            let length = [0, 1, 2, 63, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5][round % 8];
            let data: Vec<Vec<T>> = (0..3)
                .map(|_| {
                    let mut lane = || T::from_f64(random.between(-2.0, 2.0));
                    (0..length).map(|_| lane()).collect()
                })
                .collect();
            // Each input is uniform now and then, all three once in eight rounds.
            let uniform: Vec<Option<T>> =
                (0..3).map(|_| (random.below(2) == 0).then(|| T::from_f64(random.between(-2.0, 2.0)))).collect();
            let inputs: Vec<BlockInput<'_, T>> = uniform
                .iter()
                .zip(&data)
                .map(|(value, lanes)| value.map_or(BlockInput::Lanes(lanes), BlockInput::Uniform))
                .collect();
            let (mut first, mut second) = (vec![T::default(); length], vec![T::default(); length]);
            program.run_block::<T, LibraryMath>(&inputs, &mut registers, &mut [&mut first, &mut second]).unwrap();
            for lane in 0..length {
                let at_lane: Vec<_> =
                    (0..3).map(|input| Number(uniform[input].unwrap_or_else(|| data[input][lane]))).collect();
                let expected = formula.evaluate(&at_lane);
                let found = [first[lane], second[lane]];
                assert!(
                    same_bits(found[0], expected[0].0) && same_bits(found[1], expected[1].0),
                    "round {round}, lane {lane}: {found:?} and {expected:?}\n{program}"
                );
            }
        }
    }

    #[test]
    fn lanes_equal_the_formula_in_f64() {
        lanes_equal_the_formula::<f64>(1, |a, b| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()));
    }

    #[test]
    fn lanes_equal_the_formula_in_f32() {
        lanes_equal_the_formula::<f32>(2, |a, b| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()));
    }

    /// A mathematics that tells its calls from the library's.
    struct Marked;

    impl BlockMath<f64> for Marked {
        fn exp(lanes: &mut [f64]) {
            lanes.iter_mut().for_each(|lane| *lane += 1000.0);
        }

        fn ln(lanes: &mut [f64]) {
            lanes.iter_mut().for_each(|lane| *lane -= 1000.0);
        }
    }

    #[test]
    fn the_mathematics_of_the_backend_is_used_for_lanes_and_for_uniform_values() {
        let program = Program::record(|[x, y]| [x.exp(), x.ln(), y.exp(), y.ln()]).unwrap();
        let mut outputs = [[0.0; 3]; 4];
        let [a, b, c, d] = &mut outputs;
        program
            .run_block::<f64, Marked>(
                &[BlockInput::Lanes(&[1.0, 2.0, 3.0]), BlockInput::Uniform(5.0)],
                &mut Registers::new(),
                &mut [a, b, c, d],
            )
            .unwrap();
        assert_eq!(outputs[0], [1001.0, 1002.0, 1003.0]);
        assert_eq!(outputs[1], [-999.0, -998.0, -997.0]);
        assert_eq!(outputs[2..], [[1005.0; 3], [-995.0; 3]]);
    }

    #[test]
    fn outputs_may_be_inputs_constants_and_repeated() {
        let program = Program::record(|[x]| {
            let square = x * x;
            [x, Recorder::constant(7.0), square, square]
        })
        .unwrap();
        let mut outputs = [[0.0_f32; 2]; 4];
        let [a, b, c, d] = &mut outputs;
        let inputs = [BlockInput::Lanes(&[2.0, 3.0])];
        program.run_block::<f32, LibraryMath>(&inputs, &mut Registers::new(), &mut [a, b, c, d]).unwrap();
        assert_eq!(outputs, [[2.0, 3.0], [7.0, 7.0], [4.0, 9.0], [4.0, 9.0]]);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_nothing_is_written() {
        let program = Program::record(|[x, y]| [x + y, x - y]).unwrap();
        let (two, three) = ([1.0; 2], [1.0; 3]);
        let (mut first, mut second, mut short) = ([9.0; 3], [9.0; 3], [9.0; 2]);
        let mut registers = Registers::<f64>::new();
        let mut run = |inputs: &[BlockInput<'_, f64>], outputs: &mut [&mut [f64]]| {
            program.run_block::<f64, LibraryMath>(inputs, &mut registers, outputs)
        };
        let lanes = BlockInput::Lanes(&three);
        assert_eq!(run(&[lanes], &mut [&mut first, &mut second]), Err(ProgramError::Arity { expected: 2, found: 1 }));
        assert_eq!(run(&[lanes, lanes], &mut [&mut first]), Err(ProgramError::OutputArity { expected: 2, found: 1 }));
        let lengths_differ = Err(ProgramError::Lanes { expected: 3, found: 2 });
        assert_eq!(run(&[lanes, BlockInput::Lanes(&two)], &mut [&mut first, &mut second]), lengths_differ);
        assert_eq!(run(&[lanes, lanes], &mut [&mut first, &mut short]), lengths_differ);
        assert_eq!((first, second, short), ([9.0; 3], [9.0; 3], [9.0; 2]));
    }
}
