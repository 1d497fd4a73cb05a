//! inotify.

use super::*;
use crate::errno::Errno;
use alloc::string::String;

const NONBLOCK: u64 = 0o4000;

impl Sandbox {
    fn inotify(&mut self) -> i64 {
        self.call(294, [NONBLOCK, 0, 0, 0, 0, 0])
    }

    fn watch_path(&mut self, inotify: i64, path: &[u8], mask: u32) -> i64 {
        let path = self.string(0, path);
        self.call(254, [inotify.cast_unsigned(), path, mask.into(), 0, 0, 0])
    }

    fn unwatch(&mut self, inotify: i64, watch: i64) -> i64 {
        self.call(255, [inotify.cast_unsigned(), watch.cast_unsigned(), 0, 0, 0, 0])
    }

    /// What has happened: watch, mask, cookie, name.
    fn happened(&mut self, inotify: i64) -> Vec<(i32, u32, u32, String)> {
        let bytes = match self.read(inotify, 4096) {
            Ok(bytes) => bytes,
            Err(error) => {
                assert_eq!(error, -11);
                return Vec::new();
            }
        };
        let mut rest = &bytes[..];
        let mut events = Vec::new();
        while !rest.is_empty() {
            let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().expect("four bytes"));
            let len = usize::try_from(word(12)).expect("small");
            assert_eq!(len % 16, 0);
            let name = String::from_utf8_lossy(&rest[16..16 + len]).trim_end_matches('\0').into();
            events.push((word(0).cast_signed(), word(4), word(8), name));
            rest = &rest[16 + len..];
        }
        events
    }

    /// The same without cookies.
    fn seen(&mut self, inotify: i64) -> Vec<(i32, u32, String)> {
        self.happened(inotify).into_iter().map(|(watch, mask, _, name)| (watch, mask, name)).collect()
    }

    fn close_file(&mut self, fd: i64) {
        assert_eq!(self.call(3, [fd.cast_unsigned(), 0, 0, 0, 0, 0]), 0);
    }
}

fn event(watch: i32, mask: u32, name: &str) -> (i32, u32, String) {
    (watch, mask, name.into())
}

#[test]
fn the_life_of_a_file_is_seen_from_its_directory() {
    let mut sandbox = Sandbox::new();
    let inotify = sandbox.inotify();
    assert_eq!(sandbox.watch_path(inotify, b"/tmp", raw::IN_ALL_EVENTS), 1);
    let file = sandbox.open(b"/tmp/new", raw::O_CREAT | raw::O_RDWR, 0o600);
    assert_eq!(sandbox.seen(inotify), [event(1, raw::IN_CREATE, "new"), event(1, raw::IN_OPEN, "new")]);
    assert_eq!(sandbox.write(file, b"text"), 4);
    assert_eq!(sandbox.write(file, b"text"), 4);
    assert_eq!(sandbox.call(17, [file.cast_unsigned(), sandbox.scratch, 4, 0, 0, 0]), 4);
    assert_eq!(sandbox.seen(inotify), [event(1, raw::IN_MODIFY, "new"), event(1, raw::IN_ACCESS, "new")]);
    assert_eq!(sandbox.path_call(90, b"/tmp/new", [0o644, 0]), 0);
    sandbox.close_file(file);
    assert_eq!(sandbox.seen(inotify), [event(1, raw::IN_ATTRIB, "new"), event(1, raw::IN_CLOSE_WRITE, "new")]);
    let to = sandbox.string(1, b"/tmp/other");
    assert_eq!(sandbox.path_call(82, b"/tmp/new", [to, 0]), 0);
    let moved = sandbox.happened(inotify);
    assert_eq!(
        moved.iter().map(|event| (event.1, &event.3[..])).collect::<Vec<_>>(),
        [(raw::IN_MOVED_FROM, "new"), (raw::IN_MOVED_TO, "other")]
    );
    assert!(moved[0].2 != 0 && moved[0].2 == moved[1].2);
    assert_eq!(sandbox.path_call(87, b"/tmp/other", [0, 0]), 0);
    assert_eq!(sandbox.path_call(83, b"/tmp/dir", [0o755, 0]), 0);
    assert_eq!(sandbox.path_call(84, b"/tmp/dir", [0, 0]), 0);
    assert_eq!(
        sandbox.seen(inotify),
        [
            event(1, raw::IN_DELETE, "other"),
            event(1, raw::IN_CREATE | raw::IN_ISDIR, "dir"),
            event(1, raw::IN_DELETE | raw::IN_ISDIR, "dir")
        ]
    );
    assert_eq!(sandbox.unwatch(inotify, 1), 0);
    assert_eq!(sandbox.seen(inotify), [event(1, raw::IN_IGNORED, "")]);
    assert_eq!(sandbox.unwatch(inotify, 1), error(Errno::EINVAL));
    sandbox.open(b"/tmp/after", raw::O_CREAT | raw::O_RDWR, 0o600);
    assert_eq!(sandbox.seen(inotify), []);
}

#[test]
fn a_file_sees_its_own_end_when_nobody_has_it_open() {
    let mut sandbox = Sandbox::new();
    let file = sandbox.open(b"/tmp/file", raw::O_CREAT | raw::O_RDWR, 0o600);
    let inotify = sandbox.inotify();
    let mask = raw::IN_DELETE_SELF | raw::IN_MOVE_SELF | raw::IN_ATTRIB;
    assert_eq!(sandbox.watch_path(inotify, b"/tmp/file", mask), 1);
    let to = sandbox.string(1, b"/tmp/moved");
    assert_eq!(sandbox.path_call(82, b"/tmp/file", [to, 0]), 0);
    assert_eq!(sandbox.seen(inotify), [event(1, raw::IN_MOVE_SELF, "")]);
    assert_eq!(sandbox.path_call(87, b"/tmp/moved", [0, 0]), 0);
    assert_eq!(sandbox.seen(inotify), [event(1, raw::IN_ATTRIB, "")]);
    sandbox.close_file(file);
    assert_eq!(sandbox.seen(inotify), [event(1, raw::IN_DELETE_SELF, ""), event(1, raw::IN_IGNORED, "")]);
}

#[test]
fn watches_are_changed_and_end_by_themselves() {
    let mut sandbox = Sandbox::new();
    let inotify = sandbox.inotify();
    assert_eq!(sandbox.watch_path(inotify, b"/etc/text", raw::IN_OPEN), 1);
    assert_eq!(sandbox.watch_path(inotify, b"/etc/link", raw::IN_ACCESS | raw::IN_MASK_ADD), 1);
    assert_eq!(sandbox.watch_path(inotify, b"/etc/text", raw::IN_OPEN | raw::IN_MASK_CREATE), error(Errno::EEXIST));
    assert_eq!(sandbox.watch_path(inotify, b"/etc/text", raw::IN_OPEN | raw::IN_ONLYDIR), error(Errno::ENOTDIR));
    assert_eq!(sandbox.watch_path(inotify, b"/etc/text", 0), error(Errno::EINVAL));
    assert_eq!(sandbox.watch_path(inotify, b"/etc/none", raw::IN_OPEN), error(Errno::ENOENT));
    assert_eq!(sandbox.watch_path(1, b"/etc/text", raw::IN_OPEN), error(Errno::EINVAL));
    assert_eq!(sandbox.watch_path(inotify, b"/etc/link", raw::IN_OPEN | raw::IN_DONT_FOLLOW), 2);
    let file = sandbox.open(b"/etc/text", raw::O_RDONLY, 0);
    sandbox.read(file, 1).expect("a byte");
    assert_eq!(sandbox.seen(inotify), [event(1, raw::IN_OPEN, ""), event(1, raw::IN_ACCESS, "")]);
    assert_eq!(sandbox.watch_path(inotify, b"/etc/text", raw::IN_ACCESS | raw::IN_ONESHOT), 1);
    sandbox.read(file, 1).expect("a byte");
    sandbox.read(file, 1).expect("a byte");
    assert_eq!(sandbox.seen(inotify), [event(1, raw::IN_ACCESS, ""), event(1, raw::IN_IGNORED, "")]);
    assert_eq!(sandbox.watch_path(inotify, b"/etc/text", raw::IN_ACCESS), 3);
    sandbox.read(file, 1).expect("a byte");
    assert_eq!(sandbox.read(inotify, 15), Err(error(Errno::EINVAL)));
    assert_eq!(sandbox.seen(inotify), [event(3, raw::IN_ACCESS, "")]);
}

#[test]
fn instances_are_counted() {
    let mut sandbox = Sandbox::new();
    let last = (0..128).map(|_| sandbox.inotify()).last().expect("the last");
    assert_eq!(sandbox.inotify(), error(Errno::EMFILE));
    sandbox.close_file(last);
    assert_eq!(sandbox.inotify(), last);
}

#[test]
fn too_many_events_are_one_that_says_so() {
    let mut sandbox = Sandbox::new();
    let inotify = sandbox.inotify();
    assert_eq!(sandbox.watch_path(inotify, b"/etc/text", raw::IN_OPEN | raw::IN_CLOSE_NOWRITE), 1);
    for _ in 0..8200 {
        let file = sandbox.open(b"/etc/text", raw::O_RDONLY, 0);
        sandbox.close_file(file);
    }
    let mut count = 0;
    let last = loop {
        let events = sandbox.seen(inotify);
        count += events.len();
        if events.iter().any(|event| event.1 == raw::IN_Q_OVERFLOW) {
            break events.last().cloned();
        }
    };
    assert_eq!((count, last), (16385, Some(event(-1, raw::IN_Q_OVERFLOW, ""))));
    assert_eq!(sandbox.seen(inotify), []);
}
