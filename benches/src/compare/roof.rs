//! What the machine can do, measured where it is used: bytes a second at a working set, pairs a second of exponential
//! and cost, multiply-adds a second. All threads run at once, each on its share; the best of some rounds counts.

use std::{
    collections::BTreeMap,
    hint::black_box,
    sync::{Barrier, Mutex, PoisonError},
    thread,
    time::Instant,
};

use ot_core::{
    Chebyshev, Cosine, Error, Euclidean, GroundCost, HalfSqEuclidean, Manhattan, PNorm, PowerOfDistance, SqEuclidean,
};
use ot_cpu::{
    CpuScalar,
    bench_support::{GibbsTerms, PointCost, PointPairs},
};

use super::{
    Bench, Failure,
    peak::{self, ExpCosts, PairCost},
    problem::narrow,
    row::{Measured, Per, Row},
};
use crate::seeded::Seeded;

/// Coordinates of a point, in the tables.
pub(super) const DIMENSIONS: [usize; 4] = [2, 3, 16, 64];

/// Points of a row that the library's own passes are timed on: few enough for the first-level cache, and no power of
/// two, so that axes do not fall on one another there.
const TILE: usize = 448;

/// Seconds that a round lasts.
const ROUND: f64 = 0.001;

/// Rounds, of which the best counts.
const ROUNDS: usize = 100;

/// The limits, measured when first asked for.
#[derive(Debug)]
pub struct Roof {
    threads: usize,
    bandwidths: BTreeMap<usize, f64>,
    multiply_adds: Option<f64>,
}

impl Roof {
    /// The roof of so many threads.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self { threads, bandwidths: BTreeMap::new(), multiply_adds: None }
    }

    /// Bytes a second that all threads together read of so many bytes, again and again.
    pub fn bandwidth(&mut self, bytes: usize) -> f64 {
        let threads = self.threads;
        *self.bandwidths.entry(bytes).or_insert_with(|| {
            let share = (bytes / threads / size_of::<u64>()).max(1);
            let passes = rate(threads, |_| {
                let words: Vec<u64> = (0..share as u64).collect();
                move || peak::read(black_box(&words))
            });
            passes * (share * size_of::<u64>()) as f64
        })
    }

    /// Multiply-adds a second of all threads together, in `f32`.
    pub fn multiply_adds(&mut self) -> f64 {
        let threads = self.threads;
        *self.multiply_adds.get_or_insert_with(|| {
            const CALL: usize = 10_000;
            let calls = rate(threads, |_| || peak::multiply_add(black_box(CALL), black_box(0.5)));
            calls * (CALL * peak::MULTIPLY_ADDS) as f64
        })
    }

    /// Pairs a second of all threads together at a cost that is shipped: the cost from coordinates and an exponential,
    /// by the loop of [`peak`]. None for other costs.
    pub(super) fn pairs<T: Roofed>(&self, cost: &dyn GroundCost, dimension: usize) -> Option<f64> {
        let cost = PairCost::of(cost.form())?;
        let calls = rate(self.threads, |thread| {
            let mut random = Seeded::new(thread as u64);
            let mut draw = |len| narrow::<T>(&random.draw(len, Seeded::uniform));
            let (x, axes, bias) = (draw(peak::ROWS * dimension), draw(peak::TILE * dimension), draw(peak::TILE));
            let scale = T::from_f64(2.0);
            move || T::exp_costs(cost, scale, black_box(&x), black_box(&axes), black_box(&bias))
        });
        Some(calls * (peak::ROWS * peak::TILE) as f64)
    }

    /// Pairs a second of all threads together with the library's own loops: a few rows of entries of a kernel, and
    /// their sums. That of a cosine is the one between directions, which its clouds keep.
    fn row_pairs<T: Roofed>(&self, cost: &dyn GroundCost, dimension: usize) -> f64 {
        const ROWS: usize = 8;
        let calls = rate(self.threads, |thread| {
            let mut random = Seeded::new(thread as u64);
            let mut draw = |len| narrow::<T>(&random.draw(len, Seeded::uniform));
            let (points, axes, weights) = (draw(ROWS * dimension), draw(TILE * dimension), draw(TILE));
            let (potential, mut entries) = (vec![T::default(); TILE], vec![T::default(); ROWS * TILE]);
            let (formula, mut sums) = (PointCost::of(cost.form()), [0.0; ROWS]);
            move || {
                // The numbers are coordinates axis after axis as well as point after point.
                let (points, axes) = (black_box(points.as_slice()), black_box(axes.as_slice()));
                if let Some(formula) = formula {
                    let pairs = PointPairs { points, dimension, axes, stride: TILE };
                    let (f, g, weights) = (&potential[..ROWS], potential.as_slice(), weights.as_slice());
                    let terms = GibbsTerms { f, g, weights, epsilon: 0.5 };
                    T::point_entries(formula, pairs, terms, TILE, &mut entries, &mut sums);
                } else {
                    for ((x, entries), sum) in points.chunks(dimension).zip(entries.chunks_mut(TILE)).zip(&mut sums) {
                        cost.costs(x, axes, entries);
                        *sum += T::gibbs_sum(T::default(), 0.5, &potential, &weights, entries);
                    }
                }
                sums
            }
        });
        calls * (ROWS * TILE) as f64
    }
}

/// An element type with a roof.
pub(super) trait Roofed: CpuScalar + ExpCosts {}

impl<T: CpuScalar + ExpCosts> Roofed for T {}

/// A cost as the tables call it.
pub type NamedCost = (&'static str, Box<dyn GroundCost>);

/// Every cost that is shipped, with its name.
///
/// # Errors
/// None, as long as the exponents are legal.
pub fn shipped_costs() -> Result<Vec<NamedCost>, Error> {
    Ok(vec![
        ("SqEuclidean", Box::new(SqEuclidean)),
        ("HalfSqEuclidean", Box::new(HalfSqEuclidean)),
        ("Euclidean", Box::new(Euclidean)),
        ("PowerOfDistance 1.5", Box::new(PowerOfDistance::new(1.5)?)),
        ("Manhattan", Box::new(Manhattan)),
        ("Chebyshev", Box::new(Chebyshev)),
        ("PNorm 3", Box::new(PNorm::new(3.0)?)),
        ("Cosine", Box::new(Cosine)),
    ])
}

/// Calls a second of all threads together, each of which prepares a job of its own.
fn rate<R, Job: FnMut() -> R>(threads: usize, prepare: impl Fn(usize) -> Job + Sync) -> f64 {
    let barrier = Barrier::new(threads);
    let totals = Mutex::new([0.0; ROUNDS]);
    thread::scope(|scope| {
        for thread in 0..threads {
            let (barrier, totals, prepare) = (&barrier, &totals, &prepare);
            scope.spawn(move || {
                let mut job = prepare(thread);
                black_box(job());
                for round in 0..ROUNDS {
                    barrier.wait();
                    let (start, mut calls) = (Instant::now(), 0_usize);
                    let mut seconds = 0.0;
                    while seconds < ROUND {
                        black_box(job());
                        calls += 1;
                        seconds = start.elapsed().as_secs_f64();
                    }
                    totals.lock().unwrap_or_else(PoisonError::into_inner)[round] += calls as f64 / seconds;
                }
            });
        }
    });
    totals.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().fold(0.0, f64::max)
}

/// The suite: every limit that other suites are held against.
pub(super) fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let threads = bench.options.threads;
    for side in [500, 1000, 2000, 4000, 8000] {
        let bytes = 4 * side * side;
        let rate = bench.roof.bandwidth(bytes);
        let pass = Measured::seconds("read", bytes as f64 / rate);
        let case = format!("read {} MB: n x n in f32", bytes / 1_000_000);
        let row = Row::new("roof", case, (side, side), threads, Per::Pass, pass);
        bench.add(Row { dtype: "f32", ..row }.with_note(format!("{:.1} GB/s", rate / 1e9)))?;
    }
    let rate = bench.roof.multiply_adds();
    let row = Row::new("roof", "multiply-add", (1, 1), threads, Per::Pass, Measured::seconds("fma", 1.0 / rate));
    bench.add(Row { dtype: "f32", ..row }.with_note(format!("{:.1} G/s", rate / 1e9)))?;
    pairs::<f32>(bench)?;
    pairs::<f64>(bench)
}

/// Exponential and cost, for each cost that is shipped: the roof, and the library's own passes over a row under it.
fn pairs<T: Roofed>(bench: &mut Bench<'_>) -> Result<(), Failure> {
    for (name, cost) in shipped_costs()? {
        for d in DIMENSIONS {
            let rate = bench.roof.row_pairs::<T>(cost.as_ref(), d);
            let roof = bench.roof.pairs::<T>(cost.as_ref(), d);
            add_pairs::<T>(bench, name, d, rate, roof)?;
        }
    }
    Ok(())
}

fn add_pairs<T: Roofed>(
    bench: &mut Bench<'_>,
    case: &str,
    d: usize,
    rate: f64,
    roof: Option<f64>,
) -> Result<(), Failure> {
    let pass = Measured::seconds("exp + cost of a row", TILE as f64 / rate);
    let row = Row::new("roof", case, (1, TILE), bench.options.threads, Per::Pass, pass);
    let row = Row { dtype: T::NAME, d: Some(d), ..row };
    bench.add(match roof {
        Some(roof) => {
            let note = format!("{:.2} of {:.2} G pairs/s", rate / 1e9, roof / 1e9);
            row.with_limit(TILE as f64 / roof).with_note(note)
        }
        None => row.with_note(format!("{:.2} G pairs/s", rate / 1e9)),
    })
}
