//! Second derivatives of the optimal value: how its gradient changes along a tangent.
//!
//! With the changes of potentials and softmins along the tangent, dz_ij = d((f_i + g_j - C_ij) / epsilon) and r_i = (P 1)_i / a_i,
//!
//! ```text
//! d(dD/dtheta) = sum_ij P_ij (dz_ij + da_i / a_i + db_j / b_j) dC_ij/dtheta + sum_ij P_ij d(dC_ij/dtheta)
//! d(dD/da_i)   = r_i ds_i + d epsilon (r_i ((f_i - s_i) / epsilon - 1) + mass(b)) + epsilon sum_j db_j
//! ```
//!
//! The part -dC_ij / epsilon of dz_ij meets dC_ij/dtheta as products of first derivatives
//! ([`CostDerivative::gauss_newton`](ot_core::CostDerivative::gauss_newton)).

use ot_core::{CostParameter, CostTangent, Device, Error, Operand, PairWeight, Side, WeightedPlan};

use super::{Change, Linearised, Output};
use crate::{
    Gradient, LinearSolve, Tangent,
    algebra::{add, scaled, sum, sum_of_blocks, update},
    frame::NO_DERIVATIVE,
};

impl<D: Device> Linearised<D> {
    /// The Hessian of the optimal value (summed over the columns of a batch) times a tangent: a gradient, read block by
    /// block. Solves one linear system, that of [`push_forward`](Self::push_forward).
    ///
    /// Blocks in points, matrix, parameters and weights are known; those in epsilon and penalties are not, though the tangent
    /// may move them. Second derivatives of a cost that is not smooth where points coincide (powers of distances below 2)
    /// are those of its formula read with dual numbers: zero at coincident points.
    ///
    /// # Errors
    /// Those of [`push_forward`](Self::push_forward).
    pub fn hessian_vector(&mut self, tangent: &Tangent<D::Elem>) -> Result<HessianProduct<'_, D>, Error> {
        if tangent.penalties.iter().flatten().any(|value| *value != 0.0) {
            return Err(Error::MissingCapability("second derivative of the value in parameters of a penalty"));
        }
        Ok(HessianProduct { change: self.push_forward(tangent)? })
    }

    /// The Hessian of the optimal value in the points of one side, n d x n d numbers, row by row, and the worst of its linear
    /// solves: for small n, as it solves n d systems.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] for more than 2^26 entries; those of [`hessian_vector`](Self::hessian_vector).
    pub fn dense_hessian(&mut self, side: Side) -> Result<(Vec<D::Elem>, LinearSolve), Error> {
        /// The most entries.
        const MOST: usize = 1 << 26;
        let (rows, columns) = self.optimum.frame.parameter_shape(self.kernel.as_mut(), CostParameter::Points(side))?;
        let len = rows * columns;
        if len.saturating_mul(len) > MOST {
            return Err(Error::OutOfMemory {
                what: "a dense Hessian",
                bytes: 8 * (len as u64).saturating_mul(len as u64),
            });
        }
        let mut hessian = Vec::with_capacity(len * len);
        let mut worst: Option<LinearSolve> = None;
        for index in 0..len {
            let one = |entry: usize| ot_core::Scalar::from_f64(f64::from(u8::from(entry == index)));
            let tangent = Tangent::new().points(side, (0..len).map(one).collect());
            let mut product = self.hessian_vector(&tangent)?;
            hessian.extend(product.points(side)?);
            let solve = product.solve();
            worst = Some(worst.filter(|worst| worst.residual >= solve.residual).unwrap_or(solve));
        }
        let nothing = LinearSolve { residual: 0.0, steps: 0, status: ot_core::Status::Converged };
        Ok((hessian, worst.unwrap_or(nothing)))
    }
}

/// The Hessian of the optimal value times a tangent.
///
/// | block | costs |
/// |---|---|
/// | weights | nothing more |
/// | points, matrix, parameters | three passes over the pairs, and two for each parameter of the cost that moves |
#[derive(Debug)]
pub struct HessianProduct<'a, D: Device> {
    change: Change<'a, D>,
}

impl<D: Device> HessianProduct<'_, D> {
    /// What is known of the linear solve.
    #[must_use]
    pub fn solve(&self) -> LinearSolve {
        self.change.solve
    }

    /// The change of an output along the tangent, beside.
    ///
    /// # Errors
    /// Those of [`Change::of`].
    pub fn change_of(&mut self, output: &Output<D::Elem>) -> Result<Vec<D::Elem>, Error> {
        self.change.of(output)
    }
}

impl<D: Device> Gradient<D> for HessianProduct<'_, D> {
    fn cost(&mut self, parameter: CostParameter) -> Result<Vec<D::Elem>, Error> {
        let Change { linearised, tangent, exponents, .. } = &mut self.change;
        let Linearised { optimum, kernel, .. } = &mut **linearised;
        let (frame, backend) = (&optimum.frame, optimum.frame.backend());
        let weight = PairWeight {
            source: Some(&exponents.sides.source),
            target: Some(&exponents.sides.target),
            ..PairWeight::constant(0.0)
        };
        let pairs = WeightedPlan { plan: optimum.plan(), weight };
        let mut total = frame.cost_sums(kernel.as_mut(), pairs, parameter)?;
        for side in Side::BOTH {
            if let Some(weights) = &tangent.weights[side] {
                let weight = match side {
                    Side::Source => PairWeight { source: Some(weights), ..PairWeight::constant(0.0) },
                    Side::Target => PairWeight { target: Some(weights), ..PairWeight::constant(0.0) },
                };
                let pairs = WeightedPlan { plan: optimum.per_weight(side), weight };
                add(backend, &mut total, &frame.cost_sums(kernel.as_mut(), pairs, parameter)?)?;
            }
        }
        let (rows, columns) = frame.parameter_shape(kernel.as_mut(), parameter)?;
        let unwritten = || backend.alloc(rows, columns * frame.columns());
        for (moving, values) in &exponents.cost {
            let direction = CostTangent { parameter: *moving, values };
            let derivative = kernel.cost_derivative().ok_or(NO_DERIVATIVE)?;
            let mut sums = unwritten()?;
            derivative.gauss_newton(optimum.plan(), parameter, direction, &mut sums)?;
            let products = scaled(backend, &sum_of_blocks(backend, sums, frame.columns())?, -1.0)?;
            add(backend, &mut total, &products)?;
        }
        for (moving, values) in &tangent.cost {
            let direction = CostTangent { parameter: *moving, values };
            let pairs = WeightedPlan { plan: optimum.plan(), weight: PairWeight::constant(1.0) };
            let derivative = kernel.cost_derivative().ok_or(NO_DERIVATIVE)?;
            let mut sums = unwritten()?;
            derivative.curvature(pairs, parameter, direction, &mut sums)?;
            add(backend, &mut total, &sum_of_blocks(backend, sums, frame.columns())?)?;
        }
        frame.on_host(parameter, total)
    }

    fn weights(&mut self, side: Side) -> Result<Vec<D::Elem>, Error> {
        let Change { linearised, tangent, softmins, .. } = &self.change;
        let optimum = &linearised.optimum;
        let (frame, backend) = (&optimum.frame, optimum.frame.backend());
        let other = side.opposite();
        let mass = frame.mass(other)?;
        let gained = match &tangent.weights[other] {
            Some(weights) => sum(backend, frame.shape(other), [Operand::Vector(weights)], |[weight]| weight)?,
            None => backend.upload_reduced(&vec![0.0; frame.columns()])?,
        };
        let mut out = backend.copied(&softmins[side])?;
        let [f, s] = [optimum.potential(side), &optimum.softmins[side]].map(Operand::Vector);
        let [epsilon, moved] = [frame.epsilon(), tangent.epsilon].map(Operand::Constant);
        let operands = [f, s, epsilon, moved, Operand::Reduced(&mass), Operand::Reduced(&gained)];
        update(backend, &mut out, operands, |ds, [f, s, epsilon, moved, mass, gained]| {
            let exponent = (f - s) / epsilon;
            let density = ot_core::Real::exp(exponent);
            density * ds + moved * (density * (exponent - 1.0) + mass) + epsilon * gained
        })?;
        frame.of_histograms(side, out)
    }

    fn epsilon(&mut self) -> Result<f64, Error> {
        Err(Error::MissingCapability("second derivative of the value in epsilon"))
    }

    fn penalty(&mut self, _: Side) -> Result<Vec<f64>, Error> {
        Err(Error::MissingCapability("second derivative of the value in parameters of a penalty"))
    }

    fn atoms(&self, side: Side) -> usize {
        self.change.linearised.optimum.frame.len(side)
    }
}
