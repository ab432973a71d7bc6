//! In which pieces a dataset's values are read, in the order of their rows: a chunk is unpacked as a whole, so each must lie in
//! one piece, or it is unpacked again for every other one. Pure.

use crate::budget::LARGEST_PIECE;

/// Bytes that are read at once, unless chunks are larger.
const PIECE: u64 = 4 << 20;

/// Chunks that are read at once, unless more lie side by side: the library keeps a note of each.
const CHUNKS: u64 = 16 << 10;

/// How a dataset is cut: along the axis `at`, `step` at a time; along axes before it one at a time, along those after it whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pieces {
    /// The axis that is cut.
    pub(super) at: usize,
    /// How much of it a piece has.
    pub(super) step: u64,
    /// Bytes of the largest piece, or of a chunk where that has more.
    pub(super) bytes: u64,
    /// Chunks of the whole dataset.
    pub(super) chunks: u64,
}

impl Pieces {
    /// For an array of these dimensions, none of them 0, in chunks of these, with elements of so many bytes. `Err`: the bytes of
    /// the smallest piece that is whole, which is too large.
    pub(super) fn of(dims: &[u64], chunk: Option<&[u64]>, element: u64) -> Result<Self, u64> {
        let is_chunked = chunk.is_some_and(|chunk| chunk.len() == dims.len());
        let chunk = chunk.filter(|_| is_chunked).map_or_else(|| vec![1; dims.len()], <[u64]>::to_vec);
        let product = |numbers: &mut dyn Iterator<Item = u64>| numbers.fold(1, u64::saturating_mul);
        let size = |at: usize| product(&mut dims[at + 1..].iter().copied()).saturating_mul(element);
        let thick = |at: usize| chunk[at].min(dims[at]).max(1);
        let last = dims.len() - 1;
        let at = (0..last).find(|at| thick(*at) > 1 || size(*at) <= PIECE).unwrap_or(last);
        let thin = size(at).saturating_mul(thick(at));
        let packed = product(&mut chunk.iter().copied()).saturating_mul(element);
        if thin.max(packed) > LARGEST_PIECE {
            return Err(thin.max(packed));
        }
        let along = |at: usize| if is_chunked { dims[at].div_ceil(chunk[at].max(1)) } else { 1 };
        let beside = product(&mut (at + 1..dims.len()).map(along));
        let times = (PIECE / thin.max(1)).min(CHUNKS / beside).max(1);
        Ok(Self {
            at,
            step: thick(at).saturating_mul(times).min(dims[at]),
            bytes: thin.saturating_mul(times).max(packed),
            chunks: product(&mut (0..dims.len()).map(along)),
        })
    }

    /// Start and extent of each piece, in the order of the values.
    pub(super) fn each(self, dims: &[u64]) -> impl Iterator<Item = (Vec<u64>, Vec<u64>)> {
        let mut next = Some(vec![0; dims.len()]);
        let dims = dims.to_vec();
        std::iter::from_fn(move || {
            let start = next.take()?;
            let mut extent = dims.clone();
            extent[..self.at].fill(1);
            extent[self.at] = self.step.min(dims[self.at] - start[self.at]);
            let mut after = start.clone();
            after[self.at] += extent[self.at];
            for axis in (0..=self.at).rev() {
                if after[axis] < dims[axis] {
                    next = Some(after);
                    break;
                }
                after[axis] = 0;
                if let Some(before) = axis.checked_sub(1) {
                    after[before] += 1;
                }
            }
            Some((start, extent))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pieces cover every element once and in order; returns the cut.
    fn cut(dims: &[u64], chunk: Option<&[u64]>, element: u64) -> Pieces {
        let pieces = Pieces::of(dims, chunk, element).unwrap();
        let row = |start: &[u64]| start.iter().zip(dims).fold(0, |row, (at, dim)| row * dim + at);
        let mut next = 0;
        for (start, extent) in pieces.each(dims) {
            assert_eq!(row(&start), next, "{pieces:?}");
            next += extent.iter().product::<u64>();
        }
        assert_eq!(next, dims.iter().product::<u64>(), "{pieces:?}");
        pieces
    }

    #[test]
    fn every_chunk_lies_in_one_piece() {
        // A curve of 256 MB in one chunk, and in chunks of a megabyte.
        assert_eq!((cut(&[32 << 20], Some(&[32 << 20]), 8).step), 32 << 20);
        assert_eq!(
            cut(&[32 << 20], Some(&[128 << 10]), 8),
            Pieces { at: 0, step: 512 << 10, bytes: 4 << 20, chunks: 256 }
        );
        // Rows of a table, chunks that are thick along the first axis, and thin ones.
        assert_eq!(cut(&[1_000, 1_000], None, 8).step, 524);
        assert_eq!(
            (cut(&[1_000, 1_000], Some(&[100, 10]), 8).at, cut(&[1_000, 1_000], Some(&[100, 10]), 8).step),
            (0, 500)
        );
        let thin = cut(&[3, 4, 4 << 20], Some(&[1, 1, 1 << 20]), 8);
        assert_eq!((thin.at, thin.step, thin.chunks), (2, 1 << 20, 48));
    }

    #[test]
    fn many_small_chunks_are_not_read_at_once_and_large_ones_not_at_all() {
        assert_eq!(cut(&[100_000], Some(&[1]), 8).step, CHUNKS);
        assert_eq!(Pieces::of(&[1 << 27], Some(&[1 << 27]), 8), Err(1 << 30));
        // A chunk that is larger than what there is of the dataset.
        assert_eq!(Pieces::of(&[10], Some(&[1 << 27]), 8), Err(1 << 30));
        assert_eq!(Pieces::of(&[1 << 20, 1 << 20], Some(&[1 << 20, 1]), 1), Err(1 << 40));
        assert_eq!(Pieces::of(&[u64::MAX, u64::MAX], Some(&[u64::MAX, u64::MAX]), 8), Err(u64::MAX));
    }
}
