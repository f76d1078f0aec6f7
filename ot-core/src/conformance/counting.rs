//! A backend that counts what is asked of another.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use crate::{
    backend::{Backend, Fold, HostBackend, Operand, Side},
    capability::{
        CostDerivative, CostParameter, CostTangent, HardTransform, PairSum, PairWeight, PricedArc, TransportCost,
        WeightedPlan,
    },
    cost::GroundCost,
    error::Error,
    family::{PlanFamily, Response, RoundedFactors},
    geometry::{CostSurvey, Geometry},
    kernel::{ActiveColumns, ByProducts, KernelOp, PlanSide, PlanView, Potentials, SoftMin, Sweep},
    marginal::Marginal,
    measure::{Support, WeightsView},
    plan_regularizer::{Entropy, PlanKind, PlanPrograms, PlanRegularizer},
    program::Program,
};

/// A wrapper that does what the wrapped backend does, and counts it. Its vectors are those of the
/// wrapped backend; its clones share one count.
///
/// This is how "nothing is allocated and nothing is read in the loop" is proven of a solver: what
/// two solves count may differ only by what more iterations cost.
///
/// ```
/// use ot_core::{Backend, conformance::{Counting, ReferenceBackend}};
///
/// let backend = Counting::new(ReferenceBackend::<f32>::default());
/// let vector = backend.upload(&[1.0, 2.0], 1)?;
/// let before = backend.counts();
/// backend.download(&[&vector])?;
/// assert_eq!((before.allocations, backend.counts().since(before).reads), (1, 1));
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Counting<B: Backend> {
    inner: B,
    tally: Arc<Tally>,
}

/// What was asked of a [`Counting`] backend and of the kernels of its geometries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Points where the host waits: `read`, `download`, arguments of a c-transform, lists of arcs.
    pub reads: usize,
    /// Vectors and reduced vectors allocated. What a kernel allocates for itself is not seen.
    pub allocations: usize,
    /// Host values written.
    pub writes: usize,
    /// `map`, `reduce`, `map_reduced`, `mix` and `copy`.
    pub operations: usize,
    /// Softmins, those of a sweep not counted.
    pub softmins: usize,
    /// Sweeps.
    pub sweeps: usize,
    /// Other requests to kernels: products with the plan, recentring and capabilities.
    pub requests: usize,
    /// Kernels bound.
    pub bindings: usize,
}

impl Counts {
    /// What was asked since an earlier count.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            reads: self.reads - earlier.reads,
            allocations: self.allocations - earlier.allocations,
            writes: self.writes - earlier.writes,
            operations: self.operations - earlier.operations,
            softmins: self.softmins - earlier.softmins,
            sweeps: self.sweeps - earlier.sweeps,
            requests: self.requests - earlier.requests,
            bindings: self.bindings - earlier.bindings,
        }
    }
}

/// [`Counts`] shared by clones.
#[derive(Debug, Default)]
struct Tally {
    reads: AtomicUsize,
    allocations: AtomicUsize,
    writes: AtomicUsize,
    operations: AtomicUsize,
    softmins: AtomicUsize,
    sweeps: AtomicUsize,
    requests: AtomicUsize,
    bindings: AtomicUsize,
}

/// One more.
fn count(number: &AtomicUsize) {
    number.fetch_add(1, Relaxed);
}

impl<B: Backend> Counting<B> {
    /// Counts what is asked of `inner`.
    #[must_use]
    pub fn new(inner: B) -> Self {
        Self { inner, tally: Arc::default() }
    }

    /// The wrapped backend.
    #[must_use]
    pub fn inner(&self) -> &B {
        &self.inner
    }

    /// What was asked so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let tally = &self.tally;
        Counts {
            reads: tally.reads.load(Relaxed),
            allocations: tally.allocations.load(Relaxed),
            writes: tally.writes.load(Relaxed),
            operations: tally.operations.load(Relaxed),
            softmins: tally.softmins.load(Relaxed),
            sweeps: tally.sweeps.load(Relaxed),
            requests: tally.requests.load(Relaxed),
            bindings: tally.bindings.load(Relaxed),
        }
    }

    /// A geometry of the wrapped backend whose kernels are counted.
    #[must_use]
    pub fn wrap(&self, geometry: Arc<dyn Geometry<B>>) -> Arc<dyn Geometry<Self>> {
        Arc::new(CountingGeometry { backend: self.clone(), inner: geometry })
    }
}

/// The operands as the wrapped backend sees them.
fn inner_operands<'a, B: Backend>(operands: &[Operand<'a, Counting<B>>]) -> Vec<Operand<'a, B>> {
    let operand = |operand: &Operand<'a, Counting<B>>| match *operand {
        Operand::Vector(vector) => Operand::Vector(vector),
        Operand::Reduced(reduced) => Operand::Reduced(reduced),
        Operand::Constant(value) => Operand::Constant(value),
        Operand::Output(index) => Operand::Output(index),
    };
    operands.iter().map(operand).collect()
}

impl<B: Backend> Backend for Counting<B> {
    type Elem = B::Elem;
    type Vector = B::Vector;
    type Reduced = B::Reduced;

    fn alloc(&self, rows: usize, columns: usize) -> Result<B::Vector, Error> {
        count(&self.tally.allocations);
        self.inner.alloc(rows, columns)
    }

    fn alloc_reduced(&self, columns: usize) -> Result<B::Reduced, Error> {
        count(&self.tally.allocations);
        self.inner.alloc_reduced(columns)
    }

    fn write(&self, values: &[B::Elem], vector: &mut B::Vector) -> Result<(), Error> {
        count(&self.tally.writes);
        self.inner.write(values, vector)
    }

    fn write_reduced(&self, values: &[f64], reduced: &mut B::Reduced) -> Result<(), Error> {
        count(&self.tally.writes);
        self.inner.write_reduced(values, reduced)
    }

    fn shape(&self, vector: &B::Vector) -> (usize, usize) {
        self.inner.shape(vector)
    }

    fn reduced_len(&self, reduced: &B::Reduced) -> usize {
        self.inner.reduced_len(reduced)
    }

    fn map(
        &self,
        program: &Program,
        operands: &[Operand<'_, Self>],
        outputs: &mut [&mut B::Vector],
    ) -> Result<(), Error> {
        count(&self.tally.operations);
        self.inner.map(program, &inner_operands(operands), outputs)
    }

    fn reduce(
        &self,
        program: &Program,
        fold: Fold,
        rows: usize,
        operands: &[Operand<'_, Self>],
        outputs: &mut [&mut B::Reduced],
    ) -> Result<(), Error> {
        count(&self.tally.operations);
        self.inner.reduce(program, fold, rows, &inner_operands(operands), outputs)
    }

    fn map_reduced(
        &self,
        program: &Program,
        operands: &[Operand<'_, Self>],
        outputs: &mut [&mut B::Reduced],
    ) -> Result<(), Error> {
        count(&self.tally.operations);
        self.inner.map_reduced(program, &inner_operands(operands), outputs)
    }

    fn mix(&self, vector: &B::Vector, matrix: &[f64], out: &mut B::Vector) -> Result<(), Error> {
        count(&self.tally.operations);
        self.inner.mix(vector, matrix, out)
    }

    fn copy(&self, vector: &B::Vector, out: &mut B::Vector) -> Result<(), Error> {
        count(&self.tally.operations);
        self.inner.copy(vector, out)
    }

    fn read(&self, reduced: &[&B::Reduced]) -> Result<Vec<Vec<f64>>, Error> {
        count(&self.tally.reads);
        self.inner.read(reduced)
    }

    fn download(&self, vectors: &[&B::Vector]) -> Result<Vec<Vec<B::Elem>>, Error> {
        count(&self.tally.reads);
        self.inner.download(vectors)
    }

    fn geometry(
        &self,
        source: Support<'_, B::Elem>,
        target: Support<'_, B::Elem>,
        cost: &dyn GroundCost,
    ) -> Result<Arc<dyn Geometry<Self>>, Error> {
        Ok(self.wrap(self.inner.geometry(source, target, cost)?))
    }

    fn scope<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.inner.scope(work)
    }
}

impl<B: HostBackend> HostBackend for Counting<B> {
    fn slice<'a>(&self, vector: &'a B::Vector) -> &'a [B::Elem] {
        self.inner.slice(vector)
    }

    fn slice_mut<'a>(&self, vector: &'a mut B::Vector) -> &'a mut [B::Elem] {
        self.inner.slice_mut(vector)
    }

    fn reduced<'a>(&self, reduced: &'a B::Reduced) -> &'a [f64] {
        self.inner.reduced(reduced)
    }

    fn reduced_mut<'a>(&self, reduced: &'a mut B::Reduced) -> &'a mut [f64] {
        self.inner.reduced_mut(reduced)
    }

    fn parallel(&self, tasks: usize, job: &(dyn Fn(usize) + Sync)) {
        self.inner.parallel(tasks, job);
    }
}

/// A geometry of the wrapped backend, and who counts.
#[derive(Debug)]
struct CountingGeometry<B: Backend> {
    backend: Counting<B>,
    inner: Arc<dyn Geometry<B>>,
}

impl<B: Backend> CountingGeometry<B> {
    /// A kernel of the wrapped geometry, counted.
    fn wrap_kernel(&self, mut inner: Box<dyn KernelOp<B>>) -> Result<Box<dyn KernelOp<Counting<B>>>, Error> {
        count(&self.backend.tally.bindings);
        Ok(Box::new(CountingKernel {
            loan: Loan::new(&self.backend.inner)?,
            backend: self.backend.clone(),
            parameters: KnownParameters::of(inner.as_mut()),
            programs: programs_of(inner.as_mut())?,
            inner,
        }))
    }
}

impl<B: Backend> Geometry<Counting<B>> for CountingGeometry<B> {
    fn backend(&self) -> &Counting<B> {
        &self.backend
    }

    fn len(&self, side: Side) -> usize {
        self.inner.len(side)
    }

    fn bind(&self, epsilon: f64, columns: usize) -> Result<Box<dyn KernelOp<Counting<B>>>, Error> {
        self.wrap_kernel(self.inner.bind(epsilon, columns)?)
    }

    fn bind_family(
        &self,
        regularizer: &Arc<dyn PlanRegularizer>,
        epsilon: f64,
        columns: usize,
    ) -> Result<Box<dyn KernelOp<Counting<B>>>, Error> {
        self.wrap_kernel(self.inner.bind_family(regularizer, epsilon, columns)?)
    }

    fn fixed_epsilon(&self) -> Option<f64> {
        self.inner.fixed_epsilon()
    }

    fn epsilon_of_blur(&self, sigma: f64) -> Option<f64> {
        self.inner.epsilon_of_blur(sigma)
    }

    fn may_forbid(&self) -> bool {
        self.inner.may_forbid()
    }

    fn cost_bound(&self) -> Option<f64> {
        self.inner.cost_bound()
    }

    fn survey(&self, source: WeightsView<'_, B::Elem>, target: WeightsView<'_, B::Elem>) -> Result<CostSurvey, Error> {
        self.inner.survey(source, target)
    }
}

/// A kernel of the wrapped backend.
struct CountingKernel<B: Backend> {
    backend: Counting<B>,
    inner: Box<dyn KernelOp<B>>,
    parameters: KnownParameters,
    programs: PlanPrograms,
    loan: Loan<B>,
}

/// The parameters that the cost of a kernel is known to depend on, and their shapes.
#[derive(Debug)]
pub(super) struct KnownParameters(Vec<(CostParameter, (usize, usize))>);

impl KnownParameters {
    /// Those of a kernel.
    pub(super) fn of<B: Backend>(kernel: &mut dyn KernelOp<B>) -> Self {
        let derivative = kernel.cost_derivative();
        let known = |parameter: CostParameter| Some((parameter, derivative.as_ref()?.shape(parameter)?));
        let [source, target] = [Side::Source, Side::Target].map(CostParameter::Points);
        Self([source, target, CostParameter::Matrix, CostParameter::Scale].into_iter().filter_map(known).collect())
    }

    /// The shape of a parameter.
    pub(super) fn shape(&self, parameter: CostParameter) -> Option<(usize, usize)> {
        self.0.iter().find(|(known, _)| *known == parameter).map(|&(_, shape)| shape)
    }

    /// Is none known?
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Places into which the vectors of a sweep are swapped while the wrapped kernel works on them:
/// [`Potentials`] of one backend are not those of another, though their vectors are.
struct Loan<B: Backend> {
    potentials: Potentials<B>,
    scratch: Potentials<B>,
    by_products: ByProducts<B>,
}

impl<B: Backend> Loan<B> {
    fn new(backend: &B) -> Result<Self, Error> {
        let potentials = || -> Result<Potentials<B>, Error> {
            Ok(Potentials { source: backend.alloc(1, 1)?, target: backend.alloc(1, 1)?, epsilon: 1.0 })
        };
        Ok(Self { potentials: potentials()?, scratch: potentials()?, by_products: ByProducts::alloc(backend, 1)? })
    }

    /// Swaps the caller's vectors with the places held here: once to lend, once to return.
    fn swap(
        &mut self,
        potentials: &mut Potentials<Counting<B>>,
        scratch: &mut Potentials<Counting<B>>,
        by_products: Option<&mut ByProducts<Counting<B>>>,
    ) {
        for (mine, theirs) in [(&mut self.potentials, potentials), (&mut self.scratch, scratch)] {
            std::mem::swap(&mut mine.source, &mut theirs.source);
            std::mem::swap(&mut mine.target, &mut theirs.target);
            std::mem::swap(&mut mine.epsilon, &mut theirs.epsilon);
        }
        if let Some(theirs) = by_products {
            let mine = &mut self.by_products;
            std::mem::swap(&mut mine.source_residual, &mut theirs.source_residual);
            std::mem::swap(&mut mine.target_residual, &mut theirs.target_residual);
            std::mem::swap(&mut mine.mass, &mut theirs.mass);
            std::mem::swap(&mut mine.source_dual, &mut theirs.source_dual);
            std::mem::swap(&mut mine.target_dual, &mut theirs.target_dual);
        }
    }
}

/// The plan as the wrapped backend sees it.
fn inner_plan<'a, B: Backend>(plan: PlanView<'a, Counting<B>>) -> PlanView<'a, B> {
    let inner = |side: Side| {
        let PlanSide { potential, weights, log_weights } = plan.side(side);
        PlanSide { potential, weights, log_weights }
    };
    PlanView { source: inner(Side::Source), target: inner(Side::Target) }
}

/// The weighted plan as the wrapped backend sees it.
fn inner_pairs<'a, B: Backend>(pairs: WeightedPlan<'a, Counting<B>>) -> WeightedPlan<'a, B> {
    let WeightedPlan { plan, weight: PairWeight { constant, source, target, product, cost }, column } = pairs;
    WeightedPlan { plan: inner_plan(plan), weight: PairWeight { constant, source, target, product, cost }, column }
}

/// The tangent as the wrapped backend sees it.
fn inner_tangent<'a, B: Backend>(tangent: CostTangent<'a, Counting<B>>) -> CostTangent<'a, B> {
    let CostTangent { parameter, values } = tangent;
    CostTangent { parameter, values }
}

/// A capability that the wrapped kernel was seen to have.
pub(super) fn present<T: ?Sized>(capability: Option<&mut T>) -> Result<&mut T, Error> {
    capability.ok_or(Error::MissingCapability("capability that it announced"))
}

impl<B: Backend> CountingKernel<B> {
    fn request(&self) {
        count(&self.backend.tally.requests);
    }
}

impl<B: Backend> KernelOp<Counting<B>> for CountingKernel<B> {
    fn len(&self, side: Side) -> usize {
        self.inner.len(side)
    }

    fn columns(&self) -> usize {
        self.inner.columns()
    }

    fn epsilon(&self) -> f64 {
        self.inner.epsilon()
    }

    fn rebind(&mut self, epsilon: f64) -> Result<(), Error> {
        self.inner.rebind(epsilon)
    }

    fn recenter(&mut self, plan: PlanView<'_, Counting<B>>) -> Result<(), Error> {
        self.request();
        self.inner.recenter(inner_plan(plan))
    }

    fn softmin(&mut self, request: SoftMin<'_, Counting<B>>, out: &mut B::Vector) -> Result<(), Error> {
        count(&self.backend.tally.softmins);
        let SoftMin { side, potential, log_weights, shift, active } = request;
        self.inner.softmin(SoftMin { side, potential, log_weights, shift, active }, out)
    }

    fn softmins(
        &mut self,
        plan: PlanView<'_, Counting<B>>,
        active: &ActiveColumns,
        out: [&mut B::Vector; 2],
    ) -> Result<(), Error> {
        count(&self.backend.tally.softmins);
        count(&self.backend.tally.softmins);
        self.inner.softmins(inner_plan(plan), active, out)
    }

    fn sweep(&mut self, backend: &Counting<B>, sweep: Sweep<'_, Counting<B>>) -> Result<(), Error> {
        count(&self.backend.tally.sweeps);
        let Sweep { source, target, potentials, relaxation, active, scratch, mut by_products } = sweep;
        let (source, target): (Marginal<B>, Marginal<B>) = (source.shared_with(), target.shared_with());
        let wanted = by_products.is_some();
        self.loan.swap(potentials, scratch, by_products.as_deref_mut());
        let lent = Sweep {
            source: &source,
            target: &target,
            potentials: &mut self.loan.potentials,
            relaxation,
            active,
            scratch: &mut self.loan.scratch,
            by_products: wanted.then_some(&mut self.loan.by_products),
        };
        let done = self.inner.sweep(&backend.inner, lent);
        self.loan.swap(potentials, scratch, by_products);
        done
    }

    fn apply(
        &mut self,
        side: Side,
        plan: PlanView<'_, Counting<B>>,
        values: &B::Vector,
        out: &mut B::Vector,
    ) -> Result<(), Error> {
        self.request();
        self.inner.apply(side, inner_plan(plan), values, out)
    }

    fn family(&mut self) -> Option<&mut dyn PlanFamily<Counting<B>>> {
        if self.programs.kind() == PlanKind::Entropy { None } else { Some(self) }
    }

    fn transport_cost(&mut self) -> Option<&mut dyn TransportCost<Counting<B>>> {
        if self.inner.transport_cost().is_some() { Some(self) } else { None }
    }

    fn pair_sum(&mut self) -> Option<&mut dyn PairSum<Counting<B>>> {
        if self.inner.pair_sum().is_some() { Some(self) } else { None }
    }

    fn cost_derivative(&mut self) -> Option<&mut dyn CostDerivative<Counting<B>>> {
        if self.inner.cost_derivative().is_some() { Some(self) } else { None }
    }

    fn hard_transform(&mut self) -> Option<&mut dyn HardTransform<Counting<B>>> {
        if self.inner.hard_transform().is_some() { Some(self) } else { None }
    }
}

/// The formulas of the plan of a kernel.
pub(super) fn programs_of<B: Backend>(kernel: &mut dyn KernelOp<B>) -> Result<PlanPrograms, Error> {
    match kernel.family() {
        Some(family) => Ok(family.programs().clone()),
        None => Ok(PlanPrograms::record(&Entropy)?),
    }
}

impl<B: Backend> PlanFamily<Counting<B>> for CountingKernel<B> {
    fn programs(&self) -> &PlanPrograms {
        &self.programs
    }

    fn respond(&mut self, request: Response<'_, Counting<B>>, out: &mut B::Vector) -> Result<(), Error> {
        count(&self.backend.tally.softmins);
        let Response { side, law, potential, weights, shift, active } = request;
        present(self.inner.family())?.respond(Response { side, law, potential, weights, shift, active }, out)
    }

    fn marginal(
        &mut self,
        side: Side,
        plan: PlanView<'_, Counting<B>>,
        active: &ActiveColumns,
        density: &mut B::Vector,
        conjugate: Option<&mut B::Reduced>,
    ) -> Result<(), Error> {
        self.request();
        present(self.inner.family())?.marginal(side, inner_plan(plan), active, density, conjugate)
    }

    fn marginals(
        &mut self,
        plan: PlanView<'_, Counting<B>>,
        active: &ActiveColumns,
        densities: [&mut B::Vector; 2],
        conjugate: &mut B::Reduced,
    ) -> Result<(), Error> {
        self.request();
        present(self.inner.family())?.marginals(inner_plan(plan), active, densities, conjugate)
    }

    fn excess(
        &mut self,
        plan: PlanView<'_, Counting<B>>,
        rounded: RoundedFactors<'_, Counting<B>>,
        out: &mut B::Reduced,
    ) -> Result<(), Error> {
        self.request();
        let RoundedFactors { scaling, added } = rounded;
        present(self.inner.family())?.excess(inner_plan(plan), RoundedFactors { scaling, added }, out)
    }
}

impl<B: Backend> TransportCost<Counting<B>> for CountingKernel<B> {
    fn plan_cost(&mut self, plan: PlanView<'_, Counting<B>>, out: &mut B::Reduced) -> Result<(), Error> {
        self.request();
        present(self.inner.transport_cost())?.plan_cost(inner_plan(plan), out)
    }

    fn rank_one_cost(&mut self, u: &B::Vector, v: &B::Vector, out: &mut B::Reduced) -> Result<(), Error> {
        self.request();
        present(self.inner.transport_cost())?.rank_one_cost(u, v, out)
    }
}

impl<B: Backend> PairSum<Counting<B>> for CountingKernel<B> {
    fn pair_sum(
        &mut self,
        side: Side,
        plan: PlanView<'_, Counting<B>>,
        phi: &Program,
        out: &mut B::Vector,
    ) -> Result<(), Error> {
        self.request();
        present(self.inner.pair_sum())?.pair_sum(side, inner_plan(plan), phi, out)
    }
}

impl<B: Backend> CostDerivative<Counting<B>> for CountingKernel<B> {
    fn shape(&self, parameter: CostParameter) -> Option<(usize, usize)> {
        self.parameters.shape(parameter)
    }

    fn pull_back(
        &mut self,
        pairs: WeightedPlan<'_, Counting<B>>,
        parameter: CostParameter,
        out: &mut B::Vector,
    ) -> Result<(), Error> {
        self.request();
        present(self.inner.cost_derivative())?.pull_back(inner_pairs(pairs), parameter, out)
    }

    fn push_forward(
        &mut self,
        side: Side,
        pairs: WeightedPlan<'_, Counting<B>>,
        tangent: CostTangent<'_, Counting<B>>,
        out: &mut B::Vector,
    ) -> Result<(), Error> {
        self.request();
        present(self.inner.cost_derivative())?.push_forward(side, inner_pairs(pairs), inner_tangent(tangent), out)
    }

    fn curvature(
        &mut self,
        pairs: WeightedPlan<'_, Counting<B>>,
        parameter: CostParameter,
        tangent: CostTangent<'_, Counting<B>>,
        out: &mut B::Vector,
    ) -> Result<(), Error> {
        self.request();
        present(self.inner.cost_derivative())?.curvature(inner_pairs(pairs), parameter, inner_tangent(tangent), out)
    }
}

impl<B: Backend> HardTransform<Counting<B>> for CountingKernel<B> {
    fn c_transform(
        &mut self,
        side: Side,
        potential: &B::Vector,
        log_weights: &B::Vector,
        out: &mut B::Vector,
        argument: Option<&mut Vec<u32>>,
    ) -> Result<(), Error> {
        self.request();
        if argument.is_some() {
            count(&self.backend.tally.reads);
        }
        present(self.inner.hard_transform())?.c_transform(side, potential, log_weights, out, argument)
    }

    fn arcs_below(
        &mut self,
        source_potential: &B::Vector,
        target_potential: &B::Vector,
        column: usize,
        threshold: f64,
        limit: usize,
    ) -> Result<Vec<PricedArc>, Error> {
        self.request();
        count(&self.backend.tally.reads);
        let hard = present(self.inner.hard_transform())?;
        hard.arcs_below(source_potential, target_potential, column, threshold, limit)
    }
}

impl<B: Backend> fmt::Debug for CountingKernel<B> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("CountingKernel").field(&self.inner).finish()
    }
}
