//! Data of a geometry beside the buffer of words: a cost matrix, in as many buffers as its size needs.

use std::sync::{Arc, Mutex};

use ot_core::Error;

use super::{Gpu, buffer, failure::lock};

/// The most buffers of one matrix: with the two of all kernels, as many as every device binds at once.
pub(crate) const MAX_WINDOWS: usize = 6;

/// Read-only buffers, bound together.
#[derive(Debug)]
pub(crate) struct Windows {
    buffers: Vec<wgpu::Buffer>,
    /// The bind group, and the generation of the buffer of words that it binds.
    group: Mutex<Option<(u64, wgpu::BindGroup)>>,
}

impl Windows {
    /// Uploads some windows of numbers.
    pub(crate) fn new<'a>(gpu: &Arc<Gpu>, windows: impl IntoIterator<Item = &'a [f32]>) -> Result<Self, Error> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
        let upload = |values: &[f32]| {
            let buffer = buffer(&gpu.device, 4 * values.len() as u64, usage)?;
            gpu.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(values));
            // What is written waits for a submission; memory of the host should not.
            gpu.queue.submit([]);
            Ok(buffer)
        };
        let buffers = windows.into_iter().map(upload).collect::<Result<Vec<_>, Error>>()?;
        Ok(Self { buffers, group: Mutex::default() })
    }

    /// The bind group with the buffer of words of a generation, made by `make` of all windows; missing ones are the first.
    pub(super) fn group(
        &self,
        generation: u64,
        make: impl FnOnce([&wgpu::Buffer; MAX_WINDOWS]) -> wgpu::BindGroup,
    ) -> wgpu::BindGroup {
        let mut group = lock(&self.group);
        match &*group {
            Some((known, group)) if *known == generation => group.clone(),
            _ => {
                let made = make(std::array::from_fn(|index| self.buffers.get(index).unwrap_or(&self.buffers[0])));
                *group = Some((generation, made.clone()));
                made
            }
        }
    }
}
