//! What is recorded and not yet submitted, and the reads that submit it.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc},
};

use ot_core::{BackendFailure, Error};

use super::{
    Chunk, Gpu, Key, Windows,
    arguments::{Arguments, MAX_WORDS},
    block_on, buffer,
    failure::lock,
    failure_of,
    pipelines::Pipelines,
};
use crate::wgsl;

/// Words of the buffer of arguments.
const ARGUMENT_WORDS: usize = 1 << 17;

/// Arguments of a launch start at multiples of this many words: the alignment that every device takes.
const ARGUMENT_ALIGNMENT: usize = 64;

/// Launches after which what is recorded is submitted.
const MAX_LAUNCHES: usize = 256;

/// Pairs of atoms after which what is recorded is submitted, so that each submission stays short.
pub(crate) const MAX_PAIRS: u64 = 1 << 30;

/// The most workgroups along an axis that every device takes.
pub(crate) const MAX_GROUPS: usize = 65_535;

/// Submissions that the device may be behind.
const MAX_IN_FLIGHT: usize = 3;

/// What a device was asked to do since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Work {
    /// Kernels run.
    pub launches: u64,
    /// Submissions of what was recorded.
    pub submissions: u64,
    /// Kernels compiled. Another epsilon and another strength of a penalty compile none, nor do other sizes, but that
    /// software has kernels for few atoms and for many.
    pub kernels: usize,
}

/// One kernel to be run.
pub(crate) struct Launch<'a> {
    pub(crate) key: &'a Key,
    /// The text of the kernel, without the library and the declaration of its arguments.
    pub(crate) source: &'a dyn Fn() -> String,
    pub(crate) arguments: &'a Arguments,
    /// The list at the end of the arguments.
    pub(crate) list: &'a [u32],
    /// Data beside the buffer of words.
    pub(crate) windows: Option<&'a Windows>,
    /// Numbers of workgroups.
    pub(crate) groups: [usize; 3],
    /// How much work it is, in pairs of atoms.
    pub(crate) pairs: u64,
}

/// Recorded and not submitted. The pass is dropped before its encoder.
#[derive(Debug)]
pub(super) struct Recording {
    pass: Option<wgpu::ComputePass<'static>>,
    encoder: Option<wgpu::CommandEncoder>,
    words: wgpu::Buffer,
    /// How often the buffer of words was replaced.
    generation: u64,
    group: wgpu::BindGroup,
    argument_buffer: wgpu::Buffer,
    arguments: Vec<u32>,
    launches: usize,
    pairs: u64,
    /// What was done since the start: launches and submissions.
    total: [u64; 2],
    in_flight: VecDeque<wgpu::SubmissionIndex>,
    /// A buffer of an earlier read.
    staging: Option<wgpu::Buffer>,
}

impl Recording {
    pub(super) fn new(device: &wgpu::Device, pipelines: &Pipelines, bytes: u64) -> Result<Self, Error> {
        let words = words_buffer(device, bytes)?;
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
        let argument_buffer = buffer(device, 4 * ARGUMENT_WORDS as u64, usage)?;
        Ok(Self {
            pass: None,
            encoder: None,
            generation: 0,
            group: pipelines.bind_group(device, &words, &argument_buffer, None),
            words,
            argument_buffer,
            arguments: Vec::with_capacity(ARGUMENT_WORDS),
            launches: 0,
            pairs: 0,
            total: [0; 2],
            in_flight: VecDeque::new(),
            staging: None,
        })
    }

    /// Moves the words to a larger buffer, in the order of the queue.
    pub(super) fn grow(&mut self, device: &wgpu::Device, pipelines: &Pipelines, bytes: u64) -> Result<(), Error> {
        let larger = words_buffer(device, bytes)?;
        let smaller = std::mem::replace(&mut self.words, larger.clone());
        self.copies(device).copy_buffer_to_buffer(&smaller, 0, &larger, 0, smaller.size());
        self.generation += 1;
        self.group = pipelines.bind_group(device, &self.words, &self.argument_buffer, None);
        Ok(())
    }

    /// The encoder, outside of a pass.
    fn copies(&mut self, device: &wgpu::Device) -> &mut wgpu::CommandEncoder {
        self.pass = None;
        self.encoder(device)
    }

    fn encoder(&mut self, device: &wgpu::Device) -> &mut wgpu::CommandEncoder {
        self.encoder.get_or_insert_with(|| device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default()))
    }

    /// The pass, opened if need be.
    fn pass(&mut self, device: &wgpu::Device) -> &mut wgpu::ComputePass<'static> {
        let pass = self.pass.take().unwrap_or_else(|| {
            self.encoder(device).begin_compute_pass(&wgpu::ComputePassDescriptor::default()).forget_lifetime()
        });
        self.pass.insert(pass)
    }
}

/// The buffer of words.
fn words_buffer(device: &wgpu::Device, bytes: u64) -> Result<wgpu::Buffer, Error> {
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
    buffer(device, bytes, usage)
}

impl Gpu {
    /// Records a kernel.
    ///
    /// # Errors
    /// [`BackendFailure::Compiler`] at its first launch.
    pub(crate) fn launch(&self, launch: &Launch<'_>) -> Result<(), Error> {
        let Launch { key, source, arguments, list, windows, groups, pairs } = launch;
        if groups.contains(&0) {
            return Ok(());
        }
        let text = || format!("{}{}{}", arguments.declaration(), wgsl::LIBRARY, source());
        let pipeline = self.pipelines.get(&self.device, arguments.layout(), key, windows.is_some(), text)?;
        let words = arguments.with_list(list.iter().copied());
        let mut recording = lock(&self.recording);
        let is_full = recording.arguments.len() + MAX_WORDS + words.len() > ARGUMENT_WORDS;
        if is_full || recording.launches >= MAX_LAUNCHES || recording.pairs + pairs > MAX_PAIRS {
            self.submit(&mut recording);
        }
        let offset = recording.arguments.len();
        recording.arguments.extend(words);
        let padded = recording.arguments.len().next_multiple_of(ARGUMENT_ALIGNMENT);
        recording.arguments.resize(padded, 0);
        recording.launches += 1;
        recording.total[0] += 1;
        recording.pairs += pairs;
        let group = match windows {
            None => recording.group.clone(),
            Some(windows) => windows.group(recording.generation, |windows| {
                let (words, arguments) = (&recording.words, &recording.argument_buffer);
                self.pipelines.bind_group(&self.device, words, arguments, Some(windows))
            }),
        };
        let pass = recording.pass(&self.device);
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[4 * offset as u32]);
        let [x, y, z] = groups.map(|count| count as u32);
        pass.dispatch_workgroups(x, y, z);
        Ok(())
    }

    /// Writes words, in the order of the queue: few of them as arguments of a kernel, many by a buffer of their own.
    pub(crate) fn write(&self, words: &[u32], start: u32) -> Result<(), Error> {
        self.failures.check_loss()?;
        let mut arguments = Arguments::new();
        arguments.index("count", words.len()).place("start", start);
        if words.len() <= arguments.room() {
            let key = Key { kernel: "write", formulas: Vec::new(), options: Vec::new() };
            return self.launch(&Launch {
                key: &key,
                source: &|| wgsl::WRITE.into(),
                arguments: &arguments,
                list: words,
                windows: None,
                groups: [usize::from(!words.is_empty()), 1, 1],
                pairs: 0,
            });
        }
        let size = 4 * words.len() as u64;
        let staging = buffer(&self.device, size, wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST)?;
        let mut recording = lock(&self.recording);
        // Nothing reads or writes this buffer but the copy, so that it need not wait for what is recorded.
        self.queue.write_buffer(&staging, 0, bytemuck::cast_slice(words));
        let target = recording.words.clone();
        recording.copies(&self.device).copy_buffer_to_buffer(&staging, 0, &target, 4 * u64::from(start), size);
        Ok(())
    }

    /// Waits for all that is recorded, and reads pieces of words: where they start, and how many there are.
    pub(crate) fn read(&self, pieces: &[(u32, usize)]) -> Result<Vec<Vec<u32>>, Error> {
        let size = 4 * pieces.iter().map(|(_, words)| *words as u64).sum::<u64>();
        if size == 0 {
            self.failures.tell()?;
            return Ok(pieces.iter().map(|_| Vec::new()).collect());
        }
        let (staging, submission) = {
            let mut recording = lock(&self.recording);
            let staging = match recording.staging.take() {
                Some(staging) if staging.size() >= size => staging,
                _ => {
                    let usage = wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ;
                    buffer(&self.device, size.next_power_of_two(), usage)?
                }
            };
            let source = recording.words.clone();
            let mut offset = 0;
            for &(start, words) in pieces {
                let (start, size) = (4 * u64::from(start), 4 * words as u64);
                recording.copies(&self.device).copy_buffer_to_buffer(&source, start, &staging, offset, size);
                offset += size;
            }
            self.submit(&mut recording);
            (staging, recording.in_flight.back().cloned())
        };
        // Others record on while this thread waits.
        let words = self.map(&staging, size, submission)?;
        staging.unmap();
        lock(&self.recording).staging = Some(staging);
        let mut rest = words.as_slice();
        let piece = |&(_, words): &(u32, usize)| rest.split_off(..words).unwrap_or_default().to_vec();
        Ok(pieces.iter().map(piece).collect())
    }

    /// The words of a buffer, once a submission is done.
    fn map(
        &self,
        staging: &wgpu::Buffer,
        size: u64,
        submission: Option<wgpu::SubmissionIndex>,
    ) -> Result<Vec<u32>, Error> {
        let (sender, receiver) = mpsc::channel();
        let slice = staging.slice(..size);
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        slice.map_async(wgpu::MapMode::Read, move |result| _ = sender.send(result));
        // What keeps a buffer from being mapped is told to the callback too.
        block_on(scope.pop());
        self.wait(submission)?;
        self.failures.tell()?;
        // Another thread that waits may be the one that runs the callback, a moment later.
        match receiver.recv_timeout(self.timeout) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(BackendFailure::DeviceLost(error.to_string()).into()),
            Err(_) => return Err(BackendFailure::Timeout("a buffer was not mapped".into()).into()),
        }
        let view = slice.get_mapped_range().map_err(|error| BackendFailure::Device(error.to_string()))?;
        Ok(bytemuck::cast_slice(&view).to_vec())
    }

    /// Waits for a submission.
    fn wait(&self, submission_index: Option<wgpu::SubmissionIndex>) -> Result<(), Error> {
        let poll = wgpu::PollType::Wait { submission_index, timeout: Some(self.timeout) };
        // A driver that loses its device while it is waited for is a panic in wgpu.
        match catch_unwind(AssertUnwindSafe(|| self.device.poll(poll))) {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(wgpu::PollError::Timeout)) => {
                self.failures.check_loss()?;
                Err(BackendFailure::Timeout(format!("no answer within {:?}", self.timeout)).into())
            }
            // A device that is gone takes no submissions, and says so at the wait for one.
            Ok(Err(error)) => {
                self.failures.lose(error.to_string());
                self.failures.check_loss()
            }
            Err(_) => {
                self.failures.lose("the driver gave up while it was waited for");
                self.failures.check_loss()
            }
        }
    }

    /// Hands what is recorded to the device, and waits if that is too far behind.
    fn submit(&self, recording: &mut Recording) {
        recording.pass = None;
        let Some(encoder) = recording.encoder.take() else { return };
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        if !recording.arguments.is_empty() {
            self.queue.write_buffer(&recording.argument_buffer, 0, bytemuck::cast_slice(&recording.arguments));
        }
        recording.in_flight.push_back(self.queue.submit([encoder.finish()]));
        recording.total[1] += 1;
        recording.arguments.clear();
        (recording.launches, recording.pairs) = (0, 0);
        if let Some(error) = block_on(scope.pop()) {
            self.failures.record(failure_of(&error));
        }
        while recording.in_flight.len() > MAX_IN_FLIGHT {
            if let Err(Error::Backend(failure)) = self.wait(recording.in_flight.pop_front()) {
                self.failures.record(failure);
            }
        }
    }

    /// What was done so far.
    pub(crate) fn work(&self) -> Work {
        let [launches, submissions] = lock(&self.recording).total;
        Work { launches, submissions, kernels: self.pipelines.len() }
    }

    /// Writes words into a new piece of memory.
    pub(crate) fn upload(self: &Arc<Self>, words: &[u32], what: &'static str) -> Result<Chunk, Error> {
        let chunk = self.take(words.len(), what)?;
        self.write(words, chunk.start())?;
        Ok(chunk)
    }
}
