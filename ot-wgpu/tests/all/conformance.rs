//! The properties of the conformance kit: operations, clouds, matrices, and matrices in several windows.

use std::sync::Arc;

use ot_conformance::{GeometryCase, Seeded, SupportKind, standard_cases};
use ot_core::{Error, GeometryBuilder, SqEuclidean};

use crate::support::backend_or_return;

ot_conformance::conformance_backend!(device, backend_or_return!(), [Points, Indices]);
// Windows of three rows of the wider matrix.
ot_conformance::conformance_geometry!(
    windows,
    standard_cases(&backend_or_return!().with_window_limit(3 * 19 * 4), &[SupportKind::Indices])
);
// More atoms than one workgroup has, and many more, for which kernels are written anew in software.
ot_conformance::conformance_geometry!(many, many_atoms(&backend_or_return!()));

fn many_atoms<G: GeometryBuilder>(builder: &G) -> Result<Vec<GeometryCase<G::Device>>, Error> {
    let mut seeded = Seeded::new(21);
    let mut cloud = |len: usize| seeded.vector::<f32>(2 * len, -1.0, 1.0);
    let (many, more) = ([cloud(1100), cloud(9)], [cloud(2100), cloud(5)]);
    let square = Arc::new(SqEuclidean);
    Ok(vec![
        GeometryCase::between_points(builder, "1100 x 9, square", many, 2, square.clone())?,
        GeometryCase::between_points(builder, "2100 x 5, square", more, 2, square)?,
    ])
}
