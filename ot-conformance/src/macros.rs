//! One line of macro for one implementation: a module with a test for each property. The lists of properties are written
//! here, once.

use ot_core::{Device, Error};

use crate::{
    case::GeometryCase,
    verdict::{PropertyFailure, Verdict},
};

/// A module of tests: all properties of the operations of a [`Backend`](ot_core::Backend). With kinds of supports, the
/// backend builds geometries of them (it is a [`GeometryBuilder`](ot_core::GeometryBuilder) too), and these are tried on
/// the [standard cases](crate::standard_cases).
///
/// ```
/// use ot_conformance::{ReferenceBackend, conformance_backend};
///
/// conformance_backend!(operations_f64, ReferenceBackend::<f64>::default());
/// conformance_backend!(clouds_f64, ReferenceBackend::<f64>::default(), [Points]);
/// conformance_backend!(all_f64, ReferenceBackend::<f64>::default(), [Points, Indices]);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! conformance_backend {
    ($name:ident, $backend:expr $(, [$($kind:ident),* $(,)?])? $(,)?) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $crate::conformance_backend!(@operations $backend;
                what_is_written_is_read,
                maps_are_the_formula,
                outputs_enter_as_they_were,
                selects_tell_what_is_finite,
                reductions_fold_columns,
                maps_of_reduced_vectors_are_the_formula,
                mixtures_are_products,
                scopes_give_results_back,
            );
            $(
                $crate::conformance_backend!(@builder $backend, &[$($crate::SupportKind::$kind),*];
                    moving_both_clouds_changes_nothing,
                    blurs_are_epsilons,
                    bad_geometries_are_refused,
                );
                $crate::conformance_geometry!(
                    @all $crate::standard_cases(&$backend, &[$($crate::SupportKind::$kind),*])
                );
            )?
        }
    };
    (@operations $backend:expr; $($property:ident,)*) => {
        $(
            #[test]
            fn $property() {
                $crate::assert_property($crate::properties::backend::$property(&$backend));
            }
        )*
    };
    (@builder $backend:expr, $kinds:expr; $($property:ident,)*) => {
        $(
            #[test]
            fn $property() {
                $crate::assert_property($crate::properties::builder::$property(&$backend, $kinds));
            }
        )*
    };
}

/// A module of tests: all properties of geometries and their kernels, on cases given as
/// `Result<Vec<GeometryCase<D>>, Error>`, and a test that prints what was [left out](crate::left_out).
///
/// ```
/// use ot_conformance::{GeometryCase, ReferenceBackend, conformance_geometry};
/// use ot_core::{Error, Host};
///
/// /// Whatever geometry you wrote, with the cost that it should have.
/// fn cases() -> Result<Vec<GeometryCase<Host<f64>>>, Error> {
///     let backend = ReferenceBackend::<f64>::default();
///     Ok(vec![GeometryCase::of_matrix(&backend, "mine", &[0.0, 1.0, 2.0, 0.5], 2, 2)?])
/// }
///
/// conformance_geometry!(mine, cases());
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! conformance_geometry {
    ($name:ident, $cases:expr $(,)?) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $crate::conformance_geometry!(@all $cases);
        }
    };
    (@all $cases:expr) => {
        #[test]
        fn what_is_left_out() {
            $crate::assert_property($crate::print_left_out($cases));
        }

        $crate::conformance_geometry!(@tests $cases;
            c_transforms_agree_with_the_reference,
            guesses_change_no_c_transform,
            the_entering_plan_is_that_of_the_guess,
            inactive_columns_are_not_read,
            atoms_without_partners_are_unreachable,
            rebinding_changes_epsilon,
            recentring_changes_no_c_transform,
            densities_agree_with_the_reference,
            capped_densities_agree_with_the_reference,
            densities_are_those_of_the_plan,
            conditional_potentials_keep_conditional_means,
            gaps_of_scaled_roundings_are_bounded,
            gaps_of_relative_roundings_are_bounded,
            sweeps_agree_with_the_reference,
            half_steps_make_the_sweep,
            simultaneous_sweeps_agree_with_the_reference,
            by_products_are_those_of_the_entering_iterate,
            products_agree_with_the_reference,
            weights_are_those_of_the_view,
            products_are_adjoint,
            normal_products_agree_with_the_reference,
            cells_agree_with_the_reference,
            curvature_products_agree_with_the_reference,
            transport_costs_agree_with_the_reference,
            costs_of_rank_one_plans_agree_with_the_reference,
            pull_backs_agree_with_the_reference,
            push_forwards_agree_with_the_reference,
            curvatures_agree_with_the_reference,
            gauss_newton_products_agree_with_the_reference,
            edge_derivatives_agree_with_slopes,
            hard_c_transforms_are_minima,
            arcs_are_complete,
            statistics_agree_with_the_reference,
        );
    };
    (@tests $cases:expr; $($property:ident,)*) => {
        $(
            #[test]
            fn $property() {
                let property = $crate::properties::geometry::$property;
                $crate::assert_property($crate::for_cases($cases, property));
            }
        )*
    };
}

/// A module of tests: all properties of a [`MarginalPenalty`](ot_core::MarginalPenalty).
///
/// ```
/// ot_conformance::conformance_penalty!(balanced, ot_core::Balanced);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! conformance_penalty {
    ($name:ident, $penalty:expr $(,)?) => {
        $crate::conformance_module!($name, penalty, $penalty;
            formulas_are_finite,
            steps_are_optimal,
            conjugates_are_legendre_transforms,
            subdifferentials_are_slopes,
            formulas_are_monotone,
            parameter_derivatives_are_slopes,
        );
    };
}

/// A module of tests: all properties of a [`Regularizer`](ot_core::Regularizer).
///
/// ```
/// ot_conformance::conformance_regularizer!(squares, ot_core::SquaredL2);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! conformance_regularizer {
    ($name:ident, $regularizer:expr $(,)?) => {
        $crate::conformance_module!($name, regularizer, $regularizer;
            densities_never_fall,
            densities_are_slopes,
            formulas_are_conjugate,
        );
    };
}

/// A module of tests: all properties of a [`GroundCost`](ot_core::GroundCost) between points, with coordinates of the
/// size of one, or [within](crate::CostCase::within) the numbers given: those that reach all branches of the cost.
///
/// ```
/// ot_conformance::conformance_cost!(square, ot_core::SqEuclidean);
/// ot_conformance::conformance_cost!(far_square, ot_core::SqEuclidean, within -50.0, 50.0);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! conformance_cost {
    ($name:ident, $cost:expr $(, within $low:expr, $high:expr)? $(,)?) => {
        $crate::conformance_module!($name, cost, $crate::CostCase::new($cost)$(.within($low, $high))?;
            rows_are_values,
            programs_are_the_cost,
            gradients_are_differences,
            second_derivatives_are_differences,
            claims_are_true,
            bounds_are_bounds,
            shared_costs_are_the_cost,
        );
    };
}

/// A module of tests of one value: properties of one module of [`properties`](crate::properties).
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_module {
    ($name:ident, $module:ident, $value:expr; $($property:ident,)*) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $(
                #[test]
                fn $property() {
                    $crate::assert_property($crate::properties::$module::$property(&$value));
                }
            )*
        }
    };
}

/// A test that the bits of a backend do not depend on its threads: a function from a number of threads
/// to a backend, and the numbers to try.
///
/// ```
/// use ot_conformance::{ReferenceBackend, conformance_threads};
///
/// conformance_threads!(serial, |_threads| ReferenceBackend::<f32>::default(), [1, 2, 3]);
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
                let property = $crate::properties::threads::threads_change_no_bits;
                $crate::assert_property(property($make, &$threads));
            }
        }
    };
}

/// Tries a property on every case.
///
/// # Errors
/// The failure of the first case that does not have the property, or whatever kept the cases from being built.
pub fn for_cases<D: Device>(
    cases: Result<Vec<GeometryCase<D>>, Error>,
    property: impl Fn(&GeometryCase<D>) -> Verdict,
) -> Verdict {
    cases.map_err(PropertyFailure::from)?.iter().try_for_each(property)
}
