//! Transport without entropy: laws and closed forms.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod certificate;
mod feasibility;
mod independent;
mod interruption;
mod paths;
mod robustness;
mod support;
