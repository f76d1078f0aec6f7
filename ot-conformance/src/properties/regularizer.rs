//! What every regularizer of the plan must do: its formulas belong to one convex function.

use ot_core::{RecordedRegularizer, Regularizer};

use crate::verdict::{Trial, Verdict};

/// Exponents z at which formulas are tried.
const EXPONENTS: [f64; 12] = [-30.0, -3.1, -1.0, -0.3, -1e-3, 0.0, 1e-3, 0.2, 0.9, 1.7, 4.0, 20.0];

/// Densities are positive or zero, never fall, and are finite with their slopes.
pub fn densities_never_fall(regularizer: &impl Regularizer) -> Verdict {
    let trial = Trial::new("densities never fall", format!("{regularizer:?}"));
    let programs = RecordedRegularizer::new(regularizer)?;
    let mut last = 0.0;
    for exponent in EXPONENTS {
        let [density, slope] = programs.density_and_slope_at(exponent);
        let holds = density >= last && slope >= 0.0 && density.is_finite() && slope.is_finite();
        trial.holds(holds, || format!("{density} after {last}, with slope {slope}, at z = {exponent}"))?;
        trial.close(format_args!("density at {exponent}"), programs.density_at(exponent), density, 0.0)?;
        last = density;
    }
    Ok(())
}

/// The density is the derivative of the conjugate, and its own slope that of the density.
pub fn densities_are_slopes(regularizer: &impl Regularizer) -> Verdict {
    let trial = Trial::new("densities are slopes", format!("{regularizer:?}"));
    let programs = RecordedRegularizer::new(regularizer)?;
    for exponent in EXPONENTS.into_iter().filter(|z| (z - programs.slope_at_zero()).abs() > 1e-4) {
        let h = 1e-5 * (1.0 + exponent.abs());
        let difference = |of: &dyn Fn(f64) -> f64| (of(exponent + h) - of(exponent - h)) / (2.0 * h);
        let [density, slope] = programs.density_and_slope_at(exponent);
        let trial = trial.at(format_args!("z = {exponent}"));
        let size = 1.0 + density.abs() + slope.abs() + programs.conjugate_at(exponent).abs();
        trial.close("density", density, difference(&|z| programs.conjugate_at(z)), 1e-6 * size)?;
        trial.close("its slope", slope, difference(&|z| programs.density_at(z)), 1e-6 * size)?;
    }
    Ok(())
}

/// h(p) + h*(z) - z p is zero where p is the density at z, and h'(p) = z there if p > 0; elsewhere it is what the
/// formulas say, and positive. h*(z) + h(0) is zero where nothing is carried.
pub fn formulas_are_conjugate(regularizer: &impl Regularizer) -> Verdict {
    let trial = Trial::new("formulas are conjugate", format!("{regularizer:?}"));
    let programs = RecordedRegularizer::new(regularizer)?;
    let (value, conjugate) = (programs.value(), programs.conjugate());
    for exponent in EXPONENTS {
        let trial = trial.at(format_args!("z = {exponent}"));
        let best = programs.density_at(exponent);
        for factor in [0.0, 0.5, 1.0, 1.5, 4.0] {
            for density in [factor * best, factor] {
                let ([h], [of_z]) = (value.call([density])?, conjugate.call([exponent])?);
                let size = 1.0 + h.abs() + of_z.abs() + (exponent * density).abs();
                let gap = programs.fenchel_gap_at(density, exponent);
                trial.close("Fenchel gap", gap, h + of_z - exponent * density, 1e-13 * size)?;
                trial.holds(gap >= 0.0, || format!("a gap of {gap} at {density}"))?;
                let is_best = (density - best).abs() <= 1e-12 * best;
                let far = (density - best).abs() > 0.1 * (1e-3 + best);
                trial.holds(!is_best || gap <= 1e-12 * size, || format!("a gap of {gap} of the best"))?;
                trial.holds(!far || gap > 0.0, || format!("no gap at {density}, beside {best}"))?;
            }
        }
        if best > 0.0 && programs.density_and_slope_at(exponent)[1] > 0.0 {
            let rounding = 1e-12 * (1.0 + exponent.abs() + best / programs.density_and_slope_at(exponent)[1]);
            trial.close("slope of h", programs.slope_at(best), exponent, rounding)?;
        } else {
            trial.close("conjugate without mass", programs.conjugate_at(exponent), 0.0, 1e-13)?;
        }
    }
    Ok(())
}
