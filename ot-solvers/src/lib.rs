//! Solvers over any backend and geometry.
//!
//! ```
//! use ot_core::{Epsilon, PointCloud, SqEuclidean};
//! use ot_cpu::CpuBackend;
//! use ot_solvers::transport;
//!
//! let backend = CpuBackend::<f64>::new(1)?;
//! let source = PointCloud::uniform(vec![0.0, 0.0, 1.0, 0.0, 0.0, 1.0], 2)?;
//! let target = PointCloud::uniform(vec![2.0, 1.0, 3.0, 1.0, 2.0, 2.0], 2)?;
//! let solution = transport(&backend, &source, &target, &SqEuclidean, Epsilon::default())?;
//!
//! assert!(solution.status().is_converged());
//! let certificate = solution.certificate();
//! assert!(certificate.marginal_error <= 1e-6 && certificate.gap <= 1e-4);
//! # Ok::<(), ot_core::Error>(())
//! ```

pub mod ascent;
pub mod barycenter;
mod clusters;
pub mod discrepancy;
pub mod divergence;
pub mod entropic;
pub mod exact;
pub mod front;
pub mod gaussian;
mod history;
pub mod interpolation;
mod limits;
pub mod low_rank;
pub mod many;
pub mod map;
mod named_values;
pub mod newton;
pub mod partial;
mod point_gradients;
pub mod propagation;
pub mod stochastic;
mod unit;
pub mod unregularized;

pub use ascent::{
    Ascent, ConcaveObjective, DualAscent, DualAscentRun, DualObjective, HardSemiDualObjective, Lbfgs, SemiDualObjective,
};
pub use barycenter::{
    Barycenter, BarycentricCoordinates, BoundedEntropy, BoundedEntropyRun, BregmanProjections, BregmanRun,
    CoordinateLoss, Coordinates, DebiasedBarycenter, DebiasedRun, DebiasedSolution, EntropyBound, FreeSupport,
    FreeSupportRun, FreeSupportSolution, InnerTransport, barycenter,
};
pub use discrepancy::{Discrepancy, MaximumMeanDiscrepancy};
pub use divergence::{Divergence, DivergenceForm, SelfTerm, SinkhornDivergence};
pub use entropic::{
    Annealing, HandOver, Relaxation, Run, Sinkhorn, SinkhornReport, Start, UnregularizedBounds, Update,
    unregularized_bounds,
};
pub use exact::{
    Assignment, CircleTransport, ExactRun, ExactSolution, ExactTransport, ExactWorkspace, Guide, LineTransport,
    OptimalityCertificate, QuantileFunction, QuantileMap, SearchReport, SlicedDistance, SlicedWasserstein, SparseCosts,
    SparsePlan, assign, certify_optimality, line_costs,
};
pub use front::{Answer, Choice, Transport, transport};
pub use gaussian::{AffineMap, BuresBarycenter, Gaussian};
pub use interpolation::{barycentric_interpolation, displacement_interpolation};
pub use low_rank::{LowRankCoupling, LowRankRun, LowRankTransport};
pub use many::{Many, Method, PairTable, PairValue, cross, pairwise, zip};
pub use map::EntropicMap;
pub use newton::{Newton, NewtonReport, NewtonRun, PlanFactor};
pub use partial::{PartialSolution, PartialTransport};
pub use propagation::{Propagation, PropagationProblem, PropagationSolution};
pub use stochastic::{
    AveragedSgd, AveragedSgdRun, Estimate, HeldOutEstimate, PointSampler, Random, Sampler, SemiDiscreteSolution,
    StochasticAveragedGradient, StochasticAveragedGradientRun,
};
pub use unregularized::{MajorizeMinimize, MajorizeMinimizeRun, MassPenalty, UnregularizedPlan};
