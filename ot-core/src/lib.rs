//! The contract of a computational optimal transport framework.
//!
//! Entropic transport between measures a and b, with a law on either marginal, is
//!
//! ```text
//! min_P  <P, C> + epsilon KL(P | a b^T) + sum_i a_i phi((P 1)_i / a_i) + sum_j b_j psi((P^T 1)_j / b_j)
//! P_ij = a_i b_j exp((f_i + g_j - C_ij) / epsilon)
//! ```
//!
//! and everything here is a noun of that sentence:
//!
//! | noun | what it is |
//! |---|---|
//! | [`Measure`] | weights a over a [`Support`]: a [`PointCloud`], a [`Histogram`], a third party's grid or mesh |
//! | [`GroundCost`] | C, as a formula ([`CostFormula`]), a matrix ([`CostMatrix`]) or a closure ([`CostFunction`]) |
//! | [`Regularizer`] | phi: [`Balanced`], [`Kl`], [`TotalVariation`], [`Range`], [`Free`], or a [`PenaltyFormula`] of yours |
//! | [`PlanRegularizer`] | what takes the place of KL, if asked: [`SquaredL2`], or a [`PlanFormula`] of yours |
//! | [`Epsilon`] | the rule that resolves to epsilon |
//! | [`Backend`] | where vectors live: threads of the host, a device with its queue |
//! | [`Geometry`] | the data of C between two supports on one backend; knows no epsilon |
//! | [`KernelOp`] | exp(-C / epsilon) of one solve, met through softmins, sweeps and functionals of its plan |
//! | [`Problem`] | all of the above, checked once |
//! | [`Solution`] | [`Potentials`] f and g, the [`Plan`] as an operator, a [`Status`] and a [`Certificate`] |
//!
//! Whatever a user writes as a formula is written once over [`Real`] and read three ways: as numbers, as
//! [`Dual`] numbers (its own derivative), and as a [`Program`] that a host interprets in blocks and a device
//! compiles.
//!
//! Backends (`ot-cpu`, ...) and solvers (`ot-solvers`) depend on this crate alone and never on each other. How
//! to add a cost, a law, a kernel or a backend of your own: see [`extending`]. Laws that they must pass come
//! with the feature `conformance`.

pub mod backend;
pub mod capability;
pub mod certificate;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod cost;
pub mod dual;
pub mod entropy;
pub mod epsilon;
pub mod error;
#[doc = include_str!("../docs/extending.md")]
pub mod extending {}
pub mod family;
pub mod geometry;
pub mod host;
#[cfg(any(feature = "nalgebra", feature = "faer"))]
pub mod interop;
pub mod kernel;
pub mod marginal;
pub mod measure;
pub mod plan;
pub mod plan_regularizer;
pub mod problem;
pub mod program;
pub mod real;
pub mod reference;
pub mod regularizer;
pub mod rounding;
pub mod scalar;
pub mod solution;
pub mod status;
pub mod translation;

pub use backend::{Backend, Fold, HostBackend, Operand, Side};
pub use capability::{
    CostDerivative, CostParameter, CostTangent, HardTransform, PairSum, PairWeight, PricedArc, TransportCost,
    WeightedPlan,
};
pub use certificate::{Certificate, certify};
pub use cost::{
    Chebyshev, Cosine, CostBetween, CostForm, CostFormula, CostFunction, CostMatrix, CostSummary, Euclidean,
    GroundCost, HalfSqEuclidean, Manhattan, MatrixValues, MatrixView, PNorm, PowerOfDistance, SharedEntries,
    SharedMatrix, SqEuclidean, StridedMatrix,
};
pub use dual::Dual;
pub use entropy::{CountingEntropy, counting_potential};
pub use epsilon::Epsilon;
pub use error::{BackendFailure, Error};
pub use family::{PlanFamily, Response, RoundedFactors};
pub use geometry::{CostSurvey, Geometry};
pub use kernel::{ActiveColumns, ByProducts, KernelOp, PlanSide, PlanView, Potentials, SoftMin, Sweep, two_half_steps};
pub use marginal::Marginal;
pub use measure::{BoundingBox, Histogram, Measure, PointCloud, PointsView, Support, WeightsView};
pub use plan::{Plan, PlanEntry};
pub use plan_regularizer::{Entropy, PlanFormula, PlanKind, PlanPrograms, PlanRegularizer, SquaredL2};
pub use problem::Problem;
pub use program::{Program, ProgramError, Recorder};
pub use real::{Number, Real};
pub use reference::ReferenceGeometry;
pub use regularizer::{Balanced, Free, Kl, LawKind, LawPrograms, PenaltyFormula, Range, Regularizer, TotalVariation};
pub use rounding::RoundedPlan;
pub use scalar::{LOG_ZERO, Scalar, UNREACHABLE};
pub use solution::Solution;
pub use status::{Check, Observer, Status};
pub use translation::Translation;
