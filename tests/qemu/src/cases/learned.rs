//! Policies that are learned from a run: the same run under them goes as it went, and what reaches for more is refused.
use super::denials::with_policy;
use super::events::{wants, xtask};
use crate::{Bench, Case, Sandbox, Verdict};
use std::collections::BTreeMap;
use std::fs;

/// Makes a file with another name each time, renames files and a folder, reads and lists, and keeps a database.
const PYTHON: &str = "
import json, os, sqlite3, tempfile
with tempfile.NamedTemporaryFile(delete=False) as file: file.write(b'x')
os.rename(file.name, '/tmp/y')
os.mkdir('/tmp/d')
with open('/tmp/d/f', 'w') as file: file.write('1')
os.rename('/tmp/d', '/tmp/e')
os.link('/tmp/y', '/srv/z')
print(open('/tmp/e/f').read(), open('/srv/z').read(), len(os.listdir('/etc')), json.dumps(open('/etc/group').read()[:4]))
base = sqlite3.connect('/tmp/base')
base.execute('create table t(a)')
base.execute('insert into t values (3)')
base.commit()
print(base.execute('select * from t').fetchall())
";

/// A repository with commits, packed, and a clone of it.
const GIT: &str = "export HOME=/tmp; git init -q r; cd r; git config user.email a@b; git config user.name n
echo 1 >a; git add a; git commit -qm x; git gc -q; git clone -q . ../c; ls ../c; git log --oneline | wc -l";

const BUSYBOX: &str = "wc -l </etc/passwd; ls /usr/bin | wc -l; echo x >/tmp/a.$$; mv /tmp/a.$$ /etc/out; cat /etc/out; mkdir -p /tmp; rmdir /etc";

/// A database that is made, filled, thinned out and written anew.
const SQLITE: &str = "sqlite3 db 'create table t (id integer primary key, name text)'
sqlite3 db \"pragma journal_mode = wal; with recursive n(x) as (values (1) union all select x + 1 from n where x < 500) insert into t (name) select 'row ' || x from n\"
sqlite3 db 'delete from t where id % 3 = 0; vacuum; pragma integrity_check; select count(*) from t'; ls";

/// A server that is spoken to over loopback and over a Unix socket, and writes its database from a child.
const REDIS: &str = "redis-server --port 6379 --bind 127.0.0.1 --unixsocket /tmp/redis.sock --daemonize no >log 2>&1 &
until redis-cli ping >/dev/null 2>&1; do sleep 0.1; done
redis-cli set key value; redis-cli -s /tmp/redis.sock get key; redis-cli save
redis-cli -s /tmp/redis.sock shutdown nosave; wait $!; echo server $?; ls *.rdb";

/// Servers whose ports and names are others each time, and their clients.
const SOCKETS: &str = "
import socket, threading
from multiprocessing.connection import Client, Listener
def talk(listener):
    client = threading.Thread(target=lambda: Client(listener.address).send('over ' + listener._listener._family))
    client.start(); print(listener.accept().recv()); client.join()
talk(Listener(family='AF_UNIX')); talk(Listener(('127.0.0.1', 0)))
one, other = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
one.bind(('127.0.0.1', 5353)); other.sendmsg([b'a', b'b'], [], 0, ('127.0.0.1', 5353)); print(one.recv(9))
one, other = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
one.bind(''); one.listen(); other.connect(one.getsockname()); print('a name of its own')
one, other = socket.socket(), socket.socket()
one.listen(); other.connect(('127.0.0.1', one.getsockname()[1])); print('without bind')
";

const GCC: &str = "echo '#include <stdio.h>\nint main(void) { return puts(\"hello\") < 0; }' >hello.c; gcc -O -o hello hello.c && ./hello; ls";

const PERL: &str = r#"
use File::Temp qw(tempfile); use IO::Socket::INET;
my ($file, $name) = tempfile(); print $file "x"; close $file; print -s $name, "\n"; unlink $name;
my $server = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1"); my $port = $server->sockport;
if (my $child = fork) { my $client = $server->accept; print scalar <$client>; waitpid $child, 0; print $? >> 8, "\n" }
else { my $client = IO::Socket::INET->new("127.0.0.1:$port"); print $client "hello\n"; close $client; exit 3 }
print `echo from a pipe`;
"#;

/// Sockets, threads, a pipe and temporary files, for calls of many kinds.
const CALLS: &str = "
import os, socket, subprocess, tempfile, threading
one, other = socket.socketpair()
try: os.writev(1, [b'GET ', b'/'])
except OSError as why: print(why.errno)
one.send(b'sent')
print(other.recv(9), subprocess.check_output(['echo', 'a \\n\"b'], text=True))
for family, address in (socket.AF_INET, ('127.0.0.1', 81)), (socket.AF_UNIX, '/tmp/none'), (socket.AF_UNIX, '\\0abstract'):
    try: socket.socket(family).connect(address)
    except OSError as why: print(why.errno)
for name in b'/etc/passwd', b'/etc/../etc/group', b'/tmp/\\xff\\x01\\n\\\\,)\"', b'/tmp/' + b'x' * 240:
    try: os.close(os.open(name, os.O_CREAT | os.O_RDWR, 0o640))
    except OSError as why: print(why.errno)
thread = threading.Thread(target=lambda: os.write(1, b'PUT, \"(\\n'))
thread.start(); thread.join()
with tempfile.TemporaryFile() as file: file.write(b'x' * 5000)
";

/// Rules that look at all that rules can look at.
const LOOKING: &str = "
[[rule]]
calls = [\"openat\"]
when = [{ arg = \"pathname\", path = [\"/etc/**\", \"/tmp/?*x\"] }, { arg = \"flags\", op = \"masked_eq\", mask = \"O_ACCMODE\", value = \"O_RDWR\" }]
action = { errno = \"EACCES\" }
reason = \"no, not that\"
[[rule]]
calls = [\"connect\"]
when = [{ address = [\"127.0.0.0/8:81\", \"unix:@abs*\"] }]
action = { errno = \"EPERM\" }
[[rule]]
calls = [\"write\"]
when = [{ prefix = [\"PUT\", \"POST\"] }]
action = { fake = 3 }
[[rule]]
calls = [\"writev\"]
when = [{ contains = \"GET /\" }]
action = { errno = \"EPERM\" }
[[rule]]
calls = [\"mmap\", \"mprotect\"]
when = [{ arg = \"prot\", op = \"!=\", value = \"PROT_READ\" }]
action = \"allow\"
reason = \"seen\"
[[rule]]
calls = [\"execve\"]
when = [{ arg = 0, path = \"/usr/local/**\" }]
action = { errno = \"ENOENT\" }
";

/// Lines of a trace that are explained, of each call; those that were denied all are.
const MAX_LINES: usize = 4;

/// Tests of learned policies.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("a learned policy has the paths of python3's run, and no others", |bench| {
            goes_again(bench.in_tree("python", ["/usr/bin/python3", "-c", PYTHON]), bench)?;
            let learned = learned(&bench.in_tree("python", ["/usr/bin/python3", "-c", "print(1)"]), bench)?;
            let other = ["/usr/bin/python3", "-c", "print(1); open('/etc/passwd')"];
            with_policy(bench, &learned, bench.in_tree("python", other), |sandbox| {
                let outcome = sandbox.run()?;
                outcome
                    .exits(1)?
                    .prints("1\n")?
                    .complains("PermissionError: [Errno 13] Permission denied: '/etc/passwd'")?
                    .done()
            })
        })
        .needs("python"),
        Case::new("a learned policy has the paths of git's run", |bench| {
            goes_again(bench.in_tree("git", ["/usr/bin/dash", "-c", GIT]), bench)
        })
        .needs("git"),
        Case::new("a learned policy has the paths of busybox' run", |bench| {
            goes_again(bench.in_tree("shell", ["/usr/bin/busybox", "sh", "-c", BUSYBOX]), bench)
        })
        .needs("shell"),
        Case::new("a learned policy of sqlite3 is enough for it, and so is the seccomp profile of it", |bench| {
            is_enough(bench.in_tree("shell", ["/usr/bin/dash", "-c", SQLITE]), bench)
        })
        .needs("shell"),
        Case::new("a learned policy of redis is enough for it, and so is the seccomp profile of it", |bench| {
            is_enough(bench.in_tree("net", ["/usr/bin/dash", "-c", REDIS]), bench)
        })
        .needs("net"),
        Case::new("a learned policy of gcc is enough for it, and so is the seccomp profile of it", |bench| {
            is_enough(bench.in_tree("gcc", ["/usr/bin/dash", "-c", GCC]), bench)
        })
        .needs("gcc"),
        Case::new("a learned policy of perl is enough for it, and so is the seccomp profile of it", |bench| {
            is_enough(bench.in_tree("perl", ["/usr/bin/perl", "-e", PERL]), bench)
        })
        .needs("perl"),
        Case::new("a learned policy has the addresses of a run, and no others", addresses).needs("python"),
        Case::new("each line of a trace is explained as it was judged", explained).needs("python"),
    ]
}

/// What is learned of a run is short, has nothing that is never used, and lets the same run be; so does what seccomp can express of it.
fn is_enough(sandbox: Sandbox, bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let [policy, profile] =
        ["learned.toml", "learned.json"].map(|name| scratch.path().join(name).display().to_string());
    let before = sandbox.clone().options(["--learn", &policy]).run()?;
    before.exits(0)?;
    let text = fs::read_to_string(&policy).map_err(|error| error.to_string())?;
    let lines = text.lines().count();
    wants(lines < 400, &format!("a policy that can be read, not one of {lines} lines"))?;
    for entry in text.split("\n\n[[").skip(1) {
        wants(entry.contains("\nreason = "), &format!("a reason for each rule, as for {entry}"))?;
    }
    let (code, said) = xtask(bench, &["policy", "check", &policy])?;
    wants(code == Some(0) && !said.contains("never"), &said)?;
    let (code, converted) = xtask(bench, &["policy", "convert", "--to", "oci", &policy])?;
    let json = converted.find('{').and_then(|start| converted.get(start..=converted.rfind('}')?));
    wants(code == Some(0), &converted)?;
    fs::write(&profile, json.ok_or("no profile")?).map_err(|error| error.to_string())?;
    for policy in [policy, profile] {
        let again = sandbox.clone().options(["--stats", "--policy", &policy]).run()?;
        again.exits(0)?.prints(&String::from_utf8_lossy(&before.stdout))?.says(" 0 denied, 0 killed")?;
        wants(!again.said.iter().any(|line| line.contains("files: ")), "nothing refused")?;
    }
    Ok(())
}

/// Servers and their clients find one another again, and nobody else.
fn addresses(bench: &Bench<'_>) -> Verdict {
    let python = |script: &str| bench.in_tree("python", ["/usr/bin/python3", "-c", script]);
    goes_again(python(SOCKETS), bench)?;
    let learned = learned(&python(SOCKETS), bench)?;
    for line in [
        r#"connect = ["127.0.0.1:32768-60999", "127.0.0.1:5353", "unix:/tmp/**", "unix:@?????"]"#,
        r#"bind = ["127.0.0.1:0", "127.0.0.1:5353", "unix:/tmp/**", "unix:@"]"#,
    ] {
        wants(learned.contains(line), &format!("{line} in {learned}"))?;
    }
    let reaching =
        format!("{SOCKETS}\ntry: socket.socket().connect(('127.0.0.1', 81))\nexcept OSError as why: print(why.errno)");
    with_policy(bench, &learned, python(&reaching).options(["--trace"]), |sandbox| {
        let outcome = sandbox.run()?;
        wants(outcome.stdout.ends_with(b"\n13\n"), &String::from_utf8_lossy(&outcome.stdout))?;
        outcome.exits(0)?.says(" 1 denied, 0 killed")?.complains("[errno EACCES, [network]")?.done()
    })
}

/// What `policy explain` says of a call that it is given as a trace has it, is what the trace says.
fn explained(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let [policy, trace] = ["policy.toml", "trace"].map(|name| scratch.path().join(name).display().to_string());
    fs::write(&policy, format!("version = 1\ndefault = \"allow\"\n{LOOKING}")).map_err(|error| error.to_string())?;
    let options = [format!("--trace={trace}"), "--policy".into(), policy.clone()];
    bench.in_tree("python", ["/usr/bin/python3", "-c", CALLS]).options(options).run()?.exits(0)?;
    let trace = fs::read_to_string(trace).map_err(|error| error.to_string())?;
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut denied = 0;
    for line in trace.lines() {
        let name = line.split('(').next().and_then(|begin| begin.rsplit(' ').next()).unwrap_or_default();
        let times = seen.entry(name).or_default();
        *times += 1;
        if *times > MAX_LINES && !line.contains(" [errno") && !line.contains(" [fake") {
            continue;
        }
        let judged = line.rsplit_once(" [").and_then(|(_, judged)| judged.strip_suffix(']')?.split_once(", "));
        let (verdict, rule) = judged.ok_or_else(|| format!("no verdict: {line}"))?;
        denied += usize::from(verdict != "allow");
        let (code, said) = xtask(bench, &["policy", "explain", &policy, "--call", line])?;
        // The value of `fake` is the call's result in a trace, and stands behind the verdict in an explanation.
        let told = said.lines().next().and_then(|first| first.split_once(", by "));
        let is_same = told.is_some_and(|(done, by)| by == rule && done.starts_with(verdict));
        wants(code == Some(0) && is_same, &format!("{verdict} by {rule} for {line}, not {said:?}"))?;
    }
    wants(seen.len() > 30 && denied >= 6, &format!("calls of many kinds, not {} and {denied}", seen.len()))
}

/// The policy that is learned from a run.
fn learned(sandbox: &Sandbox, bench: &Bench<'_>) -> Result<String, String> {
    let scratch = bench.fixture.scratch()?;
    let file = scratch.path().join("learned.toml");
    let outcome = sandbox.clone().options(["--learn".as_ref(), file.as_os_str()]).run()?;
    outcome.says("different calls of this run, and what it did with")?;
    fs::read_to_string(&file).map_err(|error| error.to_string())
}

/// Under what was learned of it, the program does the same, and nothing is refused.
fn goes_again(sandbox: Sandbox, bench: &Bench<'_>) -> Verdict {
    let before = sandbox.run()?;
    let learned = learned(&sandbox, bench)?;
    with_policy(bench, &learned, sandbox.options(["--trace"]), |sandbox| {
        let outcome = sandbox.run()?;
        outcome.exits(before.code)?.prints(&String::from_utf8_lossy(&before.stdout))?.says(" 0 denied, 0 killed")?;
        let refused = outcome.stderr.lines().find(|line| line.contains(" files: "));
        match refused {
            Some(line) => Err(format!("refused: {line}; the policy is\n{learned}")),
            None => Ok(()),
        }
    })
}
