//! The two marginals of a plan.

use std::fmt;

/// One of the two marginals of a plan.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The rows of the plan: atoms x_i with weights a_i and potential f_i.
    Source,
    /// The columns of the plan: atoms y_j with weights b_j and potential g_j.
    Target,
}

impl Side {
    /// Source and target, in this order.
    pub const BOTH: [Self; 2] = [Self::Source, Self::Target];

    /// The other marginal.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Side::Source => Side::Target,
            Side::Target => Side::Source,
        }
    }

    /// 0 for the source, 1 for the target: the position in arrays of both.
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Side::Source => 0,
            Side::Target => 1,
        }
    }

    /// This side's element of a pair.
    pub fn of<T>(self, pair: [T; 2]) -> T {
        let [source, target] = pair;
        match self {
            Side::Source => source,
            Side::Target => target,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Side::Source => "source",
            Side::Target => "target",
        })
    }
}
