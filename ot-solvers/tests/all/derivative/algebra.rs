//! Formulas of vectors and of numbers per column, on any backend.

use std::ops::{Index, IndexMut};

use ot_core::{Backend, Device, Error, Fold, Operand, Program, Recorder, Side};

/// One thing for each side.
#[derive(Copy, Clone, Debug, Default, PartialEq)]
pub struct Sided<T> {
    /// That of the rows of the plan.
    pub source: T,
    /// That of its columns.
    pub target: T,
}

impl<T> Sided<T> {
    /// The pair of `of(Source)` and `of(Target)`.
    pub fn try_new(mut of: impl FnMut(Side) -> Result<T, Error>) -> Result<Self, Error> {
        Ok(Self { source: of(Side::Source)?, target: of(Side::Target)? })
    }

    /// The same pair, borrowed.
    pub fn as_ref(&self) -> Sided<&T> {
        Sided { source: &self.source, target: &self.target }
    }
}

impl<T> Index<Side> for Sided<T> {
    type Output = T;

    fn index(&self, side: Side) -> &T {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }
}

impl<T> IndexMut<Side> for Sided<T> {
    fn index_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Source => &mut self.source,
            Side::Target => &mut self.target,
        }
    }
}

/// A new vector: formula(operands), entry by entry.
pub fn vector<D: Device, const N: usize>(
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
pub fn sum<D: Device, const N: usize>(
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
pub fn numbers<D: Device, const N: usize>(
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
pub fn update<D: Device, const N: usize>(
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

/// A new vector: vectors side by side, one for each column of a batch, added up.
pub fn sum_of_columns<D: Device>(
    backend: &dyn Backend<D>,
    side_by_side: &D::Vector,
    columns: usize,
) -> Result<D::Vector, Error> {
    let (rows, all) = backend.shape(side_by_side);
    let mut out = backend.alloc(rows, columns)?;
    let entry = |index: usize| if index / columns % columns == index % columns { 1.0 } else { 0.0 };
    backend.mix(side_by_side, &(0..all * columns).map(entry).collect::<Vec<_>>(), &mut out)?;
    Ok(out)
}

/// <x, y> of each column.
pub fn pairing<D: Device>(
    backend: &dyn Backend<D>,
    shape: (usize, usize),
    x: &D::Vector,
    y: &D::Vector,
) -> Result<D::Reduced, Error> {
    sum(backend, shape, [Operand::Vector(x), Operand::Vector(y)], |[x, y]| x * y)
}
