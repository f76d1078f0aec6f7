//! What a recording writes down: operations on inputs, parameters, constants and earlier operations.

use super::Operation;

/// What a recorder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Reference {
    /// The bits of a constant, so that equality is that of bits.
    Constant(u64),
    /// An input of the formula.
    Input(u16),
    /// A parameter of the formula.
    Parameter(u16),
    /// The result of an operation, by its position in the arena.
    Node(u32),
}

/// An operation written down. Operands that do not count are the constant 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) operation: Operation,
    pub(super) operands: [Reference; 3],
}

impl Reference {
    pub(super) fn constant(value: f64) -> Self {
        Self::Constant(value.to_bits())
    }

    pub(super) fn as_constant(self) -> Option<f64> {
        match self {
            Self::Constant(bits) => Some(f64::from_bits(bits)),
            _ => None,
        }
    }

    /// Whether this is the constant `value`, to the bit.
    pub(super) fn is(self, value: f64) -> bool {
        self == Self::constant(value)
    }
}
