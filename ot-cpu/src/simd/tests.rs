//! Accuracy over the whole range, special values, and the two promises of determinism: independence
//! of position, and the agreement of levels.

mod costs;
mod lines;
mod reference;
#[cfg(feature = "heat")]
mod substitution;

use super::{Level, PositiveRows, SquareChange, VectorMath};
use reference::DoubleDouble;

/// The next number of the `SplitMix64` sequence.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Uniform on `[low, high)`.
fn uniform(state: &mut u64, low: f64, high: f64) -> f64 {
    low + (high - low) * (next(state) >> 11) as f64 / (1_u64 << 53) as f64
}

/// The smallest argument of `f64` whose exponential is normal, and the largest whose is finite.
const EXP_RANGE_F64: (f64, f64) = (-708.3964185322641, 709.782712893384);

/// The same for `f32`.
const EXP_RANGE_F32: (f32, f32) = (-87.336_54, 88.722_83);

/// The largest error of each level over a sweep, `error(argument, result)` in ulp.
fn worst_of_each_level<T: VectorMath>(
    arguments: &[T],
    pass: impl Fn(Level, &mut [T]),
    error: impl Fn(T, T) -> f64,
) -> Vec<(Level, f64)> {
    Level::available()
        .map(|level| {
            let mut results = arguments.to_vec();
            pass(level, &mut results);
            let worst =
                arguments.iter().zip(&results).map(|(&argument, &result)| error(argument, result)).fold(0.0, f64::max);
            (level, worst)
        })
        .collect()
}

/// Asserts the bound that belongs to each level.
fn assert_within(errors: &[(Level, f64)], fused: f64, unfused: f64) {
    for &(level, worst) in errors {
        let bound = if level.is_fused() { fused } else { unfused };
        assert!(worst <= bound, "{level:?}: {worst} ulp exceeds {bound}");
    }
}

/// The error of an `f32` result against an `f64` reference, in ulp of the reference.
fn ulps_f32(reference: f64, result: f32) -> f64 {
    let exponent_only = f64::from_bits(reference.abs().to_bits() & !((1 << 52) - 1));
    let ulp = exponent_only * f64::from(f32::EPSILON);
    ((f64::from(result) - reference) / ulp).abs()
}

/// Arguments of the exponential in `f64`: the whole range, the usual range of scaled costs, values
/// of every small magnitude, and both ends.
fn exp_arguments_f64() -> Vec<f64> {
    let mut state = 1;
    let (smallest, largest) = EXP_RANGE_F64;
    let mut arguments = Vec::new();
    for _ in 0..40_000 {
        arguments.push(uniform(&mut state, smallest, largest));
        arguments.push(uniform(&mut state, -40.0, 1.0));
        arguments.push(uniform(&mut state, -0.36, 0.36));
    }
    for exponent in -1074..0 {
        let magnitude = reference::scaled(uniform(&mut state, 1.0, 2.0), exponent);
        arguments.extend([magnitude, -magnitude]);
    }
    let mut low = smallest;
    let mut high = largest;
    for _ in 0..100 {
        arguments.extend([low, high]);
        low = low.next_up();
        high = high.next_down();
    }
    arguments
}

/// Arguments of the logarithm in `f64`: every binade, subnormals with them, and the neighbourhoods
/// of 1 and of the ends of the reduced range.
fn ln_arguments_f64() -> Vec<f64> {
    let mut state = 2;
    let mut arguments = Vec::new();
    for _ in 0..40_000 {
        arguments.push(f64::from_bits(next(&mut state) % f64::INFINITY.to_bits()));
        arguments.push(uniform(&mut state, 0.7, 1.42));
        arguments.push(uniform(&mut state, 0.0, 10.0).max(f64::MIN_POSITIVE));
    }
    for exponent in -1074..=1023 {
        arguments.push(reference::scaled(1.0, exponent));
    }
    for exponent in -52..0 {
        let distance = reference::scaled(1.0, exponent);
        arguments.extend([1.0 + distance, 1.0 - distance]);
    }
    for centre in [1.0, std::f64::consts::SQRT_2, std::f64::consts::FRAC_1_SQRT_2] {
        let mut above: f64 = centre;
        let mut below: f64 = centre;
        for _ in 0..200 {
            above = above.next_up();
            below = below.next_down();
            arguments.extend([above, below]);
        }
    }
    arguments.push(f64::MAX);
    arguments
}

/// Every `stride`-th `f32` that `keep` accepts.
fn every_f32(stride: usize, keep: impl Fn(f32) -> bool) -> Vec<f32> {
    (0..=u32::MAX).step_by(stride).map(f32::from_bits).filter(|&x| keep(x)).collect()
}

#[test]
fn exp_f64_is_accurate_over_the_whole_range() {
    let error = |argument, result| {
        let (k, reference) = reference::exp(argument);
        reference.ulps_to(reference::scaled(result, -k))
    };
    let errors = worst_of_each_level(&exp_arguments_f64(), f64::exp_in_place_at, error);
    assert_within(&errors, 1.0, 1.5);
}

#[test]
fn exp_f32_is_accurate_over_the_whole_range() {
    let (smallest, largest) = EXP_RANGE_F32;
    let arguments = every_f32(2_039, |x| smallest <= x && x <= largest);
    let error = |argument, result| ulps_f32(f64::from(argument).exp(), result);
    let errors = worst_of_each_level(&arguments, f32::exp_in_place_at, error);
    assert_within(&errors, 1.0, 1.5);
}

#[test]
fn ln_f64_is_accurate_over_the_whole_range() {
    let error = |argument, result| {
        let reference: DoubleDouble = reference::ln(argument);
        if argument == 1.0 { result } else { reference.ulps_to(result) }
    };
    let errors = worst_of_each_level(&ln_arguments_f64(), f64::ln_in_place_at, error);
    assert_within(&errors, 1.0, 1.0);
}

#[test]
fn ln_f32_is_accurate_over_the_whole_range() {
    let mut arguments = every_f32(2_039, |x| x > 0.0 && x < f32::INFINITY);
    let near_one = 0.99_f32.to_bits()..1.01_f32.to_bits();
    arguments.extend(near_one.step_by(3).map(f32::from_bits).filter(|&x| x != 1.0));
    let error = |argument, result| ulps_f32(f64::from(argument).ln(), result);
    let errors = worst_of_each_level(&arguments, f32::ln_in_place_at, error);
    assert_within(&errors, 1.0, 1.0);
}

/// Tests that hold for each of the two types alike.
macro_rules! tests_of_type {
    ($module:ident, $type:ident, $range:ident) => {
        mod $module {
            use super::*;

            /// One element, alone in its slice.
            fn alone(pass: impl Fn(&mut [$type]), x: $type) -> $type {
                let mut slice = [x];
                pass(&mut slice);
                slice[0]
            }

            /// Values of every kind, for the tests of determinism.
            fn values(length: usize, low: f64, high: f64) -> Vec<$type> {
                let mut state = length as u64;
                (0..length).map(|_| uniform(&mut state, low, high) as $type).collect()
            }

            fn bits(x: &[$type]) -> Vec<u64> {
                x.iter().map(|value| value.to_bits().into()).collect()
            }

            #[test]
            fn exp_of_special_values() {
                let (smallest, largest) = $range;
                for level in Level::available() {
                    let exp = |x| alone(|slice| $type::exp_in_place_at(level, slice), x);
                    assert_eq!(exp(0.0), 1.0);
                    assert_eq!(exp(-0.0), 1.0);
                    assert_eq!(exp($type::INFINITY), $type::INFINITY);
                    assert_eq!(exp($type::MAX), $type::INFINITY);
                    assert_eq!(exp(largest.next_up()), $type::INFINITY);
                    assert!(exp(largest) <= $type::MAX && exp(largest) > 0.99 * $type::MAX);
                    assert!(exp(smallest) >= $type::MIN_POSITIVE);
                    assert!(exp(smallest) < 1.01 * $type::MIN_POSITIVE);
                    for flushed in [smallest.next_down(), $type::MIN, $type::NEG_INFINITY] {
                        assert_eq!(exp(flushed).to_bits(), 0);
                    }
                    for sign_and_payload in [0, 1, 0x7ff, 0xfff] {
                        let nan = $type::from_bits($type::NAN.to_bits() | sign_and_payload);
                        assert!(exp(nan).is_nan() && exp(-nan).is_nan());
                    }
                }
            }

            #[test]
            fn ln_of_special_values() {
                for level in Level::available() {
                    let ln = |x| alone(|slice| $type::ln_in_place_at(level, slice), x);
                    assert_eq!(ln(1.0).to_bits(), 0);
                    assert_eq!(ln(0.0), $type::NEG_INFINITY);
                    assert_eq!(ln(-0.0), $type::NEG_INFINITY);
                    assert_eq!(ln($type::INFINITY), $type::INFINITY);
                    assert!(ln($type::MAX).is_finite());
                    assert!(ln($type::from_bits(1)).is_finite());
                    for outside in [
                        -1.0,
                        -$type::MIN_POSITIVE,
                        -$type::from_bits(1),
                        $type::MIN,
                        $type::NEG_INFINITY,
                        $type::NAN,
                        -$type::NAN,
                    ] {
                        assert!(ln(outside).is_nan());
                    }
                }
            }

            #[test]
            fn elementwise_results_do_not_depend_on_position() {
                for level in Level::available() {
                    let exp = |slice: &mut [$type]| $type::exp_in_place_at(level, slice);
                    let exp_sum = |slice: &mut [$type]| {
                        $type::exp_shifted_sum_at(level, slice);
                    };
                    let ln = |slice: &mut [$type]| $type::ln_in_place_at(level, slice);
                    for length in 0..70 {
                        for offset in 0..3 {
                            let arguments = values(length + offset, -90.0, 90.0);
                            let alone_exp = arguments.iter().map(|&x| alone(exp, x));
                            let expected = bits(&alone_exp.collect::<Vec<_>>());
                            for pass in [&exp as &dyn Fn(&mut [$type]), &exp_sum] {
                                let mut results = arguments.clone();
                                pass(&mut results[offset..]);
                                assert_eq!(bits(&results[offset..]), expected[offset..]);
                                assert_eq!(bits(&results[..offset]), bits(&arguments[..offset]));
                            }

                            let arguments = values(length + offset, 0.0, 3.0);
                            let alone_ln = arguments.iter().map(|&x| alone(ln, x));
                            let expected = bits(&alone_ln.collect::<Vec<_>>());
                            let mut results = arguments.clone();
                            ln(&mut results[offset..]);
                            assert_eq!(bits(&results[offset..]), expected[offset..]);
                        }
                    }
                }
            }

            #[test]
            fn levels_agree() {
                let exp_arguments = values(10_000, -85.0, 85.0);
                let ln_arguments = values(10_000, 0.0, 100.0);
                let run = |level: Level| {
                    let mut exps = exp_arguments.clone();
                    let sum = $type::exp_shifted_sum_at(level, &mut exps);
                    let mut lns = ln_arguments.clone();
                    $type::ln_in_place_at(level, &mut lns);
                    (exps, lns, sum)
                };
                let (exps, lns, sum) = run(Level::BASELINE);
                let mut fused: Option<(Vec<u64>, Vec<u64>, u64)> = None;
                for level in Level::available() {
                    let (level_exps, level_lns, level_sum) = run(level);
                    // The sum of the two bounds, as multiples of the larger ulp of the two.
                    let close = |a: $type, b: $type| (a - b).abs() <= 2.5 * $type::EPSILON * b.abs();
                    assert!(exps.iter().zip(&level_exps).all(|(&a, &b)| close(a, b)));
                    assert!(lns.iter().zip(&level_lns).all(|(&a, &b)| close(a, b)));
                    assert!((sum - level_sum).abs() <= 2.5 * f64::from($type::EPSILON) * sum);
                    if level.is_fused() {
                        let these = (bits(&level_exps), bits(&level_lns), level_sum.to_bits());
                        let first = fused.get_or_insert_with(|| these.clone());
                        assert!(*first == these, "{level:?} differs from a fused level");
                    }
                }
            }

            #[test]
            fn the_sum_of_exponentials_sums_what_it_writes() {
                for level in Level::available() {
                    for length in (0..70).chain([1_000]) {
                        let mut x = values(length, -3.0, 0.0);
                        let sum = $type::exp_shifted_sum_at(level, &mut x);
                        let expected: f64 = x.iter().map(|&value| f64::from(value)).sum();
                        assert!((sum - expected).abs() <= 1e-14 * expected);
                    }
                }
            }

            #[test]
            fn dot_and_max_have_the_same_bits_at_every_level() {
                for length in (0..70).chain([1_000]) {
                    let x = values(length, -1.0, 1.0);
                    let y = values(length, 0.0, 2.0);
                    let expected = $type::dot_at(Level::BASELINE, &x, &y);
                    let plain: f64 = x.iter().zip(&y).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
                    assert!((expected - plain).abs() <= 1e-12);
                    let largest = x.iter().copied().fold($type::NEG_INFINITY, $type::max);
                    for level in Level::available() {
                        assert_eq!($type::dot_at(level, &x, &y).to_bits(), expected.to_bits());
                        assert_eq!($type::max_at(level, &x), largest);
                    }
                }
            }

            #[test]
            fn the_largest_difference_is_that_of_the_loop() {
                for level in Level::available() {
                    assert_eq!($type::largest_difference_at(level, &[], &[1.0]), $type::NEG_INFINITY);
                    for length in 1..70 {
                        let (x, mut y) = (values(length, -1.0, 1.0), values(length + 3, 0.0, 2.0));
                        (y[length / 2], y[length]) = ($type::INFINITY, -9.0);
                        let differences = x.iter().zip(&y).map(|(x, y)| x - y);
                        let expected = differences.fold($type::NEG_INFINITY, $type::max);
                        assert_eq!($type::largest_difference_at(level, &x, &y), expected);
                        y[length / 3] = $type::NAN;
                        assert!(!$type::largest_difference_at(level, &x, &y).is_nan());
                    }
                }
            }

            #[test]
            fn positive_parts_have_the_same_bits_at_every_level() {
                for length in (0..70).chain([1_000]) {
                    let (mut d, weights) = (values(length, -1.0, 1.0), values(length + 3, 0.0, 2.0));
                    if length > 2 {
                        d[length / 2] = $type::NEG_INFINITY;
                    }
                    let f = 0.2;
                    let parts: Vec<$type> = d.iter().map(|&d| if f + d > 0.0 { f + d } else { 0.0 }).collect();
                    let (mut sum, mut squares, mut count) = (0.0, 0.0, 0.0);
                    for (&part, &weight) in parts.iter().zip(&weights) {
                        let (part, weight) = (f64::from(part), f64::from(weight));
                        (sum, squares) = (sum + weight * part, squares + weight * part * part);
                        count += if part > 0.0 { weight } else { 0.0 };
                    }
                    let expected = $type::positive_sums_at(Level::BASELINE, f, &d, &weights);
                    assert!((expected[0] - sum).abs() <= 1e-11 && (expected[1] - count).abs() <= 1e-11);
                    let columns = [&weights[..], &weights[..], &weights[..]];
                    let change = SquareChange { factors: [0.5, 0.25, 0.0], columns, epsilon: 0.5 };
                    let gap = $type::square_fenchel_gap_at(Level::BASELINE, f, &d, &weights, change);
                    let plain: f64 = d
                        .iter()
                        .zip(&weights)
                        .map(|(&d, &w)| {
                            let (z, w) = ((f64::from(f) + f64::from(d)) / 0.5, f64::from(w));
                            let (p, q) = (z.max(0.0), 0.5 * z.max(0.0) * w + 0.25 * w);
                            w * ((q - p).powi(2) / 2.0 + q * (p - z))
                        })
                        .sum();
                    assert!(gap == plain || (gap - plain).abs() <= 1e-10, "{gap} {plain}");
                    for level in Level::available() {
                        let found = $type::positive_sums_at(level, f, &d, &weights);
                        assert_eq!(found.map(f64::to_bits), expected.map(f64::to_bits));
                        let mut out = d.clone();
                        let found = $type::positive_parts_at(level, f, &mut out, &weights);
                        assert_eq!(found[0].to_bits(), expected[0].to_bits());
                        assert!((found[1] - squares).abs() <= 1e-11);
                        assert_eq!(bits(&out), bits(&parts));
                        let same = $type::square_fenchel_gap_at(level, f, &d, &weights, change);
                        assert_eq!(same.to_bits(), gap.to_bits());
                        let mut costs = values(length, -1.0, 1.0);
                        let expected: Vec<$type> = costs.iter().zip(&weights).map(|(&c, &g)| g - c).collect();
                        $type::differences_from_at(level, &weights, &mut costs);
                        assert_eq!(bits(&costs), bits(&expected));
                    }
                }
            }

            #[test]
            fn marginals_of_positive_parts_are_those_of_the_formula() {
                for (rows, length) in [(1, 1), (3, 15), (4, 64), (5, 255), (8, 256), (7, 300), (8, 1000)] {
                    let (f, mut a) = (values(rows, -1.0, 0.0), values(rows + 1, 0.0, 1.0));
                    let (g, b) = (values(length, 0.0, 1.0), values(length + 2, 0.0, 1.0));
                    let mut costs = values(rows * length, -1.0, 1.0);
                    (a[rows / 2], costs[length / 2]) = (0.0, $type::INFINITY);
                    let lines: Vec<&[$type]> = costs.chunks_exact(length).collect();
                    let part = |r: usize, j: usize| f64::from(((g[j] - lines[r][j]) + f[r]).max(0.0));
                    let near = |found: f64, expected: f64| {
                        assert!(
                            (found - expected).abs() <= 40.0 * f64::from($type::EPSILON) * expected,
                            "{found} {expected}"
                        );
                    };
                    for level in Level::available() {
                        let (mut sums, mut columns) = (vec![1.0; rows], vec![2.0; length]);
                        let marginals = PositiveRows { f: &f, a: &a, g: &g, b: &b, costs: &lines };
                        let squares = $type::positive_marginals_at(level, marginals, &mut sums, &mut columns);
                        let [a, b] = [&a, &b].map(|weights| weights.iter().copied().map(f64::from).collect::<Vec<_>>());
                        for (r, &sum) in sums.iter().enumerate() {
                            near(sum, 1.0 + (0..length).map(|j| b[j] * part(r, j)).sum::<f64>());
                        }
                        for (j, &column) in columns.iter().enumerate() {
                            near(column, 2.0 + (0..rows).map(|r| a[r] * part(r, j)).sum::<f64>());
                        }
                        let of_row = |r: usize| a[r] * (0..length).map(|j| b[j] * part(r, j).powi(2)).sum::<f64>();
                        near(squares, (0..rows).map(of_row).sum());
                    }
                }
            }

            #[test]
            fn axpy_rounds_product_and_sum_at_every_level() {
                for level in Level::available() {
                    for length in 0..70 {
                        let x = values(length, -1.0, 1.0);
                        let start = values(length, 0.0, 2.0);
                        let mut out = start.clone();
                        $type::axpy_at(level, 0.3, &x, &mut out);
                        let expected = start.iter().zip(&x).map(|(&sum, &term)| sum + 0.3 * term);
                        assert_eq!(bits(&out), bits(&expected.collect::<Vec<_>>()));
                    }
                }
            }

            #[test]
            fn unequal_lengths_meet_at_the_shorter() {
                let long = values(50, 1.0, 2.0);
                let short = values(21, 1.0, 2.0);
                for level in Level::available() {
                    let expected = $type::dot_at(level, &long[..21], &short);
                    assert_eq!($type::dot_at(level, &long, &short), expected);
                    assert_eq!($type::dot_at(level, &short, &long), expected);
                    let mut out = long.clone();
                    $type::axpy_at(level, 1.0, &short, &mut out);
                    assert_eq!(bits(&out[21..]), bits(&long[21..]));
                    let mut out = short.clone();
                    $type::axpy_at(level, 1.0, &long, &mut out);
                    assert!(out.iter().all(|&value| value >= 2.0));
                }
            }

            #[test]
            fn max_passes_over_nan_and_knows_the_empty_slice() {
                for level in Level::available() {
                    assert_eq!($type::max_at(level, &[]), $type::NEG_INFINITY);
                    for position in 0..40 {
                        let mut x = vec![-2.0; 40];
                        x[position] = -1.0;
                        x[(position + 1) % 40] = $type::NAN;
                        assert_eq!($type::max_at(level, &x), -1.0);
                    }
                }
            }

            #[test]
            fn the_plain_forms_run_at_the_detected_level() {
                let level = Level::detected();
                let (x, y) = (values(45, -1.0, 1.0), values(45, 0.5, 1.0));
                let (mut a, mut b) = (x.clone(), x.clone());
                $type::exp_in_place(&mut a);
                $type::exp_in_place_at(level, &mut b);
                assert_eq!(bits(&a), bits(&b));
                $type::ln_in_place(&mut a);
                $type::ln_in_place_at(level, &mut b);
                assert_eq!(bits(&a), bits(&b));
                $type::axpy(0.7, &y, &mut a);
                $type::axpy_at(level, 0.7, &y, &mut b);
                assert_eq!(bits(&a), bits(&b));
                let sums = ($type::exp_shifted_sum(&mut a), $type::exp_shifted_sum_at(level, &mut b));
                assert_eq!(sums.0.to_bits(), sums.1.to_bits());
                assert_eq!($type::dot(&x, &y), $type::dot_at(level, &x, &y));
                assert_eq!(<$type as VectorMath>::max(&x), $type::max_at(level, &x));
            }
        }
    };
}

tests_of_type!(type_f32, f32, EXP_RANGE_F32);
tests_of_type!(type_f64, f64, EXP_RANGE_F64);
