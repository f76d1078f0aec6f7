//! A pool of threads as a backend.

use std::{marker::PhantomData, sync::Arc, thread};

use ot_core::{BackendFailure, Error, Scalar, host::HostWorkers, program::BlockMath};
use rayon::{ThreadPool, ThreadPoolBuilder, prelude::*};

use crate::simd::VectorMath;

/// Entries up to which costs between points are stored: 2^24, 128 MiB of `f64`.
pub const DEFAULT_DENSE_LIMIT: usize = 1 << 24;

/// Atoms of either side from which on pairs that are too far apart to matter are left out.
pub const DEFAULT_BLOCK_LIMIT: usize = 1 << 13;

/// The type in which a dense kernel keeps the entries that its sweeps go by: see
/// [`DenseGeometry`](crate::DenseGeometry).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeptEntries {
    /// The element type up to 2^18 entries, which caches hold; [`Single`](Self::Single) beyond.
    #[default]
    Automatic,
    /// `f32`, refined to the accuracy of the element type: half the bytes of `f64`, and half the time.
    Single,
    /// The element type: every sweep is exact by itself.
    Full,
}

impl KeptEntries {
    /// Are so many entries kept in the element type?
    pub(crate) fn are_full(self, entries: usize) -> bool {
        match self {
            Self::Automatic => entries <= 1 << 18,
            Self::Single => false,
            Self::Full => true,
        }
    }
}

/// Threads of this process, and vectors in its memory.
///
/// Cloning shares the pool. Nothing global is touched: a backend of one thread starts none.
///
/// ```
/// use ot_cpu::CpuBackend;
///
/// let backend = CpuBackend::<f32>::new(4)?.with_dense_limit(1 << 20);
/// assert_eq!(backend.threads(), 4);
/// assert!(CpuBackend::<f32>::new(0).is_err());
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct CpuBackend<T> {
    /// None: everything runs on the calling thread.
    pool: Option<Arc<ThreadPool>>,
    threads: usize,
    dense_limit: usize,
    block_limit: usize,
    kept_entries: KeptEntries,
    element: PhantomData<T>,
}

impl<T: Scalar + VectorMath> CpuBackend<T> {
    /// A backend of exactly this many threads.
    ///
    /// # Errors
    /// [`Error::Parameter`] for zero threads, [`BackendFailure::Threads`] if they cannot be started.
    pub fn new(threads: usize) -> Result<Self, Error> {
        let pool = match threads {
            0 => return Err(Error::Parameter { name: "threads", value: 0.0, expected: "at least one" }),
            1 => None,
            _ => {
                let pool = ThreadPoolBuilder::new().num_threads(threads).build();
                Some(Arc::new(pool.map_err(|_| BackendFailure::Threads { requested: threads })?))
            }
        };
        Ok(Self {
            pool,
            threads,
            dense_limit: DEFAULT_DENSE_LIMIT,
            block_limit: DEFAULT_BLOCK_LIMIT,
            kept_entries: KeptEntries::Automatic,
            element: PhantomData,
        })
    }

    /// A backend of as many threads as the operating system says can run at once.
    ///
    /// # Errors
    /// [`BackendFailure::Threads`] if they cannot be started.
    pub fn with_available_threads() -> Result<Self, Error> {
        Self::new(thread::available_parallelism().map_or(1, usize::from))
    }

    /// Stores costs between points up to this many entries, and recomputes them from coordinates beyond. Over stored costs, as
    /// many entries of a plan are kept from one product of a linear solve to the next ([`PlanProduct`](ot_core::PlanProduct)).
    #[must_use]
    pub fn with_dense_limit(self, entries: usize) -> Self {
        Self { dense_limit: entries, ..self }
    }

    /// Leaves out pairs that are too far apart to matter, of costs that are recomputed, from this many atoms of either side
    /// on; see [`BlockSparseGeometry`](crate::BlockSparseGeometry).
    #[must_use]
    pub fn with_block_limit(self, atoms: usize) -> Self {
        Self { block_limit: atoms, ..self }
    }

    /// Atoms of either side from which on pairs may be left out.
    #[must_use]
    pub fn block_limit(&self) -> usize {
        self.block_limit
    }

    /// The type in which dense kernels keep their entries.
    #[must_use]
    pub fn with_kept_entries(self, kept_entries: KeptEntries) -> Self {
        Self { kept_entries, ..self }
    }

    /// The type in which dense kernels keep their entries.
    #[must_use]
    pub fn kept_entries(&self) -> KeptEntries {
        self.kept_entries
    }

    /// The number of threads.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Entries up to which costs between points are stored.
    #[must_use]
    pub fn dense_limit(&self) -> usize {
        self.dense_limit
    }
}

/// The transcendental functions of pointwise programs, vectorised.
#[derive(Clone, Copy, Debug)]
pub struct VectorisedMath;

impl<T: Scalar + VectorMath> BlockMath<T> for VectorisedMath {
    fn exp(lanes: &mut [T]) {
        T::exp_in_place(lanes);
    }

    fn ln(lanes: &mut [T]) {
        T::ln_in_place(lanes);
    }
}

impl<T: Scalar + VectorMath> HostWorkers for CpuBackend<T> {
    type Element = T;
    type Math = VectorisedMath;

    /// Through the pool; inside of [`enter`](ot_core::Backend::enter) it need not be entered, and nothing is allocated.
    fn run_tasks(&self, tasks: usize, job: &(dyn Fn(usize) + Sync)) {
        match &self.pool {
            Some(pool) if tasks > 1 => {
                let run = || (0..tasks).into_par_iter().with_max_len(1).for_each(job);
                if pool.current_thread_index().is_some() { run() } else { pool.install(run) }
            }
            _ => (0..tasks).for_each(job),
        }
    }

    fn enter_workers(&self, work: &mut (dyn FnMut() + Send)) {
        match &self.pool {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }
}
