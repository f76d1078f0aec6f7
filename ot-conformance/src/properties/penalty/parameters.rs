//! Derivatives of a penalty in the parameters that its formulas name.

use ot_core::{MarginalPenalty, Program, RecordedPenalty};

use super::potentials;
use crate::verdict::{Trial, Verdict};

/// The derivatives of step, conjugate and value in each parameter are the slopes of the formulas in it, and those of the
/// conjugate and of the value are opposite where the density is the slope of the conjugate.
pub fn parameter_derivatives_are_slopes(penalty: &impl MarginalPenalty) -> Verdict {
    let trial = Trial::new("parameter derivatives are slopes", format!("{penalty:?}"));
    let penalty = RecordedPenalty::new(penalty)?;
    for parameter in 0..penalty.parameters().len() {
        let trial = trial.at(format_args!("parameter {parameter}"));
        let derivative = penalty.parameter_derivative(parameter)?;
        for argument in potentials() {
            for epsilon in [0.1, 1.0] {
                let inputs = [argument, epsilon];
                is_slope(&trial, "step", [penalty.step(), &derivative.step], &inputs, parameter)?;
            }
            is_slope(&trial, "conjugate", [penalty.conjugate(), &derivative.conjugate], &[argument], parameter)?;
            let density = argument.abs();
            is_slope(&trial, "value", [penalty.value(), &derivative.value], &[density], parameter)?;

            let [low, high] = penalty.conjugate_subdifferential().call([-argument, 1e-12])?;
            if high - low <= 1e-12 * high && high < 1e10 {
                let [conjugate] = derivative.conjugate.call([argument])?;
                let [value] = derivative.value.call([low])?;
                let size = 1.0 + f64::abs(conjugate) + low * f64::abs(argument);
                trial.close("envelope", conjugate, -value, 1e-9 * size)?;
            }
        }
    }
    Ok(())
}

/// The derivative lies between the slopes to the left and to the right, which differ where the formula has a kink.
fn is_slope(
    trial: &Trial,
    formula: &str,
    [program, derivative]: [&Program; 2],
    inputs: &[f64],
    parameter: usize,
) -> Verdict {
    let known = program.parameters();
    let Some(&value) = known.get(parameter) else { return Ok(()) };
    let at = |offset: f64| -> Result<f64, ot_core::Error> {
        let moved: Vec<f64> =
            known.iter().enumerate().map(|(k, &value)| if k == parameter { value + offset } else { value }).collect();
        Ok(program.evaluate_at(inputs, &moved)?[0])
    };
    let step = 1e-6 * value.abs().max(1e-3);
    let (left, middle, right) = (at(-step)?, at(0.0)?, at(step)?);
    let found = derivative.evaluate(inputs)?[0];
    let (before, after) = ((middle - left) / step, (right - middle) / step);
    // Half a step of curvature, and rounding.
    let slack = 1e-4 * (1.0 + before.abs().max(after.abs()));
    let within = found >= before.min(after) - slack && found <= before.max(after) + slack;
    trial.holds(within || middle.abs() > 1e8, || {
        format!("{formula} at {inputs:?}: the derivative is {found}, the slopes are {before} and {after}")
    })
}
