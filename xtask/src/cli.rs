//! The command line.
use crate::exit;
use crate::policy::{ContainerOptions, PolicyCommand};
use crate::run::BindOption;
use clap::builder::TypedValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// Run untrusted Linux programs in partitions of their own; build, test and measure Cordon.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(Box<RunOptions>),
    Test(TestOptions),
    Kernel(KernelOptions),
    Tree(TreeOptions),
    Layer(LayerOptions),
    /// Check what `run --events` has written
    #[command(subcommand)]
    Trace(TraceCommand),
    Replay(ReplayOptions),
    /// Check, explain and translate policies
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Check formatting, lints, the dependency rule, the unsafe rule and Cargo.lock
    Check,
    /// Write COMPATIBILITY.md from the personality's table of system calls
    Compat,
    Bench(BenchOptions),
}

/// Run an unmodified Linux program in its own partition, each system call judged first.
///
/// The program sees a tree of files made of: the program itself, its ELF interpreter and the libraries that
/// it needs; every argument that names a regular file here (read-only, at the same path); the content of each
/// --layer; and empty /dev, /etc, /proc, /run, /sys and /tmp. What it writes stays in memory and is gone at the end.
#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub(crate) struct RunOptions {
    /// The policy file: ours, an OCI or Docker seccomp profile, a config.json or the folder of its bundle, a policy of minijail's, or a unit with SystemCallFilter lines; the content
    /// says which [default: policies/default.toml of this repository]
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) container: ContainerOptions,

    /// Read the policy file again when it changes, and let the programs go on under what it says then, from one call to the next. A bad
    /// one is refused, and the old one stays
    #[arg(long, requires = "policy")]
    pub(crate) watch_policy: bool,

    /// Lay a layer over the program's /, or over the image: the content of a directory, or an archive as `--diff` writes it and images have
    /// it (tar, plain or with gzip or zstd; what it says is gone is gone). May be repeated: the last one is on top. Archives are imported once,
    /// as images are
    #[arg(long = "layer", value_name = "DIR|FILE.tar")]
    pub(crate) layers: Vec<PathBuf>,

    /// Show the host's folder HOST at GUEST, an absolute path, as it is at each moment: read-only (ro, the default), changed by the program
    /// for itself and not on the host (cow), or changed on the host (rw). With `merge`, what the program's tree has there shows where the
    /// folder has nothing; with `except`, this path in the folder is hidden. May be repeated
    #[arg(long = "bind", value_name = "HOST:GUEST[:ro|cow|rw][:merge][:except=PATH]", value_parser = clap::builder::OsStringValueParser::new().try_map(|text| BindOption::parse(&text)))]
    pub(crate) binds: Vec<BindOption>,

    /// Run an image: an archive that `docker save` or `skopeo copy … oci-archive:` has written, the directory of an OCI image layout, or the
    /// name or digest of one that was imported. Its files are all that the program sees, and its entry point, environment, working directory and user are taken. BINARY and ARGS
    /// replace its arguments (Docker's CMD). It is imported once; `cargo xtask layer` lists and removes what was
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Option<PathBuf>,

    /// Set a variable of the program's environment, which else is PATH and HOME (and TERM at a terminal) only
    #[arg(long = "env", value_name = "K=V")]
    pub(crate) env: Vec<OsString>,

    /// Working directory of the program [default: the present one]
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,

    /// Do not pack the files that arguments name
    #[arg(long)]
    pub(crate) no_arg_files: bool,

    /// Print one line for each system call, to standard error or to FILE
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    pub(crate) trace: Option<PathBuf>,

    /// Write what happens to FILE: calls, verdicts, results, faults and ends, as JSON, one event a line (EVENTS.md). Each line is bound
    /// to all before it; `cargo xtask trace verify` checks that. What cannot be written at once holds the sandboxes up, and nothing is
    /// dropped
    #[arg(long, value_name = "FILE")]
    pub(crate) events: Option<PathBuf>,

    /// Write a picture of the run to FILE, for Perfetto (ui.perfetto.dev) or Chrome's about:tracing
    #[arg(long, value_name = "FILE")]
    pub(crate) timeline: Option<PathBuf>,

    /// Judge, and do nothing about it: every call is carried out. What the policy would have blocked is shown as in a trace
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Write a page about the run to FILE: what ran, what it touched, what was denied and by which rule. HTML, all in one
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,

    /// Carry everything out, and write to FILE the least policy that allows what was done: each call, for the values that were seen of the
    /// arguments that decide what it does
    #[arg(long, value_name = "FILE")]
    pub(crate) learn: Option<PathBuf>,

    /// Write what the program changed to OUT.tar when it has ended, however it did: an OCI layer, with whiteouts for what is gone. Of
    /// several sandboxes each has a file of its own: OUT.1.tar, OUT.2.tar and so on. A file that is there is replaced; if the changes
    /// cannot be written whole, there is none, and the exit code is not 0
    #[arg(long, value_name = "OUT.tar")]
    pub(crate) diff: Option<PathBuf>,

    /// Print the figures of the run at its end
    #[arg(long)]
    pub(crate) stats: bool,

    /// Memory that each sandbox may use, its stack, heap and page tables included: a number of MiB, or with a suffix K, M or G. Files
    /// that it writes may take half as much again, up to 1G. The machine takes from this one what is touched, and no more
    /// [default: 1G, or half of this machine's memory divided among the sandboxes if that is less]
    #[arg(long, value_name = "M", value_parser = parse_memory)]
    pub(crate) memory: Option<u64>,

    /// Run N copies of the program, each in a sandbox of its own. The first one has standard input and the terminal
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=MAX_SANDBOXES))]
    pub(crate) copies: u16,

    /// Run this command as well, in a sandbox of its own with the same policy, layers and limits (may be repeated). Lines of every
    /// sandbox but the first begin with its number, as in `[2] `; what they end with does not count
    #[arg(long, value_name = "COMMAND", value_parser = parse_command)]
    pub(crate) beside: Vec<Words>,

    /// End each program after S seconds (fractions allowed)
    #[arg(long, value_name = "S", value_parser = parse_seconds)]
    pub(crate) timeout: Option<u64>,

    /// What carries the machine out; `auto` takes kvm where the processor has SVM and the kernel nests it, else tcg
    #[arg(long, value_enum, default_value_t = Accel::Auto)]
    pub(crate) accel: Accel,

    /// Say what is done: images, files packed, QEMU's command line
    #[arg(long, short)]
    pub(crate) verbose: bool,

    /// Use the images as they are, without asking cargo whether they are fresh
    #[arg(long)]
    pub(crate) no_build: bool,

    /// Pass one more argument to QEMU (may be repeated)
    #[arg(long = "qemu-arg", value_name = "ARG", allow_hyphen_values = true)]
    pub(crate) qemu_args: Vec<OsString>,

    /// Add words to the boot command line, such as `bench=switch`
    #[arg(long, value_name = "WORDS", default_value = "", hide = true)]
    pub(crate) append: String,

    /// Load this image in the shim's place
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) shim: Option<PathBuf>,

    /// Keep the directory of the run (bundle, logs) and say where it is
    #[arg(long)]
    pub(crate) keep: bool,

    /// The program (found like a shell finds it) and its arguments. They can be left out if the image or the policy has some
    #[arg(required_unless_present_any = ["image", "policy"], trailing_var_arg = true, allow_hyphen_values = true, value_names = ["BINARY", "ARGS"])]
    pub(crate) command: Vec<OsString>,
}

/// What is done with events.
#[derive(Debug, Subcommand)]
pub(crate) enum TraceCommand {
    /// Check that no event is missing or was changed
    Verify {
        /// The file of events
        file: PathBuf,
        /// The last hash, as the run printed it
        #[arg(long, value_name = "SHA256")]
        digest: Option<String>,
    },
}

/// Say what a policy would have blocked of a run whose events were written.
///
/// Exits with 0 if that is nothing, and with 1 if it is something.
#[derive(Debug, Args)]
pub(crate) struct ReplayOptions {
    /// The events of the run
    pub(crate) events: PathBuf,

    /// The policy, of any format that `run` takes
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: PathBuf,

    #[command(flatten)]
    pub(crate) container: ContainerOptions,
}

/// Run all tests: on the host, then those that boot the machine.
///
/// One line a test, and at the end a line `N passed, N failed`. Missing Debian packages (QEMU, busybox) are installed if
/// this user may, else the command to do so is shown.
#[derive(Debug, Args)]
pub(crate) struct TestOptions {
    /// Only tests whose name contains this
    pub(crate) filter: Option<String>,

    /// Only the tests that run on the host
    #[arg(long, conflicts_with = "qemu")]
    pub(crate) host: bool,

    /// Only the tests that boot the machine
    #[arg(long)]
    pub(crate) qemu: bool,

    /// Also what takes long, and what is known not to pass yet
    #[arg(long)]
    pub(crate) all: bool,

    /// Machines at a time; one more than there are processors, if not said, as many tests wait for half of their time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) jobs: Option<u8>,
}

/// A part of what is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchPart {
    /// What the policy's table costs
    Verdicts,
    /// getpid
    Calls,
    /// What programs do, and whole programs
    Programs,
    /// A start of python3 with --events
    Events,
    /// The start of a sandbox
    Starts,
    /// The import of an image
    Import,
    /// Files of a folder of the host
    Folders,
}

/// Measure what system calls and programs cost in a sandbox.
///
/// In instructions (the same on every machine) and in time; as ratios to two raw world switches, and to plain Linux in
/// the same machine, for which Debian's kernel is fetched once.
#[derive(Debug, Args)]
pub(crate) struct BenchOptions {
    /// What to measure; everything, if nothing is named
    pub(crate) parts: Vec<BenchPart>,

    /// Leave out the comparison with plain Linux
    #[arg(long)]
    pub(crate) no_linux: bool,

    /// Leave out what is measured in time, which says nothing on a busy machine
    #[arg(long)]
    pub(crate) no_times: bool,

    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// Make small trees of Debian 12's packages, for `--layer`.
///
/// Without names it lists the trees that can be made. They are made in target/trees, from the sources of packages that this machine's
/// apt is configured for, and need no privilege. A tree that is there is left alone. The tests make those that they need. `debian` is an
/// image for `run --image target/trees/debian/image` and is made by mmdebstrap and umoci, which takes root's rights (sudo is used if it asks
/// for no password).
#[derive(Debug, Args)]
pub(crate) struct TreeOptions {
    /// Names of trees
    pub(crate) names: Vec<String>,

    /// Every tree
    #[arg(long, conflicts_with = "names")]
    pub(crate) all: bool,

    /// Make them anew, from Debian's present versions
    #[arg(long)]
    pub(crate) refresh: bool,
}

/// Import container images, export them, list them, remove them.
///
/// An image is an archive that `docker save` or `skopeo copy … oci-archive:` has written, or the directory of an OCI image layout. What is
/// imported is kept in target/layers, each layer once and by its content. `cargo xtask run` imports by itself what `--image` and `--layer`
/// name, and attaches it: layers are put together when a sandbox starts and taken apart when it ends, and nothing is left mounted.
#[derive(Debug, Args)]
pub(crate) struct LayerOptions {
    #[command(subcommand)]
    pub(crate) command: LayerCommand,
}

/// What to do with images.
#[derive(Debug, Subcommand)]
pub(crate) enum LayerCommand {
    /// Check an image, keep its layers, and print its digest
    Import {
        /// The archive or directory
        image: PathBuf,
    },
    /// Set up a base layer: make an image of a root file system, as mmdebstrap or `docker export` writes it. Prints the image's digest
    Base {
        /// The archive (tar, plain or with gzip or zstd), or a directory
        root: PathBuf,
        /// What the image is called, as `name:tag`
        #[arg(long)]
        name: Option<String>,
    },
    Export(ExportOptions),
    /// Print a line for each image (digest, layers, size, names), and for each layer that was given by itself
    List,
    /// Remove images with the layers that only they have, or layers
    Destroy {
        /// Names, or digests of which the first four digits and more are enough
        #[arg(required_unless_present = "all")]
        images: Vec<String>,
        /// Everything
        #[arg(long, conflicts_with = "images")]
        all: bool,
    },
}

/// Write an image to OUT.tar: an archive that `docker load` takes, and an OCI image layout for other tools. Prints the image's digest.
///
/// With --layer or --squash it is another image than the one that was imported, with its program and environment. A file that is there is
/// replaced; if the image cannot be written whole, there is none.
#[derive(Debug, Args)]
pub(crate) struct ExportOptions {
    /// A name, a digest of which the first four digits and more are enough, or what `import` takes
    pub(crate) image: PathBuf,
    /// Where to
    #[arg(value_name = "OUT.tar")]
    pub(crate) out: PathBuf,
    /// Put this layer on top (a directory, or an archive as `run --diff` writes it). May be repeated: the last one is on top
    #[arg(long = "layer", value_name = "DIR|FILE.tar")]
    pub(crate) layers: Vec<PathBuf>,
    /// Make one layer of all
    #[arg(long)]
    pub(crate) squash: bool,
    /// What the image is called, as `name:tag` [default: its own names, if it is as it was]
    #[arg(long)]
    pub(crate) name: Option<String>,
}

/// Boot a test kernel of tests/kernels in the root partition's place, and show what it says.
///
/// Exits with 0 if it passed and with 1 if not.
#[derive(Debug, Args)]
pub(crate) struct KernelOptions {
    /// Its name: that of its file in tests/kernels/src/bin
    pub(crate) name: String,

    /// Use the images as they are, without asking cargo whether they are fresh
    #[arg(long)]
    pub(crate) no_build: bool,

    /// Show the hypervisor's log as well
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

/// What carries the machine out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Accel {
    /// kvm where it surely works, else tcg.
    Auto,
    /// Emulation: works everywhere.
    Tcg,
    /// Linux KVM with nested SVM.
    Kvm,
    /// Windows Hypervisor Platform: passed through, untried.
    Whpx,
}

/// Memory of a sandbox for which none is asked, in bytes, where this machine has twice as much.
const DEFAULT_MEMORY: u64 = 1 << 30;
/// Smallest sandbox, in bytes.
const MIN_MEMORY: u64 = 4 << 20;
/// Largest sandbox, in bytes.
const MAX_MEMORY: u64 = 256 << 30;

/// Most sandboxes of a run.
const MAX_SANDBOXES: i64 = bundle::MAX_SANDBOXES as i64;

/// The words of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Words(pub(crate) Vec<OsString>);

impl RunOptions {
    /// Memory of each sandbox in bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.memory.unwrap_or_else(|| default_memory(host_memory(), self.sandboxes()))
    }

    /// How many sandboxes there are.
    pub(crate) fn sandboxes(&self) -> usize {
        usize::from(self.copies).saturating_add(self.beside.len())
    }
}

/// The default for each of so many sandboxes, where this machine has `host` bytes of memory.
fn default_memory(host: u64, sandboxes: usize) -> u64 {
    let share = host / 2 / u64::try_from(sandboxes).unwrap_or(u64::MAX).max(1);
    DEFAULT_MEMORY.min(share - share % (1 << 20)).max(MIN_MEMORY)
}

/// Splits a command as a shell does.
fn parse_command(text: &str) -> Result<Words, String> {
    let words = shlex::split(text).filter(|words| !words.is_empty());
    let words = words.ok_or_else(|| format!("`{text}` is no command: a quote is not closed, or it is empty"))?;
    Ok(Words(words.into_iter().map(OsString::from).collect()))
}

/// Memory of this machine, in bytes.
fn host_memory() -> u64 {
    let info = rustix::system::sysinfo();
    let unit = u64::from(info.mem_unit.max(1));
    info.totalram.saturating_mul(unit)
}

/// Reads a memory size: MiB, or bytes with a suffix.
fn parse_memory(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.char_indices().last() {
        Some((i, 'k' | 'K')) => (&text[..i], 1u64 << 10),
        Some((i, 'm' | 'M')) => (&text[..i], 1 << 20),
        Some((i, 'g' | 'G')) => (&text[..i], 1 << 30),
        _ => (text, 1 << 20),
    };
    let bytes = digits
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(unit))
        .ok_or_else(|| format!("`{text}` is not a memory size; write for example 64M or 1G"))?;
    if !(MIN_MEMORY..=MAX_MEMORY).contains(&bytes) {
        return Err(format!("{text} is out of range; a sandbox has 4M to 256G of memory"));
    }
    Ok(bytes / 4096 * 4096)
}

/// Reads a number of seconds, with a fraction or without, as milliseconds.
fn parse_seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a time; write seconds above 0, for example 10 or 0.5");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 3 {
        return Err(wrong());
    }
    let millis: u64 = format!("{whole}{fraction:0<3}").parse().map_err(|_| wrong())?;
    // A day is far beyond any use and keeps all later arithmetic small.
    if millis == 0 || millis > 86_400_000 {
        return Err(wrong());
    }
    Ok(millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_default_memory_is_no_more_than_half_of_what_there_is() {
        assert_eq!(default_memory(64 << 30, 1), 1 << 30);
        assert_eq!(default_memory((1 << 30) + 4097, 1), 512 << 20);
        assert_eq!(default_memory(8 << 30, 200), 20 << 20);
        assert_eq!(default_memory(0, 0), MIN_MEMORY);
        assert!(host_memory() > MIN_MEMORY);
    }

    #[test]
    fn memory_sizes() {
        assert_eq!(parse_memory("64"), Ok(64 << 20));
        assert_eq!(parse_memory("64M"), Ok(64 << 20));
        assert_eq!(parse_memory("1g"), Ok(1 << 30));
        assert_eq!(parse_memory("8192K"), Ok(8 << 20));
        for bad in ["", "M", "x", "1", "-5M", "99999G", "18446744073709551615G"] {
            assert!(parse_memory(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(parse_seconds("10"), Ok(10_000));
        assert_eq!(parse_seconds("0.5"), Ok(500));
        assert_eq!(parse_seconds("1.25"), Ok(1_250));
        for bad in ["", "0", "0.0", "-1", "1e3", "1.2345", "x", "999999999999999999999"] {
            assert!(parse_seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn commands_beside() {
        let arguments =
            ["xtask", "run", "--copies", "2", "--beside", "sh -c 'echo  a'", "--beside", "true", "ls", "-l"];
        let Command::Run(options) = Cli::try_parse_from(arguments).unwrap().command else {
            panic!("not `run`");
        };
        let beside: Vec<&[OsString]> = options.beside.iter().map(|words| words.0.as_slice()).collect();
        assert_eq!((options.sandboxes(), options.command.as_slice()), (4, ["ls".into(), "-l".into()].as_slice()));
        assert_eq!(beside, [&["sh", "-c", "echo  a"][..], &["true"]]);
        for bad in [&["--copies", "0"], &["--copies", "1001"], &["--beside", ""], &["--beside", "'x"]] {
            let arguments = ["xtask", "run"].into_iter().chain(*bad).chain(["ls"]);
            assert!(Cli::try_parse_from(arguments).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn options_after_the_program_are_the_programs() {
        let cli = Cli::try_parse_from(["xtask", "run", "--stats", "ls", "--trace", "-l"]).unwrap();
        let Command::Run(options) = cli.command else {
            panic!("not `run`");
        };
        assert!(options.stats && options.trace.is_none());
        assert_eq!(options.command, ["ls", "--trace", "-l"]);
    }
}
