//! Limited-memory quasi-Newton ascent (Nocedal 1980; Liu, Nocedal 1989) over the vectors of a backend.
//!
//! Columns of a batch are climbed side by side, each with its own step: inner products, curvatures and the two loops
//! stay on the device, and a trial costs one evaluation and one read. Steps meet the weak conditions of Wolfe
//! (Armijo's rise, and a slope that has fallen), within brackets cut by the secant of the slopes, which is exact where
//! the objective is quadratic; so kinks do no harm (Lewis, Overton 2013).

use std::ops::ControlFlow;

use ot_core::{Backend, Device, Error, Fold, Operand, Program, Real, Recorder, Status};

use super::ConcaveObjective;
use crate::limits::{Limits, at_least_one};

/// Settings of the ascent.
#[derive(Clone, Debug, PartialEq)]
pub struct Lbfgs {
    memory: usize,
    limits: Limits,
}

/// Where an ascent ended, column by column.
#[derive(Debug)]
pub struct Ascended<D: Device> {
    /// The blocks of variables.
    pub point: Vec<D::Vector>,
    /// Values.
    pub values: Vec<f64>,
    /// sum_k w_k |gradient_k| over all blocks.
    pub gradients: Vec<f64>,
    /// Why each column stopped.
    pub statuses: Vec<Status>,
    /// Iterations.
    pub iterations: usize,
    /// Evaluations of the objective.
    pub evaluations: usize,
}

/// The observer of every iteration: it gets its number, the values and the sizes of the gradients of all columns. A break ends
/// the ascent.
pub type Watch<'a> = dyn FnMut(usize, &[f64], &[f64]) -> ControlFlow<()> + 'a;

impl Default for Lbfgs {
    fn default() -> Self {
        Self::new()
    }
}

/// The sum of w |gradient| at which a column has converged by default.
const TOLERANCE: f64 = 1e-6;

/// The part of the slope that a rise must keep.
const RISE: f64 = 1e-4;

/// The part of the slope that may be left.
const SLOPE: f64 = 0.9;

/// Pairs of memory that are there from the start; more are made as they are needed.
const FIRST_PAIRS: usize = 32;

/// Trials of one line search.
const TRIALS: usize = 30;

impl Lbfgs {
    /// Ten pairs of memory, 1000 iterations, gradients to 1e-6.
    #[must_use]
    pub fn new() -> Self {
        Self { memory: 10, limits: Limits::new("max_iterations", 1000) }
    }

    /// Pairs of steps and changes of the gradient that are remembered.
    #[must_use]
    pub fn memory(self, memory: usize) -> Self {
        Self { memory, ..self }
    }

    /// The most iterations.
    #[must_use]
    pub fn max_iterations(self, max_iterations: usize) -> Self {
        Self { limits: self.limits.most(max_iterations), ..self }
    }

    /// The sum of w |gradient| at which a column has converged.
    #[must_use]
    pub fn tolerance(self, tolerance: f64) -> Self {
        Self { limits: self.limits.tolerance(tolerance), ..self }
    }

    /// Climbs from a point. `scale` is what a unit of the gradient is worth as a step: the inverse of a typical
    /// curvature.
    ///
    /// # Errors
    /// [`Error::Parameter`] for settings out of range, [`Error::Length`] for blocks of another length than their weights,
    /// [`Error::OutOfMemory`], a failure of the device. Not converging
    /// is a [`Status`].
    pub fn maximize<D: Device, O: ConcaveObjective<D> + ?Sized>(
        &self,
        objective: &mut O,
        start: Vec<D::Vector>,
        scale: f64,
        observe: &mut Watch<'_>,
    ) -> Result<Ascended<D>, Error> {
        at_least_one("memory", self.memory)?;
        self.limits.check()?;
        check_blocks(objective, &start)?;
        Climb::new(self, objective, start, scale)?.run(observe)
    }
}

/// Has every block a row for each weight and a column for each problem?
fn check_blocks<D: Device, O: ConcaveObjective<D> + ?Sized>(objective: &O, start: &[D::Vector]) -> Result<(), Error> {
    let backend = objective.backend();
    for (block, vector) in start.iter().enumerate() {
        let ((rows, columns), found) = (backend.shape(objective.weights(block)), backend.shape(vector));
        let expected = (rows, objective.columns());
        if found != expected || ![1, expected.1].contains(&columns) {
            let [expected, found] = [expected, found].map(|(rows, columns)| rows * columns);
            return Err(Error::Length { what: "a block of variables", expected, found });
        }
    }
    Ok(())
}

/// One ascent.
struct Climb<'a, D: Device, O: ?Sized> {
    settings: &'a Lbfgs,
    objective: &'a mut O,
    scale: f64,
    point: Vec<D::Vector>,
    gradient: Vec<D::Vector>,
    direction: Vec<D::Vector>,
    trial: Vec<D::Vector>,
    trial_gradient: Vec<D::Vector>,
    memory: Vec<Pair<D>>,
    /// Pairs in use, newest last, as places of `memory`.
    order: Vec<usize>,
    numbers: Numbers<D>,
    programs: Programs,
    columns: Vec<Column>,
    evaluations: usize,
}

/// A step s and how the gradient fell along it, y.
struct Pair<D: Device> {
    step: Vec<D::Vector>,
    fall: Vec<D::Vector>,
    /// 1 / <s, y>, and 0 for a column that has not moved.
    inverse: D::Reduced,
    alpha: D::Reduced,
}

impl<D: Device> Pair<D> {
    /// Memory for a pair of steps between points like this one.
    fn new(backend: &dyn Backend<D>, point: &[D::Vector], columns: usize) -> Result<Self, Error> {
        let alloc = || -> Result<Vec<D::Vector>, Error> {
            point.iter().map(|block| backend.alloc(backend.shape(block).0, columns)).collect()
        };
        let (step, fall) = (alloc()?, alloc()?);
        Ok(Self { step, fall, inverse: backend.alloc_reduced(columns)?, alpha: backend.alloc_reduced(columns)? })
    }
}

/// Reduced vectors at work.
struct Numbers<D: Device> {
    value: D::Reduced,
    slope: D::Reduced,
    size: D::Reduced,
    part: D::Reduced,
    beta: D::Reduced,
    gamma: D::Reduced,
    length: D::Reduced,
}

struct Programs {
    product: Program,
    size: Program,
    add: Program,
    add_multiple: Program,
    subtract_multiple: Program,
    multiply: Program,
    difference: Program,
    inverse: Program,
    ratio: Program,
    times: Program,
    minus: Program,
}

/// What the host knows of one column.
#[derive(Clone, Copy, Debug)]
struct Column {
    value: f64,
    slope: f64,
    size: f64,
    search: Search,
    rest: Option<Status>,
}

/// The line search of one column.
#[derive(Clone, Copy, Debug)]
struct Search {
    length: f64,
    /// The ends of the bracket and the slopes there.
    low: (f64, f64),
    high: Option<(f64, f64)>,
    accepted: bool,
}

impl<'a, D: Device, O: ConcaveObjective<D> + ?Sized> Climb<'a, D, O> {
    fn new(settings: &'a Lbfgs, objective: &'a mut O, start: Vec<D::Vector>, scale: f64) -> Result<Self, Error> {
        let (backend, columns) = (objective.backend(), objective.columns());
        let alloc = || -> Result<Vec<D::Vector>, Error> {
            start.iter().map(|block| backend.alloc(backend.shape(block).0, columns)).collect()
        };
        let number = || backend.alloc_reduced(columns);
        let search = Search { length: 0.0, low: (0.0, 0.0), high: None, accepted: true };
        Ok(Self {
            scale,
            gradient: alloc()?,
            direction: alloc()?,
            trial: alloc()?,
            trial_gradient: alloc()?,
            memory: (0..settings.memory.min(FIRST_PAIRS))
                .map(|_| Pair::new(backend, &start, columns))
                .collect::<Result<_, _>>()?,
            order: Vec::new(),
            numbers: Numbers {
                value: number()?,
                slope: number()?,
                size: number()?,
                part: number()?,
                beta: number()?,
                gamma: number()?,
                length: number()?,
            },
            programs: Programs::record()?,
            columns: vec![Column { value: f64::NAN, slope: 0.0, size: f64::NAN, search, rest: None }; columns],
            evaluations: 0,
            point: start,
            settings,
            objective,
        })
    }

    fn run(mut self, observe: &mut Watch<'_>) -> Result<Ascended<D>, Error> {
        self.objective.evaluate(&self.point, &mut self.gradient, &mut self.numbers.value)?;
        self.evaluations += 1;
        self.reset_direction()?;
        self.measure(false)?;
        let read = self.read()?;
        for (index, column) in self.columns.iter_mut().enumerate() {
            (column.value, column.size) = (read[0][index], read[2][index]);
        }
        let tolerance = self.settings.limits.tolerance_or(TOLERANCE);
        let mut iterations = 0;
        let mut fresh = false;
        loop {
            let (values, sizes): (Vec<f64>, Vec<f64>) = self.columns.iter().map(|c| (c.value, c.size)).unzip();
            for column in self.columns.iter_mut().filter(|column| column.rest.is_none()) {
                column.rest = match column {
                    Column { value, size, .. } if !(value.is_finite() && size.is_finite()) => Some(Status::NotFinite),
                    Column { size, .. } if *size <= tolerance => Some(Status::Converged),
                    _ if iterations >= self.settings.limits.most => Some(Status::IterationLimit),
                    _ => None,
                };
            }
            if observe(iterations, &values, &sizes).is_break() {
                let still = self.columns.iter_mut().filter(|column| column.rest.is_none());
                still.for_each(|column| column.rest = Some(Status::Cancelled));
            }
            if self.columns.iter().all(|column| column.rest.is_some()) {
                return Ok(Ascended {
                    point: self.point,
                    values,
                    gradients: sizes,
                    statuses: self.columns.iter().map(|column| column.rest.unwrap_or(Status::Stalled)).collect(),
                    iterations,
                    evaluations: self.evaluations,
                });
            }
            iterations += 1;
            self.turn()?;
            let moved = self.search()?;
            if moved {
                fresh = false;
                self.remember()?;
            } else if fresh || self.order.is_empty() {
                let still = self.columns.iter_mut().filter(|column| column.rest.is_none());
                still.for_each(|column| column.rest = Some(Status::Stalled));
            } else {
                // The memory misleads: once more along the gradient.
                (fresh, self.order) = (true, Vec::new());
            }
        }
    }

    /// direction = gradient.
    fn reset_direction(&mut self) -> Result<(), Error> {
        let backend = self.objective.backend();
        for (gradient, direction) in self.gradient.iter().zip(&mut self.direction) {
            backend.copy(gradient, direction)?;
        }
        Ok(())
    }

    /// The direction by the two loops, and the slope of the objective along it.
    fn turn(&mut self) -> Result<(), Error> {
        self.reset_direction()?;
        let Self { objective, direction, memory, order, numbers, programs, .. } = self;
        let (objective, backend) = (&**objective, objective.backend());
        let Numbers { part, beta, gamma, slope, .. } = numbers;
        for &place in order.iter().rev() {
            let Pair { step, fall, inverse, alpha } = &mut memory[place];
            product(objective, programs, [step, direction], alpha, part)?;
            let operands = [Operand::Output(0), Operand::Reduced(inverse)];
            backend.map_reduced(&programs.times, &operands, &mut [alpha])?;
            for (fall, direction) in fall.iter().zip(direction.iter_mut()) {
                let operands = [Operand::Output(0), Operand::Reduced(alpha), Operand::Vector(fall)];
                backend.map(&programs.subtract_multiple, &operands, &mut [direction])?;
            }
        }
        for direction in direction.iter_mut() {
            let factor = if order.is_empty() { Operand::Constant(self.scale) } else { Operand::Reduced(gamma) };
            backend.map(&programs.multiply, &[Operand::Output(0), factor], &mut [direction])?;
        }
        for &place in order.iter() {
            let Pair { step, fall, inverse, alpha } = &memory[place];
            product(objective, programs, [fall, direction], beta, part)?;
            let operands = [Operand::Output(0), Operand::Reduced(inverse)];
            backend.map_reduced(&programs.times, &operands, &mut [&mut *beta])?;
            let operands = [Operand::Reduced(alpha), Operand::Output(0)];
            backend.map_reduced(&programs.minus, &operands, &mut [&mut *beta])?;
            for (step, direction) in step.iter().zip(direction.iter_mut()) {
                let operands = [Operand::Output(0), Operand::Reduced(beta), Operand::Vector(step)];
                backend.map(&programs.add_multiple, &operands, &mut [direction])?;
            }
        }
        product(objective, programs, [&self.gradient, direction], slope, part)
    }

    /// Moves every column that can rise. Says whether any did.
    fn search(&mut self) -> Result<bool, Error> {
        let slopes = self.objective.backend().read(&[&self.numbers.slope])?.swap_remove(0);
        for (column, slope) in self.columns.iter_mut().zip(slopes) {
            column.slope = slope;
            let moves = column.rest.is_none() && slope > 0.0 && slope.is_finite();
            let length = if moves { 1.0 } else { 0.0 };
            column.search = Search { length, low: (0.0, slope), high: None, accepted: !moves };
        }
        if self.columns.iter().all(|column| column.search.accepted) {
            return Ok(false);
        }
        let mut ends = vec![(0.0, 0.0); self.columns.len()];
        for _ in 0..TRIALS {
            self.try_lengths()?;
            self.measure(true)?;
            let read = self.read()?;
            for (index, column) in self.columns.iter_mut().enumerate() {
                ends[index] = (read[0][index], read[2][index]);
                column.judge(read[0][index], read[1][index]);
            }
            if self.columns.iter().all(|column| column.search.accepted) {
                break;
            }
        }
        let failed = self.columns.iter().filter(|column| !column.search.accepted).count();
        let moved = self.columns.iter().filter(|column| column.search.accepted && column.search.length > 0.0).count();
        if failed > 0 {
            // Columns that found no rise stay where they are.
            if moved == 0 {
                return Ok(false);
            }
            for column in self.columns.iter_mut().filter(|column| !column.search.accepted) {
                column.search.length = 0.0;
                column.rest = Some(Status::Stalled);
            }
            self.try_lengths()?;
        }
        for (column, (value, size)) in self.columns.iter_mut().zip(ends) {
            if column.search.length > 0.0 {
                (column.value, column.size) = (value, size);
            }
        }
        Ok(true)
    }

    /// Evaluates every column at the length that its search is at.
    fn try_lengths(&mut self) -> Result<(), Error> {
        let lengths: Vec<f64> = self.columns.iter().map(|column| column.search.length).collect();
        let backend = self.objective.backend();
        backend.write_reduced(&lengths, &mut self.numbers.length)?;
        for ((trial, point), direction) in self.trial.iter_mut().zip(&self.point).zip(&self.direction) {
            let length = Operand::Reduced(&self.numbers.length);
            let operands = [Operand::Vector(point), length, Operand::Vector(direction)];
            backend.map(&self.programs.add_multiple, &operands, &mut [trial])?;
        }
        self.evaluations += 1;
        self.objective.evaluate(&self.trial, &mut self.trial_gradient, &mut self.numbers.value)
    }

    /// Takes the trial for the point, and remembers the way to it.
    fn remember(&mut self) -> Result<(), Error> {
        let place = match self.order.len() {
            used if used < self.settings.memory => used,
            _ => self.order.remove(0),
        };
        self.order.push(place);
        let Self { objective, memory, programs, numbers, .. } = self;
        let (objective, backend) = (&**objective, objective.backend());
        if place == memory.len() {
            memory.push(Pair::new(backend, &self.point, objective.columns())?);
        }
        let Pair { step, fall, inverse, .. } = &mut memory[place];
        for (block, (step, fall)) in step.iter_mut().zip(fall.iter_mut()).enumerate() {
            let operands = [Operand::Vector(&self.trial[block]), Operand::Vector(&self.point[block])];
            backend.map(&programs.difference, &operands, &mut [step])?;
            let operands = [Operand::Vector(&self.gradient[block]), Operand::Vector(&self.trial_gradient[block])];
            backend.map(&programs.difference, &operands, &mut [fall])?;
        }
        // gamma = <s, y> / <y, y>
        product(objective, programs, [step, fall], inverse, &mut numbers.part)?;
        product(objective, programs, [fall, fall], &mut numbers.beta, &mut numbers.part)?;
        let operands = [Operand::Reduced(inverse), Operand::Reduced(&numbers.beta), Operand::Constant(self.scale)];
        backend.map_reduced(&programs.ratio, &operands, &mut [&mut numbers.gamma])?;
        backend.map_reduced(&programs.inverse, &[Operand::Output(0)], &mut [inverse])?;
        std::mem::swap(&mut self.point, &mut self.trial);
        std::mem::swap(&mut self.gradient, &mut self.trial_gradient);
        Ok(())
    }

    /// Slope along the direction and size of the gradient, of the trial or of the point.
    fn measure(&mut self, trial: bool) -> Result<(), Error> {
        let Self { objective, programs, numbers, .. } = self;
        let (objective, backend) = (&**objective, objective.backend());
        let gradient = if trial { &self.trial_gradient } else { &self.gradient };
        let Numbers { slope, size, part, .. } = numbers;
        product(objective, programs, [gradient, &self.direction], slope, part)?;
        for (block, gradient) in gradient.iter().enumerate() {
            let out = if block == 0 { &mut *size } else { &mut *part };
            let operands = [Operand::Vector(objective.weights(block)), Operand::Vector(gradient)];
            backend.reduce(&programs.size, Fold::Sum, backend.shape(gradient).0, &operands, &mut [out])?;
            if block > 0 {
                let operands = [Operand::Output(0), Operand::Reduced(part)];
                backend.map_reduced(&programs.add, &operands, &mut [&mut *size])?;
            }
        }
        Ok(())
    }

    /// Values, slopes and sizes.
    fn read(&self) -> Result<Vec<Vec<f64>>, Error> {
        let Numbers { value, slope, size, .. } = &self.numbers;
        self.objective.backend().read(&[value, slope, size])
    }
}

/// out = sum over blocks of <u, v>.
fn product<D: Device, O: ConcaveObjective<D> + ?Sized>(
    objective: &O,
    programs: &Programs,
    [u, v]: [&Vec<D::Vector>; 2],
    out: &mut D::Reduced,
    part: &mut D::Reduced,
) -> Result<(), Error> {
    let backend = objective.backend();
    for (block, (u, v)) in u.iter().zip(v).enumerate() {
        let into = if block == 0 { &mut *out } else { &mut *part };
        let operands = [objective.weights(block), u, v].map(Operand::Vector);
        backend.reduce(&programs.product, Fold::Sum, backend.shape(u).0, &operands, &mut [into])?;
        if block > 0 {
            let operands = [Operand::Output(0), Operand::Reduced(part)];
            backend.map_reduced(&programs.add, &operands, &mut [&mut *out])?;
        }
    }
    Ok(())
}

impl Column {
    /// Accepts a trial, or cuts the bracket.
    fn judge(&mut self, value: f64, slope: f64) {
        let Self { value: entering, slope: first, search, .. } = self;
        if search.accepted {
            return;
        }
        let rounding = 64.0 * f64::EPSILON * entering.abs();
        let rises = value >= *entering + RISE * search.length * *first - rounding;
        if !(rises && slope.is_finite()) {
            search.high = Some((search.length, if value.is_finite() && slope.is_finite() { slope } else { f64::NAN }));
        } else if slope > SLOPE * *first {
            search.low = (search.length, slope);
        } else {
            search.accepted = true;
            return;
        }
        search.length = match (search.low, search.high) {
            ((low, _), None) => 4.0 * low.max(search.length),
            ((low, slope), Some((high, other))) => {
                // Where the slopes tell of a maximum between the ends.
                let share = if other < 0.0 { slope / (slope - other) } else { 0.5 };
                low + share.clamp(0.05, 0.95) * (high - low)
            }
        };
    }
}

impl Programs {
    fn record() -> Result<Self, Error> {
        Ok(Self {
            product: Program::record(|[w, u, v]| [w * u * v])?,
            size: Program::record(|[w, u]| [w * u.abs()])?,
            add: Program::record(|[x, y]| [x + y])?,
            add_multiple: Program::record(|[x, t, d]| [x + t * d])?,
            subtract_multiple: Program::record(|[x, t, d]| [x - t * d])?,
            multiply: Program::record(|[x, t]| [x * t])?,
            difference: Program::record(|[x, y]| [x - y])?,
            inverse: Program::record(|[x]| [x.select(Recorder::constant(1.0) / x, Recorder::constant(0.0))])?,
            ratio: Program::record(|[x, y, otherwise]| [x.select(x / y, otherwise)])?,
            times: Program::record(|[x, y]| [x * y])?,
            minus: Program::record(|[x, y]| [x - y])?,
        })
    }
}
