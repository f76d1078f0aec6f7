//! Views of matrices, points and weights beside indices computed one by one.

use ot_core::{CostForm, CostMatrix, GroundCost, PointsView, StridedMatrix, Support, WeightsView};
use ot_cpu::{CpuBackend, CpuScalar};
use ot_solvers::assign;

use super::{
    generate::{below, costs, narrow, one_of, percent},
    report::Report,
};
use crate::seeded::Seeded;

/// One case.
pub fn case<T: CpuScalar>(_: &[CpuBackend<T>; 3], random: &mut Seeded, report: &mut Report) {
    matrices::<T>(random, report);
    lists::<T>(random, report);
}

/// A matrix with strides, what lies between its entries being NaN.
fn matrices<T: CpuScalar>(random: &mut Seeded, report: &mut Report) {
    let [rows, columns] = [0, 1].map(|_| if percent(random, 3) { 0 } else { 1 + below(random, 5) });
    let gap = below(random, 3);
    let (row_stride, column_stride) = match below(random, 6) {
        0 => (columns, 1),
        1 => (columns + gap, 1),
        2 => (1, rows + gap),
        3 => (2 * columns + gap, 2),
        4 => (below(random, 4), below(random, 4)),
        _ => one_of(random, &[(usize::MAX, 1), (1, usize::MAX), (usize::MAX / 2, 3), (0, 0)]),
    };
    let last = |count: usize, stride: usize| count.saturating_sub(1) as u128 * stride as u128;
    let needed = last(rows, row_stride) + last(columns, column_stride) + 1;
    let len =
        (usize::try_from(needed).unwrap_or(usize::MAX).min(100) + below(random, 4)).saturating_sub(below(random, 3));
    let drawn = costs::<T>(random, len.max(1), 1);
    let reached =
        |at: usize| (0..rows).any(|i| (0..columns).any(|j| place(i, j, row_stride, column_stride) == Some(at)));
    let values: Vec<f64> = (0..len).map(|at| if reached(at) { drawn[at] } else { f64::NAN }).collect();
    report.given("element", T::NAME);
    report.given("values", &values);
    report.given("shape and strides", [rows, columns, row_stride, column_stride]);

    let fits = rows > 0 && columns > 0 && needed <= len as u128;
    let values = narrow::<T>(&values);
    let view = StridedMatrix::new(&values, rows, columns, row_stride, column_stride);
    let cost = CostMatrix::strided(&values, rows, columns, row_stride, column_stride);
    report.require(view.is_ok() == fits, || format!("a view: {:?}", view.as_ref().err()));
    report.require(cost.is_ok() == fits, || format!("a cost: {:?}", cost.as_ref().err()));
    let (Ok(view), Ok(cost)) = (view, cost) else { return report.ended("refused") };
    report.ended("viewed");
    let CostForm::Matrix(both) = cost.form() else { return report.require(false, || "no matrix".into()) };
    let mut dense = Vec::with_capacity(rows * columns);
    for i in 0..rows {
        let entries: Vec<T> = (0..columns).map(|j| values[i * row_stride + j * column_stride]).collect();
        let (mut copied, found) = (vec![T::default(); columns], |j| view.get(i, j).map(ot_core::Scalar::to_f64));
        both.copy_row(i, &mut copied);
        let by_index: Vec<Option<f64>> = (0..columns).map(found).collect();
        let mirrored: Vec<Option<T>> = (0..columns).map(|j| view.transposed().get(j, i)).collect();
        let wanted: Vec<Option<T>> = entries.iter().copied().map(Some).collect();
        report.require(by_index == entries.iter().map(|entry| Some(entry.to_f64())).collect::<Vec<_>>(), || {
            format!("get of row {i}")
        });
        report.require(view.row_entries(i).eq(entries.iter().copied()), || format!("entries of row {i}"));
        report.require(view.row(i).is_none_or(|row| row == entries), || format!("row {i}"));
        report.require(mirrored == wanted, || format!("column {i} of the transposed"));
        report.require(copied == entries, || format!("a copy of row {i}"));
        dense.extend(entries);
    }
    let outside = [view.get(rows, 0), view.get(0, columns), view.get(usize::MAX, usize::MAX)];
    report.require(outside.iter().all(Option::is_none) && view.row(rows).is_none(), || "an entry outside".into());
    report.require(view.row_entries(rows).len() == 0, || "entries outside".into());
    let solved = |cost: &dyn GroundCost| {
        let assigned = assign::<T>(Support::Indices(rows), Support::Indices(columns), cost);
        format!("{assigned:?}")
    };
    match CostMatrix::new(dense, rows, columns) {
        Ok(dense) => report.require(solved(&dense) == solved(&cost), || "another assignment than of rows".into()),
        Err(error) => report.require(false, || format!("no matrix of rows: {error}")),
    }
}

/// Where an entry lies, if that is a number.
fn place(i: usize, j: usize, row_stride: usize, column_stride: usize) -> Option<usize> {
    i.checked_mul(row_stride)?.checked_add(j.checked_mul(column_stride)?)
}

/// Points and weights of any length.
fn lists<T: CpuScalar>(random: &mut Seeded, report: &mut Report) {
    let (len, parts) = (below(random, 13), below(random, 5));
    let numbers = narrow::<T>(&random.draw(len, Seeded::normal));
    report.given("numbers", &numbers);
    report.given("parts", parts);
    let fits = parts > 0 && len % parts == 0;
    let points = PointsView::new(&numbers, parts);
    report.require(points.is_ok() == fits, || format!("points: {:?}", points.as_ref().err()));
    if let Ok(points) = points {
        let all: Vec<&[T]> = (0..points.len()).map(|index| points.point(index)).collect();
        report.require(points.iter().eq(all.iter().copied()) && all.concat() == numbers, || "other points".into());
    }
    let weights = WeightsView::new(&numbers, parts);
    report.require(weights.is_ok() == fits, || format!("weights: {:?}", weights.as_ref().err()));
    if let Ok(weights) = weights {
        let all: Vec<&[T]> = (0..parts).map(|column| weights.column(column)).collect();
        report.require(weights.iter().eq(all.iter().copied()) && all.concat() == numbers, || "other weights".into());
        let is_measure = len > 0 && numbers.iter().all(|weight| *weight >= T::default());
        report.require(weights.validate().is_ok() == is_measure, || format!("{:?}", weights.validate()));
    }
}
