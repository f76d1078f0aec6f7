//! A backend of an outsider's own: one thread, f64, plain vectors, no help from `ot_core::host`.

use std::sync::Arc;

use ot_core::{Backend, Error, Fold, Geometry, GroundCost, HostBackend, Operand, Program, ReferenceGeometry, Support};

/// Everything runs at once on the thread that asks.
#[derive(Clone, Debug, Default)]
pub struct SerialBackend;

/// A matrix, column after column.
#[derive(Clone, Debug)]
pub struct Matrix {
    rows: usize,
    columns: usize,
    values: Vec<f64>,
}

impl Matrix {
    /// Entry (row, column), where a single column is shared by all.
    fn at(&self, row: usize, column: usize) -> f64 {
        self.values[column.min(self.columns - 1) * self.rows + row]
    }
}

/// What the program reads at (row, column); an output as it is before the operation.
fn arguments(
    operands: &[Operand<'_, SerialBackend>],
    [row, column]: [usize; 2],
    output: impl Fn(usize) -> f64,
) -> Vec<f64> {
    let read = |operand: &Operand<'_, SerialBackend>| match *operand {
        Operand::Vector(matrix) => matrix.at(row, column),
        Operand::Reduced(numbers) => numbers[column.min(numbers.len() - 1)],
        Operand::Constant(value) => value,
        Operand::Output(index) => output(index),
    };
    operands.iter().map(read).collect()
}

fn same_length(what: &'static str, expected: usize, found: usize) -> Result<(), Error> {
    if expected == found { Ok(()) } else { Err(Error::Length { what, expected, found }) }
}

impl Backend for SerialBackend {
    type Elem = f64;
    type Vector = Matrix;
    type Reduced = Vec<f64>;

    fn alloc(&self, rows: usize, columns: usize) -> Result<Matrix, Error> {
        Ok(Matrix { rows, columns, values: vec![0.0; rows * columns] })
    }

    fn alloc_reduced(&self, columns: usize) -> Result<Vec<f64>, Error> {
        Ok(vec![0.0; columns])
    }

    fn write(&self, values: &[f64], vector: &mut Matrix) -> Result<(), Error> {
        same_length("vector", vector.values.len(), values.len())?;
        vector.values.copy_from_slice(values);
        Ok(())
    }

    fn write_reduced(&self, values: &[f64], reduced: &mut Vec<f64>) -> Result<(), Error> {
        same_length("numbers", reduced.len(), values.len())?;
        reduced.copy_from_slice(values);
        Ok(())
    }

    fn shape(&self, vector: &Matrix) -> (usize, usize) {
        (vector.rows, vector.columns)
    }

    fn reduced_len(&self, reduced: &Vec<f64>) -> usize {
        reduced.len()
    }

    fn map(&self, program: &Program, operands: &[Operand<'_, Self>], outputs: &mut [&mut Matrix]) -> Result<(), Error> {
        let (rows, columns) = outputs.first().map_or((0, 0), |output| self.shape(output));
        for (row, column) in (0..columns).flat_map(|column| (0..rows).map(move |row| (row, column))) {
            let inputs = arguments(operands, [row, column], |index| outputs[index].at(row, column));
            for (output, value) in outputs.iter_mut().zip(program.evaluate(&inputs)?) {
                output.values[column * rows + row] = value;
            }
        }
        Ok(())
    }

    fn reduce(
        &self,
        program: &Program,
        fold: Fold,
        rows: usize,
        operands: &[Operand<'_, Self>],
        outputs: &mut [&mut Vec<f64>],
    ) -> Result<(), Error> {
        let (neutral, combine): (f64, fn(f64, f64) -> f64) = match fold {
            Fold::Sum => (0.0, |a, b| a + b),
            Fold::Max => (f64::NEG_INFINITY, f64::max),
            Fold::Min => (f64::INFINITY, f64::min),
        };
        for column in 0..outputs.first().map_or(0, |output| output.len()) {
            outputs.iter_mut().for_each(|output| output[column] = neutral);
            for row in 0..rows {
                let inputs = arguments(operands, [row, column], |_| f64::NAN);
                for (output, value) in outputs.iter_mut().zip(program.evaluate(&inputs)?) {
                    output[column] = combine(output[column], value);
                }
            }
        }
        Ok(())
    }

    fn map_reduced(
        &self,
        program: &Program,
        operands: &[Operand<'_, Self>],
        outputs: &mut [&mut Vec<f64>],
    ) -> Result<(), Error> {
        for column in 0..outputs.first().map_or(0, |output| output.len()) {
            let inputs = arguments(operands, [0, column], |index| outputs[index][column]);
            for (output, value) in outputs.iter_mut().zip(program.evaluate(&inputs)?) {
                output[column] = value;
            }
        }
        Ok(())
    }

    fn mix(&self, vector: &Matrix, matrix: &[f64], out: &mut Matrix) -> Result<(), Error> {
        let (rows, columns) = self.shape(out);
        same_length("mixing matrix", vector.columns * columns, matrix.len())?;
        for (row, column) in (0..columns).flat_map(|column| (0..rows).map(move |row| (row, column))) {
            let terms = (0..vector.columns).map(|k| vector.at(row, k) * matrix[k * columns + column]);
            out.values[column * rows + row] = terms.sum();
        }
        Ok(())
    }

    fn copy(&self, vector: &Matrix, out: &mut Matrix) -> Result<(), Error> {
        self.write(&vector.values, out)
    }

    fn read(&self, reduced: &[&Vec<f64>]) -> Result<Vec<Vec<f64>>, Error> {
        Ok(reduced.iter().map(|numbers| numbers.to_vec()).collect())
    }

    fn download(&self, vectors: &[&Matrix]) -> Result<Vec<Vec<f64>>, Error> {
        Ok(vectors.iter().map(|vector| vector.values.clone()).collect())
    }

    fn geometry(
        &self,
        source: Support<'_, f64>,
        target: Support<'_, f64>,
        cost: &dyn GroundCost,
    ) -> Result<Arc<dyn Geometry<Self>>, Error> {
        Ok(Arc::new(ReferenceGeometry::new(self, source, target, cost)?))
    }
}

impl HostBackend for SerialBackend {
    fn slice<'a>(&self, vector: &'a Matrix) -> &'a [f64] {
        &vector.values
    }

    fn slice_mut<'a>(&self, vector: &'a mut Matrix) -> &'a mut [f64] {
        &mut vector.values
    }

    fn reduced<'a>(&self, reduced: &'a Vec<f64>) -> &'a [f64] {
        reduced
    }

    fn reduced_mut<'a>(&self, reduced: &'a mut Vec<f64>) -> &'a mut [f64] {
        reduced
    }

    fn parallel(&self, tasks: usize, job: &(dyn Fn(usize) + Sync)) {
        (0..tasks).for_each(job);
    }
}
