//! What is posed to both sides, what comes back, and how it is judged.

use super::{
    problem::Arrays,
    recompute::{Recomputed, recompute},
};

/// A problem as arrays, and the judge of answers to it, whoever gave them.
pub(super) trait Posed {
    /// What either side is given.
    fn arrays(&self) -> &Arrays;

    /// What either side is given beside them: arrays by their names in the protocol of the peers.
    fn more_arrays(&self) -> Vec<(&'static str, Vec<f64>)> {
        Vec::new()
    }

    /// The arrays that an answer consists of: their names in the protocol of the peers, and their lengths.
    fn outputs(&self) -> Vec<(&'static str, usize)>;

    /// The error and the value of an answer, recomputed in `f64`.
    fn judge(&self, outputs: &[Vec<f64>], threads: usize) -> Recomputed;
}

/// Transport: answered by both potentials, column after column.
impl Posed for Arrays {
    fn arrays(&self) -> &Arrays {
        self
    }

    fn outputs(&self) -> Vec<(&'static str, usize)> {
        let (n, m) = self.shape();
        vec![("f", n * self.columns), ("g", m * self.columns)]
    }

    fn judge(&self, outputs: &[Vec<f64>], threads: usize) -> Recomputed {
        recompute(self, &outputs[0], &outputs[1], threads)
    }
}

/// A problem that is answered by one number, whose error is relative.
pub(super) struct OneNumber {
    pub(super) arrays: Arrays,
    pub(super) exact: f64,
}

impl Posed for OneNumber {
    fn arrays(&self) -> &Arrays {
        &self.arrays
    }

    fn outputs(&self) -> Vec<(&'static str, usize)> {
        vec![("value", 1)]
    }

    fn judge(&self, outputs: &[Vec<f64>], _threads: usize) -> Recomputed {
        let value = outputs[0][0];
        Recomputed { error: (value / self.exact - 1.0).abs(), value }
    }
}
