//! The error of each function on the device, in single precision and in pairs.

use ot_core::{Backend, Operand, Program, Real};
use ot_wgpu::Wgpu;

use crate::support::backend_or_return;

/// exp, ln, sqrt, sin, cos, atan, and a quotient.
fn functions<R: Real>(x: R) -> [R; 4] {
    let size = x.abs() + 1.0;
    [(-(x * x) * 0.01).exp() + size.ln() * size.sqrt(), x.sin(), x.cos(), x.atan() / size]
}

/// Numbers between -30 and 30, some of them near zero.
fn arguments() -> Vec<f64> {
    let wide = (0..2001).map(|k| f64::from((0.03 * f64::from(k) - 30.0) as f32));
    wide.chain([1e-3, -1e-6, 1e-12, 0.414, 0.415, 2.414, 2.415]).map(|x| f64::from(x as f32)).collect()
}

fn largest_error(found: &[Vec<f64>], arguments: &[f64]) -> [f64; 4] {
    let mut errors = [0.0_f64; 4];
    for (row, &x) in arguments.iter().enumerate() {
        for (output, expected) in functions(x).into_iter().enumerate() {
            errors[output] = errors[output].max((found[output][row] - expected).abs() / expected.abs().max(1.0));
        }
    }
    errors
}

#[test]
fn functions_in_single_precision() {
    let backend: &dyn Backend<Wgpu> = &backend_or_return!();
    let (program, x) = (Program::record(|[x]| functions(x)).unwrap(), arguments());
    let values: Vec<f32> = x.iter().map(|&x| x as f32).collect();
    let vector = backend.upload(&values, 1).unwrap();
    let mut outputs = [(); 4].map(|()| backend.alloc(x.len(), 1).unwrap());
    let [a, b, c, d] = &mut outputs;
    backend.map(&program, &[Operand::Vector(&vector)], &mut [a, b, c, d]).unwrap();
    let found = backend.download(&outputs.each_ref()).unwrap();
    let found: Vec<Vec<f64>> = found.into_iter().map(|column| column.into_iter().map(f64::from).collect()).collect();
    let errors = largest_error(&found, &x);
    assert!(errors[0] < 2e-6 && errors[1..].iter().all(|&error| error < 3e-7), "{errors:?}");
}

#[test]
fn functions_in_pairs() {
    let backend: &dyn Backend<Wgpu> = &backend_or_return!();
    let (program, x) = (Program::record(|[x]| functions(x)).unwrap(), arguments());
    let vector = backend.upload_reduced(&x).unwrap();
    let mut outputs = [(); 4].map(|()| backend.alloc_reduced(x.len()).unwrap());
    let [a, b, c, d] = &mut outputs;
    backend.map_reduced(&program, &[Operand::Reduced(&vector)], &mut [a, b, c, d]).unwrap();
    let errors = largest_error(&backend.read(&outputs.each_ref()).unwrap(), &x);
    assert!(errors.iter().all(|&error| error < 1e-11), "{errors:?}");
}

/// Sums whose terms cancel keep 48 bits.
#[test]
fn sums_of_terms_that_cancel() {
    let backend: &dyn Backend<Wgpu> = &backend_or_return!();
    let values: Vec<f32> = (0..20_001).map(|k| if k % 2 == 0 { 1e6 + k as f32 } else { -1e6 }).collect();
    let expected: f64 = values.iter().map(|&value| f64::from(value)).sum();
    let vector = backend.upload(&values, 1).unwrap();
    let mut sum = backend.alloc_reduced(1).unwrap();
    let itself = Program::record(|[x]| [x]).unwrap();
    let operands = [Operand::Vector(&vector)];
    backend.reduce(&itself, ot_core::Fold::Sum, values.len(), &operands, &mut [&mut sum]).unwrap();
    let found = backend.read(&[&sum]).unwrap()[0][0];
    assert!((found - expected).abs() <= 1e-11 * 1e6 * values.len() as f64, "{found} {expected}");
}
