//! What a kernel is bound to.

use crate::{error::Error, side::Side};

/// Shape and epsilon of a kernel: n and m atoms, the columns of a batch, one epsilon.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Binding {
    atoms: [usize; 2],
    columns: usize,
    epsilon: f64,
}

impl Binding {
    /// A binding of a geometry of n and m atoms.
    ///
    /// # Errors
    /// [`Error::EmptyMeasure`], [`Error::EmptyBatch`], [`Error::Epsilon`] for an epsilon that is not finite and positive.
    pub fn new(atoms: [usize; 2], columns: usize, epsilon: f64) -> Result<Self, Error> {
        if atoms.contains(&0) {
            return Err(Error::EmptyMeasure);
        }
        if columns == 0 {
            return Err(Error::EmptyBatch);
        }
        Ok(Self { atoms, columns, epsilon: checked(epsilon)? })
    }

    /// Number of atoms of a side.
    #[must_use]
    pub fn len(&self, side: Side) -> usize {
        side.of(self.atoms)
    }

    /// Number of columns of the batch.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The epsilon.
    #[must_use]
    pub fn epsilon(&self) -> f64 {
        self.epsilon
    }

    /// Takes another epsilon.
    ///
    /// # Errors
    /// [`Error::Epsilon`] for an epsilon that is not finite and positive.
    pub fn rebind(&mut self, epsilon: f64) -> Result<(), Error> {
        self.epsilon = checked(epsilon)?;
        Ok(())
    }
}

/// An epsilon that a kernel can have.
fn checked(epsilon: f64) -> Result<f64, Error> {
    if epsilon.is_finite() && epsilon > 0.0 { Ok(epsilon) } else { Err(Error::Epsilon(epsilon)) }
}
