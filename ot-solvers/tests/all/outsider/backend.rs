//! A backend of an outsider's own, operation by operation: one thread, f64, no help from `ot_core::host` but its vectors.

use std::sync::Arc;

use ot_core::{
    Backend, Error, Fold, Geometry, GeometryBuilder, GroundCost, Host, HostBackend, Operand, Program,
    ReferenceGeometry, Support,
    host::{HostReduced as Reduced, HostVector},
};

type Vector = HostVector<f64>;
type Operands<'a> = [Operand<'a, Host<f64>>];

/// Everything runs at once on the thread that asks.
#[derive(Clone, Debug, Default)]
pub struct SerialBackend;

/// What the program makes of its operands at (row, column); an output is as it was before the operation.
fn evaluate(
    program: &Program,
    operands: &Operands<'_>,
    [row, column]: [usize; 2],
    output: impl Fn(usize) -> f64,
) -> Result<Vec<f64>, Error> {
    let read = |operand: &Operand<'_, Host<f64>>| match *operand {
        Operand::Vector(vector) => vector.column(column)[row],
        Operand::Reduced(numbers) => numbers.values()[column.min(numbers.values().len() - 1)],
        Operand::Constant(value) => value,
        Operand::Output(index) => output(index),
    };
    Ok(program.evaluate(&operands.iter().map(read).collect::<Vec<_>>())?)
}

/// All rows and columns of a vector.
fn entries(vector: &Vector) -> impl Iterator<Item = [usize; 2]> + use<> {
    let (rows, columns) = vector.shape();
    (0..columns).flat_map(move |column| (0..rows).map(move |row| [row, column]))
}

impl Backend<Host<f64>> for SerialBackend {
    fn alloc(&self, rows: usize, columns: usize) -> Result<Vector, Error> {
        HostVector::alloc(rows, columns)
    }

    fn alloc_reduced(&self, columns: usize) -> Result<Reduced, Error> {
        Ok(Reduced::alloc(columns))
    }

    fn write(&self, values: &[f64], vector: &mut Vector) -> Result<(), Error> {
        vector.write(values)
    }

    fn write_reduced(&self, values: &[f64], reduced: &mut Reduced) -> Result<(), Error> {
        reduced.write(values)
    }

    fn fill(&self, value: f64, vector: &mut Vector) -> Result<(), Error> {
        vector.values_mut().fill(value);
        Ok(())
    }

    fn shape(&self, vector: &Vector) -> (usize, usize) {
        vector.shape()
    }

    fn reduced_len(&self, reduced: &Reduced) -> usize {
        reduced.values().len()
    }

    fn map(&self, program: &Program, operands: &Operands<'_>, outputs: &mut [&mut Vector]) -> Result<(), Error> {
        for [row, column] in entries(outputs[0]) {
            let values = evaluate(program, operands, [row, column], |index| outputs[index].column(column)[row])?;
            outputs.iter_mut().zip(values).for_each(|(output, value)| output.column_mut(column)[row] = value);
        }
        Ok(())
    }

    fn reduce(
        &self,
        program: &Program,
        fold: Fold,
        rows: usize,
        operands: &Operands<'_>,
        outputs: &mut [&mut Reduced],
    ) -> Result<(), Error> {
        for column in 0..self.reduced_len(outputs[0]) {
            let at = |row| evaluate(program, operands, [row, column], |_| f64::NAN);
            let terms = (0..rows).map(at).collect::<Result<Vec<_>, _>>()?;
            for (index, output) in outputs.iter_mut().enumerate() {
                let terms = terms.iter().map(|term| term[index]);
                output.values_mut()[column] = match fold {
                    Fold::Sum => terms.sum(),
                    Fold::Max => terms.fold(f64::NEG_INFINITY, f64::max),
                    Fold::Min => terms.fold(f64::INFINITY, f64::min),
                };
            }
        }
        Ok(())
    }

    fn map_reduced(
        &self,
        program: &Program,
        operands: &Operands<'_>,
        outputs: &mut [&mut Reduced],
    ) -> Result<(), Error> {
        for column in 0..self.reduced_len(outputs[0]) {
            let values = evaluate(program, operands, [0, column], |index| outputs[index].values()[column])?;
            outputs.iter_mut().zip(values).for_each(|(output, value)| output.values_mut()[column] = value);
        }
        Ok(())
    }

    fn mix(&self, vector: &Vector, matrix: &[f64], out: &mut Vector) -> Result<(), Error> {
        let ((_, inner), (_, columns)) = (vector.shape(), out.shape());
        if matrix.len() != inner * columns {
            return Err(Error::Length { what: "mixing matrix", expected: inner * columns, found: matrix.len() });
        }
        for [row, column] in entries(out) {
            let factors = (0..inner).map(|k| (k, matrix[k * columns + column])).filter(|(_, factor)| *factor != 0.0);
            out.column_mut(column)[row] = factors.map(|(k, factor)| vector.column(k)[row] * factor).sum();
        }
        Ok(())
    }

    fn copy(&self, vector: &Vector, out: &mut Vector) -> Result<(), Error> {
        out.write(vector.values())
    }

    fn read(&self, reduced: &[&Reduced]) -> Result<Vec<Vec<f64>>, Error> {
        Ok(reduced.iter().map(|numbers| numbers.values().to_vec()).collect())
    }

    fn download(&self, vectors: &[&Vector]) -> Result<Vec<Vec<f64>>, Error> {
        Ok(vectors.iter().map(|vector| vector.values().to_vec()).collect())
    }
}

impl HostBackend<f64> for SerialBackend {
    fn parallel(&self, tasks: usize, job: &(dyn Fn(usize) + Sync)) {
        (0..tasks).for_each(job);
    }
}

impl GeometryBuilder for SerialBackend {
    type Device = Host<f64>;

    fn geometry(
        &self,
        source: Support<'_, f64>,
        target: Support<'_, f64>,
        cost: &dyn GroundCost,
    ) -> Result<Arc<dyn Geometry<Host<f64>>>, Error> {
        Ok(Arc::new(ReferenceGeometry::new(Arc::new(Self), source, target, cost)?))
    }
}
