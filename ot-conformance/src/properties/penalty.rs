//! What every penalty of a marginal must be: a convex function, its conjugate, and the step of both.

mod parameters;

use ot_core::{MarginalPenalty, Number, Program, ProgramError, Real, RecordedPenalty, Scalar};

pub use self::parameters::parameter_derivatives_are_slopes;
use crate::verdict::{Trial, Verdict};

/// Epsilons that steps are tried at.
const EPSILONS: [f64; 4] = [1e-3, 0.1, 1.0, 30.0];

/// An epsilon at which no potential that is tried counts as on a kink without being there.
const NARROW: f64 = 1e-3;

/// Potentials and slopes that formulas are tried at.
fn potentials() -> impl Iterator<Item = f64> {
    (-60..=60).map(|index| f64::from(index) * 0.05 + 0.0013)
}

/// One output of a program.
fn call<R: Real, const N: usize>(program: &Program, inputs: [R; N]) -> Result<R, ProgramError> {
    let [output] = program.call(inputs)?;
    Ok(output)
}

/// All formulas give finite numbers for all arguments up to 1e30, in f32 too.
pub fn formulas_are_finite(penalty: &impl MarginalPenalty) -> Verdict {
    let (name, penalty) = (format!("{penalty:?}"), RecordedPenalty::new(penalty)?);
    finite_in::<f64>(&name, &penalty)?;
    finite_in::<f32>(&name, &penalty)?;
    // Certificates read the conjugate, in f64 alone.
    let trial = Trial::new("formulas are finite", name);
    for argument in ARGUMENTS.into_iter().flat_map(|size| [size, -size]) {
        let found: f64 = call(penalty.conjugate(), [argument])?;
        trial.holds(found.is_finite(), || format!("the conjugate at {argument:e} is {found}"))?;
    }
    Ok(())
}

/// Sizes of the arguments tried.
const ARGUMENTS: [f64; 10] = [0.0, 1e-38, 1e-30, 1e-8, 1.0 / 3.0, 1.0, 1e3, 1e8, 1e20, 1e30];

fn finite_in<T: Scalar>(name: &str, penalty: &RecordedPenalty) -> Verdict {
    let trial = Trial::new("formulas are finite", format!("{name}, {}", T::NAME));
    let (step, value, subdifferential) = (penalty.step(), penalty.value(), penalty.conjugate_subdifferential());
    let number = |value: f64| Number::<T>::from(value);
    for argument in ARGUMENTS.into_iter().flat_map(|size| [size, -size]) {
        for epsilon in [1e-30, 1e-8, 1e-3, 1.0, 1e3, 1e8] {
            let Number(found) = call(step, [number(argument), number(epsilon)])?;
            trial
                .holds(found.is_finite(), || format!("the step from {argument:e} at epsilon {epsilon:e} is {found}"))?;
        }
        for epsilon in [1e-30, 1e-3, 1e8] {
            let [Number(low), Number(high)] = subdifferential.call([number(argument), number(epsilon)])?;
            trial.holds(low.is_finite() && high.is_finite() && low <= high && low >= T::default(), || {
                format!("the subdifferential at {argument:e}, epsilon {epsilon:e}, is [{low}, {high}]")
            })?;
        }
    }
    let [low, high] = penalty.density_bounds();
    for density in ARGUMENTS.into_iter().map(|size| size.clamp(low, high.min(1e30))) {
        let Number(found) = call(value, [number(density)])?;
        let size = if density > 1e20 { density / 1e20 } else { 1.0 };
        trial
            .holds(found.is_finite() && size.is_finite(), || format!("the value at density {density:e} is {found}"))?;
    }
    Ok(())
}

/// The density exp((f - s) / epsilon) at the step f from s minimises
/// phi(r) + r s + epsilon (r log r - r), the problem that the step is the dual of, and lies within
/// the subdifferential of phi* at -f.
pub fn steps_are_optimal(penalty: &impl MarginalPenalty) -> Verdict {
    let trial = Trial::new("steps are optimal", format!("{penalty:?}"));
    let penalty = RecordedPenalty::new(penalty)?;
    let (step, value, subdifferential) = (penalty.step(), penalty.value(), penalty.conjugate_subdifferential());
    let [low, high] = penalty.density_bounds();
    for epsilon in EPSILONS {
        for softmin in potentials().step_by(3) {
            let trial = trial.at(format_args!("softmin {softmin}, epsilon {epsilon}"));
            let found = call(step, [softmin, epsilon])?;
            // log r is within [-40, 40] unless the bounds of the penalty say more.
            let (start, end) = (low.max(f64::exp(-40.0)).ln(), high.min(f64::exp(40.0)).ln());
            if found - softmin <= -40.0 * epsilon || found - softmin >= 40.0 * epsilon {
                continue;
            }
            let objective = |log_density: f64| {
                let density = log_density.exp().clamp(low, high);
                let value: f64 = call(value, [density]).unwrap_or(f64::NAN);
                value + density * (softmin + epsilon * (log_density - 1.0))
            };
            let best = golden_section(&objective, start, end);
            let log_density = (found - softmin) / epsilon;
            let (found_value, best_value) = (objective(log_density), objective(best));
            let size = 1e-12 * (found_value.abs() + (1.0 + log_density.exp()) * (1.0 + softmin.abs() + epsilon));
            trial.holds(found_value <= best_value + size, || {
                format!("the step gives {found_value:e} at log density {log_density}, {best} gives {best_value:e}")
            })?;
            // The minimum is flat to first order: its place is known to the root of the rounding, over the
            // curvature epsilon r.
            let density = log_density.exp();
            let root = (1e-14 * (1.0 + found_value.abs()) / (density * epsilon)).sqrt();
            trial.close("log density", log_density, best, 1e-6 * (1.0 + log_density.abs()) + root)?;

            let [least, most]: [f64; 2] = subdifferential.call([found, epsilon])?;
            let within = density.clamp(least.min(most), most);
            trial.close("subdifferential", density, within, 1e-6 * (1.0 + density))?;
        }
    }
    Ok(())
}

/// phi*(q) = sup over r of q r - phi(r), wherever the supremum is attained below density 1e4.
pub fn conjugates_are_legendre_transforms(penalty: &impl MarginalPenalty) -> Verdict {
    let trial = Trial::new("conjugates are Legendre transforms", format!("{penalty:?}"));
    let penalty = RecordedPenalty::new(penalty)?;
    let (conjugate, value) = (penalty.conjugate(), penalty.value());
    let [low, high] = penalty.density_bounds();
    let mut tried = 0;
    for slope in potentials() {
        let objective = |density: f64| call(value, [density]).unwrap_or(f64::NAN) - slope * density;
        let (start, end) = (low, high.min(1e4));
        let best = golden_section(&objective, start, end);
        // Ends of the interval are not reached by sections.
        let best =
            [start, end, best].into_iter().min_by(|a, b| objective(*a).total_cmp(&objective(*b))).unwrap_or(best);
        if best >= 1e4 * (1.0 - 1e-9) && high > 1e4 {
            continue;
        }
        tried += 1;
        let (found, expected) = (call(conjugate, [slope])?, -objective(best));
        trial.close(
            format_args!("slope {slope}"),
            found,
            expected,
            1e-7 * (1.0 + expected.abs() + (slope * best).abs()),
        )?;
    }
    trial.holds(tried > 20, || format!("only {tried} slopes with a finite conjugate"))
}

/// The subdifferential holds the slopes of the conjugate: (phi*(q') - phi*(q)) / (q' - q) lies between the smallest
/// density at q and the largest at q' > q, however close.
pub fn subdifferentials_are_slopes(penalty: &impl MarginalPenalty) -> Verdict {
    let trial = Trial::new("subdifferentials are slopes", format!("{penalty:?}"));
    let penalty = RecordedPenalty::new(penalty)?;
    let (conjugate, subdifferential) = (penalty.conjugate(), penalty.conjugate_subdifferential());
    for slope in potentials() {
        for step in [1.0, 1e-2, 1e-4] {
            let next = slope + step;
            let difference = (call(conjugate, [next])? - call(conjugate, [slope])?) / step;
            let [low, _]: [f64; 2] = subdifferential.call([-slope, NARROW])?;
            let [_, high]: [f64; 2] = subdifferential.call([-next, NARROW])?;
            let within = difference.clamp(low.min(high), high);
            trial.close(
                format_args!("slope {slope}, step {step}"),
                difference,
                within,
                1e-6 * (1.0 + difference.abs()),
            )?;
        }
    }
    Ok(())
}

/// Steps rise with the softmin and never faster, subdifferentials fall with the potential, conjugates rise and are
/// convex, and phi is convex, not negative, and zero somewhere.
pub fn formulas_are_monotone(penalty: &impl MarginalPenalty) -> Verdict {
    let trial = Trial::new("formulas are monotone", format!("{penalty:?}"));
    let penalty = RecordedPenalty::new(penalty)?;
    let (step, conjugate, value, subdifferential) =
        (penalty.step(), penalty.conjugate(), penalty.value(), penalty.conjugate_subdifferential());
    let points: Vec<f64> = potentials().collect();
    for pair in points.windows(3) {
        let [before, here, after] = [pair[0], pair[1], pair[2]];
        for epsilon in EPSILONS {
            let rise = call(step, [here, epsilon])? - call(step, [before, epsilon])?;
            trial.close(format_args!("step from {here}"), rise, rise.clamp(0.0, here - before), 1e-12)?;
        }
        let ([low, high], [next_low, next_high]): ([f64; 2], [f64; 2]) =
            (subdifferential.call([before, NARROW])?, subdifferential.call([here, NARROW])?);
        trial.holds(next_low <= low && next_high <= high, || format!("the subdifferential rises at {here}"))?;
        let [left, middle, right] = [call(conjugate, [before])?, call(conjugate, [here])?, call(conjugate, [after])?];
        let size = 1e-12 * (1.0 + left.abs() + middle.abs() + right.abs());
        trial.holds(middle >= left - size, || format!("the conjugate falls at {here}"))?;
        trial.holds(left + right - 2.0 * middle >= -4.0 * size, || format!("the conjugate is concave at {here}"))?;
    }
    let [low, high] = penalty.density_bounds();
    let density = |index: u32| low + (high.min(8.0) - low) * f64::from(index) / 64.0;
    let values = (0..=64).map(|index| call(value, [density(index)])).collect::<Result<Vec<f64>, _>>()?;
    trial.holds(values.iter().all(|&value| value >= -1e-14), || "phi is negative somewhere".into())?;
    let convex = values.windows(3).all(|three| three[0] + three[2] - 2.0 * three[1] >= -1e-12 * (1.0 + three[2].abs()));
    trial.holds(convex, || "phi is not convex".into())?;
    let at_one: f64 = call(value, [1.0_f64.clamp(low, high)])?;
    trial.close("phi(1)", at_one, 0.0, 1e-14)
}

/// The minimum of a unimodal function on an interval (Kiefer 1953).
fn golden_section(function: &dyn Fn(f64) -> f64, mut low: f64, mut high: f64) -> f64 {
    let ratio = (5.0_f64.sqrt() - 1.0) / 2.0;
    for _ in 0..120 {
        let (left, right) = (high - ratio * (high - low), low + ratio * (high - low));
        if function(left) <= function(right) {
            high = right;
        } else {
            low = left;
        }
    }
    (low + high) / 2.0
}
