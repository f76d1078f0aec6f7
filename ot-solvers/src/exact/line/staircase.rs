//! The monotone coupling, cell by cell.

/// Levels are not taken for one if what is left of an atom is more than this part of the heavier of two: atoms as light as
/// the rounding of all masses before them keep theirs.
const LEFT: f64 = 1.0 / 1024.0;

/// Visits the cells (i, j, mass) of the north-west corner path: n + m - 1 of them, one step to the right or down between
/// neighbours, with the mass that the coupling of sorted atoms puts there (Hoffman 1963). Cells may be without mass.
///
/// Cumulative masses that differ by no more than `rounding` are one level: the atom of the target gets what is left of
/// that of the source, and both are done. Remainders of atoms are subtracted, never sums of all before, so that
/// otherwise each marginal is met to rounding whatever the scale of a weight. The weights of the target are taken `scale`
/// times. What rounding leaves at the end is dropped: the last cell has the mass of the atom that was reached last.
pub(crate) fn staircase(
    source: &[f64],
    target: &[f64],
    scale: f64,
    rounding: f64,
    mut visit: impl FnMut(usize, usize, f64),
) {
    let last = |weights: &[f64]| weights.iter().rposition(|&weight| weight > 0.0).unwrap_or(0);
    let (source_last, target_last) = (last(source), last(target));
    let (mut i, mut j) = (0, 0);
    let (mut supply, mut demand) = (source[0], scale * target[0]);
    // How much higher the level of the source was where two were last taken for one.
    let mut above = 0.0;
    let mut source_moved = true;
    loop {
        let source_moves = match (i < source_last, j < target_last) {
            (true, true) => {
                let left = supply - demand;
                if (left + above).abs() <= rounding && left.abs() <= LEFT * source[i].max(scale * target[j]) {
                    visit(i, j, supply);
                    visit(i + 1, j, 0.0);
                    (above, source_moved) = (above + left, true);
                    (i, j) = (i + 1, j + 1);
                    (supply, demand) = (source[i], scale * target[j]);
                    continue;
                }
                supply <= demand
            }
            (true, false) => true,
            (false, true) => false,
            (false, false) => i + 1 < source.len(),
        };
        let ends = i == source_last && j == target_last;
        let exhausts_source = if ends { source_moved } else { source_moves };
        let mass = if exhausts_source { supply } else { demand };
        visit(i, j, mass);
        source_moved = source_moves;
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
