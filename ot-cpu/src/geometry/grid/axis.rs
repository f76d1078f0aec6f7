//! The lines of one axis: its cost over epsilon, as the kernels of lines take it.

use ot_core::{
    Side,
    cost::{AxisCost, AxisPair},
};

use crate::{
    geometry::CpuScalar,
    simd::{Distances, LineCost, Squares, Table},
};

/// The place of the first node of a side and the step to the next, in units of the spacing of the opposite side, and seen
/// from its first node.
pub(super) fn places(axis: &AxisPair, side: Side) -> [f64; 2] {
    let (own, other) = (side.of(axis.axes()), side.opposite().of(axis.axes()));
    [(own.origin() - other.origin()) / other.spacing(), own.spacing() / other.spacing()]
}

/// The spacing of a side.
pub(super) fn spacing(axis: &AxisPair, side: Side) -> f64 {
    side.of(axis.axes()).spacing()
}

/// The costs of all axes over epsilon, seen from either side.
pub(super) type Lines<T> = [Vec<LineCost<T>>; 2];

/// The cost over epsilon, for the lines of one side.
pub(super) fn line_cost<T: CpuScalar>(axis: &AxisPair, side: Side, epsilon: f64) -> LineCost<T> {
    let (outputs, inputs) = (axis.len(side), axis.len(side.opposite()));
    match axis.cost() {
        AxisCost::Squares(scale) => {
            let spacing = spacing(axis, side.opposite());
            let curvature = scale * spacing * spacing / epsilon;
            LineCost::Squares(Squares::new(inputs, outputs, places(axis, side), curvature))
        }
        AxisCost::Distances => {
            let slope = spacing(axis, side.opposite()) / epsilon;
            LineCost::Distances(Distances::new(inputs, outputs, places(axis, side), slope))
        }
        AxisCost::Table(_) => {
            let pairs = (0..outputs).flat_map(|i| (0..inputs).map(move |j| (i, j)));
            let costs: Vec<f64> = pairs.map(|(i, j)| axis.between(side, i, j) / epsilon).collect();
            LineCost::Table(Table::new(inputs, outputs, &costs))
        }
    }
}
