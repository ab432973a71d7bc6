//! What programs ask of the kernel, the state and the container engine, counted with `strace`: numbers that a busy machine does
//! not change. What is traced is slower by far, so that nothing is timed meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// A trace that goes on.
pub struct Trace {
    strace: Child,
    directory: tempfile::TempDir,
}

/// What was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Calls {
    /// System calls.
    pub all: f64,
    /// Of these, those that wait until a file or directory is on disk.
    pub syncs: f64,
    /// Sendings to Redis, of one command or of several at once: round trips, where all are answered.
    pub trips: f64,
    /// Requests to the container engine.
    pub requests: f64,
}

impl Trace {
    /// Whether there is an `strace`.
    pub fn is_possible() -> bool {
        Command::new("strace").arg("-V").output().is_ok()
    }

    /// Counts from now on what these processes do, their threads and what they start; what these start as other programs counts
    /// for nothing. `None` where there is no `strace`.
    pub fn attach(processes: &[u32]) -> Result<Option<Self>> {
        if !Self::is_possible() {
            return Ok(None);
        }
        let directory = tempfile::tempdir()?;
        let said = fs::File::create(directory.path().join("said"))?;
        let mut strace = Command::new("strace");
        strace.args(["-f", "-s", "8", "-o"]).arg(directory.path().join("calls")).stderr(Stdio::from(said));
        for process in processes {
            strace.args(["-p", &process.to_string()]);
        }
        let mut trace = Self { strace: strace.spawn().context("failed to run strace")?, directory };
        trace.wait_until_attached(processes)?;
        Ok(Some(trace))
    }

    /// A command that runs this program and counts what it does from its beginning; [`Trace::of_command`] reads the file.
    pub fn command(program: &Path, file: &Path) -> Command {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-s", "8", "-o"]).arg(file).arg(program);
        strace
    }

    /// What a command did that has ended.
    pub fn of_command(file: &Path) -> Result<Calls> {
        let log = fs::read(file)?;
        let log = String::from_utf8_lossy(&log);
        // It begins with the program itself, which is no other.
        Ok(counted(log.split_once('\n').map_or("", |(_, rest)| rest)))
    }

    /// It says of each process that it is attached to it.
    fn wait_until_attached(&mut self, processes: &[u32]) -> Result<()> {
        let attached =
            |said: &str| processes.iter().all(|process| said.contains(&format!("Process {process} attached")));
        for _ in 0..500 {
            let said = fs::read_to_string(self.directory.path().join("said"))?;
            if attached(&said) {
                return Ok(());
            }
            ensure!(self.strace.try_wait()?.is_none(), "strace ended: {said}");
            std::thread::park_timeout(Duration::from_millis(20));
        }
        anyhow::bail!("strace did not attach within 10 s")
    }

    /// What was counted until now.
    pub fn end(mut self) -> Result<Calls> {
        let process = i32::try_from(self.strace.id()).ok().and_then(Pid::from_raw).context("it has an id")?;
        kill_process(process, Signal::INT)?;
        self.strace.wait()?;
        Ok(counted(&String::from_utf8_lossy(&fs::read(self.directory.path().join("calls"))?)))
    }
}

impl Calls {
    /// For each of so many tasks.
    pub fn per(self, tasks: u32) -> Self {
        let each = |count: f64| count / f64::from(tasks);
        let Self { all, syncs, trips, requests } = self;
        Self { all: each(all), syncs: each(syncs), trips: each(trips), requests: each(requests) }
    }
}

/// Reads what strace wrote: a process and a call a line.
fn counted(log: &str) -> Calls {
    let mut by_process: BTreeMap<&str, Calls> = BTreeMap::new();
    let mut others = BTreeSet::new();
    for line in log.lines() {
        let Some((process, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        // The second half of a call that others came between, a signal, an end.
        let Some((name, arguments)) = call.split_once('(').filter(|_| !call.starts_with(['<', '+', '-'])) else {
            continue;
        };
        let calls = by_process.entry(process).or_default();
        calls.all += 1.0;
        match name {
            "execve" => {
                others.insert(process);
            }
            "fsync" | "fdatasync" | "syncfs" => calls.syncs += 1.0,
            "write" | "writev" | "sendto" | "sendmsg" => {
                let begins = |with: &str| arguments.contains(&format!("\"{with}"));
                calls.trips += f64::from(u8::from(begins("*")));
                let is_request = ["GET /", "POST /", "DELETE /", "HEAD /"].iter().any(|verb| begins(verb));
                calls.requests += f64::from(u8::from(is_request));
            }
            _ => {}
        }
    }
    let ours = by_process.iter().filter(|(process, _)| !others.contains(*process));
    ours.fold(Calls::default(), |sum, (_, calls)| Calls {
        all: sum.all + calls.all,
        syncs: sum.syncs + calls.syncs,
        trips: sum.trips + calls.trips,
        requests: sum.requests + calls.requests,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_what_they_are_and_those_of_other_programs_are_not() {
        let log = r#"17 sendto(9, "*3\r\n$7\r\n"..., 64, MSG_NOSIGNAL, NULL, 0 <unfinished ...>
18 fsync(12)                      = 0
17 <... sendto resumed>)          = 64
18 writev(5, [{iov_base="POST /v1"..., iov_len=120}], 1) = 120
19 execve("/bin/cp", ["cp"], 0x7f) = 0
19 fsync(3)                       = 0
18 --- SIGCHLD {si_signo=SIGCHLD} ---
18 +++ exited with 0 +++
17 write(4, "\1\0\1", 3)          = 3
"#;
        assert_eq!(counted(log), Calls { all: 4.0, syncs: 1.0, trips: 1.0, requests: 1.0 });
    }
}
