//! Hands the link arguments of a freestanding image to the build scripts of the crates that use `rt`.

use std::path::Path;

fn main() {
    let dir = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let script = Path::new(&dir).join("image.ld");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=image.ld");
    println!("cargo::metadata=script={}", script.display());
    println!("cargo::metadata=link_args={}", link_args(&script).join(" "));
}

/// What every image booted through the `boot` feature is linked with, but for its address.
fn link_args(script: &Path) -> Vec<String> {
    let mut args: Vec<String> = [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,-z,max-page-size=4096",
        "-Wl,-z,noexecstack",
        "-Wl,--build-id=none",
        "-Wl,--no-eh-frame-hdr",
    ]
    .map(String::from)
    .to_vec();
    args.push(format!("-Wl,-T{}", script.display()));
    args
}
