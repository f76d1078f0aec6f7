//! Listed pairs: the properties of the kit, agreement with a stored matrix, what a builder makes of them.

use std::sync::Arc;

use ot_conformance::{GeometryCase, Seeded};
use ot_core::{
    CostForm, Error, Geometry, GeometryBuilder, GroundCost, Histogram, Host, Measure, Side, Support, cost::SparseView,
};
use ot_cpu::{ArcsGeometry, CpuBackend, CpuScalar};

/// Pairs of a matrix with infinite entries.
#[derive(Clone, Debug)]
struct Pairs {
    columns: usize,
    starts: Vec<usize>,
    targets: Vec<u32>,
    costs: Vec<f64>,
}

impl Pairs {
    fn of(costs: &[f64], columns: usize) -> Self {
        let mut pairs = Self { columns, starts: vec![0], targets: Vec::new(), costs: Vec::new() };
        for row in costs.chunks_exact(columns) {
            for (target, cost) in (0..).zip(row).filter(|(_, cost)| cost.is_finite()) {
                pairs.targets.push(target);
                pairs.costs.push(*cost);
            }
            pairs.starts.push(pairs.costs.len());
        }
        pairs
    }

    fn view(&self) -> SparseView<'_> {
        SparseView::new(self.columns, &self.starts, &self.targets, &self.costs).unwrap()
    }
}

impl GroundCost for Pairs {
    fn form(&self) -> CostForm<'_> {
        CostForm::Generic
    }

    fn dimension(&self) -> Option<usize> {
        Some(1)
    }

    fn costs_f64(&self, x: &[f64], points: &[f64], out: &mut [f64]) {
        let (targets, costs) = self.view().row(x[0] as usize);
        for (point, out) in points.iter().zip(out) {
            let place = targets.iter().position(|target| f64::from(*target) == *point);
            *out = place.map_or(f64::INFINITY, |place| costs[place]);
        }
    }

    fn costs_f32(&self, x: &[f32], points: &[f32], out: &mut [f32]) {
        let wide: Vec<f64> = points.iter().map(|point| f64::from(*point)).collect();
        let mut costs = vec![0.0; out.len()];
        self.costs_f64(&[f64::from(x[0])], &wide, &mut costs);
        out.iter_mut().zip(costs).for_each(|(out, cost)| *out = cost as f32);
    }

    fn pairs(&self) -> Option<SparseView<'_>> {
        Some(self.view())
    }

    fn may_forbid(&self) -> bool {
        true
    }
}

/// A matrix with a part of its pairs forbidden, but for a diagonal; entries that f32 holds.
fn costs(seed: u64, [n, m]: [usize; 2], forbidden: f64) -> Vec<f64> {
    let mut random = Seeded::new(seed);
    let mut cost = |pair: usize| {
        let (value, draw) = (f64::from(random.uniform(0.0, 1.0) as f32), random.uniform(0.0, 1.0));
        if draw < forbidden && pair / m % m != pair % m && pair / m != pair % m % n { f64::INFINITY } else { value }
    };
    (0..n * m).map(&mut cost).collect()
}

fn cases<T: CpuScalar>() -> Result<Vec<GeometryCase<Host<T>>>, Error> {
    let backend = CpuBackend::<T>::new(2)?;
    [([7, 5], 0.0), ([70, 65], 0.5), ([1, 6], 0.0), ([40, 90], 0.7)]
        .into_iter()
        .zip(1..)
        .map(|((shape, forbidden), seed)| {
            let costs = costs(seed, shape, forbidden);
            let geometry = ArcsGeometry::new(&backend, Pairs::of(&costs, shape[1]).view())?;
            GeometryCase::new(format!("{shape:?} arcs, {forbidden} forbidden"), Arc::new(geometry), costs)
        })
        .collect()
}

ot_conformance::conformance_geometry!(arcs_f64, cases::<f64>());
ot_conformance::conformance_geometry!(arcs_f32, cases::<f32>());

#[test]
fn a_backend_makes_one_of_few_pairs() {
    let backend = CpuBackend::<f64>::new(1).unwrap();
    let (few, many) = (Pairs::of(&costs(11, [60, 60], 0.99), 60), Pairs::of(&costs(12, [60, 60], 0.5), 60));
    let ask = |pairs: &Pairs, columns: usize| {
        let geometry = backend.geometry(Support::Indices(60), Support::Indices(columns), pairs);
        geometry.map(|geometry| format!("{geometry:?}").starts_with("ArcsGeometry"))
    };
    assert_eq!((ask(&few, 60), ask(&many, 60)), (Ok(true), Ok(false)));
    assert!(matches!(ask(&few, 61), Err(Error::Length { expected: 61, found: 60, .. })));
}

#[test]
fn a_row_without_arcs_is_stranded_where_it_has_mass() {
    let no = f64::INFINITY;
    let pairs = Pairs::of(&[1.0, no, no, no, 2.0, no, no, no, no], 3);
    let geometry = ArcsGeometry::new(&CpuBackend::<f64>::new(1).unwrap(), pairs.view()).unwrap();
    assert_eq!((geometry.pairs(), geometry.len(Side::Source), geometry.may_forbid()), (2, 3, true));
    let statistics = |a: [f64; 3], b: [f64; 3]| {
        let (a, b) = (Histogram::new(a.to_vec()).unwrap(), Histogram::new(b.to_vec()).unwrap());
        geometry.cost_statistics(a.weights().unwrap(), b.weights().unwrap())
    };
    let known = statistics([0.5, 0.5, 0.0], [0.25, 0.75, 0.0]).unwrap();
    assert!((known.mean - (0.125 + 2.0 * 0.375) / 0.5).abs() < 1e-15 && known.minimum == 1.0 && known.maximum == 2.0);
    let stranded = statistics([0.4, 0.4, 0.2], [0.5, 0.5, 0.0]).unwrap_err();
    assert!(matches!(stranded, Error::Stranded { side: Side::Source, index: 2, column: 0 }), "{stranded}");
}
