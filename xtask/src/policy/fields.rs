//! Structures as traces write them, ours and strace's: `{flags=O_RDONLY, resolve=RESOLVE_BENEATH}`.
use super::written::{Scan, parts, register};
use policy::did_you_mean;
use policy::structures::{Field, Structure};

/// The bytes of a structure. Fields that are left out are 0.
pub(super) fn read(word: &str, structure: &Structure) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; structure.size()];
    for part in parts(inside(word).ok_or_else(|| wrong(word, structure))?)? {
        // What strace says of bytes that it does not know.
        if part.starts_with(['"', '.']) {
            continue;
        }
        let (name, value) = part.split_once('=').ok_or_else(|| wrong(word, structure))?;
        let field = structure.field(name.trim()).and_then(|index| structure.fields.get(usize::from(index)));
        let field = field.ok_or_else(|| unknown(name.trim(), structure))?;
        let value = value_of(value.trim(), field).map_err(|why| format!("{}: {why}", field.name))?;
        field.write(&mut bytes, value);
    }
    Ok(bytes)
}

/// What stands between the braces; behind them strace tells what has become of it.
fn inside(word: &str) -> Option<&str> {
    let mut scan = Scan::new(word);
    while let Some((at, _)) = scan.next() {
        if scan.depth == 0 && !scan.quoted {
            return word.get(..at)?.strip_prefix('{');
        }
    }
    None
}

/// A number, names, or `8192*1024`.
fn value_of(word: &str, field: &Field) -> Result<u64, String> {
    let mut value = 1_u64;
    for factor in word.split('*') {
        value = value.wrapping_mul(register(factor, field.kind)?);
    }
    let is_negative = value | field.mask() >> 1 == u64::MAX;
    if value & !field.mask() != 0 && !is_negative {
        return Err(format!("`{word}` does not fit {} bits", field.bits()));
    }
    Ok(value)
}

fn wrong(word: &str, structure: &Structure) -> String {
    format!("`{word}` is no {}; write {}", structure.name, example(structure))
}

/// How one is written.
pub(super) fn example(structure: &Structure) -> String {
    let fields = structure.fields.iter().take(2).map(|field| format!("{}=0", field.name)).collect::<Vec<_>>();
    format!("{{{}}}", fields.join(", "))
}

fn unknown(name: &str, structure: &Structure) -> String {
    let names: Vec<&str> = structure.fields.iter().map(|field| field.name).collect();
    let suggestion = did_you_mean(name, names.iter().copied());
    format!("{} has no field `{name}`{suggestion} (they are {})", structure.name, names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::structures::{CLONE_ARGS, OPEN_HOW, RLIMIT, SCHED_PARAM};

    fn words(word: &str, structure: &Structure) -> Vec<u64> {
        let bytes = read(word, structure).unwrap();
        structure.fields.iter().map(|field| field.read(&bytes).unwrap()).collect()
    }

    #[test]
    fn structures_are_read_as_traces_write_them() {
        assert_eq!(words("{flags=O_RDWR|O_CREAT, mode=0600, resolve=RESOLVE_BENEATH}", &OPEN_HOW), [0o102, 0o600, 8]);
        assert_eq!(words("{resolve=0}", &OPEN_HOW), [0; 3]);
        assert_eq!(words("{}", &OPEN_HOW), [0; 3]);
        assert_eq!(words("{flags=O_PATH, resolve=0, \"\\x01\"...}", &OPEN_HOW), [0o10_000_000, 0, 0]);
        let clone = "{flags=CLONE_VM|CLONE_PARENT_SETTID, child_tid=0x7f, parent_tid=0x80, exit_signal=SIGCHLD, stack=0x1000, stack_size=0x2000} => {parent_tid=[123]}";
        assert_eq!(words(clone, &CLONE_ARGS), [0x10_0100, 0, 0x7f, 0x80, 17, 0x1000, 0x2000, 0, 0, 0, 0]);
        assert_eq!(words("{rlim_cur=8192*1024, rlim_max=RLIM64_INFINITY}", &RLIMIT), [8 << 20, u64::MAX]);
        assert_eq!(words("{sched_priority=-1}", &SCHED_PARAM), [0xffff_ffff]);
    }

    #[test]
    fn what_is_no_structure_is_said() {
        let refused = |word: &str, why: &str| {
            let error = read(word, &OPEN_HOW).unwrap_err();
            assert!(error.contains(why), "{word}: {error}");
        };
        refused("\"x\"", "is no open_how; write {flags=0, mode=0}");
        refused("{O_RDONLY}", "is no open_how");
        refused("{flag=0}", "open_how has no field `flag`; did you mean `flags`?");
        refused("{flags=O_RDNOLY}", "flags: `O_RDNOLY` is no number");
        assert!(read("{sched_priority=4294967296}", &SCHED_PARAM).unwrap_err().contains("does not fit 32 bits"));
    }
}
