//! Substitution by panels, against a full table.

use crate::simd::{Level, Panel, Panels, SIDES, backward, forward};

/// A number in (0, 1) from an index, without a pattern.
fn number(index: usize) -> f64 {
    (index as f64 * 0.618_033_988_749_894_9 + 0.1).fract()
}

/// How many rows the factor of the test has.
const ROWS: usize = 11;

/// A factor as panels and as a table.
struct Sample {
    panels: Vec<Panel>,
    rows: Vec<u32>,
    entries: Vec<f64>,
    /// l, row by row.
    table: Vec<[f64; ROWS]>,
    inverses: [f64; ROWS],
}

/// Panels of all widths.
fn sample() -> Sample {
    let shapes: [(usize, usize, &[u32]); 5] =
        [(0, 1, &[3, 7]), (1, 2, &[5, 6, 9]), (3, 4, &[8, 9, 10]), (7, 3, &[10]), (10, 1, &[])];
    let (panels, rows, entries) = (Vec::new(), Vec::new(), Vec::new());
    let mut sample = Sample { panels, rows, entries, table: vec![[0.0; ROWS]; ROWS], inverses: [0.0; ROWS] };
    for (first, columns, below) in shapes {
        let start = sample.rows.len() as u32;
        sample.rows.extend(below);
        let rows = [start, sample.rows.len() as u32];
        sample.panels.push(Panel { first: first as u32, columns: columns as u32, rows });
        let own = first..first + columns;
        for column in own.clone() {
            sample.inverses[column] = 0.5 + number(column);
            sample.entries.push(sample.inverses[column]);
        }
        let pairs = own.clone().flat_map(|column| (column + 1..own.end).map(move |row| (row, column)));
        let rows = below.iter().flat_map(|&row| own.clone().map(move |column| (row as usize, column)));
        for (row, column) in pairs.chain(rows) {
            sample.table[row][column] = number(ROWS * row + column);
            sample.entries.push(sample.table[row][column]);
        }
    }
    sample
}

impl Sample {
    fn panels(&self) -> Panels<'_, f64> {
        Panels { panels: &self.panels, rows: &self.rows, entries: &self.entries }
    }

    /// L y = x with L = 1 - l, then L^T z = D^-1 y.
    fn solved(&self, mut x: [f64; ROWS]) -> [f64; ROWS] {
        for row in 0..ROWS {
            x[row] += (0..row).map(|column| self.table[row][column] * x[column]).sum::<f64>();
        }
        for row in (0..ROWS).rev() {
            let below: f64 = (row + 1..ROWS).map(|below| self.table[below][row] * x[below]).sum();
            x[row] = self.inverses[row] * x[row] + below;
        }
        x
    }
}

#[test]
fn substitutions_are_those_of_the_full_table() {
    let sample = sample();
    let side = |side: usize| -> [f64; ROWS] { std::array::from_fn(|row| number(90 + SIDES * row + side)) };
    let expected: [[f64; ROWS]; SIDES] = std::array::from_fn(|index| sample.solved(side(index)));
    let sides: [[f64; ROWS]; SIDES] = std::array::from_fn(side);
    let at = |level: Level| {
        let mut eight: [[f64; SIDES]; ROWS] = std::array::from_fn(|row| sides.map(|side| side[row]));
        forward(level, sample.panels(), &mut eight);
        backward(level, sample.panels(), &mut eight);
        let found: [[f64; ROWS]; SIDES] = std::array::from_fn(|side| eight.map(|row| row[side]));
        for (found, side) in found.iter().zip(sides) {
            let mut alone = side.map(|x| [x]);
            forward(level, sample.panels(), &mut alone);
            backward(level, sample.panels(), &mut alone);
            assert_eq!(found.map(f64::to_bits), alone.map(|[x]| x.to_bits()), "{level:?}: alone and beside others");
        }
        found
    };
    for level in Level::available() {
        let found = at(level);
        for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
            assert!((found / expected - 1.0).abs() < 1e-14, "{level:?}: {found} instead of {expected}");
        }
        if level.is_fused() {
            assert_eq!(found, at(Level::detected()), "{level:?}");
        }
    }
}
