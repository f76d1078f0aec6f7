//! Passes over vectors, in elements a second, at every instruction-set level of the machine.
//!
//! ```text
//! cargo bench -p benches --bench elementwise
//! cargo bench -p benches --bench elementwise -- --quick exp
//! ```

use std::{error::Error, hint::black_box, time::Duration};

use benches::seeded::Seeded;
use criterion::{BenchmarkId, Criterion, Throughput};
use ot_core::{
    Balanced, Kl, Program, RecordedPenalty, TotalVariation,
    program::{BlockInput, Registers},
};
use ot_cpu::{
    CpuScalar,
    backend::VectorisedMath,
    bench_support::{Level, PRODUCT_LANES, PointCost, PointPairs},
};

/// Elements of a vector: the first-level cache holds three of them in `f64`.
const LEN: usize = 1024;

/// Rows that are added up together.
const ROWS: usize = 8;

/// Points whose costs are evaluated together.
const POINTS: usize = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    passes::<f32>(&mut criterion);
    passes::<f64>(&mut criterion);
    penalties::<f32>(&mut criterion)?;
    penalties::<f64>(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}

/// The vectorised passes of an element type.
fn passes<T: CpuScalar>(criterion: &mut Criterion) {
    let (x, y, small) = (numbers::<T>(1, LEN, 0.1, 2.0), numbers::<T>(2, LEN, 0.1, 2.0), numbers(3, LEN, -1.0, 0.0));
    let (rows, factors) = (numbers::<T>(4, ROWS * LEN, 0.0, 1.0), numbers::<T>(5, ROWS, 0.0, 1.0));
    let mut buffer = x.clone();
    // A pass in place starts from the same numbers each time: a copy is part of it.
    pass::<T, _>(criterion, "copy", LEN, |_| buffer.copy_from_slice(black_box(&x)));
    pass::<T, _>(criterion, "exp", LEN, |level| {
        buffer.copy_from_slice(black_box(&small));
        T::exp_in_place_at(level, &mut buffer);
    });
    pass::<T, _>(criterion, "exp_shifted_sum", LEN, |level| {
        buffer.copy_from_slice(black_box(&small));
        T::exp_shifted_sum_at(level, &mut buffer)
    });
    pass::<T, _>(criterion, "ln", LEN, |level| {
        buffer.copy_from_slice(black_box(&x));
        T::ln_in_place_at(level, &mut buffer);
    });
    pass::<T, _>(criterion, "dot", LEN, |level| T::dot_at(level, black_box(&x), black_box(&y)));
    pass::<T, _>(criterion, "max", LEN, |level| T::max_at(level, black_box(&x)));
    let mut sums = x.clone();
    let alpha = T::from_f64(1e-9);
    pass::<T, _>(criterion, "axpy", LEN, |level| T::axpy_at(level, alpha, black_box(&x), &mut sums));
    let mut wide = vec![0.0; LEN];
    pass::<T, _>(criterion, "accumulate", ROWS * LEN, |level| {
        T::accumulate_at(level, black_box(&factors), black_box(&rows), LEN, &mut wide);
    });
    let costs = [
        ("square", PointCost::Square { scale: 0.5 }),
        ("Euclidean", PointCost::Power { norm: 2.0, exponent: 1.0 }),
        ("Manhattan", PointCost::Power { norm: 1.0, exponent: 1.0 }),
        ("PNorm 3", PointCost::Power { norm: 3.0, exponent: 1.0 }),
    ];
    let mut tile = vec![T::default(); POINTS * LEN];
    for ((name, cost), dimension) in costs.iter().flat_map(|cost| [2, 3, 8].map(|dimension| (cost, dimension))) {
        let points = &factors.repeat(POINTS)[..POINTS * dimension];
        let name = format!("point_costs {name}, d = {dimension}");
        pass::<T, _>(criterion, &name, POINTS * LEN, |level| {
            let pairs = PointPairs { points: black_box(points), dimension, axes: black_box(&rows), stride: LEN };
            T::point_costs_at(level, *cost, pairs, LEN, LEN, &mut tile);
        });
    }
    pass::<T, _>(criterion, "row_sums", ROWS * LEN, |level| {
        T::row_sums_at(level, black_box(&rows), LEN, black_box(&y), &mut wide[..ROWS]);
    });
    let lanes: Vec<[T; PRODUCT_LANES]> = x.iter().map(|&x| [x; PRODUCT_LANES]).collect();
    let mut products = vec![[0.0; PRODUCT_LANES]; LEN];
    pass::<T, _>(criterion, "add_row_products", ROWS * LEN * PRODUCT_LANES, |level| {
        T::add_row_products_at(level, black_box(&rows), LEN, black_box(&lanes), &mut products[..ROWS]);
    });
    pass::<T, _>(criterion, "add_column_products", ROWS * LEN * PRODUCT_LANES, |level| {
        T::add_column_products_at(level, black_box(&rows), LEN, black_box(&lanes[..ROWS]), &mut products);
    });
    let f = T::from_f64(0.2);
    pass::<T, _>(criterion, "gibbs", LEN, |level| {
        buffer.copy_from_slice(black_box(&x));
        T::gibbs_at(level, f, T::from_f64(10.0), T::from_f64(80.0), black_box(&small), &mut buffer);
    });
    pass::<T, _>(criterion, "gibbs_sum", LEN, |level| {
        buffer.copy_from_slice(black_box(&x));
        T::gibbs_sum_at(level, f, 0.1, black_box(&small), black_box(&y), &mut buffer)
    });
}

/// One pass at every level.
fn pass<T: CpuScalar, R>(criterion: &mut Criterion, name: &str, elements: usize, mut run: impl FnMut(Level) -> R) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(elements as u64));
    for level in Level::available() {
        let level_name = format!("{level:?}").replace("Level", "");
        let id = BenchmarkId::new(T::NAME, level_name.trim_matches(['(', ')']));
        group.bench_function(id, |bencher| bencher.iter(|| run(level)));
    }
    group.finish();
}

/// The steps of penalties, as the interpreter runs their programs.
fn penalties<T: CpuScalar>(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let penalties = [
        ("balanced", RecordedPenalty::new(&Balanced)?),
        ("KL", RecordedPenalty::new(&Kl::new(1.0)?)?),
        ("total variation", RecordedPenalty::new(&TotalVariation::new(1.0)?)?),
    ];
    let (potential, softmin) = (numbers::<T>(6, LEN, -1.0, 1.0), numbers::<T>(7, LEN, -1.0, 1.0));
    let weights = numbers::<T>(8, LEN, 0.0, 1.0);
    for (name, penalty) in penalties {
        let (f, s, a) = (BlockInput::Lanes(&potential), BlockInput::Lanes(&softmin), BlockInput::Lanes(&weights));
        let (omega, epsilon) = (BlockInput::Uniform(T::from_f64(1.5)), BlockInput::Uniform(T::from_f64(0.1)));
        let mut out = [potential.clone(), potential.clone()];
        let [first, second] = &mut out;
        let group = format!("penalty of {name}");
        program(criterion, &group, "step", penalty.relaxed_step(), &[f, s, omega, epsilon], &mut [first])?;
        let unmet = &[f, s, a, epsilon];
        program(
            criterion,
            &group,
            "residual and mass",
            penalty.residual_and_mass_of_softmin(),
            unmet,
            &mut [first, second],
        )?;
        program(criterion, &group, "dual", penalty.dual(), &[f, a], &mut [first])?;
    }
    Ok(())
}

/// One program at the detected level.
fn program<T: CpuScalar>(
    criterion: &mut Criterion,
    group: &str,
    name: &str,
    program: &Program,
    inputs: &[BlockInput<'_, T>],
    outputs: &mut [&mut [T]],
) -> Result<(), Box<dyn Error>> {
    let mut registers = Registers::new();
    program.run_block::<T, VectorisedMath>(inputs, &mut registers, outputs)?;
    let mut group = criterion.benchmark_group(group);
    group.throughput(Throughput::Elements(LEN as u64));
    group.bench_function(BenchmarkId::new(T::NAME, name), |bencher| {
        bencher.iter(|| program.run_block::<T, VectorisedMath>(black_box(inputs), &mut registers, outputs));
    });
    group.finish();
    Ok(())
}

/// Numbers drawn evenly from a range.
fn numbers<T: CpuScalar>(seed: u64, len: usize, low: f64, high: f64) -> Vec<T> {
    let drawn = Seeded::new(seed).draw(len, |random| low + (high - low) * random.uniform());
    drawn.into_iter().map(T::from_f64).collect()
}
