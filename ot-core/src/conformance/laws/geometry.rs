//! What every geometry and its kernels must do, tried on one [`GeometryCase`](crate::conformance::GeometryCase).

mod derivative;
mod family;
mod hard;
mod plan;
mod softmin;
mod survey;
mod sweep;

pub use self::{
    derivative::{
        curvatures_are_second_differences, pull_backs_are_differences, push_forwards_are_adjoint_to_pull_backs,
    },
    family::{families_meet_the_demands_of_laws, families_sweep_by_responses, families_tell_of_their_plan},
    hard::{arcs_are_complete, c_transforms_are_minima, softmins_tend_to_c_transforms},
    plan::{
        costs_of_rank_one_plans_are_sums, pair_sums_are_sums, products_are_adjoint, products_are_those_of_the_plan,
        transport_costs_are_sums, transport_costs_obey_the_identity,
    },
    softmin::{
        a_batch_is_its_columns, atoms_without_partners_are_unreachable, inactive_columns_keep_what_they_held,
        rebinding_changes_epsilon, recentring_changes_no_result, shifts_change_no_result, softmins_are_exact,
    },
    survey::surveys_are_statistics,
    sweep::{sweeps_are_two_half_steps, sweeps_tell_of_the_entering_iterate},
};

/// Multiples of the mean cost at which kernels are tried.
const EPSILONS: [f64; 5] = [1e-4, 1e-2, 0.1, 1.0, 1e2];

/// Those at which the plan is tried.
const MODERATE_EPSILONS: [f64; 3] = [1e-3, 0.05, 1.0];
