//! Lines as a terminal would leave them: what is written over is not kept, so that bars of progress do not push the reason out.
//!
//! `\r` ends a line, as `\n` does; of a line that is written over and over the last state is kept. What follows backspaces takes the
//! place of as many characters. A cursor that goes up (`ESC [ n A`, `ESC [ n F`) goes back to lines that were drawn since it first
//! went up, so the first picture of several lines stays, whatever stood before it; it comes down again by `ESC [ n B` and `ESC [ n E`.
//! After one that jumps nothing is written over any more. All other sequences are text.

use std::collections::VecDeque;

/// Bytes of a line that are held back, for it may be written over.
const LINE: usize = 4 << 10;

/// Lines that are held back, for the cursor may go up to them.
const LINES: usize = 32;

/// Bytes of a sequence that moves a cursor.
const SEQUENCE: usize = 16;

const BACKSPACE: u8 = 0x08;
const ESCAPE: u8 = 0x1b;

/// What takes bytes that are written over no more.
pub(super) type WrittenOut<'a> = &'a mut dyn FnMut(&[u8]);

/// What may still be written over.
#[derive(Debug, Clone, Default)]
pub(super) struct Redrawn {
    /// Lines that ended, oldest first.
    held: VecDeque<Vec<u8>>,
    /// Lines from the cursor downwards, after it went up.
    below: VecDeque<Vec<u8>>,
    /// How many lines the cursor may go up; `None` before it ever did.
    drawn: Option<usize>,
    /// What ended with `\r` last, and was not written over yet.
    state: Vec<u8>,
    /// The line that is being written,
    line: Vec<u8>,
    /// and how many characters the cursor went back in it.
    back: usize,
    /// The beginning of a sequence, while its end did not come.
    sequence: Vec<u8>,
}

impl Redrawn {
    /// Takes what was written next, and passes on what nothing can be written over any more.
    pub(super) fn push(&mut self, bytes: &[u8], kept: WrittenOut<'_>) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let text = match self.sequence.is_empty() {
                true => rest.iter().position(|byte| is_control(*byte)).unwrap_or(rest.len()),
                false => 0,
            };
            self.write(&rest[..text], kept);
            rest = &rest[text..];
            let Some((next, after)) = rest.split_first() else { return };
            rest = after;
            if is_control(*next) {
                // One within a sequence ends it.
                let begun = std::mem::take(&mut self.sequence);
                self.write(&begun, kept);
                self.obey(*next, kept);
            } else {
                self.go_on_with(*next, kept);
            }
        }
    }

    /// Passes everything on.
    pub(super) fn finish(mut self, kept: WrittenOut<'_>) {
        let begun = std::mem::take(&mut self.sequence);
        self.write(&begun, kept);
        // What is being written stands over the state before it.
        if !self.line.is_empty() {
            self.state.clear();
        }
        let is_open = !self.line.is_empty();
        self.pass_all(kept);
        if is_open && !self.below.is_empty() {
            kept(b"\n");
        }
        kept(&self.below.make_contiguous().join(&b'\n'));
    }

    fn write(&mut self, text: &[u8], kept: WrittenOut<'_>) {
        if text.is_empty() {
            return;
        }
        for _ in 0..std::mem::take(&mut self.back) {
            while self.line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
        }
        self.line.extend_from_slice(text);
        if self.line.len() > LINE {
            self.pass_all(kept);
        }
    }

    fn obey(&mut self, control: u8, kept: WrittenOut<'_>) {
        match control {
            BACKSPACE => self.back += 1,
            ESCAPE => self.sequence.push(control),
            b'\r' => {
                self.back = 0;
                // An empty line writes nothing over.
                if !self.line.is_empty() {
                    self.state = std::mem::take(&mut self.line);
                }
            }
            _ => self.end_line(kept),
        }
    }

    fn end_line(&mut self, kept: WrittenOut<'_>) {
        self.back = 0;
        let stood = self.below.pop_front().unwrap_or_default();
        let (state, line) = (std::mem::take(&mut self.state), std::mem::take(&mut self.line));
        let ends_state = line.is_empty() && !state.is_empty();
        let line = if line.is_empty() { stood } else { line };
        self.held.extend(Some(state).filter(|state| !state.is_empty()));
        self.held.extend(Some(line).filter(|_| !ends_state));
        self.drawn = self.drawn.map(|drawn| drawn + 1).filter(|drawn| *drawn <= LINES);
        while self.held.len() > LINES {
            self.pass_line(kept);
        }
    }

    /// The next byte of a sequence.
    fn go_on_with(&mut self, byte: u8, kept: WrittenOut<'_>) {
        self.sequence.push(byte);
        let is_open = match self.sequence.as_slice() {
            [_, b'['] => true,
            [_, b'[', parameters @ ..] => parameters.iter().all(|byte| byte.is_ascii_digit() || *byte == b';'),
            _ => false,
        };
        if is_open && self.sequence.len() < SEQUENCE {
            return;
        }
        let sequence = std::mem::take(&mut self.sequence);
        let (number, end) = match sequence.as_slice() {
            [_, b'[', number @ .., end] => {
                (std::str::from_utf8(number).ok().and_then(|number| number.parse().ok()), end)
            }
            [.., end] => (None, end),
            [] => return,
        };
        let lines = number.unwrap_or(1_usize).max(1);
        match (sequence.get(1), end) {
            (Some(b'['), b'A' | b'F') => self.go_up(lines),
            (Some(b'['), b'B' | b'E') => self.go_down(lines, kept),
            (Some(b'['), b'H' | b'f' | b's' | b'u') | (Some(b'7' | b'8'), _) => self.stay(&sequence, kept),
            _ => self.write(&sequence, kept),
        }
    }

    fn go_up(&mut self, lines: usize) {
        let drawn = self.drawn.unwrap_or(0);
        let lines = lines.min(drawn).min(self.held.len());
        self.drawn = Some(drawn - lines);
        let mut below = self.held.split_off(self.held.len() - lines);
        let (state, line) = (std::mem::take(&mut self.state), std::mem::take(&mut self.line));
        if let Some(written) = [line, state].into_iter().find(|line| !line.is_empty()) {
            self.below.pop_front();
            below.push_back(written);
        }
        below.append(&mut self.below);
        below.truncate(LINES + 1);
        self.below = below;
        self.back = 0;
    }

    fn go_down(&mut self, lines: usize, kept: WrittenOut<'_>) {
        let is_written = !self.line.is_empty() || !self.state.is_empty();
        for _ in 0..lines.min(self.below.len().max(is_written.into())) {
            self.end_line(kept);
        }
    }

    /// The cursor jumps who knows where: all that there is stays.
    fn stay(&mut self, sequence: &[u8], kept: WrittenOut<'_>) {
        while !self.below.is_empty() {
            self.end_line(kept);
        }
        self.pass_all(kept);
        self.drawn = None;
        self.write(sequence, kept);
    }

    fn pass_line(&mut self, kept: WrittenOut<'_>) {
        if let Some(line) = self.held.pop_front() {
            kept(&line);
            kept(b"\n");
        }
    }

    fn pass_all(&mut self, kept: WrittenOut<'_>) {
        while !self.held.is_empty() {
            self.pass_line(kept);
        }
        let (state, line) = (std::mem::take(&mut self.state), std::mem::take(&mut self.line));
        if !state.is_empty() || !line.is_empty() {
            self.below.pop_front();
        }
        if !state.is_empty() {
            kept(&state);
            kept(b"\n");
        }
        kept(&line);
    }
}

const fn is_control(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n' | BACKSPACE | ESCAPE)
}
