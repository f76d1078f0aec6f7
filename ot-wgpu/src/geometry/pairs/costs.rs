//! How shaders read costs in pairs.

use std::{fmt::Write, sync::Arc};

use ot_core::{BoundingBox, CostForm, Error, PointsView, Program, Side};

use crate::{
    backend::WgpuDevice,
    device::WgpuPairs,
    gpu::{Arguments, Chunk, Gpu, Key},
    wgsl::{Arithmetic, Inputs, emit_lanes},
};

/// What stands for the cost of a forbidden pair.
pub(super) const FORBIDDEN: f64 = 3e38;

/// The most coordinates of an own point that are variables of an invocation.
const MAX_NAMED: usize = 16;

/// The widest extent of points whose squares pairs hold, and the smallest whose squares keep their bits.
const RANGE: [f64; 2] = [1e-9, 1e18];

/// How far from their origin points may be, in extents: differences have nine bits less than coordinates then.
const FARTHEST: f64 = 512.0;

/// C between n and m atoms.
#[derive(Debug)]
pub(super) struct PairCosts {
    pub(super) gpu: Arc<Gpu>,
    atoms: [usize; 2],
    source: Source,
    /// May a pair be forbidden?
    pub(super) forbids: bool,
}

/// Where costs come from.
#[derive(Debug)]
enum Source {
    /// A formula of points, which are kept coordinate after coordinate.
    Formula { program: Program, dimension: usize, points: [Chunk; 2] },
    /// A matrix, row after row.
    Matrix(Chunk),
}

impl PairCosts {
    pub(super) fn of_formula(
        gpu: &Arc<Gpu>,
        program: Program,
        points: [PointsView<'_, f64>; 2],
        origin: &[f64],
        forbids: bool,
    ) -> Result<Self, Error> {
        let dimension = points[0].dimension();
        let upload = |points: PointsView<'_, f64>| {
            let axes = (0..dimension).flat_map(|axis| points.iter().map(move |point| point[axis] - origin[axis]));
            gpu.upload(&WgpuPairs::encoded(&axes.collect::<Vec<f64>>())?, "points")
        };
        let [source, target] = points;
        let places = [upload(source)?, upload(target)?];
        Ok(Self {
            gpu: Arc::clone(gpu),
            atoms: [source.len(), target.len()],
            source: Source::Formula { program, dimension, points: places },
            forbids,
        })
    }

    pub(super) fn of_matrix(
        gpu: &Arc<Gpu>,
        mut entries: Vec<f64>,
        atoms: [usize; 2],
        forbids: bool,
    ) -> Result<Self, Error> {
        entries.iter_mut().for_each(|entry| *entry = entry.min(FORBIDDEN));
        let matrix = gpu.upload(&WgpuPairs::encoded(&entries)?, "a cost matrix")?;
        Ok(Self { gpu: Arc::clone(gpu), atoms, source: Source::Matrix(matrix), forbids })
    }

    /// Number of atoms of a side.
    pub(super) fn len(&self, side: Side) -> usize {
        side.of(self.atoms)
    }

    /// Steps of loops over coordinates for each pair.
    pub(super) fn steps(&self) -> usize {
        match &self.source {
            Source::Formula { program, dimension, .. } if *dimension > MAX_NAMED => {
                1 + program.folds().iter().map(|fold| fold.count()).sum::<usize>()
            }
            _ => 1,
        }
    }

    /// The key of a kernel on these costs, seen from a side.
    pub(super) fn key(&self, kernel: &'static str, side: Side, options: &[u32]) -> Key {
        let (formulas, of_costs) = match &self.source {
            Source::Formula { program, dimension, .. } => (vec![program.code_key()], [0, *dimension as u32]),
            Source::Matrix(_) => (Vec::new(), [1, 0]),
        };
        let own = [side.index() as u32, u32::from(self.forbids)];
        Key { kernel, formulas, options: [&own, &of_costs, options].concat() }
    }

    /// Adds what shaders are told of the costs.
    pub(super) fn tell(&self, side: Side, arguments: &mut Arguments) {
        arguments.index("rows", self.len(side)).index("others", self.len(side.opposite()));
        match &self.source {
            Source::Formula { program, points, .. } => {
                arguments.place("own_points", points[side.index()].start());
                arguments.place("other_points", points[side.opposite().index()].start());
                arguments.parameters("c", program, Arithmetic::Pair);
            }
            Source::Matrix(matrix) => {
                arguments.place("matrix", matrix.start()).index("matrix_columns", self.atoms[1]);
            }
        }
    }

    /// Statements that read what belongs to the own atom `row`.
    pub(super) fn read_own(&self) -> String {
        let Source::Formula { program, dimension, .. } = &self.source else { return String::new() };
        let mut text = String::new();
        for index in 0..program.parameters().len() {
            let parameter = Arguments::parameter("c", index, Arithmetic::Pair);
            let _ = writeln!(text, "let theta{index} = {parameter};");
        }
        if *dimension <= MAX_NAMED {
            for axis in 0..*dimension {
                let _ = writeln!(text, "let x{axis} = {};", coordinate("own", &format!("{axis}u")));
            }
        }
        text
    }

    /// Statements that compute the variable `cost` between the own atom and the atom `other`, [`FORBIDDEN`] where they are.
    pub(super) fn between(&self, side: Side) -> String {
        match &self.source {
            Source::Matrix(_) => {
                let [i, j] = side.of([["row", "other"], ["other", "row"]]);
                let entry = Arithmetic::Pair.load("P.matrix", &format!("{i} * P.matrix_columns + {j}"));
                format!("let cost = {entry};\n")
            }
            Source::Formula { program, dimension, .. } => {
                let inputs = Coordinates { side, dimension: *dimension };
                let parameter = |index: usize| format!("theta{index}");
                let (statements, outputs) = emit_lanes(program, Arithmetic::Pair, &[&inputs], "", &parameter, "c");
                let cost = &outputs[0][0];
                let cost = match self.forbids {
                    true => format!("select(vec2<f32>({FORBIDDEN:e}f, 0.0f), {cost}, {cost}.x < {FORBIDDEN:e}f)"),
                    false => cost.clone(),
                };
                format!("{statements}let cost = {cost};\n")
            }
        }
    }
}

/// A coordinate of the own point or of the other, where `axis` is an expression.
fn coordinate(of: &str, axis: &str) -> String {
    let [count, index] = if of == "own" { ["P.rows", "row"] } else { ["P.others", "other"] };
    Arithmetic::Pair.load(&format!("P.{of}_points"), &format!("({axis}) * {count} + {index}"))
}

/// The coordinates of x and then of y, one of which is the own point.
struct Coordinates {
    side: Side,
    dimension: usize,
}

impl Coordinates {
    /// Is an input a coordinate of the own point?
    fn is_own(&self, index: usize) -> bool {
        (index < self.dimension) == (self.side == Side::Source)
    }

    /// An input, where `axis` is an expression.
    fn at(&self, index: usize, axis: &str) -> String {
        coordinate(if self.is_own(index) { "own" } else { "other" }, axis)
    }
}

impl Inputs for Coordinates {
    fn input(&self, index: usize) -> String {
        let axis = index % self.dimension;
        match self.is_own(index) && self.dimension <= MAX_NAMED {
            true => format!("x{axis}"),
            false => self.at(index, &format!("{axis}u")),
        }
    }

    fn indexed(&self, first: usize, k: &str) -> Option<String> {
        let axis = first % self.dimension;
        (self.dimension > MAX_NAMED).then(|| self.at(first, &format!("{axis}u + {k}")))
    }
}

/// What points are told relative to: one of them where the cost depends on differences alone, so that a cloud far from zero keeps its
/// bits.
pub(super) fn origin(points: [PointsView<'_, f64>; 2], form: CostForm<'_>) -> Vec<f64> {
    let is_of_differences = matches!(form, CostForm::SqEuclidean { .. } | CostForm::PowerOfNorm { .. });
    match points[0].iter().next() {
        Some(point) if is_of_differences => point.to_vec(),
        _ => vec![0.0; points[0].dimension()],
    }
}

/// Do pairs hold the squares of all differences, and all their bits where they matter?
pub(super) fn are_in_range(points: [PointsView<'_, f64>; 2], origin: &[f64]) -> bool {
    let [source, target] = points.map(BoundingBox::of);
    let widest = source.reach(&target).fold(0.0, f64::max);
    let coordinates = points.into_iter().flat_map(|points| points.iter());
    let size = |point: &[f64]| point.iter().zip(origin).fold(0.0, |size: f64, (x, o)| size.max((x - o).abs()));
    let farthest = coordinates.map(size).fold(0.0, f64::max);
    let is_near = farthest <= FARTHEST * widest;
    widest == 0.0 || (is_near && (RANGE[0]..=RANGE[1]).contains(&widest))
}
