//! What can be asked wrongly, and what a machine can refuse.
//!
//! An [`Error`] says what was expected and what was found. Not converging is no error: it is a
//! [`Status`](crate::Status) of a solution that still carries its certificate.

use crate::{program::ProgramError, side::Side};

/// What was asked wrongly or what the machine could not do.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A measure without atoms.
    #[error("the measure is empty: expected at least one atom")]
    EmptyMeasure,
    /// A batch without columns.
    #[error("the batch is empty: expected at least one column")]
    EmptyBatch,
    /// Points of dimension zero.
    #[error("the dimension of the points is zero: expected at least one coordinate")]
    ZeroDimension,
    /// A slice whose length does not fit.
    #[error("{what}: expected {expected} entries, found {found}")]
    Length {
        /// What the slice holds.
        what: &'static str,
        /// The length that fits.
        expected: usize,
        /// The length found.
        found: usize,
    },
    /// Two supports of different dimension.
    #[error("the source points have {source_dimension} coordinates, the target points {target_dimension}")]
    DimensionMismatch {
        /// Coordinates per source point.
        source_dimension: usize,
        /// Coordinates per target point.
        target_dimension: usize,
    },
    /// Two grids that lie in different spaces: a line and a circle, or two circles.
    #[error(
        "axis {axis} of the source grid has {}, that of the target {}: expected the same",
        period_in_words(*.source_period), period_in_words(*.target_period)
    )]
    PeriodMismatch {
        /// Index of the axis.
        axis: usize,
        /// The period of the source; none on a line.
        source_period: Option<f64>,
        /// The period of the target; none on a line.
        target_period: Option<f64>,
    },
    /// Two measures with different numbers of columns.
    #[error(
        "the source has {source_columns} columns, the target {target_columns}: expected one each or, where batches are \
         taken, as many"
    )]
    BatchMismatch {
        /// Histograms of the source.
        source_columns: usize,
        /// Histograms of the target.
        target_columns: usize,
    },
    /// A coordinate that is not finite.
    #[error("coordinate {axis} of point {point} is {}: expected a finite number", short(*.value))]
    Coordinate {
        /// Index of the point.
        point: usize,
        /// Index of the coordinate.
        axis: usize,
        /// The number found.
        value: f64,
    },
    /// A weight that is negative or not finite.
    #[error("weight {index} of column {column} is {}: expected a finite number >= 0", short(*.value))]
    Weight {
        /// Index of the atom.
        index: usize,
        /// Index of the histogram.
        column: usize,
        /// The number found.
        value: f64,
    },
    /// A histogram without mass.
    #[error("column {column} of the weights has total mass {}: expected a positive finite mass", short(*.mass))]
    Mass {
        /// Index of the histogram.
        column: usize,
        /// Its total mass.
        mass: f64,
    },
    /// A mass whose shares of so many atoms are too small for the element type.
    #[error("column {column}: a mass of {mass:e} is to be shared by atoms in {element}: expected at least {least:e}")]
    MassUnderflow {
        /// Index of the histogram.
        column: usize,
        /// Its total mass.
        mass: f64,
        /// The least mass whose shares keep their digits.
        least: f64,
        /// The element type.
        element: &'static str,
    },
    /// Masses that differ although both marginals are prescribed.
    #[error(
        "column {column}: the source has mass {}, the target {}; a balanced problem \
         needs equal masses (relative difference at most {tolerance:e}); normalized() gives a measure mass one",
        short(*.source_mass), short(*.target_mass)
    )]
    MassMismatch {
        /// Index of the histogram.
        column: usize,
        /// Total mass of the source.
        source_mass: f64,
        /// Total mass of the target.
        target_mass: f64,
        /// The relative difference that rounding may explain.
        tolerance: f64,
    },
    /// An atom with mass and no partner at finite cost.
    #[error("atom {index} of the {side} has mass in column {column} and no partner with mass at finite cost")]
    Stranded {
        /// The side of the atom.
        side: Side,
        /// Index of the atom.
        index: usize,
        /// Index of the histogram.
        column: usize,
    },
    /// Forbidden pairs that leave mass without a way: a violated cut.
    #[error(
        "no plan exists: {} source atoms have mass {}, and all targets they may send it to have {}",
        sources.len(), short(*.mass), short(*.reachable)
    )]
    Infeasible {
        /// The source atoms of the cut.
        sources: Vec<u32>,
        /// Their mass.
        mass: f64,
        /// The mass of all targets at finite cost from any of them.
        reachable: f64,
    },
    /// A cost that is NaN or minus infinity (plus infinity forbids a pair).
    #[error(
        "the cost of pair ({source_index}, {target_index}) is {}: expected a finite number, or +inf to forbid",
        short(*.value)
    )]
    Cost {
        /// Index of the source atom.
        source_index: usize,
        /// Index of the target atom.
        target_index: usize,
        /// The number found.
        value: f64,
    },
    /// Points so far apart that their costs overflow the element type.
    #[error(
        "the cost across the supports reaches {bound:e}, beyond the largest {element} that can be computed with ({limit:e})"
    )]
    CostOverflow {
        /// A bound on the costs.
        bound: f64,
        /// The element type.
        element: &'static str,
        /// The largest cost accepted.
        limit: f64,
    },
    /// Points so close to each other that all costs vanish in the element type.
    #[error("the cost across the supports reaches {bound:e} only, below the smallest normal {element} ({limit:e})")]
    CostUnderflow {
        /// A bound on the costs.
        bound: f64,
        /// The element type.
        element: &'static str,
        /// The smallest normal number.
        limit: f64,
    },
    /// A sum over masses and costs, each of which is in range, that is not.
    #[error("{what} overflows {element}: expected smaller masses or costs")]
    SumOverflow {
        /// What is summed.
        what: &'static str,
        /// The element type.
        element: &'static str,
    },
    /// A regularisation strength that is not finite and positive, or that the element type does not hold
    /// together with its reciprocal and with the potentials that it makes of weights.
    #[error(
        "epsilon is {0:e}: expected a finite number > 0 that the element type holds with its reciprocal, and 16384 times"
    )]
    Epsilon(f64),
    /// An epsilon rule that the cost gives no meaning to.
    #[error("the rule {rule} resolves to no epsilon for this cost: {reason}")]
    EpsilonRule {
        /// The rule.
        rule: &'static str,
        /// Why it fails.
        reason: &'static str,
    },
    /// A kernel that exists at one epsilon only.
    #[error("this kernel exists at epsilon {} only, epsilon {} was requested", short(*.fixed), short(*.requested))]
    FixedEpsilon {
        /// The epsilon of the kernel.
        fixed: f64,
        /// The epsilon asked for.
        requested: f64,
    },
    /// A parameter outside its range.
    #[error("{name} is {}: expected {expected}", short(*.value))]
    Parameter {
        /// Name of the parameter.
        name: &'static str,
        /// The number found.
        value: f64,
        /// The range, in words.
        expected: &'static str,
    },
    /// A triangle, an edge or a source that names a vertex which is none.
    #[error("{what} {element} names vertex {index}: expected less than {vertices}")]
    VertexIndex {
        /// What names the vertex.
        what: &'static str,
        /// Its index.
        element: usize,
        /// The index found.
        index: u32,
        /// The number of vertices.
        vertices: usize,
    },
    /// A triangle that has a vertex twice.
    #[error("triangle {triangle} has the corners {corners:?}: expected three different vertices")]
    DegenerateTriangle {
        /// Index of the triangle.
        triangle: usize,
        /// Its corners.
        corners: [u32; 3],
    },
    /// An edge where more than two triangles meet.
    #[error("edge {edge:?} belongs to {triangles} triangles: expected at most 2")]
    NonManifoldEdge {
        /// The vertices of the edge.
        edge: [u32; 2],
        /// How many triangles were found there.
        triangles: u32,
    },
    /// A vertex of a propagation that nothing determines.
    #[error("no path joins vertex {vertex} to one whose measure is given: expected a given measure in each component")]
    Unattached {
        /// Index of the vertex.
        vertex: usize,
    },
    /// The weight of an edge that is negative or not finite.
    #[error("the weight of edge {edge}, between {} and {}, is {}: expected a finite number >= 0", ends[0], ends[1], short(*.weight))]
    EdgeWeight {
        /// Index of the edge.
        edge: usize,
        /// The vertices of the edge.
        ends: [u32; 2],
        /// The number found.
        weight: f64,
    },
    /// A component of the support that holds other masses of two prescribed measures: no mass passes between components.
    #[error(
        "column {column}: component {component} ({vertices} vertices, the first of them {first_vertex}) holds mass \
         {} of the source and {} of the target; between components no mass passes, so a balanced problem \
         needs equal masses in each ({others} further components disagree)",
        short(*.source_mass), short(*.target_mass)
    )]
    ComponentMass {
        /// Index of the histogram.
        column: usize,
        /// Index of the first component that disagrees.
        component: usize,
        /// Its number of vertices.
        vertices: usize,
        /// Its first vertex.
        first_vertex: u32,
        /// The mass of the source there.
        source_mass: f64,
        /// The mass of the target there.
        target_mass: f64,
        /// How many later components disagree.
        others: usize,
    },
    /// An atom so far from all others, in the unit of a diffusion, that the kernel cannot tell its terms from zero.
    #[error(
        "atom {index} of the {side}, column {column}: all terms of its sum are below exp(-{reach:.0}) of the largest \
         weight; expected a diffusion of longer time, or fewer steps"
    )]
    KernelRange {
        /// The side of the atom.
        side: Side,
        /// Index of the atom.
        index: usize,
        /// Index of the histogram.
        column: usize,
        /// The logarithm that the kernel spans.
        reach: f64,
    },
    /// A time of diffusion too short for the mesh: heat has not left a vertex.
    #[error(
        "the diffusion time {time:e} is far below the squared length of an edge ({square:e}): expected at least {least:e}, or \
         a finer mesh"
    )]
    Unresolved {
        /// The time.
        time: f64,
        /// The mean of the squared lengths of the edges.
        square: f64,
        /// The shortest time accepted.
        least: f64,
    },
    /// A support that a backend, cost or solver does not know how to read.
    #[error("{what} cannot be built from a support of kind {found}")]
    UnsupportedSupport {
        /// What was asked for.
        what: &'static str,
        /// The kind of support found.
        found: &'static str,
    },
    /// An entry of a claimed plan that its potentials do not give.
    #[error("entry ({source_index}, {target_index}) of the plan is {found:e}: its potentials give {expected:e}")]
    RefusedEntry {
        /// Index of the source atom.
        source_index: usize,
        /// Index of the target atom.
        target_index: usize,
        /// The mass that the potentials give.
        expected: f64,
        /// The mass claimed.
        found: f64,
    },
    /// A cost that a device computes otherwise than the host.
    #[error("the cost of pair ({source_index}, {target_index}) is {} on the host, and {} on the device", short(*.expected), short(*.found))]
    CostOfDevice {
        /// Index of the source atom.
        source_index: usize,
        /// Index of the target atom.
        target_index: usize,
        /// What the host computes.
        expected: f64,
        /// What the device computes.
        found: f64,
    },
    /// Problems that belong together and do not agree.
    #[error("the problems disagree in {what}")]
    Disagreement {
        /// What differs.
        what: &'static str,
    },
    /// What was asked wrongly of one of many measures.
    #[error("measure {index} of {list}: {error}")]
    OfMeasure {
        /// The list that the measure is in.
        list: &'static str,
        /// Its index there.
        index: usize,
        /// What was wrong.
        error: Box<Error>,
    },
    /// What was asked wrongly of one of many pairs of measures.
    #[error("pair ({first}, {second}): {error}")]
    OfPair {
        /// Index of the source.
        first: usize,
        /// Index of the target.
        second: usize,
        /// What was wrong.
        error: Box<Error>,
    },
    /// A capability that the kernel does not have.
    #[error("this kernel has no {0}")]
    MissingCapability(&'static str),
    /// A formula that could not be recorded.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// More memory than the backend can give.
    #[error("out of memory: {bytes} bytes for {what}")]
    OutOfMemory {
        /// What the memory was for.
        what: &'static str,
        /// Its size.
        bytes: u64,
    },
    /// A failure that a backend met while running what was enqueued.
    #[error("the backend failed: {0}")]
    Backend(#[from] BackendFailure),
}

impl Error {
    /// An error of [problems side by side](crate::Problem::side_by_side), of so many columns each, as that of one of them: columns are
    /// counted within it.
    #[must_use]
    pub fn within_columns(self, columns: usize) -> Self {
        match self {
            Self::KernelRange { side, index, column, reach } => {
                Self::KernelRange { side, index, column: column % columns, reach }
            }
            error => error,
        }
    }
}

/// A period, or that there is none.
fn period_in_words(period: Option<f64>) -> String {
    period.map_or_else(|| "no period".into(), |period| format!("period {}", short(period)))
}

/// The shortest decimal that is this number, as messages and logs write it: in scientific notation where plain digits would be
/// mostly zeros.
///
/// ```
/// use ot_core::error::short;
///
/// assert_eq!([0.25, 3.0, -1e-300].map(short), ["0.25", "3", "-1e-300"]);
/// ```
#[must_use]
pub fn short(value: f64) -> String {
    match value.abs() {
        size if size == 0.0 || (1e-4..1e16).contains(&size) || !size.is_finite() => format!("{value}"),
        _ => format!("{value:e}"),
    }
}

/// How a device or an operating system failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackendFailure {
    /// Worker threads could not be started.
    #[error("{requested} worker threads could not be started")]
    Threads {
        /// The number asked for.
        requested: usize,
    },
    /// The device is gone.
    #[error("the device was lost: {0}")]
    DeviceLost(String),
    /// No device fits what was asked for.
    #[error("no device fits: {0}")]
    NoDevice(String),
    /// The device did not finish in time.
    #[error("the device timed out: {0}")]
    Timeout(String),
    /// A program that the device's compiler refused.
    #[error("the device's compiler refused a program: {0}")]
    Compiler(String),
    /// Anything else that a device reports.
    #[error("the device failed: {0}")]
    Device(String),
    /// A vector was read that no operation had written.
    #[error("a vector was read before anything wrote it")]
    Unwritten,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of any size take the digits that they have.
    #[test]
    fn numbers_in_messages_are_short() {
        let cases = [
            (1e-300, "1e-300"),
            (-2.5e-17, "-2.5e-17"),
            (0.001, "0.001"),
            (0.0, "0"),
            (3.0, "3"),
            (1.5e200, "1.5e200"),
            (1e15, "1000000000000000"),
            (f64::INFINITY, "inf"),
        ];
        for (value, expected) in cases {
            assert_eq!(short(value), expected);
            let error = Error::Parameter { name: "rho", value, expected: "another number" };
            assert_eq!(error.to_string(), format!("rho is {expected}: expected another number"));
        }
        let error = Error::MassMismatch { column: 0, source_mass: 1e-200, target_mass: 2e-200, tolerance: 1e-14 };
        assert!(error.to_string().contains("mass 1e-200, the target 2e-200"), "{error}");
    }
}
