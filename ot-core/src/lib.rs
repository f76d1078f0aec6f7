//! The contract of a computational optimal transport framework.
//!
//! Regularised transport between measures a and b, with a penalty on either marginal, is
//!
//! ```text
//! min_P  <P, C> + epsilon sum_ij a_i b_j h(P_ij / (a_i b_j)) + sum_i a_i phi((P 1)_i / a_i) + sum_j b_j psi((P^T 1)_j / b_j)
//! P_ij = a_i b_j h*'((f_i + g_j - C_ij) / epsilon)
//! ```
//!
//! with h(p) = p log p - p + 1 unless asked otherwise: epsilon KL(P | a b^T), and P_ij = a_i b_j exp((f_i + g_j - C_ij) / epsilon).
//! Each symbol has a type:
//!
//! | symbol | type | what it is |
//! |---|---|---|
//! | a, b | [`Measure`] | weights over a [`Support`]: a [`PointCloud`], a [`GridHistogram`], a [`VertexHistogram`], a [`Histogram`], one of another crate |
//! | C | [`GroundCost`] | a formula ([`CostFormula`]), a matrix ([`CostMatrix`]) or a closure ([`CostFunction`]) |
//! | phi, psi | [`MarginalPenalty`] | [`Balanced`], [`Kl`], [`TotalVariation`], [`Range`], [`Free`], any [`Capped`], or one of yours |
//! | h | [`Regularizer`] | [`Entropy`], [`SquaredL2`], or one of yours |
//! | epsilon | [`Epsilon`] | a value, or a rule that gives one |
//! | vectors | [`Backend`] | operations on the vectors of a [`Device`]: threads of the host, a GPU |
//! | C between a and b | [`Geometry`] | the data of the cost on one backend, without epsilon; a [`GeometryBuilder`] makes it |
//! | P | [`KernelOp`] | one geometry bound to one h and one epsilon: c-transforms, densities, sweeps, products |
//! | the problem | [`Problem`] | all of the above, checked once |
//! | f, g, P | [`Solution`] | [`Potentials`], the [`Plan`] as an operator, a [`Status`] and a [`Certificate`] |
//!
//! Whatever a user writes as a formula is written once over [`Real`] and read in three ways: as numbers, as
//! [`Dual`] numbers (its own derivative), and as a [`Program`] that a host interprets in blocks and a device
//! compiles.
//!
//! Backends (`ot-cpu`, ...) and solvers (`ot-solvers`) depend on this crate alone and never on each other. How
//! to add a cost, a penalty, a regularizer, a kernel, a backend or a solver of your own: see [`extending`]. The
//! properties that they must have are tests of the crate `ot-conformance`.

pub mod backend;
pub mod certificate;
pub mod cost;
pub mod dual;
pub mod entropy;
pub mod epsilon;
pub mod error;
#[doc = include_str!("../docs/extending.md")]
pub mod extending {}
pub mod host;
pub mod instructions;
#[cfg(any(
    feature = "csv",
    feature = "faer",
    feature = "nalgebra",
    feature = "nalgebra-sparse",
    feature = "ndarray",
    feature = "npy"
))]
pub mod interop;
pub mod joint;
pub mod kernel;
pub mod marginal;
pub mod measure;
pub mod penalty;
pub mod plan;
pub mod power_of_two;
pub mod problem;
pub mod program;
pub mod progress;
pub mod random;
pub mod real;
pub mod reference;
pub mod regularizer;
pub mod scalar;
pub mod side;
pub mod solution;
pub mod status;
pub mod translation;

pub use backend::{Backend, Device, Fold, Operand, Precision};
pub use certificate::{Certificate, RelativePlan, RoundedPlan, RoundingForm, certify, certify_along_plan};
pub use cost::{
    Chebyshev, Cosine, CostBetween, CostForm, CostFormula, CostFunction, CostMatrix, CostSummary, Euclidean,
    GroundCost, HalfSqEuclidean, ImpliedCost, Manhattan, MatrixValues, MatrixView, PNorm, Periodic, PowerOfDistance,
    Separable, SharedEntries, SharedMatrix, SqEuclidean, StridedMatrix, SumOfPowers,
};
pub use dual::Dual;
pub use entropy::{CountingEntropy, counting_potential};
pub use epsilon::{Epsilon, check_epsilon};
pub use error::{BackendFailure, Error};
pub use host::{Host, HostBackend};
pub use joint::{End, JointProblem, JointSolution, JointTerm, certify_joint};
pub use kernel::{
    ActiveColumns, Binding, ByProducts, CTransform, CappedPlan, CloudPair, CostStatistics, DeviceWeights, Elem,
    Entering, Geometry, GeometryBuilder, GibbsKernel, KernelOp, PlanOperator, PlanRounding, PlanSide, PlanView,
    Potentials, RoundedColumn, RoundedFactors, RoundedSide, RoundedValue, SoftMin, Sweep,
    capability::{
        ArcThreshold, CostDerivative, CostParameter, CostTangent, HardTransform, PairWeight, PlanCells, PlanProduct,
        PricedArc, TransportCost, WeightedPlan,
    },
};
pub use marginal::Marginal;
pub use measure::{
    Axis, BoundingBox, BoxNode, BoxTree, Graph, Grid, GridHistogram, Histogram, Measure, PointCloud, PointsView,
    Support, TriangleMesh, VertexHistogram, Vertices, WeightsView,
};
pub use penalty::{
    Balanced, Capped, Free, Kl, MarginalPenalty, PenaltyDerivative, PenaltyKind, Range, RecordedPenalty, TotalVariation,
};
pub use plan::{Plan, PlanEntry};
pub use problem::Problem;
pub use program::{Program, ProgramError, Recorder};
pub use progress::{Observer, Phase, Progress};
pub use random::Random;
pub use real::{Number, Real};
pub use reference::ReferenceGeometry;
pub use regularizer::{Entropy, RecordedRegularizer, Regularizer, RegularizerKind, SquaredL2};
pub use scalar::{LOG_ZERO, Scalar, UNREACHABLE};
pub use side::Side;
pub use solution::Solution;
pub use status::Status;
pub use translation::Translation;
