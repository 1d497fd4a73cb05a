//! Standard input's way to the root.
use super::{Event, ToRoot};
use crate::events::Asker;
use crate::run::terminal::{Keys, Wish};
use control::kind;
use signal_hook::consts::SIGINT;
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::sync::mpsc::{self, Sender};
use std::thread;

/// Standard input is read in pieces of at most this size.
const INPUT_PIECE: usize = 16 * 1024;

/// Feeds standard input to the root in a thread, never reading more than the root asked for.
pub(super) fn spawn_input(stdin: File, root: ToRoot, events: Sender<Event>, asker: Asker) -> Sender<u32> {
    let (wishes, inbox) = mpsc::channel::<u32>();
    let mut stdin: Box<dyn Read + Send> = if stdin.is_terminal() {
        let act = move |wish| match wish {
            Wish::Stop => drop(events.send(Event::Signal(SIGINT))),
            Wish::Help => drop(write!(io::stderr(), "\r\ncordon: Ctrl-] three times stops the run\r\n")),
        };
        Box::new(Keys::watch(stdin, act, move |keys| asker.keys(keys)))
    } else {
        Box::new(stdin)
    };
    thread::spawn(move || {
        let mut buffer = vec![0; INPUT_PIECE];
        for wish in inbox {
            let mut left = usize::try_from(wish).unwrap_or(usize::MAX);
            while left > 0 {
                let want = left.min(buffer.len());
                let got = match stdin.read(&mut buffer[..want]) {
                    Ok(got) => got,
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    // What cannot be read has ended.
                    Err(_) => 0,
                };
                let sent = match got {
                    0 => root.send(kind::STDIN_EOF, &[]),
                    _ => root.send(kind::STDIN, &buffer[..got]),
                };
                if got == 0 || sent.is_err() {
                    return;
                }
                left -= got;
            }
        }
    });
    wishes
}
