//! The first tree: masses allocated to arcs one by one, each as much as both of its ends still have.

use super::tree::{Branch, NONE, Tree};

/// Perturbed units are this many times the units of so many atoms, and half of it is more than all perturbations.
pub(super) fn factor(atoms: usize) -> i128 {
    2 * (atoms as i128 + 1)
}

/// Masses that are being allocated.
///
/// Each allocation exhausts one end, which hangs on the other: the arcs used are a forest. Masses are perturbed (every
/// atom supplies a little more than its mass), so that no two sums of them are equal: both ends are never exhausted at
/// once, all flows of a tree are positive, and every pivot descends. That is what strongly feasible trees are for
/// (Cunningham 1976; Orlin 1985).
#[derive(Debug, Default)]
pub(in super::super) struct Allocation {
    sources: usize,
    /// What is left, perturbed, of sources and then targets.
    left: Vec<i128>,
    branches: Vec<Branch>,
}

impl Allocation {
    /// Nothing allocated of units of either side, whose sums are equal.
    pub(in super::super) fn new(units: [&[i128]; 2]) -> Self {
        let mut allocation = Self::default();
        allocation.begin(units);
        allocation
    }

    /// Begins anew, with units of either side, whose sums are equal.
    pub(in super::super) fn begin(&mut self, [source, target]: [&[i128]; 2]) {
        let atoms = source.len() + target.len();
        let factor = factor(atoms);
        let supplies = source.iter().map(|units| factor * units + 1);
        let demands = target.iter().map(|units| factor * units - 1);
        self.sources = source.len();
        self.left.clear();
        self.left.extend(supplies.chain(demands));
        self.branches.clear();
        self.branches.extend(std::iter::repeat_n(Branch { parent: NONE, cost: 0.0, flow: 0 }, atoms));
    }

    /// Has this source mass left?
    pub(in super::super) fn has_source(&self, source: usize) -> bool {
        self.left[source] > 0
    }

    /// May this target still receive?
    pub(in super::super) fn has_target(&self, target: usize) -> bool {
        self.left[self.sources + target] > 0
    }

    /// Sends as much as is left at both ends.
    pub(in super::super) fn allocate(&mut self, source: u32, target: u32, cost: f64) {
        let (s, t) = (source as usize, target as usize + self.sources);
        let flow = self.left[s].min(self.left[t]);
        if flow == 0 {
            return;
        }
        self.left[s] -= flow;
        self.left[t] -= flow;
        let (exhausted, parent) = if self.left[s] == 0 { (s, t) } else { (t, s) };
        self.branches[exhausted] = Branch { parent: parent as u32, cost, flow };
    }

    /// The costs of the arcs used.
    pub(in super::super) fn costs(&self) -> impl Iterator<Item = f64> {
        self.branches.iter().map(|branch| branch.cost)
    }

    /// Grows the tree of the allocation; what is left goes to the hub and comes from it.
    pub(super) fn finish(&mut self, tree: &mut Tree) {
        let hub = self.branches.len() as u32;
        for (branch, left) in self.branches.iter_mut().zip(&self.left).filter(|(branch, _)| branch.parent == NONE) {
            *branch = Branch { parent: hub, cost: 0.0, flow: *left };
        }
        tree.grow(self.sources, &self.branches);
    }
}
