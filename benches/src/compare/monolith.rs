//! Sinkhorn's iteration as one hand-written loop: what generality is measured against.
//!
//! On a kernel absorbed at a centre (Schmitzer 2019), in single or double precision,
//!
//! ```text
//! K_ij = exp((f0_i + g0_j - C_ij) / epsilon)      u_i <- a_i / (K v)_i      v_j <- b_j / (K^T u)_j
//! ```
//!
//! (Sinkhorn 1967), one pass an iteration: a panel of rows is multiplied by v, its u follows, and while the panel is
//! in the cache it is added to the sums of the columns. Products are of the kernel's type, sums of blocks are `f64`.
//! There is nothing else: no logarithm, no penalty, no relaxation, no check, no guard, no columns of a batch. Each thread
//! has rows, column sums and a v of its own, and meets the others at one barrier an iteration.

use std::{
    hint,
    ops::Range,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::{best::best, problem::Arrays};

/// Bytes of a panel: they stay in the second-level cache until they are met again.
const PANEL_BYTES: usize = 1 << 18;

/// Rows that share the loads of v.
const ROWS: usize = 4;

/// Columns whose products are summed before they are added in `f64`.
const BLOCK: usize = 512;

/// Entries below it are zero: subnormal numbers cost a factor of six.
const FLOOR: f64 = 1e-30;

/// The loop, its kernel and its scalings.
pub(super) struct Monolith<T> {
    entries: Vec<T>,
    a: Vec<T>,
    b: Vec<f64>,
    u: Vec<T>,
    v: Vec<T>,
}

impl<T: Entry> Monolith<T> {
    /// The kernel of a balanced problem, absorbed at potentials.
    pub(super) fn new(arrays: &Arrays, f: &[f64], g: &[f64]) -> Self {
        let mut costs = vec![0.0; g.len()];
        let mut entries = Vec::with_capacity(f.len() * g.len());
        for (i, f) in f.iter().enumerate() {
            arrays.cost_row(i, &mut costs);
            entries.extend(costs.iter().zip(g).map(|(cost, g)| {
                let entry = ((f + g - cost) / arrays.epsilon).exp();
                T::of(if entry < FLOOR { 0.0 } else { entry })
            }));
        }
        let narrow = |values: &[f64]| values.iter().map(|&value| T::of(value)).collect();
        let (a, v) = (narrow(&arrays.source), narrow(&arrays.target));
        Self { entries, a, b: arrays.target.clone(), u: vec![T::of(0.0); f.len()], v }
    }

    /// So many iterations on so many threads.
    pub(super) fn iterate(&mut self, iterations: usize, threads: usize) {
        let Self { entries, a, b, u, v } = self;
        let (n, m) = (u.len(), v.len());
        let share = n.div_ceil(threads).next_multiple_of(ROWS);
        let parts = n.div_ceil(share);
        // The sums of two iterations in turn: who is ahead writes to those that nobody reads any more.
        let sums: Vec<[RwLock<Vec<f64>>; 2]> =
            (0..parts).map(|_| [(); 2].map(|()| RwLock::new(vec![0.0; m]))).collect();
        let (barrier, sums, entering) = (Barrier::new(parts), &sums, v.clone());
        let job = |part: usize, u: &mut [T]| {
            let rows = part * share..part * share + u.len();
            let (mut v, mut total) = (entering.clone(), vec![0.0; m]);
            for iteration in 0..iterations {
                {
                    let mut own = sums[part][iteration % 2].write().unwrap_or_else(PoisonError::into_inner);
                    own.fill(0.0);
                    for panel in panels::<T>(rows.clone(), m) {
                        let of_share = panel.start - rows.start..panel.end - rows.start;
                        let entries = &entries[panel.start * m..panel.end * m];
                        T::panel(entries, &v, &a[panel], &mut u[of_share], &mut own);
                    }
                }
                barrier.wait();
                total.fill(0.0);
                for sums in sums {
                    let sums = sums[iteration % 2].read().unwrap_or_else(PoisonError::into_inner);
                    total.iter_mut().zip(sums.iter()).for_each(|(total, sum)| *total += sum);
                }
                v.iter_mut().zip(b.iter().zip(&total)).for_each(|(v, (b, total))| *v = T::of(b / total));
            }
            v
        };
        *v = thread::scope(|scope| {
            let mut shares = u.chunks_mut(share).enumerate();
            let first = shares.next();
            let job = &job;
            for (part, u) in shares {
                scope.spawn(move || job(part, u));
            }
            first.map_or_else(Vec::new, |(part, u)| job(part, u))
        });
    }
}

/// Rows cut into panels.
fn panels<T>(rows: Range<usize>, columns: usize) -> impl Iterator<Item = Range<usize>> {
    let size = (PANEL_BYTES / (columns * size_of::<T>())).next_multiple_of(ROWS);
    rows.clone().step_by(size).map(move |start| start..rows.end.min(start + size))
}

/// A type of entries.
pub(super) trait Entry: Copy + Send + Sync {
    /// "f32" or "f64".
    const NAME: &'static str;

    /// The nearest number of the type.
    fn of(value: f64) -> Self;

    /// u_i = a_i / (K v)_i for the rows of a panel, and `sums` += K^T u.
    fn panel(entries: &[Self], v: &[Self], a: &[Self], u: &mut [Self], sums: &mut [f64]);
}

/// Panels of one type, so many columns at a time.
macro_rules! entry {
    ($module:ident, $float:ident, $lanes:literal) => {
        mod $module {
            use super::{BLOCK, Entry, ROWS, best};

            #[inline(always)]
            fn fma<const FUSED: bool>(a: $float, b: $float, c: $float) -> $float {
                if FUSED { a.mul_add(b, c) } else { a * b + c }
            }

            /// Products of so many rows with v.
            #[inline(always)]
            fn dots<const FUSED: bool, const R: usize>(entries: &[$float], v: &[$float]) -> [f64; R] {
                let rows: [&[$float]; R] = std::array::from_fn(|row| &entries[row * v.len()..][..v.len()]);
                let mut sums = [0.0; R];
                for (block, v) in v.chunks(BLOCK).enumerate() {
                    let (chunks, rest) = v.as_chunks::<$lanes>();
                    let mut lanes = [[0.0; $lanes]; R];
                    for (chunk, v) in chunks.iter().enumerate() {
                        for (lanes, row) in lanes.iter_mut().zip(rows) {
                            let row = &row[block * BLOCK..].as_chunks::<$lanes>().0[chunk];
                            for ((lane, entry), v) in lanes.iter_mut().zip(row).zip(v) {
                                *lane = fma::<FUSED>(*entry, *v, *lane);
                            }
                        }
                    }
                    for ((sum, lanes), row) in sums.iter_mut().zip(lanes).zip(rows) {
                        *sum += lanes.iter().map(|lane| f64::from(*lane)).sum::<f64>();
                        let row = &row[block * BLOCK + chunks.len() * $lanes..];
                        *sum += row.iter().zip(rest).map(|(entry, v)| f64::from(entry * v)).sum::<f64>();
                    }
                }
                sums
            }

            #[inline(always)]
            fn body<const FUSED: bool>(
                entries: &[$float],
                v: &[$float],
                a: &[$float],
                u: &mut [$float],
                sums: &mut [f64],
            ) {
                let columns = v.len();
                let scale = |u: &mut $float, a: $float, dot: f64| *u = (f64::from(a) / dot) as $float;
                let whole = u.len() - u.len() % ROWS;
                for row in (0..whole).step_by(ROWS) {
                    let dots = dots::<FUSED, ROWS>(&entries[row * columns..], v);
                    for (offset, dot) in dots.into_iter().enumerate() {
                        scale(&mut u[row + offset], a[row + offset], dot);
                    }
                }
                for row in whole..u.len() {
                    let [dot] = dots::<FUSED, 1>(&entries[row * columns..], v);
                    scale(&mut u[row], a[row], dot);
                }

                let (chunks, rest) = sums.as_chunks_mut::<$lanes>();
                let tail = chunks.len() * $lanes;
                for (chunk, sums) in chunks.iter_mut().enumerate() {
                    let mut lanes = [0.0; $lanes];
                    for (row, u) in entries.chunks_exact(columns).zip(&*u) {
                        for (lane, entry) in lanes.iter_mut().zip(&row.as_chunks::<$lanes>().0[chunk]) {
                            *lane = fma::<FUSED>(*entry, *u, *lane);
                        }
                    }
                    for (sum, lane) in sums.iter_mut().zip(lanes) {
                        *sum += f64::from(lane);
                    }
                }
                for (row, u) in entries.chunks_exact(columns).zip(&*u) {
                    for (sum, entry) in rest.iter_mut().zip(&row[tail..]) {
                        *sum += f64::from(entry * u);
                    }
                }
            }

            impl Entry for $float {
                const NAME: &'static str = stringify!($float);

                fn of(value: f64) -> $float {
                    value as $float
                }

                fn panel(entries: &[$float], v: &[$float], a: &[$float], u: &mut [$float], sums: &mut [f64]) {
                    best!(body(
                        entries: &[$float], v: &[$float], a: &[$float], u: &mut [$float], sums: &mut [f64]
                    ) -> ())
                }
            }
        }
    };
}

entry!(single, f32, 64);
entry!(double, f64, 32);

/// Where threads that all run at once meet: they spin, which costs a tenth of going to sleep.
struct Barrier {
    parts: usize,
    arrived: AtomicUsize,
}

impl Barrier {
    fn new(parts: usize) -> Self {
        Self { parts, arrived: AtomicUsize::new(0) }
    }

    /// Waits for all, as often as all have waited before.
    fn wait(&self) {
        /// Turns after which a thread without a processor of its own gives way.
        const PATIENCE: usize = 10_000;
        let arrived = self.arrived.fetch_add(1, Ordering::AcqRel) + 1;
        let wanted = arrived.next_multiple_of(self.parts);
        let mut turns = 0;
        while self.arrived.load(Ordering::Acquire) < wanted {
            turns += 1;
            if turns < PATIENCE { hint::spin_loop() } else { thread::yield_now() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same iteration, a number at a time.
    fn naive(arrays: &Arrays, f: &[f64], g: &[f64], iterations: usize) -> (Vec<f64>, Vec<f64>) {
        let (n, m) = arrays.shape();
        let mut kernel = vec![0.0; n * m];
        for (i, row) in kernel.chunks_mut(m).enumerate() {
            arrays.cost_row(i, row);
            row.iter_mut().zip(g).for_each(|(entry, g)| *entry = ((f[i] + g - *entry) / arrays.epsilon).exp());
        }
        let (mut u, mut v) = (vec![0.0; n], arrays.target.clone());
        for _ in 0..iterations {
            for i in 0..n {
                u[i] = arrays.source[i] / (0..m).map(|j| kernel[i * m + j] * v[j]).sum::<f64>();
            }
            for j in 0..m {
                v[j] = arrays.target[j] / (0..n).map(|i| kernel[i * m + j] * u[i]).sum::<f64>();
            }
        }
        (u, v)
    }

    fn agrees<T: Entry + Into<f64>>(tolerance: f64) {
        for (n, m) in [(1, 1), (37, 101), (130, 70), (9, 1400)] {
            let arrays = Arrays::gaussian_matrix(3, n, m, 1, 0.1);
            let potential = |len: usize| -> Vec<f64> { (0..len).map(|k| (k % 5) as f64 / 100.0).collect() };
            let (f, g) = (potential(n), potential(m));
            let (u, v) = naive(&arrays, &f, &g, 7);
            for threads in [1, 2, 3] {
                let mut monolith = Monolith::<T>::new(&arrays, &f, &g);
                monolith.iterate(3, threads);
                monolith.iterate(4, threads);
                for (found, expected) in monolith.u.iter().zip(&u).chain(monolith.v.iter().zip(&v)) {
                    let found: f64 = (*found).into();
                    assert!((found / expected - 1.0).abs() < tolerance, "{n} x {m}, {threads}: {found} {expected}");
                }
            }
        }
    }

    #[test]
    fn the_loop_is_the_iteration() {
        agrees::<f32>(1e-5);
        agrees::<f64>(1e-13);
    }
}
