//! The device of the tests.

use std::sync::OnceLock;

use ot_core::{BackendFailure, Error};
use ot_wgpu::{Adapter, WgpuBackend};

/// A device that all tests share. None where the machine has none: what was left out is then said on the standard output,
/// and it is a failure if the variable `OT_WGPU_REQUIRE_ADAPTER` is 1.
pub fn backend() -> Option<WgpuBackend> {
    static BACKEND: OnceLock<Result<WgpuBackend, Error>> = OnceLock::new();
    available(BACKEND.get_or_init(|| WgpuBackend::new(Adapter::Default)).clone())
}

/// A device of its own, under the same conditions.
pub fn own_backend() -> Option<WgpuBackend> {
    available(WgpuBackend::new(Adapter::Default))
}

#[expect(clippy::print_stdout, reason = "what was left out is for the reader of a test run")]
fn available(backend: Result<WgpuBackend, Error>) -> Option<WgpuBackend> {
    match backend {
        Ok(backend) => Some(backend),
        Err(error @ Error::Backend(BackendFailure::NoDevice(_))) => {
            let is_required = std::env::var("OT_WGPU_REQUIRE_ADAPTER").is_ok_and(|value| value == "1");
            assert!(!is_required, "a device is required: {error}");
            println!("left out, for want of a device: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// The device of the tests; a test without one ends here.
macro_rules! backend_or_return {
    () => {
        match crate::support::backend() {
            Some(backend) => backend,
            None => return,
        }
    };
}
pub(crate) use backend_or_return;
