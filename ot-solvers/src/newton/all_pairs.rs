//! Passes over all pairs: what a kernel tells of a potential, and the arcs that matter.

use ot_core::{
    ActiveColumns, ArcThreshold, Device, Error, KernelOp, PlanCells, Potentials, PricedArc, Problem, Scalar, Side,
    Sweep,
};

use super::{
    arcs::{Arcs, Reach},
    sides::{Iterate, Sides},
};

/// Arcs for each atom that are listed before products are tried, and the pairs from which on they are.
const FEW_ARCS: usize = 32;
const MANY_PAIRS: usize = 1 << 24;

/// Are steps of this problem found by products with the plan, where it has more than a few arcs for each atom? So it is between large
/// clouds whose kernel tells the plan between cells.
pub(crate) fn prefers_products<D: Device, K: KernelOp<D> + ?Sized>(problem: &Problem<D>, kernel: &mut K) -> bool {
    let [n, m] = Side::BOTH.map(|side| problem.marginal(side).len());
    n.saturating_mul(m) > MANY_PAIRS && kernel.plan_product().is_some_and(|product| product.has_cells())
}

/// The same of a problem whose kernel is not bound yet.
///
/// # Errors
/// Those of [`Problem::bind`].
pub(crate) fn steps_by_products<D: Device>(problem: &Problem<D>) -> Result<bool, Error> {
    let [n, m] = Side::BOTH.map(|side| problem.marginal(side).len());
    Ok(n.saturating_mul(m) > MANY_PAIRS && prefers_products(problem, problem.bind()?.as_mut()))
}

/// A kernel of one column, met by whole passes, and their count.
pub(super) struct AllPairs<'a, D: Device, K: ?Sized> {
    problem: &'a Problem<D>,
    kernel: &'a mut K,
    potentials: Potentials<D>,
    scratch: Potentials<D>,
    /// A relaxation of 1.
    plain: D::Reduced,
    active: ActiveColumns,
    /// More arcs than this are not solved on: 16 bytes each.
    most_arcs: usize,
    /// Are there products that do where arcs are too many?
    has_products: bool,
    /// More than this are not listed while products may do.
    few_arcs: usize,
    /// Sweeps, listings and products so far.
    pub(super) sweeps: usize,
    pub(super) listings: usize,
    pub(super) products: usize,
}

impl<'a, D: Device, K: KernelOp<D> + ?Sized> AllPairs<'a, D, K> {
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(super) fn new(problem: &'a Problem<D>, kernel: &'a mut K, most_arcs: usize) -> Result<Self, Error> {
        let backend = problem.backend();
        let pair = || -> Result<Potentials<D>, Error> {
            let vector = |side: Side| backend.alloc(problem.marginal(side).len(), 1);
            Ok(Potentials { source: vector(Side::Source)?, target: vector(Side::Target)?, epsilon: problem.epsilon() })
        };
        let atoms = Side::BOTH.map(|side| problem.marginal(side).len());
        let has_products = prefers_products(problem, kernel);
        let few_arcs = match has_products {
            true => most_arcs.min(FEW_ARCS * (atoms[0] + atoms[1])),
            false => most_arcs,
        };
        Ok(Self {
            potentials: pair()?,
            scratch: pair()?,
            plain: backend.upload_reduced(&[1.0])?,
            active: ActiveColumns::all(1),
            most_arcs,
            has_products,
            few_arcs,
            problem,
            kernel,
            sweeps: 0,
            listings: 0,
            products: 0,
        })
    }

    /// Binds another epsilon, near the potentials of an iterate.
    pub(super) fn rebind(&mut self, epsilon: f64, f: &[f64], g: &[f64]) -> Result<(), Error> {
        self.kernel.rebind(epsilon)?;
        self.write(f, g)?;
        self.potentials.epsilon = epsilon;
        self.kernel.recenter(self.problem.view(&self.potentials))
    }

    pub(super) fn epsilon(&self) -> f64 {
        self.kernel.epsilon()
    }

    /// The kernel, and the potentials that were written last.
    pub(super) fn kernel(&mut self) -> (&mut K, &mut Potentials<D>) {
        (self.kernel, &mut self.potentials)
    }

    /// Passes over all pairs so far.
    pub(super) fn passes(&self) -> usize {
        self.sweeps + self.listings + self.products
    }

    /// Brings potentials to the device.
    pub(super) fn write(&mut self, f: &[f64], g: &[f64]) -> Result<(), Error> {
        let elements = |values: &[f64]| values.iter().map(|&value| D::Elem::from_f64(value)).collect::<Vec<_>>();
        let backend = self.problem.backend();
        backend.write(&elements(f), &mut self.potentials.source)?;
        backend.write(&elements(g), &mut self.potentials.target)
    }

    /// f, the c-transform of g, and what the columns are then: one sweep.
    pub(super) fn iterate(&mut self, sides: &Sides, near: &[f64], g: &[f64]) -> Result<Iterate, Error> {
        let [f, transform] = self.sweep(near, g)?;
        Ok(sides.iterate(self.kernel.epsilon(), f, g.to_vec(), transform))
    }

    /// f, the c-transform of g, and the c-transform of f.
    pub(super) fn sweep(&mut self, near: &[f64], g: &[f64]) -> Result<[Vec<f64>; 2], Error> {
        self.write(near, g)?;
        self.sweeps += 1;
        let sweep = Sweep {
            source: self.problem.marginal(Side::Source),
            target: self.problem.marginal(Side::Target),
            potentials: &mut self.potentials,
            relaxation: &self.plain,
            active: &self.active,
            scratch: &mut self.scratch,
            by_products: None,
        };
        self.kernel.sweep(self.problem.backend(), sweep)?;
        let read = self.problem.backend().download(&[&self.potentials.source, &self.potentials.target])?;
        Ok([0, 1].map(|side: usize| read[side].iter().map(|value| value.to_f64()).collect()))
    }

    /// P^T diag(d) P x at the potentials that were written last, as accurate as a step asks for: one pass where the kernel has this
    /// product, else two.
    pub(super) fn normal_product(&mut self, diagonal: &[f64], x: &[f64]) -> Result<Vec<f64>, Error> {
        let Self { problem, kernel, potentials, scratch, products, .. } = self;
        let (backend, plan) = (problem.backend(), problem.view(potentials));
        let elements = |values: &[f64]| values.iter().map(|&value| D::Elem::from_f64(value)).collect::<Vec<_>>();
        let numbers = |values: Vec<Vec<D::Elem>>| values[0].iter().map(|value| value.to_f64()).collect::<Vec<_>>();
        backend.write(&elements(x), &mut scratch.target)?;
        if let Some(product) = kernel.plan_product() {
            *products += 1;
            backend.write(&elements(diagonal), &mut scratch.source)?;
            let mut out = backend.alloc(x.len(), 1)?;
            product.inexact_normal_product(Side::Target, plan, &scratch.source, &scratch.target, &mut out)?;
            return Ok(numbers(backend.download(&[&out])?));
        }
        *products += 2;
        kernel.apply(Side::Source, plan, &scratch.target, &mut scratch.source)?;
        let sums = numbers(backend.download(&[&scratch.source])?);
        let means: Vec<f64> = sums.iter().zip(diagonal).map(|(sum, d)| sum * d).collect();
        backend.write(&elements(&means), &mut scratch.source)?;
        kernel.apply(Side::Target, plan, &scratch.source, &mut scratch.target)?;
        Ok(numbers(backend.download(&[&scratch.target])?))
    }

    /// Are there products that do where arcs are too many?
    pub(super) fn has_products(&self) -> bool {
        self.has_products
    }

    /// Are products to be tried before more than a few arcs are listed?
    pub(super) fn may_use_products(&self) -> bool {
        self.few_arcs < self.most_arcs
    }

    /// Lists as many arcs as are allowed from now on.
    pub(super) fn list_all(&mut self) {
        self.few_arcs = self.most_arcs;
    }

    /// The plan between cells at the potentials that were written last, of a kernel that tells it.
    pub(super) fn cells(&mut self) -> Result<Option<PlanCells>, Error> {
        let Self { problem, kernel, potentials, products, .. } = self;
        let Some(product) = kernel.plan_product().filter(|product| product.has_cells()) else { return Ok(None) };
        *products += 1;
        product.cells(problem.view(potentials), 0).map(Some)
    }

    /// The pairs of an iterate whose reduced cost is within reach, and within that of the c-transform of f where that is
    /// larger than g: so every atom has an arc. One pass, or two where weights differ much.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] of a kernel that lists no arcs; [`Error::OutOfMemory`].
    pub(super) fn list(&mut self, sides: &Sides, iterate: &Iterate, reach: Reach) -> Result<Arcs, Error> {
        let raised = iterate.raised();
        self.write(&iterate.f, &raised)?;
        let thresholds = reach.of_atoms(sides);
        let mut listed: Vec<PricedArc> = Vec::new();
        for atoms in &thresholds {
            let threshold = ArcThreshold { base: reach.base(), atoms: Some([&atoms[0], &atoms[1]]) };
            listed = union(listed, self.below(threshold)?);
        }
        Ok(Arcs::new(&listed, iterate.f.clone(), raised, reach))
    }

    /// The pairs whose reduced cost at these potentials is at most `base`: one pass.
    ///
    /// # Errors
    /// Those of [`list`](Self::list).
    pub(super) fn list_near(&mut self, f: &[f64], g: &[f64], base: f64) -> Result<Vec<PricedArc>, Error> {
        self.write(f, g)?;
        self.below(ArcThreshold::uniform(base))
    }

    /// The pairs below a threshold at the potentials that were written last.
    fn below(&mut self, threshold: ArcThreshold<'_>) -> Result<Vec<PricedArc>, Error> {
        self.listings += 1;
        let missing = Error::MissingCapability("arcs below a threshold");
        let hard = self.kernel.hard_transform().ok_or(missing)?;
        let (f, g) = (&self.potentials.source, &self.potentials.target);
        hard.arcs_below(f, g, 0, threshold, self.few_arcs)
    }
}

/// The arcs of either list; both are in the order of rows, and of columns within rows.
fn union(first: Vec<PricedArc>, second: Vec<PricedArc>) -> Vec<PricedArc> {
    if first.is_empty() {
        return second;
    }
    let place = |arc: &PricedArc| (arc.source, arc.target);
    let mut union = Vec::with_capacity(first.len() + second.len());
    let mut first = first.into_iter().peekable();
    for arc in second {
        while let Some(before) = first.next_if(|before| place(before) < place(&arc)) {
            union.push(before);
        }
        first.next_if(|same| place(same) == place(&arc));
        union.push(arc);
    }
    union.extend(first);
    union
}
