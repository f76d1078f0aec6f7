//! The shift for any pair of penalties: the root of a falling function of one unknown.
//!
//! The conjugate subdifferential of a penalty at -f is an interval of densities: a point where the penalty is smooth, and jumps where it has
//! a kink. With the masses [low_a, high_a] and [low_b, high_b] of the subdifferentials at a shift lambda,
//!
//! ```text
//! low_a > high_b: lambda is too small        high_a < low_b: lambda is too large        else: lambda is best
//! ```
//!
//! Where a slope is known, the next lambda is Newton's for log m_a(lambda) = log m_b(lambda), which is nearly linear for
//! penalties of the kind of entropies. Where it leads out of the bracket, or where the masses are constant between kinks, the
//! bracket is widened eightfold until it holds the root, and then halved.
//!
//! The host sees none of it. It gives a number of steps, many at the first call and few at later ones, which start from
//! the shift of those before. What is returned is a point of Newton's within the bracket once its steps contract,
//! or else the end of the bracket towards which the dual is known to rise.

use crate::{
    backend::{Device, Fold, Operand},
    dual::Dual,
    error::Error,
    kernel::Potentials,
    penalty::RecordedPenalty,
    problem::Problem,
    program::{Program, ProgramError},
    real::Real,
    scalar::Scalar,
    side::Side,
};

/// Steps at the first call; half as many at every further one.
const FIRST_STEPS: u32 = 48;

/// The fewest steps of a call.
const LEAST_STEPS: u32 = 2;

/// Every so many steps the bracket is halved whatever Newton says: the masses may jump.
const HALVING_INTERVAL: u32 = 3;

/// How much a step widens a bracket that does not hold the root yet.
const WIDENING: f64 = 8.0;

/// The longest shift in units of epsilon.
const LONGEST: f64 = 1e15;

/// What stands for infinity.
const HUGE: f64 = 1e30;

/// The solve for one problem.
#[derive(Debug)]
pub(super) struct MonotoneSolve<D: Device> {
    sides: [SubdifferentialMass<D>; 2],
    no_shift: Program,
    begin: Program,
    advance: Program,
    /// The ends of the bracket: the shift known to be an ascent, and the one beyond the best or the last one allowed.
    near: D::Reduced,
    far: D::Reduced,
    /// How far the next step goes while the bracket does not hold the root; zero once it does.
    width: D::Reduced,
    steps: u32,
}

impl<D: Device> MonotoneSolve<D> {
    pub(super) fn new(problem: &Problem<D>) -> Result<Self, Error> {
        let number = || problem.backend().alloc_reduced(problem.columns());
        let side = |side, sign| SubdifferentialMass::new(problem, side, sign);
        let tolerance = 16.0 * <D::Elem as Scalar>::EPSILON;
        Ok(Self {
            sides: [side(Side::Source, 1.0)?, side(Side::Target, -1.0)?],
            no_shift: Program::record(|[_epsilon]| [Real::constant(0.0)])?,
            begin: Program::record(|inputs| begin(inputs, tolerance))?,
            advance: Program::record(|inputs| advance(inputs, tolerance))?,
            near: number()?,
            far: number()?,
            width: number()?,
            steps: FIRST_STEPS,
        })
    }

    /// A shift of every column that raises the dual, the best one if the steps of this call lead there.
    pub(super) fn find(
        &mut self,
        problem: &Problem<D>,
        potentials: &Potentials<D>,
        shift: &mut D::Reduced,
    ) -> Result<(), Error> {
        let backend = problem.backend();
        let epsilon = Operand::Constant(problem.epsilon());
        backend.map_reduced(&self.no_shift, &[epsilon], &mut [&mut *shift])?;
        for side in &mut self.sides {
            side.find_limits(problem, potentials)?;
        }
        for step in 0..self.steps {
            for side in &mut self.sides {
                side.find_masses(problem, potentials, shift)?;
            }
            let [source, target] = &self.sides;
            let [low_a, high_a, slope_a] = source.masses.each_ref().map(Operand::Reduced);
            let [low_b, high_b, slope_b] = target.masses.each_ref().map(Operand::Reduced);
            if step == 0 {
                // f + lambda is held within the bounds of one penalty, g - lambda within those of the other.
                let [lowest_f, highest_f] = source.limits.each_ref().map(Operand::Reduced);
                let [lowest_g, highest_g] = target.limits.each_ref().map(Operand::Reduced);
                let operands = [low_a, high_a, low_b, high_b, lowest_f, highest_f, lowest_g, highest_g, epsilon];
                let state = &mut [&mut self.near, &mut self.far, &mut self.width];
                backend.map_reduced(&self.begin, &operands, state)?;
            }
            let state = [0, 1, 2, 3].map(Operand::Output);
            let halve = Operand::Constant(f64::from(u8::from((step + 1).is_multiple_of(HALVING_INTERVAL))));
            let last = Operand::Constant(f64::from(u8::from(step + 1 == self.steps)));
            let [shift_now, near, far, width] = state;
            let operands = [low_a, high_a, slope_a, low_b, high_b, slope_b, shift_now, near, far, width, halve, last];
            let outputs = &mut [&mut *shift, &mut self.near, &mut self.far, &mut self.width];
            backend.map_reduced(&self.advance, &operands, outputs)?;
        }
        self.steps = (self.steps / 2).max(LEAST_STEPS);
        Ok(())
    }
}

/// Is lambda too small, is it too large: positive numbers where it is, by more than `noise`.
fn imbalance<R: Real>([low_a, high_a, low_b, high_b]: [R; 4], tolerance: f64, noise: R) -> [R; 2] {
    let slack = 1.0 + tolerance;
    [low_a - high_b * slack - noise, low_b - high_a * slack - noise]
}

/// The first bracket, from no shift to the last one allowed in the direction of ascent.
fn begin<R: Real>(inputs: [R; 9], tolerance: f64) -> [R; 3] {
    let [low_a, high_a, low_b, high_b, lowest_f, highest_f, lowest_g, highest_g, epsilon] = inputs;
    let zero = R::constant(0.0);
    let longest = (LONGEST * epsilon).min(HUGE);
    let [rightmost, leftmost] = [highest_f.min(-lowest_g), lowest_f.max(-highest_g)];
    let right = rightmost.min(longest).max(zero);
    let left = leftmost.max(-longest).min(zero);
    let [too_small, too_large] = imbalance([low_a, high_a, low_b, high_b], tolerance, zero);
    [zero, too_small.select(right, too_large.select(left, zero)), epsilon]
}

/// The next shift and bracket, from the masses at this one.
fn advance<R: Real>(inputs: [R; 12], tolerance: f64) -> [R; 4] {
    let [low_a, high_a, slope_a, low_b, high_b, slope_b, shift, near, far, width, halve, last] = inputs;
    let [zero, one] = [0.0, 1.0].map(R::constant);
    // What the last bits of lambda change, no step makes equal.
    let noise = shift.abs() * (slope_b - slope_a) * (0.125 * tolerance);
    let [too_small, too_large] = imbalance([low_a, high_a, low_b, high_b], tolerance, noise);
    let ascent = too_small.select(one, too_large.select(-one, zero));

    let step = (shift - near).abs();
    let onwards = ascent * (far - near);
    let near = onwards.select(shift, ascent.abs().select(near, shift));
    let far = onwards.select(far, shift);
    let width = onwards.select(width, zero);

    let tiny = R::constant(1.0 / HUGE);
    let mass_a = ascent.select(low_a, high_a).max(tiny);
    let mass_b = ascent.select(high_b, low_b).max(tiny);
    let fall = slope_b / mass_b - slope_a / mass_a;
    let newton = fall.select(shift + (mass_a.ln() - mass_b.ln()) / fall, shift);
    let inside = (newton - near) * (far - newton);
    let halved = (near + far) * 0.5;
    let widened = ascent.select((near + width).min(far), (near - width).max(far));
    let searched = width.select(widened, halved);
    let next = inside.select((halve - width).select(searched, newton), searched);
    // What is not tried any more is believed where Newton's steps have begun to contract.
    let contracts = step * 0.5 - (newton - shift).abs();
    let final_shift = contracts.select(inside.select(newton, near), near);
    [ascent.abs().select(last.select(final_shift, next), shift), near, far, width * WIDENING]
}

/// The mass of one side in the conjugate subdifferential of its penalty at a shift, with its slope.
#[derive(Debug)]
struct SubdifferentialMass<D: Device> {
    side: Side,
    program: Program,
    bounds: [Program; 2],
    /// The least and the largest mass, and the slope of the least in lambda.
    masses: [D::Reduced; 3],
    /// By how much this side's potentials may fall (a number that is not positive) and rise.
    limits: [D::Reduced; 2],
}

impl<D: Device> SubdifferentialMass<D> {
    /// `sign` is that of lambda in the shift of this side's potential.
    fn new(problem: &Problem<D>, side: Side, sign: f64) -> Result<Self, Error> {
        let number = || problem.backend().alloc_reduced(problem.columns());
        let penalty = problem.marginal(side).penalty();
        let [low, high] = penalty.potential_bounds();
        let bound =
            |bound: f64, infinite: f64| Program::record(|[f, a]| [a.select(bound.clamp(-HUGE, HUGE) - f, infinite)]);
        Ok(Self {
            side,
            program: mass_program(penalty, sign)?,
            bounds: [bound(low, -HUGE)?, bound(high, HUGE)?],
            masses: [number()?, number()?, number()?],
            limits: [number()?, number()?],
        })
    }

    fn find_limits(&mut self, problem: &Problem<D>, potentials: &Potentials<D>) -> Result<(), Error> {
        let marginal = problem.marginal(self.side);
        let operands = [Operand::Vector(potentials.side(self.side)), Operand::Vector(marginal.weights())];
        let [fall, rise] = &mut self.limits;
        for (program, fold, limit) in [(&self.bounds[0], Fold::Max, fall), (&self.bounds[1], Fold::Min, rise)] {
            problem.backend().reduce(program, fold, marginal.len(), &operands, &mut [limit])?;
        }
        Ok(())
    }

    fn find_masses(
        &mut self,
        problem: &Problem<D>,
        potentials: &Potentials<D>,
        shift: &D::Reduced,
    ) -> Result<(), Error> {
        let marginal = problem.marginal(self.side);
        let operands = [
            Operand::Vector(potentials.side(self.side)),
            Operand::Vector(marginal.weights()),
            Operand::Reduced(shift),
            Operand::Constant(problem.epsilon()),
        ];
        let [low, high, slope] = &mut self.masses;
        problem.backend().reduce(&self.program, Fold::Sum, marginal.len(), &operands, &mut [low, high, slope])
    }
}

/// (f, a, lambda, epsilon) to a times the conjugate subdifferential at -(f + sign lambda), [low, high], and d low / d lambda.
fn mass_program(penalty: &RecordedPenalty, sign: f64) -> Result<Program, ProgramError> {
    let subdifferential = penalty.conjugate_subdifferential();
    Program::try_record(|[f, a, lambda, epsilon]| {
        let sign = Real::constant(sign);
        let [low, high] = subdifferential.call([Dual::new(f + sign * lambda, sign), Dual::constant(epsilon)])?;
        let weighted = |value| a.select(a * value, 0.0);
        Ok([weighted(low.value), weighted(high.value), weighted(low.derivative)])
    })
}
