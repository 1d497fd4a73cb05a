//! What execve would be given, as the shim reads it (`proto::ProgramParams` and the strings behind it).
use alloc::vec::Vec;
use core::fmt;

use bundle::{Bind, BindMode, Program, RunConfig};
use proto::{LIMITS, MAX_GROUPS, ProgramParams, READ_ONLY_FOLDER, WRITABLE_FOLDER};
use zerocopy::IntoBytes;

/// Largest block of parameters, in bytes: Linux' limit for arguments and environment (a quarter of an 8 MiB stack).
pub const MAX_LEN: usize = 2 << 20;

/// Why parameters cannot be handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamsError {
    /// The strings are longer than [`MAX_LEN`].
    TooLong,
    /// A string has a NUL in it.
    Nul,
    /// More supplementary groups than [`MAX_GROUPS`].
    Groups,
    /// There is no such resource limit.
    Limit(u32),
}

impl fmt::Display for ParamsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "arguments and environment are longer than {MAX_LEN} bytes"),
            Self::Nul => f.write_str("an argument, an environment string, or a path has a NUL in it"),
            Self::Groups => write!(f, "more than {MAX_GROUPS} supplementary groups"),
            Self::Limit(kind) => write!(f, "there is no resource limit {kind}"),
        }
    }
}

impl core::error::Error for ParamsError {}

/// The block for `program` in a process of the run's setting, which sees the run's folders.
///
/// # Errors
/// [`ParamsError`].
pub fn encode(program: &Program, run: &RunConfig) -> Result<Vec<u8>, ParamsError> {
    let setting = &run.setting;
    let folders: Vec<Vec<u8>> = run.binds.iter().map(folder).collect();
    let mut strings = Vec::new();
    let list = [&program.path].into_iter().chain(&program.args).chain(&program.env).chain([&program.cwd]);
    let names = [setting.hostname.as_bytes(), setting.domainname.as_bytes()];
    for string in list.map(Vec::as_slice).chain(names).chain(folders.iter().map(Vec::as_slice)) {
        if string.contains(&0) {
            return Err(ParamsError::Nul);
        }
        strings.extend_from_slice(string);
        strings.push(0);
        if strings.len() > MAX_LEN {
            return Err(ParamsError::TooLong);
        }
    }
    let count = |n: usize| u32::try_from(n).map_err(|_| ParamsError::TooLong);
    let mut header = ProgramParams {
        argc: count(program.args.len())?,
        envc: count(program.env.len())?,
        strings_len: count(strings.len())?,
        umask: setting.umask,
        group_count: count(setting.groups.len())?,
        stated_limits: 0,
        groups: [0; MAX_GROUPS],
        limits: [[0; 2]; LIMITS],
    };
    header.groups.get_mut(..setting.groups.len()).ok_or(ParamsError::Groups)?.copy_from_slice(&setting.groups);
    for &(kind, soft, hard) in &setting.limits {
        let slot = usize::try_from(kind).ok().and_then(|kind| header.limits.get_mut(kind));
        *slot.ok_or(ParamsError::Limit(kind))? = [soft, hard];
        header.stated_limits |= 1 << kind;
    }
    let mut block = header.as_bytes().to_vec();
    block.append(&mut strings);
    Ok(block)
}

/// A folder of the host as the shim reads of it.
fn folder(bind: &Bind) -> Vec<u8> {
    let mode = if bind.mode == BindMode::ReadOnly { READ_ONLY_FOLDER } else { WRITABLE_FOLDER };
    [&[mode], bind.at.as_slice()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use bundle::Setting;
    use zerocopy::FromBytes;

    #[test]
    fn strings_follow_in_order() {
        let program = Program {
            path: b"/bin/echo".to_vec(),
            args: vec![b"echo".to_vec(), b"".to_vec(), b"x".to_vec()],
            env: vec![b"A=1".to_vec()],
            cwd: b"/".to_vec(),
            ..Program::default()
        };
        let setting = Setting { groups: vec![4, 5], limits: vec![(7, 1, 2)], ..Setting::default() };
        let bind = |at: &[u8], mode| Bind { at: at.to_vec(), mode, ..Bind::default() };
        let binds = vec![bind(b"/mnt", BindMode::ReadOnly), bind(b"/a b", BindMode::CopyOnWrite)];
        let run = RunConfig { setting, binds, ..RunConfig::default() };
        let block = encode(&program, &run).unwrap();
        let (header, strings) = ProgramParams::read_from_prefix(&block).unwrap();
        assert_eq!((header.argc, header.envc), (3, 1));
        assert_eq!(strings, b"/bin/echo\0echo\0\0x\0A=1\0/\0cordon\0(none)\0r/mnt\0w/a b\0");
        assert_eq!((header.umask, header.group_count, &header.groups[..3]), (0o22, 2, [4, 5, 0].as_slice()));
        assert_eq!((header.stated_limits, header.limits[7]), (1 << 7, [1, 2]));
        assert_eq!(usize::try_from(header.strings_len), Ok(strings.len()));
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        let program = Program { args: vec![b"a\0b".to_vec()], ..Program::default() };
        let of = |setting: Setting| RunConfig { setting, ..RunConfig::default() };
        let none = RunConfig::default();
        assert_eq!(encode(&program, &none), Err(ParamsError::Nul));
        let many = of(Setting { groups: vec![0; MAX_GROUPS + 1], ..Setting::default() });
        assert_eq!(encode(&Program::default(), &many), Err(ParamsError::Groups));
        let unknown = of(Setting { limits: vec![(16, 0, 0)], ..Setting::default() });
        assert_eq!(encode(&Program::default(), &unknown), Err(ParamsError::Limit(16)));
        let program = Program { env: vec![vec![b'x'; MAX_LEN + 1]], ..Program::default() };
        assert_eq!(encode(&program, &none), Err(ParamsError::TooLong));
    }
}
