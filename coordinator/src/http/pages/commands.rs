//! From a command of `sas` to the page where the same is seen or done. Pure.

use form_urlencoded::Serializer;

/// The address of the page; `None` where no page does what the command does.
pub(super) fn page_of(command: &str) -> Option<String> {
    let words: Vec<&str> = command.split(' ').collect();
    match words.as_slice() {
        ["sas", "run", verb @ ("pause" | "resume" | "cancel" | "priority"), run] => {
            Some(format!("/runs/{run}/do/{verb}"))
        }
        ["sas", "run", "show", run] => Some(format!("/runs/{run}")),
        ["sas", "run", "list"] => Some("/runs".to_owned()),
        ["sas", "run", "failures"] => Some("/failures".to_owned()),
        ["sas", "run", "failures", run] | ["sas", "run", "failures", run, "--retry"] if !run.starts_with('-') => {
            Some(format!("/runs/{run}/failures"))
        }
        ["sas", "task", "cancel", rest @ ..] => {
            let mut pairs = flags(rest)?;
            let at = pairs.iter().position(|(name, _)| *name == "run")?;
            let (_, run) = pairs.remove(at);
            let query = Serializer::new(String::new()).extend_pairs(pairs).finish();
            Some(format!("/runs/{run}/do/cancel-tasks?{query}"))
        }
        ["sas", "star", "explain", star, module] => Some(format!("/stars/{star}#task-{module}")),
        ["sas", "star", "explain", star, module, "--run", run] => {
            Some(format!("/stars/{star}?run={run}#task-{module}"))
        }
        ["sas", "module", verb @ ("hold" | "release"), pipeline, module] => {
            Some(format!("/modules/{pipeline}/{module}/do/{verb}"))
        }
        ["sas", "worker", "list"] => Some("/workers".to_owned()),
        ["sas", "worker", verb @ ("drain" | "resume"), host] => Some(format!("/hosts/{host}/do/{verb}")),
        ["sas", "queue", "list"] => Some("/queues".to_owned()),
        _ => None,
    }
}

/// `--name value` as often as it is said.
fn flags<'a>(words: &[&'a str]) -> Option<Vec<(&'a str, &'a str)>> {
    let pair = |pair: &[&'a str]| match pair {
        [name, value] => Some((name.strip_prefix("--")?, *value)),
        _ => None,
    };
    words.chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::page_of;

    #[test]
    fn a_command_leads_to_the_page_that_does_the_same() {
        for (command, page) in [
            ("sas run resume 0f", Some("/runs/0f/do/resume")),
            ("sas run failures", Some("/failures")),
            ("sas run failures 0f", Some("/runs/0f/failures")),
            ("sas run failures 0f --retry", Some("/runs/0f/failures")),
            ("sas run failures --retry", None),
            ("sas task cancel --run 0f --star 7 --module A", Some("/runs/0f/do/cancel-tasks?star=7&module=A")),
            ("sas task cancel --run 0f --star", None),
            ("sas star explain 7 A --run 0f", Some("/stars/7?run=0f#task-A")),
            ("sas module release P A", Some("/modules/P/A/do/release")),
            ("sas worker drain host-a", Some("/hosts/host-a/do/drain")),
            ("sas doctor", None),
        ] {
            assert_eq!(page_of(command).as_deref(), page, "{command}");
        }
    }
}
