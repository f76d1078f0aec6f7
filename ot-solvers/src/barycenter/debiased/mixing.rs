//! Anderson's mixing of the last iterates (Anderson 1965; Walker, Ni 2011).
//!
//! An iteration z <- T(z) that is sublinear has fixed points that the last few T(z_i) point to: with the residuals
//! r_i = T(z_i) - z_i the next iterate is
//!
//! ```text
//! z = sum_i c_i T(z_i),      c the minimiser of |sum_i c_i r_i|^2 over sum_i c_i = 1
//! ```
//!
//! with a norm that weighs atoms by the masses of p. Residuals of h alone are compared: what the iteration is slow in, it is
//! slow in there. A mixture is a guess, and the next iteration starts from it as from any other iterate.

use ot_core::{Backend, Device, Error, Fold, Operand, Program, Real, Scalar};

use crate::barycenter::group::Group;

/// Iterates that are mixed.
const DEPTH: usize = 4;

/// What is added to the matrix of the residuals, relative to its trace: differences below it are noise.
const REGULARIZATION: f64 = 1e-8;

/// The largest coefficient: beyond it the residuals tell no direction.
const LARGEST: f64 = 1e3;

/// After a mixture whose squared residual is more than this times the least of those before, iterations go on plainly until it is
/// not: mixtures of mixtures that led astray would lead on.
const GROWTH: f64 = 4.0;

/// One iterate after its iteration.
#[derive(Debug)]
struct Entry<D: Device> {
    /// The potentials at the ends of p, group after group.
    targets: Vec<D::Vector>,
    /// h, and what the iteration changed in it.
    own: D::Vector,
    residual: D::Vector,
}

/// The last iterates of all columns.
#[derive(Debug)]
pub(super) struct Mixing<D: Device> {
    entries: Vec<Entry<D>>,
    /// Iterates taken in.
    count: usize,
    columns: usize,
    /// Products of a residual with all others, and the coefficients of one.
    products: Vec<[D::Reduced; DEPTH]>,
    coefficients: Vec<D::Reduced>,
    /// The coefficients for each column of a group.
    repeated: Vec<Vec<D::Reduced>>,
    /// (h, h before) to h - h before.
    subtract: Program,
    /// (p, r, r_0, ..) to p r r_i.
    product: Program,
    /// (z_0, .., c_0, .., z) to sum_i c_i z_i, without those whose coefficient is 0; to z where that is no number.
    mix: Program,
}

impl<D: Device> Mixing<D> {
    pub(super) fn new(
        backend: &dyn Backend<D>,
        groups: &[Group<D>],
        len: usize,
        columns: usize,
    ) -> Result<Self, Error> {
        let alloc = |columns: usize| backend.alloc(len, columns);
        let reduced = |columns: usize| (0..DEPTH).map(move |_| backend.alloc_reduced(columns)).collect();
        let entry = || -> Result<Entry<D>, Error> {
            let targets = groups.iter().map(|group| alloc(group.problem.columns())).collect::<Result<_, _>>()?;
            Ok(Entry { targets, own: alloc(columns)?, residual: backend.filled(0.0, len, columns)? })
        };
        let product = || -> Result<[D::Reduced; DEPTH], Error> {
            let alloc = || backend.alloc_reduced(columns);
            Ok([alloc()?, alloc()?, alloc()?, alloc()?])
        };
        let repeated = groups.iter().map(|group| reduced(group.problem.columns()));
        Ok(Self {
            entries: (0..DEPTH).map(|_| entry()).collect::<Result<_, _>>()?,
            count: 0,
            columns,
            products: (0..DEPTH).map(|_| product()).collect::<Result<_, _>>()?,
            coefficients: reduced(columns)?,
            repeated: repeated.collect::<Result<_, _>>()?,
            subtract: Program::record(|[own, before]| [own - before])?,
            product: Program::record(|[p, r, r0, r1, r2, r3]| {
                [r0, r1, r2, r3].map(|other| p.select(p * (r * other), 0.0))
            })?,
            mix: Program::record(|[z0, z1, z2, z3, c0, c1, c2, c3, last]| {
                let part = |z, c: _| {
                    let size = Real::abs(c);
                    Real::select(size, c * z, 0.0)
                };
                let mixture = (part(z0, c0) + part(z1, c1)) + (part(z2, c2) + part(z3, c3));
                [(D::Elem::MAX - mixture.abs()).select(mixture, last)]
            })?,
        })
    }

    /// Remembers h before an iteration.
    pub(super) fn enter(&mut self, backend: &dyn Backend<D>, own: &D::Vector) -> Result<(), Error> {
        backend.copy(own, &mut self.entries[self.count % DEPTH].residual)
    }

    /// What the last iteration changed in h.
    pub(super) fn residual(&self) -> &D::Vector {
        &self.entries[self.last()].residual
    }

    /// Takes in the iterate after an iteration.
    pub(super) fn take(&mut self, backend: &dyn Backend<D>, groups: &[Group<D>], own: &D::Vector) -> Result<(), Error> {
        let place = self.count % DEPTH;
        let entry = &mut self.entries[place];
        backend.map(&self.subtract, &[Operand::Vector(own), Operand::Output(0)], &mut [&mut entry.residual])?;
        backend.copy(own, &mut entry.own)?;
        for (group, target) in groups.iter().zip(&mut entry.targets) {
            backend.copy(&group.potentials.target, target)?;
        }
        self.count += 1;
        Ok(())
    }

    /// Goes from the last iterate to the mixture of all, in the norm of p.
    pub(super) fn mix(
        &mut self,
        backend: &dyn Backend<D>,
        p: &D::Vector,
        groups: &mut [Group<D>],
        own: &mut D::Vector,
    ) -> Result<(), Error> {
        let (rows, _) = backend.shape(own);
        let known = self.count.min(DEPTH);
        if known < 2 {
            return Ok(());
        }
        let Self { entries, products, coefficients, repeated, .. } = self;
        let residual = |place: usize| Operand::Vector(&entries[place % known].residual);
        for (place, products) in products[..known].iter_mut().enumerate() {
            let operands = [Operand::Vector(p), residual(place), residual(0), residual(1), residual(2), residual(3)];
            backend.reduce(&self.product, Fold::Sum, rows, &operands, &mut products.each_mut())?;
        }
        let read = backend.read(&products[..known].iter().flatten().collect::<Vec<_>>())?;
        let last = (self.count - 1) % DEPTH;
        let of_column = |column: usize| {
            let mut matrix = [[0.0; DEPTH]; DEPTH];
            for i in 0..known {
                for j in 0..known {
                    matrix[i][j] = read[i * DEPTH + j][column];
                }
            }
            minimiser(&matrix, known, last)
        };
        let own_coefficients: Vec<[f64; DEPTH]> = (0..self.columns).map(of_column).collect();
        for (place, out) in coefficients.iter_mut().enumerate() {
            let values: Vec<f64> = own_coefficients.iter().map(|c| c[place]).collect();
            backend.write_reduced(&values, out)?;
            for (group, repeated) in groups.iter().zip(repeated.iter_mut()) {
                backend.write_reduced(&values.repeat(group.terms().len()), &mut repeated[place])?;
            }
        }
        let [a, b, c, d] = [0, 1, 2, 3].map(|place: usize| &entries[place % known]);
        let [v, w, x, y] = [a, b, c, d].map(|entry| Operand::Vector(&entry.own));
        let [c0, c1, c2, c3] = [0, 1, 2, 3].map(|place: usize| Operand::Reduced(&coefficients[place]));
        let last_own = Operand::Vector(&entries[last].own);
        backend.map(&self.mix, &[v, w, x, y, c0, c1, c2, c3, last_own], &mut [own])?;
        for (index, group) in groups.iter_mut().enumerate() {
            let [v, w, x, y] = [a, b, c, d].map(|entry| Operand::Vector(&entry.targets[index]));
            let [c0, c1, c2, c3] = [0, 1, 2, 3].map(|place: usize| Operand::Reduced(&repeated[index][place]));
            let operands = [v, w, x, y, c0, c1, c2, c3, Operand::Vector(&entries[last].targets[index])];
            backend.map(&self.mix, &operands, &mut [&mut group.potentials.target])?;
        }
        Ok(())
    }

    /// The place of the last iterate.
    fn last(&self) -> usize {
        (self.count + DEPTH - 1) % DEPTH
    }
}

/// The c of sum 1 with the least c^T M c, for the products M of `known` residuals; that of the last residual alone where they
/// tell no other, or where it has grown.
fn minimiser(products: &[[f64; DEPTH]; DEPTH], known: usize, last: usize) -> [f64; DEPTH] {
    let mut alone = [0.0; DEPTH];
    alone[last] = 1.0;
    let least = (0..known).map(|place| products[place][place]).fold(f64::INFINITY, f64::min);
    if products[last][last] > GROWTH * least {
        return alone;
    }
    let others: Vec<usize> = (0..known).filter(|place| *place != last).collect();
    let (m, n) = (|i: usize, j: usize| products[others[i]][others[j]], others.len());
    let own = |i: usize| products[others[i]][last];
    let mut matrix = [[0.0; DEPTH]; DEPTH];
    let mut right = [0.0; DEPTH];
    let trace: f64 = (0..n).map(|i| m(i, i) - 2.0 * own(i) + products[last][last]).sum();
    for (i, (row, right)) in matrix.iter_mut().zip(&mut right).enumerate().take(n) {
        for (j, entry) in row.iter_mut().enumerate().take(n) {
            *entry = m(i, j) - own(i) - own(j) + products[last][last];
        }
        row[i] += REGULARIZATION * trace;
        *right = products[last][last] - own(i);
    }
    // Elimination without pivots: the matrix is positive definite, or it is no matrix of products.
    for k in 0..n {
        let pivot = matrix[k][k];
        if !(pivot > 0.0 && pivot.is_finite()) {
            return alone;
        }
        let above = matrix[k];
        for i in k + 1..n {
            let factor = matrix[i][k] / pivot;
            for (entry, above) in matrix[i].iter_mut().zip(above) {
                *entry -= factor * above;
            }
            right[i] -= factor * right[k];
        }
    }
    let mut coefficients = [0.0; DEPTH];
    for k in (0..n).rev() {
        let known: f64 = (k + 1..n).map(|j| matrix[k][j] * coefficients[others[j]]).sum();
        coefficients[others[k]] = (right[k] - known) / matrix[k][k];
    }
    coefficients[last] = 1.0 - coefficients.iter().sum::<f64>();
    match coefficients.iter().all(|c| c.abs() <= LARGEST) {
        true => coefficients,
        false => alone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn products(residuals: &[[f64; 3]]) -> [[f64; DEPTH]; DEPTH] {
        let mut out = [[0.0; DEPTH]; DEPTH];
        for (i, x) in residuals.iter().enumerate() {
            for (j, y) in residuals.iter().enumerate() {
                out[i][j] = x.iter().zip(y).map(|(x, y)| x * y).sum();
            }
        }
        out
    }

    /// Residuals of which a mixture vanishes give that mixture.
    #[test]
    fn mixtures_that_vanish_are_found() {
        let (r, s) = ([1.0, 2.0, -1.0], [3.0, -1.0, 0.5]);
        // 0.25 r_0 + 0.35 r_1 + 0.4 r_2 = 0.
        let t: [f64; 3] = std::array::from_fn(|k| -(0.25 * r[k] + 0.35 * s[k]) / 0.4);
        let found = minimiser(&products(&[r, s, t]), 3, 2);
        for (found, expected) in found.iter().zip([0.25, 0.35, 0.4, 0.0]) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }

    /// A residual that has grown is followed by no mixture.
    #[test]
    fn mixtures_that_lead_astray_are_left() {
        let grown = products(&[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [3.0, 1.0, 0.0]]);
        assert_eq!(minimiser(&grown, 3, 2), [0.0, 0.0, 1.0, 0.0]);
    }

    /// Equal residuals tell nothing, nor do those that are no numbers.
    #[test]
    fn what_tells_nothing_is_the_last_iterate() {
        let same = products(&[[1.0, 2.0, 3.0]; 2]);
        assert_eq!(minimiser(&same, 2, 1), [0.0, 1.0, 0.0, 0.0]);
        assert_eq!(minimiser(&[[f64::NAN; DEPTH]; DEPTH], 4, 2), [0.0, 0.0, 1.0, 0.0]);
        assert_eq!(minimiser(&[[0.0; DEPTH]; DEPTH], 3, 0), [1.0, 0.0, 0.0, 0.0]);
    }
}
