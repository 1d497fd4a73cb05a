//! The policy: which system calls a program may make, as data.
//!
//! A policy is TOML text. [`parse`] checks every word of it and compiles it to a bounded table ([`Policy`]);
//! [`Policy::judge`] gives the verdict on one call, without allocation and without recursion: a call without
//! conditions costs one look-up, any other the clauses that name it.
//!
//! # The text
//! ```toml
//! version = 1                                   # required; this reader knows 1
//! default = { errno = "EPERM" }                 # what no rule decides; this is also what holds if it is left out
//!
//! [[rule]]                                      # rules are tried in order; the first that applies decides
//! calls = ["read", "write", "@sync", 39]        # names of x86-64 system calls, groups of them, or numbers
//! action = "allow"                              # or "kill", "trap", "log" (allow, and write it to the trace), or one with a value:
//!                                               # { errno = "EPERM" }, { fake = 0 } (not carried out, returns that),
//!                                               # { kill = "process" } (or "thread", or "sandbox", which is "kill"),
//!                                               # { ask = { limit = "30s" } } (or "ask": somebody decides, see [`question`], as for "stop"), or
//!                                               # { rewrite = [{ arg = 2, mask = "O_RDWR|O_CLOEXEC" }] } (value or mask for an argument,
//!                                               # or path for what it points to)
//!
//! [[rule]]
//! calls = ["socket"]
//! when = [{ arg = 0, op = "==", value = "AF_UNIX" }]   # all must hold
//! action = { errno = "EACCES" }
//! log = true                                    # write the call to the trace even when nothing else is
//! reason = "no sockets"                         # shown in traces and errors
//! ```
//! A condition compares argument `arg` (0 to 5) by `==`, `!=`, `<`, `<=`, `>`, `>=`, or
//! `masked_eq` (`(argument & mask) == value`). Numbers are compared unsigned, and in the width that Linux gives the
//! argument: where its prototype says `int`, the register's upper half counts neither for the kernel nor here
//! ([`signature`]); `bits = 64` (or 32) in a condition compares that much of the register instead, as seccomp filters do. Where an argument has names ([`symbols`]), they can stand for numbers, joined by `|`.
//!
//! # What pointers lead to
//! ```toml
//! when = [{ arg = 1, path = ["/etc/shadow*", "/root/**"] }]      # one of these patterns matches (see [`glob`])
//! when = [{ arg = 1, path = "/tmp/**", not = true }]            # none does
//! when = [{ arg = 2, string = "tmpfs" }]                        # as `path`, but `/` is a character as any other
//! ```
//! They ask for the string itself, as the program passed it, with its `..` and before any link is followed: good for telling calls apart;
//! to protect a file whatever its name, it takes rights on resolved paths. A NULL pointer has no string: no such condition holds then, neither with `not`. A call whose string cannot be read, or has no end within
//! PATH_MAX bytes, gets the error that Linux gives it, whatever its rules say. What is judged is a copy, and the copy is what is carried out.
//!
//! A path can be replaced by another one:
//! ```toml
//! calls = ["openat", "newfstatat"]
//! when = [{ arg = 1, path = "/etc/passwd" }]
//! action = { rewrite = [{ arg = 1, path = "/srv/fake/passwd" }] }
//! ```
//! The program's path is judged; the other one is what the call is carried out with, as if the program had passed it: it is resolved as any path, and what
//! `[[files]]` says of where it leads holds. It begins with `/`, so that it does not hang on a directory of the program's. Where the program passes NULL there is no path to
//! replace, and the call goes on without one.
//!
//! # Socket addresses
//! ```toml
//! calls = ["connect", "sendto", "sendmsg", "sendmmsg"]
//! when = [{ address = ["127.0.0.0/8:80", "[::1]:8000-8999", "example.org:443", "unix:/run/**", "AF_NETLINK"], not = true }]
//! ```
//! One of the patterns ([`address`]) matches the address that the call names, or none does. A call that names none (`sendto` on a connected socket) has no
//! address, and no such condition holds then, neither with `not`. To connect or send to the address that stands for every one (0.0.0.0, `::`) is to go to this host, and
//! is judged as that. An address in a message (`sendmsg`) is read with its message. Of several messages (`sendmmsg`) the first is judged and carried out, which the call's result says; the program
//! sends the others by another call. Names of hosts are those of [`hosts`].
//!
//! `[network]` is a short form for the usual such rules ([`network`]). `[[budget]]` says how often, and for how many bytes, calls are carried out ([`budget`]),
//! and `[[taint]]` which are carried out no more once the program has read certain files ([`taint`]).
//!
//! # Files
//! ```toml
//! [[files]]                                     # the first entry with a matching path says what may be done with it
//! paths = ["/root/**", "/etc/shadow*"]          # globs, see [`glob`]
//! rights = ["hide"]                             # these names do not exist
//! reason = "nobody's business"                  # shown where it is refused
//! [[files]]
//! paths = "/tmp/**"
//! rights = ["read", "write", "create", "delete", "list"]
//! [[files]]
//! default = ["read", "execute", "list"]         # what no entry matches; required where there are entries. `[]`: can be seen, and no more
//! ```
//! The root's file service asks for these rights with the path that a request resolved to, without `..` and links, whatever the shim says.
//!
//! | right | needed for |
//! |---|---|
//! | `read` | opening a file for reading; its extended attributes |
//! | `write` | opening a file for writing, cutting it; changing the mode, owner, times and extended attributes of anything |
//! | `create` | making the name: a file, directory, link, socket, fifo; renaming or linking to it |
//! | `delete` | taking the name away: unlink, rmdir, renaming it or over it |
//! | `execute` | opening a file to execute it (execve, and the interpreters that it names); a library is mapped, and that is `read` |
//! | `list` | reading a directory's names |
//! | `hide` | alone: the names are in no listing, looking them up is ENOENT, and making them EACCES |
//!
//! What is not granted is EACCES. Seeing that a name exists, its attributes, and where a symbolic link leads takes no right: what it leads to is judged by its own path. A file has the rights of those of its names that the
//! program has looked up. No name gives a file rights that it does not have already: a rename or link to where it would get more is EXDEV, as between two file systems, upon which
//! programs copy, and each copy is judged. So is the rename of a directory, unless the entries treat all that can be below its two names alike. A policy without `[[files]]` grants everything.
//!
//! # What is recorded
//! `[events]` says what happens where events cannot be written as fast as they are made ([`events`]).
//!
//! # What is written
//! ```toml
//! calls = ["write", "pwrite64", "writev", "pwritev", "pwritev2", "sendto", "sendmsg", "sendmmsg"]
//! when = [{ contains = ["PRIVATE KEY", { hex = "de ad be ef" }] }]   # one of these is somewhere in the bytes
//! when = [{ prefix = ["GET ", "HEAD "], not = true }]           # they begin with none of these
//! ```
//! They ask for the bytes that the call writes or sends, those of all its ranges one behind the other. At most 4096 bytes of a call are judged, and no more than
//! was judged is written: the call's result says so, as it does whenever a write is short, and the program writes the rest by another call. What can only be sent
//! as a whole (a datagram) fails with EMSGSIZE if it is longer. A program may write in pieces as small as it likes, so that `contains` finds what an honest
//! program writes at once, and does not keep a hostile one from writing it. What gets into a file or a socket by other calls (`sendfile`, `splice`, a shared mapping) is judged by rules on those.
//!
//! # Several files
//! ```toml
//! include = ["base.toml", "more/net.toml"]      # at the top, like `version`, which every file has
//! ```
//! Names are relative to the folder of the file that they stand in. A file's own rules are tried first, then those of the files that it includes, in
//! their order, each with what it includes after it: exceptions stand in the file that includes. A rule of an included file may so be about calls that are
//! decided already; in one and the same file that is an error. Of `default` the first one that is stated holds. A file that is included
//! twice counts where it stands first; files that include one another are refused. Rules are counted by file, and verdicts name the file.
//!
//! Whoever packs a policy finds the files ([`includes`]) and hands them over in this order ([`parse_files`]).
//!
//! # What the program is started as
//! ```toml
//! [process]                                     # every key may be left out
//! args = ["/bin/app", "--serve"]                # what is run if the command line names nothing
//! cwd = "/srv"
//! uid = 1000
//! gid = 1000
//! groups = [4, 24]                              # supplementary ones
//! umask = 0o027
//! hostname = "box"
//! domainname = "example.org"
//! no_new_privileges = true                      # as after prctl(PR_SET_NO_NEW_PRIVS)
//! clock = { offset = "-30d" }                   # added to the time of day: seconds, or with a unit (s, m, h, d, w)
//! rlimit = { nofile = [256, 1024], core = 0 }   # soft and hard, or one for both; "unlimited" is none
//! env = { allow = ["LC_*"], set = { LANG = "C" }, unset = ["HOME"] }
//! ```
//! What is stated here holds: a command line that asks for something else (`--cwd`, `--env`) is refused, and an image's settings give way. Only `args` are a
//! default. Of the environment there is what `set` says, and of everything else what `allow`, if it is there, lets in and `unset` does not keep out.
//! Files that are included add what is not stated yet; variables and limits count one by one.
//!
//! # How much a sandbox may use
//! ```toml
//! [limits]                                      # every key may be left out: then there is no such limit
//! memory = "64M"                                # of the whole sandbox: its programs, its tables, the files that it writes
//! processes = 16                                # alive at once
//! threads = 32                                  # alive at once, in all processes together
//! open_files = 64                               # descriptors, in all processes together
//! bytes_written = "10M"                         # into files and the standard streams, in all
//! cpu = "5s"                                    # processor time, of all together
//! wall = "30s"                                  # time from the start
//! calls_per_second = 10_000                     # what comes faster waits
//! ```
//! These are figures of a sandbox, not of a process ([`quotas`] says what each is). Of a limit and an option of the command line for the same the stricter
//! one holds. Files that are included add limits that are not stated yet.
//!
//! # Which files of the host it sees
//! ```toml
//! [root]
//! path = "rootfs"                               # a folder of the host: all that the program sees, in place of what it needs of the host's files
//!
//! [[bind]]                                      # and these, each as it is at each moment
//! host = "data"
//! at = "/data"
//! mode = "ro"                                   # or "cow" (changed for the program alone), or "rw" (changed on the host)
//! merge = false                                 # what the sandbox has there shows where the folder has nothing
//! except = ["secret"]                           # hidden
//! ```
//! Paths of the host are relative to the file that they stand in. Of `root` the first that is stated counts, binds of all files come together.
//!
//! [`groups`] are systemd's. A call that a rule names only by a group may be decided by an earlier rule, so that exceptions stand first.
//!
//! What the reader does not know is an error with its place: an unknown key, call, error or name, a number that cannot
//! fit, a condition that cannot hold, a call in a rule that an earlier rule leaves nothing of. Later versions of the
//! reader add keys, actions and forms of values; they do not give what is valid today another meaning.
//!
//! # Example
//! ```
//! let text = "version = 1\n[[rule]]\ncalls = [\"getpid\"]\naction = \"allow\"\n";
//! let policy = policy::parse("example.toml", text).expect("a good policy");
//! let verdict = policy.judge(39, &[0; 6]);
//! assert_eq!(verdict.action, policy::Action::Allow);
//! assert_eq!(verdict.rule().to_string(), "rule 1 example.toml:2");
//!
//! let error = policy::parse("bad.toml", "version = 1\nrules = 3\n").unwrap_err();
//! assert!(error.to_string().starts_with("bad.toml:2:1: unknown key `rules`; did you mean `rule`?"));
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod action;
pub mod address;
pub mod budget;
mod compile;
mod contents;
pub mod errno;
mod error;
pub mod events;
mod files;
pub mod glob;
pub mod groups;
pub mod hosts;
mod include;
pub mod mounts;
pub mod network;
mod parse;
mod pointed;
pub mod process;
pub mod question;
pub mod quotas;
pub mod signature;
mod suggest;
pub mod symbols;
mod table;
pub mod taint;

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

pub use budget::Budget;
use compile::FileText;
use errno::Errno;
pub use error::PolicyError;
use error::Source;
pub use events::WhenFull;
pub use files::{FileVerdict, Rights};
pub use include::{Include, includes};
pub use pointed::{Form, Pointed, Read};
pub use question::Question;
pub use table::{By, Policy, Rewrite, RuleRef, Rules, Verdict};

/// Bounds on what a policy may hold. They bound memory and the cost of a verdict; real policies stay far below.
pub mod limits {
    /// Bytes of a file.
    pub const MAX_TEXT: usize = 256 * 1024;
    /// Bytes of all files of a policy.
    pub const MAX_TOTAL_TEXT: usize = 1024 * 1024;
    /// Files that a policy is made of.
    pub const MAX_FILES: usize = 64;
    /// Files that include one another, one within the other.
    pub const MAX_DEPTH: usize = 8;
    /// Rules in all files.
    pub const MAX_RULES: usize = 1024;
    /// Conditions in one rule.
    pub const MAX_CONDITIONS: usize = 16;
    /// Bytes of a reason.
    pub const MAX_REASON: usize = 200;
    /// Rules with conditions that name one call: the longest chain a verdict can cost.
    pub const MAX_CLAUSES_PER_CALL: usize = 256;
    /// Pairs of a rule with conditions and a call that it names.
    pub const MAX_CLAUSES: usize = 16 * 1024;
    /// Conditions of all these pairs.
    pub const MAX_TOTAL_CONDITIONS: usize = 32 * 1024;
    /// Entries of `files` in all files.
    pub const MAX_FILE_RULES: usize = 256;
    /// Patterns in the `files` of one file.
    pub const MAX_FILE_PATTERNS: usize = 4096;
    /// Patterns in one condition.
    pub const MAX_PATTERNS: usize = 1024;
    /// Bytes of one text that `prefix` or `contains` looks for.
    pub const MAX_CONTENT: usize = 1024;
    /// Bytes of all these texts.
    pub const MAX_TOTAL_CONTENT: usize = 64 * 1024;
    /// Names of hosts that have addresses.
    pub const MAX_HOSTS: usize = 256;
    /// Addresses of one of them.
    pub const MAX_HOST_ADDRESSES: usize = 64;
}

/// What is done with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is carried out.
    Allow,
    /// It is not carried out; the program gets this error.
    Errno(Errno),
    /// It is not carried out; the sandbox ends.
    Kill,
    /// It is not carried out; the program sees this result.
    Fake(i64),
    /// It is carried out with other arguments than the program's ([`Verdict::rewritten`]).
    Rewrite,
    /// It is not carried out; its process ends as by SIGSYS, whatever it does about that signal (seccomp(2), SECCOMP_RET_KILL_PROCESS).
    KillProcess,
    /// It is not carried out; its thread ends, and if it is the last of its process, that ends as by SIGSYS (SECCOMP_RET_KILL_THREAD).
    KillThread,
    /// It is not carried out; its thread gets SIGSYS, with the call's number and address (SECCOMP_RET_TRAP).
    Trap,
    /// Its thread waits until somebody has said what is done, or nobody has in time ([`Verdict::question`]).
    Ask,
    /// The same, and the whole sandbox stands still meanwhile.
    Stop,
}

impl Action {
    /// Whether a call to which this is said is carried out, be it with other arguments.
    #[must_use]
    pub fn carries_out(self) -> bool {
        matches!(self, Self::Allow | Self::Rewrite)
    }

    /// Whether it ends a thread or more.
    #[must_use]
    pub fn kills(self) -> bool {
        matches!(self, Self::Kill | Self::KillProcess | Self::KillThread)
    }
}

/// One file of a policy.
#[derive(Clone, Copy, Debug)]
pub struct File<'t> {
    /// Its name, for messages.
    pub name: &'t str,
    /// What it holds.
    pub text: &'t str,
}

/// Reads and compiles a policy that is one file. `name` is the file's name, for messages.
///
/// # Errors
/// The first thing that is wrong, with its place and what to do; so is that it includes others.
pub fn parse(name: &str, text: &str) -> Result<Policy, PolicyError> {
    parse_files(&[File { name, text }])
}

/// Reads and compiles a policy from its files, in the order in which their rules are tried: that which was asked for, and those that it includes.
///
/// # Errors
/// The first thing that is wrong, with its place and what to do.
pub fn parse_files(files: &[File<'_>]) -> Result<Policy, PolicyError> {
    let (mut texts, mut total) = (Vec::new(), 0);
    // In verdicts the first file goes without its folders, and the others are named as seen from there.
    let first = files.first().map_or("", |file| file.name);
    let folder = first.rfind(['/', '\\']).and_then(|end| first.get(..=end)).unwrap_or("");
    for file in files {
        let source = Source::new(file.name, file.text.as_bytes());
        total += file.text.len();
        check_size(&source, file.text.len(), limits::MAX_TEXT, "the policy has")?;
        check_size(&source, total, limits::MAX_TOTAL_TEXT, "the policy with what it includes has")?;
        let label = file.name.strip_prefix(folder).unwrap_or(file.name).to_string();
        let text = parse::read(&source, &label, file.text)?;
        match &text.includes {
            Some(span) if files.len() == 1 => {
                return Err(source.error(span, "what this file includes was not read together with it"));
            }
            _ => texts.push(FileText { source, label, text }),
        }
    }
    if texts.len() > limits::MAX_FILES {
        let source = Source::new(first, &[]);
        return Err(source.error(&(0..0), format!("a policy has {} files at most", limits::MAX_FILES)));
    }
    compile::compile(texts)
}

fn check_size(source: &Source<'_>, bytes: usize, most: usize, what: &str) -> Result<(), PolicyError> {
    if bytes <= most {
        return Ok(());
    }
    Err(source.error(&(0..0), format!("{what} {bytes} bytes; at most {most} are read")))
}

/// [`parse`] for a file's bytes, which may turn out not to be text.
///
/// # Errors
/// Those of [`parse`] and [`text`].
pub fn parse_bytes(name: &str, bytes: &[u8]) -> Result<Policy, PolicyError> {
    parse(name, text(name, bytes)?)
}

/// A file's bytes as text.
///
/// # Errors
/// Where they are not UTF-8.
pub fn text<'b>(name: &str, bytes: &'b [u8]) -> Result<&'b str, PolicyError> {
    core::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        Source::new(name, bytes).error(&(at..at), "not UTF-8 from here on; a policy is a text file")
    })
}
