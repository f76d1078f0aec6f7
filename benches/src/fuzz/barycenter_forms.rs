//! Barycenters of bounded entropy, debiased, of free points, and barycentric coordinates: what each of them promises of its
//! answer, whatever the input is.

use ot_core::{Epsilon, Error, PointCloud, SqEuclidean};
use ot_cpu::{CpuBackend, CpuScalar};
use ot_solvers::{
    Barycenter, BarycentricCoordinates, BoundedEntropy, CoordinateLoss, DebiasedBarycenter, FreeSupport, InnerTransport,
};

use super::{
    barycenter::weights_of_inputs,
    generate::{below, decade, equal_masses, narrow, one_of, percent, rounded, typical_cost, unit, wide},
    oracle::sum::sum,
    report::Report,
};
use crate::seeded::Seeded;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
enum Form {
    BoundedEntropy,
    Debiased,
    FreeSupport(InnerTransport),
    Coordinates(CoordinateLoss),
}

/// Inputs on one set of points.
#[derive(Debug)]
struct Inputs {
    points: Vec<f64>,
    dimension: usize,
    weights: Vec<Vec<f64>>,
    lambdas: Vec<f64>,
    epsilon: f64,
}

/// One case.
pub fn case<T: CpuScalar>(backends: &[CpuBackend<T>; 3], random: &mut Seeded, report: &mut Report) {
    let (n, count, dimension) = (1 + below(random, 5), 1 + below(random, 3), one_of(random, &[1, 1, 2, 3]));
    let scale = unit::<T>(random).clamp(T::TINY.powf(0.4), T::MAX.powf(0.4));
    let points = random.draw(n * dimension, |random| match percent(random, 40) {
        true => rounded::<T>(scale * below(random, 4) as f64),
        false => rounded::<T>(scale * random.normal()),
    });
    let squares = |i: usize, j: usize| {
        let [x, y] = [i, j].map(|atom| &points[atom * dimension..][..dimension]);
        x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum::<f64>()
    };
    let costs: Vec<f64> = (0..n * n).map(|pair| squares(pair / n, pair % n)).collect();
    let inputs = Inputs {
        weights: equal_masses::<T>(random, &vec![n; count]),
        lambdas: weights_of_inputs(random, count),
        epsilon: rounded::<T>(typical_cost(&costs) * decade(random, -2.0, 1.0)),
        points,
        dimension,
    };
    let losses = [
        CoordinateLoss::Squared,
        CoordinateLoss::KullbackLeibler,
        CoordinateLoss::TotalVariation,
        CoordinateLoss::Wasserstein,
    ];
    let form = match below(random, 5) {
        0 => Form::BoundedEntropy,
        1 => Form::Debiased,
        2 => Form::FreeSupport(InnerTransport::Exact),
        3 => Form::FreeSupport(InnerTransport::Entropic(inputs.epsilon)),
        _ => Form::Coordinates(one_of(random, &losses)),
    };
    let most = one_of(random, &[1, 10, 60]);
    report.given("element", T::NAME);
    report.given("inputs", &inputs);
    report.given("form", form);
    report.given("most", most);

    match inputs.solved::<T>(form, most, &backends[0], Some(report)) {
        Err(error) => {
            let mass = sum(inputs.weights[0].iter().copied());
            let allowed = match error {
                Error::Epsilon(_) | Error::CostUnderflow { .. } => true,
                Error::MassUnderflow { .. } if matches!(form, Form::Coordinates(_)) && mass < 1e-140 => true,
                Error::MassUnderflow { .. } => mass < n as f64 * T::TINY / T::EPSILON * (1.0 + 1e-9),
                _ => {
                    let largest = costs.iter().copied().fold(inputs.epsilon, f64::max);
                    let [low, high] = [1e12 * T::TINY, 1e-12 * T::MAX];
                    let product = largest.max(1.0) * mass.max(1.0) * mass.max(1.0);
                    mass < low || largest < low || mass > high || product > high.min(1e-6 * f64::MAX)
                }
            };
            report.refused(&error, allowed);
        }
        Ok(bits) if percent(random, 20) => {
            for backend in &backends[1..] {
                let same = inputs.solved::<T>(form, most, backend, None).is_ok_and(|other| other == bits);
                report.require(same, || format!("other bits with {} threads", backend.threads()));
            }
        }
        Ok(_) => {}
    }
}

impl Inputs {
    /// Solves, tells the report what is wrong, and returns all that is told as text.
    fn solved<T: CpuScalar>(
        &self,
        form: Form,
        most: usize,
        backend: &CpuBackend<T>,
        report: Option<&mut Report>,
    ) -> Result<String, Error> {
        let mut unread = Report::default();
        let report = report.unwrap_or(&mut unread);
        let points = narrow::<T>(&self.points);
        let cloud = |weights: &Vec<f64>| PointCloud::new(&points, self.dimension, narrow::<T>(weights));
        let clouds = self.weights.iter().map(cloud).collect::<Result<Vec<_>, _>>()?;
        let measures: Vec<&dyn ot_core::Measure<T>> = clouds.iter().map(|cloud| cloud as _).collect();
        let support = PointCloud::uniform(&points, self.dimension)?;
        let mass = sum(self.weights[0].iter().copied());
        let problem = || {
            let barycenter = Barycenter::new(backend, &support, &SqEuclidean, Epsilon::Absolute(self.epsilon));
            barycenter.inputs(&measures, &self.lambdas)?.problem()
        };
        let check = |report: &mut Report, measure: &[T], told: String| {
            let measure = wide(measure);
            report.numbers("measure", &measure);
            report.require(measure.iter().all(|mass| *mass >= 0.0), || format!("a negative mass: {measure:?}"));
            let rounding = 64.0 * T::EPSILON * measure.len() as f64;
            report.near("mass of the barycenter", sum(measure.iter().copied()), mass, (1e-2 + rounding) * mass);
            report.require(!told.contains("NaN"), || format!("NaN in {told}"));
            format!("{measure:?} {told}")
        };
        match form {
            Form::BoundedEntropy => {
                let solution = BoundedEntropy::new().max_iterations(most).solve(&problem()?)?;
                let told = format!("{:?} {:?}", solution.status(), solution.certificate());
                let told = check(report, &solution.measure(0)?, told);
                report.status(solution.status());
                Ok(told)
            }
            Form::Debiased => {
                let solution = DebiasedBarycenter::new().max_iterations(most).solve(&problem()?)?;
                let told = check(report, solution.measure(), format!("{:?} {:?}", solution.status(), solution.gaps()));
                report.status(solution.status());
                report.require(solution.gaps().iter().all(|gap| *gap >= 0.0), || format!("gaps {:?}", solution.gaps()));
                Ok(told)
            }
            Form::FreeSupport(inner) => {
                let clouds: Vec<&PointCloud<'_, T>> = clouds.iter().collect();
                let settings = FreeSupport::new().inner(inner).max_iterations(most);
                let solution = settings.solve(backend, &clouds, &self.lambdas, clouds[0])?;
                let told = format!(
                    "{:?} {:?} {:?} {:?}",
                    solution.status(),
                    solution.value(),
                    solution.gap(),
                    solution.barycenter().points().coordinates()
                );
                report.require(!told.contains("NaN"), || format!("NaN in {told}"));
                report.status(solution.status());
                // Points are means of points of the inputs.
                let [low, high] = [f64::INFINITY, f64::NEG_INFINITY].map(|start| {
                    let fold = if start > 0.0 { f64::min } else { f64::max };
                    self.points.iter().copied().fold(start, fold)
                });
                let slack = 64.0 * T::EPSILON * low.abs().max(high.abs());
                for x in wide(solution.barycenter().points().coordinates()) {
                    report.require(x >= low - slack && x <= high + slack, || format!("{x} not in [{low}, {high}]"));
                }
                Ok(told)
            }
            Form::Coordinates(loss) => {
                let settings = BarycentricCoordinates::new().loss(loss).unrolled(5).max_iterations(most);
                let found = settings.solve(&problem()?, &narrow::<T>(&self.weights[0]))?;
                report.status(found.status());
                let weights = found.weights();
                report.require(weights.iter().all(|lambda| *lambda >= 0.0), || format!("coordinates {weights:?}"));
                report.near("sum of the coordinates", sum(weights.iter().copied()), 1.0, 1e-9);
                // A divergence is a difference of values that are known to a tolerance.
                report.at_most("minus the loss", -found.loss(), 1e-4 * self.epsilon * mass);
                // After a few iterations, a barycenter has not yet the mass of its inputs.
                let (p, told) = (wide(found.barycenter()), format!("{weights:?} {:?}", found.loss()));
                report.require(!told.contains("NaN"), || format!("NaN in {told}"));
                report.numbers("measure", &p);
                Ok(format!("{p:?} {told}"))
            }
        }
    }
}
