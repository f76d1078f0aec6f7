//! The arcs that may carry mass, and the problem restricted to them.

use std::ops::Range;

use ot_core::{PricedArc, RecordedRegularizer, Side, regularizer::c_transform_of_row};

use super::{
    super::{
        laplacian::{Curvature, Entries, PlanLaplacian},
        sides::Sides,
    },
    row::{Partners, second_slope},
    steps::Trust,
};
use crate::exact::sum::CompensatedSum;

/// What is not of the arcs: weights and penalties, the regularizer, the epsilon.
#[derive(Copy, Clone, Debug)]
pub(super) struct Terms<'a> {
    pub(super) sides: &'a Sides,
    pub(super) regularizer: &'a RecordedRegularizer,
    pub(super) epsilon: f64,
}

impl Terms<'_> {
    /// A pair carries mass where its reduced cost C_ij - f_i - g_j is below this.
    pub(super) fn level(self) -> f64 {
        -self.epsilon * self.regularizer.slope_at_zero()
    }

    /// b_j d(g_j).
    pub(super) fn asked(self, g: &[f64], j: usize) -> f64 {
        match self.sides.weights[1][j] {
            weight if weight > 0.0 => weight * self.sides.density(Side::Target, g[j], self.epsilon),
            _ => 0.0,
        }
    }
}

/// A potential g of the target with f, the c-transform of g: rows meet what their penalty asks for.
#[derive(Clone, Debug)]
pub(super) struct Point {
    pub(super) f: Vec<f64>,
    pub(super) g: Vec<f64>,
    /// c = P^T 1.
    pub(super) marginal: Vec<f64>,
    /// The dual value, as a function of g alone.
    pub(super) dual: f64,
    /// What rounding may make of the dual.
    pub(super) dual_rounding: f64,
    /// |c - b d(g)|_1 over the mean mass.
    pub(super) error: f64,
    /// g_j - C_ij of each arc.
    differences: Vec<f64>,
}

/// Arcs row by row, with their costs, and the potentials that they were listed at. Atoms without mass have none.
#[derive(Debug)]
pub(super) struct SparseArcs {
    rows: Vec<usize>,
    columns: Vec<u32>,
    costs: Vec<f64>,
    /// b of the target of each arc.
    weights: Vec<f64>,
    f: Vec<f64>,
    g: Vec<f64>,
    /// All pairs whose reduced cost at these potentials is at most this are listed, but for those that an earlier list lacked.
    base: f64,
}

impl SparseArcs {
    /// Arcs in the order of their rows.
    pub(super) fn new(listed: &[PricedArc], sides: &Sides, f: Vec<f64>, g: Vec<f64>, base: f64) -> Self {
        let [a, b] = &sides.weights;
        let mut arcs = Self::empty(f.len(), listed.len(), f, g, base);
        let mut listed = listed.iter().peekable();
        for (i, a) in a.iter().enumerate() {
            while let Some(arc) = listed.next_if(|arc| arc.source as usize == i) {
                let j = arc.target as usize;
                if *a > 0.0 && b[j] > 0.0 {
                    arcs.push(arc.target, arc.reduced_cost + arcs.f[i] + arcs.g[j], b[j]);
                }
            }
            arcs.rows.push(arcs.columns.len());
        }
        arcs
    }

    fn empty(rows: usize, most: usize, f: Vec<f64>, g: Vec<f64>, base: f64) -> Self {
        let mut starts = Vec::with_capacity(rows + 1);
        starts.push(0);
        let [costs, weights] = [(); 2].map(|()| Vec::with_capacity(most));
        Self { rows: starts, columns: Vec::with_capacity(most), costs, weights, f, g, base }
    }

    fn push(&mut self, column: u32, cost: f64, weight: f64) {
        self.columns.push(column);
        self.costs.push(cost);
        self.weights.push(weight);
    }

    /// Those within `margin` of carrying mass at a point, or of carrying any in a column that carries none, and the point.
    pub(super) fn within(&self, terms: Terms<'_>, mut point: Point, margin: f64) -> (Self, Point) {
        let base = terms.level() + margin;
        let mut g = point.g.clone();
        let is_empty = |j: &usize| point.marginal[*j] <= 0.0 && terms.sides.weights[1][*j] > 0.0;
        if (0..g.len()).any(|j| is_empty(&j)) {
            let by_column = self.by_column();
            for j in (0..g.len()).filter(is_empty) {
                g[j] = g[j].max(self.transform(terms, &point, &by_column, j));
            }
        }
        let mut arcs = Self::empty(self.f.len(), self.columns.len() / 2, point.f.clone(), g, base);
        for i in 0..self.f.len() {
            for arc in self.row(i) {
                let (column, cost) = (self.columns[arc], self.costs[arc]);
                if cost - arcs.f[i] - arcs.g[column as usize] <= base {
                    point.differences[arcs.columns.len()] = point.differences[arc];
                    arcs.push(column, cost, self.weights[arc]);
                }
            }
            arcs.rows.push(arcs.columns.len());
        }
        point.differences.truncate(arcs.columns.len());
        (arcs, point)
    }

    fn row(&self, i: usize) -> Range<usize> {
        self.rows[i]..self.rows[i + 1]
    }

    /// Is every pair here that carries mass at a point, as far as is trusted?
    pub(super) fn cover(&self, terms: Terms<'_>, point: &Point, trust: Trust) -> bool {
        let rise = |now: &[f64], then: &[f64], weights: &[f64]| {
            let of_mass = now.iter().zip(then).zip(weights).filter(|(_, weight)| **weight > 0.0);
            of_mass.map(|((now, then), _)| now - then).fold(f64::NEG_INFINITY, f64::max)
        };
        let [a, b] = &terms.sides.weights;
        rise(&point.f, &self.f, a) + rise(&point.g, &self.g, b) <= trust.margins() * (self.base - terms.level())
    }

    /// The point of a potential g, as if there were no other arcs. `near` is a guess of f.
    pub(super) fn point(&self, terms: Terms<'_>, near: &[f64], g: Vec<f64>) -> Point {
        let Terms { sides, regularizer, epsilon } = terms;
        let [a, b] = &sides.weights;
        let (mut f, mut marginal) = (near.to_vec(), vec![0.0; g.len()]);
        let (mut dual, mut size, mut missed) = (CompensatedSum::default(), 0.0, CompensatedSum::default());
        let mut gain = |term: f64| {
            dual.add(term);
            size += term.abs();
        };
        let of_arc = |(&j, cost): (&u32, &f64)| g[j as usize] - cost;
        let all: Vec<f64> = self.columns.iter().zip(&self.costs).map(of_arc).collect();
        let mut masses = Vec::new();
        for (i, &a) in a.iter().enumerate().filter(|(_, a)| **a > 0.0) {
            let (columns, weights) = (&self.columns[self.row(i)], &self.weights[self.row(i)]);
            let mut partners = Partners { regularizer, epsilon, differences: &all[self.row(i)], weights };
            if !columns.is_empty() {
                f[i] = c_transform_of_row::<f64>(sides.penalty(Side::Source), epsilon, near[i], &mut partners);
            }
            gain(a * sides.dual(Side::Source, f[i]));
            gain(-epsilon * a * partners.masses(f[i], &mut masses));
            for (&j, mass) in columns.iter().zip(&masses) {
                marginal[j as usize] += a * mass;
            }
        }
        for (j, &weight) in b.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
            gain(weight * sides.dual(Side::Target, g[j]));
            missed.add((marginal[j] - terms.asked(&g, j)).abs());
        }
        let (dual, dual_rounding) = (dual.value(), 4.0 * f64::EPSILON * size);
        Point { f, g, marginal, dual, dual_rounding, error: missed.value() / sides.mean_mass(), differences: all }
    }

    /// Where the arcs of each column are.
    pub(super) fn by_column(&self) -> ByColumn {
        let mut starts = vec![0; self.g.len() + 1];
        for &column in &self.columns {
            starts[column as usize + 1] += 1;
        }
        for column in 1..starts.len() {
            starts[column] += starts[column - 1];
        }
        let (mut next, mut arcs) = (starts.clone(), vec![(0, 0); self.columns.len()]);
        for i in 0..self.f.len() {
            for arc in self.row(i) {
                let place = &mut next[self.columns[arc] as usize];
                arcs[*place] = (i as u32, arc);
                *place += 1;
            }
        }
        ByColumn { starts, arcs }
    }

    /// The c-transform of f at one atom of the target.
    pub(super) fn transform(&self, terms: Terms<'_>, point: &Point, by_column: &ByColumn, j: usize) -> f64 {
        let Terms { sides, regularizer, epsilon } = terms;
        let arcs = &by_column.arcs[by_column.starts[j]..by_column.starts[j + 1]];
        if arcs.is_empty() {
            return point.g[j];
        }
        let differences: Vec<f64> = arcs.iter().map(|&(i, arc)| point.f[i as usize] - self.costs[arc]).collect();
        let weights: Vec<f64> = arcs.iter().map(|&(i, _)| sides.weights[0][i as usize]).collect();
        let mut partners = Partners { regularizer, epsilon, differences: &differences, weights: &weights };
        c_transform_of_row::<f64>(sides.penalty(Side::Target), epsilon, point.g[j], &mut partners)
    }

    /// epsilon / (r' / a) in the mean: by about so much potentials lie above the costs of the pairs that carry mass.
    pub(super) fn depth(&self, terms: Terms<'_>, point: &Point) -> f64 {
        let Terms { sides, regularizer, epsilon } = terms;
        let a = &sides.weights[0];
        let of_row = |i: usize| {
            let slope = |arc: usize| second_slope(regularizer, point.f[i] + point.differences[arc], epsilon);
            a[i] * self.row(i).map(|arc| self.weights[arc] * slope(arc)).sum::<f64>()
        };
        let sum: f64 = (0..a.len()).map(of_row).sum();
        epsilon * sides.mean_mass() / sum.max(f64::MIN_POSITIVE)
    }

    /// Newton's matrix at a point.
    pub(super) fn laplacian(&self, terms: Terms<'_>, point: &Point) -> PlanLaplacian {
        let Terms { sides, regularizer, epsilon } = terms;
        let [a, b] = &sides.weights;
        let mut rows = Vec::with_capacity(a.len() + 1);
        rows.push(0);
        let (mut columns, mut entries, mut len) = (vec![0; self.columns.len()], vec![0.0; self.columns.len()], 0);
        let (mut row_sums, mut column_sums) = (vec![0.0; a.len()], vec![0.0; b.len()]);
        for i in 0..a.len() {
            for arc in self.row(i) {
                // Without a branch: the next arc overwrites one that carries nothing.
                let slope = second_slope(regularizer, point.f[i] + point.differences[arc], epsilon);
                let entry = a[i] * (self.weights[arc] * slope);
                (columns[len], entries[len]) = (self.columns[arc], entry);
                len += usize::from(entry > 0.0);
                row_sums[i] += entry;
                column_sums[self.columns[arc] as usize] += entry;
            }
            rows.push(len);
        }
        columns.truncate(len);
        entries.truncate(len);
        let slopes_of = |side: Side, sums: &[f64], potentials: &[f64]| -> Vec<f64> {
            let of_atom = |((sum, weight), potential): ((&f64, &f64), &f64)| match *sum > 0.0 {
                true => sum / (sum - epsilon * weight * sides.density_slope(side, *potential, epsilon)),
                false => 1.0,
            };
            sums.iter().zip(&sides.weights[side.index()]).zip(potentials).map(of_atom).collect()
        };
        let slopes = [slopes_of(Side::Source, &row_sums, &point.f), slopes_of(Side::Target, &column_sums, &point.g)];
        // Light columns are held back like the mean.
        let mean = column_sums.iter().sum::<f64>() / b.iter().sum::<f64>();
        let held = column_sums.iter().zip(b).map(|(sum, b)| (mean * b - sum).max(0.0)).collect();
        let curvature = Curvature { row_sums, column_sums, slopes, held, has_gauge: sides.has_gauge() };
        PlanLaplacian::complete(Entries::new(rows, columns, entries), curvature)
    }
}

/// The row and the place of each arc, column by column.
#[derive(Debug)]
pub(super) struct ByColumn {
    starts: Vec<usize>,
    arcs: Vec<(u32, usize)>,
}
