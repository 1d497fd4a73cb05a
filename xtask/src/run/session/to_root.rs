//! What the root is sent.
use super::Event;
use crate::events::Progress;
use control::{FrameHeader, MAX_OUTPUT_PAYLOAD, kind};
use std::io::{self, ErrorKind, Write};
use std::process::ChildStdin;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use zerocopy::IntoBytes;

/// Bytes of records that are credited together: each credit interrupts the root, which then sends the little that it has.
///
/// What is kept back is less than this, so that the root always has credit for its longest frame once all that it sent is written.
const TRACE_CREDIT_STEP: usize = MAX_OUTPUT_PAYLOAD;
const _: () = assert!(
    TRACE_CREDIT_STEP + MAX_OUTPUT_PAYLOAD + size_of::<FrameHeader>() <= control::INITIAL_TRACE_CREDIT as usize
);

/// The way to the root, shared by those who write to it.
#[derive(Clone)]
pub(in crate::run) struct ToRoot(Arc<Mutex<Way>>);

struct Way {
    pipe: ChildStdin,
    /// Bytes of records for which the root has no credit yet.
    owed: usize,
}

impl Way {
    /// Sends one frame, in one write if the pipe has room.
    fn send(&mut self, kind: u16, payload: &[u8]) -> io::Result<()> {
        let header = FrameHeader::new(kind, 0, payload.len()).map_err(|_| io::Error::from(ErrorKind::InvalidInput))?;
        self.pipe.write_all(&[header.as_bytes(), payload].concat())
    }

    fn pay(&mut self) -> io::Result<()> {
        let bytes = u32::try_from(std::mem::take(&mut self.owed)).unwrap_or(u32::MAX);
        self.send(kind::TRACE_CREDIT, &bytes.to_le_bytes())
    }
}

impl ToRoot {
    /// Through QEMU's standard input.
    pub(super) fn new(pipe: ChildStdin) -> Self {
        Self(Arc::new(Mutex::new(Way { pipe, owed: 0 })))
    }

    /// Sends one frame.
    pub(in crate::run) fn send(&self, kind: u16, payload: &[u8]) -> io::Result<()> {
        self.with(|way| way.send(kind, payload))
    }

    /// So many bytes of records, headers included, have been written: the root may send more once it is worth a frame.
    pub(super) fn credit_trace(&self, bytes: usize) -> io::Result<()> {
        self.with(|way| {
            way.owed = way.owed.saturating_add(bytes);
            if way.owed < TRACE_CREDIT_STEP { Ok(()) } else { way.pay() }
        })
    }

    /// Tells the root that somebody is still there, with what credit there is.
    fn sign_of_life(&self) -> io::Result<()> {
        self.with(Way::pay)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Way) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What is done as events are written: the root gets credit for more, and nobody takes the wait for a fault of the root's.
pub(super) fn progress(root: ToRoot, events: Sender<Event>) -> Progress {
    let events = Mutex::new(events);
    Box::new(move |bytes: usize, behind: bool| {
        // One that is gone needs neither.
        let _ = match bytes {
            0 => root.sign_of_life(),
            bytes => root.credit_trace(bytes),
        };
        if behind {
            let _ = events.lock().unwrap_or_else(PoisonError::into_inner).send(Event::Telling);
        }
    })
}
