//! A device of wgpu as a backend.

mod operands;
mod pointwise;
mod reduction;

use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use ot_core::{
    Backend, Error, Fold, Operand, Precision, Program, Scalar,
    backend::{MAX_OPERANDS, MAX_OUTPUTS},
};

pub(crate) use crate::device::{Computed, Wgpu, WgpuDevice, WgpuPairs};
use crate::{
    adapter::{Adapter, described},
    gpu::{Gpu, Work},
    vector::{DeviceReduced, DeviceVector},
    wgsl::Arithmetic,
};

/// How long a read waits for the device.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A GPU, or software that stands for one.
///
/// Cloning shares the device and its memory. Two devices, or threads that share one, do not disturb each other; what threads
/// record is submitted together. Dropping all that refers to a device with work in flight leaves the work to end by itself.
///
/// ```
/// use ot_core::{Backend, BackendFailure, Error, Fold, Operand, Program};
/// use ot_wgpu::{Adapter, WgpuBackend};
///
/// # fn main() -> Result<(), Error> {
/// let missing = WgpuBackend::new(Adapter::Named("a device that nobody has".into()));
/// assert!(matches!(missing.err(), Some(Error::Backend(BackendFailure::NoDevice(_)))));
///
/// if let Ok(backend) = WgpuBackend::new(Adapter::Default) {
///     println!("{}", backend.adapter());
///     let (x, mut sum) = (backend.upload(&[1.0, 2.0, 3.0], 1)?, backend.alloc_reduced(1)?);
///     let square = Program::record(|[x]| [x * x])?;
///     backend.reduce(&square, Fold::Sum, 3, &[Operand::Vector(&x)], &mut [&mut sum])?;
///     assert_eq!(backend.read(&[&sum])?, [[14.0]]);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct WgpuBackend<D: WgpuDevice = Wgpu> {
    pub(crate) gpu: Arc<Gpu>,
    window_limit: u64,
    device: PhantomData<fn() -> D>,
}

impl WgpuBackend {
    /// Opens a device. Takes some tenths of a second, mostly for drivers to be loaded.
    ///
    /// # Errors
    /// [`NoDevice`](ot_core::BackendFailure::NoDevice), which says what was found; [`Error::OutOfMemory`].
    pub fn new(adapter: Adapter) -> Result<Self, Error> {
        Self::with_timeout(adapter, TIMEOUT)
    }

    /// Opens a device, whose reads wait at most this long. The default is two minutes.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub fn with_timeout(adapter: Adapter, timeout: Duration) -> Result<Self, Error> {
        Ok(Self::on(adapter.open(timeout)?))
    }

    /// Uses the device of an embedding program. Its handlers of errors stay as they are: that of uncaptured errors is not
    /// called for what is caught here.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn from_device(device: wgpu::Device, queue: wgpu::Queue) -> Result<Self, Error> {
        Ok(Self::on(Gpu::share(device, queue, TIMEOUT)?))
    }

    fn on(gpu: Arc<Gpu>) -> Self {
        Self { gpu, window_limit: u64::MAX, device: PhantomData }
    }

    /// The same device for numbers in double precision, each of which it computes as a pair of numbers of single precision: 48 bits,
    /// exponents of single precision. A pair costs some 20 operations where a number costs one.
    ///
    /// When to use it: for a marginal error below 1e-4, or an epsilon below 1e-3 of the mean cost. A solve in single precision is
    /// where it best starts from.
    ///
    /// ```
    /// use ot_core::{Epsilon, Error, GeometryBuilder, Measure, PointCloud, Problem, SqEuclidean};
    /// use ot_solvers::Sinkhorn;
    /// use ot_wgpu::{Adapter, WgpuBackend};
    ///
    /// # fn main() -> Result<(), Error> {
    /// let Ok(device) = WgpuBackend::new(Adapter::Default) else { return Ok(()) };
    /// let pairs = device.in_pairs();
    /// let a = PointCloud::uniform(vec![0.0, 0.0, 1.0, 0.0, 0.0, 1.0], 2)?;
    /// let b = PointCloud::uniform(vec![2.0, 1.0, 3.0, 1.0, 2.0, 2.0], 2)?;
    /// let geometry = pairs.geometry(a.support(), b.support(), &SqEuclidean)?;
    /// let problem = Problem::new(geometry, &a, &b, Epsilon::Absolute(0.1))?;
    /// let solution = Sinkhorn::default().tolerance(1e-8).solve(&problem)?;
    /// assert!(solution.status().is_converged() && solution.certificate().marginal_error < 1e-8);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn in_pairs(&self) -> WgpuBackend<WgpuPairs> {
        WgpuBackend { gpu: Arc::clone(&self.gpu), window_limit: self.window_limit, device: PhantomData }
    }
}

impl<D: WgpuDevice> WgpuBackend<D> {
    /// The adapter in words: name, kind, interface, driver.
    #[must_use]
    pub fn adapter(&self) -> String {
        described(&self.gpu.info)
    }

    /// What wgpu tells of the adapter.
    #[must_use]
    pub fn info(&self) -> &wgpu::AdapterInfo {
        &self.gpu.info
    }

    /// The device itself.
    #[must_use]
    pub fn device(&self) -> &wgpu::Device {
        &self.gpu.device
    }

    /// Stores cost matrices in windows of at most so many bytes, however many the device binds: for tests of small matrices in
    /// several windows.
    #[must_use]
    pub fn with_window_limit(self, bytes: u64) -> Self {
        Self { window_limit: bytes, ..self }
    }

    /// The most bytes of one window of a cost matrix.
    pub(crate) fn window_bytes(&self) -> u64 {
        self.gpu.binding_limit().min(self.window_limit)
    }

    /// What the device was asked to do so far, by all who share it.
    #[must_use]
    pub fn work(&self) -> Work {
        self.gpu.work()
    }
}

impl<D: WgpuDevice> fmt::Debug for WgpuBackend<D> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("WgpuBackend").field(&self.adapter()).finish()
    }
}

impl<D: WgpuDevice> Backend<D> for WgpuBackend<D> {
    fn alloc(&self, rows: usize, columns: usize) -> Result<DeviceVector<D>, Error> {
        let words = rows.saturating_mul(columns).saturating_mul(D::ARITHMETIC.words());
        Ok(DeviceVector::new(self.gpu.take(words, "a vector")?, [rows, columns]))
    }

    fn alloc_reduced(&self, columns: usize) -> Result<DeviceReduced, Error> {
        Ok(DeviceReduced::new(self.gpu.take(columns.saturating_mul(2), "reduced numbers")?, columns))
    }

    fn write(&self, values: &[D::Elem], vector: &mut DeviceVector<D>) -> Result<(), Error> {
        check("vector", vector.entries(), values.len())?;
        self.gpu.write(&D::encoded(values)?, vector.start())
    }

    fn write_reduced(&self, values: &[f64], reduced: &mut DeviceReduced) -> Result<(), Error> {
        check("reduced vector", reduced.len(), values.len())?;
        self.gpu.write(&Arithmetic::Pair.encoded(values), reduced.start())
    }

    fn fill(&self, value: f64, vector: &mut DeviceVector<D>) -> Result<(), Error> {
        pointwise::map::<D>(&self.gpu, &Program::record(|[x]| [x])?, &[Operand::Constant(value)], &mut [vector])
    }

    fn shape(&self, vector: &DeviceVector<D>) -> (usize, usize) {
        (vector.rows(), vector.columns())
    }

    fn reduced_len(&self, reduced: &DeviceReduced) -> usize {
        reduced.len()
    }

    fn map(
        &self,
        program: &Program,
        operands: &[Operand<'_, D>],
        outputs: &mut [&mut DeviceVector<D>],
    ) -> Result<(), Error> {
        check_operation(program, operands.len(), outputs.len())?;
        pointwise::map(&self.gpu, program, operands, outputs)
    }

    fn reduce(
        &self,
        program: &Program,
        fold: Fold,
        rows: usize,
        operands: &[Operand<'_, D>],
        outputs: &mut [&mut DeviceReduced],
    ) -> Result<(), Error> {
        check_operation(program, operands.len(), outputs.len())?;
        reduction::reduce(&self.gpu, program, fold, rows, operands, outputs)
    }

    fn map_reduced(
        &self,
        program: &Program,
        operands: &[Operand<'_, D>],
        outputs: &mut [&mut DeviceReduced],
    ) -> Result<(), Error> {
        check_operation(program, operands.len(), outputs.len())?;
        pointwise::map_reduced(&self.gpu, program, operands, outputs)
    }

    fn mix(&self, vector: &DeviceVector<D>, matrix: &[f64], out: &mut DeviceVector<D>) -> Result<(), Error> {
        check("mixing matrix", vector.columns() * out.columns(), matrix.len())?;
        check("rows of a mixture", vector.rows(), out.rows())?;
        pointwise::mix(&self.gpu, vector, matrix, out)
    }

    fn copy(&self, vector: &DeviceVector<D>, out: &mut DeviceVector<D>) -> Result<(), Error> {
        check("copy", vector.entries(), out.entries())?;
        pointwise::map::<D>(&self.gpu, &Program::record(|[x]| [x])?, &[Operand::Vector(vector)], &mut [out])
    }

    fn read(&self, reduced: &[&DeviceReduced]) -> Result<Vec<Vec<f64>>, Error> {
        let pieces: Vec<_> = reduced.iter().map(|reduced| (reduced.start(), reduced.words())).collect();
        Ok(self.gpu.read(&pieces)?.iter().map(|words| WgpuPairs::decoded(words)).collect())
    }

    fn download(&self, vectors: &[&DeviceVector<D>]) -> Result<Vec<Vec<D::Elem>>, Error> {
        let pieces: Vec<_> = vectors.iter().map(|vector| (vector.start(), vector.words())).collect();
        Ok(self.gpu.read(&pieces)?.iter().map(|words| D::decoded(words)).collect())
    }

    /// A unit of 2^-22, or, in pairs, of 2^-38.
    fn precision(&self) -> Precision {
        Precision { unit: D::UNIT }
    }

    /// That of single precision, also in pairs.
    fn range(&self) -> [f64; 2] {
        [<f32 as Scalar>::TINY, <f32 as Scalar>::MAX]
    }
}

/// Do operands and outputs fit a program?
fn check_operation(program: &Program, operands: usize, outputs: usize) -> Result<(), Error> {
    check("operands of a program", program.inputs(), operands)?;
    check("outputs of a program", program.outputs(), outputs)?;
    check("operands of an operation", operands.min(MAX_OPERANDS), operands)?;
    check("outputs of an operation", outputs.min(MAX_OUTPUTS), outputs)
}

fn check(what: &'static str, expected: usize, found: usize) -> Result<(), Error> {
    if expected == found { Ok(()) } else { Err(Error::Length { what, expected, found }) }
}
