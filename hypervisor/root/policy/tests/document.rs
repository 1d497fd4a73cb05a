//! `POLICIES.md`: every policy in it is one.

use policy::{File, PolicyError, parse_files};

const DOCUMENT: &str = include_str!("../../../../POLICIES.md");

/// The blocks of TOML, with the heading that each stands under.
fn blocks() -> Vec<(String, String)> {
    let (mut blocks, mut heading, mut block) = (Vec::new(), String::new(), None::<String>);
    for line in DOCUMENT.lines() {
        match (&mut block, line) {
            (Some(text), "```") => blocks.push((heading.clone(), std::mem::take(text))),
            (Some(text), _) => *text += &format!("{line}\n"),
            (None, _) if line.starts_with('#') => heading = line.trim_start_matches(['#', ' ']).to_string(),
            (None, _) => {}
        }
        block = match line {
            "```toml" => Some(String::new()),
            "```" => None,
            _ => block,
        };
    }
    blocks
}

/// Reads a block; what is the same in every file may be left out there, and what it includes is empty.
fn read(block: &str) -> Result<(), PolicyError> {
    let text = if block.contains("version = ") { block.to_string() } else { format!("version = 1\n{block}") };
    let hosts = if text.contains("example.org:") { "[hosts]\n\"example.org\" = [\"192.0.2.1\"]\n" } else { "" };
    let text = format!("{text}{hosts}");
    let mut files = vec![File::new("block.toml", &text)];
    if text.contains("include = ") {
        files.push(File::new("base.toml", "version = 1\n"));
    }
    parse_files(&files).map(|_| ())
}

#[test]
fn every_policy_in_the_document_is_one() {
    let blocks = blocks();
    assert!(blocks.len() > 10, "{} blocks were found", blocks.len());
    for (heading, block) in blocks {
        read(&block).unwrap_or_else(|error| panic!("under {heading:?}: {error}\n{block}"));
    }
}

#[test]
fn a_block_that_is_none_is_found() {
    assert!(read("[[rule]]\ncalls = [\"openat\"]\naktion = \"allow\"\n").is_err());
}
