//! Statistics of the cost: a pass for the mean and the range, and one for the deviation around the mean, whose sums over rows
//! the host joins in f64.

use ot_core::{CostStatistics, Error, Scalar, Side, WeightsView};

use super::{
    costs::{Costs, FORBIDDEN},
    row_pass::{Cut, Place, RowPass, launch},
};
use crate::gpu::Arguments;

/// Words that a pass writes for each row and split.
const WORDS: usize = 6;

/// The statistics of costs under a x b, where a and b are the sums of the columns of the weights.
pub(super) fn cost_statistics(
    costs: &Costs,
    source: WeightsView<'_, f32>,
    target: WeightsView<'_, f32>,
) -> Result<CostStatistics, Error> {
    let of_rows = |side: Side, others: &[f64], around: Around| moments(costs, side, others, around);
    statistics_of(Side::BOTH.map(|side| costs.len(side)), source, target, &of_rows)
}

/// What squares are taken of: (C - centre) / unit, which single precision holds whatever the costs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around {
    pub(super) centre: f64,
    pub(super) unit: f64,
}

impl Around {
    /// For passes that no square is read of.
    const ZERO: Self = Self { centre: 0.0, unit: 1.0 };
}

/// The moments of the costs of all atoms of a side under weights of the other.
pub(super) type MomentsOf<'a> = dyn Fn(Side, &[f64], Around) -> Result<Vec<RowMoments>, Error> + 'a;

/// The statistics that moments of rows give.
pub(super) fn statistics_of<T: Scalar>(
    atoms: [usize; 2],
    source: WeightsView<'_, T>,
    target: WeightsView<'_, T>,
    moments: &MomentsOf<'_>,
) -> Result<CostStatistics, Error> {
    for (side, what, weights) in [(Side::Source, "source weights", source), (Side::Target, "target weights", target)] {
        let (expected, found) = (side.of(atoms), weights.len());
        if expected != found {
            return Err(Error::Length { what, expected, found });
        }
    }
    let (a, b) = (source.shares(), target.shares());
    let first = moments(Side::Source, &b, Around::ZERO)?;
    let joined = |moments: &[RowMoments]| {
        let pairs = a.iter().zip(moments);
        pairs.fold([0.0; 2], |[weight, sum], (a, row)| [weight + a * row.weight, sum + a * row.sum])
    };
    let [weight, sum] = joined(&first);
    let mean = if weight > 0.0 { sum / weight } else { 0.0 };
    let forbidden = first.iter().any(|row| row.forbidden);
    if forbidden {
        check_partners(source, target, moments)?;
    }
    let minimum = first.iter().map(|row| row.minimum).fold(f64::INFINITY, f64::min);
    let maximum = first.iter().map(|row| row.maximum).fold(f64::NEG_INFINITY, f64::max);
    let reach = (maximum - mean).abs().max((mean - minimum).abs());
    let unit = if reach.is_finite() && reach > 0.0 { reach } else { 1.0 };
    let around = moments(Side::Source, &b, Around { centre: mean, unit })?;
    let variance: f64 = a.iter().zip(&around).map(|(a, row)| a * row.squares).sum();
    let deviation = if weight > 0.0 { unit * (variance / weight).max(0.0).sqrt() } else { 0.0 };
    Ok(CostStatistics { mean, deviation, minimum, maximum, forbidden })
}

/// The costs between all source atoms and one target atom, infinite where they are forbidden.
pub(super) fn costs_with(costs: &Costs, target: usize) -> Result<Vec<f64>, Error> {
    let alone: Vec<f64> = (0..costs.len(Side::Target)).map(|j| f64::from(u8::from(j == target))).collect();
    let moments = moments(costs, Side::Source, &alone, Around::ZERO)?;
    Ok(moments.iter().map(|row| if row.weight > 0.0 { row.sum } else { f64::INFINITY }).collect())
}

/// What is known of the costs of one atom.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowMoments {
    /// sum_j b_j over the allowed pairs.
    pub(super) weight: f64,
    /// sum_j b_j C_ij.
    pub(super) sum: f64,
    /// sum_j b_j ((C_ij - centre) / unit)^2.
    pub(super) squares: f64,
    pub(super) minimum: f64,
    pub(super) maximum: f64,
    pub(super) forbidden: bool,
}

/// The moments of all atoms of a side.
fn moments(costs: &Costs, side: Side, others: &[f64], around: Around) -> Result<Vec<RowMoments>, Error> {
    let (rows, cut) = (costs.len(side), Cut::new(costs, side, 1, 1));
    let words: Vec<u32> = others.iter().map(|&weight| (weight as f32).to_bits()).collect();
    let weights = costs.gpu.upload(&words, "weights")?;
    let found = costs.gpu.take(WORDS * rows * cut.splits, "moments of rows")?;
    let mut arguments = Arguments::new();
    costs.tell(side, &mut arguments);
    arguments.place("weights", weights.start()).place("found", found.start()).number("centre", around.centre);
    arguments.number("inverse_unit", around.unit.recip());
    let key = costs.key("moments", side, &cut.options());
    launch(costs, side, cut, &key, &|| source(costs, side, cut), &arguments, &[0])?;
    let words = costs.gpu.read(&[(found.start(), WORDS * rows * cut.splits)])?.concat();
    let number =
        |split: usize, word: usize, row: usize| f64::from(f32::from_bits(words[(split * WORDS + word) * rows + row]));
    let of_row = |row: usize| {
        let sum = |word: usize| (0..cut.splits).map(|split| number(split, word, row)).sum::<f64>();
        let numbers = |word: usize| (0..cut.splits).map(move |split| number(split, word, row));
        RowMoments {
            weight: sum(0),
            sum: sum(1),
            squares: sum(2),
            minimum: numbers(3).fold(f64::INFINITY, f64::min),
            maximum: numbers(4).fold(f64::NEG_INFINITY, f64::max),
            forbidden: sum(5) > 0.0,
        }
    };
    Ok((0..rows).map(of_row).map(RowMoments::told).collect())
}

impl RowMoments {
    /// Infinities for the range of a row without an allowed pair.
    pub(super) fn told(self) -> Self {
        let limit = 0.5 * f64::from(FORBIDDEN);
        Self {
            minimum: if self.minimum > limit { f64::INFINITY } else { self.minimum },
            maximum: if self.maximum < -limit { f64::NEG_INFINITY } else { self.maximum },
            ..self
        }
    }
}

/// The pass over rows.
fn source(costs: &Costs, side: Side, cut: Cut) -> String {
    let pass = RowPass {
        fields: vec![("tile_weight", "select(0.0f, load(P.weights + other), is_inside)".into())],
        start: format!(
            "var weight# = vec2<f32>(0.0f, 0.0f);
var sum# = weight#;
var squares# = weight#;
var least# = {FORBIDDEN:e}f;
var most# = -{FORBIDDEN:e}f;
var forbidden# = 0.0f;
"
        ),
        before_tile: "var parts# = vec3<f32>(0.0f, 0.0f, 0.0f);\n".into(),
        after_tile: "weight# = pair_add_number(weight#, parts#.x);
sum# = pair_add_number(sum#, parts#.y);
squares# = pair_add_number(squares#, parts#.z);
"
        .into(),
        end: format!(
            "let at = P.found + split * {WORDS}u * P.rows + row#;
store(at, weight#.x);
store(at + P.rows, sum#.x);
store(at + 2u * P.rows, squares#.x);
store(at + 3u * P.rows, least#);
store(at + 4u * P.rows, most#);
store(at + 5u * P.rows, forbidden#);
"
        ),
        ..RowPass::default()
    };
    pass.source(costs, side, cut, &|step| {
        let of_place = |place: &Place<'_>| {
            let (Place { row, index, cost, .. }, weight) = (place, place.field("tile_weight"));
            format!(
                "if ({index} < end) {{
if ({cost} < 1.0e38f) {{
let distance = ({cost} - P.centre) * P.inverse_unit;
parts{row} += {weight} * vec3<f32>(1.0f, {cost}, distance * distance);
least{row} = min(least{row}, {cost});
most{row} = max(most{row}, {cost});
}} else {{ forbidden{row} = 1.0f; }}
}}
"
            )
        };
        step.places.iter().map(of_place).collect()
    })
}

/// Has every atom with mass a partner with mass at finite cost, in every column?
fn check_partners<T: Scalar>(
    source: WeightsView<'_, T>,
    target: WeightsView<'_, T>,
    moments: &MomentsOf<'_>,
) -> Result<(), Error> {
    let at = |weights: WeightsView<'_, T>, column: usize| column.min(weights.columns() - 1);
    for column in 0..source.columns().max(target.columns()) {
        let (a, b) = (source.column(at(source, column)), target.column(at(target, column)));
        for (side, own, others) in [(Side::Source, a, b), (Side::Target, b, a)] {
            let counted: Vec<f64> = others.iter().map(|&weight| f64::from(u8::from(weight.to_f64() > 0.0))).collect();
            let partners = moments(side, &counted, Around::ZERO)?;
            let is_stranded = |index: &usize| own[*index].to_f64() > 0.0 && partners[*index].weight == 0.0;
            if let Some(index) = (0..own.len()).find(is_stranded) {
                return Err(Error::Stranded { side, index, column });
            }
        }
    }
    Ok(())
}
