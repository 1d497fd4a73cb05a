//! The command line of what is about policies.
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Which entries of Docker's profiles count: some are for containers with certain capabilities only. They change nothing else.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ContainerOptions {
    /// Read a Docker profile as for a container that has this capability beside Docker's usual ones, such as SYS_ADMIN (may be repeated)
    #[arg(long, value_name = "CAP")]
    pub(crate) cap_add: Vec<String>,

    /// Read it as for one that lacks this capability, or ALL (may be repeated)
    #[arg(long, value_name = "CAP")]
    pub(crate) cap_drop: Vec<String>,
}

/// What is asked about a policy.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Check a policy, and list the calls that its default decides
    Check {
        /// The policy file
        file: PathBuf,
        #[command(flatten)]
        container: ContainerOptions,
    },
    /// Say which rule decides a call, and what
    Explain {
        /// The policy file
        file: PathBuf,
        /// The call as a trace has it, for example 'openat(AT_FDCWD, "/etc/shadow", O_RDONLY)'
        #[arg(long)]
        call: String,
        #[command(flatten)]
        container: ContainerOptions,
    },
    /// Print a policy of any known format in our language
    Convert {
        /// The policy file
        file: PathBuf,
        #[command(flatten)]
        container: ContainerOptions,
    },
}
