//! Lines as a terminal would leave them: what is written over is not kept, so that bars of progress do not push the reason out.
//!
//! `\r` ends a line, as `\n` does; of a line that is written over and over the last state is kept. A backspace takes a character
//! back, and a cursor that goes up (`ESC [ n A`, `ESC [ n F`) goes back to lines that were drawn since it went up last; all other
//! sequences are text. So the first picture of several lines stays, whatever stood before it.

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
    /// How many lines ended since the cursor went up; `None` before it ever did.
    drawn: Option<usize>,
    /// What ended with `\r` last, and was not written over yet.
    state: Vec<u8>,
    /// The line that is being written.
    line: Vec<u8>,
    /// The beginning of a sequence, while its end did not come.
    sequence: Vec<u8>,
}

impl Redrawn {
    /// Takes what was written next, and passes on what nothing can be written over any more.
    pub(super) fn push(&mut self, bytes: &[u8], kept: WrittenOut<'_>) {
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            if self.is_in_sequence() {
                self.go_on_with(*first);
                rest = &rest[1..];
                continue;
            }
            let ends = |byte: &u8| matches!(*byte, b'\r' | b'\n' | BACKSPACE | ESCAPE);
            let (text, after) = rest.split_at(rest.iter().position(ends).unwrap_or(rest.len()));
            self.write(text);
            if let Some((control, after)) = after.split_first() {
                self.obey(*control, kept);
                rest = after;
            } else {
                rest = after;
            }
            if self.line.len() > LINE {
                self.pass_all(kept);
            }
        }
    }

    /// Passes everything on.
    pub(super) fn finish(mut self, kept: WrittenOut<'_>) {
        let sequence = std::mem::take(&mut self.sequence);
        self.write(&sequence);
        // What is being written stands over the state before it.
        if !self.line.is_empty() {
            self.state.clear();
        }
        let mut below = std::mem::take(&mut self.below);
        if !self.line.is_empty() || !self.state.is_empty() {
            below.pop_front();
        }
        let is_open = !self.line.is_empty();
        self.pass_all(kept);
        if is_open && !below.is_empty() {
            kept(b"\n");
        }
        kept(&below.make_contiguous().join(&b'\n'));
    }

    const fn is_in_sequence(&self) -> bool {
        !self.sequence.is_empty()
    }

    fn write(&mut self, text: &[u8]) {
        self.line.extend_from_slice(text);
    }

    fn obey(&mut self, control: u8, kept: WrittenOut<'_>) {
        match control {
            // An empty line writes nothing over.
            b'\r' if self.line.is_empty() => {}
            b'\r' => self.state = std::mem::take(&mut self.line),
            b'\n' => {
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
            BACKSPACE => while self.line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            _ => self.sequence.push(control),
        }
    }

    /// The next byte of a sequence; one that moves no cursor up is text.
    fn go_on_with(&mut self, byte: u8) {
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
        match sequence.as_slice() {
            [_, b'[', number @ .., b'A' | b'F'] => {
                let number = std::str::from_utf8(number).ok().and_then(|number| number.parse().ok()).unwrap_or(1);
                self.go_up(number);
            }
            text => self.write(text),
        }
    }

    fn go_up(&mut self, lines: usize) {
        let lines = lines.max(1).min(self.drawn.replace(0).unwrap_or(0)).min(self.held.len());
        let mut below = self.held.split_off(self.held.len() - lines);
        let (state, line) = (std::mem::take(&mut self.state), std::mem::take(&mut self.line));
        if let Some(written) = [line, state].into_iter().find(|line| !line.is_empty()) {
            self.below.pop_front();
            below.push_back(written);
        }
        below.append(&mut self.below);
        below.truncate(LINES);
        self.below = below;
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
        if !state.is_empty() {
            kept(&state);
            kept(b"\n");
        }
        kept(&line);
    }
}
