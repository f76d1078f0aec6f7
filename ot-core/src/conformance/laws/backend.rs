//! What every backend must do with vectors, and what it must refuse of a geometry.

use std::sync::Arc;

use crate::{
    backend::{Backend, Fold, Operand, Side},
    conformance::{
        GeometryCase, Verdict,
        case::{SIDES, Scene},
        seeded::{Seeded, elements, numbers},
        verdict::Trial,
    },
    cost::{CostFunction, CostMatrix, Euclidean, GroundCost, Manhattan, SqEuclidean},
    error::Error,
    measure::{PointsView, Support},
    program::Program,
    real::Real,
    scalar::Scalar,
};

/// Rows of vectors: one, odd ones, and more than any block or task.
const ROWS: [usize; 5] = [1, 7, 129, 2049, 9001];

/// How far a sum of f64 grade may be off, relative to its terms: a few double-single roundings.
const F64_GRADE: f64 = 1e-11;

/// What is written is read, column after column, by shape; what does not fit is refused.
pub fn what_is_written_is_read<B: Backend>(backend: &B) -> Verdict {
    let trial = Trial::new("what is written is read", B::Elem::NAME);
    for rows in ROWS {
        let values: Vec<B::Elem> = elements(&Seeded::new(1).vector::<B::Elem>(3 * rows, -1e3, 1e3));
        let mut vector = backend.upload(&values, 3)?;
        trial.holds(backend.shape(&vector) == (rows, 3), || format!("a shape of {:?}", backend.shape(&vector)))?;
        let mut other = backend.alloc(rows, 3)?;
        backend.copy(&vector, &mut other)?;
        backend.write(&vec![B::Elem::default(); 3 * rows], &mut vector)?;
        let read = backend.download(&[&other, &vector])?;
        trial.all_close("copy", &read[0], &numbers(&values), |_| 0.0)?;
        trial.all_close("overwritten", &read[1], &vec![0.0; 3 * rows], |_| 0.0)?;
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

/// One of each operation, for arguments where none is ill-conditioned.
fn formula<R: Real>([x, y, z, c]: [R; 4]) -> [R; 2] {
    let (root, size) = ((x * x + c).sqrt(), (y - x).abs());
    let first = (y - c).select(root / (c + size), (-size).exp() + root.ln());
    [first.max(z), (x.min(y) - z) * c + first.clamp(-c, c)]
}

/// map evaluates the formula at every entry, for vectors of their own columns or one column shared by
/// all, reduced vectors likewise, constants and outputs.
pub fn maps_are_the_formula<B: Backend>(backend: &B) -> Verdict {
    let trial = Trial::new("maps are the formula", B::Elem::NAME);
    let program = Program::record(|inputs| formula(inputs))?;
    let columns = 3;
    for rows in ROWS {
        let mut seeded = Seeded::new(rows as u64);
        let mut values = |len: usize| seeded.vector::<B::Elem>(len, -2.0, 2.0);
        let (x, shared, z) = (values(rows * columns), values(rows), values(columns));
        let upload = |values: &[f64], columns| backend.upload(&elements::<B::Elem>(values), columns);
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
        let (unit, trial) = (32.0 * B::Elem::EPSILON, trial.at(format_args!("{rows} rows")));
        let found = backend.download(&[&first, &second])?;
        trial.all_close("first output", &found[0], &expected(0), |_| 4.0 * unit)?;
        trial.all_close("second output", &found[1], &expected(1), |_| 4.0 * unit)?;
        trial.all_close("an operand", &backend.download(&[&vector])?[0], &x, |_| 0.0)?;

        // One reduced number for all columns.
        let single = backend.upload_reduced(&z[..1])?;
        let scale = Program::record(|[x, z]| [x * z])?;
        backend.map(&scale, &[Operand::Vector(&vector), Operand::Reduced(&single)], &mut [&mut first])?;
        let expected: Vec<f64> = x.iter().map(|x| x * z[0]).collect();
        trial.all_close("one number for all", &backend.download(&[&first])?[0], &expected, |_| 4.0 * unit)?;
    }
    Ok(())
}

/// An output that is an operand is read as it was before the operation, by all outputs.
pub fn outputs_enter_as_they_were<B: Backend>(backend: &B) -> Verdict {
    let trial = Trial::new("outputs enter as they were", B::Elem::NAME);
    let exchange = Program::record(|[x, y, c]| [y + c, x - c])?;
    for rows in ROWS {
        let mut seeded = Seeded::new(rows as u64);
        let (x, y) = (seeded.vector::<B::Elem>(2 * rows, -1.0, 1.0), seeded.vector::<B::Elem>(2 * rows, -1.0, 1.0));
        let (mut first, mut second) = (backend.upload(&elements(&x), 2)?, backend.upload(&elements(&y), 2)?);
        let operands = [Operand::Output(0), Operand::Output(1), Operand::Constant(0.5)];
        backend.map(&exchange, &operands, &mut [&mut first, &mut second])?;
        let found = backend.download(&[&first, &second])?;
        let plus = |values: &[f64], c: f64| values.iter().map(|value| value + c).collect::<Vec<_>>();
        let trial = trial.at(format_args!("{rows} rows"));
        trial.all_close("first output", &found[0], &plus(&y, 0.5), |_| 4.0 * B::Elem::EPSILON)?;
        trial.all_close("second output", &found[1], &plus(&x, -0.5), |_| 4.0 * B::Elem::EPSILON)?;
    }
    let (mut first, mut second) = (backend.upload_reduced(&[1.0, 2.0])?, backend.upload_reduced(&[3.0, 4.0])?);
    let operands = [Operand::Output(0), Operand::Output(1), Operand::Constant(0.5)];
    backend.map_reduced(&exchange, &operands, &mut [&mut first, &mut second])?;
    let found = backend.read(&[&first, &second])?;
    trial.all_close("first number", &found[0], &[3.5, 4.5], |_| F64_GRADE)?;
    trial.all_close("second number", &found[1], &[0.5, 1.5], |_| F64_GRADE)
}

/// reduce folds the formula over the rows of each column, sums with the accuracy of f64.
pub fn reductions_fold_columns<B: Backend>(backend: &B) -> Verdict {
    let trial = Trial::new("reductions fold columns", B::Elem::NAME);
    let (columns, program) = (3, Program::record(|[x, y, z]| [x * y, x - z])?);
    for rows in ROWS {
        let mut seeded = Seeded::new(rows as u64);
        // Powers of two, so that products and differences are exact in the element type.
        let x = seeded.vector::<B::Elem>(rows * columns, 0.0, 1.0);
        let y: Vec<f64> = (0..rows).map(|row| [0.5, 1.0, 2.0][row % 3]).collect();
        let vector = backend.upload(&elements::<B::Elem>(&x), columns)?;
        let shared = backend.upload(&elements::<B::Elem>(&y), 1)?;
        let zeros = backend.upload_reduced(&vec![0.0; columns])?;
        let operands = [Operand::Vector(&vector), Operand::Vector(&shared), Operand::Reduced(&zeros)];
        for (fold, start) in [(Fold::Sum, 0.0), (Fold::Max, f64::NEG_INFINITY), (Fold::Min, f64::INFINITY)] {
            let (mut first, mut second) = (backend.alloc_reduced(columns)?, backend.alloc_reduced(columns)?);
            backend.reduce(&program, fold, rows, &operands, &mut [&mut first, &mut second])?;
            let found = backend.read(&[&first, &second])?;
            let folded = |entry: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
                let join = |a: f64, b: f64| match fold {
                    Fold::Sum => a + b,
                    Fold::Max => a.max(b),
                    Fold::Min => a.min(b),
                };
                (0..columns)
                    .map(|column| (0..rows).map(|row| entry(row, column * rows + row)).fold(start, join))
                    .collect()
            };
            let trial = trial.at(format_args!("{rows} rows, {fold:?}"));
            let tolerance = F64_GRADE * rows as f64;
            trial.all_close("first output", &found[0], &folded(&|row, entry| x[entry] * y[row]), |_| tolerance)?;
            trial.all_close("second output", &found[1], &folded(&|_, entry| x[entry]), |_| tolerance)?;
        }
    }
    Ok(())
}

/// map_reduced evaluates the formula once per column, in arithmetic of f64 grade.
pub fn maps_of_reduced_vectors_are_the_formula<B: Backend>(backend: &B) -> Verdict {
    let trial = Trial::new("maps of reduced vectors are the formula", B::Elem::NAME);
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

/// mix multiplies the columns by a small matrix, row-major.
pub fn mixtures_are_products<B: Backend>(backend: &B) -> Verdict {
    let trial = Trial::new("mixtures are products", B::Elem::NAME);
    for rows in ROWS {
        for (inner, columns) in [(1, 1), (3, 2), (2, 5)] {
            let mut seeded = Seeded::new(rows as u64);
            let values = seeded.vector::<B::Elem>(rows * inner, -1.0, 1.0);
            let matrix = seeded.vector::<B::Elem>(inner * columns, -1.0, 1.0);
            let mut out = backend.alloc(rows, columns)?;
            backend.mix(&backend.upload(&elements::<B::Elem>(&values), inner)?, &matrix, &mut out)?;
            let entry = |entry: usize| {
                let (row, column) = (entry % rows, entry / rows);
                (0..inner).map(|k| values[k * rows + row] * matrix[k * columns + column]).sum()
            };
            let expected: Vec<f64> = (0..rows * columns).map(entry).collect();
            let trial = trial.at(format_args!("{rows} rows, {inner} columns to {columns}"));
            let tolerance = 8.0 * inner as f64 * B::Elem::EPSILON;
            trial.all_close("entry", &backend.download(&[&out])?[0], &expected, |_| tolerance)?;
        }
    }
    Ok(())
}

/// A closure runs once in the scope of a backend, and its result comes back.
pub fn scopes_give_results_back<B: Backend>(backend: &B) -> Verdict {
    let trial = Trial::new("scopes give results back", B::Elem::NAME);
    let mut runs = 0;
    let vector = backend.scope(|| {
        runs += 1;
        backend.upload(&[B::Elem::from_f64(2.0)], 1)
    })?;
    trial.holds(runs == 1, || format!("{runs} runs"))?;
    trial.all_close("number", &backend.download(&[&vector])?[0], &[2.0], |_| 0.0)
}

/// c(x + t, y + t) = c(x, y): moving both clouds moves no softmin.
pub fn moving_both_clouds_changes_nothing<B: Backend>(backend: &B) -> Verdict {
    let trial = Trial::new("moving both clouds changes nothing", B::Elem::NAME);
    let costs: [Arc<dyn GroundCost>; 3] = [Arc::new(SqEuclidean), Arc::new(Euclidean), Arc::new(Manhattan)];
    for cost in costs {
        // Multiples of 1/256 that stay exact when moved.
        let mut seeded = Seeded::new(13);
        let mut cloud = |len: usize| (0..2 * len).map(|_| (seeded.bits() % 256) as f64 / 256.0).collect::<Vec<_>>();
        let (x, y) = (cloud(31), cloud(18));
        let moved = |points: &[f64], by: f64| points.iter().map(|value| value + by).collect::<Vec<_>>();
        let case = |by: f64| {
            let points = [moved(&x, by), moved(&y, by)];
            GeometryCase::between_points(backend, format!("{cost:?} moved by {by}"), points, 2, Arc::clone(&cost))
        };
        let (here, there) = (case(0.0)?, case(64.0)?);
        for epsilon in here.epsilons(&[1e-3, 0.1, 10.0]) {
            let (mut scene, mut moved) = (Scene::new(&here, epsilon, 1)?, Scene::new(&there, epsilon, 1)?);
            for side in SIDES {
                let (expected, found) = (scene.plain_softmin(side)?, moved.plain_softmin(side)?);
                let trial = trial.at(format_args!("{}, {side}, epsilon {epsilon:e}", there.name));
                trial.all_close("row", &found, &numbers(&expected), |_| 2.0 * scene.tolerance())?;
            }
        }
    }
    Ok(())
}

/// A blur of width sigma is an epsilon of 2 sigma^2 for squares, half of it for half squares, sigma for
/// distances, where a backend gives one.
pub fn blurs_are_epsilons<B: Backend>(backend: &B) -> Verdict {
    let trial = Trial::new("blurs are epsilons", B::Elem::NAME);
    let costs: [(Arc<dyn GroundCost>, f64); 3] =
        [(Arc::new(SqEuclidean), 0.5), (Arc::new(crate::cost::HalfSqEuclidean), 0.25), (Arc::new(Euclidean), 0.5)];
    for (cost, expected) in costs {
        let case = GeometryCase::between_points(backend, format!("{cost:?}"), [vec![0.0], vec![1.0]], 1, cost)?;
        let found = case.geometry.epsilon_of_blur(0.5).unwrap_or(f64::NAN);
        trial.close(&case.name, found, expected, 1e-14)?;
    }
    let matrix = GeometryCase::of_matrix(backend, "matrix", &[1.0], 1, 1)?;
    trial.holds(matrix.geometry.epsilon_of_blur(0.5).is_none(), || "a matrix has a blur".into())
}

/// What no geometry can be built from is refused, with an error that says what was wrong.
pub fn bad_geometries_are_refused<B: Backend>(backend: &B) -> Verdict {
    let trial = Trial::new("bad geometries are refused", B::Elem::NAME);
    let narrow = elements::<B::Elem>(&[0.0, 1.0, 2.0, 3.0]);
    let (plane, space) = (PointsView::new(&narrow, 2)?, PointsView::new(&narrow, 4)?);
    let (plane, space) = (Support::Points(plane), Support::Points(space));
    let matrix = CostMatrix::new(vec![1.0, 2.0, 3.0, 4.0], 2, 2)?;
    let far = {
        let distance = 4.0 * <B::Elem as Scalar>::LARGEST_COST.sqrt();
        elements::<B::Elem>(&[0.0, distance, -distance, 0.0])
    };
    let far = Support::Points(PointsView::new(&far, 2)?);
    let broken = elements::<B::Elem>(&[0.0, f64::NAN, 0.0, 0.0]);
    let broken = Support::Points(PointsView::new(&broken, 2)?);
    let empty: [B::Elem; 0] = [];
    let empty = Support::Points(PointsView::new(&empty, 2)?);
    let nan = CostFunction::new(|x: &[f64], y: &[f64]| if x[0] > y[0] { f64::NAN } else { 0.0 });
    let line = CostFunction::new(|x: &[f64], _: &[f64]| x[0]).with_dimension(1);
    let law = Support::Foreign { kind: "law", len: None, support: &() };

    let refuse = |what: &str, source, target, cost: &dyn GroundCost, is_expected: fn(&Error) -> bool| {
        let error = backend.geometry(source, target, cost).err();
        trial.at(what).holds(error.as_ref().is_some_and(is_expected), || format!("gave {error:?}"))
    };
    refuse("dimensions", plane, space, &SqEuclidean, |e| matches!(e, Error::DimensionMismatch { .. }))?;
    refuse("the dimension of a cost", plane, plane, &line, |e| matches!(e, Error::Length { .. }))?;
    refuse("the size of a matrix", Support::Indices(3), Support::Indices(2), &matrix, |e| {
        matches!(e, Error::Length { .. })
    })?;
    refuse("indices without a matrix", Support::Indices(2), plane, &SqEuclidean, |e| {
        matches!(e, Error::UnsupportedSupport { .. })
    })?;
    refuse("a law", law, plane, &SqEuclidean, |e| matches!(e, Error::UnsupportedSupport { .. }))?;
    refuse("a law with a matrix", law, Support::Indices(2), &matrix, |e| {
        matches!(e, Error::UnsupportedSupport { .. })
    })?;
    refuse("NaN as a coordinate", plane, broken, &SqEuclidean, |e| matches!(e, Error::Coordinate { .. }))?;
    refuse("no points", empty, plane, &SqEuclidean, |e| matches!(e, Error::EmptyMeasure))?;
    refuse("NaN as a cost", plane, plane, &nan, |e| matches!(e, Error::Cost { .. }))?;
    refuse("points too far apart", plane, far, &SqEuclidean, |e| matches!(e, Error::CostOverflow { .. }))?;
    let fits = backend.geometry(Support::Indices(2), Support::Indices(2), &matrix)?;
    trial.holds(fits.len(Side::Source) == 2 && fits.len(Side::Target) == 2, || "a matrix of another size".into())
}
