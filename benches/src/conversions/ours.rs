//! Our numbers on the problem of the measurements, converted.

use std::error::Error;

use ot_core::{
    Balanced, CostBetween, CostMatrix, CountingEntropy, Epsilon, Euclidean, GeometryBuilder, GroundCost,
    HalfSqEuclidean, Histogram, Host, Kl, MarginalPenalty, Measure, PointCloud, Problem, Side, Solution, SqEuclidean,
    counting_potential,
};
use ot_cpu::CpuBackend;
use ot_solvers::{
    DivergenceForm, MajorizeMinimize, MassPenalty, MaximumMeanDiscrepancy, PartialTransport, Sinkhorn,
    SinkhornDivergence, unregularized_bounds,
};

use super::{Inputs, Row, row};

/// The tolerance of our solves.
const TOLERANCE: f64 = 1e-12;

/// An epsilon at which the entropy moves no mass of this problem.
const SMALL: f64 = 5e-4;

/// Strength of the squared penalty without entropy.
const SQUARED: f64 = 2.0;

/// The least distance of GeomLoss's tensors: squared distances are at least 1e-8.
const NEAREST: f64 = 1e-4;

/// The problem of the script, on our side.
pub(super) struct Ours<'a> {
    inputs: &'a Inputs,
    backend: CpuBackend<f64>,
    source: PointCloud<'a, f64>,
    target: PointCloud<'a, f64>,
    heavy: PointCloud<'a, f64>,
}

impl<'a> Ours<'a> {
    pub(super) fn new(inputs: &'a Inputs) -> Result<Self, ot_core::Error> {
        let cloud = |points: &'a [f64], weights: &'a [f64]| PointCloud::new(points, 2, weights);
        Ok(Self {
            backend: CpuBackend::new(1)?,
            source: cloud(&inputs.x, &inputs.a)?,
            target: cloud(&inputs.y, &inputs.b)?,
            heavy: cloud(&inputs.y, &inputs.heavy)?,
            inputs,
        })
    }

    pub(super) fn pot(&self) -> Result<Vec<Row>, Box<dyn Error>> {
        let Inputs { epsilon, rho, moved, .. } = *self.inputs;
        let absolute = Epsilon::Absolute(epsilon);
        let solution = self.balanced(&SqEuclidean, absolute)?;
        let certificate = solution.certificate();
        let cost = certificate.transport_cost.ok_or("a cost was expected")?;
        let plain = CountingEntropy::Plain.offset(solution.problem())?[0];
        let u = counting_potential(&solution, Side::Source)?;

        let penalised = self.penalised(&SqEuclidean, absolute, &Kl::new(rho)?)?;
        let relaxed = penalised.certificate();
        let relaxed_cost = relaxed.transport_cost.ok_or("a cost was expected")?;
        let [m_a, m_b, m] = [1.0, 1.5, relaxed.mass];
        let mass_terms = epsilon * (m_a * m_b - m) + rho * (m_a - m) + rho * (m_b - m);

        let majorize = |penalty| {
            MajorizeMinimize::new(penalty).tolerance(1e-9).max_iterations(10_000_000).solve(
                &self.source,
                &self.heavy,
                &SqEuclidean,
            )
        };
        let kl = majorize(MassPenalty::Kl { source: rho, target: rho })?;
        let squared = majorize(MassPenalty::SquaredL2 { source: SQUARED, target: SQUARED })?;
        let exact = unregularized_bounds(&self.balanced(&SqEuclidean, Epsilon::Absolute(SMALL))?)?[0];
        let partial = PartialTransport::new(moved).sinkhorn(Self::sinkhorn()).solve(
            &self.backend,
            &self.source,
            &self.target,
            &SqEuclidean,
            Epsilon::Absolute(SMALL),
        )?;

        let row = |key, theirs, ours, converted| row("POT", key, theirs, ours, converted);
        Ok(vec![
            row("sinkhorn2", "`sinkhorn2(a, b, M, reg)`", "`transport_cost`", cost),
            row("solve.value", "`solve(M, a, b, reg).value`", "`primal`, `dual`", certificate.dual),
            row("solve.value_linear", "`solve(M, a, b, reg).value_linear`", "`transport_cost`", cost),
            row(
                "solve.value entropy",
                "`solve(M, a, b, reg, reg_type=\"entropy\").value`",
                "`dual + CountingEntropy::Plain.offset(&problem)`",
                certificate.dual + plain,
            ),
            row(
                "sinkhorn.log_u",
                "`reg * log(u)` of `sinkhorn(..., log=True)`, up to a constant",
                "`counting_potential(&solution, Side::Source)`",
                u[0] - u[1],
            ),
            row(
                "sinkhorn_unbalanced2 linear",
                "`sinkhorn_unbalanced2(a, b, M, reg, reg_m)`",
                "`transport_cost` under `Kl::new(reg_m)`",
                relaxed_cost,
            ),
            Row {
                // Their number is zero at every optimum.
                scale: Some(relaxed.dual),
                ..row(
                    "sinkhorn_unbalanced2 total",
                    "`sinkhorn_unbalanced2(a, b, M, reg, reg_m, returnCost=\"total\")`",
                    "`dual - epsilon (m_a m_b - m) - rho (m_a - m) - rho (m_b - m)`, m the `mass`: their divergences have \
                     no mass terms, and the total is zero at every optimum",
                    relaxed.dual - mass_terms,
                )
            },
            row(
                "sinkhorn_unbalanced2 entropy",
                "`sinkhorn_unbalanced2(a, b, M, reg, reg_m, reg_type=\"entropy\")`",
                "`<P, C>` under `Kl::new(reg_m)` and the cost C + epsilon log(a b^T)",
                self.counting()?[0],
            ),
            row(
                "mm_unbalanced2 kl",
                "`mm_unbalanced2(a, b, M, reg_m, div=\"kl\", returnCost=\"total\")`",
                "`MajorizeMinimize` under `MassPenalty::Kl`, `primal`",
                kl.primal,
            ),
            row(
                "mm_unbalanced2 l2",
                "`mm_unbalanced2(a, b, M, reg_m, div=\"l2\", returnCost=\"total\")`",
                "`MajorizeMinimize` under `MassPenalty::SquaredL2`, `primal`",
                squared.primal,
            ),
            row("emd2", "`emd2(a, b, M)`", "`unregularized_bounds(&solution)` at a small epsilon", exact.upper),
            row(
                "partial_wasserstein2",
                "`partial.partial_wasserstein2(a, b, M, m)`",
                "`PartialTransport::new(m)`, `bounds` at a small epsilon",
                partial.bounds()?.upper,
            ),
            row(
                "empirical_sinkhorn_divergence",
                "`bregman.empirical_sinkhorn_divergence(X, Y, reg)`",
                "`SinkhornDivergence`, `DivergenceForm::Sharp` (never clipped at zero)",
                self.divergence(&SqEuclidean, DivergenceForm::Sharp, &Balanced, &self.target, absolute)?,
            ),
        ])
    }

    pub(super) fn ott(&self) -> Result<Vec<Row>, Box<dyn Error>> {
        let epsilon = self.inputs.epsilon;
        let absolute = Epsilon::Absolute(epsilon);
        let solution = self.balanced(&SqEuclidean, absolute)?;
        let certificate = solution.certificate();
        let cost = certificate.transport_cost.ok_or("a cost was expected")?;
        let plain = CountingEntropy::Plain.offset(solution.problem())?[0];
        let f = counting_potential(&solution, Side::Source)?;
        let largest = self.squared()?.into_iter().fold(0.0, f64::max);
        let scaled = self.balanced(&SqEuclidean, Epsilon::Absolute(epsilon * largest))?;
        let [relaxed_cost, mass] = self.counting()?;
        // Statistics there are of the matrix, whatever the weights.
        let uniform = |rule: Epsilon| -> Result<f64, ot_core::Error> {
            let [x, y] = [&self.inputs.x, &self.inputs.y].map(|points| PointCloud::uniform(points.as_slice(), 2));
            let (x, y) = (x?, y?);
            let geometry = self.backend.geometry(x.support(), y.support(), &SqEuclidean)?;
            Ok(Problem::new(geometry, &x, &y, rule)?.epsilon())
        };

        let row = |key, theirs, ours, converted| row("OTT-JAX", key, theirs, ours, converted);
        Ok(vec![
            row("reg_ot_cost", "`reg_ot_cost`, `kl_reg_cost`", "`primal`, `dual`", certificate.dual),
            row(
                "ent_reg_cost",
                "`ent_reg_cost`",
                "`dual + CountingEntropy::Plain.offset(&problem)`",
                certificate.dual + plain,
            ),
            row("dual_cost", "`dual_cost`", "the same", certificate.dual + plain),
            row("primal_cost", "`primal_cost`", "`transport_cost`", cost),
            row("f", "`f`, up to a constant", "`counting_potential(&solution, Side::Source)`", f[0] - f[1]),
            row(
                "scale_cost",
                "`reg_ot_cost` of `Geometry(C, epsilon, scale_cost=\"max_cost\")`",
                "`dual / max C` at `Epsilon::Absolute(epsilon * max C)`",
                scaled.certificate().dual / largest,
            ),
            row(
                "epsilon default",
                "`Geometry(C).epsilon`",
                "`Epsilon::default()` under uniform weights (ours counts weights)",
                uniform(Epsilon::default())?,
            ),
            row(
                "epsilon mean",
                "`Geometry(C, epsilon=0.1, relative_epsilon=\"mean\").epsilon`",
                "`Epsilon::RelativeToMean(0.1)` under uniform weights",
                uniform(Epsilon::RelativeToMean(0.1))?,
            ),
            row(
                "tau primal_cost",
                "`primal_cost` at `tau_a = tau_b = tau`",
                "`<P, C>` under `Kl::from_tau(tau, epsilon)` and the cost C + epsilon log(a b^T)",
                relaxed_cost,
            ),
            row("tau mass", "`matrix.sum()` at `tau_a = tau_b = tau`", "`mass` of the same", mass),
            row(
                "sinkhorn_divergence",
                "`sinkhorn_divergence(PointCloud, x=, y=, epsilon=)`",
                "`SinkhornDivergence`, `DivergenceForm::Full`",
                self.divergence(&SqEuclidean, DivergenceForm::Full, &Balanced, &self.target, absolute)?,
            ),
        ])
    }

    pub(super) fn geomloss(&self) -> Result<Vec<Row>, Box<dyn Error>> {
        let Inputs { blur, reach, .. } = *self.inputs;
        let rule = Epsilon::Blur(blur);
        let [half, distance] = [&HalfSqEuclidean as &dyn GroundCost, &Euclidean];
        let penalty = Kl::from_reach(reach, 2.0)?;
        let relaxed = self.penalised(half, rule, &penalty)?;
        let [m_a, m_b] = [1.0, 1.5];
        let shift = relaxed.problem().epsilon() * (0.5 * (m_a + m_b) - m_a * m_b);
        let full = DivergenceForm::Full;
        let squared = |discrepancy: MaximumMeanDiscrepancy| -> Result<f64, ot_core::Error> {
            Ok(discrepancy.between(&self.backend, &self.source, &self.target)?.squared())
        };

        let itself: f64 = [&self.inputs.a, &self.inputs.b].into_iter().flatten().map(|weight| weight * weight).sum();

        let row = |key, theirs, ours, converted| row("GeomLoss", key, theirs, ours, converted);
        Ok(vec![
            row(
                "sinkhorn p=2",
                "`SamplesLoss(\"sinkhorn\", p=2, blur=, debias=False)`",
                "`dual` under `HalfSqEuclidean`, `Epsilon::Blur(blur)` (blur^2)",
                self.balanced(half, rule)?.certificate().dual,
            ),
            row(
                "sinkhorn p=1",
                "`SamplesLoss(\"sinkhorn\", p=1, blur=, debias=False)`",
                "`dual` under `Euclidean`, `Epsilon::Blur(blur)` (blur)",
                self.balanced(distance, rule)?.certificate().dual,
            ),
            row(
                "sinkhorn debias",
                "`SamplesLoss(\"sinkhorn\", p=2, blur=, debias=True)`",
                "`SinkhornDivergence`, `DivergenceForm::Full`, under the same",
                self.divergence(half, full, &Balanced, &self.target, rule)?,
            ),
            row(
                "sinkhorn reach",
                "`SamplesLoss(\"sinkhorn\", p=2, blur=, reach=, debias=False)`",
                "`dual + epsilon ((m_a + m_b) / 2 - m_a m_b)` under `Kl::from_reach(reach, 2.0)` (reach^2)",
                relaxed.certificate().dual + shift,
            ),
            row(
                "sinkhorn reach debias",
                "`SamplesLoss(\"sinkhorn\", p=2, blur=, reach=, debias=True)`",
                "`SinkhornDivergence`, `DivergenceForm::Full`, under `Kl::from_reach(reach, 2.0)`",
                self.divergence(half, full, &penalty, &self.heavy, rule)?,
            ),
            row(
                "energy",
                "`SamplesLoss(\"energy\")`",
                "`MaximumMeanDiscrepancy::energy(1.0)`, `squared() / 2 - nearest (<a, a> + <b, b>) / 2`, nearest = 1e-4: without \
                 KeOps an atom is as far as that from itself there",
                0.5 * squared(MaximumMeanDiscrepancy::energy(1.0)?)? - 0.5 * NEAREST * itself,
            ),
            row(
                "gaussian",
                "`SamplesLoss(\"gaussian\", blur=)`",
                "`MaximumMeanDiscrepancy::gaussian(blur)`, `squared() / 2`",
                0.5 * squared(MaximumMeanDiscrepancy::gaussian(blur)?)?,
            ),
        ])
    }

    fn sinkhorn() -> Sinkhorn {
        Sinkhorn::new().tolerance(TOLERANCE).max_iterations(100_000)
    }

    fn solve(
        &self,
        [source, target]: [&dyn Measure<f64>; 2],
        cost: &dyn GroundCost,
        epsilon: Epsilon,
        penalty: &impl MarginalPenalty,
    ) -> Result<Solution<Host<f64>>, ot_core::Error> {
        let geometry = self.backend.geometry(source.support(), target.support(), cost)?;
        Self::sinkhorn().solve(&Problem::unbalanced(geometry, source, target, epsilon, penalty, penalty)?)
    }

    fn balanced(&self, cost: &dyn GroundCost, epsilon: Epsilon) -> Result<Solution<Host<f64>>, ot_core::Error> {
        self.solve([&self.source, &self.target], cost, epsilon, &Balanced)
    }

    fn penalised(
        &self,
        cost: &dyn GroundCost,
        epsilon: Epsilon,
        penalty: &Kl,
    ) -> Result<Solution<Host<f64>>, ot_core::Error> {
        self.solve([&self.source, &self.heavy], cost, epsilon, penalty)
    }

    fn divergence(
        &self,
        cost: &dyn GroundCost,
        form: DivergenceForm,
        penalty: &impl MarginalPenalty,
        target: &PointCloud<'_, f64>,
        epsilon: Epsilon,
    ) -> Result<f64, ot_core::Error> {
        let settings = SinkhornDivergence::new().form(form).penalty(penalty)?.sinkhorn(Self::sinkhorn());
        Ok(settings.between(&self.backend, &self.source, target, cost, epsilon)?.value())
    }

    /// <P, C> and the mass of P between penalised marginals, the entropy being that against the counting measure: ours for
    /// the cost C + epsilon log(a b^T).
    fn counting(&self) -> Result<[f64; 2], ot_core::Error> {
        let Inputs { a, heavy, epsilon, rho, .. } = self.inputs;
        let reference = a.iter().flat_map(|a| heavy.iter().map(move |b| epsilon * (a * b).ln()));
        let squared = self.squared()?;
        let costs: Vec<f64> = squared.iter().zip(reference).map(|(cost, reference)| cost + reference).collect();
        let cost = CostMatrix::new(costs, a.len(), heavy.len())?;
        let (source, target) = (Histogram::new(a.as_slice())?, Histogram::new(heavy.as_slice())?);
        let solution = self.solve([&source, &target], &cost, Epsilon::Absolute(*epsilon), &Kl::new(*rho)?)?;
        let plan = solution.plan()?.to_dense(0)?;
        let cost = plan.iter().zip(squared).map(|(mass, cost)| mass * cost).sum();
        Ok([cost, plan.iter().sum()])
    }

    /// |x - y|^2 of all pairs.
    fn squared(&self) -> Result<Vec<f64>, ot_core::Error> {
        Ok(CostBetween::new(self.source.support(), self.target.support(), &SqEuclidean)?.table()?.0)
    }
}
