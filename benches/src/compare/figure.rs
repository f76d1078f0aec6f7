//! Curves over two logarithmic axes, as an SVG.

use std::fmt::Write;

/// Width and height of the picture, and the frame of the axes in it.
const SIZE: [f64; 2] = [860.0, 520.0];
const FRAME: [[f64; 2]; 2] = [[80.0, 830.0], [450.0, 40.0]];

/// Colours of curves, told apart without colour vision too (Okabe, Ito 2008).
const COLOURS: [&str; 4] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"];

/// Points of one solver.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// The picture of some curves through positive points, with what the axes are called.
pub(super) fn logarithmic(curves: &[Curve], [horizontal, vertical]: [&str; 2]) -> String {
    let points = || curves.iter().flat_map(|curve| curve.points.iter().map(|&(x, y)| [x, y]));
    let decades = |axis: usize| {
        let logarithms = points().map(|point| point[axis].log10());
        let [low, high] =
            logarithms.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], x| [low.min(x), high.max(x)]);
        [low.floor(), high.ceil()]
    };
    let decades = [decades(0), decades(1)];
    let place = |axis: usize, value: f64| {
        let ([low, high], [from, to]) = (decades[axis], FRAME[axis]);
        from + (to - from) * (value.log10() - low) / (high - low).max(1.0)
    };

    let mut svg = String::new();
    push(
        &mut svg,
        &format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" \
             font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>",
            SIZE[0], SIZE[1]
        ),
    );
    for (axis, [low, high]) in decades.into_iter().enumerate() {
        for power in low as i32..=high as i32 {
            let at = place(axis, 10_f64.powi(power));
            let [[left, right], [bottom, top]] = FRAME;
            let ([x1, y1, x2, y2], [x, y], anchor) = match axis {
                0 => ([at, bottom, at, top], [at, bottom + 22.0], "middle"),
                _ => ([left, at, right, at], [left - 8.0, at + 4.0], "end"),
            };
            push(&mut svg, &format!("<path d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\" stroke=\"#ddd\"/>"));
            let label = format!("10<tspan dy=\"-5\" font-size=\"10\">{power}</tspan>");
            push(&mut svg, &format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{label}</text>"));
        }
    }
    for (index, Curve { name, points }) in curves.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let path: Vec<String> = points.iter().map(|&(x, y)| format!("{:.1},{:.1}", place(0, x), place(1, y))).collect();
        let line =
            format!("<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>", path.join(" "));
        push(&mut svg, &line);
        let (x, y) = (FRAME[0][0] + 16.0, FRAME[1][1] + 20.0 + 20.0 * index as f64);
        push(&mut svg, &format!("<path d=\"M{x} {}h26\" stroke=\"{colour}\" stroke-width=\"3\"/>", y - 4.0));
        push(&mut svg, &format!("<text x=\"{}\" y=\"{y}\">{name}</text>", x + 34.0));
    }
    let [middle, below] = [0.5 * (FRAME[0][0] + FRAME[0][1]), FRAME[1][0] + 48.0];
    push(&mut svg, &format!("<text x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">{horizontal}</text>"));
    let (x, y) = (24.0, 0.5 * (FRAME[1][0] + FRAME[1][1]));
    let turned = format!("transform=\"rotate(-90 {x} {y})\"");
    push(&mut svg, &format!("<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\" {turned}>{vertical}</text>"));
    push(&mut svg, "</svg>");
    svg
}

/// One element on a line of its own. (Writing to a string cannot fail.)
fn push(svg: &mut String, element: &str) {
    let _ = writeln!(svg, "{element}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_of_slope_one_is_straight() {
        let curve = Curve { name: "linear".to_owned(), points: vec![(10.0, 1e-3), (100.0, 1e-2), (1000.0, 1e-1)] };
        let svg = logarithmic(&[curve], ["atoms", "seconds"]);
        assert!(svg.contains("points=\"80.0,450.0 455.0,245.0 830.0,40.0\""), "{svg}");
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    }
}
