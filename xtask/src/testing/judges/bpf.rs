//! Runs classic BPF as seccomp does (`Documentation/networking/filter.rst`, seccomp(2)): the instructions that libseccomp writes.
use std::collections::BTreeSet;

/// One instruction: `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    constant: u32,
}

/// A filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    instructions: Vec<Instruction>,
    /// Instructions that compare the accumulator after paths that have put different words into it: no compiler can have meant that.
    confused: Vec<bool>,
}

/// What a filter returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Returned {
    pub(super) value: u32,
    /// Whether it came through a confused instruction.
    pub(super) is_confused: bool,
    /// Whether it has looked at an argument. If not, it returns this whatever they are.
    pub(super) reads_arguments: bool,
}

const LOAD_WORD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
const JUMP_SET: u16 = 0x45;
const RETURN: u16 = 0x06;

/// Where in `struct seccomp_data` the arguments begin.
const ARGUMENTS: u32 = 16;

/// `AUDIT_ARCH_X86_64`.
const ARCHITECTURE: u32 = 0xc000_003e;

impl Program {
    /// Reads the bytes of a filter, written in hexadecimal digits.
    pub(super) fn of_hex(text: &str) -> Option<Self> {
        let (instructions, rest) = text.as_bytes().as_chunks::<16>();
        rest.is_empty().then_some(())?;
        let read = |digits: &[u8; 16]| {
            let bytes = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?.to_be_bytes();
            let [c0, c1, if_true, if_false, k0, k1, k2, k3] = bytes;
            let (code, constant) = (u16::from_le_bytes([c0, c1]), u32::from_le_bytes([k0, k1, k2, k3]));
            Some(Instruction { code, if_true, if_false, constant })
        };
        let instructions: Vec<Instruction> = instructions.iter().map(read).collect::<Option<_>>()?;
        let confused = confused(&instructions);
        Some(Self { instructions, confused })
    }

    /// What the filter returns for a call of an x86-64 program. `None`: it runs past its end or does what is unknown here.
    pub(super) fn run(&self, number: u32, args: &[u64; 6]) -> Option<Returned> {
        let (mut at, mut accumulator, mut is_confused, mut reads_arguments) = (0, 0, false, false);
        // Jumps go forward only, so that this ends.
        loop {
            let Instruction { code, if_true, if_false, constant } = *self.instructions.get(at)?;
            is_confused |= self.confused[at];
            at += 1;
            let holds = match code {
                RETURN => return Some(Returned { value: constant, is_confused, reads_arguments }),
                LOAD_WORD => {
                    reads_arguments |= constant >= ARGUMENTS;
                    accumulator = word(number, args, constant)?;
                    continue;
                }
                AND => {
                    accumulator &= constant;
                    continue;
                }
                JUMP => {
                    at += usize::try_from(constant).ok()?;
                    continue;
                }
                JUMP_EQUAL => accumulator == constant,
                JUMP_GREATER => accumulator > constant,
                JUMP_GREATER_OR_EQUAL => accumulator >= constant,
                JUMP_SET => accumulator & constant != 0,
                _ => return None,
            };
            at += usize::from(if holds { if_true } else { if_false });
        }
    }
}

/// Finds the comparisons that are reached with different words in the accumulator. Jumps go forward only: one pass sees all paths.
fn confused(instructions: &[Instruction]) -> Vec<bool> {
    // The words that may be in the accumulator when an instruction begins: offset and mask.
    let mut before = vec![BTreeSet::from([]); instructions.len()];
    let mut confused = vec![false; instructions.len()];
    for (at, Instruction { code, if_true, if_false, constant }) in instructions.iter().enumerate() {
        let words: BTreeSet<(u32, u32)> = std::mem::take(&mut before[at]);
        let (after, jumps) = match *code {
            LOAD_WORD => (BTreeSet::from([(*constant, u32::MAX)]), vec![0]),
            AND => (words.iter().map(|(offset, mask)| (*offset, mask & constant)).collect(), vec![0]),
            JUMP => (words, vec![usize::try_from(*constant).unwrap_or(usize::MAX)]),
            RETURN => continue,
            _ => {
                confused[at] = words.len() > 1;
                (words, vec![(*if_true).into(), (*if_false).into()])
            }
        };
        for jump in jumps {
            if let Some(words) = before.get_mut((at + 1).saturating_add(jump)) {
                words.extend(&after);
            }
        }
    }
    confused
}

/// Four bytes of `struct seccomp_data`; the instruction pointer is 0.
fn word(number: u32, args: &[u64; 6], offset: u32) -> Option<u32> {
    match offset {
        0 => Some(number),
        4 => Some(ARCHITECTURE),
        8 | 12 => Some(0),
        _ => {
            let at = usize::try_from(offset.checked_sub(ARGUMENTS)?).ok()?;
            let bytes = args.get(at / 8)?.to_le_bytes();
            let half = bytes.as_chunks::<4>().0.get(at % 8 / 4).filter(|_| at % 4 == 0)?;
            Some(u32::from_le_bytes(*half))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_run() {
        // Load the upper half of argument 1; if it is above 2, return 7, else load the number and return 9 if it is 5, else 8.
        let text = concat!(
            "200000001c000000",
            "2500020002000000",
            "2000000000000000",
            "1500010205000000",
            "0600000007000000",
            "0600000009000000",
            "0600000008000000"
        );
        let program = Program::of_hex(text).unwrap();
        let run =
            |number, argument: u64| program.run(number, &[0, argument, 0, 0, 0, 0]).map(|returned| returned.value);
        assert_eq!(run(5, 3 << 32), Some(7));
        assert_eq!((run(5, 2 << 32), run(6, u64::from(u32::MAX))), (Some(9), Some(8)));
        assert!(program.run(5, &[0; 6]).unwrap().reads_arguments);
    }

    #[test]
    fn a_word_that_depends_on_the_path_is_confusion() {
        // If the number is 1, the architecture is loaded; what is there is compared then.
        let text = "20000000000000001500000101000000200000000400000015000000050000000600000007000000";
        let run = |text: &str| Program::of_hex(text).unwrap().run(2, &[0; 6]);
        assert_eq!(run(text), Some(Returned { value: 7, is_confused: true, reads_arguments: false }));
        let same = text.replace("2000000004000000", "2000000000000000");
        assert_eq!(run(&same), Some(Returned { value: 7, is_confused: false, reads_arguments: false }));
    }

    #[test]
    fn what_is_no_filter_is_none() {
        assert_eq!(Program::of_hex("2000"), None);
        assert_eq!(Program::of_hex("ü6000000070000000"), None);
        assert_eq!(Program::of_hex("0500000000000010").unwrap().run(0, &[0; 6]), None);
        assert_eq!(Program::of_hex("2000000041000000").unwrap().run(0, &[0; 6]), None);
    }
}
