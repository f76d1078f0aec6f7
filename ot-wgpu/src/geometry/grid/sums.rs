//! Sums over the nodes of a grid, axis after axis, from logarithms to logarithms.
//!
//! ```text
//! V_i = log2 sum_j 2^(U_j - K C_ij)        U = K g + log2 b        K = 1 / (epsilon log 2)
//! ```
//!
//! A sum is kept around an anchor, which follows the largest exponent met so far and is not far below it.

use std::f64::consts::LOG2_E;

use ot_core::{Error, Side};

use super::{
    lines::{LinePass, enter},
    tables::Tables,
};
use crate::{
    gpu::{Arguments, Key},
    vector::DeviceVector,
};

/// What is summed, and what is made of the sums.
#[derive(Debug)]
pub(super) struct LogSums<'a> {
    pub(super) tables: &'a Tables,
    /// The side that gets values.
    pub(super) side: Side,
    /// The epsilon of the kernel; `None` for the kernel of ones.
    pub(super) epsilon: Option<f64>,
    pub(super) entering: Entering<'a>,
    /// The axis by whose cost, above the least and over the range, terms are multiplied.
    pub(super) weighted: Option<usize>,
    pub(super) ending: Ending,
}

/// What the logarithms of the other side are made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entering<'a> {
    /// Potential and log-weights: exp(g / epsilon) b.
    pub(super) plan: Option<[&'a DeviceVector; 2]>,
    /// Numbers, of which those of one sign count.
    pub(super) values: Option<(&'a DeviceVector, Sign)>,
}

/// Which numbers count. Logarithms have no signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    Positive,
    Negative,
}

impl Sign {
    pub(super) const BOTH: [Self; 2] = [Self::Positive, Self::Negative];

    pub(super) fn factor(self) -> f64 {
        match self {
            Self::Positive => 1.0,
            Self::Negative => -1.0,
        }
    }
}

/// What is made of V, the logarithm of a sum, in the variable `sum`; `is_lit` where there is anything to sum.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    pub(super) kernel: Key,
    /// Functions, and the statements for a node, which know `sum` and `is_lit`.
    pub(super) text: String,
    pub(super) arguments: Arguments,
}

impl LogSums<'_> {
    /// Records the passes for some channels, of so many in all over so many columns.
    pub(super) fn record(&self, list: &[u32], [channels, columns]: [usize; 2]) -> Result<(), Error> {
        let tables = self.tables;
        let lines = tables.lines(self.side);
        for list in list.chunks(tables.listed(self.side)) {
            let stride = tables.largest(self.side);
            let take = || tables.gpu.take(stride * list.len(), "tensors of a grid");
            let (mut from, mut to) = (take()?, if lines.len() > 1 { Some(take()?) } else { None });
            self.enter(from.start(), stride, list, [channels, columns])?;
            for (k, &of_axis) in lines.iter().enumerate() {
                let is_last = k + 1 == lines.len();
                let is_weighted = self.weighted == Some(of_axis.axis);
                let mut arguments = if is_last { self.ending.arguments.clone() } else { Arguments::new() };
                arguments.place("entering", from.start()).index("stride", stride);
                arguments.index("channels", channels).index("columns", columns);
                arguments.number("inverse", self.epsilon.map_or(0.0, |epsilon| LOG2_E / epsilon));
                if is_weighted {
                    let [least, largest] = tables.costs.axes()[of_axis.axis].range();
                    let range = largest - least;
                    let of_range = if range > 0.0 { 1.0 / range } else { 0.0 };
                    arguments.number("least", least).number("of_range", of_range);
                }
                let mut key = match is_last {
                    true => self.ending.kernel.clone(),
                    false => Key { kernel: "sums along lines", formulas: Vec::new(), options: Vec::new() },
                };
                key.options.push(u32::from(is_weighted));
                if let Some(to) = to.as_ref().filter(|_| !is_last) {
                    arguments.place("leaving", to.start());
                }
                let end = match is_last {
                    true => self.ending.text.as_str(),
                    false => "store(P.leaving + tensor * P.stride + node#, select(-1.0e30f, sum, is_lit));\n",
                };
                pass(is_weighted, end).launch(tables, of_axis, &key, arguments, list)?;
                if let Some(to) = &mut to {
                    std::mem::swap(&mut from, to);
                }
            }
        }
        Ok(())
    }

    /// The logarithms of the other side.
    fn enter(&self, entering: u32, stride: usize, list: &[u32], [channels, columns]: [usize; 2]) -> Result<(), Error> {
        let nodes = self.tables.costs.len(self.side.opposite());
        let mut arguments = Arguments::new();
        arguments.place("entering", entering).index("stride", stride).index("nodes", nodes);
        arguments.index("channels", channels).index("columns", columns);
        let mut text = String::from("var sum = 0.0f;\nvar is_lit = true;\n");
        let mut options = Vec::new();
        if let Some([potential, log_weights]) = self.entering.plan {
            arguments.number("inverse", self.epsilon.map_or(0.0, |epsilon| LOG2_E / epsilon));
            arguments.vector("potential", potential).vector("logarithms", log_weights);
            text += "let logarithm = load(P.logarithms_at + column * P.logarithms_stride + node);
sum += clamp(P.inverse * load(P.potential_at + column * P.potential_stride + node) + 1.44269504f * logarithm, -1.0e29f, 1.0e29f);
is_lit = logarithm > -0.5e30f;
";
            options.push(0);
        }
        if let Some((values, sign)) = self.entering.values {
            arguments.vector("values", values).number("sign", sign.factor());
            text += "let number = P.sign * load(P.values_at + channel * P.values_stride + node);
sum += log2(max(number, 1.0e-38f));
is_lit = is_lit && number >= 1.0e-38f;
";
            options.push(1);
        }
        text += "let value = select(-1.0e30f, sum, is_lit);\n";
        let key = Key { kernel: "logarithms of a grid", formulas: Vec::new(), options };
        enter(self.tables, &key, &text, &arguments, list, nodes)
    }
}

/// The sums of exponentials along lines.
fn pass(is_weighted: bool, end: &str) -> LinePass {
    let factor = if is_weighted { " * ((cost#_$ - P.least) * P.of_range)" } else { "" };
    LinePass {
        start: "var anchor# = -3.0e38f;\nvar total# = vec2<f32>(0.0f, 0.0f);\n".into(),
        entering: "let logarithm$ = select(-1.0e30f, load(P.entering + tensor * P.stride + place$), is_inside$);\n"
            .into(),
        pair: "let exponent#_$ = max(logarithm$ - P.inverse * cost#_$, -1.0e37f);\n".into(),
        step: format!(
            "let most# = max(max(exponent#_0, exponent#_1), max(exponent#_2, exponent#_3));
if (most# > anchor# + {SLACK:e}f) {{
total# *= exp2(max(anchor# - most#, -200.0f));
anchor# = most#;
}}
total# = pair_add_number(total#, {});
",
            [0, 1, 2, 3]
                .map(|lane| format!(
                    "exp2(max(exponent#_{lane} - anchor#, -200.0f)){}",
                    factor.replace('$', &lane.to_string())
                ))
                .join(" + ")
        ),
        end: format!(
            "{{
let is_lit = anchor# > -0.5e30f && total#.x > 0.0f;
let sum = anchor# + log2(select(1.0f, total#.x, is_lit));
{end}}}
"
        ),
    }
}

/// How far the largest exponent may be above the anchor: sums stay within single precision.
const SLACK: f32 = 32.0;
