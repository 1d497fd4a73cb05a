//! What an answer is worth: what was shown is done and nothing else, what came meanwhile counts, and what is remembered is for the same call alone.
use super::asks::{Asking, PATIENCE, line, python, start, text, under};
use super::events::{read, wants};
use crate::sandbox::wait;
use crate::{Bench, Case, Verdict};
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Asks about the program that the test runs again and again.
const ASK_EXECVE: &str = "version = 1
default = \"allow\"
[[rule]]
calls = [\"execve\"]
when = [{ arg = 0, path = \"/bin/echo\" }]
action = { ask = { limit = \"5m\" } }
";

/// A program with two threads, one of which changes the word that the other one's program is started with.
const FLIP: &str = "
import ctypes, os, threading
libc = ctypes.CDLL(None)
def flip(name):
    while True:
        ctypes.memmove(name, b'evil', 4)
        ctypes.memmove(name, b'good', 4)
echo = ctypes.create_string_buffer(b'echo')
for _ in range(8):
    child = os.fork()
    if child == 0:
        name = ctypes.create_string_buffer(b'good')
        words = (ctypes.c_void_p * 3)(ctypes.addressof(echo), ctypes.addressof(name), None)
        threading.Thread(target=flip, args=(name,), daemon=True).start()
        libc.execve(b'/bin/echo', words, None)
        os._exit(1)
    os.waitpid(child, 0)
";

/// Asks about connections.
const ASK_CONNECT: &str = "version = 1
default = \"allow\"
[[rule]]
calls = [\"connect\"]
action = { ask = { limit = \"5m\", otherwise = { errno = \"EACCES\" } } }
";

/// A secret forbids them.
const SECRET: &str = "[[taint]]
paths = [\"/etc/passwd\"]
deny = [\"connect\"]
reason = \"it knows\"
";

/// What forbids something else.
const BESIDE: &str = "[[taint]]
calls = [\"umask\"]
deny = [\"mkdir\"]
";

/// A program that connects in one thread, and does something else in the other one meanwhile.
fn connecting_while(act: &str) -> String {
    format!(
        "
import os, socket, threading, time
def connect():
    try: socket.socket().connect(('127.0.0.1', 1))
    except OSError as why: print('connect', why.errno, flush=True)
connector = threading.Thread(target=connect)
connector.start()
time.sleep(0.5)
{act}
connector.join()
"
    )
}

/// Reads the secret.
const READ_SECRET: &str = "open('/etc/passwd').close()
print('tainted', flush=True)";

/// Brings the other taint.
const BRING_BESIDE: &str = "os.umask(0o77)
try: os.mkdir('/tmp/x')
except OSError as why: print('mkdir', why.errno, flush=True)";

/// Asks about the calls of [`CALLS`].
const ASK_CALLS: &str = "version = 1
default = \"allow\"
[[rule]]
calls = [\"mkdir\", \"connect\", \"bind\", \"fsync\", \"fchmod\", \"rename\", \"symlink\", \"setxattr\"]
action = { ask = { limit = \"5m\", otherwise = { errno = \"EACCES\" } } }
";

/// Calls with names in which everything stands that means something in a pattern or in the language of policies, and what came of each.
const CALLS: &str = r#"
import os, socket
os.chdir('/tmp')
def made(what, *args):
    try: what(*args)
    except OSError as why: return why.errno
    return 0
def connect(family, address): socket.socket(family).connect(address)
def bind(address): socket.socket(socket.AF_UNIX).bind(address)
names = ['/tmp/a*b', '/tmp/[x]', '/tmp/q?', '/tmp/back\\slash', '/tmp/"quoted"', "/tmp/'''", '/tmp/new\nline', '/tmp/{a,b}',
         '/tmp/!~#$', '/tmp/\u00e9\u202e', '/tmp/\x7f\x1b[m', '**', '/tmp/*/../x', 'relative', '/tmp/**']
file = os.open('file', os.O_CREAT | os.O_RDWR)
print(*[made(os.mkdir, name) for name in names],
      made(connect, socket.AF_INET, ('127.0.0.1', 1)), made(connect, socket.AF_UNIX, '/tmp/s*[x]?'),
      made(connect, socket.AF_UNIX, '\0ab*'), made(connect, socket.AF_UNIX, '@x'), made(bind, '@x'),
      made(os.fsync, file), made(os.fchmod, file, 0o640), made(os.rename, 'file', '/tmp/b*?'),
      made(os.symlink, '[to]', '/tmp/l*'), made(os.setxattr, '/tmp/b*?', 'user.*', b'v'))
"#;

/// How many calls that are.
const ASKED: usize = 25;

/// Calls that the patterns of the others would match if they were more than names.
const OTHERS: &str = r#"
import os, socket
os.chdir('/tmp')
def made(what, *args):
    try: what(*args)
    except OSError as why: return why.errno
    return 0
def connect(address): socket.socket(socket.AF_UNIX).connect(address)
names = ['/tmp/aXb', '/tmp/x', '/tmp/qq', '/tmp/a', '/tmp/a*b/', '/tmp/a**b', '/tmp/backslash', 'x', '/tmp/x/y', '/tmp/line']
print(*[made(os.mkdir, name) for name in names], made(connect, '/tmp/sAx1'), made(connect, '\0abc'), made(connect, '\0x'))
"#;

/// Tests of it.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "answers: a program is executed with the arguments that were shown, whatever becomes of them",
            flipped,
        )
        .needs("python"),
        Case::new("answers: what was allowed is denied by a taint that came meanwhile", tainted).needs("python"),
        Case::new("answers: a taint that does not deny a call has nobody asked about it twice", tainted_beside)
            .needs("python"),
        Case::new("answers: what is remembered is for the same calls alone, and asks nothing more", remembered)
            .needs("python"),
        Case::new("answers: the program of EVENTS.md answers", documented),
    ]
}

/// Runs what stands in EVENTS.md, with the policy of the README.
fn documented(bench: &Bench<'_>) -> Verdict {
    let block = |page: &str, language: &str, words: &str| {
        let fence = format!("```{language}\n");
        let mut blocks = page.split(&fence).skip(1).filter_map(|rest| rest.split("```").next());
        blocks.find(|block| block.contains(words)).map(ToOwned::to_owned).ok_or(format!("no block with {words:?}"))
    };
    let program = block(include_str!("../../../../EVENTS.md"), "sh", "--answers answers")?;
    let policy = block(include_str!("../../../../README.md"), "toml", "action = { ask")?;
    let scratch = bench.fixture.scratch()?;
    fs::write(scratch.path().join("ask.toml"), policy).map_err(text)?;
    let cargo = "cargo() { shift 2; \"$XTASK\" run --no-build \"$@\"; }\n";
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{cargo}{program}")]).env("XTASK", &bench.setup.xtask).current_dir(scratch.path());
    let outcome = bench.busybox(&[]).finish(command)?;
    let host = fs::read_to_string("/etc/hostname").map_err(text)?;
    outcome.exits(0)?.prints(&host)?.done()
}

/// Waits until this stands in the events.
fn told(asking: &Asking, part: &str) -> Verdict {
    let start = Instant::now();
    while !fs::read_to_string(&asking.events).is_ok_and(|events| events.contains(part)) {
        wants(start.elapsed() < PATIENCE, part)?;
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn flipped(bench: &Bench<'_>) -> Verdict {
    let asking = Asking::new(bench, ASK_EXECVE, "")?;
    let (mut run, mut output) = start(&asking.answered(python(bench, FLIP, &[])))?;
    let mut printed = Vec::new();
    for number in 1..=8 {
        told(&asking, &format!("\"type\":\"question\",\"question\":{number},"))?;
        asking.answer(&format!("{{\"question\": {number}, \"answer\": \"allow\"}}"))?;
        printed.push(line(&mut output)?.trim_end().to_owned());
    }
    let code = wait(&mut run, PATIENCE)?;
    let events = read(&asking.events)?;
    let asked = events.iter().filter(|event| event["type"] == "call" && event["asked"] == true);
    let shown: Vec<&str> = asked.filter_map(|call| call["data"][1]["bytes"][1]["text"].as_str()).collect();
    wants(code == 0 && shown == printed && shown.len() == 8, &format!("what was shown, {shown:?}, not {printed:?}"))
}

fn tainted(bench: &Bench<'_>) -> Verdict {
    let asking = Asking::new(bench, &[ASK_CONNECT, SECRET].concat(), "")?;
    let (mut run, mut output) = start(&asking.answered(python(bench, &connecting_while(READ_SECRET), &[])))?;
    told(&asking, "\"type\":\"question\"")?;
    let before = line(&mut output)?;
    asking.answer("{\"question\": 1, \"answer\": \"allow\"}")?;
    let after = line(&mut output)?;
    let code = wait(&mut run, PATIENCE)?;
    let lines = [before.as_str(), after.as_str()];
    wants(code == 0 && lines == ["tainted\n", "connect 1\n"], &format!("a call that fails with EPERM, not {lines:?}"))?;
    let events = read(&asking.events)?;
    let settled: Vec<&Value> = events.iter().filter(|event| event["type"] == "settled").collect();
    let denied = |event: &Value| event["by"] == "answer" && event["done"] == "errno EPERM" && event["value"] == -1;
    wants(settled.len() == 1 && denied(settled[0]), &format!("a denial for all the answer, not {settled:?}"))
}

fn tainted_beside(bench: &Bench<'_>) -> Verdict {
    let asking = Asking::new(bench, &[ASK_CONNECT, SECRET, BESIDE].concat(), "")?;
    let (mut run, mut output) = start(&asking.answered(python(bench, &connecting_while(BRING_BESIDE), &[])))?;
    told(&asking, "\"type\":\"question\"")?;
    let before = line(&mut output)?;
    // Should there be another question, it is denied.
    asking.answer("{\"question\": 1, \"answer\": \"allow\"}")?;
    asking.answer("{\"question\": 2, \"answer\": \"deny\"}")?;
    let after = line(&mut output)?;
    let code = wait(&mut run, PATIENCE)?;
    let lines = [before.as_str(), after.as_str()];
    wants(code == 0 && lines == ["mkdir 1\n", "connect 111\n"], &format!("a call that is carried out, not {lines:?}"))?;
    let questions = asking.count(["\"type\":\"question\""])?;
    wants(questions == [1], &format!("one question, not {questions:?}"))
}

fn remembered(bench: &Bench<'_>) -> Verdict {
    let mut answers = String::new();
    for number in 1..=ASKED {
        // The first is denied, so that this is remembered, too.
        let answer = if number == 1 { "deny" } else { "allow" };
        writeln!(answers, "{{\"question\": {number}, \"answer\": \"{answer}\", \"always\": true}}")
            .map_err(|error| error.to_string())?;
    }
    let asking = Asking::new(bench, ASK_CALLS, &answers)?;
    // It makes no files of its own beside.
    let program = |text| bench.in_tree("python", ["/usr/bin/python3", "-B", "-c", text]);
    let options = ["--remember".to_owned(), asking.remembered.display().to_string()];
    let first = asking.answered(program(CALLS)).options(options).run()?;
    first.exits(0)?.says(&format!("the policy of this run with {ASKED} answers"))?;
    let questions = asking.count(["\"type\":\"question\""])?;
    wants(questions == [ASKED], &format!("a question for each call, not {questions:?}"))?;
    wants(first.stdout.starts_with(b"13 0 0 "), "the first of them denied, and others not")?;
    // The same once more, where somebody is there and has nothing to say.
    let policy = fs::read_to_string(&asking.remembered).map_err(text)?;
    let again = Asking::new(bench, &policy, "")?;
    let second = again.answered(program(CALLS)).run()?;
    second.exits(0)?.prints(&String::from_utf8_lossy(&first.stdout))?;
    let questions = again.count(["\"type\":\"question\""])?;
    wants(questions == [0], "no question more")?;
    let others = under(program(OTHERS), &asking.remembered).run()?;
    others.exits(0)?.prints(&format!("{}\n", ["13"; 13].join(" ")))?.says("nobody is there to be asked")?.done()
}
