//! Questions in, answers out.
use super::*;
use crate::events::data::{self, Bytes};
use crate::events::event::{Event, Question, Settled};
use policy::signature;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;
use trace::{Abi, CallRecord, Content, Data, Judged, Piece, Verdict};

const RULE: &str = "rule 1 p.toml:2";

/// A call that waits, with these strings behind its arguments.
fn call(name: &str, args: [u64; 6], strings: &[(u8, &str)]) -> Call {
    let data = strings.iter().map(|(argument, text)| {
        let piece = Piece::Read { bytes: text.as_bytes().to_vec(), whole: true };
        Data { argument: *argument, content: Content::Bytes(piece) }
    });
    let record = CallRecord {
        time: 0,
        thread: 1,
        abi: Abi::X86_64,
        number: proto::syscalls::by_name(name).unwrap().number.into(),
        args,
        data: data.collect(),
        verdict: Verdict {
            judged: Judged::Ask(Box::new(Judged::Errno(13))),
            rule: RULE.to_owned(),
            logged: false,
            ignored: false,
            generation: 1,
        },
        answer: trace::Answer::Asked(0),
    };
    record.into()
}

fn open(path: &str) -> Call {
    call("openat", [0xffff_ff9c, 0x1000, 0, 0, 0, 0], &[(1, path)])
}

/// Somebody who asks, and what is sent to the root.
struct Fixture {
    asker: Asker,
    sent: Receiver<Answer>,
    count: u64,
}

impl Fixture {
    fn new(way: Way) -> Self {
        let asker = Asker::new(way);
        let (sender, sent) = mpsc::channel();
        asker.connect(move |answer| sender.send(answer).unwrap());
        Self { asker, sent, count: 0 }
    }

    fn tell(&mut self, what: What) {
        self.asker.add(&Event { sandbox: 2, ns: 0, what }).unwrap();
    }

    /// Asks about a call; its number in the sandbox is a hundred more than the question's.
    fn pose(&mut self, call: Call) {
        self.count += 1;
        let (question, number) = (self.count, self.count + 100);
        self.tell(What::Call(Call { call: Some(number), ..call }));
        let (process, program) = (Some(7), Some(Bytes::Text("/bin/app".to_owned())));
        let asked = Question { question, call: number, process, program, registers: None, limit: 5 };
        self.tell(What::Question(asked));
    }

    /// Call and choice of what was answered.
    fn sent(&self) -> Vec<(u64, Choice)> {
        self.sent
            .try_iter()
            .map(|answer| {
                assert_eq!(answer.sandbox, 1);
                (answer.sequence, answer.choice)
            })
            .collect()
    }

    /// Types this when the question that is shown has been seen.
    fn types(&self, keys: &[u8]) -> bool {
        self.asker.desk().keys(keys, Instant::now() + Duration::from_secs(1))
    }

    fn answer(&self, question: u64, choice: Choice, always: bool) -> Result<(), String> {
        self.asker.answer(question, Said { choice, always })
    }
}

#[test]
fn questions_are_answered_one_after_the_other() {
    let mut fixture = Fixture::new(Way::Terminal);
    assert!(!fixture.types(b"a\n"), "keys are the program's while nobody asks");
    fixture.pose(open("/a"));
    fixture.pose(open("/b"));
    fixture.pose(open("/c"));
    assert!(fixture.asker.keys(b"a\n"), "typed before it could be seen");
    assert_eq!(fixture.sent(), []);
    assert!(fixture.types(b"what?\n"));
    assert!(fixture.types(b"a\n"));
    assert_eq!(fixture.sent(), [(101, Choice::Allow)]);
    // The root has settled the next one meanwhile.
    let settled =
        Settled { question: Some(2), call: 102, by: "limit".into(), done: "allow".into(), value: None, awaited: false };
    fixture.tell(What::Settled(settled));
    assert!(fixture.types(b"k\n"));
    assert_eq!(fixture.sent(), [(103, Choice::Kill)]);
    assert!(!fixture.types(b"x"));
}

#[test]
fn for_always_is_for_the_same_rule_and_call() {
    let mut fixture = Fixture::new(Way::File);
    fixture.pose(open("/a"));
    fixture.pose(open("/b"));
    fixture.pose(open("/a"));
    assert_eq!(fixture.answer(1, Choice::Allow, true), Ok(()));
    assert_eq!(fixture.sent(), [(101, Choice::Allow), (103, Choice::Allow)], "those that wait already, too");
    fixture.pose(open("/a"));
    assert_eq!(fixture.sent(), [(104, Choice::Allow)]);
    fixture.pose(Call { rule: "rule 2 p.toml:7".into(), ..open("/a") });
    fixture.pose(call("openat", [0xffff_ff9c, 0x1000, 1, 0, 0, 0], &[(1, "/a")]));
    assert_eq!(fixture.sent(), []);
    assert_eq!(fixture.answer(1, Choice::Kill, false), Err("question 1 is not open any more".into()));
    // Before its question.
    assert_eq!(fixture.answer(7, Choice::Deny, false), Ok(()));
    fixture.pose(open("/x"));
    assert_eq!(fixture.sent(), [(107, Choice::Deny)]);
    assert!((100..3000).any(|early| fixture.answer(early, Choice::Allow, false).is_err()), "not without end");
}

#[test]
fn a_call_has_the_shape_that_a_rule_can_have() {
    let when = |call: Call| Shape::of(&call).map(|shape| shape.rule());
    let fdcwd = 0xffff_ff9c;
    let relative = when(open("x")).unwrap();
    assert!(
        relative.starts_with("calls = [\"openat\"]\nwhen = [{ arg = 0, op = \"==\", value = 4294967196 }, { arg = 1"),
        "{relative}"
    );
    let absolute = when(open("/etc/x")).unwrap();
    assert!(absolute.contains("[{ arg = 1, path = \"/etc/x\" }, { arg = 2"), "{absolute}");
    assert_eq!(when(call("openat", [5, 0x1000, 0, 0, 0, 0], &[(1, "x")])), None, "who knows what 5 is");
    assert_eq!(when(call("openat", [fdcwd, 0x1000, 0, 0, 0, 0], &[])), None, "its path was not read");
    assert_eq!(when(call("getpid", [9; 6], &[])).as_deref(), Some("calls = [\"getpid\"]\n"));
    let written = when(call("write", [1, 0x1000, 5, 0, 0, 0], &[(1, "hello")])).unwrap();
    assert_eq!(written, "calls = [\"write\"]\nwhen = [{ arg = 0, op = \"==\", value = 1 }]\n");
    let socket = when(call("socket", [2, 1, 0, 0, 0, 0], &[])).unwrap();
    assert!(socket.contains("value = \"AF_INET\"") && socket.contains("value = \"SOCK_STREAM\""), "{socket}");
    let connect = |name: &[u8]| {
        let bytes = [&1_u16.to_le_bytes(), name].concat();
        let mut asked = call("connect", [3, 0x1000, bytes.len() as u64, 0, 0, 0], &[]);
        let content = Content::Address(Piece::Read { bytes, whole: true });
        asked.data = vec![data::Data::of(&Data { argument: 1, content }, None)];
        when(asked)
    };
    let how = Content::Structure(Piece::Read { bytes: [[0; 16], [8; 16]].concat()[..24].to_vec(), whole: true });
    let mut openat2 = call("openat2", [fdcwd, 0x1000, 0x2000, 24, 0, 0], &[(1, "/x")]);
    openat2.data.push(data::Data::of(&Data { argument: 2, content: how }, signature::of(437)));
    let flags =
        "{ arg = \"how.flags\", op = \"==\", value = \"O_RDONLY\" }, { arg = \"how.mode\", op = \"==\", value = 0 }";
    let resolve = "{ arg = \"how.resolve\", op = \"==\", value = 578721382704613384 }";
    let rule = format!("calls = [\"openat2\"]\nwhen = [{{ arg = 1, path = \"/x\" }}, {flags}, {resolve}]\n");
    assert_eq!(when(openat2.clone()), Some(rule.clone()));
    assert!(policy::parse("p", &format!("version = 1\n[[rule]]\n{rule}action = \"allow\"\n")).is_ok());
    openat2.data.truncate(1);
    assert_eq!(when(openat2), None, "its structure was not read");
    for (name, pattern) in [
        (&b"/run/a*[x]?\0"[..], Some(r"unix:/run/a\*\[x\]\?")),
        (b"@name\0", Some(r"unix:\@name")),
        (b"\\@name\0", Some(r"unix:\\@name")),
        (b"\0name*", Some(r"unix:@name\*")),
        (b"/run/../x\0", None),
    ] {
        let wanted = pattern.map(|pattern| format!("calls = [\"connect\"]\nwhen = [{{ address = '{pattern}' }}]\n"));
        assert_eq!(connect(name), wanted, "{name:?}");
    }
    // Each of them is one that the policy's reader takes, and that matches the call.
    for one in [
        open("a*b[c]?\\"),
        open("/etc/\"quoted\""),
        open("/{a,b}!~'''\n\"\"\"\t\u{7f}\u{1b}[m\u{202e}é"),
        open("**/../**"),
        call("kill", [9, 15, 0, 0, 0, 0], &[]),
        call("mkdir", [1, 0o755, 0, 0, 0, 0], &[(0, "/x")]),
    ] {
        let text = format!("version = 1\n[[rule]]\n{}action = \"allow\"\n", when(one.clone()).unwrap());
        let policy = policy::parse("p", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let mut pointed = policy::Pointed::NOTHING;
        for data in &one.data {
            if let [Bytes::Text(text)] = data.bytes.as_slice() {
                pointed.set(data.argument, text.as_bytes());
            }
        }
        let args = one.args.map(|word| word.0);
        assert_eq!(policy.about(one.number).judge(&args, &pointed).action, policy::Action::Allow, "{text}");
    }
}
