//! Plans that are not entropic: squares under every penalty, by either solver, on every geometry.
mod ascent;
mod newton;
mod peers;
mod penalties;
mod squared_l2;
mod support;
