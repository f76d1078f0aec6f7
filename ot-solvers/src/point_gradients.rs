//! Gradients in points, of sums over a plan across and over plans of either measure with itself.

use ot_core::{CostParameter, Device, Error, PairWeight, PlanView, Problem, Scalar, Side, WeightedPlan};

/// sum_ij P_ij w dC_ij / dpoints of one side, for each column of the batch, coordinate by coordinate.
///
/// # Errors
/// [`Error::MissingCapability`] for a geometry without derivatives in its points; a failure of the device.
pub(crate) fn pull_back<D: Device>(
    problem: &Problem<D>,
    plan: PlanView<'_, D>,
    weight: f64,
    side: Side,
) -> Result<Vec<Vec<f64>>, Error> {
    let backend = problem.backend();
    let parameter = CostParameter::Points(side);
    // The objective, which masses may take out of the range, is not asked for.
    let mut kernel = problem.geometry().bind(problem.regularizer(), problem.epsilon(), problem.columns())?;
    backend.scope(|| {
        let missing = Error::MissingCapability("derivative of the cost in its points");
        let derivative = kernel.cost_derivative().ok_or(missing.clone())?;
        let (rows, dimension) = derivative.shape(parameter).ok_or(missing)?;
        let mut out = backend.alloc(rows, dimension * problem.columns())?;
        let pairs = WeightedPlan { plan, weight: PairWeight::constant(weight) };
        derivative.pull_back(pairs, parameter, &mut out)?;
        let values: Vec<f64> = backend.download(&[&out])?.swap_remove(0).into_iter().map(Scalar::to_f64).collect();
        Ok(values.chunks_exact(rows * dimension).map(<[f64]>::to_vec).collect())
    })
}

/// What is made of the gradient across, and of those of a measure with itself on either side of a pair: point by point,
/// one column after the other. A measure with one histogram serves all columns.
pub(crate) fn combined<T: Scalar>(
    points: usize,
    across: &[Vec<f64>],
    own: [&[Vec<f64>]; 2],
    combine: impl Fn(f64, [f64; 2]) -> f64,
) -> Vec<T> {
    let mut gradient = Vec::new();
    for (column, across) in across.iter().enumerate() {
        let own = own.map(|half| &half[column.min(half.len() - 1)]);
        for point in 0..points {
            let coordinates = (point..across.len()).step_by(points);
            gradient.extend(coordinates.map(|index| T::from_f64(combine(across[index], own.map(|half| half[index])))));
        }
    }
    gradient
}
