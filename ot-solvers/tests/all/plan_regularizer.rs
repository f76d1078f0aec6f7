//! Plans that are not entropic: squares under every law, by either solver, on every geometry.
mod ascent;
mod laws;
mod peers;
mod squared_l2;
mod support;
