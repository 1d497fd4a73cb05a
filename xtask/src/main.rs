//! `cargo xtask`: everything that one does with this repository from a shell.
//!
//! * [`run`]: packs a program and its files, boots the machine and connects its streams.
//! * [`testing`]: all tests, one line each; [`kernel`] boots one test kernel.
//! * [`bench`]: what a system call costs.
//! * [`check`]: what a reviewer should not have to look for; [`compat`]: the compatibility page.
//! * [`images`]: builds the three freestanding images and flattens them.
//! * [`trees`]: root file systems of Debian's packages, for the tests and for anybody.
//! * [`layer`]: container images that were imported.
//! * [`events`]: what happened in a run, written, checked, replayed, drawn.
//! * [`policy`]: checks, explains and translates policies.
//! * [`streams`]: what they print.
//! * [`pack`]: the read-only tree and the boot bundle.
#![forbid(unsafe_code)]

// First: the others print by its macros.
#[macro_use]
mod streams;

mod apt;
mod bench;
mod check;
mod cli;
mod compat;
mod events;
mod exit;
mod images;
mod kernel;
mod layer;
mod output;
mod pack;
mod policy;
mod qemu;
mod run;
mod testing;
mod trees;
mod workspace;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = match cli::Cli::parse().command {
        cli::Command::Run(options) => run::run(&options),
        cli::Command::Test(options) => testing::test(&options),
        cli::Command::Kernel(options) => kernel::run(&options),
        cli::Command::Tree(options) => trees::tree(&options),
        cli::Command::Layer(options) => layer::layer(&options),
        cli::Command::Trace(command) => events::trace(&command),
        cli::Command::Replay(options) => events::replay(&options),
        cli::Command::Policy(command) => policy::policy(&command),
        cli::Command::Check => check::check(),
        cli::Command::Compat => compat::compat(),
        cli::Command::Bench(options) => bench::bench(&options),
    };
    match outcome {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}
