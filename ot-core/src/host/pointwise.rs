//! Pointwise programs over host vectors, block by block.

use super::{Host, HostReduced, HostVector, for_each_chunk};
use crate::{
    backend::{Fold, MAX_OPERANDS, MAX_OUTPUTS, Operand},
    error::Error,
    program::{BLOCK, BlockInput, BlockMath, LibraryMath, Program, Registers},
    scalar::Scalar,
};

/// Rows of one task of [`map`].
pub const TASK_ROWS: usize = 4096;

/// Pieces into which [`reduce`] cuts a long column.
const PARTS: usize = 32;

/// The shortest piece of a column that is worth a task of [`reduce`].
const PART_ROWS: usize = 2048;

/// `outputs(i, k) = program(operands at (i, k))` over host vectors, tasks through `parallel`.
///
/// The exponentials and logarithms are those of `M`. Panics if shapes or arities differ, which
/// the layer above has checked.
pub fn map<T, M>(
    parallel: impl FnOnce(usize, &(dyn Fn(usize) + Sync)),
    program: &Program,
    operands: &[Operand<'_, Host<T>>],
    outputs: &mut [&mut HostVector<T>],
) -> Result<(), Error>
where
    T: Scalar,
    M: BlockMath<T>,
{
    let Some((rows, columns)) = outputs.first().map(|output| output.shape()) else { return Ok(()) };
    check_arity(program, operands.len(), outputs.len())?;
    assert!(outputs.iter().all(|output| output.shape() == (rows, columns)), "outputs of different shapes");
    if rows == 0 {
        return Ok(());
    }
    let parts = rows.div_ceil(TASK_ROWS);
    let count = outputs.len();
    let mut chunks = outputs
        .iter_mut()
        .map(|output| output.values_mut().chunks_mut(rows).flat_map(|column| column.chunks_mut(TASK_ROWS)));
    let mut chunks: [_; MAX_OUTPUTS] = std::array::from_fn(|_| chunks.next());
    let pieces = std::iter::from_fn(move || {
        chunks[0].as_mut()?.next().map(|first| {
            let mut first = Some(first);
            std::array::from_fn::<_, MAX_OUTPUTS, _>(|index| {
                if index == 0 { first.take() } else { chunks[index].as_mut().and_then(Iterator::next) }
            })
        })
    });

    for_each_chunk(parallel, parts * columns, pieces, |task, mut piece: [Option<&mut [T]>; MAX_OUTPUTS]| {
        let (column, start) = (task / parts, (task % parts) * TASK_ROWS);
        let mut registers = Registers::new();
        let len = piece[0].as_ref().map_or(0, |first| first.len());
        let mut entering = [[T::default(); BLOCK]; MAX_OUTPUTS];
        for offset in (0..len).step_by(BLOCK) {
            let size = BLOCK.min(len - offset);
            let mut blocks = piece.each_mut().map(|chunk| match chunk {
                Some(chunk) => &mut chunk[offset..offset + size],
                None => &mut [],
            });
            for (copy, block) in entering.iter_mut().zip(&blocks) {
                copy[..block.len()].copy_from_slice(block);
            }
            let inputs: [BlockInput<'_, T>; MAX_OPERANDS] = std::array::from_fn(|index| match operands.get(index) {
                Some(&Operand::Output(output)) => BlockInput::Lanes(&entering[output][..size]),
                Some(operand) => block_input::<T>(operand, column, start + offset, size),
                None => BlockInput::Uniform(T::default()),
            });
            let run = program.run_block::<_, M>(&inputs[..operands.len()], &mut registers, &mut blocks[..count]);
            debug_assert!(run.is_ok(), "arity was checked");
        }
    });
    Ok(())
}

/// `outputs_k = fold over i of program(operands at (i, k))` over host vectors.
///
/// A column is cut into pieces by its length alone; pieces are folded in order.
pub fn reduce<T, M>(
    parallel: impl Fn(usize, &(dyn Fn(usize) + Sync)),
    program: &Program,
    fold: Fold,
    rows: usize,
    operands: &[Operand<'_, Host<T>>],
    outputs: &mut [&mut HostReduced],
) -> Result<(), Error>
where
    T: Scalar,
    M: BlockMath<T>,
{
    let Some(columns) = outputs.first().map(|output| output.values().len()) else { return Ok(()) };
    check_arity(program, operands.len(), outputs.len())?;
    let count = outputs.len();
    let part_rows = PART_ROWS.max(rows.div_ceil(PARTS));
    let parts = rows.div_ceil(part_rows);
    let part = |column: usize, part: usize| {
        let start = part * part_rows;
        fold_rows::<T, M>(program, fold, operands, count, column, start..rows.min(start + part_rows))
    };

    // Short columns go together: who waits at the end waits once.
    let together = (PARTS / parts.max(1)).max(1);
    for first in (0..columns).step_by(together) {
        let batch = together.min(columns - first);
        let mut partial = [[0.0; MAX_OUTPUTS]; PARTS];
        for_each_chunk(&parallel, batch * parts, partial[..batch * parts].iter_mut(), |index, partial| {
            *partial = part(first + index / parts, index % parts);
        });
        for column in 0..batch {
            let own = &partial[column * parts..][..parts];
            for (index, output) in outputs.iter_mut().enumerate() {
                output.values_mut()[first + column] =
                    own.iter().map(|partial| partial[index]).fold(neutral(fold), |a, b| combine(fold, a, b));
            }
        }
    }
    Ok(())
}

/// `outputs_k = program(operands at k)` over one number for each column, in f64.
pub fn map_reduced<T>(
    program: &Program,
    operands: &[Operand<'_, Host<T>>],
    outputs: &mut [&mut HostReduced],
) -> Result<(), Error>
where
    T: Scalar,
{
    let Some(columns) = outputs.first().map(|output| output.values().len()) else { return Ok(()) };
    check_arity(program, operands.len(), outputs.len())?;
    let mut registers = Registers::new();
    for column in 0..columns {
        let inputs: [BlockInput<'_, f64>; MAX_OPERANDS] = std::array::from_fn(|index| {
            BlockInput::Uniform(match operands.get(index) {
                Some(Operand::Reduced(reduced)) => at_column(reduced.values(), column),
                Some(&Operand::Constant(value)) => value,
                Some(&Operand::Output(output)) => outputs[output].values()[column],
                Some(Operand::Vector(_)) | None => 0.0,
            })
        });
        let mut results = [[0.0]; MAX_OUTPUTS];
        let mut blocks = results.each_mut().map(|result| &mut result[..]);
        program.run_block::<f64, LibraryMath>(
            &inputs[..operands.len()],
            &mut registers,
            &mut blocks[..outputs.len()],
        )?;
        for (output, [result]) in outputs.iter_mut().zip(results) {
            output.values_mut()[column] = result;
        }
    }
    Ok(())
}

/// `out = vector * matrix`, with a row-major matrix of columns of `vector` x columns of `out`. A column times zero is left out,
/// whatever it holds.
pub fn mix<T: Scalar>(
    parallel: impl Fn(usize, &(dyn Fn(usize) + Sync)),
    vector: &HostVector<T>,
    matrix: &[f64],
    out: &mut HostVector<T>,
) -> Result<(), Error> {
    let ((rows, inner), (out_rows, columns)) = (vector.shape(), out.shape());
    for (what, expected, found) in
        [("matrix that mixes columns", inner * columns, matrix.len()), ("rows of a mixture", rows, out_rows)]
    {
        if expected != found {
            return Err(Error::Length { what, expected, found });
        }
    }
    if rows == 0 {
        return Ok(());
    }
    let tasks = rows.div_ceil(TASK_ROWS);
    let pieces = out.values_mut().chunks_mut(rows).flat_map(|column| column.chunks_mut(TASK_ROWS));
    for_each_chunk(parallel, tasks * columns, pieces, |index, piece| {
        let (column, start) = (index / tasks, index % tasks * TASK_ROWS);
        for (block, out) in piece.chunks_mut(BLOCK).enumerate() {
            let (first, mut sums) = (start + block * BLOCK, [0.0; BLOCK]);
            for (k, own) in vector.values().chunks_exact(rows).enumerate() {
                let factor = matrix[k * columns + column];
                if factor != 0.0 {
                    sums.iter_mut()
                        .zip(&own[first..first + out.len()])
                        .for_each(|(sum, x)| *sum += x.to_f64() * factor);
                }
            }
            out.iter_mut().zip(sums).for_each(|(out, sum)| *out = T::from_f64(sum));
        }
    });
    Ok(())
}

/// Does an operation fit its program and the fixed buffers of this module?
fn check_arity(program: &Program, operands: usize, outputs: usize) -> Result<(), Error> {
    for (what, expected, found) in
        [("operands of a program", program.inputs(), operands), ("outputs of a program", program.outputs(), outputs)]
    {
        if expected != found {
            return Err(Error::Length { what, expected, found });
        }
    }
    for (what, limit, found) in
        [("operands of one operation", MAX_OPERANDS, operands), ("outputs of one operation", MAX_OUTPUTS, outputs)]
    {
        if found > limit {
            return Err(Error::Length { what, expected: limit, found });
        }
    }
    Ok(())
}

/// One part of a column, folded block by block.
fn fold_rows<T, M>(
    program: &Program,
    fold: Fold,
    operands: &[Operand<'_, Host<T>>],
    count: usize,
    column: usize,
    rows: std::ops::Range<usize>,
) -> [f64; MAX_OUTPUTS]
where
    T: Scalar,
    M: BlockMath<T>,
{
    let mut registers = Registers::new();
    let mut results = [[T::default(); BLOCK]; MAX_OUTPUTS];
    let mut totals = [neutral(fold); MAX_OUTPUTS];
    for start in rows.clone().step_by(BLOCK) {
        let size = BLOCK.min(rows.end - start);
        let inputs: [BlockInput<'_, T>; MAX_OPERANDS] = std::array::from_fn(|index| match operands.get(index) {
            Some(operand) => block_input::<T>(operand, column, start, size),
            None => BlockInput::Uniform(T::default()),
        });
        let mut blocks = results.each_mut().map(|result| &mut result[..size]);
        let run = program.run_block::<_, M>(&inputs[..operands.len()], &mut registers, &mut blocks[..count]);
        debug_assert!(run.is_ok(), "arity was checked");
        for (total, result) in totals.iter_mut().zip(&results[..count]) {
            *total = combine(fold, *total, fold_lanes(fold, &result[..size]));
        }
    }
    totals
}

/// The fold of some lanes, in a few turns that do not wait for each other.
fn fold_lanes<T: Scalar>(fold: Fold, lanes: &[T]) -> f64 {
    fn in_turns<T: Scalar>(neutral: f64, lanes: &[T], combine: impl Fn(f64, f64) -> f64) -> f64 {
        let (mut turns, (chunks, rest)) = ([neutral; 8], lanes.as_chunks::<8>());
        for chunk in chunks {
            turns.iter_mut().zip(chunk).for_each(|(turn, lane)| *turn = combine(*turn, lane.to_f64()));
        }
        turns.iter_mut().zip(rest).for_each(|(turn, lane)| *turn = combine(*turn, lane.to_f64()));
        turns.into_iter().fold(neutral, combine)
    }
    match fold {
        Fold::Sum => in_turns(0.0, lanes, |a, b| a + b),
        Fold::Max => in_turns(f64::NEG_INFINITY, lanes, f64::max),
        Fold::Min => in_turns(f64::INFINITY, lanes, f64::min),
    }
}

/// What a program reads of one operand in one block of a column.
fn block_input<'a, T>(operand: &Operand<'a, Host<T>>, column: usize, start: usize, size: usize) -> BlockInput<'a, T>
where
    T: Scalar,
{
    match *operand {
        Operand::Vector(vector) => {
            let (rows, columns) = vector.shape();
            let first = column.min(columns - 1) * rows + start;
            BlockInput::Lanes(&vector.values()[first..first + size])
        }
        Operand::Reduced(reduced) => BlockInput::Uniform(T::from_f64(at_column(reduced.values(), column))),
        Operand::Constant(value) => BlockInput::Uniform(T::from_f64(value)),
        Operand::Output(_) => BlockInput::Uniform(T::default()),
    }
}

/// A number of a column, or the one that all columns share.
fn at_column(values: &[f64], column: usize) -> f64 {
    values[column.min(values.len() - 1)]
}

/// The fold of nothing.
fn neutral(fold: Fold) -> f64 {
    match fold {
        Fold::Sum => 0.0,
        Fold::Max => f64::NEG_INFINITY,
        Fold::Min => f64::INFINITY,
    }
}

/// The fold of two.
fn combine(fold: Fold, a: f64, b: f64) -> f64 {
    match fold {
        Fold::Sum => a + b,
        Fold::Max => a.max(b),
        Fold::Min => a.min(b),
    }
}
