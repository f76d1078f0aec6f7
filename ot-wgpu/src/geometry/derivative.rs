//! Derivatives of the cost in its parameters, under the plan: sums whose factors are formulas.

use std::{fmt::Write, ops::Range, sync::Arc};

use ot_core::{
    Backend, CostDerivative, CostParameter, CostTangent, Error, PairWeight, PlanView, Program, Side, WeightedPlan,
};

use super::{
    factor::Factors,
    kernel::WgpuKernel,
    row_pass::{Place, Step},
    slopes::Variables,
    sums::{MAX_FACTORS, Sums, sum_rows},
};
use crate::{backend::Wgpu, vector::DeviceVector};

impl CostDerivative<Wgpu> for WgpuKernel {
    /// Of a formula: the points, the parameters, the scale. Of a matrix: the scale.
    fn shape(&self, parameter: CostParameter) -> Option<(usize, usize)> {
        if parameter == CostParameter::Scale {
            return Some((1, 1));
        }
        let program = self.costs.formula()?;
        let variables = Variables::of(program, parameter)?;
        self.costs.slopes(variables).ok()?;
        Some(match variables {
            Variables::Points(side) => (self.costs.len(side), variables.len(program)),
            Variables::Parameters => (variables.len(program), 1),
        })
    }

    fn pull_back(
        &mut self,
        pairs: WeightedPlan<'_, Wgpu>,
        parameter: CostParameter,
        out: &mut DeviceVector,
    ) -> Result<(), Error> {
        let factor = Factor { weight: Some(pairs.weight), change: None };
        self.pull(pairs.plan, factor, &self.slopes(parameter)?, out)
    }

    fn push_forward(
        &mut self,
        side: Side,
        pairs: WeightedPlan<'_, Wgpu>,
        tangent: CostTangent<'_, Wgpu>,
        out: &mut DeviceVector,
    ) -> Result<(), Error> {
        let factor = Factor { weight: Some(pairs.weight), change: Some(tangent) };
        self.sum(side, pairs.plan, factor, &Outputs::One, out)
    }

    /// The scale enters linearly: its blocks are first derivatives.
    fn curvature(
        &mut self,
        pairs: WeightedPlan<'_, Wgpu>,
        parameter: CostParameter,
        tangent: CostTangent<'_, Wgpu>,
        out: &mut DeviceVector,
    ) -> Result<(), Error> {
        let factor = Factor { weight: Some(pairs.weight), change: None };
        let moving = Factor { change: Some(tangent), ..factor };
        match (parameter, tangent.parameter) {
            (CostParameter::Scale, CostParameter::Scale) => self.backend.fill(0.0, out),
            (CostParameter::Scale, _) => self.pull(pairs.plan, moving, &Outputs::One, out),
            (_, CostParameter::Scale) => {
                let scaled = Outputs::ScaledSlopes(Box::new(self.slopes(parameter)?), tangent);
                self.pull(pairs.plan, factor, &scaled, out)
            }
            _ => {
                let both = [self.variables(parameter)?, self.variables(tangent.parameter)?];
                let bent = Outputs::Bent(self.costs.curvatures(both)?, both, tangent);
                self.pull(pairs.plan, factor, &bent, out)
            }
        }
    }

    fn gauss_newton(
        &mut self,
        plan: PlanView<'_, Wgpu>,
        parameter: CostParameter,
        tangent: CostTangent<'_, Wgpu>,
        out: &mut DeviceVector,
    ) -> Result<(), Error> {
        let factor = Factor { weight: None, change: Some(tangent) };
        self.pull(plan, factor, &self.slopes(parameter)?, out)
    }
}

/// A parameter that the cost does not have.
const MISSING: Error = Error::MissingCapability("derivative of the cost in this parameter");

/// What multiplies the entries of the plan: w, and dC = dC/dtheta . tangent.
#[derive(Clone, Copy, Debug)]
struct Factor<'a> {
    weight: Option<PairWeight<'a, Wgpu>>,
    change: Option<CostTangent<'a, Wgpu>>,
}

/// What is summed beside.
#[derive(Debug)]
enum Outputs<'a> {
    /// 1.
    One,
    /// C.
    Cost,
    /// dC / dv.
    Slopes(Arc<[Program]>, Variables),
    /// The same times the tangent of the scale.
    ScaledSlopes(Box<Outputs<'a>>, CostTangent<'a, Wgpu>),
    /// d2C / dv dw . tangent.
    Bent(Arc<[Program]>, [Variables; 2], CostTangent<'a, Wgpu>),
}

impl Outputs<'_> {
    /// How many they are.
    fn len(&self) -> usize {
        match self {
            Self::One | Self::Cost => 1,
            Self::Slopes(programs, _) | Self::Bent(programs, ..) => programs.len(),
            Self::ScaledSlopes(slopes, _) => slopes.len(),
        }
    }

    /// Instructions of some of them.
    fn instructions(&self, range: Range<usize>) -> usize {
        match self {
            Self::One | Self::Cost => 1,
            Self::ScaledSlopes(slopes, _) => slopes.instructions(range),
            Self::Slopes(programs, _) | Self::Bent(programs, ..) => {
                programs[range].iter().map(|program| program.instructions().len()).sum()
            }
        }
    }

    /// The side whose atoms have outputs of their own, if it is that of points.
    fn side(&self) -> Option<Side> {
        match self {
            Self::Slopes(_, Variables::Points(side)) | Self::Bent(_, [Variables::Points(side), _], _) => Some(*side),
            Self::ScaledSlopes(slopes, _) => slopes.side(),
            _ => None,
        }
    }

    /// What the text of a kernel depends on.
    fn options(&self) -> Vec<u32> {
        match self {
            Self::One => vec![0],
            Self::Cost => vec![1],
            Self::Slopes(_, variables) => vec![2, variables.key()],
            Self::ScaledSlopes(slopes, _) => [vec![3], slopes.options()].concat(),
            Self::Bent(_, [of, along], _) => vec![4, of.key(), along.key()],
        }
    }
}

impl WgpuKernel {
    fn variables(&self, parameter: CostParameter) -> Result<Variables, Error> {
        self.costs.formula().and_then(|formula| Variables::of(formula, parameter)).ok_or(MISSING)
    }

    /// The first derivatives in a parameter.
    fn slopes<'a>(&self, parameter: CostParameter) -> Result<Outputs<'a>, Error> {
        if parameter == CostParameter::Scale {
            return Ok(Outputs::Cost);
        }
        let variables = self.variables(parameter)?;
        Ok(Outputs::Slopes(self.costs.slopes(variables)?, variables))
    }

    /// Sums over all pairs, or, where the outputs belong to points, over the pairs of each point.
    fn pull(
        &self,
        plan: PlanView<'_, Wgpu>,
        factor: Factor<'_>,
        outputs: &Outputs<'_>,
        out: &mut DeviceVector,
    ) -> Result<(), Error> {
        if let Some(side) = outputs.side() {
            return self.sum(side, plan, factor, outputs, out);
        }
        let columns = outputs.len() * self.binding.columns();
        let of_rows = self.backend.alloc(self.costs.len(Side::Source), columns)?;
        self.sum(Side::Source, plan, factor, outputs, &of_rows)?;
        sum_rows(&self.costs, &of_rows, out.start(), columns)
    }

    /// Sums over the pairs of each atom of a side, a few outputs in each pass. A forbidden pair counts nothing.
    fn sum(
        &self,
        side: Side,
        plan: PlanView<'_, Wgpu>,
        factor: Factor<'_>,
        outputs: &Outputs<'_>,
        out: &DeviceVector,
    ) -> Result<(), Error> {
        let columns = self.binding.columns();
        let mut factors = Factors::new(side, columns);
        factors.options.extend(outputs.options());
        let weight = factor.weight.map(|weight| factors.weight(weight));
        let change = match factor.change {
            None => None,
            Some(tangent) => {
                let slopes = self.slopes(tangent.parameter)?;
                factors.options.extend(slopes.options());
                Some((factors.tangent(tangent, slopes.len()), slopes))
            }
        };
        let direction = match outputs {
            Outputs::ScaledSlopes(_, tangent) => Some(factors.tangent(*tangent, 1)),
            Outputs::Bent(_, [_, along], tangent) => {
                let len = self.costs.formula().map_or(0, |program| along.len(program));
                Some(factors.tangent(*tangent, len))
            }
            _ => None,
        };
        let direction = |k: usize, place: &Place<'_>| direction.as_ref().map_or(String::new(), |at| at(k, place));
        for first in (0..outputs.len()).step_by(MAX_FACTORS) {
            let count = MAX_FACTORS.min(outputs.len() - first);
            let of_step = |step: &Step<'_>| {
                let mut text = String::new();
                let all = self.outputs_at(step, outputs, first..first + count, &direction, "e", &mut text);
                let slopes = change
                    .as_ref()
                    .map(|(_, slopes)| self.outputs_at(step, slopes, 0..slopes.len(), &direction, "g", &mut text));
                let mut found = Vec::new();
                for (index, (place, of_pair)) in step.places.iter().zip(all).enumerate() {
                    let mut parts: Vec<String> = weight.iter().map(|weight| weight(place)).collect();
                    if let (Some((tangent, _)), Some(slopes)) = (&change, &slopes) {
                        let term = |(k, slope): (usize, &String)| format!("{slope} * {}", tangent(k, place));
                        let terms: Vec<String> = slopes[index].iter().enumerate().map(term).collect();
                        parts.push(format!("({})", terms.join(" + ")));
                    }
                    let name = format!("factor{}_{}", place.row, place.lane);
                    let product = if parts.is_empty() { "1.0f".into() } else { parts.join(" * ") };
                    let _ = writeln!(text, "let {name} = {product};");
                    let guarded =
                        |output: &String| format!("select(0.0f, {name} * {output}, {} < 1.0e38f)", place.cost);
                    found.push(of_pair.iter().map(guarded).collect());
                }
                (text, found)
            };
            let sums = Sums {
                costs: &self.costs,
                side,
                mass: self.mass(side, plan),
                columns,
                kernel: "derivatives of the cost",
                options: [&*factors.options, &[first as u32]].concat(),
                arguments: factors.arguments.clone(),
                fields: Vec::new(),
                start: factors.start.clone(),
                factors: count,
                instructions: outputs.instructions(first..first + count)
                    + change.as_ref().map_or(0, |(_, slopes)| slopes.instructions(0..slopes.len())),
            };
            sums.record(&of_step, [first, outputs.len()], out)?;
        }
        Ok(())
    }

    /// Some of the outputs at the pairs of a step, as expressions behind statements.
    fn outputs_at(
        &self,
        step: &Step<'_>,
        outputs: &Outputs<'_>,
        range: Range<usize>,
        direction: &dyn Fn(usize, &Place<'_>) -> String,
        tag: &str,
        text: &mut String,
    ) -> Vec<Vec<String>> {
        match outputs {
            Outputs::One => vec![vec!["1.0f".into()]; step.places.len()],
            Outputs::Cost => step.places.iter().map(|place| vec![place.cost.into()]).collect(),
            Outputs::ScaledSlopes(slopes, _) => {
                let slopes = self.outputs_at(step, slopes, range, direction, tag, text);
                let scaled = |(place, slopes): (&Place<'_>, Vec<String>)| {
                    slopes.iter().map(|slope| format!("{slope} * {}", direction(0, place))).collect()
                };
                step.places.iter().zip(slopes).map(scaled).collect()
            }
            Outputs::Slopes(programs, _) | Outputs::Bent(programs, ..) => {
                let mut found = vec![Vec::new(); step.places.len()];
                for (index, program) in programs.iter().enumerate().take(range.end).skip(range.start) {
                    let (statements, outputs) =
                        self.costs.evaluate_step(program, step, direction, &format!("{tag}{index}_"));
                    *text += &statements;
                    found.iter_mut().zip(outputs).for_each(|(found, output)| found.extend(output));
                }
                found
            }
        }
    }
}
