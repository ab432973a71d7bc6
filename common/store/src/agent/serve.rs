//! The child's side: reads a request a line, answers a line.

use std::io::{BufRead, Write};

use super::sandbox;
use super::tasks;
use super::wire::{AnswerLine, Request};
use super::{ASKED, AgentOptions};

/// Becomes a store agent and never returns, when the program was started as one. The first line of every `main`.
pub fn serve_if_asked() {
    if std::env::args().nth(1).as_deref() == Some(ASKED) {
        std::process::exit(if serve().is_some() { 0 } else { 2 });
    }
}

/// Takes its options from the first line, then answers the others; `None` when a line makes no sense or nobody listens.
fn serve() -> Option<()> {
    let mut lines = std::io::stdin().lock().lines();
    let Some(options) = lines.next() else { return Some(()) };
    let options: AgentOptions = serde_json::from_str(&options.ok()?).ok()?;
    keep_heap();
    let in_force = sandbox::enter(&options);
    let mut out = std::io::stdout().lock();
    write_line(&mut out, &in_force).ok()?;
    for line in lines {
        let (id, request): (u64, Request) = serde_json::from_str(&line.ok()?).ok()?;
        write_line(&mut out, &AnswerLine { id, result: tasks::perform(request) }).ok()?;
    }
    Some(())
}

fn write_line(out: &mut impl Write, value: &impl serde::Serialize) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    out.write_all(&line)?;
    out.flush()
}

/// Bytes of the heap that stay here between two files, and larger blocks than these that are of the kernel each for itself.
const KEPT: i32 = 32 << 20;

/// Lets the C library keep what one file needed for the next: by itself it gives it back after each, and every page comes anew.
fn keep_heap() {
    #[cfg(target_env = "gnu")]
    for (parameter, bytes) in
        [(libc::M_TRIM_THRESHOLD, KEPT), (libc::M_MMAP_THRESHOLD, 4 << 20), (libc::M_TOP_PAD, 1 << 20)]
    {
        // SAFETY: a plain call, before there is another thread.
        unsafe { libc::mallopt(parameter, bytes) };
    }
}
