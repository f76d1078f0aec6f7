//! Transport between measures of any masses: penalties of every kind, at every strength.

mod backends;
mod limits;
mod majorize_minimize;
mod partial;
mod translation;
