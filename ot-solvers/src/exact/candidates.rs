//! The arcs worth a try: those of least reduced cost at each source and at each target.

use ot_core::{Error, Side, host::for_each_chunk};

use super::{
    boxes::{PairBoxes, least},
    costs::PairCosts,
};

/// Workers, as a function that runs jobs 0, 1, ... and waits.
pub(super) type Parallel<'a> = &'a dyn Fn(usize, &(dyn Fn(usize) + Sync));

/// Entries that are looked at together.
const CHUNK: usize = 16;

/// Pieces that the sources are cut into, whatever the threads: each keeps the best of all targets.
const TASKS: usize = 8;

/// How much higher than those of one source the least values of another atom may be.
const HEIGHT: f64 = 4.0;

/// A pair of atoms, its cost and its reduced cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) source: u32,
    pub(super) target: u32,
    pub(super) cost: f64,
    pub(super) reduced_cost: f64,
}

/// The `count` pairs of least C_ij - f_i - g_j of each source, and as many of each target, by reduced cost. Forbidden
/// pairs are none.
///
/// One pass over the costs, memory O(count (n + m)). Under potentials that are `even`, those of a solution but for
/// rounding or entropy, the least values of all atoms are of about one height: a target then gets no pairs that are far
/// above those of the sources, which saves much of the pass.
///
/// # Errors
/// Those of [`PairCosts::check_row`].
pub(super) fn candidates(
    costs: &PairCosts<'_>,
    [f, g]: [&[f64]; 2],
    count: usize,
    even: bool,
    parallel: Parallel<'_>,
) -> Result<Vec<Candidate>, Error> {
    let n = f.len();
    let rows = n.div_ceil(TASKS);
    let mut found: Vec<Result<OfTask, Error>> = Vec::new();
    found.resize_with(n.div_ceil(rows), || Ok(OfTask::default()));
    for_each_chunk(parallel, n.div_ceil(rows), found.iter_mut(), |task, found| {
        *found = of_rows(costs, task * rows..n.min((task + 1) * rows), [f, g], count, even);
    });

    let tasks = found.into_iter().collect::<Result<Vec<_>, _>>()?;
    let mut all: Vec<Candidate> = tasks.iter().flat_map(|of_task| &of_task.of_sources).copied().collect();
    let mut of_target = Least::new(count);
    for (target, g) in g.iter().enumerate() {
        of_target.clear();
        for of_task in &tasks {
            of_task.of_targets[target].pairs().for_each(|(reduced_cost, source)| of_target.offer(reduced_cost, source));
        }
        all.extend(of_target.pairs().map(|(reduced_cost, source)| Candidate {
            source,
            target: target as u32,
            cost: reduced_cost + f[source as usize] + g,
            reduced_cost,
        }));
    }
    Ok(merged(costs, all))
}

/// The same, looked for where boxes do not rule them out: exactly the least of every atom, and how many pairs were looked at.
pub(super) fn candidates_by_boxes(
    costs: &PairCosts<'_>,
    boxes: &PairBoxes<'_>,
    [f, g]: [&[f64]; 2],
    count: usize,
    parallel: Parallel<'_>,
) -> (Vec<Candidate>, u64) {
    let tops = [boxes.tops(Side::Source, |i| f[i]), boxes.tops(Side::Target, |j| g[j])];
    let [(mut all, of_sources), (of_target, of_targets)] =
        Side::BOTH.map(|side| least(boxes, side, tops.each_ref(), count, parallel));
    all.extend(of_target);
    (merged(costs, all), of_sources + of_targets)
}

/// Pairs that may have been found from both of their ends, each once, with its cost read again: rounding has touched it.
fn merged(costs: &PairCosts<'_>, mut all: Vec<Candidate>) -> Vec<Candidate> {
    all.sort_unstable_by_key(|candidate| (candidate.source, candidate.target));
    all.dedup_by_key(|candidate| (candidate.source, candidate.target));
    for candidate in &mut all {
        candidate.cost = costs.pair(candidate.source as usize, candidate.target as usize);
    }
    all.sort_by(|one, other| one.reduced_cost.total_cmp(&other.reduced_cost));
    all
}

/// What the sources of one task have found.
#[derive(Default)]
struct OfTask {
    of_sources: Vec<Candidate>,
    of_targets: Vec<Least>,
}

/// The pairs of some sources.
fn of_rows(
    costs: &PairCosts<'_>,
    rows: std::ops::Range<usize>,
    [f, g]: [&[f64]; 2],
    count: usize,
    even: bool,
) -> Result<OfTask, Error> {
    let mut buffer = vec![0.0; g.len()];
    let mut of_source = Least::new(count);
    let mut of_targets = vec![Least::new(count); g.len()];
    // The largest that a target keeps: infinite as long as it is not full.
    let mut bounds = vec![f64::INFINITY; g.len()];
    let mut of_sources = Vec::with_capacity(rows.len() * count);
    let mut guess = f64::INFINITY;
    for i in scattered(rows) {
        let row = costs.row(i, &mut buffer);
        costs.check_row(i, row)?;
        let f = f[i];
        let offer_to_target = |j: usize, reduced_cost: f64, bound: &mut f64| {
            of_targets[j].offer(reduced_cost, i as u32);
            *bound = bound.min(of_targets[j].bound());
        };
        of_source.clear();
        scan(row, f, g, &mut bounds, guess, &mut of_source, offer_to_target);
        if of_source.bound() == f64::INFINITY && guess < f64::INFINITY {
            of_source.clear();
            (0..).zip(row.iter().zip(g)).for_each(|(j, (cost, g))| of_source.offer(cost - f - g, j));
        }
        if even && guess == f64::INFINITY && of_source.bound() > 0.0 {
            bounds.fill(HEIGHT * of_source.bound());
        }
        // Other sources have their least values at about the same height.
        guess = if of_source.bound() > 0.0 { 0.5 * HEIGHT * of_source.bound() } else { f64::INFINITY };
        of_sources.extend(of_source.pairs().map(|(reduced_cost, target)| Candidate {
            source: i as u32,
            target,
            cost: row[target as usize],
            reduced_cost,
        }));
    }
    Ok(OfTask { of_sources, of_targets })
}

/// Offers the pairs of a row below `most` to its source, and those below their bounds to their targets.
fn scan(
    row: &[f64],
    f: f64,
    g: &[f64],
    bounds: &mut [f64],
    most: f64,
    of_source: &mut Least,
    mut offer_to_target: impl FnMut(usize, f64, &mut f64),
) {
    let ((costs, _), (potentials, _)) = (row.as_chunks::<CHUNK>(), g.as_chunks::<CHUNK>());
    // Without a branch, so that several entries are compared at once.
    let is_below = |chunk: usize, bound: f64, of_targets: &[f64; CHUNK]| {
        let lane = |below: bool, lane: usize| {
            let bound = if bound > of_targets[lane] { bound } else { of_targets[lane] };
            below | (costs[chunk][lane] - f - potentials[chunk][lane] < bound)
        };
        (0..CHUNK).fold(false, lane)
    };
    for start in (0..row.len()).step_by(CHUNK) {
        let end = row.len().min(start + CHUNK);
        let bound = of_source.bound().min(most);
        if let Some(of_targets) = bounds[start..end].first_chunk::<CHUNK>()
            && !is_below(start / CHUNK, bound, of_targets)
        {
            continue;
        }
        for j in start..end {
            let reduced_cost = row[j] - f - g[j];
            if reduced_cost < most {
                of_source.offer(reduced_cost, j as u32);
            }
            if reduced_cost < bounds[j] {
                offer_to_target(j, reduced_cost, &mut bounds[j]);
            }
        }
    }
}

/// A range in an order without neighbours: what comes nearer step by step would be kept again and again.
fn scattered(range: std::ops::Range<usize>) -> impl Iterator<Item = usize> {
    const STRIDE: usize = 64;
    let (start, end) = (range.start, range.end);
    (0..STRIDE).flat_map(move |offset| (start + (offset * 37) % STRIDE..end).step_by(STRIDE))
}

/// The least values offered, ascending, with their indices; of equals those of the least index, in whatever order they come.
#[derive(Clone, Debug)]
pub(super) struct Least {
    kept: Vec<(f64, u32)>,
    count: usize,
}

impl Least {
    pub(super) fn new(count: usize) -> Self {
        Self { kept: Vec::new(), count }
    }

    pub(super) fn clear(&mut self) {
        self.kept.clear();
    }

    /// What a value must be below to be kept.
    pub(super) fn bound(&self) -> f64 {
        if self.kept.len() < self.count { f64::INFINITY } else { self.kept[self.count - 1].0 }
    }

    pub(super) fn offer(&mut self, value: f64, index: u32) {
        let is_before = |&(kept, of_kept): &(f64, u32)| kept < value || kept == value && of_kept < index;
        let is_full = self.kept.len() >= self.count;
        if value <= self.bound() && value < f64::INFINITY && !(is_full && self.kept.last().is_some_and(is_before)) {
            let place = self.kept.partition_point(is_before);
            self.kept.truncate(self.count - 1);
            self.kept.insert(place, (value, index));
        }
    }

    pub(super) fn pairs(&self) -> impl Iterator<Item = (f64, u32)> {
        self.kept.iter().copied()
    }
}
