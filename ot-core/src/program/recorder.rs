//! The recorder: a formula read as a list of operations.
//!
//! A [`Recorder`] is a `Copy` index into an arena that lives as long as the recording, so that
//! formulas need no clones and nothing is global or thread-local. Constants know no arena. Each
//! operation is folded, simplified, found among the earlier ones, or written down, in this order.

use std::{cell::RefCell, collections::HashMap, fmt, ops};

use super::{
    MAX_FOLDED, MAX_INPUTS, MAX_INSTRUCTIONS, MAX_STATES, Operation, Program, ProgramError,
    fold::UNROLLED,
    node::{Node, RecordedFold, Reference, steps_alone},
    schedule,
};
use crate::real::{Real, operators_with_plain_numbers, unrolled};

/// Operations written down before the recording is cut short. Generous, because what counts against
/// [`MAX_INSTRUCTIONS`] is only what the outputs need.
const MAX_RECORDED: usize = 64 * MAX_INSTRUCTIONS;

/// A number of a formula that is being recorded: see [`Program::record`].
#[derive(Clone, Copy)]
pub struct Recorder<'a> {
    /// The recording it belongs to; none for constants.
    arena: Option<&'a Arena>,
    reference: Reference,
}

/// The operations of one recording.
#[derive(Default)]
pub(super) struct Arena {
    tape: RefCell<Tape>,
}

#[derive(Default)]
struct Tape {
    nodes: Vec<Node>,
    /// Whether the node can be -0 (see [`Tape::may_be_negative_zero`]).
    negative_zero: Vec<bool>,
    /// Where to find a node again; operands of commutative operations are sorted.
    known: HashMap<Node, u32>,
    /// Values of the parameters, by their index.
    parameters: Vec<f64>,
    /// The loops over coordinates.
    folds: Vec<RecordedFold>,
    /// The first thing that went wrong.
    fault: Option<ProgramError>,
}

impl Arena {
    /// The inputs of the formula.
    pub(super) fn inputs(&self, count: usize) -> Result<Vec<Recorder<'_>>, ProgramError> {
        if count > MAX_INPUTS {
            return Err(ProgramError::TooManyInputs { limit: MAX_INPUTS, found: count });
        }
        let input = |index| Recorder { arena: Some(self), reference: Reference::Input(index) };
        // At most MAX_INPUTS, so every index fits; the range of u16 is closed for the last one.
        Ok((0..=u16::MAX).take(count).map(input).collect())
    }

    /// The program that computes `outputs`.
    pub(super) fn compile(&self, inputs: usize, outputs: &[Recorder<'_>]) -> Result<Program, ProgramError> {
        let foreign = |output: &Recorder<'_>| output.arena.is_some_and(|arena| !self.is(arena));
        if outputs.iter().any(foreign) {
            return Err(ProgramError::ForeignRecorder);
        }
        let tape = self.tape.borrow();
        if let Some(fault) = &tape.fault {
            return Err(fault.clone());
        }
        let outputs: Vec<Reference> = outputs.iter().map(|output| output.reference).collect();
        schedule::compile(inputs, &tape.parameters, &tape.nodes, &tape.folds, &outputs)
    }

    fn is(&self, other: &Arena) -> bool {
        std::ptr::eq(self, other)
    }
}

impl<'a> Recorder<'a> {
    /// The result of an operation on as many operands as it takes.
    fn operate<const N: usize>(operation: Operation, operands: [Self; N]) -> Self {
        let mut references = [Reference::constant(0.0); 3];
        for (reference, operand) in references.iter_mut().zip(operands) {
            *reference = operand.reference;
        }
        let mut arenas = operands.iter().filter_map(|operand| operand.arena);
        let Some(arena) = arenas.next() else {
            return Self::constant(fold(operation, references));
        };
        let mut tape = arena.tape.borrow_mut();
        for other in arenas.filter(|other| !arena.is(other)) {
            tape.fail(ProgramError::ForeignRecorder);
            other.tape.borrow_mut().fail(ProgramError::ForeignRecorder);
        }
        let reference = tape.operate(operation, references);
        Self { arena: reference.as_constant().is_none().then_some(arena), reference }
    }
}

impl Tape {
    fn operate(&mut self, operation: Operation, operands: [Reference; 3]) -> Reference {
        if let Some(simple) = self.simplify(operation, operands) {
            return simple;
        }
        let node = Node { operation, operands };
        let key = canonical(node);
        if let Some(&position) = self.known.get(&key) {
            return Reference::Node(position);
        }
        if self.nodes.len() >= MAX_RECORDED {
            self.fail(ProgramError::TooLong { limit: MAX_INSTRUCTIONS, found: self.nodes.len() + 1 });
            return operands[0];
        }
        let negative_zero = self.result_may_be_negative_zero(node);
        let position = self.nodes.len() as u32;
        self.nodes.push(node);
        self.negative_zero.push(negative_zero);
        self.known.insert(key, position);
        Reference::Node(position)
    }

    /// What the operation equals without computing it, exactly and for every argument.
    fn simplify(&self, operation: Operation, operands: [Reference; 3]) -> Option<Reference> {
        let [a, b, c] = operands;
        let arguments = &operands[..operation.arity()];
        if arguments.iter().all(|operand| operand.as_constant().is_some()) {
            return Some(Reference::constant(fold(operation, operands)));
        }
        match operation {
            // x + (-0) = x always, x + 0 = x unless x is -0.
            Operation::Add if self.is_absorbed(a, b) => Some(b),
            Operation::Add if self.is_absorbed(b, a) => Some(a),
            Operation::Sub if b.is(0.0) => Some(a),
            Operation::Mul if a.is(1.0) => Some(b),
            Operation::Mul | Operation::Div if b.is(1.0) => Some(a),
            Operation::Neg => self.negated(a),
            Operation::Min | Operation::Max if a == b => Some(a),
            Operation::Select if b == c => Some(b),
            Operation::Select => a.as_constant().map(|a| if a > 0.0 { b } else { c }),
            _ => None,
        }
    }

    /// Whether adding `zero` leaves every bit of `other`.
    fn is_absorbed(&self, zero: Reference, other: Reference) -> bool {
        zero.is(-0.0) || (zero.is(0.0) && !self.may_be_negative_zero(other))
    }

    /// `x` if the reference is `-x`.
    fn negated(&self, reference: Reference) -> Option<Reference> {
        match reference {
            Reference::Node(position) => {
                let node = self.nodes[position as usize];
                (node.operation == Operation::Neg).then_some(node.operands[0])
            }
            _ => None,
        }
    }

    /// Whether the value can be -0 for some argument; `true` when in doubt.
    fn may_be_negative_zero(&self, reference: Reference) -> bool {
        match reference {
            // A tiny negative constant is rounded to -0 in f32.
            Reference::Constant(bits) => f64::from_bits(bits).is_sign_negative(),
            Reference::Node(position) => self.negative_zero[position as usize],
            _ => true,
        }
    }

    /// [`may_be_negative_zero`](Tape::may_be_negative_zero) of a node to be written down.
    fn result_may_be_negative_zero(&self, node: Node) -> bool {
        let [a, b, c] = node.operands;
        let may_be = |reference| self.may_be_negative_zero(reference);
        match node.operation {
            Operation::Exp | Operation::Abs | Operation::Cos => false,
            Operation::Add => may_be(a) && may_be(b),
            Operation::Sub | Operation::Sqrt | Operation::Atan => may_be(a),
            Operation::Mul => a != b,
            Operation::Min | Operation::Max => may_be(a) || may_be(b),
            Operation::Select => may_be(b) || may_be(c),
            Operation::Div | Operation::Neg | Operation::Ln | Operation::Sin => true,
        }
    }

    /// Remembers the value of a parameter. Those before it without a value yet are NaN.
    fn set_parameter(&mut self, index: u16, value: f64) {
        let index = usize::from(index);
        if self.parameters.len() <= index {
            self.parameters.resize(index + 1, f64::NAN);
        }
        let known = std::mem::replace(&mut self.parameters[index], value);
        if !known.is_nan() && known.to_bits() != value.to_bits() {
            self.fail(ProgramError::Parameter { index, first: known, second: value });
        }
    }

    /// The first result of a loop that is written down now, or was before. None where its step reads other numbers of
    /// the formula, or there are too many results.
    fn fold(&mut self, fold: RecordedFold) -> Option<u16> {
        if !steps_alone(&self.nodes, &fold.next) {
            return None;
        }
        let mut first = 0;
        for known in &self.folds {
            if *known == fold {
                return u16::try_from(first).ok();
            }
            first += known.next.len();
        }
        if first + fold.next.len() > MAX_FOLDED {
            return None;
        }
        self.folds.push(fold);
        u16::try_from(first).ok()
    }

    fn fail(&mut self, fault: ProgramError) {
        self.fault.get_or_insert(fault);
    }
}

/// The operation on constants, in `f64`.
fn fold(operation: Operation, operands: [Reference; 3]) -> f64 {
    operation.apply(operands.map(|operand| operand.as_constant().unwrap_or(f64::NAN)))
}

/// The node under which equal nodes are found: the operands of sums and products are sorted.
fn canonical(mut node: Node) -> Node {
    if matches!(node.operation, Operation::Add | Operation::Mul) {
        node.operands[..2].sort_unstable();
    }
    node
}

macro_rules! operator {
    ($trait:ident, $method:ident) => {
        impl ops::$trait for Recorder<'_> {
            type Output = Self;

            fn $method(self, other: Self) -> Self {
                Self::operate(Operation::$trait, [self, other])
            }
        }
    };
}

operator!(Add, add);
operator!(Sub, sub);
operator!(Mul, mul);
operator!(Div, div);

impl ops::Neg for Recorder<'_> {
    type Output = Self;

    fn neg(self) -> Self {
        Self::operate(Operation::Neg, [self])
    }
}

operators_with_plain_numbers!(['a] Recorder<'a>);

impl From<f64> for Recorder<'_> {
    fn from(value: f64) -> Self {
        Self { arena: None, reference: Reference::constant(value) }
    }
}

impl Real for Recorder<'_> {
    fn exp(self) -> Self {
        Self::operate(Operation::Exp, [self])
    }

    fn ln(self) -> Self {
        Self::operate(Operation::Ln, [self])
    }

    fn sqrt(self) -> Self {
        Self::operate(Operation::Sqrt, [self])
    }

    fn abs(self) -> Self {
        Self::operate(Operation::Abs, [self])
    }

    fn sin(self) -> Self {
        Self::operate(Operation::Sin, [self])
    }

    fn cos(self) -> Self {
        Self::operate(Operation::Cos, [self])
    }

    fn atan(self) -> Self {
        Self::operate(Operation::Atan, [self])
    }

    fn min(self, other: impl Into<Self>) -> Self {
        Self::operate(Operation::Min, [self, other.into()])
    }

    fn max(self, other: impl Into<Self>) -> Self {
        Self::operate(Operation::Max, [self, other.into()])
    }

    fn select(self, positive: impl Into<Self>, otherwise: impl Into<Self>) -> Self {
        Self::operate(Operation::Select, [self, positive.into(), otherwise.into()])
    }

    fn is_zero(self) -> bool {
        self.reference.as_constant() == Some(0.0)
    }

    fn parameter(self, index: u16, value: f64) -> Self {
        let Some(arena) = self.arena else { return Self::constant(value) };
        arena.tape.borrow_mut().set_parameter(index, value);
        Self { arena: Some(arena), reference: Reference::Parameter(index) }
    }

    /// Written down as a loop where both points are inputs in a row and the step reads nothing but its arguments,
    /// constants and parameters; unrolled elsewhere, and for a few coordinates.
    fn fold_coordinates<const S: usize>(
        x: &[Self],
        y: &[Self],
        start: [f64; S],
        step: impl Fn([Self; S], Self, Self) -> [Self; S],
    ) -> [Self; S] {
        let points = [x, y].map(inputs_in_a_row);
        let arena = x.first().and_then(|first| first.arena);
        let (Some(arena), [Some(first_x), Some(first_y)], 1..=MAX_STATES) = (arena, points, S) else {
            return unrolled(x, y, start, step);
        };
        if x.len() <= UNROLLED || x.len() != y.len() {
            return unrolled(x, y, start, step);
        }
        let local = |reference| Self { arena: Some(arena), reference };
        let states = std::array::from_fn(|slot| local(Reference::State(slot as u8)));
        let next = step(states, local(Reference::Coordinate(0)), local(Reference::Coordinate(1)));
        let fold = RecordedFold {
            first: [first_x, first_y],
            count: x.len(),
            start: start.map(f64::to_bits).into(),
            next: next.iter().map(|next| next.reference).collect(),
        };
        let foreign = next.iter().any(|next| next.arena.is_some_and(|other| !arena.is(other)));
        let folded = if foreign { None } else { arena.tape.borrow_mut().fold(fold) };
        match folded {
            Some(first) => std::array::from_fn(|slot| local(Reference::Folded(first + slot as u16))),
            None => unrolled(x, y, start, step),
        }
    }
}

/// The first of some inputs, if they are inputs of one recording in a row.
fn inputs_in_a_row(point: &[Recorder<'_>]) -> Option<u16> {
    let (Reference::Input(first), Some(arena)) = (point.first()?.reference, point.first()?.arena) else { return None };
    let follows = |(offset, number): (usize, &Recorder<'_>)| {
        let expected = u16::try_from(usize::from(first) + offset).map(Reference::Input);
        Ok(number.reference) == expected && number.arena.is_some_and(|other| arena.is(other))
    };
    point.iter().enumerate().all(follows).then_some(first)
}

impl fmt::Debug for Recorder<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reference {
            Reference::Constant(bits) => write!(formatter, "Recorder({:?})", f64::from_bits(bits)),
            Reference::Input(index) => write!(formatter, "Recorder(input {index})"),
            Reference::Parameter(index) => write!(formatter, "Recorder(parameter {index})"),
            Reference::Node(position) => write!(formatter, "Recorder(operation {position})"),
            Reference::State(slot) => write!(formatter, "Recorder(state {slot})"),
            Reference::Coordinate(point) => write!(formatter, "Recorder(coordinate of point {point})"),
            Reference::Folded(index) => write!(formatter, "Recorder(folded {index})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        program::{Operand, random_formula::OPERATIONS},
        real::Number,
    };

    fn operations(program: &Program) -> Vec<Operation> {
        program.instructions().iter().map(|step| step.operation).collect()
    }

    fn number(value: f64) -> Recorder<'static> {
        Recorder::constant(value)
    }

    #[test]
    fn constants_fold() {
        let program = Program::record(|[x]| {
            let two = number(8.0).power(1.0 / 3.0);
            [x * (two.exp() - 1.0).ln(), number(3.0).min(2.0)]
        })
        .unwrap();
        let factor = (Real::power(8.0, 1.0 / 3.0).exp() - 1.0).ln();
        assert_eq!(operations(&program), [Operation::Mul]);
        assert_eq!(program.instructions()[0].operands[1], Operand::Constant(factor));
        assert_eq!(program.output_operands()[1], Operand::Constant(2.0));
    }

    #[test]
    fn identities_that_always_hold_cost_nothing() {
        let program = Program::record(|[x, y]| {
            [
                x * 1.0,
                1.0 * x,
                x / 1.0,
                x - 0.0,
                x + -0.0,
                -0.0 + x,
                -(-x),
                x.min(x),
                x.max(x),
                y.select(x, x),
                number(2.0).select(x, y),
                number(0.0).select(y, x),
                number(f64::NAN).select(y, x),
            ]
        })
        .unwrap();
        assert!(program.instructions().is_empty(), "{program}");
        assert!(program.output_operands().iter().all(|&output| output == Operand::Input(0)));
    }

    /// Each of these changes a bit for some argument if it is simplified like its neighbours.
    #[test]
    fn identities_that_fail_somewhere_are_kept() {
        let program =
            Program::record(|[x]| [x + 0.0, 0.0 - x, x * 0.0, x - x, x / x, x - -0.0, (x * x).sqrt()]).unwrap();
        assert_eq!(program.instructions().len(), 8, "{program}");
        let at = |x: f64| program.call::<_, 1, 7>([x]).unwrap();
        assert!(at(-0.0)[0].is_sign_positive());
        assert!(at(0.0)[1].is_sign_positive());
        assert!(at(-0.0)[2].is_sign_negative() && at(f64::INFINITY)[2].is_nan());
        assert!(at(f64::INFINITY)[3].is_nan() && at(0.0)[4].is_nan());
        assert!(at(-0.0)[5].is_sign_positive());
    }

    #[test]
    fn a_sum_of_squares_may_start_at_zero_for_free() {
        let program = Program::record(|[x, y, z]| {
            let sum = [x, y, z].iter().fold(number(0.0), |sum, &x| sum + x * x);
            [sum + 0.0, 0.0 + x.abs(), 0.0 + y.exp()]
        })
        .unwrap();
        let [mul, add] = [Operation::Mul, Operation::Add];
        let mut found = operations(&program);
        found.sort_by_key(|operation| operation.name());
        assert_eq!(found, [Operation::Abs, add, add, Operation::Exp, mul, mul, mul]);
    }

    /// Zero is added to every operation on operands that may be -0 and on operands that may not.
    #[test]
    fn signs_of_zero_survive_every_sum_with_zero() {
        // Bit k of `sides` tells whether operand k is the number or its absolute value.
        fn formula<R: Real>(operation: Operation, sides: u8, numbers: [R; 3]) -> [R; 2] {
            let [x, y, z] = numbers;
            let operand = |bit: u8, x: R| if sides & bit == 0 { x } else { x.abs() };
            let result = operation.apply([operand(1, x), operand(2, y), operand(4, z)]);
            [result + 0.0, 0.0 + result]
        }
        let numbers = [0.0, -0.0, 1.0, -1.0, f64::INFINITY, f64::NEG_INFINITY];
        for operation in OPERATIONS {
            for sides in 0..8 {
                let program = Program::record(|inputs| formula(operation, sides, inputs)).unwrap();
                for index in 0..216 {
                    let inputs = [index % 6, index / 6 % 6, index / 36].map(|index| numbers[index]);
                    let expected = formula(operation, sides, inputs);
                    let found: [f64; 2] = program.call(inputs).unwrap();
                    for (found, expected) in found.iter().zip(&expected) {
                        let same = found.to_bits() == expected.to_bits();
                        assert!(
                            same || (found.is_nan() && expected.is_nan()),
                            "{found:?}, {expected:?} at {inputs:?}:\n{program}"
                        );
                    }
                }
            }
        }
    }

    /// A constant may be -0, or become -0 in `f32`.
    #[test]
    fn signs_of_constants_survive_a_sum_with_zero() {
        for constant in [-0.0, -1e-300] {
            let program = Program::record(|[x]| [x.select(x.abs(), constant) + 0.0]).unwrap();
            let [found] = program.call([Number(-1.0_f32)]).unwrap();
            assert!(found.0 == 0.0 && found.0.is_sign_positive(), "{program}");
        }
    }

    #[test]
    fn equal_subexpressions_are_merged() {
        let program = Program::record(|[x, y]| [(x * y).exp() + (y * x).exp(), x - y, y - x]).unwrap();
        assert_eq!(program.instructions().len(), 5, "{program}");
        let program = Program::record(|[x, y]| [x.max(y) - y.max(x)]).unwrap();
        assert_eq!(program.instructions().len(), 3, "ties and NaN make max order-dependent");
        let program = Program::record(|[x, y]| [x.min(y) - y.min(x)]).unwrap();
        assert_eq!(program.instructions().len(), 3, "ties and NaN make min order-dependent");
    }

    #[test]
    fn dead_code_is_dropped() {
        let program = Program::record(|[x, y]| {
            let _ = (x / y).exp().ln();
            [x + y]
        })
        .unwrap();
        assert_eq!(operations(&program), [Operation::Add]);
    }

    #[test]
    fn a_foreign_recorder_is_told() {
        let mut inner = None;
        let outer = Program::record(|[x]| {
            inner = Some(Program::record(|[y]| {
                let _ = x + y;
                [y]
            }));
            [x]
        });
        assert_eq!(inner, Some(Err(ProgramError::ForeignRecorder)));
        assert_eq!(outer, Err(ProgramError::ForeignRecorder));
    }

    #[test]
    fn nested_recordings_that_do_not_mix_are_legal() {
        let outer = Program::try_record(|[x]| {
            let square = Program::record(|[y]| [y * y])?;
            square.call::<_, 1, 1>([x])
        });
        assert_eq!(outer, Program::record(|[x]| [x * x]));
    }

    #[test]
    fn too_many_inputs_are_told() {
        let sum = |inputs: &[Recorder<'_>]| inputs.len();
        let last = Program::record_dynamic(MAX_INPUTS, |inputs| {
            assert_eq!(sum(inputs), MAX_INPUTS);
            vec![inputs[MAX_INPUTS - 1]]
        })
        .unwrap();
        assert_eq!(last.output_operands(), [Operand::Input(u16::MAX)]);
        let error = ProgramError::TooManyInputs { limit: MAX_INPUTS, found: MAX_INPUTS + 1 };
        let found = Program::record_dynamic(MAX_INPUTS + 1, |inputs| inputs[..1].to_vec());
        assert_eq!(found, Err(error));
    }

    #[test]
    fn a_runaway_recording_is_cut_short() {
        let found = Program::record(|[x]| {
            let mut y = x;
            for index in 0..=MAX_RECORDED {
                y = y + number(index as f64 + 1.0);
            }
            [y]
        });
        let error = ProgramError::TooLong { limit: MAX_INSTRUCTIONS, found: MAX_RECORDED + 1 };
        assert_eq!(found, Err(error));
    }
}
