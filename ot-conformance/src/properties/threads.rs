//! The same bits for any number of threads.

use std::sync::Arc;

use ot_core::{
    ActiveColumns, Backend, Error, Fold, GeometryBuilder, Operand, Program, Real, Scalar, Side, SqEuclidean,
};

use crate::{
    case::{GeometryCase, SupportKind},
    iterate::Iteration,
    scene::{Scene, regularizers, setting},
    seeded::{Seeded, elements, numbers},
    standard_cases::standard_cases,
    verdict::{PropertyFailure, Trial, Verdict},
};

/// What was computed, by name, and its bits.
type Bits = Vec<(String, Vec<u64>)>;

/// Maps, reductions, c-transforms, densities, sweeps with by-products, products with the plan and transport costs have
/// the same bits on `make(threads)` for every number of threads, and in a second run.
pub fn threads_change_no_bits<B>(make: impl Fn(usize) -> B, threads: &[usize]) -> Verdict
where
    B: Backend<B::Device> + GeometryBuilder,
{
    let Some((first, others)) = threads.split_first() else { return Ok(()) };
    let expected = bits(&make(*first))?;
    let trial = Trial::new("threads change no bits", <<B::Device as ot_core::Device>::Elem as Scalar>::NAME);
    for threads in others.iter().chain([first]) {
        for ((name, found), (_, expected)) in bits(&make(*threads))?.into_iter().zip(&expected) {
            let different = found.iter().zip(expected).position(|(found, expected)| found != expected);
            let trial = trial.at(format_args!("{threads} threads, {name}"));
            trial.holds(different.is_none() && found.len() == expected.len(), || {
                format!("number {} has other bits", different.unwrap_or_default())
            })?;
        }
    }
    Ok(())
}

/// Everything that a solve may compute, bit by bit.
fn bits<B: Backend<B::Device> + GeometryBuilder>(backend: &B) -> Result<Bits, PropertyFailure> {
    let mut all = vectors::<B>(backend)?;
    let mut cases = standard_cases(backend, &[SupportKind::Points])?;
    let mut seeded = Seeded::new(5);
    let points = [301, 197].map(|len| seeded.vector::<f32>(3 * len, 0.0, 1.0));
    cases.push(GeometryCase::between_points(backend, "301 x 197", points, 3, Arc::new(SqEuclidean))?);
    for case in &cases {
        for (name, numbers) in iterate(case)? {
            all.push((format!("{}, {name}", case.name()), numbers));
        }
    }
    Ok(all)
}

/// Pointwise arithmetic and sums of a long vector.
fn vectors<B: Backend<B::Device> + GeometryBuilder>(backend: &B) -> Result<Bits, Error> {
    const ROWS: usize = 100_003;
    let vector = backend.upload(&elements(&Seeded::new(2).vector::<f32>(2 * ROWS, -1.0, 1.0)), 2)?;
    let (mut mapped, mut sum) = (backend.alloc(ROWS, 2)?, backend.alloc_reduced(2)?);
    let program = Program::record(|[x]| [(x * x).exp() / (x + x.abs().sqrt()).abs()])?;
    backend.map(&program, &[Operand::Vector(&vector)], &mut [&mut mapped])?;
    backend.reduce(&program, Fold::Sum, ROWS, &[Operand::Vector(&vector)], &mut [&mut sum])?;
    let mapped = numbers(&backend.download(&[&mapped])?[0]);
    Ok(vec![("map".into(), bits_of(&mapped)), ("reduce".into(), bits_of(&backend.read(&[&sum])?[0]))])
}

/// What is asked of a kernel, for each regularizer that the geometry has.
fn iterate<D: ot_core::Device>(case: &GeometryCase<D>) -> Result<Bits, Error> {
    let plain = setting(case, case.epsilons(&[0.05])[0], 3)?;
    let (mut all, active) = (Vec::new(), ActiveColumns::all(3));
    for regularizer in regularizers()? {
        let setting = crate::iterate::Setting { regularizer, ..plain.clone() };
        let Some(Scene { mut tested, setting, .. }) = Scene::new(case, setting)? else { continue };
        let mut keep = |what: &str, numbers: &[f64]| {
            all.push((format!("{:?}, {what}", setting.regularizer.kind()), bits_of(numbers)));
        };
        for side in Side::BOTH {
            keep("c-transform", &tested.c_transform(side, &active, false)?.potential);
            let (density, conjugate) = tested.density(side, &active)?;
            keep("density", &density);
            keep("conjugate", &conjugate);
            let values = Seeded::new(4).vector::<f32>(case.len(side.opposite()) * 3, -1.0, 1.0);
            keep("product", &tested.apply(side, &values)?);
        }
        for _ in 0..3 {
            let swept = tested.iterate(Iteration::Sweep, &[1.0, 1.3, 1.7], &active, true)?;
            for side in Side::BOTH {
                keep("sweep", &swept.potentials[side.index()]);
                tested.set_potential(side, &swept.potentials[side.index()])?;
            }
            swept.by_products.iter().flatten().for_each(|numbers| keep("by-product", numbers));
        }
        let mut cost = tested.alloc_reduced()?;
        tested.ask(|kernel, plan| kernel.transport_cost().map_or(Ok(()), |known| known.plan_cost(plan, &mut cost)))?;
        if tested.kernel.transport_cost().is_some() {
            keep("transport cost", &tested.read(&cost)?);
        }
    }
    Ok(all)
}

fn bits_of(numbers: &[f64]) -> Vec<u64> {
    numbers.iter().map(|value| value.to_bits()).collect()
}
