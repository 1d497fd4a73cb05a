//! The options of `cargo xtask run`.
use super::values::{Words, default_memory, host_memory, parse_command, parse_memory, parse_seconds};
use crate::exit;
use crate::policy::ContainerOptions;
use crate::run::BindOption;
use clap::builder::TypedValueParser;
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// Most sandboxes of a run.
const MAX_SANDBOXES: i64 = bundle::MAX_SANDBOXES as i64;

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
    /// to all before it; `cargo xtask trace verify` checks that. What cannot be written at once holds the sandboxes up, unless the policy's
    /// [events] has it dropped, and counted
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
    /// arguments that decide what it does, each path with the rights that were used, and each address, generalised where names and ports differ from run to run. Limits are written as
    /// comments; taints and budgets are not learned
    #[arg(long, value_name = "FILE")]
    pub(crate) learn: Option<PathBuf>,

    /// Take the answers to questions of rules that ask from this file or fifo, as it grows: lines such as
    /// {"question": 1, "answer": "allow"}, with `deny` or `kill`, and `"always": true` for all such calls from then on. The questions are among
    /// the events. Without it they are asked at the terminal, if there is one
    #[arg(long, value_name = "FILE")]
    pub(crate) answers: Option<PathBuf>,

    /// Write the policy to FILE at the end of the run, with a rule for each answer that was given for always
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dry_run", "learn"])]
    pub(crate) remember: Option<PathBuf>,

    /// Write what the program changed to OUT.tar when it has ended, however it did: an OCI layer, with whiteouts for what is gone. Of
    /// several sandboxes each has a file of its own: OUT.1.tar, OUT.2.tar and so on. A file that is there is replaced; if the changes
    /// cannot be written whole, there is none, and the exit code is not 0
    #[arg(long, value_name = "OUT.tar")]
    pub(crate) diff: Option<PathBuf>,

    /// Print the figures of the run at its end
    #[arg(long)]
    pub(crate) stats: bool,

    /// Memory that each sandbox may use, its stack, heap and page tables included: a number of MiB, or with a suffix K, M or G. Files
    /// that it writes may take half as much again, up to 1G; `memory` in the policy's [limits] is for both together. The machine takes from this one what is touched, and no more
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

    /// End each program after S seconds (fractions allowed). If the policy has a limit as well, the stricter one holds
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

/// The options that these words stand for, behind `cargo xtask run`.
#[cfg(test)]
pub(crate) fn parsed_run(words: impl IntoIterator<Item = String>) -> RunOptions {
    use clap::Parser as _;
    let words = ["xtask", "run"].map(str::to_owned).into_iter().chain(words);
    match crate::cli::Cli::try_parse_from(words).unwrap().command {
        crate::cli::Command::Run(options) => *options,
        other => panic!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;

    #[test]
    fn commands_beside() {
        let arguments =
            ["xtask", "run", "--copies", "2", "--beside", "sh -c 'echo  a'", "--beside", "true", "ls", "-l"];
        let options = parsed_run(arguments.iter().skip(2).map(ToString::to_string));
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
        let options = parsed_run(["--stats", "ls", "--trace", "-l"].map(str::to_owned));
        assert!(options.stats && options.trace.is_none());
        assert_eq!(options.command, ["ls", "--trace", "-l"]);
    }
}
