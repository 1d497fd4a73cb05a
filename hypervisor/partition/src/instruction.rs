//! Lengths of the few instructions that exit without the processor telling where the next one starts.

/// An instruction whose length is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instruction {
    Cpuid,
    Rdmsr,
    Wrmsr,
    /// VMMCALL or VMCALL.
    Call,
    Hlt,
}

impl Instruction {
    /// Length without prefixes.
    pub(crate) const fn plain_length(self) -> u64 {
        match self {
            Self::Cpuid | Self::Rdmsr | Self::Wrmsr => 2,
            Self::Call => 3,
            Self::Hlt => 1,
        }
    }

    fn matches(self, opcode: &[u8]) -> bool {
        match self {
            Self::Cpuid => opcode.starts_with(&[0x0f, 0xa2]),
            Self::Rdmsr => opcode.starts_with(&[0x0f, 0x32]),
            Self::Wrmsr => opcode.starts_with(&[0x0f, 0x30]),
            Self::Call => opcode.starts_with(&[0x0f, 0x01, 0xd9]) || opcode.starts_with(&[0x0f, 0x01, 0xc1]),
            Self::Hlt => opcode.starts_with(&[0xf4]),
        }
    }

    /// Length in bytes of the instruction that `bytes` start with, prefixes included; `None` if it is another one
    /// (the guest has rewritten it since, or its page cannot be read). `long`: 64-bit code, where REX exists.
    pub(crate) fn length(self, bytes: &[u8], long: bool) -> Option<u64> {
        let prefixes = bytes.iter().take_while(|byte| is_prefix(**byte, long)).count();
        let opcode = bytes.get(prefixes..)?;
        self.matches(opcode).then_some(prefixes as u64 + self.plain_length())
    }
}

const fn is_prefix(byte: u8, long: bool) -> bool {
    match byte {
        0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3 => true,
        0x40..=0x4f => long,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::Instruction::{Call, Cpuid, Hlt, Rdmsr, Wrmsr};

    #[test]
    fn plain_prefixed_and_foreign() {
        for (instruction, bytes, long, expected) in [
            (Cpuid, &[0x0f, 0xa2, 0x90][..], true, Some(2)),
            (Cpuid, &[0xf3, 0x48, 0x0f, 0xa2], true, Some(4)),
            (Cpuid, &[0x48, 0x0f, 0xa2], false, None),
            (Rdmsr, &[0x66, 0x0f, 0x32], true, Some(3)),
            (Wrmsr, &[0x0f, 0x30], true, Some(2)),
            (Call, &[0x0f, 0x01, 0xd9], true, Some(3)),
            (Call, &[0x0f, 0x01, 0xc1, 0xc3], true, Some(3)),
            (Call, &[0x0f, 0x01, 0xca], true, None),
            (Hlt, &[0xf4], false, Some(1)),
            (Hlt, &[0x2e, 0x2e, 0xf4], false, Some(3)),
            (Hlt, &[], true, None),
            (Cpuid, &[0x0f], true, None),
            (Hlt, &[0x66; 15], true, None),
        ] {
            assert_eq!(instruction.length(bytes, long), expected, "{instruction:?} {bytes:x?}");
        }
    }
}
