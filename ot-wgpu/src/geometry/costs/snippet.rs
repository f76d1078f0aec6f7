//! Costs that their authors wrote in WGSL.

use std::sync::Arc;

use ot_core::{BackendFailure, Error};
use wgpu::naga::{
    Block, Module, Statement,
    front::wgsl::parse_str,
    valid::{Capabilities, ValidationFlags, Validator},
};

use crate::{gpu::Arguments, wgsl::LIBRARY};

/// The longest text in bytes.
const MAX_BYTES: usize = 1 << 14;

/// The most coordinates: each is a word that an invocation holds.
const MAX_DIMENSION: usize = 128;

/// What kernels call: a name that no statement of theirs hides.
const ENTRY: &str = "cost_of_author";

/// Names that kernels declare, or call: a function of the same name would be called in the place of what the language has.
const RESERVED: [&str; 46] = [
    "abs",
    "any",
    "atomicLoad",
    "atomicStore",
    "bitcast",
    "clamp",
    "exp",
    "exp2",
    "log",
    "log2",
    "max",
    "min",
    "round",
    "select",
    "sqrt",
    "workgroupBarrier",
    "workgroupUniformLoad",
    "again",
    "best",
    "exponent",
    "found",
    "is_counted",
    "lost",
    "main",
    "matrix_entry",
    "term",
    "tile_points",
    "tile_potential",
    "tile_threshold",
    "tile_value0",
    "tile_value1",
    "tile_value2",
    "tile_value3",
    "tile_weight",
    "tree",
    "tree0",
    "tree1",
    "tree2",
    "tree3",
    "unreachable",
    "W0",
    "W1",
    "W2",
    "W3",
    "W4",
    "W5",
];

/// A text that has been parsed and validated: it declares `fn cost(x: Point, y: Point) -> f32`.
#[derive(Clone, Debug)]
pub(in crate::geometry) struct Snippet {
    /// The text and what kernels need beside it.
    declarations: Arc<str>,
    /// What tells it from other texts.
    pub(super) key: Arc<[u32]>,
    /// Expressions of all its functions.
    pub(super) instructions: usize,
    /// Is there a loop in them?
    pub(super) has_loops: bool,
    pub(super) dimension: usize,
}

impl Snippet {
    /// Checks the text of a cost between points of so many coordinates.
    ///
    /// # Errors
    /// [`BackendFailure::Compiler`], with the line of the text.
    pub(super) fn new(text: &str, dimension: usize) -> Result<Self, Error> {
        if text.len() > MAX_BYTES {
            return Err(refused(format!(
                "the text of a cost: expected at most {MAX_BYTES} bytes, found {}",
                text.len()
            )));
        }
        if dimension > MAX_DIMENSION {
            return Err(refused(format!(
                "the text of a cost: expected points of at most {MAX_DIMENSION} coordinates, found {dimension}"
            )));
        }
        let point = point_type(dimension);
        // Declarations know each other in any order, so that the lines of the text keep their numbers.
        let alone = format!("{text}\nalias Point = {point};\n");
        let module = validated(&alone)?;
        if !module.entry_points.is_empty() {
            return Err(refused("the text of a cost: expected functions alone, found an entry point".into()));
        }
        if !module.overrides.is_empty() {
            return Err(refused("the text of a cost: expected functions and constants, found an override".into()));
        }
        if let Some((_, variable)) = module.global_variables.iter().next() {
            let name = variable.name.as_deref().unwrap_or("");
            return Err(refused(format!(
                "the text of a cost: expected functions and constants, found the variable {name}"
            )));
        }
        let declarations = format!("{alone}fn {ENTRY}(x: Point, y: Point) -> f32 {{ return cost(x, y); }}\n");
        validated(&declarations).map_err(|error| {
            let expected = format!("fn cost(x: Point, y: Point) -> f32, where Point is {point}");
            refused(format!("the text of a cost: expected {expected}: {error}"))
        })?;
        let functions = module.functions.iter().filter_map(|(_, function)| function.name.as_deref());
        let constants = module.constants.iter().filter_map(|(_, constant)| constant.name.as_deref());
        let types = module.types.iter().filter_map(|(_, named)| named.name.as_deref());
        if let Some(name) = functions.chain(constants).chain(types).find(|name| RESERVED.contains(name)) {
            return Err(refused(format!(
                "the text of a cost: expected names of its own, found {name}, which kernels use"
            )));
        }
        // Behind the library, as in kernels.
        validated(&format!("{}{LIBRARY}{declarations}", Arguments::new().declaration()))?;
        let instructions = module.functions.iter().map(|(_, function)| function.expressions.len()).sum();
        let key = text.bytes().map(u32::from).chain([dimension as u32]).collect();
        let has_loops = module.functions.iter().any(|(_, function)| has_loop(&function.body));
        Ok(Self { declarations: declarations.into(), key, instructions, has_loops, dimension })
    }

    /// The declarations that kernels need.
    pub(super) fn declarations(&self) -> &str {
        &self.declarations
    }

    /// A statement that makes a point of expressions for its coordinates.
    pub(super) fn point(name: &str, coordinates: impl Iterator<Item = String>) -> String {
        let coordinates: Vec<String> = coordinates.collect();
        format!("let {name} = Point({});\n", coordinates.join(", "))
    }

    /// The cost between two points.
    pub(super) fn call([x, y]: [&str; 2]) -> String {
        format!("{ENTRY}({x}, {y})")
    }
}

/// Does a block loop?
fn has_loop(block: &Block) -> bool {
    block.iter().any(|statement| match statement {
        Statement::Loop { .. } => true,
        Statement::Block(block) => has_loop(block),
        Statement::If { accept, reject, .. } => has_loop(accept) || has_loop(reject),
        Statement::Switch { cases, .. } => cases.iter().any(|case| has_loop(&case.body)),
        _ => false,
    })
}

fn refused(message: String) -> Error {
    BackendFailure::Compiler(message).into()
}

/// The type of a point.
fn point_type(dimension: usize) -> String {
    match dimension {
        1 => "f32".into(),
        2..=4 => format!("vec{dimension}<f32>"),
        _ => format!("array<f32, {dimension}>"),
    }
}

/// Parses and validates a text.
fn validated(text: &str) -> Result<Module, Error> {
    let module = parse_str(text).map_err(|error| refused(error.emit_to_string_with_path(text, "cost")))?;
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::empty());
    match validator.validate(&module) {
        Ok(_) => Ok(module),
        Err(error) => Err(refused(error.emit_to_string_with_path(text, "cost"))),
    }
}
