//! How the two potentials take turns.

/// The order of the two half-steps.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Update {
    /// f from g, then g from the new f: Sinkhorn's iteration.
    #[default]
    Alternating,
    /// Both from the entering pair, and averaged with it: f <- (f + c_transform(g)) / 2 and
    /// likewise g (Knight, Ruiz, Ucar 2014; Feydy 2019). Treats the sides alike, and is the update
    /// for a measure against itself, where it converges in a few iterations. Over-relaxation does
    /// not apply.
    Symmetric,
}
