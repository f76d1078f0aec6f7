//! Forward and backward substitution by a sparse triangular factor, for one right-hand side or eight side by side.
//!
//! The columns of the factor come in panels of up to [`PANEL`] that share their rows. A panel is stored row after row, so that
//! a substitution reads one stream of entries, forwards and then backwards, and meets the numbers of each row once for all
//! columns of the panel. The entries of a panel are
//!
//! ```text
//! 1 / d of each of its G columns; l of its G (G - 1) / 2 pairs of columns, column by column; l of each row, G to a row
//! ```
//!
//! where `-l` is what stands in the factor: every product is added. A right-hand side is computed alike alone and beside
//! others, to the bit.

use super::element::Element;
use super::level::{Level, dispatch};
use super::vector::Vector;

/// The most columns of a panel: with eight right-hand sides, their numbers fill half of the registers of AVX2.
pub const PANEL: usize = 4;

/// Right-hand sides that go side by side.
pub const SIDES: usize = 8;

/// Some neighbouring columns of a factor that share their rows.
#[derive(Clone, Copy, Debug)]
pub struct Panel {
    /// The row of its first column; those of the others follow.
    pub first: u32,
    /// How many columns it has: 1 to [`PANEL`].
    pub columns: u32,
    /// Where its rows below its columns are in the list of rows.
    pub rows: [u32; 2],
}

impl Panel {
    /// How many rows are below its columns.
    pub const fn below(&self) -> usize {
        (self.rows[1] - self.rows[0]) as usize
    }

    /// How many entries are stored.
    pub const fn entries(&self) -> usize {
        let columns = self.columns as usize;
        columns + columns * (columns - 1) / 2 + columns * self.below()
    }
}

/// Panels in the order of elimination.
#[derive(Clone, Copy, Debug)]
pub struct Panels<'a, T> {
    /// The panels.
    pub panels: &'a [Panel],
    /// Lists of rows, of which panels may share parts.
    pub rows: &'a [u32],
    /// The entries, panel after panel.
    pub entries: &'a [T],
}

/// `x ← L⁻¹·x`, for `W` right-hand sides of 1 or [`SIDES`], row by row. Panics for another `W`, and for a row beyond `x`.
pub fn forward<const W: usize>(level: Level, factor: Panels<'_, f64>, x: &mut [[f64; W]]) {
    match W {
        SIDES => {
            let x = regrouped::<W, SIDES>(x);
            dispatch!(level, vectors bodies::forward_of_eight::<f64>(factor: Panels<'_, f64>, x: &mut [[f64; SIDES]]))
        }
        _ => {
            let x = regrouped::<W, 1>(x);
            dispatch!(level, elements bodies::forward_of_one::<f64>(factor: Panels<'_, f64>, x: &mut [[f64; 1]]))
        }
    }
}

/// `x ← L⁻ᵀ·D⁻¹·x`, as [`forward`].
pub fn backward<const W: usize>(level: Level, factor: Panels<'_, f64>, x: &mut [[f64; W]]) {
    match W {
        SIDES => {
            let x = regrouped::<W, SIDES>(x);
            dispatch!(level, vectors bodies::backward_of_eight::<f64>(factor: Panels<'_, f64>, x: &mut [[f64; SIDES]]))
        }
        _ => {
            let x = regrouped::<W, 1>(x);
            dispatch!(level, elements bodies::backward_of_one::<f64>(factor: Panels<'_, f64>, x: &mut [[f64; 1]]))
        }
    }
}

/// The same rows, where `W` is `V`.
fn regrouped<const W: usize, const V: usize>(x: &mut [[f64; W]]) -> &mut [[f64; V]] {
    assert_eq!(W, V, "right-hand sides side by side");
    x.as_flattened_mut().as_chunks_mut().0
}

/// The numbers of one row.
trait Lanes: Copy {
    type Element: Element;

    fn splat(value: Self::Element) -> Self;
    fn load(values: &[Self::Element]) -> Self;
    fn store(self, out: &mut [Self::Element]);
    /// `self·b + c`.
    fn multiply_add(self, b: Self, c: Self) -> Self;
}

impl<V: Vector> Lanes for V {
    type Element = V::Element;

    #[inline(always)]
    fn splat(value: V::Element) -> Self {
        <V as Vector>::splat(value)
    }

    #[inline(always)]
    fn load(values: &[V::Element]) -> Self {
        <V as Vector>::load(values)
    }

    #[inline(always)]
    fn store(self, out: &mut [V::Element]) {
        <V as Vector>::store(self, out);
    }

    #[inline(always)]
    fn multiply_add(self, b: Self, c: Self) -> Self {
        <V as Vector>::multiply_add(self, b, c)
    }
}

/// The number of a single right-hand side.
#[derive(Clone, Copy)]
struct One<T, const FUSED: bool>(T);

impl<T: Element, const FUSED: bool> Lanes for One<T, FUSED> {
    type Element = T;

    #[inline(always)]
    fn splat(value: T) -> Self {
        Self(value)
    }

    #[inline(always)]
    fn load(values: &[T]) -> Self {
        Self(values[0])
    }

    #[inline(always)]
    fn store(self, out: &mut [T]) {
        out[0] = self.0;
    }

    #[inline(always)]
    fn multiply_add(self, b: Self, c: Self) -> Self {
        Self(self.0.multiply_add::<FUSED>(b.0, c.0))
    }
}

mod bodies {
    //! The loops, inlined into the functions of each level.

    use super::{Element, Lanes, One, PANEL, Panel, Panels, SIDES, Vector};

    #[inline(always)]
    pub(super) fn forward_of_eight<V: Vector>(factor: Panels<'_, V::Element>, x: &mut [[V::Element; SIDES]]) {
        forward::<V, SIDES>(factor, x);
    }

    #[inline(always)]
    pub(super) fn forward_of_one<T: Element, const FUSED: bool>(factor: Panels<'_, T>, x: &mut [[T; 1]]) {
        forward::<One<T, FUSED>, 1>(factor, x);
    }

    #[inline(always)]
    pub(super) fn backward_of_eight<V: Vector>(factor: Panels<'_, V::Element>, x: &mut [[V::Element; SIDES]]) {
        backward::<V, SIDES>(factor, x);
    }

    #[inline(always)]
    pub(super) fn backward_of_one<T: Element, const FUSED: bool>(factor: Panels<'_, T>, x: &mut [[T; 1]]) {
        backward::<One<T, FUSED>, 1>(factor, x);
    }

    #[inline(always)]
    fn forward<L: Lanes, const W: usize>(factor: Panels<'_, L::Element>, x: &mut [[L::Element; W]]) {
        let mut entries = factor.entries;
        for panel in factor.panels {
            let (own, rest) = entries.split_at(panel.entries());
            entries = rest;
            match panel.columns {
                1 => forward_panel::<L, W, 1>(factor.rows, panel, own, x),
                2 => forward_panel::<L, W, 2>(factor.rows, panel, own, x),
                3 => forward_panel::<L, W, 3>(factor.rows, panel, own, x),
                _ => forward_panel::<L, W, PANEL>(factor.rows, panel, own, x),
            }
        }
    }

    #[inline(always)]
    fn backward<L: Lanes, const W: usize>(factor: Panels<'_, L::Element>, x: &mut [[L::Element; W]]) {
        let mut entries = factor.entries;
        for panel in factor.panels.iter().rev() {
            let (rest, own) = entries.split_at(entries.len() - panel.entries());
            entries = rest;
            match panel.columns {
                1 => backward_panel::<L, W, 1>(factor.rows, panel, own, x),
                2 => backward_panel::<L, W, 2>(factor.rows, panel, own, x),
                3 => backward_panel::<L, W, 3>(factor.rows, panel, own, x),
                _ => backward_panel::<L, W, PANEL>(factor.rows, panel, own, x),
            }
        }
    }

    /// Pivots, pairs of columns, and rows with their entries.
    #[inline(always)]
    fn parts<'a, T, const G: usize>(
        rows: &'a [u32],
        panel: &Panel,
        entries: &'a [T],
    ) -> (&'a [T], &'a [T], impl DoubleEndedIterator<Item = (&'a u32, &'a [T; G])>) {
        let (pivots, entries) = entries.split_at(G);
        let (pairs, entries) = entries.split_at(G * (G - 1) / 2);
        let [start, end] = panel.rows;
        (pivots, pairs, rows[start as usize..end as usize].iter().zip(entries.as_chunks::<G>().0))
    }

    #[inline(always)]
    fn forward_panel<L: Lanes, const W: usize, const G: usize>(
        rows: &[u32],
        panel: &Panel,
        entries: &[L::Element],
        x: &mut [[L::Element; W]],
    ) {
        let (_, pairs, rows) = parts::<_, G>(rows, panel, entries);
        let block = &mut x[panel.first as usize..][..G];
        let mut own = [L::splat(L::Element::NEUTRAL_OF_SUM); G];
        own.iter_mut().zip(block.iter()).for_each(|(own, row)| *own = L::load(row));
        let mut pair = 0;
        for column in 0..G {
            for below in column + 1..G {
                own[below] = L::splat(pairs[pair]).multiply_add(own[column], own[below]);
                pair += 1;
            }
        }
        block.iter_mut().zip(own).for_each(|(row, own)| own.store(row));
        for (&row, entries) in rows {
            let row = &mut x[row as usize];
            let mut sum = L::load(row);
            for column in 0..G {
                sum = L::splat(entries[column]).multiply_add(own[column], sum);
            }
            sum.store(row);
        }
    }

    #[inline(always)]
    fn backward_panel<L: Lanes, const W: usize, const G: usize>(
        rows: &[u32],
        panel: &Panel,
        entries: &[L::Element],
        x: &mut [[L::Element; W]],
    ) {
        let (pivots, pairs, rows) = parts::<_, G>(rows, panel, entries);
        let mut sums = [L::splat(L::Element::NEUTRAL_OF_SUM); G];
        for (&row, entries) in rows.rev() {
            let from = L::load(&x[row as usize]);
            for column in 0..G {
                sums[column] = L::splat(entries[column]).multiply_add(from, sums[column]);
            }
        }
        let block = &mut x[panel.first as usize..][..G];
        let mut pair = pairs.len();
        for column in (0..G).rev() {
            let mut sum = L::splat(pivots[column]).multiply_add(L::load(&block[column]), sums[column]);
            for below in (column + 1..G).rev() {
                pair -= 1;
                sum = L::splat(pairs[pair]).multiply_add(sums[below], sum);
            }
            sums[column] = sum;
            sum.store(&mut block[column]);
        }
    }
}
