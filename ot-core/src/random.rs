//! Random numbers by counting: Philox 4x32-10 (Salmon, Moraes, Dror, Shaw 2011).
//!
//! A block of four words is a function of a key and a counter, with no state between blocks. So the numbers of a sample depend
//! on the seed and on which sample it is, and on nothing that was drawn before.

use std::f64::consts::TAU;

/// Rounds of the bijection.
const ROUNDS: usize = 10;

/// The multipliers, and what the key grows by from round to round.
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// A sequence of random numbers that a seed, a stream and an index name.
///
/// ```
/// use ot_core::Random;
///
/// let (mut one, mut same, mut other) = (Random::new(7, 0, 3), Random::new(7, 0, 3), Random::new(7, 0, 4));
/// let x = one.uniform();
/// assert!((0.0..1.0).contains(&x) && x == same.uniform() && x != other.uniform());
/// ```
#[derive(Clone, Debug)]
pub struct Random {
    key: [u32; 2],
    /// Block, stream, and both halves of the index.
    counter: [u32; 4],
    words: [u64; 2],
    /// Words of the block that were handed out.
    used: usize,
    /// The second number of the last pair of normal ones.
    spare: Option<f64>,
}

impl Random {
    /// The sequence number `index` of a stream. Sequences of different names share no block.
    #[must_use]
    pub fn new(seed: u64, stream: u32, index: u64) -> Self {
        let [key, [low, high]] = [seed, index].map(|word| [word as u32, (word >> 32) as u32]);
        Self { key, counter: [0, stream, low, high], words: [0; 2], used: 2, spare: None }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        if self.used == self.words.len() {
            let [a, b, c, d] = philox(self.key, self.counter).map(u64::from);
            self.words = [a | b << 32, c | d << 32];
            self.counter[0] = self.counter[0].wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.words[self.used - 1]
    }

    /// A uniform number of [0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A uniform index below `len`; 0 if that is 0. (Its bias, of at most `len` / 2^64, is below all that samples can tell.)
    pub fn index(&mut self, len: usize) -> usize {
        ((u128::from(self.bits()) * len as u128) >> 64) as usize
    }

    /// A number of the standard normal distribution (Box, Muller 1958).
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        let (sine, cosine) = (TAU * self.uniform()).sin_cos();
        self.spare = Some(radius * sine);
        radius * cosine
    }
}

/// The bijection of a counter under a key.
fn philox(mut key: [u32; 2], mut counter: [u32; 4]) -> [u32; 4] {
    for _ in 0..ROUNDS {
        let [first, second] =
            [(MULTIPLIERS[0], counter[0]), (MULTIPLIERS[1], counter[2])].map(|(a, b)| u64::from(a) * u64::from(b));
        let high = |product: u64| (product >> 32) as u32;
        counter = [high(second) ^ counter[1] ^ key[0], second as u32, high(first) ^ counter[3] ^ key[1], first as u32];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers that the authors publish with their code.
    #[test]
    fn philox_gives_the_published_words() {
        assert_eq!(philox([0; 2], [0; 4]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 2], [u32::MAX; 4]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let (key, counter) = ([0xa409_3822, 0x299f_31d0], [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344]);
        assert_eq!(philox(key, counter), [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let count = 20_000;
        let mut sums = [0.0; 4];
        for index in 0..count {
            let mut random = Random::new(1, 0, index);
            let (u, z) = (random.uniform(), random.normal());
            let next = random.normal();
            sums.iter_mut().zip([u - 0.5, z, z * z - 1.0, z * next]).for_each(|(sum, value)| *sum += value);
        }
        // Five standard errors, of deviations at most sqrt(2).
        for sum in sums {
            assert!(sum.abs() < 5.0 * (2.0 * count as f64).sqrt(), "{sums:?}");
        }
        let mut random = Random::new(2, 0, 0);
        assert!((0..1000).map(|_| random.index(7)).all(|index| index < 7));
    }
}
