//! Loops over coordinates: the part of a program that is run once for each coordinate of two points.

use std::fmt;

use super::{Code, Instruction, Operand};

/// The most numbers that one loop may carry from a coordinate to the next.
pub const MAX_STATES: usize = 4;

/// The most results that all loops of a program may have.
pub const MAX_FOLDED: usize = 8;

/// Loops over up to this many coordinates are unrolled when they are recorded.
pub(super) const UNROLLED: usize = 4;

/// A loop over the coordinates of two points, run before the instructions of its program:
///
/// ```text
/// state = start;  for k in 0..count:  state = step(state, x_k, y_k)
/// ```
///
/// x_k is the input [`first_inputs`](Self::first_inputs)`[0] + k` of the program, y_k the input `first_inputs()[1] + k`. The
/// step is a straight line of instructions like that of a program: its [`Operand::Input`]s are the states, then x_k, then
/// y_k. Made by [`Real::fold_coordinates`](crate::Real::fold_coordinates).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CoordinateFold {
    pub(super) first: [u16; 2],
    pub(super) count: usize,
    pub(super) start: Box<[Operand]>,
    pub(super) step: Code,
}

impl CoordinateFold {
    /// The inputs of the program that are the first coordinates of x and of y.
    pub fn first_inputs(&self) -> [u16; 2] {
        self.first
    }

    /// The number of coordinates.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The number of states.
    pub fn states(&self) -> usize {
        self.start.len()
    }

    /// The states before the first coordinate: constants.
    pub fn start(&self) -> &[Operand] {
        &self.start
    }

    /// The instructions of one step.
    pub fn instructions(&self) -> &[Instruction] {
        &self.step.instructions
    }

    /// Where the states are found after a step.
    pub fn next(&self) -> &[Operand] {
        &self.step.outputs
    }

    /// The number of registers of a step.
    pub fn registers(&self) -> usize {
        self.step.registers
    }

    /// The inputs that are coordinate `k` of x and of y.
    pub(super) fn inputs_at(&self, k: usize) -> [usize; 2] {
        self.first.map(|first| usize::from(first) + k)
    }
}

/// A listing: the inputs and the start, then the step, indented.
impl fmt::Display for CoordinateFold {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [x, y] = self.first;
        let last = self.count.saturating_sub(1);
        write!(formatter, "fold x{x}..x{} x{y}..x{} from", usize::from(x) + last, usize::from(y) + last)?;
        for start in &self.start {
            write!(formatter, " {start}")?;
        }
        writeln!(formatter)?;
        for instruction in self.instructions() {
            writeln!(formatter, "    {instruction}")?;
        }
        write!(formatter, "    next")?;
        for next in self.next() {
            write!(formatter, " {next}")?;
        }
        writeln!(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        dual::Dual,
        program::{BLOCK, BlockInput, LibraryMath, Program, ProgramError, Recorder, Registers, random_formula::Random},
        real::{Number, Real},
        scalar::Scalar,
    };

    const DIMENSION: usize = 37;

    /// Two loops, of one and three states, a parameter in a step, and a state that is the coordinate of before.
    fn formula<R: Real>(x: &[R], y: &[R]) -> R {
        let [squares] = R::fold_coordinates(x, y, [-0.0], |[sum], x, y| [sum + (x - y) * (x - y)]);
        let [rough, before, largest] =
            R::fold_coordinates(x, y, [0.0, 1.0, f64::NEG_INFINITY], |[rough, before, largest], x, y| {
                [rough + x.parameter(0, 0.5) * (y - before).abs(), y, largest.max(x)]
            });
        squares.sqrt() + rough * before - largest
    }

    fn record() -> Program {
        Program::record_dynamic(2 * DIMENSION, |inputs| {
            let (x, y) = inputs.split_at(DIMENSION);
            vec![formula(x, y)]
        })
        .unwrap()
    }

    #[test]
    fn a_loop_is_kept_and_its_step_is_written_once() {
        let program = record();
        let [first, second] = program.folds() else { panic!("two loops\n{program}") };
        assert_eq!((first.count(), first.first_inputs(), first.states()), (DIMENSION, [0, DIMENSION as u16], 1));
        assert_eq!(
            first.to_string(),
            "fold x0..x36 x37..x73 from -0.0\n    r0 = sub x1 x2\n    r1 = mul r0 r0\n    r0 = add x0 r1\n    next r0\n"
        );
        assert_eq!((second.states(), second.instructions().len()), (3, 5));
        assert_eq!(program.instructions().len(), 4, "{program}");
        assert_eq!(program.parameters(), [0.5]);
    }

    fn lanes_equal_the_formula<T: Scalar + std::fmt::Debug>(bits: impl Fn(T) -> u64) {
        let program = record();
        let mut random = Random::new(8);
        for (round, length) in [1, 2, BLOCK - 1, BLOCK, 2 * BLOCK + 3].into_iter().enumerate() {
            let data: Vec<Vec<T>> = (0..2 * DIMENSION)
                .map(|_| (0..length).map(|_| T::from_f64(random.between(-2.0, 2.0))).collect())
                .collect();
            // One point against many, as in a row of costs; and all lanes.
            let input = |(index, lanes): (usize, &'_ Vec<T>)| (index < DIMENSION && round % 2 == 0).then(|| lanes[0]);
            let uniform: Vec<Option<T>> = data.iter().enumerate().map(input).collect();
            let inputs: Vec<BlockInput<'_, T>> = uniform
                .iter()
                .zip(&data)
                .map(|(value, lanes)| value.map_or(BlockInput::Lanes(lanes), BlockInput::Uniform))
                .collect();
            let mut out = vec![T::default(); length];
            program.run_block::<T, LibraryMath>(&inputs, &mut Registers::new(), &mut [&mut out]).unwrap();
            for (lane, found) in out.iter().enumerate() {
                let at: Vec<_> = (0..2 * DIMENSION).map(|i| Number(uniform[i].unwrap_or(data[i][lane]))).collect();
                let (x, y) = at.split_at(DIMENSION);
                let expected = formula(x, y);
                assert_eq!(bits(*found), bits(expected.0), "round {round}, lane {lane}");
                assert_eq!(program.evaluate(&at).unwrap(), [expected]);
            }
        }
    }

    #[test]
    fn lanes_equal_the_formula_bit_for_bit() {
        lanes_equal_the_formula::<f64>(f64::to_bits);
        lanes_equal_the_formula::<f32>(|value| u64::from(value.to_bits()));
    }

    #[test]
    fn a_loop_is_differentiated_and_inlined() {
        let program = record();
        let at: Vec<f64> = (0..2 * DIMENSION).map(|i| (i as f64).sin()).collect();
        let duals: Vec<_> = at.iter().enumerate().map(|(i, &z)| Dual::new(z, f64::from(i == 5))).collect();
        let (x, y) = duals.split_at(DIMENSION);
        assert_eq!(program.evaluate(&duals).unwrap(), [formula(x, y)]);
        // In the parameter: sum of the weighted distances times the last y.
        let constants: Vec<_> = at.iter().map(|&z| Dual::constant(z)).collect();
        let slope = program.evaluate_at(&constants, &[Dual::variable(0.5)]).unwrap()[0].derivative;
        let steps =
            (0..DIMENSION).map(|k| (at[DIMENSION + k] - if k == 0 { 1.0 } else { at[DIMENSION + k - 1] }).abs());
        assert!((slope - steps.sum::<f64>() * at[2 * DIMENSION - 1]).abs() < 1e-12);

        let again = Program::record_dynamic(2 * DIMENSION, |inputs| program.evaluate(inputs).unwrap()).unwrap();
        assert_eq!(again, program);
    }

    #[test]
    fn what_is_no_loop_is_unrolled() {
        let sum = |start, count: usize, scaled: bool| {
            Program::record_dynamic(2 * DIMENSION + 1, |inputs| {
                let (x, y) = (&inputs[start..start + count], &inputs[DIMENSION..DIMENSION + count]);
                let factor = if scaled { inputs[2 * DIMENSION] } else { Recorder::constant(2.0) };
                Recorder::fold_coordinates(x, y, [-0.0], |[sum], x, y| [sum + factor * (x * y)]).to_vec()
            })
            .unwrap()
        };
        // Few coordinates, and a step that reads a number of the formula.
        assert!(sum(0, UNROLLED, false).folds().is_empty());
        assert!(sum(0, 20, true).folds().is_empty());
        assert_eq!(sum(3, 20, false).folds().len(), 1);
        // Coordinates that are not in a row.
        let shuffled = Program::record_dynamic(20, |inputs| {
            let x: Vec<_> = inputs.iter().rev().copied().collect();
            Recorder::fold_coordinates(&x, inputs, [-0.0], |[sum], x, y| [sum + x * y]).to_vec()
        });
        assert!(shuffled.unwrap().folds().is_empty());
    }

    #[test]
    fn equal_loops_are_merged_and_unused_ones_dropped() {
        let program = Program::record_dynamic(20, |inputs| {
            let (x, y) = inputs.split_at(10);
            let sum =
                |factor: f64| Recorder::fold_coordinates(x, y, [-0.0], move |[sum], x, y| [sum + factor * x * y])[0];
            let _ = sum(3.0);
            vec![sum(2.0) + sum(2.0).exp()]
        })
        .unwrap();
        assert_eq!(program.folds().len(), 1, "{program}");
        let inputs: Vec<f64> = (0..20).map(|i| 0.1 * f64::from(i)).collect();
        let product: f64 = (0..10).map(|k| 2.0 * inputs[k] * inputs[10 + k]).fold(-0.0, |sum, term| sum + term);
        assert_eq!(program.evaluate(&inputs).unwrap(), [product + product.exp()]);
    }

    #[test]
    fn a_coordinate_that_leaves_its_loop_is_refused() {
        let escaped = Program::record_dynamic(20, |inputs| {
            let (x, y) = inputs.split_at(10);
            let kept = std::cell::Cell::new(None);
            Recorder::fold_coordinates(x, y, [-0.0], |[sum], x, y| {
                kept.set(Some(x));
                [sum + x * y]
            });
            vec![kept.get().unwrap() + 1.0]
        });
        assert_eq!(escaped, Err(ProgramError::ForeignRecorder));
    }
}
