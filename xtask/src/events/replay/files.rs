//! What `[[files]]` of a policy would have refused of a recorded run.
//!
//! Files that were changed and executed are in every log, by their resolved paths. Those that were only read or listed are where a policy was learned in
//! the same run (`file-granted`), which tells everything.
use super::super::event::What;
use super::super::file_events::{Change, FileChange};
use crate::policy::refusal;
use policy::errno::Errno;
use policy::{Policy, Rights};
use std::collections::{BTreeMap, BTreeSet};
use trace::{Piece, RefusalRecord};

/// Paths that are kept, so that each is told once.
const MAX_KEPT: usize = 1 << 16;

/// What stands in the place of a right where a name is refused for itself.
const NAME: &str = "another name";

/// What is known of a run's files.
#[derive(Default)]
pub(super) struct Files {
    /// What was refused, by sandbox: the right and the path.
    refused: BTreeSet<(u32, String, Vec<u8>)>,
    /// What files were called that have another name now.
    earlier: BTreeMap<(u32, Vec<u8>), Vec<u8>>,
    /// Everything that was granted is told.
    is_whole: bool,
}

impl Files {
    /// What the policy refuses of an event, as traces have it.
    pub(super) fn add(&mut self, policy: &Policy, sandbox: u32, what: &What) -> Vec<String> {
        if !policy.restricts_files() {
            return Vec::new();
        }
        let uses = match what {
            What::FileGranted(granted) => {
                self.is_whole = true;
                let rights = granted.rights.split(' ').filter_map(Rights::by_name);
                rights.filter_map(|right| Some((granted.path.bytes()?, right))).collect()
            }
            What::Executed(executed) => executed.path.bytes().map(|path| (path, Rights::EXECUTE)).into_iter().collect(),
            What::FileChanged(change) if !change.nameless => return self.changed(policy, sandbox, change),
            _ => Vec::new(),
        };
        self.refuse(policy, sandbox, uses)
    }

    fn changed(&mut self, policy: &Policy, sandbox: u32, change: &FileChange) -> Vec<String> {
        let Some(path) = change.path.bytes() else { return Vec::new() };
        let (mut uses, mut moved) = (Vec::new(), None);
        match &change.change {
            Change::Create { .. } => uses.push((path, Rights::CREATE)),
            Change::Delete { .. } => uses.push((path, Rights::DELETE)),
            // It may have been opened under another name.
            Change::Write { .. } => {
                let opened = self.earlier.get(&(sandbox, path.clone())).cloned();
                uses.push((opened.unwrap_or(path), Rights::WRITE));
            }
            Change::Truncate { .. } | Change::Attributes { .. } | Change::Xattr { .. } => {
                uses.push((path, Rights::WRITE))
            }
            Change::Link { from } => {
                moved = from.bytes().map(|from| (from, path.clone()));
                uses.push((path, Rights::CREATE));
            }
            Change::Rename { from, replaced, exchanged } => {
                moved = from.bytes().map(|from| (from, path.clone()));
                uses.extend(from.bytes().map(|from| (from, Rights::DELETE)));
                uses.push((path.clone(), Rights::CREATE));
                if *replaced || *exchanged {
                    uses.push((path, Rights::DELETE));
                }
            }
        }
        let mut lines = self.refuse(policy, sandbox, uses);
        if let Some((from, to)) = moved {
            if lines.is_empty() {
                lines.extend(self.refuse_name(policy, sandbox, &from, &to));
            }
            if self.earlier.len() < MAX_KEPT {
                let first = self.earlier.get(&(sandbox, from.clone())).cloned().unwrap_or(from);
                self.earlier.insert((sandbox, to), first);
            }
        }
        lines
    }

    /// A name that would give more rights than the file has.
    fn refuse_name(&mut self, policy: &Policy, sandbox: u32, from: &[u8], to: &[u8]) -> Option<String> {
        let verdict = policy.file_rights(to);
        let is_refused = verdict.rights != Rights::HIDE && !policy.file_rights(from).rights.contain(verdict.rights);
        let is_new = is_refused && self.keep(sandbox, NAME, to);
        is_new.then(|| line(NAME, to, Some(from), "EXDEV", &verdict.to_string()))
    }

    fn refuse(&mut self, policy: &Policy, sandbox: u32, uses: Vec<(Vec<u8>, Rights)>) -> Vec<String> {
        let mut lines = Vec::new();
        for (path, right) in uses {
            let (verdict, name) = (policy.file_rights(&path), right.to_string());
            if let Some(errno) = refusal(&verdict, right)
                && self.keep(sandbox, &name, &path)
            {
                lines.push(line(&name, &path, None, errno, &verdict.to_string()));
            }
        }
        lines
    }

    /// Whether it was not told yet.
    fn keep(&mut self, sandbox: u32, right: &str, path: &[u8]) -> bool {
        self.refused.len() >= MAX_KEPT || self.refused.insert((sandbox, right.to_owned(), path.to_owned()))
    }

    /// What there is to say at the end of so many refusals, and whether there were none.
    pub(super) fn finish(&self, policy: &Policy, count: usize) -> Option<String> {
        let unknown = if self.is_whole {
            ""
        } else {
            "; of what was only read or listed nothing is known: a run that is recorded with --learn, too, tells it"
        };
        policy.restricts_files().then(|| format!("[[files]]: {count} uses of files would have been refused{unknown}"))
    }
}

fn line(rights: &str, path: &[u8], from: Option<&[u8]>, errno: &str, entry: &str) -> String {
    let piece = |bytes: &[u8]| Piece::Read { bytes: bytes.to_vec(), whole: true };
    let record = RefusalRecord {
        time: 0,
        thread: 0,
        rights: rights.to_owned(),
        path: piece(path),
        from: from.map(piece),
        errno: Errno::by_name(errno).map_or(0, |errno| errno.number),
        entry: entry.to_owned(),
        generation: 1,
        ignored: false,
    };
    format!("{} [errno {errno}, {entry}]", trace::refusal_text(&record))
}

#[cfg(test)]
mod tests {
    use super::super::super::event::Event;
    use super::super::Replay;

    const POLICY: &str = "version = 1
default = \"allow\"
[[files]]
paths = \"/etc/secret*\"
rights = [\"hide\"]
[[files]]
paths = \"/tmp/**\"
rights = [\"read\", \"write\", \"create\", \"delete\"]
[[files]]
default = [\"read\", \"list\"]
";

    fn said(events: &[&str]) -> (Vec<String>, Vec<String>, bool) {
        let policy = policy::parse("p", POLICY).unwrap();
        let mut replay = Replay::new(&policy);
        let event = |rest: &&str| {
            let text = format!("{{\"sandbox\":1,\"ns\":5000,\"thread\":2,\"process\":2,\"text\":\"\",{rest}}}");
            serde_json::from_str::<Event>(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
        };
        let lines = events.iter().map(event).flat_map(|event| replay.add(&event)).collect();
        let (end, is_good) = replay.finish();
        (lines, end, is_good)
    }

    fn changed(path: &str, change: &str) -> String {
        format!("\"type\":\"file-changed\",\"path\":{{\"text\":\"{path}\"}},\"change\":{change}")
    }

    #[test]
    fn what_was_changed_or_executed_and_may_not_be_is_told_once() {
        let renamed = changed("/tmp/b", "\"rename\",\"from\":{\"text\":\"/tmp/a\"}");
        let out = changed("/etc/out", "\"rename\",\"from\":{\"text\":\"/tmp/b\"}");
        let into = changed("/tmp/c", "\"link\",\"from\":{\"text\":\"/etc/passwd\"}");
        let (lines, end, is_good) = said(&[
            &changed("/tmp/a", "\"create\",\"kind\":\"file\""),
            &renamed,
            &out,
            // Opened as /tmp/a.
            &changed("/etc/out", "\"write\",\"bytes\":3"),
            &changed("/etc/other", "\"write\",\"bytes\":3"),
            &changed("/etc/other", "\"truncate\",\"size\":3"),
            &into,
            "\"type\":\"executed\",\"path\":{\"text\":\"/bin/sh\"},\"arguments\":[],\"whole\":true",
        ]);
        assert_eq!(
            lines,
            [
                "first at 0.000005 s in sandbox 1:",
                "  files: create \"/etc/out\" [errno EACCES, files default p:9]",
                "  files: write \"/etc/other\" [errno EACCES, files default p:9]",
                "  files: another name \"/tmp/c\" from \"/etc/passwd\" [errno EXDEV, files entry 2 p:6]",
                "  files: execute \"/bin/sh\" [errno EACCES, files default p:9]",
            ]
        );
        assert!(
            !is_good && end[1].starts_with("[[files]]: 4 uses of files would have been refused; of what was only read")
        );
    }

    #[test]
    fn what_was_read_is_known_where_it_was_learned_from() {
        let granted = |rights: &str, path: &str| {
            format!("\"type\":\"file-granted\",\"rights\":\"{rights}\",\"path\":{{\"text\":\"{path}\"}}")
        };
        let (lines, end, is_good) = said(&[&granted("read", "/etc/secret"), &granted("read", "/etc/passwd")]);
        assert_eq!(lines[1..], ["  files: read \"/etc/secret\" [errno ENOENT, files entry 1 p:3]"]);
        assert!(!is_good && end[1] == "[[files]]: 1 uses of files would have been refused", "{end:?}");
        let (lines, end, is_good) = said(&[&granted("list", "/etc")]);
        assert!(lines.is_empty() && is_good && end[1].starts_with("[[files]]: 0 uses"), "{end:?}");
    }
}
