//! What is asked of several plans that share unknown measures.

use crate::{
    backend::Device,
    error::Error,
    measure::Components,
    penalty::PenaltyKind,
    problem::{Problem, components::check_masses},
    side::Side,
};

/// What a side of a term is.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// The measure of the problem, with its penalty.
    Given,
    /// An unknown measure, by its index. The weights of the problem are the reference measure m of entropy on its support.
    Unknown(usize),
}

/// One transport among several.
#[derive(Debug)]
pub struct JointTerm<D: Device> {
    /// Geometry, measures, epsilon and penalties.
    pub problem: Problem<D>,
    /// lambda >= 0, the factor of the term in the objective: one number that serves all columns, or one for each.
    pub weights: Vec<f64>,
    /// What the source and the target are.
    pub ends: [End; 2],
}

impl<D: Device> JointTerm<D> {
    /// lambda of one column.
    #[must_use]
    pub fn weight(&self, column: usize) -> f64 {
        if let [shared] = self.weights[..] { shared } else { self.weights[column] }
    }
}

impl<D: Device> Clone for JointTerm<D> {
    fn clone(&self) -> Self {
        Self { problem: self.problem.clone(), weights: self.weights.clone(), ends: self.ends }
    }
}

/// Transports that share unknown measures p:
///
/// ```text
/// min over p, P   sum_k lambda_k (<P_k, C_k> + epsilon KL(P_k | a_k b_k^T) + penalties of the given ends)
/// max over f, g   sum_k lambda_k (duals of the given ends - epsilon (sum_ij (P_k)_ij - mass(a_k) mass(b_k)))
/// ```
///
/// where P_k has the marginal p at an unknown end, and a_k or b_k stands for the reference m there. The dual asks that
/// the potentials of each unknown measure cancel, sum_k lambda_k g_k <= 0.
///
/// A barycenter of inputs a_k with weights lambda_k has a term (a_k, m) for each, with ends
/// `[End::Given, End::Unknown(0)]` (Agueh, Carlier 2011; Benamou et al. 2015). A given end may have any penalty. A term of
/// weight zero adds nothing, and its plan is one to the measures that the others make.
#[derive(Debug)]
pub struct JointProblem<D: Device> {
    terms: Vec<JointTerm<D>>,
    /// The number of atoms of each unknown measure.
    unknown: Vec<usize>,
}

impl<D: Device> JointProblem<D> {
    /// Checks that the terms fit together.
    ///
    /// # Errors
    /// [`Error::Parameter`] for no terms, a weight that is negative or not finite, epsilons that differ, an index of an unknown
    /// measure without a term, an unknown measure that no term has a weight for, one at both ends of a term, or a penalty on
    /// one that is not [`Balanced`](crate::Balanced); [`Error::Length`] for weights that are neither one number nor one for
    /// each column, and for unknown measures with different numbers of atoms; [`Error::BatchMismatch`];
    /// [`Error::MissingCapability`] for another regularizer than entropy.
    pub fn new(terms: Vec<JointTerm<D>>) -> Result<Self, Error> {
        let first = terms.first().ok_or(parameter("the number of terms", 0.0, "at least one"))?;
        let (epsilon, columns) = (first.problem.epsilon(), first.problem.columns());
        let ends = || terms.iter().flat_map(|term| term.ends);
        let index = |end| match end {
            End::Unknown(index) => Some(index),
            End::Given => None,
        };
        // A term names at most two, so that a larger index has gaps below it.
        let count = ends().filter_map(index).max().map_or(0, |largest| largest.saturating_add(1));
        if count > 2 * terms.len() {
            return Err(parameter(
                "the largest index of an unknown measure",
                count as f64 - 1.0,
                "one of each index below",
            ));
        }
        let mut unknown = vec![None; count];
        for JointTerm { problem, weights, ends } in &terms {
            problem.require_entropy()?;
            if weights.len() != 1 && weights.len() != columns {
                return Err(Error::Length { what: "the weights of a term", expected: columns, found: weights.len() });
            }
            if let Some(&weight) = weights.iter().find(|weight| !(weight.is_finite() && **weight >= 0.0)) {
                return Err(parameter("the weight of a term", weight, "a finite number >= 0"));
            }
            if let [End::Unknown(source), End::Unknown(target)] = *ends
                && source == target
            {
                return Err(parameter("the unknown measure at both ends of a term", source as f64, "two measures"));
            }
            if problem.epsilon() != epsilon {
                return Err(parameter("the epsilon of a term", problem.epsilon(), "that of the first term"));
            }
            if problem.columns() != columns {
                return Err(Error::BatchMismatch { source_columns: columns, target_columns: problem.columns() });
            }
            for (side, end) in Side::BOTH.into_iter().zip(ends) {
                let (End::Unknown(measure), marginal) = (*end, problem.marginal(side)) else { continue };
                if marginal.penalty().kind() != PenaltyKind::Balanced {
                    return Err(parameter(
                        "the unknown measure with a penalty",
                        measure as f64,
                        "Balanced at its ends",
                    ));
                }
                let expected = *unknown[measure].get_or_insert(marginal.len());
                if expected != marginal.len() {
                    return Err(Error::Length { what: "an unknown measure", expected, found: marginal.len() });
                }
            }
        }
        let known = |(index, len): (usize, Option<usize>)| {
            len.ok_or(parameter("the index of an unknown measure without a term", index as f64, "a term of it"))
        };
        let unknown = unknown.into_iter().enumerate().map(known).collect::<Result<_, _>>()?;
        let problem = Self { terms, unknown };
        let weighs = |column: usize, terms: &mut dyn Iterator<Item = usize>| {
            let total: f64 = terms.map(|term| problem.terms[term].weight(column)).sum();
            if total.is_finite() && total > 0.0 {
                Ok(())
            } else {
                Err(parameter("the sum of the weights of terms that meet", total, "a finite number > 0"))
            }
        };
        for column in 0..columns {
            weighs(column, &mut (0..problem.terms.len()))?;
            for measure in 0..problem.unknown.len() {
                weighs(column, &mut problem.ends_of(measure).map(|(term, _)| term))?;
            }
        }
        Ok(problem)
    }

    /// The terms.
    #[must_use]
    pub fn terms(&self) -> &[JointTerm<D>] {
        &self.terms
    }

    /// The number of atoms of each unknown measure.
    #[must_use]
    pub fn unknown(&self) -> &[usize] {
        &self.unknown
    }

    /// The sides of terms that an unknown measure stands at, as (term, side).
    pub fn ends_of(&self, measure: usize) -> impl Iterator<Item = (usize, Side)> + '_ {
        let of_term = move |(term, ends): (usize, [End; 2])| {
            let sides = Side::BOTH.into_iter().zip(ends);
            sides.filter(move |(_, end)| *end == End::Unknown(measure)).map(move |(side, _)| (term, side))
        };
        self.terms.iter().map(|term| term.ends).enumerate().flat_map(of_term)
    }

    /// Is the marginal of a given end prescribed, and thereby the mass of all measures?
    #[must_use]
    pub fn has_balanced_end(&self) -> bool {
        let is_balanced =
            |problem: &Problem<D>, side: Side| problem.marginal(side).penalty().kind() == PenaltyKind::Balanced;
        self.terms.iter().any(|JointTerm { problem, ends, .. }| {
            Side::BOTH.into_iter().zip(ends).any(|(side, end)| *end == End::Given && is_balanced(problem, side))
        })
    }

    /// Refuses prescribed given ends that no plans join, because a connected component of their support holds different
    /// masses of them. Ends are compared where a path of unknown measures joins them.
    ///
    /// # Errors
    /// [`Error::ComponentMass`].
    pub fn require_equal_components(&self) -> Result<(), Error> {
        let joining = self.terms.iter().filter_map(|term| match term.ends {
            [End::Unknown(one), End::Unknown(other)] => Some([one as u32, other as u32]),
            _ => None,
        });
        let groups = Components::of_edges(self.unknown.len(), joining);
        let mut first: Vec<Option<(&Problem<D>, Side)>> = vec![None; groups.count()];
        for JointTerm { problem, ends, .. } in &self.terms {
            let Some(components) = problem.geometry().components().filter(|components| components.count() > 1) else {
                continue;
            };
            let (side, measure) = match *ends {
                [End::Given, End::Unknown(measure)] => (Side::Source, measure),
                [End::Unknown(measure), End::Given] => (Side::Target, measure),
                [End::Given, End::Given] => {
                    problem.require_equal_components()?;
                    continue;
                }
                [End::Unknown(_), End::Unknown(_)] => continue,
            };
            if problem.marginal(side).penalty().kind() != PenaltyKind::Balanced {
                continue;
            }
            let first = &mut first[groups.of_vertices()[measure] as usize];
            match *first {
                None => *first = Some((problem, side)),
                Some(first) => check_masses(components, [first, (problem, side)], self.columns())?,
            }
        }
        Ok(())
    }

    /// The epsilon of all terms.
    #[must_use]
    pub fn epsilon(&self) -> f64 {
        self.terms[0].problem.epsilon()
    }

    /// Number of problems in the batch.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.terms[0].problem.columns()
    }
}

impl<D: Device> Clone for JointProblem<D> {
    fn clone(&self) -> Self {
        Self { terms: self.terms.clone(), unknown: self.unknown.clone() }
    }
}

fn parameter(name: &'static str, value: f64, expected: &'static str) -> Error {
    Error::Parameter { name, value, expected }
}
