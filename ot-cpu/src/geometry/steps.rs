//! The step of a marginal's penalty on a panel: softmins become potentials, and by-products are counted.

use std::ops::Range;

use ot_core::{
    Host, RecordedPenalty, Side, Sweep,
    program::{BlockInput, Registers},
};

use super::{CpuScalar, anchors::part, cut::PANEL, group::Lanes};
use crate::backend::VectorisedMath;

/// What one task counted in one column.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Sum of the factors.
    pub(super) factors: f64,
    /// Factors that underflowed.
    pub(super) lost: usize,
    /// Sum of the weights.
    pub(super) weight: f64,
    /// By how much the potential moved, in units of epsilon, summed over the weights.
    pub(super) movement: f64,
    /// By how much factors differ from those of the anchor, as a part of them, summed over the weights.
    pub(super) distance: f64,
    pub(super) residual: f64,
    pub(super) mass: f64,
    pub(super) dual: f64,
}

impl Tally {
    /// Counts how far a panel has moved from its entering potential, and from its anchor.
    pub(super) fn measure<T: CpuScalar>(
        &mut self,
        weights: &[T],
        entering: &[T],
        potential: &[T],
        factors: &[T],
        anchored: Option<&[f64]>,
        epsilon: f64,
    ) {
        for (r, &weight) in weights.iter().enumerate() {
            let weight = weight.to_f64();
            let moved = (potential[r].to_f64() - entering[r].to_f64()).abs() / epsilon;
            self.weight += weight;
            self.movement += weight * moved.min(1.0);
            self.distance += weight * anchored.map_or(1.0, |anchored| part(factors[r], anchored[r]));
        }
    }
}

/// The relaxation of each column of a group.
#[derive(Clone, Copy)]
enum Omegas<'a> {
    /// Of all columns of the batch, and which of them the group takes.
    Batch(&'a [f64], &'a [usize]),
    /// Of a single column.
    One(f64),
}

impl Omegas<'_> {
    fn get(self, k: usize) -> f64 {
        match self {
            Self::Batch(omegas, group) => omegas[group[k].min(omegas.len() - 1)],
            Self::One(omega) => omega,
        }
    }
}

/// One side of a group of columns, as its steps read it.
pub(super) struct Steps<'a, T> {
    penalty: &'a RecordedPenalty,
    side: Side,
    /// The entering potential.
    entering: Lanes<'a, T>,
    weights: Lanes<'a, T>,
    relaxation: Omegas<'a>,
    epsilon: T,
    /// Are by-products wanted?
    hints: bool,
}

impl<'a, T: CpuScalar> Steps<'a, T> {
    pub(super) fn new(group: &'a [usize], epsilon: f64, sweep: &'a Sweep<'_, Host<T>>, side: Side) -> Self {
        let marginal = sweep.marginal(side);
        Self {
            penalty: marginal.penalty(),
            side,
            entering: Lanes::Vector(sweep.potentials.side(side), group),
            weights: Lanes::Vector(marginal.weights(), group),
            relaxation: Omegas::Batch(sweep.relaxation.values(), group),
            epsilon: T::from_f64(epsilon),
            hints: sweep.by_products.is_some(),
        }
    }

    /// One column, whose slices are given.
    pub(super) fn of_column(
        penalty: &'a RecordedPenalty,
        side: Side,
        [entering, weights]: [&'a [T]; 2],
        relaxation: f64,
        epsilon: f64,
        hints: bool,
    ) -> Self {
        Self {
            penalty,
            side,
            entering: Lanes::one(entering),
            weights: Lanes::one(weights),
            relaxation: Omegas::One(relaxation),
            epsilon: T::from_f64(epsilon),
            hints,
        }
    }

    /// The entering potential of column k of the group.
    pub(super) fn entering(&self, k: usize) -> &'a [T] {
        self.entering.get(k)
    }

    /// The weights of column k of the group.
    pub(super) fn weights(&self, k: usize) -> &'a [T] {
        self.weights.get(k)
    }

    /// Turns the softmins of a panel in column k into its new potentials, and counts the by-products.
    pub(super) fn advance(
        &self,
        k: usize,
        panel: Range<usize>,
        registers: &mut Registers<T>,
        softmins: &mut [T],
        tally: &mut Tally,
    ) {
        let len = softmins.len();
        let mut softmin = [T::default(); PANEL];
        softmin[..len].copy_from_slice(softmins);
        let f = BlockInput::Lanes(&self.entering.get(k)[panel.clone()]);
        let s = BlockInput::Lanes(&softmin[..len]);
        let a = BlockInput::Lanes(&self.weights.get(k)[panel]);
        let (omega, epsilon) =
            (BlockInput::Uniform(T::from_f64(self.relaxation.get(k))), BlockInput::Uniform(self.epsilon));

        let step = self.penalty.relaxed_step();
        let run = step.run_block::<_, VectorisedMath>(&[f, s, omega, epsilon], registers, &mut [softmins]);
        debug_assert!(run.is_ok(), "the arity of a penalty's programs is fixed");
        if !self.hints {
            return;
        }
        let (mut residual, mut mass) = ([T::default(); PANEL], [T::default(); PANEL]);
        let sum = |lanes: &[T]| lanes.iter().map(|lane| lane.to_f64()).sum::<f64>();
        let inputs = [f, s, a, epsilon];
        let run = match self.side {
            Side::Source => self.penalty.residual_and_mass_of_softmin().run_block::<_, VectorisedMath>(
                &inputs,
                registers,
                &mut [&mut residual[..len], &mut mass[..len]],
            ),
            Side::Target => self.penalty.residual_of_softmin().run_block::<_, VectorisedMath>(
                &inputs,
                registers,
                &mut [&mut residual[..len]],
            ),
        };
        debug_assert!(run.is_ok(), "the arity of a penalty's programs is fixed");
        tally.residual += sum(&residual[..len]);
        tally.mass += sum(&mass[..len]);
        let dual = &mut residual[..len];
        let run = self.penalty.dual().run_block::<_, VectorisedMath>(&[f, a], registers, &mut [&mut *dual]);
        debug_assert!(run.is_ok(), "the arity of a penalty's programs is fixed");
        tally.dual += sum(dual);
    }
}
