//! Links the shim as a freestanding image in the last 2 GiB of the address space, after making the vDSO that it contains.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    println!("cargo::rerun-if-changed=build.rs");
    vdso(&here.join("../vdso"));
    let script = here.join("shim.ld");
    println!("cargo::rerun-if-changed={}", script.display());
    for arg in [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,-z,max-page-size=4096",
        "-Wl,-z,noexecstack",
        "-Wl,--build-id=none",
        "-Wl,--no-eh-frame-hdr",
    ] {
        println!("cargo::rustc-link-arg-bins={arg}");
    }
    println!("cargo::rustc-link-arg-bins=-Wl,-T{}", script.display());
}

/// Makes `vdso.so`. A crate type of cargo's own will not do: a shared library of rustc's comes with a version script that
/// leaves no room for the symbol version LINUX_2.6.
fn vdso(source: &Path) {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let (object, library) = (out.join("vdso.o"), out.join("vdso.so"));
    let (code, script) = (source.join("src/lib.rs"), source.join("vdso.ld"));
    for input in [&code, &script] {
        println!("cargo::rerun-if-changed={}", input.display());
    }
    let mut rustc = Command::new(env::var_os("RUSTC").expect("cargo sets it"));
    rustc.args(["--edition=2024", "--crate-name=vdso", "--crate-type=lib", "--emit=obj", "-Copt-level=2"]);
    rustc.args(["-Cpanic=abort", "-Crelocation-model=pic", "-Ccodegen-units=1", "-Cforce-unwind-tables=no"]);
    rustc.arg("-o").arg(&object).arg(&code);
    run(rustc);
    let mut linker = Command::new(env::var_os("CC").unwrap_or_else(|| "cc".into()));
    linker.args(["-shared", "-nostdlib", "-nostartfiles", "-Wl,--hash-style=both", "-Wl,-soname=linux-vdso.so.1"]);
    linker.args(["-Wl,-z,max-page-size=4096", "-Wl,-z,noexecstack", "-Wl,-z,defs", "-Wl,--build-id=none"]);
    linker.args(["-Wl,--strip-all", "-Wl,-Bsymbolic"]);
    linker.arg(format!("-Wl,-T{}", script.display())).arg("-o").arg(&library).arg(&object);
    run(linker);
}

fn run(mut command: Command) {
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("{command:?} failed: {status}"),
        Err(error) => panic!("{command:?} cannot be started: {error}"),
    }
}
