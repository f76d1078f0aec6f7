//! The costs between two supports on a device, and how shaders read them.

use std::{
    fmt::Write,
    sync::{Arc, OnceLock},
};

use ot_core::{Error, PointsView, Program, Scalar, Side};

use super::{
    row_pass::{Place, Step},
    slopes::{Variables, first_derivatives},
};
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

/// Atoms above which software is given more of them for each invocation.
const MANY: usize = 512;

/// C between n and m atoms.
#[derive(Debug)]
pub(super) struct Costs {
    pub(super) gpu: Arc<Gpu>,
    atoms: [usize; 2],
    source: Source,
    /// May a pair be forbidden?
    pub(super) forbids: bool,
    /// First derivatives, recorded at their first use, by [`Variables::key`].
    slopes: [OnceLock<Result<Arc<[Program]>, Error>>; 3],
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
            slopes: Default::default(),
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
        Ok(Self { gpu: Arc::clone(gpu), atoms, source, forbids, slopes: Default::default() })
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

    /// The first derivatives of the formula.
    pub(super) fn slopes(&self, variables: Variables) -> Result<Arc<[Program]>, Error> {
        let Some((program, _)) = self.formula() else { return Err(Error::MissingCapability("formula of the cost")) };
        self.slopes[variables.key() as usize].get_or_init(|| first_derivatives(program, variables)).clone()
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

    /// How many atoms of either side a step of a loop takes: the own atoms of an invocation, of so many in all, and those of the
    /// other side. `more` are the instructions for each pair beside those of the cost.
    ///
    /// What is read of an atom of the other side serves all own atoms. In software reading costs most: where many atoms fill
    /// the workgroups, an invocation has more of them.
    pub(super) fn lanes(&self, rows: usize, more: usize) -> [usize; 2] {
        let instructions = match &self.source {
            Source::Formula { program, .. } => {
                let of_loops: usize = program.folds().iter().map(|fold| fold.instructions().len()).sum();
                program.instructions().len() + of_loops
            }
            Source::Matrix { .. } => 1,
        };
        let pairs = MAX_UNROLLED / (instructions + more).max(1);
        if self.gpu.is_software() && rows > MANY {
            return match pairs {
                16.. => [16, 2],
                8.. => [8, 2],
                4.. => [4, 2],
                2.. => [4, 1],
                _ => [2, 1],
            };
        }
        match pairs {
            16.. => [4, 4],
            8.. => [4, 2],
            4.. => [2, 2],
            2.. => [2, 1],
            _ => [1, 1],
        }
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

    /// Statements that read the parameters of the formula, before all others.
    pub(super) fn read_parameters(&self) -> String {
        let count = self.formula().map_or(0, |(program, _)| program.parameters().len());
        let read = |index| format!("let theta{index} = {};\n", Arguments::parameter("c", index, Arithmetic::Single));
        (0..count).map(read).collect()
    }

    /// Statements that read what belongs to the own atom, whose index is the variable `own` and the name of its row.
    pub(super) fn read_own(&self, row: &str) -> String {
        let mut text = String::new();
        if let Some((program, dimension)) = self.formula()
            && program.folds().is_empty()
        {
            for axis in 0..dimension {
                let _ = writeln!(text, "let x{axis}_{row} = load(P.own_points + {axis}u * P.rows + own{row});");
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

    /// Statements that compute the costs between own atoms, known by the names of their rows, and others, and the names of the
    /// costs for each own atom and each other. Forbidden pairs cost [`FORBIDDEN`].
    pub(super) fn between(
        &self,
        side: Side,
        rows: &[String],
        others: &[Other],
        tile: usize,
    ) -> (String, Vec<Vec<String>>) {
        let (mut text, costs) = match &self.source {
            Source::Matrix { .. } => {
                let entry = |row: &String, other: &Other| {
                    let other = format!("min({}, P.others - 1u)", other.index);
                    let own = format!("own{row}");
                    let [row, column] = side.of([[&own, &other], [&other, &own]]);
                    format!("matrix_entry({row}, {column})")
                };
                let of_row = |row| others.iter().map(|other| entry(row, other)).collect::<Vec<_>>();
                (String::new(), rows.iter().map(of_row).collect::<Vec<_>>())
            }
            Source::Formula { program, .. } => {
                let mut text = String::new();
                if program.folds().is_empty() {
                    for (lane, other) in others.iter().enumerate() {
                        for axis in 0..program.inputs() / 2 {
                            let value = self.coordinate_of(other, tile, &format!("{axis}u"));
                            let _ = writeln!(text, "let y{axis}_{lane} = {value};");
                        }
                    }
                }
                let (statements, outputs) =
                    self.evaluate(program, side, rows, others, tile, &|_, _| String::new(), "c");
                let first = |outputs: Vec<Vec<String>>| outputs.into_iter().flatten().collect::<Vec<_>>();
                (text + &statements, outputs.into_iter().map(first).collect())
            }
        };
        let mut names = Vec::new();
        for (row, costs) in rows.iter().zip(costs) {
            let mut of_row = Vec::new();
            for (lane, cost) in costs.into_iter().enumerate() {
                let name = format!("cost{row}_{lane}");
                let _ = match (&self.source, self.forbids) {
                    (Source::Formula { .. }, true) => {
                        writeln!(text, "let {name} = select({FORBIDDEN:e}f, {cost}, {cost} < {FORBIDDEN:e}f);")
                    }
                    _ => writeln!(text, "let {name} = {cost};"),
                };
                of_row.push(name);
            }
            names.push(of_row);
        }
        (text, names)
    }

    /// Statements that evaluate a formula of both points at the pairs of a step, behind those of [`between`](Self::between), and
    /// its outputs for each pair. The formula has the parameters of the cost; `more` tells of further inputs.
    pub(super) fn evaluate_step(
        &self,
        program: &Program,
        step: &Step<'_>,
        more: &dyn Fn(usize, &Place<'_>) -> String,
        tag: &str,
    ) -> (String, Vec<Vec<String>>) {
        let row = step.places[0].row;
        let more = |k: usize, lane: usize| more(k, &step.places[lane]);
        let (tag, rows) = (format!("{tag}{row}_"), [row.to_string()]);
        let (text, mut outputs) = self.evaluate(program, step.side, &rows, step.others, step.tile, &more, &tag);
        (text, outputs.pop().unwrap_or_default())
    }

    /// Statements that evaluate a formula between own atoms and others, and its outputs for each own atom and each other.
    #[expect(clippy::too_many_arguments, reason = "pairs, and a formula of them")]
    fn evaluate(
        &self,
        program: &Program,
        side: Side,
        rows: &[String],
        others: &[Other],
        tile: usize,
        more: &dyn Fn(usize, usize) -> String,
        tag: &str,
    ) -> (String, Vec<Vec<Vec<String>>>) {
        let Some((cost, dimension)) = self.formula() else { return (String::new(), Vec::new()) };
        let are_named = cost.folds().is_empty();
        let pairs: Vec<_> = rows
            .iter()
            .flat_map(|row| others.iter().enumerate().map(move |(lane, other)| (row, lane, other)))
            .map(|(row, lane, other)| PairInputs {
                costs: self,
                side,
                dimension,
                tile,
                are_named,
                row,
                lane,
                other,
                more,
            })
            .collect();
        let mut in_loops = String::new();
        for row in rows {
            let _ = writeln!(in_loops, "let xk_{row} = load(P.own_points + k * P.rows + own{row});");
        }
        for (lane, other) in others.iter().enumerate() {
            let _ = writeln!(in_loops, "let yk_{lane} = {};", self.coordinate_of(other, tile, "k"));
        }
        let lanes: Vec<&dyn Inputs> = pairs.iter().map(|pair| pair as &dyn Inputs).collect();
        let parameter = |index: usize| format!("theta{index}");
        let (text, outputs) = emit_lanes(program, Arithmetic::Single, &lanes, &in_loops, &parameter, tag);
        (text, outputs.chunks(others.len()).map(<[_]>::to_vec).collect())
    }

    /// A coordinate of an atom of the other side, where `axis` is an expression.
    fn coordinate_of(&self, other: &Other, tile: usize, axis: &str) -> String {
        match &other.slot {
            Some(slot) if self.tiled_dimension() > 0 => format!("tile_points[({axis}) * {tile}u + {slot}]"),
            _ => format!("load(P.other_points + ({axis}) * P.others + min({}, P.others - 1u))", other.index),
        }
    }

    /// Coordinates that are read by way of workgroup memory.
    fn tiled_dimension(&self) -> usize {
        self.formula().map_or(0, |(_, dimension)| if dimension <= MAX_TILED { dimension } else { 0 })
    }
}

/// The coordinates of x and then of y, one of which is the own point.
struct PairInputs<'a> {
    costs: &'a Costs,
    side: Side,
    dimension: usize,
    tile: usize,
    /// Are the coordinates in variables?
    are_named: bool,
    row: &'a str,
    lane: usize,
    other: &'a Other,
    /// Inputs behind the coordinates.
    more: &'a dyn Fn(usize, usize) -> String,
}

impl PairInputs<'_> {
    /// Is an input a coordinate of the own point, and which coordinate is it?
    fn of(&self, index: usize) -> (bool, usize) {
        let is_source = index < self.dimension;
        (is_source == (self.side == Side::Source), index % self.dimension)
    }

    /// A coordinate, where `axis` is an expression.
    fn coordinate(&self, is_own: bool, axis: &str) -> String {
        match is_own {
            true => format!("load(P.own_points + ({axis}) * P.rows + own{})", self.row),
            false => self.costs.coordinate_of(self.other, self.tile, axis),
        }
    }
}

impl Inputs for PairInputs<'_> {
    fn input(&self, index: usize) -> String {
        if let Some(k) = index.checked_sub(2 * self.dimension) {
            return (self.more)(k, self.lane);
        }
        match self.of(index) {
            (true, axis) if self.are_named => format!("x{axis}_{}", self.row),
            (false, axis) if self.are_named => format!("y{axis}_{}", self.lane),
            (is_own, axis) => self.coordinate(is_own, &format!("{axis}u")),
        }
    }

    fn indexed(&self, first: usize, k: &str) -> Option<String> {
        Some(match self.of(first) {
            (true, 0) => format!("x{k}_{}", self.row),
            (false, 0) => format!("y{k}_{}", self.lane),
            (is_own, axis) => self.coordinate(is_own, &format!("{axis}u + {k}")),
        })
    }
}
