//! Sixteen numbers in vector registers, for the loops that the compiler does not vectorise by itself.
//!
//! | level    | `f32`             | `f64`             |
//! |----------|-------------------|-------------------|
//! | AVX-512  | one of 512 bits   | two of 512 bits   |
//! | AVX2     | two of 256 bits   | four of 256 bits  |
//! | baseline | an array          | an array          |
//!
//! Lane `k` is number `k` at every level, and every operation acts lane by lane: the bits do not depend on the width.
//!
//! Whoever has a value that implements [`Registers`] has the proof that the instructions exist, and may use it safely.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m256, __m256d, __m512, __m512d, _mm256_fmadd_pd, _mm256_fmadd_ps, _mm256_loadu_pd, _mm256_loadu_ps,
    _mm256_set1_pd, _mm256_set1_ps, _mm256_storeu_pd, _mm256_storeu_ps, _mm512_fmadd_pd, _mm512_fmadd_ps,
    _mm512_loadu_pd, _mm512_loadu_ps, _mm512_set1_pd, _mm512_set1_ps, _mm512_storeu_pd, _mm512_storeu_ps,
};

use super::element::Element;

/// Numbers side by side.
pub(super) const LANES: usize = 16;

/// The registers of a level, as the proof that the machine has them.
pub(super) trait Registers<T>: Copy {
    /// Sixteen numbers.
    type Sixteen: Copy;

    /// Rows of sums that stay in registers.
    const ROWS: usize;

    /// The same number in every lane.
    fn splat(self, value: T) -> Self::Sixteen;

    /// Numbers of memory.
    fn load(self, values: &[T; LANES]) -> Self::Sixteen;

    /// The numbers.
    fn lanes(self, numbers: Self::Sixteen) -> [T; LANES];

    /// a·b + c.
    fn multiply_add(self, a: Self::Sixteen, b: Self::Sixteen, c: Self::Sixteen) -> Self::Sixteen;
}

/// Arrays, which every machine has: the scalar twin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrays<const FUSED: bool>;

impl<T: Element, const FUSED: bool> Registers<T> for Arrays<FUSED> {
    type Sixteen = [T; LANES];

    const ROWS: usize = 2;

    #[inline(always)]
    fn splat(self, value: T) -> [T; LANES] {
        [value; LANES]
    }

    #[inline(always)]
    fn load(self, values: &[T; LANES]) -> [T; LANES] {
        *values
    }

    #[inline(always)]
    fn lanes(self, numbers: [T; LANES]) -> [T; LANES] {
        numbers
    }

    #[inline(always)]
    fn multiply_add(self, a: [T; LANES], b: [T; LANES], c: [T; LANES]) -> [T; LANES] {
        std::array::from_fn(|lane| a[lane].multiply_add::<FUSED>(b[lane], c[lane]))
    }
}

/// The registers of AVX2.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx2(());

/// The registers of AVX-512.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx512(());

#[cfg(target_arch = "x86_64")]
impl Avx2 {
    /// The registers of a machine that has them.
    ///
    /// # Safety
    /// The machine has AVX2 and FMA.
    pub(super) unsafe fn assume() -> Self {
        Self(())
    }
}

#[cfg(target_arch = "x86_64")]
impl Avx512 {
    /// The registers of a machine that has them.
    ///
    /// # Safety
    /// The machine has AVX-512 F.
    pub(super) unsafe fn assume() -> Self {
        Self(())
    }
}

/// Implements [`Registers`] for some registers of one kind.
#[cfg(target_arch = "x86_64")]
macro_rules! implement_registers {
    (
        $level:ty, $type:ty, [$register:ty; $count:literal], $rows:literal, $splat:ident, $load:ident, $store:ident,
        $multiply_add:ident
    ) => {
        impl Registers<$type> for $level {
            type Sixteen = [$register; $count];

            const ROWS: usize = $rows;

            #[inline(always)]
            fn splat(self, value: $type) -> [$register; $count] {
                // SAFETY: `self` is the proof that the instruction exists.
                [unsafe { $splat(value) }; $count]
            }

            #[inline(always)]
            fn load(self, values: &[$type; LANES]) -> [$register; $count] {
                let mut registers: [$register; $count] = Registers::<$type>::splat(self, 0.0);
                for (register, values) in registers.iter_mut().zip(values.chunks_exact(LANES / $count)) {
                    // SAFETY: the chunk is as long as the register, and `self` is the proof that the instruction exists.
                    *register = unsafe { $load(values.as_ptr()) };
                }
                registers
            }

            #[inline(always)]
            fn lanes(self, numbers: [$register; $count]) -> [$type; LANES] {
                let mut lanes = [0.0; LANES];
                for (register, lanes) in numbers.iter().zip(lanes.chunks_exact_mut(LANES / $count)) {
                    // SAFETY: the chunk is as long as the register, and `self` is the proof that the instruction exists.
                    unsafe { $store(lanes.as_mut_ptr(), *register) };
                }
                lanes
            }

            #[inline(always)]
            fn multiply_add(
                self,
                a: [$register; $count],
                b: [$register; $count],
                c: [$register; $count],
            ) -> [$register; $count] {
                let mut sums = c;
                for (index, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: `self` is the proof that the instruction exists.
                    *sum = unsafe { $multiply_add(a[index], b[index], *sum) };
                }
                sums
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
implement_registers!(Avx512, f32, [__m512; 1], 8, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_fmadd_ps);
#[cfg(target_arch = "x86_64")]
implement_registers!(Avx512, f64, [__m512d; 2], 8, _mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd, _mm512_fmadd_pd);
#[cfg(target_arch = "x86_64")]
implement_registers!(Avx2, f32, [__m256; 2], 4, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_fmadd_ps);
#[cfg(target_arch = "x86_64")]
implement_registers!(Avx2, f64, [__m256d; 4], 2, _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_fmadd_pd);
