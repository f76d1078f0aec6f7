//! Better potentials for few arcs: entropic transport on these alone.
//!
//! A sweep over ten arcs an atom costs a hundredth of one over the pairs that a kernel keeps. So there is time for hundreds of
//! over-relaxed sweeps of Sinkhorn's iteration,
//!
//! ```text
//! f_i <- f_i - omega epsilon log sum_j b_j exp((f_i + g_j - C_ij) / epsilon)
//! ```
//!
//! which mend what is wrong over as many spacings: that costs the simplex most of its pivots. Where arcs are missing the potentials
//! move away from those of all pairs, and the arcs of least reduced cost are then the missing ones.

use ot_core::host::for_each_chunk;

use super::candidates::{Candidate, Parallel};

/// Sweeps between two evaluations of all exponentials.
const SWEEPS_OF_EXPONENTIALS: usize = 10;

/// As many sweeps as a cloud in the plane is spacings wide.
fn sweeps(atoms: usize) -> usize {
    ((atoms as f64).sqrt() as usize).clamp(100, 400)
}

/// Over-relaxation: none at first, little as long as potentials move far, then much.
fn omega(sweep: usize) -> f64 {
    match sweep {
        0..2 => 1.0,
        2..40 => 1.6,
        _ => 1.9,
    }
}

/// An error so many times the least one ends the over-relaxation.
const DIVERGENCE: f64 = 16.0;

/// Pieces that the atoms are cut into, whatever the threads.
const TASKS: usize = 8;

/// Exponents are held within the range.
const LARGEST_EXPONENT: f64 = 600.0;

/// Arcs by the atoms of one side.
#[derive(Debug)]
struct Lists {
    starts: Vec<usize>,
    partners: Vec<u32>,
    costs: Vec<f64>,
    /// exp((f + g - C) / epsilon), times the weight of the partner.
    entries: Vec<f64>,
}

impl Lists {
    /// The arcs by the first of their ends.
    fn new(atoms: usize, arcs: &[Candidate], ends: impl Fn(&Candidate) -> (u32, u32)) -> Self {
        let mut starts = vec![0; atoms + 1];
        arcs.iter().for_each(|arc| starts[ends(arc).0 as usize + 1] += 1);
        for atom in 0..atoms {
            starts[atom + 1] += starts[atom];
        }
        let (mut partners, mut costs, mut next) = (vec![0; arcs.len()], vec![0.0; arcs.len()], starts.clone());
        for arc in arcs {
            let (own, other) = ends(arc);
            let place = &mut next[own as usize];
            (partners[*place], costs[*place]) = (other, arc.cost);
            *place += 1;
        }
        Self { starts, partners, costs, entries: vec![0.0; arcs.len()] }
    }

    /// The entries under potentials.
    fn evaluate(&mut self, epsilon: f64, [own, other]: [&[f64]; 2], weights: &[f64]) {
        for (atom, potential) in own.iter().enumerate() {
            for arc in self.starts[atom]..self.starts[atom + 1] {
                let partner = self.partners[arc] as usize;
                let exponent = (potential + other[partner] - self.costs[arc]) / epsilon;
                self.entries[arc] = weights[partner] * exponent.clamp(-LARGEST_EXPONENT, LARGEST_EXPONENT).exp();
            }
        }
    }

    /// sum_j b_j exp((f_i + g_j - C_ij) / epsilon) of an atom, where those of the other side have changed by factors.
    fn density(&self, atom: usize, others: &[f64]) -> f64 {
        let arcs = self.starts[atom]..self.starts[atom + 1];
        let terms = self.entries[arcs.clone()].iter().zip(&self.partners[arcs]);
        terms.map(|(entry, &partner)| entry * others[partner as usize]).sum()
    }

    /// A half-step of the factors exp(change of potential / epsilon).
    fn half_step(&self, omega: f64, own: &mut [f64], others: &[f64], parallel: Parallel<'_>) {
        let share = own.len().div_ceil(TASKS).max(1);
        for_each_chunk(parallel, own.len().div_ceil(share), own.chunks_mut(share), |task, own| {
            for (atom, factor) in (task * share..).zip(own) {
                let density = *factor * self.density(atom, others);
                if density > 0.0 {
                    *factor *= (-omega * density.ln()).exp();
                }
            }
        });
    }
}

/// Potentials at `epsilon` for these arcs and weights of mass one, from good ones; `None` if they leave the range.
pub(super) fn polished(
    arcs: &[Candidate],
    [f, g]: [&[f64]; 2],
    [a, b]: [&[f64]; 2],
    epsilon: f64,
    parallel: Parallel<'_>,
) -> Option<[Vec<f64>; 2]> {
    let mut rows = Lists::new(a.len(), arcs, |arc| (arc.source, arc.target));
    let mut columns = Lists::new(b.len(), arcs, |arc| (arc.target, arc.source));
    let (mut f, mut g) = (f.to_vec(), g.to_vec());
    let (mut u, mut v) = (vec![1.0; f.len()], vec![1.0; g.len()]);
    let mut best: Option<(f64, [Vec<f64>; 2])> = None;
    let mut is_relaxed = true;
    for sweep in 0..sweeps(a.len().max(b.len())) {
        if sweep % SWEEPS_OF_EXPONENTIALS == 0 {
            absorb(epsilon, &mut f, &mut u);
            absorb(epsilon, &mut g, &mut v);
            rows.evaluate(epsilon, [&f, &g], b);
            columns.evaluate(epsilon, [&g, &f], a);
            let error: f64 = a.iter().enumerate().map(|(i, a)| a * (rows.density(i, &v) - 1.0).abs()).sum();
            match &best {
                Some((least, good)) if is_relaxed && (error.is_nan() || error > DIVERGENCE * least) => {
                    [f, g] = good.clone();
                    rows.evaluate(epsilon, [&f, &g], b);
                    columns.evaluate(epsilon, [&g, &f], a);
                    is_relaxed = false;
                }
                // The first error is that of the arcs that are missing, before rows and columns have met.
                Some((least, _)) if error >= *least => {}
                _ if sweep == 0 => {}
                _ => best = Some((error, [f.clone(), g.clone()])),
            }
        }
        let omega = if is_relaxed { omega(sweep) } else { 1.0 };
        rows.half_step(omega, &mut u, &v, parallel);
        columns.half_step(omega, &mut v, &u, parallel);
    }
    absorb(epsilon, &mut f, &mut u);
    absorb(epsilon, &mut g, &mut v);
    f.iter().chain(&g).all(|potential| potential.is_finite()).then_some([f, g])
}

/// Takes factors into potentials.
fn absorb(epsilon: f64, potential: &mut [f64], factors: &mut [f64]) {
    potential.iter_mut().zip(&*factors).for_each(|(potential, factor)| *potential += epsilon * factor.ln());
    factors.fill(1.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn potentials_meet_the_marginals_along_the_arcs() {
        const N: usize = 12;
        let serial = |tasks: usize, job: &(dyn Fn(usize) + Sync)| (0..tasks).for_each(job);
        // A band: neighbours on a line.
        let mut arcs = Vec::new();
        for i in 0..N as u32 {
            for j in i.saturating_sub(2)..(i + 3).min(N as u32) {
                let cost = (f64::from(i) - f64::from(j) + 0.3).powi(2);
                arcs.push(Candidate { source: i, target: j, cost, reduced_cost: 0.0 });
            }
        }
        let weights = |shift: f64| {
            let weights: Vec<f64> = (0..N).map(|i| 1.0 + 0.1 * (i as f64 + shift).sin()).collect();
            let mass: f64 = weights.iter().sum();
            weights.into_iter().map(|weight| weight / mass).collect::<Vec<f64>>()
        };
        let (a, b) = (weights(0.0), weights(1.0));
        let zeros = vec![0.0; N];
        let found = polished(&arcs, [&zeros, &zeros], [&a, &b], 1.0, &serial);
        let Some([f, g]) = found else { panic!("finite costs") };
        let mut marginals = [vec![0.0; N], vec![0.0; N]];
        for arc in &arcs {
            let (i, j) = (arc.source as usize, arc.target as usize);
            let mass = a[i] * b[j] * (f[i] + g[j] - arc.cost).exp();
            marginals[0][i] += mass;
            marginals[1][j] += mass;
        }
        for (marginal, weights) in marginals.iter().zip([&a, &b]) {
            for (found, expected) in marginal.iter().zip(weights) {
                assert!((found - expected).abs() < 1e-2 * expected, "{found} for {expected}");
            }
        }
    }
}
