//! The operation among others: gradients are central differences, and what is not tracked costs nothing.

use burn_autodiff::Autodiff;
use burn_ndarray::NdArray;
use burn_tensor::{Tensor, TensorData};
use ot_burn::sinkhorn_divergence;

type B = Autodiff<NdArray<f64>>;

const EPSILON: f64 = 0.3;

fn tensor(values: &[f64]) -> Tensor<B, 2> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len() / 2, 2]), &Default::default())
}

/// A loss that has the operation in its middle.
fn loss(x: Tensor<B, 2>, y: Tensor<B, 2>) -> Tensor<B, 1> {
    let divergence = sinkhorn_divergence(x * 2.0, y, EPSILON).unwrap();
    divergence.clone() * divergence
}

#[test]
fn gradients_are_central_differences() {
    let points = [vec![0.1, -0.3, 0.7, 0.2, -0.5, 0.4, 0.9, -0.8], vec![0.3, 0.6, -0.2, 1.1, 1.4, -0.1]];
    let [x, y] = [tensor(&points[0]).require_grad(), tensor(&points[1]).require_grad()];
    let gradients = loss(x.clone(), y.clone()).backward();
    let found = [x, y].map(|points| points.grad(&gradients).unwrap().into_data().to_vec::<f64>().unwrap());
    let value = |points: &[Vec<f64>; 2]| loss(tensor(&points[0]), tensor(&points[1])).into_scalar();
    let step = 1e-4;
    for side in 0..2 {
        for index in 0..points[side].len() {
            let moved = |by: f64| {
                let mut moved = points.clone();
                moved[side][index] += by;
                value(&moved)
            };
            let expected = (moved(step) - moved(-step)) / (2.0 * step);
            assert!((found[side][index] - expected).abs() < 1e-5, "{} {expected}", found[side][index]);
        }
    }
}

#[test]
fn one_side_alone_is_tracked() {
    let x = tensor(&[0.0, 0.0, 1.0, 0.0]).require_grad();
    let y = tensor(&[0.0, 1.0, 1.0, 1.0]);
    let gradients = sinkhorn_divergence(x.clone(), y.clone(), EPSILON).unwrap().backward();
    let of_x = x.grad(&gradients).unwrap().into_data().to_vec::<f64>().unwrap();
    assert!(of_x.iter().zip([0.0, -1.0, 0.0, -1.0]).all(|(found, expected)| (found - expected).abs() < 1e-5));
    assert!(y.grad(&gradients).is_none());
}

#[test]
fn bad_input_is_an_error() {
    let x = || tensor(&[0.0, 0.0, 1.0, 0.0]);
    assert!(sinkhorn_divergence(x(), tensor(&[f64::NAN, 1.0]), EPSILON).is_err());
    assert!(sinkhorn_divergence(x(), x(), -1.0).is_err());
}
