//! What a scan over costs finds: their size, forbidden pairs, and entries that are no costs.

use crate::{
    error::Error,
    instructions::{Loops, run_widest},
    scalar::Scalar,
};

/// The largest finite |C_ij|, whether any C_ij is +inf, and the first entry that is NaN or minus infinity, of the
/// costs looked at so far.
///
/// Parts of a matrix are summarised in any order and on any thread, then [joined](Self::join): the result is the same.
/// Each entry is read once, several at a time.
///
/// ```
/// use ot_core::{CostSummary, Error};
///
/// let (mut first, mut second) = (CostSummary::default(), CostSummary::default());
/// first.look_at(0, 0, &[1.0, -3.0, f64::INFINITY]);
/// second.look_at(1, 0, &[0.0, 2.0, 1.0]);
/// first.join(second);
/// first.check::<f64>()?;
/// assert_eq!((first.bound(), first.forbids()), (3.0, true));
///
/// first.look_at(2, 0, &[0.0, f64::NEG_INFINITY]);
/// let refused = Error::Cost { source_index: 2, target_index: 1, value: f64::NEG_INFINITY };
/// assert_eq!(first.check::<f64>(), Err(refused));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CostSummary {
    bound: f64,
    forbids: bool,
    /// Source, target and value of the first entry that is no cost.
    invalid: Option<(usize, usize, f64)>,
}

impl CostSummary {
    /// Adds the costs between source atom `source_index` and the target atoms from `first_target` on.
    pub fn look_at<T: Scalar>(&mut self, source_index: usize, first_target: usize, costs: &[T]) {
        let (bound, forbids, refuses) = scan(costs);
        let place = if refuses { costs.iter().position(|cost| !is_cost(*cost)) } else { None };
        let invalid = place.map(|place| (source_index, first_target + place, costs[place].to_f64()));
        self.join(Self { bound, forbids, invalid });
    }

    /// Adds what another scan has found.
    pub fn join(&mut self, other: Self) {
        self.bound = self.bound.max(other.bound);
        self.forbids |= other.forbids;
        self.invalid = [self.invalid, other.invalid].into_iter().flatten().min_by_key(|&(i, j, _)| (i, j));
    }

    /// The largest absolute value of a finite cost; 0 if there is none.
    #[must_use]
    pub fn bound(&self) -> f64 {
        self.bound
    }

    /// Is any pair forbidden?
    #[must_use]
    pub fn forbids(&self) -> bool {
        self.forbids
    }

    /// Are all entries costs that the element type `T` can compute with?
    ///
    /// # Errors
    /// Those of [`check_entries`](Self::check_entries); [`Error::CostOverflow`] for a finite cost beyond
    /// [`Scalar::LARGEST_COST`].
    pub fn check<T: Scalar>(&self) -> Result<(), Error> {
        self.check_entries()?;
        check_bound::<T>(self.bound)
    }

    /// Are all entries costs?
    ///
    /// # Errors
    /// [`Error::Cost`] for the first entry that is NaN or minus infinity, by source, then by target.
    pub fn check_entries(&self) -> Result<(), Error> {
        match self.invalid {
            None => Ok(()),
            Some((source_index, target_index, value)) => Err(Error::Cost { source_index, target_index, value }),
        }
    }

    /// What a scan of the transposed matrix has found, of this one.
    pub(super) fn transposed(self) -> Self {
        Self { invalid: self.invalid.map(|(i, j, value)| (j, i, value)), ..self }
    }
}

/// Is every entry of the row of a source atom a cost? Faster than a [`CostSummary`] where nothing else is asked.
///
/// ```
/// use ot_core::cost::check_row;
///
/// assert!(check_row(3, &[0.0, -1.0, f64::INFINITY]).is_ok());
/// assert!(check_row(3, &[0.0_f32, f32::NAN]).is_err());
/// ```
///
/// # Errors
/// [`Error::Cost`] for the first that is NaN or minus infinity.
pub fn check_row<T: Scalar>(source_index: usize, row: &[T]) -> Result<(), Error> {
    // Without a branch, so that several entries are compared at once.
    if row.iter().fold(true, |are_costs, &cost| are_costs & is_cost(cost)) {
        return Ok(());
    }
    match row.iter().position(|&cost| !is_cost(cost)) {
        None => Ok(()),
        Some(target_index) => Err(Error::Cost { source_index, target_index, value: row[target_index].to_f64() }),
    }
}

/// Is a cost, or a bound of costs, within what the element type `T` can compute with?
///
/// ```
/// use ot_core::cost::check_bound;
///
/// assert!(check_bound::<f64>(1e60).is_ok());
/// assert!(check_bound::<f32>(1e60).is_err());
/// ```
///
/// # Errors
/// [`Error::CostOverflow`] for a size beyond [`Scalar::LARGEST_COST`], or NaN.
pub fn check_bound<T: Scalar>(bound: f64) -> Result<(), Error> {
    let limit = T::LARGEST_COST;
    if bound.abs() <= limit { Ok(()) } else { Err(Error::CostOverflow { bound, element: T::NAME, limit }) }
}

/// Is this neither NaN nor minus infinity?
pub(super) fn is_cost<T: Scalar>(value: T) -> bool {
    value.to_f64() > f64::NEG_INFINITY
}

/// The largest absolute value of a finite entry; whether any is +inf; whether any is no cost.
fn scan<T: Scalar>(entries: &[T]) -> (f64, bool, bool) {
    let (chunks, rest) = entries.as_chunks::<LANES>();
    let (bound, forbids, refuses) = run_widest(Scan(chunks));
    let bound = rest.iter().fold(bound, |bound, &entry| larger(bound, entry.to_f64()));
    let forbids = forbids || rest.iter().any(|&entry| entry.to_f64() == f64::INFINITY);
    (bound, forbids, refuses || rest.iter().any(|&entry| !is_cost(entry)))
}

/// Entries that are looked at together: enough for the latency of a comparison not to count.
const LANES: usize = 16;

/// The larger of a bound and the size of an entry, if that is finite.
#[inline(always)]
fn larger(bound: f64, entry: f64) -> f64 {
    let size = entry.abs();
    if size < f64::INFINITY && size > bound { size } else { bound }
}

/// [`scan`] of whole chunks.
struct Scan<'a, T>(&'a [[T; LANES]]);

impl<T: Scalar> Loops for Scan<'_, T> {
    type Output = (f64, bool, bool);

    /// One loop for each question, without a branch, over lanes as wide as the numbers: each becomes a few instructions on
    /// whole vectors.
    #[inline(always)]
    fn run(self) -> Self::Output {
        let (mut bounds, mut forbidding, mut refusing) = ([0.0; LANES], [0_u64; LANES], [0_u64; LANES]);
        for chunk in self.0 {
            let chunk = chunk.map(Scalar::to_f64);
            for lane in 0..LANES {
                bounds[lane] = larger(bounds[lane], chunk[lane]);
            }
            for lane in 0..LANES {
                forbidding[lane] |= u64::from(chunk[lane] == f64::INFINITY);
            }
            for lane in 0..LANES {
                refusing[lane] |= u64::from(!is_cost(chunk[lane]));
            }
        }
        let any = |flags: [u64; LANES]| flags.iter().any(|&flag| flag != 0);
        (bounds.into_iter().fold(0.0, f64::max), any(forbidding), any(refusing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_in_any_order_give_the_same_summary() {
        let mut entries: Vec<f64> = (0..5000).map(|k| f64::from(k % 97) - 50.0).collect();
        entries[4321] = -80.0;
        entries[1500] = f64::INFINITY;
        for invalid in [None, Some(17), Some(4999)] {
            let mut entries = entries.clone();
            if let Some(place) = invalid {
                // Another one behind the first.
                entries[place] = f64::NEG_INFINITY;
                entries[4999] = f64::NEG_INFINITY;
            }
            let mut whole = CostSummary::default();
            whole.look_at(3, 0, &entries);
            let mut parts = CostSummary::default();
            for (part, costs) in entries.chunks(700).enumerate().rev() {
                let mut summary = CostSummary::default();
                summary.look_at(3, part * 700, costs);
                parts.join(summary);
            }
            assert_eq!(whole, parts);
            assert_eq!((whole.bound(), whole.forbids()), (80.0, true));
            let refused =
                invalid.map(|target_index| Error::Cost { source_index: 3, target_index, value: f64::NEG_INFINITY });
            assert_eq!(whole.check::<f32>().err(), refused);
            assert_eq!(check_row(3, &entries).err(), refused);
        }
    }

    #[test]
    fn sizes_are_those_of_the_element_type() {
        let mut summary = CostSummary::default();
        summary.look_at(0, 0, &[1.0, -1e60]);
        assert_eq!(summary.check::<f64>(), Ok(()));
        let limit = <f32 as Scalar>::LARGEST_COST;
        assert_eq!(summary.check::<f32>(), Err(Error::CostOverflow { bound: 1e60, element: "f32", limit }));
        assert!(check_bound::<f64>(f64::NAN).is_err() && check_bound::<f64>(f64::INFINITY).is_err());
    }
}
