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
    /// A number that the step of a loop over coordinates carries on.
    State(u8),
    /// The coordinate of the first (0) or second (1) point that the step of a loop is at.
    Coordinate(u8),
    /// A result of a loop over coordinates.
    Folded(u16),
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

/// A loop over coordinates written down: `state = next(state, x_k, y_k)` for k in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RecordedFold {
    /// The inputs that are x_0 and y_0; the other coordinates follow them.
    pub(super) first: [u16; 2],
    /// The number of coordinates.
    pub(super) count: usize,
    /// The bits of the states before the first coordinate.
    pub(super) start: Box<[u64]>,
    /// The states after a coordinate.
    pub(super) next: Box<[Reference]>,
}

/// Whether the step of a loop reads nothing but its states and coordinates, constants and parameters.
pub(super) fn steps_alone(nodes: &[Node], next: &[Reference]) -> bool {
    let mut seen = vec![false; nodes.len()];
    let mut open = next.to_vec();
    while let Some(reference) = open.pop() {
        match reference {
            Reference::Input(_) | Reference::Folded(_) => return false,
            Reference::Node(position) => {
                if !std::mem::replace(&mut seen[position as usize], true) {
                    open.extend(nodes[position as usize].operands);
                }
            }
            Reference::Constant(_) | Reference::Parameter(_) | Reference::State(_) | Reference::Coordinate(_) => {}
        }
    }
    true
}
