//! The plan as an operator.
//!
//! ```text
//! P_ij = a_i b_j h*'((f_i + g_j - C_ij) / epsilon)          exp((f_i + g_j - C_ij) / epsilon) for entropy
//! ```
//!
//! It is never stored: it is applied, summed, projected. Entries are listed only when asked.

use std::sync::Arc;

use crate::{
    backend::{Backend, Device},
    error::Error,
    kernel::{
        KernelOp, PlanSide, PlanView, Potentials,
        capability::{ArcThreshold, PricedArc},
    },
    problem::Problem,
    scalar::Scalar,
    side::Side,
};

/// One entry of a plan.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct PlanEntry {
    /// Index of the source atom.
    pub source: u32,
    /// Index of the target atom.
    pub target: u32,
    /// The mass moved between them.
    pub mass: f64,
}

/// A transport plan as an operator, with a kernel of its own. Host slices in and out.
#[derive(Debug)]
pub struct Plan<D: Device> {
    problem: Problem<D>,
    potentials: Arc<Potentials<D>>,
    kernel: Box<dyn KernelOp<D>>,
}

impl<D: Device> Plan<D> {
    /// The plan of potentials, at the epsilon they belong to.
    ///
    /// # Errors
    /// [`Error::Length`] for potentials that do not fit; those of [`Geometry::bind`](crate::Geometry::bind).
    pub fn new(problem: Problem<D>, potentials: Arc<Potentials<D>>) -> Result<Self, Error> {
        let problem = problem.with_epsilon(potentials.epsilon)?;
        for (side, what) in Side::BOTH.into_iter().zip(["source potential", "target potential"]) {
            let expected = (problem.marginal(side).len(), problem.columns());
            let found = problem.backend().shape(potentials.side(side));
            if found != expected {
                return Err(Error::Length { what, expected: expected.0 * expected.1, found: found.0 * found.1 });
            }
        }
        let mut kernel = problem.bind()?;
        kernel.recenter(problem.view(&potentials))?;
        Ok(Self { problem, potentials, kernel })
    }

    /// P v for `Side::Source` (v has m values a channel, the result n), P^T v for
    /// `Side::Target`. Channels follow each other; a batch takes the channels of its first
    /// column, then those of the second, ...
    ///
    /// # Errors
    /// [`Error::Length`] if `values` is not a multiple of the atoms of the other side and of the
    /// columns of the batch; a failure of the device.
    pub fn apply(&mut self, side: Side, values: &[D::Elem]) -> Result<Vec<D::Elem>, Error> {
        let plan = self.problem.view(&self.potentials);
        apply(self.kernel.as_mut(), self.problem.backend(), side, plan, values)
    }

    /// The problem that the plan is of.
    #[must_use]
    pub fn problem(&self) -> &Problem<D> {
        &self.problem
    }

    /// The marginal of one side: P 1 or P^T 1, column after column.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn marginal(&mut self, side: Side) -> Result<Vec<D::Elem>, Error> {
        let ones = vec![D::Elem::from_f64(1.0); self.problem.marginal(side.opposite()).len() * self.problem.columns()];
        self.apply(side, &ones)
    }

    /// The barycentric projection: for each atom i of `side`, the mean of `points` of the other
    /// side under the plan given i,
    ///
    /// ```text
    /// T(x_i) = sum_j P_ij y_j / sum_j P_ij
    /// ```
    ///
    /// Points go in and out point by point, `dimension` coordinates each; a batch gives its
    /// columns one after the other. An atom of weight zero has a projection too, that of its
    /// conditional distribution. For squared Euclidean costs this is the entropic map (Pooladian,
    /// Niles-Weed 2021) at the atoms.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::ZeroDimension`]; a failure of the device.
    pub fn barycentric_projection(
        &mut self,
        side: Side,
        points: &[D::Elem],
        dimension: usize,
    ) -> Result<Vec<D::Elem>, Error> {
        if dimension == 0 {
            return Err(Error::ZeroDimension);
        }
        let backend = self.problem.backend();
        let (rows, others) = (self.problem.marginal(side).len(), self.problem.marginal(side.opposite()).len());
        let expected = others.saturating_mul(dimension);
        if points.len() != expected {
            return Err(Error::Length { what: "points to project on", expected, found: points.len() });
        }

        // Channels: the coordinates, then ones, for the mass of the conditional distribution.
        let columns = self.problem.columns();
        let mut channels = Vec::with_capacity(others * (dimension + 1) * columns);
        for _ in 0..columns {
            for axis in 0..dimension {
                channels.extend(points.iter().skip(axis).step_by(dimension));
            }
            channels.extend(std::iter::repeat_n(D::Elem::from_f64(1.0), others));
        }
        // Weights of one, and a potential to normalise from, turn rows of the plan into conditional distributions.
        let (weights, log_weights) = (&backend.filled(1.0, rows, 1)?, &backend.filled(0.0, rows, 1)?);
        let plan = self.problem.view(&self.potentials);
        let mut potential = backend.alloc(rows, columns)?;
        self.kernel.conditional_potential(backend, side, plan, &mut potential)?;
        let conditional = plan.with_side(side, PlanSide { potential: &potential, weights, log_weights });
        let sums = apply(self.kernel.as_mut(), backend, side, conditional, &channels)?;

        let mut projected = Vec::with_capacity(rows * dimension * columns);
        for block in sums.chunks_exact(rows * (dimension + 1)) {
            for row in 0..rows {
                let mass = block[dimension * rows + row].to_f64();
                for axis in 0..dimension {
                    let sum = block[axis * rows + row].to_f64();
                    projected.push(D::Elem::from_f64(if mass > 0.0 { sum / mass } else { 0.0 }));
                }
            }
        }
        Ok(projected)
    }

    /// <P, C> of each column.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for a kernel without a cost; a failure of the device.
    pub fn transport_cost(&mut self) -> Result<Vec<f64>, Error> {
        let backend = self.problem.backend();
        let mut out = backend.alloc_reduced(self.problem.columns())?;
        let plan = self.problem.view(&self.potentials);
        self.kernel.transport_cost().ok_or(Error::MissingCapability("transport cost"))?.plan_cost(plan, &mut out)?;
        Ok(backend.read(&[&out])?.swap_remove(0))
    }

    /// The entries of one column that carry at least `threshold` of mass, by source and then
    /// target.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for a kernel that lists no arcs, [`Error::OutOfMemory`] if
    /// there are more than `limit`, [`Error::Parameter`] for a threshold that is not positive.
    pub fn to_sparse(&mut self, column: usize, threshold: f64, limit: usize) -> Result<Vec<PlanEntry>, Error> {
        if !(threshold.is_finite() && threshold > 0.0) {
            return Err(Error::Parameter { name: "threshold", value: threshold, expected: "a finite number > 0" });
        }
        let weights = self.weights(column)?;
        let heaviest = |weights: &[f64]| weights.iter().fold(0.0_f64, |a, &b| a.max(b));
        let density = threshold / heaviest(&weights[0]) / heaviest(&weights[1]);
        // P_ij >= threshold means C_ij - f_i - g_j <= -epsilon h'(threshold / (a_i b_j)).
        let exponent = -self.problem.regularizer().slope_at(density);
        let mut entries = self.entries(column, self.potentials.epsilon * exponent, limit, &weights)?;
        entries.retain(|entry| entry.mass >= threshold);
        Ok(entries)
    }

    /// All entries of one column that carry mass, by source and then target: exact for a plan whose regularizer
    /// makes zeros, such as [`SquaredL2`](crate::SquaredL2), of which there are few. An entropic plan has no zeros but
    /// those of forbidden pairs and of atoms without weight.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for a kernel that lists no arcs, [`Error::OutOfMemory`] if there are more than
    /// `limit` pairs with f_i + g_j - C_ij >= epsilon h'(0).
    pub fn nonzeros(&mut self, column: usize, limit: usize) -> Result<Vec<PlanEntry>, Error> {
        let weights = self.weights(column)?;
        let threshold = -self.potentials.epsilon * self.problem.regularizer().slope_at_zero();
        let mut entries = self.entries(column, threshold, limit, &weights)?;
        entries.retain(|entry| entry.mass > 0.0);
        Ok(entries)
    }

    /// All entries of one column, row-major, n x m.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for a kernel that lists no arcs, [`Error::OutOfMemory`].
    pub fn to_dense(&mut self, column: usize) -> Result<Vec<f64>, Error> {
        let (rows, columns) = (self.problem.marginal(Side::Source).len(), self.problem.marginal(Side::Target).len());
        let weights = self.weights(column)?;
        let mut dense = crate::host::try_zeros::<f64>(rows.saturating_mul(columns), "a dense plan")?;
        for entry in self.entries(column, f64::INFINITY, usize::MAX, &weights)? {
            dense[entry.source as usize * columns + entry.target as usize] = entry.mass;
        }
        Ok(dense)
    }

    /// All entries of diag(x) P diag(y) of one column, from log x and log y.
    pub(crate) fn dense_scaled(&mut self, column: usize, log_scaling: [&[f64]; 2]) -> Result<Vec<f64>, Error> {
        let (rows, columns) = (self.problem.marginal(Side::Source).len(), self.problem.marginal(Side::Target).len());
        let [a, b] = self.weights(column)?;
        let mut dense = crate::host::try_zeros::<f64>(rows.saturating_mul(columns), "a dense plan")?;
        let epsilon = self.potentials.epsilon;
        for arc in self.arcs(column, f64::INFINITY, usize::MAX)? {
            let (i, j) = (arc.source as usize, arc.target as usize);
            let scaling = log_scaling[0][i] + log_scaling[1][j];
            dense[i * columns + j] =
                self.problem.regularizer().mass_at([a[i], b[j]], -arc.reduced_cost / epsilon, scaling);
        }
        Ok(dense)
    }

    /// Checks a claimed dense plan of one column (row-major, n x m) against the potentials, entry by
    /// entry, to `tolerance` times the mass of the column.
    ///
    /// # Errors
    /// [`Error::RefusedEntry`] for the first entry that differs or is not finite, [`Error::Length`];
    /// those of [`to_dense`](Self::to_dense).
    pub fn certify_entries(&mut self, column: usize, claimed: &[f64], tolerance: f64) -> Result<(), Error> {
        let dense = self.to_dense(column)?;
        if claimed.len() != dense.len() {
            return Err(Error::Length { what: "claimed plan", expected: dense.len(), found: claimed.len() });
        }
        let slack = tolerance * self.problem.marginal(Side::Source).mass(column);
        let columns = self.problem.marginal(Side::Target).len();
        for (index, (&found, &expected)) in claimed.iter().zip(&dense).enumerate() {
            let agrees = (found - expected).abs() <= slack;
            if !agrees {
                let (source_index, target_index) = (index / columns, index % columns);
                return Err(Error::RefusedEntry { source_index, target_index, expected, found });
            }
        }
        Ok(())
    }

    /// Arcs below a reduced cost, as entries of the plan.
    fn entries(
        &mut self,
        column: usize,
        threshold: f64,
        limit: usize,
        [source, target]: &[Vec<f64>; 2],
    ) -> Result<Vec<PlanEntry>, Error> {
        let arcs = self.arcs(column, threshold, limit)?;
        let (regularizer, epsilon) = (self.problem.regularizer(), self.potentials.epsilon);
        let entry = |arc: PricedArc| PlanEntry {
            source: arc.source,
            target: arc.target,
            mass: regularizer.mass_at(
                [source[arc.source as usize], target[arc.target as usize]],
                -arc.reduced_cost / epsilon,
                0.0,
            ),
        };
        Ok(arcs.into_iter().map(entry).collect())
    }

    /// Arcs below a reduced cost.
    fn arcs(&mut self, column: usize, threshold: f64, limit: usize) -> Result<Vec<PricedArc>, Error> {
        let Potentials { source: f, target: g, .. } = self.potentials.as_ref();
        let lister = self.kernel.hard_transform().ok_or(Error::MissingCapability("list of arcs"))?;
        lister.arcs_below(f, g, column, ArcThreshold::uniform(threshold), limit)
    }

    /// The weights of both sides in one column.
    fn weights(&self, column: usize) -> Result<[Vec<f64>; 2], Error> {
        let columns = self.problem.columns();
        if column >= columns {
            return Err(Error::Length {
                what: "columns of the batch, of which one was asked for",
                expected: columns,
                found: column,
            });
        }
        let backend = self.problem.backend();
        let weights = |side: Side| -> Result<Vec<f64>, Error> {
            let marginal = self.problem.marginal(side);
            let values = backend.download(&[marginal.weights()])?.swap_remove(0);
            let first = column.min(values.len() / marginal.len() - 1) * marginal.len();
            Ok(values[first..first + marginal.len()].iter().map(|weight| weight.to_f64()).collect())
        };
        Ok([weights(Side::Source)?, weights(Side::Target)?])
    }
}

/// The product of a plan with host values.
fn apply<D: Device>(
    kernel: &mut dyn KernelOp<D>,
    backend: &dyn Backend<D>,
    side: Side,
    plan: PlanView<'_, D>,
    values: &[D::Elem],
) -> Result<Vec<D::Elem>, Error> {
    let batch = kernel.len(side.opposite()) * kernel.columns();
    let channels = values.len() / batch;
    if channels == 0 || values.len() != channels * batch {
        return Err(Error::Length {
            what: "values under the plan",
            expected: channels.max(1) * batch,
            found: values.len(),
        });
    }
    let columns = channels * kernel.columns();
    let values = backend.upload(values, columns)?;
    let mut out = backend.alloc(kernel.len(side), columns)?;
    backend.scope(|| kernel.apply(side, plan, &values, &mut out))?;
    Ok(backend.download(&[&out])?.swap_remove(0))
}
