//! What the root sends: read frame by frame, and passed on to whom it is for.
use super::{End, Event, ToRoot};
use crate::events::{self, Asker, Observers};
use crate::run::diff::Diffs;
use crate::run::outputs::{Outputs, Stream};
use crate::run::watch::Watch;
use anyhow::{Context, Result, bail};
use control::{ExitReport, FrameHeader, Outcome, kind};
use std::io::{self, ErrorKind, PipeReader, Read};
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::thread;
use zerocopy::{FromZeros, IntoBytes};

/// Credit is given back when this many bytes have been read.
const CREDIT_STEP: u32 = 8 * 1024;

/// Reads the root's frames in a thread until the end.
pub(super) fn spawn_reader(output: PipeReader, mut reader: Reader) {
    thread::spawn(move || {
        let read = reader.read_all(output);
        let ended = matches!(read, Ok(Some(End::Reported(_))));
        let unwritten = if ended { reader.observers.finish() } else { reader.observers.stop() };
        for complaint in unwritten {
            let _ = reader.events.send(Event::Unwritten(complaint));
        }
        let event = match read {
            Ok(None) => Event::Gone,
            Ok(Some(end)) => Event::Ended(end),
            // The host's trouble is not the root's doing.
            Err(error) if error.chain().any(|cause| cause.is::<io::Error>()) => {
                Event::Ended(End::Unwritable(format!("{error:#}")))
            }
            Err(error) => Event::Ended(End::Protocol(format!("{error:#}"))),
        };
        // The main thread may have ended the session already.
        let _ = reader.events.send(event);
    });
}

/// Takes the root's frames and passes on what is in them.
pub(super) struct Reader {
    pub(super) outputs: Outputs,
    pub(super) observers: Observers,
    /// Until the root is up.
    pub(super) watch: Option<Watch>,
    /// The same.
    pub(super) answers: Option<(PathBuf, Asker)>,
    pub(super) diffs: Diffs,
    pub(super) reports: Vec<Option<ExitReport>>,
    /// Of those that run no more.
    pub(super) outcomes: Vec<Option<Outcome>>,
    pub(super) wishes: Sender<u32>,
    pub(super) root: ToRoot,
    pub(super) events: Sender<Event>,
    /// Credit that the root has not been given yet.
    pub(super) unreturned: u32,
}

impl Reader {
    /// Reads to the end that the root tells (or another), or to the end of the stream (`None`).
    fn read_all(&mut self, mut from: PipeReader) -> Result<Option<End>> {
        let mut payload = vec![0; control::MAX_PAYLOAD];
        let mut header = FrameHeader::new_zeroed();
        loop {
            // What the root may send is what we have taken from the pipe.
            self.return_credit();
            if !read_whole(&mut from, header.as_mut_bytes())? {
                return Ok(None);
            }
            let len = header.payload_len().ok().and_then(|len| payload.get_mut(..len));
            let Some(payload) = len else {
                bail!("a frame of {} bytes", header.len);
            };
            if !read_whole(&mut from, payload)? {
                return Ok(None);
            }
            self.unreturned = self.unreturned.saturating_add(header.len);
            self.unreturned = self.unreturned.saturating_add(u32::try_from(size_of::<FrameHeader>())?);
            if let Some(end) = self.frame(header.kind, header.sandbox, payload)? {
                return Ok(Some(end));
            }
        }
    }

    /// Handles one frame.
    fn frame(&mut self, kind: u16, sandbox: u16, payload: &[u8]) -> Result<Option<End>> {
        if usize::from(sandbox) >= self.outputs.sandboxes() {
            bail!("a frame of sandbox {sandbox}, of which there is none");
        }
        match kind {
            kind::HELLO => {
                if let Some(watch) = self.watch.take() {
                    watch.start(self.root.clone());
                }
                if let Some((path, asker)) = self.answers.take() {
                    events::follow_answers(&path, asker);
                }
                let _ = self.events.send(Event::RootUp);
            }
            kind::STDOUT => {
                if self.outputs.write(sandbox, Stream::Stdout, payload).is_err() {
                    return Ok(Some(End::OutputClosed));
                }
            }
            // A closed standard error stops neither a program nor us.
            kind::STDERR => drop(self.outputs.write(sandbox, Stream::Stderr, payload)),
            kind::LOG => self.outputs.log(sandbox, &String::from_utf8_lossy(payload)),
            kind::TRACE => {
                let lines = self.observers.add(sandbox, payload)?;
                self.outputs.write(sandbox, Stream::Trace, lines.as_bytes()).context("cannot write the trace")?;
                let bytes = size_of::<FrameHeader>() + payload.len();
                if !self.observers.taken(bytes)? {
                    // A root that is gone needs none.
                    let _ = self.root.credit_trace(bytes);
                }
            }
            kind::DIFF => {
                self.diffs.take(sandbox, payload)?;
                let _ = self.events.send(Event::Telling);
            }
            kind::STDIN_WANT => {
                let bytes = <[u8; 4]>::try_from(payload).context("a malformed wish for input")?;
                let _ = self.wishes.send(u32::from_le_bytes(bytes));
            }
            kind::OVER => {
                self.over(sandbox, Outcome::decode(payload).context("a malformed end")?);
            }
            kind::EXIT => {
                let report = ExitReport::decode(payload).context("a malformed report")?;
                let lines = self.observers.end(sandbox, &report)?;
                self.outputs.write(sandbox, Stream::Trace, lines.as_bytes()).context("cannot write the trace")?;
                // Where the line cannot go, nothing else can.
                let _ = self.outputs.finish(sandbox);
                self.over(sandbox, report.outcome.clone());
                if let Some(place) = self.reports.get_mut(usize::from(sandbox)) {
                    *place = Some(report);
                }
            }
            kind::END => return Ok(Some(End::Reported(std::mem::take(&mut self.reports)))),
            other => bail!("a frame of unknown kind {other}"),
        }
        Ok(None)
    }

    /// A sandbox runs no more. The last one's end is told to who waits for it.
    fn over(&mut self, sandbox: u16, outcome: Outcome) {
        let all_were_over = self.outcomes.iter().all(Option::is_some);
        if let Some(place) = self.outcomes.get_mut(usize::from(sandbox)) {
            *place = Some(outcome);
        }
        if !all_were_over && self.outcomes.iter().all(Option::is_some) {
            let _ = self.events.send(Event::Over(self.outcomes.iter().flatten().cloned().collect()));
        }
    }

    /// Gives back credit once it is worth a frame. A root that is gone needs none.
    fn return_credit(&mut self) {
        if self.unreturned >= CREDIT_STEP {
            let _ = self.root.send(kind::OUTPUT_CREDIT, &self.unreturned.to_le_bytes());
            self.unreturned = 0;
        }
    }
}

/// Fills `buffer`. False: the stream ended before.
fn read_whole(from: &mut PipeReader, buffer: &mut [u8]) -> Result<bool> {
    match from.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error).context("cannot read from QEMU"),
    }
}
