//! The plan between cells of neighbouring atoms as the coarse half of a preconditioner.
//!
//! Products with the plan are averages over some root of epsilon: they damp what varies over shorter lengths at once, and what
//! varies over longer ones hardly. With R the sums over the cells of the target, and A Newton's matrix of the plan between cells,
//!
//! ```text
//! M^-1 = D^-1 + R^T A^-1 R          D = diag(c (1 / u + lambda))
//! ```
//!
//! damps both, so that conjugate gradients take a few steps whatever the number of atoms (two levels, as in additive Schwarz
//! methods: Nicolaides 1987; cells as in aggregation: Vaněk, Mandel, Brezina 1996). A is met by an approximate factor.

use ot_core::PlanCells;

use super::{
    elimination::{Elimination, Fidelity},
    laplacian::{Curvature, Entries, PlanLaplacian},
};

/// The part of a row or a column of cells below which the plan between two does not count.
const SHARE: f64 = 1e-3;

/// R^T A^-1 R, about.
#[derive(Debug)]
pub(super) struct CellCorrection<'a> {
    of_columns: &'a [u32],
    factor: Elimination,
    /// Cells of the source.
    rows: usize,
    buffer: Vec<f64>,
}

impl<'a> CellCorrection<'a> {
    /// Of sums r and c of rows and columns, slopes t and u of the c-transforms, and the Levenberg term.
    pub(super) fn new(
        cells: &'a PlanCells,
        sums: [&[f64]; 2],
        slopes: [&[f64]; 2],
        has_gauge: bool,
        lambda: f64,
    ) -> Self {
        let [mut rows, mut columns] = [0, 1].map(|side| of_cells(&cells.of_atoms[side], sums[side], slopes[side]));
        let count = rows.sums.len();
        let counts = |&&(row, column, mass): &&(u32, u32, f64)| {
            mass > SHARE * rows.sums[row as usize].min(columns.sums[column as usize])
        };
        let kept: Vec<(u32, u32, f64)> = cells.masses.iter().filter(counts).copied().collect();
        let mut starts = vec![0; count + 1];
        let mut of_kept = [vec![0.0; count], vec![0.0; columns.sums.len()]];
        for &(row, column, mass) in &kept {
            starts[row as usize + 1] += 1;
            of_kept[0][row as usize] += mass;
            of_kept[1][column as usize] += mass;
        }
        for row in 0..count {
            starts[row + 1] += starts[row];
        }
        // What is left out holds nothing; only cells that nothing is kept of stand as they are.
        for (cells, kept) in [&mut rows, &mut columns].into_iter().zip(of_kept) {
            let filled = cells.sums.iter_mut().zip(kept).filter(|(_, kept)| *kept > 0.0);
            filled.for_each(|(sum, kept)| *sum = kept);
        }
        let (to, masses): (Vec<u32>, Vec<f64>) = kept.into_iter().map(|(_, column, mass)| (column, mass)).unzip();
        let curvature = Curvature {
            row_sums: rows.sums,
            held: vec![0.0; columns.sums.len()],
            column_sums: columns.sums,
            slopes: [rows.slopes, columns.slopes],
            has_gauge,
        };
        let (edges, ground) = PlanLaplacian::new(Entries::new(starts, to, masses), curvature).graph(lambda);
        let buffer = vec![0.0; ground.len()];
        Self {
            of_columns: &cells.of_atoms[1],
            factor: Elimination::of(&edges, ground, Fidelity::FINE),
            rows: count,
            buffer,
        }
    }

    /// out <- out + R^T A^-1 R residual.
    pub(super) fn add(&mut self, residual: &[f64], out: &mut [f64]) {
        self.buffer.fill(0.0);
        for (&cell, residual) in self.of_columns.iter().zip(residual) {
            self.buffer[self.rows + cell as usize] += residual;
        }
        self.factor.solve(&mut self.buffer);
        for (&cell, out) in self.of_columns.iter().zip(out) {
            *out += self.buffer[self.rows + cell as usize];
        }
    }
}

/// What cells have of their atoms: sums, and slopes whose reciprocals are the means, so that what ties atoms to the ground adds
/// up.
struct OfCells {
    sums: Vec<f64>,
    slopes: Vec<f64>,
}

fn of_cells(of_atoms: &[u32], sums: &[f64], slopes: &[f64]) -> OfCells {
    let count = of_atoms.iter().max().map_or(0, |&last| last as usize + 1);
    let (mut total, mut tied) = (vec![0.0; count], vec![0.0; count]);
    for ((&cell, sum), slope) in of_atoms.iter().zip(sums).zip(slopes) {
        total[cell as usize] += sum;
        tied[cell as usize] += sum / slope;
    }
    let slopes = total.iter().zip(tied).map(|(total, tied)| if tied > 0.0 { total / tied } else { 1.0 }).collect();
    OfCells { sums: total, slopes }
}
