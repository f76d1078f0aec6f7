//! The device of the tests.

use std::sync::OnceLock;

use ot_core::{ActiveColumns, BackendFailure, Error, Potentials, Problem, Side, Sweep};
use ot_wgpu::{Adapter, Wgpu, WgpuBackend};

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

/// Launches and submissions of some iterations of a problem of one column, with the read that ends them. The device is one
/// that no other test uses.
pub fn work_of_sweeps(device: &WgpuBackend, problem: &Problem<Wgpu>, iterations: usize) -> (u64, u64) {
    let mut kernel = problem.bind().unwrap();
    let backend = problem.backend();
    let zeros = |side: Side| backend.filled(0.0, problem.geometry().len(side), 1).unwrap();
    let all = || Potentials { source: zeros(Side::Source), target: zeros(Side::Target), epsilon: problem.epsilon() };
    let (mut potentials, mut scratch) = (all(), all());
    let relaxation = backend.upload_reduced(&[1.0]).unwrap();
    let before = device.work();
    for _ in 0..iterations {
        let sweep = Sweep {
            source: problem.marginal(Side::Source),
            target: problem.marginal(Side::Target),
            potentials: &mut potentials,
            relaxation: &relaxation,
            active: &ActiveColumns::all(1),
            scratch: &mut scratch,
            by_products: None,
        };
        kernel.sweep(backend, sweep).unwrap();
    }
    backend.download(&[&potentials.source]).unwrap();
    let after = device.work();
    (after.launches - before.launches, after.submissions - before.submissions)
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
