//! Which device of a machine.

use std::{sync::Arc, time::Duration};

use ot_core::{BackendFailure, Error};

use crate::gpu::{Gpu, block_on};

/// The device to use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Adapter {
    /// What the drivers of the machine put first.
    #[default]
    Default,
    /// The first whose name contains this text, whatever the case of its letters.
    Named(String),
    /// One that needs little power: a GPU that is part of the processor, mostly.
    LowPower,
    /// The fastest.
    HighPerformance,
}

impl Adapter {
    /// The adapters of this machine, each in a line: name, kind, interface, driver.
    #[must_use]
    pub fn available() -> Vec<String> {
        let adapters = block_on(instance().enumerate_adapters(wgpu::Backends::all()));
        adapters.iter().map(|adapter| described(&adapter.get_info())).collect()
    }

    /// Opens the device.
    pub(crate) fn open(&self, timeout: Duration) -> Result<Arc<Gpu>, Error> {
        let adapter = self.find()?;
        let limits = adapter.limits();
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("ot"),
            // What every device has, but for the sizes of buffers.
            required_limits: wgpu::Limits {
                max_buffer_size: limits.max_buffer_size,
                max_storage_buffer_binding_size: limits.max_storage_buffer_binding_size,
                ..wgpu::Limits::default()
            },
            ..wgpu::DeviceDescriptor::default()
        };
        let refused = |error| no_device(format!("{} refused: {error}", described(&adapter.get_info())));
        let (device, queue) = block_on(adapter.request_device(&descriptor)).map_err(refused)?;
        Gpu::own(device, queue, timeout)
    }

    fn find(&self) -> Result<wgpu::Adapter, Error> {
        let instance = instance();
        let power_preference = match self {
            Self::Named(name) => {
                let wanted = name.to_lowercase();
                let adapters = block_on(instance.enumerate_adapters(wgpu::Backends::all()));
                let is_wanted = |adapter: &wgpu::Adapter| adapter.get_info().name.to_lowercase().contains(&wanted);
                return adapters.iter().find(|adapter| is_wanted(adapter)).cloned().ok_or_else(|| {
                    let found: Vec<_> = adapters.iter().map(|adapter| described(&adapter.get_info())).collect();
                    no_device(format!("none is named {name:?}; found [{}]", found.join("; ")))
                });
            }
            Self::Default => wgpu::PowerPreference::None,
            Self::LowPower => wgpu::PowerPreference::LowPower,
            Self::HighPerformance => wgpu::PowerPreference::HighPerformance,
        };
        let options = wgpu::RequestAdapterOptions { power_preference, ..wgpu::RequestAdapterOptions::default() };
        block_on(instance.request_adapter(&options)).map_err(|error| no_device(error.to_string()))
    }
}

/// The interfaces to the drivers; the environment may choose among them (`WGPU_BACKEND`).
fn instance() -> wgpu::Instance {
    wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env())
}

/// An adapter in words.
pub(crate) fn described(info: &wgpu::AdapterInfo) -> String {
    let wgpu::AdapterInfo { name, device_type, backend, driver, driver_info, .. } = info;
    format!("{name} ({device_type:?}, {backend:?}, {driver} {driver_info})")
}

fn no_device(text: String) -> Error {
    BackendFailure::NoDevice(text).into()
}
