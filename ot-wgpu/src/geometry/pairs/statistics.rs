//! Moments of the costs of each atom, in pairs.

use ot_core::{Error, Fold, Side};

use super::{costs::PairCosts, row_fold::RowFold};
use crate::{
    backend::WgpuDevice,
    device::WgpuPairs,
    geometry::statistics::{Around, RowMoments},
    gpu::Arguments,
    wgsl::Arithmetic,
};

/// Numbers for each row.
const NUMBERS: usize = 6;

/// What is known of the costs of each atom of a side, under weights of the other.
pub(super) fn moments(costs: &PairCosts, side: Side, others: &[f64], around: Around) -> Result<Vec<RowMoments>, Error> {
    let rows = costs.len(side);
    let weights = costs.gpu.upload(&WgpuPairs::encoded(others)?, "weights")?;
    let found = costs.gpu.take(2 * NUMBERS * rows, "moments of rows")?;
    let mut arguments = Arguments::new();
    costs.tell(side, &mut arguments);
    arguments.place("weights", weights.start()).place("found", found.start()).pair("centre", around.centre);
    arguments.pair("inverse_unit", around.unit.recip());
    let either = |allowed: &str, forbidden: &str| format!("select({forbidden}, {allowed}, is_allowed)");
    let none = "vec2<f32>(0.0f, 0.0f)";
    let folds = [
        (Fold::Sum, either("weight", none)),
        (Fold::Sum, either("pair_mul(weight, cost)", none)),
        (Fold::Sum, either("pair_mul(weight, pair_mul(distance, distance))", none)),
        (Fold::Min, either("cost", "vec2<f32>(3.0e38f, 0.0f)")),
        (Fold::Max, either("cost", "vec2<f32>(-3.0e38f, 0.0f)")),
        (Fold::Max, either(none, "vec2<f32>(1.0f, 0.0f)")),
    ];
    let end: String =
        (0..NUMBERS).map(|k| format!("store_pair(P.found + 2u * (row * {NUMBERS}u + {k}u), result{k});\n")).collect();
    let pair = format!(
        "let weight = {};
let is_allowed = cost.x < 1.0e38f;
let inverse_unit = vec2<f32>(P.inverse_unit_high, P.inverse_unit_low);
let distance = pair_mul(pair_add(cost, -vec2<f32>(P.centre_high, P.centre_low)), inverse_unit);
",
        Arithmetic::Pair.load("P.weights", "other")
    );
    let fold = RowFold {
        costs,
        side,
        kernel: "moments in pairs",
        options: Vec::new(),
        declarations: "",
        start: "",
        pair: &pair,
        folds: &folds,
        end: &end,
    };
    fold.launch(&arguments, 1)?;
    let words = costs.gpu.read(&[(found.start(), 2 * NUMBERS * rows)])?.concat();
    let of_row = |numbers: &[f64]| {
        RowMoments {
            weight: numbers[0],
            sum: numbers[1],
            squares: numbers[2],
            minimum: numbers[3],
            maximum: numbers[4],
            forbidden: numbers[5] > 0.0,
        }
        .told()
    };
    Ok(WgpuPairs::decoded(&words).chunks(NUMBERS).map(of_row).collect())
}
