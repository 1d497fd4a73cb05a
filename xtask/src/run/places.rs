//! Where a run's outputs go. Looked at before anything is touched or started: a file that cannot be written, that another output is written to as well, or that
//! the run reads, is told while nothing is lost.
use crate::cli::RunOptions;
use crate::events::check_answers;
use crate::exit::Failure;
use crate::output;
use crate::policy::PolicyFiles;
use std::fs::{self, Metadata, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// An output.
struct Output<'o> {
    option: &'static str,
    path: &'o Path,
    /// It is written elsewhere and takes the file's place when it is whole.
    replaces: bool,
}

/// What tells a file from others.
#[derive(PartialEq, Eq)]
enum Identity {
    /// One that is there.
    File(u64, u64),
    /// One that is to be: its folder, and its whole path there.
    New(PathBuf),
    /// Something that many may write to: a terminal, a pipe, `/dev/null`.
    Stream,
}

/// Checks them all, and that there can be answers.
pub(super) fn check(options: &RunOptions, policy: &PolicyFiles) -> Result<(), Failure> {
    if let Some(answers) = options.answers.as_deref() {
        check_answers(answers)?;
    }
    let outputs = outputs(options);
    let mut known: Vec<(&Output<'_>, Identity)> = Vec::new();
    for output in &outputs {
        let identity = output.look().map_err(|why| output.failure(&why))?;
        output.is_no_input(options, policy, &identity)?;
        if let Some((other, _)) = known.iter().find(|(_, other)| *other == identity && identity != Identity::Stream) {
            return Err(output.failure(&format!("{} is written there; give each a file of its own", other.option)));
        }
        known.push((output, identity));
    }
    Ok(())
}

fn outputs(options: &RunOptions) -> Vec<Output<'_>> {
    let trace = options.trace.as_ref().filter(|path| path.as_os_str() != "-");
    [
        ("--trace", trace, false),
        ("--events", options.events.as_ref(), false),
        ("--timeline", options.timeline.as_ref(), false),
        ("--report", options.report.as_ref(), true),
        ("--learn", options.learn.as_ref(), true),
        ("--remember", options.remember.as_ref(), true),
        ("--diff", options.diff.as_ref(), true),
    ]
    .into_iter()
    .filter_map(|(option, path, replaces)| Some(Output { option, path: path?, replaces }))
    .collect()
}

impl Output<'_> {
    fn failure(&self, why: &str) -> Failure {
        Failure::early(format!("{} {}: {why}", self.option, self.path.display()))
    }

    /// What is there, and whether it can be written.
    fn look(&self) -> Result<Identity, String> {
        match self.path.metadata() {
            Ok(metadata) if metadata.is_dir() => Err("that is a folder; name a file in it".into()),
            Ok(metadata) if metadata.is_file() => {
                if self.replaces {
                    try_folder(self.path)?;
                } else {
                    OpenOptions::new().write(true).open(self.path).map_err(|error| cannot(&error))?;
                }
                Ok(identity(&metadata))
            }
            Ok(_) => Ok(Identity::Stream),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // A link that leads nowhere yet stands for what it names.
                let path = target(self.path);
                let folder = folder(&path);
                if !folder.exists() {
                    return Err(format!("there is no folder {}; make it first", folder.display()));
                }
                try_folder(if self.replaces { self.path } else { &path })?;
                let folder = folder.canonicalize().map_err(|error| cannot(&error))?;
                Ok(Identity::New(folder.join(path.file_name().ok_or("that is no name of a file")?)))
            }
            Err(error) => Err(cannot(&error)),
        }
    }

    /// What the run reads is not written over.
    fn is_no_input(&self, options: &RunOptions, policy: &PolicyFiles, own: &Identity) -> Result<(), Failure> {
        if policy.is_made_of(self.path) {
            return Err(self.failure("that is a policy file of this run; name another"));
        }
        let others = [("--image", options.image.as_ref()), ("--answers", options.answers.as_ref())];
        let layers = options.layers.iter().map(|layer| ("--layer", layer));
        let mut inputs = others.into_iter().filter_map(|(option, path)| Some((option, path?))).chain(layers);
        let is_it = |path: &PathBuf| path.metadata().is_ok_and(|metadata| identity(&metadata) == *own);
        match inputs.find(|(_, path)| *own != Identity::Stream && is_it(path)) {
            Some((option, _)) => Err(self.failure(&format!("the run reads that ({option}); name another"))),
            None => Ok(()),
        }
    }
}

fn identity(metadata: &Metadata) -> Identity {
    if metadata.is_file() { Identity::File(metadata.dev(), metadata.ino()) } else { Identity::Stream }
}

/// Whether there can be a file beside this one; none stays.
fn try_folder(path: &Path) -> Result<(), String> {
    output::temporary(path).map(drop).map_err(|error| format!("{error:#}"))
}

/// What a path names, if links stand in its last place.
fn target(path: &Path) -> PathBuf {
    /// As many as Linux follows.
    const MOST: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..MOST {
        let Ok(next) = fs::read_link(&path) else { break };
        path = folder(&path).join(next);
    }
    path
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn cannot(error: &std::io::Error) -> String {
    format!("cannot be written: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::parsed_run;
    use crate::policy::Container;
    use std::os::unix::fs::symlink;

    /// What is said about these outputs, and the names in the folder afterwards.
    fn said(folder: &Path, words: &[(&str, &str)]) -> Option<String> {
        let policy = PolicyFiles::read(&folder.join("p.toml"), "p.toml", &Container::default()).unwrap();
        let words = words.iter().flat_map(|(option, path)| {
            let path = if path.starts_with('/') { PathBuf::from(path) } else { folder.join(path) };
            [(*option).to_owned(), path.display().to_string()]
        });
        let options = parsed_run(words.chain(["true".to_owned()]));
        check(&options, &policy).err().map(|failure| {
            assert_eq!(failure.code(), 2);
            failure.to_string().replace(&folder.display().to_string(), "")
        })
    }

    #[test]
    fn outputs_have_files_of_their_own() {
        let place = tempfile::tempdir().unwrap();
        let place = place.path();
        fs::write(place.join("p.toml"), "version = 1\n").unwrap();
        fs::write(place.join("old"), "of another run").unwrap();
        fs::hard_link(place.join("old"), place.join("same")).unwrap();
        symlink("p.toml", place.join("link")).unwrap();
        symlink("second", place.join("first")).unwrap();
        symlink("new", place.join("second")).unwrap();
        symlink("none/new", place.join("lost")).unwrap();
        fs::create_dir(place.join("folder")).unwrap();
        let names = || fs::read_dir(place).unwrap().count();
        let before = names();
        for (words, wanted) in [
            (&[("--events", "e"), ("--report", "r"), ("--learn", "l"), ("--timeline", "old")][..], None),
            (&[("--events", "/dev/null"), ("--report", "/dev/null")], None),
            (
                &[("--events", "e"), ("--report", "folder/../e")],
                Some("--report /folder/../e: --events is written there"),
            ),
            (&[("--events", "old"), ("--learn", "same")], Some("--learn /same: --events is written there")),
            (&[("--events", "first"), ("--timeline", "new")], Some("--timeline /new: --events is written there")),
            (&[("--events", "new"), ("--report", "second")], Some("--report /second: --events is written there")),
            (&[("--events", "lost")], Some("--events /lost: there is no folder /none; make it first")),
            (&[("--learn", "p.toml")], Some("--learn /p.toml: that is a policy file of this run")),
            (&[("--events", "link")], Some("--events /link: that is a policy file of this run")),
            (&[("--report", "folder")], Some("--report /folder: that is a folder")),
            (&[("--learn", "none/x")], Some("--learn /none/x: there is no folder /none; make it first")),
            (&[("--diff", "p.toml/x")], Some("--diff /p.toml/x: cannot be written: Not a directory")),
            (&[("--report", "/proc/none")], Some("--report /proc/none: cannot write to /proc: ")),
            (&[("--layer", "old"), ("--diff", "same")], Some("--diff /same: the run reads that (--layer)")),
        ] {
            let said = said(place, words);
            let is_it = match (&said, wanted) {
                (Some(said), Some(wanted)) => said.starts_with(wanted),
                (said, wanted) => said.is_none() && wanted.is_none(),
            };
            assert!(is_it, "{said:?} and not {wanted:?}");
        }
        assert_eq!(names(), before);
        assert_eq!(fs::read_to_string(place.join("old")).unwrap(), "of another run");
    }
}
