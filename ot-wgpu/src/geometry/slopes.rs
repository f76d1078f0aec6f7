//! Derivatives of the formula of a cost, as programs.

use std::sync::Arc;

use ot_core::{CostParameter, Dual, Error, Program, ProgramError, Real, Recorder, Side};

/// The longest program of a derivative that is made a part of kernels.
const MAX_INSTRUCTIONS: usize = 512;

/// What a formula c(x, y; theta) can be differentiated in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variables {
    Points(Side),
    Parameters,
}

impl Variables {
    /// Those of a parameter of the cost, if the formula has them.
    pub(super) fn of(program: &Program, parameter: CostParameter) -> Option<Self> {
        match parameter {
            CostParameter::Points(side) => Some(Self::Points(side)),
            CostParameter::Formula if !program.parameters().is_empty() => Some(Self::Parameters),
            _ => None,
        }
    }

    /// How many there are.
    pub(super) fn len(self, program: &Program) -> usize {
        match self {
            Self::Points(_) => program.inputs() / 2,
            Self::Parameters => program.parameters().len(),
        }
    }

    /// A number for the options of a kernel.
    pub(super) fn key(self) -> u32 {
        match self {
            Self::Points(side) => side.index() as u32,
            Self::Parameters => 2,
        }
    }

    /// The index of the first among (x, y, theta).
    fn first(self, program: &Program) -> usize {
        match self {
            Self::Points(Side::Source) => 0,
            Self::Points(Side::Target) => program.inputs() / 2,
            Self::Parameters => program.inputs(),
        }
    }
}

/// dc / dv for each variable v: programs of (x, y).
pub(super) fn first_derivatives(cost: &Program, variables: Variables) -> Result<Arc<[Program]>, Error> {
    let first = variables.first(cost);
    let slope = |index: usize| {
        recorded(cost, 0, |numbers, _| {
            let seed = |k: usize| Recorder::constant(f64::from(k == first + index));
            let duals: Vec<_> = numbers.iter().enumerate().map(|(k, &z)| Dual::new(z, seed(k))).collect();
            let (points, theta) = duals.split_at(cost.inputs());
            cost.evaluate_at(points, theta).map(|values| values[0].derivative)
        })
    };
    (0..variables.len(cost)).map(slope).collect()
}

/// sum_k d2c / dv dw_k t_k for each variable v: programs of (x, y, t).
pub(super) fn second_derivatives(cost: &Program, [of, along]: [Variables; 2]) -> Result<Arc<[Program]>, Error> {
    let first = of.first(cost);
    let moving = along.first(cost)..along.first(cost) + along.len(cost);
    let bent = |index: usize| {
        recorded(cost, moving.len(), |numbers, direction| {
            let zero = Recorder::constant(0.0);
            let along = |k: usize| if moving.contains(&k) { direction[k - moving.start] } else { zero };
            let seed = |k: usize| Dual::constant(Recorder::constant(f64::from(k == first + index)));
            let duals = numbers.iter().enumerate().map(|(k, &z)| Dual::new(Dual::new(z, along(k)), seed(k)));
            let duals: Vec<_> = duals.collect();
            let (points, theta) = duals.split_at(cost.inputs());
            cost.evaluate_at(points, theta).map(|values| values[0].derivative.derivative)
        })
    };
    (0..of.len(cost)).map(bent).collect()
}

/// The derivatives of scale |x - y|^2, coordinate by coordinate, which the general ones would find among many zeros.
pub(super) fn first_derivatives_of_squares(
    cost: &Program,
    scale: f64,
    variables: Variables,
) -> Result<Arc<[Program]>, Error> {
    let (dimension, sign) = (cost.inputs() / 2, if variables == Variables::Points(Side::Source) { 1.0 } else { -1.0 });
    let slope = |axis: usize| {
        let program =
            Program::record_dynamic(2 * dimension, |z| vec![(z[axis] - z[dimension + axis]) * (2.0 * sign * scale)]);
        Ok(program?)
    };
    (0..dimension).map(slope).collect()
}

/// The same of the second derivatives.
pub(super) fn second_derivatives_of_squares(
    cost: &Program,
    scale: f64,
    [of, along]: [Variables; 2],
) -> Result<Arc<[Program]>, Error> {
    let (inputs, sign) = (cost.inputs(), if of == along { 1.0 } else { -1.0 });
    let bent = |axis: usize| {
        let program = Program::record_dynamic(inputs + inputs / 2, |z| vec![z[inputs + axis] * (2.0 * sign * scale)]);
        Ok(program?)
    };
    (0..inputs / 2).map(bent).collect()
}

/// Records a formula of (x, y, theta), where theta are the parameters of the recording, and of `more` inputs.
fn recorded(
    cost: &Program,
    more: usize,
    formula: impl for<'a> Fn(&[Recorder<'a>], &[Recorder<'a>]) -> Result<Recorder<'a>, ProgramError>,
) -> Result<Program, Error> {
    let mut fault = None;
    let program = Program::record_dynamic(cost.inputs() + more, |inputs| {
        let (points, more) = inputs.split_at(cost.inputs());
        let parameters = (0_u16..).zip(cost.parameters());
        let theta = parameters.map(|(index, &value)| points[0].parameter(index, value));
        let numbers: Vec<_> = points.iter().copied().chain(theta).collect();
        formula(&numbers, more).map_or_else(
            |error| {
                fault = Some(error);
                Vec::new()
            },
            |output| vec![output],
        )
    });
    let program = fault.map_or(program, Err)?;
    match program.instructions().len() {
        0..=MAX_INSTRUCTIONS => Ok(program),
        _ => Err(Error::MissingCapability("derivative of the cost: its formula has too many operations")),
    }
}
