//! Propagation of measures over graphs, and joint problems on heat kernels.

use ot_core::{
    Balanced, Epsilon, Error, Graph, Grid, GridHistogram, ImpliedCost, Kl, Measure, Problem, RecordedPenalty, Side,
    SqEuclidean, TriangleMesh, VertexHistogram,
};
use ot_cpu::{CpuBackend, HeatGeometry, cotangent_graph};
use ot_solvers::{BregmanProjections, Newton, Propagation, Sinkhorn, SinkhornDivergence, barycenter, transport};

use crate::support::{SIDES, largest_difference};

const SIDE: u32 = 12;

/// A surface as a table of vertices, two triangles to a square: turned by half a turn it is itself.
fn table(side: u32, place: impl Fn(f64, f64) -> [f64; 3]) -> TriangleMesh {
    let vertices = (0..side * side).map(|i| place(f64::from(i % side), f64::from(i / side))).collect();
    let squares = (0..side - 1).flat_map(|row| (0..side - 1).map(move |column| row * side + column));
    let triangles = squares.flat_map(|i| [[i, i + 1, i + side + 1], [i, i + side + 1, i + side]]).collect();
    TriangleMesh::new(vertices, triangles).unwrap()
}

/// A flat sheet.
fn sheet() -> TriangleMesh {
    table(SIDE, |x, y| [x, y, 0.0])
}

/// A blob around a vertex.
fn blob(mesh: &TriangleMesh, centre: u32) -> VertexHistogram<'static, f64> {
    let weights =
        (0..mesh.len() as u32).map(|i| (-mesh.distance(i, centre).powi(2) / 2.0).exp() + 1e-9).collect::<Vec<_>>();
    VertexHistogram::new(mesh, weights).unwrap().normalized()
}

fn heat(vertices: impl Into<ot_core::Vertices>, time: f64) -> HeatGeometry<f64> {
    HeatGeometry::new(&CpuBackend::new(1).unwrap(), vertices, time, 10).unwrap()
}

/// The mean row of a histogram on the sheet.
fn mean_row(weights: &[f64]) -> f64 {
    weights.iter().enumerate().map(|(i, weight)| weight * f64::from(i as u32 / SIDE)).sum()
}

#[test]
fn front_functions_run_on_a_heat_kernel() {
    let mesh = sheet();
    let (heat, a, b) = (heat(&mesh, 1.0), blob(&mesh, 14), blob(&mesh, 129));
    let solution = transport(&heat, &a, &b, &ImpliedCost, heat.epsilon()).unwrap();
    assert!(solution.status().is_converged() && solution.certificate().marginal_error < 1e-6);
    assert!(solution.certificate().dual.is_finite() && solution.plan().unwrap().transport_cost().is_err());
    // Half squares: the same plan, half the objective.
    let half = heat.clone().for_half_squares();
    let halved = transport(&half, &a, &b, &ImpliedCost, half.epsilon()).unwrap();
    assert!((2.0 * halved.certificate().dual - solution.certificate().dual).abs() < 1e-6);
    let refused = transport(&heat, &a, &b, &ImpliedCost, Epsilon::Absolute(1.0)).err();
    assert_eq!(refused, Some(Error::FixedEpsilon { fixed: 4.0, requested: 1.0 }));
}

#[test]
fn divergences_and_penalties_run_on_a_heat_kernel() {
    let mesh = sheet();
    let heat = heat(&mesh, 1.0);
    let (a, b) = (blob(&mesh, 40), blob(&mesh, 44));
    let between = |x: &VertexHistogram<'_, f64>, y: &VertexHistogram<'_, f64>| {
        SinkhornDivergence::new().between(&heat, x, y, &ImpliedCost, heat.epsilon()).unwrap()
    };
    let divergence = between(&a, &b);
    // Four apart on a flat sheet: the square of the shift.
    assert!(divergence.status().is_converged() && (divergence.value() - 16.0).abs() < 3.0, "{}", divergence.value());
    assert_eq!(between(&a, &a).value(), 0.0);
    let kl = Kl::new(2.0).unwrap();
    let problem = Problem::unbalanced(heat.shared(), &a, &b, heat.epsilon(), &kl, &Balanced).unwrap();
    let solution = Sinkhorn::new().solve(&problem).unwrap();
    assert!(solution.status().is_converged());
}

/// A kernel of one epsilon lists no arcs: Newton's method goes by products with the plan, and ends where Sinkhorn's iteration does.
#[test]
fn newton_goes_by_products_on_a_heat_kernel() {
    let mesh = sheet();
    let heat = heat(&mesh, 0.5);
    let (a, b) = (blob(&mesh, 30), blob(&mesh, 114));
    let kl = RecordedPenalty::new(&Kl::new(2.0).unwrap()).unwrap();
    let balanced = || RecordedPenalty::new(&Balanced).unwrap();
    for penalties in [[balanced(), balanced()], [kl, balanced()]] {
        let [of_source, of_target] = &penalties;
        let problem = Problem::unbalanced(heat.shared(), &a, &b, heat.epsilon(), of_source, of_target).unwrap();
        let sinkhorn = Sinkhorn::new().tolerance(1e-10).max_iterations(100_000).solve(&problem).unwrap();
        let (newton, report) = Newton::new().tolerance(1e-10).run(&problem).solve_with_report().unwrap();
        assert!(sinkhorn.status().is_converged() && newton.status().is_converged(), "{}", newton.status());
        assert!(report.products > 0 && report.listings == 0 && report.factors == 0, "{report:?}");
        for side in SIDES {
            let both = [&newton, &sinkhorn].map(|solution| solution.potential(side).unwrap());
            assert!(largest_difference(&both[0], &both[1]) < 1e-7, "{report:?}");
        }
    }
}

#[test]
fn barycenters_run_on_a_heat_kernel() {
    let mesh = sheet();
    let heat = heat(&mesh, 1.0);
    let (a, b) = (blob(&mesh, 30), blob(&mesh, 114));
    let reference = VertexHistogram::uniform(&mesh).unwrap();
    let inputs: [&dyn Measure<f64>; 2] = [&a, &b];
    let solution = barycenter(&heat, &inputs, &[0.5, 0.5], &reference, &ImpliedCost, heat.epsilon()).unwrap();
    assert!(solution.status().is_converged());
    // From row 2 to row 9.
    assert!((mean_row(&solution.measure(0).unwrap()) - 5.5).abs() < 0.1);
}

#[test]
fn components_that_hold_other_masses_are_named() {
    let graph = Graph::new(7, vec![([0, 1], 1.0), ([1, 2], 1.0), ([3, 4], 1.0), ([4, 5], 1.0)]).unwrap();
    let heat = heat(&graph, 4.0);
    let histogram = |weights: [f64; 7]| VertexHistogram::new(&graph, weights.to_vec()).unwrap();
    let a = histogram([0.5, 0.0, 0.0, 0.3, 0.0, 0.0, 0.2]);
    let fits = histogram([0.0, 0.0, 0.5, 0.0, 0.0, 0.3, 0.2]);
    let problem = Problem::new(heat.shared(), &a, &fits, heat.epsilon()).unwrap();
    assert!(Sinkhorn::new().solve(&problem).unwrap().status().is_converged());
    let other = histogram([0.0, 0.0, 0.5, 0.0, 0.0, 0.25, 0.25]);
    let problem = Problem::new(heat.shared(), &a, &other, heat.epsilon()).unwrap();
    let named = Error::ComponentMass {
        column: 0,
        component: 1,
        vertices: 3,
        first_vertex: 3,
        source_mass: 0.3,
        target_mass: 0.25,
        others: 1,
    };
    assert_eq!(Sinkhorn::new().solve(&problem).err(), Some(named));
    let none = histogram([0.0, 0.0, 0.5, 0.0, 0.0, 0.5, 0.0]);
    let stranded = Problem::new(heat.shared(), &a, &none, heat.epsilon()).err();
    assert!(matches!(stranded, Some(Error::Stranded { index: 6, .. })), "{stranded:?}");
}

/// Histograms on a line of 15 nodes.
fn on_the_line(weights: impl Fn(f64) -> f64) -> GridHistogram<'static, f64> {
    let grid = Grid::pixels(&[15]).unwrap();
    let values = (0..15).map(|i| weights(f64::from(i))).collect::<Vec<_>>();
    GridHistogram::new(&grid, values).unwrap().normalized()
}

#[test]
fn a_star_is_a_barycenter() {
    let backend = CpuBackend::<f64>::new(1).unwrap();
    let leaves = [2.0, 6.0, 11.0].map(|centre| on_the_line(|x| (-(x - centre).powi(2)).exp() + 1e-6));
    let (reference, epsilon) = (on_the_line(|_| 1.0), Epsilon::Absolute(2.0));
    let star = Graph::new(4, vec![([0, 3], 1.0), ([1, 3], 2.0), ([3, 2], 1.0)]).unwrap();
    let mut propagation = Propagation::new(&backend, &star, &reference, &SqEuclidean, epsilon);
    for (vertex, leaf) in leaves.iter().enumerate() {
        propagation = propagation.given(vertex, leaf).unwrap();
    }
    let settings = BregmanProjections::new().tolerance(1e-10);
    let found = propagation.problem().unwrap().solve(&settings).unwrap();
    let inputs: [&dyn Measure<f64>; 3] = [&leaves[0], &leaves[1], &leaves[2]];
    let problem = ot_solvers::Barycenter::new(&backend, &reference, &SqEuclidean, epsilon)
        .inputs(&inputs, &[0.25, 0.5, 0.25])
        .unwrap()
        .problem()
        .unwrap();
    let expected = settings.solve(&problem).unwrap().measure(0).unwrap();
    assert!(found.joint().status().is_converged());
    for (found, expected) in found.measure(3).unwrap().unwrap().iter().zip(expected) {
        assert!((found - expected).abs() < 1e-8);
    }
    assert_eq!(found.measure(0).unwrap().unwrap(), leaves[0].weights_view().values());
    assert_eq!(found.measure(4).unwrap(), None);
}

#[test]
fn means_propagate_harmonically() {
    // The means of propagated measures solve Laplace's equation, as the cost of a shift is its square.
    let backend = CpuBackend::<f64>::new(1).unwrap();
    let (left, right) = (on_the_line(|x| (-(x - 3.0).powi(2)).exp()), on_the_line(|x| (-(x - 11.0).powi(2)).exp()));
    let reference = on_the_line(|_| 1.0);
    let edges = vec![([0, 1], 1.0), ([1, 2], 3.0), ([2, 3], 1.0), ([1, 3], 1.0), ([3, 4], 2.0)];
    let graph = Graph::new(5, edges.clone()).unwrap();
    let problem = Propagation::new(&backend, &graph, &reference, &SqEuclidean, Epsilon::Absolute(1.0))
        .given(0, &left)
        .unwrap()
        .given(4, &right)
        .unwrap()
        .problem()
        .unwrap();
    assert_eq!(problem.joint().unknown(), [15; 3]);
    let solution = problem.solve(&BregmanProjections::new().tolerance(1e-8)).unwrap();
    assert!(solution.joint().status().is_converged(), "{}", solution.joint().status());
    let mean = |vertex: usize| -> f64 {
        let masses = solution.measure(vertex).unwrap().unwrap();
        masses.iter().enumerate().map(|(i, mass)| mass * i as f64).sum()
    };
    for vertex in 1..4_u32 {
        let flow = |&([i, j], weight): &([u32; 2], f64)| match vertex {
            own if own == i => weight * (mean(j as usize) - mean(vertex as usize)),
            own if own == j => weight * (mean(i as usize) - mean(vertex as usize)),
            _ => 0.0,
        };
        let flow: f64 = edges.iter().map(flow).sum();
        assert!(flow.abs() < 0.05, "vertex {vertex}: {flow}");
    }
    assert!(mean(1) > 4.0 && mean(3) < 10.0 && mean(1) < mean(2) && mean(2) < mean(3));
}

#[test]
fn propagations_that_determine_nothing_are_refused() {
    let backend = CpuBackend::<f64>::new(1).unwrap();
    let (one, two) = (on_the_line(|_| 1.0), GridHistogram::new(&Grid::pixels(&[15]).unwrap(), vec![1.0; 15]).unwrap());
    let graph = Graph::new(4, vec![([0, 1], 1.0), ([2, 3], 1.0)]).unwrap();
    let pair = Graph::new(2, vec![([0, 1], 1.0)]).unwrap();
    let open = || Propagation::new(&backend, &graph, &one, &SqEuclidean, Epsilon::Absolute(1.0));
    assert_eq!(open().given(0, &one).unwrap().problem().err(), Some(Error::Unattached { vertex: 2 }));
    assert!(matches!(open().given(4, &one).err(), Some(Error::VertexIndex { index: 4, .. })));
    let masses = open().given(0, &one).unwrap().given(2, &two).unwrap().problem().err();
    assert!(matches!(masses, Some(Error::MassMismatch { .. })), "{masses:?}");
    let light = GridHistogram::new(&Grid::pixels(&[15]).unwrap(), vec![1e-310; 15]).unwrap();
    let error = Propagation::new(&backend, &pair, &two, &SqEuclidean, Epsilon::Absolute(1.0)).given(0, &light);
    let error = error.unwrap().problem().err();
    assert!(matches!(error, Some(Error::MassUnderflow { element: "f64", .. })), "{error:?}");
    let all = (0..4).try_fold(open(), |open, vertex| open.given(vertex, &one)).unwrap();
    assert_eq!(all.problem().err(), Some(Error::EmptyMeasure));
}

#[test]
fn plans_tell_how_far_they_move_beside_the_range_of_the_kernel() {
    let mesh = sheet();
    let (near, far) = ([blob(&mesh, 40), blob(&mesh, 42)], [blob(&mesh, 14), blob(&mesh, 129)]);
    let share = |steps: usize, ends: &[VertexHistogram<'static, f64>; 2]| {
        let heat = HeatGeometry::new(&CpuBackend::new(1).unwrap(), &mesh, 1.0, steps).unwrap();
        let problem = Problem::new(heat.shared(), &ends[0], &ends[1], heat.epsilon()).unwrap();
        let solution = Sinkhorn::new().solve(&problem).unwrap();
        heat.share_beyond_range(&mut solution.plan().unwrap(), 6).unwrap()
    };
    // Steps of 4 reach 2, those of 100 reach 10: moves are of about 2 and of 13.
    assert!(share(100, &near) < 1e-3 && share(100, &far) > 0.5);
    assert!((0.1..0.95).contains(&share(4, &near)) && share(4, &far) > 0.999);
}

#[test]
fn inputs_of_barycenters_hold_the_same_masses_of_each_component() {
    let graph = Graph::new(6, vec![([0, 1], 1.0), ([1, 2], 1.0), ([3, 4], 1.0), ([4, 5], 1.0)]).unwrap();
    let heat = heat(&graph, 4.0);
    let histogram = |weights: [f64; 6]| VertexHistogram::new(&graph, weights.to_vec()).unwrap();
    let a = histogram([0.3, 0.0, 0.0, 0.7, 0.0, 0.0]);
    let (fits, other) = (histogram([0.0, 0.0, 0.3, 0.0, 0.0, 0.7]), histogram([0.0, 0.0, 0.4, 0.0, 0.0, 0.6]));
    let reference = VertexHistogram::uniform(&graph).unwrap();
    let between =
        |b: &dyn Measure<f64>| barycenter(&heat, &[&a, b], &[0.5, 0.5], &reference, &ImpliedCost, heat.epsilon());
    let solution = between(&fits).unwrap();
    assert!(solution.status().is_converged());
    let masses = solution.measure(0).unwrap();
    assert!((masses[..3].iter().sum::<f64>() - 0.3).abs() < 1e-6 && masses[1] > masses[0]);
    assert!(matches!(between(&other), Err(Error::ComponentMass { component: 0, others: 1, .. })));
}

#[test]
fn between_two_vertices_all_mass_goes_the_one_way() {
    let mesh = sheet();
    let heat = heat(&mesh, 1.0);
    let lit = |vertex: u32| {
        let weights = (0..mesh.len() as u32).map(|i| f64::from(u8::from(i == vertex))).collect::<Vec<_>>();
        VertexHistogram::new(&mesh, weights).unwrap()
    };
    let cost = |from: u32, to: u32| {
        let problem = Problem::new(heat.shared(), &lit(from), &lit(to), heat.epsilon()).unwrap();
        let solution = Sinkhorn::new().solve(&problem).unwrap();
        assert!(solution.status().is_converged() && solution.certificate().marginal_error < 1e-9);
        let masses = solution.plan().unwrap().apply(Side::Source, lit(to).weights_view().values()).unwrap();
        assert!((masses[from as usize] - 1.0).abs() < 1e-9 && masses.iter().sum::<f64>() < 1.0 + 1e-9);
        let beyond = heat.share_beyond_range(&mut solution.plan().unwrap(), 3).unwrap();
        (solution.certificate().dual, beyond)
    };
    // The value is the implied cost: symmetric, near squares beside its own diagonal, as far as squares are told.
    let (here, near, back, far) = (cost(65, 65).0, cost(65, 68), cost(68, 65), cost(13, 130));
    assert!((near.0 - back.0).abs() < 1e-9 && (near.0 - here - 9.0).abs() < 1.5, "{here} {near:?}");
    assert!(near.1 == 0.0 && far.1 == 1.0 && far.0 > near.0, "{near:?} {far:?}");
}

#[test]
fn soft_maps_between_surfaces_are_propagations() {
    // For each vertex of a slanted sheet a measure on a bent one, varying along the cotangent weights of the first by the heat
    // of the second; four corners are given.
    let (from, to) = (4_u32, 9_u32);
    let slanted = table(from, |x, y| [x + 0.5 * y, 0.75_f64.sqrt() * y, 0.0]);
    let bent = table(to, |x, y| [4.0 * (x / 4.0).sin(), y, 4.0 * (x / 4.0).cos()]);
    let weights = cotangent_graph(&slanted).unwrap().graph;
    let heat = heat(&bent, 1.0);
    let corners = [(0, 2, 2), (from - 1, to - 3, 2), (from * (from - 1), 2, to - 3), (from * from - 1, to - 3, to - 3)];
    let images = corners.map(|(_, column, row)| blob(&bent, row * to + column));
    let reference = VertexHistogram::uniform(&bent).unwrap();
    let mut map = Propagation::new(&heat, &weights, &reference, &ImpliedCost, heat.epsilon());
    for ((corner, ..), image) in corners.iter().zip(&images) {
        map = map.given(*corner as usize, image).unwrap();
    }
    let solution = map.problem().unwrap().solve(&BregmanProjections::new().tolerance(1e-6)).unwrap();
    assert!(solution.joint().status().is_converged(), "{}", solution.joint().status());
    let measures: Vec<Vec<f64>> =
        (0..from * from).map(|vertex| solution.measure(vertex as usize).unwrap().unwrap()).collect();
    // All is the same after half a turn of both surfaces.
    for (measure, turned) in measures.iter().zip(measures.iter().rev()) {
        let differences = measure.iter().zip(turned.iter().rev()).map(|(x, y)| (x - y).abs());
        assert!(differences.sum::<f64>() < 1e-4);
    }
    // Neighbours have near images, in the order in which they stand.
    let mean = |vertex: u32, coordinate: fn(u32, u32) -> u32| -> f64 {
        (0..).zip(&measures[vertex as usize]).map(|(i, mass)| mass * f64::from(coordinate(i, 9))).sum()
    };
    for i in 0..from * from {
        if i % from + 1 < from {
            let step = mean(i + 1, |i, to| i % to) - mean(i, |i, to| i % to);
            assert!(step > 0.0 && step < 3.0, "a step of {step} from vertex {i} to its right");
        }
        if i / from + 1 < from {
            let step = mean(i + from, |i, to| i / to) - mean(i, |i, to| i / to);
            assert!(step > 0.0 && step < 3.0, "a step of {step} from vertex {i} upwards");
        }
    }
}
