//! Where the programs' output goes. The first sandbox' goes on as it comes, byte for byte; of each other one it comes line by line,
//! with the sandbox' number in front.
use super::report::printable;
use std::fs::File;
use std::io::{self, IsTerminal, Write};

/// A line longer than this is broken.
const MAX_LINE: usize = 16 * 1024;

/// What a sandbox writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
    Trace,
}

/// The host's streams, and the begun lines of the sandboxes behind the first.
#[derive(Debug)]
pub(super) struct Outputs {
    streams: [File; 3],
    /// Ends a line of our own: the terminal may be one that takes bytes as they are.
    line_end: &'static str,
    begun: Vec<[Vec<u8>; 3]>,
}

impl Outputs {
    /// Outputs of so many sandboxes.
    pub(super) fn new(stdout: File, stderr: File, trace: File, sandboxes: usize) -> Self {
        let line_end = if stderr.is_terminal() { "\r\n" } else { "\n" };
        let mut begun = Vec::new();
        begun.resize_with(sandboxes, Default::default);
        Self { streams: [stdout, stderr, trace], line_end, begun }
    }

    /// How many sandboxes there are.
    pub(super) fn sandboxes(&self) -> usize {
        self.begun.len()
    }

    /// Passes on what a sandbox has written.
    pub(super) fn write(&mut self, sandbox: u16, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        let file = &mut self.streams[stream as usize];
        let Some(begun) = self.begun.get_mut(usize::from(sandbox)).filter(|_| sandbox > 0) else {
            return file.write_all(bytes);
        };
        let begun = &mut begun[stream as usize];
        begun.extend_from_slice(bytes);
        let end = match begun.iter().rposition(|byte| *byte == b'\n') {
            Some(newline) => newline + 1,
            None if begun.len() > MAX_LINE => begun.len(),
            None => return Ok(()),
        };
        let rest = begun.split_off(end);
        let whole = std::mem::replace(begun, rest);
        file.write_all(&labelled(sandbox, &whole))
    }

    /// Passes on the line that an ended sandbox has begun.
    pub(super) fn finish(&mut self, sandbox: u16) -> io::Result<()> {
        let Some(begun) = self.begun.get_mut(usize::from(sandbox)) else { return Ok(()) };
        for (file, begun) in self.streams.iter_mut().zip(begun) {
            if !begun.is_empty() {
                file.write_all(&labelled(sandbox, &std::mem::take(begun)))?;
            }
        }
        Ok(())
    }

    /// Cordon's own lines about a sandbox. A closed standard error stops neither a program nor us.
    pub(super) fn log(&mut self, sandbox: u16, text: &str) {
        let label = label(sandbox);
        for line in text.lines() {
            let _ =
                write!(self.streams[Stream::Stderr as usize], "cordon: {label}{}{}", printable(line), self.line_end);
        }
    }
}

/// What stands before each line about a sandbox: its number, unless it is the first.
pub(super) fn label(sandbox: u16) -> String {
    if sandbox == 0 { String::new() } else { numbered(sandbox) }
}

/// The number of a sandbox among several, counted from 1.
pub(super) fn numbered(sandbox: u16) -> String {
    format!("[{}] ", u32::from(sandbox) + 1)
}

/// Whole lines (the last may lack its end), each with the label in front.
fn labelled(sandbox: u16, lines: &[u8]) -> Vec<u8> {
    let label = label(sandbox);
    let mut out = Vec::with_capacity(lines.len() + label.len());
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        out.extend_from_slice(label.as_bytes());
        out.extend_from_slice(line);
    }
    if out.last() != Some(&b'\n') {
        out.push(b'\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn lines_of_others_are_whole_and_say_whose_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let create = |name: &str| File::create(dir.path().join(name)).unwrap();
        let mut outputs = Outputs::new(create("out"), create("err"), create("trace"), 3);
        outputs.write(1, Stream::Stdout, b"a\nb").unwrap();
        outputs.write(0, Stream::Stdout, b"half").unwrap();
        outputs.write(2, Stream::Stdout, b"c\n").unwrap();
        outputs.write(1, Stream::Stdout, b"B\n\nend").unwrap();
        outputs.write(2, Stream::Stderr, &vec![b'x'; MAX_LINE + 1]).unwrap();
        outputs.finish(1).unwrap();
        outputs.log(0, "ours");
        outputs.log(2, "theirs");
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("out"), "[2] a\nhalf[3] c\n[2] bB\n[2] \n[2] end\n");
        assert_eq!(read("err"), format!("[3] {}\ncordon: ours\ncordon: [3] theirs\n", "x".repeat(MAX_LINE + 1)));
        // A number that no sandbox has.
        outputs.write(9, Stream::Trace, b"t").unwrap();
        outputs.finish(9).unwrap();
    }
}
