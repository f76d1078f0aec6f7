//! Potentials that guide an exact search between measures on grids, and pairs priced axis by axis.
//!
//! A sweep between grids of N nodes takes a time proportional to N, so epsilon is annealed on the grids themselves. Hard
//! c-transforms, under squares the lower envelopes of parabolas (Felzenszwalb, Huttenlocher 2012), name the pairs of small
//! reduced cost without a look at the others: neither the first arcs of a search nor its last proof is a pass over all
//! pairs.

use ot_core::{
    ArcThreshold, Axis, Device, Epsilon, Error, GeometryBuilder, GroundCost, HardTransform, LOG_ZERO, Measure,
    PricedArc, Problem, Scalar, Side, Support, UNREACHABLE,
};

use super::geometric::{Guided, SHARPNESS, iterate, zeros};

/// Iterations at each epsilon of the annealing: the fewest, and how many nodes of the longest axis ask for one more. What is wrong
/// over many steps takes many iterations, and a pivot more costs more than a sweep.
const FEWEST_SWEEPS: usize = 8;
const NODES_OF_A_SWEEP: usize = 2;

/// First arcs of an atom are those whose reduced cost is above its least by less than so many epsilons of the guide.
const HEIGHT: f64 = 8.0;

/// The most first arcs an atom, on average: of more, those of half the height are taken.
const MOST_FIRST_ARCS: usize = 40;

/// Potentials f and g of the atoms named; `None` where supports are no grids, or the cost no sum over their axes.
///
/// # Errors
/// Those of [`GeometryBuilder::geometry`] and [`Problem::new`].
pub(super) fn guided<D: Device>(
    builder: &dyn GeometryBuilder<Device = D>,
    measures: [&dyn Measure<D::Elem>; 2],
    atoms: [&[u32]; 2],
    cost: &dyn GroundCost,
) -> Result<Option<Guided<D>>, Error> {
    let [Support::Grid(x), Support::Grid(y)] = measures.map(Measure::support) else { return Ok(None) };
    let along: Option<Vec<_>> = (0..x.dimension()).map(|axis| cost.axis_cost(axis)).collect();
    let (Some(along), false) = (along, cost.may_forbid()) else { return Ok(None) };
    let steps = [x.axes(), y.axes()].into_iter().flat_map(|axes| axes.iter().zip(&along));
    let spacing = steps.filter_map(|(axis, cost)| step(axis, cost.as_ref())).fold(0.0, f64::max);

    let longest = [x, y].into_iter().flat_map(|grid| grid.axes()).map(Axis::len).max().unwrap_or(0);
    let sweeps = (longest / NODES_OF_A_SWEEP).max(FEWEST_SWEEPS);

    let geometry = builder.geometry(Support::Grid(x), Support::Grid(y), cost)?;
    let bound = geometry.cost_bound().unwrap_or(0.0);
    let epsilon = (SHARPNESS * spacing).max(64.0 * D::Elem::EPSILON * bound);
    if !(epsilon.is_finite() && epsilon > 0.0) {
        return Ok(None);
    }
    let problem = Problem::new(geometry, measures[0], measures[1], Epsilon::Absolute(epsilon))?;
    let potentials = iterate(&problem, zeros(&problem)?, (bound / 4.0).max(epsilon), sweeps)?;
    let both = problem.backend().download(&[&potentials.source, &potentials.target])?;
    let of_atoms = |(potential, atoms): (&Vec<D::Elem>, &[u32])| -> Vec<f64> {
        atoms.iter().map(|&atom| potential[atom as usize].to_f64()).collect()
    };
    let potentials = [of_atoms((&both[0], atoms[0])), of_atoms((&both[1], atoms[1]))];
    let are_finite = potentials.iter().flatten().all(|potential| potential.abs() < 0.5 * UNREACHABLE);
    let nodes = atoms.map(<[u32]>::to_vec);
    Ok(are_finite.then_some(Guided { potentials, problem, nodes: Some(nodes) }))
}

/// What one step along an axis costs.
fn step(axis: &Axis, cost: &dyn GroundCost) -> Option<f64> {
    let mut costs = [0.0; 2];
    cost.costs_f64(&[axis.coordinate(0)], &[axis.coordinate(0), axis.coordinate(1)], &mut costs);
    Some((costs[1] - costs[0]).abs()).filter(|step| axis.len() > 1 && step.is_finite())
}

/// Potentials of the nodes of both sides of a problem, from those of the atoms that have mass. Those of the others are so low
/// that no pair of theirs is of small reduced cost.
pub(super) struct OfNodes<D: Device> {
    potentials: [D::Vector; 2],
    log_weights: [D::Vector; 2],
    /// Atoms of the nodes; `u32::MAX` of those without.
    atoms: [Vec<u32>; 2],
}

impl<D: Device> OfNodes<D> {
    pub(super) fn new(
        problem: &Problem<D>,
        nodes: &[Vec<u32>; 2],
        f: impl Iterator<Item = f64>,
        g: impl Iterator<Item = f64>,
    ) -> Result<Self, Error> {
        let backend = problem.backend();
        let lens = Side::BOTH.map(|side| problem.marginal(side).len());
        let atoms = [0, 1].map(|side| {
            let mut atoms = vec![u32::MAX; lens[side]];
            (0..).zip(&nodes[side]).for_each(|(atom, &node)| atoms[node as usize] = atom);
            atoms
        });
        let of_atoms: [Vec<f64>; 2] = [f.collect(), g.collect()];
        let largest = of_atoms.iter().flatten().fold(0.0_f64, |largest, potential| largest.max(potential.abs()));
        let low = -2.0 * (largest + problem.geometry().cost_bound().unwrap_or(0.0));
        let upload = |side: usize, absent: f64, present: &dyn Fn(u32) -> f64| {
            let of_node = |&atom: &u32| D::Elem::from_f64(if atom == u32::MAX { absent } else { present(atom) });
            backend.upload(&atoms[side].iter().map(of_node).collect::<Vec<_>>(), 1)
        };
        let potential = |side: usize| upload(side, low, &|atom| of_atoms[side][atom as usize]);
        let log_weight = |side: usize| upload(side, LOG_ZERO, &|_| 0.0);
        Ok(Self { potentials: [potential(0)?, potential(1)?], log_weights: [log_weight(0)?, log_weight(1)?], atoms })
    }

    /// The arcs below a threshold, between atoms.
    pub(super) fn arcs_below(
        &self,
        transform: &mut dyn HardTransform<D>,
        threshold: ArcThreshold<'_>,
        most: usize,
    ) -> Result<Vec<PricedArc>, Error> {
        let [f, g] = &self.potentials;
        let mut arcs = transform.arcs_below(f, g, 0, threshold, most)?;
        let atom = |side: usize, node: u32| self.atoms[side][node as usize];
        arcs.iter_mut().for_each(|arc| (arc.source, arc.target) = (atom(0, arc.source), atom(1, arc.target)));
        arcs.retain(|arc| arc.source != u32::MAX && arc.target != u32::MAX);
        Ok(arcs)
    }

    /// The pairs of each atom whose reduced cost is not far above its least, by source and then target; `None` if they are
    /// too many at any height.
    pub(super) fn least(
        &self,
        transform: &mut dyn HardTransform<D>,
        problem: &Problem<D>,
    ) -> Result<Option<Vec<PricedArc>>, Error> {
        let backend = problem.backend();
        let lens = self.atoms.each_ref().map(Vec::len);
        let mut least = [Vec::new(), Vec::new()];
        for (index, side) in Side::BOTH.into_iter().enumerate() {
            let mut out = backend.filled(0.0, lens[index], 1)?;
            let (potential, log_weights) = (&self.potentials[1 - index], &self.log_weights[1 - index]);
            transform.hard_c_transform(side, potential, log_weights, &mut out, None)?;
            let both = backend.download(&[&out, &self.potentials[index]])?;
            least[index] = both[0].iter().zip(&both[1]).map(|(least, own)| least.to_f64() - own.to_f64()).collect();
        }
        let most = MOST_FIRST_ARCS * (lens[0] + lens[1]);
        let nothing = lens.map(|len| vec![0.0; len]);
        let mut height = HEIGHT * problem.epsilon();
        'heights: for _ in 0..4 {
            let mut found = Vec::new();
            for side in 0..2 {
                let own: Vec<f64> = least[side].iter().map(|least| least + height).collect();
                let atoms = if side == 0 { [&own[..], &nothing[1]] } else { [&nothing[0], &own[..]] };
                match self.arcs_below(transform, ArcThreshold { base: 0.0, atoms: Some(atoms) }, most) {
                    Ok(arcs) => found.extend(arcs),
                    Err(Error::OutOfMemory { .. }) => {
                        height *= 0.5;
                        continue 'heights;
                    }
                    Err(error) => return Err(error),
                }
            }
            found.sort_unstable_by_key(|arc| (arc.source, arc.target));
            found.dedup_by_key(|arc| (arc.source, arc.target));
            return Ok(Some(found));
        }
        Ok(None)
    }
}
