//! The smallest backend there is: one thread, host vectors, the reference geometry.

use std::{marker::PhantomData, sync::Arc};

use crate::{
    backend::{Backend, Fold, HostBackend, Operand},
    cost::GroundCost,
    error::Error,
    geometry::Geometry,
    host::{self, HostReduced, HostVector},
    measure::Support,
    program::{LibraryMath, Program},
    reference::ReferenceGeometry,
    scalar::Scalar,
};

/// A serial backend made of the parts that `ot-core` gives to every host backend: what an author
/// starts from, and what the kit tests itself with.
///
/// ```
/// use ot_core::{Backend, Program, Operand, conformance::ReferenceBackend};
///
/// let backend = ReferenceBackend::<f64>::default();
/// let double = Program::record(|[x]| [x + x])?;
/// let mut vector = backend.upload(&[1.0, 2.0], 1)?;
/// backend.map(&double, &[Operand::Output(0)], &mut [&mut vector])?;
/// assert_eq!(backend.download(&[&vector])?, [[2.0, 4.0]]);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReferenceBackend<T>(PhantomData<T>);

impl<T: Scalar> Backend for ReferenceBackend<T> {
    type Elem = T;
    type Vector = HostVector<T>;
    type Reduced = HostReduced;

    fn alloc(&self, rows: usize, columns: usize) -> Result<HostVector<T>, Error> {
        HostVector::alloc(rows, columns)
    }

    fn alloc_reduced(&self, columns: usize) -> Result<HostReduced, Error> {
        Ok(HostReduced::alloc(columns))
    }

    fn write(&self, values: &[T], vector: &mut HostVector<T>) -> Result<(), Error> {
        vector.write(values)
    }

    fn write_reduced(&self, values: &[f64], reduced: &mut HostReduced) -> Result<(), Error> {
        reduced.write(values)
    }

    fn shape(&self, vector: &HostVector<T>) -> (usize, usize) {
        vector.shape()
    }

    fn reduced_len(&self, reduced: &HostReduced) -> usize {
        reduced.values().len()
    }

    fn map(
        &self,
        program: &Program,
        operands: &[Operand<'_, Self>],
        outputs: &mut [&mut HostVector<T>],
    ) -> Result<(), Error> {
        host::map::<Self, LibraryMath>(|tasks, job| self.parallel(tasks, job), program, operands, outputs)
    }

    fn reduce(
        &self,
        program: &Program,
        fold: Fold,
        rows: usize,
        operands: &[Operand<'_, Self>],
        outputs: &mut [&mut HostReduced],
    ) -> Result<(), Error> {
        let parallel = |tasks: usize, job: &(dyn Fn(usize) + Sync)| self.parallel(tasks, job);
        host::reduce::<Self, LibraryMath>(parallel, program, fold, rows, operands, outputs)
    }

    fn map_reduced(
        &self,
        program: &Program,
        operands: &[Operand<'_, Self>],
        outputs: &mut [&mut HostReduced],
    ) -> Result<(), Error> {
        host::map_reduced(program, operands, outputs)
    }

    fn mix(&self, vector: &HostVector<T>, matrix: &[f64], out: &mut HostVector<T>) -> Result<(), Error> {
        host::mix(vector, matrix, out);
        Ok(())
    }

    fn copy(&self, vector: &HostVector<T>, out: &mut HostVector<T>) -> Result<(), Error> {
        out.write(vector.values())
    }

    fn read(&self, reduced: &[&HostReduced]) -> Result<Vec<Vec<f64>>, Error> {
        Ok(reduced.iter().map(|reduced| reduced.values().to_vec()).collect())
    }

    fn download(&self, vectors: &[&HostVector<T>]) -> Result<Vec<Vec<T>>, Error> {
        Ok(vectors.iter().map(|vector| vector.values().to_vec()).collect())
    }

    fn geometry(
        &self,
        source: Support<'_, T>,
        target: Support<'_, T>,
        cost: &dyn GroundCost,
    ) -> Result<Arc<dyn Geometry<Self>>, Error> {
        Ok(Arc::new(ReferenceGeometry::new(self, source, target, cost)?))
    }
}

impl<T: Scalar> HostBackend for ReferenceBackend<T> {
    fn slice<'a>(&self, vector: &'a HostVector<T>) -> &'a [T] {
        vector.values()
    }

    fn slice_mut<'a>(&self, vector: &'a mut HostVector<T>) -> &'a mut [T] {
        vector.values_mut()
    }

    fn reduced<'a>(&self, reduced: &'a HostReduced) -> &'a [f64] {
        reduced.values()
    }

    fn reduced_mut<'a>(&self, reduced: &'a mut HostReduced) -> &'a mut [f64] {
        reduced.values_mut()
    }

    fn parallel(&self, tasks: usize, job: &(dyn Fn(usize) + Sync)) {
        (0..tasks).for_each(job);
    }
}
