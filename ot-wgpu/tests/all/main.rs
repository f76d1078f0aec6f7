//! The backend of wgpu, from outside: one module for each subject.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod conformance;
mod device;
mod functions;
mod grids;
mod pairs;
mod shaders;
mod solves;
mod support;
mod texts;
