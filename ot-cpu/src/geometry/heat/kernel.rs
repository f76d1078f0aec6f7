//! The heat kernel of one solve.

use std::sync::Arc;

use ot_core::{
    Binding, CostDerivative, Error, GibbsKernel, Host, LOG_ZERO, PlanOperator, PlanSide, PlanView, Side, SoftMin,
    UNREACHABLE, host::HostVector,
};

use super::{
    Heat,
    diffusion::{LogSum, Workspace},
};
use crate::{backend::CpuBackend, geometry::CpuScalar};

/// Exponents stay within this, so that logarithms of results do.
const LARGEST_EXPONENT: f64 = -0.1 * LOG_ZERO;
/// A number below exp of this is zero.
const VANISHING: f64 = -700.0;

/// A heat kernel bound to its epsilon.
#[derive(Debug)]
pub(super) struct HeatKernel<T> {
    pub(super) backend: CpuBackend<T>,
    pub(super) heat: Arc<Heat>,
    pub(super) binding: Binding,
    /// The exponents of what the kernel is applied to.
    exponents: Vec<f64>,
    workspace: Workspace,
}

impl<T: CpuScalar> HeatKernel<T> {
    /// Binds a kernel of one epsilon.
    pub(super) fn new(
        backend: &CpuBackend<T>,
        heat: &Arc<Heat>,
        fixed: f64,
        requested: f64,
        columns: usize,
    ) -> Result<Self, Error> {
        let n = heat.diffusion.carriers();
        let mut kernel = Self {
            backend: backend.clone(),
            heat: Arc::clone(heat),
            binding: Binding::new([n; 2], columns, fixed)?,
            exponents: Vec::new(),
            workspace: Workspace::new(backend.threads()),
        };
        kernel.rebind(requested)?;
        Ok(kernel)
    }

    /// Adds a request: g / epsilon + log b of one column, and the logarithm of more factors if there are any.
    fn request(&mut self, side: PlanSide<'_, Host<T>>, column: usize, factors: Option<(&[T], f64)>) {
        let epsilon = self.binding.epsilon();
        let (potential, log_weights) = (side.potential.column(column), side.log_weights.column(column));
        for (atom, (potential, log_weight)) in potential.iter().zip(log_weights).enumerate() {
            let factor = factors.map_or(0.0, |(values, sign)| (sign * values[atom].to_f64()).max(0.0).ln());
            let log_weight = log_weight.to_f64();
            let is_dark = log_weight <= 0.5 * LOG_ZERO || factor == f64::NEG_INFINITY;
            let exponent = potential.to_f64() / epsilon + log_weight + factor;
            self.exponents.push(if is_dark { LOG_ZERO } else { exponent.clamp(-LARGEST_EXPONENT, LARGEST_EXPONENT) });
        }
    }

    /// log (K exp(exponents)) of all requests.
    fn log_products(&mut self, finish: impl FnMut(usize, usize, LogSum) -> Result<(), Error>) -> Result<(), Error> {
        let Self { backend, heat, exponents, workspace, .. } = self;
        heat.diffusion.log_products(backend, exponents, 0.5 * LOG_ZERO, workspace, finish)
    }

    /// The error of a sum that cannot be told.
    fn beyond_range(heat: &Heat, side: Side, index: usize, column: usize) -> Error {
        Error::KernelRange { side, index, column, reach: heat.report.reach }
    }
}

impl<T: CpuScalar> PlanOperator<Host<T>> for HeatKernel<T> {
    fn binding(&self) -> &Binding {
        &self.binding
    }

    fn rebind(&mut self, requested: f64) -> Result<(), Error> {
        let fixed = self.binding.epsilon();
        if requested == fixed { Ok(()) } else { Err(Error::FixedEpsilon { fixed, requested }) }
    }

    /// The positive part less the negative one, for logarithms have no signs.
    fn apply(
        &mut self,
        side: Side,
        plan: PlanView<'_, Host<T>>,
        values: &HostVector<T>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        const SIGNS: [f64; 2] = [1.0, -1.0];
        let (own, other) = (plan.side(side), plan.side(side.opposite()));
        let (epsilon, (_, channels)) = (self.binding.epsilon(), values.shape());
        let column_of = |channel: usize| channel * self.binding.columns() / channels;
        let columns: Vec<usize> = (0..channels).map(column_of).collect();
        self.exponents.clear();
        for (channel, &column) in columns.iter().enumerate() {
            for sign in SIGNS {
                self.request(other, column, Some((values.column(channel), sign)));
            }
        }
        out.values_mut().fill(T::default());
        let heat = Arc::clone(&self.heat);
        self.log_products(|request, vertex, sum| {
            let (channel, sign) = (request / 2, SIGNS[request % 2]);
            let column = columns[channel];
            let log_weight = own.log_weights.column(column)[vertex].to_f64();
            if log_weight <= 0.5 * LOG_ZERO {
                return Ok(());
            }
            let own = own.potential.column(column)[vertex].to_f64() / epsilon + log_weight;
            let term = match sum {
                LogSum::Is(log) => (own + log).exp().min(0.25 * T::MAX),
                LogSum::Unreached => 0.0,
                LogSum::Below(bound) if own + bound < VANISHING => 0.0,
                LogSum::Below(_) => return Err(Self::beyond_range(&heat, side, vertex, column)),
            };
            let out = &mut out.column_mut(channel)[vertex];
            *out = *out + T::from_f64(sign * term);
            Ok(())
        })
    }

    fn cost_derivative(&mut self) -> Option<&mut dyn CostDerivative<Host<T>>> {
        self.heat.vertices_are_a_graph().then_some(self as &mut dyn CostDerivative<Host<T>>)
    }
}

impl<T: CpuScalar> GibbsKernel<Host<T>> for HeatKernel<T> {
    /// The guess is not needed.
    fn softmin(&mut self, request: SoftMin<'_, Host<T>>, out: &mut HostVector<T>) -> Result<(), Error> {
        let SoftMin { side, other, active, .. } = request;
        let (epsilon, heat) = (self.binding.epsilon(), Arc::clone(&self.heat));
        self.exponents.clear();
        for &column in active.indices() {
            self.request(other, column, None);
        }
        self.log_products(|request, vertex, sum| {
            let column = active.indices()[request];
            out.column_mut(column)[vertex] = T::from_f64(match sum {
                LogSum::Is(log) => -epsilon * log,
                LogSum::Unreached => UNREACHABLE,
                LogSum::Below(_) => return Err(Self::beyond_range(&heat, side, vertex, column)),
            });
            Ok(())
        })
    }
}
