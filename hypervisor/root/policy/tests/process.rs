//! `[process]`: what is read, how files come together, and what is refused where.
use policy::environment::Said;
use policy::process::{Limit, MAX_GROUPS};
use policy::{File, parse, parse_files};

const WHOLE: &str = "version = 1
[process]
args = [\"/bin/app\", \"\"]
cwd = \"/srv\"
uid = 1000
gid = 4294967294
groups = [4, 24]
umask = 0o027
hostname = \"box\"
domainname = \"example.org\"
no_new_privileges = true
clock = { offset = \"-30d\" }
rlimit = { nofile = [256, \"unlimited\"], core = 0 }
env = { allow = [\"LC_*\", \"TERM\"], set = { LANG = \"C\", A_KEY = \"\" }, unset = [\"HOME\", \"LC_ALL\", \"*_KEY\"], pass = [\"TZ\", \"GIT_*_NAME\"] }
";

#[test]
fn everything_can_be_said() {
    let policy = parse("dir/p.toml", WHOLE).unwrap();
    let process = policy.process();
    assert_eq!(process.args.as_deref(), Some(["/bin/app".to_owned(), String::new()].as_slice()));
    assert_eq!((process.uid, process.gid, process.umask), (Some(1000), Some(u32::MAX - 1), Some(0o27)));
    assert_eq!(process.groups.as_deref(), Some([4, 24].as_slice()));
    assert_eq!((process.hostname.as_deref(), process.domainname.as_deref()), (Some("box"), Some("example.org")));
    assert_eq!((process.clock_offset, process.no_new_privileges), (Some(-30 * 24 * 3600), Some(true)));
    let limits: Vec<(u32, Limit)> = process.limits.clone().into_iter().collect();
    assert_eq!(limits, [(4, Limit { soft: 0, hard: 0 }), (7, Limit { soft: 256, hard: u64::MAX })]);
    let env = &process.env;
    assert_eq!(
        (process.place("cwd"), env.place(b"HOME"), env.place(b"X")),
        (Some("p.toml:4"), Some("p.toml:14"), Some("p.toml:14"))
    );
    let said = |names: &[&'static str]| names.iter().map(|name| env.of(name.as_bytes())).collect::<Vec<_>>();
    assert_eq!(said(&["LANG", "A_KEY"]), [Said::Set("C"), Said::Set("")]);
    assert_eq!(said(&["LC_TIME", "TERM"]), [Said::Allowed; 2]);
    assert_eq!(said(&["LC_ALL", "HOME", "B_KEY", "_KEY"]), [Said::Unset; 4]);
    assert_eq!(said(&["TZ", "GIT_AUTHOR_NAME"]), [Said::Passed; 2]);
    assert_eq!(said(&["TERMINAL", "PATH", "GIT_NAME", "KEY", "LC"]), [Said::NotAllowed; 5]);
    assert_eq!(env.values().collect::<Vec<_>>(), [("A_KEY", ""), ("LANG", "C")]);
}

#[test]
fn where_something_is_said_is_not_what_is_said() {
    let policy = |text: &str| parse("p", text).unwrap();
    let moved = WHOLE.replace("version = 1\n", "version = 1\n# moved\n");
    assert_eq!(policy(WHOLE).process(), policy(&moved).process());
    assert_ne!(policy(WHOLE).process(), policy(&WHOLE.replace("\"TZ\"", "\"TX\"")).process());
}

#[test]
fn what_is_stated_first_holds() {
    let first = "version = 1\ninclude = [\"b\"]\n[process]\nuid = 5\nrlimit = { core = 1 }\nenv = { set = { A = \"1\" }, unset = [\"B\", \"E_*\"] }\n";
    let second = "version = 1\n[process]\nuid = 6\ngid = 7\nrlimit = { core = 2, cpu = 3 }\nenv = { set = { A = \"4\", B = \"2\", C = \"3\", E_X = \"5\" }, unset = [\"A*\"], pass = [\"E_*\"], allow = [] }\n";
    let file = |name, text| File::new(name, text);
    let policy = parse_files(&[file("a", first), file("b", second)]).unwrap();
    let process = policy.process();
    assert_eq!((process.uid, process.gid), (Some(5), Some(7)));
    assert_eq!(
        (process.place("uid"), process.place("gid"), process.env.place(b"C")),
        (Some("a:4"), Some("b:4"), Some("b:6"))
    );
    let env = &process.env;
    assert_eq!(env.values().collect::<Vec<_>>(), [("A", "1"), ("C", "3")]);
    assert_eq!((env.of(b"B"), env.of(b"D"), env.of(b"E_X")), (Said::Unset, Said::NotAllowed, Said::Unset));
    let hard: Vec<_> = process.limits.values().map(|limit| limit.hard).collect();
    assert_eq!(hard, [3, 1]);
}

#[test]
fn what_cannot_be_is_refused_with_its_place() {
    let long = format!("\"{}\"", "x".repeat(65));
    let many = format!("[{}]", vec!["1"; MAX_GROUPS + 1].join(","));
    for (line, column, why) in [
        ("argv = []", 1, "unknown key `argv`; did you mean `args`?"),
        ("args = []", 8, "`args` names no program"),
        ("args = [\"\"]", 8, "`args` names no program"),
        ("args = [\"a\", 3]", 14, "`args` must be the program"),
        ("args = [\"a\\u0000\"]", 9, "has a NUL in it"),
        ("cwd = \"srv\"", 7, "`cwd` must be an absolute path"),
        ("uid = 4294967295", 7, "`uid` must be a number from 0 to 4294967294"),
        ("gid = -1", 7, "`gid` must be a number"),
        ("gid = \"users\"", 7, "`gid` must be a number"),
        ("groups = [1, 5000000000]", 14, "`groups` must be a number"),
        (&format!("groups = {many}"), 75, "more than 32 groups"),
        ("umask = 0o1000", 9, "`umask` must be permission bits"),
        ("hostname = \"\"", 12, "`hostname` has 1 to 64 bytes"),
        (&format!("domainname = {long}"), 14, "`domainname` has 1 to 64 bytes"),
        ("no_new_privileges = 1", 21, "`no_new_privileges` must be true or false"),
        ("clock = \"-30d\"", 9, "`clock` must be { offset"),
        ("clock = {}", 9, "`clock` has no `offset`"),
        ("clock = { offset = \"30 days\" }", 20, "`offset` must be seconds, or a text"),
        ("clock = { offset = \"9223372036854775807w\" }", 20, "`offset` must be seconds, or a text"),
        ("clock = { offset = \"5201d\", zone = 1 }", 29, "unknown key `zone`"),
        ("clock = { offset = \"-5300w\" }", 20, "a hundred years at most"),
        ("rlimit = { files = 1 }", 12, "`files` is no resource limit"),
        ("rlimit = { nofile = [2, 1] }", 21, "the soft limit of `nofile` is above its hard one"),
        ("rlimit = { nofile = [\"unlimited\", 1] }", 21, "is above its hard one"),
        ("rlimit = { nofile = [1] }", 21, "`nofile` must be a number, \"unlimited\", or [soft, hard]"),
        ("rlimit = { nofile = -1 }", 21, "`nofile` must be a number"),
        ("rlimit = { nofile = \"many\" }", 21, "`nofile` must be a number"),
        ("env = { set = { \"A=B\" = \"\" } }", 17, "no name of a variable"),
        ("env = { set = { A = 1 } }", 21, "`A` must be a text"),
        ("env = { set = { A = \"\" }, unset = [\"A\"] }", 36, "`A` is here twice"),
        ("env = { unset = [\"A*\"], pass = [\"A*\"] }", 33, "`A*` is here twice"),
        ("env = { unset = [\"\"] }", 18, "no name of a variable"),
        ("env = { pass = [\"A=*\"] }", 17, "no name of a variable"),
        ("env = { pass = { A = \"\" } }", 16, "`pass` must be an array"),
        ("env = { passed = [] }", 9, "did you mean `pass`?"),
        ("env = { allow = \"A\" }", 17, "`allow` must be an array"),
        ("env = []", 7, "`env` must be a table"),
    ] {
        let error = parse("p", &format!("version = 1\n[process]\n{line}\n")).unwrap_err();
        assert_eq!((error.line, error.column), (3, column), "{line}: {error}");
        assert!(error.message.contains(why), "{line}: {error}");
    }
    assert!(parse("p", "version = 1\nprocess = 3\n").unwrap_err().to_string().starts_with("p:2:11: `process` must be"));
}
