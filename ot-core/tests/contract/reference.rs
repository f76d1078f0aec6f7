//! The reference geometry against its formulas, written out: what all other geometries are compared with.

use std::sync::Arc;

use ot_conformance::{ReferenceBackend, Seeded};
use ot_core::{
    ActiveColumns, ArcThreshold, Backend, Balanced, ByProducts, CTransform, CostMatrix, CostParameter, CostTangent,
    Device, Entering, Entropy, Error, Free, Geometry, Host, KernelOp, Kl, Marginal, PairWeight, PlanRounding, PlanSide,
    PlanView, Potentials, Range, RecordedPenalty, RecordedRegularizer, ReferenceGeometry, RegularizerKind,
    RoundedValue, Side, SqEuclidean, SquaredL2, Support, Sweep, TotalVariation, UNREACHABLE, WeightedPlan, WeightsView,
};

type Vector = <Host<f64> as Device>::Vector;

const ROWS: usize = 5;
const OTHERS: usize = 4;
const COLUMNS: usize = 2;
const EPSILON: f64 = 0.3;

/// Two columns of a plan under one regularizer, on the backend and as numbers.
struct Plan {
    backend: ReferenceBackend<f64>,
    kernel: Box<dyn KernelOp<Host<f64>>>,
    marginals: [Marginal<Host<f64>>; 2],
    potentials: Potentials<Host<f64>>,
    /// Row-major.
    costs: Vec<f64>,
    /// Column after column.
    weights: [Vec<f64>; 2],
    values: [Vec<f64>; 2],
    kind: RegularizerKind,
}

impl Plan {
    fn new(regularizer: &RecordedRegularizer, penalties: [&RecordedPenalty; 2]) -> Result<Self, Error> {
        let (backend, mut seeded) = (ReferenceBackend::default(), Seeded::new(1));
        let mut costs = seeded.vector::<f64>(ROWS * OTHERS, -0.5, 1.0);
        costs[2 * OTHERS + 1] = f64::INFINITY;
        let weights = [ROWS, OTHERS].map(|len| {
            let mut weights = seeded.vector::<f64>(len * COLUMNS, 0.1, 0.4);
            weights[1] = 0.0;
            weights
        });
        let values = [ROWS, OTHERS].map(|len| seeded.vector::<f64>(len * COLUMNS, -0.5, 0.6));
        let matrix = CostMatrix::new(&costs, ROWS, OTHERS)?;
        let (source, target) = (Support::Indices(ROWS), Support::Indices(OTHERS));
        let geometry = ReferenceGeometry::new(Arc::new(backend), source, target, &matrix)?;
        let marginal = |side: Side| {
            let weights = WeightsView::new(&weights[side.index()], COLUMNS)?;
            Marginal::new(&backend, weights, side.of(penalties).clone())
        };
        Ok(Self {
            kernel: geometry.bind(regularizer, EPSILON, COLUMNS)?,
            marginals: [marginal(Side::Source)?, marginal(Side::Target)?],
            potentials: Potentials {
                source: backend.upload(&values[0], COLUMNS)?,
                target: backend.upload(&values[1], COLUMNS)?,
                epsilon: EPSILON,
            },
            backend,
            costs,
            weights,
            values,
            kind: regularizer.kind(),
        })
    }

    /// For entropy and for squares.
    fn each(test: impl Fn(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        let balanced = RecordedPenalty::new(&Balanced)?;
        for regularizer in [RecordedRegularizer::new(&Entropy)?, RecordedRegularizer::new(&SquaredL2)?] {
            test(&mut Self::new(&regularizer, [&balanced; 2])?)?;
        }
        Ok(())
    }

    fn ask<R>(
        &mut self,
        ask: impl FnOnce(&mut dyn KernelOp<Host<f64>>, PlanView<'_, Host<f64>>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let [a, b] = &self.marginals;
        let (source, target) = (
            PlanSide::new(&self.potentials.source, a.device_weights()),
            PlanSide::new(&self.potentials.target, b.device_weights()),
        );
        ask(self.kernel.as_mut(), PlanView { source, target })
    }

    /// One number of a side in a column.
    fn at(values: &[Vec<f64>; 2], side: Side, column: usize, index: usize) -> f64 {
        values[side.index()][column * [ROWS, OTHERS][side.index()] + index]
    }

    /// z_ij, minus infinity for a forbidden pair, with another source potential if wanted.
    fn exponent(&self, column: usize, i: usize, j: usize) -> f64 {
        let [f, g] = [(Side::Source, i), (Side::Target, j)].map(|(side, i)| Self::at(&self.values, side, column, i));
        (f + g - self.costs[i * OTHERS + j]) / EPSILON
    }

    /// a_i b_j.
    fn weight(&self, column: usize, i: usize, j: usize) -> f64 {
        Self::at(&self.weights, Side::Source, column, i) * Self::at(&self.weights, Side::Target, column, j)
    }

    /// h*'(z), h*(z) + h(0) and h*''(z).
    fn conjugates(&self, exponent: f64) -> [f64; 3] {
        let positive = exponent.max(0.0);
        match self.kind {
            RegularizerKind::Entropy => [exponent.exp(); 3],
            _ => [positive, 0.5 * positive * positive, f64::from(exponent > 0.0)],
        }
    }

    /// P_ij.
    fn mass(&self, column: usize, i: usize, j: usize) -> f64 {
        self.weight(column, i, j) * self.conjugates(self.exponent(column, i, j))[0]
    }

    /// sum_j term(column, i, j) for each atom of a side and column.
    fn sums(side: Side, term: impl Fn(usize, usize, usize) -> f64) -> Vec<f64> {
        let [rows, others] = side.of([[ROWS, OTHERS], [OTHERS, ROWS]]);
        let pair = |own, other| side.of([(own, other), (other, own)]);
        let sum = |column: usize, own: usize| {
            (0..others).map(|other| pair(own, other)).map(|(i, j)| term(column, i, j)).sum::<f64>()
        };
        (0..COLUMNS * rows).map(|index| sum(index / rows, index % rows)).collect()
    }

    /// sum_ij term(column, i, j) for each column.
    fn totals(term: impl Fn(usize, usize, usize) -> f64) -> Vec<f64> {
        Self::sums(Side::Source, term).chunks_exact(ROWS).map(|column| column.iter().sum()).collect()
    }

    /// A vector over a side.
    fn alloc(&self, side: Side) -> Result<Vector, Error> {
        self.backend.alloc([ROWS, OTHERS][side.index()], COLUMNS)
    }
}

fn near(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let is_near = found == expected || (found - expected).abs() <= 1e-13 * (1.0 + expected.abs());
        assert!(is_near, "number {index} is {found}, not {expected}");
    }
}

#[test]
fn densities_conjugates_and_products_are_sums_of_entries() -> Result<(), Error> {
    Plan::each(|plan| {
        let active = ActiveColumns::all(COLUMNS);
        for side in Side::BOTH {
            let (mut density, mut conjugate) = (plan.alloc(side)?, plan.backend.alloc_reduced(COLUMNS)?);
            let backend = plan.backend;
            plan.ask(|kernel, view| kernel.density(&backend, side, view, &active, &mut density, Some(&mut conjugate)))?;
            let partner = |column, i, j| {
                let (partner, index) = side.of([(Side::Target, j), (Side::Source, i)]);
                Plan::at(&plan.weights, partner, column, index) * plan.conjugates(plan.exponent(column, i, j))[0]
            };
            near(density.values(), &Plan::sums(side, partner));
            let term = |column, i, j| plan.weight(column, i, j) * plan.conjugates(plan.exponent(column, i, j))[1];
            near(conjugate.values(), &Plan::totals(term));

            let values = upload(&plan.values[side.opposite().index()])?;
            let value = |plan: &Plan, column, i, j| {
                let (other, index) = side.of([(Side::Target, j), (Side::Source, i)]);
                Plan::at(&plan.values, other, column, index)
            };
            let mut out = plan.alloc(side)?;
            plan.ask(|kernel, view| kernel.apply(side, view, &values, &mut out))?;
            near(out.values(), &Plan::sums(side, |k, i, j| plan.mass(k, i, j) * value(plan, k, i, j)));
            plan.ask(|kernel, view| known(kernel.plan_product()).curvature_product(side, view, &values, &mut out))?;
            let bent = |k, i, j| plan.weight(k, i, j) * plan.conjugates(plan.exponent(k, i, j))[2];
            near(out.values(), &Plan::sums(side, |k, i, j| bent(k, i, j) * value(plan, k, i, j)));

            // The normal product is two products.
            let own = upload(&plan.values[side.index()])?;
            let (mut middle, mut expected) = (plan.alloc(side.opposite())?, plan.alloc(side)?);
            plan.ask(|kernel, view| kernel.apply(side.opposite(), view, &own, &mut middle))?;
            middle.values_mut().iter_mut().zip(values.values()).for_each(|(middle, d)| *middle *= d);
            plan.ask(|kernel, view| kernel.apply(side, view, &middle, &mut expected))?;
            plan.ask(|kernel, view| known(kernel.plan_product()).normal_product(side, view, &values, &own, &mut out))?;
            near(out.values(), expected.values());
        }
        Ok(())
    })
}

#[test]
fn costs_and_derivatives_are_sums_of_entries() -> Result<(), Error> {
    Plan::each(|plan| {
        let cost = |i: usize, j: usize| plan.costs[i * OTHERS + j];
        let finite = |mass: f64, cost: f64| if mass == 0.0 { 0.0 } else { mass * cost };
        let expected = Plan::totals(|k, i, j| finite(plan.mass(k, i, j), cost(i, j)));
        let [u, v] = plan.weights.each_ref().map(|values| upload(values));
        let (u, v) = (u?, v?);
        let rank_one = Plan::totals(|k, i, j| finite(plan.weight(k, i, j), cost(i, j)));
        let mut out = plan.backend.alloc_reduced(COLUMNS)?;
        plan.ask(|kernel, view| known(kernel.transport_cost()).plan_cost(view, &mut out))?;
        near(out.values(), &expected);
        plan.ask(|kernel, _| known(kernel.transport_cost()).rank_one_cost(&u, &v, &mut out))?;
        assert!(rank_one[1].is_infinite());
        near(out.values(), &rank_one);

        // w_ij = 1/4 + r_i + s_j + u_i v_j + C_ij / 2, with the potentials as factors.
        let [r, s] = plan.values.each_ref().map(|values| upload(values));
        let (r, s) = (r?, s?);
        let weight =
            PairWeight { constant: 0.25, source: Some(&r), target: Some(&s), product: Some((&r, &s)), cost: 0.5 };
        let weighted = |plan: &Plan, k, i, j| {
            let [r, s] = [(Side::Source, i), (Side::Target, j)].map(|(side, i)| Plan::at(&plan.values, side, k, i));
            finite(plan.mass(k, i, j), 0.25 + r + s + r * s + 0.5 * plan.costs[i * OTHERS + j])
        };
        let mut out = plan.backend.alloc(OTHERS, ROWS * COLUMNS)?;
        plan.ask(|kernel, view| {
            let pairs = WeightedPlan { plan: view, weight };
            known(kernel.cost_derivative()).pull_back(pairs, CostParameter::Matrix, &mut out)
        })?;
        let entry = |index: usize| {
            let (column, i, j) = (index / (ROWS * OTHERS), index / OTHERS % ROWS, index % OTHERS);
            weighted(plan, column, i, j)
        };
        near(out.values(), &(0..ROWS * OTHERS * COLUMNS).map(entry).collect::<Vec<_>>());

        let scale = upload(&[2.0])?;
        let tangent = CostTangent { parameter: CostParameter::Scale, values: &scale };
        for side in Side::BOTH {
            let mut out = plan.alloc(side)?;
            plan.ask(|kernel, view| {
                let pairs = WeightedPlan { plan: view, weight };
                known(kernel.cost_derivative()).push_forward(side, pairs, tangent, &mut out)
            })?;
            let term = |k, i, j| finite(weighted(plan, k, i, j), 2.0 * plan.costs[i * OTHERS + j]);
            near(out.values(), &Plan::sums(side, term));
        }
        Ok(())
    })
}

/// Whatever the guess, the density at a c-transform is one that the penalty finds best there.
#[test]
fn c_transforms_meet_the_subdifferential() -> Result<(), Error> {
    let penalties = [
        RecordedPenalty::new(&Balanced)?,
        RecordedPenalty::new(&Kl::new(0.3)?)?,
        RecordedPenalty::new(&TotalVariation::new(0.1)?)?,
        RecordedPenalty::new(&Range::new(0.7, 1.2)?)?,
        RecordedPenalty::new(&Free)?,
    ];
    for (regularizer, penalty) in [RecordedRegularizer::new(&Entropy)?, RecordedRegularizer::new(&SquaredL2)?]
        .iter()
        .flat_map(|regularizer| penalties.iter().map(move |penalty| (regularizer, penalty)))
    {
        for guess in [0.0, -3.0, 3.0, 1e10, UNREACHABLE] {
            let mut plan = Plan::new(regularizer, [penalty; 2])?;
            plan.values[0].fill(guess);
            plan.backend.write(&plan.values[0], &mut plan.potentials.source)?;
            let (mut out, active, backend) = (plan.alloc(Side::Source)?, ActiveColumns::all(COLUMNS), plan.backend);
            plan.ask(|kernel, view| {
                let request = CTransform { side: Side::Source, plan: view, penalty, active: &active };
                kernel.c_transform(&backend, request, &mut out, None)
            })?;
            let near = 1e-8;
            let densities = |shift: f64| {
                let (mut plan, mut density) = (Plan::new(regularizer, [penalty; 2])?, plan.alloc(Side::Source)?);
                let moved: Vec<f64> = out.values().iter().map(|f| f + shift).collect();
                plan.backend.write(&moved, &mut plan.potentials.source)?;
                plan.ask(|kernel, view| kernel.density(&backend, Side::Source, view, &active, &mut density, None))?;
                Ok::<_, Error>(density)
            };
            let [low, _] = penalty.potential_bounds();
            for ((f, less), more) in out.values().iter().zip(densities(-near)?.values()).zip(densities(near)?.values())
            {
                let [least, _] = penalty.conjugate_subdifferential().call([f + near, EPSILON])?;
                let [_, most] = penalty.conjugate_subdifferential().call([f - near, EPSILON])?;
                let meets = *less <= most + 1e-12 && *more >= least - 1e-12 && *f >= low;
                assert!(meets, "{regularizer:?}, {penalty:?}, guess {guess}: {less} to {more} at {f}");
            }
        }
    }
    Ok(())
}

#[test]
fn sweeps_relax_c_transforms_and_tell_of_the_entering_iterate() -> Result<(), Error> {
    let (kl, range) = (RecordedPenalty::new(&Kl::new(0.3)?)?, RecordedPenalty::new(&Range::new(0.7, 1.2)?)?);
    for regularizer in [RecordedRegularizer::new(&Entropy)?, RecordedRegularizer::new(&SquaredL2)?] {
        let mut plan = Plan::new(&regularizer, [&kl, &range])?;
        let (backend, active) = (plan.backend, ActiveColumns::all(COLUMNS));
        let relaxations = [1.0, 1.5];
        let entering = plan.values.clone();
        let (mut residuals, mut duals, mut conjugate) =
            ([vec![0.0; COLUMNS], vec![0.0; COLUMNS]], [vec![0.0; COLUMNS], vec![0.0; COLUMNS]], Vec::new());
        // By hand: a c-transform, what is known of the entering plan, and a step.
        for side in Side::BOTH {
            let (mut out, mut density) = (plan.alloc(side)?, plan.alloc(side)?);
            let mut told = backend.alloc_reduced(COLUMNS)?;
            let penalty = side.of([&kl, &range]);
            plan.ask(|kernel, view| {
                let request = CTransform { side, plan: view, penalty, active: &active };
                let entering = Entering { density: &mut density, conjugate: Some(&mut told) };
                kernel.c_transform(&backend, request, &mut out, Some(entering))
            })?;
            let rows = out.shape().0;
            for (index, f) in plan.values[side.index()].iter_mut().enumerate() {
                let (column, weight) = (index / rows, plan.weights[side.index()][index]);
                let [low, high] = penalty.conjugate_subdifferential().call([*f, EPSILON])?;
                let density = density.values()[index];
                residuals[side.index()][column] += weight * (low - density).max(density - high).max(0.0);
                let [conjugate] = penalty.conjugate().call([-*f])?;
                duals[side.index()][column] -= weight * conjugate;
                *f += relaxations[column] * (out.values()[index] - *f);
            }
            if side == Side::Source {
                conjugate = told.values().to_vec();
                backend.write(&plan.values[0], &mut plan.potentials.source)?;
            }
        }
        let expected = std::mem::replace(&mut plan.values, entering);

        backend.write(&plan.values[0], &mut plan.potentials.source)?;
        let mut scratch =
            Potentials { source: plan.alloc(Side::Source)?, target: plan.alloc(Side::Target)?, epsilon: EPSILON };
        let mut hints = ByProducts::alloc(&backend as &dyn Backend<Host<f64>>, [ROWS, OTHERS], COLUMNS)?;
        let relaxation = backend.upload_reduced(&relaxations)?;
        let [source, target] = &plan.marginals;
        let sweep = Sweep {
            source,
            target,
            potentials: &mut plan.potentials,
            relaxation: &relaxation,
            active: &active,
            scratch: &mut scratch,
            by_products: Some(&mut hints),
        };
        plan.kernel.sweep(&backend, sweep)?;
        near(plan.potentials.source.values(), &expected[0]);
        near(plan.potentials.target.values(), &expected[1]);
        near(hints.source_residual.values(), &residuals[0]);
        near(hints.target_residual.values(), &residuals[1]);
        near(hints.source_dual.values(), &duals[0]);
        near(hints.target_dual.values(), &duals[1]);
        near(hints.conjugate.values(), &conjugate);
    }
    Ok(())
}

/// sum_ij P_ij (x_j - y_i)^2 bounds the gap of entropy, and the gap of squares is half of it over epsilon.
#[test]
fn gaps_of_small_changes_are_quadratic() -> Result<(), Error> {
    Plan::each(|plan| {
        let (source, target) = (upload(&plan.values[0])?, upload(&plan.values[1])?);
        let (mut out, backend) = (plan.backend.alloc_reduced(COLUMNS)?, plan.backend);
        let mut value = plan.backend.alloc_reduced(COLUMNS)?;
        plan.ask(|kernel, view| {
            let rounding = PlanRounding::Relative { source: &source, target: &target };
            kernel.fenchel_gap(&backend, view, rounding, RoundedValue { gap: &mut out, value: &mut value })
        })?;
        let change = |k, i, j| Plan::at(&plan.values, Side::Target, k, j) - Plan::at(&plan.values, Side::Source, k, i);
        let expected = Plan::totals(|k, i, j| match plan.kind {
            RegularizerKind::Entropy => plan.mass(k, i, j) * f64::powi(change(k, i, j), 2),
            _ => {
                let density = plan.conjugates(plan.exponent(k, i, j))[0];
                plan.weight(k, i, j) * 0.5 * (density * change(k, i, j)).powi(2)
            }
        });
        near(out.values(), &expected);
        Ok(())
    })
}

#[test]
fn hard_transforms_are_minima_and_lists() -> Result<(), Error> {
    Plan::each(|plan| {
        let mut out = plan.alloc(Side::Source)?;
        let (log_weights, g) = (plan.marginals[1].log_weights().clone(), plan.potentials.target.clone());
        plan.ask(|kernel, _| {
            known(kernel.hard_transform()).hard_c_transform(Side::Source, &g, &log_weights, &mut out, None)
        })?;
        let reduced = |k, i: usize, j: usize| plan.costs[i * OTHERS + j] - Plan::at(&plan.values, Side::Target, k, j);
        let has_mass = |k, j: &usize| Plan::at(&plan.weights, Side::Target, k, *j) > 0.0;
        let least =
            |k, i| (0..OTHERS).filter(|j| has_mass(k, j)).map(|j| reduced(k, i, j)).fold(f64::INFINITY, f64::min);
        near(out.values(), &(0..ROWS * COLUMNS).map(|index| least(index / ROWS, index % ROWS)).collect::<Vec<_>>());

        let (f, g) = (plan.potentials.source.clone(), plan.potentials.target.clone());
        let atoms = plan.values.clone();
        let threshold = ArcThreshold { base: 0.1, atoms: Some([&atoms[0][ROWS..], &atoms[1][OTHERS..]]) };
        let arcs = plan.ask(|kernel, _| known(kernel.hard_transform()).arcs_below(&f, &g, 1, threshold, 99))?;
        let found: Vec<_> = arcs.iter().map(|arc| (arc.source as usize, arc.target as usize)).collect();
        let [s, t] = [Side::Source, Side::Target].map(|side| move |index| (side, index));
        let of = |(side, index)| Plan::at(&plan.values, side, 1, index);
        let is_below =
            |&(i, j): &(usize, usize)| plan.costs[i * OTHERS + j] - of(s(i)) - of(t(j)) <= 0.1 + of(s(i)) + of(t(j));
        let all = (0..ROWS * OTHERS).map(|index| (index / OTHERS, index % OTHERS));
        assert_eq!(found, all.filter(is_below).collect::<Vec<_>>());
        Ok(())
    })
}

/// With the potentials fixed, -epsilon d/dtheta of the conjugate is the pull-back of a factor of one.
#[test]
fn pull_backs_to_points_are_differences_of_the_conjugate() -> Result<(), Error> {
    let (backend, active, step) = (ReferenceBackend::<f64>::default(), ActiveColumns::all(1), 1e-5);
    let mut seeded = Seeded::new(3);
    let points = [4, 3].map(|len| seeded.vector::<f64>(2 * len, 0.0, 1.0));
    let uniform = [vec![0.25; 4], vec![1.0 / 3.0; 3]];
    let bind = |points: &[Vec<f64>; 2], regularizer: &RecordedRegularizer| {
        let [x, y] = points.each_ref().map(|points| ot_core::PointsView::new(points, 2).map(Support::Points));
        ReferenceGeometry::new(Arc::new(backend), x?, y?, &SqEuclidean)?.bind(regularizer, EPSILON, 1)
    };
    let balanced = RecordedPenalty::new(&Balanced)?;
    let marginal = |weights: &[f64]| Marginal::new(&backend, WeightsView::new(weights, 1)?, balanced.clone());
    let (a, b) = (marginal(&uniform[0])?, marginal(&uniform[1])?);
    let (f, g) = (backend.upload(&[0.3, 0.1, 0.2, 0.4], 1)?, backend.upload(&[0.2, 0.3, 0.1], 1)?);
    let plan =
        PlanView { source: PlanSide::new(&f, a.device_weights()), target: PlanSide::new(&g, b.device_weights()) };
    for regularizer in [RecordedRegularizer::new(&Entropy)?, RecordedRegularizer::new(&SquaredL2)?] {
        let conjugate = |points: &[Vec<f64>; 2]| -> Result<f64, Error> {
            let (mut density, mut conjugate) = (backend.alloc(4, 1)?, backend.alloc_reduced(1)?);
            let mut kernel = bind(points, &regularizer)?;
            kernel.density(&backend, Side::Source, plan, &active, &mut density, Some(&mut conjugate))?;
            Ok(conjugate.values()[0])
        };
        for side in Side::BOTH {
            let mut out = backend.alloc(points[side.index()].len() / 2, 2)?;
            let mut kernel = bind(&points, &regularizer)?;
            let pairs = WeightedPlan { plan, weight: PairWeight::constant(1.0) };
            known(kernel.cost_derivative()).pull_back(pairs, CostParameter::Points(side), &mut out)?;
            for (index, found) in out.values().iter().enumerate() {
                // Vectors lie coordinate by coordinate, points one by one.
                let (own, axis) = (index % out.shape().0, index / out.shape().0);
                let moved = |by: f64| {
                    let mut points = points.clone();
                    points[side.index()][2 * own + axis] += by;
                    conjugate(&points)
                };
                let expected = -EPSILON * (moved(step)? - moved(-step)?) / (2.0 * step);
                assert!((found - expected).abs() < 1e-8, "{side} {own} {axis}: {found}, not {expected}");
            }
        }
    }
    Ok(())
}

/// A capability that the reference has.
fn known<T: ?Sized>(capability: Option<&mut T>) -> &mut T {
    capability.expect("the reference knows everything")
}

/// A vector of two columns, or one number.
fn upload(values: &[f64]) -> Result<Vector, Error> {
    ReferenceBackend::default().upload(values, COLUMNS.min(values.len()))
}
