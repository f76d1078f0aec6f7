//! Costs of listed pairs.

use crate::error::Error;

/// Costs of listed pairs between atoms known by their indices, row after row; all other pairs are forbidden.
///
/// ```
/// use ot_core::cost::SparseView;
///
/// // (0, 0): 1, (0, 2): 2, (1, 1): 3
/// let view = SparseView::new(3, &[0, 2, 3], &[0, 2, 1], &[1.0, 2.0, 3.0])?;
/// assert_eq!((view.rows(), view.columns(), view.len()), (2, 3, 3));
/// assert_eq!(view.row(0), (&[0, 2][..], &[1.0, 2.0][..]));
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SparseView<'a> {
    columns: usize,
    starts: &'a [usize],
    targets: &'a [u32],
    costs: &'a [f64],
}

impl<'a> SparseView<'a> {
    /// The pairs of row i are those from `starts[i]` up to `starts[i + 1]`, their targets ascending.
    ///
    /// # Errors
    /// [`Error::Length`] for starts that do not fit the pairs, or a target that is not below `columns`; [`Error::Cost`] for a cost
    /// that is NaN or minus infinity; [`Error::Parameter`] for targets that do not ascend.
    pub fn new(columns: usize, starts: &'a [usize], targets: &'a [u32], costs: &'a [f64]) -> Result<Self, Error> {
        let found = costs.len();
        if targets.len() != found {
            return Err(Error::Length { what: "costs of pairs", expected: targets.len(), found });
        }
        if starts.first() != Some(&0) || starts.last() != Some(&found) || !starts.is_sorted() {
            let expected = starts.last().copied().unwrap_or(0);
            return Err(Error::Length { what: "pairs of rows", expected, found });
        }
        for (source_index, row) in starts.windows(2).enumerate() {
            let (targets, costs) = (&targets[row[0]..row[1]], &costs[row[0]..row[1]]);
            if let Some(last) = targets.last().filter(|last| **last as usize >= columns) {
                return Err(Error::Length { what: "target of a pair", expected: columns, found: *last as usize + 1 });
            }
            if let Some(pair) = targets.windows(2).find(|pair| pair[0] >= pair[1]) {
                let expected = "targets of a row that ascend";
                return Err(Error::Parameter { name: "targets", value: f64::from(pair[1]), expected });
            }
            let is_cost = |cost: &f64| *cost > f64::NEG_INFINITY;
            if let Some(place) = costs.iter().position(|cost| !is_cost(cost)) {
                return Err(Error::Cost { source_index, target_index: targets[place] as usize, value: costs[place] });
            }
        }
        Ok(Self { columns, starts, targets, costs })
    }

    /// Number of sources.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// Number of targets.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Number of pairs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.costs.len()
    }

    /// Are there no pairs?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.costs.is_empty()
    }

    /// The targets of a source, ascending, and their costs.
    #[must_use]
    pub fn row(&self, source: usize) -> (&'a [u32], &'a [f64]) {
        let range = self.starts[source]..self.starts[source + 1];
        (&self.targets[range.clone()], &self.costs[range])
    }
}
