//! Which words of a buffer are free.

/// Pieces start at multiples of this many words, and are multiples of it.
const ALIGNMENT: u32 = 64;

/// The free pieces of a buffer of words, in order, no two of them neighbours.
#[derive(Debug, Default)]
pub(crate) struct FreeList {
    pieces: Vec<Piece>,
    len: u32,
}

/// Some words in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

impl Piece {
    fn end(self) -> u32 {
        self.start + self.len
    }
}

/// What a piece for so many words takes; `None` beyond what words are counted with.
pub(crate) fn rounded(words: usize) -> Option<u32> {
    u32::try_from(words.max(1).checked_next_multiple_of(ALIGNMENT as usize)?).ok()
}

impl FreeList {
    /// The words of the buffer.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// Takes a [rounded](rounded) number of words, from the first piece that has them.
    pub(crate) fn take(&mut self, len: u32) -> Option<Piece> {
        let index = self.pieces.iter().position(|piece| piece.len >= len)?;
        let piece = &mut self.pieces[index];
        let taken = Piece { start: piece.start, len };
        *piece = Piece { start: piece.start + len, len: piece.len - len };
        if piece.len == 0 {
            self.pieces.remove(index);
        }
        Some(taken)
    }

    /// Gives a piece back.
    pub(crate) fn give(&mut self, piece: Piece) {
        let index = self.pieces.partition_point(|other| other.start < piece.start);
        self.pieces.insert(index, piece);
        self.join(index);
        if index > 0 {
            self.join(index - 1);
        }
    }

    /// The buffer has grown to so many words.
    pub(crate) fn grow(&mut self, len: u32) {
        let added = Piece { start: self.len, len: len - self.len };
        self.len = len;
        if added.len > 0 {
            self.give(added);
        }
    }

    /// Joins a piece with the next, if they are neighbours.
    fn join(&mut self, index: usize) {
        if let Some(&next) = self.pieces.get(index + 1)
            && self.pieces[index].end() == next.start
        {
            self.pieces[index].len += next.len;
            self.pieces.remove(index + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_never_overlap_and_all_come_back() {
        let mut free = FreeList::default();
        free.grow(1 << 12);
        let (mut taken, mut state) = (Vec::<Piece>::new(), 1_u32);
        for _ in 0..2000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let words = rounded((state >> 22) as usize).unwrap_or(0);
            if state & 3 == 0 && !taken.is_empty() {
                free.give(taken.swap_remove((state >> 8) as usize % taken.len()));
            } else if let Some(piece) = free.take(words) {
                let is_apart = |other: &Piece| piece.end() <= other.start || other.end() <= piece.start;
                assert!(piece.len == words && piece.end() <= free.len() && taken.iter().all(is_apart));
                taken.push(piece);
            } else {
                free.grow(2 * free.len().min(1 << 20));
            }
        }
        taken.into_iter().for_each(|piece| free.give(piece));
        assert_eq!(free.pieces, [Piece { start: 0, len: free.len() }]);
    }

    #[test]
    fn sizes_are_rounded_up_or_refused() {
        assert_eq!((rounded(0), rounded(64), rounded(65)), (Some(64), Some(64), Some(128)));
        assert_eq!((rounded(usize::MAX), rounded(1 << 32)), (None, None));
    }
}
