//! Costs on the line by their definition: sorted atoms, merged by exact cumulative masses.

use std::cmp::Ordering;

use super::sum::{ExactSum, largest_exponent, sum, times_power_of_two};

/// Masses moved by distances, in units of powers of two in which neither vanishes.
#[derive(Clone, Debug)]
pub struct Monotone {
    /// Distance and mass.
    moves: Vec<(f64, f64)>,
    length_exponent: i32,
    mass_exponent: i32,
}

impl Monotone {
    /// The coupling, in order, of points x of weights a with points y of weights b, of exactly one sum.
    #[must_use]
    pub fn new(x: &[f64], a: &[f64], y: &[f64], b: &[f64]) -> Self {
        // Half the size of the largest, so that no distance overflows.
        let length_exponent = largest_exponent(&[x, y].concat()) + 2;
        let sorted = |points: &[f64], weights: &[f64]| {
            let scaled = points.iter().map(|&point| times_power_of_two(point, -length_exponent));
            let mut atoms: Vec<(f64, f64)> = scaled.zip(weights.iter().copied()).collect();
            atoms.retain(|(_, weight)| *weight > 0.0);
            atoms.sort_by(|one, other| one.0.total_cmp(&other.0));
            atoms
        };
        let (sources, targets) = (sorted(x, a), sorted(y, b));
        let mass_exponent = largest_exponent(a);
        let (mut moves, mut i, mut j) = (Vec::new(), 0, 0);
        let (mut supply, mut demand) = (ExactSum::default(), ExactSum::default());
        loop {
            while !supply.is_positive() && i < sources.len() {
                supply = ExactSum::of(sources[i].1);
                i += 1;
            }
            while !demand.is_positive() && j < targets.len() {
                demand = ExactSum::of(targets[j].1);
                j += 1;
            }
            if !(supply.is_positive() && demand.is_positive()) {
                return Self { moves, length_exponent, mass_exponent };
            }
            let moved = if supply.compare(&demand) == Ordering::Less { supply.clone() } else { demand.clone() };
            let distance = (sources[i - 1].0 - targets[j - 1].0).abs();
            moves.push((distance, times_power_of_two(moved.value(), -mass_exponent)));
            supply = supply.minus(&moved);
            demand = demand.minus(&moved);
        }
    }

    /// The largest distance that mass goes.
    #[must_use]
    pub fn largest(&self) -> f64 {
        times_power_of_two(self.longest(), self.length_exponent)
    }

    fn longest(&self) -> f64 {
        self.moves.iter().fold(0.0, |longest, (distance, _)| longest.max(*distance))
    }

    /// sum of mass (distance / longest)^p.
    fn shares(&self, p: f64) -> f64 {
        let longest = self.longest();
        sum(self.moves.iter().map(|(distance, mass)| mass * (distance / longest).powf(p)))
    }

    /// W_p; the largest distance for p infinite.
    #[must_use]
    pub fn distance(&self, p: f64) -> f64 {
        let longest = self.longest();
        if longest == 0.0 || p == f64::INFINITY {
            return self.largest();
        }
        // log2 of mass^(1/p), whole and rest.
        let log2 = (f64::from(self.mass_exponent) + self.shares(p).log2()) / p;
        times_power_of_two(longest * (log2 - log2.floor()).exp2(), self.length_exponent + log2.floor() as i32)
    }

    /// sum of mass distance^p; zero or infinite where it leaves the range.
    #[must_use]
    pub fn power(&self, p: f64) -> f64 {
        let longest = self.longest();
        if longest == 0.0 {
            return 0.0;
        }
        let log2 = p * f64::from(self.length_exponent) + f64::from(self.mass_exponent);
        let scale = longest.powf(p) * (log2 - log2.floor()).exp2();
        times_power_of_two(scale * self.shares(p), log2.floor() as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_distances() {
        let coupling = Monotone::new(&[3.0, 0.0, 1.0], &[0.25, 0.5, 0.25], &[1.0, 2.0], &[0.5, 0.5]);
        assert_eq!((coupling.distance(1.0), coupling.power(2.0), coupling.largest()), (1.0, 1.0, 1.0));
        let far = Monotone::new(&[0.0, 100.0], &[0.5; 2], &[0.0, 200.0], &[0.5; 2]);
        assert!((far.distance(160.0) - 99.57).abs() < 0.01);
        let ends = Monotone::new(&[-1.7e308], &[1.0], &[1.7e308], &[1.0]);
        assert_eq!(ends.largest(), f64::INFINITY);
    }
}
