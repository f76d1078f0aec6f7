//! Formulas of vectors and of numbers per column, on any backend.

use std::ops::{Index, IndexMut};

use ot_core::{Backend, Device, Error, Fold, Operand, Program, Recorder, Scalar, Side};

/// One thing for each side.
#[derive(Copy, Clone, Debug, Default, PartialEq)]
pub(crate) struct Sided<T> {
    /// That of the rows of the plan.
    pub(crate) source: T,
    /// That of its columns.
    pub(crate) target: T,
}

impl<T> Sided<T> {
    /// The pair of `of(Source)` and `of(Target)`.
    pub(crate) fn try_new(mut of: impl FnMut(Side) -> Result<T, Error>) -> Result<Self, Error> {
        Ok(Self { source: of(Side::Source)?, target: of(Side::Target)? })
    }
}

impl<T> Index<Side> for Sided<T> {
    type Output = T;

    fn index(&self, side: Side) -> &T {
        side.of([&self.source, &self.target])
    }
}

impl<T> IndexMut<Side> for Sided<T> {
    fn index_mut(&mut self, side: Side) -> &mut T {
        side.of([&mut self.source, &mut self.target])
    }
}

/// A new vector: formula(operands), entry by entry.
pub(crate) fn vector<D: Device, const N: usize>(
    backend: &dyn Backend<D>,
    (rows, columns): (usize, usize),
    operands: [Operand<'_, D>; N],
    formula: impl for<'a> FnOnce([Recorder<'a>; N]) -> Recorder<'a>,
) -> Result<D::Vector, Error> {
    let mut out = backend.alloc(rows, columns)?;
    backend.map(&Program::record(|inputs| [formula(inputs)])?, &operands, &mut [&mut out])?;
    Ok(out)
}

/// New numbers, one per column: the sum of formula(operands) over the rows.
pub(crate) fn sum<D: Device, const N: usize>(
    backend: &dyn Backend<D>,
    (rows, columns): (usize, usize),
    operands: [Operand<'_, D>; N],
    formula: impl for<'a> FnOnce([Recorder<'a>; N]) -> Recorder<'a>,
) -> Result<D::Reduced, Error> {
    let mut out = backend.alloc_reduced(columns)?;
    let program = Program::record(|inputs| [formula(inputs)])?;
    backend.reduce(&program, Fold::Sum, rows, &operands, &mut [&mut out])?;
    Ok(out)
}

/// New numbers, one per column: formula(operands).
pub(crate) fn numbers<D: Device, const N: usize>(
    backend: &dyn Backend<D>,
    columns: usize,
    operands: [Operand<'_, D>; N],
    formula: impl for<'a> FnOnce([Recorder<'a>; N]) -> Recorder<'a>,
) -> Result<D::Reduced, Error> {
    let mut out = backend.alloc_reduced(columns)?;
    backend.map_reduced(&Program::record(|inputs| [formula(inputs)])?, &operands, &mut [&mut out])?;
    Ok(out)
}

/// Changes a vector in place: formula(entry, operands), entry by entry.
pub(crate) fn update<D: Device, const N: usize>(
    backend: &dyn Backend<D>,
    out: &mut D::Vector,
    operands: [Operand<'_, D>; N],
    formula: impl for<'a> FnOnce(Recorder<'a>, [Recorder<'a>; N]) -> Recorder<'a>,
) -> Result<(), Error> {
    let program = Program::record_dynamic(N + 1, |inputs| {
        vec![formula(inputs[0], std::array::from_fn(|index| inputs[index + 1]))]
    })?;
    let mut all = vec![Operand::Output(0)];
    all.extend(operands);
    backend.map(&program, &all, &mut [out])
}

/// out <- out + x.
pub(crate) fn add<D: Device>(backend: &dyn Backend<D>, out: &mut D::Vector, x: &D::Vector) -> Result<(), Error> {
    update(backend, out, [Operand::Vector(x)], |out, [x]| out + x)
}

/// factor x.
pub(crate) fn scaled<D: Device>(backend: &dyn Backend<D>, x: &D::Vector, factor: f64) -> Result<D::Vector, Error> {
    vector(backend, backend.shape(x), [Operand::Vector(x), Operand::Constant(factor)], |[x, factor]| x * factor)
}

/// x o y, entry by entry, of the shape of y.
pub(crate) fn times<D: Device>(backend: &dyn Backend<D>, x: &D::Vector, y: &D::Vector) -> Result<D::Vector, Error> {
    vector(backend, backend.shape(y), [x, y].map(Operand::Vector), |[x, y]| x * y)
}

/// Vectors side by side, `blocks` of them, added up: one of as many columns as a block has. More than one block is added up
/// on the host.
pub(crate) fn sum_of_blocks<D: Device>(
    backend: &dyn Backend<D>,
    side_by_side: D::Vector,
    blocks: usize,
) -> Result<D::Vector, Error> {
    if blocks == 1 {
        return Ok(side_by_side);
    }
    let (rows, all) = backend.shape(&side_by_side);
    let columns = all / blocks;
    let mut sums = vec![0.0; rows * columns];
    for block in host(backend, &side_by_side)?.chunks_exact((rows * columns).max(1)) {
        sums.iter_mut().zip(block).for_each(|(sum, value)| *sum += value.to_f64());
    }
    let sums: Vec<_> = sums.into_iter().map(D::Elem::from_f64).collect();
    backend.upload(&sums, columns)
}

/// The channels of each column of a batch added up.
pub(crate) fn sum_of_channels<D: Device>(
    backend: &dyn Backend<D>,
    channels: &D::Vector,
    columns: usize,
) -> Result<D::Vector, Error> {
    let (rows, all) = backend.shape(channels);
    let of_column = all / columns;
    let entry = |index: usize| if index / columns / of_column == index % columns { 1.0 } else { 0.0 };
    let mut out = backend.alloc(rows, columns)?;
    backend.mix(channels, &(0..all * columns).map(entry).collect::<Vec<_>>(), &mut out)?;
    Ok(out)
}

/// A vector of one column for each column of a batch, each of them repeated for every channel.
pub(crate) fn for_channels<D: Device>(
    backend: &dyn Backend<D>,
    vector: &D::Vector,
    channels: usize,
) -> Result<D::Vector, Error> {
    let (rows, columns) = backend.shape(vector);
    let entry =
        |index: usize| if index / (columns * channels) == index % (columns * channels) / channels { 1.0 } else { 0.0 };
    let mut out = backend.alloc(rows, columns * channels)?;
    backend.mix(vector, &(0..columns * columns * channels).map(entry).collect::<Vec<_>>(), &mut out)?;
    Ok(out)
}

/// Channel `index` of each column of a batch.
pub(crate) fn channel<D: Device>(
    backend: &dyn Backend<D>,
    channels: &D::Vector,
    columns: usize,
    index: usize,
) -> Result<D::Vector, Error> {
    let (rows, all) = backend.shape(channels);
    let of_column = all / columns;
    let entry = |place: usize| if place / columns == place % columns * of_column + index { 1.0 } else { 0.0 };
    let mut out = backend.alloc(rows, columns)?;
    backend.mix(channels, &(0..all * columns).map(entry).collect::<Vec<_>>(), &mut out)?;
    Ok(out)
}

/// The channels of a vector over the columns of a batch, as those from `first` on of `channels` that are otherwise zero.
pub(crate) fn channels_of<D: Device>(
    backend: &dyn Backend<D>,
    vector: &D::Vector,
    columns: usize,
    channels: usize,
    first: usize,
) -> Result<D::Vector, Error> {
    let (rows, own) = backend.shape(vector);
    let (all, of_column) = (columns * channels, own / columns);
    let target = |from: usize| from / of_column * channels + first + from % of_column;
    let entry = |place: usize| if place % all == target(place / all) { 1.0 } else { 0.0 };
    let mut out = backend.alloc(rows, all)?;
    backend.mix(vector, &(0..own * all).map(entry).collect::<Vec<_>>(), &mut out)?;
    Ok(out)
}

/// The channels of some vectors over the columns of a batch, side by side for each column.
pub(crate) fn joined<D: Device>(
    backend: &dyn Backend<D>,
    (rows, columns): (usize, usize),
    vectors: &[D::Vector],
) -> Result<D::Vector, Error> {
    let channels = |vector: &D::Vector| backend.shape(vector).1 / columns;
    let all = vectors.iter().map(channels).sum();
    let mut joined = backend.filled(0.0, rows, columns * all)?;
    let mut first = 0;
    for vector in vectors {
        add(backend, &mut joined, &channels_of(backend, vector, columns, all, first)?)?;
        first += channels(vector);
    }
    Ok(joined)
}

/// <x, y> of each column.
pub(crate) fn pairing<D: Device>(
    backend: &dyn Backend<D>,
    shape: (usize, usize),
    x: &D::Vector,
    y: &D::Vector,
) -> Result<D::Reduced, Error> {
    sum(backend, shape, [Operand::Vector(x), Operand::Vector(y)], |[x, y]| x * y)
}

/// The sum of numbers over the columns.
pub(crate) fn total<D: Device>(backend: &dyn Backend<D>, numbers: &D::Reduced) -> Result<f64, Error> {
    Ok(backend.read(&[numbers])?[0].iter().sum())
}

/// Row-major blocks of rows x columns, each turned column-major, tile by tile.
pub(crate) fn column_major<T: Copy>(values: &[T], rows: usize, columns: usize) -> Vec<T> {
    /// Rows and columns of a tile: what a few pages hold.
    const TILE: usize = 32;
    let mut out = values.to_vec();
    let blocks = values.chunks_exact((rows * columns).max(1)).zip(out.chunks_exact_mut((rows * columns).max(1)));
    for (block, out) in blocks {
        for first in (0..columns).step_by(TILE) {
            for row in 0..rows {
                for column in first..columns.min(first + TILE) {
                    out[column * rows + row] = block[row * columns + column];
                }
            }
        }
    }
    out
}

/// Column-major blocks of rows x columns, each turned row-major.
pub(crate) fn row_major<T: Copy>(values: &[T], rows: usize, columns: usize) -> Vec<T> {
    column_major(values, columns, rows)
}

/// A vector on the host.
pub(crate) fn host<D: Device>(backend: &dyn Backend<D>, vector: &D::Vector) -> Result<Vec<D::Elem>, Error> {
    Ok(backend.download(&[vector])?.swap_remove(0))
}

#[cfg(test)]
mod tests {
    use ot_conformance::ReferenceBackend;
    use ot_core::Host;

    use super::*;

    #[test]
    fn blocks_and_channels_are_added_up() {
        let backend = ReferenceBackend::<f64>::default();
        let backend: &dyn Backend<Host<f64>> = &backend;
        let four = backend.upload(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], 4).unwrap();
        let copy = backend.copied(&four).unwrap();
        assert_eq!(host(backend, &sum_of_blocks(backend, copy, 2).unwrap()).unwrap(), [6.0, 8.0, 10.0, 12.0]);
        assert_eq!(host(backend, &sum_of_channels(backend, &four, 2).unwrap()).unwrap(), [4.0, 6.0, 12.0, 14.0]);
        let two = backend.upload(&[1.0, 2.0, 3.0, 4.0], 2).unwrap();
        let repeated = host(backend, &for_channels(backend, &two, 2).unwrap()).unwrap();
        assert_eq!(repeated, [1.0, 2.0, 1.0, 2.0, 3.0, 4.0, 3.0, 4.0]);
        let second = channel(backend, &four, 2, 1).unwrap();
        assert_eq!(host(backend, &second).unwrap(), [3.0, 4.0, 7.0, 8.0]);
        let placed = host(backend, &channels_of(backend, &second, 2, 2, 1).unwrap()).unwrap();
        assert_eq!(placed, [0.0, 0.0, 3.0, 4.0, 0.0, 0.0, 7.0, 8.0]);
        let three = host(backend, &joined(backend, (2, 2), &[second, four]).unwrap()).unwrap();
        assert_eq!(three, [3.0, 4.0, 1.0, 2.0, 3.0, 4.0, 7.0, 8.0, 5.0, 6.0, 7.0, 8.0]);
    }

    #[test]
    fn layouts_are_turned_block_by_block() {
        let row_wise = [1, 2, 3, 4, 5, 6, 10, 20, 30, 40, 50, 60];
        let column_wise = [1, 4, 2, 5, 3, 6, 10, 40, 20, 50, 30, 60];
        assert_eq!(column_major(&row_wise, 2, 3), column_wise);
        assert_eq!(row_major(&column_wise, 2, 3), row_wise);
    }
}
