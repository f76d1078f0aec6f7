//! A spanning tree with its flows and potentials.
//!
//! Nodes are the sources, then the targets, then one more, the *hub*: artificial arcs lead to it from sources whose
//! mass has no way yet, and from it to targets. Each node but the top keeps the arc to its parent.
//!
//! A pivot costs the length of its cycle and the smaller of the two parts that the leaving arc leaves: that part is
//! hung anew and its potentials are shifted, be it the one below the arc or the one above.

use super::super::sum::CompensatedSum;

/// No node.
pub(super) const NONE: u32 = u32::MAX;

/// A node and the arc to its parent.
#[derive(Clone, Copy, Debug)]
struct Node {
    /// Units on the arc, perturbed: never zero.
    flow: i128,
    /// Cost of the arc; of an artificial one zero, but one level.
    cost: f64,
    parent: u32,
    /// Nodes below, and this one.
    size: u32,
    /// The last of them in the order.
    last: u32,
    /// The node before this one in the order.
    previous: u32,
    /// Does the arc lead to the parent, or from it?
    up: bool,
}

/// An arc that is not in the tree, and its reduced cost, in which levels count before values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) struct Entering {
    pub(in super::super) source: u32,
    pub(in super::super) target: u32,
    pub(in super::super) cost: f64,
    pub(in super::super) level: i32,
    pub(in super::super) reduced_cost: f64,
}

/// A spanning tree of flows.
///
/// Nodes are threaded in an order in which each is followed by all below it (Glover, Klingman, Stutz 1974), so that a
/// part is walked without a decision. The last node is followed by the top.
#[derive(Debug, Default)]
pub(in super::super) struct Tree {
    nodes: Vec<Node>,
    /// The node after each in the order.
    next: Vec<u32>,
    /// f of sources, -g of targets: an arc has the reduced cost c - potential of its tail + potential of its head.
    potentials: Vec<f64>,
    /// The same for a cost that counts before all others: 1 for an artificial arc, 0 for every other.
    levels: Vec<i32>,
    sources: u32,
    top: u32,
    artificial: u32,
    /// Memory of a renewal of the potentials, and of the order in which branches are linked.
    sums: Vec<CompensatedSum>,
    children: Vec<u32>,
    order: Vec<u32>,
}

/// Numbers behind the potentials that a reader of whole vectors may look at.
const PADDING: usize = 8;

/// What a tree is made of: for each node but the hub its parent, and the cost and the units of the arc between them,
/// which leads up from sources and down to targets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Branch {
    pub(super) parent: u32,
    pub(super) cost: f64,
    pub(super) flow: i128,
}

impl Tree {
    /// Makes this the tree of these branches, whose top is the hub, the node after the last of them.
    pub(super) fn grow(&mut self, sources: usize, branches: &[Branch]) {
        let hub = branches.len() as u32;
        let arcs = branches.iter().map(|branch| (branch.cost, branch.flow)).chain([(0.0, 0)]);
        let alone = |(node, (cost, flow)): (u32, (f64, i128))| {
            let up = (node as usize) < sources;
            Node { flow, cost, parent: NONE, size: 1, last: node, previous: node, up }
        };
        self.nodes.clear();
        self.nodes.extend((0..).zip(arcs).map(alone));
        self.next.clear();
        self.next.extend(0..=hub);
        self.potentials.clear();
        self.potentials.resize(branches.len() + 1 + PADDING, 0.0);
        self.levels.clear();
        self.levels.resize(branches.len() + 1, 0);
        self.sources = sources as u32;
        self.top = hub;
        self.artificial = branches.iter().filter(|branch| branch.parent == hub).count() as u32;
        below_first(branches, &mut self.children, &mut self.order);
        for place in 0..self.order.len() {
            let node = self.order[place];
            let parent = branches[node as usize].parent;
            self.link(node, parent);
            self.nodes[parent as usize].size += self.nodes[node as usize].size;
        }
        self.renew_potentials();
    }

    /// f of sources, -g of targets.
    pub(super) fn potentials(&self) -> (&[f64], &[f64]) {
        self.potentials[..self.nodes.len() - 1].split_at(self.sources as usize)
    }

    /// [`potentials`](Self::potentials), those of the targets with finite numbers behind them up to a multiple of eight.
    pub(in super::super) fn padded_potentials(&self) -> (&[f64], &[f64]) {
        let targets = self.nodes.len() - 1 - self.sources as usize;
        let (f, minus_g) = self.potentials.split_at(self.sources as usize);
        (f, &minus_g[..targets.next_multiple_of(PADDING)])
    }

    /// The potentials of the cost that counts first.
    pub(super) fn levels(&self) -> (&[i32], &[i32]) {
        self.levels[..self.nodes.len() - 1].split_at(self.sources as usize)
    }

    /// Are there artificial arcs beyond the one that holds the hub? Otherwise all reduced costs have level 0.
    pub(super) fn has_levels(&self) -> bool {
        self.artificial > 1
    }

    /// The arcs that are not artificial: source, target, cost and perturbed units.
    pub(super) fn arcs(&self) -> impl Iterator<Item = (u32, u32, f64, i128)> {
        (0..self.nodes.len() as u32).filter(|&node| node != self.top && !self.is_artificial(node)).map(|node| {
            let Node { parent, cost, flow, up, .. } = self.nodes[node as usize];
            let (source, target) = if up { (node, parent) } else { (parent, node) };
            (source, target - self.sources, cost, flow)
        })
    }

    fn is_artificial(&self, node: u32) -> bool {
        let hub = self.nodes.len() as u32 - 1;
        node == hub || self.nodes[node as usize].parent == hub
    }

    /// Enters an arc of negative reduced cost; the arc that blocks its cycle leaves.
    pub(super) fn pivot(&mut self, entering: Entering) {
        let (s, t) = (entering.source, entering.target + self.sources);
        let (join, leaving, is_on_path_of_source) = self.cycle(s, t);
        let Node { flow: units, parent, size, .. } = self.nodes[leaving as usize];
        self.push(s, join, units, true);
        self.push(t, join, units, false);
        self.artificial -= u32::from(self.is_artificial(leaving));
        self.unlink(leaving);

        let (below, above) = if is_on_path_of_source { (s, t) } else { (t, s) };
        let hung = if 2 * size as usize <= self.nodes.len() {
            // Above the join nothing changes.
            self.resize(parent, join, size.wrapping_neg());
            self.turn(below);
            self.link(below, above);
            self.resize(above, join, size);
            below
        } else {
            self.resize(parent, NONE, size.wrapping_neg());
            self.turn(above);
            self.link(above, below);
            self.resize(below, NONE, self.nodes[above as usize].size);
            self.top = leaving;
            above
        };
        let node = &mut self.nodes[hung as usize];
        (node.flow, node.cost, node.up) = (units, entering.cost, hung == s);
        if hung == s {
            self.shift(s, entering.reduced_cost, entering.level);
        } else {
            self.shift(t, -entering.reduced_cost, -entering.level);
        }
    }

    /// Where the paths from both ends meet, the node whose arc is against the cycle with the least flow, and whether
    /// it is on the path of the source. Perturbed, no two flows of a cycle are equal.
    fn cycle(&self, s: u32, t: u32) -> (u32, u32, bool) {
        let (mut u, mut v) = (s, t);
        let (mut least, mut leaving, mut is_on_path_of_source) = (i128::MAX, NONE, true);
        while u != v {
            let (of_u, of_v) = (&self.nodes[u as usize], &self.nodes[v as usize]);
            // The smaller of two parts does not hold the other.
            if of_u.size <= of_v.size {
                if of_u.up && of_u.flow < least {
                    (least, leaving, is_on_path_of_source) = (of_u.flow, u, true);
                }
                u = of_u.parent;
            } else {
                if !of_v.up && of_v.flow < least {
                    (least, leaving, is_on_path_of_source) = (of_v.flow, v, false);
                }
                v = of_v.parent;
            }
        }
        (u, leaving, is_on_path_of_source)
    }

    /// Sends units along the path from a node up to the join (or down, for the source of the entering arc).
    fn push(&mut self, end: u32, join: u32, units: i128, down: bool) {
        let mut node = end;
        while node != join {
            let of_node = &mut self.nodes[node as usize];
            of_node.flow += if of_node.up == down { -units } else { units };
            node = of_node.parent;
        }
    }

    /// Adds to the sizes from a node up to another, which is left out.
    fn resize(&mut self, from: u32, to: u32, change: u32) {
        let mut node = from;
        while node != to {
            let of_node = &mut self.nodes[node as usize];
            of_node.size = of_node.size.wrapping_add(change);
            node = of_node.parent;
        }
    }

    /// Makes a node the top of its part: the arcs of the path to the old top are turned around. In the order, what
    /// was below the node comes first, then what else was below its parent, and so on.
    fn turn(&mut self, node: u32) {
        let Node { parent: mut upper, size: mut old_size, last: mut old_last, previous: mut before, .. } =
            self.nodes[node as usize];
        let (mut lower, mut arc) = (node, self.nodes[node as usize]);
        // The end of the new order, and what followed the nodes below the lower end in the old one.
        let (mut end, mut after) = (old_last, self.next[old_last as usize]);
        let mut all = old_size;
        while upper != NONE {
            let of_upper = self.nodes[upper as usize];
            // What is below the lower end leaves the order of what is below the upper.
            let rest = if of_upper.last == old_last {
                before
            } else {
                self.next[before as usize] = after;
                self.nodes[after as usize].previous = before;
                after = self.next[of_upper.last as usize];
                of_upper.last
            };
            self.next[end as usize] = upper;
            all = of_upper.size;
            self.nodes[upper as usize] = Node {
                flow: arc.flow,
                cost: arc.cost,
                up: !arc.up,
                parent: lower,
                previous: end,
                // Its size is completed below.
                size: old_size,
                last: of_upper.last,
            };
            (end, before, old_last, old_size) = (rest, of_upper.previous, of_upper.last, of_upper.size);
            (lower, upper, arc) = (upper, of_upper.parent, of_upper);
        }
        self.next[end as usize] = node;
        // From the old top down to the node.
        let mut place = lower;
        while place != node {
            let of_place = &mut self.nodes[place as usize];
            of_place.last = end;
            of_place.size = all - of_place.size;
            place = of_place.parent;
        }
        let of_node = &mut self.nodes[node as usize];
        (of_node.parent, of_node.previous, of_node.last, of_node.size) = (NONE, end, end, all);
    }

    /// Hangs a part onto a node, right after it in the order.
    fn link(&mut self, part: u32, parent: u32) {
        let (last, after) = (self.nodes[part as usize].last, self.next[parent as usize]);
        self.next[parent as usize] = part;
        self.next[last as usize] = after;
        self.nodes[after as usize].previous = last;
        (self.nodes[part as usize].parent, self.nodes[part as usize].previous) = (parent, parent);
        self.replace_last(parent, parent, last);
    }

    /// Takes a part off its parent.
    fn unlink(&mut self, part: u32) {
        let Node { parent, last, previous, .. } = self.nodes[part as usize];
        let after = self.next[last as usize];
        self.next[previous as usize] = after;
        self.nodes[after as usize].previous = previous;
        self.next[last as usize] = part;
        (self.nodes[part as usize].parent, self.nodes[part as usize].previous) = (NONE, last);
        self.replace_last(parent, last, previous);
    }

    /// Where `old` was the last node below a node and those above it, `new` is.
    fn replace_last(&mut self, from: u32, old: u32, new: u32) {
        let mut node = from;
        while node != NONE && self.nodes[node as usize].last == old {
            self.nodes[node as usize].last = new;
            node = self.nodes[node as usize].parent;
        }
    }

    /// Adds to all potentials of a part.
    fn shift(&mut self, part: u32, change: f64, level: i32) {
        let size = self.nodes[part as usize].size;
        let mut node = part;
        for _ in 0..size {
            self.potentials[node as usize] += change;
            node = self.next[node as usize];
        }
        if level != 0 {
            node = part;
            for _ in 0..size {
                self.levels[node as usize] += level;
                node = self.next[node as usize];
            }
        }
    }

    /// Computes all potentials anew from the costs of the tree, with twice the digits: the shifts of many pivots leave
    /// their rounding behind.
    pub(super) fn renew_potentials(&mut self) {
        let sums = &mut self.sums;
        sums.clear();
        sums.resize(self.nodes.len(), CompensatedSum::default());
        let hub = self.nodes.len() as u32 - 1;
        let mut node = self.top;
        self.levels[node as usize] = 0;
        for _ in 1..self.nodes.len() {
            node = self.next[node as usize];
            let Node { parent, cost, up, .. } = self.nodes[node as usize];
            let sign = if up { 1 } else { -1 };
            sums[node as usize] = sums[parent as usize];
            sums[node as usize].add(f64::from(sign) * cost);
            let is_artificial = node == hub || parent == hub;
            self.levels[node as usize] = self.levels[parent as usize] + if is_artificial { sign } else { 0 };
        }
        self.potentials.iter_mut().zip(sums).for_each(|(potential, sum)| *potential = sum.value());
    }
}

/// The nodes that branches belong to, each before its parent, in `order`.
fn below_first(branches: &[Branch], children: &mut Vec<u32>, order: &mut Vec<u32>) {
    children.clear();
    children.resize(branches.len() + 1, 0);
    branches.iter().for_each(|branch| children[branch.parent as usize] += 1);
    order.clear();
    order.extend((0..branches.len() as u32).filter(|&node| children[node as usize] == 0));
    let mut place = 0;
    while place < order.len() {
        let parent = branches[order[place] as usize].parent;
        children[parent as usize] -= 1;
        if children[parent as usize] == 0 && (parent as usize) < branches.len() {
            order.push(parent);
        }
        place += 1;
    }
}
