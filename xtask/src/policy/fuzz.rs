//! Whatever a policy file holds, of whichever format: it ends as a policy that compiles or as an error with a place. Seeded; the same in every run.
//! `CORDON_FUZZ=N` tries N texts of each kind instead of a few.
use super::{Container, PolicyFiles, check, json};
use std::path::Path;

/// A text of each format, from which others are made.
const SEEDS: [&str; 10] = [
    include_str!("../../../policies/default.toml"),
    "version = 1\ndefault = \"ask\"\n[[rule]]\ncalls = [\"openat\", \"@network-io\"]\naction = { ask = { limit = \"30s\", otherwise = { errno = \"EACCES\" } } }\n[[rule]]\ncalls = [\"mount\"]\nwhen = [{ arg = 2, string = \"tmpfs\" }]\naction = { ask = { limit = 5, otherwise = \"kill\" } }\n[[rule]]\ncalls = [\"ptrace\"]\naction = \"stop\"\n[[rule]]\ncalls = [\"rename\"]\naction = { stop = { otherwise = \"allow\" } }\n",
    "version = 1\ndefault = { kill = \"process\" }\n[[rule]]\ncalls = [\"connect\", \"sendmsg\"]\nwhen = [{ address = [\"127.0.0.0/8:80\", \"[::1]:8000-8999\", \"a.example:443\", \"unix:/run/**\", \"AF_NETLINK\"], not = true }]\naction = \"trap\"\n[[rule]]\ncalls = [\"write\", \"sendmsg\"]\nwhen = [{ contains = [\"key\", { hex = \"00 ff\" }] }, { prefix = \"GET \", not = true }]\naction = \"kill\"\n[[rule]]\ncalls = [\"openat\"]\nwhen = [{ arg = 1, path = [\"/etc/[a-c]*\", \"/root/**\"] }]\naction = { rewrite = [{ arg = 2, mask = \"O_RDWR|O_CLOEXEC\" }, { arg = 1, path = \"/srv/fake\" }] }\n[hosts]\n\"a.example\" = [\"10.0.0.1\"]\n[process]\nargs = [\"/bin/app\"]\ncwd = \"/srv\"\nuid = 1000\ngroups = [4]\numask = 0o027\nclock = { offset = \"-30d\" }\nrlimit = { nofile = [256, 1024], core = 0 }\nenv = { allow = [\"LC_*\"], set = { LANG = \"C\" }, unset = [\"HOME\"] }\n[root]\npath = \"rootfs\"\n[[bind]]\nhost = \"data\"\nat = \"/data\"\nmode = \"ro\"\nexcept = [\"secret\"]\n",
    "version = 1\n[network]\nconnect = [\"127.0.0.0/8:80\", \"[fe80::/10]:1-9\", \"unix:@x*\", \"a.example:53\"]\nbind = []\nlisten = \"*\"\naction = \"kill\"\n[hosts]\n\"a.example\" = [\"10.0.0.1\", \"::1\"]\n[limits]\nmemory = \"64M\"\nprocesses = 16\nthreads = 32\nopen_files = 64\nbytes_written = 10_000\ncpu = \"500ms\"\nwall = 30\ncalls_per_second = 1_000\n[[budget]]\ncalls = [\"@network-io\", \"read\"]\ncount = 100\nbytes = 1_000_000\naction = { errno = \"EDQUOT\" }\nreason = \"enough\"\n[[budget]]\ncalls = [3]\nbytes = 0\n[[taint]]\npaths = [\"/etc/secret*\", \"/a/**\"]\nrights = [\"read\", \"write\"]\ndeny = [\"@network-io\", \"dup\"]\naction = \"kill\"\nreason = \"seen\"\n[[rule]]\ncalls = [\"connect\", \"listen\"]\naction = \"allow\"\n[events]\nwhen_full = \"drop\"\n",
    "version = 1\n[[files]]\npaths = [\"/etc/shadow*\", \"/root/**\", \"**/*.key\"]\nrights = [\"hide\"]\nreason = \"secrets\"\n[[files]]\npaths = \"/tmp/[a-f]?/**\"\nrights = [\"read\", \"write\", \"create\", \"delete\", \"execute\", \"list\"]\n[[files]]\ndefault = [\"read\", \"list\"]\nreason = \"the rest\"\n",
    "{\"version\": 1, \"rule\": [{\"calls\": [\"read\", 3], \"action\": {\"errno\": \"EPERM\"}, \"when\": [{\"arg\": 0, \"op\": \"==\", \"value\": 3}]}]}",
    "{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"defaultErrnoRet\": 1, \"archMap\": [], \"syscalls\": [{\"names\": [\"socket\", \"clone\"], \"action\": \"SCMP_ACT_ALLOW\", \"args\": [{\"index\": 0, \"value\": 2114060288, \"valueTwo\": 0, \"op\": \"SCMP_CMP_MASKED_EQ\"}], \"includes\": {\"caps\": [\"CAP_SYS_ADMIN\"], \"minKernel\": \"4.8\"}, \"excludes\": {}}]}",
    "{\"ociVersion\": \"1.0.2\", \"process\": {\"args\": [\"sh\"]}, \"linux\": {\"seccomp\": {\"defaultAction\": \"SCMP_ACT_KILL\", \"syscalls\": [{\"name\": \"read\", \"action\": \"SCMP_ACT_LOG\"}]}}}",
    "# x\nread: 1\nopen: arg1 == 32768 || arg1 & O_CREAT && arg2 in ~(1|0x2); return EBADF\nsocket[arch=x86_64]: { arg0 == AF_UNIX: allow, return 1 }\n@default log\n@include x\n",
    "[Service]\nSystemCallFilter=@basic-io chown:EPERM\nSystemCallFilter=~@chown dup:ENOSYS\nSystemCallErrorNumber=EPERM\n",
];
/// Pieces that are put into texts.
const PIECES: [&str; 32] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    ",",
    ":",
    "=",
    "\n",
    "\\",
    "-1",
    "18446744073709551615",
    "1e9",
    "null",
    "ü",
    "\u{0}",
    "arg0 & ",
    "||",
    "@include ",
    "((((((((((((((((((",
    "[[rule]]\n",
    "[[budget]]\n",
    "[[taint]]\n",
    "[[files]]\n",
    "/**/",
    "[network]\n",
    "[limits]\n",
    "ms",
    "G\"",
    "[events]\n",
    "include = [\"x\"]\n",
    "SystemCallFilter=",
];

/// Numbers that look random, from a seed other than 0.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// One of several.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// A number below `bound` (xorshift64*, Vigna 2016).
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % bound
    }
}

fn changed(seed: &str, random: &mut Random) -> Vec<u8> {
    let mut bytes = seed.as_bytes().to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let until = (at + random.below(20)).min(bytes.len());
        match random.below(6) {
            0 => bytes.insert(at, u8::try_from(random.below(256)).unwrap()),
            1 => drop(bytes.drain(at..until)),
            2 => bytes.truncate(at),
            3 => {
                let part = bytes[at..until].to_vec();
                bytes.splice(at..at, part);
            }
            _ => drop(bytes.splice(at..at, PIECES[random.below(PIECES.len())].bytes())),
        }
    }
    bytes
}

/// Whether it was a policy.
fn read(bytes: &[u8]) -> bool {
    let policy = PolicyFiles::of_bytes(Path::new("/nonexistent/f"), "f", bytes, &Container::default());
    let why = match policy {
        Ok(policy) => match policy.compiled() {
            Ok(_) => {
                let read_again = check::check(&policy).and_then(|_| policy.flat()).map_err(|why| why.to_string());
                let read_again = read_again.and_then(|text| json::of_toml(&text));
                assert!(read_again.is_ok(), "{read_again:?} for {:?}", String::from_utf8_lossy(bytes));
                return true;
            }
            Err(why) => why.to_string(),
        },
        Err(why) => why,
    };
    let mut parts = why.split(':');
    let is_placed = parts.next() == Some("f")
        && parts.by_ref().take(2).all(|number| number.parse::<u32>().is_ok_and(|number| number > 0));
    assert!(is_placed, "{why:?} for {:?}", String::from_utf8_lossy(bytes));
    false
}

#[test]
fn damaged_files_of_every_format() {
    let count = std::env::var("CORDON_FUZZ").ok().and_then(|count| count.parse().ok()).unwrap_or(400);
    let damage = |(nth, seed): (u64, &str)| {
        let mut random = Random(0x9e37_79b9_7f4a_7c15 + nth);
        let good = (0..count).filter(|_| read(&changed(seed, &mut random))).count();
        assert!(good < count, "none of them was damaged");
    };
    std::thread::scope(|scope| {
        for each in (0..).zip(SEEDS) {
            scope.spawn(move || damage(each));
        }
    });
}

#[test]
fn undamaged_files_are_policies() {
    for seed in SEEDS {
        // There is nothing to include here.
        assert!(read(seed.replace("@include x\n", "").as_bytes()), "{seed}");
    }
}
