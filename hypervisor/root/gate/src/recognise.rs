//! Which instruction faulted: one that asks for a system call, or any other.
//!
//! Two bytes settle nearly every case. What they do not settle (prefixes, the 32-bit ways in) is decoded
//! by iced-x86 from at most the 15 bytes that an instruction can have.

use guestmem::{GuestMemory, bytes_in_page, read_gva};
use iced_x86::{Code, Decoder, DecoderError, DecoderOptions};

use crate::CallSite;

/// The longest instruction that the processor executes, in bytes.
pub const MAX_INSTRUCTION: usize = 15;

/// `syscall` as every compiler writes it.
const SYSCALL: [u8; 2] = [0x0f, 0x05];

/// What an instruction is to the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// `syscall`, with or without prefixes: a call of the x86-64 table.
    Syscall {
        /// Its length in bytes.
        len: u8,
    },
    /// `sysenter`: a call of the i386 table.
    Sysenter,
    /// `int 0x80`: a call of the i386 table.
    Int80,
    /// Any other, or none at all.
    Other,
    /// The bytes end before the instruction does.
    Incomplete,
}

/// The instruction at the start of `bytes`.
#[must_use]
#[inline]
pub fn recognise(bytes: &[u8]) -> Instruction {
    if bytes.starts_with(&SYSCALL) { Instruction::Syscall { len: 2 } } else { decode(bytes) }
}

/// The instruction of a fault. Bytes that the fault's message does not hold are read from the child's memory; when
/// that is not possible either, the answer is [`Instruction::Other`], or `Incomplete`.
#[inline]
pub fn at_fault(site: &CallSite<'_>, memory: &dyn GuestMemory) -> Instruction {
    if site.instruction.starts_with(&SYSCALL) {
        return Instruction::Syscall { len: 2 };
    }
    match decode(site.instruction) {
        Instruction::Incomplete => recognise(fetch(site, memory, &mut [0; MAX_INSTRUCTION])),
        known => known,
    }
}

#[cold]
fn decode(bytes: &[u8]) -> Instruction {
    let bytes = bytes.get(..MAX_INSTRUCTION).unwrap_or(bytes);
    let mut decoder = Decoder::new(64, bytes, DecoderOptions::NONE);
    let instruction = decoder.decode();
    if decoder.last_error() == DecoderError::NoMoreBytes && bytes.len() < MAX_INSTRUCTION {
        return Instruction::Incomplete;
    }
    match instruction.code() {
        Code::Syscall => match u8::try_from(instruction.len()) {
            Ok(len) => Instruction::Syscall { len },
            Err(_) => Instruction::Other,
        },
        Code::Sysenter => Instruction::Sysenter,
        Code::Int_imm8 if instruction.immediate8() == 0x80 => Instruction::Int80,
        _ => Instruction::Other,
    }
}

/// The bytes of the message and, behind them, as many from memory as can be read, page by page.
fn fetch<'b>(site: &CallSite<'_>, memory: &dyn GuestMemory, buffer: &'b mut [u8; MAX_INSTRUCTION]) -> &'b [u8] {
    let mut have = site.instruction.len().min(MAX_INSTRUCTION);
    for (to, from) in buffer.iter_mut().zip(site.instruction) {
        *to = *from;
    }
    while have < MAX_INSTRUCTION {
        let offset = u64::try_from(have).unwrap_or(0);
        let Some(address) = site.rip.checked_add(offset) else { break };
        let piece = bytes_in_page(address, MAX_INSTRUCTION - have);
        let Some(target) = buffer.get_mut(have..have + piece) else { break };
        if read_gva(memory, site.cr3, address, target).is_err() {
            break;
        }
        have += piece;
    }
    buffer.get(..have).unwrap_or(&[])
}
