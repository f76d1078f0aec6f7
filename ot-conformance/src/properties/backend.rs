//! What every backend must do with vectors.

use ot_core::{Backend, Device, Error, Fold, Operand, Program, Real, Scalar};

use crate::{
    seeded::{Seeded, elements, numbers},
    verdict::{Trial, Verdict},
};

/// Rows of vectors: one, odd ones, and more than any block or task.
const ROWS: [usize; 5] = [1, 7, 129, 2049, 9001];

/// How far a sum of f64 grade may be off, relative to its terms: a few double-single roundings.
const F64_GRADE: f64 = 1e-11;

/// What is written, copied or filled is read, column after column, by shape; what does not fit is refused.
pub fn what_is_written_is_read<D: Device>(backend: &dyn Backend<D>) -> Verdict {
    let trial = Trial::new("what is written is read", D::Elem::NAME);
    for rows in ROWS {
        let values: Vec<D::Elem> = elements(&Seeded::new(1).vector::<D::Elem>(3 * rows, -1e3, 1e3));
        let mut vector = backend.upload(&values, 3)?;
        trial.holds(backend.shape(&vector) == (rows, 3), || format!("a shape of {:?}", backend.shape(&vector)))?;
        let mut other = backend.alloc(rows, 3)?;
        backend.copy(&vector, &mut other)?;
        backend.write(&vec![D::Elem::default(); 3 * rows], &mut vector)?;
        let read = backend.download(&[&other, &vector])?;
        let written = numbers(&values);
        trial.all_close("copy", &numbers(&read[0]), &written, |entry| storage_rounding(backend, written[entry]))?;
        trial.all_close("overwritten", &numbers(&read[1]), &vec![0.0; 3 * rows], |_| 0.0)?;
        backend.fill(-0.75, &mut vector)?;
        trial.all_close("filled", &numbers(&backend.download(&[&vector])?[0]), &vec![-0.75; 3 * rows], |_| 0.0)?;
        let refused = backend.write(&values[1..], &mut vector);
        trial.holds(matches!(refused, Err(Error::Length { .. })), || format!("a short write gave {refused:?}"))?;
    }
    let long = [1.0 / 3.0, -1e-200, 1e200];
    let mut reduced = backend.upload_reduced(&long)?;
    let one = backend.upload_reduced(&[2.5])?;
    trial.holds(backend.reduced_len(&reduced) == 3, || "a reduced vector of another length".into())?;
    let read = backend.read(&[&one, &reduced])?;
    trial.all_close("first", &read[0], &[2.5], |_| 0.0)?;
    trial.close("a third", read[1][0], long[0], F64_GRADE)?;
    let refused = backend.write_reduced(&[1.0], &mut reduced);
    trial.holds(matches!(refused, Err(Error::Length { .. })), || format!("a short write gave {refused:?}"))?;
    trial.holds(backend.read(&[])?.is_empty() && backend.download(&[])?.is_empty(), || "something of nothing".into())
}

/// Does a device keep fewer bits than its element type has, say as pairs of numbers of single precision?
pub(crate) fn is_coarse<D: Device>(backend: &dyn Backend<D>) -> bool {
    backend.precision().unit > 4.0 * D::Elem::EPSILON
}

/// By how much a number that was written may be off where it is read.
pub(crate) fn storage_rounding<D: Device>(backend: &dyn Backend<D>, number: f64) -> f64 {
    if is_coarse(backend) { backend.precision().unit * number.abs() } else { 0.0 }
}

/// One of each operation, for arguments where none is ill-conditioned.
fn formula<R: Real>([x, y, z, c]: [R; 4]) -> [R; 2] {
    let angle = x.sin() - (c - y).cos() * z.atan();
    let (root, size) = ((x * x + c).sqrt(), (y - x).abs());
    let first = (y - c).select(root / (c + size), (-size).exp() + root.ln());
    [first.max(z) + angle, (x.min(y) - z) * c + first.clamp(-c, c)]
}

/// map evaluates the formula at every entry, for vectors of their own columns or one column shared by
/// all, reduced vectors likewise, constants and outputs.
pub fn maps_are_the_formula<D: Device>(backend: &dyn Backend<D>) -> Verdict {
    let trial = Trial::new("maps are the formula", D::Elem::NAME);
    let program = Program::record(|inputs| formula(inputs))?;
    let columns = 3;
    for rows in ROWS {
        let mut seeded = Seeded::new(rows as u64);
        let mut values = |len: usize| seeded.vector::<D::Elem>(len, -2.0, 2.0);
        let (x, shared, z) = (values(rows * columns), values(rows), values(columns));
        let upload = |values: &[f64], columns| backend.upload(&elements::<D::Elem>(values), columns);
        let (vector, one_column, reduced) = (upload(&x, columns)?, upload(&shared, 1)?, backend.upload_reduced(&z)?);
        let (mut first, mut second) = (backend.alloc(rows, columns)?, backend.alloc(rows, columns)?);
        let operands = [
            Operand::Vector(&vector),
            Operand::Vector(&one_column),
            Operand::Reduced(&reduced),
            Operand::Constant(0.75),
        ];
        backend.map(&program, &operands, &mut [&mut first, &mut second])?;
        let expected = |output: usize| -> Vec<f64> {
            let at = |entry: usize| formula([x[entry], shared[entry % rows], z[entry / rows], 0.75])[output];
            (0..rows * columns).map(at).collect()
        };
        let (unit, trial) = (32.0 * backend.precision().unit, trial.at(format_args!("{rows} rows")));
        let found = backend.download(&[&first, &second])?;
        trial.all_close("first output", &numbers(&found[0]), &expected(0), |_| 4.0 * unit)?;
        trial.all_close("second output", &numbers(&found[1]), &expected(1), |_| 4.0 * unit)?;
        let operand = numbers(&backend.download(&[&vector])?[0]);
        trial.all_close("an operand", &operand, &x, |entry| storage_rounding(backend, x[entry]))?;

        // One reduced number for all columns.
        let single = backend.upload_reduced(&z[..1])?;
        let scale = Program::record(|[x, z]| [x * z])?;
        backend.map(&scale, &[Operand::Vector(&vector), Operand::Reduced(&single)], &mut [&mut first])?;
        let expected: Vec<f64> = x.iter().map(|x| x * z[0]).collect();
        trial.all_close("one number for all", &numbers(&backend.download(&[&first])?[0]), &expected, |_| 4.0 * unit)?;
    }
    Ok(())
}

/// An output that is an operand is read as it was before the operation, by all outputs.
pub fn outputs_enter_as_they_were<D: Device>(backend: &dyn Backend<D>) -> Verdict {
    let trial = Trial::new("outputs enter as they were", D::Elem::NAME);
    let exchange = Program::record(|[x, y, c]| [y + c, x - c])?;
    for rows in ROWS {
        let mut seeded = Seeded::new(rows as u64);
        let (x, y) = (seeded.vector::<D::Elem>(2 * rows, -1.0, 1.0), seeded.vector::<D::Elem>(2 * rows, -1.0, 1.0));
        let (mut first, mut second) = (backend.upload(&elements(&x), 2)?, backend.upload(&elements(&y), 2)?);
        let operands = [Operand::Output(0), Operand::Output(1), Operand::Constant(0.5)];
        backend.map(&exchange, &operands, &mut [&mut first, &mut second])?;
        let found = backend.download(&[&first, &second])?;
        let plus = |values: &[f64], c: f64| values.iter().map(|value| value + c).collect::<Vec<_>>();
        let trial = trial.at(format_args!("{rows} rows"));
        let tolerance = 4.0 * backend.precision().unit;
        trial.all_close("first output", &numbers(&found[0]), &plus(&y, 0.5), |_| tolerance)?;
        trial.all_close("second output", &numbers(&found[1]), &plus(&x, -0.5), |_| tolerance)?;
    }
    let (mut first, mut second) = (backend.upload_reduced(&[1.0, 2.0])?, backend.upload_reduced(&[3.0, 4.0])?);
    let operands = [Operand::Output(0), Operand::Output(1), Operand::Constant(0.5)];
    backend.map_reduced(&exchange, &operands, &mut [&mut first, &mut second])?;
    let found = backend.read(&[&first, &second])?;
    trial.all_close("first number", &found[0], &[3.5, 4.5], |_| F64_GRADE)?;
    trial.all_close("second number", &found[1], &[0.5, 1.5], |_| F64_GRADE)
}

/// select tells numbers within a limit from all others, infinities and NaN among them: the check of an iterate.
pub fn selects_tell_what_is_finite<D: Device>(backend: &dyn Backend<D>) -> Verdict {
    let trial = Trial::new("selects tell what is finite", D::Elem::NAME);
    let within = Program::record(|[x, limit]| [(limit - x.abs()).select(1.0, 0.0)])?;
    let largest = 0.5 * backend.range()[1];
    let values = [0.0, -1.0, largest, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -largest];
    let expected = [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0];
    let (vector, mut out) = (backend.upload(&elements(&values), 1)?, backend.alloc(values.len(), 1)?);
    let operands = [Operand::Vector(&vector), Operand::Constant(<D::Elem as Scalar>::MAX)];
    backend.map(&within, &operands, &mut [&mut out])?;
    trial.all_close("entry", &numbers(&backend.download(&[&out])?[0]), &expected, |_| 0.0)?;
    let mut least = backend.alloc_reduced(1)?;
    backend.reduce(&within, Fold::Min, values.len(), &operands, &mut [&mut least])?;
    trial.close("least of all", backend.read(&[&least])?[0][0], 0.0, 0.0)
}

/// reduce folds the formula over the rows of each column, sums with the accuracy of f64, for operands as those of map. A
/// fold starts from its first row: the largest of numbers below -1 is below -1, the smallest of numbers above 1 above 1.
pub fn reductions_fold_columns<D: Device>(backend: &dyn Backend<D>) -> Verdict {
    let trial = Trial::new("reductions fold columns", D::Elem::NAME);
    let (columns, program) = (3, Program::record(|[x, y, z, w, c]| [x * y, x * z * w * c])?);
    // A column of large positive numbers, one of negative, and one of both, times powers of two, which is exact.
    let (ranges, z, w) = ([[4.0, 9.0], [-9.0, -4.0], [-1.0, 1.0]], [-1.0, 2.0, 8.0], 0.5);
    for rows in ROWS {
        let mut seeded = Seeded::new(rows as u64);
        let x = ranges.map(|[low, high]| seeded.vector::<D::Elem>(rows, low, high)).concat();
        let y: Vec<f64> = (0..rows).map(|row| [0.5, 1.0, 2.0][row % 3]).collect();
        let vector = backend.upload(&elements::<D::Elem>(&x), columns)?;
        let shared = backend.upload(&elements::<D::Elem>(&y), 1)?;
        let (reduced, single) = (backend.upload_reduced(&z)?, backend.upload_reduced(&[w])?);
        let operands = [
            Operand::Vector(&vector),
            Operand::Vector(&shared),
            Operand::Reduced(&reduced),
            Operand::Reduced(&single),
            Operand::Constant(4.0),
        ];
        for fold in [Fold::Sum, Fold::Max, Fold::Min] {
            let (mut first, mut second) = (backend.alloc_reduced(columns)?, backend.alloc_reduced(columns)?);
            backend.reduce(&program, fold, rows, &operands, &mut [&mut first, &mut second])?;
            let found = backend.read(&[&first, &second])?;
            let join = match fold {
                Fold::Sum => |a: f64, b: f64| a + b,
                Fold::Max => f64::max,
                Fold::Min => f64::min,
            };
            let folded = |entry: &dyn Fn(usize) -> f64| -> Vec<f64> {
                let column = |column: usize| (column * rows..(column + 1) * rows).map(entry).reduce(join);
                (0..columns).map(|index| column(index).unwrap_or(f64::NAN)).collect()
            };
            let trial = trial.at(format_args!("{rows} rows, {fold:?}"));
            let tolerance = 200.0 * F64_GRADE * rows as f64;
            let second = folded(&|entry| x[entry] * z[entry / rows] * w * 4.0);
            trial.all_close("first output", &found[0], &folded(&|entry| x[entry] * y[entry % rows]), |_| tolerance)?;
            trial.all_close("second output", &found[1], &second, |_| tolerance)?;
        }
    }
    Ok(())
}

/// map_reduced evaluates the formula once per column, in arithmetic of f64 grade.
pub fn maps_of_reduced_vectors_are_the_formula<D: Device>(backend: &dyn Backend<D>) -> Verdict {
    let trial = Trial::new("maps of reduced vectors are the formula", D::Elem::NAME);
    let program = Program::record(|[x, y, c]| [(x * x + y * y).sqrt() / (x + c), x - y])?;
    let (x, y) = ([1.0, 1.0 / 3.0, 7.0], [1.0 / 7.0]);
    let (many, one) = (backend.upload_reduced(&x)?, backend.upload_reduced(&y)?);
    let (mut first, mut second) = (backend.alloc_reduced(3)?, backend.alloc_reduced(3)?);
    let operands = [Operand::Reduced(&many), Operand::Reduced(&one), Operand::Constant(0.1)];
    backend.map_reduced(&program, &operands, &mut [&mut first, &mut second])?;
    let found = backend.read(&[&first, &second])?;
    trial.all_close("first output", &found[0], &x.map(|x| (x * x + y[0] * y[0]).sqrt() / (x + 0.1)), |_| F64_GRADE)?;
    trial.all_close("second output", &found[1], &x.map(|x| x - y[0]), |_| F64_GRADE)
}

/// mix multiplies the columns by a small matrix, row-major, and leaves out columns times zero.
pub fn mixtures_are_products<D: Device>(backend: &dyn Backend<D>) -> Verdict {
    let trial = Trial::new("mixtures are products", D::Elem::NAME);
    for rows in ROWS {
        for (inner, columns) in [(1, 1), (3, 2), (2, 5)] {
            let mut seeded = Seeded::new(rows as u64);
            let values = seeded.vector::<D::Elem>(rows * inner, -1.0, 1.0);
            let matrix = seeded.vector::<D::Elem>(inner * columns, -1.0, 1.0);
            let mut out = backend.alloc(rows, columns)?;
            backend.mix(&backend.upload(&elements::<D::Elem>(&values), inner)?, &matrix, &mut out)?;
            let entry = |entry: usize| {
                let (row, column) = (entry % rows, entry / rows);
                (0..inner).map(|k| values[k * rows + row] * matrix[k * columns + column]).sum()
            };
            let expected: Vec<f64> = (0..rows * columns).map(entry).collect();
            let trial = trial.at(format_args!("{rows} rows, {inner} columns to {columns}"));
            let tolerance = 8.0 * inner as f64 * backend.precision().unit;
            trial.all_close("entry", &numbers(&backend.download(&[&out])?[0]), &expected, |_| tolerance)?;
        }
        let values = [vec![f64::NAN; rows], vec![0.5; rows], vec![f64::INFINITY; rows]].concat();
        let mut out = backend.alloc(rows, 2)?;
        backend.mix(&backend.upload(&elements::<D::Elem>(&values), 3)?, &[0.0, 0.0, 2.0, 4.0, 0.0, 0.0], &mut out)?;
        let expected = [vec![1.0; rows], vec![2.0; rows]].concat();
        let trial = trial.at(format_args!("{rows} rows, columns left out"));
        trial.all_close("entry", &numbers(&backend.download(&[&out])?[0]), &expected, |_| 0.0)?;
    }
    Ok(())
}

/// A closure runs once in the scope of a backend, and its result comes back.
pub fn scopes_give_results_back<D: Device>(backend: &dyn Backend<D>) -> Verdict {
    let trial = Trial::new("scopes give results back", D::Elem::NAME);
    let mut runs = 0;
    let vector = backend.scope(|| {
        runs += 1;
        backend.upload(&[D::Elem::from_f64(2.0)], 1)
    })?;
    trial.holds(runs == 1, || format!("{runs} runs"))?;
    trial.all_close("number", &numbers(&backend.download(&[&vector])?[0]), &[2.0], |_| 0.0)
}
