//! Single precision: the same derivatives, to 1e-3.

use ot_conformance::ReferenceBackend;
use ot_core::{Device, GeometryBuilder};
use ot_cpu::CpuBackend;
use ot_diff::{LinearSolver, Linearised, value_and_gradient};

use crate::{
    data::{Data, assert_agree, narrow, noise, solve, wide},
    laws::{along_all, problems},
};

/// Agreement of f32 with f64.
const SINGLE: f64 = 1e-3;

/// The gradients of the value and of every output along every direction.
fn derivatives<D: Device>(builder: &dyn GeometryBuilder<Device = D>, data: &Data) -> Vec<f64> {
    let solution = solve(&data.problem(builder));
    let mut all = along_all(&mut value_and_gradient(&solution).unwrap().1, data);
    let mut linearised = Linearised::new(&solution).unwrap().with_solver(LinearSolver::new()).unwrap();
    for (_, output) in data.outputs() {
        let len = linearised.value(&output).unwrap().len();
        let seed = match len == data.batch() {
            true => vec![0.8; len],
            false => noise(31 + len as u64, len),
        };
        let mut cotangent = linearised.pull_back(&[(&output, &narrow(&seed))]).unwrap();
        assert!(cotangent.solve().residual < 1e-4, "{:?}", cotangent.solve());
        all.extend(along_all(&mut cotangent, data));
        for (_, direction) in data.directions() {
            all.extend(wide(linearised.push_forward(&direction.tangent()).unwrap().of(&output).unwrap()));
        }
    }
    all
}

#[test]
fn single_precision_agrees_with_double() {
    for (name, data) in problems() {
        let expected = derivatives(&ReferenceBackend::<f64>::default(), &data);
        for limit in [usize::MAX, 0] {
            let backend = CpuBackend::<f32>::new(1).unwrap().with_dense_limit(limit);
            assert_agree(name, &derivatives(&backend, &data), &expected, SINGLE, 1.0);
        }
    }
}
