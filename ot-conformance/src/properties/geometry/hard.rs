//! Hard c-transforms, and the arcs of small reduced cost, of a kernel that knows them.

use ot_core::{ArcThreshold, Device, Error, PricedArc, Side, UNREACHABLE};

use crate::{
    case::GeometryCase,
    iterate::Iterate,
    scene::{Scene, Scenes},
    seeded::Seeded,
    verdict::{Trial, Verdict},
};

/// out_i = min_j (C_ij - potential_j) over atoms with mass, attained at the argument.
pub fn hard_c_transforms_are_minima<D: Device>(case: &GeometryCase<D>) -> Verdict {
    Scenes::PLANS.for_each("hard c-transforms are minima", case, |trial, scene| {
        if scene.tested.kernel.hard_transform().is_none() {
            return Ok(());
        }
        let active = scene.all();
        for side in Side::BOTH {
            let (rows, other) = (case.len(side), side.opposite());
            let mut arguments = Vec::new();
            let found = hard_c_transform(&mut scene.tested, side, Some(&mut arguments))?;
            let silent = hard_c_transform(&mut scene.tested, side, None)?;
            let expected = hard_c_transform(&mut scene.reference, side, None)?;
            let trial = trial.at(side);
            trial.holds(found == silent, || "the argument changed the minimum".into())?;
            trial.holds(arguments.len() == found.len(), || format!("{} arguments", arguments.len()))?;
            scene.compare_potential(&trial, &found, &expected, &active)?;
            for (index, expected) in expected.iter().enumerate().filter(|(_, value)| **value < UNREACHABLE) {
                let (column, own, argument) = (index / rows, index % rows, arguments[index] as usize);
                let (potential, weights) =
                    (scene.setting.potential(other, column), scene.setting.weights(other, column));
                let has_mass = weights.get(argument).is_some_and(|&weight| weight > 0.0);
                trial.holds(has_mass, || format!("row {index} has the argument {argument}, without mass"))?;
                let [i, j] = side.of([[own, argument], [argument, own]]);
                let attained = case.reference().cost(i, j) - potential[argument];
                trial.close(format_args!("argument of row {index}"), attained, *expected, scene.tolerance())?;
            }
        }
        Ok(())
    })
}

/// All arcs of one column below a threshold, in order, with their prices, for a threshold of all pairs and for thresholds
/// of the atoms. More than the limit is an error.
pub fn arcs_are_complete<D: Device>(case: &GeometryCase<D>) -> Verdict {
    Scenes::PLANS.for_each("arcs are complete", case, |trial, scene| {
        if scene.tested.kernel.hard_transform().is_none() {
            return Ok(());
        }
        let mut prices: Vec<f64> = case.allowed().map(|(i, j, _)| reduced_cost(scene, i, j)).collect();
        prices.sort_by(f64::total_cmp);
        let spread = prices[prices.len() / 2] - prices[0];
        let mut seeded = Seeded::new(16);
        let atoms = Side::BOTH.map(|side| seeded.vector::<f64>(case.len(side), -0.5 * spread, 0.5 * spread));
        let [s, t] = &atoms;
        for base in [f64::NEG_INFINITY, prices[prices.len() / 10], prices[prices.len() / 2], f64::INFINITY] {
            for atoms in [None, Some([s.as_slice(), t.as_slice()])] {
                let threshold = ArcThreshold { base, atoms };
                let arcs = arcs_below(&mut scene.tested, threshold, usize::MAX)?;
                let trial = trial.at(format_args!("threshold {base:e}, of atoms {}", atoms.is_some()));
                check_arcs(&trial, scene, &arcs, threshold)?;
                if !arcs.is_empty() {
                    let cut_short = arcs_below(&mut scene.tested, threshold, arcs.len() - 1);
                    let refused = matches!(cut_short, Err(Error::OutOfMemory { .. }));
                    trial.holds(refused, || "more arcs than the limit were no error".into())?;
                    let fitting = arcs_below(&mut scene.tested, threshold, arcs.len())?;
                    trial.holds(fitting == arcs, || "the limit changed the arcs".into())?;
                }
            }
        }
        Ok(())
    })
}

/// The column whose arcs are listed.
const COLUMN: usize = 1;

/// C_ij - f_i - g_j.
fn reduced_cost<D: Device>(scene: &Scene<'_, D>, i: usize, j: usize) -> f64 {
    let [f, g] = Side::BOTH.map(|side| scene.setting.potential(side, COLUMN));
    scene.case.reference().cost(i, j) - f[i] - g[j]
}

/// Each arc where it should be, with its price.
fn check_arcs<D: Device>(
    trial: &Trial,
    scene: &Scene<'_, D>,
    arcs: &[PricedArc],
    threshold: ArcThreshold<'_>,
) -> Verdict {
    let tolerance = scene.tolerance();
    let place = |arc: &PricedArc| (arc.source as usize, arc.target as usize);
    trial.holds(arcs.windows(2).all(|pair| place(&pair[0]) < place(&pair[1])), || "arcs out of order".into())?;
    let mut found = arcs.iter().peekable();
    for (i, j, _) in scene.case.allowed() {
        let price = reduced_cost(scene, i, j);
        let highest = threshold.base + threshold.atoms.map_or(0.0, |[s, t]| s[i] + t[j]);
        match found.next_if(|arc| place(arc) == (i, j)) {
            Some(arc) => {
                trial.close(format_args!("reduced cost of ({i}, {j})"), arc.reduced_cost, price, tolerance)?;
                trial.holds(price <= highest + tolerance, || format!("({i}, {j}) is too expensive"))?;
            }
            None => trial.holds(price > highest - tolerance, || format!("({i}, {j}) is missing"))?,
        }
    }
    trial.holds(found.next().is_none(), || "a forbidden pair is among the arcs".into())
}

fn arcs_below<D: Device>(
    iterate: &mut Iterate<D>,
    threshold: ArcThreshold<'_>,
    limit: usize,
) -> Result<Vec<PricedArc>, Error> {
    let Iterate { kernel, potentials: [source, target], .. } = iterate;
    let hard = kernel.hard_transform().ok_or(Error::MissingCapability("hard c-transform"))?;
    hard.arcs_below(source, target, COLUMN, threshold, limit)
}

fn hard_c_transform<D: Device>(
    iterate: &mut Iterate<D>,
    side: Side,
    argument: Option<&mut Vec<u32>>,
) -> Result<Vec<f64>, Error> {
    let mut out = iterate.alloc(side, 1)?;
    let other = side.opposite().index();
    let (potential, log_weights) = (&iterate.potentials[other], iterate.marginals[other].log_weights());
    let hard = iterate.kernel.hard_transform().ok_or(Error::MissingCapability("hard c-transform"))?;
    hard.hard_c_transform(side, potential, log_weights, &mut out, argument)?;
    iterate.download(&out)
}
