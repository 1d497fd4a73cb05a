//! The limits of a policy: memory that is shared out, what the shim is told, calls that wait.
use alloc::format;

use policy::quotas::Quota;
use proto::{GatePage, Limits, reached};
use tlfs::addr::PAGE_SIZE;

use super::*;

const WHOLE: u64 = 8 << 20;

/// A sandbox under these limits.
fn limited(limits: &str, whole: Option<u64>) -> Fixture {
    let policy = policy::parse("p", &format!("version = 1\ndefault = \"allow\"\n[limits]\n{limits}\n")).unwrap();
    let setup = setup();
    Fixture::of(Setup { policy: policy.into(), budget: Budget { whole, ..setup.budget }, ..setup })
}

impl Fixture {
    /// What the shim is told.
    fn limits(&mut self) -> Limits {
        self.read(layout::GATE + offset_of!(GatePage, limits) as u64)
    }

    /// Pages of the child and its partition, and those that its files take.
    fn pages(&self) -> (u64, u64) {
        let sandbox = self.sandbox.as_ref().unwrap();
        let own = sandbox.memory.private_pages() + sandbox.partition.deposited_pages();
        (own, sandbox.services.stack().memory().div_ceil(PAGE_SIZE))
    }

    /// A step in which the VP is not run.
    fn step(&mut self) -> Step {
        let mut sandbox = self.sandbox.take().unwrap();
        let step = self.world(|world| sandbox.step(world));
        self.sandbox = Some(sandbox);
        step
    }

    fn wake(&mut self) {
        let mut sandbox = self.sandbox.take().unwrap();
        self.world(|world| sandbox.wake(0, world));
        self.sandbox = Some(sandbox);
    }
}

#[test]
fn who_touches_more_than_there_may_be_ends() {
    let mut fixture = limited("memory = \"8M\"", Some(WHOLE));
    let start = fixture.read::<BootInfo>(layout::BOOT_INFO).free_start;
    let told = fixture.limits().memory;
    assert!((WHOLE / 2..WHOLE).contains(&told), "{told:#x}");
    let (mut touched, mut ended) = (0, None);
    while ended.is_none() {
        let memory = &fixture.sandbox.as_ref().unwrap().memory;
        if memory.block_of(start + touched).is_some_and(|block| memory.is_backed(block)) {
            touched += layout::BLOCK_SIZE;
            continue;
        }
        match fixture.stop(HvMessageType::UNMAPPED_GPA, touch(start + touched)) {
            Step::Again => touched += layout::BLOCK_SIZE,
            step => ended = Some(step),
        }
        assert!(fixture.pages().0 <= WHOLE / PAGE_SIZE, "after {touched:#x}");
    }
    let detail = String::from("[limits] p:4: memory 8M");
    assert_eq!(ended, Some(Step::Ended(Outcome::Signaled { signal: 9, detail })));
    assert_eq!(fixture.screen.trace.matches("limit: memory 8M").count(), 1, "{}", fixture.screen.trace);
    // All that the shim was told of is there, and what it is told shrinks only by what tables took.
    let last = fixture.limits().memory;
    assert!(
        touched <= told && touched + layout::BLOCK_SIZE > last && last + (1 << 20) > told,
        "{touched:#x} {last:#x}"
    );
}

#[test]
fn files_take_of_the_same_memory() {
    let mut fixture = limited("memory = \"8M\"", Some(WHOLE));
    let told = fixture.limits().memory;
    let sandbox = fixture.sandbox.as_mut().unwrap();
    let stack = sandbox.services.stack_mut();
    let context = files::Context { uid: 0, gid: 0, groups: &[], now: files::Timestamp::from_ns(0) };
    let ino = stack.mknod(&context, files::Ino::ROOT, b"x", files::Kind::File, 0o644).unwrap();
    let fill = |stack: &mut files::Stack<'_>| {
        stack.write(&context, ino, Some(0), 16 << 20, |run| {
            run.fill(1);
            Ok(())
        })
    };
    let filled = fill(stack);
    assert!(matches!(filled, Ok(bytes) if bytes > 100_000), "{filled:?}");
    // A request is what takes notice of it.
    assert_eq!(fixture.ring(op::STARTED, &[]), Step::Again);
    let (own, files) = fixture.pages();
    assert!(files > 0 && own + files <= WHOLE / PAGE_SIZE);
    let now = fixture.limits().memory;
    assert!(now <= told - files * PAGE_SIZE && now > 0, "{now:#x} of {told:#x}");
}

#[test]
fn a_shim_without_limits_is_told_of_none_and_nothing_is_recorded() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.limits(), Limits::NONE);
    fixture.write(layout::GATE + offset_of!(GatePage, reached) as u64, &u32::MAX.to_le_bytes());
    assert_eq!(fixture.call(GETPID), Step::Again);
    assert!(!fixture.screen.trace.contains("limit:"), "{}", fixture.screen.trace);
}

#[test]
fn what_the_shim_has_refused_is_told_once_for_each_policy() {
    let mut fixture = limited("processes = 3\nopen_files = 9", None);
    assert_eq!(fixture.limits(), Limits { processes: 3, open_files: 9, ..Limits::NONE });
    let at = layout::GATE + offset_of!(GatePage, reached) as u64;
    for told in [reached::PROCESSES, reached::PROCESSES, 0, reached::PROCESSES | reached::THREADS] {
        fixture.write(at, &told.to_le_bytes());
        assert_eq!(fixture.call(GETPID), Step::Again);
    }
    let count = |fixture: &Fixture| fixture.screen.trace.matches("limit: ").count();
    assert_eq!(count(&fixture), 1, "{}", fixture.screen.trace);
    let other = policy::parse("q", "version = 1\ndefault = \"allow\"\n[limits]\nprocesses = 5\n").unwrap();
    let mut sandbox = fixture.sandbox.take().unwrap();
    fixture.world(|world| sandbox.set_policy(other.into(), 2, world)).unwrap();
    fixture.sandbox = Some(sandbox);
    assert_eq!(fixture.limits(), Limits { processes: 5, ..Limits::NONE });
    assert_eq!((fixture.call(GETPID), count(&fixture)), (Step::Again, 1), "what was reached before is not");
    fixture.write(at, &reached::PROCESSES.to_le_bytes());
    assert_eq!((fixture.call(GETPID), count(&fixture)), (Step::Again, 2), "{}", fixture.screen.trace);
    assert!(fixture.screen.trace.contains("limit: processes 5, further ones fail with EAGAIN [[limits] q:4]"));
}

#[test]
fn a_call_that_comes_too_early_waits_and_is_judged_then() {
    let mut fixture = limited("calls_per_second = 10", None);
    assert_eq!(fixture.sandbox.as_ref().unwrap().gate.limit(Quota::CallsPerSecond), Some(10));
    assert_eq!(fixture.call(GETPID), Step::Again);
    let Step::Waiting { deadline, events: 0 } = fixture.call(GETPID) else { panic!("it does not wait") };
    assert_eq!(deadline, 5_000 + 1_000_000);
    let calls = |fixture: &Fixture| fixture.sandbox.as_ref().unwrap().gate.counters().calls;
    assert_eq!(calls(&fixture), 1);
    // Waking answers no request of the shim's: it made none. Too early, it waits once more.
    let service: [u8; 64] = fixture.read(layout::SERVICE);
    fixture.now = deadline - 1;
    fixture.wake();
    assert_eq!(fixture.step(), Step::Waiting { deadline, events: 0 });
    fixture.now = deadline;
    fixture.wake();
    assert_eq!(fixture.step(), Step::Again);
    assert_eq!((calls(&fixture), fixture.read::<[u8; 64]>(layout::SERVICE)), (2, service));
    assert_eq!(fixture.registers().rip, shim_header().syscall_entry);
    assert_eq!(fixture.screen.trace.matches("limit: calls_per_second 10").count(), 1);
}
