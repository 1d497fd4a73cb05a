//! The command line: its commands, and the options of all but `run`, which has the most.
mod run;
mod values;

use crate::policy::{ContainerOptions, PolicyCommand};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

#[cfg(test)]
pub(crate) use run::parsed_run;
pub(crate) use run::{Accel, RunOptions};

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

/// What is done with events.
#[derive(Debug, Subcommand)]
pub(crate) enum TraceCommand {
    /// Check that no event is missing or was changed
    ///
    /// Exits with 0 if that is so, and else with 2 and the first line that is not as it was written.
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
/// imported is kept in target/layers (or where the environment's CORDON_LAYERS says), each layer once and by its content. `cargo xtask run` imports by itself what `--image` and `--layer`
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
