//! Derivatives of the cost in the points of a side or in its own entries, under the plan.
//!
//! Gradients of the cost are evaluated pair by pair in f64, for the pairs that carry mass.

use std::ops::Range;

use ot_core::{
    CostDerivative, CostParameter, Error, HostBackend, PairWeight, PlanView, Side,
    cost::GroundCost,
    host::{HostVector, for_each_chunk},
};

use super::{
    clouds::Clouds,
    functionals::{Buffers, PlanColumn},
    kernel::GibbsKernel,
    rows::{BLOCK, CostRows, column_of, column_of_mut, pieces, task_atoms},
};
use crate::backend::{CpuBackend, CpuScalar};

impl<T: CpuScalar, R: CostRows<T>> GibbsKernel<T, R> {
    /// Calls `visit(i, pairs, out_i)` for every atom i of `side`, where `out_i` are `width` numbers, zero at first, and
    /// pairs are (j, P_ij, C_ij) of one tile with P_ij > 0. Returns the numbers of all atoms, one after the other.
    fn sum_pairs(
        &self,
        side: Side,
        plan: PlanView<'_, CpuBackend<T>>,
        column: usize,
        width: usize,
        visit: impl Fn(usize, &mut dyn Iterator<Item = (usize, f64, f64)>, &mut [f64]) + Sync,
    ) -> Vec<f64> {
        let plan = PlanColumn::new(side, plan, self.epsilon, column);
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
                            visit(
                                atom,
                                &mut pairs.filter(|&(_, mass, _)| mass > 0.0),
                                &mut out[(atom - start) * width..][..width],
                            );
                        },
                    );
                }
            },
        );
        out
    }

    /// The clouds and their cost, if it has the derivative asked for.
    fn differentiable(&self, parameter: CostParameter) -> Result<(&Clouds<T>, &dyn GroundCost), Error> {
        let clouds = self.cost.clouds().filter(|_| self.depends_on(parameter));
        clouds
            .and_then(|clouds| Some((clouds, clouds.cost.as_deref()?)))
            .ok_or(Error::MissingCapability("derivative of the cost in this parameter"))
    }
}

impl<T: CpuScalar, R: CostRows<T>> CostDerivative<CpuBackend<T>> for GibbsKernel<T, R> {
    /// Entries of a matrix are a parameter of stored costs; points are one where the cost knows its gradient.
    fn depends_on(&self, parameter: CostParameter) -> bool {
        match parameter {
            CostParameter::Points(_) => self.cost.clouds().is_some_and(|clouds| {
                let pair = Pair::first(clouds);
                clouds
                    .cost
                    .as_ref()
                    .is_some_and(|cost| cost.gradient(&pair.x, &pair.y, &mut vec![0.0; 2 * pair.x.len()]))
            }),
            CostParameter::Matrix => R::STORED,
            _ => false,
        }
    }

    fn pull_back(
        &mut self,
        plan: PlanView<'_, CpuBackend<T>>,
        weight: PairWeight<'_, CpuBackend<T>>,
        parameter: CostParameter,
        column: usize,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        let weight = Factor::new(weight, column);
        match parameter {
            CostParameter::Points(side) => {
                let (clouds, cost) = self.differentiable(parameter)?;
                let dimension = clouds.dimension;
                let sums = self.sum_pairs(side, plan, column, dimension, |atom, pairs, out| {
                    let mut pair = Pair::first(clouds);
                    let mut gradient = vec![0.0; 2 * dimension];
                    for (other, mass, price) in pairs {
                        pair.set(clouds, side, atom, other);
                        cost.gradient(&pair.x, &pair.y, &mut gradient);
                        let factor = mass * weight.at(side, atom, other, price);
                        add(out, factor, &gradient[half(side, dimension)]);
                    }
                });
                write_coordinates(&sums, dimension, out);
            }
            CostParameter::Matrix if R::STORED => {
                let rows = self.cost.len(Side::Source);
                let sums = self.sum_pairs(Side::Target, plan, column, rows, |j, pairs, out| {
                    for (i, mass, price) in pairs {
                        out[i] = mass * weight.at(Side::Target, j, i, price);
                    }
                });
                for (out, sum) in out.values_mut().iter_mut().zip(sums) {
                    *out = T::from_f64(sum);
                }
            }
            _ => return Err(Error::MissingCapability("derivative of the cost in this parameter")),
        }
        Ok(())
    }

    fn push_forward(
        &mut self,
        side: Side,
        plan: PlanView<'_, CpuBackend<T>>,
        weight: PairWeight<'_, CpuBackend<T>>,
        parameter: CostParameter,
        tangent: &HostVector<T>,
        column: usize,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        let weight = Factor::new(weight, column);
        let sums = match parameter {
            CostParameter::Points(moving) => {
                let (clouds, cost) = self.differentiable(parameter)?;
                let dimension = clouds.dimension;
                self.sum_pairs(side, plan, column, 1, |atom, pairs, out| {
                    let mut pair = Pair::first(clouds);
                    let mut gradient = vec![0.0; 2 * dimension];
                    for (other, mass, price) in pairs {
                        pair.set(clouds, side, atom, other);
                        cost.gradient(&pair.x, &pair.y, &mut gradient);
                        let moved = if side == moving { atom } else { other };
                        let slopes = gradient[half(moving, dimension)].iter().enumerate();
                        let change: f64 = slopes.map(|(axis, slope)| slope * coordinate(tangent, axis, moved)).sum();
                        out[0] += mass * weight.at(side, atom, other, price) * change;
                    }
                })
            }
            CostParameter::Matrix if R::STORED => {
                let rows = self.cost.len(Side::Source);
                self.sum_pairs(side, plan, column, 1, |atom, pairs, out| {
                    for (other, mass, price) in pairs {
                        let (i, j) = match side {
                            Side::Source => (atom, other),
                            Side::Target => (other, atom),
                        };
                        out[0] += mass * weight.at(side, atom, other, price) * tangent.values()[j * rows + i].to_f64();
                    }
                })
            }
            _ => return Err(Error::MissingCapability("derivative of the cost in this parameter")),
        };
        for (out, sum) in column_of_mut(out, column).iter_mut().zip(sums) {
            *out = T::from_f64(sum);
        }
        Ok(())
    }

    fn curvature(
        &mut self,
        plan: PlanView<'_, CpuBackend<T>>,
        parameter: CostParameter,
        tangent: &HostVector<T>,
        column: usize,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        match parameter {
            CostParameter::Points(side) => {
                let (clouds, cost) = self.differentiable(parameter)?;
                let dimension = clouds.dimension;
                let pair = Pair::first(clouds);
                let zeros = vec![0.0; 2 * dimension];
                if !cost.second_derivative(&pair.x, &pair.y, &zeros, &mut zeros.clone()) {
                    return Err(Error::MissingCapability("second derivative of the cost"));
                }
                let sums = self.sum_pairs(side, plan, column, dimension, |atom, pairs, out| {
                    let mut pair = Pair::first(clouds);
                    let (mut direction, mut bent) = (vec![0.0; 2 * dimension], vec![0.0; 2 * dimension]);
                    for (axis, slot) in direction[half(side, dimension)].iter_mut().enumerate() {
                        *slot = coordinate(tangent, axis, atom);
                    }
                    for (other, mass, _) in pairs {
                        pair.set(clouds, side, atom, other);
                        cost.second_derivative(&pair.x, &pair.y, &direction, &mut bent);
                        add(out, mass, &bent[half(side, dimension)]);
                    }
                });
                write_coordinates(&sums, dimension, out);
            }
            // The cost is linear in its own entries.
            CostParameter::Matrix if R::STORED => out.values_mut().fill(T::default()),
            _ => return Err(Error::MissingCapability("derivative of the cost in this parameter")),
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
        pair.set(clouds, Side::Source, 0, 0);
        pair
    }

    /// The points of an atom of `side` and another one of the other side.
    fn set<T: CpuScalar>(&mut self, clouds: &Clouds<T>, side: Side, atom: usize, other: usize) {
        let (i, j) = match side {
            Side::Source => (atom, other),
            Side::Target => (other, atom),
        };
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
    cost: f64,
}

impl<'a, T: CpuScalar> Factor<'a, T> {
    fn new(weight: PairWeight<'a, CpuBackend<T>>, column: usize) -> Self {
        Self {
            constant: weight.constant,
            source: weight.source.map(|vector| column_of(vector, column)),
            target: weight.target.map(|vector| column_of(vector, column)),
            cost: weight.cost,
        }
    }

    /// w of an atom of `side` and another one of the other side, at cost `price`.
    fn at(&self, side: Side, atom: usize, other: usize, price: f64) -> f64 {
        let (i, j) = match side {
            Side::Source => (atom, other),
            Side::Target => (other, atom),
        };
        let at = |values: Option<&[T]>, index: usize| values.map_or(0.0, |values| values[index].to_f64());
        self.constant + at(self.source, i) + at(self.target, j) + self.cost * price
    }
}

/// Where the coordinates of a side stand in 2d numbers for x and then y.
fn half(side: Side, dimension: usize) -> Range<usize> {
    match side {
        Side::Source => 0..dimension,
        Side::Target => dimension..2 * dimension,
    }
}

/// Coordinate `axis` of a point in a vector of n x d.
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
