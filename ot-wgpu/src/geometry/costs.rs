//! The costs between two supports on a device.

mod snippet;
mod text;

use std::sync::{Arc, OnceLock};

use ot_core::{CostForm, Error, PointsView, Program, Scalar, Side};

use self::snippet::Snippet;
use super::slopes::{
    Variables, first_derivatives, first_derivatives_of_squares, second_derivatives, second_derivatives_of_squares,
};
use crate::{
    gpu::{Arguments, Chunk, Gpu, Key, MAX_WINDOWS, Windows},
    wgsl::{Arithmetic, length},
};

/// What stands for the cost of a forbidden pair: far above all costs that are accepted, and finite, since shader compilers
/// may assume that no infinity occurs.
pub(super) const FORBIDDEN: f32 = 3.0e38;

/// Points of more coordinates are read from the buffer of words, not from workgroup memory.
const MAX_TILED: usize = 24;

/// Instructions of an unrolled loop over pairs.
const MAX_UNROLLED: usize = 128;

/// Atoms above which software is given more of them for each invocation, and still more: a longer text takes seconds to compile.
const MANY: [usize; 2] = [512, 2048];

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
    /// A function of points, which are kept coordinate after coordinate.
    Points { function: Function, dimension: usize, points: [Chunk; 2] },
    /// A matrix, row after row, so many rows in each window.
    Matrix { windows: Windows, rows: usize, count: usize },
}

/// What computes a cost from two points.
#[derive(Clone, Debug)]
pub(super) enum Function {
    /// A recorded formula.
    Formula {
        program: Program,
        /// The factor of the squared distance, if the cost is one.
        square: Option<f64>,
    },
    /// A text.
    Snippet(Snippet),
}

impl Function {
    /// A formula, of which the form tells whether it is a squared distance.
    pub(super) fn of_formula(program: Program, form: CostForm<'_>) -> Self {
        let square = match form {
            CostForm::SqEuclidean { scale } => Some(scale),
            _ => None,
        };
        Self::Formula { program, square }
    }

    /// A text in WGSL, for points of so many coordinates.
    ///
    /// # Errors
    /// [`BackendFailure::Compiler`](ot_core::BackendFailure::Compiler) for a text that no compiler takes, with the line.
    pub(super) fn of_text(text: &str, dimension: usize) -> Result<Self, Error> {
        Snippet::new(text, dimension).map(Self::Snippet)
    }

    /// Can a device be trusted with it? Software counts the steps of all loops of an invocation, and ends them early.
    pub(super) fn is_for(&self, gpu: &Gpu) -> bool {
        match self {
            Self::Formula { .. } => true,
            Self::Snippet(snippet) => !(snippet.has_loops && gpu.is_software()),
        }
    }

    /// How many instructions there are for a pair.
    fn instructions(&self) -> usize {
        match self {
            Self::Formula { program, .. } => length(program),
            Self::Snippet(snippet) => snippet.instructions,
        }
    }
}

/// An atom of the other side in a shader: its place in the tile, if it is in it, and its index.
#[derive(Clone, Debug)]
pub(super) struct Other {
    pub(super) slot: Option<String>,
    pub(super) index: String,
}

impl Costs {
    /// The costs that a function gives between points.
    pub(super) fn of_points(
        gpu: &Arc<Gpu>,
        function: Function,
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
            source: Source::Points { function, dimension, points: places },
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

    /// The formula, if the cost is one.
    pub(super) fn formula(&self) -> Option<&Program> {
        match &self.source {
            Source::Points { function: Function::Formula { program, .. }, .. } => Some(program),
            Source::Points { .. } | Source::Matrix { .. } => None,
        }
    }

    /// The first derivatives of the formula.
    pub(super) fn slopes(&self, variables: Variables) -> Result<Arc<[Program]>, Error> {
        let record = || match self.formula_and_square()? {
            (program, Some(scale)) => first_derivatives_of_squares(program, scale, variables),
            (program, None) => first_derivatives(program, variables),
        };
        self.slopes[variables.key() as usize].get_or_init(record).clone()
    }

    /// The second derivatives of the formula, along a direction.
    pub(super) fn curvatures(&self, both: [Variables; 2]) -> Result<Arc<[Program]>, Error> {
        match self.formula_and_square()? {
            (program, Some(scale)) => second_derivatives_of_squares(program, scale, both),
            (program, None) => second_derivatives(program, both),
        }
    }

    /// The formula, and the factor of the squared distance, if it is one.
    fn formula_and_square(&self) -> Result<(&Program, Option<f64>), Error> {
        match &self.source {
            Source::Points { function: Function::Formula { program, square }, .. } => Ok((program, *square)),
            Source::Points { .. } | Source::Matrix { .. } => Err(Error::MissingCapability("formula of the cost")),
        }
    }

    /// What is bound beside the buffer of words.
    pub(super) fn windows(&self) -> Option<&Windows> {
        match &self.source {
            Source::Points { .. } => None,
            Source::Matrix { windows, .. } => Some(windows),
        }
    }

    /// The key of a kernel on these costs, seen from a side.
    pub(super) fn key(&self, kernel: &'static str, side: Side, options: &[u32]) -> Key {
        let (formulas, of_costs, text): (_, _, &[u32]) = match &self.source {
            Source::Points { function: Function::Formula { program, .. }, dimension, .. } => {
                (vec![program.code_key()], [0, *dimension as u32], &[])
            }
            Source::Points { function: Function::Snippet(snippet), .. } => (Vec::new(), [2, 0], &snippet.key),
            Source::Matrix { count, .. } => (Vec::new(), [1, *count as u32], &[]),
        };
        let own = [side.index() as u32, u32::from(self.forbids)];
        Key { kernel, formulas, options: [&own, &of_costs, options, text].concat() }
    }

    /// Adds what shaders are told of the costs.
    pub(super) fn tell(&self, side: Side, arguments: &mut Arguments) {
        arguments.index("rows", self.len(side)).index("others", self.len(side.opposite()));
        match &self.source {
            Source::Points { function, points, .. } => {
                arguments.place("own_points", points[side.index()].start());
                arguments.place("other_points", points[side.opposite().index()].start());
                if let Function::Formula { program, .. } = function {
                    arguments.parameters("c", program, Arithmetic::Single);
                }
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
            Source::Points { function, .. } => function.instructions(),
            Source::Matrix { .. } => 1,
        };
        let pairs = MAX_UNROLLED / (instructions + more).max(1);
        if self.gpu.is_software() && rows > MANY[0] {
            return match pairs {
                16.. if rows > MANY[1] => [64, 1],
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
        let folds = self.formula().map_or(&[][..], Program::folds);
        1 + folds.iter().map(|fold| fold.count()).sum::<usize>()
    }

    /// Coordinates that are read by way of workgroup memory.
    fn tiled_dimension(&self) -> usize {
        match self.source {
            Source::Points { dimension, .. } if dimension <= MAX_TILED => dimension,
            Source::Points { .. } | Source::Matrix { .. } => 0,
        }
    }
}
