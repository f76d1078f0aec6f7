//! All kernels are compiled without any adapter: by wgpu's device that validates shaders and bindings and computes nothing.

use std::sync::Arc;

use ot_conformance::Seeded;
use ot_core::{
    ActiveColumns, ArcThreshold, Backend, Balanced, CostFormula, CostMatrix, CostParameter, CostTangent, Error,
    Euclidean, Fold, Free, Geometry, GeometryBuilder, GroundCost, Kl, Manhattan, Marginal, Operand, PNorm, PairWeight,
    PlanSide, PlanView, PointsView, Potentials, Program, Range, Real, RecordedPenalty, Side, SqEuclidean, Support,
    Sweep, TotalVariation, WeightedPlan, WeightsView,
};
use ot_wgpu::{Wgpu, WgpuBackend};

/// Every operation of programs, a loop over coordinates, and parameters.
#[derive(Clone, Debug)]
struct Everything;

impl CostFormula for Everything {
    fn cost<R: Real>(&self, x: &[R], y: &[R]) -> R {
        let [sum, most] = R::fold_coordinates(x, y, [0.0, f64::NEG_INFINITY], |[sum, most], x, y| {
            [sum + (x - y).abs() * x.parameter(0, 0.5), most.max(x * y)]
        });
        let angle = (x[0] - y[0]).sin() + x[1].cos() * (-y[1]).atan();
        let mixed = (x[0] - 0.1).select(sum.sqrt(), (-sum).exp()).min(most) / (1.0 + most * most).ln();
        sum + (mixed + angle) * x[0].parameter(1, 2.0)
    }
}

fn backend() -> WgpuBackend {
    let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
    WgpuBackend::from_device(device, queue).unwrap()
}

/// Asks a geometry for all that it can do.
fn ask_everything(geometry: &dyn Geometry<Wgpu>, penalty: &RecordedPenalty) -> Result<(), Error> {
    let backend = geometry.backend();
    let backend = backend.as_ref();
    let [n, m] = Side::BOTH.map(|side| geometry.len(side));
    let columns = 2;
    let marginal = |len: usize| {
        let weights = vec![1.0 / len as f32; len];
        Marginal::new(backend, WeightsView::new(&weights, 1)?, penalty.clone())
    };
    let (a, b) = (marginal(n)?, marginal(m)?);
    let zeros = |rows: usize, columns: usize| backend.filled(0.0, rows, columns);
    let mut potentials = Potentials { source: zeros(n, columns)?, target: zeros(m, columns)?, epsilon: 0.1 };
    let mut scratch = Potentials { source: zeros(n, columns)?, target: zeros(m, columns)?, epsilon: 0.1 };
    let relaxation = backend.upload_reduced(&[1.0, 1.5])?;
    let active = ActiveColumns::all(columns);
    let mut kernel = geometry.bind_entropic(0.1, columns)?;
    let sweep = Sweep {
        source: &a,
        target: &b,
        potentials: &mut potentials,
        relaxation: &relaxation,
        active: &active,
        scratch: &mut scratch,
        by_products: None,
    };
    kernel.sweep(backend, sweep)?;
    let plan = PlanView {
        source: PlanSide::new(&potentials.source, a.device_weights()),
        target: PlanSide::new(&potentials.target, b.device_weights()),
    };
    let mut reduced = backend.alloc_reduced(columns)?;
    for side in Side::BOTH {
        let (own, other) = (geometry.len(side), geometry.len(side.opposite()));
        let mut out = zeros(own, columns)?;
        kernel.density(backend, side, plan, &active, &mut out, Some(&mut reduced))?;
        let mut many = zeros(own, 5 * columns)?;
        kernel.apply(side, plan, &zeros(other, 5 * columns)?, &mut many)?;
        let hard = kernel.hard_transform().unwrap();
        let mut arguments = Vec::new();
        let (potential, logarithms) = (plan.side(side.opposite()).potential, plan.side(side.opposite()).log_weights);
        hard.hard_c_transform(side, potential, logarithms, &mut out, Some(&mut arguments))?;
        let product = kernel.plan_product().unwrap();
        product.normal_product(side, plan, &zeros(other, columns)?, &zeros(own, columns)?, &mut out)?;
    }
    let cost = kernel.transport_cost().unwrap();
    cost.plan_cost(plan, &mut reduced)?;
    cost.rank_one_cost(&potentials.source, &potentials.target, &mut reduced)?;
    let (s, t) = (vec![0.0; n], vec![0.0; m]);
    for atoms in [None, Some([s.as_slice(), t.as_slice()])] {
        let threshold = ArcThreshold { base: 0.0, atoms };
        kernel.hard_transform().unwrap().arcs_below(&potentials.source, &potentials.target, 1, threshold, 10)?;
    }
    let weights = [vec![1.0; n], vec![1.0; m]];
    geometry.cost_statistics(WeightsView::new(&weights[0], 1)?, WeightsView::new(&weights[1], 1)?)?;

    let derivative = kernel.cost_derivative().unwrap();
    let (r, s) = (zeros(n, 1)?, zeros(m, columns)?);
    let (u, v) = (zeros(n, 3 * columns)?, zeros(m, 3 * columns)?);
    let weight = PairWeight { constant: 1.0, source: Some(&r), target: Some(&s), product: Some((&u, &v)), cost: 0.5 };
    let pairs = WeightedPlan { plan, weight };
    let parameters = Side::BOTH.map(CostParameter::Points);
    let parameters = [parameters[0], parameters[1], CostParameter::Formula, CostParameter::Scale];
    let shapes = parameters.map(|parameter| derivative.shape(parameter));
    for (parameter, shape) in parameters.into_iter().zip(shapes) {
        let Some((rows, width)) = shape else { continue };
        let mut out = zeros(rows, width * columns)?;
        derivative.pull_back(pairs, parameter, &mut out)?;
        for (moving, shape) in parameters.into_iter().zip(shapes) {
            let Some((rows, width)) = shape else { continue };
            let values = zeros(rows, width)?;
            let tangent = CostTangent { parameter: moving, values: &values };
            derivative.curvature(pairs, parameter, tangent, &mut out)?;
            derivative.gauss_newton(plan, parameter, tangent, &mut out)?;
            for side in Side::BOTH {
                derivative.push_forward(side, pairs, tangent, &mut zeros(geometry.len(side), columns)?)?;
            }
        }
    }
    backend.read(&[&reduced]).map(|_| ())
}

#[test]
fn kernels_of_formulas_are_valid() {
    let (backend, mut seeded) = (backend(), Seeded::new(1));
    let norm = PNorm::new(2.5).unwrap();
    let costs: [(&dyn GroundCost, usize); 6] =
        [(&SqEuclidean, 3), (&SqEuclidean, 9), (&Euclidean, 40), (&Manhattan, 2), (&norm, 3), (&Everything, 6)];
    let penalty = RecordedPenalty::new(&Kl::new(0.5).unwrap()).unwrap();
    for (cost, dimension) in costs {
        let mut points = |len: usize| -> Vec<f32> {
            seeded.vector::<f32>(len * dimension, 0.2, 1.0).iter().map(|&x| x as f32).collect()
        };
        let (x, y) = (points(5), points(7));
        let cloud = |points| Support::Points(PointsView::new(points, dimension).unwrap());
        let geometry = backend.geometry(cloud(&x), cloud(&y), cost).unwrap();
        if let Err(error) = ask_everything(geometry.as_ref(), &penalty) {
            panic!("{cost:?}, {dimension} coordinates: {error}");
        }
    }
}

#[test]
fn kernels_of_matrices_are_valid() {
    let entry = |k: u32| if k == 5 { f64::INFINITY } else { f64::from(k) };
    let matrix = CostMatrix::new((0..42).map(entry).collect::<Vec<_>>(), 6, 7).unwrap();
    let penalty = RecordedPenalty::new(&Balanced).unwrap();
    for bytes in [u64::MAX, 2 * 4 * 7] {
        let backend = backend().with_window_limit(bytes);
        let geometry = backend.geometry(Support::Indices(6), Support::Indices(7), &matrix).unwrap();
        match ask_everything(geometry.as_ref(), &penalty) {
            // What was not computed has no partners.
            Ok(()) | Err(Error::Stranded { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn steps_of_all_penalties_are_valid() {
    let backend = backend();
    let x = [0.0, 1.0, 3.0];
    let cloud = Support::Points(PointsView::new(&x, 1).unwrap());
    let geometry = backend.geometry(cloud, cloud, &SqEuclidean).unwrap();
    let penalties = [
        RecordedPenalty::new(&Balanced),
        RecordedPenalty::new(&TotalVariation::new(0.3).unwrap()),
        RecordedPenalty::new(&Range::new(0.5, 2.0).unwrap()),
        RecordedPenalty::new(&Free),
    ];
    for penalty in penalties {
        ask_everything(geometry.as_ref(), &penalty.unwrap()).unwrap();
    }
}

#[test]
fn operations_on_programs_are_valid() {
    let backend: Arc<dyn Backend<Wgpu>> = Arc::new(backend());
    let everything = Program::record_dynamic(4, |inputs| {
        let (x, y) = inputs.split_at(2);
        vec![Everything.cost(x, y), x[0] - f64::INFINITY, y[0] * -1e-300]
    })
    .unwrap();
    let vector = backend.filled(1.0, 5, 2).unwrap();
    let reduced = backend.upload_reduced(&[1.0, 2.0]).unwrap();
    let operands = [Operand::Vector(&vector), Operand::Reduced(&reduced), Operand::Constant(0.1), Operand::Output(1)];
    let mut outputs = [(); 3].map(|()| backend.filled(0.0, 5, 2).unwrap());
    let [first, second, third] = &mut outputs;
    backend.map(&everything, &operands, &mut [first, second, third]).unwrap();
    let mut outputs = [(); 3].map(|()| backend.alloc_reduced(2).unwrap());
    let [first, second, third] = &mut outputs;
    let of_vectors = [operands[0], operands[1], operands[2], operands[0]];
    for fold in [Fold::Sum, Fold::Max, Fold::Min] {
        let outputs = &mut [&mut *first, &mut *second, &mut *third];
        backend.reduce(&everything, fold, 5, &of_vectors, outputs).unwrap();
    }
    let of_reduced = [operands[1], operands[1], operands[2], operands[3]];
    backend.map_reduced(&everything, &of_reduced, &mut [first, second, third]).unwrap();
    let mut mixed = backend.alloc(5, 3).unwrap();
    backend.mix(&vector, &[0.5; 6], &mut mixed).unwrap();
    backend.download(&[&mixed]).unwrap();
}
