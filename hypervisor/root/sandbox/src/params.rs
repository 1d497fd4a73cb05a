//! What execve would be given, as the shim reads it (`proto::ProgramParams` and the strings behind it).
use alloc::vec::Vec;
use core::fmt;

use bundle::Program;
use proto::ProgramParams;
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
}

impl fmt::Display for ParamsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "arguments and environment are longer than {MAX_LEN} bytes"),
            Self::Nul => f.write_str("an argument, an environment string, or a path has a NUL in it"),
        }
    }
}

impl core::error::Error for ParamsError {}

/// The block for `program`.
///
/// # Errors
/// [`ParamsError`].
pub fn encode(program: &Program) -> Result<Vec<u8>, ParamsError> {
    let mut strings = Vec::new();
    let list = [&program.path].into_iter().chain(&program.args).chain(&program.env).chain([&program.cwd]);
    for string in list {
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
    let header = ProgramParams {
        argc: count(program.args.len())?,
        envc: count(program.env.len())?,
        strings_len: count(strings.len())?,
        reserved: 0,
    };
    let mut block = header.as_bytes().to_vec();
    block.append(&mut strings);
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
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
        let block = encode(&program).unwrap();
        let (header, strings) = ProgramParams::read_from_prefix(&block).unwrap();
        assert_eq!((header.argc, header.envc), (3, 1));
        assert_eq!(strings, b"/bin/echo\0echo\0\0x\0A=1\0/\0");
        assert_eq!(usize::try_from(header.strings_len), Ok(strings.len()));
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        let program = Program { args: vec![b"a\0b".to_vec()], ..Program::default() };
        assert_eq!(encode(&program), Err(ParamsError::Nul));
        let program = Program { env: vec![vec![b'x'; MAX_LEN + 1]], ..Program::default() };
        assert_eq!(encode(&program), Err(ParamsError::TooLong));
    }
}
