//! One loop, compiled for every instruction set; the choice falls at run time.

/// Calls `body::<FUSED>` or `body::<FUSED, Generic>`, compiled for the best of AVX-512, AVX2 and the baseline. The body
/// is `#[inline(always)]`, and is told whether multiply-adds are fused.
macro_rules! best {
    ($body:ident $(::<$generic:ident>)?($($name:ident: $kind:ty),*) -> $result:ty) => {{
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")]
        fn avx512($($name: $kind),*) -> $result {
            $body::<true $(, $generic)?>($($name),*)
        }

        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        fn avx2($($name: $kind),*) -> $result {
            $body::<true $(, $generic)?>($($name),*)
        }

        #[cfg(target_arch = "x86_64")]
        {
            let has_avx2 = std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma");
            let has_avx512 = has_avx2
                && std::is_x86_feature_detected!("avx512f")
                && std::is_x86_feature_detected!("avx512dq")
                && std::is_x86_feature_detected!("avx512bw")
                && std::is_x86_feature_detected!("avx512vl");
            if has_avx512 {
                // SAFETY: all features that the function enables have just been detected.
                return unsafe { avx512($($name),*) };
            }
            if has_avx2 {
                // SAFETY: all features that the function enables have just been detected.
                return unsafe { avx2($($name),*) };
            }
        }
        $body::<{ cfg!(any(target_arch = "aarch64", target_feature = "fma")) } $(, $generic)?>($($name),*)
    }};
}
pub(super) use best;
