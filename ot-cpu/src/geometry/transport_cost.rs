//! Sums of the cost under a plan, or under a product of two vectors: column by column, or a batch at once.
//!
//! A batch on a stored cost is a product of matrices. With entries E around the potentials of its first column, and
//! factors v and weights w of the others around them,
//!
//! ```text
//! <P_k, C> = sum_i v_ik sum_j (E_ij C_ij) w_jk                u_k^T C v_k = sum_i u_ik sum_j C_ij v_jk
//! ```
//!
//! so that one exponential serves all columns. Columns far from the first, and costs that forbid pairs, go one by one.

use ot_core::{
    Error, Host, PlanView, RecordedRegularizer, RegularizerKind, Side, TransportCost,
    host::{HostReduced, HostVector},
    power_of_two::product,
};

use super::{
    CpuScalar,
    clouds::Clouds,
    functionals::{Functionals, PlanColumn},
    operand::{self, operand_len},
    rows::{BLOCK, CostRows, TILE, read_pairs},
};

/// The largest difference of potentials to those of the first column, in units of epsilon, at which entries around them serve:
/// a part of the logarithm of the largest number, so that neither what is kept of entries nor factors come near the ends of the
/// range; and the least of it, for single precision.
const LARGEST_DRIFT: f64 = 0.4;
const LEAST_DRIFT: f64 = 60.0;

/// Columns that share a pass.
const GROUP: usize = 64;

impl<T: CpuScalar, R: CostRows<T>> TransportCost<Host<T>> for Functionals<T, R> {
    fn plan_cost(&mut self, plan: PlanView<'_, Host<T>>, out: &mut HostReduced) -> Result<(), Error> {
        if self.regularizer.is_some() {
            for (column, out) in out.values_mut().iter_mut().enumerate() {
                let plan = self.column(Side::Source, plan, column);
                *out = match self.is_in_range(&plan) {
                    true => self.plan_cost_in_place(&plan),
                    false => self.careful_plan_cost(&plan),
                };
            }
            return Ok(());
        }
        let together = self.plan_costs_together(plan, out.values_mut());
        for (column, out) in out.values_mut().iter_mut().enumerate() {
            let plan = self.column(Side::Source, plan, column);
            if together[column] && self.tells(&plan, *out) {
                continue;
            }
            if self.products_vanish(&plan) {
                *out = self.careful_plan_cost(&plan);
                continue;
            }
            let cost = self.sum_blocks(|block, buffers| {
                let mut total = 0.0;
                let (cost, tile) = (self.cost.as_ref(), &mut buffers.tile);
                plan.read_costs(cost, block.clone(), tile, |r, others, costs| {
                    let (row, weights) = (block.start + r, &plan.other_weights[others.clone()]);
                    let (f, g) = (plan.potential[row], &plan.other_potential[others]);
                    let paid = T::gibbs_cost(f, self.binding.epsilon(), g, weights, costs);
                    total += plan.weights[row].to_f64() * paid;
                });
                total
            });
            *out = if self.tells(&plan, cost) { cost } else { self.careful_plan_cost(&plan) };
        }
        Ok(())
    }

    fn rank_one_cost(&mut self, u: &HostVector<T>, v: &HostVector<T>, out: &mut HostReduced) -> Result<(), Error> {
        let together = self.rank_one_costs_together(u, v, out.values_mut());
        for (column, out) in out.values_mut().iter_mut().enumerate().filter(|(column, _)| !together[*column]) {
            let (u, v) = (u.column(column), v.column(column));
            if let Some(cost) =
                self.cost.clouds().and_then(|clouds| clouds.rank_one_cost(u, v)).filter(|c| c.is_finite())
            {
                *out = cost;
                continue;
            }
            // Of a cloud with itself, a block and the pairs after it: each of these stands for two.
            let twice = u == v && self.cost.clouds().is_some_and(Clouds::is_symmetric);
            let sum = |of_row: &(dyn Fn(&[T], &[T]) -> f64 + Sync)| {
                self.sum_blocks(|block, buffers| {
                    let mut total = 0.0;
                    if u[block.clone()].iter().all(|&u| u == T::default()) {
                        return total;
                    }
                    let (all, tile) = (0..self.cost.len(Side::Target), &mut buffers.tile);
                    let spans = if twice { [block.clone(), block.end..all.end] } else { [all, 0..0] };
                    for (span, factor) in spans.into_iter().zip([1.0, 2.0]) {
                        let rows = self.cost.as_ref();
                        read_pairs(rows, block.clone(), span, tile, |r, others, costs| {
                            let u = u[block.start + r].to_f64();
                            if u > 0.0 {
                                total += factor * u * of_row(costs, &v[others]);
                            }
                        });
                    }
                    total
                })
            };
            let cost = sum(&T::dot);
            // A forbidden pair may have no mass: zero times infinity is no number, and counts nothing.
            *out = if cost.is_finite() { cost } else { sum(&careful_dot) };
        }
        Ok(())
    }
}

/// sum_j C_j v_j over the pairs that have mass.
fn careful_dot<T: CpuScalar>(costs: &[T], v: &[T]) -> f64 {
    let pairs = costs.iter().zip(v);
    pairs.map(|(cost, v)| if *v > T::default() { cost.to_f64() * v.to_f64() } else { 0.0 }).sum()
}

impl<T: CpuScalar, R: CostRows<T>> Functionals<T, R> {
    /// May products of costs and weights be too small for the element type?
    fn products_vanish(&self, plan: &PlanColumn<'_, T>) -> bool {
        let heaviest = plan.other_weights.iter().fold(0.0, |heaviest, weight| weight.to_f64().max(heaviest));
        self.cost.bound().is_some_and(|bound| bound > 0.0 && bound * heaviest < T::TINY / T::EPSILON)
    }

    /// Does a sum of entries times costs tell <P, C>? Near the smallest numbers it may have lost terms, and entries that vanish,
    /// which stand as twice the smallest number, may count beside large costs.
    fn tells(&self, plan: &PlanColumn<'_, T>, cost: f64) -> bool {
        let mass = |weights: &[T]| weights.iter().map(|weight| weight.to_f64()).sum::<f64>();
        let tells = cost.is_finite() && cost.abs() > T::TINY / T::EPSILON;
        let [rows, others] = [mass(plan.weights), mass(plan.other_weights)];
        tells && self.hides_vanished(rows * others, cost) && self.hides_lost(rows, cost)
    }

    /// Is what masses and sums of rows lose near the smallest number, times costs and the weights of the rows, nothing beside a
    /// sum?
    fn hides_lost(&self, rows: f64, cost: f64) -> bool {
        T::TINY * self.cost.bound().unwrap_or(0.0).max(1.0) * self.cost.len(Side::Target) as f64 * rows <= cost.abs()
    }

    /// Is twice the smallest number, times what multiplies it and the largest cost, nothing beside a sum?
    fn hides_vanished(&self, factors: f64, cost: f64) -> bool {
        2.0 * T::TINY * self.cost.bound().unwrap_or(0.0) * factors <= T::EPSILON * cost.abs()
    }

    /// <P, C> of one column with forbidden pairs, which carry nothing and cost nothing, or with entries beyond the
    /// largest number. Entries are made in f64, by the masses of both atoms: densities between tiny masses are larger than any
    /// number.
    fn careful_plan_cost(&self, plan: &PlanColumn<'_, T>) -> f64 {
        let density: fn(f64) -> [f64; 2] = match plan.regularizer.map(RecordedRegularizer::kind) {
            None => |exponent| [(0.5 * exponent).exp(); 2],
            Some(RegularizerKind::SquaredL2) => |exponent| [exponent.max(0.0), 1.0],
            Some(_) => return self.plan_cost_in_place(plan),
        };
        self.sum_blocks(|block, buffers| {
            let mut total = 0.0;
            plan.read_costs(self.cost.as_ref(), block.clone(), &mut buffers.tile, |r, others, costs| {
                let row = block.start + r;
                let (f, a) = (plan.potential[row].to_f64(), plan.weights[row].to_f64());
                let partners = plan.other_potential[others.clone()].iter().zip(&plan.other_weights[others]);
                for (cost, (g, b)) in costs.iter().zip(partners).filter(|(cost, _)| cost.is_finite()) {
                    let (cost, g, b) = (cost.to_f64(), g.to_f64(), b.to_f64());
                    if a > 0.0 && b > 0.0 && cost != 0.0 {
                        // The density in two factors: it may be out of range, and so may any product but the last.
                        let [root, other] = density((f + g - cost) / plan.epsilon);
                        let paid = match (a * root) * (b * other) * cost.abs() {
                            _ if root == 0.0 => 0.0,
                            plain if plain.is_normal() => plain,
                            _ => product([a, b, root, other, cost.abs()]),
                        };
                        total += paid.copysign(cost);
                    }
                }
            });
            total
        })
    }

    /// Are the masses of the pairs of one column numbers of the element type, and their products with costs?
    fn is_in_range(&self, plan: &PlanColumn<'_, T>) -> bool {
        let largest = |values: &[T]| values.iter().fold(0.0, |largest, value| value.to_f64().abs().max(largest));
        let exponent =
            (largest(plan.potential) + largest(plan.other_potential) + self.cost.bound().unwrap_or(0.0)) / plan.epsilon;
        !self.products_vanish(plan) && exponent * (1.0 + largest(plan.other_weights)) < T::MAX
    }

    /// The same, entries being made in the element type.
    fn plan_cost_in_place(&self, plan: &PlanColumn<'_, T>) -> f64 {
        self.sum_blocks(|block, buffers| {
            let mut total = 0.0;
            plan.visit_block(self.cost.as_ref(), Side::Source, block.clone(), buffers, |r, _, costs, entries| {
                for cost in costs.iter_mut() {
                    *cost = if cost.is_finite() { *cost } else { T::default() };
                }
                total += plan.weights[block.start + r].to_f64() * T::dot(entries, costs);
            });
            total
        })
    }

    /// The costs of the plans near that of the first column. Says which columns are done.
    fn plan_costs_together(&self, plan: PlanView<'_, Host<T>>, out: &mut [f64]) -> Vec<bool> {
        let mut done = vec![false; out.len()];
        if !R::STORED || out.len() == 1 {
            return done;
        }
        let (f0, g0) = (plan.source.potential.column(0), plan.target.potential.column(0));
        let drift = |potential: &[T], centre: &[T]| {
            let differences = potential.iter().zip(centre).map(|(a, b)| (a.to_f64() - b.to_f64()).abs());
            differences.fold(0.0, |largest, difference| if difference <= largest { largest } else { difference })
        };
        let farthest = (LARGEST_DRIFT * T::MAX.ln()).max(LEAST_DRIFT) * self.binding.epsilon();
        let near = |column: &usize| {
            let (f, g) = (plan.source.potential.column(*column), plan.target.potential.column(*column));
            drift(f, f0) + drift(g, g0) <= farthest
        };
        let near: Vec<usize> = (0..out.len()).filter(near).collect();
        let around = |weights: &[T], potential: &[T], centre: &[T]| -> Vec<f64> {
            let of_atom = |((weight, p), c): ((&T, &T), &T)| {
                weight.to_f64() * ((p.to_f64() - c.to_f64()) / self.binding.epsilon()).exp()
            };
            weights.iter().zip(potential).zip(centre).map(of_atom).collect()
        };
        for group in near.chunks(GROUP) {
            let side = |side: Side, centre: &[T]| -> Vec<Vec<f64>> {
                let side = plan.side(side);
                let of_column =
                    |&column: &usize| around(side.weights.column(column), side.potential.column(column), centre);
                group.iter().map(of_column).collect()
            };
            let (left, right) = (side(Side::Source, f0), side(Side::Target, g0));
            let sums = self.sum_products(&left, &right, |i, others, costs| {
                let mut entries = [T::default(); TILE];
                let entries = &mut entries[..costs.len()];
                entries.copy_from_slice(costs);
                // Any weights will do: entries are what is wanted.
                T::gibbs_sum(f0[i], self.binding.epsilon(), &g0[others.clone()], &g0[others], entries);
                for (cost, entry) in costs.iter_mut().zip(entries) {
                    *cost = *cost * *entry;
                }
            });
            take_finite(group, &sums, out, &mut done);
            // Factors lift what vanishes too: entries, their products with costs, and the sums of rows.
            for ((&column, left), right) in group.iter().zip(&left).zip(&right) {
                let ([rows, others], cost) = ([left, right].map(|factors| factors.iter().sum::<f64>()), out[column]);
                let keeps = self.hides_vanished(rows * others, cost) && T::TINY * rows * others <= cost.abs();
                done[column] &= keeps && self.hides_lost(rows, cost) && !has_vanishing::<T>(right);
            }
        }
        done
    }

    /// u^T C v for all columns, if no pair is forbidden. Says which columns are done.
    fn rank_one_costs_together(&self, u: &HostVector<T>, v: &HostVector<T>, out: &mut [f64]) -> Vec<bool> {
        let mut done = vec![false; out.len()];
        if !R::STORED || out.len() == 1 {
            return done;
        }
        let all: Vec<usize> = (0..out.len()).collect();
        for group in all.chunks(GROUP) {
            let side = |vector: &HostVector<T>| -> Vec<Vec<f64>> {
                group.iter().map(|&k| vector.column(k).iter().map(|x| x.to_f64()).collect()).collect()
            };
            let left = side(u);
            let sums = self.sum_products(&left, &side(v), |_, _, _| ());
            take_finite(group, &sums, out, &mut done);
            for (&column, left) in group.iter().zip(&left) {
                done[column] &= self.hides_lost(left.iter().sum(), out[column]);
            }
        }
        done
    }

    /// sum_ij left_ik M_ij right_jk for each column k of a group, where `entry(i, others, costs)` turns a tile of
    /// costs into one of M.
    fn sum_products(
        &self,
        left: &[Vec<f64>],
        right: &[Vec<f64>],
        entry: impl Fn(usize, std::ops::Range<usize>, &mut [T]) + Sync,
    ) -> Vec<f64> {
        let (columns, others) = (left.len(), self.cost.len(Side::Target));
        // The right factors tile by tile, as products read them.
        let tiles: Vec<Vec<T>> = (0..others)
            .step_by(TILE)
            .map(|start| {
                let len = TILE.min(others - start);
                let mut operand = vec![T::default(); operand_len::<T>(len, columns)];
                for (k, right) in right.iter().enumerate() {
                    operand::write_column(&mut operand, (len, columns), k, |j| T::from_f64(right[start + j]));
                }
                operand
            })
            .collect();
        self.sum_blocks_of(columns, |block, buffers, totals| {
            for (tile, operand) in tiles.iter().enumerate() {
                let span = tile * TILE..others.min((tile + 1) * TILE);
                self.cost.tile(Side::Source, block.clone(), span.clone(), span.len(), &mut buffers.tile);
                let costs = &mut buffers.tile[..block.len() * span.len()];
                for (i, costs) in block.clone().zip(costs.chunks_mut(span.len())) {
                    entry(i, span.clone(), costs);
                }
                let mut sums = [0.0; BLOCK * GROUP];
                let sums = &mut sums[..block.len() * columns];
                operand::row_sums(costs, span.len(), operand, columns, sums);
                for ((sums, left), total) in sums.chunks(block.len()).zip(left).zip(totals.iter_mut()) {
                    *total += sums.iter().zip(&left[block.clone()]).map(|(sum, left)| sum * left).sum::<f64>();
                }
            }
        })
    }
}

/// Is one of some factors too small to have all of its digits in the element type?
fn has_vanishing<T: CpuScalar>(factors: &[f64]) -> bool {
    factors.iter().any(|&factor| factor > 0.0 && factor < T::TINY)
}

/// Takes over the sums that are numbers.
fn take_finite(group: &[usize], sums: &[f64], out: &mut [f64], done: &mut [bool]) {
    for (&column, &sum) in group.iter().zip(sums) {
        if sum.is_finite() {
            (out[column], done[column]) = (sum, true);
        }
    }
}
