//! Calls about which somebody is asked.
use super::*;
use control::answer::Choice;
use proto::grant_flags;
use proto::op::{Settled, settled, wait_events};

const GETPPID: u64 = 110;
const GETTID: u64 = 186;
const SECOND: u64 = 10_000_000;

impl Fixture {
    fn with_sandbox<O>(
        &mut self,
        f: impl FnOnce(&mut Sandbox<'static, FakeRoot>, &mut World<'_, Double, FakeRoot>) -> O,
    ) -> O {
        let mut sandbox = self.sandbox.take().unwrap();
        let done = self.world(|world| f(&mut sandbox, world));
        self.sandbox = Some(sandbox);
        done
    }

    fn answer(&mut self, sequence: u64, choice: Choice) -> Option<Outcome> {
        self.with_sandbox(|sandbox, world| sandbox.answer_question(sequence, choice, world))
    }

    fn is_stopped(&self) -> bool {
        self.sandbox.as_ref().unwrap().is_stopped()
    }

    /// What the shim is told of a question.
    fn standing(&mut self, sequence: u64) -> Settled {
        let question = op::Question { sequence, process: 3, reserved: 0 };
        assert_eq!(self.ring(op::QUESTION, &[question.as_bytes(), b"/bin/app"].concat()), Step::Again);
        // Behind the reply's header.
        self.read(layout::SERVICE + MESSAGE_OFFSET as u64 + 16)
    }
}

#[test]
fn a_call_that_is_asked_about_is_the_shims_to_hold() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.call(GETPPID), Step::Again);
    let grant: Grant = fixture.read(layout::GATE);
    assert_eq!(grant.flags, grant_flags::ASK | grant_flags::REPORT);
    assert_eq!(fixture.standing(1).state, settled::OPEN);
    assert!(fixture.screen.trace.contains("getppid() <asked: 5 s, else errno EPERM>"), "{}", fixture.screen.trace);
    assert_eq!((fixture.answer(9, Choice::Kill), fixture.answer(1, Choice::Deny)), (None, None));
    let found = fixture.with_sandbox(|sandbox, _| [(); 2].map(|()| sandbox.take_found(u64::MAX)));
    assert_eq!(found, [wait_events::ANSWER, 0], "told once");
    assert_eq!(fixture.standing(1), Settled { state: settled::FAILED, errno: 1 });
    fixture.call(GETPPID);
    let due = fixture.sandbox.as_ref().unwrap().questions_due();
    assert_eq!(due, fixture.now + 5 * SECOND);
    let gone = op::Question { sequence: 2, process: 0, reserved: 0 };
    assert_eq!(fixture.ring(op::WITHDRAW, gone.as_bytes()), Step::Again);
    assert_eq!(fixture.sandbox.as_ref().unwrap().questions_due(), u64::MAX);
    fixture.call(GETPPID);
    let killed = fixture.answer(3, Choice::Kill);
    assert_eq!(killed, Some(Outcome::PolicyKilled { reason: "getppid(): rule 3 test.toml:9".to_string() }));
    fixture.call(GETPPID);
    assert!(fixture.destroy().0.screen.trace.contains("<unfinished ...> [ask, rule 3 test.toml:9]"));
}

#[test]
fn a_call_that_stops_is_taken_up_where_it_was() {
    for (choice, rip, rax) in [(Choice::Allow, shim_header().syscall_entry, None), (Choice::Deny, RIP + 2, Some(-1))] {
        let mut fixture = Fixture::new();
        let before = fixture.registers();
        assert_eq!((fixture.call(GETTID), fixture.is_stopped()), (Step::Stopped, true));
        assert_eq!(fixture.registers().rip, before.rip, "nothing is done yet");
        assert!(fixture.screen.trace.contains("gettid() <stopped: 7 s, else kill>"), "{}", fixture.screen.trace);
        assert_eq!((fixture.answer(1, choice), fixture.is_stopped()), (None, false));
        let registers = fixture.registers();
        assert_eq!((registers.rip, registers.gprs[1]), (rip, RIP + 2));
        if let Some(rax) = rax {
            assert_eq!(registers.gprs[0].cast_signed(), rax);
        } else {
            let grant: Grant = fixture.read(layout::GATE);
            assert_eq!((grant.sequence, grant.number, grant.flags), (1, GETTID, grant_flags::REPORT));
        }
        assert_eq!(fixture.call(GETPID), Step::Again);
    }
    let mut fixture = Fixture::new();
    fixture.call(GETTID);
    fixture.now += 7 * SECOND;
    let killed = fixture.with_sandbox(|sandbox, world| sandbox.expire_questions(world));
    assert_eq!(killed, Some(Outcome::PolicyKilled { reason: "gettid(): rule 4 test.toml:12".to_string() }));
}
