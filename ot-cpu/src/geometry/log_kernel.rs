//! The kernel of one solve that is given as products, from logarithms to logarithms, at one epsilon: a diffusion, or thin factors.

use ot_core::{
    Binding, CostDerivative, Error, GibbsKernel, Host, LOG_ZERO, PlanOperator, PlanSide, PlanView, Side, SoftMin,
    UNREACHABLE, host::HostVector,
};

use crate::geometry::CpuScalar;

/// Exponents at most this are of no input.
pub(super) const DARK: f64 = 0.5 * LOG_ZERO;
/// Exponents stay within this, so that logarithms of results do.
const LARGEST_EXPONENT: f64 = -0.1 * LOG_ZERO;
/// A number below exp of this is zero.
const VANISHING: f64 = -700.0;

/// K (n x m) as an operator on exponentials.
pub(super) trait LogOperator<T>: std::fmt::Debug + Send + Sized {
    /// log (K exp(x)), of K^T for the target, of some requests in the place of x: a number for each atom of `side` to a request in
    /// the place of one for each of the other, where what is at most [`DARK`] is no input. Sums without a logarithm are minus
    /// infinity there, and listed by request and atom.
    fn log_products(&mut self, side: Side, exponents: &mut Vec<f64>, untold: &mut Vec<Untold>) -> Result<(), Error>;

    /// The logarithm that an entry of K may lie below one over the mean mass and be told whatever the weights are. The default
    /// has no bound.
    fn reach(&self) -> f64 {
        f64::INFINITY
    }

    /// What rounding of the operator's own numbers makes of an entry of K, relatively, beyond the rounding of its logarithm. The
    /// default counts nothing.
    fn rounding(&self) -> f64 {
        0.0
    }

    /// Derivatives of the implied cost. The default knows none.
    fn cost_derivative(kernel: &mut LogKernel<Self>) -> Option<&mut dyn CostDerivative<Host<T>>> {
        let _ = kernel;
        None
    }
}

/// A sum that has no logarithm, or none that can be told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Untold {
    pub(super) request: usize,
    pub(super) atom: usize,
    /// Its logarithm is below this; without a bound, it is a sum of nothing.
    pub(super) bound: Option<f64>,
}

/// A kernel bound to its only epsilon.
#[derive(Debug)]
pub(super) struct LogKernel<O> {
    pub(super) operator: O,
    pub(super) binding: Binding,
    /// The exponents of what the kernel is applied to, then the logarithms of the products.
    exponents: Vec<f64>,
    untold: Vec<Untold>,
}

impl<O> LogKernel<O> {
    /// Binds the kernel of so many atoms and columns.
    pub(super) fn new(
        operator: O,
        atoms: [usize; 2],
        columns: usize,
        fixed: f64,
        requested: f64,
    ) -> Result<Self, Error> {
        let binding = Binding::new(atoms, columns, fixed)?;
        require_epsilon(fixed, requested)?;
        Ok(Self { operator, binding, exponents: Vec::new(), untold: Vec::new() })
    }

    /// Adds a request: g / epsilon + log b of one column.
    fn request<T: CpuScalar>(&mut self, side: PlanSide<'_, Host<T>>, column: usize) {
        let epsilon = self.binding.epsilon();
        let terms = side.potential.column(column).iter().zip(side.log_weights.column(column));
        self.exponents.extend(terms.map(|(potential, log_weight)| {
            let log_weight = log_weight.to_f64();
            let exponent = (potential.to_f64() / epsilon + log_weight).clamp(-LARGEST_EXPONENT, LARGEST_EXPONENT);
            if log_weight <= DARK { LOG_ZERO } else { exponent }
        }));
    }

    /// Adds a request of one column times the positive parts of some factors.
    fn request_times<T: CpuScalar>(&mut self, side: PlanSide<'_, Host<T>>, column: usize, factors: &[T], sign: f64) {
        let start = self.exponents.len();
        self.request(side, column);
        for (exponent, factor) in self.exponents[start..].iter_mut().zip(factors) {
            let factor = (sign * factor.to_f64()).max(0.0);
            *exponent = if factor > 0.0 && *exponent > DARK { *exponent + factor.ln() } else { LOG_ZERO };
        }
    }

    /// The error of a sum that cannot be told.
    fn beyond_range<T>(&self, side: Side, index: usize, column: usize) -> Error
    where
        O: LogOperator<T>,
    {
        Error::KernelRange { side, index, column, reach: self.operator.reach() }
    }

    /// log (K exp(exponents)) of all requests, in their place.
    fn log_products<T>(&mut self, side: Side) -> Result<(), Error>
    where
        O: LogOperator<T>,
    {
        self.untold.clear();
        self.operator.log_products(side, &mut self.exponents, &mut self.untold)
    }
}

fn require_epsilon(fixed: f64, requested: f64) -> Result<(), Error> {
    if requested == fixed { Ok(()) } else { Err(Error::FixedEpsilon { fixed, requested }) }
}

impl<T: CpuScalar, O: LogOperator<T>> PlanOperator<Host<T>> for LogKernel<O> {
    fn binding(&self) -> &Binding {
        &self.binding
    }

    /// What rounding hides of a density is as good as left out.
    fn left_out(&self) -> f64 {
        self.operator.rounding()
    }

    fn rebind(&mut self, requested: f64) -> Result<(), Error> {
        require_epsilon(self.binding.epsilon(), requested)
    }

    /// The positive part less the negative one, for logarithms have no signs.
    fn apply(
        &mut self,
        side: Side,
        plan: PlanView<'_, Host<T>>,
        values: &HostVector<T>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        let (own, other) = (plan.side(side), plan.side(side.opposite()));
        let (n, epsilon, channels) = (self.binding.len(side), self.binding.epsilon(), values.shape().1);
        let column_of = |channel: usize| channel * self.binding.columns() / channels;
        let is_there = |(channel, sign): &(usize, f64)| values.column(*channel).iter().any(|x| sign * x.to_f64() > 0.0);
        let signs = |channel: usize| [(channel, 1.0), (channel, -1.0)].into_iter().filter(is_there);
        let requests: Vec<(usize, f64)> = (0..channels).flat_map(signs).collect();
        let columns: Vec<usize> = (0..channels).map(column_of).collect();
        self.exponents.clear();
        for &(channel, sign) in &requests {
            self.request_times(other, columns[channel], values.column(channel), sign);
        }
        self.log_products::<T>(side)?;
        out.values_mut().fill(T::default());
        for (&(channel, sign), logs) in requests.iter().zip(self.exponents.chunks_exact(n)) {
            let column = columns[channel];
            let terms = own.potential.column(column).iter().zip(own.log_weights.column(column)).zip(logs);
            for (out, ((potential, log_weight), log)) in out.column_mut(channel).iter_mut().zip(terms) {
                let log_weight = log_weight.to_f64();
                if log_weight > DARK {
                    let term = (potential.to_f64() / epsilon + log_weight + log).exp().min(0.25 * T::MAX);
                    *out = *out + T::from_f64(sign * term);
                }
            }
        }
        for &Untold { request, atom, bound } in &self.untold {
            let column = columns[requests[request].0];
            let log_weight = own.log_weights.column(column)[atom].to_f64();
            let factor = own.potential.column(column)[atom].to_f64() / epsilon + log_weight;
            if bound.is_some_and(|bound| log_weight > DARK && factor + bound >= VANISHING) {
                return Err(self.beyond_range(side, atom, column));
            }
        }
        Ok(())
    }

    fn cost_derivative(&mut self) -> Option<&mut dyn CostDerivative<Host<T>>> {
        O::cost_derivative(self)
    }
}

impl<T: CpuScalar, O: LogOperator<T>> GibbsKernel<Host<T>> for LogKernel<O> {
    /// The guess is not needed.
    fn softmin(&mut self, request: SoftMin<'_, Host<T>>, out: &mut HostVector<T>) -> Result<(), Error> {
        let SoftMin { side, other, active, .. } = request;
        let (n, epsilon) = (self.binding.len(side), self.binding.epsilon());
        self.exponents.clear();
        for &column in active.indices() {
            self.request(other, column);
        }
        self.log_products::<T>(side)?;
        for (&column, logs) in active.indices().iter().zip(self.exponents.chunks_exact(n)) {
            let out = out.column_mut(column).iter_mut().zip(logs);
            out.for_each(|(out, log)| *out = T::from_f64(-epsilon * log));
        }
        for &Untold { request, atom, bound } in &self.untold {
            let column = active.indices()[request];
            match bound {
                Some(_) => return Err(self.beyond_range(side, atom, column)),
                None => out.column_mut(column)[atom] = T::from_f64(UNREACHABLE),
            }
        }
        Ok(())
    }
}
