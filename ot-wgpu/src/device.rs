//! The two types of vectors on a device of wgpu.

use ot_core::{BackendFailure, Device, Error};

use crate::{
    gpu::joined,
    vector::{DeviceReduced, DeviceVector},
    wgsl::Arithmetic,
};

/// Vectors in single precision.
#[derive(Clone, Copy, Debug)]
pub enum Wgpu {}

/// Vectors of unevaluated sums of two numbers of single precision: 48 bits, in the range of single precision, on any GPU.
#[derive(Clone, Copy, Debug)]
pub enum WgpuPairs {}

impl Device for Wgpu {
    type Elem = f32;
    type Vector = DeviceVector<Self>;
    type Reduced = DeviceReduced;
}

impl Device for WgpuPairs {
    type Elem = f64;
    type Vector = DeviceVector<Self>;
    type Reduced = DeviceReduced;
}

/// A type of vectors on a device of wgpu: [`Wgpu`] or [`WgpuPairs`].
pub trait WgpuDevice: Device<Vector = DeviceVector<Self>, Reduced = DeviceReduced> + Copy {
    /// Are numbers pairs?
    const PAIRS: bool;

    /// The unit of rounding: of arithmetic, exponentials and costs.
    const UNIT: f64;

    /// The words of numbers.
    ///
    /// # Errors
    /// [`BackendFailure::Device`] for a finite number beyond the range of single precision.
    fn encoded(numbers: &[Self::Elem]) -> Result<Vec<u32>, Error>;

    /// The numbers of words.
    fn decoded(words: &[u32]) -> Vec<Self::Elem>;
}

impl WgpuDevice for Wgpu {
    const PAIRS: bool = false;

    /// WGSL asks for exponentials within three roundings and more, and costs have some of their own.
    const UNIT: f64 = 2.0 * f32::EPSILON as f64;

    fn encoded(numbers: &[f32]) -> Result<Vec<u32>, Error> {
        Ok(numbers.iter().map(|number| number.to_bits()).collect())
    }

    fn decoded(words: &[u32]) -> Vec<f32> {
        words.iter().map(|&word| f32::from_bits(word)).collect()
    }
}

impl WgpuDevice for WgpuPairs {
    const PAIRS: bool = true;

    /// Exponentials square a number of 48 bits eight times.
    const UNIT: f64 = 1.0 / (1_u64 << 38) as f64;

    fn encoded(numbers: &[f64]) -> Result<Vec<u32>, Error> {
        let largest = f64::from(f32::MAX);
        match numbers.iter().find(|number| number.is_finite() && number.abs() > largest) {
            None => Ok(Arithmetic::Pair.encoded(numbers)),
            Some(number) => {
                Err(BackendFailure::Device(format!("{number:e} is beyond the range of pairs, {largest:e}")).into())
            }
        }
    }

    fn decoded(words: &[u32]) -> Vec<f64> {
        let (pairs, _) = words.as_chunks::<2>();
        pairs.iter().map(|pair| joined(pair.map(f32::from_bits))).collect()
    }
}

/// How shaders compute with the numbers of a device.
pub(crate) trait Computed {
    const ARITHMETIC: Arithmetic;
}

impl<D: WgpuDevice> Computed for D {
    const ARITHMETIC: Arithmetic = if D::PAIRS { Arithmetic::Pair } else { Arithmetic::Single };
}
