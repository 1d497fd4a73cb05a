//! Links the freestanding guests as static programs without a C library.

/// The guests that bring their own entry (see `src/lib.rs`); all others are ordinary Rust programs.
const FREESTANDING: [&str; 4] = ["fault", "getpid", "init", "probe"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for bin in FREESTANDING {
        for arg in ["-nostartfiles", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none"] {
            println!("cargo::rustc-link-arg-bin={bin}={arg}");
        }
    }
}
