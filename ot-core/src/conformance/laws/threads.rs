//! The same bits for any number of threads.

use std::sync::Arc;

use crate::{
    backend::{Backend, Fold, Operand, Side},
    conformance::{
        Verdict,
        case::{GeometryCase, SIDES, Scene, at, standard_cases},
        seeded::{Seeded, elements},
        verdict::Trial,
    },
    cost::SqEuclidean,
    error::Error,
    kernel::{ActiveColumns, ByProducts, Potentials, Sweep},
    program::Program,
    real::Real,
    scalar::Scalar,
};

/// Maps, reductions, softmins, sweeps with by-products, products with the plan and transport costs have
/// the same bits on `make(threads)` for every number of threads, and in a second run.
pub fn threads_change_no_bits<B: Backend>(make: impl Fn(usize) -> B, threads: &[usize]) -> Verdict {
    let trial = Trial::new("threads change no bits", B::Elem::NAME);
    let Some((first, others)) = threads.split_first() else { return Ok(()) };
    let expected = bits(&make(*first))?;
    for threads in others.iter().chain([first]) {
        for ((name, found), (_, expected)) in bits(&make(*threads))?.into_iter().zip(&expected) {
            let different = found.iter().zip(expected).position(|(found, expected)| found != expected);
            trial
                .at(format_args!("{threads} threads, {name}"))
                .holds(different.is_none() && found.len() == expected.len(), || {
                    format!("number {} has other bits", different.unwrap_or_default())
                })?;
        }
    }
    Ok(())
}

/// Everything that a solve may compute, bit by bit.
fn bits<B: Backend>(backend: &B) -> Result<Vec<(String, Vec<u64>)>, Error> {
    let mut all = vectors(backend)?;
    let mut seeded = Seeded::new(5);
    let cloud = |seeded: &mut Seeded, len: usize| seeded.vector::<B::Elem>(3 * len, 0.0, 1.0);
    let points = [cloud(&mut seeded, 301), cloud(&mut seeded, 197)];
    let mut cases = standard_cases(backend)?;
    cases.push(GeometryCase::between_points(backend, "301 x 197", points, 3, Arc::new(SqEuclidean))?);
    for case in &cases {
        let epsilon = case.epsilons(&[0.05])[0];
        for (name, numbers) in solve(case, epsilon)? {
            all.push((format!("{}, {name}", case.name), numbers));
        }
    }
    Ok(all)
}

/// Pointwise arithmetic and sums of a long vector.
fn vectors<B: Backend>(backend: &B) -> Result<Vec<(String, Vec<u64>)>, Error> {
    let values = Seeded::new(2).vector::<B::Elem>(2 * 100_003, -1.0, 1.0);
    let vector = backend.upload(&elements::<B::Elem>(&values), 2)?;
    let (mut mapped, mut sum) = (backend.alloc(100_003, 2)?, backend.alloc_reduced(2)?);
    let program = Program::record(|[x]| [(x * x).exp() / (x + x.abs().sqrt()).abs()])?;
    backend.map(&program, &[Operand::Vector(&vector)], &mut [&mut mapped])?;
    backend.reduce(&program, Fold::Sum, 100_003, &[Operand::Vector(&vector)], &mut [&mut sum])?;
    Ok(vec![
        ("map".into(), element_bits(&backend.download(&[&mapped])?)),
        ("reduce".into(), number_bits(&backend.read(&[&sum])?)),
    ])
}

/// A few sweeps, and what is asked of the plan after them.
fn solve<B: Backend>(case: &GeometryCase<B>, epsilon: f64) -> Result<Vec<(&'static str, Vec<u64>)>, Error> {
    let (backend, columns) = (case.backend().clone(), 3);
    let mut scene = Scene::new(case, epsilon, columns)?;
    let mut all = Vec::new();
    for side in SIDES {
        all.push(("softmin", element_bits(&[scene.plain_softmin(side)?])));
    }
    let room = |side: Side| backend.alloc(case.truth.len(side), columns);
    let mut hints = ByProducts::alloc(&backend, columns)?;
    let [source, target] = scene.upload_potentials(|value| value)?;
    let mut potentials = Potentials { source, target, epsilon };
    let mut scratch = Potentials { source: room(Side::Source)?, target: room(Side::Target)?, epsilon };
    let (relaxation, active) = (backend.upload_reduced(&[1.0, 1.3, 1.7])?, ActiveColumns::all(columns));
    for _ in 0..5 {
        let sweep = Sweep {
            source: &scene.marginals[at(Side::Source)],
            target: &scene.marginals[at(Side::Target)],
            potentials: &mut potentials,
            relaxation: &relaxation,
            active: &active,
            scratch: &mut scratch,
            by_products: Some(&mut hints),
        };
        scene.kernel.sweep(&backend, sweep)?;
    }
    all.push(("sweeps", element_bits(&backend.download(&[&potentials.source, &potentials.target])?)));
    let told = [&hints.source_residual, &hints.target_residual, &hints.mass, &hints.source_dual, &hints.target_dual];
    all.push(("by-products", number_bits(&backend.read(&told)?)));

    let mut cost = backend.alloc_reduced(columns)?;
    if scene
        .ask(|kernel, plan| kernel.transport_cost().map(|known| known.plan_cost(plan, &mut cost)))
        .transpose()?
        .is_some()
    {
        all.push(("transport cost", number_bits(&backend.read(&[&cost])?)));
    }
    for side in SIDES {
        let len = case.truth.len(side.opposite());
        let values = elements::<B::Elem>(&Seeded::new(4).vector::<B::Elem>(len * columns, -1.0, 1.0));
        let (values, mut out) = (backend.upload(&values, columns)?, room(side)?);
        scene.ask(|kernel, plan| kernel.apply(side, plan, &values, &mut out))?;
        all.push(("product", element_bits(&backend.download(&[&out])?)));
    }
    Ok(all)
}

fn element_bits<T: Scalar>(vectors: &[Vec<T>]) -> Vec<u64> {
    vectors.iter().flatten().map(|value| value.to_f64().to_bits()).collect()
}

fn number_bits(vectors: &[Vec<f64>]) -> Vec<u64> {
    vectors.iter().flatten().map(|value| value.to_bits()).collect()
}
