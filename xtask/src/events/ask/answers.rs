//! `--answers`: a file or a fifo with an answer in each line, as JSON: `{"question": 1, "answer": "allow", "always": true}`. It is read as it grows.
use super::{Asker, Said};
use anyhow::{Context, Result};
use control::answer::Choice;
use serde::Deserialize;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// How often a file is looked at that had no more.
const LOOK: Duration = Duration::from_millis(50);
/// Bytes of a line.
const MAX_LINE: u64 = 4096;

/// A line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    question: u64,
    answer: Word,
    #[serde(default)]
    always: bool,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Word {
    #[serde(alias = "continue")]
    Allow,
    Deny,
    Kill,
}

/// Makes sure that there is something to read.
pub(crate) fn check(path: &Path) -> Result<()> {
    let metadata = fs::metadata(path).with_context(|| format!("--answers {}", path.display()))?;
    anyhow::ensure!(!metadata.is_dir(), "--answers {}: that is a folder", path.display());
    Ok(())
}

/// Reads answers in a thread from now on. To open a fifo may take until somebody writes to it.
pub(crate) fn follow(path: &Path, asker: Asker) {
    let path = path.to_owned();
    thread::spawn(move || {
        let complain = |why: &dyn std::fmt::Display| super::say(&format!("--answers {}: {why}", path.display()));
        match File::open(&path) {
            Ok(file) => read(BufReader::new(file), &asker, complain),
            Err(error) => complain(&error),
        }
    });
}

fn read(mut file: impl BufRead, asker: &Asker, complain: impl Fn(&dyn std::fmt::Display)) {
    let mut line = Vec::new();
    let mut number = 1_u64;
    loop {
        let room = MAX_LINE.saturating_sub(line.len() as u64);
        match file.by_ref().take(room).read_until(b'\n', &mut line) {
            Ok(0) if room > 0 => thread::sleep(LOOK),
            Ok(_) if line.ends_with(b"\n") => {
                if let Err(why) = take(&line, asker) {
                    complain(&format!("line {number}: {why}"));
                }
                line.clear();
                number += 1;
            }
            Ok(_) if (line.len() as u64) < MAX_LINE => {}
            Ok(_) => return complain(&format!("line {number} is too long; no more is read")),
            Err(error) => return complain(&error),
        }
    }
}

fn take(line: &[u8], asker: &Asker) -> Result<(), String> {
    if line.trim_ascii().is_empty() {
        return Ok(());
    }
    let Line { question, answer, always } = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let choice = match answer {
        Word::Allow => Choice::Allow,
        Word::Deny => Choice::Deny,
        Word::Kill => Choice::Kill,
    };
    asker.answer(question, Said { choice, always })
}
