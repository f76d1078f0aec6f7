//! Clouds of which the pairs are left out that are too far apart to matter: the properties of the conformance kit, and what is
//! left out, against double loops over all pairs.

use std::sync::Arc;

use ot_conformance::{GeometryCase, Seeded, SupportKind, standard_cases};
use ot_core::{
    Chebyshev, Cosine, CostFormula, Error, Euclidean, Geometry, GeometryBuilder, GroundCost, Host, Manhattan, Periodic,
    Real, Separable, SqEuclidean, Support,
};
use ot_cpu::{BlockSparseGeometry, CpuBackend, CpuScalar};

/// A backend that leaves out pairs wherever it can.
#[derive(Debug)]
struct Blocks<T>(CpuBackend<T>);

impl<T: CpuScalar> GeometryBuilder for Blocks<T> {
    type Device = Host<T>;

    fn geometry(
        &self,
        source: Support<'_, T>,
        target: Support<'_, T>,
        cost: &dyn GroundCost,
    ) -> Result<Arc<dyn Geometry<Host<T>>>, Error> {
        if let (Support::Points(x), Support::Points(y), Some(cost)) = (source, target, cost.shared()) {
            match BlockSparseGeometry::new(&self.0, x, y, cost) {
                Err(Error::MissingCapability(_)) => {}
                geometry => return geometry.map(|geometry| Arc::new(geometry) as Arc<_>),
            }
        }
        self.0.geometry(source, target, cost)
    }
}

fn cases<T: CpuScalar>() -> Result<Vec<GeometryCase<Host<T>>>, Error> {
    let blocks = Blocks(CpuBackend::<T>::new(2)?);
    let mut cases = standard_cases(&blocks, &[SupportKind::Points])?;
    let mut seeded = Seeded::new(5);
    let mut cloud = |len: usize, dimension: usize, shift: f64| -> Vec<f64> {
        (0..len * dimension).map(|_| shift + seeded.uniform(0.0, 1.0)).collect()
    };
    let torus = Periodic::new(Arc::new(SqEuclidean), vec![Some(1.0), None])?;
    let own = Separable::new([Arc::new(SqEuclidean) as Arc<dyn GroundCost>, Arc::new(Tilted)])?;
    let costs: [(&str, Arc<dyn GroundCost>, usize); 6] = [
        ("150 x 130, square in the plane", Arc::new(SqEuclidean), 2),
        ("150 x 130, distance in space", Arc::new(Euclidean), 3),
        ("150 x 130, cosine", Arc::new(Cosine), 3),
        ("150 x 130, Chebyshev", Arc::new(Chebyshev), 2),
        ("150 x 130, torus", Arc::new(torus), 2),
        ("150 x 130, a cost of one's own", Arc::new(own), 2),
    ];
    for (name, cost, dimension) in costs {
        let points = [cloud(150, dimension, 0.0), cloud(130, dimension, 0.25)];
        cases.push(GeometryCase::between_points(&blocks, name, points, dimension, cost)?);
    }
    Ok(cases)
}

/// (x - y)^2 + |x - y|, with bounds of its own.
#[derive(Clone, Debug)]
struct Tilted;

impl CostFormula for Tilted {
    fn cost<R: Real>(&self, x: &[R], y: &[R]) -> R {
        let apart = x[0] - y[0];
        apart * apart + apart.abs()
    }

    fn bound(&self, source: &ot_core::BoundingBox, target: &ot_core::BoundingBox) -> Option<f64> {
        let bound = |cost: &dyn GroundCost| cost.bound(source, target);
        Some((bound(&SqEuclidean)? + bound(&Manhattan)?) * (1.0 + 1e-15))
    }

    fn least(&self, source: &ot_core::BoundingBox, target: &ot_core::BoundingBox) -> Option<f64> {
        let least = |cost: &dyn GroundCost| cost.least(source, target);
        Some((least(&SqEuclidean)? + least(&Manhattan)?) * (1.0 - 1e-15))
    }
}

ot_conformance::conformance_geometry!(double, cases::<f64>());
ot_conformance::conformance_geometry!(single, cases::<f32>());
