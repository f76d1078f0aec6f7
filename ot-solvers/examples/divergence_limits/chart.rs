//! Curves over a logarithmic axis, as an SVG.

use std::fmt::Write;

/// Width and height of the picture, and the frame of the axes in it.
const SIZE: [f64; 2] = [860.0, 520.0];
const LEFT: f64 = 80.0;
const RIGHT: f64 = 830.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = 450.0;

/// The most steps of the vertical axis.
const STEPS: f64 = 6.0;

/// Curves and levels over one another.
pub struct Chart<'a> {
    pub title: &'a str,
    pub horizontal: &'a str,
    pub vertical: &'a str,
    pub curves: Vec<Curve<'a>>,
    pub levels: Vec<Level<'a>>,
}

/// A curve through points of positive abscissa.
pub struct Curve<'a> {
    pub name: &'a str,
    pub colour: &'a str,
    pub points: Vec<(f64, f64)>,
}

/// A dashed horizontal line.
pub struct Level<'a> {
    pub name: &'a str,
    pub value: f64,
}

impl Chart<'_> {
    /// The picture.
    pub fn to_svg(&self) -> String {
        let frame = Frame::around(self);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
            SIZE[0], SIZE[1]
        );
        text(&mut svg, [0.5 * (LEFT + RIGHT), 32.0], "middle", "font-size=\"17\"", self.title);
        self.axes(&mut svg, &frame);
        for level in &self.levels {
            let y = frame.y(level.value);
            line(&mut svg, [LEFT, y], [RIGHT, y], "stroke=\"#555\" stroke-dasharray=\"5 4\"");
            text(&mut svg, [RIGHT - 6.0, y + 17.0], "end", "fill=\"#555\"", level.name);
        }
        for curve in &self.curves {
            let points: Vec<String> =
                curve.points.iter().map(|&(x, y)| format!("{:.1},{:.1}", frame.x(x), frame.y(y))).collect();
            let points = points.join(" ");
            let colour = curve.colour;
            push(
                &mut svg,
                &format!("<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"),
            );
        }
        // The names stand in the lower left corner, where curves that fall from left to right do not come.
        for (index, curve) in self.curves.iter().rev().enumerate() {
            let y = BOTTOM - 18.0 - 20.0 * index as f64;
            line(
                &mut svg,
                [LEFT + 14.0, y - 4.0],
                [LEFT + 40.0, y - 4.0],
                &format!("stroke=\"{}\" stroke-width=\"3\"", curve.colour),
            );
            text(&mut svg, [LEFT + 48.0, y], "start", "", curve.name);
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// Axes with ticks and labels: powers of ten below, even round steps on the left.
    fn axes(&self, svg: &mut String, frame: &Frame) {
        line(svg, [LEFT, BOTTOM], [RIGHT, BOTTOM], "stroke=\"black\"");
        line(svg, [LEFT, TOP], [LEFT, BOTTOM], "stroke=\"black\"");
        for power in frame.powers[0].ceil() as i32..=frame.powers[1].floor() as i32 {
            let x = frame.x(10_f64.powi(power));
            line(svg, [x, BOTTOM], [x, BOTTOM + 6.0], "stroke=\"black\"");
            let label = format!("10<tspan dy=\"-5\" font-size=\"10\">{power}</tspan>");
            text(svg, [x, BOTTOM + 24.0], "middle", "", &label);
        }
        let digits = (-frame.step.log10().floor()).max(0.0) as usize;
        for tick in 0..=(frame.values[1] / frame.step).round() as i32 {
            let value = frame.step * f64::from(tick);
            let y = frame.y(value);
            line(svg, [LEFT - 6.0, y], [LEFT, y], "stroke=\"black\"");
            text(svg, [LEFT - 10.0, y + 4.0], "end", "", &format!("{value:.digits$}"));
        }
        text(svg, [0.5 * (LEFT + RIGHT), BOTTOM + 52.0], "middle", "", self.horizontal);
        let (x, y) = (24.0, 0.5 * (TOP + BOTTOM));
        text(svg, [x, y], "middle", &format!("transform=\"rotate(-90 {x} {y})\""), self.vertical);
    }
}

/// What the axes span.
struct Frame {
    powers: [f64; 2],
    values: [f64; 2],
    /// From tick to tick of the values.
    step: f64,
}

impl Frame {
    fn around(chart: &Chart<'_>) -> Self {
        let points = || chart.curves.iter().flat_map(|curve| curve.points.iter().copied());
        let span = |values: &mut dyn Iterator<Item = f64>| {
            values.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| [low.min(value), high.max(value)])
        };
        let [_, highest] = span(&mut points().map(|(_, y)| y).chain(chart.levels.iter().map(|level| level.value)));
        let step = round_step(highest / STEPS);
        // Some space above what is highest.
        let top = step * (1.05 * highest / step).ceil();
        Self { powers: span(&mut points().map(|(x, _)| x.log10())), values: [0.0, top], step }
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * (value.log10() - self.powers[0]) / (self.powers[1] - self.powers[0])
    }

    fn y(&self, value: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * (value - self.values[0]) / (self.values[1] - self.values[0])
    }
}

/// The next of 1, 2 and 5 times a power of ten.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0].map(|digit| digit * power).into_iter().find(|step| *step >= least).unwrap_or(10.0 * power)
}

fn line(svg: &mut String, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2], style: &str) {
    push(svg, &format!("<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" {style}/>"));
}

fn text(svg: &mut String, [x, y]: [f64; 2], anchor: &str, style: &str, content: &str) {
    push(svg, &format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {style}>{content}</text>"));
}

/// One element on a line of its own. (Writing to a string cannot fail.)
fn push(svg: &mut String, element: &str) {
    let _ = writeln!(svg, "{element}");
}
