//! How shaders read costs.

use std::fmt::Write;

use ot_core::{Program, Side};

use super::{
    super::row_pass::{Place, Step},
    Costs, FORBIDDEN, Function, Other, Source,
    snippet::Snippet,
};
use crate::{
    gpu::Arguments,
    wgsl::{Arithmetic, Inputs, emit_lanes},
};

impl Costs {
    /// Declarations: the text of an author and the tile of points, or the windows of the matrix.
    pub(in crate::geometry) fn declarations(&self, tile: Option<usize>) -> String {
        match &self.source {
            Source::Points { function, .. } => {
                let mut text = match function {
                    Function::Formula { .. } => String::new(),
                    Function::Snippet(snippet) => snippet.declarations().into(),
                };
                if let (Some(tile), dimension @ 1..) = (tile, self.tiled_dimension()) {
                    let _ = writeln!(text, "var<workgroup> tile_points: array<f32, {}>;", tile * dimension);
                }
                text
            }
            Source::Matrix { count, .. } => {
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
    pub(in crate::geometry) fn read_parameters(&self) -> String {
        let count = self.formula().map_or(0, |program| program.parameters().len());
        let read = |index| format!("let theta{index} = {};\n", Arguments::parameter("c", index, Arithmetic::Single));
        (0..count).map(read).collect()
    }

    /// Statements that read what belongs to the own atom, whose index is the variable `own` and the name of its row.
    pub(in crate::geometry) fn read_own(&self, row: &str) -> String {
        let coordinate = |axis: usize| format!("load(P.own_points + {axis}u * P.rows + own{row})");
        match &self.source {
            Source::Points { function: Function::Formula { program, .. }, dimension, .. }
                if program.folds().is_empty() =>
            {
                (0..*dimension).map(|axis| format!("let x{axis}_{row} = {};\n", coordinate(axis))).collect()
            }
            Source::Points { function: Function::Snippet(snippet), .. } => {
                Snippet::point(&format!("x_{row}"), (0..snippet.dimension).map(coordinate))
            }
            Source::Points { .. } | Source::Matrix { .. } => String::new(),
        }
    }

    /// Statements that fill place `slot` of the tile with atom `other`.
    pub(in crate::geometry) fn fill_tile(&self, tile: usize) -> String {
        let mut text = String::new();
        for axis in 0..self.tiled_dimension() {
            let place = format!("tile_points[{}u + slot]", axis * tile);
            let _ = writeln!(text, "{place} = load(P.other_points + {axis}u * P.others + other);");
        }
        text
    }

    /// Statements that compute the costs between own atoms, known by the names of their rows, and others, and the names of the
    /// costs for each own atom and each other. Forbidden pairs cost [`FORBIDDEN`].
    pub(in crate::geometry) fn between(
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
            Source::Points { function: Function::Snippet(snippet), .. } => {
                let mut text = String::new();
                for (lane, other) in others.iter().enumerate() {
                    let coordinate = |axis: usize| self.coordinate_of(other, tile, &format!("{axis}u"));
                    text += &Snippet::point(&format!("y_{lane}"), (0..snippet.dimension).map(coordinate));
                }
                let cost = |row: &String, lane: usize| {
                    let (own, other) = (format!("x_{row}"), format!("y_{lane}"));
                    Snippet::call(side.of([[&own, &other], [&other, &own]]))
                };
                let of_row = |row| (0..others.len()).map(|lane| cost(row, lane)).collect::<Vec<_>>();
                (text, rows.iter().map(of_row).collect())
            }
            Source::Points { function: Function::Formula { program, .. }, .. } => {
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
                    (Source::Points { .. }, true) => {
                        let _ = writeln!(text, "let of{name} = {cost};");
                        writeln!(text, "let {name} = select({FORBIDDEN:e}f, of{name}, of{name} < {FORBIDDEN:e}f);")
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
    pub(in crate::geometry) fn evaluate_step(
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
        let Some(cost) = self.formula() else { return (String::new(), Vec::new()) };
        let (dimension, are_named) = (cost.inputs() / 2, cost.folds().is_empty());
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
