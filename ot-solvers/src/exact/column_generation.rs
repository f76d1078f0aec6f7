//! Transport along few arcs, to which those are added that the others price as worth it (Ford, Fulkerson 1958;
//! Gilmore, Gomory 1961).
//!
//! An optimal tree has n + m - 1 of the n m arcs, and almost all others never matter. The simplex runs on the arcs of
//! least reduced cost under first potentials; then all pairs are priced under its own, the worst of each source join,
//! and so on until there are none. What is optimal for the few is then optimal for all.

use std::ops::ControlFlow;

use ot_core::{Error, PricedArc, Side, cost::check_bound, host::for_each_chunk};

use super::{
    boxes::PairBoxes,
    candidates::{Candidate, Least, Parallel, candidates, candidates_by_boxes},
    costs::{CostRows, PairCosts},
    forest::leaves_first,
    masses::WholeMasses,
    network_simplex::{Allocation, ArcCost, Arcs, BlockSearch, Ending, NetworkSimplex, is_negative},
    polish::polished,
};

/// First arcs of each atom.
const FIRST_ARCS: usize = 10;

/// Fewer atoms of both sides than this, or atoms in space, which are fewer spacings apart, are sooner solved with more pivots.
const FEWEST_POLISHED: usize = 50_000;

/// Times that potentials are made better for the candidates, which are then looked for anew but for the last time.
const POLISHINGS: usize = 3;

/// Arcs of a source that join in one round.
const JOINING: usize = 6;

/// Arcs beyond so many an atom are thinned out.
const MOST_ARCS: usize = 80;

/// Attempts to find partners for what the candidates leave.
const LEFTOVER_ROUNDS: usize = 6;

const CHUNK: usize = 32;
const TASKS: usize = 32;

/// Whoever can name the pairs of negative reduced cost faster than row by row.
pub(super) trait Pricing {
    /// The pairs of negative C_ij - f_i - g_j, by source; `None` if there are more than `most`.
    ///
    /// # Errors
    /// A failure of the device.
    fn negative(&mut self, f: &[f64], minus_g: &[f64], most: usize) -> Result<Option<Vec<PricedArc>>, Error>;

    /// Pairs of small reduced cost under f and g, some of each atom, by source and then target; `None` if rows are to be
    /// looked through.
    ///
    /// # Errors
    /// A failure of the device.
    fn least(&mut self, potentials: [&[f64]; 2]) -> Result<Option<Vec<PricedArc>>, Error>;
}

/// What is asked of a search.
pub(super) struct Search<'a> {
    pub(super) costs: &'a PairCosts<'a>,
    pub(super) masses: &'a WholeMasses,
    pub(super) parallel: Parallel<'a>,
    pub(super) max_pivots: usize,
    /// The epsilon at which the first potentials are those of entropic transport, if they are.
    pub(super) epsilon: Option<f64>,
    /// Are the first potentials near those of a solution, so that the least reduced costs of all atoms are of one height?
    pub(super) is_even: bool,
}

/// What it found.
pub(super) struct Found {
    pub(super) ending: Ending,
    /// Arcs of the tree with their units.
    pub(super) flows: Vec<(u32, u32, i128)>,
    /// f and g.
    pub(super) potentials: [Vec<f64>; 2],
    pub(super) pivots: usize,
    pub(super) rounds: usize,
    /// Arcs that the simplex knew at the end.
    pub(super) candidate_arcs: usize,
    /// Pairs whose cost was evaluated, counted as often as it was.
    pub(super) arcs_priced: u64,
}

impl Search<'_> {
    /// Searches from first potentials. `watch` is told the pivots now and then.
    ///
    /// # Errors
    /// [`Error::Cost`] for a cost that is none, [`Error::CostOverflow`] for one of which sums may be beyond the range,
    /// [`Error::Infeasible`] where forbidden pairs leave mass without a way, a failure of the device that prices.
    pub(super) fn run(
        &self,
        potentials: [&[f64]; 2],
        mut pricing: Option<&mut dyn Pricing>,
        watch: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Found, Error> {
        let (n, m) = self.costs.shape();
        let pairs = n as u64 * m as u64;
        let boxes = self.costs.boxes();
        let least = match pricing.as_deref_mut() {
            Some(pricing) => pricing.least(potentials)?,
            None => None,
        };
        let (first, mut arcs_priced) = match (least, &boxes) {
            (Some(least), _) => {
                let priced = least.len() as u64;
                (self.candidates(least), priced)
            }
            (None, Some(boxes)) => candidates_by_boxes(self.costs, boxes, potentials, FIRST_ARCS, self.parallel),
            (None, None) => {
                let is_even = self.is_even || pricing.is_some();
                (candidates(self.costs, potentials, FIRST_ARCS, is_even, self.parallel)?, pairs)
            }
        };
        let (first, better) = match (&boxes, self.epsilon) {
            (Some(boxes), Some(epsilon)) if n + m >= FEWEST_POLISHED && boxes.dimension() <= 2 => {
                let (first, better, priced) = self.polish(boxes, epsilon, first, potentials);
                arcs_priced += priced;
                (first, Some(better))
            }
            _ => (first, None),
        };
        let potentials = better.as_ref().map_or(potentials, |better| better.each_ref().map(Vec::as_slice));
        let allocation = self.allocate(&first, potentials);
        check_sums(allocation.costs(), n + m)?;
        let mut simplex = NetworkSimplex::new(allocation);
        let mut arcs = Arcs::new(n, first.iter().map(|arc| (arc.source, arc.target, arc.cost)).collect());
        check_sums(arcs.iter().map(|(_, _, cost)| cost), n + m)?;
        drop(first);
        let (mut block, mut rounds, mut pivots) = (BlockSearch::default(), 0, 0);
        let ending = loop {
            rounds += 1;
            let ending = simplex.run(&mut block.among(&arcs), self.max_pivots, &mut *watch);
            if ending != Ending::Optimal {
                break ending;
            }
            if watch(simplex.pivots()).is_break() {
                break Ending::Cancelled;
            }
            let without_all = match (&boxes, pricing.as_deref_mut()) {
                _ if simplex.levels().is_some() => None,
                (Some(boxes), _) => Some(self.price_by_boxes(boxes, &simplex)),
                (None, Some(pricing)) => self.price_with(pricing, &simplex)?.map(|joining| (joining, pairs)),
                (None, None) => None,
            };
            let (joining, priced) = without_all.unwrap_or_else(|| (self.price(&simplex), pairs));
            arcs_priced += priced;
            if joining.is_empty() {
                break ending;
            }
            check_sums(joining.iter().map(|&(_, _, cost)| cost), n + m)?;
            let known = (arcs.len(), pivots);
            pivots = simplex.pivots();
            arcs = self.joined(&simplex, &arcs, joining);
            if (arcs.len(), pivots) == known {
                // Only rounding tells these arcs from optimal ones.
                break ending;
            }
        };
        let flows: Vec<_> = simplex.flows().map(|(source, target, _, units)| (source, target, units)).collect();
        let mut potentials = [simplex.potentials().0.to_vec(), simplex.potentials().1.iter().map(|g| -g).collect()];
        if let (Ending::Optimal, Some((of_source, of_target))) = (ending, simplex.levels()) {
            let moved: i128 = flows.iter().map(|(_, _, units)| units).sum();
            if moved < self.masses.units[0].iter().sum() {
                return Err(self.cut(of_source, of_target));
            }
            let price = self.price_of_level(&simplex, of_source, of_target);
            check_sums([price].into_iter(), n + m)?;
            let [f, g] = &mut potentials;
            f.iter_mut().zip(of_source).for_each(|(f, level)| *f += price * f64::from(*level));
            g.iter_mut().zip(of_target).for_each(|(g, level)| *g -= price * f64::from(*level));
        }
        Ok(Found {
            ending,
            flows,
            potentials,
            pivots: simplex.pivots(),
            rounds,
            candidate_arcs: arcs.len(),
            arcs_priced,
        })
    }

    /// Potentials for the candidates and candidates for the potentials in turn: the last of either, and the pairs priced.
    /// Potentials that leave the range are not taken.
    fn polish(
        &self,
        boxes: &PairBoxes<'_>,
        epsilon: f64,
        mut candidates: Vec<Candidate>,
        [f, g]: [&[f64]; 2],
    ) -> (Vec<Candidate>, [Vec<f64>; 2], u64) {
        let mass = self.masses.mass(self.masses.units[0].iter().sum());
        let parts = |units: &Vec<i128>| units.iter().map(|&units| self.masses.mass(units) / mass).collect::<Vec<f64>>();
        let weights = self.masses.units.each_ref().map(parts);
        let (mut potentials, mut priced) = ([f.to_vec(), g.to_vec()], 0);
        for round in 0..POLISHINGS {
            if round > 0 {
                let [f, g] = &potentials;
                let (found, looked_at) = candidates_by_boxes(self.costs, boxes, [f, g], FIRST_ARCS, self.parallel);
                candidates = found;
                priced += looked_at;
            }
            let [old, weights] = [&potentials, &weights].map(|both| both.each_ref().map(Vec::as_slice));
            let Some(better) = polished(&candidates, old, weights, epsilon, self.parallel) else {
                return (candidates, potentials, priced);
            };
            potentials = better;
        }
        let [f, g] = &potentials;
        for arc in &mut candidates {
            arc.reduced_cost = arc.cost - f[arc.source as usize] - g[arc.target as usize];
        }
        candidates.sort_by(|one, other| one.reduced_cost.total_cmp(&other.reduced_cost));
        (candidates, potentials, priced)
    }

    /// Arcs named by somebody else, by reduced cost.
    fn candidates(&self, least: Vec<PricedArc>) -> Vec<Candidate> {
        let mut candidates: Vec<Candidate> = least
            .into_iter()
            .map(|PricedArc { source, target, reduced_cost }| {
                let cost = self.costs.pair(source as usize, target as usize);
                Candidate { source, target, cost, reduced_cost }
            })
            .collect();
        candidates.sort_by(|one, other| one.reduced_cost.total_cmp(&other.reduced_cost));
        candidates
    }

    /// The cut that too little mass can cross: sources of some level at least, and all targets that they may send to,
    /// whose levels are not lower.
    fn cut(&self, of_source: &[i32], of_target: &[i32]) -> Error {
        let mut levels: Vec<i32> = of_source.to_vec();
        levels.sort_unstable();
        levels.dedup();
        let units = |side: usize, levels: &[i32], least: i32| -> i128 {
            let of_level = levels.iter().zip(&self.masses.units[side]).filter(|(level, _)| **level >= least);
            of_level.map(|(_, units)| units).sum()
        };
        let excess = |least: &i32| units(0, of_source, *least) - units(1, of_target, *least);
        let least = levels.into_iter().max_by_key(excess).unwrap_or(0);
        Error::Infeasible {
            sources: (0..).zip(of_source).filter(|(_, level)| **level >= least).map(|(source, _)| source).collect(),
            mass: self.masses.mass(units(0, of_source, least)),
            reachable: self.masses.mass(units(1, of_target, least)),
        }
    }

    /// The least price of a level that makes every reduced cost of a positive level non-negative.
    fn price_of_level(&self, simplex: &NetworkSimplex, of_source: &[i32], of_target: &[i32]) -> f64 {
        let (f, minus_g) = simplex.potentials();
        let mut buffer = vec![0.0; minus_g.len()];
        let mut price = 0.0_f64;
        for (i, (f, own)) in f.iter().zip(of_source).enumerate() {
            let row = self.costs.row(i, &mut buffer);
            for ((cost, minus_g), other) in row.iter().zip(minus_g).zip(of_target) {
                if other > own && *cost < f64::INFINITY {
                    price = price.max((f - minus_g - cost) / f64::from(other - own));
                }
            }
        }
        price
    }

    /// Masses allocated along the forest of the cheapest candidates, then along the others, the cheapest first, and what is
    /// left along the cheapest pairs of those that have some left.
    fn allocate(&self, first: &[Candidate], [f, g]: [&[f64]; 2]) -> Allocation {
        let (n, m) = self.costs.shape();
        let mut allocation = Allocation::new([&self.masses.units[0], &self.masses.units[1]]);
        let order = leaves_first(first, n, m);
        order.iter().chain(first).for_each(|arc| allocation.allocate(arc.source, arc.target, arc.cost));
        for _ in 0..LEFTOVER_ROUNDS {
            let sources: Vec<usize> = (0..n).filter(|&i| allocation.has_source(i)).collect();
            let targets: Vec<usize> = (0..m).filter(|&j| allocation.has_target(j)).collect();
            if sources.is_empty() || targets.is_empty() {
                return allocation;
            }
            let rows = sources.len().div_ceil(TASKS);
            let mut found: Vec<Vec<Candidate>> = vec![Vec::new(); sources.len().div_ceil(rows)];
            for_each_chunk(self.parallel, found.len(), sources.chunks(rows).zip(&mut found), |_, (sources, found)| {
                let (mut buffer, mut least) = (vec![0.0; m], Least::new(4));
                for &i in sources {
                    let row = self.costs.row(i, &mut buffer);
                    least.clear();
                    targets.iter().for_each(|&j| least.offer(row[j] - f[i] - g[j], j as u32));
                    found.extend(least.pairs().map(|(reduced_cost, target)| Candidate {
                        source: i as u32,
                        target,
                        cost: row[target as usize],
                        reduced_cost,
                    }));
                }
            });
            let mut found: Vec<Candidate> = found.into_iter().flatten().collect();
            if found.is_empty() {
                break;
            }
            found.sort_by(|one, other| one.reduced_cost.total_cmp(&other.reduced_cost));
            found.iter().for_each(|arc| allocation.allocate(arc.source, arc.target, arc.cost));
        }
        // Whoever is left, in order.
        let targets: Vec<usize> = (0..m).filter(|&j| allocation.has_target(j)).collect();
        let mut next = 0;
        for i in 0..n {
            while next < targets.len() && allocation.has_source(i) {
                let cost = self.costs.pair(i, targets[next]);
                if cost == f64::INFINITY {
                    break;
                }
                allocation.allocate(i as u32, targets[next] as u32, cost);
                next += usize::from(!allocation.has_target(targets[next]));
            }
        }
        allocation
    }

    /// The most negative pairs of each source, found by somebody else; `None` if there are too many.
    fn price_with(&self, pricing: &mut dyn Pricing, simplex: &NetworkSimplex) -> Result<Option<Vec<ArcCost>>, Error> {
        let (f, minus_g) = simplex.potentials();
        let Some(arcs) = pricing.negative(f, minus_g, JOINING * (f.len() + minus_g.len()))? else { return Ok(None) };
        let mut least = Least::new(JOINING);
        let mut joining = Vec::with_capacity(arcs.len());
        for of_source in arcs.chunk_by(|one, other| one.source == other.source) {
            least.clear();
            of_source.iter().for_each(|arc| least.offer(arc.reduced_cost, arc.target));
            let i = of_source[0].source;
            joining.extend(least.pairs().filter_map(|(_, j)| {
                let cost = self.costs.pair(i as usize, j as usize);
                is_negative(cost, f[i as usize], minus_g[j as usize]).then_some((i, j, cost))
            }));
        }
        Ok(Some(joining))
    }

    /// The most negative pairs of each source, looked for where boxes do not rule them out, and how many pairs that were.
    fn price_by_boxes(&self, boxes: &PairBoxes<'_>, simplex: &NetworkSimplex) -> (Vec<ArcCost>, u64) {
        let (f, minus_g) = simplex.potentials();
        let tops = [boxes.tops(Side::Source, |i| f[i]), boxes.tops(Side::Target, |j| -minus_g[j])];
        let (order, tops) = (boxes.order(Side::Target), tops.each_ref());
        let blocks = boxes.blocks(Side::Source);
        let share = blocks.div_ceil(TASKS);
        let mut found: Vec<(Vec<ArcCost>, u64)> = vec![(Vec::new(), 0); blocks.div_ceil(share)];
        for_each_chunk(self.parallel, found.len(), found.iter_mut(), |task, (found, priced)| {
            let (mut partners, mut buffer, mut least) = (Vec::new(), Vec::new(), Least::new(JOINING));
            for block in task * share..blocks.min((task + 1) * share) {
                boxes.partners(block, tops, 0.0, &mut partners);
                for place in boxes.places(Side::Source, block) {
                    let (i, f) = (boxes.order(Side::Source)[place], tops[0].placed[place]);
                    least.clear();
                    for range in &partners {
                        buffer.resize(range.len(), 0.0);
                        boxes.costs(place, range.clone(), &mut buffer);
                        *priced += range.len() as u64;
                        let potentials = &tops[1].placed[range.clone()];
                        for ((&cost, g), &j) in buffer.iter().zip(potentials).zip(&order[range.clone()]) {
                            if is_negative(cost, f, -g) {
                                least.offer(cost - f - g, j);
                            }
                        }
                    }
                    found.extend(least.pairs().map(|(_, j)| (i, j, self.costs.pair(i as usize, j as usize))));
                }
            }
        });
        let priced = found.iter().map(|(_, priced)| priced).sum();
        (found.into_iter().flat_map(|(found, _)| found).collect(), priced)
    }

    /// The most negative pairs of each source.
    fn price(&self, simplex: &NetworkSimplex) -> Vec<ArcCost> {
        let (n, m) = self.costs.shape();
        let (f, minus_g) = simplex.potentials();
        let levels = simplex.levels();
        let rows = n.div_ceil(TASKS);
        let mut found: Vec<Vec<ArcCost>> = vec![Vec::new(); n.div_ceil(rows)];
        for_each_chunk(self.parallel, n.div_ceil(rows), found.iter_mut(), |task, found| {
            let (mut buffer, mut least) = (vec![0.0; m], Least::new(JOINING));
            for (i, &f) in f.iter().enumerate().skip(task * rows).take(rows) {
                let row = self.costs.row(i, &mut buffer);
                least.clear();
                match levels {
                    None => price_row(row, f, minus_g, &mut least),
                    Some((of_source, of_target)) => {
                        price_row_by_levels(row, (f, of_source[i]), (minus_g, of_target), &mut least);
                    }
                }
                found.extend(least.pairs().map(|(_, j)| (i as u32, j, row[j as usize])));
            }
        });
        found.into_iter().flatten().collect()
    }

    /// The arcs with those that join, and, if they are many, without those that are far from being of use.
    fn joined(&self, simplex: &NetworkSimplex, arcs: &Arcs, mut joining: Vec<ArcCost>) -> Arcs {
        let (n, m) = self.costs.shape();
        let most = MOST_ARCS * (n + m);
        if arcs.len() + joining.len() <= most {
            joining.extend(arcs.iter());
            return Arcs::new(n, joining);
        }
        let (f, minus_g) = simplex.potentials();
        let mut kept: Vec<_> = arcs.iter().collect();
        let reduced_cost = |&(i, j, cost): &ArcCost| cost - f[i as usize] + minus_g[j as usize];
        kept.sort_by(|one, other| reduced_cost(one).total_cmp(&reduced_cost(other)));
        kept.truncate(most / 2);
        joining.extend(kept);
        Arcs::new(n, joining)
    }
}

/// Potentials are sums of costs along the paths of a tree of so many atoms: are they within the range?
fn check_sums(costs: impl Iterator<Item = f64>, atoms: usize) -> Result<(), Error> {
    let largest = costs.fold(0.0_f64, |largest, cost| largest.max(cost.abs()));
    check_bound::<f64>(largest * atoms as f64)
}

/// Offers the pairs of a row whose reduced cost is negative beyond rounding.
fn price_row(row: &[f64], f: f64, minus_g: &[f64], least: &mut Least) {
    let ((chunks, _), (potentials, _)) = (row.as_chunks::<CHUNK>(), minus_g.as_chunks::<CHUNK>());
    // Without a branch, so that several entries are compared at once.
    let any_negative = |chunk: usize| {
        let lane = |any: bool, lane: usize| any | (chunks[chunk][lane] - f + potentials[chunk][lane] < 0.0);
        (0..CHUNK).fold(false, lane)
    };
    for start in (0..row.len()).step_by(CHUNK) {
        if start / CHUNK < chunks.len() && !any_negative(start / CHUNK) {
            continue;
        }
        for j in start..row.len().min(start + CHUNK) {
            if is_negative(row[j], f, minus_g[j]) {
                least.offer(row[j] - f + minus_g[j], j as u32);
            }
        }
    }
}

/// [`price_row`] where a level counts before the cost: pairs of a negative one come first.
fn price_row_by_levels(
    row: &[f64],
    (f, level): (f64, i32),
    (minus_g, minus_levels): (&[f64], &[i32]),
    least: &mut Least,
) {
    for (j, ((cost, minus_g), minus_level)) in row.iter().zip(minus_g).zip(minus_levels).enumerate() {
        let (level, reduced_cost) = (minus_level - level, cost - f + minus_g);
        if level < 0 && *cost < f64::INFINITY {
            least.offer(f64::MIN / (1.0 + f64::from(-level).recip()), j as u32);
        } else if level == 0 && is_negative(*cost, f, *minus_g) {
            least.offer(reduced_cost, j as u32);
        }
    }
}
