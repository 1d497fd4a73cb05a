//! `cargo xtask`: everything that one does with this repository from a shell.
//!
//! * [`run`]: packs a program and its files, boots the machine and connects its streams.
//! * [`images`]: builds the three freestanding images and flattens them.
//! * [`pack`]: the read-only tree and the boot bundle.
mod apt;
mod cli;
mod exit;
mod images;
mod pack;
mod qemu;
mod run;
mod workspace;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = match cli::Cli::parse().command {
        cli::Command::Run(options) => run::run(&options),
    };
    match outcome {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}
