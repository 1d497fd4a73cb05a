//! The cases, by the name that the program's first argument gives.

mod alarm;
mod endings;
mod files;
mod floods;
mod fuzz;
mod gate;
mod hypercalls;
mod memory;
mod names;
mod overlay;
mod processor;
mod questions;
mod requests;
mod ring3;
mod taints;
mod told;
mod window;

use crate::Shim;

/// Runs one case. Those of `end` do not come back, if all is well.
pub(crate) fn run(shim: &mut Shim, name: &str, variant: &str) {
    match name {
        "hypercalls" => hypercalls::run(shim),
        "processor" => processor::run(shim),
        "overlay" => overlay::run(shim),
        "memory" => memory::run(shim),
        "requests" => requests::run(shim),
        "files" => files::run(shim),
        "floods" => floods::run(shim, variant),
        "fuzz" => fuzz::run(shim, variant),
        "gate" => gate::run(shim),
        "window" => window::run(shim),
        "questions" => questions::run(shim),
        "taints" => taints::run(shim),
        "told" => told::run(shim, variant),
        "alarm" => alarm::run(shim),
        "end" => endings::run(shim, variant),
        _ => panic!("no case {name:?}"),
    }
}

/// A number of the command line; 0 if it is none.
fn number(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}
