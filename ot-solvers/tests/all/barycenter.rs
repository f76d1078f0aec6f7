//! Barycenters.

mod bad_input;
mod bregman;
mod coordinates;
mod debiased;
mod free_support;
mod groups;
mod images;
mod linear_programme;
mod propagation;
mod run;
mod sharpening;
mod support;
mod unbalanced;
