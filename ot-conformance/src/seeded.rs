//! Numbers that are the same in every run.

use ot_core::Scalar;

/// A small generator of pseudo-random numbers (SplitMix64: Steele, Lea, Flood 2014) for tests.
///
/// ```
/// use ot_conformance::Seeded;
///
/// let (mut one, mut other) = (Seeded::new(7), Seeded::new(7));
/// assert_eq!(one.uniform(0.0, 1.0), other.uniform(0.0, 1.0));
/// ```
#[derive(Clone, Debug)]
pub struct Seeded {
    state: u64,
}

impl Seeded {
    /// The sequence of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number of [low, high).
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * ((self.bits() >> 11) as f64 / (1_u64 << 53) as f64)
    }

    /// A number of the standard normal distribution (Box, Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - self.uniform(0.0, 1.0), self.uniform(0.0, 1.0));
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// `len` elements of [low, high).
    pub fn elements<T: Scalar>(&mut self, len: usize, low: f64, high: f64) -> Vec<T> {
        (0..len).map(|_| T::from_f64(self.uniform(low, high))).collect()
    }

    /// `len` numbers of [low, high), each rounded to an element type and held in f64.
    pub fn vector<T: Scalar>(&mut self, len: usize, low: f64, high: f64) -> Vec<f64> {
        numbers(&self.elements::<T>(len, low, high))
    }

    /// `len` weights of a sum near one; one of five is zero if wanted (never the first).
    pub fn weights<T: Scalar>(&mut self, len: usize, zeros: bool) -> Vec<f64> {
        let weights: Vec<f64> = (0..len)
            .map(|index| match self.uniform(0.0, 1.0) {
                small if zeros && index > 0 && small < 0.2 => 0.0,
                _ => self.uniform(0.1, 1.0),
            })
            .collect();
        let mass: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| T::from_f64(weight / mass).to_f64()).collect()
    }
}

/// Numbers of f64 as elements.
pub(crate) fn elements<T: Scalar>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&value| T::from_f64(value)).collect()
}

/// Elements as numbers of f64.
pub(crate) fn numbers<T: Scalar>(values: &[T]) -> Vec<f64> {
    values.iter().map(|value| value.to_f64()).collect()
}
