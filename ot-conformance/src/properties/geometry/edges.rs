//! Derivatives of the cost of a diffusion in the weights of edges.

use ot_core::{CostParameter, Device, Side};

use super::derivative::{Tangent, Weight};
use crate::{case::GeometryCase, scene::Scenes, seeded::Seeded, verdict::Verdict};

/// Pull-backs and push-forwards in the weights of edges are those of the [slopes](GeometryCase::with_edge_slopes) of the case.
pub fn edge_derivatives_agree_with_slopes<D: Device>(case: &GeometryCase<D>) -> Verdict {
    let slopes = case.edge_slopes();
    if slopes.is_empty() {
        return Ok(());
    }
    let [n, m] = Side::BOTH.map(|side| case.len(side));
    let largest = slopes.iter().flatten().fold(0.0_f64, |largest, slope| largest.max(slope.abs()));
    let parameter = CostParameter::EdgeWeights;
    Scenes::PLANS.for_each("derivatives in weights of edges agree with slopes", case, |trial, scene| {
        let shape = scene.tested.shape(parameter);
        trial
            .holds(shape == Some((slopes.len(), 1)), || format!("the shape is {shape:?}, of {} edges", slopes.len()))?;
        let weight = Weight { cost: 0.0, ..Weight::new(case, scene.setting.columns) };
        let bound = largest * weight.bound(case);

        let found = scene.tested.pull_back(&weight, parameter)?;
        let masses = scene.reference.pull_back(&weight, CostParameter::Matrix)?;
        let inner = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        let of_column = |masses: &[f64]| slopes.iter().map(|slope| inner(masses, slope)).collect::<Vec<_>>();
        let expected: Vec<f64> = masses.chunks_exact(n * m).flat_map(of_column).collect();
        let slack = scene.slack(|iterate| iterate.mass())?;
        trial.at("pulled back").all_close("edge", &found, &expected, |edge| slack[edge / slopes.len()] * bound)?;

        for copies in [1, scene.setting.columns] {
            let values = Seeded::new(8).vector::<D::Elem>(slopes.len() * copies, -1.0, 1.0);
            let change = |values: &[f64]| {
                let entry = |entry: usize| slopes.iter().zip(values).map(|(slope, value)| slope[entry] * value).sum();
                (0..n * m).map(entry).collect::<Vec<f64>>()
            };
            let matrix = values.chunks_exact(slopes.len()).flat_map(change).collect();
            let moving = Tangent { parameter: CostParameter::Matrix, values: matrix, columns: n * copies };
            let tangent = Tangent { parameter, values, columns: copies };
            for side in Side::BOTH {
                let found = scene.tested.push_forward(side, &weight, &tangent)?;
                let expected = scene.reference.push_forward(side, &weight, &moving)?;
                let slack = scene.slack(|iterate| iterate.masses(side))?;
                let tolerance = |row: usize| slack[row] * bound * slopes.len() as f64;
                trial.at(format_args!("{side}, {copies} tangents")).all_close("row", &found, &expected, tolerance)?;
            }
        }
        Ok(())
    })
}
