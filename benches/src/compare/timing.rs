//! The clock.

use std::time::Instant;

use super::Failure;

/// The median; the lower one of two.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() - 1) / 2]
}

/// The seconds of one run, and what it returned.
pub(super) fn time_once<R>(run: impl FnOnce() -> Result<R, Failure>) -> Result<(f64, R), Failure> {
    let start = Instant::now();
    let result = run()?;
    Ok((start.elapsed().as_secs_f64(), result))
}

/// The median seconds of `repeats` runs after one that does not count, and what the last run returned.
pub(super) fn time<R>(repeats: usize, mut run: impl FnMut() -> Result<R, Failure>) -> Result<(f64, R), Failure> {
    let mut result = run()?;
    let mut seconds = Vec::with_capacity(repeats);
    for _ in 0..repeats {
        let (taken, last) = time_once(&mut run)?;
        seconds.push(taken);
        result = last;
    }
    Ok((median(seconds), result))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), 2.0);
    }

    #[test]
    fn the_first_run_does_not_count() {
        let mut runs = 0;
        let (_, last) = time(3, || {
            runs += 1;
            Ok(runs)
        })
        .unwrap();
        assert_eq!(last, 4);
    }
}
