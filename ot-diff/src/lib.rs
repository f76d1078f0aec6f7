//! Derivatives of optimal transport, forward and reverse, first and second order, over any kernel.
//!
//! Three ways, from the cheapest to the most general:
//!
//! | way | differentiates | costs |
//! |---|---|---|
//! | envelope: [`value_and_gradient`] | optimal values (Danskin 1967) | no linear system |
//! | implicit: [`Linearised`] | what is read off a converged solution: potentials, plan, marginals, costs, projections | one linear system, of two products with the plan a step |
//! | unrolled: [`Unrolled`] | exactly L iterations, converged or not | two products with the plan a half-step |
//!
//! Barycenters go the implicit way, by systems of their own: [`LinearisedBarycenter`] on a fixed support, plain, sharpened or debiased;
//! [`LinearisedFreeSupport`] where the points move.
//!
//! All are written over the contract of `ot-core`: any kernel (stored, streamed, one of yours), any device, any penalty whose
//! step has no kink where it stands, batches, `f32` and `f64`. A cost, a penalty or a parameter of yours needs no derivative by
//! hand: formulas are read with dual numbers. Everything that is a gradient answers the questions of one trait,
//! [`Gradient`], block by block as it is read. States ([`Linearised`], [`Trajectory`], [`Pullback`]) are owned and [`Send`];
//! there is no tape and no global, and the same input gives the same bits for any number of threads.
//!
//! ```
//! use ot_core::{Epsilon, PointCloud, Side, SqEuclidean};
//! use ot_cpu::CpuBackend;
//! use ot_diff::{Gradient, Linearised, Output, Tangent, value_and_gradient};
//! use ot_solvers::transport;
//!
//! let backend = CpuBackend::<f64>::with_available_threads()?;
//! let source = PointCloud::uniform(vec![0.0, 0.0, 1.0, 0.0, 0.0, 1.0], 2)?;
//! let target = PointCloud::uniform(vec![2.0, 1.0, 3.0, 1.0, 2.0, 2.0], 2)?;
//! let solution = transport(&backend, &source, &target, &SqEuclidean, Epsilon::default())?;
//!
//! // The optimal value, and its gradient in the points.
//! let (values, mut gradient) = value_and_gradient(&solution)?;
//! let points = gradient.points(Side::Source)?;
//!
//! // The potentials along a direction of the data, and cotangents of them back to the data.
//! let mut linearised = Linearised::new(&solution)?;
//! let tangent = Tangent::new().points(Side::Target, vec![0.1; 6]);
//! let moved = linearised.push_forward(&tangent)?.of(&Output::Potential(Side::Source))?;
//! let mut cotangent = linearised.pull_back(&[(&Output::Potential(Side::Source), &[1.0, 0.0, 0.0])])?;
//! assert!((cotangent.along(&tangent)? - moved[0]).abs() < 1e-8);
//! # assert_eq!((values.len(), points.len()), (1, 6));
//! # Ok::<(), ot_core::Error>(())
//! ```
//!
//! # What is supported
//!
//! Inputs are P (points of either side), M (entries of a cost matrix), F (parameters that a cost's formula names), W (weights of
//! either side), E (epsilon), R (parameters of a penalty: rho), L (weights lambda of a barycenter), H (a bound of its entropy). Accuracy is that of the tests, against
//! central differences of sixth order in `f64`, against `f64` in `f32`. Tests are named below `tests/all`; costs count passes over the
//! pairs after a solve, k is the number of steps of conjugate gradients.
//!
//! | output | inputs | way, modes | cost | f64 | f32 | test |
//! |---|---|---|---|---|---|---|
//! | optimal value | P M F W E R | envelope, reverse | 1 for each block | 1e-8 | 1e-3 | `laws::*::the_value_has_the_gradient_of_the_envelope` |
//! | its Hessian product, blocks P M F W | P M F W E | implicit, forward | k + 4, 3 for each block | 1e-8 | - | `laws::*::hessian_products_are_changes_of_the_gradient` |
//! | potentials, <P, C>, marginals, P v, barycentric projection | P M F W E R | implicit, forward | k + 4, 1 to 4 for each output | 1e-8 | 1e-3 | `laws::*::outputs_move_as_pushed_forward` |
//! | the same, any number at once | P M F W E R | implicit, reverse | k + 6, 1 to 6 for each block | 1e-11 of forward | 1e-3 | `laws::*::the_pull_back_is_the_transpose` |
//! | values or points under the plan | - | implicit, reverse | 1 | 1e-11 | - | `laws::*::values_under_the_plan_have_gradients` |
//! | <P_L, C> and the dual after L iterations | P M F W E R | unrolled, both | 2 L forward, 4 L back | 1e-8 | 1e-3 | `unrolled::*::gradients_are_differences_of_the_same_steps` |
//! | their Hessian products | W | unrolled | 8 L | 1e-7 | 1e-3 | `unrolled::*::hessians_are_changes_of_the_gradient` |
//! | Bregman barycenter | L P M F W E R, reference | implicit, both | k + 4 for each input, 1 to 6 for each block | 1e-7 | 5e-3 | `barycenter::changes_are_differences_*` |
//! | barycenter of bounded entropy | L P M F W E R H, reference | implicit, both | k + 4 for each input, 1 to 6 for each block | 1e-6 | 5e-3 | `sharpened::changes_are_differences_*` |
//! | debiased barycenter | L P M F W E | implicit, both | k + 4 for each input and for p itself, 1 to 6 for each block | 1e-6 | 5e-3 | `debiased::changes_are_differences_*` |
//! | points of a barycenter | L P F W E | implicit, both | k Hessian products of each input | 1e-6 | 5e-3 | `free_support::changes_are_differences` |
//! | divergence: full, sharp, Genevay's; balanced or not | P F W E R | envelope, implicit | 3 times that of its terms | 1e-7 | - | `losses::divergences_have_their_gradients` |
//! | MMD^2: energy, Gaussian | P W | closed form | 1 | 1e-7 | - | `losses::discrepancies_have_their_gradients` |
//! | exact transport, the line | P M W, with proven uniqueness | envelope | 0 | 1e-8 | - | `losses::exact_transport_has_its_gradient` |
//! | sliced distance | P | envelope | 0 | 1e-6 | - | `losses::slices_have_their_gradient` |
//! | W_2^2 between Gaussians | mean, covariance | closed form | 0 | 1e-7 | - | `losses::gaussians_have_their_gradient` |
//!
//! A step of conjugate gradients is one pass where the kernel has a [`PlanProduct`](ot_core::PlanProduct), and two where it has not. Over
//! stored costs of `ot-cpu` the entries of the plan are kept for it, as long as they are no more than the
//! [dense limit](https://docs.rs/ot-cpu): 8 bytes for each pair in `f64`.
//!
//! Over streamed costs nothing is held for each pair: gradients in points, and the solve before them, take O(n + m) memory
//! (`process::the_gradient_of_the_value`, `process::the_gradient_through_a_linear_solve`; `compare --suite diff` prints the peak at n = 50 000,
//! 31 MiB in `f32` on two threads, solve included).
//!
//! A kernel that does not know a derivative of its cost says [`MissingCapability`](ot_core::Error::MissingCapability):
//!
//! | kernel | knows | one pass a step | test |
//! |---|---|---|---|
//! | stored, of clouds or a matrix | P of a cost with a gradient, F of a formula, M, W, E, R | yes, entries kept | `laws::dense::*` |
//! | streamed, of clouds | P F W E R | yes, entries made anew | `laws::streaming::*` |
//! | block-sparse, of large clouds | P F W E R | no | `laws::block_sparse::*` |
//! | listed pairs | W E R | yes | `kernels::listed_pairs_have_derivatives_in_weights_and_epsilon` |
//! | grid | P of nodes where every axis knows a slope, the scale, W E R | no | `kernels::grids_have_derivatives_in_weights_epsilon_and_nodes` |
//! | heat on a graph | W, weights of edges | no | `heat::*` |
//! | reference, behind a device that defers | all | yes | `laws::deferred::*` |
//!
//! Single precision of all outputs: `single::single_precision_agrees_with_double`, `single::barycenters_agree_with_double`,
//! `unrolled::single_precision_agrees_with_double`.
//!
//! # What is not
//!
//! | asked | answer | test |
//! |---|---|---|
//! | a regularizer other than entropy | [`MissingCapability`](ot_core::Error::MissingCapability) | `bad_input::other_regularizers_are_refused` |
//! | potentials at a kink of a penalty's step | [`Parameter`](ot_core::Error::Parameter); the value has its gradient | `bad_input::kinks_are_refused` |
//! | a tangent that changes one mass of a balanced problem | [`Parameter`](ot_core::Error::Parameter) | `bad_input::mass_that_comes_from_nowhere_is_refused` |
//! | the envelope formula for <P, C> | does not hold: [`Linearised`] | `closed_form::the_envelope_is_wrong_for_the_transport_cost` |
//! | coincident points, cost a distance | finite: the gradient of a pair is 0 there | `bad_input::coincident_points_have_finite_derivatives` |
//! | a solution that did not converge | linearised where it stopped; [`Linearised::marginal_error`], [`Linearised::status`] | `bad_input::cancelled_solves_are_told` |
//! | a system that is not solved | [`LinearSolve`] tells residual, steps and status | `linear_solve::what_is_not_solved_is_told` |
//! | derivatives of several unknown measures | [`MissingCapability`](ot_core::Error::MissingCapability) | `barycenter::several_unknown_measures_are_refused` |
//! | a bound of entropy that does not bind | the derivative without a bound | `sharpened::bounds_that_do_not_bind` |
//! | points of a barycenter by exact plans, which are piecewise constant | [`MissingCapability`](ot_core::Error::MissingCapability) | `free_support::transports_of_the_solver` |
//! | a tangent that gives prescribed inputs of a barycenter different masses | [`Parameter`](ot_core::Error::Parameter) | `barycenter::bad_requests_are_told` |
//! | the slope of the unrolled dual in a weight of zero | [`Parameter`](ot_core::Error::Parameter) | `unrolled::weights_of_zero` |
//!
//! # In another language
//!
#![doc = include_str!("../docs/other-languages.md")]

mod algebra;
mod arcs;
#[cfg(feature = "argmin")]
pub mod argmin;
mod barycenter;
mod conjugate_gradient;
mod envelope;
mod frame;
mod free_support;
mod gradient;
mod linear_solve;
mod linearised;
mod minimal_residual;
mod optimum;
mod pullback;
mod space;
mod tangent;
mod unrolled;

pub use arcs::ArcsPreconditioner;
pub use barycenter::{
    BarycenterChange, BarycenterCotangent, BarycenterTangent, LinearisedBarycenter, barycenter_and_pullback,
    debiased_barycenter_and_pullback,
};
pub use envelope::{
    ValueGradient,
    discrepancy::DiscrepancyGradient,
    divergence::{DivergenceGradient, divergence_and_gradient},
    exact::{ExactGradient, Uniqueness, exact_gradient, sliced_gradient},
    gaussian::{GaussianGradient, gaussian_gradient},
    value_and_gradient,
};
pub use free_support::{FreeSupportChange, FreeSupportCotangent, FreeSupportTangent, LinearisedFreeSupport};
pub use gradient::Gradient;
pub use linear_solve::{LinearSolve, LinearSolver, Preconditioner};
pub use linearised::{Change, Cotangent, HessianProduct, Linearised, Output, Seed};
pub use pullback::{Pullback, value_and_pullback};
pub use tangent::Tangent;
pub use unrolled::{Memory, Objective, Trajectory, Unrolled, UnrolledGradient};
