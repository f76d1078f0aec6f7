//! Derivatives of the points of a barycenter with free support, by the implicit function theorem.
//!
//! Points x with weights b are stationary where
//!
//! ```text
//! G(x) = sum_k lambda_k grad_x OT_epsilon(sum_j b_j delta_(x_j), a_k) = 0        H dx = -dG        H = sum_k lambda_k grad_x^2 OT_epsilon
//! ```
//!
//! with the change dG of G while x rests. For squared distances G_j = 2 b_j (x_j - sum_k lambda_k T_k(x)_j): x is the mean of what its atoms are
//! sent to. H / b is self-adjoint in L2(b), and non-negative at a minimum. Each product with H is one Hessian product of each transport.

mod forward;
mod reverse;

use ot_core::{Backend, CostParameter, Device, Error, Scalar, Side, Solution};

pub use self::{
    forward::{FreeSupportChange, FreeSupportTangent},
    reverse::FreeSupportCotangent,
};
use crate::{
    Gradient, LinearSolve, LinearSolver, Linearised, Tangent, algebra::host, minimal_residual::MinimalResidual,
    space::Space, value_and_gradient,
};

/// Points of a barycenter with their derivatives: an owned state, like [`Linearised`].
///
/// [`push_forward`](Self::push_forward) takes a tangent of lambda, inputs, weights and epsilon to the change of the points, and
/// [`pull_back`](Self::pull_back) the gradient of a function of the points to gradients in these. Each solves one linear system by minimal
/// residuals, a step of which is a [Hessian product](Linearised::hessian_vector) of the transport to each input. Weights of the barycenter are
/// data: where they were free, this is the derivative at weights that rest. Points without mass rest.
///
/// Source of the iteration: Cuturi, Doucet 2014.
///
/// ```
/// use ot_core::PointCloud;
/// use ot_cpu::CpuBackend;
/// use ot_diff::{FreeSupportTangent, LinearisedFreeSupport};
/// use ot_solvers::{FreeSupport, InnerTransport};
///
/// let backend = CpuBackend::<f64>::new(1)?;
/// let a = PointCloud::uniform(vec![0.0, 1.0], 1)?;
/// let b = PointCloud::uniform(vec![4.0, 7.0], 1)?;
/// let start = PointCloud::uniform(vec![2.0, 3.0], 1)?;
/// let settings = FreeSupport::new().inner(InnerTransport::Entropic(0.05)).inner_tolerance(1e-10);
/// let solution = settings.solve(&backend, &[&a, &b], &[0.5, 0.5], &start)?;
///
/// // Quantiles are averaged: as b gains weight, points move to its own.
/// let mut points = LinearisedFreeSupport::new(solution.transports(), &[0.5, 0.5])?;
/// let change = points.push_forward(&FreeSupportTangent::new().lambda(vec![-0.1, 0.1]))?;
/// assert!((change.points()[0] - 0.4).abs() < 1e-3 && (change.points()[1] - 0.6).abs() < 1e-3);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Debug)]
pub struct LinearisedFreeSupport<D: Device> {
    /// From the barycenter to the inputs.
    terms: Vec<Linearised<D>>,
    /// grad_x OT_epsilon of each.
    slopes: Vec<Vec<f64>>,
    /// lambda over its sum, and that sum.
    parts: Vec<f64>,
    total: f64,
    /// b.
    weights: Vec<f64>,
    dimension: usize,
    solver: LinearSolver,
}

impl<D: Device> LinearisedFreeSupport<D> {
    /// Linearises at the entropic [transports](ot_solvers::FreeSupportSolution::transports) from the barycenter (`Side::Source`) to the
    /// inputs, of any cost that has second derivatives in points, with the weights lambda of the inputs, which count relative to their sum. Costs
    /// the gradient of each transport in the points.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] without transports: exact plans are piecewise constant in the data, and have none; [`Error::Length`] for weights
    /// of another number or transports of other barycenters, [`Error::Weight`] and [`Error::Mass`] for lambda that is none,
    /// [`Error::BatchMismatch`] for batches; those of [`Linearised::new`].
    pub fn new<S: AsRef<Solution<D>>>(transports: &[S], lambda: &[f64]) -> Result<Self, Error> {
        if transports.is_empty() {
            return Err(Error::MissingCapability("derivatives of points without entropic transports"));
        }
        if lambda.len() != transports.len() {
            let (expected, found) = (transports.len(), lambda.len());
            return Err(Error::Length { what: "weights of the inputs", expected, found });
        }
        ot_core::WeightsView::new(lambda, 1)?.validate()?;
        let total: f64 = lambda.iter().sum();
        let mut free = Self {
            terms: Vec::with_capacity(transports.len()),
            slopes: Vec::with_capacity(transports.len()),
            parts: lambda.iter().map(|weight| weight / total).collect(),
            total,
            weights: Vec::new(),
            dimension: 0,
            solver: LinearSolver::new(),
        };
        for solution in transports.iter().map(AsRef::as_ref) {
            let columns = solution.problem().columns();
            if columns != 1 {
                return Err(Error::BatchMismatch { source_columns: columns, target_columns: columns });
            }
            let mut linearised = Linearised::new(solution)?;
            let slope: Vec<f64> =
                value_and_gradient(solution)?.1.points(Side::Source)?.into_iter().map(Scalar::to_f64).collect();
            let frame = &linearised.optimum.frame;
            let weights = host(frame.backend(), frame.weights(Side::Source))?;
            let (rows, dimension) =
                frame.parameter_shape(linearised.kernel.as_mut(), CostParameter::Points(Side::Source))?;
            if free.terms.is_empty() {
                free.weights = weights.iter().map(|weight| weight.to_f64()).collect();
                free.dimension = dimension;
            }
            let (expected, found) = (free.weights.len() * free.dimension, rows * dimension);
            if expected != found {
                return Err(Error::Length { what: "points of a barycenter", expected, found });
            }
            free.slopes.push(slope);
            free.terms.push(linearised);
        }
        free.with_solver(LinearSolver::new())
    }

    /// Settings of the linear solve of the points. Those of the transports are solved to a tenth of its tolerance.
    ///
    /// # Errors
    /// [`Error::Parameter`] for settings out of range.
    pub fn with_solver(self, solver: LinearSolver) -> Result<Self, Error> {
        solver.check()?;
        let inner = solver.tolerance(0.1 * solver.tolerance_for::<D::Elem>());
        let terms = self.terms.into_iter().map(|term| term.with_solver(inner)).collect::<Result<_, _>>()?;
        Ok(Self { solver, terms, ..self })
    }

    /// Number of inputs.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.terms.len()
    }

    /// Number of points.
    #[must_use]
    pub fn atoms(&self) -> usize {
        self.weights.len()
    }

    /// Numbers of all points, point by point.
    fn len(&self) -> usize {
        self.weights.len() * self.dimension
    }

    /// H^-1 x, point by point.
    fn solve(&mut self, x: &[f64]) -> Result<(Vec<f64>, LinearSolve), Error> {
        let problem = self.terms[0].optimum.frame.problem.clone();
        let (backend, settings, dimension) = (problem.backend(), self.solver, self.dimension);
        let ones = (0..dimension).map(|_| backend.upload_reduced(&[1.0])).collect::<Result<Vec<_>, _>>()?;
        let minimal_residual = MinimalResidual {
            space: Space { backend, weights: problem.marginal(Side::Source).weights(), parts: &ones, projection: None },
            settings: &settings,
        };
        // One block for each axis.
        let right_hand_side = self.per_mass(backend, x)?;
        let (solution, solve) = minimal_residual.solve(right_hand_side, |x, out| {
            let axes = backend.download(&x.iter().collect::<Vec<_>>())?;
            let points: Vec<f64> =
                (0..axes[0].len()).flat_map(|point| axes.iter().map(move |axis| axis[point].to_f64())).collect();
            let image = self.hessian_vector(&points)?;
            for (out, image) in out.iter_mut().zip(self.per_mass(backend, &image)?) {
                *out = image;
            }
            Ok(())
        })?;
        let axes = backend.download(&solution.iter().collect::<Vec<_>>())?;
        let points = (0..self.atoms()).flat_map(|point| axes.iter().map(move |axis| axis[point].to_f64())).collect();
        Ok((points, solve))
    }

    /// H x, point by point.
    fn hessian_vector(&mut self, x: &[f64]) -> Result<Vec<f64>, Error> {
        let tangent = Tangent::new().points(Side::Source, narrowed(x));
        let mut image = vec![0.0; x.len()];
        for (term, part) in self.terms.iter_mut().zip(&self.parts).filter(|(_, part)| **part != 0.0) {
            accumulate(&mut image, *part, &term.hessian_vector(&tangent)?.points(Side::Source)?);
        }
        Ok(image)
    }

    /// x / b, axis by axis; zero at points without mass.
    fn per_mass(&self, backend: &dyn Backend<D>, x: &[f64]) -> Result<Vec<D::Vector>, Error> {
        let axis = |axis: usize| {
            let of_point = |(point, weight): (&[f64], &f64)| if *weight > 0.0 { point[axis] / weight } else { 0.0 };
            let values: Vec<f64> = x.chunks_exact(self.dimension).zip(&self.weights).map(of_point).collect();
            backend.upload(&narrowed::<D::Elem>(&values), 1)
        };
        (0..self.dimension).map(axis).collect()
    }

    /// Refuses an input beyond the last, and what a transport shares with others.
    fn check_input(&self, index: usize, tangent: &Tangent<D::Elem>) -> Result<(), Error> {
        let refuse = |name, expected| Err(Error::Parameter { name, value: index as f64, expected });
        let moves_points = tangent.cost.iter().any(|(parameter, _)| *parameter == CostParameter::Points(Side::Source));
        match () {
            () if index >= self.terms.len() => refuse("the index of an input", "less than the number of inputs"),
            () if moves_points || tangent.weights[0].is_some() || tangent.epsilon != 0.0 => {
                refuse("the tangent of an input", "neither epsilon nor anything of the source")
            }
            () => Ok(()),
        }
    }
}

/// Numbers of an element type.
fn narrowed<T: Scalar>(values: &[f64]) -> Vec<T> {
    values.iter().map(|value| T::from_f64(*value)).collect()
}

/// sum <- sum + factor x.
fn accumulate<T: Scalar>(sum: &mut [f64], factor: f64, x: &[T]) {
    sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += factor * x.to_f64());
}

/// <x, y>.
fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}
