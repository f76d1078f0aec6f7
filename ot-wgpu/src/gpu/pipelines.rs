//! Compiled kernels, kept by what they are made of.

use std::{borrow::Cow, collections::HashMap, num::NonZero, sync::Mutex};

use ot_core::{BackendFailure, Error, program::CodeKey};

use super::{arguments::MAX_WORDS, block_on, failure::lock, windows::MAX_WINDOWS};

/// What a shader is made of: the name of the kernel, the formulas in it (without the values of their parameters) and
/// whatever else its text depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) kernel: &'static str,
    pub(crate) formulas: Vec<CodeKey>,
    pub(crate) options: Vec<u32>,
}

/// Layouts, and the pipelines made so far.
#[derive(Debug)]
pub(super) struct Pipelines {
    /// Without windows and with them.
    group_layouts: [wgpu::BindGroupLayout; 2],
    layouts: [wgpu::PipelineLayout; 2],
    /// By the layout of the arguments, and by what else the text is made of.
    known: Mutex<HashMap<u64, HashMap<Key, wgpu::ComputePipeline>>>,
}

impl Pipelines {
    pub(super) fn new(device: &wgpu::Device) -> Self {
        let entry = |binding: usize, read_only: bool, has_dynamic_offset: bool| wgpu::BindGroupLayoutEntry {
            binding: binding as u32,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: wgpu::BufferBindingType::Storage { read_only },
                has_dynamic_offset,
                min_binding_size: None,
            },
            count: None,
        };
        let group_layouts = [0, MAX_WINDOWS].map(|windows| {
            let mut entries = vec![entry(0, false, false), entry(1, true, true)];
            entries.extend((2..2 + windows).map(|binding| entry(binding, true, false)));
            let descriptor = wgpu::BindGroupLayoutDescriptor { label: Some("ot"), entries: &entries };
            device.create_bind_group_layout(&descriptor)
        });
        let layouts = group_layouts.each_ref().map(|layout| {
            device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some("ot"),
                bind_group_layouts: &[Some(layout)],
                immediate_size: 0,
            })
        });
        Self { group_layouts, layouts, known: Mutex::default() }
    }

    /// The bind group of the words, the arguments and windows of data.
    pub(super) fn bind_group(
        &self,
        device: &wgpu::Device,
        words: &wgpu::Buffer,
        arguments: &wgpu::Buffer,
        windows: Option<[&wgpu::Buffer; MAX_WINDOWS]>,
    ) -> wgpu::BindGroup {
        let of_arguments =
            wgpu::BufferBinding { buffer: arguments, offset: 0, size: NonZero::new(4 * MAX_WORDS as u64) };
        let mut resources = vec![words.as_entire_binding(), wgpu::BindingResource::Buffer(of_arguments)];
        resources.extend(windows.iter().flatten().map(|window| window.as_entire_binding()));
        let entries: Vec<_> =
            (0..).zip(resources).map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource }).collect();
        device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("ot"),
            layout: &self.group_layouts[usize::from(windows.is_some())],
            entries: &entries,
        })
    }

    /// The pipeline of a key and a layout of arguments, compiled from `source` at its first use.
    pub(super) fn get(
        &self,
        device: &wgpu::Device,
        layout: u64,
        key: &Key,
        has_windows: bool,
        source: impl FnOnce() -> String,
    ) -> Result<wgpu::ComputePipeline, Error> {
        if let Some(pipeline) = lock(&self.known).get(&layout).and_then(|known| known.get(key)) {
            return Ok(pipeline.clone());
        }
        let pipeline = compile(device, &self.layouts[usize::from(has_windows)], key.kernel, source())?;
        lock(&self.known).entry(layout).or_default().insert(key.clone(), pipeline.clone());
        Ok(pipeline)
    }

    /// Number of kernels compiled so far.
    pub(super) fn len(&self) -> usize {
        lock(&self.known).values().map(HashMap::len).sum()
    }
}

/// Compiles one kernel. Errors are those of this thread: the scope and what it catches are on it.
fn compile(
    device: &wgpu::Device,
    layout: &wgpu::PipelineLayout,
    kernel: &str,
    source: String,
) -> Result<wgpu::ComputePipeline, Error> {
    let scopes =
        [wgpu::ErrorFilter::Internal, wgpu::ErrorFilter::Validation].map(|filter| device.push_error_scope(filter));
    let source = wgpu::ShaderSource::Wgsl(Cow::Owned(source));
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: Some(kernel), source });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(kernel),
        layout: Some(layout),
        module: &module,
        entry_point: Some("main"),
        // Kernels write what they read of it.
        compilation_options: wgpu::PipelineCompilationOptions {
            zero_initialize_workgroup_memory: false,
            ..Default::default()
        },
        cache: None,
    });
    let errors = scopes.into_iter().rev().filter_map(|scope| block_on(scope.pop()));
    match errors.reduce(|first, _| first) {
        None => Ok(pipeline),
        Some(error) => Err(BackendFailure::Compiler(format!("kernel {kernel}: {error}")).into()),
    }
}
