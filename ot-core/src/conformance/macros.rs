//! One line of macro for one implementation: a module with a test for each law. The lists of laws are
//! written here, once.

use super::{GeometryCase, LawFailure, Verdict};
use crate::{backend::Backend, error::Error};

/// A module of tests: all laws of backends, and those of geometries on what it builds for the standard
/// cases.
///
/// ```
/// use ot_core::conformance::ReferenceBackend;
///
/// ot_core::conformance_backend!(reference_f64, ReferenceBackend::<f64>::default());
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! conformance_backend {
    (@tests $backend:expr; $($law:ident,)*) => {
        $(
            #[test]
            fn $law() {
                $crate::conformance::assert_law($crate::conformance::laws::backend::$law(&$backend));
            }
        )*
    };
    ($name:ident, $backend:expr $(,)?) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $crate::conformance_backend!(@tests $backend;
                what_is_written_is_read,
                maps_are_the_formula,
                outputs_enter_as_they_were,
                reductions_fold_columns,
                maps_of_reduced_vectors_are_the_formula,
                mixtures_are_products,
                scopes_give_results_back,
                moving_both_clouds_changes_nothing,
                blurs_are_epsilons,
                bad_geometries_are_refused,
            );
            $crate::conformance_geometry!(@all $crate::conformance::standard_cases(&$backend));
        }
    };
}

/// A module of tests: all laws of geometries and their kernels, on cases given as
/// `Result<Vec<GeometryCase<B>>, Error>`.
///
/// ```
/// use ot_core::conformance::{GeometryCase, ReferenceBackend};
///
/// /// Whatever geometry you wrote, with the cost that it should have.
/// fn cases() -> Result<Vec<GeometryCase<ReferenceBackend<f64>>>, ot_core::Error> {
///     let backend = ReferenceBackend::default();
///     Ok(vec![GeometryCase::of_matrix(&backend, "mine", &[0.0, 1.0, 2.0, 0.5], 2, 2)?])
/// }
///
/// ot_core::conformance_geometry!(mine, cases());
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! conformance_geometry {
    (@all $cases:expr) => {
        $crate::conformance_geometry!(@tests $cases;
            softmins_are_exact,
            shifts_change_no_result,
            a_batch_is_its_columns,
            inactive_columns_keep_what_they_held,
            atoms_without_partners_are_unreachable,
            rebinding_changes_epsilon,
            recentring_changes_no_result,
            sweeps_are_two_half_steps,
            sweeps_tell_of_the_entering_iterate,
            products_are_those_of_the_plan,
            products_are_adjoint,
            transport_costs_are_sums,
            transport_costs_obey_the_identity,
            costs_of_rank_one_plans_are_sums,
            pair_sums_are_sums,
            pull_backs_are_differences,
            push_forwards_are_adjoint_to_pull_backs,
            curvatures_are_second_differences,
            c_transforms_are_minima,
            softmins_tend_to_c_transforms,
            arcs_are_complete,
            surveys_are_statistics,
            families_meet_the_demands_of_laws,
            families_tell_of_their_plan,
            families_sweep_by_responses,
        );
    };
    (@tests $cases:expr; $($law:ident,)*) => {
        $(
            #[test]
            fn $law() {
                let law = $crate::conformance::laws::geometry::$law;
                $crate::conformance::assert_law($crate::conformance::for_cases($cases, law));
            }
        )*
    };
    ($name:ident, $cases:expr $(,)?) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $crate::conformance_geometry!(@all $cases);
        }
    };
}

/// A module of tests: all laws of a [`Regularizer`](crate::Regularizer).
///
/// ```
/// ot_core::conformance_regularizer!(balanced, ot_core::Balanced);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! conformance_regularizer {
    (@tests $law_of_a_marginal:expr; $($law:ident,)*) => {
        $(
            #[test]
            fn $law() {
                $crate::conformance::assert_law($crate::conformance::laws::regularizer::$law(&$law_of_a_marginal));
            }
        )*
    };
    ($name:ident, $regularizer:expr $(,)?) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $crate::conformance_regularizer!(@tests $regularizer;
                formulas_are_finite,
                steps_are_optimal,
                conjugates_are_legendre_transforms,
                demands_are_slopes,
                formulas_are_monotone,
            );
        }
    };
}

/// A module of tests: all laws of a [`PlanRegularizer`](crate::PlanRegularizer).
///
/// ```
/// ot_core::conformance_plan_regularizer!(squares, ot_core::SquaredL2);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! conformance_plan_regularizer {
    (@tests $regularizer:expr; $($law:ident,)*) => {
        $(
            #[test]
            fn $law() {
                $crate::conformance::assert_law($crate::conformance::laws::plan_regularizer::$law(&$regularizer));
            }
        )*
    };
    ($name:ident, $regularizer:expr $(,)?) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $crate::conformance_plan_regularizer!(@tests $regularizer;
                densities_never_fall,
                densities_are_slopes,
                formulas_are_conjugate,
            );
        }
    };
}

/// A module of tests: all laws of a [`GroundCost`](crate::GroundCost) between points.
///
/// ```
/// ot_core::conformance_cost!(square, ot_core::SqEuclidean);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! conformance_cost {
    (@tests $cost:expr; $($law:ident,)*) => {
        $(
            #[test]
            fn $law() {
                $crate::conformance::assert_law($crate::conformance::laws::cost::$law(&$cost));
            }
        )*
    };
    ($name:ident, $cost:expr $(,)?) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $crate::conformance_cost!(@tests $cost;
                rows_are_values,
                programs_are_the_cost,
                gradients_are_differences,
                second_derivatives_are_differences,
                claims_are_true,
                shared_costs_are_the_cost,
            );
        }
    };
}

/// A test that the bits of a backend do not depend on its threads: a function from a number of threads
/// to a backend, and the numbers to try.
///
/// ```
/// use ot_core::conformance::ReferenceBackend;
///
/// ot_core::conformance_threads!(serial, |_threads| ReferenceBackend::<f32>::default(), [1, 2, 3]);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! conformance_threads {
    ($name:ident, $make:expr, $threads:expr $(,)?) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            #[test]
            fn threads_change_no_bits() {
                let law = $crate::conformance::laws::threads::threads_change_no_bits;
                $crate::conformance::assert_law(law($make, &$threads));
            }
        }
    };
}

/// Tries a law on every case.
///
/// # Errors
/// The failure of the first case that breaks the law, or whatever kept the cases from being built.
pub fn for_cases<B: Backend>(
    cases: Result<Vec<GeometryCase<B>>, Error>,
    law: impl Fn(&GeometryCase<B>) -> Verdict,
) -> Verdict {
    cases.map_err(LawFailure::from)?.iter().try_for_each(law)
}
