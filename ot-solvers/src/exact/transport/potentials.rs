//! Potentials before and after a search.

use ot_core::{Error, cost::check_bound};

use super::super::{candidates::Parallel, costs::PairCosts, sum::sum_of};
use crate::unit::power_of_two;

/// Do first potentials fit?
pub(super) fn check_start(start: [&[f64]; 2], lens: [usize; 2]) -> Result<(), Error> {
    for (what, potential, expected) in [
        ("source potential of the warm start", start[0], lens[0]),
        ("target potential of the warm start", start[1], lens[1]),
    ] {
        if potential.len() != expected {
            return Err(Error::Length { what, expected, found: potential.len() });
        }
        if let Some(&value) = potential.iter().find(|value| !value.is_finite()) {
            return Err(Error::Parameter { name: what, value, expected: "finite numbers" });
        }
    }
    Ok(())
}

/// f_i = min_j C_ij, g_j = min_i (C_ij - f_i); zero where all is forbidden.
pub(super) fn minima(costs: &PairCosts<'_>) -> [Vec<f64>; 2] {
    let (n, m) = costs.shape();
    let mut buffer = vec![0.0; m];
    let (mut f, mut g) = (vec![0.0; n], vec![f64::INFINITY; m]);
    let finite = |value: f64| if value < f64::INFINITY { value } else { 0.0 };
    for (i, f) in f.iter_mut().enumerate() {
        let row = costs.row(i, &mut buffer);
        *f = finite(row.iter().fold(f64::INFINITY, |least, &cost| if cost < least { cost } else { least }));
        for (g, cost) in g.iter_mut().zip(row) {
            let reduced_cost = cost - *f;
            *g = if reduced_cost < *g { reduced_cost } else { *g };
        }
    }
    g.iter_mut().for_each(|g| *g = finite(*g));
    [f, g]
}

/// Shifts potentials to <a, f> = <b, g>, or, if a part of the mass rests, to no potential where the target rests.
///
/// # Errors
/// [`Error::CostOverflow`] for potentials beyond the range.
pub(super) fn gauged([f, g]: &mut [Vec<f64>; 2], [a, b]: [&[f64]; 2], rests: bool) -> Result<(), Error> {
    check_bound::<f64>(f.iter().chain(&*g).fold(0.0, |largest, potential| potential.abs().max(largest)))?;
    let mass = sum_of(a.iter().copied());
    let unit = power_of_two(mass);
    let dual = |weights: &[f64], potential: &[f64]| sum_of(weights.iter().zip(potential).map(|(a, f)| a / unit * f));
    let shift = match g.last() {
        Some(&of_rest) if rests => of_rest,
        _ => 0.5 * (dual(b, g) - dual(a, f)) / (mass / unit),
    };
    f.iter_mut().for_each(|f| *f += shift);
    g.iter_mut().for_each(|g| *g -= shift);
    Ok(())
}

/// [`gauged`] where all mass moves.
///
/// # Errors
/// [`Error::CostOverflow`] for potentials beyond the range.
pub(in super::super) fn gauge(potentials: &mut [Vec<f64>; 2], weights: [&[f64]; 2]) -> Result<(), Error> {
    gauged(potentials, weights, false)
}

/// The potentials of all atoms from those of the atoms with weight: the others get c-transforms. Where the search was
/// cut short, those of the source are lowered until they are feasible.
pub(super) fn completed(
    costs: &PairCosts<'_>,
    found: &[Vec<f64>; 2],
    atoms: &[Vec<u32>; 2],
    is_optimal: bool,
    parallel: Parallel<'_>,
) -> [Vec<f64>; 2] {
    let (n, m) = costs.shape();
    let mut potentials = [vec![f64::NAN; n], vec![f64::NAN; m]];
    for side in 0..2 {
        for (&atom, &value) in atoms[side].iter().zip(&found[side]) {
            potentials[side][atom as usize] = value;
        }
    }
    let [mut f, mut g] = potentials;
    if is_optimal && atoms[0].len() == n && atoms[1].len() == m {
        return [f, g];
    }
    let finite = |value: f64| if value < f64::INFINITY { value } else { 0.0 };
    // First the sources, over the targets that have a potential; then the other targets, over all sources.
    let rows = n.div_ceil(32);
    ot_core::host::for_each_chunk(parallel, n.div_ceil(rows), f.chunks_mut(rows), |task, f| {
        let mut buffer = vec![0.0; m];
        for (i, f) in (task * rows..).zip(f).filter(|(_, f)| !is_optimal || f.is_nan()) {
            let row = costs.row(i, &mut buffer);
            // Those without a potential compare as not less.
            let least = |least: f64, value: f64| if value < least { value } else { least };
            *f = finite(row.iter().zip(&g).map(|(cost, g)| cost - g).fold(f64::INFINITY, least));
        }
    });
    let missing: Vec<usize> = (0..m).filter(|&j| g[j].is_nan()).collect();
    if !missing.is_empty() {
        let mut buffer = vec![0.0; m];
        missing.iter().for_each(|&j| g[j] = f64::INFINITY);
        for (i, f) in f.iter().enumerate() {
            let row = costs.row(i, &mut buffer);
            missing.iter().for_each(|&j| g[j] = g[j].min(row[j] - f));
        }
        missing.iter().for_each(|&j| g[j] = finite(g[j]));
    }
    [f, g]
}
