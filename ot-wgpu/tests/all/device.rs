//! Devices that are shared, lost, too small, and sizes at the ends.

use std::sync::Arc;

use ot_conformance::Seeded;
use ot_core::{
    ActiveColumns, Backend, BackendFailure, Balanced, CTransform, CostMatrix, Epsilon, Error, Fold, GeometryBuilder,
    Marginal, Operand, PlanSide, PlanView, PointCloud, PointsView, Problem, Program, RecordedPenalty, Side,
    SqEuclidean, Support, WeightsView,
};
use ot_cpu::CpuBackend;
use ot_solvers::Sinkhorn;
use ot_wgpu::{Adapter, Wgpu, WgpuBackend};

use crate::support::{backend_or_return, own_backend};

/// Softmins at zero potentials.
fn softmins<G: GeometryBuilder>(builder: &G, x: &[f32], y: &[f32], side: Side, epsilon: f64) -> Vec<f32>
where
    G::Device: ot_core::Device<Elem = f32>,
{
    let points = |points| Support::Points(PointsView::new(points, 1).unwrap());
    let geometry = builder.geometry(points(x), points(y), &SqEuclidean).unwrap();
    let backend = geometry.backend();
    let backend = backend.as_ref();
    let penalty = RecordedPenalty::new(&Balanced).unwrap();
    let marginal = |len: usize| {
        let weights = vec![1.0 / len as f32; len];
        Marginal::new(backend, WeightsView::new(&weights, 1).unwrap(), penalty.clone()).unwrap()
    };
    let (a, b) = (marginal(x.len()), marginal(y.len()));
    let (f, g) = (backend.filled(0.0, x.len(), 1).unwrap(), backend.filled(0.0, y.len(), 1).unwrap());
    let plan =
        PlanView { source: PlanSide::new(&f, a.device_weights()), target: PlanSide::new(&g, b.device_weights()) };
    let mut kernel = geometry.bind_entropic(epsilon, 1).unwrap();
    let mut out = backend.alloc(geometry.len(side), 1).unwrap();
    let request = CTransform { side, plan, penalty: &penalty, active: &ActiveColumns::all(1) };
    kernel.c_transform(backend, request, &mut out, None).unwrap();
    backend.download(&[&out]).unwrap().swap_remove(0)
}

fn numbers(seed: u64, len: usize) -> Vec<f32> {
    Seeded::new(seed).vector::<f32>(len, 0.0, 1.0).iter().map(|&x| x as f32).collect()
}

/// Loops of software Vulkan end after 65 535 steps. Costs far from all potentials take the path of the largest exponent.
#[test]
fn long_rows_meet_no_limit_of_loops() {
    let (device, host) = (backend_or_return!(), CpuBackend::<f32>::new(1).unwrap().with_dense_limit(0));
    let (x, y) = (numbers(1, 3), numbers(2, 150_001));
    for epsilon in [0.3, 1e-4] {
        for (side, [x, y]) in [(Side::Source, [&x, &y]), (Side::Target, [&y, &x])] {
            let found = softmins(&device, x, y, side, epsilon);
            for (found, expected) in found.iter().zip(softmins(&host, x, y, side, epsilon)) {
                assert!((found - expected).abs() <= 4e-6, "{side} {epsilon}: {found} {expected}");
            }
        }
    }
}

#[test]
fn sizes_of_one_and_beside_tiles() {
    let (device, host) = (backend_or_return!(), CpuBackend::<f32>::new(1).unwrap());
    for (n, m) in [(1, 1), (1, 257), (255, 1), (256, 256), (257, 65)] {
        let (x, y) = (numbers(3, n), numbers(4, m));
        for side in Side::BOTH {
            let found = softmins(&device, &x, &y, side, 0.05);
            for (found, expected) in found.iter().zip(softmins(&host, &x, &y, side, 0.05)) {
                assert!((found - expected).abs() <= 2e-6, "{n} x {m}, {side}: {found} {expected}");
            }
        }
    }
}

#[test]
fn nothing_is_done_for_no_rows_and_no_columns() {
    let device: &dyn Backend<Wgpu> = &backend_or_return!();
    let (mut empty, mut none) = (device.alloc(0, 3).unwrap(), device.alloc(4, 0).unwrap());
    device.fill(1.0, &mut empty).unwrap();
    device.write(&[], &mut none).unwrap();
    let mut sums = device.alloc_reduced(3).unwrap();
    let itself = Program::record(|[x]| [x]).unwrap();
    device.reduce(&itself, Fold::Sum, 0, &[Operand::Vector(&empty)], &mut [&mut sums]).unwrap();
    assert_eq!(device.read(&[&sums]).unwrap(), [[0.0; 3]]);
    assert_eq!(device.download(&[&empty, &none]).unwrap(), [[0.0; 0]; 2]);
}

#[test]
fn more_columns_than_a_launch_has_groups() {
    let device: &dyn Backend<Wgpu> = &backend_or_return!();
    let columns = 70_001;
    let values: Vec<f32> = (0..2 * columns).map(|k| k as f32).collect();
    let vector = device.upload(&values, columns).unwrap();
    let mut sums = device.alloc_reduced(columns).unwrap();
    let itself = Program::record(|[x]| [x]).unwrap();
    device.reduce(&itself, Fold::Sum, 2, &[Operand::Vector(&vector)], &mut [&mut sums]).unwrap();
    let found = device.read(&[&sums]).unwrap().swap_remove(0);
    assert!(found.iter().enumerate().all(|(k, &sum)| sum == 4.0 * k as f64 + 1.0));
}

/// Vectors survive that the buffer they lie in is replaced by larger ones.
#[test]
fn memory_grows_and_keeps_what_it_holds() {
    let Some(backend) = own_backend() else { return };
    let device: &dyn Backend<Wgpu> = &backend;
    let sizes: Vec<usize> = (0..8).map(|k| 1000 << k).chain([3_000_000]).collect();
    let vectors: Vec<_> = sizes.iter().map(|&len| device.filled(len as f64, len, 1).unwrap()).collect();
    for (len, vector) in sizes.iter().zip(&vectors) {
        let found = device.download(&[vector]).unwrap().swap_remove(0);
        assert!(found.len() == *len && found.iter().all(|&value| value == *len as f32));
    }
    let refused = device.alloc(1 << 31, 4).err();
    assert!(matches!(refused, Some(Error::OutOfMemory { .. })), "{refused:?}");
    assert_eq!(device.download(&[&vectors[0]]).unwrap()[0][0], 1000.0);
}

#[test]
fn a_device_that_is_lost_is_told_by_every_read() {
    let Some(backend) = own_backend() else { return };
    let cloud = |seed: u64| PointCloud::uniform(numbers(seed, 400), 2).unwrap();
    let (a, b) = (cloud(5), cloud(6));
    let geometry =
        backend.geometry(ot_core::Measure::support(&a), ot_core::Measure::support(&b), &SqEuclidean).unwrap();
    let problem = Problem::new(geometry, &a, &b, Epsilon::Absolute(0.05)).unwrap();
    let device: &dyn Backend<Wgpu> = &backend;
    let vector = device.filled(1.0, 10, 1).unwrap();
    backend.device().destroy();
    for _ in 0..2 {
        let lost = device.download(&[&vector]).err();
        assert!(matches!(lost, Some(Error::Backend(BackendFailure::DeviceLost(_)))), "{lost:?}");
    }
    let lost = Sinkhorn::default().solve(&problem).err();
    assert!(matches!(lost, Some(Error::Backend(BackendFailure::DeviceLost(_)))), "{lost:?}");
}

#[test]
fn a_device_of_an_embedding_program_is_used_beside_it() {
    let Some(own) = own_backend() else { return };
    let queue = {
        // A second queue handle of the same device cannot be had: the program opens its own.
        let instance =
            ot_wgpu::wgpu::Instance::new(ot_wgpu::wgpu::InstanceDescriptor::new_without_display_handle_from_env());
        let options = ot_wgpu::wgpu::RequestAdapterOptions::default();
        let adapter = ready(instance.request_adapter(&options)).unwrap();
        ready(adapter.request_device(&ot_wgpu::wgpu::DeviceDescriptor::default())).unwrap()
    };
    let (device, queue) = queue;
    let shared = WgpuBackend::from_device(device.clone(), queue).unwrap();
    let (x, y) = (numbers(7, 50), numbers(8, 60));
    assert_eq!(softmins(&shared, &x, &y, Side::Source, 0.1), softmins(&own, &x, &y, Side::Source, 0.1));
    let vector = Backend::<Wgpu>::upload(&shared, &[1.0], 1).unwrap();
    device.destroy();
    let lost = shared.download(&[&vector]).err();
    assert!(matches!(lost, Some(Error::Backend(BackendFailure::DeviceLost(_)))), "{lost:?}");
}

/// The result of a future that is ready at once.
fn ready<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("not ready"),
    }
}

/// Two devices, and two threads on each, give the bits of one alone.
#[test]
fn devices_and_threads_side_by_side() {
    let (Some(first), Some(second)) = (own_backend(), own_backend()) else { return };
    let (x, y) = (Arc::new(numbers(9, 333)), Arc::new(numbers(10, 222)));
    let expected = softmins(&first, &x, &y, Side::Source, 0.02);
    let found: Vec<_> = std::thread::scope(|scope| {
        let run = |device: &WgpuBackend| {
            let (device, x, y) = (device.clone(), Arc::clone(&x), Arc::clone(&y));
            scope.spawn(move || (0..4).map(|_| softmins(&device, &x, &y, Side::Source, 0.02)).collect::<Vec<_>>())
        };
        let threads = [run(&first), run(&second), run(&first), run(&second)];
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(found.iter().all(|found| *found == expected));
}

#[test]
fn a_device_that_nobody_has_is_refused_with_what_there_is() {
    let error = WgpuBackend::new(Adapter::Named("no such device".into())).err();
    let Some(Error::Backend(BackendFailure::NoDevice(text))) = error else { panic!("{error:?}") };
    assert!(text.contains("no such device") && text.contains("found ["), "{text}");
}

/// Dropping what refers to a device with work in flight neither waits nor panics.
#[test]
fn a_backend_is_dropped_with_work_in_flight() {
    let Some(backend) = own_backend() else { return };
    let (x, y) = (numbers(11, 500), numbers(12, 500));
    let points = |points| Support::Points(PointsView::new(points, 1).unwrap());
    let geometry = backend.geometry(points(&x), points(&y), &SqEuclidean).unwrap();
    let mut vector = Backend::<Wgpu>::alloc(&backend, 100_000, 4).unwrap();
    for value in 0..600 {
        backend.fill(f64::from(value), &mut vector).unwrap();
    }
    drop((backend, geometry));
}

/// Squares of large costs leave single precision; their deviation does not.
#[test]
fn statistics_of_large_costs_are_finite() {
    let device = backend_or_return!();
    let scale = 1e24;
    let matrix = CostMatrix::new(vec![1.0 * scale, 3.0 * scale, 5.0 * scale, 7.0 * scale], 2, 2).unwrap();
    let geometry = device.geometry(Support::Indices(2), Support::Indices(2), &matrix).unwrap();
    let weights = [0.5, 0.5];
    let view = WeightsView::new(&weights, 1).unwrap();
    let found = geometry.cost_statistics(view, view).unwrap();
    assert!((found.mean / scale - 4.0).abs() < 1e-5, "{found:?}");
    assert!((found.deviation / scale - 5.0_f64.sqrt()).abs() < 1e-5, "{found:?}");
}
