//! The terminal: a table that is drawn anew every second and after every key. The collector is asked by a thread of its
//! own, so that keys answer at once also when it does not.

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use anyhow::Context;
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Row, Table};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::table::{self, Order};
use super::watch::{Snapshot, Watch};
use crate::escape::escape;

/// How often the collector is asked.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long a key may wait for its effect.
const TICK: Duration = Duration::from_millis(100);

/// What the screen shows.
struct Screen {
    url: String,
    own: bool,
    order: Order,
    held: bool,
    snapshot: Option<Snapshot>,
    /// Why there is nothing newer.
    failure: Option<String>,
}

/// Shows the flow until a key or a signal ends it.
///
/// # Errors
/// The terminal refuses.
pub fn run(watch: Watch, url: &str, ended: &AtomicBool) -> anyhow::Result<ExitCode> {
    let mut screen = Screen {
        url: url.to_owned(),
        own: watch.is_own(),
        order: Order::default(),
        held: false,
        snapshot: None,
        failure: None,
    };
    let (select, selected) = channel();
    let (tell, told) = channel();
    let asking =
        std::thread::Builder::new().name("ask".to_owned()).spawn(move || ask(watch, &selected, &tell))?;
    let mut terminal = ratatui::try_init().context("the terminal")?;
    let outcome = show(&mut terminal, &mut screen, &select, &told, ended);
    // Where the terminal has gone there is nothing to restore, nor anybody to tell.
    let _ = ratatui::try_restore();
    // The thread ends when nobody can choose another flow any more, and takes its own flow away.
    drop(select);
    let _ = asking.join();
    outcome.map(|()| ExitCode::SUCCESS)
}

type Told = Result<Snapshot, String>;

fn ask(mut watch: Watch, selected: &Receiver<String>, tell: &Sender<Told>) {
    loop {
        if tell.send(watch.look().map_err(|error| format!("{error:#}"))).is_err() {
            return;
        }
        match selected.recv_timeout(INTERVAL) {
            Ok(name) => watch.select(name),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn show(
    terminal: &mut ratatui::DefaultTerminal,
    screen: &mut Screen,
    select: &Sender<String>,
    told: &Receiver<Told>,
    ended: &AtomicBool,
) -> anyhow::Result<()> {
    let keyboard = keyboard().context("the terminal")?;
    while !ended.load(Ordering::Relaxed) {
        for news in told.try_iter() {
            screen.take(news);
        }
        terminal.draw(|frame| screen.draw(frame))?;
        if !is_there(&keyboard)? {
            return Ok(());
        }
        while event::poll(Duration::ZERO)? {
            if let Event::Key(key) = event::read()?
                && key.kind == KeyEventKind::Press
                && !screen.key(key, select)
            {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Where keys come from: what crossterm reads.
fn keyboard() -> io::Result<OwnedFd> {
    let input = io::stdin();
    if input.is_terminal() { input.as_fd().try_clone_to_owned() } else { Ok(File::open("/dev/tty")?.into()) }
}

/// Waits a tick for keys; whether the terminal is still there. Crossterm must not be asked when it has gone: it reads the
/// end of a terminal again and again, and never returns.
fn is_there(keyboard: &OwnedFd) -> io::Result<bool> {
    let mut watched = [PollFd::new(keyboard, PollFlags::IN)];
    let tick = Timespec { tv_sec: 0, tv_nsec: TICK.subsec_nanos().into() };
    match poll(&mut watched, Some(&tick)) {
        // A new size of the window is a signal.
        Err(Errno::INTR) => Ok(true),
        Err(error) => Err(error.into()),
        Ok(_) => {
            let gone = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
            Ok(!watched.iter().any(|fd| fd.revents().intersects(gone)))
        }
    }
}

impl Screen {
    fn take(&mut self, news: Told) {
        match news {
            Ok(snapshot) => {
                self.failure = None;
                let other = self.snapshot.as_ref().is_some_and(|old| old.flow.name != snapshot.flow.name);
                if other {
                    self.order = Order::default();
                }
                if !self.held || other {
                    self.snapshot = Some(snapshot);
                }
            }
            Err(failure) => self.failure = Some(failure),
        }
    }

    /// Whether the screen stays after this key.
    fn key(&mut self, key: KeyEvent, select: &Sender<String>) -> bool {
        let columns = self.snapshot.as_ref().map_or(1, |snapshot| table::columns(snapshot).len());
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return false,
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return false,
            KeyCode::Char('r') => self.order.descending = !self.order.descending,
            KeyCode::Char('p') => self.held = !self.held,
            KeyCode::Left => self.sort_by((self.order.column + columns - 1) % columns),
            KeyCode::Right => self.sort_by((self.order.column + 1) % columns),
            KeyCode::Up => self.other_flow(-1, select),
            KeyCode::Down => self.other_flow(1, select),
            _ => {}
        }
        true
    }

    /// Values are read from the largest, texts from the first.
    fn sort_by(&mut self, column: usize) {
        self.order = Order { column, descending: column == 0 };
    }

    fn other_flow(&self, step: isize, select: &Sender<String>) {
        let Some(snapshot) = &self.snapshot else { return };
        let count = snapshot.flows.len();
        let Some(place) = snapshot.flows.iter().position(|name| *name == snapshot.flow.name) else { return };
        let next = (place + count).saturating_add_signed(step) % count;
        if let Some(name) = snapshot.flows.get(next) {
            // When the thread has ended there is nothing to choose any more.
            let _ = select.send(name.clone());
        }
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        let acting = self.acting(usize::from(frame.area().height) / 3);
        let [head, body, below, foot] = Layout::vertical([
            Constraint::Length(2),
            Constraint::Min(1),
            Constraint::Length(u16::try_from(acting.len()).unwrap_or(0)),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        frame.render_widget(ratatui::widgets::Paragraph::new(self.head()), head);
        if let Some(snapshot) = &self.snapshot {
            frame.render_widget(self.table(snapshot, usize::from(body.height)), body);
        }
        frame.render_widget(ratatui::widgets::Paragraph::new(acting), below);
        let keys = "q end   left right sort   r reverse   up down other flow   p hold";
        frame.render_widget(Line::styled(keys, Style::new().add_modifier(Modifier::DIM)), foot);
    }

    fn head(&self) -> Vec<Line<'static>> {
        let Some(snapshot) = &self.snapshot else {
            return vec![Line::raw(self.failure.clone().unwrap_or_else(|| format!("asking {}", self.url)))];
        };
        let rate = snapshot.datagram_rate.map_or_else(|| "-".to_owned(), table::short);
        let own = if self.own && snapshot.flow.name.starts_with("top-") { " (of this run)" } else { "" };
        let first = format!(
            "{}   flow {}{own}   agents {}   datagrams/s {rate}",
            self.url,
            escape(&snapshot.flow.name),
            snapshot.agents
        );
        let second = match &self.failure {
            Some(failure) => Line::styled(failure.clone(), Style::new().add_modifier(Modifier::REVERSED)),
            None if self.held => Line::raw("held; p goes on"),
            None => Line::raw(""),
        };
        vec![Line::styled(first, Style::new().add_modifier(Modifier::BOLD)), second]
    }

    /// What the collector does about what it sees, in so many lines at most.
    fn acting(&self, most: usize) -> Vec<Line<'static>> {
        let lines = self.snapshot.as_ref().map(|snapshot| snapshot.actions.as_slice()).unwrap_or_default();
        let mut shown: Vec<Line<'static>> =
            lines.iter().take(most).map(|line| Line::raw(line.clone())).collect();
        if let (true, Some(last)) = (lines.len() > shown.len(), shown.last_mut()) {
            *last = Line::raw(format!("and {} more lines at /actions/json", lines.len() + 1 - most));
        }
        if let Some(first) = shown.first_mut() {
            *first = std::mem::take(first).style(Style::new().add_modifier(Modifier::BOLD));
        }
        shown
    }

    fn table(&self, snapshot: &Snapshot, height: usize) -> Table<'static> {
        let names = table::columns(snapshot);
        let rows: Vec<Vec<String>> = table::sorted(snapshot, self.order)
            .into_iter()
            .take(height)
            .map(|row| table::cells(row, names.len(), table::short(row.value)))
            .collect();
        let widths: Vec<Constraint> = (0..names.len())
            .map(|n| {
                let cells = rows.iter().filter_map(|row| row.get(n)).chain(names.get(n));
                let widest = cells.map(|cell| Line::raw(cell.as_str()).width()).max().unwrap_or(0);
                Constraint::Max(u16::try_from(widest + 2).unwrap_or(u16::MAX))
            })
            .collect();
        let header = names.iter().enumerate().map(|(n, name)| {
            let mark = match (n == self.order.column, self.order.descending) {
                (false, _) => "",
                (true, true) => " v",
                (true, false) => " ^",
            };
            Cell::from(format!("{name}{mark}"))
        });
        let dim = if self.failure.is_some() { Modifier::DIM } else { Modifier::empty() };
        Table::new(rows.into_iter().map(Row::new), widths)
            .header(Row::new(header).style(Style::new().add_modifier(Modifier::REVERSED)))
            .style(Style::new().add_modifier(dim))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::top::watch;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn screen() -> Screen {
        let row = |value, source: &str| watch::Row {
            value,
            keys: vec![source.to_owned()],
            agent: "10.0.0.50".to_owned(),
            data_source: "3".to_owned(),
        };
        let flow = watch::Flow {
            name: "b".to_owned(),
            keys: vec!["ipsource".to_owned()],
            value: "bytes/s".to_owned(),
            ..watch::Flow::default()
        };
        let snapshot = Snapshot {
            flow,
            flows: vec!["a".to_owned(), "b".to_owned()],
            rows: vec![row(2_000_000.0, "10.0.0.1"), row(5.0, "10.0.0.2")],
            agents: 2,
            datagram_rate: Some(12.0),
            actions: Vec::new(),
        };
        let (order, url) = (Order::default(), "http://127.0.0.1:8008".to_owned());
        Screen { url, own: false, order, held: false, snapshot: Some(snapshot), failure: None }
    }

    fn drawn(screen: &Screen) -> String {
        let mut terminal = Terminal::new(TestBackend::new(80, 8)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn rows_order_and_what_went_wrong_are_shown() {
        let mut screen = screen();
        let (select, selected) = channel();
        let page = drawn(&screen);
        assert!(
            page.contains("flow b   agents 2   datagrams/s 12.0") && page.contains("bytes/s v"),
            "{page}"
        );
        assert!(page.find("2.00M").unwrap() < page.find("5.00").unwrap(), "{page}");
        screen.key(KeyCode::Char('r').into(), &select);
        let page = drawn(&screen);
        assert!(page.find("2.00M").unwrap() > page.find("5.00").unwrap(), "{page}");
        screen.key(KeyCode::Right.into(), &select);
        assert!(drawn(&screen).contains("ipsource ^"), "{}", drawn(&screen));
        screen.key(KeyCode::Left.into(), &select);
        screen.key(KeyCode::Left.into(), &select);
        assert_eq!(screen.order.column, 3);
        screen.key(KeyCode::Up.into(), &select);
        screen.key(KeyCode::Down.into(), &select);
        assert_eq!(selected.try_iter().collect::<Vec<_>>(), ["a", "a"]);
        screen.take(Err("no collector answers".to_owned()));
        let page = drawn(&screen);
        assert!(page.contains("no collector answers") && page.contains("2.00M"), "{page}");
        assert!(!screen.key(KeyCode::Char('q').into(), &select));
    }

    #[test]
    fn actions_take_a_third_of_the_screen_at_most() {
        let mut screen = screen();
        screen.snapshot.as_mut().unwrap().actions =
            vec!["actions: act".to_owned(), "web: replicas 2".to_owned()];
        let page = drawn(&screen);
        assert!(page.contains("actions: act") && page.contains("web: replicas 2"), "{page}");
        assert!(page.contains("2.00M") && page.contains("q end"), "{page}");
        screen.snapshot.as_mut().unwrap().actions.push("db: replicas 3".to_owned());
        let page = drawn(&screen);
        assert!(page.contains("actions: act") && page.contains("and 2 more lines"), "{page}");
    }

    #[test]
    fn wide_characters_get_the_room_that_they_take() {
        let mut screen = screen();
        let snapshot = screen.snapshot.as_mut().unwrap();
        snapshot.flow.name = "\u{202e}b".to_owned();
        snapshot.rows[0].keys = vec!["漢字かな交じり文".to_owned()];
        let page = drawn(&screen);
        // The terminal writes each of them into two places.
        assert!(page.replace(' ', "").contains("漢字かな交じり文10.0.0.50"), "{page}");
        assert!(page.contains("flow \\u{202e}b"), "{page}");
    }
}
