//! The pages of `sas top`.

use coordinator::operate::status::{Level, Status};
use coordinator::operate::view::RunSummary;
use domain::run::TaskState;
use domain::text::moment;
use domain::text::shown;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Paragraph, Row, Sparkline, Table, Tabs, Wrap};
use strum::VariantArray;

use super::{Screen, TopPage};
use crate::words::{done, lasting};

/// Draws the page that is chosen.
pub(super) fn draw(screen: &Screen, frame: &mut Frame<'_>) {
    let [head, lights, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Length(7), Constraint::Min(3), Constraint::Length(1)])
            .areas(frame.area());
    let pages = TopPage::VARIANTS.iter().enumerate().map(|(at, page)| format!("{} {page}", at + 1));
    let chosen = TopPage::VARIANTS.iter().position(|page| *page == screen.page);
    frame.render_widget(Tabs::new(pages).select(chosen).highlight_style(Modifier::REVERSED), head);
    frame.render_widget(Line::from("Tab or 1-4: another page, up and down: scroll, q: end").dim(), foot);
    let Some(status) = &screen.status else {
        let words = screen.error.as_ref().map_or("looking …".to_owned(), ToString::to_string);
        frame.render_widget(Paragraph::new(words).wrap(Wrap { trim: true }), body);
        return;
    };
    draw_lights(screen, status, frame, lights);
    match screen.page {
        TopPage::Questions => draw_text(questions(status), screen.scroll, frame, body),
        TopPage::Runs => draw_runs(screen, status, frame, body),
        TopPage::Workers => draw_workers(screen, status, frame, body),
        TopPage::Failures => draw_text(failures(status), screen.scroll, frame, body),
    }
}

/// Services on the left, tasks that settled over the last looks on the right.
fn draw_lights(screen: &Screen, status: &Status, frame: &mut Frame<'_>, area: Rect) {
    let [left, right] = Layout::horizontal([Constraint::Min(20), Constraint::Length(26)]).areas(area);
    let at = moment(status.at);
    let mut lines: Vec<Line<'_>> = status
        .lights
        .iter()
        .map(|light| Line::from(vec![mark(light.level), Span::raw(format!(" {:<8} {}", light.name, light.words))]))
        .collect();
    lines.extend(screen.error.as_ref().map(|error| Line::from(format!("not looked at since: {error}")).red()));
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(at)), left);
    let history = screen.pace.history();
    let title = format!("tasks ended a look: {}", history.last().copied().unwrap_or(0));
    frame.render_widget(Sparkline::default().data(&history).block(Block::bordered().title(title)), right);
}

fn draw_text(text: Text<'_>, scroll: u16, frame: &mut Frame<'_>, area: Rect) {
    frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: false }).scroll((scroll, 0)), area);
}

fn questions(status: &Status) -> Text<'_> {
    let mut text = Text::default();
    for answer in &status.answers {
        let mut lines = answer.lines.iter();
        let first = lines.next().map(String::as_str).unwrap_or_default();
        text.push_line(vec![
            mark(answer.level),
            Span::styled(format!(" {:<20}", answer.question.to_string()), Modifier::BOLD),
            Span::raw(shown(first).into_owned()),
        ]);
        lines.for_each(|line| text.push_line(format!("    {}", shown(line))));
        text.push_line("");
    }
    text
}

fn failures(status: &Status) -> Text<'_> {
    let mut text = Text::default();
    for group in &status.failures {
        text.push_line(Line::from(shown(&group.to_string()).into_owned()));
    }
    for task in &status.hanging {
        let since = moment(task.since);
        text.push_line(format!("{} of {} runs on {} since {since}", task.module, task.star, task.host));
    }
    match &status.state_away {
        Some(away) => text.push_line(format!("of stars in flight nothing is known: {}", shown(away))),
        None if text.lines.is_empty() => text.push_line("nothing failed, and nothing hangs"),
        None => {}
    }
    text
}

fn draw_runs(screen: &Screen, status: &Status, frame: &mut Frame<'_>, area: Rect) {
    let count = |run: &RunSummary, state| run.tasks.get(&state).copied().unwrap_or(0).to_string();
    let rows = status.runs.iter().skip(screen.scroll.into()).map(|run| {
        Row::new([
            run.run.to_string().chars().take(8).collect(),
            format!("{} {}", run.pipeline, run.quarter),
            run.phase.to_string(),
            format!("{}/{}", done(run), run.stars),
            run.running.to_string(),
            count(run, TaskState::Queued),
            count(run, TaskState::Waiting),
            count(run, TaskState::Failed),
            count(run, TaskState::Errored),
            screen.pace.of(run.run).map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}")),
            to_go(run),
        ])
    });
    let head =
        ["RUN", "PIPELINE", "PHASE", "STARS", "RUNNING", "QUEUED", "WAITING", "FAILED", "ERRORED", "TASKS/S", "TO GO"];
    let widths = [8, 14, 7, 7, 8, 7, 8, 7, 8, 8].map(Constraint::Min).into_iter().chain([Constraint::Fill(3)]);
    frame.render_widget(Table::new(rows, widths).header(Row::new(head).bold()), area);
}

fn draw_workers(screen: &Screen, status: &Status, frame: &mut Frame<'_>, area: Rect) {
    let rows = status.workers.iter().skip(screen.scroll.into()).map(|worker| {
        let slots = worker.slots.iter().map(|(class, slots)| format!("{class} {}/{}", slots.busy, slots.of));
        Row::new([
            worker.worker.to_string(),
            slots.collect::<Vec<_>>().join(", "),
            worker.ended.all.to_string(),
            worker.ended.failed.to_string(),
            worker.ended.errored.to_string(),
            worker.ended.lost.to_string(),
            worker.waits_for.clone().unwrap_or_default(),
        ])
    });
    let head = ["WORKER", "BUSY", "ENDED", "FAILED", "ERRORED", "LOST", "TAKES NOTHING, FOR"];
    let widths = [18, 48, 6, 7, 8, 5].map(Constraint::Min).into_iter().chain([Constraint::Fill(3)]);
    frame.render_widget(Table::new(rows, widths).header(Row::new(head).bold()), area);
}

fn to_go(run: &RunSummary) -> String {
    let expected = run.expected.as_ref();
    let words = expected.and_then(|expected| expected.seconds.map(lasting).or_else(|| expected.unknown.clone()));
    words.unwrap_or_default()
}

/// A mark that needs no colour to be told apart.
fn mark(level: Level) -> Span<'static> {
    let (mark, colour) = match level {
        Level::Well => ("ok", Color::Green),
        Level::Attention => ("! ", Color::Yellow),
        Level::Bad => ("!!", Color::Red),
    };
    Span::styled(mark, Style::new().fg(colour).add_modifier(Modifier::BOLD))
}
