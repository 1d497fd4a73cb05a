//! Answers that are typed: a letter, then Enter. So a word that was meant for the program is none by accident.
use super::Said;
use super::shape::Shape;
use control::answer::Choice;
use std::io::{self, Write};
use std::time::Duration;

/// Time from when a question is shown in which keys do not count.
pub(super) const MUST_BE_SEEN: Duration = Duration::from_millis(300);

const ENTER: [u8; 2] = [b'\r', b'\n'];
const RUBOUT: [u8; 2] = [0x7f, 0x08];
/// A longer line is no answer, however it ends.
const MAX_LINE: usize = 16;

/// What has been typed since a question was shown.
#[derive(Debug, Default)]
pub(super) struct Line(Vec<u8>);

/// What it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Typed {
    Nothing,
    Answer(Said),
    /// A line that is no answer.
    Nonsense,
}

impl Line {
    /// Takes keys, up to the end of a line.
    pub(super) fn take(&mut self, keys: &[u8]) -> Typed {
        for key in keys {
            if ENTER.contains(key) {
                let line = std::mem::take(&mut self.0);
                echo(b"\r\n");
                return match line.as_slice() {
                    [] => Typed::Nothing,
                    line => said(line).map_or(Typed::Nonsense, Typed::Answer),
                };
            }
            if RUBOUT.contains(key) {
                if self.0.pop().is_some() {
                    echo(b"\x08 \x08");
                }
            } else if key.is_ascii_graphic() && self.0.len() < MAX_LINE {
                self.0.push(*key);
                echo(&[*key]);
            }
        }
        Typed::Nothing
    }
}

/// The terminal does not do it by itself while it passes keys on.
fn echo(bytes: &[u8]) {
    if cfg!(not(test)) {
        // As for every line of ours.
        let _ = io::stderr().write_all(bytes);
    }
}

fn said(line: &[u8]) -> Option<Said> {
    let always = line.first().is_some_and(u8::is_ascii_uppercase);
    let choice = match line.to_ascii_lowercase().as_slice() {
        b"a" | b"allow" | b"c" | b"continue" => Choice::Allow,
        b"d" | b"deny" => Choice::Deny,
        b"k" | b"kill" => Choice::Kill,
        _ => return None,
    };
    Some(Said { choice, always })
}

/// What can be typed.
pub(super) fn help(shape: Option<&Shape>) -> String {
    let always = shape.map(|shape| format!("; A, D, K: always for {shape}")).unwrap_or_default();
    format!("a(llow), d(eny) or k(ill the sandbox), then Enter{always}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_line() {
        let mut line = Line::default();
        let answer = |choice, always| Typed::Answer(Said { choice, always });
        assert_eq!(line.take(b"a"), Typed::Nothing);
        assert_eq!(line.take(b"\r"), answer(Choice::Allow, false));
        assert_eq!(line.take(b"D\n"), answer(Choice::Deny, true));
        assert_eq!(line.take(b"xy\x7f\x08kill\n"), answer(Choice::Kill, false));
        assert_eq!(line.take(b"ls -a\n"), Typed::Nonsense);
        assert_eq!(line.take(b"\n"), Typed::Nothing);
        assert_eq!(line.take(&[b'a'; 1000]), Typed::Nothing);
        assert_eq!(line.take(b"\n"), Typed::Nonsense, "however long it is");
    }
}
