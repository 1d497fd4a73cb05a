//! The tree of files: layers, links, metadata, writing to the layer in memory.
use crate::Case;
use std::fs;

/// Tests of files.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("ls -l of files", |bench| {
            let layer = bench.fixture.layer();
            bench.busybox(&["ls", "-l", "fruit", "empty", "large", "link", "sub/script"]).layer(&layer).same_as_here()
        }),
        Case::new("ls -la of a directory's names", |bench| {
            let layer = bench.fixture.layer();
            bench.busybox(&["ls", "-1a", "."]).layer(&layer).same_as_here()
        }),
        Case::new("/bin/ls -ln of files", |bench| {
            let layer = bench.fixture.layer();
            bench.sandbox(["/bin/ls", "-ln", "fruit", "empty", "link"]).layer(&layer).same_as_here()
        }),
        Case::new("stat", |bench| {
            let layer = bench.fixture.layer();
            bench
                .busybox(&["stat", "-c", "%n %s %a %f %h %u %g %Y %F", "fruit", "link", "sub/script", "empty"])
                .layer(&layer)
                .same_as_here()
        }),
        Case::new("readlink", |bench| {
            let layer = bench.fixture.layer();
            bench.busybox(&["readlink", "link"]).layer(&layer).same_as_here()
        }),
        Case::new("a link to nowhere", |bench| {
            let layer = bench.fixture.layer();
            bench.busybox(&["cat", "dangling"]).layer(&layer).same_as_here()
        }),
        Case::new("find", |bench| {
            let layer = bench.fixture.layer();
            let found = bench.busybox(&["find", ".", "-type", "f"]).layer(&layer).run()?;
            let mut lines: Vec<&[u8]> = found.stdout.split(|b| *b == b'\n').collect();
            lines.sort_unstable();
            let expected: [&[u8]; 5] = [b"", b"./empty", b"./fruit", b"./large", b"./sub/script"];
            found.exits(0)?.wants(lines == expected, "the four files")?.done()
        }),
        Case::new("only what was named is there", |bench| {
            bench
                .busybox(&["cat", "/etc/passwd"])
                .options(["--no-arg-files"])
                .run()?
                .exits(1)?
                .complains("can't open '/etc/passwd': No such file or directory")?
                .done()
        }),
        Case::new("the kernel's trees are not packed", |bench| {
            // The shim's own /proc stands in the place of the host's.
            let version = "Linux version 6.1.0-cordon (cordon) #1 Cordon\n";
            bench.busybox(&["cat", "/proc/version"]).run()?.exits(0)?.prints(version)?.done()?;
            bench.busybox(&["cat", "/proc/interrupts"]).run()?.exits(1)?.prints("")?.done()
        }),
        Case::new("writing to /tmp and reading it back", |bench| {
            let script = "echo one > /tmp/x; echo two >> /tmp/x; while read l; do echo \"got $l\"; done < /tmp/x";
            bench.busybox(&["sh", "-c", script]).run()?.exits(0)?.prints("got one\ngot two\n")?.done()
        }),
        Case::new("what is written does not reach the host", |bench| {
            let outcome =
                bench.busybox(&["sh", "-c", "echo spoilt > fruit; read l < fruit; echo $l", "fruit"]).run()?;
            outcome.exits(0)?.prints("spoilt\n")?;
            let here = fs::read_to_string(bench.fixture.files().join("fruit")).map_err(|e| e.to_string())?;
            outcome.wants(here.starts_with("pear 3"), "the host's file as it was")?.done()
        }),
        Case::new("layers hide each other", |bench| {
            let scratch = bench.fixture.scratch()?;
            let make = |name: &str, text: &str| {
                let layer = scratch.path().join(name);
                fs::create_dir_all(layer.join("data")).and_then(|()| fs::write(layer.join("data/file"), text))
            };
            make("one", "first\n").and_then(|()| make("two", "second\n")).map_err(|e| e.to_string())?;
            bench
                .busybox(&["cat", "/data/file"])
                .layer(&scratch.path().join("one"))
                .layer(&scratch.path().join("two"))
                .run()?
                .exits(0)?
                .prints("second\n")?
                .done()
        }),
    ]
}
