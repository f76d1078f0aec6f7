//! A backend with one answer wrong.

use std::sync::Arc;

use ot_core::{
    Backend, CostForm, Error, Fold, Geometry, GroundCost, HostBackend, Operand, Program, ReferenceGeometry, Support,
    conformance::{ReferenceBackend, Verdict, laws},
    host::{HostReduced, HostVector},
};

use super::breaks;

/// What is wrong with a backend.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    ShortWritesAreTaken,
    FirstColumnForAll,
    OutputsOneByOne,
    SumsAreNarrow,
    MaximumIsMinimum,
    ReducedNumbersAreNarrow,
    MixtureTransposed,
    SquaresExpanded,
    BadGeometriesAreBuilt,
    ThreadsChangeTheOrder,
}

/// The reference backend in f32 with a fault.
#[derive(Clone, Debug)]
struct Faulty {
    inner: ReferenceBackend<f32>,
    fault: Option<Fault>,
    threads: usize,
}

impl Faulty {
    fn new(fault: Option<Fault>, threads: usize) -> Self {
        Self { inner: ReferenceBackend::default(), fault, threads }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn narrow(&self, numbers: &mut [&mut HostReduced], fault: Fault) {
        if self.has(fault) {
            for number in numbers.iter_mut().flat_map(|reduced| reduced.values_mut()) {
                *number = f64::from(*number as f32);
            }
        }
    }
}

/// The operands as the reference backend sees them.
fn inner_operands<'a>(operands: &[Operand<'a, Faulty>]) -> Vec<Operand<'a, ReferenceBackend<f32>>> {
    let operand = |operand: &Operand<'a, Faulty>| match *operand {
        Operand::Vector(vector) => Operand::Vector(vector),
        Operand::Reduced(reduced) => Operand::Reduced(reduced),
        Operand::Constant(value) => Operand::Constant(value),
        Operand::Output(index) => Operand::Output(index),
    };
    operands.iter().map(operand).collect()
}

impl Backend for Faulty {
    type Elem = f32;
    type Vector = HostVector<f32>;
    type Reduced = HostReduced;

    fn alloc(&self, rows: usize, columns: usize) -> Result<HostVector<f32>, Error> {
        self.inner.alloc(rows, columns)
    }

    fn alloc_reduced(&self, columns: usize) -> Result<HostReduced, Error> {
        self.inner.alloc_reduced(columns)
    }

    fn write(&self, values: &[f32], vector: &mut HostVector<f32>) -> Result<(), Error> {
        let written = self.inner.write(values, vector);
        if self.has(Fault::ShortWritesAreTaken) { Ok(()) } else { written }
    }

    fn write_reduced(&self, values: &[f64], reduced: &mut HostReduced) -> Result<(), Error> {
        self.inner.write_reduced(values, reduced)
    }

    fn shape(&self, vector: &HostVector<f32>) -> (usize, usize) {
        vector.shape()
    }

    fn reduced_len(&self, reduced: &HostReduced) -> usize {
        self.inner.reduced_len(reduced)
    }

    fn map(
        &self,
        program: &Program,
        operands: &[Operand<'_, Self>],
        outputs: &mut [&mut HostVector<f32>],
    ) -> Result<(), Error> {
        if self.has(Fault::OutputsOneByOne) && outputs.len() == 2 {
            // The second output is computed again, from what the first has become.
            let mut spare = outputs[1].clone();
            self.inner.map(program, &inner_operands(operands), &mut [outputs[0], &mut spare])?;
            let mut first = outputs[0].clone();
            return self.inner.map(program, &inner_operands(operands), &mut [&mut first, outputs[1]]);
        }
        self.inner.map(program, &inner_operands(operands), outputs)?;
        for output in outputs.iter_mut().filter(|_| self.has(Fault::FirstColumnForAll)) {
            let (rows, columns) = output.shape();
            (1..columns).for_each(|column| output.values_mut().copy_within(..rows, column * rows));
        }
        Ok(())
    }

    fn reduce(
        &self,
        program: &Program,
        fold: Fold,
        rows: usize,
        operands: &[Operand<'_, Self>],
        outputs: &mut [&mut HostReduced],
    ) -> Result<(), Error> {
        let fold = match fold {
            Fold::Max if self.has(Fault::MaximumIsMinimum) => Fold::Min,
            fold => fold,
        };
        self.inner.reduce(program, fold, rows, &inner_operands(operands), outputs)?;
        self.narrow(outputs, Fault::SumsAreNarrow);
        if self.has(Fault::ThreadsChangeTheOrder) && self.threads > 1 {
            outputs[0].values_mut()[0] *= 1.0 + f64::EPSILON;
        }
        Ok(())
    }

    fn map_reduced(
        &self,
        program: &Program,
        operands: &[Operand<'_, Self>],
        outputs: &mut [&mut HostReduced],
    ) -> Result<(), Error> {
        self.inner.map_reduced(program, &inner_operands(operands), outputs)?;
        self.narrow(outputs, Fault::ReducedNumbersAreNarrow);
        Ok(())
    }

    fn mix(&self, vector: &HostVector<f32>, matrix: &[f64], out: &mut HostVector<f32>) -> Result<(), Error> {
        let (inner, columns) = (vector.shape().1, out.shape().1);
        let transposed: Vec<f64> =
            (0..matrix.len()).map(|entry| matrix[(entry % inner) * columns + entry / inner]).collect();
        self.inner.mix(vector, if self.has(Fault::MixtureTransposed) { &transposed } else { matrix }, out)
    }

    fn copy(&self, vector: &HostVector<f32>, out: &mut HostVector<f32>) -> Result<(), Error> {
        self.inner.copy(vector, out)
    }

    fn read(&self, reduced: &[&HostReduced]) -> Result<Vec<Vec<f64>>, Error> {
        self.inner.read(reduced)
    }

    fn download(&self, vectors: &[&HostVector<f32>]) -> Result<Vec<Vec<f32>>, Error> {
        self.inner.download(vectors)
    }

    fn geometry(
        &self,
        source: Support<'_, f32>,
        target: Support<'_, f32>,
        cost: &dyn GroundCost,
    ) -> Result<Arc<dyn Geometry<Self>>, Error> {
        if self.has(Fault::SquaresExpanded) {
            return Ok(Arc::new(ReferenceGeometry::new(self, source, target, &Expanded)?));
        }
        match ReferenceGeometry::new(self, source, target, cost) {
            Err(_) if self.has(Fault::BadGeometriesAreBuilt) => {
                Ok(Arc::new(ReferenceGeometry::new(self, source, source, cost)?))
            }
            geometry => Ok(Arc::new(geometry?)),
        }
    }
}

impl HostBackend for Faulty {
    fn slice<'a>(&self, vector: &'a HostVector<f32>) -> &'a [f32] {
        vector.values()
    }

    fn slice_mut<'a>(&self, vector: &'a mut HostVector<f32>) -> &'a mut [f32] {
        vector.values_mut()
    }

    fn reduced<'a>(&self, reduced: &'a HostReduced) -> &'a [f64] {
        reduced.values()
    }

    fn reduced_mut<'a>(&self, reduced: &'a mut HostReduced) -> &'a mut [f64] {
        reduced.values_mut()
    }

    fn parallel(&self, tasks: usize, job: &(dyn Fn(usize) + Sync)) {
        self.inner.parallel(tasks, job);
    }
}

/// |x|^2 - 2 <x, y> + |y|^2, which loses in f32 what far points have in common.
#[derive(Debug)]
struct Expanded;

impl GroundCost for Expanded {
    fn form(&self) -> CostForm<'_> {
        CostForm::Generic
    }

    fn costs_f64(&self, x: &[f64], points: &[f64], out: &mut [f64]) {
        for (y, out) in points.chunks_exact(x.len()).zip(out) {
            *out = x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum();
        }
    }

    fn costs_f32(&self, x: &[f32], points: &[f32], out: &mut [f32]) {
        let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f32>();
        for (y, out) in points.chunks_exact(x.len()).zip(out) {
            *out = dot(x, x) - 2.0 * dot(x, y) + dot(y, y);
        }
    }
}

#[test]
fn laws_of_backends_can_fail() {
    use laws::backend::*;
    type Law = fn(&Faulty) -> Verdict;
    let table: [(Fault, Law); 9] = [
        (Fault::ShortWritesAreTaken, what_is_written_is_read),
        (Fault::FirstColumnForAll, maps_are_the_formula),
        (Fault::OutputsOneByOne, outputs_enter_as_they_were),
        (Fault::SumsAreNarrow, reductions_fold_columns),
        (Fault::MaximumIsMinimum, reductions_fold_columns),
        (Fault::ReducedNumbersAreNarrow, maps_of_reduced_vectors_are_the_formula),
        (Fault::MixtureTransposed, mixtures_are_products),
        (Fault::SquaresExpanded, moving_both_clouds_changes_nothing),
        (Fault::BadGeometriesAreBuilt, bad_geometries_are_refused),
    ];
    for (fault, law) in table {
        assert_eq!(law(&Faulty::new(None, 1)), Ok(()), "{fault:?}");
        breaks(&fault, law(&Faulty::new(Some(fault), 1)));
    }
}

#[test]
fn threads_that_change_bits_are_found() {
    let fault = Some(Fault::ThreadsChangeTheOrder);
    let verdict = |fault| laws::threads::threads_change_no_bits(|threads| Faulty::new(fault, threads), &[1, 2]);
    assert_eq!(verdict(None), Ok(()));
    breaks(&fault, verdict(fault));
}
