//! Sinkhorn divergences between point clouds as an operation of [burn](https://burn.dev) that can be differentiated.
//!
//! The pattern of every operation of `ot-diff` in a framework of automatic differentiation: the forward pass solves and keeps the gradient,
//! the backward pass multiplies it by what arrives. No iteration is recorded, and memory is O(n + m).
//!
//! ```
//! use burn_autodiff::Autodiff;
//! use burn_ndarray::NdArray;
//! use burn_tensor::Tensor;
//! use ot_burn::sinkhorn_divergence;
//!
//! type B = Autodiff<NdArray<f64>>;
//! let device = Default::default();
//! let x = Tensor::<B, 2>::from_data([[0.0], [1.0]], &device).require_grad();
//! let y = Tensor::<B, 2>::from_data([[2.0], [3.0]], &device);
//! let loss = sinkhorn_divergence(x.clone(), y, 0.5)?;
//! let gradients = loss.backward();
//! let of_x: Vec<f64> = x.grad(&gradients).unwrap().into_data().to_vec().unwrap();
//! // A translation by 2.
//! assert!(of_x.iter().all(|slope| (slope + 2.0).abs() < 1e-5));
//! # Ok::<(), ot_burn::Error>(())
//! ```

use burn_autodiff::{
    Autodiff,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn_tensor::{Tensor, TensorData, TensorPrimitive, backend::Backend};
pub use ot_core::Error;
use ot_core::{Epsilon, PointCloud, Side, SqEuclidean};
use ot_cpu::CpuBackend;
use ot_diff::{Gradient, divergence_and_gradient};
use ot_solvers::SinkhornDivergence;

/// S_epsilon(x, y) between n x d and m x d points of equal weights, under squared distances: a tensor of one number, with gradients
/// in the points of both.
///
/// # Errors
/// [`Error::Parameter`] for points that cannot be read, those of [`PointCloud::uniform`] for points that are none, and those of
/// [`SinkhornDivergence::between`].
pub fn sinkhorn_divergence<B: Backend, C: CheckpointStrategy>(
    x: Tensor<Autodiff<B, C>, 2>,
    y: Tensor<Autodiff<B, C>, 2>,
    epsilon: f64,
) -> Result<Tensor<Autodiff<B, C>, 1>, Error> {
    let device = x.device();
    let [x, y] = [x, y].map(|points| points.into_primitive().tensor());
    let points =
        [&x, &y].map(|points| Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(points.primitive.clone())));
    let (value, gradients) = value_and_gradients(&points, epsilon)?;
    let value = Tensor::<B, 1>::from_data(TensorData::new(vec![value], [1]), &device).into_primitive().tensor();
    let output = match Divergence.prepare::<C>([x.node.clone(), y.node.clone()]).compute_bound().stateful() {
        OpsKind::Tracked(operation) => {
            let gradients = gradients.map(|(values, shape)| {
                Tensor::<B, 2>::from_data(TensorData::new(values, shape), &device).into_primitive().tensor()
            });
            operation.finish(gradients, value)
        }
        OpsKind::UnTracked(operation) => operation.finish(value),
    };
    Ok(Tensor::from_primitive(TensorPrimitive::Float(output)))
}

/// A gradient, point by point, and its shape.
type PointGradient = (Vec<f64>, [usize; 2]);

/// The divergence and its gradients in the points of both clouds.
fn value_and_gradients<B: Backend>(
    points: &[Tensor<B, 2>; 2],
    epsilon: f64,
) -> Result<(f64, [PointGradient; 2]), Error> {
    let backend = CpuBackend::<f64>::with_available_threads()?;
    let shapes = points.each_ref().map(|points| points.dims());
    let [x, y] = points.each_ref().map(|points| {
        let values = points.clone().into_data().convert::<f64>().to_vec::<f64>();
        let unread = Error::Parameter { name: "points", value: f64::NAN, expected: "numbers" };
        PointCloud::uniform(values.map_err(|_| unread)?, points.dims()[1])
    });
    let divergence = SinkhornDivergence::new().between(&backend, &x?, &y?, &SqEuclidean, Epsilon::Absolute(epsilon))?;
    let (values, mut gradient) = divergence_and_gradient(&divergence)?;
    let [of_x, of_y] = Side::BOTH.map(|side| gradient.points(side));
    Ok((values[0], [(of_x?, shapes[0]), (of_y?, shapes[1])]))
}

/// The operation.
#[derive(Debug)]
struct Divergence;

impl<B: Backend> Backward<B, 2> for Divergence {
    /// The gradients in both clouds.
    type State = [B::FloatTensorPrimitive; 2];

    fn backward(self, operation: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let arrived = gradients.consume::<B>(&operation.node);
        let arrived = Tensor::<B, 1>::from_primitive(TensorPrimitive::Float(arrived)).reshape([1, 1]);
        for (parent, gradient) in operation.parents.into_iter().zip(operation.state) {
            if let Some(parent) = parent {
                let gradient = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(gradient)) * arrived.clone();
                gradients.register::<B>(parent.id, gradient.into_primitive().tensor());
            }
        }
    }
}
