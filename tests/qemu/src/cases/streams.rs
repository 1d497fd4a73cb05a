//! Standard input, output and error: apart from each other, complete, in order.
use crate::Case;
use crate::fixture::noise;

/// Tests of the streams.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("output and error stay apart", |bench| {
            bench.busybox(&["sh", "-c", "echo out; echo err >&2; echo out2"]).same_as_here()
        }),
        Case::new("input is passed on", |bench| bench.busybox(&["sort"]).input(b"c\na\nb\n").same_as_here()),
        Case::new("no input", |bench| bench.busybox(&["wc", "-c"]).same_as_here()),
        Case::new("large input comes back whole", |bench| {
            bench.busybox(&["cat"]).input(&noise(1_500_000)).same_as_here()
        }),
        Case::new("a lot of output in small pieces", |bench| bench.busybox(&["seq", "1", "60000"]).same_as_here()),
        Case::new("input that nobody reads", |bench| {
            bench.busybox(&["echo", "done"]).input(&noise(500_000)).same_as_here()
        }),
        Case::new("no more input is taken than is read", |bench| {
            bench.busybox(&["head", "-n", "1"]).input(b"one\ntwo\n").same_as_here()
        }),
    ]
}
