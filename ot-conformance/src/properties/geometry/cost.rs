//! Sums of the cost, of a kernel that knows them.

use ot_core::{Device, Error, Side};

use crate::{case::GeometryCase, iterate::Iterate, scene::Scenes, seeded::Seeded, verdict::Verdict};

/// <P, C>, where forbidden pairs count nothing.
pub fn transport_costs_agree_with_the_reference<D: Device>(case: &GeometryCase<D>) -> Verdict {
    Scenes::PLANS.for_each("transport costs agree with the reference", case, |trial, scene| {
        if scene.tested.kernel.transport_cost().is_none() {
            return Ok(());
        }
        let (found, expected) = (plan_cost(&mut scene.tested)?, plan_cost(&mut scene.reference)?);
        let slack = scene.slack(|iterate| iterate.mass())?;
        trial.all_close("column", &found, &expected, |column| 2.0 * case.largest() * slack[column])
    })
}

/// sum_ij u_i C_ij v_j; infinite where a forbidden pair has mass.
pub fn costs_of_rank_one_plans_agree_with_the_reference<D: Device>(case: &GeometryCase<D>) -> Verdict {
    Scenes { epsilons: &[1.0], ..Scenes::PLANS }.for_each("costs of rank-one plans agree", case, |trial, scene| {
        if scene.tested.kernel.transport_cost().is_none() {
            return Ok(());
        }
        // In the first column u is on one row, the first, which meets no forbidden pair in standard cases.
        let (mut seeded, rows) = (Seeded::new(6), case.len(Side::Source));
        let [mut u, v] =
            Side::BOTH.map(|side| seeded.vector::<D::Elem>(case.len(side) * scene.setting.columns, 0.0, 1.0));
        u[1..rows].fill(0.0);
        let (found, expected) = (rank_one(&mut scene.tested, &u, &v)?, rank_one(&mut scene.reference, &u, &v)?);
        let sum = |values: &[f64], side: Side, column: usize| {
            values[column * case.len(side)..][..case.len(side)].iter().sum::<f64>()
        };
        let mass = |column: usize| sum(&u, Side::Source, column) * sum(&v, Side::Target, column);
        trial.all_close("column", &found, &expected, |column| case.unit() * case.largest() * mass(column))
    })
}

fn plan_cost<D: Device>(iterate: &mut Iterate<D>) -> Result<Vec<f64>, Error> {
    let mut out = iterate.alloc_reduced()?;
    iterate.ask(|kernel, plan| {
        kernel.transport_cost().ok_or(Error::MissingCapability("transport cost"))?.plan_cost(plan, &mut out)
    })?;
    iterate.read(&out)
}

fn rank_one<D: Device>(iterate: &mut Iterate<D>, u: &[f64], v: &[f64]) -> Result<Vec<f64>, Error> {
    let columns = iterate.kernel.columns();
    let (u, v, mut out) = (iterate.upload(u, columns)?, iterate.upload(v, columns)?, iterate.alloc_reduced()?);
    iterate.ask(|kernel, _| {
        kernel.transport_cost().ok_or(Error::MissingCapability("transport cost"))?.rank_one_cost(&u, &v, &mut out)
    })?;
    iterate.read(&out)
}
