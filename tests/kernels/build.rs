//! Links each kernel as a freestanding image at 16 MiB, where a root partition's image goes.

fn main() {
    let args = std::env::var("DEP_CORDON_RT_LINK_ARGS").expect("rt gives its link arguments");
    for arg in args.split(' ') {
        println!("cargo::rustc-link-arg-bins={arg}");
    }
    println!("cargo::rustc-link-arg-bins=-Wl,--defsym=IMAGE_BASE=0x1000000");
}
