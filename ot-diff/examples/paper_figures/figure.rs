//! Both figures, as SVG.

use std::{error::Error, ops::Range, path::Path};

use plotters::prelude::*;

use crate::{
    decay::{DIMENSIONS, Decay, EPSILONS, OF_DISCREPANCY, of_transport},
    positivity::Signs,
};

/// A colour for each epsilon.
const COLOURS: [RGBColor; EPSILONS.len()] = [RGBColor(31, 111, 235), RGBColor(212, 87, 42), RGBColor(46, 139, 87)];

/// Of lines beside the measured ones.
const PALE: RGBColor = RGBColor(150, 155, 165);

/// The decay of the loss: a panel for each dimension, a line for each epsilon, theory beside.
pub fn decay(path: &Path, decays: &[Decay]) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(path, (380 * DIMENSIONS.len() as u32, 360)).into_drawing_area();
    root.fill(&WHITE)?;
    let all = || decays.iter().flat_map(|decay| decay.points.iter().copied());
    let (sizes, losses) = (range(all().map(|(size, _)| size)), range(all().map(|(_, loss)| loss)));
    for (panel, dimension) in root.split_evenly((1, DIMENSIONS.len())).iter().zip(DIMENSIONS) {
        let mut chart = ChartBuilder::on(panel)
            .caption(format!("d = {dimension}"), ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(60)
            .build_cartesian_2d(sizes.clone().log_scale(), losses.clone().log_scale())?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_desc("points in a sample")
            .y_desc("loss between two samples")
            .y_label_formatter(&|value| format!("{value:.0e}"))
            .draw()?;
        let own = || decays.iter().filter(|decay| decay.dimension == dimension);
        for (decay, colour) in own().zip(COLOURS) {
            chart
                .draw_series(LineSeries::new(decay.points.iter().copied(), colour.stroke_width(2)))?
                .label(format!("epsilon {}: N^{:.2}", decay.epsilon, decay.exponent()))
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
            chart.draw_series(decay.points.iter().map(|&point| Circle::new(point, 3, colour.filled())))?;
        }
        // Slopes of theory, through the first points of the smallest and of the largest epsilon.
        let theory = [("transport", of_transport(dimension), own().next()), ("MMD", OF_DISCREPANCY, own().next_back())];
        for (name, exponent, decay) in theory {
            let Some(&(size, loss)) = decay.and_then(|decay| decay.points.first()) else { continue };
            let line = [size, sizes.end / 1.1].map(|n| (n, loss * (n / size).powf(exponent)));
            chart
                .draw_series(LineSeries::new(line, PALE))?
                .label(format!("{name}: N^{exponent:.2}"))
                .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], PALE));
        }
        chart.configure_series_labels().position(SeriesLabelPosition::LowerLeft).border_style(PALE).draw()?;
    }
    root.present()?;
    Ok(())
}

/// The range of relative losses over epsilon: all of them, the middle half, the median.
pub fn positivity(path: &Path, signs: &[Signs]) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(path, (640, 380)).into_drawing_area();
    root.fill(&WHITE)?;
    let epsilons = range(signs.iter().map(|signs| signs.epsilon));
    let lowest = signs.iter().map(|signs| signs.quantile(0.0)).fold(0.0, f64::min);
    let highest = signs.iter().map(|signs| signs.quantile(0.9)).fold(f64::MIN_POSITIVE, f64::max);
    let mut chart = ChartBuilder::on(&root)
        .caption("2 W(x, y) - W(x, x) - W(y, y), over 2 W(x, y)", ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(60)
        .build_cartesian_2d(epsilons.log_scale(), 1.1 * lowest - 0.02 * highest..1.05 * highest)?;
    chart.configure_mesh().light_line_style(TRANSPARENT).x_desc("epsilon").draw()?;
    let bands = [("90 %", [0.0, 0.9], COLOURS[0].mix(0.15)), ("half", [0.25, 0.75], COLOURS[0].mix(0.3))];
    for (name, [low, high], colour) in bands {
        let up = signs.iter().map(|signs| (signs.epsilon, signs.quantile(high)));
        let down = signs.iter().rev().map(|signs| (signs.epsilon, signs.quantile(low)));
        chart
            .draw_series([Polygon::new(up.chain(down).collect::<Vec<_>>(), colour)])?
            .label(name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 18, y + 5)], colour.filled()));
    }
    for (name, share, colour) in [("median", 0.5, COLOURS[0]), ("smallest", 0.0, COLOURS[1])] {
        let line = signs.iter().map(|signs| (signs.epsilon, signs.quantile(share)));
        chart
            .draw_series(LineSeries::new(line, colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().position(SeriesLabelPosition::UpperRight).border_style(PALE).draw()?;
    root.present()?;
    Ok(())
}

/// The range of positive numbers, and a little more.
fn range(values: impl Iterator<Item = f64> + Clone) -> Range<f64> {
    let positive = values.filter(|value| *value > 0.0);
    let low = positive.clone().fold(f64::INFINITY, f64::min);
    low / 1.3..positive.fold(low, f64::max) * 1.3
}
