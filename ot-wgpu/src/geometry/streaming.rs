//! Two point clouds on a device, and costs computed as they are needed.

use std::sync::Arc;

use ot_core::{
    BoundingBox, CostBetween, CostSummary, Error, GroundCost, PointsView, Program, Support,
    cost::{Blur, check_bound},
    host::try_zeros,
};

use super::{
    WgpuGeometry,
    costs::{Costs, Function},
    statistics::costs_with,
};
use crate::{backend::WgpuBackend, gpu::Gpu, wgsl::length};

/// The longest program of a cost that is made a part of kernels: beyond, compilers of drivers take minutes.
const MAX_INSTRUCTIONS: usize = 512;

/// The most atoms of a side between which the text of a cost is compared with what the host computes.
const COMPARED: usize = 8;

/// The relative error that a text may have, of a cost and of the largest of those compared.
const ALLOWED: [f64; 2] = [1e-4, 1e-5];

/// The widest extent of points whose squares single precision holds.
const WIDEST: f64 = 1e18;

/// The smallest extent of points that the smallest squares are far below.
const NARROWEST: f64 = 1e-12;

impl WgpuGeometry {
    /// A cost between two point clouds, recomputed from coordinates wherever it is needed: memory O(n + m).
    ///
    /// The cost is a recorded formula, or, where there is none, a [text](GroundCost::wgsl), which becomes a part of each kernel: `c` in
    /// single precision, one evaluation and one exponential for each pair. A text is compared with what the host computes between up to
    /// eight atoms of either side: it may be off by 1e-4 of a cost and 1e-5 of the largest. Certificates are those of the text's costs.
    /// It has no derivatives. Software ends loops early, and gets no text that has one. A softmin is two launches: sums over tiles of the other cloud around the previous potential,
    /// and what is made of them.
    ///
    /// A cost that tells no [bound](GroundCost::bound) is evaluated by the host once for all pairs, to refuse what is no cost.
    ///
    /// # Errors
    /// Those of [`CostBetween::new`], [`CostBetween::bound`] and [`CostSummary::check`]; [`Error::MissingCapability`] for a cost
    /// without text that is no formula, or one of more than 512 operations, and for points so far apart or so close together that
    /// squares of their differences leave single precision; [`Compiler`](ot_core::BackendFailure::Compiler) for a text that does not
    /// compile, with its line, and [`Error::CostOfDevice`] for one that computes another cost; [`Error::OutOfMemory`].
    pub fn streaming(
        backend: &WgpuBackend,
        source: PointsView<'_, f32>,
        target: PointsView<'_, f32>,
        cost: &dyn GroundCost,
    ) -> Result<Self, Error> {
        let costs = CostBetween::new(Support::Points(source), Support::Points(target), cost)?;
        Self::if_possible(backend, &costs)?.ok_or(Error::MissingCapability("cost that a shader can compute"))
    }

    /// The geometry of costs, if they can be computed from coordinates.
    pub(super) fn if_possible(backend: &WgpuBackend, costs: &CostBetween<'_, f32>) -> Result<Option<Self>, Error> {
        let bound = costs.bound()?;
        let Some(points) = costs.points() else { return Ok(None) };
        let function = match function_of(costs.cost(), points[0].dimension())? {
            Some(function) if are_in_range(points) && function.is_for(&backend.gpu) => function,
            _ => return Ok(None),
        };
        let (bound, forbids) = match bound {
            Some(bound) => (bound, costs.cost().may_forbid()),
            None => {
                let summary = checked(costs)?;
                (summary.bound(), summary.forbids())
            }
        };
        if let Function::Snippet(_) = function {
            compare(&backend.gpu, &function, costs.cost(), points, forbids)?;
        }
        let on_device = Costs::of_points(&backend.gpu, function, points, forbids)?;
        let blur = Blur::of(costs.cost().form());
        Ok(Some(Self { backend: backend.clone(), costs: Arc::new(on_device), bound, blur }))
    }
}

/// Is a program short enough to be a part of kernels?
pub(super) fn is_short(program: &Program) -> bool {
    length(program) <= MAX_INSTRUCTIONS
}

/// What computes a cost on a device, if anything can.
fn function_of(cost: &dyn GroundCost, dimension: usize) -> Result<Option<Function>, Error> {
    if let Some(program) = cost.program(dimension).transpose()?
        && is_short(&program)
    {
        return Ok(Some(Function::of_formula(program, cost.form())));
    }
    cost.wgsl(dimension).map(|text| Function::of_text(&text, dimension)).transpose()
}

/// Compares what a device makes of a function with the cost itself, between a few atoms.
fn compare(
    gpu: &Arc<Gpu>,
    function: &Function,
    cost: &dyn GroundCost,
    points: [PointsView<'_, f32>; 2],
    forbids: bool,
) -> Result<(), Error> {
    let dimension = points[0].dimension();
    // Spread over all atoms: the first and the last among them.
    let [rows, columns] = points.map(|points| {
        let (len, most) = (points.len(), COMPARED.min(points.len()));
        (0..most).map(|k| k * (len - 1) / (most - 1).max(1)).collect::<Vec<_>>()
    });
    let gathered = |points: PointsView<'_, f32>, atoms: &[usize]| -> Vec<f32> {
        atoms.iter().flat_map(|&atom| points.point(atom).iter().copied()).collect()
    };
    let [x, y] = [gathered(points[0], &rows), gathered(points[1], &columns)];
    let few = [PointsView::new(&x, dimension)?, PointsView::new(&y, dimension)?];
    let on_device = Costs::of_points(gpu, function.clone(), few, forbids)?;
    let mut expected = vec![0.0_f32; rows.len() * columns.len()];
    for (point, row) in few[0].iter().zip(expected.chunks_mut(columns.len())) {
        cost.costs(point, &y, row);
    }
    let largest =
        expected.iter().filter(|cost| cost.is_finite()).fold(0.0_f64, |most, &cost| most.max(f64::from(cost).abs()));
    for (j, &target_index) in columns.iter().enumerate() {
        for (i, (found, &source_index)) in costs_with(&on_device, j)?.into_iter().zip(&rows).enumerate() {
            let expected = f64::from(expected[i * columns.len() + j]);
            let allowed = ALLOWED[0] * expected.abs() + ALLOWED[1] * largest;
            let agree = found == expected || (expected.is_finite() && (found - expected).abs() <= allowed);
            if !agree {
                return Err(Error::CostOfDevice { source_index, target_index, expected, found });
            }
        }
    }
    Ok(())
}

/// Are the squares of all differences numbers of single precision, the smallest of which do not matter?
fn are_in_range([source, target]: [PointsView<'_, f32>; 2]) -> bool {
    let (source, target) = (BoundingBox::of(source), BoundingBox::of(target));
    let widest = source.reach(&target).fold(0.0, f64::max);
    widest == 0.0 || (NARROWEST..=WIDEST).contains(&widest)
}

/// Evaluates all costs, and refuses what is no cost or overflows.
fn checked(costs: &CostBetween<'_, f32>) -> Result<CostSummary, Error> {
    let (rows, columns) = costs.shape();
    let (mut row, mut summary) = (try_zeros::<f32>(columns, "a row of costs")?, CostSummary::default());
    for i in 0..rows {
        costs.row(i, &mut row);
        summary.look_at(i, 0, &row);
    }
    summary.check::<f32>()?;
    if summary.forbids() && !costs.cost().may_forbid() {
        check_bound::<f32>(f64::INFINITY)?;
    }
    Ok(summary)
}
