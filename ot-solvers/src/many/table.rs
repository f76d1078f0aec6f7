//! The values of all pairs, by their names.

use std::fmt;

use ot_core::{PlanEntry, Side, Status, error::short};

use super::layout::Layout;
use crate::exact::SparsePlan;

/// What is known of one pair.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct PairValue {
    /// What the [method](super::Method) computes.
    pub value: f64,
    /// <P, C>, of methods that have a plan and a cost.
    pub transport_cost: Option<f64>,
    /// An upper bound of what the value is off by, of methods that prove one.
    pub gap: Option<f64>,
    /// Why the solve ended.
    pub status: Status,
}

impl fmt::Display for PairValue {
    /// One line for a log.
    ///
    /// ```
    /// # use ot_core::Status;
    /// # use ot_solvers::many::PairValue;
    /// let pair = PairValue { value: 0.3, transport_cost: Some(0.25), gap: Some(1e-9), status: Status::Converged };
    /// assert_eq!(pair.to_string(), "value 0.3 (gap 1.0e-9), <P, C> 0.25, converged");
    /// ```
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "value {}", short(self.value))?;
        if let Some(gap) = self.gap {
            write!(formatter, " (gap {gap:.1e})")?;
        }
        if let Some(cost) = self.transport_cost.filter(|cost| *cost != self.value) {
            write!(formatter, ", <P, C> {}", short(cost))?;
        }
        write!(formatter, ", {}", self.status)
    }
}

/// The potentials of a pair, source and target.
pub type PairPotentials = [Vec<f64>; 2];

/// A pair that was solved.
#[derive(Clone, Debug)]
pub(super) struct PairResult {
    pub(super) value: PairValue,
    pub(super) plan: Option<SparsePlan>,
    pub(super) potentials: Option<PairPotentials>,
}

impl PairResult {
    /// A value alone.
    pub(super) fn of(value: PairValue) -> Self {
        Self { value, plan: None, potentials: None }
    }

    /// That of the pair the other way round, without a plan.
    pub(super) fn turned(self) -> Self {
        Self { potentials: self.potentials.map(|[source, target]| [target, source]), plan: None, ..self }
    }
}

/// The table of all pairs: rows are sources, columns targets.
#[derive(Clone, Debug)]
pub struct PairTable {
    layout: Layout,
    /// `None` for a pair that was cancelled.
    results: Vec<Option<PairResult>>,
}

impl PairTable {
    pub(super) fn new(layout: Layout, results: Vec<Option<PairResult>>) -> Self {
        Self { layout, results }
    }

    /// Rows and columns.
    #[must_use]
    pub fn shape(&self) -> (usize, usize) {
        self.layout.shape()
    }

    /// All that is known of a pair but its plan and potentials; `None` outside the table, and for a pair that was cancelled.
    #[must_use]
    pub fn pair(&self, row: usize, column: usize) -> Option<&PairValue> {
        Some(&self.result(row, column)?.0.value)
    }

    /// The value of a pair.
    #[must_use]
    pub fn value(&self, row: usize, column: usize) -> Option<f64> {
        Some(self.pair(row, column)?.value)
    }

    /// Why the solve of a pair ended; `None` outside the table.
    #[must_use]
    pub fn status(&self, row: usize, column: usize) -> Option<Status> {
        let (place, _) = self.layout.place(row, column)?;
        Some(status(&self.results[place]))
    }

    /// <P, C> of a pair; `None` outside the table, for a pair that was cancelled, and of methods that have none.
    #[must_use]
    pub fn transport_cost(&self, row: usize, column: usize) -> Option<f64> {
        self.pair(row, column)?.transport_cost
    }

    /// The p-th root of the value of a pair: see [`distances`](Self::distances).
    #[must_use]
    pub fn distance(&self, row: usize, column: usize, p: f64) -> Option<f64> {
        Some(root(self.value(row, column)?, p))
    }

    /// The gap of a pair; `None` outside the table, for a pair that was cancelled, and of methods that prove none.
    #[must_use]
    pub fn gap(&self, row: usize, column: usize) -> Option<f64> {
        self.pair(row, column)?.gap
    }

    /// The pairs that have not converged, by row and column, with the reason, in order; of a symmetric table each once.
    pub fn unconverged(&self) -> impl Iterator<Item = ((usize, usize), Status)> {
        let cells = self.layout.pairs().into_iter().zip(&self.results);
        let cells = cells.map(|(pair, result)| (self.layout.cell(pair), status(result)));
        cells.filter(|(_, status)| !status.is_converged())
    }

    /// All values, row after row; `None` if a pair was cancelled.
    #[must_use]
    pub fn values(&self) -> Option<Vec<f64>> {
        self.cells(|pair| Some(pair.value))
    }

    /// <P, C> of all pairs, row after row; `None` if a pair was cancelled, or if the method has none.
    #[must_use]
    pub fn transport_costs(&self) -> Option<Vec<f64>> {
        self.cells(|pair| pair.transport_cost)
    }

    /// The p-th roots of all values, row after row: W_p for exact transport at the cost |x - y|^p. A value below zero, which
    /// rounding may leave of equal measures, counts as zero. `None` if a pair was cancelled.
    #[must_use]
    pub fn distances(&self, p: f64) -> Option<Vec<f64>> {
        self.cells(|pair| Some(root(pair.value, p)))
    }

    /// The gaps of all pairs, row after row; `None` if a pair was cancelled, or if the method proves none.
    #[must_use]
    pub fn gaps(&self) -> Option<Vec<f64>> {
        self.cells(|pair| pair.gap)
    }

    /// Has every pair converged?
    #[must_use]
    pub fn is_converged(&self) -> bool {
        self.results.iter().all(|result| status(result).is_converged())
    }

    /// The plan of a pair, if plans were [kept](super::Many::keep_plans).
    #[must_use]
    pub fn plan(&self, row: usize, column: usize) -> Option<SparsePlan> {
        let (result, is_turned) = self.result(row, column)?;
        let plan = result.plan.as_ref()?;
        Some(if is_turned { turned(plan) } else { plan.clone() })
    }

    /// The potential of one side of a pair, if potentials were [kept](super::Many::keep_potentials).
    #[must_use]
    pub fn potential(&self, row: usize, column: usize, side: Side) -> Option<&[f64]> {
        let (result, is_turned) = self.result(row, column)?;
        let side = if is_turned { side.opposite() } else { side };
        Some(&result.potentials.as_ref()?[side.index()])
    }

    /// The result of a cell, and whether it was solved the other way round.
    fn result(&self, row: usize, column: usize) -> Option<(&PairResult, bool)> {
        let (place, is_turned) = self.layout.place(row, column)?;
        Some((self.results[place].as_ref()?, is_turned))
    }

    fn cells(&self, number: impl Fn(&PairValue) -> Option<f64>) -> Option<Vec<f64>> {
        let (rows, columns) = self.shape();
        let cell = |row: usize, column: usize| self.pair(row, column).and_then(&number);
        (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))).map(|(i, j)| cell(i, j)).collect()
    }
}

impl fmt::Display for PairTable {
    /// One line for a log: how many pairs converged, the range of the values, and the largest gap.
    ///
    /// ```
    /// use ot_core::{CostMatrix, Histogram};
    /// use ot_cpu::CpuBackend;
    /// use ot_solvers::many::{Method, pairwise};
    ///
    /// let cost = CostMatrix::new(vec![0.0, 2.0, 2.0, 0.0], 2, 2)?;
    /// let measures = [vec![0.5, 0.5], vec![0.25, 0.75]].map(Histogram::new);
    /// let measures = measures.into_iter().collect::<Result<Vec<_>, _>>()?;
    /// let table = pairwise(&CpuBackend::<f64>::new(1)?, &measures, &cost, &Method::exact()).solve()?;
    /// assert!(table.to_string().starts_with("2 x 2, 3 of 3 pairs converged, values 0 to 0.5, largest gap "));
    /// assert_eq!(table.unconverged().count(), 0);
    /// # Ok::<(), ot_core::Error>(())
    /// ```
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, columns) = self.shape();
        let (pairs, open) = (self.results.len(), self.unconverged().count());
        write!(formatter, "{rows} x {columns}, {} of {pairs} pairs converged", pairs - open)?;
        let values = || self.results.iter().flatten().map(|result| result.value.value);
        if let (Some(least), Some(largest)) = (values().reduce(f64::min), values().reduce(f64::max)) {
            write!(formatter, ", values {} to {}", short(least), short(largest))?;
        }
        match self.results.iter().flatten().filter_map(|result| result.value.gap).reduce(f64::max) {
            Some(gap) => write!(formatter, ", largest gap {gap:.1e}"),
            None => Ok(()),
        }
    }
}

/// Why the solve of a pair ended.
fn status(result: &Option<PairResult>) -> Status {
    result.as_ref().map_or(Status::Cancelled, |result| result.value.status)
}

/// The p-th root; rounding below zero counts as zero.
fn root(value: f64, p: f64) -> f64 {
    value.max(0.0).powf(p.recip())
}

/// P^T.
fn turned(plan: &SparsePlan) -> SparsePlan {
    let (rows, columns) = plan.shape();
    let turn = |entry: &PlanEntry| PlanEntry { source: entry.target, target: entry.source, mass: entry.mass };
    let mut turned = SparsePlan::blank();
    turned.refill(columns, rows, plan.entries().iter().map(turn));
    turned
}
