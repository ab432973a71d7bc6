//! `sas top`: how things stand, every second, until somebody types `q`.

mod draw;
mod pace;

use std::io::IsTerminal;
use std::time::Duration;

use coordinator::operate::status::{Status, status};
use coordinator::operate::{Context, ErrorKind, OperateError};
use crossterm::event::{Event, EventStream, KeyCode, KeyEventKind, KeyModifiers};
use futures::StreamExt;
use ratatui::DefaultTerminal;
use tokio::time::MissedTickBehavior;

use pace::RunPaces;

/// What is on the screen.
#[derive(Default)]
struct Screen {
    /// How things stood last.
    status: Option<Status>,
    /// Why they could not be looked at, since then.
    error: Option<OperateError>,
    pace: RunPaces,
    page: TopPage,
    /// Lines that are scrolled past.
    scroll: u16,
}

/// What is shown of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, strum::Display, strum::VariantArray)]
enum TopPage {
    /// The five questions.
    #[default]
    Questions,
    /// Runs, with their modules.
    Runs,
    /// Workers.
    Workers,
    /// Failures and tasks that hang.
    Failures,
}

/// Looks every so often, and shows what it saw.
pub(crate) async fn run(context: &Context, every: Duration) -> anyhow::Result<()> {
    if !std::io::stdout().is_terminal() {
        return Err(OperateError::new(
            ErrorKind::Invalid,
            "`sas top` needs a terminal; `sas status` says the same once",
        )
        .into());
    }
    let mut terminal = ratatui::try_init()?;
    let ended = watch(context, every, &mut terminal).await;
    ratatui::restore();
    ended
}

async fn watch(context: &Context, every: Duration, terminal: &mut DefaultTerminal) -> anyhow::Result<()> {
    let (mut screen, mut keys) = (Screen::default(), EventStream::new());
    let mut ticks = tokio::time::interval(every.max(Duration::from_millis(200)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => screen.take(status(context).await),
            event = keys.next() => match event {
                Some(event) => if screen.ends(&event?) { return Ok(()) },
                None => return Ok(()),
            },
        }
        terminal.draw(|frame| draw::draw(&screen, frame))?;
    }
}

impl Screen {
    fn take(&mut self, looked: Result<Status, OperateError>) {
        match looked {
            Ok(status) => {
                self.pace.take(&status);
                (self.status, self.error) = (Some(status), None);
            }
            Err(error) => self.error = Some(error),
        }
    }

    /// Follows what was typed; whether that was the end.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all other keys do nothing")]
    fn ends(&mut self, event: &Event) -> bool {
        let Event::Key(key) = event else { return false };
        if key.kind == KeyEventKind::Release {
            return false;
        }
        let pages = <TopPage as strum::VariantArray>::VARIANTS;
        let at = pages.iter().position(|page| *page == self.page).unwrap_or(0);
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return true,
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return true,
            KeyCode::Tab | KeyCode::Right => self.turn_to(pages[(at + 1) % pages.len()]),
            KeyCode::BackTab | KeyCode::Left => self.turn_to(pages[(at + pages.len() - 1) % pages.len()]),
            KeyCode::Char(digit @ '1'..='4') => self.turn_to(pages[digit as usize - '1' as usize]),
            KeyCode::Down | KeyCode::Char('j') => self.scroll = self.scroll.saturating_add(1),
            KeyCode::Up | KeyCode::Char('k') => self.scroll = self.scroll.saturating_sub(1),
            _other => {}
        }
        false
    }

    fn turn_to(&mut self, page: TopPage) {
        (self.page, self.scroll) = (page, 0);
    }
}
