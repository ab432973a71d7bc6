//! Colours: they mark words that say it anyway, and only where somebody looks.

use console::Style;

/// When there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum ColourWhen {
    /// On terminals, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Everywhere.
    Always,
    /// Nowhere.
    Never,
}

impl ColourWhen {
    pub(super) fn set_up(self) {
        let always = match self {
            Self::Auto => return,
            Self::Always => true,
            Self::Never => false,
        };
        console::set_colors_enabled(always);
        console::set_colors_enabled_stderr(always);
    }
}

/// A word in the colour of what it means: red is lost, yellow wants somebody's eye, green is well, cyan goes on. Other words
/// stay as they are.
pub(super) fn paint(word: &str) -> String {
    let style = Style::new();
    let style = match word {
        "failed" | "errored" | "problem" | "unreachable" | "wrong, see below" => style.red(),
        "upstream_failed" | "incomplete" | "cancelled" | "cancelling" | "paused" | "waiting" | "on_hold" | "open"
        | "drained" => style.yellow(),
        "succeeded" | "complete" | "ended" | "ok" => style.green(),
        "running" | "active" | "made" => style.cyan(),
        "skipped" | "superseded" | "blocked" => style.dim(),
        _ => return word.to_owned(),
    };
    style.apply_to(word).to_string()
}

/// What begins an error.
pub(super) fn error_word() -> String {
    Style::new().for_stderr().red().bold().apply_to("error:").to_string()
}
