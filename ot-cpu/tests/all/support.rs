//! What all subjects share: cases with a naive oracle, weights, marginals.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::sync::Arc;

use ot_conformance::Seeded;
use ot_core::{
    ActiveColumns, Backend, Balanced, CTransform, CostFormula, Geometry, GroundCost, Host, KernelOp, LOG_ZERO,
    Marginal, PlanView, PointsView, Real, RecordedPenalty, Scalar, Side, SqEuclidean, UNREACHABLE, WeightsView,
    host::HostVector,
};
use ot_cpu::{CpuBackend, CpuScalar, DenseGeometry, StreamingGeometry, backend::KeptEntries};

/// c(x, y) = sum_k (k + 1) (x_k - y_k)^2 + x_0 y_0 (1 + x_0) / 4, which no symmetry helps.
#[derive(Clone, Debug)]
pub struct Lopsided;

impl CostFormula for Lopsided {
    fn cost<R: Real>(&self, x: &[R], y: &[R]) -> R {
        let skew = 0.25 * x[0] * y[0] * (1.0 + x[0]);
        let squares = x.iter().zip(y).enumerate().map(|(axis, (x, y))| {
            let difference = *x - *y;
            (axis as f64 + 1.0) * difference * difference
        });
        squares.fold(skew, |sum, square| sum + square)
    }
}

/// A geometry, its costs in f64, and weights.
pub struct Case<T: CpuScalar> {
    pub backend: CpuBackend<T>,
    pub geometry: Arc<dyn Geometry<Host<T>>>,
    /// Row-major.
    pub costs: Vec<f64>,
    pub n: usize,
    pub m: usize,
    pub name: String,
}

impl<T: CpuScalar> Case<T> {
    /// The mean of the finite costs.
    pub fn mean(&self) -> f64 {
        let finite: Vec<f64> = self.costs.iter().copied().filter(|cost| cost.is_finite()).collect();
        finite.iter().map(|cost| cost.abs()).sum::<f64>() / finite.len() as f64
    }

    pub fn len(&self, side: Side) -> usize {
        side.of([self.n, self.m])
    }

    pub fn cost(&self, side: Side, atom: usize, other: usize) -> f64 {
        match side {
            Side::Source => self.costs[atom * self.m + other],
            Side::Target => self.costs[other * self.m + atom],
        }
    }

    /// The softmin of one atom, naively in f64.
    pub fn softmin(&self, side: Side, atom: usize, potential: &[T], log_weights: &[T], epsilon: f64) -> f64 {
        let exponents: Vec<f64> = (0..self.len(side.opposite()))
            .filter(|&j| log_weights[j].to_f64() > LOG_ZERO / 2.0)
            .map(|j| (potential[j].to_f64() - self.cost(side, atom, j)) / epsilon + log_weights[j].to_f64())
            .collect();
        let largest = exponents.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if largest == f64::NEG_INFINITY {
            return UNREACHABLE;
        }
        let sum: f64 = exponents.iter().map(|exponent| (exponent - largest).exp()).sum();
        -epsilon * (largest + sum.ln())
    }
}

/// Which kernel a case has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Entries kept in f32.
    Dense,
    /// Entries kept in the element type.
    DenseFull,
    Streaming,
    DenseLopsided,
    StreamingLopsided,
    /// A matrix with forbidden pairs: row 1 entirely, column 2 but for its first entry.
    Forbidding,
}

pub const KINDS: [Kind; 6] =
    [Kind::Dense, Kind::DenseFull, Kind::Streaming, Kind::DenseLopsided, Kind::StreamingLopsided, Kind::Forbidding];

/// Two clouds of n and m points of `dimension` coordinates around `offset`, scaled by `scale`.
pub fn case<T: CpuScalar>(
    kind: Kind,
    threads: usize,
    n: usize,
    m: usize,
    dimension: usize,
    offset: f64,
    scale: f64,
) -> Case<T> {
    let mut random = Seeded::new(7 + (n * 31 + m) as u64);
    let mut cloud = |len: usize| -> Vec<T> {
        random.vector::<f64>(len * dimension, 0.0, 1.0).iter().map(|x| T::from_f64(offset + scale * x)).collect()
    };
    let (x, y) = (cloud(n), cloud(m));
    let backend = CpuBackend::<T>::new(threads).unwrap();
    let backend = backend.with_kept_entries(match kind {
        Kind::DenseFull => KeptEntries::Full,
        _ => KeptEntries::Single,
    });
    let (source, target) = (PointsView::new(&x, dimension).unwrap(), PointsView::new(&y, dimension).unwrap());
    let lopsided = matches!(kind, Kind::DenseLopsided | Kind::StreamingLopsided);
    let cost: Arc<dyn GroundCost> = if lopsided { Arc::new(Lopsided) } else { Arc::new(SqEuclidean) };
    let wide = |values: &[T]| -> Vec<f64> { values.iter().map(|value| value.to_f64()).collect() };
    let (x, y) = (wide(&x), wide(&y));
    let mut costs = vec![0.0; n * m];
    for (x, row) in x.chunks(dimension).zip(costs.chunks_mut(m)) {
        cost.costs_f64(x, &y, row);
    }
    let geometry: Arc<dyn Geometry<Host<T>>> = match kind {
        Kind::Dense | Kind::DenseFull | Kind::DenseLopsided => {
            Arc::new(DenseGeometry::from_points(&backend, source, target, cost.as_ref()).unwrap())
        }
        Kind::Streaming | Kind::StreamingLopsided => {
            Arc::new(StreamingGeometry::new(&backend, source, target, cost).unwrap())
        }
        Kind::Forbidding => {
            for (index, cost) in costs.iter_mut().enumerate() {
                let (i, j) = (index / m, index % m);
                if i == 1 || (j == 2 && i > 0) || (i + j) % 5 == 4 {
                    *cost = f64::INFINITY;
                }
            }
            let matrix = ot_core::StridedMatrix::new(&costs, n, m, m, 1).unwrap();
            Arc::new(DenseGeometry::from_matrix(&backend, ot_core::cost::MatrixView::F64(matrix)).unwrap())
        }
    };
    let name = format!("{kind:?} {} {n}x{m}", T::NAME);
    Case { backend, geometry, costs, n, m, name }
}

/// Weights in `columns` columns of mass 1, every third atom of weight zero if `zeros`.
pub fn weights<T: Scalar>(len: usize, columns: usize, zeros: bool, seed: u64) -> Vec<T> {
    let mut random = Seeded::new(seed);
    let mut all = Vec::new();
    for _ in 0..columns {
        let raw: Vec<f64> =
            (0..len).map(|i| if zeros && i % 3 == 1 { 0.0 } else { 0.1 + random.uniform(0.0, 1.0) }).collect();
        let mass: f64 = raw.iter().sum();
        all.extend(raw.iter().map(|weight| T::from_f64(weight / mass)));
    }
    all
}

pub fn marginal<T: CpuScalar>(
    backend: &CpuBackend<T>,
    weights: &[T],
    columns: usize,
    penalty: RecordedPenalty,
) -> Marginal<Host<T>> {
    Marginal::new(backend, WeightsView::new(weights, columns).unwrap(), penalty).unwrap()
}

pub fn balanced<T: CpuScalar>(backend: &CpuBackend<T>, weights: &[T], columns: usize) -> Marginal<Host<T>> {
    marginal(backend, weights, columns, RecordedPenalty::new(&Balanced).unwrap())
}

/// How far a sweep on its way may be from the exact one, as a part of epsilon: the rounding of kept entries.
pub fn roughness<T: CpuScalar>(kind: Kind) -> f64 {
    let rounded = matches!(kind, Kind::Dense | Kind::DenseLopsided | Kind::Forbidding) && T::EPSILON < 1e-10;
    if rounded { 5e-6 } else { 0.0 }
}

/// The elements of a vector in f64.
pub fn values<T: CpuScalar>(vector: &HostVector<T>) -> Vec<f64> {
    vector.values().iter().map(|value| value.to_f64()).collect()
}

/// The softmin of one side: the c-transform under a prescribed marginal.
pub fn softmin<T: CpuScalar>(
    kernel: &mut dyn KernelOp<Host<T>>,
    backend: &dyn Backend<Host<T>>,
    side: Side,
    plan: PlanView<'_, Host<T>>,
    active: &ActiveColumns,
    out: &mut HostVector<T>,
) {
    let penalty = &RecordedPenalty::new(&Balanced).unwrap();
    kernel.c_transform(backend, CTransform { side, plan, penalty, active }, out, None).unwrap();
}

pub fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(0.0, |largest, value| f64::max(largest, value.abs()))
}
