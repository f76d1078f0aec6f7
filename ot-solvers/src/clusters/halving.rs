//! Halves of halves of a cloud, cut at the median of the widest axis (Bentley 1975).
//!
//! All cells of one depth hold the same number of points but for one, so a uniform cloud stays uniform, and the cut
//! depends on the points alone.

use std::ops::Range;

use ot_core::{PointsView, Scalar};

/// Orders points so that the [`cells`] of every depth up to this one are contiguous, and neighbours in the order mostly
/// near. Costs O(n d min(depth, log n)) in the mean.
pub(crate) fn halve<T: Scalar>(points: PointsView<'_, T>, order: &mut [u32], depth: u32) {
    if depth == 0 || order.len() < 2 {
        return;
    }
    let middle = order.len() / 2;
    points.cut_widest(order, middle);
    let (left, right) = order.split_at_mut(middle);
    halve(points, left, depth - 1);
    halve(points, right, depth - 1);
}

/// The ranges of the 2^depth cells of `len` >= 2^depth ordered points.
pub(super) fn cells(len: usize, depth: u32) -> Vec<Range<usize>> {
    let mut bounds = vec![0, len];
    for _ in 0..depth {
        let mut halves: Vec<usize> = bounds.windows(2).flat_map(|cell| [cell[0], cell[0].midpoint(cell[1])]).collect();
        halves.push(len);
        bounds = halves;
    }
    bounds.windows(2).map(|cell| cell[0]..cell[1]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_intervals_of_a_line() -> Result<(), ot_core::Error> {
        let line: Vec<f64> = (0..50).map(|i| f64::from((i * 37) % 50)).collect();
        let mut order: Vec<u32> = (0..50).collect();
        halve(PointsView::new(&line, 1)?, &mut order, u32::MAX);
        assert!(order.iter().map(|&point| line[point as usize]).eq((0..50).map(f64::from)));
        let lengths: Vec<usize> = cells(50, 3).into_iter().map(|cell| cell.len()).collect();
        assert_eq!(lengths, [6, 6, 6, 7, 6, 6, 6, 7]);
        Ok(())
    }
}
