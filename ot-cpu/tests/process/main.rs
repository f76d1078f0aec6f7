//! What is counted of the whole process: calls of the allocator and bytes that are held.
//!
//! These tests run one after the other, without the harness: a thread of its own would be counted too.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests without the harness")]

mod allocation;
mod allocator;
mod memory;
#[path = "../all/support.rs"]
mod support;

/// A test by its name.
type Test = (&'static str, fn());

const TESTS: [Test; 2] = [
    (
        "allocation::softmins_sweeps_and_products_allocate_nothing",
        allocation::softmins_sweeps_and_products_allocate_nothing,
    ),
    (
        "memory::a_streaming_solve_of_a_hundred_thousand_points_fits_64_mebibytes",
        memory::a_streaming_solve_of_a_hundred_thousand_points_fits_64_mebibytes,
    ),
];

/// Runs the tests whose names contain one of the words given, or all.
fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    for (name, test) in TESTS {
        if words.is_empty() || words.iter().any(|word| name.contains(word.as_str())) {
            println!("test {name}");
            test();
        }
    }
}
