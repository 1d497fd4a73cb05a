//! `[limits]`: what is read, and what is wrong with it.

mod refused;

use policy::quotas::Quota::{self, BytesWritten, CallsPerSecond, Cpu, Memory, OpenFiles, Processes, Threads, Wall};
use policy::{File, parse, parse_files};

fn refused(text: &str, line: u32, column: u32, words: &str) {
    refused::refused(&format!("version = 1\n[limits]\n{text}\n"), line, column, words);
}

#[test]
fn limits_are_sizes_times_and_counts() {
    let text = "version = 1\n[limits]\nmemory = \"64M\"\nprocesses = 16\nthreads = 32\nopen_files = 0x40\nbytes_written = 10_000\ncpu = \"1500ms\"\nwall = 30\ncalls_per_second = 10_000\n";
    let policy = parse("d/p.toml", text).unwrap_or_else(|error| panic!("{error}"));
    let quotas = policy.quotas();
    let expected = [
        (Memory, 64 << 20, "memory 64M"),
        (Processes, 16, "processes 16"),
        (Threads, 32, "threads 32"),
        (OpenFiles, 64, "open_files 64"),
        (BytesWritten, 10_000, "bytes_written 10000"),
        (Cpu, 1500, "cpu 1500ms"),
        (Wall, 30_000, "wall 30s"),
        (CallsPerSecond, 10_000, "calls_per_second 10000"),
    ];
    for ((quota, amount, text), line) in expected.into_iter().zip(3..) {
        assert_eq!(quotas.get(quota), Some(amount));
        assert_eq!(quotas.describe(quota).as_deref(), Some(format!("[limits] p.toml:{line}: {text}").as_str()));
    }
    assert_eq!(quotas.all().count(), Quota::ALL.len());
    let none = parse("p", "version = 1\n[limits]\nwall = \"2w\"\n").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(none.quotas().all().collect::<Vec<_>>(), [(Wall, 14 * 24 * 3600 * 1000)]);
    assert_eq!(none.quotas().describe(Cpu), None);
}

#[test]
fn what_a_file_includes_adds_what_it_does_not_state() {
    let files = [
        ("d/a", "version = 1\n[limits]\nprocesses = 3\n"),
        ("d/b", "version = 1\n[limits]\nprocesses = 2\nthreads = 9\n"),
    ];
    let policy =
        parse_files(&files.map(|(name, text)| File::new(name, text))).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(policy.quotas().describe(Processes).as_deref(), Some("[limits] a:3: processes 3"));
    assert_eq!(policy.quotas().describe(Threads).as_deref(), Some("[limits] b:4: threads 9"));
}

#[test]
fn places_of_mistakes() {
    refused("procceses = 1", 3, 1, "did you mean `processes`?");
    refused("open-files = 1", 3, 1, "did you mean `open_files`?");
    refused("processes = 0", 3, 13, "`processes` cannot be 0; leave it out");
    refused("processes = -1", 3, 13, "`processes` must be a number");
    refused("processes = \"16\"", 3, 13, "`processes` must be a number, not a value of type string");
    refused("threads = 99999999999999999999", 3, 11, "`threads` must be a number");
    refused("threads = 1000000001", 3, 11, "from 1 to 1000000000");
    refused("memory = \"64\"", 3, 10, "such as \"64M\" (K, M, G)");
    refused("memory = \"64T\"", 3, 10, "such as \"64M\" (K, M, G)");
    refused("memory = \"1.5M\"", 3, 10, "such as \"64M\" (K, M, G)");
    refused("memory = \"-1M\"", 3, 10, "such as \"64M\" (K, M, G)");
    refused("memory = \"+1M\"", 3, 10, "such as \"64M\" (K, M, G)");
    refused("memory = \"M\"", 3, 10, "such as \"64M\" (K, M, G)");
    refused("memory = \"18446744073709551615G\"", 3, 10, "such as \"64M\" (K, M, G)");
    refused("memory = 64", 3, 10, "`memory` must be from 4M to 256G");
    refused("memory = \"257G\"", 3, 10, "`memory` must be from 4M to 256G");
    refused("cpu = \"0ms\"", 3, 7, "`cpu` cannot be 0");
    refused("cpu = 1.5", 3, 7, "`cpu` must be seconds, or a text such as \"30s\"");
    refused("wall = \"30\"", 3, 8, "`wall` must be seconds, or a text such as \"30s\"");
    refused("wall = 9223372036854775807", 3, 8, "`wall` must be from 1ms to");
    refused("wall = \"30s\"\nwall = \"30s\"", 4, 1, "duplicate");
    let error = parse("p", "version = 1\nlimits = 3\n").unwrap_err();
    assert_eq!((error.line, error.column), (2, 10), "{error}");
}
