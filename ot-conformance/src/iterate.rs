//! A kernel with weights, penalties and potentials, that answers in f64.

use std::sync::Arc;

use ot_core::{
    ActiveColumns, Backend, ByProducts, CTransform, CappedPlan, Device, Entering, Error, Geometry, KernelOp, Marginal,
    PlanSide, PlanView, Potentials, RecordedPenalty, RecordedRegularizer, Side, Sweep, WeightsView,
    kernel::simultaneous_sweep,
};

use crate::seeded::{elements, numbers};

/// Weights and potentials column after column, all of them numbers of the element type, and what makes a problem of
/// them.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) epsilon: f64,
    pub(crate) columns: usize,
    /// Weights of both sides; one histogram if all columns share it.
    pub(crate) weights: [Vec<f64>; 2],
    /// f and g.
    pub(crate) potentials: [Vec<f64>; 2],
    pub(crate) penalties: [RecordedPenalty; 2],
    pub(crate) regularizer: RecordedRegularizer,
}

impl Setting {
    /// The weights of a side in a column.
    pub(crate) fn weights(&self, side: Side, column: usize) -> &[f64] {
        let (weights, len) = (&self.weights[side.index()], self.len(side));
        &weights[column.min(weights.len() / len - 1) * len..][..len]
    }

    /// The potential of a side in a column.
    pub(crate) fn potential(&self, side: Side, column: usize) -> &[f64] {
        let len = self.len(side);
        &self.potentials[side.index()][column * len..][..len]
    }

    /// Number of atoms of a side.
    fn len(&self, side: Side) -> usize {
        self.potentials[side.index()].len() / self.columns
    }

    /// The same with all source potentials higher by a number.
    pub(crate) fn shifted(&self, by: f64) -> Self {
        let [source, target] = &self.potentials;
        Self { potentials: [source.iter().map(|f| f + by).collect(), target.clone()], ..self.clone() }
    }
}

/// A kernel at an iterate.
pub(crate) struct Iterate<D: Device> {
    pub(crate) backend: Arc<dyn Backend<D>>,
    pub(crate) kernel: Box<dyn KernelOp<D>>,
    pub(crate) marginals: [Marginal<D>; 2],
    pub(crate) potentials: [D::Vector; 2],
}

/// A c-transform, and what it told of the plan before.
pub(crate) struct Transformed {
    pub(crate) potential: Vec<f64>,
    /// Density and conjugate, if they were asked for.
    pub(crate) entering: Option<(Vec<f64>, Vec<f64>)>,
}

/// What a kernel told of a plan with capped rows.
pub(crate) struct CappedNumbers {
    /// Of the rows and the columns of the plan itself.
    pub(crate) densities: [Vec<f64>; 2],
    /// -log x.
    pub(crate) shrinkage: Vec<f64>,
    /// Of the columns, with rows capped.
    pub(crate) capped: Vec<f64>,
}

/// How an iteration is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Iteration {
    Sweep,
    HalfSteps,
    Simultaneous,
}

/// What an iteration made of the potentials, and its by-products: both residuals, the conjugate, both duals.
pub(crate) struct Swept {
    pub(crate) potentials: [Vec<f64>; 2],
    pub(crate) by_products: Option<[Vec<f64>; 5]>,
}

impl<D: Device> Iterate<D> {
    /// Binds a kernel and uploads a setting.
    pub(crate) fn new(geometry: &dyn Geometry<D>, setting: &Setting) -> Result<Self, Error> {
        let (backend, columns) = (geometry.backend(), setting.columns);
        let potential = |side: Side| backend.upload(&elements(&setting.potentials[side.index()]), columns);
        Ok(Self {
            kernel: geometry.bind(&setting.regularizer, setting.epsilon, columns)?,
            marginals: marginals(backend.as_ref(), setting)?,
            potentials: [potential(Side::Source)?, potential(Side::Target)?],
            backend,
        })
    }

    /// Asks something about the plan.
    pub(crate) fn ask<R>(
        &mut self,
        ask: impl FnOnce(&mut dyn KernelOp<D>, PlanView<'_, D>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        ask(self.kernel.as_mut(), view(&self.potentials, &self.marginals))
    }

    /// A vector of numbers.
    pub(crate) fn upload(&self, values: &[f64], columns: usize) -> Result<D::Vector, Error> {
        self.backend.upload(&elements(values), columns)
    }

    /// The numbers of a vector.
    pub(crate) fn download(&self, vector: &D::Vector) -> Result<Vec<f64>, Error> {
        Ok(numbers(&self.backend.download(&[vector])?[0]))
    }

    /// The numbers of a reduced vector.
    pub(crate) fn read(&self, reduced: &D::Reduced) -> Result<Vec<f64>, Error> {
        Ok(self.backend.read(&[reduced])?.swap_remove(0))
    }

    /// A vector over a side, with columns of its own for each column of the batch.
    pub(crate) fn alloc(&self, side: Side, channels: usize) -> Result<D::Vector, Error> {
        self.backend.alloc(self.kernel.len(side), channels * self.kernel.columns())
    }

    /// One number for each column.
    pub(crate) fn alloc_reduced(&self) -> Result<D::Reduced, Error> {
        self.backend.alloc_reduced(self.kernel.columns())
    }

    /// Puts another potential in the place of one.
    pub(crate) fn set_potential(&mut self, side: Side, values: &[f64]) -> Result<(), Error> {
        self.potentials[side.index()] = self.upload(values, self.kernel.columns())?;
        Ok(())
    }

    /// Puts the weights and penalties of a setting in the place of those that the kernel has met.
    pub(crate) fn set_weights(&mut self, setting: &Setting) -> Result<(), Error> {
        self.marginals = marginals(self.backend.as_ref(), setting)?;
        Ok(())
    }

    /// The c-transform of one side, and what it enters with, if wanted.
    pub(crate) fn c_transform(
        &mut self,
        side: Side,
        active: &ActiveColumns,
        wants_entering: bool,
    ) -> Result<Transformed, Error> {
        let (mut out, mut density, mut conjugate) = (self.alloc(side, 1)?, self.alloc(side, 1)?, self.alloc_reduced()?);
        let Self { backend, kernel, marginals, potentials } = self;
        let penalty = marginals[side.index()].penalty();
        let request = CTransform { side, plan: view(potentials, marginals), penalty, active };
        let entering = wants_entering.then_some(Entering { density: &mut density, conjugate: Some(&mut conjugate) });
        kernel.c_transform(backend.as_ref(), request, &mut out, entering)?;
        self.transformed(&out, wants_entering.then_some((&density, &conjugate)))
    }

    /// The c-transforms of both sides at once.
    pub(crate) fn c_transforms(
        &mut self,
        active: &ActiveColumns,
        wants_entering: bool,
    ) -> Result<[Transformed; 2], Error> {
        let [mut out_source, mut out_target] = [self.alloc(Side::Source, 1)?, self.alloc(Side::Target, 1)?];
        let [mut source, mut target] = [self.alloc(Side::Source, 1)?, self.alloc(Side::Target, 1)?];
        let [mut of_source, mut of_target] = [self.alloc_reduced()?, self.alloc_reduced()?];
        let Self { backend, kernel, marginals, potentials } = self;
        let penalties = marginals.each_ref().map(Marginal::penalty);
        let entering = wants_entering.then_some([
            Entering { density: &mut source, conjugate: Some(&mut of_source) },
            Entering { density: &mut target, conjugate: Some(&mut of_target) },
        ]);
        let (plan, out) = (view(potentials, marginals), [&mut out_source, &mut out_target]);
        kernel.c_transforms(backend.as_ref(), penalties, plan, active, out, entering)?;
        Ok([
            self.transformed(&out_source, wants_entering.then_some((&source, &of_source)))?,
            self.transformed(&out_target, wants_entering.then_some((&target, &of_target)))?,
        ])
    }

    fn transformed(&self, out: &D::Vector, entering: Option<(&D::Vector, &D::Reduced)>) -> Result<Transformed, Error> {
        let read = |(density, conjugate): (&D::Vector, &D::Reduced)| -> Result<_, Error> {
            Ok((self.download(density)?, self.read(conjugate)?))
        };
        Ok(Transformed { potential: self.download(out)?, entering: entering.map(read).transpose()? })
    }

    /// The densities of one marginal, and the conjugate.
    pub(crate) fn density(&mut self, side: Side, active: &ActiveColumns) -> Result<(Vec<f64>, Vec<f64>), Error> {
        let (mut out, mut conjugate) = (self.alloc(side, 1)?, self.alloc_reduced()?);
        let Self { backend, kernel, marginals, potentials } = self;
        let plan = view(potentials, marginals);
        kernel.density(backend.as_ref(), side, plan, active, &mut out, Some(&mut conjugate))?;
        Ok((self.download(&out)?, self.read(&conjugate)?))
    }

    /// The densities of both marginals at once, and the conjugate.
    pub(crate) fn densities(&mut self, active: &ActiveColumns) -> Result<([Vec<f64>; 2], Vec<f64>), Error> {
        let [mut source, mut target] = [self.alloc(Side::Source, 1)?, self.alloc(Side::Target, 1)?];
        let mut conjugate = self.alloc_reduced()?;
        let Self { backend, kernel, marginals, potentials } = self;
        let plan = view(potentials, marginals);
        kernel.densities(backend.as_ref(), plan, active, [&mut source, &mut target], &mut conjugate)?;
        Ok(([self.download(&source)?, self.download(&target)?], self.read(&conjugate)?))
    }

    /// The densities of both marginals, -log x, and the densities of the columns with rows capped at a density.
    pub(crate) fn capped_densities(
        &mut self,
        highest: f64,
        active: &ActiveColumns,
    ) -> Result<(CappedNumbers, Vec<f64>), Error> {
        let [mut source, mut log_scaling] = [self.alloc(Side::Source, 1)?, self.alloc(Side::Source, 1)?];
        let [mut target, mut capped] = [self.alloc(Side::Target, 1)?, self.alloc(Side::Target, 1)?];
        let mut conjugate = self.alloc_reduced()?;
        let Self { backend, kernel, marginals, potentials } = self;
        let out =
            CappedPlan { source: &mut source, target: &mut target, log_scaling: &mut log_scaling, capped: &mut capped };
        kernel.capped_densities(backend.as_ref(), view(potentials, marginals), highest, active, out, &mut conjugate)?;
        let numbers = CappedNumbers {
            densities: [self.download(&source)?, self.download(&target)?],
            shrinkage: self.download(&log_scaling)?.into_iter().map(|log| -log).collect(),
            capped: self.download(&capped)?,
        };
        Ok((numbers, self.read(&conjugate)?))
    }

    /// The plan applied to values, as many columns of them for each column of the batch as there are.
    pub(crate) fn apply(&mut self, side: Side, values: &[f64]) -> Result<Vec<f64>, Error> {
        let columns = values.len() / self.kernel.len(side.opposite());
        let (values, mut out) = (self.upload(values, columns)?, self.alloc(side, columns / self.kernel.columns())?);
        self.ask(|kernel, plan| kernel.apply(side, plan, &values, &mut out))?;
        self.download(&out)
    }

    /// The masses of the atoms of one side: the plan applied to ones.
    pub(crate) fn masses(&mut self, side: Side) -> Result<Vec<f64>, Error> {
        self.apply(side, &vec![1.0; self.kernel.len(side.opposite()) * self.kernel.columns()])
    }

    /// The mass of each column.
    pub(crate) fn mass(&mut self) -> Result<Vec<f64>, Error> {
        let rows = self.kernel.len(Side::Source);
        Ok(self.masses(Side::Source)?.chunks_exact(rows).map(|column| column.iter().sum()).collect())
    }

    /// One iteration, which leaves the potentials held here as they are.
    pub(crate) fn iterate(
        &mut self,
        iteration: Iteration,
        relaxations: &[f64],
        active: &ActiveColumns,
        wants_by_products: bool,
    ) -> Result<Swept, Error> {
        let (columns, epsilon) = (self.kernel.columns(), self.kernel.epsilon());
        let copy = |side: Side| self.backend.copied(&self.potentials[side.index()]);
        let mut potentials = Potentials { source: copy(Side::Source)?, target: copy(Side::Target)?, epsilon };
        let mut scratch =
            Potentials { source: self.alloc(Side::Source, 1)?, target: self.alloc(Side::Target, 1)?, epsilon };
        let shape = Side::BOTH.map(|side| self.kernel.len(side));
        let mut hints = ByProducts::alloc(self.backend.as_ref(), shape, columns)?;
        let relaxation = self.backend.upload_reduced(relaxations)?;
        let Self { backend, kernel, marginals: [source, target], .. } = self;
        let mut sweep = Sweep {
            source,
            target,
            potentials: &mut potentials,
            relaxation: &relaxation,
            active,
            scratch: &mut scratch,
            by_products: wants_by_products.then_some(&mut hints),
        };
        let backend = backend.as_ref();
        match iteration {
            Iteration::Sweep => kernel.sweep(backend, sweep)?,
            Iteration::HalfSteps => {
                Side::BOTH.into_iter().try_for_each(|side| kernel.half_step(backend, side, &mut sweep))?;
            }
            Iteration::Simultaneous => simultaneous_sweep(kernel.as_mut(), backend, sweep)?,
        }
        let by_products = match wants_by_products {
            false => None,
            true => Some([
                self.read(&hints.source_residual)?,
                self.read(&hints.target_residual)?,
                self.read(&hints.conjugate)?,
                self.read(&hints.source_dual)?,
                self.read(&hints.target_dual)?,
            ]),
        };
        Ok(Swept { potentials: [self.download(&potentials.source)?, self.download(&potentials.target)?], by_products })
    }
}

/// The marginals of a setting, uploaded.
fn marginals<D: Device>(backend: &dyn Backend<D>, setting: &Setting) -> Result<[Marginal<D>; 2], Error> {
    let marginal = |side: Side| {
        let weights = elements::<D::Elem>(&setting.weights[side.index()]);
        let histograms = weights.len() / setting.len(side);
        Marginal::new(backend, WeightsView::new(&weights, histograms)?, setting.penalties[side.index()].clone())
    };
    Ok([marginal(Side::Source)?, marginal(Side::Target)?])
}

/// The plan of potentials.
fn view<'a, D: Device>(potentials: &'a [D::Vector; 2], marginals: &'a [Marginal<D>; 2]) -> PlanView<'a, D> {
    let side = |side: Side| PlanSide::new(&potentials[side.index()], marginals[side.index()].device_weights());
    PlanView { source: side(Side::Source), target: side(Side::Target) }
}
