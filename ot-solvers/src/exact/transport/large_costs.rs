//! Costs so large that the optimal plan does not pay them.
//!
//! A large number often stands for a pair that is not wanted. Potentials become as large along the arcs of a tree that cross
//! such pairs, and lose the digits of all other costs. Costs clipped above a level are a relaxation: a plan that is optimal for
//! them and pays none that was clipped is optimal for the costs themselves, and so are its potentials. Where potentials are
//! far larger than the costs paid, the level is put a little above these, and higher as long as the plan pays a clipped cost.

use ot_core::Error;

use super::{
    super::{column_generation::Found, costs::PairCosts, network_simplex::Ending},
    potentials::minima,
};

/// Potentials up to so many times the largest cost paid leave it enough digits: 2^20, about six of sixteen are lost.
const LARGE: f64 = (1 << 20) as f64;

/// Have potentials become so large that they have taken the digits of the costs paid?
pub(in super::super) fn take_digits<'a>(
    potentials: impl IntoIterator<Item = &'a f64>,
    paid: impl IntoIterator<Item = &'a f64>,
) -> bool {
    largest_size(potentials) > LARGE * largest_size(paid)
}

/// The level over the largest cost paid, and how much higher the next one is.
const HEADROOM: f64 = 64.0;

/// What was found, or, where large costs that are not paid have taken the digits of the others, what `search` finds from first
/// potentials without them.
///
/// # Errors
/// Those of [`Search::run`](super::super::column_generation::Search::run).
pub(super) fn without_large_costs<'a>(
    found: Found,
    mut costs: PairCosts<'a>,
    mut search: impl FnMut(&PairCosts<'a>, [&[f64]; 2]) -> Result<Found, Error>,
) -> Result<Found, Error> {
    let largest = largest_size(found.potentials.iter().flatten());
    let paid = paid_by(&found, &costs);
    if found.ending != Ending::Optimal || !take_digits(found.potentials.iter().flatten(), &paid) {
        return Ok(found);
    }
    let [f, g] = minima(&costs);
    // Rows pay their minima at least.
    let least = largest_size(paid.iter().chain(&f));
    if least == 0.0 {
        // No cost is negative and none is paid, which potentials of zero prove.
        return Ok(Found { potentials: found.potentials.map(|potentials| vec![0.0; potentials.len()]), ..found });
    }
    let mut level = HEADROOM * least;
    let (mut rounds, mut pivots, mut arcs_priced) = (found.rounds, found.pivots, found.arcs_priced);
    while level < largest / HEADROOM {
        costs = costs.clipped_above(level);
        let again = search(&costs, [&f, &g])?;
        (rounds, pivots, arcs_priced) = (rounds + again.rounds, pivots + again.pivots, arcs_priced + again.arcs_priced);
        if again.ending != Ending::Optimal {
            break;
        }
        if paid_by(&again, &costs).iter().all(|cost| *cost < level) {
            return Ok(Found { rounds, pivots, arcs_priced, ..again });
        }
        level *= HEADROOM;
    }
    Ok(Found { rounds, pivots, arcs_priced, ..found })
}

/// The costs of the pairs that have mass.
fn paid_by(found: &Found, costs: &PairCosts<'_>) -> Vec<f64> {
    let moving = found.flows.iter().filter(|(.., units)| *units > 0);
    moving.map(|&(source, target, _)| costs.pair(source as usize, target as usize)).collect()
}

/// The largest absolute value.
fn largest_size<'a>(values: impl IntoIterator<Item = &'a f64>) -> f64 {
    values.into_iter().fold(0.0, |largest, value| largest.max(value.abs()))
}
