//! From recorded programs to WGSL: the one place that writes shader code of formulas.
//!
//! The rest of the crate writes loops and memory accesses, and asks here for the statements of a formula, in single
//! precision or in pairs of numbers of single precision.

mod program;

use ot_core::{Fold, program::Operation};

pub(crate) use self::program::{Inputs, Names, emit, emit_lanes, length};
use crate::gpu::split;

/// What every kernel starts with, behind the declaration of its arguments: the buffers, pairs, elementary functions.
pub(crate) const LIBRARY: &str =
    concat!(include_str!("wgsl/memory.wgsl"), include_str!("wgsl/pair.wgsl"), include_str!("wgsl/elementary.wgsl"));

/// Writes the list of its arguments.
pub(crate) const WRITE: &str = include_str!("wgsl/write.wgsl");

/// The first number of the pair that a fold starts from.
pub(crate) fn fold_start(fold: Fold) -> &'static str {
    match fold {
        Fold::Sum => "0.0f",
        Fold::Max => "-3.4028235e38f",
        Fold::Min => "3.4028235e38f",
    }
}

/// Two pairs folded into one.
pub(crate) fn joined_pairs(fold: Fold, a: &str, b: &str) -> String {
    match fold {
        Fold::Sum => format!("pair_add({a}, {b})"),
        Fold::Max => format!("select({a}, {b}, pair_less({a}, {b}))"),
        Fold::Min => format!("select({a}, {b}, pair_less({b}, {a}))"),
    }
}

/// How numbers are computed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Arithmetic {
    /// In single precision.
    Single,
    /// As unevaluated sums of two numbers of single precision, with 48 bits.
    Pair,
}

impl Arithmetic {
    /// Words of a number.
    pub(crate) fn words(self) -> usize {
        match self {
            Self::Single => 1,
            Self::Pair => 2,
        }
    }

    /// The words of numbers.
    pub(crate) fn encoded(self, numbers: &[f64]) -> Vec<u32> {
        match self {
            Self::Single => numbers.iter().map(|&number| (number as f32).to_bits()).collect(),
            Self::Pair => numbers.iter().flat_map(|&number| split(number).map(f32::to_bits)).collect(),
        }
    }

    /// An expression that reads number `index` from the word `start` on.
    pub(crate) fn load(self, start: &str, index: &str) -> String {
        match self {
            Self::Single => format!("load({start} + {index})"),
            Self::Pair => format!("load_pair({start} + 2u * ({index}))"),
        }
    }

    /// The start of a statement that stores number `index` from the word `start` on.
    pub(crate) fn store(self, start: &str, index: &str) -> String {
        match self {
            Self::Single => format!("store({start} + {index}, "),
            Self::Pair => format!("store_pair({start} + 2u * ({index}), "),
        }
    }

    /// A constant, finite if it is, as [`Real::constant`](ot_core::Real::constant) has it.
    pub(crate) fn constant(self, value: f64) -> String {
        let largest = f64::from(f32::MAX);
        let value = if value.is_finite() { value.clamp(-largest, largest) } else { value };
        match self {
            Self::Single => literal(value as f32),
            Self::Pair => {
                let [high, low] = split(value);
                format!("vec2<f32>({}, {})", literal(high), literal(low))
            }
        }
    }

    /// An operation on expressions, the first as many of them as it takes.
    fn operation(self, operation: Operation, [a, b, c]: [&str; 3]) -> String {
        match (self, operation) {
            (Self::Single, Operation::Add) => format!("{a} + {b}"),
            (Self::Single, Operation::Sub) => format!("{a} - {b}"),
            (Self::Single, Operation::Mul) => format!("{a} * {b}"),
            (Self::Single, Operation::Div) => format!("{a} / {b}"),
            (_, Operation::Neg) => format!("-{a}"),
            (Self::Single, Operation::Exp) => format!("exp({a})"),
            (Self::Single, Operation::Ln) => format!("log({a})"),
            (Self::Single, Operation::Sqrt) => format!("sqrt({a})"),
            (Self::Single, Operation::Abs) => format!("abs({a})"),
            (Self::Single, Operation::Sin) => format!("sine({a})"),
            (Self::Single, Operation::Cos) => format!("cosine({a})"),
            (Self::Single, Operation::Atan) => format!("arc_tangent({a})"),
            (Self::Single, Operation::Min) => format!("select({a}, {b}, {b} < {a})"),
            (Self::Single, Operation::Max) => format!("select({a}, {b}, {b} > {a})"),
            (Self::Single, Operation::Select) => format!("select({c}, {b}, {a} > 0.0f)"),
            (Self::Pair, Operation::Add) => format!("pair_add({a}, {b})"),
            (Self::Pair, Operation::Sub) => format!("pair_add({a}, -{b})"),
            (Self::Pair, Operation::Mul) => format!("pair_mul({a}, {b})"),
            (Self::Pair, Operation::Div) => format!("pair_div({a}, {b})"),
            (Self::Pair, Operation::Exp) => format!("pair_exp({a})"),
            (Self::Pair, Operation::Ln) => format!("pair_ln({a})"),
            (Self::Pair, Operation::Sqrt) => format!("pair_sqrt({a})"),
            (Self::Pair, Operation::Abs) => format!("select({a}, -{a}, {a}.x < 0.0f)"),
            (Self::Pair, Operation::Sin) => format!("pair_sine({a})"),
            (Self::Pair, Operation::Cos) => format!("pair_cosine({a})"),
            (Self::Pair, Operation::Atan) => format!("pair_arc_tangent({a})"),
            (Self::Pair, Operation::Min) => format!("select({a}, {b}, pair_less({b}, {a}))"),
            (Self::Pair, Operation::Max) => format!("select({a}, {b}, pair_less({a}, {b}))"),
            (Self::Pair, Operation::Select) => format!("select({c}, {b}, pair_less(vec2<f32>(0.0f, 0.0f), {a}))"),
        }
    }
}

/// A number that every compiler takes: what is not finite is made at run time.
fn literal(value: f32) -> String {
    match value {
        value if !value.is_finite() => format!("opaque_bits({:#x}u)", value.to_bits()),
        value if value.is_sign_negative() => format!("(-{:e}f)", -value),
        value => format!("{value:e}f"),
    }
}
