//! The spaces in which linear systems are posed: blocks of vectors under a weighted inner product, on any backend.
//!
//! ```text
//! <x, y> = sum_k part_k sum_j omega_j x_kj y_kj
//! ```
//!
//! every column by itself.

use ot_core::{Backend, Device, Error, Fold, Operand, Program, Real};

use crate::algebra::{numbers, update};

/// The inner product, and what is known of the null space.
pub(crate) struct Space<'a, D: Device> {
    /// Where the vectors live.
    pub(crate) backend: &'a dyn Backend<D>,
    /// omega, one for each row and column.
    pub(crate) weights: &'a D::Vector,
    /// The factor of each block in each column; none for a single block.
    pub(crate) parts: &'a [D::Reduced],
    /// The orthogonal projection onto the space in which the system is posed, if it is not the whole.
    pub(crate) projection: Option<&'a dyn Projection<D>>,
}

impl<D: Device> Clone for Space<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D: Device> Copy for Space<'_, D> {}

/// An orthogonal projection.
pub(crate) trait Projection<D: Device> {
    /// x <- Pi x.
    fn project(&self, x: &mut [D::Vector]) -> Result<(), Error>;
}

/// The complement of constants, block by block: x - <1, x> / <1, 1>.
pub(crate) struct WithoutConstants<'a, D: Device> {
    pub(crate) backend: &'a dyn Backend<D>,
    /// omega.
    pub(crate) weights: &'a D::Vector,
}

impl<D: Device> Projection<D> for WithoutConstants<'_, D> {
    fn project(&self, x: &mut [D::Vector]) -> Result<(), Error> {
        let mean = Program::record(|[omega, x]| [omega * x, omega])?;
        for x in x {
            let (rows, columns) = self.backend.shape(x);
            let [mut total, mut mass] = [self.backend.alloc_reduced(columns)?, self.backend.alloc_reduced(columns)?];
            let operands = [Operand::Vector(self.weights), Operand::Vector(&*x)];
            self.backend.reduce(&mean, Fold::Sum, rows, &operands, &mut [&mut total, &mut mass])?;
            update(self.backend, x, [Operand::Reduced(&total), Operand::Reduced(&mass)], |x, [total, mass]| {
                x - mass.select(total / mass, 0.0)
            })?;
        }
        Ok(())
    }
}

impl<D: Device> Space<'_, D> {
    /// The formula of the inner product, to be recorded once.
    pub(crate) fn product() -> Result<Program, Error> {
        Ok(Program::record(|[omega, x, y]| [omega * x * y])?)
    }

    /// out = <x, y>.
    pub(crate) fn inner(
        &self,
        program: &Program,
        x: &[D::Vector],
        y: &[D::Vector],
        out: &mut D::Reduced,
    ) -> Result<(), Error> {
        let (rows, columns) = self.backend.shape(self.weights);
        let product = |x, y, out: &mut D::Reduced| {
            let operands = [self.weights, x, y].map(Operand::Vector);
            self.backend.reduce(program, Fold::Sum, rows, &operands, &mut [out])
        };
        let [x, y] = match (x, y) {
            ([x], [y]) => return product(x, y, out),
            blocks => [blocks.0, blocks.1],
        };
        let mut of_block = self.backend.alloc_reduced(columns)?;
        self.backend.write_reduced(&vec![0.0; columns], out)?;
        for ((x, y), part) in x.iter().zip(y).zip(self.parts) {
            product(x, y, &mut of_block)?;
            let operands = [&*out, &of_block, part].map(Operand::Reduced);
            *out = numbers(self.backend, columns, operands, |[sum, product, part]| sum + part * product)?;
        }
        Ok(())
    }

    /// x <- Pi (x - y).
    pub(crate) fn subtract(&self, x: &mut [D::Vector], y: &[D::Vector]) -> Result<(), Error> {
        for (x, y) in x.iter_mut().zip(y) {
            update(self.backend, x, [Operand::Vector(y)], |x, [y]| x - y)?;
        }
        self.project(x)
    }

    /// x <- Pi x.
    pub(crate) fn project(&self, x: &mut [D::Vector]) -> Result<(), Error> {
        self.projection.map_or(Ok(()), |projection| projection.project(x))
    }
}

/// The largest sqrt(squared / scale) of all columns, infinite for what is no number; a column that asks nothing has none.
pub(crate) fn worst(squared: &[f64], scale: &[f64]) -> f64 {
    let relative = squared.iter().zip(scale).map(|(&squared, &scale)| match scale > 0.0 {
        true => (squared / scale).sqrt(),
        false if scale.is_nan() => f64::INFINITY,
        false => 0.0,
    });
    relative.fold(0.0, |worst, next| if next.is_nan() { f64::INFINITY } else { f64::max(worst, next) })
}
