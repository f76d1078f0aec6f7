//! One unknown measure in the course of an iteration: the projection onto plans that agree on it.
//!
//! The best potentials of all ends of p, for given potentials of the other ends, are
//!
//! ```text
//! g_k = s_k - s,      s = sum_k lambda_k s_k / sum_k lambda_k,      p = m exp(-s / epsilon)
//! ```
//!
//! with the softmins s_k: p is the weighted geometric mean of the marginals. An over-relaxed half-step of each end on its
//! own, as towards the marginal m, followed by the subtraction of the mean, is the over-relaxed step towards these. So any
//! kernel's own sweep serves.

use ot_core::{Backend, Device, End, Error, Fold, JointProblem, LOG_ZERO, Marginal, Operand, Program, Real, Side};

use super::group::{Group, sum_of_terms};

/// The state of one unknown measure.
#[derive(Debug)]
pub(super) struct Unknown<'a, D: Device> {
    backend: &'a dyn Backend<D>,
    /// The reference m.
    reference: &'a Marginal<D>,
    columns: usize,
    ends: Vec<Ends<D>>,
    /// The mass of the reference in each column: that of p where a given end prescribes it.
    mass: D::Reduced,
    is_prescribed: bool,
    /// sum_k part_k g_k.
    mean: D::Vector,
    /// The part of a group of several terms in the mean.
    part: D::Vector,
    /// The masses of the atoms, after a projection.
    masses: D::Vector,
    programs: Programs,
}

/// Where the measure stands in one group.
#[derive(Debug)]
struct Ends<D: Device> {
    group: usize,
    side: Side,
    parts: Parts<D>,
    /// Residuals of the marginals, for each column of the group, where a check wants them.
    residuals: D::Reduced,
}

/// lambda of each end over their sum, for each column.
#[derive(Debug)]
enum Parts<D: Device> {
    /// Of a single term.
    Single(D::Reduced),
    /// Of several: the matrix that makes their part of the mean of their potentials.
    Several(Vec<f64>),
}

/// The formulas of a projection.
#[derive(Debug)]
struct Programs {
    /// (g, part) to part g.
    first: Program,
    /// (sum, g, part) to sum + part g.
    next: Program,
    /// (sum, x) to sum + x.
    add: Program,
    /// (g, mean, omega) to g - mean, and g where omega is 0.
    centre: Program,
    /// (moved g, entering g, moved mean, m, omega, epsilon) to m |density of the plan - density of p|.
    residual: Program,
    /// (s_k, s) to s_k - s.
    subtract: Program,
    /// (s, log m) to s where m > 0.
    reached: Program,
    /// (s, log m, shift, epsilon) to m exp((shift - s) / epsilon), and to 0 where m is 0, whatever s is there.
    mass: Program,
    /// (p, sum of p, mass) to p scaled to the mass.
    scale: Program,
    /// p to p.
    identity: Program,
}

impl Programs {
    /// For numbers up to this one.
    fn record(largest: f64) -> Result<Self, Error> {
        let highest = largest.ln();
        Ok(Self {
            first: Program::record(|[g, part]| [part * g])?,
            next: Program::record(|[sum, g, part]| [sum + part * g])?,
            add: Program::record(|[sum, x]| [sum + x])?,
            centre: Program::record(|[g, mean, omega]| [g - omega.select(mean, 0.0)])?,
            residual: Program::record(|[moved, entering, mean, m, omega, epsilon]| {
                [m.select(m * (density(moved - entering, omega, epsilon) - density(mean, omega, epsilon)).abs(), 0.0)]
            })?,
            subtract: Program::record(|[own, mean]| [own - mean])?,
            reached: Program::record(|[s, log_m]| [(log_m - 0.5 * LOG_ZERO).select(s, largest)])?,
            mass: Program::record(move |[s, log_m, shift, epsilon]| {
                let mass = ((shift - s) / epsilon + log_m).min(highest).exp();
                [(log_m - 0.5 * LOG_ZERO).select(mass, 0.0)]
            })?,
            scale: Program::record(|[p, sum, mass]| [p * (mass / sum)])?,
            identity: Program::record(|[p]| [p])?,
        })
    }
}

/// exp(-step / (omega epsilon)), the density at the end of a step of this length, within what both element types hold.
fn density<R: Real>(step: R, omega: R, epsilon: R) -> R {
    (-omega.select(step / omega, 0.0) / epsilon).clamp(-80.0, 80.0).exp()
}

impl<'a, D: Device> Unknown<'a, D> {
    pub(super) fn new(problem: &'a JointProblem<D>, groups: &[Group<D>], measure: usize) -> Result<Self, Error> {
        let (columns, len, terms) = (problem.columns(), problem.unknown()[measure], problem.terms());
        let of_measure: Vec<(usize, Side)> = problem.ends_of(measure).collect();
        let (first, side) = of_measure[0];
        let (backend, reference) = (terms[first].problem.backend(), terms[first].problem.marginal(side));
        let total = |column: usize| of_measure.iter().map(|&(term, _)| terms[term].weight(column)).sum::<f64>();
        let totals: Vec<f64> = (0..columns).map(total).collect();
        let ends = |(group, side): (usize, Side)| -> Result<Ends<D>, Error> {
            let own = groups[group].terms();
            let part = |&term: &usize| (0..columns).map(|column| terms[term].weight(column) / totals[column]).collect();
            let parts: Vec<Vec<f64>> = own.iter().map(part).collect();
            let parts = match &parts[..] {
                [single] => Parts::Single(backend.upload_reduced(single)?),
                several => Parts::Several(sum_of_terms(columns, several.iter().flatten().copied())),
            };
            Ok(Ends { group, side, parts, residuals: backend.alloc_reduced(own.len() * columns)? })
        };
        let stands = |(index, group): (usize, &Group<D>)| {
            let mut sides = Side::BOTH.into_iter().zip(group.ends());
            sides.find(|(_, end)| *end == End::Unknown(measure)).map(|(side, _)| (index, side))
        };
        let masses: Vec<f64> = (0..columns).map(|column| reference.mass(column)).collect();
        Ok(Self {
            ends: groups.iter().enumerate().filter_map(stands).map(ends).collect::<Result<_, _>>()?,
            mass: backend.upload_reduced(&masses)?,
            is_prescribed: problem.has_balanced_end(),
            mean: backend.alloc(len, columns)?,
            part: backend.alloc(len, columns)?,
            masses: backend.filled(0.0, len, columns)?,
            programs: Programs::record(backend.range()[1])?,
            reference,
            backend,
            columns,
        })
    }

    /// The groups that it belongs to, and where it stands.
    pub(super) fn ends(&self) -> impl Iterator<Item = (usize, Side)> {
        self.ends.iter().map(|ends| (ends.group, ends.side))
    }

    /// Each group, and for each of its columns the residual of the marginal at the iterate that the last checked step entered
    /// with.
    pub(super) fn residuals(&self) -> impl Iterator<Item = (usize, &D::Reduced)> {
        self.ends.iter().map(|ends| (ends.group, &ends.residuals))
    }

    /// The reference measure.
    pub(super) fn reference(&self) -> &'a Marginal<D> {
        self.reference
    }

    /// The masses of the atoms after a [projection](Self::project).
    pub(super) fn masses(&self) -> &D::Vector {
        &self.masses
    }

    /// The mean of the potentials of the ends.
    pub(super) fn mean(&self) -> &D::Vector {
        &self.mean
    }

    /// The masses of the atoms, to be written, and their sum.
    pub(super) fn masses_and_mass(&mut self) -> (&mut D::Vector, &D::Reduced) {
        (&mut self.masses, &self.mass)
    }

    pub(super) fn into_masses(self) -> D::Vector {
        self.masses
    }

    /// One step: that of all ends, and the subtraction of the mean.
    pub(super) fn advance(&mut self, groups: &mut [Group<D>], at_check: bool, epsilon: f64) -> Result<(), Error> {
        self.step(groups, at_check)?;
        let Self { backend, ends, mean, programs, .. } = self;
        for Ends { group, side, residuals, .. } in ends {
            let (group, side) = (&mut groups[*group], *side);
            group.repeat(mean, side)?;
            let columns = group.columns_of_term();
            let mean = Operand::Vector(Group::spread(&group.scratch, mean, columns, side));
            let relaxation = Operand::Reduced(&group.relaxation);
            let potential = group.potentials.side_mut(side);
            if at_check {
                let marginal = group.problem.marginal(side);
                let operands = [
                    Operand::Vector(potential),
                    Operand::Vector(group.entering.side(side)),
                    mean,
                    Operand::Vector(marginal.weights()),
                    relaxation,
                    Operand::Constant(epsilon),
                ];
                backend.reduce(&programs.residual, Fold::Sum, marginal.len(), &operands, &mut [residuals])?;
            }
            backend.map(&programs.centre, &[Operand::Output(0), mean, relaxation], &mut [potential])?;
        }
        Ok(())
    }

    /// All ends on their own, the given ends of their terms before them, and their mean.
    pub(super) fn step(&mut self, groups: &mut [Group<D>], at_check: bool) -> Result<(), Error> {
        for (group, side) in self.ends() {
            groups[group].advance(side, at_check)?;
        }
        self.average(groups)
    }

    /// Subtracts the mean, so that the potentials cancel.
    pub(super) fn cancel(&mut self, groups: &mut [Group<D>]) -> Result<(), Error> {
        self.average(groups)?;
        add_to_ends(self.backend, &self.programs.subtract, self.ends(), &self.mean, groups)
    }

    /// Adds the same to the potentials of all ends, for each column.
    pub(super) fn add(&self, vector: &D::Vector, groups: &mut [Group<D>]) -> Result<(), Error> {
        add_to_ends(self.backend, &self.programs.add, self.ends(), vector, groups)
    }

    /// The exact step, after which each plan has the marginal p, and p itself.
    pub(super) fn project(&mut self, groups: &mut [Group<D>], epsilon: f64) -> Result<(), Error> {
        for (group, side) in self.ends() {
            groups[group].transform(side)?;
            groups[group].accept(side)?;
        }
        self.cancel(groups)?;
        self.weigh(epsilon)
    }

    /// p = m exp(-s / epsilon), of the mass that is prescribed, if one is.
    fn weigh(&mut self, epsilon: f64) -> Result<(), Error> {
        let Self { backend, reference, columns, mass, mean, masses, programs, .. } = self;
        let [s, log_m] = [&*mean, reference.log_weights()].map(Operand::Vector);
        if !self.is_prescribed {
            let operands = [s, log_m, Operand::Constant(0.0), Operand::Constant(epsilon)];
            return backend.map(&programs.mass, &operands, &mut [masses]);
        }
        let (mut least, mut sum) = (backend.alloc_reduced(*columns)?, backend.alloc_reduced(*columns)?);
        backend.reduce(&programs.reached, Fold::Min, reference.len(), &[s, log_m], &mut [&mut least])?;
        let operands = [s, log_m, Operand::Reduced(&least), Operand::Constant(epsilon)];
        backend.map(&programs.mass, &operands, &mut [masses])?;
        backend.reduce(&programs.identity, Fold::Sum, reference.len(), &[Operand::Vector(masses)], &mut [&mut sum])?;
        let operands = [Operand::Output(0), Operand::Reduced(&sum), Operand::Reduced(mass)];
        backend.map(&programs.scale, &operands, &mut [masses])
    }

    /// sum_k part_k g_k over the ends.
    fn average(&mut self, groups: &[Group<D>]) -> Result<(), Error> {
        let Self { backend, ends, mean, part, programs, .. } = self;
        for (index, Ends { group, side, parts, .. }) in ends.iter().enumerate() {
            let potential = groups[*group].potentials.side(*side);
            match (parts, index) {
                (Parts::Single(parts), 0) => {
                    let operands = [Operand::Vector(potential), Operand::Reduced(parts)];
                    backend.map(&programs.first, &operands, &mut [mean])?;
                }
                (Parts::Single(parts), _) => {
                    let operands = [Operand::Output(0), Operand::Vector(potential), Operand::Reduced(parts)];
                    backend.map(&programs.next, &operands, &mut [mean])?;
                }
                (Parts::Several(matrix), 0) => backend.mix(potential, matrix, mean)?,
                (Parts::Several(matrix), _) => {
                    backend.mix(potential, matrix, part)?;
                    backend.map(&programs.add, &[Operand::Output(0), Operand::Vector(part)], &mut [mean])?;
                }
            }
        }
        Ok(())
    }
}

/// program(potential, vector) in the place of the potentials of all ends.
fn add_to_ends<D: Device>(
    backend: &dyn Backend<D>,
    program: &Program,
    ends: impl Iterator<Item = (usize, Side)>,
    vector: &D::Vector,
    groups: &mut [Group<D>],
) -> Result<(), Error> {
    for (group, side) in ends {
        let group = &mut groups[group];
        group.repeat(vector, side)?;
        let columns = group.columns_of_term();
        let operands = [Operand::Output(0), Operand::Vector(Group::spread(&group.scratch, vector, columns, side))];
        backend.map(program, &operands, &mut [group.potentials.side_mut(side)])?;
    }
    Ok(())
}
