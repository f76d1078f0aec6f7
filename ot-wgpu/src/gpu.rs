//! One device: its buffer of words, its open encoder, its pipelines and what went wrong.
//!
//! All vectors are pieces of one buffer of 32-bit words, which grows by doubling. Kernels read what they are told from a
//! second buffer, at an offset of their own. So one bind group serves all launches, and freed pieces can be used again at
//! once, since the queue keeps the order of what is recorded.
//!
//! Launches are recorded in one encoder, which is submitted at reads, and before when much is pending.

mod arguments;
mod chunk;
mod failure;
mod free_list;
mod pipelines;
mod recorder;
mod wait;
mod windows;

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use ot_core::{BackendFailure, Error};

pub use self::recorder::Work;
pub(crate) use self::{
    arguments::{Arguments, joined, split},
    chunk::Chunk,
    pipelines::Key,
    recorder::{Launch, MAX_GROUPS, MAX_PAIRS},
    wait::block_on,
    windows::{MAX_WINDOWS, Windows},
};
use self::{
    failure::{Failures, lock},
    free_list::{FreeList, Piece, rounded},
    pipelines::Pipelines,
    recorder::Recording,
};

/// Words of the buffer of a new device: 4 MiB.
const FIRST_WORDS: u32 = 1 << 20;

/// A device and all that is shared by those who use it.
pub(crate) struct Gpu {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) info: wgpu::AdapterInfo,
    /// The most bytes of one binding.
    binding_limit: u64,
    /// How long a read waits.
    timeout: Duration,
    failures: Arc<Failures>,
    free: Mutex<FreeList>,
    recording: Mutex<Recording>,
    pipelines: Pipelines,
}

impl Gpu {
    /// Takes over a device that nobody else uses: its errors are kept here.
    pub(crate) fn own(device: wgpu::Device, queue: wgpu::Queue, timeout: Duration) -> Result<Arc<Self>, Error> {
        let failures = Arc::new(Failures::default());
        let told = Arc::clone(&failures);
        device.set_device_lost_callback(move |_, reason| told.lose(reason));
        let told = Arc::clone(&failures);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| told.record(failure_of(&error))));
        Self::new(device, queue, timeout, failures)
    }

    /// Uses a device of an embedding program, whose own handlers stay. Errors are caught where they arise.
    pub(crate) fn share(device: wgpu::Device, queue: wgpu::Queue, timeout: Duration) -> Result<Arc<Self>, Error> {
        Self::new(device, queue, timeout, Arc::default())
    }

    fn new(
        device: wgpu::Device,
        queue: wgpu::Queue,
        timeout: Duration,
        failures: Arc<Failures>,
    ) -> Result<Arc<Self>, Error> {
        let (limits, info) = (device.limits(), device.adapter_info());
        let binding_limit = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size) & !255;
        let pipelines = Pipelines::new(&device);
        let words = u64::from(FIRST_WORDS).min(binding_limit / 4);
        let recording = Recording::new(&device, &pipelines, 4 * words)?;
        let mut free = FreeList::default();
        free.grow(words as u32);
        Ok(Arc::new(Self {
            device,
            queue,
            info,
            binding_limit,
            timeout,
            failures,
            free: Mutex::new(free),
            recording: Mutex::new(recording),
            pipelines,
        }))
    }

    /// A piece of memory for so many words.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if the device has no room for it, or binds no buffer that large.
    pub(crate) fn take(self: &Arc<Self>, words: usize, what: &'static str) -> Result<Chunk, Error> {
        let refused = || Error::OutOfMemory { what, bytes: 4 * words as u64 };
        let len = rounded(words).ok_or_else(refused)?;
        let taken = lock(&self.free).take(len);
        if let Some(piece) = taken {
            return Ok(Chunk::new(Arc::clone(self), piece));
        }
        self.failures.check_loss()?;
        // Another thread may have made room meanwhile: the lock of the recording orders those who grow.
        let mut recording = lock(&self.recording);
        let mut free = lock(&self.free);
        if let Some(piece) = free.take(len) {
            return Ok(Chunk::new(Arc::clone(self), piece));
        }
        let most = self.binding_limit / 4;
        let least = u64::from(free.len()) + u64::from(len);
        let wanted = least.max(2 * u64::from(free.len())).min(most);
        if least > most {
            return Err(refused());
        }
        recording.grow(&self.device, &self.pipelines, 4 * wanted).map_err(|_| refused())?;
        free.grow(wanted as u32);
        let piece = free.take(len).ok_or_else(refused)?;
        Ok(Chunk::new(Arc::clone(self), piece))
    }

    /// Takes a piece of memory back.
    fn give(&self, piece: Piece) {
        lock(&self.free).give(piece);
    }

    /// The most bytes of one binding.
    pub(crate) fn binding_limit(&self) -> u64 {
        self.binding_limit
    }

    /// Does the device run on the processors of the host?
    pub(crate) fn is_software(&self) -> bool {
        self.info.device_type == wgpu::DeviceType::Cpu
    }
}

impl fmt::Debug for Gpu {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Gpu")
            .field("adapter", &self.info.name)
            .field("backend", &self.info.backend)
            .finish_non_exhaustive()
    }
}

/// A buffer, or that there is no memory for it.
fn buffer(device: &wgpu::Device, size: u64, usage: wgpu::BufferUsages) -> Result<wgpu::Buffer, Error> {
    let scope = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let descriptor = wgpu::BufferDescriptor { label: Some("ot"), size, usage, mapped_at_creation: false };
    let buffer = device.create_buffer(&descriptor);
    match block_on(scope.pop()) {
        None => Ok(buffer),
        Some(_) => Err(Error::OutOfMemory { what: "a buffer of the device", bytes: size }),
    }
}

/// What an error of the driver is here.
fn failure_of(error: &wgpu::Error) -> BackendFailure {
    BackendFailure::Device(error.to_string())
}
