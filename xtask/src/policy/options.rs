//! The command line of what is about policies.
use super::oci::capability;
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// How others' formats are read. Some entries of Docker's profiles are for containers with certain capabilities only, which change nothing else.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ContainerOptions {
    /// Read a Docker profile as for a container that has this capability beside Docker's usual ones, such as SYS_ADMIN, or ALL (may be repeated)
    #[arg(long, value_name = "CAP", value_parser = capability)]
    pub(crate) cap_add: Vec<String>,

    /// Read it as for one that lacks this capability, or ALL (may be repeated)
    #[arg(long, value_name = "CAP", value_parser = capability)]
    pub(crate) cap_drop: Vec<String>,

    /// Look for the files below this folder that policies include from below another one, absolute and on another system (may be repeated):
    /// `--include-map /usr/share/policy/crosvm=jail/seccomp/x86_64`
    #[arg(long, value_name = "FOLDER=HERE", value_parser = include_map)]
    pub(crate) include_map: Vec<(PathBuf, PathBuf)>,
}

/// A folder, and where it is here.
fn include_map(text: &str) -> Result<(PathBuf, PathBuf), String> {
    match text.split_once('=') {
        Some((from, to)) if from.starts_with('/') && !to.is_empty() => Ok((from.into(), to.into())),
        _ => Err("write it as /FOLDER=HERE".into()),
    }
}

/// What is asked about a policy.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Exit codes:\n  0  good\n  1  policies differ (diff), or a case failed (test)\n  2  a file cannot be read, is no policy, or cannot be expressed in the format"
)]
pub(crate) enum PolicyCommand {
    /// Check a policy: errors with line and column, rules that never decide, calls that are left to the default
    Check {
        /// The policy file
        file: PathBuf,
        #[command(flatten)]
        container: ContainerOptions,
    },
    /// Say which rule decides a call, and what; or what may be done with a path, and which entry of `[[files]]` says so
    #[command(group(ArgGroup::new("question").required(true).args(["call", "path"])))]
    Explain {
        /// The policy file
        file: PathBuf,
        /// The call as a trace has it, for example 'openat(AT_FDCWD, "/etc/shadow", O_RDONLY)'
        #[arg(long)]
        call: Option<String>,
        /// What is said once all that taints has been done: all files were used, and all calls made
        #[arg(long, requires = "call")]
        tainted: bool,
        /// A path as it is resolved, without `..` and links, for example '/etc/shadow'
        #[arg(long)]
        path: Option<String>,
        /// Ask for this right on the path alone: read, write, create, delete, execute or list
        #[arg(long, requires = "path")]
        right: Option<String>,
        #[command(flatten)]
        container: ContainerOptions,
    },
    /// Print a policy of any known format in ours, or in another one
    Convert {
        /// The policy file
        file: PathBuf,
        /// The format
        #[arg(long, value_enum, default_value_t = Format::Toml)]
        to: Format,
        #[command(flatten)]
        container: ContainerOptions,
    },
    /// Print the calls and the paths about which two policies say different things
    ///
    /// Exits with 0 if there are none, and with 1 if there are some. Both are asked about calls whose arguments stand at and beside what conditions compare with: the numbers, and strings,
    /// addresses and bytes that the patterns match. For `[[files]]` they are asked about paths that the patterns of both match, each that is no glob, and some of those that a glob
    /// matches; `[network]`, `[[budget]]`, `[[taint]]`, `[events]`, and what holds for other paths are compared as they are.
    Diff {
        /// The one policy
        before: PathBuf,
        /// The other
        after: PathBuf,
        #[command(flatten)]
        container: ContainerOptions,
    },
    /// Try calls whose verdicts, and paths whose rights are known
    ///
    /// The cases are TOML: `[[case]]` with `call` as a trace has it, `verdict` as `explain` has it ("allow", "errno EPERM", ...), and, if wanted,
    /// `rule`, the number of the rule that decides (0 is the default; "2 base.toml" is one of an included file, "docker.json:412" one of another format), and `tainted = true` for what is said once all that taints has been done. Or with `path`, `rights` (all that the path has: ["read", "list"]), and, if wanted,
    /// `entry`, the number of the entry of `[[files]]`. Or with `[[case.step]]`, several times: calls of one run in their order, with budgets and taints in force: `call` and `verdict`, and, if wanted, `rule`, `times`
    /// (so often), `returns` (for budgets of bytes), `answer = "allow"` (to what is asked) and `after = "100ms"` (for `calls_per_second`: what comes faster has the verdict "wait"); or `used`, a path that is opened, with `rights` (["read"]).
    /// `name` may say what a case is about. Exits with 0 if all are as expected, and with 1 if not.
    Test {
        /// The policy file
        file: PathBuf,
        /// The file of cases
        cases: PathBuf,
        #[command(flatten)]
        container: ContainerOptions,
    },
}

/// What a policy is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Our language.
    Toml,
    /// Our language as JSON.
    Json,
    /// A seccomp profile, as OCI runtimes and Docker take it; with warnings where it allows more.
    Oci,
}
