//! Loops at the instruction set of the machine that runs them, whatever the target of the compiler guarantees.
//!
//! ```
//! use ot_core::instructions::{Loops, run_widest};
//!
//! /// The least sum of two rows.
//! struct LeastSum<'a>(&'a [f64], &'a [f64]);
//!
//! impl Loops for LeastSum<'_> {
//!     type Output = f64;
//!
//!     #[inline(always)]
//!     fn run(self) -> f64 {
//!         let mut least = f64::INFINITY;
//!         for (x, y) in self.0.iter().zip(self.1) {
//!             least = if x + y < least { x + y } else { least };
//!         }
//!         least
//!     }
//! }
//!
//! assert_eq!(run_widest(LeastSum(&[3.0, 1.0, 2.0], &[0.0, 0.5, -1.0])), 1.0);
//! ```

#![allow(unsafe_code, reason = "functions with target features are called after their detection")]

/// Loops over lanes. [`run`](Self::run), and what it calls, is inlined: it is compiled once for each instruction set.
pub trait Loops {
    /// What the loops give.
    type Output;

    /// Runs them. To be marked `#[inline(always)]`.
    fn run(self) -> Self::Output;
}

/// Runs loops by the widest vectors of this machine: AVX-512 or AVX2 where it has them, else those of the target.
///
/// Operations are the same and none is contracted, so the bits are those of the target's own instructions.
#[inline]
pub fn run_widest<L: Loops>(loops: L) -> L::Output {
    #[cfg(target_arch = "x86_64")]
    {
        if has_avx512() {
            // SAFETY: all that it is compiled for was detected.
            return unsafe { run_avx512(loops) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: AVX2 was detected.
            return unsafe { run_avx2(loops) };
        }
    }
    loops.run()
}

/// All that [`run_avx512`] is compiled for.
#[cfg(target_arch = "x86_64")]
#[inline]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx2")
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn run_avx2<L: Loops>(loops: L) -> L::Output {
    loops.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx2")]
fn run_avx512<L: Loops>(loops: L) -> L::Output {
    loops.run()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sums<'a>(&'a [f64], &'a mut [f64]);

    impl Loops for Sums<'_> {
        type Output = ();

        #[inline(always)]
        fn run(self) {
            for (x, out) in self.0.iter().zip(self.1) {
                *out = x * x + 1.0 / 3.0;
            }
        }
    }

    #[test]
    fn every_instruction_set_has_the_bits_of_the_target() {
        let x: Vec<f64> = (0..1001).map(|i| f64::from(i).sqrt() - 7.1).collect();
        let mut expected = vec![0.0; x.len()];
        Sums(&x, &mut expected).run();
        let check = |run: &dyn Fn(Sums<'_>)| {
            let mut found = vec![0.0; x.len()];
            run(Sums(&x, &mut found));
            assert_eq!(found, expected);
        };
        check(&|sums| run_widest(sums));
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") {
                // SAFETY: AVX2 was detected.
                check(&|sums| unsafe { run_avx2(sums) });
            }
            if has_avx512() {
                // SAFETY: all that it is compiled for was detected.
                check(&|sums| unsafe { run_avx512(sums) });
            }
        }
    }
}
