//! A host backend from what sets it apart: its workers.

use std::{fmt::Debug, sync::Arc};

use super::{HostReduced, HostVector, map, map_reduced, mix, reduce};
use crate::{
    backend::{Backend, Fold, HostBackend, Operand},
    cost::GroundCost,
    error::Error,
    geometry::Geometry,
    measure::Support,
    program::{BlockMath, Program},
    scalar::Scalar,
};

/// All that one backend in host memory has different from another. Whoever has workers is a
/// [`Backend`] and a [`HostBackend`] whose vectors are [`HostVector`]s: nothing else is to be written.
///
/// ```
/// use std::sync::Arc;
///
/// use ot_core::{
///     Backend, Error, Geometry, GroundCost, Operand, Program, ReferenceGeometry, Support, host::HostWorkers,
///     program::LibraryMath,
/// };
///
/// #[derive(Clone, Debug)]
/// struct Serial;
///
/// impl HostWorkers for Serial {
///     type Element = f64;
///     type Math = LibraryMath;
///
///     fn run_tasks(&self, tasks: usize, job: &(dyn Fn(usize) + Sync)) {
///         (0..tasks).for_each(job);
///     }
///
///     fn build_geometry(
///         &self,
///         source: Support<'_, f64>,
///         target: Support<'_, f64>,
///         cost: &dyn GroundCost,
///     ) -> Result<Arc<dyn Geometry<Self>>, Error> {
///         Ok(Arc::new(ReferenceGeometry::new(self, source, target, cost)?))
///     }
/// }
///
/// let mut vector = Serial.upload(&[1.0, 2.0], 1)?;
/// let double = Program::record(|[x]| [x + x])?;
/// Serial.map(&double, &[Operand::Output(0)], &mut [&mut vector])?;
/// assert_eq!(Serial.download(&[&vector])?, [[2.0, 4.0]]);
/// # Ok::<(), Error>(())
/// ```
pub trait HostWorkers: Clone + Debug + Send + Sync + 'static {
    /// The element type of vectors.
    type Element: Scalar;
    /// The exponentials and logarithms of pointwise programs.
    type Math: BlockMath<Self::Element>;

    /// See [`HostBackend::parallel`].
    fn run_tasks(&self, tasks: usize, job: &(dyn Fn(usize) + Sync));

    /// See [`Backend::geometry`].
    ///
    /// # Errors
    /// Those of [`Backend::geometry`].
    fn build_geometry(
        &self,
        source: Support<'_, Self::Element>,
        target: Support<'_, Self::Element>,
        cost: &dyn GroundCost,
    ) -> Result<Arc<dyn Geometry<Self>>, Error>;

    /// See [`Backend::scope`].
    fn enter<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        work()
    }
}

impl<W: HostWorkers> Backend for W {
    type Elem = W::Element;
    type Vector = HostVector<W::Element>;
    type Reduced = HostReduced;

    fn alloc(&self, rows: usize, columns: usize) -> Result<Self::Vector, Error> {
        HostVector::alloc(rows, columns)
    }

    fn alloc_reduced(&self, columns: usize) -> Result<HostReduced, Error> {
        Ok(HostReduced::alloc(columns))
    }

    fn write(&self, values: &[W::Element], vector: &mut Self::Vector) -> Result<(), Error> {
        vector.write(values)
    }

    fn write_reduced(&self, values: &[f64], reduced: &mut HostReduced) -> Result<(), Error> {
        reduced.write(values)
    }

    fn shape(&self, vector: &Self::Vector) -> (usize, usize) {
        vector.shape()
    }

    fn reduced_len(&self, reduced: &HostReduced) -> usize {
        reduced.values().len()
    }

    fn map(
        &self,
        program: &Program,
        operands: &[Operand<'_, Self>],
        outputs: &mut [&mut Self::Vector],
    ) -> Result<(), Error> {
        map::<Self, W::Math>(|tasks, job| self.run_tasks(tasks, job), program, operands, outputs)
    }

    fn reduce(
        &self,
        program: &Program,
        fold: Fold,
        rows: usize,
        operands: &[Operand<'_, Self>],
        outputs: &mut [&mut HostReduced],
    ) -> Result<(), Error> {
        let parallel = |tasks: usize, job: &(dyn Fn(usize) + Sync)| self.run_tasks(tasks, job);
        reduce::<Self, W::Math>(parallel, program, fold, rows, operands, outputs)
    }

    fn map_reduced(
        &self,
        program: &Program,
        operands: &[Operand<'_, Self>],
        outputs: &mut [&mut HostReduced],
    ) -> Result<(), Error> {
        map_reduced(program, operands, outputs)
    }

    fn mix(&self, vector: &Self::Vector, matrix: &[f64], out: &mut Self::Vector) -> Result<(), Error> {
        mix(vector, matrix, out);
        Ok(())
    }

    fn copy(&self, vector: &Self::Vector, out: &mut Self::Vector) -> Result<(), Error> {
        out.write(vector.values())
    }

    fn read(&self, reduced: &[&HostReduced]) -> Result<Vec<Vec<f64>>, Error> {
        Ok(reduced.iter().map(|reduced| reduced.values().to_vec()).collect())
    }

    fn download(&self, vectors: &[&Self::Vector]) -> Result<Vec<Vec<W::Element>>, Error> {
        Ok(vectors.iter().map(|vector| vector.values().to_vec()).collect())
    }

    fn geometry(
        &self,
        source: Support<'_, W::Element>,
        target: Support<'_, W::Element>,
        cost: &dyn GroundCost,
    ) -> Result<Arc<dyn Geometry<Self>>, Error> {
        self.build_geometry(source, target, cost)
    }

    fn scope<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.enter(work)
    }
}

impl<W: HostWorkers> HostBackend for W {
    fn slice<'a>(&self, vector: &'a Self::Vector) -> &'a [W::Element] {
        vector.values()
    }

    fn slice_mut<'a>(&self, vector: &'a mut Self::Vector) -> &'a mut [W::Element] {
        vector.values_mut()
    }

    fn reduced<'a>(&self, reduced: &'a HostReduced) -> &'a [f64] {
        reduced.values()
    }

    fn reduced_mut<'a>(&self, reduced: &'a mut HostReduced) -> &'a mut [f64] {
        reduced.values_mut()
    }

    fn parallel(&self, tasks: usize, job: &(dyn Fn(usize) + Sync)) {
        self.run_tasks(tasks, job);
    }
}
