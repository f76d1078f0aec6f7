//! The monotone coupling, cell by cell.

/// Visits the cells (i, j, mass) of the north-west corner path: n + m - 1 of them, one step to the right or down between
/// neighbours, with the mass that the coupling of sorted atoms puts there (Hoffman 1963). Cells may be without mass.
///
/// Remainders of atoms are subtracted, never sums of all before, so that each marginal is met to rounding whatever the
/// scale of a weight. The weights of the target are taken `scale` times. What the masses differ by stays with the last
/// atoms of mass.
pub(crate) fn staircase(source: &[f64], target: &[f64], scale: f64, mut visit: impl FnMut(usize, usize, f64)) {
    let last = |weights: &[f64]| weights.iter().rposition(|&weight| weight > 0.0).unwrap_or(0);
    let (source_last, target_last) = (last(source), last(target));
    let (mut i, mut j) = (0, 0);
    let (mut supply, mut demand) = (source[0], scale * target[0]);
    loop {
        let source_moves = match (i < source_last, j < target_last) {
            (true, true) => supply <= demand,
            (true, false) => true,
            (false, true) => false,
            (false, false) => i + 1 < source.len(),
        };
        let ends = i == source_last && j == target_last;
        let mass = match (ends, source_moves) {
            (true, _) => supply.max(demand),
            (false, true) => supply,
            (false, false) => demand,
        };
        visit(i, j, mass);
        if source_moves {
            demand = if ends { 0.0 } else { (demand - mass).max(0.0) };
            i += 1;
            supply = source[i];
        } else if j + 1 < target.len() {
            supply = if ends { 0.0 } else { (supply - mass).max(0.0) };
            j += 1;
            demand = scale * target[j];
        } else {
            return;
        }
    }
}
