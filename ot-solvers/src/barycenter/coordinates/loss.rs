//! How far a barycenter is from a histogram, and the slope of it.

use std::sync::Arc;

use ot_core::{Device, Epsilon, Error, Geometry, JointProblem, Problem, Scalar, Side, Solution, WeightsView};

use crate::{
    barycenter::inputs::Weighted,
    entropic::{Sinkhorn, Update},
};

/// The loss between the barycenter p and the histogram q.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CoordinateLoss {
    /// sum_j (p_j - q_j)^2.
    #[default]
    Squared,
    /// sum_j p_j log(p_j / q_j) - p_j + q_j, for q without zeros: it is infinite where p has mass and q none.
    KullbackLeibler,
    /// sum_j |p_j - q_j|.
    TotalVariation,
    /// The Sinkhorn divergence between p of the mass of q and q, OT(p, q) - OT(p, p) / 2 - OT(q, q) / 2, at the epsilon of the
    /// problem: for inputs on the support of p. It is least at q, where OT(p, q) alone is not.
    Wasserstein,
}

/// A loss with what it needs beside p.
#[derive(Debug)]
pub(super) struct Loss<D: Device> {
    kind: CoordinateLoss,
    target: Vec<f64>,
    geometry: Arc<dyn Geometry<D>>,
    epsilon: f64,
    /// OT(q, q) / 2 of q scaled to mass one.
    constant: f64,
}

impl<D: Device> Loss<D> {
    pub(super) fn new(kind: CoordinateLoss, problem: &JointProblem<D>, histogram: &[D::Elem]) -> Result<Self, Error> {
        let geometry = Arc::clone(problem.terms()[0].problem.geometry());
        let (expected, found) = (geometry.len(Side::Target), geometry.len(Side::Source));
        if kind == CoordinateLoss::Wasserstein && expected != found {
            return Err(Error::Length { what: "the geometry of a barycenter with itself", expected, found });
        }
        let target: Vec<f64> = histogram.iter().map(|q| q.to_f64()).collect();
        let mut loss = Self { kind, target, geometry, epsilon: problem.epsilon(), constant: 0.0 };
        if kind == CoordinateLoss::Wasserstein {
            let q = scaled(&loss.target, loss.target.iter().sum());
            loss.constant = 0.5 * loss.transport([&q, &q])?.0;
        }
        Ok(loss)
    }

    /// The loss at p, and its slope in each p_j.
    pub(super) fn at(&self, p: &[f64]) -> Result<(f64, Vec<f64>), Error> {
        let pairs = || p.iter().copied().zip(self.target.iter().copied());
        Ok(match self.kind {
            CoordinateLoss::Squared => {
                (pairs().map(|(p, q)| (p - q) * (p - q)).sum(), pairs().map(|(p, q)| 2.0 * (p - q)).collect())
            }
            CoordinateLoss::TotalVariation => (
                pairs().map(|(p, q)| (p - q).abs()).sum(),
                pairs().map(|(p, q)| if p == q { 0.0 } else { (p - q).signum() }).collect(),
            ),
            CoordinateLoss::KullbackLeibler => (
                pairs().map(|(p, q)| if p > 0.0 { p * (p / q).ln() - p + q } else { q }).sum(),
                // Of p without mass no slope is needed: it does not change.
                pairs().map(|(p, q)| if p > 0.0 { (p / q).ln() } else { 0.0 }).collect(),
            ),
            CoordinateLoss::Wasserstein => self.divergence(p)?,
        })
    }

    /// The divergence between p, scaled to the mass of q, and q: the mass of q times that of both scaled to mass one.
    fn divergence(&self, p: &[f64]) -> Result<(f64, Vec<f64>), Error> {
        let (mass, own): (f64, f64) = (self.target.iter().sum(), p.iter().sum());
        let [p, q] = [scaled(p, own), scaled(&self.target, mass)];
        let (value, f) = self.transport([&p, &q])?;
        let (own_value, h) = self.transport([&p, &p])?;
        let slope: Vec<f64> = f.iter().zip(&h).map(|(f, h)| f - h).collect();
        // The value does not change with the mass of p.
        let mean = p.iter().zip(&slope).map(|(p, slope)| p * slope).sum::<f64>();
        let slope = slope.into_iter().map(|slope| (slope - mean) * (mass / own)).collect();
        Ok((mass * (value - 0.5 * own_value - self.constant), slope))
    }

    /// The optimal value between two histograms, and the potential of the first.
    fn transport(&self, histograms: [&[f64]; 2]) -> Result<(f64, Vec<f64>), Error> {
        let narrow = |values: &[f64]| values.iter().copied().map(D::Elem::from_f64).collect::<Vec<_>>();
        let [p, q] = histograms.map(narrow);
        let (source, target) = (Weighted(WeightsView::new(&p, 1)?), Weighted(WeightsView::new(&q, 1)?));
        let problem = Problem::new(Arc::clone(&self.geometry), &source, &target, Epsilon::Absolute(self.epsilon))?;
        let tolerance = (1e-3 * problem.backend().precision().default_tolerance()).max(1e-9);
        let update = if histograms[0] == histograms[1] { Update::Symmetric } else { Update::Alternating };
        let solution: Solution<D> = Sinkhorn::new().update(update).tolerance(tolerance).solve(&problem)?;
        let f = solution.potential(Side::Source)?;
        Ok((solution.certificate().dual, f.iter().map(|f| f.to_f64()).collect()))
    }
}

/// A histogram scaled to mass one.
fn scaled(histogram: &[f64], mass: f64) -> Vec<f64> {
    histogram.iter().map(|p| p / mass).collect()
}
