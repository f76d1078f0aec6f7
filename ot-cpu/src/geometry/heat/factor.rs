//! Sparse L D L^T of a diagonally dominant matrix with off-diagonals <= 0, to full relative accuracy entry by entry.
//!
//! ```text
//! A = diag(e) + sum over edges of w (e_i - e_j) (e_i - e_j)^T        e >= 0, w >= 0
//! ```
//!
//! Elimination of a vertex joins its neighbours by edges of weights w_ij w_ik / d_i, and shares its excess e_i out among them.
//! The pivot d_i is the sum of the excess and of the weights of the vertex, so that nothing is ever subtracted (Grassmann,
//! Taksar, Heyman 1985; Alfa, Xue, Ye 2002): each entry of the factor, and each number of a substitution with non-negative
//! right-hand sides, is accurate to a small multiple of its own size, however ill-conditioned A is.
//!
//! For substitutions the factor is cut into parts, subtrees of the elimination tree, that tasks can work on at the same time,
//! and the top of the tree, which joins them. Right-hand sides are stored part after part; the row of a vertex among them is
//! its *slot*. A part also has slots for those rows of the top that it adds to, so that no two parts write to one place, and
//! what they add is summed in the order of the parts.

mod columns;
mod ordering;
mod part;

use ot_core::Error;

use self::{
    columns::Columns,
    ordering::{Lower, Ordering, inverse},
    part::Part,
};

/// The factor of A with rows and columns in another order: L has a unit diagonal, and -l_ij below it.
#[derive(Clone, Debug)]
pub(super) struct Factor {
    /// The slot of each vertex.
    slots: Vec<u32>,
    /// The last is the top.
    parts: Vec<Part>,
    nonzeros: usize,
}

impl Factor {
    /// Factors A of an excess of each vertex and weighted edges. Flops are the sum of the squares of the columns' lengths.
    pub(super) fn new(excess: &[f64], edges: &[([u32; 2], f64)]) -> Result<Self, Error> {
        let n = excess.len();
        let Ordering { order, parts: ranges } = Ordering::new(n, edges)?;
        let lower = Lower::new(n, edges, &inverse(&order));
        let columns = Columns::new(order.iter().map(|&vertex| excess[vertex as usize]).collect(), &lower)?;
        let top = ranges.last().map_or(n, |top| top.start);
        let (mut slots, mut parts, mut first) = (vec![0; n], Vec::with_capacity(ranges.len()), 0);
        for range in ranges {
            let part = Part::new(range, top, &order, &columns);
            part.vertices().iter().zip(first..).for_each(|(&vertex, slot)| slots[vertex as usize] = slot);
            first += part.len() as u32;
            parts.push(part);
        }
        Ok(Self { slots, parts, nonzeros: columns.nonzeros() })
    }

    /// Entries below the diagonal.
    pub(super) fn nonzeros(&self) -> usize {
        self.nonzeros
    }

    /// The slot of each vertex.
    pub(super) fn slots(&self) -> &[u32] {
        &self.slots
    }

    /// How many slots right-hand sides have.
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(Part::len).sum()
    }

    /// How many parts there are, with the top, which is the last one.
    pub(super) fn parts(&self) -> usize {
        self.parts.len()
    }

    /// The vertices of a part: those of its first slots, in their order.
    pub(super) fn vertices(&self, part: usize) -> &[u32] {
        self.parts[part].vertices()
    }

    /// Right-hand sides part by part.
    pub(super) fn split<'a, const W: usize>(
        &'a self,
        mut x: &'a mut [[f64; W]],
    ) -> impl Iterator<Item = &'a mut [[f64; W]]> {
        self.parts.iter().map(move |part| {
            let (own, rest) = std::mem::take(&mut x).split_at_mut(part.len());
            x = rest;
            own
        })
    }

    /// L^-1 x of a part, in the place of x: the first half of a solution. Nothing is done to the top.
    pub(super) fn forward<const W: usize>(&self, part: usize, x: &mut [[f64; W]]) {
        if part + 1 < self.parts.len() {
            self.parts[part].forward(x);
        }
    }

    /// The middle of a solution, when all parts are forward: all slots of the top.
    pub(super) fn solve_top<const W: usize>(&self, x: &mut [[f64; W]]) {
        let Some((top, parts)) = self.parts.split_last() else { return };
        let (below, x) = x.split_at_mut(x.len() - top.len());
        let mut first = 0;
        for part in parts {
            for (&row, from) in part.boundary().iter().zip(&below[first + part.vertices().len()..first + part.len()]) {
                let sum = &mut x[row as usize];
                for side in 0..W {
                    sum[side] += from[side];
                }
            }
            first += part.len();
        }
        top.forward(x);
        top.backward(x);
        let mut first = 0;
        for part in parts {
            for (&row, to) in part.boundary().iter().zip(&mut below[first + part.vertices().len()..first + part.len()])
            {
                *to = x[row as usize];
            }
            first += part.len();
        }
    }

    /// A^-1 x of a part, when the top is solved: the last part of a solution.
    pub(super) fn backward<const W: usize>(&self, part: usize, x: &mut [[f64; W]]) {
        if part + 1 < self.parts.len() {
            self.parts[part].backward(x);
        }
    }

    /// A^-1 x in the place of x, for W right-hand sides side by side, slot by slot.
    pub(super) fn solve<const W: usize>(&self, x: &mut [[f64; W]]) {
        self.split(x).enumerate().for_each(|(part, x)| self.forward(part, x));
        self.solve_top(x);
        self.split(x).enumerate().for_each(|(part, x)| self.backward(part, x));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::SIDES;

    /// A number in (0, 1) from an index, without a pattern.
    fn number(index: usize) -> f64 {
        (index as f64 * 0.618_033_988_749_894_9 + 0.1).fract()
    }

    /// A grid of this side with chords, and an excess of each vertex.
    fn grid(side: u32) -> (Vec<f64>, Vec<([u32; 2], f64)>) {
        let mut edges = Vec::new();
        for i in 0..side * side {
            let weight = |k: u32| 0.1 + number((7 * i + k) as usize);
            if i % side + 1 < side {
                edges.push(([i, i + 1], weight(0)));
            }
            if i / side + 1 < side {
                edges.push(([i, i + side], weight(1)));
                edges.push(([i, (i / side + 1) * side + (i + 3) % side], weight(2)));
            }
        }
        ((0..side * side).map(|i| 1e-3 + number(i as usize)).collect(), edges)
    }

    /// A^-1 x of some x, column by column of the plain factor: the oracle of panels and parts.
    fn plain(excess: &[f64], edges: &[([u32; 2], f64)], sides: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let n = excess.len();
        let order = Ordering::new(n, edges).unwrap().order;
        let lower = Lower::new(n, edges, &inverse(&order));
        let columns = Columns::new(order.iter().map(|&vertex| excess[vertex as usize]).collect(), &lower).unwrap();
        let solved = |values: &Vec<f64>| {
            let mut x: Vec<f64> = order.iter().map(|&vertex| values[vertex as usize]).collect();
            for column in 0..n {
                let own = x[column];
                for (&row, ratio) in columns.rows(column).iter().zip(columns.ratios(column)) {
                    x[row as usize] += ratio * own;
                }
            }
            for column in (0..n).rev() {
                let terms = columns.rows(column).iter().zip(columns.ratios(column));
                let above = terms.map(|(&row, ratio)| ratio * x[row as usize]).sum::<f64>();
                x[column] = columns.inverses()[column] * x[column] + above;
            }
            let mut solution = vec![0.0; n];
            order.iter().zip(x).for_each(|(&vertex, x)| solution[vertex as usize] = x);
            solution
        };
        sides.iter().map(solved).collect()
    }

    #[test]
    fn panels_and_parts_are_the_plain_factor() {
        for side in [1, 2, 5, 40, 90] {
            let (excess, edges) = grid(side);
            let n = excess.len();
            let factor = Factor::new(&excess, &edges).unwrap();
            assert!(side < 90 || factor.parts() > 3, "{} parts: none to solve apart", factor.parts());
            let mut eight = vec![[0.0; SIDES]; factor.len()];
            for (vertex, &slot) in factor.slots().iter().enumerate() {
                eight[slot as usize] = std::array::from_fn(|side| number(SIDES * vertex + side));
            }
            let mut one: Vec<[f64; 1]> = eight.iter().map(|row| [row[3]]).collect();
            factor.solve(&mut eight);
            factor.solve(&mut one);
            let values = |side: usize| (0..n).map(|i| number(SIDES * i + side)).collect::<Vec<_>>();
            let of_sides = plain(&excess, &edges, &(0..SIDES).map(values).collect::<Vec<_>>());
            for (vertex, &slot) in factor.slots().iter().enumerate() {
                for (found, expected) in eight[slot as usize].iter().zip(&of_sides) {
                    let expected = expected[vertex];
                    assert!((found / expected - 1.0).abs() < 1e-13, "{found} instead of {expected}");
                }
            }
            assert!(one.iter().zip(&eight).all(|([x], row)| x.to_bits() == row[3].to_bits()), "alone and beside");
        }
    }

    #[test]
    fn solutions_solve() {
        let (excess, edges) = grid(12);
        let factor = Factor::new(&excess, &edges).unwrap();
        let mut x = vec![[0.0]; factor.len()];
        factor.slots().iter().enumerate().for_each(|(vertex, &slot)| x[slot as usize] = [number(vertex)]);
        factor.solve(&mut x);
        let solution: Vec<f64> = factor.slots().iter().map(|&slot| x[slot as usize][0]).collect();
        let mut residual: Vec<f64> = (0..excess.len()).map(|i| excess[i] * solution[i] - number(i)).collect();
        for &([i, j], weight) in &edges {
            let flow = weight * (solution[i as usize] - solution[j as usize]);
            residual[i as usize] += flow;
            residual[j as usize] -= flow;
        }
        assert!(residual.iter().all(|residual| residual.abs() < 1e-12), "{residual:?}");
    }
}
