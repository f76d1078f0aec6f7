//! What a pass reads of the columns of its group, each looked up when it is asked for.
//!
//! Between few atoms a sweep takes a microsecond, and tables of as many columns as a group may have would take longer.

use ot_core::host::HostVector;

use super::{CpuScalar, guard::Guard, softmin::Terms};

/// Numbers of one side, column by column of a group.
#[derive(Clone, Copy)]
pub(super) enum Lanes<'a, T> {
    /// The columns of a vector that the group takes.
    Vector(&'a HostVector<T>, &'a [usize]),
    /// Columns of this length, one after the other.
    Staged(&'a [T], usize),
}

impl<'a, T: CpuScalar> Lanes<'a, T> {
    /// Those of a single column.
    pub(super) fn one(values: &'a [T]) -> Self {
        Self::Staged(values, values.len())
    }

    /// Those of column k of the group.
    #[inline]
    pub(super) fn get(self, k: usize) -> &'a [T] {
        match self {
            Self::Vector(vector, group) => vector.column(group[k]),
            Self::Staged(values, len) => &values[k * len..][..len],
        }
    }
}

/// What softmins of the other side sum over in the columns of a group.
#[derive(Clone, Copy)]
pub(super) struct GroupTerms<'a, T> {
    pub(super) potential: Lanes<'a, T>,
    pub(super) log_weights: Lanes<'a, T>,
    pub(super) weights: Lanes<'a, T>,
    /// One for each column.
    pub(super) guards: &'a [Guard],
    pub(super) epsilon: f64,
}

impl<'a, T: CpuScalar> GroupTerms<'a, T> {
    /// Those of column k of the group.
    #[inline]
    pub(super) fn get(self, k: usize) -> Terms<'a, T> {
        let Self { potential, log_weights, weights, guards, epsilon } = self;
        Terms {
            potential: potential.get(k),
            log_weights: log_weights.get(k),
            weights: weights.get(k),
            guard: guards[k],
            epsilon,
        }
    }

    /// Those of all columns.
    pub(super) fn iter(self) -> impl Iterator<Item = Terms<'a, T>> {
        (0..self.guards.len()).map(move |k| self.get(k))
    }
}
