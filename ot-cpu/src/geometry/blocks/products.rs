//! Products with the plan over the pairs that matter, and the plan between the leaves of both trees.
//!
//! Entries of a block of rows are made once, and serve both products.

use std::ops::Range;

use ot_core::{
    Error, Host, HostBackend, PlanCells, PlanOperator, PlanProduct, PlanView, Side,
    host::{HostVector, for_each_chunk},
};

use super::{
    cost::{BlockCost, LEAF},
    kept::Dropped,
    kernel::BlockKernel,
};
use crate::{
    geometry::{
        CpuScalar,
        cut::Cut,
        functionals::{LARGEST_EXPONENT, PlanColumn},
        memory::zeroed,
        plan_product::bounded,
        rows::{BLOCK, CostRows, TILE, pieces},
    },
    simd::GibbsTerms,
};

/// Entries exp((f_i + g_j - C_ij) / epsilon) of a block of rows with its partners, side by side.
pub(super) struct Entries<T> {
    pub(super) partners: Vec<Range<usize>>,
    pub(super) entries: Vec<T>,
    /// Partners of a row.
    pub(super) width: usize,
}

impl<T: CpuScalar> Entries<T> {
    pub(super) fn new() -> Self {
        Self { partners: Vec::new(), entries: Vec::new(), width: 0 }
    }

    /// Finds the partners of a leaf of rows.
    pub(super) fn find_partners(
        &mut self,
        cost: &BlockCost<T>,
        side: Side,
        plan: &PlanColumn<'_, T>,
        leaf: Range<usize>,
    ) {
        plan.partners(cost, side, leaf, &mut self.partners);
        self.width = self.partners.iter().map(ExactSizeIterator::len).sum();
        self.entries.resize(BLOCK * self.width, T::default());
    }

    /// Makes the entries of a block of the leaf, and their sums sum_j E_ij values_j. Entries beyond the largest number, which atoms
    /// without weight may have, are made again with bounded exponents.
    pub(super) fn make(
        &mut self,
        cost: &BlockCost<T>,
        side: Side,
        plan: &PlanColumn<'_, T>,
        block: Range<usize>,
        values: &[T],
        sums: &mut [f64],
    ) {
        sums.fill(0.0);
        let mut at = 0;
        for others in self.partners.iter().flat_map(|partners| pieces(partners.clone(), TILE)) {
            let terms = GibbsTerms {
                f: &plan.potential[block.clone()],
                g: &plan.other_potential[others.clone()],
                weights: &values[others.clone()],
                epsilon: plan.epsilon,
            };
            cost.entries(side, block.clone(), others.clone(), terms, self.width, &mut self.entries[at..], sums);
            at += others.len();
        }
        if sums.iter().any(|sum| !sum.is_finite()) {
            self.make_bounded(cost, side, plan, block, values, sums);
        }
    }

    /// The same, from costs.
    fn make_bounded(
        &mut self,
        cost: &BlockCost<T>,
        side: Side,
        plan: &PlanColumn<'_, T>,
        block: Range<usize>,
        values: &[T],
        sums: &mut [f64],
    ) {
        let (inverse, limit) = (T::from_f64(1.0 / plan.epsilon), T::from_f64(LARGEST_EXPONENT * T::MAX.ln()));
        sums.fill(0.0);
        let mut at = 0;
        for others in self.partners.iter().flat_map(|partners| pieces(partners.clone(), TILE)) {
            let entries = &mut self.entries[at..];
            cost.tile(side, block.clone(), others.clone(), self.width, entries);
            for (r, (i, sum)) in block.clone().zip(&mut *sums).enumerate() {
                let row = &mut entries[r * self.width..][..others.len()];
                T::gibbs(plan.potential[i], inverse, limit, &plan.other_potential[others.clone()], row);
                *sum += T::dot(row, &values[others.clone()]);
            }
            at += others.len();
        }
    }

    /// Calls `visit(others, entries)` for each range of partners, where the entry of row r with the k-th of them is
    /// `entries[r * width + k]`.
    fn for_partners(&self, mut visit: impl FnMut(Range<usize>, &[T])) {
        let mut at = 0;
        for others in &self.partners {
            visit(others.clone(), &self.entries[at..]);
            at += others.len();
        }
    }
}

impl<T: CpuScalar> BlockKernel<T> {
    /// One pass over the pairs that are kept: rows are those of the other side. Inexact products leave out what single precision does
    /// not keep.
    fn product(
        &self,
        side: Side,
        plan: PlanView<'_, Host<T>>,
        diagonal: &HostVector<T>,
        values: &HostVector<T>,
        is_inexact: bool,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        let (rows, functionals) = (side.opposite(), &self.functionals);
        let cost = functionals.cost.as_ref();
        let (plan, diagonal, values) =
            (cost.placed_plan(plan)?, cost.placed(rows, diagonal)?, cost.placed(side, values)?);
        let (atoms, others) = (cost.len(rows), cost.len(side));
        let cut = Cut::of_rows(atoms, others, LEAF, 1);
        let mut sums: Vec<f64> = zeroed(cut.tasks() * others, "sums of products with a plan")?;
        let mut placed = HostVector::alloc(others, functionals.binding.columns())?;
        for column in 0..functionals.binding.columns() {
            let of_column = match is_inexact && functionals.binding.columns() == 1 {
                true => {
                    let dropped = Dropped::of(functionals, rows, plan.view());
                    functionals.column_without(rows, plan.view(), column, dropped.by_boxes)
                }
                false => functionals.column(rows, plan.view(), column),
            };
            let (diagonal, values) = (diagonal.column(column), values.column(column));
            let weighted: Vec<T> = of_column.other_weights.iter().zip(values).map(|(&b, &v)| b * v).collect();
            sums.fill(0.0);
            for_each_chunk(
                |tasks, job| functionals.backend.parallel(tasks, job),
                cut.tasks(),
                sums.chunks_mut(others),
                |index, sums| {
                    let (mut entries, start) = (Entries::new(), index * cut.task_atoms());
                    for leaf in pieces(start..atoms.min(start + cut.task_atoms()), LEAF) {
                        entries.find_partners(cost, rows, &of_column, leaf.clone());
                        for block in pieces(leaf, BLOCK) {
                            let (mut products, mut factors) = ([0.0; BLOCK], [T::default(); BLOCK]);
                            let products = &mut products[..block.len()];
                            entries.make(cost, rows, &of_column, block.clone(), &weighted, products);
                            for ((factor, product), k) in factors.iter_mut().zip(&*products).zip(block.clone()) {
                                let weight = of_column.weights[k].to_f64();
                                *factor = bounded(weight * (diagonal[k].to_f64() * (weight * product)));
                            }
                            entries.for_partners(|others, rows| {
                                T::accumulate(&factors[..block.len()], rows, entries.width, &mut sums[others]);
                            });
                        }
                    }
                },
            );
            for (j, out) in placed.column_mut(column).iter_mut().enumerate() {
                let total: f64 = sums[j..].iter().step_by(others).sum();
                *out = bounded(of_column.other_weights[j].to_f64() * total);
            }
        }
        cost.write_back(side, &placed, out);
        Ok(())
    }
}

impl<T: CpuScalar> PlanProduct<Host<T>> for BlockKernel<T> {
    fn normal_product(
        &mut self,
        side: Side,
        plan: PlanView<'_, Host<T>>,
        diagonal: &HostVector<T>,
        values: &HostVector<T>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        self.product(side, plan, diagonal, values, false, out)
    }

    /// By kept entries of single precision; where they are too many, by those anew that matter as much.
    fn inexact_normal_product(
        &mut self,
        side: Side,
        plan: PlanView<'_, Host<T>>,
        diagonal: &HostVector<T>,
        values: &HostVector<T>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        self.keep(side.opposite(), plan)?;
        let kept = self.kept.as_ref().map(|kept| kept.normal_product(&self.functionals, diagonal, values));
        match kept.transpose()?.flatten() {
            Some(product) => out.clone_from(&product),
            None => self.product(side, plan, diagonal, values, true, out)?,
        }
        Ok(())
    }

    /// Of entropy h*'' is h*'.
    fn curvature_product(
        &mut self,
        side: Side,
        plan: PlanView<'_, Host<T>>,
        values: &HostVector<T>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        self.apply(side, plan, values, out)
    }

    fn has_cells(&self) -> bool {
        true
    }

    /// Cells are the leaves of the trees.
    fn cells(&mut self, plan: PlanView<'_, Host<T>>, column: usize) -> Result<PlanCells, Error> {
        self.keep(Side::Source, plan)?;
        let functionals = &self.functionals;
        let cost = functionals.cost.as_ref();
        let of_atoms = Side::BOTH.map(|side| {
            let mut of_atoms = vec![0; cost.len(side)];
            for (place, &atom) in cost.order(side).iter().enumerate() {
                of_atoms[atom as usize] = (place / LEAF) as u32;
            }
            of_atoms
        });
        if let Some(masses) = self.kept.as_ref().and_then(|kept| kept.masses(functionals)) {
            return Ok(PlanCells { of_atoms, masses });
        }
        let plan = cost.placed_plan(plan)?;
        let of_column = functionals.column_without(
            Side::Source,
            plan.view(),
            column,
            Dropped::of(functionals, Side::Source, plan.view()).by_boxes,
        );
        let (atoms, others) = (cost.len(Side::Source), cost.len(Side::Target));
        let cut = Cut::of_rows(atoms, others, LEAF, 1);
        let mut of_tasks = vec![Vec::new(); cut.tasks()];
        for_each_chunk(
            |tasks, job| functionals.backend.parallel(tasks, job),
            cut.tasks(),
            of_tasks.iter_mut(),
            |index, masses| {
                let (mut entries, start) = (Entries::new(), index * cut.task_atoms());
                for leaf in pieces(start..atoms.min(start + cut.task_atoms()), LEAF) {
                    entries.find_partners(cost, Side::Source, &of_column, leaf.clone());
                    let (cell, first) = ((leaf.start / LEAF) as u32, masses.len());
                    let partners = entries.partners.iter().flat_map(|range| pieces(range.clone(), LEAF));
                    masses.extend(partners.map(|range| (cell, (range.start / LEAF) as u32, 0.0)));
                    for block in pieces(leaf, BLOCK) {
                        entries.make(
                            cost,
                            Side::Source,
                            &of_column,
                            block.clone(),
                            of_column.other_weights,
                            &mut [0.0; BLOCK][..block.len()],
                        );
                        let mut of_leaf = masses[first..].iter_mut();
                        entries.for_partners(|others, rows| {
                            let begin = others.start;
                            for (others, (_, _, mass)) in pieces(others, LEAF).zip(&mut of_leaf) {
                                for (r, i) in block.clone().enumerate() {
                                    let row = &rows[r * entries.width + others.start - begin..][..others.len()];
                                    let sum = T::dot(row, &of_column.other_weights[others.clone()]);
                                    *mass += of_column.weights[i].to_f64() * sum;
                                }
                            }
                        });
                    }
                }
            },
        );
        Ok(PlanCells { of_atoms, masses: of_tasks.into_iter().flatten().collect() })
    }
}
