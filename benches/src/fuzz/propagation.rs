//! Wasserstein propagation beside the definitions in f64: plans of the potentials told, bounds of the objective, and the same
//! bits for any number of threads.

use ot_core::{Epsilon, Error, Graph, Host};
use ot_cpu::{CpuBackend, CpuScalar};
use ot_solvers::{Propagation, PropagationSolution};

use super::{
    barycenter::settings,
    generate::{below, decade, equal_masses, percent, rounded, typical_cost, wide},
    instance::Instance,
    judge::numbers,
    oracle::{
        barycenter::Pair,
        entropic::{Evaluation, Penalty, Problem, Regularizer},
        sum::sum,
    },
    report::Report,
};
use crate::seeded::Seeded;

/// One case.
pub fn case<T: CpuScalar>(backends: &[CpuBackend<T>; 3], random: &mut Seeded, report: &mut Report) {
    let (vertices, n) = (2 + below(random, 4), 1 + below(random, 5));
    let edges = edges(random, vertices);
    let mut is_given: Vec<bool> = (0..vertices).map(|_| percent(random, 50)).collect();
    let one = below(random, vertices);
    is_given[one] = true;
    is_given[(one + 1) % vertices] = false;
    let given = equal_masses::<T>(random, &vec![n; is_given.iter().filter(|given| **given).count()]);
    let reference: Vec<f64> = match percent(random, 60) {
        true => vec![1.0; n],
        false => random.draw(n, |random| rounded::<T>(decade(random, -6.0, 0.0))),
    };
    let instance = on_one_support::<T>(random, given[0].clone());
    let epsilon = rounded::<T>(typical_cost(&instance.costs) * decade(random, -2.0, 1.0));
    let (tolerance, settings) = settings::<T>(random);
    instance.describe::<T>(report);
    report.given("edges", &edges);
    report.given("is_given", &is_given);
    report.given("given", &given);
    report.given("reference", &reference);
    report.given("epsilon", epsilon);
    report.given("settings", &settings);

    let mass = sum(given[0].iter().copied());
    let solve = |backend: &CpuBackend<T>, report: &mut Report| -> Result<String, Error> {
        let (graph, cost) = (Graph::new(vertices, edges.clone())?, instance.cost::<T>()?);
        let measure = |weights: &Vec<f64>| instance.measure::<T>(0, weights);
        let (free, known) = (measure(&reference)?, given.iter().map(measure).collect::<Result<Vec<_>, _>>()?);
        let mut propagation =
            Propagation::new(backend, &graph, free.as_ref(), cost.as_ref(), Epsilon::Absolute(epsilon));
        let at = (0..vertices).filter(|&vertex| is_given[vertex]);
        for (vertex, measure) in at.zip(&known) {
            propagation = propagation.given(vertex, measure.as_ref())?;
        }
        let solution = propagation.problem()?.solve(&settings)?;
        let (joint, told) = (solution.joint(), Told::new::<T>(&solution, vertices)?);
        report.status(joint.status());
        numbers(joint.certificate(), report);
        for (vertex, measure) in told.measures.iter().enumerate() {
            report.numbers("measure", measure);
            report.require(measure.iter().all(|mass| *mass >= 0.0), || format!("negative at {vertex}: {measure:?}"));
        }
        // Forbidden pairs take atoms out of the reference; between tiny masses entries have no digits to compare.
        if !instance.forbids() && mass >= 1e9 * T::TINY && mass < 1e-9 * T::MAX {
            let network = Network { edges: &edges, is_given: &is_given, reference: &reference, instance: &instance };
            network.check::<T>(&solution, &told, tolerance, report);
        }
        Ok(format!("{told:?} {:?} {:?}", joint.status(), joint.certificate()))
    };
    match solve(&backends[0], report) {
        Err(error) => {
            let allowed = match error {
                Error::Epsilon(_) => true,
                Error::MassUnderflow { .. } => mass < n as f64 * T::TINY / T::EPSILON * (1.0 + 1e-9),
                Error::Stranded { .. } | Error::Infeasible { .. } => instance.forbids(),
                _ => instance.leaves_range::<T>() || mass.powi(2) * epsilon.max(1.0) > 1e-6 * f64::MAX,
            };
            report.refused(&error, allowed || mass > 1e-9 * T::MAX);
        }
        Ok(bits) if percent(random, 20) => {
            for backend in &backends[1..] {
                let same = solve(backend, report).is_ok_and(|other| other == bits);
                report.require(same, || format!("other bits with {} threads", backend.threads()));
            }
        }
        Ok(_) => {}
    }
}

/// A tree, and some edges more.
fn edges(random: &mut Seeded, vertices: usize) -> Vec<([u32; 2], f64)> {
    let weight = |random: &mut Seeded| if percent(random, 30) { decade(random, -4.0, 1.0) } else { 1.0 };
    let mut edges: Vec<([u32; 2], f64)> = Vec::new();
    for vertex in 1..vertices {
        let ends = [below(random, vertex) as u32, vertex as u32];
        edges.push((if percent(random, 50) { ends } else { [ends[1], ends[0]] }, weight(random)));
    }
    for _ in 0..below(random, 3) {
        edges.push(([below(random, vertices) as u32, below(random, vertices) as u32], weight(random)));
    }
    edges
}

/// Costs between the atoms of one support.
fn on_one_support<T: CpuScalar>(random: &mut Seeded, weights: Vec<f64>) -> Instance {
    let mut instance = Instance::draw::<T>(random, [weights.clone(), weights]);
    if let Some(points) = &mut instance.points {
        points.coordinates[1] = points.coordinates[0].clone();
        instance.costs = points.ground.table(&points.coordinates[0], &points.coordinates[1], points.dimension);
    }
    instance
}

/// What is read of a solution, in f64.
#[derive(Debug)]
struct Told {
    /// The measure of each vertex.
    measures: Vec<Vec<f64>>,
    /// The potentials of each term.
    potentials: Vec<Pair>,
}

impl Told {
    fn new<T: CpuScalar>(solution: &PropagationSolution<'_, Host<T>>, vertices: usize) -> Result<Self, Error> {
        let joint = solution.joint();
        let backend = joint.problem().terms()[0].problem.backend();
        let measure = |vertex: usize| Ok(solution.measure(vertex)?.map(|masses| wide(&masses)).unwrap_or_default());
        let pair = |potentials: &std::sync::Arc<ot_core::Potentials<Host<T>>>| -> Result<Pair, Error> {
            let read = backend.download(&[&potentials.source, &potentials.target])?;
            Ok([wide(&read[0]), wide(&read[1])])
        };
        Ok(Self {
            measures: (0..vertices).map(measure).collect::<Result<_, Error>>()?,
            potentials: joint.potentials().iter().map(pair).collect::<Result<_, _>>()?,
        })
    }
}

/// What was asked.
struct Network<'a> {
    edges: &'a [([u32; 2], f64)],
    is_given: &'a [bool],
    reference: &'a [f64],
    instance: &'a Instance,
}

impl Network<'_> {
    /// The edges that are terms: of different vertices, of which one is unknown.
    fn terms(&self) -> impl Iterator<Item = ([usize; 2], f64)> + '_ {
        let ends = self.edges.iter().map(|([v, w], weight)| ([*v as usize, *w as usize], *weight));
        ends.filter(|([v, w], _)| v != w && !(self.is_given[*v] && self.is_given[*w]))
    }

    fn problem(&self, weights: [Vec<f64>; 2], epsilon: f64) -> Problem {
        Problem {
            weights,
            costs: self.instance.costs.clone(),
            epsilon,
            penalties: [Penalty::Balanced; 2],
            regularizer: Regularizer::Entropy,
        }
    }

    fn check<T: CpuScalar>(
        &self,
        solution: &PropagationSolution<'_, Host<T>>,
        told: &Told,
        tolerance: f64,
        report: &mut Report,
    ) {
        let (joint, n) = (solution.joint(), self.reference.len());
        let (certificate, epsilon) = (joint.certificate(), joint.problem().epsilon());
        let given = self.is_given.iter().position(|given| *given).unwrap_or(0);
        let mass = sum(told.measures[given].iter().copied());
        let scale = mass / sum(self.reference.iter().copied());
        let reference: Vec<f64> = self.reference.iter().map(|weight| rounded::<T>(weight * scale)).collect();
        let terms: Vec<([usize; 2], f64)> = self.terms().collect();
        report.require(terms.len() == told.potentials.len(), || format!("{} terms", told.potentials.len()));
        let weights = |ends: [usize; 2]| {
            ends.map(|vertex| if self.is_given[vertex] { told.measures[vertex].clone() } else { reference.clone() })
        };
        let plan =
            |(ends, [f, g]): ([usize; 2], &Pair)| self.problem(weights(ends), epsilon).evaluate([f, g], T::EPSILON);
        let plans: Vec<Evaluation> = terms.iter().map(|(ends, _)| *ends).zip(&told.potentials).map(plan).collect();
        let total = sum(terms.iter().map(|(_, weight)| *weight));

        let largest = plans.iter().fold(0.0_f64, |largest, plan| largest.max(plan.largest_potential));
        let of_costs = self.instance.cost_error::<T>() / epsilon;
        let rounding =
            (T::EPSILON * (8.0 + largest / epsilon + 2.0 * mass.ln().abs())).max(certificate.rounding) + of_costs;
        if joint.status().is_converged() {
            let missed = plans.iter().zip(&terms).map(|(found, (ends, weight))| {
                let rows = (0..n).map(|i| sum(found.plan[i * n..(i + 1) * n].iter().copied()));
                let columns = (0..n).map(|j| sum(found.plan.iter().skip(j).step_by(n).copied()));
                let of = |sums: Vec<f64>, vertex: usize| {
                    let ratio = mass / sum(told.measures[vertex].iter().copied());
                    sum(sums.iter().zip(&told.measures[vertex]).map(|(found, mass)| (found - mass * ratio).abs()))
                };
                weight / total * (of(rows.collect(), ends[0]) + of(columns.collect(), ends[1])) / mass
            });
            let error = sum(missed);
            let slack = 8.0 * rounding + 4.0 * of_costs.exp_m1();
            report.at_most("error of a converged propagation", error, tolerance + slack);
        }
        if rounding >= 1e-2 {
            return;
        }
        let [dual, dual_size] = self.dual(&reference, told, epsilon);
        let [primal, primal_size] = self.primal(&reference, told, &plans, epsilon);
        let of_plans = plans.iter().zip(&terms).map(|(plan, (_, weight))| weight * mass * plan.largest_potential);
        let cost_error = total * mass * self.instance.cost_error::<T>();
        let slack = 64.0 * (T::EPSILON + rounding) * (dual_size + primal_size.min(f64::MAX) + sum(of_plans))
            + cost_error
            + 1e-300;
        if certificate.primal.is_finite() && dual.is_finite() && dual_size.is_finite() {
            report.at_most("a dual value, at most the primal", dual - certificate.primal, slack);
        }
        if primal.is_finite() {
            report.at_most("the dual, at most the objective at measures", certificate.dual - primal, slack);
        }
    }

    /// The dual value of the potentials, moved so that those of each unknown measure cancel, and the size of its terms.
    fn dual(&self, reference: &[f64], told: &Told, epsilon: f64) -> [f64; 2] {
        let terms: Vec<([usize; 2], f64)> = self.terms().collect();
        let mut potentials = told.potentials.clone();
        for vertex in (0..self.is_given.len()).filter(|&vertex| !self.is_given[vertex]) {
            let all = (0..terms.len()).flat_map(|term| [(term, 0), (term, 1)]);
            let ends: Vec<(usize, usize)> = all.filter(|&(term, side)| terms[term].0[side] == vertex).collect();
            let total = sum(ends.iter().map(|&(term, _)| terms[term].1));
            (0..reference.len()).for_each(|atom| {
                let mean = sum(ends.iter().map(|&(term, side)| terms[term].1 * potentials[term][side][atom])) / total;
                ends.iter().for_each(|&(term, side)| potentials[term][side][atom] -= mean);
            });
        }
        let mass = sum(reference.iter().copied());
        let mut parts = Vec::new();
        for (&(ends, weight), [f, g]) in terms.iter().zip(&potentials) {
            let of = |vertex: usize| if self.is_given[vertex] { &told.measures[vertex] } else { reference };
            let plan = self.problem([of(ends[0]).to_vec(), of(ends[1]).to_vec()], epsilon).evaluate([f, g], 0.0);
            for (vertex, potential) in ends.iter().zip([f, g]).filter(|(vertex, _)| self.is_given[**vertex]) {
                parts.extend(told.measures[*vertex].iter().zip(potential).map(|(a, f)| weight * (a * f)));
            }
            parts.push(-weight * (epsilon * plan.mass));
            parts.push(weight * (epsilon * mass) * mass);
        }
        [sum(parts.iter().copied()), parts.iter().map(|part| part.abs()).sum()]
    }

    /// The objective at the measures told, with plans near those of the potentials, and the size of its terms.
    fn primal(&self, reference: &[f64], told: &Told, plans: &[Evaluation], epsilon: f64) -> [f64; 2] {
        let mass = sum(reference.iter().copied());
        let mut total = [0.0; 2];
        for ((ends, weight), plan) in self.terms().zip(plans) {
            let measures = ends.map(|vertex| {
                let ratio = mass / sum(told.measures[vertex].iter().copied());
                told.measures[vertex].iter().map(|weight| weight * ratio).collect::<Vec<f64>>()
            });
            let (value, size) = self.problem(measures.clone(), epsilon).upper_bound(plan.plan.clone());
            total[0] += weight * value;
            total[1] += weight * size;
            // KL(P | a m^T) is KL(P | a p^T) and that of p to m.
            for (_, p) in ends.iter().zip(&measures).filter(|(vertex, _)| !self.is_given[**vertex]) {
                for (p, m) in p.iter().zip(reference).filter(|(p, _)| **p > 0.0) {
                    let term = weight * epsilon * p * (p.ln() - m.ln());
                    total[0] += term;
                    total[1] += term.abs();
                }
            }
        }
        total
    }
}
