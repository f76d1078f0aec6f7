//! Barycenters.

mod bad_input;
mod bregman;
mod linear_programme;
mod propagation;
mod run;
mod sharpening;
mod support;
mod unbalanced;
