//! Geometries of a device.

/// Costs from coordinates.
#[derive(Debug)]
pub struct StreamingGeometry;
/// Stored costs.
#[derive(Debug)]
pub struct DenseGeometry;
