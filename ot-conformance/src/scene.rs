//! The same question for a kernel and for the reference, and how far their answers may be apart.

use ot_core::{
    ActiveColumns, Balanced, Device, Entropy, Error, Free, Host, Kl, Range, Real, RecordedPenalty, RecordedRegularizer,
    Regularizer, RegularizerKind, Scalar, Side, SquaredL2, TotalVariation, penalty::KINK,
};

use crate::{
    case::GeometryCase,
    iterate::{Iterate, Setting},
    seeded::Seeded,
    verdict::{Trial, Verdict},
};

/// A kernel that is tried and the kernel of the reference, at one iterate.
pub(crate) struct Scene<'a, D: Device> {
    pub(crate) case: &'a GeometryCase<D>,
    pub(crate) setting: Setting,
    pub(crate) tested: Iterate<D>,
    pub(crate) reference: Iterate<Host<f64>>,
    tolerance: f64,
    /// The reference at potentials lower and higher by the tolerance.
    shifted: [Iterate<Host<f64>>; 2],
}

impl<'a, D: Device> Scene<'a, D> {
    /// Binds both kernels. `None` if the geometry has no kernel of the regularizer.
    pub(crate) fn new(case: &'a GeometryCase<D>, setting: Setting) -> Result<Option<Self>, Error> {
        let tested = match Iterate::new(case.geometry().as_ref(), &setting) {
            Err(Error::MissingCapability(_)) => return Ok(None),
            tested => tested?,
        };
        let reference = |setting: &Setting| Iterate::new(case.reference(), setting);
        let tolerance = tolerance(case, &setting);
        Ok(Some(Self {
            case,
            tested,
            reference: reference(&setting)?,
            tolerance,
            shifted: [reference(&setting.shifted(-tolerance))?, reference(&setting.shifted(tolerance))?],
            setting,
        }))
    }

    /// The scene of a balanced problem of entropy.
    pub(crate) fn balanced(case: &'a GeometryCase<D>, epsilon: f64, columns: usize) -> Result<Self, Error> {
        let scene = Self::new(case, setting(case, epsilon, columns)?)?;
        scene.ok_or(Error::MissingCapability("kernel of entropy"))
    }

    /// Puts other weights in the place of those that the kernels have met.
    pub(crate) fn set_weights(&mut self, weights: [Vec<f64>; 2]) -> Result<(), Error> {
        self.setting.weights = weights;
        self.tested.set_weights(&self.setting)?;
        for iterate in std::iter::once(&mut self.reference).chain(&mut self.shifted) {
            iterate.set_weights(&self.setting)?;
        }
        Ok(())
    }

    /// How far a potential may be off.
    pub(crate) fn tolerance(&self) -> f64 {
        self.tolerance
    }

    /// All columns.
    pub(crate) fn all(&self) -> ActiveColumns {
        ActiveColumns::all(self.setting.columns)
    }

    /// How far numbers may be off that never fall as the potentials rise, such as a mass: by the tolerance of the
    /// potentials, and by roundings of their own. What the element type cannot hold may vanish.
    pub(crate) fn slack(
        &mut self,
        mut question: impl FnMut(&mut Iterate<Host<f64>>) -> Result<Vec<f64>, Error>,
    ) -> Result<Vec<f64>, Error> {
        let [lower, higher] = &mut self.shifted;
        let (lower, higher, unit) = (question(lower)?, question(higher)?, self.case.unit());
        let slack = |(lower, higher): (&f64, &f64)| higher - lower + unit * higher.abs() + 1e3 * D::Elem::TINY;
        Ok(lower.iter().zip(&higher).map(slack).collect())
    }

    /// Are numbers found those of the reference? They must never fall as the potentials rise.
    pub(crate) fn compare(
        &mut self,
        trial: &Trial,
        what: &str,
        found: &[f64],
        mut question: impl FnMut(&mut Iterate<Host<f64>>) -> Result<Vec<f64>, Error>,
    ) -> Verdict {
        let expected = question(&mut self.reference)?;
        let slack = self.slack(question)?;
        trial.all_close(what, found, &expected, |index| slack[index])
    }

    /// Is a potential found that of the reference? Where columns are given, only these are looked at.
    pub(crate) fn compare_potential(
        &self,
        trial: &Trial,
        found: &[f64],
        expected: &[f64],
        columns: &ActiveColumns,
    ) -> Verdict {
        let rows = found.len() / columns.columns();
        for &column in columns.indices() {
            let of_column = column * rows..(column + 1) * rows;
            let expected = &expected[of_column.clone()];
            let tolerance = |row: usize| self.tolerance + self.case.unit() * expected[row].abs();
            trial.all_close(&format!("column {column}, row"), &found[of_column], expected, tolerance)?;
        }
        Ok(())
    }
}

/// Some epsilons, columns and penalties.
pub(crate) struct Scenes {
    /// Multiples of the mean cost.
    pub(crate) epsilons: &'static [f64],
    pub(crate) columns: usize,
    /// Other penalties beside the prescribed marginal?
    pub(crate) penalties: bool,
}

impl Scenes {
    /// Epsilons from far below the mean cost to far above it, and all penalties.
    pub(crate) const ALL: Self = Self { epsilons: &[1e-4, 1e-2, 0.1, 1.0, 1e2], columns: 2, penalties: true };
    /// Where a plan has entries of all sizes.
    pub(crate) const PLANS: Self = Self { epsilons: &[1e-3, 0.05, 1.0], columns: 2, penalties: false };
    /// Three columns that move differently, under all penalties.
    pub(crate) const SWEEPS: Self = Self { epsilons: &[1e-3, 0.05, 1.0], columns: 3, penalties: true };

    /// Tries a property in all of them, with kernels of all regularizers that the geometry has.
    pub(crate) fn for_each<D: Device>(
        &self,
        property: &'static str,
        case: &GeometryCase<D>,
        hold: impl Fn(&Trial, &mut Scene<'_, D>) -> Verdict,
    ) -> Verdict {
        let penalties = penalties(case.scale())?;
        for (index, epsilon) in case.epsilons(self.epsilons).into_iter().enumerate() {
            let setting = setting(case, epsilon, self.columns)?;
            for (offset, regularizer) in regularizers()?.into_iter().enumerate() {
                // Each penalty is on either side at one of five epsilons.
                let turn = index + offset;
                let pair = [turn, 2 * turn + 1].map(|index| penalties[index % penalties.len()].clone());
                let setting = Setting { regularizer, ..setting.clone() };
                let balanced = Some(setting.clone());
                let penalised = self.penalties.then_some(Setting { penalties: pair, ..setting });
                for setting in balanced.into_iter().chain(penalised) {
                    let [source, target] = setting.penalties.each_ref().map(RecordedPenalty::kind);
                    let trial = Trial::new(property, case.name()).at(format_args!(
                        "epsilon {epsilon:e}, {:?}, {source:?} and {target:?}",
                        setting.regularizer.kind()
                    ));
                    match Scene::new(case, setting)? {
                        Some(mut scene) => hold(&trial, &mut scene)?,
                        None => break,
                    }
                }
            }
        }
        Ok(())
    }
}

/// The penalties that are shipped, of the strength of a part of the costs.
fn penalties(scale: f64) -> Result<[RecordedPenalty; 5], Error> {
    Ok([
        RecordedPenalty::new(&Balanced)?,
        RecordedPenalty::new(&Kl::new(0.3 * scale)?)?,
        RecordedPenalty::new(&TotalVariation::new(0.3 * scale)?)?,
        RecordedPenalty::new(&Range::new(0.7, 1.2)?)?,
        RecordedPenalty::new(&Free)?,
    ])
}

/// Entropy, squares, and one that kernels know by its formulas alone.
pub(crate) fn regularizers() -> Result<[RecordedRegularizer; 3], Error> {
    Ok([
        RecordedRegularizer::new(&Entropy)?,
        RecordedRegularizer::new(&SquaredL2)?,
        RecordedRegularizer::new(&Tsallis)?,
    ])
}

/// h(p) = 2 (p^(3/2) - p): Tsallis entropy of order 3/2.
#[derive(Clone, Debug)]
struct Tsallis;

impl Regularizer for Tsallis {
    fn value<R: Real>(&self, density: R) -> R {
        2.0 * (density.power(1.5) - density)
    }

    fn conjugate<R: Real>(&self, exponent: R) -> R {
        Self::root(exponent).power(3.0)
    }

    fn density<R: Real>(&self, exponent: R) -> R {
        Self::root(exponent).power(2.0)
    }
}

impl Tsallis {
    /// max(z + 2, 0) / 3, the root of the density.
    fn root<R: Real>(exponent: R) -> R {
        (exponent + 2.0).max(0.0) / 3.0
    }
}

/// Weights with zeros, one histogram for all of the source and one for each column of the target, and potentials close
/// to the optimum of the balanced problem of entropy: not so close that residuals are rounding.
pub(crate) fn setting<D: Device>(case: &GeometryCase<D>, epsilon: f64, columns: usize) -> Result<Setting, Error> {
    let [rows, others] = Side::BOTH.map(|side| case.len(side));
    let mut seeded = Seeded::new(columns as u64);
    let a = seeded.weights::<D::Elem>(rows, true);
    let b = (0..columns).flat_map(|_| seeded.weights::<D::Elem>(others, true)).collect();
    let setting = Setting {
        epsilon,
        columns,
        weights: [a, b],
        potentials: [vec![0.0; rows * columns], vec![0.0; others * columns]],
        penalties: [RecordedPenalty::new(&Balanced)?, RecordedPenalty::new(&Balanced)?],
        regularizer: RecordedRegularizer::new(&Entropy)?,
    };
    let potentials = annealed(case, &setting)?.map(|potential| {
        let near = |value: f64| D::Elem::from_f64(value + 0.1 * epsilon * seeded.uniform(-1.0, 1.0)).to_f64();
        potential.into_iter().map(near).collect()
    });
    Ok(Setting { potentials, ..setting })
}

/// Potentials of the reference from ever smaller epsilons.
fn annealed<D: Device>(case: &GeometryCase<D>, setting: &Setting) -> Result<[Vec<f64>; 2], Error> {
    let mut iterate = Iterate::new(case.reference(), setting)?;
    let mut stage = (4.0 * case.largest()).max(setting.epsilon);
    let active = ActiveColumns::all(setting.columns);
    loop {
        let is_last = stage <= setting.epsilon;
        iterate.kernel.rebind(stage.max(setting.epsilon))?;
        let mut potentials = setting.potentials.clone();
        for _ in 0..if is_last { 8 } else { 2 } {
            for side in Side::BOTH {
                potentials[side.index()] = iterate.c_transform(side, &active, false)?.potential;
                iterate.set_potential(side, &potentials[side.index()])?;
            }
        }
        if is_last {
            return Ok(potentials);
        }
        stage /= 5.0;
    }
}

/// How far a potential may be off: by roundings of the numbers in an exponent, of logarithms of weights, and by how near
/// to a kink of a penalty a potential counts as on it.
fn tolerance<D: Device>(case: &GeometryCase<D>, setting: &Setting) -> f64 {
    let largest = |values: &[f64]| values.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    let logarithms = setting.weights.iter().flatten().filter(|weight| **weight > 0.0);
    let logarithms = 8.0 + logarithms.fold(0.0_f64, |largest, weight| largest.max(weight.ln().abs()));
    let [f, g] = setting.potentials.each_ref().map(|potential| largest(potential));
    let kinks = match setting.regularizer.kind() {
        RegularizerKind::Entropy => 0.0,
        _ => 4.0 * KINK * setting.epsilon,
    };
    case.unit() * (case.largest() + f + g + setting.epsilon * logarithms) + kinks
}
