//! A plan of few entries.

use ot_core::{Error, PlanEntry, Side};

/// A plan P (n x m) as its positive entries, by source and then target.
///
/// A basic solution of the linear programme has at most n + m - 1 of them.
#[derive(Clone, Debug, PartialEq)]
pub struct SparsePlan {
    rows: usize,
    columns: usize,
    entries: Vec<PlanEntry>,
}

impl SparsePlan {
    /// The plan of these entries: those of one pair add up, and those without mass are left out.
    ///
    /// # Errors
    /// [`Error::Length`] for an index outside the shape and for a shape beyond all indices, [`Error::Weight`] for a mass
    /// that is negative or not finite, that of a pair included.
    pub fn new(rows: usize, columns: usize, mut entries: Vec<PlanEntry>) -> Result<Self, Error> {
        for (what, found) in [("rows of a plan, at most", rows), ("columns of a plan, at most", columns)] {
            let expected = u32::MAX as usize;
            if found > expected {
                return Err(Error::Length { what, expected, found });
            }
        }
        for (index, entry) in entries.iter().enumerate() {
            for (what, at, len) in
                [("source of an entry", entry.source, rows), ("target of an entry", entry.target, columns)]
            {
                if at as usize >= len {
                    return Err(Error::Length { what, expected: len, found: at as usize + 1 });
                }
            }
            if !(entry.mass.is_finite() && entry.mass >= 0.0) {
                return Err(Error::Weight { index, column: 0, value: entry.mass });
            }
        }
        entries.sort_by_key(|entry| (entry.source, entry.target));
        entries.dedup_by(|next, kept| {
            let same = (next.source, next.target) == (kept.source, kept.target);
            if same {
                kept.mass += next.mass;
            }
            same
        });
        if let Some(index) = entries.iter().position(|entry| !entry.mass.is_finite()) {
            return Err(Error::Weight { index, column: 0, value: entries[index].mass });
        }
        entries.retain(|entry| entry.mass > 0.0);
        Ok(Self { rows, columns, entries })
    }

    /// The plan between no atoms, to be [refilled](Self::refill).
    pub(crate) fn blank() -> Self {
        Self { rows: 0, columns: 0, entries: Vec::new() }
    }

    /// Replaces the plan by the flows of a tree: each pair once, within the shape, with a finite mass that is not negative.
    pub(crate) fn refill(&mut self, rows: usize, columns: usize, flows: impl Iterator<Item = PlanEntry>) {
        (self.rows, self.columns) = (rows, columns);
        self.entries.clear();
        self.entries.extend(flows.filter(|entry| entry.mass > 0.0));
        self.entries.sort_unstable_by_key(|entry| (entry.source, entry.target));
    }

    /// n and m.
    #[must_use]
    pub fn shape(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    /// The positive entries, by source and then target.
    #[must_use]
    pub fn entries(&self) -> &[PlanEntry] {
        &self.entries
    }

    /// P 1 for the source, P^T 1 for the target.
    #[must_use]
    pub fn marginal(&self, side: Side) -> Vec<f64> {
        self.apply(side, &vec![1.0; side.of([self.columns, self.rows])])
    }

    /// P v for the source (v has m values), P^T v for the target (v has n). Values that are missing count zero.
    #[must_use]
    pub fn apply(&self, side: Side, values: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; side.of([self.rows, self.columns])];
        for &PlanEntry { source, target, mass } in &self.entries {
            let [own, other] = side.of([[source, target], [target, source]]);
            out[own as usize] += mass * values.get(other as usize).copied().unwrap_or(0.0);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(source: u32, target: u32, mass: f64) -> PlanEntry {
        PlanEntry { source, target, mass }
    }

    #[test]
    fn entries_of_one_pair_add_up() {
        let plan =
            SparsePlan::new(2, 3, vec![entry(1, 2, 0.25), entry(0, 0, 0.5), entry(1, 2, 0.25), entry(1, 0, 0.0)]);
        let plan = plan.unwrap();
        assert_eq!(plan.entries(), [entry(0, 0, 0.5), entry(1, 2, 0.5)]);
        assert_eq!(plan.marginal(Side::Source), [0.5, 0.5]);
        assert_eq!(plan.marginal(Side::Target), [0.5, 0.0, 0.5]);
        assert_eq!(plan.apply(Side::Source, &[1.0, 7.0, 3.0]), [0.5, 1.5]);
    }

    #[test]
    fn foreign_entries_are_refused() {
        assert!(matches!(SparsePlan::new(1, 1, vec![entry(0, 1, 1.0)]), Err(Error::Length { .. })));
        assert!(matches!(SparsePlan::new(1, 1, vec![entry(0, 0, f64::NAN)]), Err(Error::Weight { .. })));
        let heavy = SparsePlan::new(1, 1, vec![entry(0, 0, f64::MAX), entry(0, 0, f64::MAX)]);
        assert!(matches!(heavy, Err(Error::Weight { value: f64::INFINITY, .. })), "{heavy:?}");
        for (rows, columns) in [(1, usize::MAX), (usize::MAX, 1)] {
            let refused = SparsePlan::new(rows, columns, Vec::new());
            assert!(matches!(refused, Err(Error::Length { found: usize::MAX, .. })), "{refused:?}");
        }
    }
}
