//! The kernels of the host against a naive double loop in f64, each branch of them.

use ot_conformance::Seeded;
use ot_core::{
    ActiveColumns, ArcThreshold, Backend, ByProducts, Host, KernelOp, Kl, Marginal, PlanSide, PlanView, Potentials,
    RecordedPenalty, Side, Sweep, UNREACHABLE, kernel::half_step,
};
use ot_cpu::CpuScalar;

use super::support::{self, Case, KINDS, Kind, balanced, case, largest, marginal, roughness, values, weights};

type Bound<T> = Box<dyn KernelOp<Host<T>>>;

/// One softmin through the contract.
fn softmin<T: CpuScalar>(
    case: &Case<T>,
    kernel: &mut Bound<T>,
    side: Side,
    other: &Marginal<Host<T>>,
    potential: &[T],
    shift: &[T],
) -> Vec<f64> {
    let (backend, columns) = (&case.backend, kernel.columns());
    let potential = backend.upload(potential, columns).unwrap();
    let shift = backend.upload(shift, columns).unwrap();
    let mut out = backend.alloc(case.len(side), columns).unwrap();
    let active = ActiveColumns::all(columns);
    let own = PlanSide { potential: &shift, weights: &shift, log_weights: &shift };
    let other = PlanSide::new(&potential, other.device_weights());
    let plan = PlanView { source: side.of([own, other]), target: side.of([other, own]) };
    support::softmin(kernel.as_mut(), backend, side, plan, &active, &mut out);
    values(&out)
}

fn softmins_are_those_of_the_double_loop<T: CpuScalar>() {
    let mut checked = 0;
    for kind in KINDS {
        for (n, m) in [(1, 1), (1, 9), (13, 1), (40, 1100), (67, 33)] {
            if kind == Kind::Forbidding && n.min(m) < 3 {
                continue;
            }
            let case = case::<T>(kind, 2, n, m, 2, 0.0, 1.0);
            for relative in [1e-4, 1e-2, 1.0, 1e2] {
                let epsilon = relative * case.mean();
                for zeros in [false, true] {
                    let zeros = zeros && n.min(m) > 3;
                    let mut kernel = case.geometry.bind_entropic(epsilon, 1).unwrap();
                    let [a, b] =
                        [(n, 3), (m, 4)].map(|(len, seed)| balanced(&case.backend, &weights(len, 1, zeros, seed), 1));
                    let mut random = Seeded::new(5);
                    let potentials = |random: &mut Seeded, len| random.elements::<T>(len, -1.0, 1.0);
                    // Twice each: from the costs, then from an absorbed copy, at near and at far potentials.
                    for (side, spread) in [
                        (Side::Source, 0.0),
                        (Side::Target, 0.0),
                        (Side::Source, 1.0),
                        (Side::Target, 1.0),
                        (Side::Source, 1e-3),
                    ] {
                        let (other, len) = (if side == Side::Source { &b } else { &a }, case.len(side));
                        let potential: Vec<T> = potentials(&mut random, case.len(side.opposite()))
                            .iter()
                            .map(|p| T::from_f64(spread * p.to_f64()))
                            .collect();
                        let shift = potentials(&mut random, len);
                        let found = softmin(&case, &mut kernel, side, other, &potential, &shift);
                        let log_weights = case.backend.download(&[other.log_weights()]).unwrap().swap_remove(0);
                        for (atom, found) in found.iter().enumerate() {
                            let expected = case.softmin(side, atom, &potential, &log_weights, epsilon);
                            let scale =
                                largest(case.costs.iter().copied().filter(|c| c.is_finite())) + 1.0 + 10.0 * epsilon;
                            let tolerance =
                                if expected == UNREACHABLE { 1e-6 * UNREACHABLE } else { 6.0 * T::EPSILON * scale };
                            let what =
                                format!("{} {side} {atom} epsilon {relative} zeros {zeros} spread {spread}", case.name);
                            assert!((found - expected).abs() <= tolerance, "{what}: {found} for {expected}");
                            checked += usize::from(expected != UNREACHABLE);
                        }
                    }
                }
            }
        }
    }
    assert!(checked > 10_000, "{checked}");
}

#[test]
fn softmins_f64() {
    softmins_are_those_of_the_double_loop::<f64>();
}

#[test]
fn softmins_f32() {
    softmins_are_those_of_the_double_loop::<f32>();
}

/// Potentials, by-products and dual after some sweeps, fused or as two half-steps.
struct Run {
    source: Vec<f64>,
    target: Vec<f64>,
    by_products: Vec<Vec<f64>>,
}

struct Setting {
    columns: usize,
    sweeps: usize,
    relaxation: f64,
    unbalanced: bool,
    zeros: bool,
    fused: bool,
    frozen: Option<usize>,
}

const PLAIN: Setting =
    Setting { columns: 1, sweeps: 12, relaxation: 1.0, unbalanced: false, zeros: false, fused: true, frozen: None };

fn run<T: CpuScalar>(case: &Case<T>, epsilon: f64, setting: &Setting) -> Run {
    let (backend, columns) = (&case.backend, setting.columns);
    let side = |len: usize, columns: usize, seed: u64| {
        let weights = weights(len, columns, setting.zeros, seed);
        if setting.unbalanced {
            marginal(backend, &weights, columns, RecordedPenalty::new(&Kl::new(0.3).unwrap()).unwrap())
        } else {
            balanced(backend, &weights, columns)
        }
    };
    let (source, target) = (side(case.n, columns, 3), side(case.m, 1, 4));
    let mut kernel = case.geometry.bind_entropic(epsilon, columns).unwrap();
    let fresh = || Potentials {
        source: backend.alloc(case.n, columns).unwrap(),
        target: backend.alloc(case.m, columns).unwrap(),
        epsilon,
    };
    let (mut potentials, mut scratch) = (fresh(), fresh());
    let mut by_products = ByProducts::alloc(backend, [case.n, case.m], columns).unwrap();
    let relaxation = backend.upload_reduced(&vec![setting.relaxation; columns]).unwrap();
    let mut active = ActiveColumns::all(columns);
    let backend: &dyn Backend<Host<T>> = backend;
    backend.scope(|| {
        for sweep in 0..setting.sweeps {
            if sweep == setting.sweeps / 2
                && let Some(column) = setting.frozen
            {
                active.freeze(column);
            }
            let mut question = Sweep {
                source: &source,
                target: &target,
                potentials: &mut potentials,
                relaxation: &relaxation,
                active: &active,
                scratch: &mut scratch,
                by_products: Some(&mut by_products),
            };
            if setting.fused {
                kernel.sweep(backend, question).unwrap();
            } else {
                for side in Side::BOTH {
                    half_step(kernel.as_mut(), backend, side, &mut question).unwrap();
                }
            }
        }
    });
    let ByProducts { source_residual, target_residual, conjugate, source_dual, target_dual, .. } = &by_products;
    Run {
        source: values(&potentials.source),
        target: values(&potentials.target),
        by_products: backend.read(&[source_residual, target_residual, conjugate, source_dual, target_dual]).unwrap(),
    }
}

fn assert_close(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= tolerance, "{what} {index}: {found} for {expected}");
    }
}

fn a_fused_sweep_is_two_half_steps<T: CpuScalar>() {
    for kind in [Kind::Dense, Kind::DenseFull, Kind::Streaming, Kind::StreamingLopsided] {
        for (n, m) in [(70, 150), (9, 1), (130, 67)] {
            for relative in [3e-3, 0.1, 30.0] {
                let case = case::<T>(kind, 2, n, m, 3, 0.0, 1.0);
                let epsilon = relative * case.mean();
                for (columns, relaxation, unbalanced, zeros) in
                    [(1, 1.0, false, false), (1, 1.5, false, true), (3, 1.2, true, false), (11, 1.0, false, true)]
                {
                    let zeros = zeros && n.min(m) > 3;
                    let setting = Setting { columns, relaxation, unbalanced, zeros, ..PLAIN };
                    let (fused, halves) =
                        (run(&case, epsilon, &setting), run(&case, epsilon, &Setting { fused: false, ..setting }));
                    let what = format!("{} epsilon {relative} columns {columns} zeros {zeros}", case.name);
                    let scale = largest(case.costs.iter().copied()) + epsilon;
                    let tolerance = 200.0 * T::EPSILON * scale + roughness::<T>(kind) * epsilon;
                    assert_close(&fused.source, &halves.source, tolerance, &what);
                    assert_close(&fused.target, &halves.target, tolerance, &what);
                    for (found, expected) in fused.by_products.iter().zip(&halves.by_products) {
                        let tolerance = 400.0 * T::EPSILON * scale / epsilon + roughness::<T>(kind) * scale / epsilon;
                        assert_close(found, expected, tolerance.min(0.1), &what);
                    }
                }
            }
        }
    }
}

#[test]
fn sweeps_f64() {
    a_fused_sweep_is_two_half_steps::<f64>();
}

#[test]
fn sweeps_f32() {
    a_fused_sweep_is_two_half_steps::<f32>();
}

#[test]
fn sweeps_have_the_same_bits_for_any_number_of_threads() {
    for kind in KINDS {
        let runs = [1, 2, 3, 7].map(|threads| {
            let case = case::<f64>(kind, threads, 300, 211, 3, 0.0, 1.0);
            run(&case, 0.02, &Setting { columns: 2, unbalanced: true, ..PLAIN })
        });
        for other in &runs[1..] {
            assert_eq!(other.source, runs[0].source, "{kind:?}");
            assert_eq!(other.target, runs[0].target, "{kind:?}");
            assert_eq!(other.by_products, runs[0].by_products, "{kind:?}");
        }
        assert!(runs[0].by_products.iter().flatten().all(|number| number.is_finite()));
    }
}

#[test]
fn a_batch_is_a_loop_and_frozen_columns_rest() {
    for kind in [Kind::DenseFull, Kind::Dense, Kind::Streaming] {
        let case = case::<f64>(kind, 2, 60, 45, 2, 0.0, 1.0);
        let batch = run(&case, 0.01, &Setting { columns: 10, sweeps: 10, frozen: Some(4), ..PLAIN });
        let early = run(&case, 0.01, &Setting { columns: 10, sweeps: 5, ..PLAIN });
        let late = run(&case, 0.01, &Setting { columns: 10, sweeps: 10, ..PLAIN });
        let column = |values: &[f64], len: usize, column: usize| values[column * len..][..len].to_vec();
        for k in 0..10 {
            let expected = if k == 4 { &early } else { &late };
            let tolerance = if k == 4 { 0.0 } else { 1e-12 + 0.01 * roughness::<f64>(kind) };
            assert_close(&column(&batch.source, 60, k), &column(&expected.source, 60, k), tolerance, "source");
            assert_close(&column(&batch.target, 45, k), &column(&expected.target, 45, k), tolerance, "target");
        }
        // Column 0 of the batch has the weights of a batch of one.
        let alone = run(&case, 0.01, &Setting { sweeps: 10, ..PLAIN });
        assert_close(&column(&late.source, 60, 0), &alone.source, 1e-12 + 0.01 * roughness::<f64>(kind), "alone");
    }
}

#[test]
fn dense_and_streaming_agree() {
    let settings = [(0.0, 1.0, 1e-2), (1e6, 1.0, 1e-2), (0.0, 1e75, 1e-5), (0.0, 1e75, 1e2), (0.0, 1e-80, 1e-3)];
    for (offset, scale, relative) in settings {
        let [dense, streaming] = [Kind::DenseFull, Kind::Streaming].map(|kind| {
            let case = case::<f64>(kind, 2, 80, 90, 3, offset, scale);
            let epsilon = relative * case.mean();
            (run(&case, epsilon, &Setting { sweeps: 20, zeros: true, ..PLAIN }), case.mean())
        });
        let tolerance = 1e-11 * dense.1;
        assert_close(&dense.0.source, &streaming.0.source, tolerance, &format!("{offset} {scale} {relative}"));
        assert_close(&dense.0.target, &streaming.0.target, tolerance, &format!("{offset} {scale} {relative}"));
        assert!(largest(dense.0.source.iter().copied()) > 0.0);
    }
}

#[test]
fn the_plan_of_a_long_run_has_the_marginals_asked_for() {
    for kind in [Kind::Dense, Kind::DenseFull, Kind::Streaming] {
        let case = case::<f64>(kind, 2, 200, 150, 3, 0.0, 1.0);
        let run = run(&case, 0.05 * case.mean(), &Setting { sweeps: 400, ..PLAIN });
        let [source, target, mass, ..] = &run.by_products[..] else { unreachable!("five by-products") };
        assert!(source[0] < 1e-12 && target[0] < 1e-12, "{kind:?}: {} {}", source[0], target[0]);
        assert!((mass[0] - 1.0).abs() < 1e-12);
    }
}

/// A kernel, marginals and potentials after a few sweeps, and the explicit plan.
fn with_plan(kind: Kind, check: impl Fn(&Case<f64>, &mut Bound<f64>, PlanView<'_, Host<f64>>, &[f64], f64)) {
    let case = case::<f64>(kind, 2, 23, 1050, 2, 0.0, 1.0);
    let (backend, epsilon) = (case.backend.clone(), 0.1);
    let (a, b) = (weights::<f64>(case.n, 1, true, 3), weights::<f64>(case.m, 1, true, 4));
    let (source, target) = (balanced(&backend, &a, 1), balanced(&backend, &b, 1));
    let mut random = Seeded::new(9);
    let (f, g) = (random.vector::<f64>(case.n, 0.0, 0.3), random.vector::<f64>(case.m, 0.0, 0.3));
    let plan: Vec<f64> = (0..case.n * case.m)
        .map(|index| {
            let (i, j) = (index / case.m, index % case.m);
            a[i] * b[j] * ((f[i] + g[j] - case.costs[index]) / epsilon).exp()
        })
        .collect();
    let (f, g) = (backend.upload(&f, 1).unwrap(), backend.upload(&g, 1).unwrap());
    let view = PlanView {
        source: PlanSide::new(&f, source.device_weights()),
        target: PlanSide::new(&g, target.device_weights()),
    };
    let mut kernel = case.geometry.bind_entropic(epsilon, 1).unwrap();
    check(&case, &mut kernel, view, &plan, epsilon);
}

#[test]
fn products_and_costs_are_those_of_the_explicit_plan() {
    for kind in KINDS {
        with_plan(kind, |case, kernel, view, plan, _| {
            let (n, m, backend) = (case.n, case.m, &case.backend);
            let mut random = Seeded::new(11);
            let channels = 11;
            let x = random.vector::<f64>(n * channels, -1.0, 1.0);
            let y = random.vector::<f64>(m * channels, -1.0, 1.0);
            let mut product = |side: Side, values: &[f64]| {
                let values = backend.upload(values, channels).unwrap();
                let mut out = backend.alloc(case.len(side), channels).unwrap();
                kernel.apply(side, view, &values, &mut out).unwrap();
                support::values(&out)
            };
            let (py, ptx) = (product(Side::Source, &y), product(Side::Target, &x));
            for channel in 0..channels {
                for i in 0..n {
                    let expected: f64 = (0..m).map(|j| plan[i * m + j] * y[channel * m + j]).sum();
                    assert!((py[channel * n + i] - expected).abs() < 1e-13, "{}", case.name);
                }
                let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                let (left, right) = (
                    dot(&py[channel * n..][..n], &x[channel * n..][..n]),
                    dot(&ptx[channel * m..][..m], &y[channel * m..][..m]),
                );
                assert!((left - right).abs() < 1e-13, "{}: {left} {right}", case.name);
            }

            let mut out = backend.alloc_reduced(1).unwrap();
            kernel.transport_cost().unwrap().plan_cost(view, &mut out).unwrap();
            let priced = plan.iter().zip(&case.costs).filter(|(_, cost)| cost.is_finite());
            let expected: f64 = priced.map(|(mass, cost)| mass * cost).sum();
            assert!(
                (backend.read(&[&out]).unwrap()[0][0] - expected).abs() < 1e-13 * (1.0 + expected),
                "{}",
                case.name
            );

            let (u, v) = (random.vector::<f64>(n, 0.0, 1.0), random.vector::<f64>(m, 0.0, 1.0));
            let expected: f64 = (0..n * m).map(|index| u[index / m] * case.costs[index] * v[index % m]).sum();
            let (u, v) = (backend.upload(&u, 1).unwrap(), backend.upload(&v, 1).unwrap());
            kernel.transport_cost().unwrap().rank_one_cost(&u, &v, &mut out).unwrap();
            let found = backend.read(&[&out]).unwrap()[0][0];
            assert!(
                found == expected || (found - expected).abs() < 1e-12 * expected,
                "{}: {found} {expected}",
                case.name
            );
            assert_eq!(found.is_infinite(), kind == Kind::Forbidding);
        });
    }
}

#[test]
fn hard_transforms_and_arcs_are_those_of_the_double_loop() {
    for kind in KINDS {
        with_plan(kind, |case, kernel, view, _, _| {
            let backend = &case.backend;
            for side in Side::BOTH {
                let other = view.side(side.opposite());
                let potential = values(other.potential);
                let log_weights = values(other.log_weights);
                let mut out = backend.alloc(case.len(side), 1).unwrap();
                let mut argument = Vec::new();
                let lister = kernel.hard_transform().unwrap();
                lister
                    .hard_c_transform(side, other.potential, other.log_weights, &mut out, Some(&mut argument))
                    .unwrap();
                let found = values(&out);
                for atom in 0..case.len(side) {
                    let partners = (0..potential.len()).filter(|&j| log_weights[j] > -1e20);
                    let best = partners
                        .map(|j| (case.cost(side, atom, j) - potential[j], j as u32))
                        .filter(|(cost, _)| cost.is_finite())
                        .fold((UNREACHABLE, u32::MAX), |best, next| if next.0 < best.0 { next } else { best });
                    assert!(
                        (found[atom] - best.0).abs() <= 1e-13 * best.0.abs().max(1.0),
                        "{} {side} {atom}",
                        case.name
                    );
                    assert_eq!(argument[atom], best.1, "{} {side} {atom}", case.name);
                }
            }
            let (f, g) = (values(view.source.potential), values(view.target.potential));
            let reduced = |index: usize| case.costs[index] - f[index / case.m] - g[index % case.m];
            let expected = (0..case.costs.len()).filter(|&index| reduced(index) <= -0.1).count();
            let lister = kernel.hard_transform().unwrap();
            let arcs = lister
                .arcs_below(view.source.potential, view.target.potential, 0, ArcThreshold::uniform(-0.1), expected)
                .unwrap();
            assert!(expected > 10 && arcs.len() == expected, "{}: {} of {expected}", case.name, arcs.len());
            assert!(arcs.is_sorted_by_key(|arc| (arc.source, arc.target)));
            let too_many = lister.arcs_below(
                view.source.potential,
                view.target.potential,
                0,
                ArcThreshold::uniform(-0.1),
                expected - 1,
            );
            assert!(matches!(too_many, Err(ot_core::Error::OutOfMemory { .. })));
        });
    }
}
