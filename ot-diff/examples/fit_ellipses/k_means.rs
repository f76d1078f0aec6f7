//! Lloyd's k-means (1982), from centres that are farthest from each other.

use crate::iris::DIMENSION;

/// The cluster of each point.
pub fn clusters(points: &[f64], count: usize) -> Vec<usize> {
    let points: Vec<&[f64]> = points.chunks_exact(DIMENSION).collect();
    // The first centre is the mean's farthest point, each next the farthest from those before.
    let mut centres = vec![mean(points.iter().copied())];
    while centres.len() <= count {
        let far = |point: &&[f64]| centres.iter().map(|centre| square(point, centre)).fold(f64::INFINITY, f64::min);
        let farthest = points.iter().copied().max_by(|one, other| far(one).total_cmp(&far(other)));
        centres.push(farthest.map(<[f64]>::to_vec).unwrap_or_default());
    }
    centres.remove(0);
    let mut clusters = vec![usize::MAX; points.len()];
    loop {
        let nearest = |point: &&[f64]| {
            let near =
                |&one: &usize, &other: &usize| square(point, &centres[one]).total_cmp(&square(point, &centres[other]));
            (0..count).min_by(near).unwrap_or(0)
        };
        let next: Vec<usize> = points.iter().map(nearest).collect();
        if next == clusters {
            return clusters;
        }
        clusters = next;
        for (index, centre) in centres.iter_mut().enumerate() {
            let own = points.iter().zip(&clusters).filter(|(_, cluster)| **cluster == index);
            *centre = mean(own.map(|(point, _)| *point));
        }
    }
}

/// |x - y|^2.
pub fn square(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum()
}

/// The mean of points, the origin if there are none.
fn mean<'a>(points: impl Iterator<Item = &'a [f64]>) -> Vec<f64> {
    let (mut sum, mut count) = (vec![0.0; DIMENSION], 0.0);
    for point in points {
        sum.iter_mut().zip(point).for_each(|(sum, x)| *sum += x);
        count += 1.0;
    }
    sum.into_iter().map(|sum| sum / f64::max(count, 1.0)).collect()
}
