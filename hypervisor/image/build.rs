//! Links the hypervisor as a freestanding image at 1 MiB.

fn main() {
    let args = std::env::var("DEP_CORDON_RT_LINK_ARGS").expect("rt gives its link arguments");
    for arg in args.split(' ') {
        println!("cargo::rustc-link-arg-bins={arg}");
    }
    println!("cargo::rustc-link-arg-bins=-Wl,--defsym=IMAGE_BASE=0x100000");
}
