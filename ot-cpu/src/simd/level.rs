//! Which instruction set a pass is compiled for, and the choice between them at run time.
//!
//! A [`Level`] in hand is the proof that this machine has its instructions: the only ways to get
//! one are [`Level::BASELINE`], which every machine of the target has, and the detecting
//! constructors. The calls into feature-enabled code rest on that.

/// An instruction-set level that the running machine is known to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level(Isa);

/// The levels themselves. Private to this module, so that no [`Level`] is made without detection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Isa {
    /// What the compilation target guarantees.
    Baseline,
    /// AVX2 with fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 (F, DQ, BW, VL).
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// Whether the baseline of the target has a fused multiply-add instruction.
pub(super) const BASELINE_IS_FUSED: bool = cfg!(any(target_arch = "aarch64", target_feature = "fma"));

impl Level {
    /// What the compilation target guarantees: the scalar twin of the other levels.
    pub const BASELINE: Level = Level(Isa::Baseline);

    /// The best level that this machine has. Detected once by the standard library, then cached.
    #[inline]
    #[must_use]
    pub fn detected() -> Level {
        Level::avx512().or_else(Level::avx2).unwrap_or(Level::BASELINE)
    }

    /// Every level that this machine has, the baseline first.
    pub fn available() -> impl Iterator<Item = Level> {
        [Some(Level::BASELINE), Level::avx2(), Level::avx512()].into_iter().flatten()
    }

    /// Whether this level fuses multiply and add; the levels that do share their bits.
    #[must_use]
    pub const fn is_fused(self) -> bool {
        BASELINE_IS_FUSED || !matches!(self.0, Isa::Baseline)
    }

    /// The instruction set behind the level.
    #[inline]
    pub(super) const fn isa(self) -> Isa {
        self.0
    }

    /// AVX2 with fused multiply-add, where the machine has both.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    fn avx2() -> Option<Level> {
        let present = std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma");
        present.then_some(Level(Isa::Avx2))
    }

    /// AVX-512 with the subsets that its dispatch enables, where the machine has them all.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    fn avx512() -> Option<Level> {
        let present = std::is_x86_feature_detected!("avx512f")
            && std::is_x86_feature_detected!("avx512dq")
            && std::is_x86_feature_detected!("avx512bw")
            && std::is_x86_feature_detected!("avx512vl")
            && std::is_x86_feature_detected!("avx2")
            && std::is_x86_feature_detected!("fma");
        present.then_some(Level(Isa::Avx512))
    }

    /// Not on this architecture.
    #[cfg(not(target_arch = "x86_64"))]
    #[inline]
    fn avx2() -> Option<Level> {
        None
    }

    /// Not on this architecture.
    #[cfg(not(target_arch = "x86_64"))]
    #[inline]
    fn avx512() -> Option<Level> {
        None
    }
}

/// Compiles one `#[inline(always)]` body for every level and calls the one asked for.
///
/// | form                                                                         | body that is expected                    |
/// |------------------------------------------------------------------------------|------------------------------------------|
/// | `dispatch!(level, elements module::body::<T>(argument: Type, …) -> Result)`  | `module::body::<T, const FUSED: bool>`   |
/// | `dispatch!(level, vectors module::body::<T>(argument: Type, …) -> Result)`   | `module::body::<V: Vector<Element = T>>` |
/// | `dispatch!(level, passes module::body::<T>(argument: Type, …) -> Result)`    | `module::body::<T>`, called with a level |
///
/// A body of elements takes the fused multiply-add where `FUSED` is true. A body of vectors gets the vector type of the
/// level. A body of passes is not compiled for a level itself.
macro_rules! dispatch {
    ($level:expr, elements $module:ident::$body:ident::<$($type:ty),+> $arguments:tt $(-> $result:ty)?) => {
        $crate::simd::level::dispatch!(
            compiled $level, $arguments $(-> $result)?,
            $module::$body::<$($type,)+ { $crate::simd::level::BASELINE_IS_FUSED }>,
            $module::$body::<$($type,)+ true>,
            $module::$body::<$($type,)+ true>
        )
    };
    ($level:expr, vectors $module:ident::$body:ident::<$type:ty> $arguments:tt $(-> $result:ty)?) => {
        $crate::simd::level::dispatch!(
            compiled $level, $arguments $(-> $result)?,
            $module::$body::<<$type as $crate::simd::vector::Vectors>::Baseline>,
            $module::$body::<<$type as $crate::simd::vector::Vectors>::Avx2>,
            $module::$body::<<$type as $crate::simd::vector::Vectors>::Avx512>
        )
    };
    ($level:expr, passes $module:ident::$body:ident::<$type:ty>($($name:ident: $kind:ty),*) $(-> $result:ty)?) => {
        $module::$body::<$type>($level, $($name),*)
    };
    (
        compiled $level:expr, ($($name:ident: $kind:ty),*) $(-> $result:ty)?,
        $baseline:expr, $avx2:expr, $avx512:expr
    ) => {{
        fn baseline($($name: $kind),*) $(-> $result)? {
            $baseline($($name),*)
        }

        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        fn avx2($($name: $kind),*) $(-> $result)? {
            $avx2($($name),*)
        }

        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")]
        fn avx512($($name: $kind),*) $(-> $result)? {
            $avx512($($name),*)
        }

        match $level.isa() {
            $crate::simd::level::Isa::Baseline => baseline($($name),*),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level of this kind exists only where detection found AVX2 and FMA.
            $crate::simd::level::Isa::Avx2 => unsafe { avx2($($name),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level of this kind exists only where detection found AVX-512 F, DQ, BW and
            // VL with AVX2 and FMA.
            $crate::simd::level::Isa::Avx512 => unsafe { avx512($($name),*) },
        }
    }};
}
pub(super) use dispatch;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_of_the_machine_is_available() {
        let levels: Vec<Level> = Level::available().collect();
        assert_eq!(levels.first(), Some(&Level::BASELINE));
        assert_eq!(levels.last(), Some(&Level::detected()));
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma");
            // A machine with AVX-512 has AVX2 as well, and tests that go through the levels see both.
            let avx512 = avx2
                && std::is_x86_feature_detected!("avx512f")
                && std::is_x86_feature_detected!("avx512dq")
                && std::is_x86_feature_detected!("avx512bw")
                && std::is_x86_feature_detected!("avx512vl");
            assert_eq!(levels.contains(&Level(Isa::Avx2)), avx2);
            assert_eq!(levels.contains(&Level(Isa::Avx512)), avx512);
        }
    }

    mod body {
        use crate::simd::{element::Element, vector::Vector};

        #[inline(always)]
        pub(super) fn multiply_add<T: Element, const FUSED: bool>(a: T, b: T, c: T) -> T {
            a.multiply_add::<FUSED>(b, c)
        }

        #[inline(always)]
        pub(super) fn registers<V: Vector>() -> usize {
            V::REGISTERS
        }
    }

    #[test]
    fn each_level_runs_the_body_that_is_compiled_for_it() {
        // The square of a is 1 + 2⁻¹¹ + 2⁻²⁴; its last term survives only where it is not rounded before the sum.
        let (a, b) = (1.0 + 2_f32.powi(-12), 1.0 + 2_f32.powi(-12));
        let c = -1.0 - 2_f32.powi(-11);
        for level in Level::available() {
            let rest = dispatch!(level, elements body::multiply_add::<f32>(a: f32, b: f32, c: f32) -> f32);
            assert_eq!(rest, if level.is_fused() { 2_f32.powi(-24) } else { 0.0 }, "{level:?}");
            let registers = match level.isa() {
                Isa::Baseline => 16,
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => 2,
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => 1,
            };
            assert_eq!(dispatch!(level, vectors body::registers::<f32>() -> usize), registers, "{level:?}");
        }
    }
}
