//! Conformance: python's own test suite, as Debian packages it (libpython3.11-testsuite), and perl's core tests (of its source package).
//! Each is run on plain Linux and in a sandbox, on the same tree of files; what passes there passes here, but for the differences that
//! are named with their reasons.
use crate::{Bench, Case, Setup, Verdict};
use std::collections::BTreeSet;
use std::slice;
use std::time::Duration;

/// Runs modules of python's and says what became of each test.
const PYTHON: &str = include_str!("../../real/suite.py");
/// The same for files of perl's.
const PERL: &str = include_str!("../../real/suite.pl");
/// Longest time for a group on either side.
const LIMIT: Duration = Duration::from_secs(600);
/// The same for those that run with `--all` only.
const LONG_LIMIT: Duration = Duration::from_secs(900);
/// Tests that are named when they fail; the rest is counted.
const SHOWN: usize = 12;

/// Groups of modules of the test package that are run each time: those that rest on the system most, and take seconds.
const PYTHON_GROUPS: &[(&str, &[&str])] = &[
    (
        "asyncio",
        &[
            "test_asyncio.test_locks",
            "test_asyncio.test_queues",
            "test_asyncio.test_runners",
            "test_asyncio.test_selector_events",
            "test_asyncio.test_threads",
        ],
    ),
    ("asyncio, sockets", &["test_asyncio.test_server", "test_asyncio.test_streams", "test_asyncio.test_unix_events"]),
    (
        "sockets",
        &[
            "test_asynchat",
            "test_asyncore",
            "test_epoll",
            "test_select",
            "test_urllib",
            "test_urllib2_localnet",
            "test_wsgiref",
        ],
    ),
    ("servers", &["test_httplib", "test_httpservers", "test_smtplib"]),
    (
        "files",
        &[
            "test_dbm",
            "test_dbm_dumb",
            "test_file",
            "test_filecmp",
            "test_fileinput",
            "test_fileio",
            "test_genericpath",
            "test_posixpath",
            "test_stat",
            "test_unicode_file",
        ],
    ),
    (
        "files, copied and temporary",
        &["test_linecache", "test_netrc", "test_shutil", "test_tempfile", "test_zipimport"],
    ),
    ("os", &["test_fcntl", "test_grp", "test_os", "test_posix", "test_pwd"]),
    (
        "processes",
        &[
            "test_fork1",
            "test_openpty",
            "test_pipes",
            "test_platform",
            "test_popen",
            "test_pty",
            "test_resource",
            "test_syslog",
        ],
    ),
    (
        "threads and time",
        &["test_atexit", "test_sched", "test_thread", "test_threadedtempfile", "test_threading_local", "test_time"],
    ),
    (
        "the language",
        &[
            "test_contextlib",
            "test_fnmatch",
            "test_getpass",
            "test_locale",
            "test_memoryio",
            "test_mmap",
            "test_shlex",
            "test_sys",
            "test_zlib",
        ],
    ),
];

/// Modules that take longer, or hardly ask the system for anything: with `--all` only.
const LONG: &[&str] = &[
    "test_array",
    "test_asyncio.test_base_events",
    "test_asyncio.test_events",
    "test_asyncio.test_sendfile",
    "test_asyncio.test_sock_lowlevel",
    "test_asyncio.test_subprocess",
    "test_asyncio.test_tasks",
    "test_bufio",
    "test_bz2",
    "test_cmd_line",
    "test_cmd_line_script",
    "test_eintr",
    "test_faulthandler",
    "test_ftplib",
    "test_gc",
    "test_glob",
    "test_gzip",
    "test_hashlib",
    "test_io",
    "test_json",
    "test_largefile",
    "test_logging",
    "test_lzma",
    "test_mailbox",
    "test_math",
    "test_mimetypes",
    "test_multiprocessing_fork",
    "test_multiprocessing_main_handling",
    "test_pathlib",
    "test_pickle",
    "test_poll",
    "test_poplib",
    "test_queue",
    "test_re",
    "test_runpy",
    "test_selectors",
    "test_signal",
    "test_site",
    "test_socket",
    "test_ssl",
    "test_strftime",
    "test_struct",
    "test_subprocess",
    "test_tarfile",
    "test_threading",
    "test_threadsignals",
    "test_uuid",
    "test_venv",
    "test_wait3",
    "test_wait4",
    "test_weakref",
    "test_xmlrpc",
    "test_zipfile",
];

/// Tests of the usual modules that take much longer than the others: with `--all` only.
const SLOW: &[&str] = &[
    "test_dbm_dumb.DumbDBMTestCase.test_random",
    "test_file.PyOtherFileTests.testIteration",
    "test_httplib.BasicTest.test_large_content_length",
    "test_os.BytesFwalkTests.test_fd_leak",
    "test_os.BytesWalkTests.test_walk_many_open_files",
    "test_os.ForkTests.test_fork",
    "test_os.FwalkTests.test_fd_leak",
    "test_os.WalkTests.test_walk_many_open_files",
    "test_tempfile.TestTemporaryDirectory.test_del_on_shutdown",
];

/// Groups of perl's core tests that are run each time: the language from the ground up, and what rests on the system. Patterns of their
/// files; `-`: not this one, which takes minutes.
const PERL_GROUPS: &[(&str, &[&str])] = &[
    ("base, cmd", &["base/*.t", "cmd/*.t"]),
    ("comp", &["comp/*.t", "-comp/utf.t"]),
    ("opbasic", &["opbasic/*.t"]),
    ("io", &["io/{argv,binmode,closepid,dup,fflush,fs,inplace,iofile}.t"]),
    ("io, pipes and sockets", &["io/{nargv,openpid,pipe,print,read,socket,tell}.t"]),
    ("op, files", &["op/{chdir,filetest,glob,readline,stat,sysio}.t"]),
    ("op, processes", &["op/{die_exit,exec,fork,getpid,getppid}.t"]),
    ("op, signals and time", &["op/{alarm,kill0,sleep,sselect,time}.t"]),
];

/// The others, but for those of regular expressions, which take an hour: with `--all` only.
const PERL_LONG: &[(&str, &[&str])] = &[
    ("comp/utf", &["comp/utf.t"]),
    ("io, all", &["io/*.t"]),
    ("lib", &["lib/*.t"]),
    ("mro", &["mro/*.t"]),
    ("op, all", &["op/*.t"]),
    ("run", &["run/*.t"]),
    ("uni", &["uni/*.t"]),
];

/// Tests that pass on plain Linux and not in a sandbox, known and with the reason: a test's name, or the beginning of several.
const KNOWN: &[(&str, &str)] = &[
    ("test_asyncore.TestAPI_UseIPv4Select.test_handle_expt", "there is no out-of-band data"),
    ("test_asyncore.TestAPI_UseIPv4Poll.test_handle_expt", "there is no out-of-band data"),
    ("test_asyncore.TestAPI_UseIPv6Select.test_handle_expt", "there is no out-of-band data"),
    ("test_asyncore.TestAPI_UseIPv6Poll.test_handle_expt", "there is no out-of-band data"),
    ("test_os.ExtendedAttributeTests.", "needs trusted.* attributes, which the sandbox's files do not have"),
    ("test_shutil.TestCopy.test_copy2_xattr", "as above"),
    ("test_shutil.TestCopy.test_copyxattr", "as above"),
    ("test_fcntl.TestFcntl.test_fcntl_64_bit", "F_NOTIFY: no directory notifications by signals"),
    ("test_time.TimeTestCase.test_process_time", "a task that waits alone is charged with the time"),
    ("test_time.TimeTestCase.test_thread_time", "as above"),
    ("test_time.TimeTestCase.test_monotonic_settime", "the clock is the machine's"),
];

/// Tests of conformance.
pub(crate) fn cases(setup: &Setup) -> Vec<Case> {
    let long_pythons = LONG.iter().map(|module| python(module, slice::from_ref(module), LONG_LIMIT, &[]));
    let long_perls = PERL_LONG.iter().map(|(name, files)| perl(name, files, LONG_LIMIT));
    PYTHON_GROUPS
        .iter()
        .map(|(name, modules)| python(name, modules, LIMIT, if setup.all { &[] } else { SLOW }))
        .chain(PERL_GROUPS.iter().map(|(name, files)| perl(name, files, LIMIT)))
        .chain(long_pythons.chain(long_perls).filter(|_| setup.all))
        .collect()
}

/// The test of some of python's modules, but for the tests `left_out`.
fn python(name: &'static str, modules: &'static [&'static str], limit: Duration, left_out: &[&'static str]) -> Case {
    let runner = &["/usr/bin/python3", "-c", PYTHON];
    let left_out = left_out.iter().map(|test| format!("-{test}"));
    let arguments = modules.iter().map(|module| (*module).to_owned()).chain(left_out).collect();
    let suite = Suite { tree: "python", runner, name, arguments, parts: modules, limit };
    Case::new(format!("conformance python {name}"), move |bench| compare(bench, &suite)).needs("python")
}

/// The test of some of perl's files.
fn perl(name: &'static str, files: &'static [&'static str], limit: Duration) -> Case {
    let runner = &["/usr/bin/perl", "-e", PERL];
    let arguments = files.iter().map(|file| (*file).to_owned()).collect();
    let suite = Suite { tree: "perl", runner, name, arguments, parts: &[""], limit };
    Case::new(format!("conformance perl {name}"), move |bench| compare(bench, &suite)).needs("perl")
}

/// A part of a test suite.
struct Suite {
    tree: &'static str,
    /// What runs it, without the arguments that say which part.
    runner: &'static [&'static str],
    name: &'static str,
    /// Which part, as the runner wants to be told.
    arguments: Vec<String>,
    /// What the runner tells the end of, each by the beginning of its tests' names.
    parts: &'static [&'static str],
    limit: Duration,
}

/// What a runner said.
#[derive(Debug, Default)]
struct Tests {
    /// Names of those that passed.
    passed: BTreeSet<String>,
    /// Names of those that failed, each with its reason where it was given.
    failed: Vec<(String, String)>,
    /// The parts that came to their ends.
    ended: BTreeSet<String>,
}

/// Runs a part of a suite on both sides and compares.
fn compare(bench: &Bench<'_>, suite: &Suite) -> Verdict {
    let seconds = suite.limit.as_secs().to_string();
    let options = ["--memory", "512M", "--timeout", &seconds];
    let command = suite.runner.iter().copied().chain(suite.arguments.iter().map(String::as_str));
    let sandbox = bench.in_tree(suite.tree, command).options(options).limit(suite.limit + suite.limit / 5);
    let here = Tests::read(&sandbox.run_here()?.stdout);
    let outcome = sandbox.run()?;
    let inside = Tests::read(&outcome.stdout);
    if let Some(part) = suite.parts.iter().find(|part| !here.ended(part) || !here.passed_any(part)) {
        return Err(format!("on plain Linux {} {part} does not come to its end with a test passed", suite.name));
    }
    let (known, lost): (Vec<&String>, Vec<&String>) =
        here.passed.difference(&inside.passed).partition(|name| KNOWN.iter().any(|(begin, _)| name.starts_with(begin)));
    bench.note(&format!(
        "{}: {} passed on plain Linux, {} in the sandbox, {} known to differ",
        suite.name,
        here.passed.len(),
        inside.passed.len(),
        known.len()
    ));
    let unfinished: Vec<&str> = suite.parts.iter().copied().filter(|part| !inside.ended(part)).collect();
    if lost.is_empty() && unfinished.is_empty() {
        return Ok(());
    }
    let mut why = format!("{} passed on plain Linux and not in the sandbox", lost.len());
    for name in lost.iter().take(SHOWN) {
        let reason = inside.failed.iter().find(|(failed, _)| failed == *name).map_or("it was not run", |(_, why)| why);
        why.push_str(&format!("\n{name}: {reason}"));
    }
    if !unfinished.is_empty() {
        let parts = unfinished.join(" ");
        why.push_str(&format!("\n{parts} did not come to its end: exit code {}, {:?}", outcome.code, outcome.said));
        why.extend(["\n", &last_lines(&outcome.stderr)]);
    }
    Err(why)
}

/// The end of a text.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(5)..).unwrap_or_default().join("\n")
}

impl Tests {
    /// Reads the lines of the runner. A test with a failed part has failed, even if it went on.
    fn read(output: &[u8]) -> Self {
        let mut tests = Self::default();
        for line in String::from_utf8_lossy(output).lines() {
            // What a test prints itself may stand before it on the line.
            let Some((_, said)) = line.split_once("@@ ") else {
                continue;
            };
            let (word, rest) = said.split_once(' ').unwrap_or((said, ""));
            match word {
                "ok" => {
                    tests.passed.insert(rest.to_owned());
                }
                "fail" => tests.failed.push((rest.to_owned(), String::new())),
                "why" => {
                    if let Some((_, why)) = tests.failed.last_mut() {
                        rest.clone_into(why);
                    }
                }
                "end" => {
                    tests.ended.insert(rest.split(' ').next().unwrap_or_default().to_owned());
                }
                _ => {}
            }
        }
        for (name, _) in &tests.failed {
            tests.passed.remove(name);
        }
        tests
    }

    /// Whether a part came to its end.
    fn ended(&self, part: &str) -> bool {
        self.ended.contains(part)
    }

    /// Whether a test of a part passed.
    fn passed_any(&self, part: &str) -> bool {
        self.passed.iter().any(|name| name.starts_with(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_runner() {
        let tests =
            Tests::read(b"noise\n@@ ok a\nprinted@@ ok b\n@@ fail b\n@@ why OSError: [Errno 38]\n@@ skip c\n@@ end\n");
        assert_eq!(tests.passed.iter().collect::<Vec<_>>(), ["a"]);
        assert_eq!(tests.failed, [("b".to_owned(), "OSError: [Errno 38]".to_owned())]);
        assert!(tests.ended(""));
        assert!(!Tests::read(b"@@ ok a").ended(""));
        let modules = Tests::read(b"@@ ok test_a.B.c\n@@ end test_a\n@@ end test_b skipped: why\n");
        assert!(modules.ended("test_a") && modules.passed_any("test_a"));
        assert!(modules.ended("test_b") && !modules.passed_any("test_b"));
    }

    #[test]
    fn at_least_sixty_modules_are_named_once() {
        let usual: Vec<&str> = PYTHON_GROUPS.iter().flat_map(|(_, modules)| *modules).copied().collect();
        let names: BTreeSet<&str> = usual.iter().chain(LONG).copied().collect();
        assert_eq!(names.len(), usual.len() + LONG.len());
        assert!(usual.len() >= 60);
    }
}
