//! Random formulas, for the tests of their readings.

use super::{Operation, Program, Recorder};
use crate::real::Real;

/// A seeded generator (SplitMix64; Steele, Lea and Flood 2014).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A whole number in `0..limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.bits() % limit as u64) as usize
    }

    /// A number in `[low, high)`.
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A formula as a list of steps over earlier results, so that results are shared.
///
/// No step combines constants alone: those are folded in `f64`, which is told apart in `f32`.
#[derive(Debug)]
pub(crate) struct RandomFormula {
    inputs: usize,
    steps: Vec<(Operation, [usize; 3])>,
    outputs: Vec<usize>,
}

const CONSTANTS: [f64; 8] = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 0.1, -3.7];

/// All of them.
pub(crate) const OPERATIONS: [Operation; 15] = [
    Operation::Add,
    Operation::Sub,
    Operation::Mul,
    Operation::Div,
    Operation::Neg,
    Operation::Exp,
    Operation::Ln,
    Operation::Sqrt,
    Operation::Abs,
    Operation::Sin,
    Operation::Cos,
    Operation::Atan,
    Operation::Min,
    Operation::Max,
    Operation::Select,
];

impl RandomFormula {
    pub(crate) fn new(random: &mut Random, inputs: usize, steps: usize, outputs: usize) -> Self {
        // Results are numbered: the constants, the inputs, then the steps.
        let fixed = CONSTANTS.len();
        let mut formula = Self { inputs, steps: Vec::new(), outputs: Vec::new() };
        for step in 0..steps {
            let known = fixed + inputs + step;
            let operation = OPERATIONS[random.below(OPERATIONS.len())];
            let mut operands = [0; 3].map(|_| fixed + random.below(known - fixed));
            // One operand may be a constant.
            if operation.arity() > 1 && random.below(4) == 0 {
                operands[random.below(operation.arity())] = random.below(fixed);
            }
            formula.steps.push((operation, operands));
        }
        formula.outputs = (0..outputs).map(|output| fixed + inputs + steps - 1 - output).collect();
        formula
    }

    pub(crate) fn evaluate<R: Real>(&self, inputs: &[R]) -> Vec<R> {
        let mut results: Vec<R> = CONSTANTS.iter().map(|&value| R::constant(value)).collect();
        results.extend_from_slice(&inputs[..self.inputs]);
        for (operation, operands) in &self.steps {
            results.push(operation.apply(operands.map(|operand| results[operand])));
        }
        self.outputs.iter().map(|&output| results[output]).collect()
    }

    pub(crate) fn record(&self) -> Program {
        fn read<'a>(formula: &RandomFormula, inputs: &[Recorder<'a>]) -> Vec<Recorder<'a>> {
            formula.evaluate(inputs)
        }
        Program::record_dynamic(self.inputs, |inputs| read(self, inputs)).unwrap()
    }
}
