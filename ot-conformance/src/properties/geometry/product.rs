//! Products with the plan, its transpose, and the second derivative of the conjugate.

use ot_core::{Device, Error, Host, PlanCells, Side};

use crate::{
    case::GeometryCase,
    iterate::{Iterate, Iteration},
    scene::{Scene, Scenes},
    seeded::Seeded,
    verdict::{Trial, Verdict},
};

/// Columns of values for each column of the batch.
const CHANNELS: usize = 2;

/// out_i = sum_j P_ij v_j, both ways, for a batch of columns with several channels each.
pub fn products_agree_with_the_reference<D: Device>(case: &GeometryCase<D>) -> Verdict {
    Scenes::PLANS.for_each("products agree with the reference", case, |trial, scene| {
        for side in Side::BOTH {
            let len = case.len(side.opposite()) * scene.setting.columns * CHANNELS;
            let values = Seeded::new(3).vector::<D::Elem>(len, -1.0, 2.0);
            let sizes: Vec<f64> = values.iter().map(|value| value.abs()).collect();
            let (found, expected) = (scene.tested.apply(side, &values)?, scene.reference.apply(side, &values)?);
            let slack = scene.slack(|iterate| iterate.apply(side, &sizes))?;
            trial.at(side).all_close("row", &found, &expected, |row| slack[row])?;
        }
        Ok(())
    })
}

/// A plan under other weights than a sweep, a c-transform and a centre have met is the plan under these: weights are
/// those of the view, in products, densities and c-transforms.
pub fn weights_are_those_of_the_view<D: Device>(case: &GeometryCase<D>) -> Verdict {
    Scenes::PLANS.for_each("weights are those of the view", case, |trial, scene| {
        let (active, columns) = (scene.all(), scene.setting.columns);
        scene.tested.iterate(Iteration::Sweep, &vec![1.0; columns], &active, true)?;
        scene.tested.c_transforms(&active, false)?;
        scene.tested.ask(|kernel, plan| kernel.recenter(plan))?;

        // Weights of one, as for densities. Atoms without mass stay so: between two of them an entry has no bound.
        let ones = |weights: &Vec<f64>| weights.iter().map(|&weight| f64::from(weight > 0.0)).collect();
        scene.set_weights(scene.setting.weights.each_ref().map(ones))?;
        for side in Side::BOTH {
            let trial = trial.at(side);
            let values = Seeded::new(19).vector::<D::Elem>(case.len(side.opposite()) * columns, 0.5, 2.0);
            let found = scene.tested.apply(side, &values)?;
            scene.compare(&trial, "row of the product", &found, |iterate| iterate.apply(side, &values))?;
            let density = scene.tested.density(side, &active)?.0;
            scene.compare(&trial, "density", &density, |iterate| Ok(iterate.density(side, &active)?.0))?;
            let expected = scene.reference.c_transform(side, &active, false)?.potential;
            let found = scene.tested.c_transform(side, &active, false)?.potential;
            scene.compare_potential(&trial, &found, &expected, &active)?;
        }
        Ok(())
    })
}

/// <u, P v> = <P^T u, v>.
pub fn products_are_adjoint<D: Device>(case: &GeometryCase<D>) -> Verdict {
    Scenes { columns: 1, ..Scenes::PLANS }.for_each("products are adjoint", case, |trial, scene| {
        let mut seeded = Seeded::new(4);
        let [u, v] = Side::BOTH.map(|side| seeded.vector::<D::Elem>(case.len(side), 0.5, 2.0));
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let left = dot(&u, &scene.tested.apply(Side::Source, &v)?);
        let right = dot(&v, &scene.tested.apply(Side::Target, &u)?);
        let slack: f64 = scene.slack(|iterate| iterate.mass())?.iter().sum();
        trial.close("the product with both", left, right, 2.0 * 4.0 * slack)
    })
}

/// P^T diag(d) P v and P diag(d) P^T v, of a kernel that knows them.
pub fn normal_products_agree_with_the_reference<D: Device>(case: &GeometryCase<D>) -> Verdict {
    Scenes::PLANS.for_each("normal products agree with the reference", case, |trial, scene| {
        if scene.tested.kernel.plan_product().is_none() {
            return Ok(());
        }
        let mut seeded = Seeded::new(14);
        for side in Side::BOTH {
            let mut vector = |side: Side| seeded.vector::<D::Elem>(case.len(side) * scene.setting.columns, -1.0, 1.0);
            let (diagonal, values) = (vector(side.opposite()), vector(side));
            product_agrees(&trial.at(side), scene, side, Some(&diagonal), &values)?;
            inexact_product_agrees(&trial.at(side), scene, side, &diagonal, &values)?;
        }
        Ok(())
    })
}

/// out_i = sum_j a_i b_j h*''(z_ij) v_j, of a kernel that knows it.
pub fn curvature_products_agree_with_the_reference<D: Device>(case: &GeometryCase<D>) -> Verdict {
    Scenes::PLANS.for_each("curvature products agree with the reference", case, |trial, scene| {
        if scene.tested.kernel.plan_product().is_none() {
            return Ok(());
        }
        for side in Side::BOTH {
            let len = case.len(side.opposite()) * scene.setting.columns;
            let values = Seeded::new(15).vector::<D::Elem>(len, -1.0, 1.0);
            product_agrees(&trial.at(side), scene, side, None, &values)?;
        }
        Ok(())
    })
}

/// The plan summed over pairs of cells, of a kernel that tells it: to a part of 1e-6 of the mass.
pub fn cells_agree_with_the_reference<D: Device>(case: &GeometryCase<D>) -> Verdict {
    Scenes::PLANS.for_each("cells agree with the reference", case, |trial, scene| {
        if !scene.tested.kernel.plan_product().is_some_and(|product| product.has_cells()) {
            return Ok(());
        }
        let columns = scene.setting.columns;
        let told = (0..columns).map(|column| {
            scene.tested.ask(|kernel, plan| {
                kernel.plan_product().ok_or(Error::MissingCapability("product with the plan"))?.cells(plan, column)
            })
        });
        let told: Vec<PlanCells> = told.collect::<Result<_, _>>()?;
        let of_atoms = &told[0].of_atoms;
        let counts = of_atoms.each_ref().map(|cells| cells.iter().max().map_or(0, |&last| last as usize + 1));
        let mut found = vec![0.0; counts[1] * columns * counts[0]];
        for (column, cells) in told.iter().enumerate() {
            trial.holds(&cells.of_atoms == of_atoms, || "cells of columns differ".into())?;
            for &(source, target, mass) in &cells.masses {
                found[(target as usize * columns + column) * counts[0] + source as usize] += mass;
            }
        }
        let between = |iterate: &mut Iterate<Host<f64>>| masses_between(iterate, of_atoms, counts);
        let (expected, slack) = (between(&mut scene.reference)?, scene.slack(between)?);
        let total: f64 = expected.iter().sum();
        trial.all_close("cell", &found, &expected, |cell| slack[cell] + 1e-6 * total)
    })
}

/// The mass between all pairs of cells: for each cell of the target, each column and each cell of the source.
fn masses_between(
    iterate: &mut Iterate<Host<f64>>,
    of_atoms: &[Vec<u32>; 2],
    counts: [usize; 2],
) -> Result<Vec<f64>, Error> {
    let columns = iterate.kernel.columns();
    let mut masses = Vec::new();
    for target in 0..counts[1] {
        let indicator = of_atoms[1].iter().map(|&cell| f64::from(u8::from(cell as usize == target)));
        let indicator: Vec<f64> = indicator.collect();
        for rows in iterate.apply(Side::Source, &indicator.repeat(columns))?.chunks(of_atoms[0].len()) {
            let mut sums = vec![0.0; counts[0]];
            of_atoms[0].iter().zip(rows).for_each(|(&cell, mass)| sums[cell as usize] += mass);
            masses.extend(sums);
        }
    }
    Ok(masses)
}

/// Compares a normal product, or without a diagonal a curvature product. With values of one sign both rise with the
/// potentials, for the regularizers that are tried.
fn product_agrees<D: Device>(
    trial: &Trial,
    scene: &mut Scene<'_, D>,
    side: Side,
    diagonal: Option<&[f64]>,
    values: &[f64],
) -> Verdict {
    let found = product(&mut scene.tested, side, diagonal, values)?;
    let expected = product(&mut scene.reference, side, diagonal, values)?;
    let sizes = |values: &[f64]| values.iter().map(|value| value.abs()).collect::<Vec<_>>();
    let (diagonal, values) = (diagonal.map(sizes), sizes(values));
    let slack = scene.slack(|iterate| product(iterate, side, diagonal.as_deref(), &values))?;
    trial.all_close("row", &found, &expected, |row| slack[row])
}

/// Compares a normal product whose entries may be those of single precision, and less than all.
fn inexact_product_agrees<D: Device>(
    trial: &Trial,
    scene: &mut Scene<'_, D>,
    side: Side,
    diagonal: &[f64],
    values: &[f64],
) -> Verdict {
    /// A part of the largest product of the absolute values, at these densities or at densities of one.
    const INEXACT: f64 = 1e-3;

    let columns = scene.tested.kernel.columns();
    let of_tested = {
        let iterate = &mut scene.tested;
        let (diagonal, values) = (iterate.upload(diagonal, columns)?, iterate.upload(values, columns)?);
        let mut out = iterate.alloc(side, 1)?;
        iterate.ask(|kernel, plan| {
            let known = kernel.plan_product().ok_or(Error::MissingCapability("product with the plan"))?;
            known.inexact_normal_product(side, plan, &diagonal, &values, &mut out)
        })?;
        iterate.download(&out)?
    };
    let expected = product(&mut scene.reference, side, Some(diagonal), values)?;
    let sizes = |values: &[f64]| values.iter().map(|value| value.abs()).collect::<Vec<_>>();
    let (diagonal, values) = (sizes(diagonal), sizes(values));
    let largest = product(&mut scene.reference, side, Some(&diagonal), &values)?.into_iter().fold(0.0, f64::max);
    let slack = scene.slack(|iterate| product(iterate, side, Some(&diagonal), &values))?;
    // Of densities of one, values and a diagonal of at most one.
    let mut at_one = 0.0_f64;
    for column in 0..columns {
        let [a, b] = Side::BOTH.map(|side| scene.setting.weights(side, column));
        let heaviest = |weights: &[f64]| weights.iter().copied().fold(0.0, f64::max);
        at_one = at_one.max(heaviest(a) * heaviest(b) * a.iter().sum::<f64>().max(b.iter().sum()));
    }
    trial.all_close("row, inexactly", &of_tested, &expected, |row| slack[row] + INEXACT * largest.max(at_one))
}

fn product<D: Device>(
    iterate: &mut Iterate<D>,
    side: Side,
    diagonal: Option<&[f64]>,
    values: &[f64],
) -> Result<Vec<f64>, Error> {
    let columns = iterate.kernel.columns();
    let diagonal = diagonal.map(|diagonal| iterate.upload(diagonal, columns)).transpose()?;
    let (values, mut out) = (iterate.upload(values, columns)?, iterate.alloc(side, 1)?);
    iterate.ask(|kernel, plan| {
        let known = kernel.plan_product().ok_or(Error::MissingCapability("product with the plan"))?;
        match &diagonal {
            Some(diagonal) => known.normal_product(side, plan, diagonal, &values, &mut out),
            None => known.curvature_product(side, plan, &values, &mut out),
        }
    })?;
    iterate.download(&out)
}
