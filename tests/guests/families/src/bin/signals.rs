//! Signals: actions, masks, what a handler is told, what is interrupted, what is restarted.
#![allow(unsafe_code)]

use families::files::{pipe, read, read_len};
use families::memory::{PAGE, anonymous, at, map, peek, pointer, poke};
use families::tasks::{
    LAST, SEEN, action, block, child, count, ending, handle, handle_info, names, pause_ms, seen, set, state,
    status_text, tick, unblock, until, wait, wait_with,
};
use families::{Report, Sys, c, libc, must, say, signal_name, sys, zeroed};
use std::arch::asm;
use std::process::ExitCode;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU64, AtomicUsize, Ordering};

fn main() -> ExitCode {
    families::run(&[
        ("actions", actions),
        ("masks", masks),
        ("pending", pending),
        ("info", info),
        ("faults", faults),
        ("vector-fault", vector_fault),
        ("alternate-stack", alternate_stack),
        ("restart", restart),
        ("interrupted", interrupted),
        ("flags", flags),
        ("nested", nested),
        ("queue", queue),
        ("suspend", suspend),
        ("timed-wait", timed_wait),
        ("descriptor", descriptor),
        ("stop", stop),
        ("defaults", defaults),
        ("core", core),
        ("children", children),
        ("registers", registers),
        ("context", context),
        ("permission", permission),
        ("broken-pipe", broken_pipe),
        ("stack-overflow", stack_overflow),
        ("asynchronous", asynchronous),
        ("storm", storm),
    ])
}

fn actions(t: &mut Report) {
    let mut old = zeroed!(libc::sigaction);
    let ask = |signal: i32, old: &mut libc::sigaction| sys!(libc::sigaction(signal, ptr::null(), old));
    t.ret("ask", ask(libc::SIGUSR1, &mut old));
    t.show("it is the default", old.sa_sigaction == libc::SIG_DFL);
    t.ret("set", handle(libc::SIGUSR1, count, libc::SA_RESTART | libc::SA_NODEFER));
    t.ret("ask", ask(libc::SIGUSR1, &mut old));
    t.show("it is set", old.sa_sigaction == count as *const () as usize);
    t.show("flags", format!("{:#x}", old.sa_flags & !0x0400_0000));
    t.ret("signal 0", ask(0, &mut old));
    t.ret("signal 65", ask(65, &mut old));
    t.ret("SIGKILL asked", sys!(libc::syscall(libc::SYS_rt_sigaction, 9, 0, &raw mut old, 8)));
    t.ret("SIGKILL set", action(libc::SIGKILL, libc::SIG_IGN, 0));
    t.ret("SIGSTOP set", action(libc::SIGSTOP, libc::SIG_DFL, 0));
    t.ret("a wrong size", sys!(libc::syscall(libc::SYS_rt_sigaction, 10, 0, 0, 4)));
    t.ret("a bad address", sys!(libc::syscall(libc::SYS_rt_sigaction, 10, 8, 0, 8)));
    c!(libc::raise(libc::SIGUSR1));
    t.show("handled", seen());
    must(action(libc::SIGUSR1, libc::SIG_IGN, 0));
    c!(libc::raise(libc::SIGUSR1));
    t.show("ignored", seen());
    t.ret("kill nobody", sys!(libc::kill(99_999, 0)));
    t.ret("kill with a bad signal", sys!(libc::kill(c!(libc::getpid()), 65)));
    t.ret("tgkill of nobody", sys!(libc::syscall(libc::SYS_tgkill, c!(libc::getpid()), 99_999, 0)));
    t.ret("tgkill of -1", sys!(libc::syscall(libc::SYS_tgkill, -1, 1, 0)));
    t.ret("an ignored signal is not kept when blocked, then handled", {
        block(&[libc::SIGUSR1]);
        c!(libc::raise(libc::SIGUSR1));
        must(handle(libc::SIGUSR1, count, 0));
        unblock(&[libc::SIGUSR1]);
        Ok(seen().into())
    });
}

fn masks(t: &mut Report) {
    let mut old = zeroed!(libc::sigset_t);
    let new = set(&[libc::SIGINT, libc::SIGKILL, libc::SIGSTOP, 40]);
    t.ret("block", sys!(libc::sigprocmask(libc::SIG_BLOCK, &raw const new, &raw mut old)));
    t.show("before", names(&old));
    t.ret("ask", sys!(libc::sigprocmask(libc::SIG_BLOCK, ptr::null(), &raw mut old)));
    t.show("SIGKILL and SIGSTOP cannot be blocked", names(&old));
    let new = set(&[40]);
    must(sys!(libc::sigprocmask(libc::SIG_UNBLOCK, &raw const new, ptr::null_mut())));
    must(sys!(libc::sigprocmask(libc::SIG_SETMASK, ptr::null(), &raw mut old)));
    t.show("unblocked", names(&old));
    t.ret("how = 9", sys!(libc::syscall(libc::SYS_rt_sigprocmask, 9, &raw const new, 0, 8)));
    t.ret("how = 9 without a set", sys!(libc::syscall(libc::SYS_rt_sigprocmask, 9, 0, &raw mut old, 8)));
    t.ret("a wrong size", sys!(libc::syscall(libc::SYS_rt_sigprocmask, 0, 0, 0, 16)));
    t.ret("a bad address", sys!(libc::syscall(libc::SYS_rt_sigprocmask, 0, 8, 0, 8)));
    t.show(
        "inherited",
        ending(|| {
            let mut mask = zeroed!(libc::sigset_t);
            c!(libc::sigprocmask(libc::SIG_BLOCK, ptr::null(), &raw mut mask));
            say!("  {}", names(&mask));
            0
        }),
    );
}

fn pending(t: &mut Report) {
    let mut waiting = zeroed!(libc::sigset_t);
    must(handle(libc::SIGUSR1, count, 0));
    must(handle(libc::SIGRTMIN(), count, 0));
    block(&[libc::SIGUSR1, libc::SIGRTMIN()]);
    for _ in 0..3 {
        c!(libc::raise(libc::SIGUSR1));
        must(sys!(libc::kill(c!(libc::getpid()), libc::SIGRTMIN())));
    }
    must(sys!(libc::sigpending(&raw mut waiting)));
    t.show("pending", names(&waiting));
    t.show(
        "not in a child",
        ending(|| {
            let mut waiting = zeroed!(libc::sigset_t);
            c!(libc::sigpending(&raw mut waiting));
            say!("  {}", names(&waiting));
            0
        }),
    );
    unblock(&[libc::SIGUSR1]);
    t.show("a standard signal comes once", seen());
    unblock(&[libc::SIGRTMIN()]);
    t.show("a real-time signal as often as sent", seen());
    block(&[libc::SIGUSR1]);
    c!(libc::raise(libc::SIGUSR1));
    must(action(libc::SIGUSR1, libc::SIG_IGN, 0));
    must(sys!(libc::sigpending(&raw mut waiting)));
    t.show("ignoring throws away", names(&waiting));
}

static CODE: AtomicI32 = AtomicI32::new(0);
static VALUE: AtomicI64 = AtomicI64::new(0);
static SENDER: AtomicI32 = AtomicI32::new(0);
static ADDRESS: AtomicUsize = AtomicUsize::new(0);

/// Keeps what came with a signal.
extern "C" fn keep(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let info = c!(&*info);
    LAST.store(signal, Ordering::SeqCst);
    CODE.store(info.si_code, Ordering::SeqCst);
    SENDER.store(c!(info.si_pid()), Ordering::SeqCst);
    VALUE.store(c!(info.si_value()).sival_ptr.expose_provenance() as i64, Ordering::SeqCst);
    ADDRESS.store(c!(info.si_addr()).addr(), Ordering::SeqCst);
    SEEN.fetch_add(1, Ordering::SeqCst);
}

fn kept(t: &Report, what: &str) {
    let me = c!(libc::getpid());
    t.show(
        what,
        format!(
            "{} times {} code {} from {}",
            seen(),
            signal_name(LAST.load(Ordering::SeqCst)),
            CODE.load(Ordering::SeqCst),
            match SENDER.load(Ordering::SeqCst) {
                sender if sender == me => "me",
                0 => "nobody",
                _ => "another",
            }
        ),
    );
}

fn info(t: &mut Report) {
    let me = c!(libc::getpid());
    for signal in [libc::SIGUSR1, libc::SIGRTMIN() + 3, libc::SIGALRM, libc::SIGCHLD] {
        must(handle_info(signal, keep, libc::SA_RESTART));
    }
    must(sys!(libc::kill(me, libc::SIGUSR1)));
    kept(t, "kill");
    c!(libc::raise(libc::SIGUSR1));
    kept(t, "raise");
    let value = libc::sigval { sival_ptr: ptr::without_provenance_mut(0x1234_5678_9abc) };
    must(sys!(libc::sigqueue(me, libc::SIGRTMIN() + 3, value)));
    kept(t, "sigqueue");
    t.show("with its value", format!("{:#x}", VALUE.load(Ordering::SeqCst)));
    t.show("kill of a child", {
        wait(child(|| {
            c!(libc::kill(libc::getppid(), libc::SIGUSR1));
            0
        }))
    });
    // The child's end may interrupt the wait, or come before or after it.
    t.check("both came", until(|| SEEN.load(Ordering::SeqCst) >= 2));
    seen();
    let pid = child(|| 17);
    t.check("SIGCHLD came", until(|| SEEN.load(Ordering::SeqCst) >= 1));
    t.check("from the child", SENDER.load(Ordering::SeqCst) == pid);
    t.show("code", CODE.load(Ordering::SeqCst));
    wait(pid);
    seen();
    tick(5);
    t.check("alarm came", until(|| SEEN.load(Ordering::SeqCst) >= 1));
    tick(0);
    t.show("SIGALRM code", CODE.load(Ordering::SeqCst));
    let queue = |code: i32, target: i32| {
        let mut info = zeroed!(libc::siginfo_t);
        info.si_code = code;
        sys!(libc::syscall(libc::SYS_rt_sigqueueinfo, target, libc::SIGUSR1, &raw const info))
    };
    t.ret("to oneself any code", queue(libc::SI_USER, me));
    let other = child(|| {
        pause_ms(5000);
        0
    });
    t.ret("to another SI_USER is refused", queue(libc::SI_USER, other));
    t.ret("to another SI_TKILL is refused", queue(libc::SI_TKILL, other));
    t.ret("to another SI_QUEUE", queue(libc::SI_QUEUE, other));
    c!(libc::kill(other, libc::SIGKILL));
    wait(other);
}

/// What a fault's handler saw, and the end.
extern "C" fn tell_fault(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let info = c!(&*info);
    let context = c!(&*context.cast::<libc::ucontext_t>());
    let registers = &context.uc_mcontext.gregs;
    let at = c!(info.si_addr()).addr();
    let instruction = usize::try_from(registers[libc::REG_RIP as usize]).unwrap_or(0);
    let wanted = ADDRESS.load(Ordering::SeqCst);
    let place = match at {
        0 => "null",
        _ if at == wanted => "as touched",
        _ if at == instruction => "the instruction",
        _ => "elsewhere",
    };
    // QEMU 7.2 names the wrong vector when INT n is refused: its low bits say that it is one.
    let (trap, error) = (registers[libc::REG_TRAPNO as usize], registers[libc::REG_ERR as usize]);
    let error = if trap == 13 { error & 7 } else { error };
    say!(
        "  {} code {} address {place} trap {trap} error {error:#x} cr2 {}",
        signal_name(signal),
        info.si_code,
        usize::try_from(registers[libc::REG_CR2 as usize]).is_ok_and(|cr2| cr2 == wanted),
    );
    c!(libc::_exit(0));
}

fn fault(t: &Report, what: &str, at: *mut u8, body: impl FnOnce(*mut u8)) {
    t.show(
        what,
        ending(|| {
            ADDRESS.store(at.expose_provenance(), Ordering::SeqCst);
            for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP] {
                must(handle_info(signal, tell_fault, 0));
            }
            body(at);
            9
        }),
    );
}

fn faults(t: &mut Report) {
    let none = ptr::null_mut();
    fault(t, "read of an unmapped page", ptr::without_provenance_mut(0x10_0000_1000), |at| {
        peek(at);
    });
    fault(t, "write of an unmapped page", ptr::without_provenance_mut(0x10_0000_1234), |at| poke(at, 1));
    let page = pointer(map(PAGE, libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0));
    fault(t, "write of a page to read", at(page, 5), |at| poke(at, 1));
    let page = pointer(map(PAGE, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0));
    fault(t, "read of a closed page", page, |at| {
        peek(at);
    });
    let page = anonymous(PAGE);
    poke(page, 0xc3);
    fault(t, "execution of data", page, |at| c!(asm!("call {}", in(reg) at, clobber_abi("C"))));
    fault(t, "a jump to nowhere", ptr::without_provenance_mut(0x6000), |at| {
        c!(asm!("call {}", in(reg) at, clobber_abi("C")));
    });
    fault(t, "a non-canonical address", ptr::without_provenance_mut(0x8000_0000_0000_0000), |at| {
        peek(at);
    });
    fault(t, "the kernel's half", ptr::without_provenance_mut(0xffff_ffff_8000_0000), |at| {
        peek(at);
    });
    fault(t, "ud2", none, |_| c!(asm!("ud2")));
    fault(t, "division by zero", none, |_| {
        c!(asm!("xor edx, edx", "div {0:e}", in(reg) 0, inout("eax") 1 => _, out("edx") _));
    });
    fault(t, "int3", none, |_| c!(asm!("int3")));
    fault(t, "single step", none, |_| {
        c!(asm!("pushfq", "or dword ptr [rsp], 0x100", "popfq", "nop", "nop"));
    });
    fault(t, "hlt", none, |_| c!(asm!("hlt")));
    fault(t, "int 14", none, |_| c!(asm!("int 14")));
    fault(t, "x87 division unmasked", none, |_| {
        let control = 0x037bu16;
        c!(asm!("fldcw [{}]", "fld1", "fldz", "fdivp", "fwait", in(reg) &raw const control));
    });
    fault(t, "alignment check is off", none, |_| {
        let page = [0u64; 2];
        c!(ptr::from_ref(&page).cast::<u8>().add(1).cast::<u32>().read_unaligned());
    });
    let fd = families::files::file_in_memory(b"short");
    let mapping = pointer(map(2 * PAGE, libc::PROT_READ, libc::MAP_PRIVATE, fd, 0));
    fault(t, "beyond the end of a file", at(mapping, PAGE + 1), |at| {
        peek(at);
    });
    t.show(
        "a blocked fault kills",
        ending(|| {
            must(handle_info(libc::SIGSEGV, tell_fault, 0));
            block(&[libc::SIGSEGV]);
            peek(ptr::null());
            0
        }),
    );
    t.show(
        "an ignored fault kills",
        ending(|| {
            must(action(libc::SIGSEGV, libc::SIG_IGN, 0));
            peek(ptr::null());
            0
        }),
    );
}

/// QEMU's emulation of the processor never raises #XM: there the program goes on.
fn vector_fault(t: &mut Report) {
    let none = ptr::null_mut();
    fault(t, "SSE division unmasked", none, |_| {
        let control = 0x1d80u32;
        c!(asm!("ldmxcsr [{}]", "xorps xmm0, xmm0", "movss xmm1, [{}]", "divss xmm1, xmm0",
            in(reg) &raw const control, in(reg) &1.0f32, out("xmm0") _, out("xmm1") _));
    });
}

static STACK: AtomicUsize = AtomicUsize::new(0);
const STACK_BYTES: usize = 65536;

extern "C" fn where_am_i(_: i32) {
    let here = 0u8;
    let here = (&raw const here).addr();
    let base = STACK.load(Ordering::SeqCst);
    let mut now = zeroed!(libc::stack_t);
    let asked = sys!(libc::sigaltstack(ptr::null(), &raw mut now));
    say!(
        "  on the alternate stack: {} flags {} ({})",
        (base..base + STACK_BYTES).contains(&here),
        now.ss_flags,
        asked.map_or_else(|e| e.to_string(), |n| n.to_string())
    );
    let off = libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
    match sys!(libc::sigaltstack(&raw const off, ptr::null_mut())) {
        Ok(_) => say!("  it can be switched off"),
        Err(errno) => say!("  it cannot be switched off: {errno}"),
    }
}

fn alternate_stack(t: &mut Report) {
    let memory = anonymous(STACK_BYTES);
    STACK.store(memory.expose_provenance(), Ordering::SeqCst);
    let set_stack = |flags: i32, size: usize| {
        let stack = libc::stack_t { ss_sp: memory.cast(), ss_flags: flags, ss_size: size };
        sys!(libc::sigaltstack(&raw const stack, ptr::null_mut()))
    };
    must(handle(libc::SIGUSR1, where_am_i, libc::SA_ONSTACK));
    must(handle(libc::SIGUSR2, where_am_i, 0));
    t.ret("too small", set_stack(0, 100));
    t.ret("flags that there are not", set_stack(9, STACK_BYTES));
    t.ret("set", set_stack(0, STACK_BYTES));
    say!("with SA_ONSTACK");
    c!(libc::raise(libc::SIGUSR1));
    t.ret("set", set_stack(0, STACK_BYTES));
    say!("without it");
    c!(libc::raise(libc::SIGUSR2));
    t.ret("SS_AUTODISARM", set_stack(i32::MIN, STACK_BYTES));
    c!(libc::raise(libc::SIGUSR1));
    t.ret("SS_DISABLE", set_stack(libc::SS_DISABLE, 0));
    let mut now = zeroed!(libc::stack_t);
    must(sys!(libc::sigaltstack(ptr::null(), &raw mut now)));
    t.show("flags", now.ss_flags);
    c!(libc::raise(libc::SIGUSR1));
}

extern "C" fn fill(_: i32) {
    // What the interrupted read waits for.
    SEEN.fetch_add(1, Ordering::SeqCst);
    let to = VALUE.load(Ordering::SeqCst);
    if let Ok(to) = i32::try_from(to) {
        families::files::write(to, b"late").ok();
    }
}

fn restart(t: &mut Report) {
    let (from, to) = pipe();
    VALUE.store(to.into(), Ordering::SeqCst);
    must(handle(libc::SIGALRM, fill, libc::SA_RESTART));
    tick(20);
    t.show("read goes on", read(from, 4));
    tick(0);
    t.check("a signal came", seen() > 0);
    VALUE.store(-1, Ordering::SeqCst);
    let pid = child(|| {
        pause_ms(100);
        3
    });
    must(handle(libc::SIGALRM, count, libc::SA_RESTART));
    tick(20);
    t.show("wait goes on", wait(pid));
    // These are never restarted.
    let mut entry = libc::pollfd { fd: from, events: libc::POLLPRI, revents: 0 };
    t.ret("poll does not", sys!(libc::poll(&raw mut entry, 1, 10_000)));
    t.ret("nanosleep does not", sleep(10));
    t.ret("pause does not", sys!(libc::pause()));
    t.ret("epoll_wait does not", {
        let epoll = families::events::Epoll::new();
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        sys!(libc::epoll_wait(epoll.0, &raw mut event, 1, 10_000))
    });
    let word = 0u32;
    let time = libc::timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    t.ret("futex goes on", sys!(libc::syscall(libc::SYS_futex, &raw const word, libc::FUTEX_WAIT, 0, &raw const time)));
    tick(0);
}

fn sleep(seconds: i64) -> Sys {
    let time = libc::timespec { tv_sec: seconds, tv_nsec: 0 };
    sys!(libc::nanosleep(&raw const time, ptr::null_mut()))
}

fn interrupted(t: &mut Report) {
    must(handle(libc::SIGALRM, count, 0));
    let (from, to) = pipe();
    tick(20);
    t.ret("read", read_len(from, 1));
    let large = vec![0u8; 200_000];
    t.ret("write that fitted in part", families::files::write(to, &large));
    t.ret("write that fitted not at all", families::files::write(to, &large));
    let pid = child(|| {
        pause_ms(60_000);
        0
    });
    t.ret("wait", sys!(libc::waitpid(pid, ptr::null_mut(), 0)));
    t.ret("sleep", sleep(10));
    let mut left = zeroed!(libc::timespec);
    let time = libc::timespec { tv_sec: 100, tv_nsec: 0 };
    t.ret("sleep with rest", sys!(libc::nanosleep(&raw const time, &raw mut left)));
    t.check("rest is shorter", (98..100).contains(&left.tv_sec));
    t.ret(
        "clock_nanosleep",
        Ok(c!(libc::clock_nanosleep(libc::CLOCK_MONOTONIC, 0, &raw const time, ptr::null_mut())).into()),
    );
    let word = 0u32;
    t.ret("futex", sys!(libc::syscall(libc::SYS_futex, &raw const word, libc::FUTEX_WAIT, 0, 0)));
    t.ret(
        "futex with an end",
        sys!(libc::syscall(libc::SYS_futex, &raw const word, libc::FUTEX_WAIT, 0, &raw const time)),
    );
    let mut entry = libc::pollfd { fd: from, events: libc::POLLPRI, revents: 0 };
    t.ret("poll", sys!(libc::poll(&raw mut entry, 1, -1)));
    t.ret("select", sys!(libc::select(0, ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut())));
    t.ret("sigsuspend", {
        let none = set(&[]);
        sys!(libc::sigsuspend(&raw const none))
    });
    t.ret("sigtimedwait", {
        let other = set(&[libc::SIGUSR2]);
        sys!(libc::sigtimedwait(&raw const other, ptr::null_mut(), ptr::null()))
    });
    tick(0);
    c!(libc::kill(pid, libc::SIGKILL));
    wait(pid);
}

static DEPTH: AtomicI32 = AtomicI32::new(0);
static DEEPEST: AtomicI32 = AtomicI32::new(0);

extern "C" fn again(signal: i32) {
    let depth = DEPTH.fetch_add(1, Ordering::SeqCst) + 1;
    DEEPEST.fetch_max(depth, Ordering::SeqCst);
    if SEEN.fetch_add(1, Ordering::SeqCst) < 4 {
        c!(libc::raise(signal));
    }
    DEPTH.fetch_sub(1, Ordering::SeqCst);
}

fn flags(t: &mut Report) {
    for (what, flags) in [("plain", 0), ("SA_NODEFER", libc::SA_NODEFER)] {
        DEEPEST.store(0, Ordering::SeqCst);
        must(handle(libc::SIGUSR1, again, flags));
        c!(libc::raise(libc::SIGUSR1));
        t.show(what, format!("{} times, {} deep", seen(), DEEPEST.load(Ordering::SeqCst)));
    }
    must(handle(libc::SIGUSR1, count, libc::SA_RESETHAND));
    t.show(
        "SA_RESETHAND",
        ending(|| {
            c!(libc::raise(libc::SIGUSR1));
            say!("  once");
            c!(libc::raise(libc::SIGUSR1));
            0
        }),
    );
}

extern "C" fn outer(signal: i32) {
    say!("  in {}", signal_name(signal));
    if signal == libc::SIGUSR1 {
        c!(libc::raise(libc::SIGUSR2));
        c!(libc::raise(libc::SIGTERM));
        let mut mask = zeroed!(libc::sigset_t);
        c!(libc::sigprocmask(libc::SIG_BLOCK, ptr::null(), &raw mut mask));
        say!("  mask {}", names(&mask));
    }
    say!("  out of {}", signal_name(signal));
}

fn nested(t: &mut Report) {
    let mut new = zeroed!(libc::sigaction);
    new.sa_sigaction = outer as *const () as usize;
    new.sa_mask = set(&[libc::SIGTERM, libc::SIGKILL]);
    must(sys!(libc::sigaction(libc::SIGUSR1, &raw const new, ptr::null_mut())));
    must(handle(libc::SIGUSR2, outer, 0));
    must(handle(libc::SIGTERM, outer, 0));
    c!(libc::raise(libc::SIGUSR1));
    let mut mask = zeroed!(libc::sigset_t);
    c!(libc::sigprocmask(libc::SIG_BLOCK, ptr::null(), &raw mut mask));
    t.show("mask after all", names(&mask));
}

extern "C" fn tell(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    say!("  {} value {}", signal_name(signal), c!((*info).si_value()).sival_ptr.addr());
}

fn queue(t: &mut Report) {
    let signals = [libc::SIGRTMIN() + 2, libc::SIGRTMIN(), libc::SIGRTMIN() + 1];
    block(&signals);
    for signal in signals {
        // All others wait while one is handled: the order of delivery is seen.
        let mut new = zeroed!(libc::sigaction);
        new.sa_sigaction = tell as *const () as usize;
        new.sa_flags = libc::SA_SIGINFO;
        new.sa_mask = set(&signals);
        must(sys!(libc::sigaction(signal, &raw const new, ptr::null_mut())));
    }
    for round in 0..3 {
        for signal in signals {
            let value = libc::sigval {
                sival_ptr: ptr::without_provenance_mut(usize::try_from(round * 100 + signal).unwrap_or(0)),
            };
            must(sys!(libc::sigqueue(c!(libc::getpid()), signal, value)));
        }
    }
    say!("lowest number first, each in the order sent");
    unblock(&signals);
    t.show(
        "limit",
        ending(|| {
            block(&[libc::SIGRTMIN()]);
            let limit = libc::rlimit { rlim_cur: 20, rlim_max: 20 };
            must(sys!(libc::setrlimit(libc::RLIMIT_SIGPENDING, &raw const limit)));
            let value = libc::sigval { sival_ptr: ptr::null_mut() };
            let refused =
                (0..100).find_map(|_| sys!(libc::sigqueue(c!(libc::getpid()), libc::SIGRTMIN(), value)).err());
            say!("  too many: {}", refused.map_or("never".to_owned(), |e| e.to_string()));
            say!("  kill still works: {}", sys!(libc::kill(c!(libc::getpid()), libc::SIGRTMIN())).is_ok());
            0
        }),
    );
}

fn suspend(t: &mut Report) {
    must(handle(libc::SIGUSR1, count, 0));
    must(handle(libc::SIGUSR2, count, 0));
    block(&[libc::SIGUSR1, libc::SIGUSR2]);
    c!(libc::raise(libc::SIGUSR1));
    c!(libc::raise(libc::SIGUSR2));
    let only = set(&[libc::SIGUSR1]);
    t.ret("with one blocked", sys!(libc::sigsuspend(&raw const only)));
    t.show("handled", format!("{} {}", seen(), signal_name(LAST.load(Ordering::SeqCst))));
    let mut waiting = zeroed!(libc::sigset_t);
    must(sys!(libc::sigpending(&raw mut waiting)));
    t.show("still pending", names(&waiting));
    let mut mask = zeroed!(libc::sigset_t);
    c!(libc::sigprocmask(libc::SIG_BLOCK, ptr::null(), &raw mut mask));
    t.show("mask is as before", names(&mask));
    t.ret("a wrong size", sys!(libc::syscall(libc::SYS_rt_sigsuspend, &raw const only, 4)));
}

fn timed_wait(t: &mut Report) {
    let signals = [libc::SIGUSR1, libc::SIGRTMIN() + 1];
    block(&signals);
    let wanted = set(&signals);
    let short = libc::timespec { tv_sec: 0, tv_nsec: 10_000_000 };
    let wrong = libc::timespec { tv_sec: 0, tv_nsec: 2_000_000_000 };
    let mut info = zeroed!(libc::siginfo_t);
    t.ret("nothing comes", sys!(libc::sigtimedwait(&raw const wanted, &raw mut info, &raw const short)));
    t.ret("a wrong time", sys!(libc::sigtimedwait(&raw const wanted, &raw mut info, &raw const wrong)));
    c!(libc::raise(libc::SIGUSR1));
    t.ret("pending already", sys!(libc::sigtimedwait(&raw const wanted, &raw mut info, &raw const short)));
    t.show("code", info.si_code);
    let pid = child(|| {
        pause_ms(50);
        let value = libc::sigval { sival_ptr: ptr::without_provenance_mut(77) };
        c!(libc::sigqueue(libc::getppid(), libc::SIGRTMIN() + 1, value))
    });
    t.show("comes later", signal_name(must(sys!(libc::sigwaitinfo(&raw const wanted, &raw mut info)))));
    t.show("value", c!(info.si_value()).sival_ptr.addr());
    t.check("from the child", c!(info.si_pid()) == pid);
    wait(pid);
}

fn descriptor(t: &mut Report) {
    let signals = [libc::SIGUSR1, libc::SIGRTMIN(), libc::SIGCHLD];
    block(&signals);
    let wanted = set(&signals);
    let fd = must(sys!(libc::signalfd(-1, &raw const wanted, libc::SFD_NONBLOCK)));
    let mut info = zeroed!(libc::signalfd_siginfo);
    let mut next = |what: &str| {
        let got = sys!(libc::read(fd, (&raw mut info).cast(), 128));
        match got {
            Ok(len) => t.show(
                what,
                format!(
                    "{len} bytes, {} code {} status {} value {} mine {}",
                    signal_name(info.ssi_signo.cast_signed()),
                    info.ssi_code,
                    info.ssi_status,
                    info.ssi_ptr,
                    info.ssi_pid == std::process::id()
                ),
            ),
            Err(errno) => t.show(what, errno),
        }
    };
    next("empty");
    t.show("ready", families::events::ready(fd));
    c!(libc::raise(libc::SIGUSR1));
    t.show("ready", families::events::ready(fd));
    next("SIGUSR1");
    let value = libc::sigval { sival_ptr: ptr::without_provenance_mut(55) };
    must(sys!(libc::sigqueue(c!(libc::getpid()), libc::SIGRTMIN(), value)));
    next("sigqueue");
    let pid = child(|| 12);
    t.show("a child's end", families::events::poll(fd, libc::POLLIN, 10_000));
    next("SIGCHLD");
    wait(pid);
    t.ret("too short", read_len(fd, 100));
    let fewer = set(&[libc::SIGUSR1]);
    t.ret("changed", sys!(libc::signalfd(fd, &raw const fewer, 0)).map(|same| (same == i64::from(fd)).into()));
    must(sys!(libc::sigqueue(c!(libc::getpid()), libc::SIGRTMIN(), value)));
    t.show("not that one", families::events::ready(fd));
    t.ret("not a signalfd", sys!(libc::signalfd(0, &raw const fewer, 0)));
    t.ret("write", families::files::write(fd, &[0; 128]));
}

/// Signals of files that can be read or written.
fn asynchronous(t: &mut Report) {
    const QUEUED: i32 = 40;
    // Linux `uapi/asm-generic/fcntl.h`.
    const F_SETSIG: i32 = 10;
    const F_GETSIG: i32 = 11;
    const F_SETOWN_EX: i32 = 15;
    const F_GETOWN_EX: i32 = 16;
    // A signal for the whole group is nobody else's.
    c!(libc::setpgid(0, 0));
    let me = c!(libc::getpid());
    let wanted = set(&[libc::SIGIO, QUEUED]);
    block(&[libc::SIGIO, QUEUED]);
    let now = zeroed!(libc::timespec);
    let show = |t: &mut Report, what: &str, files: &[i32]| {
        let mut info = zeroed!(libc::siginfo_t);
        match sys!(libc::sigtimedwait(&raw const wanted, &raw mut info, &raw const now)) {
            Err(errno) => t.show(what, errno),
            Ok(_) if info.si_code == 0x80 => t.show(what, format!("signal {} of the kernel's", info.si_signo)),
            Ok(_) => {
                // `si_band` and `si_fd` stand where a fault has its address.
                let band = c!(*(&raw const info).cast::<u64>().add(2));
                let fd = c!(*(&raw const info).cast::<i32>().add(6));
                let place = files.iter().position(|file| *file == fd);
                t.show(what, format!("signal {} code {} band {band:#x} file {place:?}", info.si_signo, info.si_code));
            }
        }
    };
    let put = |fd: i32| sys!(libc::write(fd, b"x".as_ptr().cast(), 1));
    let fcntl = |fd: i32, command: i32, argument: i32| sys!(libc::fcntl(fd, command, argument));
    let (from, to) = pipe();
    t.ret("owner", fcntl(from, libc::F_GETOWN, 0));
    t.ret("signal", fcntl(from, F_GETSIG, 0));
    t.ret("is mine", fcntl(from, libc::F_SETOWN, me));
    t.show("is mine", fcntl(from, libc::F_GETOWN, 0) == Ok(me.into()));
    must(put(to));
    show(t, "not asked for", &[from, to]);
    t.ret("ask", fcntl(from, libc::F_SETFL, libc::O_ASYNC));
    t.show("flags", must(fcntl(from, libc::F_GETFL, 0)) & libc::O_ASYNC != 0);
    must(put(to));
    show(t, "input", &[from, to]);
    show(t, "once", &[from, to]);
    t.ret("another signal", fcntl(from, F_SETSIG, QUEUED));
    must(put(to));
    show(t, "input", &[from, to]);
    t.ret("the other end's", fcntl(to, libc::F_SETOWN, -c!(libc::getpgrp())));
    t.show("is the group's", fcntl(to, libc::F_GETOWN, 0) == Ok((-c!(libc::getpgrp())).into()));
    must(fcntl(to, F_SETSIG, QUEUED));
    must(fcntl(to, libc::F_SETFL, libc::O_ASYNC));
    must(sys!(libc::read(from, [0u8; 8].as_mut_ptr().cast(), 8)));
    show(t, "room", &[from, to]);
    t.ret("no more", fcntl(from, libc::F_SETFL, 0));
    must(put(to));
    show(t, "nothing", &[from, to]);
    c!(libc::close(from));
    show(t, "nobody reads", &[from, to]);
    t.ret("a bad signal", fcntl(to, F_SETSIG, 65));
    t.ret("nobody's process", fcntl(to, libc::F_SETOWN, 99_999));
    t.ret("nobody", fcntl(to, libc::F_SETOWN, 0));
    let mut pair = [0; 2];
    must(sys!(libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, pair.as_mut_ptr())));
    let mut owner = [0_i32, c!(libc::getpid())];
    t.ret("a thread", sys!(libc::fcntl(pair[0], F_SETOWN_EX, owner.as_ptr())));
    owner = [7, 7];
    t.ret("is it", sys!(libc::fcntl(pair[0], F_GETOWN_EX, owner.as_mut_ptr())));
    t.show("is it", format!("{} {}", owner[0], owner[1] == me));
    owner[0] = 9;
    t.ret("of no such kind", sys!(libc::fcntl(pair[0], F_SETOWN_EX, owner.as_ptr())));
    must(fcntl(pair[0], F_SETSIG, QUEUED));
    let on = 1;
    t.ret("by ioctl", sys!(libc::ioctl(pair[0], libc::FIOASYNC, &raw const on)));
    must(put(pair[1]));
    show(t, "a socket's input", &pair);
    let event = must(sys!(libc::eventfd(0, 0)));
    t.ret("what has no signals", sys!(libc::ioctl(event, libc::FIOASYNC, &raw const on)));
}

fn stop(t: &mut Report) {
    let pid = child(|| {
        // In a group whose parent is of another one: terminal stops of orphaned groups do nothing.
        c!(libc::setpgid(0, 0));
        must(handle(libc::SIGCONT, count, 0));
        must(handle(libc::SIGUSR2, count, 0));
        c!(libc::raise(libc::SIGSTOP));
        // The next stop takes away that it goes on: not before that has been told.
        until(|| SEEN.load(Ordering::SeqCst) > 1);
        c!(libc::raise(libc::SIGTSTP));
        40
    });
    let next = |what: &str, options: i32| match wait_with(pid, options) {
        Ok((found, status)) => t.show(
            what,
            format!("{} {}", found == pid, if found == 0 { "nothing".into() } else { status_text(status) }),
        ),
        Err(errno) => t.show(what, errno),
    };
    next("stops", libc::WUNTRACED);
    next("is told once", libc::WUNTRACED | libc::WNOHANG);
    t.show("state", state(pid));
    must(sys!(libc::kill(pid, libc::SIGCONT)));
    next("goes on", libc::WCONTINUED);
    must(sys!(libc::kill(pid, libc::SIGUSR2)));
    next("stops again", libc::WUNTRACED);
    must(sys!(libc::kill(pid, libc::SIGUSR1)));
    next("signals wait while it is stopped", libc::WNOHANG);
    must(sys!(libc::kill(pid, libc::SIGKILL)));
    next("but not SIGKILL", 0);
    let pid = child(|| {
        must(handle(libc::SIGTSTP, count, 0));
        c!(libc::raise(libc::SIGTSTP));
        i32::from(seen() == 1)
    });
    t.show("SIGTSTP with a handler", wait(pid));
    t.show(
        "SIGTTIN in a group of its own",
        ending(|| {
            c!(libc::setsid());
            let inner = child(|| {
                c!(libc::setpgid(0, 0));
                c!(libc::raise(libc::SIGTTIN));
                11
            });
            let stopped = wait_with(inner, libc::WUNTRACED).map(|(_, status)| status_text(status));
            say!("  {stopped:?}");
            must(sys!(libc::kill(inner, libc::SIGKILL)));
            say!("  {}", wait(inner));
            0
        }),
    );
    t.show(
        "SIGTTIN in an orphaned group",
        ending(|| {
            c!(libc::setsid());
            c!(libc::raise(libc::SIGTTIN));
            12
        }),
    );
    t.show(
        "SIGCONT takes a pending stop away",
        ending(|| {
            block(&[libc::SIGTSTP, libc::SIGCONT]);
            c!(libc::raise(libc::SIGTSTP));
            c!(libc::raise(libc::SIGCONT));
            let mut waiting = zeroed!(libc::sigset_t);
            c!(libc::sigpending(&raw mut waiting));
            say!("  {}", names(&waiting));
            0
        }),
    );
}

fn defaults(t: &mut Report) {
    let limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    must(sys!(libc::setrlimit(libc::RLIMIT_CORE, &raw const limit)));
    for signal in (1..32).chain([34, 50, 64]) {
        if [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU].contains(&signal) {
            continue;
        }
        t.show(
            &signal_name(signal),
            ending(|| {
                c!(libc::signal(signal, libc::SIG_DFL));
                c!(libc::kill(libc::getpid(), signal));
                0
            }),
        );
    }
}

fn core(t: &mut Report) {
    let _scratch = families::files::Scratch::new();
    for signal in [
        libc::SIGQUIT,
        libc::SIGILL,
        libc::SIGABRT,
        libc::SIGFPE,
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGSYS,
        libc::SIGTRAP,
        libc::SIGXCPU,
        libc::SIGXFSZ,
        libc::SIGTERM,
        libc::SIGKILL,
    ] {
        let pid = child(|| {
            let limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            must(sys!(libc::setrlimit(libc::RLIMIT_CORE, &raw const limit)));
            c!(libc::signal(signal, libc::SIG_DFL));
            c!(libc::raise(signal));
            0
        });
        let (_, status) = wait_with(pid, 0).unwrap_or_default();
        t.show(&signal_name(signal), format!("{} core {}", status_text(status), libc::WCOREDUMP(status)));
    }
}

fn children(t: &mut Report) {
    let show = |what: &str| {
        let wanted = set(&[libc::SIGCHLD]);
        let mut info = zeroed!(libc::siginfo_t);
        let time = libc::timespec { tv_sec: 10, tv_nsec: 0 };
        match sys!(libc::sigtimedwait(&raw const wanted, &raw mut info, &raw const time)) {
            Ok(_) => t.show(what, format!("code {} status {}", info.si_code, c!(info.si_status()))),
            Err(errno) => t.show(what, errno),
        }
    };
    must(handle(libc::SIGCHLD, count, 0));
    block(&[libc::SIGCHLD]);
    wait(child(|| 3));
    show("exit");
    let pid = child(|| {
        c!(libc::raise(libc::SIGSTOP));
        0
    });
    show("stop");
    c!(libc::kill(pid, libc::SIGCONT));
    show("go on, or end");
    wait(pid);
    let pid = child(|| {
        c!(libc::raise(libc::SIGTERM));
        0
    });
    wait(pid);
    must(handle(libc::SIGCHLD, count, libc::SA_NOCLDSTOP));
    let wanted = set(&[libc::SIGCHLD]);
    let now = zeroed!(libc::timespec);
    while sys!(libc::sigtimedwait(&raw const wanted, ptr::null_mut(), &raw const now)).is_ok() {}
    let pid = child(|| {
        c!(libc::raise(libc::SIGSTOP));
        0
    });
    wait_with(pid, libc::WUNTRACED).ok();
    t.ret("SA_NOCLDSTOP", sys!(libc::sigtimedwait(&raw const wanted, ptr::null_mut(), &raw const now)));
    c!(libc::kill(pid, libc::SIGKILL));
    wait(pid);
    show("kill");
}

extern "C" fn spoil(_: i32) {
    SEEN.fetch_add(1, Ordering::SeqCst);
    let ones = [u64::MAX; 2];
    let control = 0x7f80u32;
    c!(asm!(
        "movups xmm0, [{0}]", "movups xmm7, [{0}]", "movups xmm15, [{0}]", "fninit", "fldpi", "fldpi", "ldmxcsr [{1}]",
        in(reg) &raw const ones, in(reg) &raw const control,
        out("xmm0") _, out("xmm7") _, out("xmm15") _,
        out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _, out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _
    ));
}

fn registers(t: &mut Report) {
    must(handle(libc::SIGUSR1, spoil, 0));
    let pid = u64::from(std::process::id());
    let (mut low, mut high, mut loaded, mut rest) = ([0u64; 2], [0u64; 2], 0.0f64, [0u64; 3]);
    let (values, mut control) = ([0x1111u64, 0x2222], [0u32; 2]);
    c!(asm!(
        "movups xmm0, [{values}]", "movups xmm15, [{values}]", "fninit", "fld1", "stmxcsr [{control}]",
        "mov r12, 0x1212", "mov r13, 0x1313", "mov r14, 0x1414",
        "mov eax, 62", "mov esi, 10", "syscall",
        "movups [{low}], xmm0", "movups [{high}], xmm15", "fstp qword ptr [{loaded}]", "stmxcsr [{control} + 4]",
        "mov [{rest}], r12", "mov [{rest} + 8], r13", "mov [{rest} + 16], r14",
        values = in(reg) &raw const values, control = in(reg) &raw mut control, low = in(reg) &raw mut low,
        high = in(reg) &raw mut high, loaded = in(reg) &raw mut loaded, rest = in(reg) &raw mut rest,
        in("rdi") pid, out("rsi") _, out("rax") _, out("rcx") _, out("r11") _, out("r12") _, out("r13") _, out("r14") _,
        out("xmm0") _, out("xmm15") _, out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _, out("st(4)") _,
        out("st(5)") _, out("st(6)") _, out("st(7)") _
    ));
    t.show("handled", seen());
    t.check("xmm0 and xmm15 are as before", low == values && high == values);
    t.check("so is the x87 stack", (loaded - 1.0).abs() < f64::EPSILON);
    t.check("so is MXCSR", control[0] == control[1]);
    t.show("and the others", format!("{rest:x?}"));
    // Interrupted in the middle of a computation.
    must(handle(libc::SIGALRM, spoil, 0));
    tick(2);
    let mut sum = 0.0f64;
    let mut n = 0.0f64;
    while SEEN.load(Ordering::SeqCst) < 20 || n < 100_000.0 {
        n += 1.0;
        sum += std::hint::black_box(n);
        if sum < 0.0 {
            break;
        }
    }
    tick(0);
    t.check("a sum over twenty interruptions", (sum - n * (n + 1.0) / 2.0).abs() < 1.0);
}

static TARGET: AtomicU64 = AtomicU64::new(0);

extern "C" fn skip(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let context = c!(&mut *context.cast::<libc::ucontext_t>());
    context.uc_mcontext.gregs[libc::REG_RIP as usize] += 2;
    context.uc_mcontext.gregs[libc::REG_RAX as usize] = 4321;
    TARGET.fetch_add(1, Ordering::SeqCst);
}

extern "C" fn change_mask(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let context = c!(&mut *context.cast::<libc::ucontext_t>());
    c!(libc::sigaddset(&raw mut context.uc_sigmask, libc::SIGTERM));
    c!(libc::sigaddset(&raw mut context.uc_sigmask, libc::SIGKILL));
}

extern "C" fn bad_context(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let context = c!(&mut *context.cast::<libc::ucontext_t>());
    context.uc_mcontext.gregs[libc::REG_RIP as usize] = i64::MIN;
}

extern "C" fn kernel_segments(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let context = c!(&mut *context.cast::<libc::ucontext_t>());
    context.uc_mcontext.gregs[libc::REG_CSGSFS as usize] = 0x10;
    context.uc_mcontext.gregs[libc::REG_EFL as usize] |= 0x3000;
}

fn context(t: &mut Report) {
    must(handle_info(libc::SIGILL, skip, 0));
    let result: u64;
    c!(asm!("ud2", out("rax") result));
    t.show("the handler steps over an instruction", result);
    must(handle_info(libc::SIGUSR1, change_mask, 0));
    c!(libc::raise(libc::SIGUSR1));
    let mut mask = zeroed!(libc::sigset_t);
    c!(libc::sigprocmask(libc::SIG_BLOCK, ptr::null(), &raw mut mask));
    t.show("and changes the mask", names(&mask));
    must(handle_info(libc::SIGUSR1, bad_context, 0));
    t.show("a non-canonical address to return to", ending(|| c!(libc::raise(libc::SIGUSR1))));
    must(handle_info(libc::SIGUSR1, kernel_segments, 0));
    t.show("segments of the kernel", ending(|| c!(libc::raise(libc::SIGUSR1))));
    t.show(
        "sigreturn without a frame",
        ending(|| c!(asm!("mov rsp, 64", "mov eax, 15", "syscall", options(noreturn)))),
    );
}

fn permission(t: &mut Report) {
    let pid = child(|| {
        pause_ms(10_000);
        0
    });
    if c!(libc::geteuid()) == 0 {
        t.show(
            "another user",
            ending(|| {
                must(sys!(libc::setresuid(1000, 1000, 1000)));
                say!(
                    "  kill: {}",
                    sys!(libc::kill(pid, libc::SIGTERM)).err().map_or("ok".to_owned(), |e| e.to_string())
                );
                say!("  ask: {}", sys!(libc::kill(pid, 0)).err().map_or("ok".to_owned(), |e| e.to_string()));
                0
            }),
        );
    }
    t.ret("ours", sys!(libc::kill(pid, libc::SIGTERM)));
    t.show("end", wait(pid));
}

fn broken_pipe(t: &mut Report) {
    let (from, to) = pipe();
    must(families::files::close(from));
    must(handle(libc::SIGPIPE, count, 0));
    t.ret("write", families::files::write(to, b"x"));
    t.show("handled", seen());
    t.show(
        "by default",
        ending(|| {
            c!(libc::signal(libc::SIGPIPE, libc::SIG_DFL));
            families::files::write(to, b"x").map_or(1, |_| 0)
        }),
    );
}

fn stack_overflow(t: &mut Report) {
    #[allow(unconditional_recursion)]
    fn deeper(level: u64) -> u64 {
        let frame = std::hint::black_box([level; 64]);
        deeper(std::hint::black_box(level + 1)).wrapping_add(std::hint::black_box(frame)[0])
    }
    t.show(
        "by default",
        ending(|| {
            c!(libc::signal(libc::SIGSEGV, libc::SIG_DFL));
            let limit = libc::rlimit { rlim_cur: 256 << 10, rlim_max: 256 << 10 };
            c!(libc::setrlimit(libc::RLIMIT_STACK, &raw const limit));
            i32::from(deeper(1) == 0)
        }),
    );
    extern "C" fn rescued(_: i32) {
        say!("  handled on the alternate stack");
        c!(libc::_exit(3));
    }
    t.show(
        "handled",
        ending(|| {
            let stack = libc::stack_t { ss_sp: anonymous(STACK_BYTES).cast(), ss_flags: 0, ss_size: STACK_BYTES };
            must(sys!(libc::sigaltstack(&raw const stack, ptr::null_mut())));
            must(handle(libc::SIGSEGV, rescued, libc::SA_ONSTACK));
            let limit = libc::rlimit { rlim_cur: 256 << 10, rlim_max: 256 << 10 };
            c!(libc::setrlimit(libc::RLIMIT_STACK, &raw const limit));
            i32::from(deeper(1) == 0)
        }),
    );
    t.show(
        "no room for the frame",
        ending(|| {
            must(handle(libc::SIGUSR1, count, 0));
            c!(asm!(
                "mov rsp, 4096",
                "mov eax, 39",
                "syscall",
                "mov edi, eax",
                "mov esi, 10",
                "mov eax, 62",
                "syscall",
                "ud2",
                options(noreturn)
            ))
        }),
    );
}

fn storm(t: &mut Report) {
    must(handle(libc::SIGUSR1, count, 0));
    let me = c!(libc::getpid());
    let senders: Vec<i32> = (0..4)
        .map(|_| {
            child(|| {
                for _ in 0..500 {
                    c!(libc::kill(me, libc::SIGUSR1));
                }
                0
            })
        })
        .collect();
    for pid in senders {
        while wait_with(pid, 0) == Err(families::Errno(libc::EINTR)) {}
    }
    t.check("some of two thousand came", SEEN.load(Ordering::SeqCst) > 0);
    let sent = (0..1000).filter(|_| c!(libc::raise(libc::SIGUSR1)) == 0).count();
    t.show("raised", sent);
}
