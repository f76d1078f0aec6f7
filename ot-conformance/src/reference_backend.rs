//! The smallest backend there is: one thread, host vectors, the reference geometry.

use std::{marker::PhantomData, sync::Arc};

use ot_core::{
    Error, Geometry, GeometryBuilder, GroundCost, Host, ReferenceGeometry, Scalar, Support, host::HostWorkers,
    program::LibraryMath,
};

/// A serial backend made of the parts that `ot-core` gives to every host backend: what an author
/// starts from, and what the kit tests itself with.
///
/// ```
/// use ot_conformance::ReferenceBackend;
/// use ot_core::{Backend, Operand, Program};
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

impl<T: Scalar> HostWorkers for ReferenceBackend<T> {
    type Element = T;
    type Math = LibraryMath;

    fn run_tasks(&self, tasks: usize, job: &(dyn Fn(usize) + Sync)) {
        (0..tasks).for_each(job);
    }
}

impl<T: Scalar> GeometryBuilder for ReferenceBackend<T> {
    type Device = Host<T>;

    fn geometry(
        &self,
        source: Support<'_, T>,
        target: Support<'_, T>,
        cost: &dyn GroundCost,
    ) -> Result<Arc<dyn Geometry<Host<T>>>, Error> {
        Ok(Arc::new(ReferenceGeometry::new(Arc::new(*self), source, target, cost)?))
    }
}
