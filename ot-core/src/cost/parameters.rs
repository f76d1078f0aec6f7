//! Derivatives of a cost in the parameters that its formula names.

use super::GroundCost;
use crate::{dual::Dual, program::Program};

/// The parameters theta of a cost formula ([`Real::parameter`](crate::Real::parameter)), and the derivatives of
/// c(x, y; theta) in them and in the points.
///
/// Read from the program of the cost by dual numbers: one evaluation for each parameter, or for each coordinate and
/// parameter of a second derivative.
///
/// ```
/// use ot_core::{CostFormula, Real, cost::CostParameters};
///
/// /// theta_0 |x - y|^2 + theta_1 |x - y|.
/// #[derive(Clone, Debug)]
/// struct Mixed([f64; 2]);
///
/// impl CostFormula for Mixed {
///     fn cost<R: Real>(&self, x: &[R], y: &[R]) -> R {
///         let distance = (x[0] - y[0]).abs();
///         x[0].parameter(0, self.0[0]) * distance * distance + x[0].parameter(1, self.0[1]) * distance
///     }
/// }
///
/// let parameters = CostParameters::of(&Mixed([2.0, 0.5]), 1).expect("two parameters");
/// let mut slopes = [0.0; 2];
/// parameters.gradient(&[3.0], &[0.0], &mut slopes);
/// assert_eq!((parameters.values(), slopes), (&[2.0, 0.5][..], [9.0, 3.0]));
/// ```
#[derive(Clone, Debug)]
pub struct CostParameters {
    program: Program,
    dimension: usize,
}

impl CostParameters {
    /// The parameters of a cost between points of `dimension` coordinates. `None` if it names none, or has no program.
    pub fn of(cost: &dyn GroundCost, dimension: usize) -> Option<Self> {
        let program = cost.program(dimension)?.ok()?;
        let fits = program.inputs() == 2 * dimension && program.outputs() == 1 && !program.parameters().is_empty();
        fits.then_some(Self { program, dimension })
    }

    /// The values of the parameters.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        self.program.parameters()
    }

    /// out_k = dc / dtheta_k at (x, y). What does not fit is left as it is.
    pub fn gradient(&self, x: &[f64], y: &[f64], out: &mut [f64]) {
        let points: Vec<_> = x.iter().chain(y).map(|&value| Dual::constant(value)).collect();
        let mut theta: Vec<_> = self.values().iter().map(|&value| Dual::constant(value)).collect();
        for index in 0..theta.len().min(out.len()) {
            theta[index].derivative = 1.0;
            if let Ok([slope]) = self.program.evaluate_at(&points, &theta).as_deref() {
                out[index] = slope.derivative;
            }
            theta[index].derivative = 0.0;
        }
    }

    /// out_k = sum_l d^2c / dz_k dz_l direction_l for z = (x, y, theta), of 2 d + p numbers like `direction`. What does not
    /// fit is left as it is.
    pub fn second_derivative(&self, x: &[f64], y: &[f64], direction: &[f64], out: &mut [f64]) {
        let point = x.iter().chain(y).chain(self.values()).zip(direction);
        let mut z: Vec<_> = point.map(|(&value, &direction)| Dual::constant(Dual::new(value, direction))).collect();
        if z.len() != 2 * self.dimension + self.values().len() {
            return;
        }
        for index in 0..z.len().min(out.len()) {
            z[index].derivative = Dual::constant(1.0);
            let (points, theta) = z.split_at(2 * self.dimension);
            if let Ok([slope]) = self.program.evaluate_at(points, theta).as_deref() {
                out[index] = slope.derivative.derivative;
            }
            z[index].derivative = Dual::constant(0.0);
        }
    }
}
