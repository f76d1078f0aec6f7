//! The memory of this process, counted: what is on the heap, and the most there was.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering},
};

/// Bytes on the heap.
static HELD: AtomicUsize = AtomicUsize::new(0);

/// The most bytes on the heap since [`Peak::start`].
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counted. A program that installs it can ask for a [`Peak`].
///
/// ```
/// use benches::memory::{Counting, Peak};
///
/// #[global_allocator]
/// static ALLOCATOR: Counting = Counting;
///
/// let peak = Peak::start();
/// let few: Vec<u8> = Vec::with_capacity(1 << 20);
/// drop(few);
/// assert!((1 << 20..2 << 20).contains(&peak.bytes()));
/// ```
#[derive(Debug)]
pub struct Counting;

impl Counting {
    fn grown(bytes: usize) {
        let held = HELD.fetch_add(bytes, Ordering::Relaxed) + bytes;
        PEAK.fetch_max(held, Ordering::Relaxed);
    }
}

// SAFETY: every call is handed to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::grown(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::grown(layout.size());
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the pointer came from the system's allocator, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The peak of the heap above what was held at a start. One at a time: a new start moves the mark for all.
#[derive(Debug)]
pub struct Peak {
    start: usize,
}

impl Peak {
    /// Marks what is held now.
    #[must_use]
    pub fn start() -> Self {
        let start = HELD.load(Ordering::Relaxed);
        PEAK.store(start, Ordering::Relaxed);
        Self { start }
    }

    /// The most bytes held since the start, above it; 0 in a program without [`Counting`].
    #[must_use]
    pub fn bytes(&self) -> usize {
        PEAK.load(Ordering::Relaxed).saturating_sub(self.start)
    }
}
