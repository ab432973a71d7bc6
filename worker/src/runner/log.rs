//! A program's log in bounded memory: its beginning, its end, and how much is missing between them.

use std::collections::VecDeque;

/// Bytes kept of the beginning.
const HEAD: usize = 16 << 10;

/// Bytes kept of the end.
const TAIL: usize = 48 << 10;

/// Collects a log of any length.
#[derive(Debug, Default)]
pub struct BoundedLog {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    cut: u64,
    stream: Option<u8>,
    in_line: bool,
}

impl BoundedLog {
    /// Adds what one of several streams wrote next; where another one was in the middle of a line, a new line begins.
    pub fn push_of(&mut self, stream: u8, bytes: &[u8]) {
        if self.stream.replace(stream).is_some_and(|last| last != stream) && self.in_line {
            self.push(b"\n");
        }
        self.push(bytes);
    }

    /// Adds what was written next.
    pub fn push(&mut self, bytes: &[u8]) {
        self.in_line = bytes.last().map_or(self.in_line, |last| *last != b'\n');
        let (first, rest) = bytes.split_at(bytes.len().min(HEAD - self.head.len()));
        self.head.extend_from_slice(first);
        let kept = &rest[rest.len().saturating_sub(TAIL)..];
        let excess = (self.tail.len() + kept.len()).saturating_sub(TAIL);
        self.tail.drain(..excess);
        self.tail.extend(kept);
        self.cut += (rest.len() - kept.len() + excess) as u64;
    }

    /// The log as text. What is not UTF-8, and NUL, which HDF5 texts cannot hold, is replaced.
    pub fn text(&self) -> String {
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        let bytes = match self.cut {
            0 => [self.head.as_slice(), &tail].concat(),
            cut => [self.head.as_slice(), format!("\n[… {cut} bytes are cut here …]\n").as_bytes(), &tail].concat(),
        };
        String::from_utf8_lossy(&bytes).replace('\0', "\u{fffd}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(pieces: &[&[u8]]) -> String {
        let mut log = BoundedLog::default();
        pieces.iter().for_each(|piece| log.push(piece));
        log.text()
    }

    #[test]
    fn a_short_log_is_kept_whole() {
        assert_eq!(logged(&[b"one\n", b"", b"two\0\xff"]), "one\ntwo\u{fffd}\u{fffd}");
        let exactly = vec![b'x'; HEAD + TAIL];
        assert_eq!(logged(&[&exactly]), String::from_utf8(exactly.clone()).unwrap());
    }

    #[test]
    fn two_streams_do_not_share_a_line() {
        let mut log = BoundedLog::default();
        for (stream, bytes) in [(1, "out\n"), (2, "err "), (2, "goes on"), (1, "out"), (1, ""), (2, "the reason")] {
            log.push_of(stream, bytes.as_bytes());
        }
        assert_eq!(log.text(), "out\nerr goes on\nout\nthe reason");
    }

    #[test]
    fn of_a_long_log_beginning_and_end_are_kept_whatever_the_pieces() {
        let whole: Vec<u8> = (0..500_000).flat_map(|n| format!("{n}\n").into_bytes()).collect();
        let at_once = logged(&[&whole]);
        assert!(at_once.starts_with("0\n1\n") && at_once.ends_with("499998\n499999\n"));
        assert!(
            at_once.contains(&format!("{} bytes are cut", whole.len() - HEAD - TAIL)),
            "{}",
            &at_once[HEAD..HEAD + 80]
        );
        let pieces: Vec<&[u8]> = whole.chunks(7_001).collect();
        assert_eq!(logged(&pieces), at_once);
    }
}
