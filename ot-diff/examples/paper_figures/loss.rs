//! The loss of the paper between two clouds.

use ot_core::{Epsilon, Error, PointCloud, PowerOfDistance};
use ot_cpu::CpuBackend;
use ot_solvers::{DivergenceForm, Random, Sinkhorn, SinkhornDivergence};

/// p.
pub const POWER: f64 = 1.5;

/// 2 W(x, y) - W(x, x) - W(y, y), and W(x, x) + W(y, y).
pub fn loss(
    backend: &CpuBackend<f64>,
    x: &PointCloud<'_, f64>,
    y: &PointCloud<'_, f64>,
    epsilon: f64,
) -> Result<(f64, f64), Error> {
    let settings = SinkhornDivergence::new()
        .form(DivergenceForm::Genevay)
        .sinkhorn(Sinkhorn::new().tolerance(1e-7).max_iterations(100_000));
    let cost = PowerOfDistance::new(POWER)?;
    let divergence = settings.between(backend, x, y, &cost, Epsilon::Absolute(epsilon))?;
    let across = divergence.cross().certificate().transport_cost.unwrap_or(f64::NAN);
    Ok((divergence.value(), 2.0 * across - divergence.value()))
}

/// Points uniform in the unit cube.
pub fn cube(random: &mut Random, count: usize, dimension: usize) -> Result<PointCloud<'static, f64>, Error> {
    PointCloud::uniform((0..count * dimension).map(|_| random.uniform()).collect::<Vec<_>>(), dimension)
}
