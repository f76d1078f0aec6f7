//! A host backend from what sets it apart: its workers.

use std::fmt::Debug;

use super::{Host, HostReduced, HostVector, map, map_reduced, mix, reduce};
use crate::{
    backend::{Backend, Fold, Operand},
    error::Error,
    program::{BlockMath, Program},
    scalar::Scalar,
};

/// A backend in host memory: its vectors are slices of this process.
pub trait HostBackend<T: Scalar>: Backend<Host<T>> {
    /// Runs `job(0), ..., job(tasks - 1)`, in any order and on any thread, and waits.
    ///
    /// How the work is cut into tasks must not depend on the number of threads.
    fn parallel(&self, tasks: usize, job: &(dyn Fn(usize) + Sync));
}

/// All that one backend in host memory has different from another. Whoever has workers is a [`Backend`] and a
/// [`HostBackend`]: nothing else is to be written.
///
/// ```
/// use ot_core::{Backend, Error, Operand, Program, host::HostWorkers, program::LibraryMath};
///
/// #[derive(Debug)]
/// struct Serial;
///
/// impl HostWorkers for Serial {
///     type Element = f64;
///     type Math = LibraryMath;
///
///     fn run_tasks(&self, tasks: usize, job: &(dyn Fn(usize) + Sync)) {
///         (0..tasks).for_each(job);
///     }
/// }
///
/// let mut vector = Serial.upload(&[1.0, 2.0], 1)?;
/// let double = Program::record(|[x]| [x + x])?;
/// Serial.map(&double, &[Operand::Output(0)], &mut [&mut vector])?;
/// assert_eq!(Serial.download(&[&vector])?, [[2.0, 4.0]]);
/// # Ok::<(), Error>(())
/// ```
pub trait HostWorkers: Debug + Send + Sync {
    /// The element type of vectors.
    type Element: Scalar;
    /// The exponentials and logarithms of pointwise programs.
    type Math: BlockMath<Self::Element>;

    /// See [`HostBackend::parallel`].
    fn run_tasks(&self, tasks: usize, job: &(dyn Fn(usize) + Sync));

    /// See [`Backend::enter`]. The default runs the work where it is.
    fn enter_workers(&self, work: &mut (dyn FnMut() + Send)) {
        work();
    }
}

impl<W: HostWorkers> Backend<Host<W::Element>> for W {
    fn alloc(&self, rows: usize, columns: usize) -> Result<HostVector<W::Element>, Error> {
        HostVector::alloc(rows, columns)
    }

    fn alloc_reduced(&self, columns: usize) -> Result<HostReduced, Error> {
        HostReduced::try_alloc(columns)
    }

    fn write(&self, values: &[W::Element], vector: &mut HostVector<W::Element>) -> Result<(), Error> {
        vector.write(values)
    }

    fn write_reduced(&self, values: &[f64], reduced: &mut HostReduced) -> Result<(), Error> {
        reduced.write(values)
    }

    fn fill(&self, value: f64, vector: &mut HostVector<W::Element>) -> Result<(), Error> {
        vector.values_mut().fill(W::Element::from_f64(value));
        Ok(())
    }

    fn shape(&self, vector: &HostVector<W::Element>) -> (usize, usize) {
        vector.shape()
    }

    fn reduced_len(&self, reduced: &HostReduced) -> usize {
        reduced.values().len()
    }

    fn map(
        &self,
        program: &Program,
        operands: &[Operand<'_, Host<W::Element>>],
        outputs: &mut [&mut HostVector<W::Element>],
    ) -> Result<(), Error> {
        map::<W::Element, W::Math>(|tasks, job| self.run_tasks(tasks, job), program, operands, outputs)
    }

    fn reduce(
        &self,
        program: &Program,
        fold: Fold,
        rows: usize,
        operands: &[Operand<'_, Host<W::Element>>],
        outputs: &mut [&mut HostReduced],
    ) -> Result<(), Error> {
        let parallel = |tasks: usize, job: &(dyn Fn(usize) + Sync)| self.run_tasks(tasks, job);
        reduce::<W::Element, W::Math>(parallel, program, fold, rows, operands, outputs)
    }

    fn map_reduced(
        &self,
        program: &Program,
        operands: &[Operand<'_, Host<W::Element>>],
        outputs: &mut [&mut HostReduced],
    ) -> Result<(), Error> {
        map_reduced(program, operands, outputs)
    }

    fn mix(
        &self,
        vector: &HostVector<W::Element>,
        matrix: &[f64],
        out: &mut HostVector<W::Element>,
    ) -> Result<(), Error> {
        mix(|tasks, job| self.run_tasks(tasks, job), vector, matrix, out)
    }

    fn copy(&self, vector: &HostVector<W::Element>, out: &mut HostVector<W::Element>) -> Result<(), Error> {
        out.write(vector.values())
    }

    fn read(&self, reduced: &[&HostReduced]) -> Result<Vec<Vec<f64>>, Error> {
        Ok(reduced.iter().map(|reduced| reduced.values().to_vec()).collect())
    }

    fn download(&self, vectors: &[&HostVector<W::Element>]) -> Result<Vec<Vec<W::Element>>, Error> {
        Ok(vectors.iter().map(|vector| vector.values().to_vec()).collect())
    }

    fn take(&self, vector: HostVector<W::Element>) -> Result<Vec<W::Element>, Error> {
        Ok(vector.into_values())
    }

    fn enter(&self, work: &mut (dyn FnMut() + Send)) {
        self.enter_workers(work);
    }
}

impl<W: HostWorkers> HostBackend<W::Element> for W {
    fn parallel(&self, tasks: usize, job: &(dyn Fn(usize) + Sync)) {
        self.run_tasks(tasks, job);
    }
}
