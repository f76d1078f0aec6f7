//! Derivatives of the cost in the points of a side, in its own entries or in its scale, under the plan.
//!
//! Gradients of the cost are evaluated pair by pair in f64, for the pairs that carry mass.

use std::ops::Range;

use ot_core::{
    CostDerivative, CostParameter, CostTangent, Error, HostBackend, KernelOp, PairWeight, Side, WeightedPlan,
    cost::GroundCost,
    host::{HostVector, for_each_chunk},
};

use super::{
    clouds::Clouds,
    functionals::{Buffers, PlanColumn},
    kernel::GibbsKernel,
    rows::{BLOCK, CostRows, column_of, column_of_mut, pieces, task_atoms},
};
use crate::{
    backend::{CpuBackend, CpuScalar},
    simd::Stored,
};

impl<T: CpuScalar + Stored<X>, R: CostRows<T>, X: CpuScalar> GibbsKernel<T, R, X> {
    /// Calls `visit(i, pairs, out_i)` for every atom i of `side`, where `out_i` are `width` numbers, zero at first, and
    /// pairs are (j, P_ij w_ij, C_ij) of one tile with P_ij > 0. Returns the numbers of all atoms, one after the other.
    fn sum_pairs(
        &self,
        side: Side,
        pairs: WeightedPlan<'_, CpuBackend<T>>,
        width: usize,
        visit: impl Fn(usize, &mut dyn Iterator<Item = (usize, f64, f64)>, &mut [f64]) + Sync,
    ) -> Vec<f64> {
        let WeightedPlan { plan, weight, column } = pairs;
        let plan = PlanColumn::new(side, plan, self.epsilon, column).of_family(self.family.as_ref());
        let factor = Factor::new(weight, column, self.columns());
        let (atoms, others) = (self.cost.len(side), self.cost.len(side.opposite()));
        let task = task_atoms(atoms, others);
        let mut out = vec![0.0; atoms * width];
        for_each_chunk(
            |tasks, job| self.backend.parallel(tasks, job),
            atoms.div_ceil(task),
            out.chunks_mut(task * width),
            |index, out| {
                let mut buffers = Buffers::new();
                let start = index * task;
                for block in pieces(start..atoms.min(start + task), BLOCK) {
                    plan.visit_block(
                        self.cost.as_ref(),
                        side,
                        block.clone(),
                        &mut buffers,
                        |r, others, costs, entries| {
                            let atom = block.start + r;
                            let weight = plan.weights[atom].to_f64();
                            let pairs = others.zip(entries.iter().zip(costs.iter()));
                            let pairs = pairs.map(|(j, (entry, cost))| (j, weight * entry.to_f64(), cost.to_f64()));
                            let pairs = pairs.filter(|&(_, mass, _)| mass > 0.0);
                            visit(
                                atom,
                                &mut pairs.map(|(j, mass, cost)| (j, mass * factor.at(side, atom, j, cost), cost)),
                                &mut out[(atom - start) * width..][..width],
                            );
                        },
                    );
                }
            },
        );
        out
    }

    /// out = sum_ij P_ij w_ij (the half of slopes_ij that belongs to `side`), of the shape of the points of that side,
    /// where `slopes((i, j), pair, out)` writes numbers for x_i and then for y_j.
    fn sum_over_points(
        &self,
        side: Side,
        pairs: WeightedPlan<'_, CpuBackend<T>>,
        clouds: &Clouds<T>,
        slopes: impl Fn((usize, usize), &Pair, &mut [f64]) + Sync,
        out: &mut HostVector<T>,
    ) {
        let dimension = clouds.dimension;
        let sums = self.sum_pairs(side, pairs, dimension, |atom, pairs, out| {
            let mut pair = Pair::first(clouds);
            let mut both = vec![0.0; 2 * dimension];
            for (other, mass, _) in pairs {
                let (i, j) = indices(side, atom, other);
                pair.set(clouds, i, j);
                slopes((i, j), &pair, &mut both);
                add(out, mass, &both[half(side, dimension)]);
            }
        });
        write_coordinates(&sums, dimension, out);
    }

    /// For the atoms i of `side`: sum_j P_ij w_ij dC_ij.
    fn changes(
        &self,
        side: Side,
        pairs: WeightedPlan<'_, CpuBackend<T>>,
        tangent: CostTangent<'_, CpuBackend<T>>,
    ) -> Result<Vec<f64>, Error> {
        let CostTangent { parameter, values } = tangent;
        match parameter {
            CostParameter::Points(moving) => {
                let (clouds, cost) = self.differentiable(parameter)?;
                let dimension = clouds.dimension;
                Ok(self.sum_pairs(side, pairs, 1, |atom, pairs, out| {
                    let mut pair = Pair::first(clouds);
                    let mut gradient = vec![0.0; 2 * dimension];
                    for (other, mass, _) in pairs {
                        let (i, j) = indices(side, atom, other);
                        pair.set(clouds, i, j);
                        cost.gradient(&pair.x, &pair.y, &mut gradient);
                        let moved = if side == moving { atom } else { other };
                        let slopes = gradient[half(moving, dimension)].iter().enumerate();
                        out[0] +=
                            mass * slopes.map(|(axis, slope)| slope * coordinate(values, axis, moved)).sum::<f64>();
                    }
                }))
            }
            CostParameter::Matrix if R::STORED => {
                let rows = self.cost.len(Side::Source);
                Ok(self.sum_pairs(side, pairs, 1, |atom, pairs, out| {
                    for (other, mass, _) in pairs {
                        let (i, j) = indices(side, atom, other);
                        out[0] += mass * values.values()[j * rows + i].to_f64();
                    }
                }))
            }
            CostParameter::Scale => {
                let scale = column_of(values, pairs.column)[0].to_f64();
                Ok(self.sum_pairs(side, pairs, 1, |_, pairs, out| {
                    out[0] += scale * pairs.map(|(_, mass, price)| mass * price).sum::<f64>();
                }))
            }
            _ => Err(UNKNOWN),
        }
    }

    /// The clouds and their cost, if it has the derivative asked for.
    fn differentiable(&self, parameter: CostParameter) -> Result<(&Clouds<T>, &dyn GroundCost), Error> {
        let clouds = self.cost.clouds().filter(|_| self.shape(parameter).is_some());
        clouds.and_then(|clouds| Some((clouds, clouds.cost.as_deref()?))).ok_or(UNKNOWN)
    }
}

/// A parameter that the cost does not depend on, or not in a known way.
const UNKNOWN: Error = Error::MissingCapability("derivative of the cost in this parameter");

impl<T: CpuScalar + Stored<X>, R: CostRows<T>, X: CpuScalar> CostDerivative<CpuBackend<T>> for GibbsKernel<T, R, X> {
    /// Entries of a matrix are a parameter of stored costs; points are one where the cost knows its gradient.
    fn shape(&self, parameter: CostParameter) -> Option<(usize, usize)> {
        match parameter {
            CostParameter::Points(side) => {
                let clouds = self.cost.clouds()?;
                let pair = Pair::first(clouds);
                let known = clouds.cost.as_ref()?.gradient(&pair.x, &pair.y, &mut vec![0.0; 2 * pair.x.len()]);
                known.then_some((self.cost.len(side), clouds.dimension))
            }
            CostParameter::Matrix => R::STORED.then_some((self.cost.len(Side::Source), self.cost.len(Side::Target))),
            CostParameter::Scale => Some((1, 1)),
            _ => None,
        }
    }

    fn pull_back(
        &mut self,
        pairs: WeightedPlan<'_, CpuBackend<T>>,
        parameter: CostParameter,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        match parameter {
            CostParameter::Points(side) => {
                let (clouds, cost) = self.differentiable(parameter)?;
                let slopes = |_, pair: &Pair, slopes: &mut [f64]| {
                    cost.gradient(&pair.x, &pair.y, slopes);
                };
                self.sum_over_points(side, pairs, clouds, slopes, out);
            }
            CostParameter::Matrix if R::STORED => {
                let rows = self.cost.len(Side::Source);
                let sums = self.sum_pairs(Side::Target, pairs, rows, |_, pairs, out| {
                    for (i, mass, _) in pairs {
                        out[i] = mass;
                    }
                });
                for (out, sum) in out.values_mut().iter_mut().zip(sums) {
                    *out = T::from_f64(sum);
                }
            }
            CostParameter::Scale => {
                let sums = self.sum_pairs(Side::Source, pairs, 1, |_, pairs, out| {
                    out[0] += pairs.map(|(_, mass, price)| mass * price).sum::<f64>();
                });
                column_of_mut(out, pairs.column)[0] = T::from_f64(sums.iter().sum());
            }
            _ => return Err(UNKNOWN),
        }
        Ok(())
    }

    fn push_forward(
        &mut self,
        side: Side,
        pairs: WeightedPlan<'_, CpuBackend<T>>,
        tangent: CostTangent<'_, CpuBackend<T>>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        let sums = self.changes(side, pairs, tangent)?;
        for (out, sum) in column_of_mut(out, pairs.column).iter_mut().zip(sums) {
            *out = T::from_f64(sum);
        }
        Ok(())
    }

    fn curvature(
        &mut self,
        pairs: WeightedPlan<'_, CpuBackend<T>>,
        parameter: CostParameter,
        tangent: CostTangent<'_, CpuBackend<T>>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        if self.shape(parameter).is_none() || self.shape(tangent.parameter).is_none() {
            return Err(UNKNOWN);
        }
        match (parameter, tangent.parameter) {
            (CostParameter::Points(side), CostParameter::Points(moving)) => {
                let (clouds, cost) = self.differentiable(parameter)?;
                let dimension = clouds.dimension;
                let pair = Pair::first(clouds);
                let zeros = vec![0.0; 2 * dimension];
                if !cost.second_derivative(&pair.x, &pair.y, &zeros, &mut zeros.clone()) {
                    return Err(Error::MissingCapability("second derivative of the cost"));
                }
                let mut directions = vec![0.0; 2 * dimension * self.cost.len(moving)];
                for (atom, direction) in directions.chunks_exact_mut(2 * dimension).enumerate() {
                    for (axis, slot) in direction[half(moving, dimension)].iter_mut().enumerate() {
                        *slot = coordinate(tangent.values, axis, atom);
                    }
                }
                let slopes = |(i, j), pair: &Pair, bent: &mut [f64]| {
                    let moved = if moving == Side::Source { i } else { j };
                    let direction = &directions[2 * dimension * moved..][..2 * dimension];
                    cost.second_derivative(&pair.x, &pair.y, direction, bent);
                };
                self.sum_over_points(side, pairs, clouds, slopes, out);
            }
            // The scale enters linearly, and its mixed blocks are first derivatives.
            (CostParameter::Scale, CostParameter::Scale) => column_of_mut(out, pairs.column)[0] = T::default(),
            (CostParameter::Scale, _) => {
                let sums = self.changes(Side::Source, pairs, tangent)?;
                column_of_mut(out, pairs.column)[0] = T::from_f64(sums.iter().sum());
            }
            (_, CostParameter::Scale) => {
                self.pull_back(pairs, parameter, out)?;
                let scale = column_of(tangent.values, pairs.column)[0];
                for value in out.values_mut() {
                    *value = *value * scale;
                }
            }
            // The entries of a matrix enter linearly.
            _ => out.values_mut().fill(T::default()),
        }
        Ok(())
    }
}

/// A pair of points in f64, x of the source and y of the target.
struct Pair {
    x: Vec<f64>,
    y: Vec<f64>,
}

impl Pair {
    fn first<T: CpuScalar>(clouds: &Clouds<T>) -> Self {
        let zeros = vec![0.0; clouds.dimension];
        let mut pair = Self { x: zeros.clone(), y: zeros };
        pair.set(clouds, 0, 0);
        pair
    }

    /// The points of a source atom i and a target atom j.
    fn set<T: CpuScalar>(&mut self, clouds: &Clouds<T>, i: usize, j: usize) {
        for (to, from) in self.x.iter_mut().zip(clouds.source.points(i..i + 1)) {
            *to = from.to_f64();
        }
        for (to, from) in self.y.iter_mut().zip(clouds.target.points(j..j + 1)) {
            *to = from.to_f64();
        }
    }
}

/// The factor w_ij of one column.
struct Factor<'a, T> {
    constant: f64,
    source: Option<&'a [T]>,
    target: Option<&'a [T]>,
    /// u and v.
    product: Option<[&'a HostVector<T>; 2]>,
    /// The channels of u and v that belong to this column.
    channels: Range<usize>,
    cost: f64,
}

impl<'a, T: CpuScalar> Factor<'a, T> {
    fn new(weight: PairWeight<'a, CpuBackend<T>>, column: usize, columns: usize) -> Self {
        let channels = weight.product.map_or(0, |(u, _)| u.shape().1 / columns);
        Self {
            constant: weight.constant,
            source: weight.source.map(|vector| column_of(vector, column)),
            target: weight.target.map(|vector| column_of(vector, column)),
            product: weight.product.map(|(u, v)| [u, v]),
            channels: column * channels..(column + 1) * channels,
            cost: weight.cost,
        }
    }

    /// w of an atom of `side` and another one of the other side, at cost `price`.
    fn at(&self, side: Side, atom: usize, other: usize, price: f64) -> f64 {
        let (i, j) = indices(side, atom, other);
        let at = |values: Option<&[T]>, index: usize| values.map_or(0.0, |values| values[index].to_f64());
        let product = self
            .product
            .map_or(0.0, |[u, v]| self.channels.clone().map(|k| coordinate(u, k, i) * coordinate(v, k, j)).sum());
        self.constant + at(self.source, i) + at(self.target, j) + product + self.cost * price
    }
}

/// The source atom i and the target atom j among an atom of `side` and another one of the other side.
fn indices(side: Side, atom: usize, other: usize) -> (usize, usize) {
    match side {
        Side::Source => (atom, other),
        Side::Target => (other, atom),
    }
}

/// Where the coordinates of a side stand in 2d numbers for x and then y.
fn half(side: Side, dimension: usize) -> Range<usize> {
    match side {
        Side::Source => 0..dimension,
        Side::Target => dimension..2 * dimension,
    }
}

/// Coordinate `axis` of a point in a vector of n x d, or a channel of an atom.
fn coordinate<T: CpuScalar>(vector: &HostVector<T>, axis: usize, point: usize) -> f64 {
    column_of(vector, axis)[point].to_f64()
}

/// out += factor * values.
fn add(out: &mut [f64], factor: f64, values: &[f64]) {
    for (out, value) in out.iter_mut().zip(values) {
        *out += factor * value;
    }
}

/// Writes points, given one after the other, to a vector of n x d.
fn write_coordinates<T: CpuScalar>(points: &[f64], dimension: usize, out: &mut HostVector<T>) {
    let atoms = points.len() / dimension;
    for (axis, out) in out.values_mut().chunks_mut(atoms).enumerate() {
        for (out, point) in out.iter_mut().zip(points.chunks_exact(dimension)) {
            *out = T::from_f64(point[axis]);
        }
    }
}
