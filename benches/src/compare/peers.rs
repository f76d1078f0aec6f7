//! The peers: other people's solvers, in processes of their own.
//!
//! Each library has one process (`benches/peers/serve.py`, in the environment that `benches/peers/setup` makes),
//! started when first asked, with as many threads as ours. Arrays and potentials go through files in
//! `target/compare`, requests and replies through pipes.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde::{Deserialize, Serialize};

use super::{
    Failure,
    posed::Posed,
    problem::Cost,
    recompute::Recomputed,
    row::{Measured, Reached},
    timing::median,
};

/// A solver of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Solver {
    /// POT's iteration on scaling vectors.
    PotSinkhorn,
    /// POT's iteration in the log domain.
    PotSinkhornLog,
    /// OTT-JAX, compiled, in the log domain and f64.
    OttSinkhorn,
    /// GeomLoss on costs recomputed by KeOps.
    GeomLossOnline,
    /// GeomLoss on two scales, truncated.
    GeomLossMultiscale,
    /// POT's scaling iteration between penalised marginals.
    PotUnbalanced,
    /// The same in its translation-invariant form.
    PotTranslationInvariant,
    /// OTT-JAX between penalised marginals, its potentials recentred.
    OttUnbalanced,
    /// GeomLoss's divergence on costs recomputed by KeOps.
    GeomLossDebiasedOnline,
    /// GeomLoss's divergence on two scales, truncated.
    GeomLossDebiasedMultiscale,
    /// GeomLoss's energy distance on costs recomputed by KeOps.
    GeomLossEnergy,
    /// GeomLoss's Gaussian discrepancy on costs recomputed by KeOps.
    GeomLossGaussian,
    /// POT's averaged SGD on the semi-dual.
    PotSemiDiscrete,
    /// OTT-JAX's semi-discrete solver, compiled, by Adam with a decaying step.
    OttSemiDiscrete,
    /// OTT-JAX's gradient by the implicit function theorem, compiled.
    OttImplicit,
    /// OTT-JAX's gradient through its iterations, compiled.
    OttUnrolled,
    /// OTT-JAX's gradient of a divergence in points, compiled.
    OttDivergenceGradient,
    /// POT through its iterations, by automatic differentiation.
    PotUnrolled,
    /// POT's convolutional barycenter through its iterations, by automatic differentiation.
    PotBarycenterGradient,
    /// GeomLoss's gradient in points on costs recomputed by KeOps.
    GeomLossGradient,
    /// POT's dual of a plan regularised by squares, by L-BFGS.
    PotSmoothDual,
    /// RegOT's safe and sparse Newton iterations, on its own schedule.
    RegotSsns,
    /// POT's barycenter on a fixed support, on scaling vectors.
    PotBarycenter,
    /// The same in the log domain.
    PotBarycenterLog,
    /// POT's barycenter of clouds with free points, by its network simplex.
    PotFreeSupport,
    /// POT's network simplex on a matrix.
    PotEmd,
    /// The value of POT's network simplex, without the plan.
    PotEmd2,
    /// POT's network simplex in a loop over pairs of histograms.
    PotManyExact,
    /// POT's scaling iteration in a loop over pairs of histograms.
    PotManyEntropic,
    /// OTT-JAX on scaling vectors, compiled, many pairs of histograms at once under `vmap`.
    OttManyEntropic,
    /// POT's network simplex in a loop over pairs of clouds.
    PotManyDocuments,
    /// POT's distance on the line in a loop.
    PotManyLines,
    /// SciPy's distance on the line in a loop.
    ScipyManyLines,
    /// POT's network simplex on costs recomputed.
    PotEmdLazy,
    /// SciPy's assignment.
    ScipyAssignment,
    /// lapx's assignment by Jonker and Volgenant.
    LapxLapjv,
    /// The faster one of lapx.
    LapxLapjvs,
    /// SciPy's distance on the line.
    ScipyLine,
    /// POT's distance on the line.
    PotLine,
    /// POT's convolutions in the log domain: a barycenter of one image, whose iteration is that of transport.
    PotConvolutionalLog,
    /// POT's barycenter of images, on scaling vectors.
    PotImages,
    /// The same in the log domain.
    PotImagesLog,
    /// POT's debiased barycenter of images, on scaling vectors.
    PotImagesDebiased,
    /// OTT-JAX on a grid, compiled, in the log domain and f64.
    OttGrid,
    /// One factor of SciPy's for a heat kernel, one right-hand side at a time.
    ScipyHeatApplication,
    /// A loop of Sinkhorn's around it.
    ScipyHeatSinkhorn,
    /// A loop of iterative Bregman projections around it.
    ScipyHeatBarycenter,
}

impl Solver {
    /// Its module, its name there, and its name in the tables.
    fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::PotSinkhorn => ("pot", "sinkhorn", "POT sinkhorn"),
            Self::PotSinkhornLog => ("pot", "sinkhorn_log", "POT sinkhorn_log"),
            Self::OttSinkhorn => ("ott_jax", "sinkhorn", "OTT-JAX sinkhorn"),
            Self::GeomLossOnline => ("geomloss_samples", "online", "GeomLoss online"),
            Self::GeomLossMultiscale => ("geomloss_samples", "multiscale", "GeomLoss multiscale"),
            Self::PotUnbalanced => ("pot", "sinkhorn_unbalanced", "POT sinkhorn_unbalanced"),
            Self::PotTranslationInvariant => {
                ("pot", "sinkhorn_translation_invariant", "POT sinkhorn_unbalanced, translation-invariant")
            }
            Self::OttUnbalanced => ("ott_jax", "sinkhorn_unbalanced", "OTT-JAX sinkhorn, unbalanced"),
            Self::GeomLossDebiasedOnline => ("geomloss_samples", "debiased_online", "GeomLoss online, debiased"),
            Self::GeomLossDebiasedMultiscale => {
                ("geomloss_samples", "debiased_multiscale", "GeomLoss multiscale, debiased")
            }
            Self::GeomLossEnergy => ("geomloss_samples", "energy", "GeomLoss energy, online"),
            Self::GeomLossGaussian => ("geomloss_samples", "gaussian", "GeomLoss gaussian, online"),
            Self::PotSemiDiscrete => ("pot", "semidiscrete", "POT solve_semidiscrete"),
            Self::OttSemiDiscrete => ("ott_jax", "semidiscrete", "OTT-JAX SemidiscreteSolver"),
            Self::OttImplicit => ("ott_jax", "implicit_gradient", "OTT-JAX ImplicitDiff"),
            Self::OttUnrolled => ("ott_jax", "unrolled_gradient", "OTT-JAX, unrolled"),
            Self::OttDivergenceGradient => ("ott_jax", "divergence_gradient", "OTT-JAX sinkhorn_divergence, gradient"),
            Self::PotUnrolled => ("pot_autograd", "unrolled_gradient", "POT sinkhorn, autograd"),
            Self::PotBarycenterGradient => {
                ("pot_autograd", "barycenter_gradient", "POT convolutional_barycenter2d, autograd")
            }
            Self::GeomLossGradient => ("geomloss_samples", "point_gradient", "GeomLoss online, gradient"),
            Self::PotSmoothDual => ("pot", "smooth_dual", "POT smooth_ot_dual"),
            Self::RegotSsns => ("regot_newton", "ssns", "RegOT sinkhorn_ssns"),
            Self::PotBarycenter => ("pot", "barycenter", "POT bregman.barycenter"),
            Self::PotBarycenterLog => ("pot", "barycenter_log", "POT bregman.barycenter, log"),
            Self::PotFreeSupport => ("pot", "free_support_barycenter", "POT free_support_barycenter"),
            Self::PotEmd => ("exact", "emd", "POT emd"),
            Self::PotEmd2 => ("exact", "emd2", "POT emd2"),
            Self::PotManyExact => ("many", "exact", "POT emd2 in a loop"),
            Self::PotManyEntropic => ("many", "entropic", "POT sinkhorn in a loop"),
            Self::OttManyEntropic => ("ott_jax", "many_entropic", "OTT-JAX sinkhorn under vmap"),
            Self::ScipyManyLines => ("many", "scipy_lines", "SciPy wasserstein_distance in a loop"),
            Self::PotManyDocuments => ("many", "documents", "POT dist and emd2 in a loop"),
            Self::PotManyLines => ("many", "lines", "POT emd2_1d in a loop"),
            Self::PotEmdLazy => ("exact", "emd_lazy", "POT emd2_lazy"),
            Self::ScipyAssignment => ("exact", "scipy", "SciPy linear_sum_assignment"),
            Self::LapxLapjv => ("exact", "lapjv", "lapx lapjv"),
            Self::LapxLapjvs => ("exact", "lapjvs", "lapx lapjvs"),
            Self::ScipyLine => ("exact", "scipy_line", "SciPy wasserstein_distance"),
            Self::PotLine => ("exact", "pot_line", "POT wasserstein_1d"),
            Self::PotConvolutionalLog => ("pot", "convolutional_log", "POT convolutional, log domain"),
            Self::PotImages => ("pot", "images", "POT convolutional_barycenter2d"),
            Self::PotImagesLog => ("pot", "images_log", "POT convolutional_barycenter2d, log"),
            Self::PotImagesDebiased => ("pot", "images_debiased", "POT convolutional_barycenter2d_debiased"),
            Self::OttGrid => ("ott_jax", "grid", "OTT-JAX sinkhorn on a Grid"),
            Self::ScipyHeatApplication => ("heat", "apply", "SciPy splu, one column at a time"),
            Self::ScipyHeatSinkhorn => ("heat", "sinkhorn", "Sinkhorn around SciPy splu"),
            Self::ScipyHeatBarycenter => ("heat", "barycenter", "projections around SciPy splu"),
        }
    }

    /// As the tables call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.names().2
    }
}

/// The processes, and what was left out.
#[derive(Debug)]
pub struct Peers {
    scripts: PathBuf,
    python: PathBuf,
    arrays: PathBuf,
    threads: usize,
    processes: BTreeMap<&'static str, Process>,
    left_out: Vec<String>,
}

/// One line to a peer.
#[derive(Debug, Serialize)]
struct Request<'a> {
    solver: String,
    arrays: &'a Path,
    n: usize,
    m: usize,
    d: usize,
    columns: usize,
    epsilon: f64,
    rho: Option<f64>,
    threshold: f64,
    iterations: usize,
    fixed: bool,
    repeats: usize,
    budget: f64,
}

/// One line back.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Reply {
    Done { seconds: Vec<f64>, iterations: usize },
    Failed { error: String },
}

/// When a peer stops, and how often it runs.
#[derive(Clone, Copy, Debug)]
struct Ask {
    threshold: f64,
    iterations: usize,
    /// Exactly so many iterations?
    fixed: bool,
    /// Runs that count, after one that does not; with none it is the one that is told.
    repeats: usize,
    budget: f64,
}

/// What came back.
struct Outcome {
    seconds: f64,
    iterations: usize,
    recomputed: Recomputed,
}

impl Peers {
    /// The peers of a workspace, none of them started.
    #[must_use]
    pub fn new(root: &Path, threads: usize) -> Self {
        Self {
            scripts: root.join("benches/peers"),
            python: root.join("target/peers/bin/python"),
            arrays: root.join("target/compare"),
            threads,
            processes: BTreeMap::new(),
            left_out: Vec::new(),
        }
    }

    /// What was left out so far, and why.
    #[must_use]
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// A solve whose recomputed error meets the tolerance: the peer's own threshold is tightened until it does, until
    /// a solve would take longer than `budget` seconds, or until tightening no longer helps.
    pub(super) fn solve(
        &mut self,
        solver: Solver,
        posed: &dyn Posed,
        tolerance: f64,
        repeats: usize,
        budget: f64,
    ) -> Result<Option<Reached>, Failure> {
        const PROBE: usize = 20;
        const TRIES: usize = 8;
        self.write(posed)?;
        let probe = Ask { threshold: tolerance, iterations: PROBE, fixed: true, repeats: 0, budget };
        let Some(outcome) = self.ask(solver, posed, probe)? else { return Ok(None) };
        let iterations = ((budget * PROBE as f64 / outcome.seconds) as usize).clamp(PROBE, 1_000_000);

        let mut ask = Ask { iterations, fixed: false, ..probe };
        let mut tries = 0;
        let outcome = loop {
            let Some(outcome) = self.ask(solver, posed, ask)? else { return Ok(None) };
            let error = outcome.recomputed.error;
            tries += 1;
            if !(error > tolerance && outcome.iterations < iterations && tries < TRIES) {
                break outcome;
            }
            ask.threshold *= 0.9 * tolerance / error;
        };
        let met = outcome.recomputed.error <= tolerance;
        let again = met && outcome.seconds * repeats as f64 <= budget;
        let outcome = if again { self.ask(solver, posed, Ask { repeats, ..ask })? } else { Some(outcome) };
        Ok(outcome.map(|outcome| Reached { measured: measured(solver, &outcome), met }))
    }

    /// A solve of a method that does not know its error: twice as many iterations until the recomputed error meets the
    /// tolerance, or until a solve would take longer than `budget` seconds. The last solve alone is told.
    pub(super) fn double(
        &mut self,
        solver: Solver,
        posed: &dyn Posed,
        tolerance: f64,
        first: usize,
        budget: f64,
    ) -> Result<Option<Reached>, Failure> {
        self.write(posed)?;
        let mut iterations = first;
        loop {
            let ask = Ask { threshold: 0.0, iterations, fixed: true, repeats: 1, budget };
            let Some(outcome) = self.ask(solver, posed, ask)? else { return Ok(None) };
            let met = outcome.recomputed.error <= tolerance;
            if met || 2.0 * outcome.seconds > budget {
                return Ok(Some(Reached { measured: measured(solver, &outcome), met }));
            }
            iterations *= 2;
        }
    }

    /// [`double`](Self::double), and then fewer iterations that are enough too, to an eighth of them.
    pub(super) fn fewest(
        &mut self,
        solver: Solver,
        posed: &dyn Posed,
        tolerance: f64,
        first: usize,
        budget: f64,
    ) -> Result<Option<Reached>, Failure> {
        let mut reached = self.double(solver, posed, tolerance, first, budget)?;
        let Some(iterations) =
            reached.as_ref().filter(|reached| reached.met).and_then(|reached| reached.measured.iterations)
        else {
            return Ok(reached);
        };
        let (mut enough, mut step) = (iterations, iterations / 4);
        while enough > first && step > 0 && 8 * step >= iterations {
            let ask = Ask { threshold: 0.0, iterations: enough - step, fixed: true, repeats: 1, budget };
            let Some(outcome) = self.ask(solver, posed, ask)? else { return Ok(reached) };
            if outcome.recomputed.error <= tolerance {
                enough -= step;
                reached = Some(Reached { measured: measured(solver, &outcome), met: true });
            }
            step /= 2;
        }
        Ok(reached)
    }

    /// The solve that a peer's own schedule prescribes.
    pub(super) fn schedule(
        &mut self,
        solver: Solver,
        posed: &dyn Posed,
        repeats: usize,
        budget: f64,
    ) -> Result<Option<Measured>, Failure> {
        self.write(posed)?;
        let ask = Ask { threshold: 0.0, iterations: 0, fixed: false, repeats, budget };
        Ok(self.ask(solver, posed, ask)?.map(|outcome| measured(solver, &outcome)))
    }

    /// The schedules of some solvers: one `None` if none of them ran, so that ours is told alone.
    pub(super) fn schedules(
        &mut self,
        solvers: &[Solver],
        posed: &dyn Posed,
        repeats: usize,
        budget: f64,
    ) -> Result<Vec<Option<Measured>>, Failure> {
        let mut ran = Vec::new();
        for &solver in solvers {
            ran.extend(self.schedule(solver, posed, repeats, budget)?.map(Some));
        }
        Ok(if ran.is_empty() { vec![None] } else { ran })
    }

    /// An iteration: what `last` of them take more than `first`.
    pub(super) fn iteration(
        &mut self,
        solver: Solver,
        posed: &dyn Posed,
        (first, last): (usize, usize),
        repeats: usize,
        budget: f64,
    ) -> Result<Option<Measured>, Failure> {
        self.write(posed)?;
        let fixed = |iterations| Ask { threshold: 1e-9, iterations, fixed: true, repeats, budget };
        let Some(few) = self.ask(solver, posed, fixed(first))? else { return Ok(None) };
        let Some(many) = self.ask(solver, posed, fixed(last))? else { return Ok(None) };
        let seconds = (many.seconds - few.seconds) / (many.iterations - few.iterations) as f64;
        if seconds <= 0.0 {
            self.leave_out(solver, "more iterations took no longer: noise hides one");
            return Ok(None);
        }
        Ok(Some(Measured::seconds(solver.name(), seconds)))
    }

    /// One request; `None` if the peer cannot serve it, which is noted once.
    fn ask(&mut self, solver: Solver, posed: &dyn Posed, ask: Ask) -> Result<Option<Outcome>, Failure> {
        let (module, name, _) = solver.names();
        let arrays = posed.arrays();
        let (n, m) = arrays.shape();
        let Ask { threshold, iterations, fixed, repeats, budget } = ask;
        let request = serde_json::to_string(&Request {
            solver: format!("{module}.{name}"),
            arrays: &self.arrays,
            n,
            m,
            d: arrays.dimension(),
            columns: arrays.columns,
            epsilon: arrays.epsilon,
            rho: arrays.rho,
            threshold,
            iterations,
            fixed,
            repeats,
            budget,
        })?;
        match self.exchange(module, &request) {
            Ok(Reply::Done { seconds, iterations }) if !seconds.is_empty() => {
                let mut outputs = Vec::new();
                for (name, len) in posed.outputs() {
                    let output = self.read(name)?;
                    if output.len() != len {
                        self.leave_out(solver, "it returned arrays of another shape");
                        return Ok(None);
                    }
                    outputs.push(output);
                }
                let recomputed = posed.judge(&outputs, self.threads);
                Ok(Some(Outcome { seconds: median(seconds), iterations, recomputed }))
            }
            Ok(Reply::Done { .. }) => {
                self.leave_out(solver, "it did not run");
                Ok(None)
            }
            Ok(Reply::Failed { error }) => {
                self.leave_out(solver, &error);
                Ok(None)
            }
            Err(error) => {
                self.processes.remove(module);
                self.leave_out(solver, &error.to_string());
                Ok(None)
            }
        }
    }

    /// One line there and one back.
    fn exchange(&mut self, module: &'static str, request: &str) -> Result<Reply, Failure> {
        if !self.python.exists() {
            return Err("there is no environment: run benches/peers/setup".into());
        }
        if !self.processes.contains_key(module) {
            self.processes.insert(module, Process::start(&self.python, &self.scripts, &self.arrays, self.threads)?);
        }
        let process = self.processes.get_mut(module).ok_or("the process is gone")?;
        Ok(serde_json::from_str(&process.exchange(request)?)?)
    }

    fn leave_out(&mut self, solver: Solver, reason: &str) {
        let line = format!("{} ({reason})", solver.name());
        if !self.left_out.contains(&line) {
            self.left_out.push(line);
        }
    }

    /// An array that came back.
    fn read(&self, name: &str) -> Result<Vec<f64>, Failure> {
        let bytes = fs::read(self.arrays.join(format!("{name}.f64")))?;
        let (words, _) = bytes.as_chunks::<8>();
        Ok(words.iter().map(|&word| f64::from_le_bytes(word)).collect())
    }

    /// The arrays as files of little-endian doubles.
    fn write(&self, posed: &dyn Posed) -> Result<(), Failure> {
        let arrays = posed.arrays();
        if !self.python.exists() {
            return Ok(());
        }
        if self.arrays.exists() {
            for name in ["cost", "x", "y"] {
                let stale = self.arrays.join(format!("{name}.f64"));
                if stale.exists() {
                    fs::remove_file(stale)?;
                }
            }
        }
        fs::create_dir_all(&self.arrays)?;
        let write = |name: &str, values: &[f64]| -> Result<(), Failure> {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            Ok(fs::write(self.arrays.join(format!("{name}.f64")), bytes)?)
        };
        write("source", &arrays.source)?;
        write("target", &arrays.target)?;
        posed.more_arrays().iter().try_for_each(|(name, values)| write(name, values))?;
        match &arrays.cost {
            Cost::Matrix(cost) => write("cost", cost),
            Cost::HalfSquares { x, y, .. } => write("x", x).and_then(|()| write("y", y)),
        }
    }
}

/// A process that serves one library; its end of input ends it.
#[derive(Debug)]
struct Process {
    child: Child,
    requests: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
}

impl Process {
    fn start(python: &Path, scripts: &Path, arrays: &Path, threads: usize) -> Result<Self, Failure> {
        let count = threads.to_string();
        let mut command = Command::new(python);
        command.arg("-B").arg(scripts.join("serve.py")).arg(&count);
        for variable in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"] {
            command.env(variable, &count);
        }
        command
            .env("JAX_PLATFORMS", "cpu")
            .env("CUDA_VISIBLE_DEVICES", "")
            .env("KEOPS_CACHE_FOLDER", arrays.join("keops"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let replies = BufReader::new(child.stdout.take().ok_or("the process has no output")?);
        Ok(Self { requests: child.stdin.take(), child, replies })
    }

    fn exchange(&mut self, request: &str) -> Result<String, Failure> {
        let requests = self.requests.as_mut().ok_or("the process takes no requests")?;
        writeln!(requests, "{request}")?;
        requests.flush()?;
        let mut reply = String::new();
        match self.replies.read_line(&mut reply)? {
            0 => Err("its process ended".into()),
            _ => Ok(reply),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.requests.take());
        // Nobody is left to be told.
        let _ = self.child.wait();
    }
}

fn measured(solver: Solver, outcome: &Outcome) -> Measured {
    let Outcome { seconds, iterations, recomputed } = *outcome;
    // A loss that is one sum has no iterations.
    recomputed.measured(solver.name(), seconds, Some(iterations).filter(|&iterations| iterations > 0))
}

#[cfg(test)]
mod tests {
    use super::{super::problem::Arrays, *};

    #[test]
    fn without_an_environment_peers_are_left_out() {
        let mut peers = Peers::new(Path::new("no such folder"), 1);
        let arrays = Arrays::gaussian_matrix(1, 3, 3, 1, 1.0);
        for _ in 0..2 {
            assert!(peers.solve(Solver::PotSinkhorn, &arrays, 1e-9, 1, 1.0).unwrap().is_none());
        }
        let told = peers.left_out();
        assert!(told.len() == 1 && told[0].contains("POT sinkhorn") && told[0].contains("setup"), "{told:?}");
    }
}
