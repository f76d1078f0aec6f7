//! What every geometry and its kernels must do, tried on one [`GeometryCase`](crate::GeometryCase). What a geometry
//! cannot do is not tried; see [`left_out`](crate::left_out).

mod c_transform;
mod cost;
mod density;
mod derivative;
mod edges;
mod fenchel_gap;
mod hard;
mod product;
mod statistics;
mod sweep;

pub(crate) use self::derivative::PARAMETERS;
pub use self::{
    c_transform::{
        atoms_without_partners_are_unreachable, c_transforms_agree_with_the_reference, guesses_change_no_c_transform,
        inactive_columns_are_not_read, rebinding_changes_epsilon, recentring_changes_no_c_transform,
        the_entering_plan_is_that_of_the_guess,
    },
    cost::{costs_of_rank_one_plans_agree_with_the_reference, transport_costs_agree_with_the_reference},
    density::{
        capped_densities_agree_with_the_reference, conditional_potentials_keep_conditional_means,
        densities_agree_with_the_reference, densities_are_those_of_the_plan,
    },
    derivative::{
        curvatures_agree_with_the_reference, gauss_newton_products_agree_with_the_reference,
        pull_backs_agree_with_the_reference, push_forwards_agree_with_the_reference,
    },
    edges::edge_derivatives_agree_with_slopes,
    fenchel_gap::{gaps_of_relative_roundings_are_bounded, gaps_of_scaled_roundings_are_bounded},
    hard::{arcs_are_complete, hard_c_transforms_are_minima},
    product::{
        cells_agree_with_the_reference, curvature_products_agree_with_the_reference,
        normal_products_agree_with_the_reference, products_agree_with_the_reference, products_are_adjoint,
        weights_are_those_of_the_view,
    },
    statistics::statistics_agree_with_the_reference,
    sweep::{
        by_products_are_those_of_the_entering_iterate, half_steps_make_the_sweep,
        simultaneous_sweeps_agree_with_the_reference, sweeps_agree_with_the_reference,
    },
};
