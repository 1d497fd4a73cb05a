//! The terminal that a run is started from.
//!
//! A program whose standard input is a terminal has a terminal of its own in the sandbox, which echoes, edits lines and turns keys into
//! signals as the program wants it. So the terminal here passes every key on as it is: Ctrl-C belongs to the program. What
//! stops the run whatever the program does is Ctrl-], three times within a second.
use rustix::termios::{self, InputModes, LocalModes, OptionalActions, OutputModes, Termios};
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// Ctrl-].
const ESCAPE: u8 = 0x1d;
/// How often, and within which time.
const ESCAPES: usize = 3;
const ESCAPE_TIME: Duration = Duration::from_secs(1);
/// Ctrl-C, and how often within which time somebody presses it who wants to be told of Ctrl-].
const INTERRUPT: u8 = 3;
const INTERRUPTS: usize = 5;
const INTERRUPT_TIME: Duration = Duration::from_secs(2);
/// Keys are read in pieces of at most this size, and so many pieces wait for a program that does not read. More are lost.
const PIECE: usize = 1024;
const PIECES: usize = 256;

/// The terminal while it passes keys on as they are.
#[derive(Debug)]
pub(crate) struct Raw(Termios);

impl Raw {
    /// Standard input passes keys on from now on, if it is a terminal and ours to change.
    pub(crate) fn enter() -> Option<Self> {
        let input = io::stdin();
        // A background job that changed its terminal would be stopped for that.
        let group = termios::tcgetpgrp(&input).ok()?;
        if group != rustix::process::getpgrp() {
            return None;
        }
        let saved = termios::tcgetattr(&input).ok()?;
        let mut raw = saved.clone();
        raw.make_raw();
        if !io::stdout().is_terminal() && !io::stderr().is_terminal() {
            // The sandbox has no stream to echo on, and others may be writing to this terminal.
            raw.local_modes |= saved.local_modes & LocalModes::ECHO;
            raw.input_modes |= saved.input_modes & InputModes::ICRNL;
            raw.output_modes |= saved.output_modes & (OutputModes::OPOST | OutputModes::ONLCR);
        }
        termios::tcsetattr(&input, OptionalActions::Now, &raw).ok()?;
        Some(Self(saved))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// A key that is counted when it is pressed again and again.
#[derive(Debug)]
struct Repeated {
    key: u8,
    within: Duration,
    enough: usize,
    pressed: Vec<Instant>,
}

impl Repeated {
    const fn new(key: u8, enough: usize, within: Duration) -> Self {
        Self { key, within, enough, pressed: Vec::new() }
    }

    /// True once the key has been pressed often enough, with no other key between.
    fn see(&mut self, key: u8, now: Instant) -> bool {
        if key != self.key {
            self.pressed.clear();
            return false;
        }
        self.pressed.retain(|&before| now.duration_since(before) < self.within);
        self.pressed.push(now);
        let enough = self.pressed.len() >= self.enough;
        if enough {
            self.pressed.clear();
        }
        enough
    }
}

/// What somebody at the terminal wants of the run itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// It shall stop.
    Stop,
    /// To know how it can be stopped.
    Help,
}

/// Looks at the keys on their way to the program.
#[derive(Debug)]
pub(crate) struct Watch {
    escape: Repeated,
    interrupt: Repeated,
}

impl Watch {
    /// Has seen none.
    pub(crate) const fn new() -> Self {
        Self {
            escape: Repeated::new(ESCAPE, ESCAPES, ESCAPE_TIME),
            interrupt: Repeated::new(INTERRUPT, INTERRUPTS, INTERRUPT_TIME),
        }
    }

    /// Looks at keys that were pressed at `now`.
    pub(crate) fn see(&mut self, keys: &[u8], now: Instant) -> Option<Wish> {
        let mut wish = None;
        for &key in keys {
            if self.interrupt.see(key, now) {
                wish = wish.or(Some(Wish::Help));
            }
            if self.escape.see(key, now) {
                wish = Some(Wish::Stop);
            }
        }
        wish
    }
}

/// The keys on their way to the program. They are looked at as they are pressed, whether the program reads or not.
#[derive(Debug)]
pub(crate) struct Keys {
    pieces: Receiver<Vec<u8>>,
    rest: Vec<u8>,
}

impl Keys {
    /// Reads `terminal` in a thread; `act` is called with what somebody wants of the run, and keys that `answer` takes are not the program's.
    pub(crate) fn watch(
        mut terminal: File,
        act: impl Fn(Wish) + Send + 'static,
        answer: impl Fn(&[u8]) -> bool + Send + 'static,
    ) -> Self {
        let (sender, pieces) = mpsc::sync_channel(PIECES);
        thread::spawn(move || {
            let mut watch = Watch::new();
            let mut buffer = vec![0; PIECE];
            loop {
                let got = match terminal.read(&mut buffer) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    // What cannot be read has ended.
                    Ok(0) | Err(_) => return,
                    Ok(got) => got,
                };
                if let Some(wish) = watch.see(&buffer[..got], Instant::now()) {
                    act(wish);
                }
                if answer(&buffer[..got]) {
                    continue;
                }
                if let Err(mpsc::TrySendError::Disconnected(_)) = sender.try_send(buffer[..got].to_vec()) {
                    return;
                }
            }
        });
        Self { pieces, rest: Vec::new() }
    }
}

impl Read for Keys {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            self.rest = self.pieces.recv().unwrap_or_default();
        }
        let len = self.rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&self.rest[..len]);
        self.rest.drain(..len);
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_counts_when_it_is_pressed_quickly_and_alone() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut watch = Watch::new();
        assert_eq!(watch.see(b"\x1d\x1dx\x1d", at(0)), None);
        assert_eq!(watch.see(b"\x1d", at(10)), None);
        assert_eq!(watch.see(b"\x1d", at(1005)), None);
        assert_eq!(watch.see(b"\x1d", at(1009)), Some(Wish::Stop));
        assert_eq!(watch.see(b"\x03\x03\x03\x03", at(2000)), None);
        assert_eq!(watch.see(b"\x03", at(2500)), Some(Wish::Help));
    }
}
