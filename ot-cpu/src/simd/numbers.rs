//! `f32` and `f64` as [`Element`]s.

use super::element::{Element, PowerOfTwo};
use super::exp::{POWER_OF_TWO_F32, POWER_OF_TWO_F64, exp_f32, exp_f64};
use super::fused::{multiply_add_f32, multiply_add_f64};
use super::ln::{ln_f32, ln_f64};

/// Implements [`Element`] for one type from its two elementary functions.
macro_rules! implement_element {
    ($type:ident, $exp:ident, $power_of_two:ident, $ln:ident, $multiply_add:ident, $holder:literal, $significand:literal) => {
        impl Element for $type {
            const NEUTRAL_OF_SUM: $type = 0.0;
            const NEUTRAL_OF_MAXIMUM: $type = $type::NEG_INFINITY;
            const ONE: $type = 1.0;
            const POWER_OF_TWO: PowerOfTwo<$type> = $power_of_two;
            const HOLDER: $type = $holder;
            const BIAS: f64 = ($type::MAX_EXP - 1) as f64;
            const SMALLEST_NORMAL: f64 = $type::MIN_POSITIVE as f64;
            const GAP: f64 = $type::EPSILON as f64;

            #[inline(always)]
            fn exponential<const FUSED: bool>(self) -> $type {
                $exp::<FUSED>(self)
            }

            #[inline(always)]
            fn times_power_of_two(self, rounded: $type) -> $type {
                $type::from_bits(self.to_bits().wrapping_add(rounded.to_bits() << $significand))
            }

            #[inline(always)]
            fn upper_bits(self) -> $type {
                $type::from_bits((self.to_bits() >> ($significand - 8)) | Self::HOLDER.to_bits()) - Self::HOLDER
            }

            #[inline(always)]
            fn of_upper_bits(self) -> $type {
                $type::from_bits((self + Self::HOLDER).to_bits() << ($significand - 8))
            }

            #[inline(always)]
            fn logarithm<const FUSED: bool>(self) -> $type {
                $ln::<FUSED>(self)
            }

            #[inline(always)]
            fn square_root(self) -> $type {
                self.sqrt()
            }

            #[inline(always)]
            fn magnitude(self) -> $type {
                self.abs()
            }

            #[inline(always)]
            fn larger(self, other: $type) -> $type {
                if other > self { other } else { self }
            }

            #[inline(always)]
            fn of_double(value: f64) -> $type {
                value as $type
            }

            #[inline(always)]
            fn as_double(self) -> f64 {
                f64::from(self)
            }

            #[inline(always)]
            fn plus_product(self, alpha: $type, x: $type) -> $type {
                self + alpha * x
            }

            #[inline(always)]
            fn multiply_add<const FUSED: bool>(self, b: $type, c: $type) -> $type {
                $multiply_add::<FUSED>(self, b, c)
            }
        }
    };
}

implement_element!(f32, exp_f32, POWER_OF_TWO_F32, ln_f32, multiply_add_f32, 8_388_608.0, 23);
implement_element!(f64, exp_f64, POWER_OF_TWO_F64, ln_f64, multiply_add_f64, 4_503_599_627_370_496.0, 52);
