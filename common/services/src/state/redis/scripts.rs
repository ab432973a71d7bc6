//! The scripts, each with what they share in front. They lie beside this file, and every comment on what they take and
//! answer is theirs.
//!
//! With `#!lua` Redis decides before the first line whether a script may write (memory, disk, replica), so that none stops
//! half-way.

use std::sync::LazyLock;

use redis::Script;

macro_rules! script {
    ($name:ident, $file:literal, $shebang:literal) => {
        pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(concat!($shebang, "\n", include_str!("prelude.lua"), include_str!($file))));
    };
}

script!(OPEN, "open.lua", "#!lua");
script!(CLOSE, "close.lua", "#!lua");
script!(BEGIN, "begin.lua", "#!lua");
script!(PHASE, "phase.lua", "#!lua");
script!(HOLD, "hold.lua", "#!lua");
script!(MOVE, "move.lua", "#!lua");
script!(AMEND, "amend.lua", "#!lua");
script!(VIEW, "view.lua", "#!lua flags=no-writes");
script!(FLOW, "flow.lua", "#!lua flags=no-writes");
script!(LOAD, "load.lua", "#!lua flags=no-writes");
script!(ROWS, "rows.lua", "#!lua flags=no-writes");
script!(STAR, "star.lua", "#!lua flags=no-writes");
script!(TASKS, "tasks.lua", "#!lua flags=no-writes");
script!(WRITE, "write.lua", "#!lua");
script!(CLOSED, "closed.lua", "#!lua");
script!(OUTBOX, "outbox.lua", "#!lua flags=no-writes");
script!(PUBLISHED, "published.lua", "#!lua");
script!(REPUBLISH, "republish.lua", "#!lua");
script!(CLAIM, "claim.lua", "#!lua");
script!(RENEW, "renew.lua", "#!lua");
script!(ANNOUNCE, "announce.lua", "#!lua");
script!(DUE, "due.lua", "#!lua");

/// About no run: begins an epoch.
pub(super) static EPOCH: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!("#!lua\n", include_str!("epoch.lua"))));

/// About no run: whether scripts can write, and may do what they do.
pub(super) static PROBE: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!("#!lua\n", include_str!("probe.lua"))));

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    /// The commands that a script calls, also about many members of a key.
    fn called(script: &str) -> BTreeSet<String> {
        let calls = ["redis.call('", "with_many('"].into_iter().flat_map(|call| script.split(call).skip(1));
        calls.filter_map(|rest| rest.split('\'').next()).map(str::to_owned).collect()
    }

    #[test]
    fn the_probe_calls_every_command_that_a_script_calls() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/state/redis");
        let tried = called(include_str!("probe.lua"));
        let mut scripts = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "lua") {
                let script = called(&fs::read_to_string(&path).unwrap());
                let missing: Vec<&String> = script.difference(&tried).collect();
                assert!(missing.is_empty(), "{path:?} calls {missing:?}, which probe.lua does not");
                scripts += 1;
            }
        }
        assert!(scripts > 20, "{scripts}");
    }
}
