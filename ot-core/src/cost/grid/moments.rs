//! Means and deviations of a separable cost under products of measures, from their marginals on one axis and on two.
//!
//! ```text
//! E[C] = sum_k <a_k x b_k, C_k>        Var[C] = sum_kl <a_kl x b_kl, (C_k - E[C_k]) (C_l - E[C_l])>
//! ```

use super::{AxisPair, GridCosts};
use crate::{error::Error, kernel::CostStatistics, measure::WeightsView, scalar::Scalar, side::Side};

impl GridCosts {
    /// The statistics of the cost under a x b, where a and b are the sums of the columns of the weights. O(N d^2) for N nodes,
    /// and for each pair of axes the products of three of their lengths.
    ///
    /// # Errors
    /// [`Error::Length`] for weights of other grids.
    pub fn statistics<T: Scalar>(
        &self,
        source: WeightsView<'_, T>,
        target: WeightsView<'_, T>,
    ) -> Result<CostStatistics, Error> {
        for (side, what, weights) in
            [(Side::Source, "source weights", source), (Side::Target, "target weights", target)]
        {
            let (expected, found) = (self.len(side), weights.len());
            if expected != found {
                return Err(Error::Length { what, expected, found });
            }
        }
        let nodes = [Nodes::new(self, Side::Source, source.shares()), Nodes::new(self, Side::Target, target.shares())];
        let axes = self.axes();
        let scale = self.bound().max(f64::MIN_POSITIVE);
        let means: Vec<f64> = (0..axes.len())
            .map(|k| {
                let [a, b] = nodes.each_ref().map(|nodes| nodes.marginal(k));
                product(&a, &b, |i, j| axes[k].between(Side::Source, i, j) / scale)
            })
            .collect();
        let centred = |k: usize, i: usize, j: usize| axes[k].between(Side::Source, i, j) / scale - means[k];
        let mut variance = 0.0;
        for k in 0..axes.len() {
            let [a, b] = nodes.each_ref().map(|nodes| nodes.marginal(k));
            variance += product(&a, &b, |i, j| centred(k, i, j).powi(2));
            for l in k + 1..axes.len() {
                let [a, b] = nodes.each_ref().map(|nodes| nodes.pair_marginal(k, l));
                variance += 2.0 * covariance(axes, [k, l], [&a, &b], &centred);
            }
        }
        let range =
            axes.iter().map(AxisPair::range).fold([0.0; 2], |[low, high], [least, most]| [low + least, high + most]);
        Ok(CostStatistics {
            mean: means.iter().sum::<f64>() * scale,
            deviation: variance.max(0.0).sqrt() * scale,
            minimum: range[0],
            maximum: range[1],
            forbidden: false,
        })
    }

    /// sum_ij u_i C_ij v_j, from the marginals of u and v on each axis.
    ///
    /// # Errors
    /// [`Error::Length`] unless u and v have a number for each node.
    pub fn rank_one<T: Scalar>(&self, u: &[T], v: &[T]) -> Result<f64, Error> {
        self.check_lengths([u.len(), v.len()])?;
        let wide = |values: &[T]| values.iter().map(|value| value.to_f64()).collect::<Vec<f64>>();
        let nodes = [Nodes::new(self, Side::Source, wide(u)), Nodes::new(self, Side::Target, wide(v))];
        let of_axis = |(k, axis): (usize, &AxisPair)| {
            let [a, b] = nodes.each_ref().map(|nodes| nodes.marginal(k));
            product(&a, &b, |i, j| axis.between(Side::Source, i, j))
        };
        Ok(self.axes().iter().enumerate().map(of_axis).sum())
    }

    fn check_lengths(&self, found: [usize; 2]) -> Result<(), Error> {
        for (side, what) in [(Side::Source, "source weights"), (Side::Target, "target weights")] {
            let (expected, found) = (self.len(side), side.of(found));
            if expected != found {
                return Err(Error::Length { what, expected, found });
            }
        }
        Ok(())
    }
}

/// sum_ij a_i cost(i, j) b_j.
fn product(a: &[f64], b: &[f64], cost: impl Fn(usize, usize) -> f64) -> f64 {
    let row = |i: usize| b.iter().enumerate().map(|(j, b)| b * cost(i, j)).sum::<f64>();
    a.iter().enumerate().filter(|(_, a)| **a != 0.0).map(|(i, a)| a * row(i)).sum()
}

/// sum a_kl b_kl cost_k cost_l over the nodes of two axes.
fn covariance(
    axes: &[AxisPair],
    [k, l]: [usize; 2],
    [a, b]: [&[f64]; 2],
    cost: &impl Fn(usize, usize, usize) -> f64,
) -> f64 {
    let [own, other] = Side::BOTH.map(|side| [axes[k].len(side), axes[l].len(side)]);
    let table = |axis: usize, [rows, columns]: [usize; 2]| -> Vec<f64> {
        (0..rows * columns).map(|entry| cost(axis, entry / columns, entry % columns)).collect()
    };
    let (first, second) = (table(k, [own[0], other[0]]), table(l, [own[1], other[1]]));
    let (mut sums, mut row) = (vec![0.0; own[1]], vec![0.0; other[1]]);
    let mut total = 0.0;
    for j in 0..other[0] {
        // sums_l = sum_i a_il C_k(i, j), then their products with C_l.
        sums.fill(0.0);
        for (i, a) in a.chunks_exact(own[1]).enumerate() {
            let factor = first[i * other[0] + j];
            sums.iter_mut().zip(a).for_each(|(sum, a)| *sum += factor * a);
        }
        row.fill(0.0);
        for (sum, costs) in sums.iter().zip(second.chunks_exact(other[1])) {
            row.iter_mut().zip(costs).for_each(|(row, cost)| *row += sum * cost);
        }
        total += row.iter().zip(&b[j * other[1]..]).map(|(row, b)| row * b).sum::<f64>();
    }
    total
}

/// Numbers of the nodes of a grid.
struct Nodes {
    values: Vec<f64>,
    lengths: Vec<usize>,
    strides: Vec<usize>,
}

impl Nodes {
    fn new(costs: &GridCosts, side: Side, values: Vec<f64>) -> Self {
        let lengths = costs.axes().iter().map(|axis| axis.len(side)).collect();
        Self { values, lengths, strides: costs.strides(side) }
    }

    /// Sums over all axes but one.
    fn marginal(&self, k: usize) -> Vec<f64> {
        let mut sums = vec![0.0; self.lengths[k]];
        for (run, values) in self.values.chunks_exact(self.strides[k]).enumerate() {
            sums[run % self.lengths[k]] += values.iter().sum::<f64>();
        }
        sums
    }

    /// Sums over all axes but two, the first of which comes first.
    fn pair_marginal(&self, k: usize, l: usize) -> Vec<f64> {
        let mut sums = vec![0.0; self.lengths[k] * self.lengths[l]];
        for (run, values) in self.values.chunks_exact(self.strides[l]).enumerate() {
            let (first, second) = (run * self.strides[l] / self.strides[k] % self.lengths[k], run % self.lengths[l]);
            sums[first * self.lengths[l] + second] += values.iter().sum::<f64>();
        }
        sums
    }
}
