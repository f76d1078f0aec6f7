//! Masses of the connected components of a support.

use super::{Problem, mass_tolerance};
use crate::{
    backend::Device,
    error::Error,
    measure::{Components, WeightsView},
    scalar::Scalar,
    side::Side,
};

/// Refuses an atom with mass in a component where the other measure has none.
pub(super) fn check_partners<T: Scalar>(
    components: &Components,
    weights: [WeightsView<'_, T>; 2],
    columns: usize,
) -> Result<(), Error> {
    let histogram = |side: Side, column: usize| {
        let weights = side.of(weights);
        weights.column(column.min(weights.columns() - 1))
    };
    for column in 0..columns {
        for side in Side::BOTH {
            let others = components.sums(histogram(side.opposite(), column).iter().map(|weight| weight.to_f64()));
            let own = histogram(side, column).iter().zip(components.of_vertices());
            // A measure of mass zero has no partner for anybody, and penalties decide.
            let is_stranded =
                |(weight, component): (&T, &u32)| weight.to_f64() > 0.0 && others[*component as usize] == 0.0;
            if others.iter().any(|mass| *mass > 0.0)
                && let Some(index) = own.into_iter().position(is_stranded)
            {
                return Err(Error::Stranded { side, index, column });
            }
        }
    }
    Ok(())
}

/// Refuses components that hold different masses of the prescribed measures at two ends.
pub(crate) fn check_masses<D: Device>(
    components: &Components,
    ends: [(&Problem<D>, Side); 2],
    columns: usize,
) -> Result<(), Error> {
    let n = components.of_vertices().len();
    let tolerance = mass_tolerance::<D::Elem>(2 * n);
    let histograms = ends.map(|(problem, side)| problem.backend().download(&[problem.marginal(side).weights()]));
    let [source, target] = histograms;
    let histograms = [source?.swap_remove(0), target?.swap_remove(0)];
    for column in 0..columns {
        let [source, target] = histograms.each_ref().map(|values| {
            let own = &values[column.min(values.len() / n - 1) * n..][..n];
            components.sums(own.iter().map(|weight| weight.to_f64()))
        });
        let (problem, side) = ends[0];
        // What rounding of all weights may explain is a share of the whole mass.
        let slack = tolerance * problem.marginal(side).mass(column);
        let disagrees = |component: &usize| (source[*component] - target[*component]).abs() > slack;
        let mut disagreeing = (0..components.count()).filter(disagrees);
        if let Some(component) = disagreeing.next() {
            return Err(Error::ComponentMass {
                column,
                component,
                vertices: components.of_vertices().iter().filter(|of| **of as usize == component).count(),
                first_vertex: components.first_vertices()[component],
                source_mass: source[component],
                target_mass: target[component],
                others: disagreeing.count(),
            });
        }
    }
    Ok(())
}
