//! A program's log in bounded memory: its beginning, its end, and how much is missing between them; and its newest line,
//! for whoever asks while it is written.

mod redrawn;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use domain::text::shown;
use redrawn::Redrawn;

/// Bytes kept of the beginning.
const HEAD: usize = 16 << 10;

/// Bytes kept of the end.
const TAIL: usize = 48 << 10;

/// Bytes among which the newest line is looked for.
const NEWEST: usize = 1 << 10;

/// Most characters that are shown of the newest line.
const SHOWN: usize = 200;

/// The newest line of a log that is being written; clones are the same.
#[derive(Debug, Clone, Default)]
pub struct LastLine(Arc<Mutex<Vec<u8>>>);

impl LastLine {
    fn push(&self, bytes: &[u8]) {
        let mut end = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        end.extend_from_slice(&bytes[bytes.len().saturating_sub(NEWEST)..]);
        let excess = end.len().saturating_sub(NEWEST);
        end.drain(..excess);
    }

    /// The newest line that is not blank, as far as it is written; control characters are escaped. Empty where there is none.
    pub fn text(&self) -> String {
        let end = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let end = String::from_utf8_lossy(&end);
        let line = end.rsplit(['\n', '\r']).map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        shown(&line.chars().take(SHOWN).collect::<String>()).into_owned()
    }
}

/// Collects a log of any length.
#[derive(Debug, Clone, Default)]
pub struct BoundedLog {
    redrawn: Redrawn,
    kept: BothEnds,
    stream: Option<u8>,
    in_line: bool,
    last_line: LastLine,
}

impl BoundedLog {
    /// A log whose newest line is shown there.
    pub fn shown_by(last_line: LastLine) -> Self {
        Self { last_line, ..Self::default() }
    }

    /// Adds what one of several streams wrote next; where another one was in the middle of a line, a new line begins.
    pub fn push_of(&mut self, stream: u8, bytes: &[u8]) {
        if self.stream.replace(stream).is_some_and(|last| last != stream) && self.in_line {
            self.push(b"\n");
        }
        self.push(bytes);
    }

    /// Adds what was written next.
    pub fn push(&mut self, bytes: &[u8]) {
        self.last_line.push(bytes);
        if let Some(last) = bytes.last() {
            self.in_line = *last != b'\n';
        }
        self.redrawn.push(bytes, &mut |bytes| self.kept.keep(bytes));
    }

    /// The log as text. What is not UTF-8, and NUL, which HDF5 texts cannot hold, is replaced.
    pub fn text(&self) -> String {
        let mut kept = self.kept.clone();
        self.redrawn.clone().finish(&mut |bytes| kept.keep(bytes));
        let tail: Vec<u8> = kept.tail.iter().copied().collect();
        let bytes = match kept.cut {
            0 => [kept.head.as_slice(), &tail].concat(),
            cut => [kept.head.as_slice(), format!("\n[… {cut} bytes are cut here …]\n").as_bytes(), &tail].concat(),
        };
        String::from_utf8_lossy(&bytes).replace('\0', "\u{fffd}")
    }
}

/// The beginning and the end of what was written.
#[derive(Debug, Clone, Default)]
struct BothEnds {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    cut: u64,
}

impl BothEnds {
    fn keep(&mut self, bytes: &[u8]) {
        let (first, rest) = bytes.split_at(bytes.len().min(HEAD - self.head.len()));
        self.head.extend_from_slice(first);
        let kept = &rest[rest.len().saturating_sub(TAIL)..];
        let excess = (self.tail.len() + kept.len()).saturating_sub(TAIL);
        self.tail.drain(..excess);
        self.tail.extend(kept);
        self.cut += (rest.len() - kept.len() + excess) as u64;
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
    fn of_a_line_that_is_written_over_the_last_state_is_kept_and_the_line_before_it() {
        let bar: String = (0..=50_000).map(|n| format!("\r{n} of 50000")).collect();
        assert_eq!(logged(&[b"the reason\n", bar.as_bytes()]), "the reason\n50000 of 50000");
        assert_eq!(logged(&[b"the reason\n", bar.as_bytes(), b"\rdone\n"]), "the reason\n50000 of 50000\ndone\n");
        assert_eq!(logged(&[b"1%\r2%", b"\r", b"\nend\r\n\r\n"]), "2%\nend\n\n");
    }

    #[test]
    fn what_bars_draw_in_other_ways_is_written_over_too() {
        let twice = |draw: fn(u32) -> String| (0..=20_000).map(draw).collect::<String>();
        let check = |bar: String, expected: &str| {
            for size in [1, 7, 1 << 20] {
                let whole = format!("the reason\n{bar}");
                let pieces: Vec<&[u8]> = whole.as_bytes().chunks(size).collect();
                assert_eq!(logged(&pieces), expected, "in pieces of {size}");
            }
        };
        check(twice(|n| format!("\u{8}\u{8}\u{8}\u{8}\u{8}{n:05}")), "the reason\n20000");
        check(twice(|n| format!("\u{1b}[1A\u{1b}[2Kstep {n}\n")), "the reason\n\u{1b}[2Kstep 20000\n");
        let two = twice(|n| format!("\ra: {n}\n\rb: {n}\u{1b}[A"));
        check(two.clone(), "the reason\na: 0\na: 20000\nb: 20000");
        check(format!("{two}\n\nTraceback\n"), "the reason\na: 0\na: 20000\nb: 20000\nTraceback\n");
        // As many lines as one likes, gone up one by one, as tqdm does, or at once.
        let three = |up: &str| {
            let picture = |n: u32| format!("\ra: {n}\n\rb: {n}\n\rc: {n}{up}");
            (0..=2_000).map(picture).collect::<String>()
        };
        for up in ["\u{1b}[A\u{1b}[A", "\u{1b}[2A"] {
            check(three(up), "the reason\na: 0\nb: 0\na: 2000\nb: 2000\nc: 2000");
        }
        // Down again: what stands below stays.
        let two = twice(|n| format!("\ra: {n}\nb: {n}\u{1b}[A"));
        check(format!("{two}\ra: done\u{1b}[B\rb: done\nTraceback"), "the reason\na: 0\na: done\nb: done\nTraceback");
        check("\u{1b}[s\n\u{1b}[u\u{1b}[Aend".to_owned(), "the reason\n\u{1b}[s\nend");
        check("µm\u{8}\u{8}Å \u{1b}[31mred\u{1b}[0m\n".to_owned(), "the reason\nÅ \u{1b}[31mred\u{1b}[0m\n");
        check("100%\u{8}\u{8}\n\u{1b}".to_owned(), "the reason\n100%\n\u{1b}");
        // A sequence that is cut off ends no line.
        check("why\u{1b}[\n1%\r2%\r".to_owned(), "the reason\nwhy\u{1b}[\n2%\n");
    }

    #[test]
    fn the_newest_line_is_shown_while_it_is_written() {
        let last = LastLine::default();
        let mut log = BoundedLog::shown_by(last.clone());
        assert_eq!(last.text(), "");
        let mut check = |written: &[u8], shown: &str| {
            log.push(written);
            assert_eq!(last.text(), shown);
        };
        check(b"step 1\n", "step 1");
        check(b"step 2 o", "step 2 o");
        check(b"f 3\n\n  \n", "step 2 of 3");
        check(b"10 %\r20 %\r", "20 %");
        check(b"\x1b[31mred\n", "\\u{1b}[31mred");
        check(&[b'x'; 5000], &"x".repeat(SHOWN));
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
