//! What the properties could not be tried on.

use std::fmt;

use ot_core::{CostParameter, Device, Error};

use crate::{
    case::{GeometryCase, SupportKind},
    properties::geometry::PARAMETERS,
    scene::{regularizers, setting},
    verdict::{PropertyFailure, Verdict},
};

/// Something that geometries may do without, and do not do in some cases: the properties of it are not tried there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// What is not done.
    pub what: String,
    /// The names of the cases; none if there is no case at all.
    pub cases: Vec<String>,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cases.as_slice() {
            [] => write!(formatter, "{}", self.what),
            cases => write!(formatter, "{}: {}", self.what, cases.join("; ")),
        }
    }
}

/// What is not tried on some cases: kinds of supports without a case, regularizers without a kernel, capabilities that
/// no kernel has.
///
/// ```
/// use ot_conformance::{ReferenceBackend, SupportKind, left_out, standard_cases};
///
/// let cases = standard_cases(&ReferenceBackend::<f64>::default(), &[SupportKind::Points])?;
/// let left_out: Vec<String> = left_out(&cases)?.iter().map(ToString::to_string).collect();
/// assert_eq!(left_out, ["cases of indices"]);
/// # Ok::<(), ot_core::Error>(())
/// ```
///
/// # Errors
/// Those of binding a kernel.
pub fn left_out<D: Device>(cases: &[GeometryCase<D>]) -> Result<Vec<LeftOut>, Error> {
    let missing_kind = |kind: &SupportKind| cases.iter().all(|case| case.kind() != *kind);
    let kinds = [SupportKind::Points, SupportKind::Indices].into_iter().filter(missing_kind);
    let mut all: Vec<LeftOut> =
        kinds.map(|kind| LeftOut { what: format!("cases of {kind}"), cases: Vec::new() }).collect();
    for case in cases {
        for what in left_out_of(case)? {
            match all.iter_mut().find(|known| known.what == what) {
                Some(known) => known.cases.push(case.name().into()),
                None => all.push(LeftOut { what, cases: vec![case.name().into()] }),
            }
        }
    }
    Ok(all)
}

/// Prints what is left out, for the test that a macro makes.
///
/// # Errors
/// Whatever kept the cases from being built.
#[expect(clippy::print_stdout, reason = "a list for the reader of a test run")]
pub fn print_left_out<D: Device>(cases: Result<Vec<GeometryCase<D>>, Error>) -> Verdict {
    let left_out = left_out(&cases?).map_err(PropertyFailure::from)?;
    left_out.iter().for_each(|left_out| println!("left out: {left_out}"));
    Ok(())
}

/// What one case leaves out.
fn left_out_of<D: Device>(case: &GeometryCase<D>) -> Result<Vec<String>, Error> {
    let mut missing = Vec::new();
    let mut miss = |is_missing: bool, what: String| {
        if is_missing {
            missing.push(what);
        }
    };
    let geometry = case.geometry();
    let epsilon = case.epsilons(&[0.1])[0];
    for regularizer in regularizers()? {
        let kind = regularizer.kind();
        let mut kernel = match geometry.bind(&regularizer, epsilon, 1) {
            Err(Error::MissingCapability(_)) => {
                miss(true, format!("kernels of {kind:?}"));
                continue;
            }
            kernel => kernel?,
        };
        miss(kernel.transport_cost().is_none(), format!("transport cost under {kind:?}"));
        miss(kernel.plan_product().is_none(), format!("products of plans under {kind:?}"));
        miss(kernel.hard_transform().is_none(), format!("hard c-transforms under {kind:?}"));
        for parameter in PARAMETERS {
            let is_known = kernel.cost_derivative().is_some_and(|known| known.shape(parameter).is_some());
            let is_possible = match parameter {
                CostParameter::Points(_) => case.kind() != SupportKind::Indices,
                CostParameter::Formula => case.parameters() > 0,
                _ => true,
            };
            miss(is_possible && !is_known, format!("derivatives in {parameter:?} under {kind:?}"));
        }
    }
    miss(geometry.fixed_epsilon().is_some(), "other epsilons than one".into());
    let weights = setting(case, epsilon, 1)?.weights.map(|weights| crate::seeded::elements::<D::Elem>(&weights));
    let [source, target] = [0, 1].map(|index| ot_core::WeightsView::new(&weights[index], 1));
    let statistics = geometry.cost_statistics(source?, target?);
    miss(matches!(statistics, Err(Error::MissingCapability(_))), "statistics of the cost".into());
    Ok(missing)
}
