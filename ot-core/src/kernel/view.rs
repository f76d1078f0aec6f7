//! What kernels are told of a plan: potentials, weights, and the columns that are worked on.

use std::sync::Arc;

use crate::{
    backend::{Backend, Device},
    error::Error,
    measure::WeightsView,
    scalar::{LOG_ZERO, Scalar},
    side::Side,
};

/// The columns of a batch that still move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveColumns {
    active: Vec<bool>,
    indices: Vec<usize>,
}

impl ActiveColumns {
    /// All of `columns` columns.
    #[must_use]
    pub fn all(columns: usize) -> Self {
        Self { active: vec![true; columns], indices: (0..columns).collect() }
    }

    /// Takes a column out. Says whether it was still active.
    pub fn freeze(&mut self, column: usize) -> bool {
        let was_active = std::mem::replace(&mut self.active[column], false);
        self.indices.retain(|&index| index != column);
        was_active
    }

    /// Is the column active?
    #[must_use]
    pub fn contains(&self, column: usize) -> bool {
        self.active[column]
    }

    /// The active columns, ascending.
    #[must_use]
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }

    /// Number of columns, active or not.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.active.len()
    }

    /// Is no column active any more?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }
}

/// Dual potentials f (n x columns) and g (m x columns) and the epsilon they belong to.
#[derive(Debug)]
pub struct Potentials<D: Device> {
    /// f, one row for each source atom.
    pub source: D::Vector,
    /// g, one row for each target atom.
    pub target: D::Vector,
    /// The epsilon of the kernel that they were computed with.
    pub epsilon: f64,
}

impl<D: Device> Potentials<D> {
    /// The potential of one side.
    #[must_use]
    pub fn side(&self, side: Side) -> &D::Vector {
        side.of([&self.source, &self.target])
    }

    /// The potential of one side, to be changed.
    pub fn side_mut(&mut self, side: Side) -> &mut D::Vector {
        side.of([&mut self.source, &mut self.target])
    }
}

/// Weights a (n x columns, or n x 1 shared by all columns) and log a, on the device.
#[derive(Debug)]
pub struct DeviceWeights<D: Device> {
    len: usize,
    weights: Arc<D::Vector>,
    logarithms: Arc<D::Vector>,
    masses: Arc<[f64]>,
}

impl<D: Device> DeviceWeights<D> {
    /// Uploads weights that a measure has validated. The logarithm of zero is [`LOG_ZERO`], a finite constant that
    /// kernels read as "leave this atom out".
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], or a failure of the device.
    pub fn new(backend: &dyn Backend<D>, weights: WeightsView<'_, D::Elem>) -> Result<Self, Error> {
        let columns = weights.columns();
        let logarithm =
            |&weight: &D::Elem| D::Elem::from_f64(if weight.to_f64() > 0.0 { weight.to_f64().ln() } else { LOG_ZERO });
        let logarithms: Vec<D::Elem> = weights.values().iter().map(logarithm).collect();
        Ok(Self {
            len: weights.len(),
            weights: Arc::new(backend.upload(weights.values(), columns)?),
            logarithms: Arc::new(backend.upload(&logarithms, columns)?),
            masses: (0..columns).map(|column| weights.mass(column)).collect(),
        })
    }

    /// Number of atoms.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Are there no atoms?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Weights.
    #[must_use]
    pub fn weights(&self) -> &D::Vector {
        &self.weights
    }

    /// Logarithms of the weights.
    #[must_use]
    pub fn log_weights(&self) -> &D::Vector {
        &self.logarithms
    }

    /// Mass of the histogram that a column of the batch uses.
    #[must_use]
    pub fn mass(&self, column: usize) -> f64 {
        self.masses[column.min(self.masses.len() - 1)]
    }
}

impl<D: Device> Clone for DeviceWeights<D> {
    fn clone(&self) -> Self {
        Self {
            len: self.len,
            weights: Arc::clone(&self.weights),
            logarithms: Arc::clone(&self.logarithms),
            masses: Arc::clone(&self.masses),
        }
    }
}

/// One side of a plan: a potential, and weights that stand before the density with their logarithms. Each has one
/// column that serves all of the batch, or a column for each.
#[derive(Debug)]
pub struct PlanSide<'a, D: Device> {
    /// Potential: f or g.
    pub potential: &'a D::Vector,
    /// Weights: a or b, or others (weights of one turn a plan into its densities).
    pub weights: &'a D::Vector,
    /// Logarithms of the weights; [`LOG_ZERO`] where a weight is zero.
    pub log_weights: &'a D::Vector,
}

impl<D: Device> Copy for PlanSide<'_, D> {}
impl<D: Device> Clone for PlanSide<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<'a, D: Device> PlanSide<'a, D> {
    /// A potential with the weights of a measure.
    #[must_use]
    pub fn new(potential: &'a D::Vector, weights: &'a DeviceWeights<D>) -> Self {
        Self { potential, weights: weights.weights(), log_weights: weights.log_weights() }
    }
}

/// A plan as kernels see it: potentials and weights of both sides.
///
/// ```text
/// P_ij = a_i b_j h*'((f_i + g_j - C_ij) / epsilon)          exp((f_i + g_j - C_ij) / epsilon) for entropy
/// ```
#[derive(Debug)]
pub struct PlanView<'a, D: Device> {
    /// f and a.
    pub source: PlanSide<'a, D>,
    /// g and b.
    pub target: PlanSide<'a, D>,
}

impl<D: Device> Copy for PlanView<'_, D> {}
impl<D: Device> Clone for PlanView<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<'a, D: Device> PlanView<'a, D> {
    /// One side.
    #[must_use]
    pub fn side(&self, side: Side) -> PlanSide<'a, D> {
        side.of([self.source, self.target])
    }

    /// The same plan with another side.
    #[must_use]
    pub fn with_side(self, side: Side, changed: PlanSide<'a, D>) -> Self {
        match side {
            Side::Source => Self { source: changed, ..self },
            Side::Target => Self { target: changed, ..self },
        }
    }
}
