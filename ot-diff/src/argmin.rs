//! Optimal values as objectives of [argmin](https://docs.rs/argmin): cost, gradient and products with the Hessian.
//!
//! Feature `argmin`. A solver of argmin asks for the cost, the gradient and the Hessian at one parameter in turn: the problem is
//! solved once for all three.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use argmin::core::{CostFunction, Error as Failure, Gradient as FirstDerivative, Hessian};
use argmin_math::ArgminDot;
use ot_core::{CostParameter, Device, Error, Scalar, Solution};

use crate::{Gradient, LinearSolver, Linearised, Tangent, value_and_gradient};

/// The optimal value of a problem, summed over the columns of a batch, as a function of one parameter of its cost: points of a side,
/// the entries of a matrix, the parameters of a formula. A parameter is a vector, row by row.
///
/// `solve` makes and solves the problem at a parameter; it may start from what it found before.
///
/// ```
/// use argmin::{core::{CostFunction, Executor}, solver::trustregion::{Steihaug, TrustRegion}};
/// use ot_core::{CostParameter, Epsilon, PointCloud, Side, SqEuclidean};
/// use ot_cpu::CpuBackend;
/// use ot_diff::argmin::OptimalValue;
/// use ot_solvers::transport;
///
/// let backend = CpuBackend::<f64>::new(1)?;
/// let target = PointCloud::uniform(vec![0.0, 0.0, 2.0, 0.0, 1.0, 2.0], 2)?;
/// let value = OptimalValue::new(CostParameter::Points(Side::Source), |points: &[f64]| {
///     transport(&backend, &PointCloud::uniform(points, 2)?, &target, &SqEuclidean, Epsilon::Absolute(0.3))
/// });
/// let start = vec![0.5, -0.5, 3.0, 1.0];
/// let before = value.cost(&start)?;
/// let run = Executor::new(value, TrustRegion::new(Steihaug::new())).configure(|state| state.param(start).max_iters(30)).run()?;
/// assert!(run.state.best_cost < 0.5 * before);
/// # Ok::<(), argmin::core::Error>(())
/// ```
#[derive(Debug)]
pub struct OptimalValue<D: Device, F> {
    parameter: CostParameter,
    solve: F,
    solver: LinearSolver,
    last: Mutex<Option<Known<D>>>,
    failure: Failures,
}

/// A parameter and the solution there.
type Known<D> = (Vec<<D as Device>::Elem>, Solution<D>);

/// What a product with a Hessian, which argmin does not let fail, failed with.
type Failures = Arc<Mutex<Option<Error>>>;

impl<D: Device, F: Fn(&[D::Elem]) -> Result<Solution<D>, Error>> OptimalValue<D, F> {
    /// The optimal value over a parameter of the cost of the problems that `solve` solves.
    #[must_use]
    pub fn new(parameter: CostParameter, solve: F) -> Self {
        Self { parameter, solve, solver: LinearSolver::new(), last: Mutex::new(None), failure: Failures::default() }
    }

    /// Settings of the linear solves of products with the Hessian.
    ///
    /// # Errors
    /// [`Error::Parameter`] for settings out of range.
    pub fn with_solver(self, solver: LinearSolver) -> Result<Self, Error> {
        solver.check()?;
        Ok(Self { solver, ..self })
    }

    /// The solution at a parameter.
    fn at(&self, parameter: &[D::Elem]) -> Result<Solution<D>, Error> {
        if let Some(failure) = locked(&self.failure).take() {
            return Err(failure);
        }
        if let Some((known, solution)) = &*locked(&self.last)
            && known == parameter
        {
            return Ok(solution.clone());
        }
        let solution = (self.solve)(parameter)?;
        *locked(&self.last) = Some((parameter.to_vec(), solution.clone()));
        Ok(solution)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<D: Device, F: Fn(&[D::Elem]) -> Result<Solution<D>, Error>> CostFunction for OptimalValue<D, F> {
    type Param = Vec<D::Elem>;
    type Output = D::Elem;

    fn cost(&self, parameter: &Self::Param) -> Result<D::Elem, Failure> {
        let solution = self.at(parameter)?;
        Ok(D::Elem::from_f64(solution.certificates().iter().map(|certificate| certificate.dual).sum()))
    }
}

impl<D: Device, F: Fn(&[D::Elem]) -> Result<Solution<D>, Error>> FirstDerivative for OptimalValue<D, F> {
    type Param = Vec<D::Elem>;
    type Gradient = Vec<D::Elem>;

    fn gradient(&self, parameter: &Self::Param) -> Result<Vec<D::Elem>, Failure> {
        Ok(value_and_gradient(&self.at(parameter)?)?.1.cost(self.parameter)?)
    }
}

impl<D: Device, F: Fn(&[D::Elem]) -> Result<Solution<D>, Error>> Hessian for OptimalValue<D, F> {
    type Param = Vec<D::Elem>;
    type Hessian = ValueHessian<D>;

    fn hessian(&self, parameter: &Self::Param) -> Result<ValueHessian<D>, Failure> {
        let linearised = Linearised::new(&self.at(parameter)?)?.with_solver(self.solver)?;
        Ok(ValueHessian {
            parameter: self.parameter,
            linearised: Arc::new(Mutex::new(linearised)),
            failure: Arc::clone(&self.failure),
        })
    }
}

/// The Hessian of an [`OptimalValue`], as its products with vectors: each solves one linear system.
///
/// argmin does not let a product fail. One that does is zero, at which its solvers stop where they are, and the next question to the
/// objective answers with the failure.
#[derive(Debug)]
pub struct ValueHessian<D: Device> {
    parameter: CostParameter,
    linearised: Arc<Mutex<Linearised<D>>>,
    failure: Failures,
}

impl<D: Device> Clone for ValueHessian<D> {
    fn clone(&self) -> Self {
        Self { parameter: self.parameter, linearised: Arc::clone(&self.linearised), failure: Arc::clone(&self.failure) }
    }
}

impl<D: Device> ArgminDot<Vec<D::Elem>, Vec<D::Elem>> for ValueHessian<D> {
    fn dot(&self, direction: &Vec<D::Elem>) -> Vec<D::Elem> {
        let tangent = Tangent::new().cost(self.parameter, direction.clone());
        let product =
            locked(&self.linearised).hessian_vector(&tangent).and_then(|mut product| product.cost(self.parameter));
        product.unwrap_or_else(|failure| {
            *locked(&self.failure) = Some(failure);
            vec![D::Elem::default(); direction.len()]
        })
    }
}
