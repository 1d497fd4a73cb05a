//! `cargo xtask trace verify`: whether a file of events is as it was written.
use super::event::{Event, What};
use super::log::{HASH, START, VERSION};
use crate::exit::Failure;
use control::RunStats;
use layers::Digest;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// A longer line than any event makes.
const MAX_LINE: u64 = 1 << 20;

/// How often it is told how far it is.
const PAUSE: Duration = Duration::from_secs(5);

/// What is said of a line that is none of ours.
const NO_EVENT: &str = "no event as `run --events` writes them";

/// A line, as it is read.
#[derive(Debug, Deserialize)]
struct Line {
    v: u32,
    n: u64,
    #[serde(flatten)]
    event: Event,
    prev: String,
}

/// Events out of a file, each checked to follow the one before it.
pub(super) struct Events<R> {
    lines: BufReader<R>,
    name: String,
    next: u64,
    last: String,
    ended: bool,
    /// By sandbox.
    counts: BTreeMap<u32, Counts>,
    progress: Progress,
}

/// How far it is, for who waits.
#[derive(Debug)]
struct Progress {
    /// Bytes of the file, if it is one, and those that were read.
    size: u64,
    read: u64,
    told: Instant,
}

impl Progress {
    /// So much more was read. What there is to tell from time to time.
    fn add(&mut self, bytes: usize, pause: Duration) -> Option<String> {
        self.read = self.read.saturating_add(bytes as u64);
        if self.told.elapsed() < pause {
            return None;
        }
        self.told = Instant::now();
        let mib = self.read >> 20;
        Some(match self.read.saturating_mul(100).checked_div(self.size) {
            Some(part) => format!("{mib} MiB of {} read, {part} %", self.size >> 20),
            None => format!("{mib} MiB read"),
        })
    }
}

/// Events of a sandbox, as far as the root made them.
#[derive(Debug, Default)]
struct Counts {
    told: u64,
    dropped: u64,
}

impl Counts {
    /// Whether there are as many as the root says in the end. One that says nothing did not count.
    fn check(&self, figures: &RunStats) -> Result<(), String> {
        let Self { told, dropped } = self;
        if *dropped != figures.dropped {
            return Err(format!("the root dropped {} events, and {dropped} are told as missing", figures.dropped));
        }
        if figures.records != 0 && told + dropped != figures.records {
            return Err(format!(
                "the root made {} events, and {told} are here, {dropped} told as missing",
                figures.records
            ));
        }
        Ok(())
    }
}

impl Events<File> {
    /// Those of a file.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| Failure::early(format!("cannot read {name}: {error}")))?;
        let size = file.metadata().ok().filter(|metadata| metadata.is_file()).map_or(0, |metadata| metadata.len());
        Ok(Self::of(name, size, file))
    }
}

impl<R: Read> Events<R> {
    fn of(name: String, size: u64, from: R) -> Self {
        Self {
            lines: BufReader::new(from),
            name,
            next: 0,
            last: START.to_owned(),
            ended: false,
            counts: BTreeMap::new(),
            progress: Progress { size, read: 0, told: Instant::now() },
        }
    }

    /// The next event; `None` after the last.
    ///
    /// # Errors
    /// The line that is not as it was written, and why.
    pub(super) fn next_event(&mut self) -> Result<Option<Event>, String> {
        let mut line = String::new();
        let read = self.lines.by_ref().take(MAX_LINE).read_line(&mut line);
        if let Some(told) = self.progress.add(line.len(), PAUSE) {
            eprintln!("cordon: {}: {told}", self.name);
        }
        match read {
            Err(error) if error.kind() == ErrorKind::InvalidData => Err(self.wrong("no event: it is no text")),
            Err(error) => Err(format!("cannot read {}: {error}", self.name)),
            Ok(_) if line.len() as u64 == MAX_LINE && !line.ends_with('\n') => {
                Err(self.wrong("no event: the line is longer than any event"))
            }
            Ok(0) if self.ended => Ok(None),
            Ok(0) if self.next == 0 => Err(self.wrong("there is no event in it")),
            Ok(0) => Err(self.wrong("it ends before the run did: the last events are missing")),
            Ok(_) if self.ended => Err(self.wrong("something follows the last event")),
            Ok(_) => self.event(&line).map(Some).map_err(|why| match line.ends_with('\n') {
                true => self.wrong(&why),
                false => {
                    self.wrong(&format!("{why}, and the line has no end: the file was cut, or more was put behind it"))
                }
            }),
        }
    }

    fn event(&mut self, line: &str) -> Result<Event, String> {
        let (told, hash) = line.trim_end_matches('\n').rsplit_once(HASH).ok_or(NO_EVENT)?;
        let hash = hash.strip_suffix("\"}").ok_or(NO_EVENT)?;
        let Line { v, n, event, prev } =
            serde_json::from_str(&format!("{told}}}")).map_err(|error| format!("no event: {error}"))?;
        if v != VERSION {
            return Err(format!("events of version {v}; this reader knows {VERSION}"));
        }
        if prev != self.last && self.next == 0 {
            return Err("it is not the first event of a run: what was before it is missing, or it was changed".into());
        }
        if prev != self.last {
            return Err("it does not follow the line before it: one was removed, added or changed".into());
        }
        if Digest::of(told.as_bytes()).hex() != hash {
            return Err("its hash is another's: it was changed".into());
        }
        if n != self.next {
            return Err(format!("it is event {n}, where {} follows", self.next));
        }
        self.count(&event)?;
        if let What::End { events } = event.what {
            self.ended = true;
            if events != n {
                return Err(format!("it counts {events} events of {n}"));
            }
        }
        hash.clone_into(&mut self.last);
        self.next += 1;
        Ok(event)
    }

    fn count(&mut self, event: &Event) -> Result<(), String> {
        let counts = self.counts.entry(event.sandbox).or_default();
        match &event.what {
            What::Start { .. } | What::End { .. } => {}
            What::Dropped(dropped) => counts.dropped = counts.dropped.saturating_add(dropped.total()),
            What::Exit { figures, .. } => counts.check(figures)?,
            _ => counts.told += 1,
        }
        Ok(())
    }

    /// Events that are missing, and told to be.
    fn dropped(&self) -> u64 {
        self.counts.values().map(|counts| counts.dropped).fold(0, u64::saturating_add)
    }

    fn wrong(&self, why: &str) -> String {
        format!("{}:{}: {why}", self.name, self.next + 1)
    }
}

/// Checks a file, and that its last hash is `digest`.
pub(super) fn verify(path: &Path, digest: Option<&str>) -> Result<ExitCode, Failure> {
    let mut events = Events::open(path)?;
    while events.next_event().map_err(Failure::early)?.is_some() {}
    if digest.is_some_and(|digest| digest != events.last) {
        let why = format!("its last hash is {}: it is not the file of that run", events.last);
        return Err(Failure::early(format!("{}: {why}", path.display())));
    }
    let missing = match events.dropped() {
        0 => "none missing or changed".to_owned(),
        dropped => format!("none changed, {dropped} more told as missing"),
    };
    println!("{}: {} events, {missing}, sha256 {}", path.display(), events.next, events.last);
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::super::event::Dropped;
    use super::super::log::Log;
    use super::*;
    use control::{ExitReport, Outcome};
    use std::fs;

    fn event(ns: u64) -> Event {
        Event {
            sandbox: 1,
            ns,
            what: What::Result { call: ns, value: -2, errno: Some("ENOENT".into()), missing: false },
        }
    }

    /// A file of three events and their end, as lines.
    fn lines() -> Vec<String> {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("events");
        let mut log = Log::create(&path).unwrap();
        (0..3).for_each(|ns| log.add(&event(ns)).unwrap());
        log.finish().unwrap();
        fs::read_to_string(&path).unwrap().lines().map(|line| format!("{line}\n")).collect()
    }

    #[test]
    fn it_is_told_how_far_it_is() {
        let mut progress = Progress { size: 8 << 20, read: 0, told: Instant::now() };
        assert_eq!(progress.add(1 << 20, PAUSE), None);
        assert_eq!(progress.add(1 << 20, Duration::ZERO).unwrap(), "2 MiB of 8 read, 25 %");
        progress.size = 0;
        assert_eq!(progress.add(0, Duration::ZERO).unwrap(), "2 MiB read");
    }

    fn read(lines: &[String]) -> Result<Vec<Event>, String> {
        let text = lines.concat();
        let mut events = Events::of("f".into(), 0, text.as_bytes());
        let mut found = Vec::new();
        loop {
            match events.next_event() {
                Ok(Some(event)) => found.push(event),
                Ok(None) => return Ok(found),
                Err(why) => return Err(why),
            }
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let found = read(&lines()).unwrap();
        assert_eq!(found[..3], [event(0), event(1), event(2)]);
        assert_eq!(found[3].what, What::End { events: 3 });
    }

    /// A log of two results, four dropped events and an exit that tells these numbers.
    fn with_drops(records: u64, dropped: u64) -> Result<Vec<Event>, String> {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("events");
        let mut log = Log::create(&path).unwrap();
        let kinds = BTreeMap::from([("call".to_owned(), 1), ("result".to_owned(), 3)]);
        let missing = What::Dropped(Dropped { since_ns: 1, kinds, text: String::new() });
        let outcome = Outcome::Exited { status: 0 };
        let exit = What::exit(&ExitReport { outcome, stats: RunStats { records, dropped, ..RunStats::default() } });
        let events = [event(1).what, missing, event(2).what, exit];
        events.into_iter().for_each(|what| log.add(&Event { sandbox: 1, ns: 3, what }).unwrap());
        log.finish().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        read(&text.lines().map(|line| format!("{line}\n")).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_told_as_missing_is_no_fault_and_what_is_not_is() {
        assert_eq!(with_drops(6, 4).unwrap().len(), 5);
        assert!(with_drops(6, 5).unwrap_err().starts_with("f:4: the root dropped 5 events, and 4 are told"));
        assert!(with_drops(7, 4).unwrap_err().starts_with("f:4: the root made 7 events, and 2 are here, 4 told"));
        assert!(with_drops(2, 0).unwrap_err().starts_with("f:4: the root dropped 0"));
    }

    #[test]
    fn figures_are_documented() {
        let page = include_str!("../../../EVENTS.md");
        let figures = serde_json::to_value(RunStats::default()).unwrap();
        let unknown = |key: &&String| !page.contains(&format!("`{key}`"));
        assert_eq!(figures.as_object().unwrap().keys().find(unknown), None);
    }

    #[test]
    fn what_was_tampered_with_is_found() {
        let good = lines();
        let tampered = |change: &dyn Fn(&mut Vec<String>)| {
            let mut lines = good.clone();
            change(&mut lines);
            read(&lines).unwrap_err()
        };
        assert!(tampered(&|lines| drop(lines.remove(1))).starts_with("f:2: it does not follow"));
        assert!(tampered(&|lines| lines.swap(0, 1)).starts_with("f:1: it is not the first event of a run"));
        assert!(tampered(&|lines| drop(lines.remove(0))).starts_with("f:1: it is not the first event of a run"));
        assert!(tampered(&|lines| lines.swap(1, 2)).starts_with("f:2: it does not follow"));
        assert!(tampered(&|lines| lines[3].truncate(40)).contains(&format!("{NO_EVENT}, and the line has no end")));
        assert!(tampered(&|lines| lines[1] = lines[1].replace("ENOENT", "EACCES")).starts_with("f:2: its hash"));
        assert!(tampered(&|lines| drop(lines.pop())).starts_with("f:4: it ends before the run did"));
        assert!(tampered(&|lines| lines.push(good[3].clone())).starts_with("f:5: something follows"));
        assert!(tampered(&|lines| lines[2] = "{}\n".into()).starts_with("f:3: no event"));
        assert!(tampered(&|lines| lines.clear()).starts_with("f:1: there is no event in it"));
    }
}
