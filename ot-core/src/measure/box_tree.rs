//! Boxes around points, halves of halves: what bounds costs between many points at once.

use std::ops::Range;

use super::{BoundingBox, PointsView};
use crate::scalar::Scalar;

/// A tree of boxes around points (Bentley 1975): each is cut across its widest axis, between two halves of its points, down
/// to leaves of a given size.
///
/// The points of every node stand together in the [order](Self::order) of the tree, and all leaves but the last have the same
/// number of them: leaf k holds the places k s, ..., (k + 1) s - 1. The tree depends on the points alone. Costs O(n d log n)
/// in the mean, and two boxes for each leaf.
///
/// ```
/// use ot_core::{PointsView, measure::BoxTree};
///
/// let points = [7.0, 0.0, 5.0, 1.0, 6.0, 2.0];
/// let tree = BoxTree::new(PointsView::new(&points, 1)?, 2);
/// let leaves: Vec<_> = tree.nodes().iter().filter(|node| node.is_leaf()).collect();
/// assert_eq!((leaves.len(), leaves[0].places()), (3, 0..2));
/// assert_eq!((leaves[0].around().low()[0], leaves[2].around().high()[0]), (0.0, 7.0));
/// // The points in the order of the tree.
/// assert_eq!(tree.order().iter().map(|&point| points[point as usize]).sum::<f64>(), 21.0);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct BoxTree {
    order: Vec<u32>,
    leaf: usize,
    nodes: Vec<BoxNode>,
}

/// A node of a [`BoxTree`]: some points that stand together, and the box around them.
#[derive(Clone, Debug)]
pub struct BoxNode {
    places: Range<usize>,
    around: BoundingBox,
    /// Nodes of the subtree, this one among them.
    size: u32,
}

impl BoxTree {
    /// The tree of at most 2^32 points with `leaf` of them in a leaf, or one if that is zero.
    #[must_use]
    pub fn new<T: Scalar>(points: PointsView<'_, T>, leaf: usize) -> Self {
        let leaf = leaf.max(1);
        let mut order: Vec<u32> = (0..).take(points.len()).collect();
        let mut nodes = Vec::with_capacity(2 * points.len().div_ceil(leaf));
        grow(points, &mut order, 0, leaf, &mut nodes);
        Self { order, leaf, nodes }
    }

    /// The point at each place.
    #[must_use]
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// Points in a leaf; the last may have fewer.
    #[must_use]
    pub fn leaf(&self) -> usize {
        self.leaf
    }

    /// The nodes, each before those of its first half, and these before those of its second: node 0 is the root.
    #[must_use]
    pub fn nodes(&self) -> &[BoxNode] {
        &self.nodes
    }
}

impl BoxNode {
    /// The places of its points.
    #[must_use]
    pub fn places(&self) -> Range<usize> {
        self.places.clone()
    }

    /// The box around its points.
    #[must_use]
    pub fn around(&self) -> &BoundingBox {
        &self.around
    }

    /// Nodes of the subtree: the node after it stands so many further on.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size as usize
    }

    /// Is it cut no further?
    #[must_use]
    pub fn is_leaf(&self) -> bool {
        self.size == 1
    }
}

/// Appends the nodes of some points, the first of which stands at the place `first`.
fn grow<T: Scalar>(points: PointsView<'_, T>, order: &mut [u32], first: usize, leaf: usize, nodes: &mut Vec<BoxNode>) {
    let (node, len) = (nodes.len(), order.len());
    let middle = len.div_ceil(leaf).div_ceil(2) * leaf;
    let around = points.cut_widest(order, if len > leaf { middle } else { len });
    nodes.push(BoxNode { places: first..first + len, around, size: 1 });
    if len > leaf {
        let (left, right) = order.split_at_mut(middle);
        grow(points, left, first, leaf, nodes);
        grow(points, right, first + middle, leaf, nodes);
        nodes[node].size = (nodes.len() - node) as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    fn cloud(len: usize, dimension: usize) -> Vec<f64> {
        (0..len * dimension).map(|index| (index as f64 * 0.618_034).fract() * (1 + index % dimension) as f64).collect()
    }

    #[test]
    fn nodes_hold_their_points_and_leaves_are_even() -> Result<(), Error> {
        for (len, dimension, leaf) in [(1, 1, 4), (4, 2, 4), (5, 2, 4), (97, 3, 8), (256, 8, 32), (300, 1, 7)] {
            let coordinates = cloud(len, dimension);
            let points = PointsView::new(&coordinates, dimension)?;
            let tree = BoxTree::new(points, leaf);
            let mut seen = tree.order().to_vec();
            seen.sort_unstable();
            assert!(seen.into_iter().eq(0..len as u32));
            for (index, node) in tree.nodes().iter().enumerate() {
                for &point in &tree.order()[node.places()] {
                    let inside = |k: usize, x: &f64| node.around().low()[k] <= *x && *x <= node.around().high()[k];
                    assert!(points.point(point as usize).iter().enumerate().all(|(k, x)| inside(k, x)));
                }
                if node.is_leaf() {
                    assert!(node.places().start.is_multiple_of(leaf) && node.places().len() <= leaf);
                } else {
                    let left = &tree.nodes()[index + 1];
                    let right = &tree.nodes()[index + 1 + left.size()];
                    assert_eq!((left.places().start, right.places().end), (node.places().start, node.places().end));
                    assert_eq!(left.places().end, right.places().start);
                    assert_eq!(left.size() + right.size() + 1, node.size());
                }
            }
            let leaves = tree.nodes().iter().filter(|node| node.is_leaf());
            assert_eq!(leaves.count(), len.div_ceil(leaf));
        }
        Ok(())
    }

    #[test]
    fn equal_points_are_cut_by_their_index() -> Result<(), Error> {
        let coordinates = vec![1.5; 40];
        let tree = BoxTree::new(PointsView::new(&coordinates, 2)?, 4);
        assert_eq!(tree.nodes().iter().filter(|node| node.is_leaf()).count(), 5);
        let mut first: Vec<u32> = tree.order()[..4].to_vec();
        first.sort_unstable();
        assert_eq!(first, [0, 1, 2, 3]);
        Ok(())
    }
}
