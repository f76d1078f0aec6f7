//! Transport without entropy: properties and closed forms.

mod certificate;
mod feasibility;
mod independent;
mod interruption;
mod paths;
mod robustness;
mod small;
mod support;
