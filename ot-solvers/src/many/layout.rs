//! Which pairs there are, and where they stand.

/// The pairs of one or two lists of measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Of one list of so many, (i, j) with i <= j.
    Symmetric(usize),
    /// Of two lists, all.
    Full(usize, usize),
    /// Of two lists of so many, (k, k).
    List(usize),
}

impl Layout {
    /// The pairs to be solved, in order.
    pub(super) fn pairs(self) -> Vec<(usize, usize)> {
        match self {
            Layout::Symmetric(len) => (0..len).flat_map(|i| (i..len).map(move |j| (i, j))).collect(),
            Layout::Full(rows, columns) => (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))).collect(),
            Layout::List(len) => (0..len).map(|k| (k, k)).collect(),
        }
    }

    /// Rows and columns of the table.
    pub(super) fn shape(self) -> (usize, usize) {
        match self {
            Layout::Symmetric(len) => (len, len),
            Layout::Full(rows, columns) => (rows, columns),
            Layout::List(len) => (len, 1),
        }
    }

    /// The cell of the table that a pair stands in.
    pub(super) fn cell(self, (i, j): (usize, usize)) -> (usize, usize) {
        if matches!(self, Layout::List(_)) { (i, 0) } else { (i, j) }
    }

    /// Where the pair of a cell of the table stands among the [pairs](Self::pairs), and whether it was solved the other way
    /// round; `None` outside.
    pub(super) fn place(self, row: usize, column: usize) -> Option<(usize, bool)> {
        let (rows, columns) = self.shape();
        if row >= rows || column >= columns {
            return None;
        }
        Some(match self {
            Layout::Symmetric(len) => {
                let (i, j) = (row.min(column), row.max(column));
                // Before row i stand len + (len - 1) + ... pairs.
                (i * len - i * i.saturating_sub(1) / 2 + j - i, row > column)
            }
            Layout::Full(_, columns) => (row * columns + column, false),
            Layout::List(_) => (row, false),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_stand_at_their_places() {
        for layout in [Layout::Symmetric(5), Layout::Full(3, 4), Layout::List(4)] {
            for (place, (i, j)) in layout.pairs().into_iter().enumerate() {
                let (row, column) = layout.cell((i, j));
                assert_eq!(layout.place(row, column), Some((place, false)), "{layout:?}");
            }
            let (rows, columns) = layout.shape();
            assert_eq!((layout.place(rows, 0), layout.place(0, columns)), (None, None));
        }
        assert_eq!(Layout::Symmetric(5).place(3, 1), Layout::Symmetric(5).place(1, 3).map(|(place, _)| (place, true)));
    }
}
