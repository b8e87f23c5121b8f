//! One item of the timeline as rows.

use p2p_chat_model::PeerId;
use p2p_chat_proto::v1::NoticeKind;
use ratatui::{
    style::Style,
    text::{Line, Span},
};

use super::wrap::{columns, fitted, line_columns, shortened, squeezed, wrap};
use crate::{
    render::message::zoned,
    screen::{
        model::{
            Model,
            network::Network,
            timeline::{Item, Key, Message, Notice, Pending, Place},
            truth::Delivery,
        },
        theme::{Role, Theme},
    },
};

/// Columns for a name, where there is room for columns: from here on one more for each four that the timeline is wider.
const NAME_WIDTH: usize = 10;
const MAX_NAME_WIDTH: usize = 20;
const WIDE: usize = 80;
/// `~09:30 NAME │ ` without the name.
const GUTTER: usize = 1 + 5 + 1 + 3;
/// Below this width a name stands before its text.
const MIN_COLUMNS: usize = 52;
/// What continues a message in a narrow timeline.
const NARROW_INDENT: usize = 6;
/// Rows of one message that are shown; the whole of a longer one is in its inspection.
const MAX_ROWS: usize = 200;

#[cfg(test)]
thread_local! {
    /// How many items were formatted by this thread: what a draw costs.
    pub(crate) static FORMATTED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// What items are formatted with.
pub(crate) struct Format<'a> {
    pub(crate) model: &'a Model,
    pub(crate) network: &'a Network,
    pub(crate) width: usize,
}

impl Format<'_> {
    /// The rows of an item: a line for the day where that changes, one above what is unread, and itself.
    pub(crate) fn block(&self, place: Place, item: &Item) -> Vec<Line<'static>> {
        #[cfg(test)]
        FORMATTED.with(|count| count.set(count.get() + 1));
        let (Item::Message(Message { time_ms, .. }) | Item::Notice(Notice { time_ms, .. })) = item;
        let mut rows = Vec::new();
        let before = self.network.timeline.up_to(place).next_back().map(|(_, item)| match item {
            Item::Message(message) => message.time_ms,
            Item::Notice(notice) => notice.time_ms,
        });
        if let Some(day) = self.new_day(before, *time_ms) {
            rows.push(self.rule(&day, Role::Dim));
        }
        if self.network.first_unread == Some(place.0) && place.1 == 0 {
            rows.push(self.rule("unread", Role::Marker));
        }
        match item {
            Item::Message(message) if message.is_text => rows.extend(self.text(message)),
            Item::Message(message) => {
                let is_leave = message.text.ends_with(" left");
                rows.extend(self.aside(
                    message.time_ms,
                    message.is_late,
                    if is_leave { "←" } else { "→" },
                    &message.text,
                ));
            }
            Item::Notice(notice) => rows.extend(self.aside(notice.time_ms, false, sign(notice.kind), &notice.text)),
        }
        rows
    }

    /// The rows of a message that is not on the disk yet.
    pub(crate) fn pending(&self, pending: &Pending) -> Vec<Line<'static>> {
        let Some(me) = &self.model.me else { return Vec::new() };
        let suffix = (" …".to_owned(), self.style(Role::Pending));
        let body = Body { text: &pending.shown, name: &me.name, suffix: Some(suffix), ..Body::of(me.peer) };
        self.said(pending.time_ms, &body)
    }

    fn theme(&self) -> &Theme {
        &self.model.theme
    }

    fn style(&self, role: Role) -> Style {
        self.theme().style(role)
    }

    fn new_day(&self, before_ms: Option<u64>, time_ms: u64) -> Option<String> {
        let zone = &self.model.zone;
        let time = zoned(time_ms, zone)?;
        let is_first = before_ms.is_none() && self.network.timeline.reaches_start();
        let is_other =
            before_ms.and_then(|before| zoned(before, zone)).is_some_and(|before| before.date() != time.date());
        (is_first || is_other).then(|| time.strftime("%A, %-d %B %Y").to_string())
    }

    /// A line across, with a text in it.
    fn rule(&self, text: &str, role: Role) -> Line<'static> {
        let text = format!(" {} ", shortened(text, self.width.saturating_sub(4)));
        let free = (self.width + 1).saturating_sub(columns(&text));
        let left = (free / 2).min(self.gutter().saturating_sub(2).max(2));
        let line = format!("{}{text}{}", "─".repeat(left), "─".repeat(free.saturating_sub(left)));
        Line::styled(line, self.style(role))
    }

    fn is_narrow(&self) -> bool {
        self.width < MIN_COLUMNS
    }

    fn gutter(&self) -> usize {
        if self.is_narrow() { NARROW_INDENT } else { GUTTER + self.name_width() }
    }

    fn name_width(&self) -> usize {
        (NAME_WIDTH + self.width.saturating_sub(WIDE) / 4).min(MAX_NAME_WIDTH)
    }

    /// Time, marked if it came late.
    fn time(&self, time_ms: u64, is_late: bool) -> Span<'static> {
        let time = zoned(time_ms, &self.model.zone);
        let time = time.map_or_else(|| "--:--".to_owned(), |time| time.strftime("%H:%M").to_string());
        let mark = match (is_late, self.is_narrow()) {
            (true, _) => "~",
            (false, true) => "",
            (false, false) => " ",
        };
        Span::styled(format!("{mark}{time}"), self.style(Role::Dim))
    }

    /// Something that nobody said.
    fn aside(&self, time_ms: u64, is_late: bool, sign: &str, text: &str) -> Vec<Line<'static>> {
        let style = self.style(Role::Notice);
        let mut prefix = vec![self.time(time_ms, is_late)];
        if self.is_narrow() {
            prefix.push(Span::styled(format!(" {sign} "), style));
        } else {
            prefix.push(Span::styled(" ".repeat(self.name_width()) + sign, style));
            prefix.push(Span::styled(" │ ", self.style(Role::Border)));
        }
        self.rows(prefix, text, None, &|row| vec![Span::styled(row.to_owned(), style)])
    }

    fn text(&self, message: &Message) -> Vec<Line<'static>> {
        let own = self.model.me.as_ref().is_some_and(|me| me.peer == message.key.author);
        let suffix = if own { self.suffix(message.key) } else { None };
        let body = Body {
            text: &message.text,
            name: &message.author_name,
            is_late: message.is_late,
            is_mention: self.model.is_mention(message),
            suffix,
            ..Body::of(message.key.author)
        };
        let mut rows = self.said(message.time_ms, &body);
        if self.network.selected == Some(message.key) {
            let style = self.style(Role::Selected);
            for row in &mut rows {
                let free = self.width.saturating_sub(line_columns(row));
                row.push_span(" ".repeat(free));
                row.style = style;
            }
        }
        rows
    }

    /// What is known of where an own message is.
    fn suffix(&self, key: Key) -> Option<(String, Style)> {
        Some(match self.network.truth.of(key.seq) {
            Delivery::Alone => return None,
            Delivery::Queued => (" queued".to_owned(), self.style(Role::Pending)),
            Delivery::StoredBy { members, of } => (format!(" {members}/{of}"), self.style(Role::Pending)),
            Delivery::StoredByAll => (" ✓".to_owned(), self.style(Role::Good)),
        })
    }

    fn said(&self, time_ms: u64, body: &Body<'_>) -> Vec<Line<'static>> {
        let author = self.theme().author(&body.author);
        let name_style = if body.is_mention { self.style(Role::Mention) } else { author };
        let action = body.text.strip_prefix("/me ");
        let time = self.time(time_ms, body.is_late);
        let prefix = match (self.is_narrow(), action) {
            (true, None) => {
                vec![
                    time,
                    Span::raw(" "),
                    Span::styled(squeezed(body.name, self.name_width()), name_style),
                    ": ".into(),
                ]
            }
            (true, Some(_)) => vec![time, Span::styled(" * ", name_style)],
            (false, None) => {
                let name = squeezed(body.name, self.name_width());
                let fill = " ".repeat(1 + self.name_width().saturating_sub(columns(&name)));
                vec![
                    time,
                    Span::raw(fill),
                    Span::styled(name, name_style),
                    Span::styled(" │ ", self.style(Role::Border)),
                ]
            }
            (false, Some(_)) => {
                let sign = Span::styled(" ".repeat(self.name_width()) + "*", name_style);
                vec![time, sign, Span::styled(" │ ", self.style(Role::Border))]
            }
        };
        let text = match action {
            Some(action) => format!("{} {action}", body.name),
            None => body.text.to_owned(),
        };
        let style = self.style(Role::Text);
        let marked = self.style(Role::Match);
        let needle = self.model.search.as_ref().filter(|search| search.network == self.network.id);
        let needle = needle.map_or("", |search| search.text.as_str());
        self.rows(prefix, &text, body.suffix.clone(), &|row| highlighted(row, needle, style, marked))
    }

    /// Puts `prefix` before the first row of `text`, and as much room before the others.
    fn rows(
        &self,
        prefix: Vec<Span<'static>>,
        text: &str,
        suffix: Option<(String, Style)>,
        painted: &dyn Fn(&str) -> Vec<Span<'static>>,
    ) -> Vec<Line<'static>> {
        let gutter = self.gutter();
        let prefix_width: usize = prefix.iter().map(|span| columns(&span.content)).sum();
        // In a narrow timeline the first row begins behind the name: that much is taken of it.
        let lead = prefix_width.saturating_sub(gutter);
        let width = self.width.saturating_sub(gutter).max(2);
        let mut ranges = wrap(text, lead, width);
        let hidden = ranges.len().saturating_sub(MAX_ROWS);
        ranges.truncate(MAX_ROWS);
        let mut rows: Vec<Line<'static>> = Vec::new();
        for (number, range) in ranges.into_iter().enumerate() {
            let mut spans = if number == 0 { prefix.clone() } else { vec![self.continuation()] };
            spans.extend(painted(text.get(range).unwrap_or_default()));
            rows.push(Line::from(spans));
        }
        if hidden > 0 {
            let more = Span::styled(format!("… {hidden} more rows"), self.style(Role::Dim));
            rows.push(Line::from(vec![self.continuation(), more]));
        }
        if let Some((suffix, style)) = suffix {
            let fits = rows.last().is_some_and(|row| line_columns(row) + columns(&suffix) <= self.width);
            if !fits {
                rows.push(Line::from(vec![self.continuation()]));
            }
            if let Some(row) = rows.last_mut() {
                row.push_span(Span::styled(suffix, style));
            }
        }
        rows
    }

    fn continuation(&self) -> Span<'static> {
        if self.is_narrow() {
            return Span::raw(" ".repeat(NARROW_INDENT.min(self.width.saturating_sub(2))));
        }
        Span::styled(fitted("", self.gutter() - 2) + "│ ", self.style(Role::Border))
    }
}

/// A text and who said it.
struct Body<'a> {
    author: PeerId,
    name: &'a str,
    text: &'a str,
    is_late: bool,
    is_mention: bool,
    suffix: Option<(String, Style)>,
}

impl Body<'_> {
    fn of(author: PeerId) -> Self {
        Self { author, name: "", text: "", is_late: false, is_mention: false, suffix: None }
    }
}

/// `row` with every `needle` in it marked, whatever its case.
fn highlighted(row: &str, needle: &str, style: Style, marked: Style) -> Vec<Span<'static>> {
    let needle = needle.to_lowercase();
    let lower = row.to_lowercase();
    // Where lower case has another length, positions in it are none in the row.
    if needle.is_empty() || lower.len() != row.len() {
        return vec![Span::styled(row.to_owned(), style)];
    }
    let mut spans = Vec::new();
    let mut done = 0;
    for (at, found) in lower.match_indices(&needle) {
        let (Some(before), Some(hit)) = (row.get(done..at), row.get(at..at + found.len())) else { continue };
        spans.push(Span::styled(before.to_owned(), style));
        spans.push(Span::styled(hit.to_owned(), marked));
        done = at + found.len();
    }
    spans.push(Span::styled(row.get(done..).unwrap_or_default().to_owned(), style));
    spans
}

/// What stands before a notice.
fn sign(kind: NoticeKind) -> &'static str {
    match kind {
        NoticeKind::Joined | NoticeKind::Returned => "→",
        NoticeKind::Left | NoticeKind::DroppedOut => "←",
        NoticeKind::LeaderChanged | NoticeKind::LeaderBack => "★",
        NoticeKind::Leaderless | NoticeKind::Outside | NoticeKind::Equivocation | NoticeKind::Broken => "!",
        _ => "·",
    }
}
