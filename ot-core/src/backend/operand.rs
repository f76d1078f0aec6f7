//! What operations read, and how they fold.

use super::Device;

/// The most operands of one operation.
pub const MAX_OPERANDS: usize = 16;

/// The most outputs of one operation.
pub const MAX_OUTPUTS: usize = 4;

/// What a pointwise [`Program`](crate::Program) reads at row i of column k.
#[derive(Debug)]
pub enum Operand<'a, D: Device> {
    /// Entry (i, k) of a vector; a vector of one column is shared by all.
    Vector(&'a D::Vector),
    /// Number k of a reduced vector (number 0 if it has one), the same for all rows.
    Reduced(&'a D::Reduced),
    /// The same number everywhere.
    Constant(f64),
    /// Entry (i, k) of an output as it was before the operation: an update in place.
    Output(usize),
}

impl<D: Device> Copy for Operand<'_, D> {}
impl<D: Device> Clone for Operand<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

/// How a column of numbers becomes one.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Fold {
    /// Their sum, accumulated with the accuracy of f64.
    Sum,
    /// The largest.
    Max,
    /// The smallest.
    Min,
}
