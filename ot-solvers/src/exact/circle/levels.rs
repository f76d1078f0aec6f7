//! Atoms around a circle, and the levels that they fill.

use super::super::{line::QuantileFunction, sum::CompensatedSum};

/// An atom, so many turns of the circle on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lap {
    pub(super) atom: usize,
    pub(super) turn: f64,
}

impl Lap {
    /// The level up to which the atom reaches.
    pub(super) fn end(self, levels: &Levels) -> f64 {
        levels.cumulative[self.atom] + self.turn * levels.mass()
    }

    /// On to the next atom.
    pub(super) fn step(&mut self, levels: &Levels) {
        self.atom += 1;
        if self.atom == levels.cumulative.len() {
            *self = Self { atom: 0, turn: self.turn + 1.0 };
        }
    }

    /// Where the atom lies: a number in [-L/2, L/2], and the turns from there.
    pub(super) fn position(self, levels: &Levels) -> (f64, f64) {
        let Place { centred, .. } = levels.places[self.atom];
        (centred, self.turn + f64::from(u8::from(centred < 0.0)))
    }
}

/// Atoms of mass in their order around the circle, from 0 to L.
#[derive(Clone, Debug)]
pub(super) struct Levels {
    places: Vec<Place>,
    /// Mass up to and with each atom, rounded once.
    cumulative: Vec<f64>,
}

/// An atom.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// In [-L/2, L/2], which no rounding has touched: a number below 0 stands for one turn more.
    centred: f64,
    /// The index of the measure.
    index: u32,
}

impl Levels {
    /// The atoms of mass, with weights taken `scale` times.
    pub(super) fn new(function: &QuantileFunction, circumference: f64, scale: f64) -> Self {
        let parts = function.positions().iter().zip(function.order()).zip(function.weights());
        let heavy = parts.filter(|(_, weight)| **weight > 0.0);
        let mut atoms: Vec<(Place, f64)> = heavy
            .map(|((&position, &index), &weight)| {
                (Place { centred: centred(position, circumference), index }, scale * weight)
            })
            .collect();
        atoms.sort_by(|(one, _), (other, _)| {
            let key = |place: &Place| place.centred < 0.0;
            key(one).cmp(&key(other)).then(one.centred.total_cmp(&other.centred))
        });
        let mut mass = CompensatedSum::default();
        let cumulative = atoms.iter().map(|&(_, weight)| {
            mass.add(weight);
            mass.value()
        });
        Self { cumulative: cumulative.collect(), places: atoms.iter().map(|&(place, _)| place).collect() }
    }

    /// The same with a mass that rounding may tell from its own.
    pub(super) fn with_mass(mut self, mass: f64) -> Self {
        self.cumulative.iter_mut().for_each(|level| *level = level.min(mass));
        if let Some(last) = self.cumulative.last_mut() {
            *last = mass;
        }
        self
    }

    pub(super) fn cumulative(&self) -> &[f64] {
        &self.cumulative
    }

    /// The index that the measure has an atom by.
    pub(super) fn atom(&self, place: usize) -> u32 {
        self.places[place].index
    }

    pub(super) fn mass(&self) -> f64 {
        self.cumulative.last().copied().unwrap_or(0.0)
    }
}

/// The number in [-L/2, L/2] that is whole turns from a position: an exact remainder.
pub(super) fn centred(position: f64, circumference: f64) -> f64 {
    let rest = position % circumference;
    if rest > 0.5 * circumference {
        rest - circumference
    } else if rest < -0.5 * circumference {
        rest + circumference
    } else {
        rest
    }
}
