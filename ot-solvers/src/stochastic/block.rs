//! What a block of the source tells of potentials on the target.
//!
//! ```text
//! f_i = softmin over j of c(x_i, y_j) - g_j          r_j = sum_i a_i p_j(x_i) / b_j = exp((g_j - s_j) / epsilon)
//! ```
//!
//! with s the softmin over the block of c(x_i, y_j) - f_i under the weights a. That is one sweep of Sinkhorn's iteration, on a
//! geometry that lives as long as the block: shipped kernels evaluate every pair once for both. A sweep may be off by a little
//! of what it moves, which does for a step; where a number is told, two c-transforms take its place. At epsilon = 0 either is one
//! hard c-transform with its arguments.

use ot_core::{
    ActiveColumns, Backend, Balanced, CTransform, CostForm, CostMatrix, Device, Error, GeometryBuilder, GroundCost,
    KernelOp, Marginal, MarginalPenalty, Measure, PlanSide, PlanView, PointsView, Potentials, RecordedPenalty, Scalar,
    Side, Support, Sweep, WeightsView,
};

/// The target, as blocks of the source meet it.
pub(super) struct Atoms<'a, D: Device> {
    builder: &'a dyn GeometryBuilder<Device = D>,
    backend: &'a dyn Backend<D>,
    support: Support<'a, D::Elem>,
    cost: &'a dyn GroundCost,
    epsilon: f64,
    weights: Vec<f64>,
    balanced: RecordedPenalty,
    marginal: Marginal<D>,
    /// The relaxation of a plain sweep.
    plain: D::Reduced,
}

/// How well a block is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grade {
    /// For a step of an ascent.
    Step,
    /// To the rounding of the element type.
    Exact,
}

/// What a block tells.
pub(super) struct Block {
    /// f at its atoms.
    pub(super) transforms: Vec<f64>,
    /// Its share r of the density of the marginal; zero at atoms without weight.
    pub(super) densities: Vec<f64>,
}

impl<'a, D: Device> Atoms<'a, D> {
    /// # Errors
    /// [`Error::UnsupportedSupport`] for a target without atoms, [`Error::BatchMismatch`] for a batch, [`Error::Epsilon`].
    pub(super) fn new(
        builder: &'a dyn GeometryBuilder<Device = D>,
        backend: &'a dyn Backend<D>,
        target: &'a dyn Measure<D::Elem>,
        cost: &'a dyn GroundCost,
        epsilon: f64,
    ) -> Result<Self, Error> {
        if !(epsilon.is_finite() && epsilon >= 0.0) {
            return Err(Error::Epsilon(epsilon));
        }
        let weights = histogram(target)?;
        let elements: Vec<D::Elem> = weights.iter().map(|&weight| D::Elem::from_f64(weight)).collect();
        let balanced = Balanced.recorded()?;
        Ok(Self {
            builder,
            backend,
            support: target.support(),
            cost,
            epsilon,
            marginal: Marginal::new(backend, WeightsView::new(&elements, 1)?, balanced.clone())?,
            balanced,
            weights,
            plain: backend.upload_reduced(&[1.0])?,
        })
    }

    /// The weights b.
    pub(super) fn weights(&self) -> &[f64] {
        &self.weights
    }

    pub(super) fn support(&self) -> Support<'a, D::Elem> {
        self.support
    }

    pub(super) fn cost(&self) -> &'a dyn GroundCost {
        self.cost
    }

    /// A block of points.
    pub(super) fn meet_points(
        &self,
        points: PointsView<'_, D::Elem>,
        weights: &[f64],
        potential: &[f64],
        grade: Grade,
    ) -> Result<Block, Error> {
        self.meet(Support::Points(points), self.cost, weights, potential, grade)
    }

    /// A block of consecutive atoms of a discrete source, for a step.
    pub(super) fn meet_range(
        &self,
        source: Support<'_, D::Elem>,
        first: usize,
        weights: &[f64],
        potential: &[f64],
    ) -> Result<Block, Error> {
        match (source.points()?, source, self.cost.form()) {
            (Some(points), ..) => {
                let d = points.dimension();
                let block = &points.coordinates()[first * d..][..weights.len() * d];
                self.meet_points(PointsView::new(block, d)?, weights, potential, Grade::Step)
            }
            (None, Support::Indices(_), CostForm::Matrix(matrix)) => {
                let columns = matrix.columns();
                let mut rows = vec![D::Elem::default(); weights.len() * columns];
                for (row, out) in rows.chunks_exact_mut(columns.max(1)).enumerate() {
                    matrix.copy_row(first + row, out);
                }
                let rows = CostMatrix::new(rows, weights.len(), columns)?;
                self.meet(Support::Indices(weights.len()), &rows, weights, potential, Grade::Step)
            }
            (_, other, _) => Err(Error::UnsupportedSupport { what: "a block of the source", found: other.kind() }),
        }
    }

    fn meet(
        &self,
        source: Support<'_, D::Elem>,
        cost: &dyn GroundCost,
        weights: &[f64],
        potential: &[f64],
        grade: Grade,
    ) -> Result<Block, Error> {
        let geometry = self.builder.geometry(source, self.support, cost)?;
        let elements = |values: &[f64]| values.iter().map(|&value| D::Elem::from_f64(value)).collect::<Vec<_>>();
        let g = self.backend.upload(&elements(potential), 1)?;
        if self.epsilon == 0.0 {
            // A hard transform knows no epsilon; the binding wants one.
            return self.hard(geometry.bind_entropic(1.0, 1)?.as_mut(), &g, weights);
        }
        let block = Marginal::new(self.backend, WeightsView::new(&elements(weights), 1)?, self.balanced.clone())?;
        let mut kernel = geometry.bind_entropic(self.epsilon, 1)?;
        let [f, s] = match grade {
            Grade::Step => self.swept(kernel.as_mut(), g, &block)?,
            Grade::Exact => self.transformed(kernel.as_mut(), &g, &block)?,
        };
        let [transforms, softmins] = self.backend.download(&[&f, &s])?.try_into().unwrap_or_default();
        let density = |((g, s), b): ((&f64, &D::Elem), &f64)| {
            if *b > 0.0 { ((g - s.to_f64()) / self.epsilon).exp() } else { 0.0 }
        };
        let densities = potential.iter().zip(&softmins).zip(&self.weights).map(density).collect();
        Ok(Block { transforms: transforms.into_iter().map(Scalar::to_f64).collect(), densities })
    }

    /// f and s, by one sweep.
    fn swept(&self, kernel: &mut dyn KernelOp<D>, g: D::Vector, block: &Marginal<D>) -> Result<[D::Vector; 2], Error> {
        let (rows, columns) = (block.len(), self.weights.len());
        let (backend, epsilon) = (self.backend, self.epsilon);
        let mut potentials = Potentials { source: backend.filled(0.0, rows, 1)?, target: g, epsilon };
        let mut scratch = Potentials { source: backend.alloc(rows, 1)?, target: backend.alloc(columns, 1)?, epsilon };
        let sweep = Sweep {
            source: block,
            target: &self.marginal,
            potentials: &mut potentials,
            relaxation: &self.plain,
            active: &ActiveColumns::all(1),
            scratch: &mut scratch,
            by_products: None,
        };
        kernel.sweep(backend, sweep)?;
        Ok([potentials.source, potentials.target])
    }

    /// f and s, one after the other.
    fn transformed(
        &self,
        kernel: &mut dyn KernelOp<D>,
        g: &D::Vector,
        block: &Marginal<D>,
    ) -> Result<[D::Vector; 2], Error> {
        let (backend, active) = (self.backend, &ActiveColumns::all(1));
        let zeros = backend.filled(0.0, block.len(), 1)?;
        let [mut f, mut s] = [backend.alloc(block.len(), 1)?, backend.alloc(self.weights.len(), 1)?];
        let target = PlanSide::new(g, self.marginal.device_weights());
        let plan = |f| PlanView { source: PlanSide::new(f, block.device_weights()), target };
        let request = CTransform { side: Side::Source, plan: plan(&zeros), penalty: &self.balanced, active };
        kernel.c_transform(backend, request, &mut f, None)?;
        let request = CTransform { side: Side::Target, plan: plan(&f), ..request };
        kernel.c_transform(backend, request, &mut s, None)?;
        Ok([f, s])
    }

    fn hard(&self, kernel: &mut dyn KernelOp<D>, g: &D::Vector, weights: &[f64]) -> Result<Block, Error> {
        let missing = Error::MissingCapability("hard c-transform");
        let mut arguments = Vec::new();
        let mut f = self.backend.alloc(weights.len(), 1)?;
        let transform = kernel.hard_transform().ok_or(missing)?;
        transform.hard_c_transform(Side::Source, g, self.marginal.log_weights(), &mut f, Some(&mut arguments))?;
        let transforms = self.backend.download(&[&f])?.swap_remove(0).into_iter().map(Scalar::to_f64).collect();
        let mut densities = vec![0.0; self.weights.len()];
        for (&argument, weight) in arguments.iter().zip(weights) {
            let atom = argument as usize;
            if let Some(density) = densities.get_mut(atom) {
                *density += weight / self.weights[atom];
            }
        }
        Ok(Block { transforms, densities })
    }
}

/// The weights of a measure of one histogram.
///
/// # Errors
/// [`Error::UnsupportedSupport`], [`Error::BatchMismatch`].
pub(super) fn histogram<T: Scalar>(measure: &dyn Measure<T>) -> Result<Vec<f64>, Error> {
    let unsupported = Error::UnsupportedSupport { what: "a discrete measure", found: measure.support().kind() };
    let weights: WeightsView<'_, T> = measure.weights().ok_or(unsupported)?;
    weights.validate()?;
    match weights.columns() {
        1 => Ok(weights.values().iter().map(|weight| weight.to_f64()).collect()),
        columns => Err(Error::BatchMismatch { source_columns: 1, target_columns: columns }),
    }
}
