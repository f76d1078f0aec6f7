//! Derivatives of the cost in the points of a side, in its own entries, in the parameters of its formula or in its scale,
//! under the plan.
//!
//! Gradients of the cost are evaluated pair by pair in f64, for the pairs that carry mass.

use std::ops::Range;

use ot_core::{
    CostDerivative, CostParameter, CostTangent, Error, Host, HostBackend, PairWeight, PlanView, Side, WeightedPlan,
    cost::{CostParameters, GroundCost},
    host::{HostVector, for_each_chunk},
};

use super::{
    CpuScalar,
    clouds::Clouds,
    functionals::{Buffers, Functionals},
    rows::{BLOCK, CostRows, TILE, pieces, task_atoms},
};
use crate::simd::VectorMath;

impl<T: CpuScalar, R: CostRows<T>> Functionals<T, R> {
    /// Calls `visit(i, pairs, out_i)` for every atom i of `side`, where `out_i` are `width` numbers, zero at first, and
    /// pairs are (j, P_ij w_ij, C_ij) of one tile with P_ij > 0. Returns the numbers of all atoms, one after the other.
    fn sum_pairs(
        &self,
        side: Side,
        pairs: WeightedPlan<'_, Host<T>>,
        column: usize,
        width: usize,
        visit: impl Fn(usize, &mut dyn Iterator<Item = (usize, f64, f64)>, &mut [f64]) + Sync,
    ) -> Vec<f64> {
        let WeightedPlan { plan, weight } = pairs;
        let plan = self.column(side, plan, column);
        let factor = Factor::new(weight, column, self.binding.columns());
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
        pairs: WeightedPlan<'_, Host<T>>,
        column: usize,
        clouds: &Clouds<T>,
        slopes: impl Fn((usize, usize), &Pair, &mut [f64]) + Sync,
        out: &mut [T],
    ) {
        let dimension = clouds.dimension;
        let sums = self.sum_pairs(side, pairs, column, dimension, |atom, pairs, out| {
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

    /// out = sum_ij P_ij w_ij slopes_ij, where `slopes((i, j), pair, out)` writes a number for each parameter of the formula.
    fn sum_over_formula(
        &self,
        pairs: WeightedPlan<'_, Host<T>>,
        column: usize,
        clouds: &Clouds<T>,
        slopes: impl Fn((usize, usize), &Pair, &mut [f64]) + Sync,
        out: &mut [T],
    ) {
        let count = out.len();
        let sums = self.sum_pairs(Side::Source, pairs, column, count, |i, pairs, out| {
            let mut pair = Pair::first(clouds);
            let mut slope = vec![0.0; count];
            for (j, mass, _) in pairs {
                pair.set(clouds, i, j);
                slopes((i, j), &pair, &mut slope);
                add(out, mass, &slope);
            }
        });
        for (index, out) in out.iter_mut().enumerate() {
            *out = T::from_f64(sums.iter().skip(index).step_by(count).sum());
        }
    }

    /// Calls `visit(atom, others, masses, out_atom)` for every atom of `side` and the atoms of one tile of the other side, where masses are
    /// P_ij w_ij and `out_atom` are the `width` numbers of the atom in `out`.
    fn for_masses<N: Send>(
        &self,
        side: Side,
        WeightedPlan { plan, weight }: WeightedPlan<'_, Host<T>>,
        column: usize,
        (out, width): (&mut [N], usize),
        visit: impl Fn(usize, Range<usize>, &[f64], &mut [N]) + Sync,
    ) {
        let (plan, cost) = (self.column(side, plan, column), self.cost.as_ref());
        let factor = Factor::new(weight, column, self.binding.columns());
        let (atoms, others) = (cost.len(side), cost.len(side.opposite()));
        let task = task_atoms(atoms, others);
        for_each_chunk(
            |tasks, job| self.backend.parallel(tasks, job),
            atoms.div_ceil(task),
            out.chunks_mut(task * width),
            |index, out| {
                let (mut buffers, mut masses, start) = (Buffers::new(), [0.0; TILE], index * task);
                for block in pieces(start..atoms.min(start + task), BLOCK) {
                    plan.visit_block(cost, side, block.clone(), &mut buffers, |r, others, costs, entries| {
                        let (atom, masses) = (block.start + r, &mut masses[..entries.len()]);
                        let weight = plan.weights[atom].to_f64();
                        factor.of_row(side, atom, others.clone(), costs, masses);
                        for (mass, entry) in masses.iter_mut().zip(&*entries) {
                            let entry = weight * entry.to_f64();
                            *mass = if entry > 0.0 { entry * *mass } else { 0.0 };
                        }
                        visit(atom, others, masses, &mut out[(atom - start) * width..][..width]);
                    });
                }
            },
        );
    }

    /// out = P_ij w_ij, row after row.
    fn weighted_entries(&self, pairs: WeightedPlan<'_, Host<T>>, column: usize, out: &mut [T]) {
        let width = self.cost.len(Side::Target);
        self.for_masses(Side::Source, pairs, column, (out, width), |_, others, masses, out| {
            for (out, mass) in out[others].iter_mut().zip(masses) {
                *out = T::from_f64(*mass);
            }
        });
    }

    /// out = sum_ij P_ij w_ij 2 scale (x_i - y_j), from the side of x, of the shape of its points.
    fn sum_over_squares(
        &self,
        side: Side,
        pairs: WeightedPlan<'_, Host<T>>,
        column: usize,
        clouds: &Clouds<T>,
        scale: f64,
        out: &mut [T],
    ) {
        let (own, other) = (clouds.side(side), clouds.side(side.opposite()));
        let mut sums = vec![0.0; out.len()];
        self.for_masses(side, pairs, column, (&mut sums, clouds.dimension), |atom, others, masses, sums| {
            let mut differences = [0.0; TILE];
            let differences = &mut differences[..masses.len()];
            for (axis, (sum, x)) in sums.iter_mut().zip(own.points(atom..atom + 1)).enumerate() {
                let x = x.to_f64();
                for (difference, y) in differences.iter_mut().zip(other.axis(axis, others.clone())) {
                    *difference = x - y.to_f64();
                }
                *sum += 2.0 * scale * f64::dot(masses, differences);
            }
        });
        write_coordinates(&sums, clouds.dimension, out);
    }

    /// For the atoms i of `side`: sum_j P_ij w_ij dC_ij.
    fn changes(
        &self,
        side: Side,
        pairs: WeightedPlan<'_, Host<T>>,
        column: usize,
        tangent: CostTangent<'_, Host<T>>,
    ) -> Result<Vec<f64>, Error> {
        let (parameter, values) = (tangent.parameter, tangent_column(self.shape(tangent.parameter), tangent, column)?);
        match parameter {
            CostParameter::Points(moving) => {
                let (clouds, cost) = self.differentiable(parameter)?;
                let (dimension, points) = (clouds.dimension, self.cost.len(moving));
                Ok(self.sum_pairs(side, pairs, column, 1, |atom, pairs, out| {
                    let mut pair = Pair::first(clouds);
                    let mut gradient = vec![0.0; 2 * dimension];
                    for (other, mass, _) in pairs {
                        let (i, j) = indices(side, atom, other);
                        pair.set(clouds, i, j);
                        cost.gradient(&pair.x, &pair.y, &mut gradient);
                        let moved = if side == moving { atom } else { other };
                        let slopes = gradient[half(moving, dimension)].iter().enumerate();
                        out[0] += mass
                            * slopes.map(|(axis, slope)| slope * values[axis * points + moved].to_f64()).sum::<f64>();
                    }
                }))
            }
            CostParameter::Matrix if R::STORED => {
                let others = self.cost.len(Side::Target);
                Ok(self.sum_pairs(side, pairs, column, 1, |atom, pairs, out| {
                    for (other, mass, _) in pairs {
                        let (i, j) = indices(side, atom, other);
                        out[0] += mass * values[i * others + j].to_f64();
                    }
                }))
            }
            CostParameter::Formula => {
                let (clouds, formula) = self.formula()?;
                Ok(self.sum_pairs(side, pairs, column, 1, |atom, pairs, out| {
                    let mut pair = Pair::first(clouds);
                    let mut slopes = vec![0.0; values.len()];
                    for (other, mass, _) in pairs {
                        let (i, j) = indices(side, atom, other);
                        pair.set(clouds, i, j);
                        formula.gradient(&pair.x, &pair.y, &mut slopes);
                        let change = slopes.iter().zip(values).map(|(slope, value)| slope * value.to_f64());
                        out[0] += mass * change.sum::<f64>();
                    }
                }))
            }
            CostParameter::Scale => {
                let scale = values[0].to_f64();
                Ok(self.sum_pairs(side, pairs, column, 1, |_, pairs, out| {
                    out[0] += scale * pairs.map(|(_, mass, price)| mass * price).sum::<f64>();
                }))
            }
            _ => Err(UNKNOWN),
        }
    }

    /// [`CostDerivative::pull_back`] of one column, into the numbers of the parameter.
    fn pull_back_column(
        &self,
        pairs: WeightedPlan<'_, Host<T>>,
        parameter: CostParameter,
        column: usize,
        out: &mut [T],
    ) -> Result<(), Error> {
        match parameter {
            CostParameter::Points(side) => {
                let (clouds, cost) = self.differentiable(parameter)?;
                if let Some(scale) = clouds.scale_of_squares() {
                    self.sum_over_squares(side, pairs, column, clouds, scale, out);
                } else {
                    let slopes = |_, pair: &Pair, slopes: &mut [f64]| {
                        cost.gradient(&pair.x, &pair.y, slopes);
                    };
                    self.sum_over_points(side, pairs, column, clouds, slopes, out);
                }
            }
            CostParameter::Matrix if R::STORED => self.weighted_entries(pairs, column, out),
            CostParameter::Formula => {
                let (clouds, formula) = self.formula()?;
                let slopes = |_, pair: &Pair, out: &mut [f64]| formula.gradient(&pair.x, &pair.y, out);
                self.sum_over_formula(pairs, column, clouds, slopes, out);
            }
            CostParameter::Scale => {
                let sums = self.sum_pairs(Side::Source, pairs, column, 1, |_, pairs, out| {
                    out[0] += pairs.map(|(_, mass, price)| mass * price).sum::<f64>();
                });
                out[0] = T::from_f64(sums.iter().sum());
            }
            _ => return Err(UNKNOWN),
        }
        Ok(())
    }

    /// [`CostDerivative::curvature`] of one column, into the numbers of the parameter.
    fn curvature_column(
        &self,
        pairs: WeightedPlan<'_, Host<T>>,
        parameter: CostParameter,
        tangent: CostTangent<'_, Host<T>>,
        column: usize,
        out: &mut [T],
    ) -> Result<(), Error> {
        let values = tangent_column(self.shape(tangent.parameter), tangent, column)?;
        match (parameter, tangent.parameter) {
            (CostParameter::Points(side), CostParameter::Points(moving)) => {
                let (clouds, cost) = self.differentiable(parameter)?;
                let (dimension, points) = (clouds.dimension, self.cost.len(moving));
                let pair = Pair::first(clouds);
                let zeros = vec![0.0; 2 * dimension];
                if !cost.second_derivative(&pair.x, &pair.y, &zeros, &mut zeros.clone()) {
                    return Err(Error::MissingCapability("second derivative of the cost"));
                }
                let mut directions = vec![0.0; 2 * dimension * points];
                for (atom, direction) in directions.chunks_exact_mut(2 * dimension).enumerate() {
                    for (axis, slot) in direction[half(moving, dimension)].iter_mut().enumerate() {
                        *slot = values[axis * points + atom].to_f64();
                    }
                }
                let slopes = |(i, j), pair: &Pair, bent: &mut [f64]| {
                    let moved = if moving == Side::Source { i } else { j };
                    let direction = &directions[2 * dimension * moved..][..2 * dimension];
                    cost.second_derivative(&pair.x, &pair.y, direction, bent);
                };
                self.sum_over_points(side, pairs, column, clouds, slopes, out);
            }
            (CostParameter::Formula | CostParameter::Points(_), CostParameter::Formula | CostParameter::Points(_)) => {
                let (clouds, formula) = self.formula()?;
                let (both, count) = (2 * clouds.dimension, formula.values().len());
                let bent = |(i, j): (usize, usize), pair: &Pair| {
                    let (mut direction, mut bent) = (vec![0.0; both + count], vec![0.0; both + count]);
                    let (moved, first, points) = match tangent.parameter {
                        CostParameter::Points(moving) => {
                            let moved = if moving == Side::Source { i } else { j };
                            (moved, half(moving, clouds.dimension), self.cost.len(moving))
                        }
                        _ => (0, both..both + count, 1),
                    };
                    for (index, slot) in direction[first].iter_mut().enumerate() {
                        *slot = values[index * points + moved].to_f64();
                    }
                    formula.second_derivative(&pair.x, &pair.y, &direction, &mut bent);
                    bent
                };
                match parameter {
                    CostParameter::Points(side) => {
                        let slopes = |at, pair: &Pair, out: &mut [f64]| out.copy_from_slice(&bent(at, pair)[..both]);
                        self.sum_over_points(side, pairs, column, clouds, slopes, out);
                    }
                    _ => {
                        let slopes = |at, pair: &Pair, out: &mut [f64]| out.copy_from_slice(&bent(at, pair)[both..]);
                        self.sum_over_formula(pairs, column, clouds, slopes, out);
                    }
                }
            }
            // The scale enters linearly, and its mixed blocks are first derivatives.
            (CostParameter::Scale, CostParameter::Scale) => out[0] = T::default(),
            (CostParameter::Scale, _) => {
                let sums = self.changes(Side::Source, pairs, column, tangent)?;
                out[0] = T::from_f64(sums.iter().sum());
            }
            (_, CostParameter::Scale) => {
                self.pull_back_column(pairs, parameter, column, out)?;
                let scale = values[0];
                for value in out.iter_mut() {
                    *value = *value * scale;
                }
            }
            // The entries of a matrix enter linearly.
            _ => out.fill(T::default()),
        }
        Ok(())
    }

    /// [`CostDerivative::gauss_newton`] of one column, into the numbers of the parameter.
    fn gauss_newton_column(
        &self,
        plan: PlanView<'_, Host<T>>,
        parameter: CostParameter,
        tangent: CostTangent<'_, Host<T>>,
        column: usize,
        out: &mut [T],
    ) -> Result<(), Error> {
        let values = tangent_column(self.shape(tangent.parameter), tangent, column)?;
        let even = WeightedPlan { plan, weight: PairWeight::constant(1.0) };
        let by_cost = WeightedPlan { plan, weight: PairWeight { cost: 1.0, ..PairWeight::constant(0.0) } };
        match (parameter, tangent.parameter) {
            // dC = C along the scale.
            (CostParameter::Scale, _) => {
                let sums = self.changes(Side::Source, by_cost, column, tangent)?;
                out[0] = T::from_f64(sums.iter().sum());
            }
            (_, CostParameter::Scale) => {
                self.pull_back_column(by_cost, parameter, column, out)?;
                out.iter_mut().for_each(|out| *out = *out * values[0]);
            }
            (CostParameter::Matrix, CostParameter::Matrix) if R::STORED => {
                self.pull_back_column(even, parameter, column, out)?;
                out.iter_mut().zip(values).for_each(|(out, &value)| *out = *out * value);
            }
            (CostParameter::Formula | CostParameter::Points(_), CostParameter::Formula | CostParameter::Points(_)) => {
                let (clouds, cost) = self.differentiable(CostParameter::Points(Side::Source))?;
                let formula = match [parameter, tangent.parameter].contains(&CostParameter::Formula) {
                    true => Some(self.formula()?.1),
                    false => None,
                };
                let slopes_in = |parameter, pair: &Pair, out: &mut [f64]| match (parameter, &formula) {
                    (CostParameter::Formula, Some(formula)) => formula.gradient(&pair.x, &pair.y, out),
                    _ => {
                        cost.gradient(&pair.x, &pair.y, out);
                    }
                };
                // The change of a cost, from its slopes in the parameter of the tangent.
                let change = |(i, j): (usize, usize), slopes: &[f64]| -> f64 {
                    let (slopes, first, points) = match tangent.parameter {
                        CostParameter::Points(Side::Source) => {
                            (&slopes[..clouds.dimension], i, self.cost.len(Side::Source))
                        }
                        CostParameter::Points(Side::Target) => {
                            (&slopes[clouds.dimension..], j, self.cost.len(Side::Target))
                        }
                        _ => (slopes, 0, 1),
                    };
                    slopes.iter().enumerate().map(|(axis, slope)| slope * values[axis * points + first].to_f64()).sum()
                };
                let width = match (tangent.parameter, &formula) {
                    (CostParameter::Formula, Some(formula)) => formula.values().len(),
                    _ => 2 * clouds.dimension,
                };
                let slopes = |at, pair: &Pair, out: &mut [f64]| {
                    let mut moving = vec![0.0; width];
                    slopes_in(tangent.parameter, pair, &mut moving);
                    let change = change(at, &moving);
                    slopes_in(parameter, pair, out);
                    out.iter_mut().for_each(|slope| *slope *= change);
                };
                match parameter {
                    CostParameter::Points(side) => self.sum_over_points(side, even, column, clouds, slopes, out),
                    _ => self.sum_over_formula(even, column, clouds, slopes, out),
                }
            }
            _ => return Err(UNKNOWN),
        }
        Ok(())
    }

    /// The clouds and their cost, if it has the derivative asked for.
    fn differentiable(&self, parameter: CostParameter) -> Result<(&Clouds<T>, &dyn GroundCost), Error> {
        let clouds = self.cost.clouds().filter(|_| self.shape(parameter).is_some());
        clouds.and_then(|clouds| Some((clouds, clouds.cost.as_deref()?))).ok_or(UNKNOWN)
    }

    /// The clouds and the parameters of the cost between them.
    fn formula(&self) -> Result<(&Clouds<T>, CostParameters), Error> {
        let formula = self
            .cost
            .clouds()
            .and_then(|clouds| Some((clouds, CostParameters::of(clouds.cost.as_deref()?, clouds.dimension)?)));
        formula.ok_or(UNKNOWN)
    }
}

/// Calls `of_column` with the numbers of a parameter of this shape for each column of the batch.
pub(super) fn for_columns<T: CpuScalar>(
    shape: Option<(usize, usize)>,
    out: &mut HostVector<T>,
    mut of_column: impl FnMut(usize, &mut [T]) -> Result<(), Error>,
) -> Result<(), Error> {
    let (rows, columns) = shape.ok_or(UNKNOWN)?;
    let pieces = out.values_mut().chunks_exact_mut(rows * columns);
    pieces.enumerate().try_for_each(|(column, out)| of_column(column, out))
}

/// The numbers of a tangent, in a parameter of this shape, for one column of the batch.
pub(super) fn tangent_column<T: CpuScalar>(
    shape: Option<(usize, usize)>,
    tangent: CostTangent<'_, Host<T>>,
    column: usize,
) -> Result<&[T], Error> {
    let (rows, columns) = shape.ok_or(UNKNOWN)?;
    let (values, len) = (tangent.values.values(), rows * columns);
    Ok(&values[column.min(values.len() / len - 1) * len..][..len])
}

/// A parameter that the cost does not depend on, or not in a known way.
const UNKNOWN: Error = Error::MissingCapability("derivative of the cost in this parameter");

impl<T: CpuScalar, R: CostRows<T>> CostDerivative<Host<T>> for Functionals<T, R> {
    /// Entries of a matrix are a parameter of stored costs; points are one where the cost knows its gradient.
    fn shape(&self, parameter: CostParameter) -> Option<(usize, usize)> {
        match parameter {
            CostParameter::Points(side) => {
                let clouds = self.cost.clouds()?;
                let pair = Pair::first(clouds);
                let known = clouds.cost.as_ref()?.gradient(&pair.x, &pair.y, &mut vec![0.0; 2 * pair.x.len()]);
                known.then_some((self.cost.len(side), clouds.dimension))
            }
            CostParameter::Matrix => R::STORED.then_some((self.cost.len(Side::Target), self.cost.len(Side::Source))),
            CostParameter::Formula => self.formula().ok().map(|(_, formula)| (formula.values().len(), 1)),
            CostParameter::Scale => Some((1, 1)),
            _ => None,
        }
    }

    fn pull_back(
        &mut self,
        pairs: WeightedPlan<'_, Host<T>>,
        parameter: CostParameter,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        for_columns(self.shape(parameter), out, |column, out| self.pull_back_column(pairs, parameter, column, out))
    }

    fn push_forward(
        &mut self,
        side: Side,
        pairs: WeightedPlan<'_, Host<T>>,
        tangent: CostTangent<'_, Host<T>>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        for column in 0..self.binding.columns() {
            let sums = self.changes(side, pairs, column, tangent)?;
            for (out, sum) in out.column_mut(column).iter_mut().zip(sums) {
                *out = T::from_f64(sum);
            }
        }
        Ok(())
    }

    fn curvature(
        &mut self,
        pairs: WeightedPlan<'_, Host<T>>,
        parameter: CostParameter,
        tangent: CostTangent<'_, Host<T>>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        for_columns(self.shape(parameter), out, |column, out| {
            self.curvature_column(pairs, parameter, tangent, column, out)
        })
    }

    fn gauss_newton(
        &mut self,
        plan: PlanView<'_, Host<T>>,
        parameter: CostParameter,
        tangent: CostTangent<'_, Host<T>>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        for_columns(self.shape(parameter), out, |column, out| {
            self.gauss_newton_column(plan, parameter, tangent, column, out)
        })
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
    fn new(weight: PairWeight<'a, Host<T>>, column: usize, columns: usize) -> Self {
        let channels = weight.product.map_or(0, |(u, _)| u.shape().1 / columns);
        Self {
            constant: weight.constant,
            source: weight.source.map(|vector| vector.column(column)),
            target: weight.target.map(|vector| vector.column(column)),
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

    /// w of an atom of `side` and each of some others, whose costs are given.
    fn of_row(&self, side: Side, atom: usize, others: Range<usize>, costs: &[T], out: &mut [f64]) {
        let (own, other) = side.of([(self.source, self.target), (self.target, self.source)]);
        out.fill(self.constant + own.map_or(0.0, |values| values[atom].to_f64()));
        if let Some(other) = other {
            out.iter_mut().zip(&other[others.clone()]).for_each(|(out, value)| *out += value.to_f64());
        }
        if let Some(product) = self.product {
            let (own, other) = side.of([(product[0], product[1]), (product[1], product[0])]);
            let factors: Vec<f64> = self.channels.clone().map(|channel| coordinate(own, channel, atom)).collect();
            let (stride, _) = other.shape();
            T::wide_accumulate(&factors, &other.values()[self.channels.start * stride + others.start..], stride, out);
        }
        if self.cost != 0.0 {
            out.iter_mut().zip(costs).for_each(|(out, cost)| *out += self.cost * cost.to_f64());
        }
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
    vector.column(axis)[point].to_f64()
}

/// out += factor * values.
fn add(out: &mut [f64], factor: f64, values: &[f64]) {
    for (out, value) in out.iter_mut().zip(values) {
        *out += factor * value;
    }
}

/// Writes points, given one after the other, to the numbers of n x d.
fn write_coordinates<T: CpuScalar>(points: &[f64], dimension: usize, out: &mut [T]) {
    let atoms = points.len() / dimension;
    for (axis, out) in out.chunks_mut(atoms).enumerate() {
        for (out, point) in out.iter_mut().zip(points.chunks_exact(dimension)) {
            *out = T::from_f64(point[axis]);
        }
    }
}
