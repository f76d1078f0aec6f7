//! A barycenter from its inputs.

use std::sync::Arc;

use ot_core::{
    ActiveColumns, Balanced, CTransform, Device, DeviceWeights, Elem, End, Epsilon, Error, Geometry, GeometryBuilder,
    GroundCost, JointProblem, JointTerm, MarginalPenalty, Measure, PenaltyKind, PlanSide, PlanView, Problem,
    RecordedPenalty, Scalar, Side, Support, UNREACHABLE, WeightsView,
};

/// The inputs of a barycenter and what stands between them and its support, to be made a [`JointProblem`]:
///
/// ```text
/// min over p   sum_k lambda_k min_P <P, C_k> + epsilon KL(P | a_k m^T) + penalty of the input
/// ```
///
/// The reference m is a measure on the support of p, whose weights matter up to their sum: uniform where nothing else is
/// known. It enters the objective, and p lives where it does. An input whose marginal is prescribed and the others have the
/// same mass, that of p and of m. If all are penalised, m has the mean of the masses of the inputs, with the weights lambda.
///
/// An atom that some input of the column cannot reach for forbidden pairs has no mass in any plan; the reference leaves it out.
///
/// A batch has a column for each set of weights lambda, or for each histogram of the inputs.
pub struct Barycenter<'a, G: GeometryBuilder + ?Sized> {
    builder: &'a G,
    reference: &'a dyn Measure<Elem<G>>,
    cost: &'a dyn GroundCost,
    epsilon: Epsilon,
    inputs: Vec<Input<'a, G::Device>>,
}

/// One input.
struct Input<'a, D: Device> {
    measure: &'a dyn Measure<D::Elem>,
    weights: Vec<f64>,
    geometry: Arc<dyn Geometry<D>>,
    penalty: RecordedPenalty,
}

impl<'a, G: GeometryBuilder + ?Sized> Barycenter<'a, G> {
    /// No inputs yet. `cost` is that between the support of an input and that of the reference; `epsilon` is resolved for each
    /// input, and the mean counts.
    #[must_use]
    pub fn new(
        builder: &'a G,
        reference: &'a dyn Measure<Elem<G>>,
        cost: &'a dyn GroundCost,
        epsilon: Epsilon,
    ) -> Self {
        Self { builder, reference, cost, epsilon, inputs: Vec::new() }
    }

    /// Inputs whose marginals are prescribed, with their weights lambda: one for each input, or as many for each column of a
    /// batch, column after column.
    ///
    /// # Errors
    /// [`Error::Length`] for weights of another number, [`Error::Weight`] for one that is negative or not finite; those of
    /// [`GeometryBuilder::geometry`].
    pub fn inputs(self, measures: &[&'a dyn Measure<Elem<G>>], weights: &[f64]) -> Result<Self, Error> {
        let count = measures.len();
        let columns = weights.len().checked_div(count).unwrap_or(0);
        if columns == 0 || weights.len() != columns * count {
            let expected = count * columns.max(1);
            return Err(Error::Length { what: "weights of the inputs", expected, found: weights.len() });
        }
        let of_input = |input: usize| weights.iter().skip(input).step_by(count).copied().collect::<Vec<_>>();
        measures
            .iter()
            .enumerate()
            .try_fold(self, |barycenter, (index, &measure)| barycenter.input(measure, &of_input(index), &Balanced))
    }

    /// One input, with its weight lambda (one number, or one for each column) and the penalty of its marginal.
    ///
    /// # Errors
    /// [`Error::Weight`], [`Error::Program`] for a penalty that cannot be recorded; those of [`GeometryBuilder::geometry`].
    pub fn input(
        self,
        measure: &'a dyn Measure<Elem<G>>,
        weights: &[f64],
        penalty: &impl MarginalPenalty,
    ) -> Result<Self, Error> {
        let known = self.inputs.iter().find(|input| input.measure.support().is_same(&measure.support()));
        let geometry = match known {
            Some(input) => Arc::clone(&input.geometry),
            None => self.builder.geometry(measure.support(), self.reference.support(), self.cost)?,
        };
        self.input_over(geometry, measure, weights, penalty)
    }

    /// One input over a geometry of its own, between its support and that of the reference.
    ///
    /// # Errors
    /// [`Error::Weight`], [`Error::Program`].
    pub fn input_over(
        mut self,
        geometry: Arc<dyn Geometry<G::Device>>,
        measure: &'a dyn Measure<Elem<G>>,
        weights: &[f64],
        penalty: &impl MarginalPenalty,
    ) -> Result<Self, Error> {
        if let Some(column) = weights.iter().position(|weight| !(weight.is_finite() && *weight >= 0.0)) {
            return Err(Error::Weight { index: self.inputs.len(), column, value: weights[column] });
        }
        let (weights, penalty) = (weights.to_vec(), penalty.recorded()?);
        self.inputs.push(Input { measure, weights, geometry, penalty });
        Ok(self)
    }

    /// The problem. Weights lambda count relative to their sum.
    ///
    /// # Errors
    /// [`Error::EmptyMeasure`] without inputs, [`Error::Mass`] for weights that are all zero in a column,
    /// [`Error::MassUnderflow`] for inputs near the smallest numbers, [`Error::BatchMismatch`] for different numbers of columns, [`Error::Infeasible`] where forbidden pairs leave no atom that all
    /// inputs can reach, [`Error::Stranded`] for an atom of an input that can reach none of those that are left, [`Error::MassMismatch`] for prescribed inputs of different
    /// mass; those of [`Problem::unbalanced`] and [`JointProblem::new`].
    pub fn problem(self) -> Result<JointProblem<G::Device>, Error> {
        let columns = self.columns()?;
        let reference = self.scaled_reference(columns)?;
        let reference =
            Reweighted { support: self.reference.support(), weights: WeightsView::new(&reference, columns)? };
        let problem = |input: &Input<'_, G::Device>| {
            let geometry = Arc::clone(&input.geometry);
            Problem::unbalanced(geometry, input.measure, &reference, self.epsilon, &input.penalty, &Balanced)
        };
        let problems: Vec<Problem<G::Device>> = self.inputs.iter().map(problem).collect::<Result<_, _>>()?;
        let first = problems[0].epsilon();
        let epsilon = match problems.iter().all(|problem| problem.epsilon() == first) {
            true => first,
            false => problems.iter().map(|problem| problem.epsilon() / problems.len() as f64).sum(),
        };
        let totals: Vec<f64> =
            (0..columns).map(|column| self.inputs.iter().map(|input| at(&input.weights, column)).sum()).collect();
        let term = |(input, problem): (&Input<'_, G::Device>, Problem<G::Device>)| {
            let weights = (0..columns).map(|column| at(&input.weights, column) / totals[column]).collect();
            let ends = [End::Given, End::Unknown(0)];
            Ok::<_, Error>(JointTerm { problem: problem.with_epsilon(epsilon)?, weights, ends })
        };
        JointProblem::new(self.inputs.iter().zip(problems).map(term).collect::<Result<_, _>>()?)
    }

    /// The number of columns that inputs, weights and reference agree on.
    fn columns(&self) -> Result<usize, Error> {
        if self.inputs.is_empty() {
            return Err(Error::EmptyMeasure);
        }
        let of_measure = |measure: &dyn Measure<Elem<G>>| measure.weights().map_or(1, |weights| weights.columns());
        let of_inputs = self.inputs.iter().flat_map(|input| [of_measure(input.measure), input.weights.len()]);
        let columns =
            of_inputs.chain([of_measure(self.reference)]).try_fold(1, |columns, own| match (columns, own) {
                (1, own) => Ok(own),
                (columns, 1) => Ok(columns),
                (columns, own) if columns == own => Ok(columns),
                (columns, own) => Err(Error::BatchMismatch { source_columns: columns, target_columns: own }),
            })?;
        for column in 0..columns {
            let mass: f64 = self.inputs.iter().map(|input| at(&input.weights, column)).sum();
            if !(mass.is_finite() && mass > 0.0) {
                return Err(Error::Mass { column, mass });
            }
        }
        Ok(columns)
    }

    /// The weights of the reference, of the mass of the barycenter in each column.
    fn scaled_reference(&self, columns: usize) -> Result<Vec<Elem<G>>, Error> {
        let what = "the reference of a barycenter";
        let found = self.reference.support().kind();
        let reference = self.reference.weights().ok_or(Error::UnsupportedSupport { what, found })?;
        reference.validate()?;
        let has_balanced = self.inputs.iter().any(|input| input.penalty.kind() == PenaltyKind::Balanced);
        let counts = |input: &&Input<'_, G::Device>| !has_balanced || input.penalty.kind() == PenaltyKind::Balanced;
        let reached = self.inputs.iter().map(|input| reached(input, self.reference)).collect::<Result<Vec<_>, _>>()?;
        let mut weights: Vec<Elem<G>> = Vec::with_capacity(reference.len() * columns);
        for column in 0..columns {
            let (mut mass, mut total) = (0.0, 0.0);
            for input in self.inputs.iter().filter(counts) {
                let own = input.measure.weights().ok_or(Error::UnsupportedSupport {
                    what: "an input of a barycenter",
                    found: input.measure.support().kind(),
                })?;
                // A prescribed mass is that of all, whatever its weight.
                let weight = if has_balanced { 1.0 } else { at(&input.weights, column) };
                mass += weight * own.mass(column.min(own.columns() - 1));
                total += weight;
            }
            let reaches = |atom: usize| {
                let of_input = |(input, reached): (&Input<'_, G::Device>, &Option<Vec<bool>>)| {
                    let Some(reached) = reached else { return true };
                    let own = column.min(reached.len() / reference.len() - 1);
                    at(&input.weights, column) == 0.0 || reached[own * reference.len() + atom]
                };
                self.inputs.iter().zip(&reached).all(of_input)
            };
            let own = reference.column(column.min(reference.columns() - 1)).iter().enumerate();
            let own: Vec<f64> = own.map(|(j, m)| if reaches(j) { m.to_f64() } else { 0.0 }).collect();
            let left: f64 = own.iter().sum();
            if left == 0.0 {
                let sources = (0..self.inputs[0].geometry.len(Side::Source) as u32).collect();
                return Err(Error::Infeasible { sources, mass: mass / total, reachable: 0.0 });
            }
            let mass = mass / total;
            require_mass::<Elem<G>>(column, mass, own.len())?;
            weights.extend(own.iter().map(|m| Elem::<G>::from_f64(m * (mass / left))));
        }
        Ok(weights)
    }
}

/// Refuses a mass of which a share of so many atoms may be no normal number.
pub(crate) fn require_mass<T: Scalar>(column: usize, mass: f64, atoms: usize) -> Result<(), Error> {
    let least = atoms as f64 * (T::TINY / T::EPSILON);
    match mass > 0.0 && mass < least {
        true => Err(Error::MassUnderflow { column, mass, least, element: T::NAME }),
        false => Ok(()),
    }
}

impl<G: GeometryBuilder + ?Sized> std::fmt::Debug for Barycenter<'_, G> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let weights: Vec<_> = self.inputs.iter().map(|input| &input.weights).collect();
        formatter
            .debug_struct("Barycenter")
            .field("epsilon", &self.epsilon)
            .field("weights", &weights)
            .finish_non_exhaustive()
    }
}

/// The atoms of the reference that some atom of an input with mass can reach, histogram after histogram; `None` for all.
fn reached<D: Device>(input: &Input<'_, D>, reference: &dyn Measure<D::Elem>) -> Result<Option<Vec<bool>>, Error> {
    let (Some(weights), Some(others)) = (input.measure.weights(), reference.weights()) else { return Ok(None) };
    let geometry = &input.geometry;
    let fits = geometry.len(Side::Source) == weights.len() && geometry.len(Side::Target) == others.len();
    if !(geometry.may_forbid() && fits) {
        return Ok(None);
    }
    let (backend, columns, len) = (geometry.backend(), weights.columns(), others.len());
    let backend = backend.as_ref();
    let ones = vec![D::Elem::from_f64(1.0); len];
    let (a, m) = (DeviceWeights::new(backend, weights)?, DeviceWeights::new(backend, WeightsView::new(&ones, 1)?)?);
    let [f, g] = [weights.len(), len].map(|len| backend.filled(0.0, len, columns));
    let (f, g, mut softmin) = (f?, g?, backend.filled(0.0, len, columns)?);
    let plan = PlanView { source: PlanSide::new(&f, &a), target: PlanSide::new(&g, &m) };
    let (penalty, active) = (&Balanced.recorded()?, &ActiveColumns::all(columns));
    // Whether there is a way does not depend on epsilon.
    let mut kernel = geometry.bind_entropic(geometry.fixed_epsilon().unwrap_or(1.0), columns)?;
    kernel.c_transform(backend, CTransform { side: Side::Target, plan, penalty, active }, &mut softmin, None)?;
    let softmin = backend.download(&[&softmin])?.swap_remove(0);
    Ok(Some(softmin.iter().map(|s| s.to_f64() < 0.5 * UNREACHABLE).collect()))
}

/// The number of a column, where one number may serve all.
fn at(numbers: &[f64], column: usize) -> f64 {
    if let [shared] = numbers { *shared } else { numbers[column] }
}

/// A support with other weights.
#[derive(Debug)]
pub(crate) struct Reweighted<'a, T> {
    pub(crate) support: Support<'a, T>,
    pub(crate) weights: WeightsView<'a, T>,
}

impl<T: Scalar> Measure<T> for Reweighted<'_, T> {
    fn support(&self) -> Support<'_, T> {
        self.support
    }

    fn weights(&self) -> Option<WeightsView<'_, T>> {
        Some(self.weights)
    }
}

/// Weights over atoms that a geometry knows.
#[derive(Debug)]
pub(super) struct Weighted<'a, T>(pub(super) WeightsView<'a, T>);

impl<T: Scalar> Measure<T> for Weighted<'_, T> {
    fn support(&self) -> Support<'_, T> {
        Support::Indices(self.0.len())
    }

    fn weights(&self) -> Option<WeightsView<'_, T>> {
        Some(self.0)
    }
}

/// Is there one unknown measure, and is every term from an input to it?
pub(super) fn require_inputs<D: Device>(problem: &JointProblem<D>) -> Result<(), Error> {
    match problem.terms().iter().all(|term| term.ends == [End::Given, End::Unknown(0)]) {
        true => Ok(()),
        false => Err(Error::Parameter {
            name: "the number of unknown measures",
            value: problem.unknown().len() as f64,
            expected: "1, as the target of every term",
        }),
    }
}
