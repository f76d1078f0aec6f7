//! Softmins and sweeps allocate nothing after the first call.

use ot_core::{
    ActiveColumns, Backend, Balanced, ByProducts, CTransform, PlanSide, PlanView, Potentials, RecordedPenalty, Side,
    Sweep,
};

use super::{
    allocator::calls,
    support::{Kind, balanced, case, weights},
};

pub fn softmins_sweeps_and_products_allocate_nothing() {
    for kind in [Kind::Dense, Kind::Streaming, Kind::StreamingLopsided] {
        let case = case::<f64>(kind, 1, 300, 200, 3, 0.0, 1.0);
        let (backend, columns) = (&case.backend, 3);
        let (source, target) = (
            balanced(backend, &weights(300, columns, true, 1), columns),
            balanced(backend, &weights(200, 1, true, 2), 1),
        );
        let fresh = || Potentials {
            source: backend.alloc(300, columns).unwrap(),
            target: backend.alloc(200, columns).unwrap(),
            epsilon: 0.02,
        };
        let (mut potentials, mut scratch) = (fresh(), fresh());
        let mut by_products = ByProducts::alloc(backend, [300, 200], columns).unwrap();
        let relaxation = backend.upload_reduced(&vec![1.0; columns]).unwrap();
        let active = ActiveColumns::all(columns);
        let mut out = backend.alloc(300, columns).unwrap();
        let mut kernel = case.geometry.bind_entropic(0.02, columns).unwrap();
        let (penalty, mut before) = (RecordedPenalty::new(&Balanced).unwrap(), 0);
        for round in 0..20 {
            if round == 1 {
                before = calls();
            }
            let sweep = Sweep {
                source: &source,
                target: &target,
                potentials: &mut potentials,
                relaxation: &relaxation,
                active: &active,
                scratch: &mut scratch,
                by_products: Some(&mut by_products),
            };
            kernel.sweep(backend, sweep).unwrap();
            let plan = PlanView {
                source: PlanSide::new(&potentials.source, source.device_weights()),
                target: PlanSide::new(&potentials.target, target.device_weights()),
            };
            let request = CTransform { side: Side::Source, plan, penalty: &penalty, active: &active };
            kernel.c_transform(backend, request, &mut out, None).unwrap();
            kernel.apply(Side::Source, plan, &potentials.target, &mut out).unwrap();
        }
        let allocations = calls() - before;
        assert!(before > 0 && allocations == 0, "{kind:?}: {allocations} allocations");
    }
}
