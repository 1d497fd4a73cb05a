//! Processes: fork, exec, waiting, groups and sessions, orphans.
#![allow(unsafe_code)]

use families::files::{Scratch, open, path, pipe};
use families::tasks::{Baton, child, ending, pause_ms, state, status_text, until, wait, wait_with};
use families::{Report, c, libc, must, say, signal_name, sys, zeroed};
use std::ffi::CString;
use std::process::ExitCode;
use std::ptr;

fn main() -> ExitCode {
    // What an exec section starts: this program, by these words.
    if let Some(word) = std::env::args().nth(1).filter(|word| word.starts_with("shown-")) {
        return shown(&word);
    }
    families::run(&[
        ("fork", fork),
        ("vfork", vfork),
        ("codes", codes),
        ("wait4", wait4),
        ("waitid", waitid),
        ("orphans", orphans),
        ("subreaper", subreaper),
        ("groups", groups),
        ("sessions", sessions),
        ("exec", exec),
        ("exec-errors", exec_errors),
        ("exec-state", exec_state),
        ("cloexec", cloexec),
        ("execveat", execveat),
        ("scripts", scripts),
        ("too-big", too_big),
        ("parent-death", parent_death),
        ("pidfd", pidfd),
        ("pidfd-errors", pidfd_errors),
        ("many", many),
        ("tree", tree),
    ])
}

/// What the program does when an exec section started it.
fn shown(word: &str) -> ExitCode {
    match word {
        "shown-arguments" => {
            for argument in std::env::args() {
                let name = argument.rsplit('/').next().unwrap_or_default();
                say!("  argument {name:?}");
            }
            for (name, value) in std::env::vars() {
                say!("  variable {name}={value}");
            }
        }
        "shown-state" => {
            let mut mask = zeroed!(libc::sigset_t);
            c!(libc::sigprocmask(libc::SIG_BLOCK, ptr::null(), &raw mut mask));
            say!("  mask {}", families::tasks::names(&mask));
            for signal in [libc::SIGUSR1, libc::SIGUSR2] {
                let mut old = zeroed!(libc::sigaction);
                c!(libc::sigaction(signal, ptr::null(), &raw mut old));
                let what = match old.sa_sigaction {
                    libc::SIG_DFL => "default",
                    libc::SIG_IGN => "ignored",
                    _ => "handled",
                };
                say!("  {} {what}", signal_name(signal));
            }
            let mut pending = zeroed!(libc::sigset_t);
            c!(libc::sigpending(&raw mut pending));
            say!("  pending {}", families::tasks::names(&pending));
            let mut stack = zeroed!(libc::stack_t);
            c!(libc::sigaltstack(ptr::null(), &raw mut stack));
            say!("  alternate stack of the old program: {}", stack.ss_size == 20_000);
            say!("  umask {:04o}", c!(libc::umask(0)));
        }
        "shown-alarm" => say!("  seconds are left: {}", c!(libc::alarm(0)) > 0),
        _ => {}
    }
    for fd in std::env::args().filter_map(|word| word.strip_prefix("fd=").and_then(|n| n.parse::<i32>().ok())) {
        say!("  descriptor open: {}", c!(libc::fcntl(fd, libc::F_GETFD)) >= 0);
    }
    ExitCode::from(42)
}

fn fork(t: &mut Report) {
    let parent = c!(libc::getpid());
    let mut value = 1;
    let code = ending(|| {
        value += 1;
        say!("child: value {value}, parent as it should be {}", c!(libc::getppid()) == parent);
        say!("child: own number {}", c!(libc::getpid()) != parent);
        7
    });
    t.show("child", code);
    t.show("value in the parent", value);
    let fd = families::files::file_in_memory(b"abcdef");
    t.show(
        "child",
        ending(|| {
            say!("child reads {}", families::files::read(fd, 3));
            0
        }),
    );
    t.show("parent reads on", families::files::read(fd, 10));
    t.show("pending alarm is not inherited", {
        c!(libc::alarm(100));
        let left = ending(|| i32::from(c!(libc::alarm(0)) != 0));
        c!(libc::alarm(0));
        left
    });
}

fn vfork(t: &mut Report) {
    let (own, flag) = (families::memory::anonymous(4096), families::memory::shared(4096));
    let pid = must(sys!(libc::syscall(libc::SYS_clone, libc::CLONE_VFORK | libc::SIGCHLD, 0, 0, 0, 0)));
    if pid == 0 {
        pause_ms(50);
        families::memory::poke(own, 1);
        families::memory::poke(flag, 1);
        c!(libc::_exit(3));
    }
    t.show("without CLONE_VM the memory is not shared", families::memory::peek(own));
    t.show("the child is done when vfork returns", families::memory::peek(flag));
    t.show("status", wait(pid));
    // posix_spawn of glibc uses CLONE_VM | CLONE_VFORK with a stack of its own.
    let me = std::env::current_exe().expect("own path");
    let status = std::process::Command::new(me).arg("shown-nothing").status();
    t.show("spawn", status.map_or_else(|e| e.to_string(), |s| s.to_string()));
    let missing = std::process::Command::new("/no/such/program").status();
    t.show("spawn of nothing", missing.map_or_else(|e| format!("{:?}", e.kind()), |s| s.to_string()));
}

fn codes(t: &mut Report) {
    for code in [0, 1, 127, 128, 255, 256, 257, -1, -2] {
        t.show(&format!("exit {code}"), ending(|| code));
    }
    t.show("abort", ending(|| std::process::abort()));
    t.show(
        "exit of the call exit",
        ending(|| {
            c!(libc::syscall(libc::SYS_exit, 9));
            0
        }),
    );
    for signal in [libc::SIGTERM, libc::SIGKILL, libc::SIGHUP, libc::SIGPIPE, libc::SIGUSR1, 40, 64] {
        t.show(
            &signal_name(signal),
            ending(|| {
                c!(libc::raise(signal));
                1
            }),
        );
    }
}

fn wait4(t: &mut Report) {
    t.ret("no children", sys!(libc::waitpid(-1, ptr::null_mut(), 0)));
    t.ret("options that there are not", sys!(libc::waitpid(-1, ptr::null_mut(), 0x10)));
    let baton = Baton::default();
    let pid = child(|| {
        baton.take();
        5
    });
    t.ret("nothing yet", sys!(libc::waitpid(pid, ptr::null_mut(), libc::WNOHANG)));
    t.ret("another process", sys!(libc::waitpid(1, ptr::null_mut(), libc::WNOHANG)));
    t.ret("another group", sys!(libc::waitpid(-99_999, ptr::null_mut(), libc::WNOHANG)));
    t.ret("a wild number", sys!(libc::waitpid(i32::MIN, ptr::null_mut(), libc::WNOHANG)));
    t.ret("own group, nothing yet", sys!(libc::waitpid(0, ptr::null_mut(), libc::WNOHANG)));
    baton.pass();
    let mut usage = zeroed!(libc::rusage);
    let mut status = 0;
    let found = sys!(libc::wait4(-1, &raw mut status, 0, &raw mut usage));
    t.check("found the child", found == Ok(pid.into()));
    t.show("status", status_text(status));
    t.check("usage is filled", usage.ru_maxrss > 0);
    t.ret("a second time", sys!(libc::waitpid(pid, ptr::null_mut(), 0)));
    let pid = child(|| 1);
    t.ret("a bad place for the status", sys!(libc::syscall(libc::SYS_wait4, pid, 1, 0, 0)));
    t.ret("the child is gone nevertheless", sys!(libc::waitpid(pid, ptr::null_mut(), 0)));
    let mut found = Vec::new();
    let pids: Vec<i32> = (0..5).map(|n| child(move || n)).collect();
    while let Ok((pid, status)) = wait_with(-1, 0) {
        found.push((pids.iter().position(|p| *p == pid), status_text(status)));
    }
    found.sort();
    t.show("five children", format!("{found:?}"));
    c!(libc::signal(libc::SIGCHLD, libc::SIG_IGN));
    let pid = child(|| 1);
    t.ret("SIGCHLD ignored", sys!(libc::waitpid(pid, ptr::null_mut(), 0)));
    c!(libc::signal(libc::SIGCHLD, libc::SIG_DFL));
    must(families::tasks::action(libc::SIGCHLD, libc::SIG_DFL, libc::SA_NOCLDWAIT));
    let pid = child(|| 1);
    t.ret("SA_NOCLDWAIT", sys!(libc::waitpid(pid, ptr::null_mut(), 0)));
    must(families::tasks::action(libc::SIGCHLD, libc::SIG_DFL, 0));
    let pid = must(sys!(libc::syscall(libc::SYS_clone, 0, 0, 0, 0, 0)));
    if pid == 0 {
        c!(libc::_exit(6));
    }
    t.ret("a clone without a signal, waited for as a child", sys!(libc::waitpid(pid, ptr::null_mut(), 0)));
    t.check("and with __WCLONE", sys!(libc::waitpid(pid, ptr::null_mut(), libc::__WCLONE)) == Ok(pid.into()));
}

fn waitid(t: &mut Report) {
    let mut info = zeroed!(libc::siginfo_t);
    t.ret("no options", sys!(libc::waitid(libc::P_ALL, 0, &raw mut info, 0)));
    t.ret("no children", sys!(libc::waitid(libc::P_ALL, 0, &raw mut info, libc::WEXITED)));
    t.ret("a kind that there is not", sys!(libc::syscall(libc::SYS_waitid, 77, 0, 0, libc::WEXITED, 0)));
    let baton = Baton::default();
    let pid = child(|| {
        baton.take();
        33
    });
    let id = pid.cast_unsigned();
    info.si_signo = 99;
    t.ret("nothing yet", sys!(libc::waitid(libc::P_PID, id, &raw mut info, libc::WEXITED | libc::WNOHANG)));
    t.show("then the signal is", info.si_signo);
    baton.pass();
    for (what, options) in
        [("looking", libc::WEXITED | libc::WNOWAIT), ("taking", libc::WEXITED), ("again", libc::WEXITED)]
    {
        t.ret(what, sys!(libc::waitid(libc::P_PID, id, &raw mut info, options)));
        t.show("code and status", format!("{} {}", info.si_code, c!(info.si_status())));
        t.show("who", c!(info.si_pid()) == pid && info.si_signo == libc::SIGCHLD);
    }
    let pid = child(|| {
        c!(libc::raise(libc::SIGTERM));
        0
    });
    let group = c!(libc::getpgrp()).cast_unsigned();
    t.ret("by group", sys!(libc::waitid(libc::P_PGID, group, &raw mut info, libc::WEXITED)));
    t.show("killed: code and status", format!("{} {}", info.si_code, c!(info.si_status())));
    t.check("who", c!(info.si_pid()) == pid);
    let pid = child(|| {
        c!(libc::raise(libc::SIGSTOP));
        4
    });
    t.ret("stopped", sys!(libc::waitid(libc::P_ALL, 0, &raw mut info, libc::WSTOPPED)));
    t.show("stopped: code and status", format!("{} {}", info.si_code, c!(info.si_status())));
    must(sys!(libc::kill(pid, libc::SIGCONT)));
    t.ret("continued", sys!(libc::waitid(libc::P_ALL, 0, &raw mut info, libc::WCONTINUED)));
    t.show("continued: code and status", format!("{} {}", info.si_code, c!(info.si_status())));
    t.ret("over", sys!(libc::waitid(libc::P_ALL, 0, &raw mut info, libc::WEXITED)));
    t.show("over: code and status", format!("{} {}", info.si_code, c!(info.si_status())));
    let pid = child(|| 8);
    let pidfd = must(sys!(libc::syscall(libc::SYS_pidfd_open, pid, 0)));
    t.ret("by descriptor", sys!(libc::waitid(libc::P_PIDFD, pidfd.cast_unsigned(), &raw mut info, libc::WEXITED)));
    t.show("status", c!(info.si_status()));
}

fn orphans(t: &mut Report) {
    let (from, to) = pipe();
    let middle = child(|| {
        let parent = c!(libc::getpid());
        child(|| {
            let changed = until(|| c!(libc::getppid()) != parent);
            families::files::write(to, if changed { b"y" } else { b"n" }).map_or(1, |_| 0)
        });
        2
    });
    t.show("middle", wait(middle));
    must(families::files::close(to));
    t.show("the orphan has a new parent", families::files::read(from, 1));
    t.show("and ends", families::files::read(from, 1));
    t.ret("it is not ours to wait for", sys!(libc::waitpid(-1, ptr::null_mut(), 0)));
}

fn subreaper(t: &mut Report) {
    t.ret("become one", sys!(libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)));
    let mut value = 0;
    t.ret("ask", sys!(libc::prctl(libc::PR_GET_CHILD_SUBREAPER, &raw mut value, 0, 0, 0)));
    t.show("it is", value);
    let me = c!(libc::getpid());
    let middle = child(|| {
        child(|| if until(|| c!(libc::getppid()) == me) { 21 } else { 22 });
        20
    });
    t.show("middle", wait(middle));
    t.show("the orphan came to us", wait(-1));
    let mut inherited = 7;
    t.show(
        "not inherited",
        ending(|| {
            c!(libc::prctl(libc::PR_GET_CHILD_SUBREAPER, &raw mut inherited, 0, 0, 0));
            inherited
        }),
    );
}

fn groups(t: &mut Report) {
    let group = c!(libc::getpgrp());
    t.check("children are in our group", ending(|| i32::from(c!(libc::getpgrp()) == group)) == "exit 1");
    let (stay, started) = (Baton::default(), Baton::default());
    let one = child(|| {
        started.pass();
        stay.take();
        0
    });
    started.take();
    t.ret("a group for a child", sys!(libc::setpgid(one, 0)));
    t.check("it has it", c!(libc::getpgid(one)) == one);
    let two = child(|| {
        started.pass();
        stay.take();
        0
    });
    started.take();
    t.ret("another one joins", sys!(libc::setpgid(two, one)));
    t.check("it has it", c!(libc::getpgid(two)) == one);
    t.ret("a group that there is not", sys!(libc::setpgid(two, 99_999)));
    t.ret("a negative group", sys!(libc::setpgid(two, -1)));
    t.ret("a stranger", sys!(libc::setpgid(99_999, 0)));
    t.ret("getpgid of nobody", sys!(libc::getpgid(99_999)));
    t.ret("nothing of the group has ended", sys!(libc::waitpid(-one, ptr::null_mut(), libc::WNOHANG)));
    t.ret("a signal to the group", sys!(libc::kill(-one, libc::SIGTERM)));
    t.show("one", wait(one));
    t.show("two", wait(-one));
    t.ret("the group is gone", sys!(libc::kill(-one, 0)));
}

fn sessions(t: &mut Report) {
    t.show(
        "in a child",
        ending(|| {
            let me = c!(libc::getpid());
            say!("new session: {}", sys!(libc::setsid()) == Ok(me.into()));
            say!("its group: {}", c!(libc::getpgrp()) == me);
            say!("its session: {}", c!(libc::getsid(0)) == me);
            say!("again: {}", sys!(libc::setsid()).err().map_or("ok".to_owned(), |e| e.to_string()));
            say!("group of a leader: {}", sys!(libc::setpgid(0, 0)).err().map_or("ok".to_owned(), |e| e.to_string()));
            say!("no terminal: {}", open("/dev/tty", libc::O_RDWR).err().map_or("ok".to_owned(), |e| e.to_string()));
            let inner = child(|| i32::from(c!(libc::getsid(0)) == me) + 2 * i32::from(c!(libc::getpgrp()) == me));
            say!("its child is in both: {}", wait(inner));
            let inner = child(|| {
                c!(libc::setsid());
                pause_ms(1000);
                0
            });
            until(|| c!(libc::getsid(inner)) == inner);
            say!(
                "a child elsewhere: {}",
                sys!(libc::setpgid(inner, 0)).err().map_or("ok".to_owned(), |e| e.to_string())
            );
            c!(libc::kill(inner, libc::SIGKILL));
            wait(inner);
            0
        }),
    );
    t.ret("getsid of nobody", sys!(libc::getsid(99_999)));
}

/// Replaces this process by this program.
fn become_self(arguments: &[&str], environment: &[&str]) -> i32 {
    let own = path("/proc/self/exe");
    let arguments: Vec<CString> = std::iter::once(&"me").chain(arguments).map(|word| path(word)).collect();
    let environment: Vec<CString> = environment.iter().map(|word| path(word)).collect();
    let list = |words: &[CString]| -> Vec<*const i8> {
        words.iter().map(|word| word.as_ptr()).chain(std::iter::once(ptr::null())).collect()
    };
    let (arguments, environment) = (list(&arguments), list(&environment));
    c!(libc::execve(own.as_ptr(), arguments.as_ptr(), environment.as_ptr()));
    say!("exec: {}", families::errno());
    1
}

fn exec(t: &mut Report) {
    t.show("exec", ending(|| become_self(&["shown-arguments", "", "two words"], &["A=1", "B=", "NOT A NAME"])));
    let me = c!(libc::getpid());
    let baton = Baton::default();
    let pid = child(|| {
        baton.take();
        become_self(&["shown-nothing"], &[])
    });
    t.check("the number stays", pid != me);
    baton.pass();
    t.show("its end", wait(pid));
}

fn exec_errors(t: &mut Report) {
    let _scratch = Scratch::new();
    let try_exec = |name: &str| {
        let name = path(name);
        let nothing: [*const i8; 1] = [ptr::null()];
        sys!(libc::execve(name.as_ptr(), nothing.as_ptr(), nothing.as_ptr()))
    };
    std::fs::write("plain", "no program").expect("a file");
    std::fs::create_dir("directory").expect("a directory");
    t.ret("nothing there", try_exec("missing"));
    t.ret("not executable", try_exec("plain"));
    t.ret("a directory", try_exec("directory"));
    t.ret("through a file", try_exec("plain/x"));
    t.ret("an empty name", try_exec(""));
    must(sys!(libc::chmod(path("plain").as_ptr(), 0o755)));
    t.ret("no format", try_exec("plain"));
    std::fs::write("empty", "").expect("a file");
    must(sys!(libc::chmod(path("empty").as_ptr(), 0o755)));
    t.ret("an empty file", try_exec("empty"));
    std::fs::write("half", b"\x7fELF\x02\x01\x01").expect("a file");
    must(sys!(libc::chmod(path("half").as_ptr(), 0o755)));
    t.ret("half a header", try_exec("half"));
    std::fs::write("script", "#!/no/such/interpreter\n").expect("a file");
    must(sys!(libc::chmod(path("script").as_ptr(), 0o755)));
    t.ret("a script without its interpreter", try_exec("script"));
    t.ret("bad name", sys!(libc::syscall(libc::SYS_execve, 1, 0, 0)));
    let name = path("/proc/self/exe");
    t.ret("bad arguments", sys!(libc::syscall(libc::SYS_execve, name.as_ptr(), 8, 0)));
    std::os::unix::fs::symlink("loop", "loop").expect("a link");
    t.ret("a loop", try_exec("loop"));
    t.ret("a long name", try_exec(&"x".repeat(300)));
    t.ret("a long path", try_exec(&"x/".repeat(3000)));
}

fn exec_state(t: &mut Report) {
    t.show(
        "exec",
        ending(|| {
            families::tasks::block(&[libc::SIGINT, libc::SIGUSR1]);
            c!(libc::signal(libc::SIGUSR2, libc::SIG_IGN));
            must(families::tasks::handle(libc::SIGUSR1, families::tasks::count, 0));
            let stack =
                libc::stack_t { ss_sp: families::memory::anonymous(20_000).cast(), ss_flags: 0, ss_size: 20_000 };
            must(sys!(libc::sigaltstack(&raw const stack, ptr::null_mut())));
            c!(libc::umask(0o27));
            c!(libc::raise(libc::SIGINT));
            become_self(&["shown-state"], &[])
        }),
    );
    t.show(
        "an alarm goes on",
        ending(|| {
            c!(libc::alarm(50));
            become_self(&["shown-alarm"], &[])
        }),
    );
}

fn cloexec(t: &mut Report) {
    let kept = must(open("/dev/null", libc::O_RDONLY));
    let closed = must(open("/dev/null", libc::O_RDONLY | libc::O_CLOEXEC));
    t.ret("flags of the one", sys!(libc::fcntl(kept, libc::F_GETFD)));
    t.ret("flags of the other", sys!(libc::fcntl(closed, libc::F_GETFD)));
    let words = [format!("fd={kept}"), format!("fd={closed}")];
    t.show("exec", ending(|| become_self(&["shown-nothing", &words[0], &words[1]], &[])));
    must(sys!(libc::fcntl(kept, libc::F_SETFD, libc::FD_CLOEXEC)));
    let copy = must(sys!(libc::dup(kept)));
    let words = [format!("fd={kept}"), format!("fd={copy}")];
    t.show("a copy has no flag", ending(|| become_self(&["shown-nothing", &words[0], &words[1]], &[])));
    let copy = must(sys!(libc::fcntl(kept, libc::F_DUPFD_CLOEXEC, 100)));
    t.show("F_DUPFD_CLOEXEC", format!("{copy} {}", c!(libc::fcntl(copy, libc::F_GETFD))));
    t.ret("dup3", sys!(libc::dup3(kept, 50, libc::O_CLOEXEC)));
    t.ret("dup3 to itself", sys!(libc::dup3(kept, kept, 0)));
    t.ret("close_range with CLOEXEC", sys!(libc::syscall(libc::SYS_close_range, 3, u32::MAX, 4)));
    t.ret("flags now", sys!(libc::fcntl(kept, libc::F_GETFD)));
}

fn execveat(t: &mut Report) {
    let own = must(open("/proc/self/exe", libc::O_RDONLY | libc::O_CLOEXEC));
    let words = [path("me"), path("shown-arguments")];
    let list = [words[0].as_ptr(), words[1].as_ptr(), ptr::null()];
    let none: [*const i8; 1] = [ptr::null()];
    let call = |fd: i32, name: &str, flags: i32| {
        let name = path(name);
        sys!(libc::syscall(libc::SYS_execveat, fd, name.as_ptr(), list.as_ptr(), none.as_ptr(), flags))
    };
    t.show("by descriptor", ending(|| call(own, "", libc::AT_EMPTY_PATH).map_or(1, |_| 0)));
    t.ret("an empty name without the flag", call(own, "", 0));
    t.ret("flags that there are not", call(own, "x", 0x40));
    t.ret("no descriptor", call(77, "x", 0));
    t.ret("a name below a file", call(own, "x", 0));
    t.ret("a link that is not to be followed", call(libc::AT_FDCWD, "/proc/self/exe", libc::AT_SYMLINK_NOFOLLOW));
    let scratch = Scratch::new();
    let directory = must(open(&scratch.directory().display().to_string(), libc::O_RDONLY | libc::O_DIRECTORY));
    t.ret("nothing there", call(directory, "missing", 0));
}

fn scripts(t: &mut Report) {
    let _scratch = Scratch::new();
    let own = std::env::current_exe().expect("own path");
    let script = |name: &str, text: String| {
        std::fs::write(name, text).expect("a file");
        must(sys!(libc::chmod(path(name).as_ptr(), 0o755)));
    };
    script("one", format!("#!{} shown-arguments\n", own.display()));
    script("two", "#! ./one  a b \n".to_owned());
    let run = |name: &str| {
        ending(|| {
            let words = [path("zero"), path("last")];
            let list = [words[0].as_ptr(), words[1].as_ptr(), ptr::null()];
            let none: [*const i8; 1] = [ptr::null()];
            c!(libc::execve(path(name).as_ptr(), list.as_ptr(), none.as_ptr()));
            say!("  {}", families::errno());
            1
        })
    };
    t.show("a script", run("./one"));
    let _ = run("./two");
    script("self", "#!./self\n".to_owned());
    t.show("its own interpreter", run("./self"));
}

fn too_big(t: &mut Report) {
    let word = "x".repeat(131_071);
    t.show("the longest word", ending(|| become_self(&["shown-nothing", &word], &[])));
    let word = "x".repeat(131_072);
    t.show("a longer one", ending(|| become_self(&["shown-nothing", &word], &[])));
    let words = vec!["y".repeat(100_000); 30];
    let words: Vec<&str> = std::iter::once("shown-nothing").chain(words.iter().map(String::as_str)).collect();
    t.show("three million bytes", ending(|| become_self(&words, &[])));
    let many = vec!["z"; 10_000];
    let words: Vec<&str> = std::iter::once("shown-nothing").chain(many).collect();
    t.show("ten thousand words", ending(|| become_self(&words, &[])));
}

fn parent_death(t: &mut Report) {
    must(sys!(libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)));
    let ready = Baton::default();
    let middle = child(|| {
        let parent = c!(libc::getpid());
        child(|| {
            let asked = sys!(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGUSR1, 0, 0, 0));
            ready.pass();
            until(|| c!(libc::getppid()) != parent);
            pause_ms(2000);
            i32::from(asked.is_err())
        });
        ready.take();
        0
    });
    t.show("parent", wait(middle));
    t.show("its child", wait(-1));
    t.ret("a signal that there is not", sys!(libc::prctl(libc::PR_SET_PDEATHSIG, 99, 0, 0, 0)));
    let mut value = 5;
    t.ret("ask", sys!(libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut value, 0, 0, 0)));
    t.show("it is", value);
}

fn many(t: &mut Report) {
    let pids: Vec<i32> = (0..100).map(|n| child(move || n)).collect();
    let mut sum = 0;
    for pid in &pids {
        if let Ok((_, status)) = wait_with(*pid, 0) {
            sum += libc::WEXITSTATUS(status);
        }
    }
    t.show("sum of a hundred codes", sum);
    let mut distinct = pids;
    distinct.sort_unstable();
    distinct.dedup();
    t.show("different numbers", distinct.len());
    let zombie = child(|| 0);
    t.check("a zombie is one in /proc", until(|| state(zombie) == 'Z'));
    t.ret("it can be signalled", sys!(libc::kill(zombie, libc::SIGKILL)));
    t.show("and its code stays", wait(zombie));
}

/// Each level forks the next one.
fn tree(t: &mut Report) {
    fn level(depth: i32) -> i32 {
        if depth == 0 {
            return 0;
        }
        let code = wait(child(|| level(depth - 1)));
        code.strip_prefix("exit ").and_then(|n| n.parse::<i32>().ok()).map_or(99, |n| n + 1)
    }
    t.show("twenty generations", level(20));
}

fn pidfd_open(pid: i32, flags: u32) -> families::Sys {
    sys!(libc::syscall(libc::SYS_pidfd_open, pid, flags))
}

fn pidfd_signal(fd: i32, signal: i32) -> families::Sys {
    sys!(libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, 0, 0))
}

fn pidfd(t: &mut Report) {
    let baton = Baton::default();
    let pid = child(|| {
        baton.pass();
        pause_ms(100_000);
        0
    });
    baton.take();
    let fd = must(pidfd_open(pid, 0));
    t.ret("it is closed by exec", sys!(libc::fcntl(fd, libc::F_GETFD)));
    t.show("not ready", families::events::ready(fd));
    t.ret("asked with signal 0", pidfd_signal(fd, 0));
    let epoll = families::events::Epoll::new();
    must(epoll.control(libc::EPOLL_CTL_ADD, fd, libc::EPOLLIN));
    t.ret("signal", pidfd_signal(fd, libc::SIGTERM));
    t.show("ready", families::events::poll(fd, libc::POLLIN, 10_000));
    t.ret("a zombie can be asked", pidfd_signal(fd, 0));
    t.show("the end", wait(pid));
    t.ret("it is gone", pidfd_signal(fd, 0));
    // Later kernels say HUP as well.
    t.show("still ready", families::events::poll(fd, libc::POLLIN, 0).starts_with("IN"));
    let mut info = zeroed!(libc::siginfo_t);
    let by_fd = |fd: i32, info: &mut libc::siginfo_t| {
        sys!(libc::waitid(libc::P_PIDFD, fd.cast_unsigned(), ptr::from_mut(info), libc::WEXITED))
    };
    t.ret("nobody's child", by_fd(fd, &mut info));
    let pid = child(|| {
        baton.take();
        3
    });
    let fd = must(pidfd_open(pid, libc::O_NONBLOCK.cast_unsigned()));
    t.ret("without waiting", by_fd(fd, &mut info));
    baton.pass();
    t.show("then", families::events::poll(fd, libc::POLLIN, 10_000));
    t.ret("waited for", by_fd(fd, &mut info));
    t.show("status", c!(info.si_status()));
}

fn pidfd_errors(t: &mut Report) {
    let me = c!(libc::getpid());
    t.ret("nobody", pidfd_open(99_999, 0));
    t.ret("no number", pidfd_open(0, 0));
    t.ret("a negative one", pidfd_open(-1, 0));
    t.ret("flags that there are not", pidfd_open(me, 1));
    let fd = must(pidfd_open(me, 0));
    t.ret("read", sys!(libc::read(fd, ptr::null_mut(), 0)));
    t.ret("signal to oneself", pidfd_signal(fd, 0));
    t.ret("a bad signal", pidfd_signal(fd, 99));
    t.ret("no pidfd", pidfd_signal(must(open("/dev/null", libc::O_RDONLY)), 0));
    t.ret("no descriptor", pidfd_signal(99, 0));
    let mut info = zeroed!(libc::siginfo_t);
    t.ret("waitid by no pidfd", sys!(libc::waitid(libc::P_PIDFD, 0, &raw mut info, libc::WEXITED)));
}
