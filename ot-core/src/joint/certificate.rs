//! What is proven of several plans that share unknown measures.
//!
//! Of each term the reference m at an unknown end is exchanged for the measure p itself: the plan is the same,
//!
//! ```text
//! P_ij = a_i m_j exp((f_i + g_j - C_ij) / epsilon) = a_i p_j exp((f_i + g'_j - C_ij) / epsilon)
//! g'_j = g_j - epsilon log(p_j / m_j)
//! ```
//!
//! and the term is a problem of two given marginals, with a certificate of its own. Its values differ by what KL(P | a m^T)
//! and KL(P | a p^T) do for any P of marginal p, and by the mass that P has where p has none. The potentials of an unknown
//! measure are first moved alike, so that sum_k lambda_k g_k <= 0: then the pairings <p, g_k> add up to nothing that a dual
//! could claim.

use super::{End, JointProblem, JointTerm};
use crate::{
    backend::Device,
    certificate::{Certificate, RoundingForm, certify},
    error::Error,
    kernel::{ActiveColumns, Potentials},
    measure::WeightsView,
    problem::Problem,
    scalar::Scalar,
    side::Side,
};

/// Recomputes what is proven of the potentials of each term and of the masses of each unknown measure, for each column,
/// from scratch.
///
/// Values, masses and residuals are sums over the terms with their weights; marginal error and rounding are means. The primal
/// is the objective at the measures given, scaled to the mass of the given ends where one is balanced. Costs a [`certify`] of each term, and two more waits.
///
/// # Errors
/// [`Error::Length`] for numbers or shapes that do not fit; those of [`Problem::new`] for measures that are no weights or have
/// not the mass of a balanced given end; those of [`certify`].
pub fn certify_joint<D: Device>(
    problem: &JointProblem<D>,
    potentials: &[&Potentials<D>],
    measures: &[&D::Vector],
) -> Result<Vec<Certificate>, Error> {
    fits("potentials of the terms", problem.terms().len(), potentials.len())?;
    fits("unknown measures", problem.unknown().len(), measures.len())?;
    let backend = problem.terms()[0].problem.backend();
    for (measure, &len) in measures.iter().zip(problem.unknown()) {
        let (rows, columns) = backend.shape(measure);
        fits("an unknown measure", len * problem.columns(), rows * columns)?;
    }
    let mut measures = backend.download(measures)?;
    if problem.has_balanced_end() {
        for (index, measure) in measures.iter_mut().enumerate() {
            scale(problem, index, measure);
        }
    }
    let mut host = Vec::with_capacity(potentials.len());
    for (term, potentials) in problem.terms().iter().zip(potentials) {
        for side in Side::BOTH {
            let (rows, columns) = backend.shape(potentials.side(side));
            fits("a potential", term.problem.marginal(side).len() * problem.columns(), rows * columns)?;
        }
        host.push(backend.download(&[&potentials.source, &potentials.target])?);
    }
    for measure in 0..measures.len() {
        cancel(problem, measure, backend.precision().unit, &mut host);
    }

    let terms = problem.terms().iter().zip(&host).map(|(term, potentials)| GivenTerm::new(term, potentials, &measures));
    let terms: Vec<GivenTerm<D>> = terms.collect::<Result<_, _>>()?;
    let mut sums = vec![Sums::default(); problem.columns()];
    for (term, certificates) in problem.terms().iter().zip(certify_terms(&terms)?) {
        for (column, (sums, certificate)) in sums.iter_mut().zip(certificates).enumerate() {
            // Nothing is asked of a term without weight.
            if term.weight(column) > 0.0 {
                sums.add(term.weight(column), &certificate);
            }
        }
    }
    Ok(sums.into_iter().map(|sums| sums.certificate(problem.epsilon())).collect())
}

/// Scales the columns of an unknown measure to the mass of its reference, which is that of a balanced given end.
fn scale<D: Device>(problem: &JointProblem<D>, measure: usize, values: &mut [D::Elem]) {
    let Some((term, side)) = problem.ends_of(measure).next() else { return };
    let reference = problem.terms()[term].problem.marginal(side);
    for (column, values) in values.chunks_exact_mut(reference.len()).enumerate() {
        let ratio = reference.mass(column) / values.iter().map(|value| value.to_f64()).sum::<f64>();
        if ratio.is_finite() {
            values.iter_mut().for_each(|value| *value = D::Elem::from_f64(value.to_f64() * ratio));
        }
    }
}

/// Moves the potentials of an unknown measure alike, so that their sum with the weights of the terms is zero, and never
/// above.
fn cancel<D: Device>(problem: &JointProblem<D>, measure: usize, unit: f64, potentials: &mut [Vec<Vec<D::Elem>>]) {
    let ends: Vec<(usize, Side)> = problem.ends_of(measure).collect();
    let len = problem.unknown()[measure];
    for entry in 0..len * problem.columns() {
        let weight = |term: usize| problem.terms()[term].weight(entry / len);
        let total: f64 = ends.iter().map(|&(term, _)| weight(term)).sum();
        let at = |potentials: &[Vec<Vec<D::Elem>>], (term, side): (usize, Side)| {
            weight(term) * potentials[term][side.index()][entry].to_f64()
        };
        let mut move_by = |change: f64| {
            for &(term, side) in &ends {
                let value = &mut potentials[term][side.index()][entry];
                *value = D::Elem::from_f64(value.to_f64() - change);
            }
            let sum: f64 = ends.iter().map(|&end| at(potentials, end)).sum();
            let size: f64 = ends.iter().map(|&end| at(potentials, end).abs()).sum();
            (sum, size)
        };
        let (sum, _) = move_by(0.0);
        let (mut left, mut size) = move_by(sum / total);
        // Rounding may leave a little: the sum itself is known to some units of its terms.
        let mut slack = 2.0 * f64::EPSILON * (ends.len() as f64 + 2.0) * size;
        for _ in 0..8 {
            if left <= -slack || !left.is_finite() {
                break;
            }
            (left, size) = move_by((left + slack) / total + unit * size / total);
            slack = 2.0 * f64::EPSILON * (ends.len() as f64 + 2.0) * size;
        }
    }
}

/// One term with the unknown measures given.
struct GivenTerm<D: Device> {
    /// The problem between the given measures.
    problem: Problem<D>,
    /// Its potentials, on the host.
    potentials: Vec<Vec<D::Elem>>,
    /// What the joint objective has more than that of the given marginals, and how much of that the dual has not.
    offset: Vec<f64>,
    unclaimed: Vec<f64>,
}

impl<D: Device> GivenTerm<D> {
    fn new(term: &JointTerm<D>, potentials: &[Vec<D::Elem>], measures: &[Vec<D::Elem>]) -> Result<Self, Error> {
        let (problem, columns) = (&term.problem, term.problem.columns());
        let epsilon = problem.epsilon();
        let mut given = problem.clone();
        let mut moved = potentials.to_vec();
        let (mut offset, mut unclaimed) = (vec![0.0; columns], vec![0.0; columns]);
        for (side, end) in Side::BOTH.into_iter().zip(term.ends) {
            let End::Unknown(measure) = end else { continue };
            let p = &measures[measure];
            let reference = Reference::of(problem, side)?;
            given = given.with_weights(side, WeightsView::new(p, columns)?)?;
            let len = problem.marginal(side).len();
            let mut outside = false;
            for (column, offset) in offset.iter_mut().enumerate() {
                for atom in 0..len {
                    let (entry, m) = (column * len + atom, reference.weight(column, atom));
                    match p[entry].to_f64() {
                        0.0 => outside |= m > 0.0,
                        p if m > 0.0 => {
                            let logarithm = p.ln() - m.ln();
                            *offset += epsilon * p * logarithm;
                            let g = &mut moved[side.index()][entry];
                            *g = D::Elem::from_f64(g.to_f64() - epsilon * logarithm);
                        }
                        // Mass where the reference has none: KL is infinite.
                        _ => *offset = f64::INFINITY,
                    }
                }
            }
            if outside {
                let plain = uploaded(problem, potentials)?;
                let left_out = mass_outside(problem, &plain, side, &reference, p)?;
                unclaimed.iter_mut().zip(left_out).for_each(|(sum, mass)| *sum += epsilon * mass);
            }
        }
        let of_nothing = |problem: &Problem<D>, column: usize| {
            let masses = Side::BOTH.map(|side| problem.marginal(side).mass(column));
            problem.regularizer().value_of_nothing(epsilon, masses)
        };
        for (column, offset) in offset.iter_mut().enumerate() {
            *offset += of_nothing(problem, column) - of_nothing(&given, column);
        }
        Ok(Self { problem: given, potentials: moved, offset, unclaimed })
    }

    /// The certificates of the given problem, in values of the joint objective.
    fn in_joint_values(&self, mut certificates: Vec<Certificate>) -> Vec<Certificate> {
        for ((certificate, &offset), &unclaimed) in certificates.iter_mut().zip(&self.offset).zip(&self.unclaimed) {
            certificate.dual += if offset.is_finite() { offset - unclaimed } else { f64::NEG_INFINITY };
            certificate.gap += unclaimed + if offset.is_finite() { 0.0 } else { f64::INFINITY };
            certificate.primal = if certificate.gap.is_finite() { certificate.primal + offset } else { f64::INFINITY };
        }
        certificates
    }
}

/// The certificates of all terms. Those on one kernel are certified as columns of one batch, where that gains.
fn certify_terms<D: Device>(terms: &[GivenTerm<D>]) -> Result<Vec<Vec<Certificate>>, Error> {
    let mut certified: Vec<Vec<Certificate>> = vec![Vec::new(); terms.len()];
    while let Some(first) = certified.iter().position(Vec::is_empty) {
        let problem = &terms[first].problem;
        let most = match problem.geometry().gains_from_batches() {
            true => (MOST_COLUMNS / problem.columns()).max(1),
            false => 1,
        };
        let is_beside = |&other: &usize| certified[other].is_empty() && terms[other].problem.can_stand_beside(problem);
        let group: Vec<usize> = (first..terms.len()).filter(is_beside).take(most).collect();
        let all = Problem::side_by_side(&group.iter().map(|&term| &terms[term].problem).collect::<Vec<_>>())?;
        let sides = [0, 1].map(|side: usize| {
            group.iter().flat_map(|&term| &terms[term].potentials[side]).copied().collect::<Vec<D::Elem>>()
        });
        let certificates =
            certify(&all, &uploaded(&all, &sides)?).map_err(|error| error.within_columns(problem.columns()))?;
        for (&term, own) in group.iter().zip(certificates.chunks(problem.columns())) {
            certified[term] = terms[term].in_joint_values(own.to_vec());
        }
    }
    Ok(certified)
}

/// The most columns that are certified together: more gain nothing from each other.
const MOST_COLUMNS: usize = 64;

/// Potentials of a problem, brought to its device.
fn uploaded<D: Device>(problem: &Problem<D>, potentials: &[Vec<D::Elem>]) -> Result<Potentials<D>, Error> {
    let upload = |values: &[D::Elem]| problem.backend().upload(values, problem.columns());
    Ok(Potentials { source: upload(&potentials[0])?, target: upload(&potentials[1])?, epsilon: problem.epsilon() })
}

/// The weights of the reference measure on the host.
struct Reference<T> {
    weights: Vec<T>,
    len: usize,
}

impl<T: Scalar> Reference<T> {
    fn of<D: Device<Elem = T>>(problem: &Problem<D>, side: Side) -> Result<Self, Error> {
        let marginal = problem.marginal(side);
        let weights = problem.backend().download(&[marginal.weights()])?.swap_remove(0);
        Ok(Self { weights, len: marginal.len() })
    }

    /// One histogram may serve all columns.
    fn weight(&self, column: usize, atom: usize) -> f64 {
        let column = column.min(self.weights.len() / self.len - 1);
        self.weights[column * self.len + atom].to_f64()
    }
}

/// The mass that the plan has at the atoms of a side without mass of p.
fn mass_outside<D: Device>(
    problem: &Problem<D>,
    potentials: &Potentials<D>,
    side: Side,
    reference: &Reference<D::Elem>,
    p: &[D::Elem],
) -> Result<Vec<f64>, Error> {
    let (backend, columns, len) = (problem.backend(), problem.columns(), problem.marginal(side).len());
    let mut density = backend.alloc(len, columns)?;
    let (mut kernel, all) = (problem.bind()?, ActiveColumns::all(columns));
    kernel.density(backend, side, problem.view(potentials), &all, &mut density, None)?;
    let density = backend.download(&[&density])?.swap_remove(0);
    let mass = |column: usize| {
        let atoms = (0..len).filter(|atom| p[column * len + atom].to_f64() == 0.0);
        let weighted = atoms.map(|atom| (reference.weight(column, atom), density[column * len + atom].to_f64()));
        weighted.filter(|(weight, _)| *weight > 0.0).map(|(weight, density)| weight * density).sum()
    };
    Ok((0..columns).map(mass).collect())
}

/// Sums over the terms, with their weights.
#[derive(Clone, Default)]
struct Sums {
    weight: f64,
    marginal_error: f64,
    residuals: [f64; 2],
    mass: f64,
    transport_cost: f64,
    has_no_cost: bool,
    primal: f64,
    dual: f64,
    gap: f64,
    rounding: f64,
}

impl Sums {
    fn add(&mut self, weight: f64, certificate: &Certificate) {
        self.weight += weight;
        self.marginal_error += weight * certificate.marginal_error;
        self.residuals[0] += weight * certificate.source_residual;
        self.residuals[1] += weight * certificate.target_residual;
        self.mass += weight * certificate.mass;
        self.transport_cost += weight * certificate.transport_cost.unwrap_or(0.0);
        self.has_no_cost |= certificate.transport_cost.is_none();
        self.primal += weight * certificate.primal;
        self.dual += weight * certificate.dual;
        self.gap += weight * certificate.gap;
        self.rounding += weight * certificate.rounding;
    }

    fn certificate(self, epsilon: f64) -> Certificate {
        let [source_residual, target_residual] = self.residuals;
        // A sum beyond f64 bounds nothing, whatever its sign.
        let primal = if self.primal.is_finite() { self.primal } else { f64::INFINITY };
        let dual = if self.dual.is_finite() { self.dual } else { f64::NEG_INFINITY };
        let is_known = primal.is_finite() && dual.is_finite() && self.gap.is_finite();
        Certificate {
            epsilon,
            marginal_error: self.marginal_error / self.weight,
            source_residual,
            target_residual,
            mass: self.mass,
            transport_cost: (!self.has_no_cost).then_some(self.transport_cost),
            primal,
            dual,
            gap: if is_known { self.gap } else { f64::INFINITY },
            form: RoundingForm::Scaled,
            rounding: self.rounding / self.weight,
        }
    }
}

fn fits(what: &'static str, expected: usize, found: usize) -> Result<(), Error> {
    if expected == found { Ok(()) } else { Err(Error::Length { what, expected, found }) }
}
