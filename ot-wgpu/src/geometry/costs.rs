//! The costs between two supports on a device, and how shaders read them.

use std::{fmt::Write, sync::Arc};

use ot_core::{Error, PointsView, Program, Scalar, Side};

use crate::{
    gpu::{Arguments, Gpu, Key, MAX_WINDOWS, Windows},
    vector::Chunk,
    wgsl::{Arithmetic, Inputs, emit_lanes},
};

/// What stands for the cost of a forbidden pair: far above all costs that are accepted, and finite, since shader compilers
/// may assume that no infinity occurs.
pub(super) const FORBIDDEN: f32 = 3.0e38;

/// Points of more coordinates are read from the buffer of words, not from workgroup memory.
const MAX_TILED: usize = 24;

/// Instructions of an unrolled loop over pairs.
const MAX_UNROLLED: usize = 128;

/// The most pairs of one step of a loop.
const MAX_LANES: usize = 8;

/// C between n and m atoms.
#[derive(Debug)]
pub(super) struct Costs {
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
    /// A matrix, row after row, so many rows in each window.
    Matrix { windows: Windows, rows: usize, count: usize },
}

/// An atom of the other side in a shader: its place in the tile, if it is in it, and its index.
#[derive(Clone, Debug)]
pub(super) struct Other {
    pub(super) slot: Option<String>,
    pub(super) index: String,
}

impl Costs {
    /// The costs that a formula gives between points.
    pub(super) fn of_formula(
        gpu: &Arc<Gpu>,
        program: Program,
        points: [PointsView<'_, f32>; 2],
        forbids: bool,
    ) -> Result<Self, Error> {
        let dimension = points[0].dimension();
        let upload = |points: PointsView<'_, f32>| {
            let axes = (0..dimension).flat_map(|axis| points.iter().map(move |point| point[axis].to_bits()));
            gpu.upload(&axes.collect::<Vec<u32>>(), "points")
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

    /// The costs of a matrix, row after row, infinite where a pair is forbidden.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], also for a matrix that does not fit into as many bindings as all devices have.
    pub(super) fn of_matrix(
        gpu: &Arc<Gpu>,
        mut entries: Vec<f32>,
        atoms: [usize; 2],
        forbids: bool,
        window_bytes: u64,
    ) -> Result<Self, Error> {
        let columns = atoms[1];
        let refused = || Error::OutOfMemory { what: "a cost matrix", bytes: 4 * entries.len() as u64 };
        let rows = (window_bytes / 4 / columns as u64).min(atoms[0] as u64) as usize;
        if rows == 0 || atoms[0].div_ceil(rows) > MAX_WINDOWS {
            return Err(refused());
        }
        for entry in &mut entries {
            *entry = Scalar::min(*entry, FORBIDDEN);
        }
        let windows = Windows::new(gpu, entries.chunks(rows * columns))?;
        let source = Source::Matrix { windows, rows, count: atoms[0].div_ceil(rows) };
        Ok(Self { gpu: Arc::clone(gpu), atoms, source, forbids })
    }

    /// Number of atoms of a side.
    pub(super) fn len(&self, side: Side) -> usize {
        side.of(self.atoms)
    }

    /// The formula, and the number of coordinates.
    pub(super) fn formula(&self) -> Option<(&Program, usize)> {
        match &self.source {
            Source::Formula { program, dimension, .. } => Some((program, *dimension)),
            Source::Matrix { .. } => None,
        }
    }

    /// What is bound beside the buffer of words.
    pub(super) fn windows(&self) -> Option<&Windows> {
        match &self.source {
            Source::Formula { .. } => None,
            Source::Matrix { windows, .. } => Some(windows),
        }
    }

    /// The key of a kernel on these costs, seen from a side.
    pub(super) fn key(&self, kernel: &'static str, side: Side, options: &[u32]) -> Key {
        let (formulas, of_costs) = match &self.source {
            Source::Formula { program, dimension, .. } => (vec![program.code_key()], [0, *dimension as u32]),
            Source::Matrix { count, .. } => (Vec::new(), [1, *count as u32]),
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
                arguments.parameters("c", program, Arithmetic::Single);
            }
            Source::Matrix { rows, .. } => {
                arguments.index("window_rows", *rows).index("matrix_columns", self.atoms[1]);
            }
        }
    }

    /// Words of workgroup memory for each atom of a tile.
    pub(super) fn tile_words(&self) -> usize {
        self.tiled_dimension()
    }

    /// How many pairs a step of a loop takes.
    pub(super) fn lanes(&self) -> usize {
        let instructions = match &self.source {
            Source::Formula { program, .. } => {
                let of_loops: usize = program.folds().iter().map(|fold| fold.instructions().len()).sum();
                program.instructions().len() + of_loops
            }
            Source::Matrix { .. } => 1,
        };
        let most = (MAX_UNROLLED / instructions.max(1)).clamp(1, MAX_LANES);
        1 << most.ilog2()
    }

    /// Steps of loops over coordinates for each step over pairs.
    pub(super) fn steps(&self) -> usize {
        let folds = self.formula().map_or(&[][..], |(program, _)| program.folds());
        1 + folds.iter().map(|fold| fold.count()).sum::<usize>()
    }

    /// Declarations: the tile of points, or the windows of the matrix.
    pub(super) fn declarations(&self, tile: Option<usize>) -> String {
        match (&self.source, tile) {
            (Source::Formula { .. }, Some(tile)) if self.tiled_dimension() > 0 => {
                format!("var<workgroup> tile_points: array<f32, {}>;\n", tile * self.tiled_dimension())
            }
            (Source::Formula { .. }, _) => String::new(),
            (Source::Matrix { count, .. }, _) => {
                let mut text = String::new();
                for window in 0..*count {
                    let binding = 2 + window;
                    let _ = writeln!(text, "@group(0) @binding({binding}) var<storage, read> W{window}: array<f32>;");
                }
                text += "fn matrix_entry(row: u32, column: u32) -> f32 {\n";
                if *count == 1 {
                    text += "return W0[row * P.matrix_columns + column];\n}\n";
                    return text;
                }
                text += "let at = (row % P.window_rows) * P.matrix_columns + column;\nswitch (row / P.window_rows) {\n";
                for window in 1..*count {
                    let _ = writeln!(text, "case {window}u: {{ return W{window}[at]; }}");
                }
                text + "default: { return W0[at]; }\n}\n}\n"
            }
        }
    }

    /// Statements that read what belongs to the own atom, whose index is the variable `own`.
    pub(super) fn read_own(&self) -> String {
        let mut text = String::new();
        if let Source::Formula { program, dimension, .. } = &self.source
            && program.folds().is_empty()
        {
            for axis in 0..*dimension {
                let _ = writeln!(text, "let own{axis} = load(P.own_points + {axis}u * P.rows + own);");
            }
        }
        text
    }

    /// Statements that fill place `slot` of the tile with atom `other`.
    pub(super) fn fill_tile(&self, tile: usize) -> String {
        let mut text = String::new();
        for axis in 0..self.tiled_dimension() {
            let place = format!("tile_points[{}u + slot]", axis * tile);
            let _ = writeln!(text, "{place} = load(P.other_points + {axis}u * P.others + other);");
        }
        text
    }

    /// Statements that compute the costs between the own atom and others, and their names, which start with `tag`.
    /// Forbidden pairs cost [`FORBIDDEN`].
    pub(super) fn between(&self, side: Side, others: &[Other], tile: usize, tag: &str) -> (String, Vec<String>) {
        let (mut text, costs) = match &self.source {
            Source::Matrix { .. } => {
                let entry = |other: &Other| {
                    let other = format!("min({}, P.others - 1u)", other.index);
                    let [row, column] = side.of([["own", &other], [&other, "own"]]);
                    format!("matrix_entry({row}, {column})")
                };
                (String::new(), others.iter().map(entry).collect())
            }
            Source::Formula { program, .. } => self.evaluated(program, side, others, tile, tag),
        };
        let mut names = Vec::new();
        for (index, cost) in costs.into_iter().enumerate() {
            let name = format!("{tag}cost{index}");
            let _ = match (&self.source, self.forbids) {
                (Source::Formula { .. }, true) => {
                    writeln!(text, "let {name} = select({FORBIDDEN:e}f, {cost}, {cost} < {FORBIDDEN:e}f);")
                }
                _ => writeln!(text, "let {name} = {cost};"),
            };
            names.push(name);
        }
        (text, names)
    }

    /// Statements that evaluate a formula of one output between the own atom and others.
    fn evaluated(
        &self,
        program: &Program,
        side: Side,
        others: &[Other],
        tile: usize,
        tag: &str,
    ) -> (String, Vec<String>) {
        let (statements, outputs) = self.evaluate(program, side, others, tile, tag);
        (statements, outputs.into_iter().map(|outputs| outputs.into_iter().next().unwrap_or_default()).collect())
    }

    /// Statements that evaluate a formula of both points between the own atom and others, with the parameters of the cost.
    pub(super) fn evaluate(
        &self,
        program: &Program,
        side: Side,
        others: &[Other],
        tile: usize,
        tag: &str,
    ) -> (String, Vec<Vec<String>>) {
        let (is_tiled, dimension) = (self.tiled_dimension() > 0, program.inputs() / 2);
        let has_own = self.formula().is_some_and(|(cost, _)| cost.folds().is_empty());
        let pairs = others.iter().map(|other| PairInputs { side, dimension, tile, is_tiled, has_own, other });
        let pairs: Vec<_> = pairs.collect();
        let lanes: Vec<&dyn Inputs> = pairs.iter().map(|pair| pair as &dyn Inputs).collect();
        let parameter = |index: usize| Arguments::parameter("c", index, Arithmetic::Single);
        emit_lanes(program, Arithmetic::Single, &lanes, &parameter, tag)
    }

    /// Coordinates that are read by way of workgroup memory.
    fn tiled_dimension(&self) -> usize {
        self.formula().map_or(0, |(_, dimension)| if dimension <= MAX_TILED { dimension } else { 0 })
    }
}

/// The coordinates of x and then of y, one of which is the own point.
struct PairInputs<'a> {
    side: Side,
    dimension: usize,
    tile: usize,
    is_tiled: bool,
    /// Are the coordinates of the own point in variables?
    has_own: bool,
    other: &'a Other,
}

impl PairInputs<'_> {
    /// Is an input a coordinate of the own point, and which coordinate is it?
    fn of(&self, index: usize) -> (bool, usize) {
        let is_source = index < self.dimension;
        (is_source == (self.side == Side::Source), index % self.dimension)
    }

    /// A coordinate, where `axis` is an expression.
    fn coordinate(&self, is_own: bool, axis: &str) -> String {
        match (is_own, &self.other.slot) {
            (true, _) => format!("load(P.own_points + ({axis}) * P.rows + own)"),
            (false, Some(slot)) if self.is_tiled => format!("tile_points[({axis}) * {}u + {slot}]", self.tile),
            (false, _) => {
                format!("load(P.other_points + ({axis}) * P.others + min({}, P.others - 1u))", self.other.index)
            }
        }
    }
}

impl Inputs for PairInputs<'_> {
    fn input(&self, index: usize) -> String {
        let (is_own, axis) = self.of(index);
        if is_own && self.has_own { format!("own{axis}") } else { self.coordinate(is_own, &format!("{axis}u")) }
    }

    fn indexed(&self, first: usize, k: &str) -> Option<String> {
        let (is_own, axis) = self.of(first);
        Some(self.coordinate(is_own, &format!("{axis}u + {k}")))
    }
}
