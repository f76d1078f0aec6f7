//! Vectors of 512 bits, for the loops that a compiler does not vectorise well by itself.
//!
//! A [`Vector`] has sixteen lanes of `f32` or eight of `f64` at every level: one register of AVX-512, two of AVX2,
//! an array for the scalar twin. So the order of a sum, and with it its bits, is the same at all levels that fuse.
//!
//! Bodies over vectors are compiled by [`dispatch`](super::level::dispatch), which names the type that belongs to a
//! level only inside of code that runs where detection found the level: this is what makes the intrinsics below safe
//! to call.

use super::element::Element;
use super::level::BASELINE_IS_FUSED;

/// Lanes of the longest vector.
pub(super) const MOST_LANES: usize = 16;

/// Asks memory for the line that holds a place of a slice, or of what stands behind it, before it is needed. A hint: it reads nothing.
#[inline(always)]
pub(super) fn fetch<T>(values: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE belongs to the baseline of x86-64, and a prefetch neither faults nor changes anything, whatever the address.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(values.as_ptr().wrapping_add(at).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, at);
}

/// Some lanes of an element type, and what can be done to all of them at once.
pub trait Vector: Copy {
    /// What the lanes hold.
    type Element: Element;

    /// Number of lanes.
    const LEN: usize;

    /// Registers that it takes; of the scalar twin, more than can be counted on.
    const REGISTERS: usize;

    /// The same number in all lanes.
    fn splat(value: Self::Element) -> Self;

    /// The first numbers of a slice, which has at least as many as there are lanes.
    fn load(values: &[Self::Element]) -> Self;

    /// Writes the lanes to the start of a slice, which has at least as many numbers.
    fn store(self, out: &mut [Self::Element]);

    /// The sum.
    fn plus(self, other: Self) -> Self;

    /// The difference.
    fn minus(self, other: Self) -> Self;

    /// The product.
    fn times(self, other: Self) -> Self;

    /// `self·b + c`, rounded once where the level fuses.
    fn multiply_add(self, b: Self, c: Self) -> Self;

    /// The larger of two; where either is NaN, `other`.
    fn larger(self, other: Self) -> Self;

    /// The smaller of two; where either is NaN, `other`.
    fn smaller(self, other: Self) -> Self;

    /// The absolute value.
    fn magnitude(self) -> Self;

    /// The square root.
    fn square_root(self) -> Self;

    /// The natural logarithm.
    fn logarithm(self) -> Self;

    /// Is any lane at least that of another?
    fn reaches(self, other: Self) -> bool;

    /// `self·2^k` for the integer `k` in the lowest bits of the significand of `rounded`.
    fn times_power_of_two(self, rounded: Self) -> Self;

    /// The exponent and the upper eight bits of the significand of positive numbers, as one integer.
    fn upper_bits(self) -> Self;

    /// The number that has these as its upper bits.
    fn of_upper_bits(self) -> Self;
}

/// The vectors of an element type, level by level.
pub trait Vectors: Element {
    /// For the scalar twin.
    type Baseline: Vector<Element = Self>;
    /// For AVX2.
    #[cfg(target_arch = "x86_64")]
    type Avx2: Vector<Element = Self>;
    /// For AVX-512.
    #[cfg(target_arch = "x86_64")]
    type Avx512: Vector<Element = Self>;
}

impl Vectors for f32 {
    type Baseline = Array<f32, 16>;
    #[cfg(target_arch = "x86_64")]
    type Avx2 = x86::Avx2F32;
    #[cfg(target_arch = "x86_64")]
    type Avx512 = x86::Avx512F32;
}

impl Vectors for f64 {
    type Baseline = Array<f64, 8>;
    #[cfg(target_arch = "x86_64")]
    type Avx2 = x86::Avx2F64;
    #[cfg(target_arch = "x86_64")]
    type Avx512 = x86::Avx512F64;
}

/// An array of lanes: the scalar twin.
#[derive(Clone, Copy)]
pub struct Array<T, const N: usize>([T; N]);

/// Implements operations of [`Array`] lane by lane.
macro_rules! lanewise {
    ($($name:ident($lane:ident: $($other:ident),*) = $result:expr;)*) => {$(
        #[inline(always)]
        fn $name(mut self, $($other: Self),*) -> Self {
            for lane in 0..N {
                let $lane = self.0[lane];
                $(let $other = $other.0[lane];)*
                self.0[lane] = $result;
            }
            self
        }
    )*};
}

impl<T: Element, const N: usize> Vector for Array<T, N> {
    type Element = T;
    const LEN: usize = N;
    const REGISTERS: usize = N;

    #[inline(always)]
    fn splat(value: T) -> Self {
        Self([value; N])
    }

    #[inline(always)]
    fn load(values: &[T]) -> Self {
        Self(values[..N].as_chunks().0[0])
    }

    #[inline(always)]
    fn store(self, out: &mut [T]) {
        out[..N].copy_from_slice(&self.0);
    }

    #[inline(always)]
    fn reaches(self, other: Self) -> bool {
        self.0.iter().zip(&other.0).fold(false, |any, (own, other)| any | (own >= other))
    }

    lanewise! {
        plus(a: b) = a + b;
        minus(a: b) = a - b;
        times(a: b) = a * b;
        multiply_add(a: b, c) = a.multiply_add::<{ BASELINE_IS_FUSED }>(b, c);
        larger(a: b) = if a > b { a } else { b };
        smaller(a: b) = if a < b { a } else { b };
        magnitude(a:) = a.magnitude();
        square_root(a:) = a.square_root();
        logarithm(a:) = a.logarithm::<{ BASELINE_IS_FUSED }>();
        times_power_of_two(a: rounded) = a.times_power_of_two(rounded);
        upper_bits(a:) = a.upper_bits();
        of_upper_bits(a:) = a.of_upper_bits();
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! Registers of x86-64.

    use std::arch::x86_64::*;

    use super::{Element, Vector};

    /// Implements [`Vector`] for some registers, each operation by one or a few instructions for each of them.
    macro_rules! implement_vector {
        (
            #[doc = $doc:literal]
            $vector:ident: $($register:ident $k:tt),* of $lanes:literal $type:ident,
            splat $splat:ident, load $load:ident, store $store:ident, add $add:ident, subtract $subtract:ident,
            multiply $multiply:ident, fused $fused:ident, max $max:ident, min $min:ident, root $root:ident,
            compare $compare:ident,
            to_integers $to_integers:ident, of_integers $of_integers:ident, splat_integers $splat_integers:ident,
            add_integers $add_integers:ident, and $and:ident, or $or:ident, left $left:ident, right $right:ident,
            significand $significand:literal, integer $integer:ident
        ) => {
            #[doc = $doc]
            #[derive(Clone, Copy)]
            pub struct $vector($($register),*);

            impl Vector for $vector {
                type Element = $type;
                const LEN: usize = Self::REGISTERS * $lanes;
                const REGISTERS: usize = [$($k),*].len();

                #[inline(always)]
                fn splat(value: $type) -> Self {
                    // SAFETY: this type is named only where its instructions exist (see the head of this file).
                    unsafe { Self($({ let _ = $k; $splat(value) }),*) }
                }

                #[inline(always)]
                fn load(values: &[$type]) -> Self {
                    let values = values[..Self::LEN].as_ptr();
                    // SAFETY: the instructions exist, and the slice has just been found to have a number for each lane.
                    unsafe { Self($($load(values.add($k * $lanes))),*) }
                }

                #[inline(always)]
                fn store(self, out: &mut [$type]) {
                    let out = out[..Self::LEN].as_mut_ptr();
                    // SAFETY: the instructions exist, and the slice has just been found to have a place for each lane.
                    unsafe { $($store(out.add($k * $lanes), self.$k);)* }
                }

                #[inline(always)]
                fn plus(self, other: Self) -> Self {
                    // SAFETY: this type is named only where its instructions exist.
                    unsafe { Self($($add(self.$k, other.$k)),*) }
                }

                #[inline(always)]
                fn minus(self, other: Self) -> Self {
                    // SAFETY: this type is named only where its instructions exist.
                    unsafe { Self($($subtract(self.$k, other.$k)),*) }
                }

                #[inline(always)]
                fn times(self, other: Self) -> Self {
                    // SAFETY: this type is named only where its instructions exist.
                    unsafe { Self($($multiply(self.$k, other.$k)),*) }
                }

                #[inline(always)]
                fn multiply_add(self, b: Self, c: Self) -> Self {
                    // SAFETY: this type is named only where its instructions exist.
                    unsafe { Self($($fused(self.$k, b.$k, c.$k)),*) }
                }

                #[inline(always)]
                fn larger(self, other: Self) -> Self {
                    // SAFETY: this type is named only where its instructions exist.
                    unsafe { Self($($max(self.$k, other.$k)),*) }
                }

                #[inline(always)]
                fn smaller(self, other: Self) -> Self {
                    // SAFETY: this type is named only where its instructions exist.
                    unsafe { Self($($min(self.$k, other.$k)),*) }
                }

                #[inline(always)]
                fn magnitude(self) -> Self {
                    // SAFETY: this type is named only where its instructions exist.
                    unsafe {
                        let mask = $splat_integers($integer::MAX);
                        Self($($of_integers($and($to_integers(self.$k), mask))),*)
                    }
                }

                #[inline(always)]
                fn square_root(self) -> Self {
                    // SAFETY: this type is named only where its instructions exist.
                    unsafe { Self($($root(self.$k)),*) }
                }

                #[inline(always)]
                fn logarithm(self) -> Self {
                    let mut lanes = [<$type as Element>::NEUTRAL_OF_SUM; Self::REGISTERS * $lanes];
                    self.store(&mut lanes);
                    // A plain loop, which is compiled with the code around it: a closure may not be inlined.
                    for lane in &mut lanes {
                        *lane = lane.logarithm::<true>();
                    }
                    Self::load(&lanes)
                }

                #[inline(always)]
                fn reaches(self, other: Self) -> bool {
                    // SAFETY: this type is named only where its instructions exist.
                    unsafe { false $(|| $compare(self.$k, other.$k))* }
                }

                #[inline(always)]
                fn times_power_of_two(self, rounded: Self) -> Self {
                    // SAFETY: this type is named only where its instructions exist.
                    unsafe {
                        Self($({
                            let exponent = $left::<$significand>($to_integers(rounded.$k));
                            $of_integers($add_integers($to_integers(self.$k), exponent))
                        }),*)
                    }
                }

                #[inline(always)]
                fn upper_bits(self) -> Self {
                    let holder = <$type as Element>::HOLDER;
                    // SAFETY: this type is named only where its instructions exist.
                    let held = unsafe {
                        let holder = $splat_integers(holder.to_bits() as $integer);
                        Self($({
                            let upper = $right::<{ $significand - 8 }>($to_integers(self.$k));
                            $of_integers($or(upper, holder))
                        }),*)
                    };
                    held.minus(Self::splat(holder))
                }

                #[inline(always)]
                fn of_upper_bits(self) -> Self {
                    let held = self.plus(Self::splat(<$type as Element>::HOLDER));
                    // SAFETY: this type is named only where its instructions exist.
                    unsafe { Self($($of_integers($left::<{ $significand - 8 }>($to_integers(held.$k)))),*) }
                }
            }
        };
    }

    /// Declares tests of two registers: is any lane of one at least that of the other?
    macro_rules! tests_of_registers {
        ($($name:ident($register:ident): |$a:ident, $b:ident| $test:expr;)*) => {$(
            /// # Safety
            /// The instructions of the register must exist.
            #[inline(always)]
            unsafe fn $name($a: $register, $b: $register) -> bool {
                // SAFETY: asked of the caller.
                unsafe { $test }
            }
        )*};
    }

    tests_of_registers! {
        any_at_least_256_ps(__m256): |a, b| _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(a, b)) != 0;
        any_at_least_256_pd(__m256d): |a, b| _mm256_movemask_pd(_mm256_cmp_pd::<_CMP_GE_OQ>(a, b)) != 0;
        any_at_least_512_ps(__m512): |a, b| _mm512_cmp_ps_mask::<_CMP_GE_OQ>(a, b) != 0;
        any_at_least_512_pd(__m512d): |a, b| _mm512_cmp_pd_mask::<_CMP_GE_OQ>(a, b) != 0;
    }

    implement_vector!(
        /// Two registers of AVX2.
        Avx2F32: __m256 0, __m256 1 of 8 f32,
        splat _mm256_set1_ps, load _mm256_loadu_ps, store _mm256_storeu_ps, add _mm256_add_ps,
        subtract _mm256_sub_ps, multiply _mm256_mul_ps, fused _mm256_fmadd_ps, max _mm256_max_ps, min _mm256_min_ps,
        root _mm256_sqrt_ps,
        compare any_at_least_256_ps, to_integers _mm256_castps_si256, of_integers _mm256_castsi256_ps,
        splat_integers _mm256_set1_epi32, add_integers _mm256_add_epi32, and _mm256_and_si256, or _mm256_or_si256,
        left _mm256_slli_epi32, right _mm256_srli_epi32, significand 23, integer i32
    );

    implement_vector!(
        /// Two registers of AVX2.
        Avx2F64: __m256d 0, __m256d 1 of 4 f64,
        splat _mm256_set1_pd, load _mm256_loadu_pd, store _mm256_storeu_pd, add _mm256_add_pd,
        subtract _mm256_sub_pd, multiply _mm256_mul_pd, fused _mm256_fmadd_pd, max _mm256_max_pd, min _mm256_min_pd,
        root _mm256_sqrt_pd,
        compare any_at_least_256_pd, to_integers _mm256_castpd_si256, of_integers _mm256_castsi256_pd,
        splat_integers _mm256_set1_epi64x, add_integers _mm256_add_epi64, and _mm256_and_si256, or _mm256_or_si256,
        left _mm256_slli_epi64, right _mm256_srli_epi64, significand 52, integer i64
    );

    implement_vector!(
        /// One register of AVX-512.
        Avx512F32: __m512 0 of 16 f32,
        splat _mm512_set1_ps, load _mm512_loadu_ps, store _mm512_storeu_ps, add _mm512_add_ps,
        subtract _mm512_sub_ps, multiply _mm512_mul_ps, fused _mm512_fmadd_ps, max _mm512_max_ps, min _mm512_min_ps,
        root _mm512_sqrt_ps,
        compare any_at_least_512_ps, to_integers _mm512_castps_si512, of_integers _mm512_castsi512_ps,
        splat_integers _mm512_set1_epi32, add_integers _mm512_add_epi32, and _mm512_and_si512, or _mm512_or_si512,
        left _mm512_slli_epi32, right _mm512_srli_epi32, significand 23, integer i32
    );

    implement_vector!(
        /// One register of AVX-512.
        Avx512F64: __m512d 0 of 8 f64,
        splat _mm512_set1_pd, load _mm512_loadu_pd, store _mm512_storeu_pd, add _mm512_add_pd,
        subtract _mm512_sub_pd, multiply _mm512_mul_pd, fused _mm512_fmadd_pd, max _mm512_max_pd, min _mm512_min_pd,
        root _mm512_sqrt_pd,
        compare any_at_least_512_pd, to_integers _mm512_castpd_si512, of_integers _mm512_castsi512_pd,
        splat_integers _mm512_set1_epi64, add_integers _mm512_add_epi64, and _mm512_and_si512, or _mm512_or_si512,
        left _mm512_slli_epi64, right _mm512_srli_epi64, significand 52, integer i64
    );
}
