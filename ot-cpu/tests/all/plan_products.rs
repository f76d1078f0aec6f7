//! Products with a plan: the same bits whether its entries are kept or made, for any number of threads, whatever was asked before.

use ot_conformance::Seeded;
use ot_core::{
    Backend, DeviceWeights, Geometry, GeometryBuilder, Host, KernelOp, PlanSide, PlanView, PointsView, Side,
    SqEuclidean, Support, WeightsView, host::HostVector,
};
use ot_cpu::{CpuBackend, CpuScalar, DenseGeometry};

const ROWS: usize = 70;
const COLUMNS: usize = 45;
const EPSILON: f64 = 0.05;

/// Two plans over one geometry, and what is multiplied by them.
struct Scene<T: CpuScalar> {
    backend: CpuBackend<T>,
    weights: [DeviceWeights<Host<T>>; 2],
    /// Potentials of both sides, plan after plan.
    potentials: [[HostVector<T>; 2]; 2],
    /// A vector over each side.
    values: [HostVector<T>; 2],
}

fn clouds<T: CpuScalar>() -> [Vec<T>; 2] {
    [(1, ROWS), (2, COLUMNS)].map(|(seed, len)| Seeded::new(seed).elements(2 * len, 0.0, 1.0))
}

impl<T: CpuScalar> Scene<T> {
    fn new(threads: usize, batch: usize, limit: usize) -> (Self, DenseGeometry<T>) {
        let backend = CpuBackend::<T>::new(threads).unwrap().with_dense_limit(limit);
        let [x, y] = clouds::<T>();
        let [x, y] = [&x, &y].map(|points| PointsView::new(points, 2).unwrap());
        let geometry = DenseGeometry::from_points(&backend, x, y, &SqEuclidean).unwrap();
        let mut random = Seeded::new(3);
        let mut vector = |len: usize, from: f64, to: f64| {
            let values: Vec<T> = random.elements(len * batch, from, to);
            Backend::<Host<T>>::upload(&backend, &values, batch).unwrap()
        };
        let both = |vector: &mut dyn FnMut(usize) -> HostVector<T>| [vector(ROWS), vector(COLUMNS)];
        let potentials = [(); 2].map(|()| both(&mut |len| vector(len, -0.2, 0.2)));
        let values = both(&mut |len| vector(len, -1.0, 1.0));
        let weights = [(4, ROWS), (5, COLUMNS)].map(|(seed, len)| {
            let weights: Vec<T> = Seeded::new(seed).elements(len, 0.1, 1.0);
            DeviceWeights::new(&backend, WeightsView::new(&weights, 1).unwrap()).unwrap()
        });
        (Self { backend, weights, potentials, values }, geometry)
    }

    fn view(&self, plan: usize) -> PlanView<'_, Host<T>> {
        let [source, target] = [0, 1].map(|side| PlanSide::new(&self.potentials[plan][side], &self.weights[side]));
        PlanView { source, target }
    }

    /// A normal product where a diagonal is asked for, else the product with the plan.
    fn product(&self, kernel: &mut dyn KernelOp<Host<T>>, plan: usize, side: Side, is_normal: bool) -> Vec<T> {
        let [own, other] = [side, side.opposite()].map(|side| &self.values[side.index()]);
        let (rows, columns) = own.shape();
        let mut out = Backend::<Host<T>>::alloc(&self.backend, rows, columns).unwrap();
        let product = kernel.plan_product().unwrap();
        match is_normal {
            true => product.normal_product(side, self.view(plan), other, own, &mut out).unwrap(),
            false => product.curvature_product(side, self.view(plan), other, &mut out).unwrap(),
        }
        out.values().to_vec()
    }

    /// Products of both plans and sides, each asked twice.
    fn all(&self, kernel: &mut dyn KernelOp<Host<T>>, normal: bool) -> Vec<T> {
        let mut found = Vec::new();
        for plan in [0, 1, 0] {
            for side in Side::BOTH {
                let once = self.product(kernel, plan, side, normal);
                assert!(once == self.product(kernel, plan, side, normal), "kept entries of {side:?} are others");
                found.extend(once);
            }
        }
        found
    }
}

fn bits_are_the_same<T: CpuScalar>() {
    for batch in [1, 3] {
        let fits = batch * ROWS * COLUMNS;
        let expected = {
            let (scene, geometry) = Scene::<T>::new(1, batch, fits);
            scene.all(geometry.bind_entropic(EPSILON, batch).unwrap().as_mut(), true)
        };
        for (threads, limit) in [(1, fits - 1), (2, fits), (5, fits), (5, 0)] {
            let (scene, geometry) = Scene::<T>::new(threads, batch, limit);
            let mut kernel = geometry.bind_entropic(EPSILON, batch).unwrap();
            assert!(scene.all(kernel.as_mut(), true) == expected, "{threads} threads, {limit} entries kept");
        }
        let plain = |threads| {
            let (scene, geometry) = Scene::<T>::new(threads, batch, fits);
            scene.all(geometry.bind_entropic(EPSILON, batch).unwrap().as_mut(), false)
        };
        assert!(plain(1) == plain(3));
    }
}

#[test]
fn kept_entries_change_no_bit() {
    bits_are_the_same::<f64>();
    bits_are_the_same::<f32>();
}

/// Another epsilon is another plan, whatever is kept.
#[test]
fn a_kernel_that_is_bound_again_forgets() {
    let (scene, geometry) = Scene::<f64>::new(1, 1, usize::MAX);
    let fresh = |epsilon| {
        let mut kernel = geometry.bind_entropic(epsilon, 1).unwrap();
        scene.product(kernel.as_mut(), 0, Side::Target, true)
    };
    let mut kernel = geometry.bind_entropic(EPSILON, 1).unwrap();
    assert_eq!(scene.product(kernel.as_mut(), 0, Side::Target, true), fresh(EPSILON));
    kernel.rebind(2.0 * EPSILON).unwrap();
    assert_eq!(scene.product(kernel.as_mut(), 0, Side::Target, true), fresh(2.0 * EPSILON));
}

/// A cost in coordinates keeps nothing, and agrees with the stored one.
#[test]
fn streamed_costs_have_the_same_products() {
    let (scene, geometry) = Scene::<f64>::new(2, 1, usize::MAX);
    let [x, y] = clouds::<f64>();
    let [x, y] = [&x, &y].map(|points| Support::Points(PointsView::new(points, 2).unwrap()));
    let streaming = scene.backend.clone().with_dense_limit(0).geometry(x, y, &SqEuclidean).unwrap();
    let [mut stored, mut streamed] =
        [geometry.bind_entropic(EPSILON, 1).unwrap(), streaming.bind_entropic(EPSILON, 1).unwrap()];
    for (side, is_normal) in Side::BOTH.into_iter().flat_map(|side| [(side, true), (side, false)]) {
        let found = scene.product(streamed.as_mut(), 0, side, is_normal);
        let expected = scene.product(stored.as_mut(), 0, side, is_normal);
        let largest = expected.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        let worst = found.iter().zip(&expected).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
        assert!(largest > 0.0 && worst <= 1e-12 * largest, "{side:?}: {worst} of {largest}");
    }
}

/// The products are those of two products with the plan in turn.
#[test]
fn products_are_those_in_turn() {
    let (scene, geometry) = Scene::<f64>::new(2, 3, usize::MAX);
    let mut kernel = geometry.bind_entropic(EPSILON, 3).unwrap();
    for side in Side::BOTH {
        let [own, other] = [side, side.opposite()].map(|side| &scene.values[side.index()]);
        let mut apply = |side, values: &HostVector<f64>, like: &HostVector<f64>| {
            let mut out = like.clone();
            kernel.apply(side, scene.view(0), values, &mut out).unwrap();
            out
        };
        let plain = apply(side, other, own);
        let mut middle = apply(side.opposite(), own, other);
        middle.values_mut().iter_mut().zip(other.values()).for_each(|(middle, d)| *middle *= d);
        let normal = apply(side, &middle, own);
        for (expected, is_normal) in [(plain, false), (normal, true)] {
            let found = scene.product(kernel.as_mut(), 0, side, is_normal);
            let largest = expected.values().iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
            let worst = found.iter().zip(expected.values()).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
            assert!(largest > 0.0 && worst <= 1e-12 * largest, "{side:?}: {worst} of {largest}");
        }
    }
}
