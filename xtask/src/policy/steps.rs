//! `policy test`: several calls of one run, in their order, with budgets and taints in force.
//!
//! ```toml
//! [[case]]
//! name = "three reads, and none once it traces"         # optional
//! [[case.step]]
//! call = "read(0)"
//! verdict = "allow"                                      # and `rule`, as of a case with one call
//! times = 2                                              # optional: so often, each time with this verdict
//! returns = 512                                          # optional: what each returns, for budgets of bytes
//! [[case.step]]
//! after = "100ms"                                        # optional: so much time has passed since the step before, for `calls_per_second`
//! call = "ptrace(PTRACE_TRACEME)"
//! verdict = "ask (60 s, else errno EPERM)"
//! answer = "allow"                                       # optional: somebody allows what is asked about; nobody does without it
//! [[case.step]]
//! used = "/etc/secret"                                   # a file is opened, as it is resolved
//! rights = ["read"]                                      # optional: how; this is also what holds if it is left out
//! [[case.step]]
//! call = "read(0)"
//! verdict = "errno EPERM"
//! ```
//! The gate's own book-keeping decides ([`gate::Budgets`]). A call that comes faster than `calls_per_second` has the verdict `wait`: the gate judges it later.
use super::cases::{RuleName, rights_of, unlike};
use super::explain;
use super::paths;
use super::written;
use gate::{Budgets, Rate};
use policy::network::is_listen;
use policy::quotas::{Quota, milliseconds};
use policy::{Action, Policy, Rights};
use serde::Deserialize;

/// Ticks of 100 ns in a millisecond.
const TICKS: u64 = 10_000;

/// Something that happens in a run.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    call: Option<String>,
    verdict: Option<String>,
    rule: Option<RuleName>,
    times: Option<u32>,
    returns: Option<i64>,
    answer: Option<Answer>,
    after: Option<String>,
    used: Option<String>,
    rights: Option<Vec<String>>,
}

/// What somebody says to a question.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Allow,
    Deny,
}

impl Step {
    /// What it is about.
    pub(super) fn name(&self) -> &str {
        self.call.as_ref().or(self.used.as_ref()).map_or("a step", String::as_str)
    }
}

/// A run as far as it has come.
pub(super) struct Run<'p> {
    policy: &'p Policy,
    budgets: Budgets,
    rate: Rate,
    now_100ns: u64,
    calls: u64,
}

impl<'p> Run<'p> {
    /// Nothing has happened yet.
    pub(super) fn new(policy: &'p Policy) -> Self {
        let rate = Rate::new(policy.quotas().get(Quota::CallsPerSecond), 0);
        Self { policy, budgets: Budgets::new(policy, 0), rate, now_100ns: 0, calls: 0 }
    }

    /// Takes a step. What is not as expected.
    pub(super) fn take(&mut self, step: &Step) -> Option<String> {
        if let Some(after) = &step.after {
            match milliseconds(after) {
                Some(after) => self.now_100ns = self.now_100ns.saturating_add(after.saturating_mul(TICKS)),
                None => return Some(format!("`after` is a time, such as \"100ms\", not {after:?}")),
            }
        }
        match step {
            Step { call: Some(call), verdict: Some(verdict), used: None, rights: None, .. } => {
                self.calls(call, verdict, step)
            }
            Step {
                used: Some(path),
                rights,
                call: None,
                verdict: None,
                rule: None,
                times: None,
                returns: None,
                answer: None,
                ..
            } => self.uses(path, rights.as_deref()),
            _ => Some("a step has `call` and `verdict`, or `used`".to_owned()),
        }
    }

    fn calls(&mut self, call: &str, verdict: &str, step: &Step) -> Option<String> {
        let call = match written::read(call) {
            Ok(call) => call,
            Err(why) => return Some(why),
        };
        let times = step.times.unwrap_or(1);
        (1..=times).find_map(|nth| {
            let stated = self.call(&call, step);
            let why = unlike(self.policy, &stated, verdict, step.rule.as_ref())?;
            Some(if times == 1 { why } else { format!("the {nth}. time {why}") })
        })
    }

    /// What is said to a call, and by what.
    fn call(&mut self, call: &written::Call, step: &Step) -> String {
        if self.rate.take(self.now_100ns).is_err() {
            return format!("wait, by {}", self.policy.quotas().describe(Quota::CallsPerSecond).unwrap_or_default());
        }
        let (rules, pointed) = (self.policy.about(call.number), call.pointed());
        let mut verdict = self.budgets.decide(rules, rules.judge(&call.args, &pointed));
        let taints = rules.brings(&verdict, &call.args, || pointed);
        let is_allowed = match verdict.action {
            Action::Ask | Action::Stop => {
                step.answer == Some(Answer::Allow) && self.budgets.charge(rules.holds()).is_ok()
            }
            action => action.carries_out(),
        };
        if is_allowed {
            self.budgets.taint(taints);
            self.calls += 1;
            self.budgets.begun(self.calls, rules.holds());
            self.budgets.returned(self.calls, step.returns.unwrap_or(0));
            if let Some(address) = call.address.as_ref().filter(|_| is_listen(call.number)) {
                verdict = self.policy.may_listen(address).unwrap_or(verdict);
            }
        }
        format!("{}, by {}", explain::action(&verdict), verdict.rule())
    }

    /// A file is used.
    fn uses(&mut self, path: &str, rights: Option<&[String]>) -> Option<String> {
        if let Err(why) = paths::check(path) {
            return Some(why.to_owned());
        }
        let used = match rights.map_or(Ok(Rights::READ), rights_of) {
            Ok(used) => used,
            Err(why) => return Some(why),
        };
        let verdict = self.policy.file_rights(path.as_bytes());
        if !verdict.rights.contain(used) || used == Rights::HIDE {
            return Some(format!("it cannot be used so: {}, by {verdict}", paths::stated(verdict.rights)));
        }
        self.budgets.taint(self.policy.tainted_by(path.as_bytes(), used));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::cases::test;

    const POLICY: &str = "version = 1
default = \"allow\"
[limits]
calls_per_second = 20
[[rule]]
calls = [\"ptrace\"]
action = \"ask\"
[[budget]]
calls = [\"read\"]
count = 3
bytes = 1000
[[taint]]
calls = [\"connect\"]
when = [{ address = \"10.0.0.0/8\" }]
deny = [\"write\", \"ptrace\", \"listen\"]
[[taint]]
paths = \"/secret\"
calls = [\"ptrace\"]
deny = [\"getpid\"]
action = \"kill\"
[network]
connect = \"*\"
listen = \"127.0.0.1:80\"
[[files]]
paths = \"/hidden\"
rights = [\"hide\"]
[[files]]
default = [\"read\", \"write\"]
";

    /// What failed of the steps of a case.
    fn failed(steps: &[&str]) -> Option<String> {
        let policy = policy::parse("p", POLICY).unwrap_or_else(|error| panic!("{error}"));
        let steps: Vec<String> = steps.iter().map(|step| format!("[[case.step]]\n{step}\n")).collect();
        let (lines, failed) = test(&policy, "c", &format!("[[case]]\n{}", steps.concat())).unwrap();
        (failed == 1).then(|| lines.lines().next().unwrap_or_default().to_owned())
    }

    /// A call in a second in which there are some.
    fn call(call: &str, verdict: &str) -> String {
        format!("after = \"1s\"\ncall = '{call}'\nverdict = \"{verdict}\"")
    }

    /// `POLICIES.md` has cases for a policy that it shows.
    #[test]
    fn the_cases_in_the_document_are_as_expected() {
        let document = include_str!("../../../POLICIES.md");
        let (before, after) = document.split_once("```toml cases\n").unwrap();
        let (cases, _) = after.split_once("```").unwrap();
        let (_, policy) = before.rsplit_once("```toml\n").unwrap();
        let (policy, _) = policy.split_once("```").unwrap();
        let policy = policy::parse("p", &format!("version = 1\n{policy}")).unwrap();
        let (lines, failed) = test(&policy, "c", cases).unwrap();
        assert_eq!((failed, cases.matches("[[case]]").count()), (0, lines.lines().count() - 1), "{lines}");
    }

    #[test]
    fn budgets_are_spent_by_one_call_after_the_other() {
        let (read, spent) = (call("read(0)", "allow"), call("read(0)", "errno EDQUOT"));
        assert_eq!(failed(&[&read, &read, &read, &spent]), None);
        let why = failed(&[&read, &read, &read, &read]).unwrap();
        assert_eq!(why, "c:14: read(0) ... FAILED: step 4, read(0): errno EDQUOT, by [[budget]] p:8; wanted allow");
        let much = format!("{read}\nreturns = 1000");
        assert_eq!(failed(&[&much, &spent]), None);
        // Cases begin anew.
        assert!(failed(&[&spent]).is_some());
    }

    #[test]
    fn what_is_carried_out_taints() {
        let (near, far) = ("connect(3, \"127.0.0.1:80\")", "connect(3, \"10.0.0.1:80\")");
        let (written, denied) = (call("write(1)", "allow"), call("write(1)", "errno EPERM"));
        assert_eq!(failed(&[&call(near, "allow"), &written, &call(far, "allow"), &denied]), None);
        assert_eq!(failed(&[&call(far, "allow"), &call("ptrace(0)", "errno EPERM")]), None, "and nobody is asked");
        let listen = |port: u32, verdict| call(&format!("listen(\"127.0.0.1:{port}\")"), verdict);
        let steps = [listen(80, "allow"), listen(81, "errno EACCES"), call(far, "allow"), listen(80, "errno EPERM")];
        assert_eq!(failed(&steps.each_ref().map(String::as_str)), None);
    }

    #[test]
    fn so_do_answers_and_files() {
        let asked = call("ptrace(0)", "ask (60 s, else errno EPERM)");
        let (here, killed) = (call("getpid()", "allow"), call("getpid()", "kill") + "\nrule = 0");
        assert_eq!(failed(&[&asked, &here]), None, "nobody has answered");
        assert_eq!(failed(&[&format!("{asked}\nanswer = \"deny\""), &here]), None);
        let why = failed(&[&format!("{asked}\nanswer = \"allow\""), &killed]).unwrap();
        assert!(why.ends_with("kill, by [[taint]] p:16; wanted default"), "{why}");
        assert_eq!(failed(&["used = \"/secret\"\nrights = [\"write\"]", &here, "used = \"/other\"", &here]), None);
        assert!(failed(&["used = \"/secret\"", &here]).is_some());
        let why = failed(&["used = \"/hidden\""]).unwrap();
        assert!(
            why.contains("/hidden ... FAILED: step 1, /hidden: it cannot be used so: hide, by files entry 1"),
            "{why}"
        );
    }

    #[test]
    fn calls_that_come_too_fast_wait() {
        let many = |times, verdict| format!("call = \"getuid()\"\nverdict = \"{verdict}\"\ntimes = {times}");
        let rest = many(1, "allow").replace("call", "after = \"50ms\"\ncall");
        assert_eq!(failed(&[&many(1, "allow"), &many(2, "wait"), &rest, &many(1, "wait")]), None);
        let why = failed(&[&many(2, "allow")]).unwrap();
        assert!(why.ends_with("the 2. time wait, by [limits] p:4: calls_per_second 20; wanted allow"), "{why}");
    }

    #[test]
    fn steps_that_say_nothing_fail() {
        for step in ["call = \"read(0)\"", "used = \"/a\"\ntimes = 2", "verdict = \"allow\"", "after = \"1s\""] {
            assert!(failed(&[step]).unwrap().contains("a step has `call` and `verdict`, or `used`"), "{step}");
        }
        assert!(failed(&["used = \"a\""]).is_some() && failed(&["used = \"/a\"\nrights = [\"red\"]"]).is_some());
        assert!(failed(&[&call("raed(0)", "allow")]).unwrap().contains("did you mean `read`?"));
        assert!(failed(&["after = \"soon\"\nused = \"/a\""]).unwrap().contains("`after` is a time"));
    }
}
