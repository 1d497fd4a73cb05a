//! Links the vDSO as a shared object that needs nothing: no start files, no libraries, no relocations.

fn main() {
    let dir = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    println!("cargo::rerun-if-changed=vdso.ld");
    println!("cargo::rerun-if-changed=vdso.map");
    for arg in [
        "-shared",
        "-nostartfiles",
        "-nostdlib",
        "-Wl,-soname=linux-vdso.so.1",
        "-Wl,--hash-style=both",
        "-Wl,--build-id=none",
        "-Wl,-Bsymbolic",
        "-Wl,-z,max-page-size=4096",
        "-Wl,-z,noexecstack",
        "-Wl,--no-undefined",
        "-Wl,--gc-sections",
        "-Wl,--strip-all",
    ] {
        println!("cargo::rustc-link-arg-bins={arg}");
    }
    println!("cargo::rustc-link-arg-bins=-Wl,-T{dir}/vdso.ld");
    println!("cargo::rustc-link-arg-bins=-Wl,--version-script={dir}/vdso.map");
}
