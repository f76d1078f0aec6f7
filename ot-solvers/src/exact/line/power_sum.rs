//! Sums of masses times powers of distances, in units of their own.

use ot_core::{Error, cost::check_bound, power_of_two::product};

use super::coupled::Coupled;
use crate::unit::{invertible_power_of_two, power_of_two};

/// Below this part of the mass, powers of the distances that matter may have vanished in a unit that bounds all distances.
const VANISHING: f64 = 1e-150;

/// int |F^-1 - G^-1|^p = `sum` times `mass_unit` times `distance_unit`^p, so that neither powers nor masses leave the range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PowerSum {
    /// At most 2.
    pub(crate) sum: f64,
    /// A power of two.
    pub(crate) mass_unit: f64,
    /// A power of two above all distances; the largest distance itself where powers in that unit would vanish.
    pub(crate) distance_unit: f64,
    pub(crate) exponent: f64,
}

impl PowerSum {
    /// The sum of mass times |x - y|^p along the monotone coupling, p in [1, inf). One pass, mostly.
    ///
    /// # Errors
    /// [`Error::CostOverflow`] for mass that moves by a distance beyond the range.
    pub(crate) fn along(coupled: &Coupled<'_>, exponent: f64) -> Result<Self, Error> {
        let mass_unit = invertible_power_of_two(coupled.mass);
        let (per_mass, reach) = (mass_unit.recip(), coupled.reach());
        if reach < 0.5 * f64::MAX {
            let distance_unit = invertible_power_of_two(2.0 * power_of_two(reach));
            let inverse = distance_unit.recip();
            let sum = match exponent {
                1.0 => coupled.total(per_mass, |x, y| ((x - y) * inverse).abs()),
                2.0 => coupled.total(per_mass, |x, y| ((x - y) * inverse) * ((x - y) * inverse)),
                p => coupled.total(per_mass, |x, y| ((x - y) * inverse).abs().powf(p)),
            };
            if sum >= VANISHING {
                return Ok(Self { sum, mass_unit, distance_unit, exponent });
            }
        }
        let largest = coupled.largest_distance();
        check_bound::<f64>(largest)?;
        let distance_unit = if largest > 0.0 { largest } else { 1.0 };
        let sum = coupled.total(per_mass, |x, y| ((x - y) / distance_unit).abs().powf(exponent));
        Ok(Self { sum, mass_unit, distance_unit, exponent })
    }

    /// The p-th root, a distance.
    pub(crate) fn root(self) -> f64 {
        self.root_in(1.0)
    }

    /// The p-th root, of distances in a unit, a power of two.
    pub(crate) fn root_in(self, unit: f64) -> f64 {
        let root = |value: f64| root(value, self.exponent);
        let mass = self.sum * self.mass_unit;
        if mass.is_normal() {
            product([root(mass), self.distance_unit, unit])
        } else {
            product([root(self.sum), root(self.mass_unit), self.distance_unit, unit])
        }
    }

    /// The sum itself.
    ///
    /// # Errors
    /// [`Error::CostOverflow`].
    pub(crate) fn value(self) -> Result<f64, Error> {
        self.value_in(1.0)
    }

    /// The sum itself, of distances in a unit, a power of two.
    ///
    /// # Errors
    /// [`Error::CostOverflow`].
    pub(crate) fn value_in(self, unit: f64) -> Result<f64, Error> {
        let length = self.distance_unit * unit;
        let value = match self.exponent {
            1.0 => product([self.sum, self.mass_unit, self.distance_unit, unit]),
            2.0 => product([self.sum, self.mass_unit, self.distance_unit, self.distance_unit, unit, unit]),
            p if length.powf(p).is_normal() => product([self.sum, self.mass_unit, length.powf(p)]),
            p => self.root_in(unit).powf(p),
        };
        check_bound::<f64>(value)?;
        Ok(value)
    }
}

/// The p-th root, to the last digits for values far from 1 too, where those of 1/p do not suffice.
fn root(value: f64, p: f64) -> f64 {
    match p {
        _ if value == 0.0 => 0.0,
        1.0 => value,
        2.0 => value.sqrt(),
        p => {
            // value = part 2^exponent, exponent = p whole + a rest that no product has rounded.
            let power = power_of_two(value);
            let exponent = power.log2().round();
            let whole = (exponent / p).round();
            let rest = whole.mul_add(-p, exponent) / p;
            (value / power).powf(p.recip()) * rest.exp2() * whole.exp2()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::root;

    #[test]
    fn roots_keep_their_digits() {
        for exponent in [-1074, -1021, -700, -3, 0, 6, 1020] {
            let power = 2_f64.powi(exponent / 2) * 2_f64.powi(exponent - exponent / 2);
            for p in [1.5, 3.0, 7.0, 40.0, 1e10] {
                let found = root(power, p);
                let expected = (f64::from(exponent) / p * std::f64::consts::LN_2).exp();
                assert!((found / expected - 1.0).abs() < 1e-13, "{exponent} {p}");
            }
            assert_eq!(root(power, 1.0), power);
        }
        assert_eq!([root(8.0, 3.0), root(2_f64.powi(-300), 1.5), root(0.0, 5.0)], [2.0, 2_f64.powi(-200), 0.0]);
    }
}
