//! Derivatives of the cost in its parameters, under the plan, of a kernel that knows them: all columns of the batch at
//! once.

use std::cell::OnceCell;

use ot_core::{
    CostDerivative, CostParameter, CostTangent, Device, Error, PairWeight, PlanView, Side, WeightedPlan,
    cost::CostParameters,
};

use crate::{
    case::{CasePoints, GeometryCase},
    iterate::Iterate,
    scene::{Scene, Scenes},
    seeded::Seeded,
    verdict::{Trial, Verdict},
};

/// The parameters that a cost may have.
pub(crate) const PARAMETERS: [CostParameter; 5] = [
    CostParameter::Points(Side::Source),
    CostParameter::Points(Side::Target),
    CostParameter::Matrix,
    CostParameter::Formula,
    CostParameter::Scale,
];

/// out = sum_ij P_ij w_ij dC_ij/dtheta, for factors w of all terms.
pub fn pull_backs_agree_with_the_reference<D: Device>(case: &GeometryCase<D>) -> Verdict {
    for_each_parameter("pull-backs agree with the reference", case, |trial, scene, parameter| {
        let weight = Weight::new(case, scene.setting.columns);
        let found = scene.tested.pull_back(&weight, parameter)?;
        let expected = scene.reference.pull_back(&weight, parameter)?;
        let slack = entries_slack(scene, parameter, weight.bound(case))?;
        let largest = slopes(case, parameter).fold(0.0, f64::max);
        trial.all_close("entry", &found, &expected, |entry| slack[entry] * largest)
    })
}

/// out_i = sum_j P_ij w_ij (dC_ij/dtheta . tangent), for a tangent that all columns share and for one of each.
pub fn push_forwards_agree_with_the_reference<D: Device>(case: &GeometryCase<D>) -> Verdict {
    for_each_parameter("push-forwards agree with the reference", case, |trial, scene, parameter| {
        let weight = Weight::new(case, scene.setting.columns);
        for copies in [1, scene.setting.columns] {
            let tangent = Tangent::new(scene, parameter, copies)?;
            let largest = tangent.bound(case);
            for side in Side::BOTH {
                let found = scene.tested.push_forward(side, &weight, &tangent)?;
                let expected = scene.reference.push_forward(side, &weight, &tangent)?;
                let slack = scene.slack(|iterate| iterate.masses(side))?;
                let tolerance = |row: usize| slack[row] * weight.bound(case) * largest;
                trial.at(format_args!("{side}, {copies} tangents")).all_close("row", &found, &expected, tolerance)?;
            }
        }
        Ok(())
    })
}

/// out = sum_ij P_ij w_ij (d2C_ij / dtheta dtau . tangent), for all pairs of parameters.
pub fn curvatures_agree_with_the_reference<D: Device>(case: &GeometryCase<D>) -> Verdict {
    let bend = OnceCell::new();
    for_each_parameter("curvatures agree with the reference", case, |trial, scene, parameter| {
        let weight = Weight::new(case, scene.setting.columns);
        for moving in PARAMETERS {
            if scene.tested.shape(moving).is_none() {
                continue;
            }
            let tangent = Tangent::new(scene, moving, scene.setting.columns)?;
            let found = scene.tested.curvature(&weight, parameter, &tangent)?;
            let expected = scene.reference.curvature(&weight, parameter, &tangent)?;
            let slack = entries_slack(scene, parameter, weight.bound(case))?;
            let largest = second_slopes(case, &bend, parameter, moving);
            let trial = trial.at(format_args!("moving {moving:?}"));
            trial.all_close("entry", &found, &expected, |entry| slack[entry] * largest)?;
        }
        Ok(())
    })
}

/// out = sum_ij P_ij dC_ij/dtheta (dC_ij/dtau . tangent), for all pairs of parameters that the kernel knows.
pub fn gauss_newton_products_agree_with_the_reference<D: Device>(case: &GeometryCase<D>) -> Verdict {
    for_each_parameter("products of slopes agree with the reference", case, |trial, scene, parameter| {
        for moving in PARAMETERS {
            if scene.tested.shape(moving).is_none() {
                continue;
            }
            let tangent = Tangent::new(scene, moving, scene.setting.columns)?;
            let found = match scene.tested.gauss_newton(parameter, &tangent) {
                Err(Error::MissingCapability(_)) => continue,
                found => found?,
            };
            let expected = scene.reference.gauss_newton(parameter, &tangent)?;
            let slack = entries_slack(scene, parameter, 1.0)?;
            let largest = slopes(case, parameter).fold(0.0, f64::max) * tangent.bound(case);
            let trial = trial.at(format_args!("moving {moving:?}"));
            trial.all_close("entry", &found, &expected, |entry| slack[entry] * largest)?;
        }
        Ok(())
    })
}

/// Tries a property on all parameters that a kernel knows the derivative in.
fn for_each_parameter<D: Device>(
    property: &'static str,
    case: &GeometryCase<D>,
    hold: impl Fn(&Trial, &mut Scene<'_, D>, CostParameter) -> Verdict,
) -> Verdict {
    Scenes::PLANS.for_each(property, case, |trial, scene| {
        for parameter in PARAMETERS {
            if let Some(shape) = scene.tested.shape(parameter) {
                let (trial, expected) = (trial.at(format_args!("{parameter:?}")), scene.reference.shape(parameter));
                trial.holds(Some(shape) == expected, || format!("the shape is {shape:?}, not {expected:?}"))?;
                hold(&trial, scene, parameter)?;
            }
        }
        Ok(())
    })
}

/// How far the entries of a vector over a parameter may be off, per slope of the cost: the masses that they sum, times a
/// bound of the factor.
fn entries_slack<D: Device>(
    scene: &mut Scene<'_, D>,
    parameter: CostParameter,
    factor: f64,
) -> Result<Vec<f64>, Error> {
    let slack = match parameter {
        CostParameter::Points(side) => {
            let (rows, dimension) = scene.reference.shape(parameter).unwrap_or_default();
            let slack = scene.slack(|iterate| iterate.masses(side))?;
            slack.chunks_exact(rows).flat_map(|column| column.repeat(dimension)).collect()
        }
        CostParameter::Matrix => scene.slack(|iterate| iterate.pull_back(&Weight::one(), parameter))?,
        CostParameter::Formula => {
            let (rows, _) = scene.reference.shape(parameter).unwrap_or_default();
            scene.slack(|iterate| iterate.mass())?.into_iter().flat_map(|slack| vec![slack; rows]).collect()
        }
        _ => scene.slack(|iterate| iterate.mass())?,
    };
    Ok(slack.into_iter().map(|slack| factor * slack).collect())
}

/// |dC_ij/dtheta| of all pairs and axes.
fn slopes<D: Device>(case: &GeometryCase<D>, parameter: CostParameter) -> Box<dyn Iterator<Item = f64> + '_> {
    match (parameter, case.points()) {
        (CostParameter::Points(side), Some(points)) => Box::new(case.allowed().flat_map(move |(i, j, _)| {
            let (x, y) = (points.point(Side::Source, i), points.point(Side::Target, j));
            let mut gradient = vec![0.0; 2 * points.dimension];
            points.cost.gradient(x, y, &mut gradient);
            gradient.into_iter().skip(side.index() * points.dimension).take(points.dimension).map(f64::abs)
        })),
        (CostParameter::Formula, Some(points)) => {
            let formula = CostParameters::of(points.cost.as_ref(), points.dimension);
            Box::new(formula.into_iter().flat_map(move |formula| {
                case.allowed().flat_map(move |(i, j, _)| {
                    let (x, y) = (points.point(Side::Source, i), points.point(Side::Target, j));
                    let mut slopes = vec![0.0; formula.values().len()];
                    formula.gradient(x, y, &mut slopes);
                    slopes.into_iter().map(f64::abs)
                })
            }))
        }
        (CostParameter::Scale, _) => Box::new(std::iter::once(case.largest())),
        _ => Box::new(std::iter::once(1.0)),
    }
}

/// A bound of |d2C_ij / dtheta dtau . tangent| for tangents of entries up to one. That of points and parameters of a formula is
/// made once.
fn second_slopes<D: Device>(
    case: &GeometryCase<D>,
    bend: &OnceCell<f64>,
    parameter: CostParameter,
    moving: CostParameter,
) -> f64 {
    let largest = |parameter| slopes(case, parameter).fold(0.0, f64::max);
    match (parameter, moving, case.points()) {
        (
            CostParameter::Points(_) | CostParameter::Formula,
            CostParameter::Points(_) | CostParameter::Formula,
            Some(points),
        ) => *bend.get_or_init(|| bend_of(case, points)),
        // The scale and the entries of a matrix enter linearly.
        (CostParameter::Scale, CostParameter::Points(_), Some(points)) => {
            2.0 * points.dimension as f64 * largest(moving)
        }
        (CostParameter::Scale, CostParameter::Formula, _) => case.parameters() as f64 * largest(moving),
        (CostParameter::Scale, moving, _) => largest(moving),
        (parameter, _, _) => largest(parameter),
    }
}

/// The sum over the coordinates of both points and the parameters of a formula of the largest second derivative along them.
fn bend_of<D: Device>(case: &GeometryCase<D>, points: &CasePoints) -> f64 {
    let formula = CostParameters::of(points.cost.as_ref(), points.dimension);
    let len = 2 * points.dimension + formula.as_ref().map_or(0, |formula| formula.values().len());
    let largest = |axis: usize| {
        let mut direction = vec![0.0; len];
        direction[axis] = 1.0;
        let of_pair = |(i, j, _)| {
            let (x, y) = (points.point(Side::Source, i), points.point(Side::Target, j));
            let mut bent = vec![0.0; len];
            match &formula {
                Some(formula) => formula.second_derivative(x, y, &direction, &mut bent),
                None => _ = points.cost.second_derivative(x, y, &direction, &mut bent),
            }
            bent.into_iter().map(f64::abs).fold(0.0, f64::max)
        };
        case.allowed().map(of_pair).fold(0.0, f64::max)
    };
    (0..len).map(largest).sum()
}

/// A direction in which a parameter moves, with entries up to one, for all columns of the batch or for each.
pub(super) struct Tangent {
    pub(super) parameter: CostParameter,
    pub(super) values: Vec<f64>,
    pub(super) columns: usize,
}

impl Tangent {
    fn new<D: Device>(scene: &mut Scene<'_, D>, parameter: CostParameter, copies: usize) -> Result<Self, Error> {
        let (rows, columns) = scene.reference.shape(parameter).ok_or(MISSING)?;
        let columns = columns * copies;
        Ok(Self { parameter, values: Seeded::new(8).vector::<D::Elem>(rows * columns, -1.0, 1.0), columns })
    }

    /// A bound of |dC_ij|.
    fn bound<D: Device>(&self, case: &GeometryCase<D>) -> f64 {
        let axes = match self.parameter {
            CostParameter::Points(_) => case.points().map_or(1, |points| points.dimension),
            CostParameter::Formula => case.parameters(),
            _ => 1,
        };
        axes as f64 * slopes(case, self.parameter).fold(0.0, f64::max)
    }
}

/// Channels of the product in a factor.
const CHANNELS: usize = 2;

/// [`PairWeight`] in f64: r and s with columns of their own, u and v with as many times the channels.
pub(super) struct Weight {
    pub(super) constant: f64,
    pub(super) sides: Option<[Vec<f64>; 2]>,
    pub(super) product: Option<[Vec<f64>; 2]>,
    pub(super) cost: f64,
}

impl Weight {
    /// The factor 1.
    fn one() -> Self {
        Self { constant: 1.0, sides: None, product: None, cost: 0.0 }
    }

    /// A factor with all its terms, of entries up to one.
    pub(super) fn new<D: Device>(case: &GeometryCase<D>, columns: usize) -> Self {
        let mut seeded = Seeded::new(7);
        let mut both = |channels: usize| {
            Some(Side::BOTH.map(|side| seeded.vector::<D::Elem>(channels * columns * case.len(side), -1.0, 1.0)))
        };
        Self { constant: 0.25, sides: both(1), product: both(CHANNELS), cost: 0.5 }
    }

    /// A bound of |w_ij|.
    pub(super) fn bound<D: Device>(&self, case: &GeometryCase<D>) -> f64 {
        3.0 + CHANNELS as f64 + self.cost * case.largest()
    }
}

/// No derivative.
const MISSING: Error = Error::MissingCapability("derivative of the cost");

impl<D: Device> Iterate<D> {
    /// Rows and columns of a parameter that the kernel knows the derivative in.
    pub(crate) fn shape(&mut self, parameter: CostParameter) -> Option<(usize, usize)> {
        self.kernel.cost_derivative()?.shape(parameter)
    }

    pub(super) fn pull_back(&mut self, weight: &Weight, parameter: CostParameter) -> Result<Vec<f64>, Error> {
        let mut out = self.alloc_parameter(parameter)?;
        self.derive(weight, |derivative, pairs| derivative.pull_back(pairs, parameter, &mut out))?;
        self.download(&out)
    }

    pub(super) fn push_forward(&mut self, side: Side, weight: &Weight, tangent: &Tangent) -> Result<Vec<f64>, Error> {
        let (values, mut out) = (self.upload(&tangent.values, tangent.columns)?, self.alloc(side, 1)?);
        let tangent = CostTangent { parameter: tangent.parameter, values: &values };
        self.derive(weight, |derivative, pairs| derivative.push_forward(side, pairs, tangent, &mut out))?;
        self.download(&out)
    }

    fn curvature(&mut self, weight: &Weight, parameter: CostParameter, tangent: &Tangent) -> Result<Vec<f64>, Error> {
        let (values, mut out) = (self.upload(&tangent.values, tangent.columns)?, self.alloc_parameter(parameter)?);
        let tangent = CostTangent { parameter: tangent.parameter, values: &values };
        self.derive(weight, |derivative, pairs| derivative.curvature(pairs, parameter, tangent, &mut out))?;
        self.download(&out)
    }

    fn gauss_newton(&mut self, parameter: CostParameter, tangent: &Tangent) -> Result<Vec<f64>, Error> {
        let (values, mut out) = (self.upload(&tangent.values, tangent.columns)?, self.alloc_parameter(parameter)?);
        let tangent = CostTangent { parameter: tangent.parameter, values: &values };
        self.derive(&Weight::one(), |derivative, pairs| {
            derivative.gauss_newton(pairs.plan, parameter, tangent, &mut out)
        })?;
        self.download(&out)
    }

    /// A vector over a parameter, for all columns of the batch.
    fn alloc_parameter(&mut self, parameter: CostParameter) -> Result<D::Vector, Error> {
        let (rows, columns) = self.shape(parameter).ok_or(MISSING)?;
        self.backend.alloc(rows, columns * self.kernel.columns())
    }

    /// Asks for a derivative under the plan with a factor.
    fn derive(
        &mut self,
        weight: &Weight,
        ask: impl FnOnce(&mut dyn CostDerivative<D>, WeightedPlan<'_, D>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let columns = self.kernel.columns();
        let upload = |both: &Option<[Vec<f64>; 2]>, channels: usize| match both {
            None => Ok(None),
            Some([source, target]) => {
                let channels = channels * columns;
                Ok::<_, Error>(Some((self.upload(source, channels)?, self.upload(target, channels)?)))
            }
        };
        let (sides, product) = (upload(&weight.sides, 1)?, upload(&weight.product, CHANNELS)?);
        let weight = PairWeight {
            constant: weight.constant,
            source: sides.as_ref().map(|(source, _)| source),
            target: sides.as_ref().map(|(_, target)| target),
            product: product.as_ref().map(|(u, v)| (u, v)),
            cost: weight.cost,
        };
        self.ask(|kernel, plan: PlanView<'_, D>| {
            ask(kernel.cost_derivative().ok_or(MISSING)?, WeightedPlan { plan, weight })
        })
    }
}
