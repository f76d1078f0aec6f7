//! A backend with one answer wrong.

use std::sync::Arc;

use ot_conformance::{ReferenceBackend, SupportKind, Verdict, properties};
use ot_core::{
    Backend, CostForm, Error, Fold, Geometry, GeometryBuilder, GroundCost, Host, Operand, Program, ReferenceGeometry,
    Support,
    host::{HostReduced, HostVector},
};

use super::breaks;

/// What is wrong with a backend.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    ShortWritesAreTaken,
    FillsWithZero,
    FirstColumnForAll,
    NanIsPositive,
    OutputsOneByOne,
    SumsAreNarrow,
    MaximumIsMinimum,
    MaximumOfZeroToo,
    MinimumOfOneToo,
    ReducedOperandsForgotten,
    ReducedOperandsOfTheFirstColumn,
    ReducedOperandsOfTheNextColumn,
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

    /// What is read of a reduced operand; nothing of another.
    fn misread(&self, operand: &Operand<'_, Host<f32>>) -> HostReduced {
        let Operand::Reduced(reduced) = operand else { return HostReduced::alloc(0) };
        let (values, mut misread) = (reduced.values(), HostReduced::alloc(reduced.values().len()));
        for (column, read) in misread.values_mut().iter_mut().enumerate() {
            *read = match self.fault {
                Some(Fault::ReducedOperandsForgotten) => 0.0,
                Some(Fault::ReducedOperandsOfTheFirstColumn) => values[0],
                Some(Fault::ReducedOperandsOfTheNextColumn) => values[(column + 1) % values.len()],
                _ => values[column],
            };
        }
        misread
    }

    fn narrow(&self, numbers: &mut [&mut HostReduced], fault: Fault) {
        if self.has(fault) {
            for number in numbers.iter_mut().flat_map(|reduced| reduced.values_mut()) {
                *number = f64::from(*number as f32);
            }
        }
    }
}

impl Backend<Host<f32>> for Faulty {
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

    fn fill(&self, value: f64, vector: &mut HostVector<f32>) -> Result<(), Error> {
        self.inner.fill(if self.has(Fault::FillsWithZero) { 0.0 } else { value }, vector)
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
        operands: &[Operand<'_, Host<f32>>],
        outputs: &mut [&mut HostVector<f32>],
    ) -> Result<(), Error> {
        if self.has(Fault::OutputsOneByOne) && outputs.len() == 2 {
            // The second output is computed again, from what the first has become.
            let mut spare = outputs[1].clone();
            self.inner.map(program, operands, &mut [outputs[0], &mut spare])?;
            let mut first = outputs[0].clone();
            return self.inner.map(program, operands, &mut [&mut first, outputs[1]]);
        }
        self.inner.map(program, operands, outputs)?;
        if let (true, Operand::Vector(input)) = (self.has(Fault::NanIsPositive), operands[0]) {
            let entries = input.values().iter().zip(outputs[0].values_mut());
            entries.filter(|(input, _)| input.is_nan()).for_each(|(_, output)| *output = 1.0);
        }
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
        operands: &[Operand<'_, Host<f32>>],
        outputs: &mut [&mut HostReduced],
    ) -> Result<(), Error> {
        let fold = match fold {
            Fold::Max if self.has(Fault::MaximumIsMinimum) => Fold::Min,
            fold => fold,
        };
        let misread: Vec<HostReduced> = operands.iter().map(|operand| self.misread(operand)).collect();
        let operands = operands.iter().zip(&misread).map(|(operand, misread)| match operand {
            Operand::Reduced(_) => Operand::Reduced(misread),
            operand => *operand,
        });
        self.inner.reduce(program, fold, rows, &operands.collect::<Vec<_>>(), outputs)?;
        let start: Option<fn(f64) -> f64> = match fold {
            Fold::Max if self.has(Fault::MaximumOfZeroToo) => Some(|value| value.max(0.0)),
            Fold::Min if self.has(Fault::MinimumOfOneToo) => Some(|value| value.min(1.0)),
            _ => None,
        };
        if let Some(start) = start {
            outputs.iter_mut().flat_map(|output| output.values_mut()).for_each(|value| *value = start(*value));
        }
        self.narrow(outputs, Fault::SumsAreNarrow);
        if self.has(Fault::ThreadsChangeTheOrder) && self.threads > 1 {
            outputs[0].values_mut()[0] *= 1.0 + f64::EPSILON;
        }
        Ok(())
    }

    fn map_reduced(
        &self,
        program: &Program,
        operands: &[Operand<'_, Host<f32>>],
        outputs: &mut [&mut HostReduced],
    ) -> Result<(), Error> {
        self.inner.map_reduced(program, operands, outputs)?;
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
}

impl GeometryBuilder for Faulty {
    type Device = Host<f32>;

    fn geometry(
        &self,
        source: Support<'_, f32>,
        target: Support<'_, f32>,
        cost: &dyn GroundCost,
    ) -> Result<Arc<dyn Geometry<Host<f32>>>, Error> {
        // The vectors of a faulty backend are in host memory like all others.
        let built = |target, cost| ReferenceGeometry::new(Arc::new(self.inner), source, target, cost);
        Ok(Arc::new(match built(target, if self.has(Fault::SquaresExpanded) { &Expanded } else { cost }) {
            Err(_) if self.has(Fault::BadGeometriesAreBuilt) => built(source, cost)?,
            geometry => geometry?,
        }))
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
fn properties_of_backends_can_fail() {
    use properties::backend::*;
    type Property = fn(&dyn Backend<Host<f32>>) -> Verdict;
    let table: [(Fault, Property); 14] = [
        (Fault::ShortWritesAreTaken, what_is_written_is_read),
        (Fault::FillsWithZero, what_is_written_is_read),
        (Fault::FirstColumnForAll, maps_are_the_formula),
        (Fault::OutputsOneByOne, outputs_enter_as_they_were),
        (Fault::NanIsPositive, selects_tell_what_is_finite),
        (Fault::SumsAreNarrow, reductions_fold_columns),
        (Fault::MaximumIsMinimum, reductions_fold_columns),
        (Fault::MaximumOfZeroToo, reductions_fold_columns),
        (Fault::MinimumOfOneToo, reductions_fold_columns),
        (Fault::ReducedOperandsForgotten, reductions_fold_columns),
        (Fault::ReducedOperandsOfTheFirstColumn, reductions_fold_columns),
        (Fault::ReducedOperandsOfTheNextColumn, reductions_fold_columns),
        (Fault::ReducedNumbersAreNarrow, maps_of_reduced_vectors_are_the_formula),
        (Fault::MixtureTransposed, mixtures_are_products),
    ];
    for (fault, property) in table {
        assert_eq!(property(&Faulty::new(None, 1)), Ok(()), "{fault:?}");
        breaks(&fault, property(&Faulty::new(Some(fault), 1)));
    }
}

#[test]
fn properties_of_builders_can_fail() {
    use properties::builder::*;
    type Property = fn(&Faulty, &[SupportKind]) -> Verdict;
    let table: [(Fault, Property); 2] = [
        (Fault::SquaresExpanded, moving_both_clouds_changes_nothing),
        (Fault::BadGeometriesAreBuilt, bad_geometries_are_refused),
    ];
    for (fault, property) in table {
        let kinds = [SupportKind::Points, SupportKind::Indices];
        assert_eq!(property(&Faulty::new(None, 1), &kinds), Ok(()), "{fault:?}");
        breaks(&fault, property(&Faulty::new(Some(fault), 1), &kinds));
    }
}

#[test]
fn threads_that_change_bits_are_found() {
    let fault = Some(Fault::ThreadsChangeTheOrder);
    let verdict = |fault| properties::threads::threads_change_no_bits(|threads| Faulty::new(fault, threads), &[1, 2]);
    assert_eq!(verdict(None), Ok(()));
    breaks(&fault, verdict(fault));
}
