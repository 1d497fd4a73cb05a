//! The memory functions that compiled code calls, and the personality that the prebuilt `core` names.
//!
//! They are written in assembly because a loop in Rust may be compiled into a call of the very function that
//! it implements. They copy by 16 bytes through XMM registers: under emulation that is many times faster than
//! the string instructions, and on processors it is no slower for the sizes met here.

use core::arch::naked_asm;

/// Copies `n` bytes that do not overlap. C's `memcpy`.
///
/// # Safety
/// `src` must be readable and `dest` writable for `n` bytes.
#[unsafe(naked)]
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn memcpy(dest: *mut u8, src: *const u8, n: usize) -> *mut u8 {
    naked_asm!(
        "mov rax, rdi",
        "cmp rdx, 16",
        "jb 3f",
        // The last 16 bytes are taken now and stored at the end: no tail loop.
        "movups xmm1, [rsi + rdx - 16]",
        "lea r8, [rdi + rdx - 16]",
        // 64 bytes at a time while there are more than 80.
        "lea r9, [r8 - 64]",
        "cmp rdx, 80",
        "jbe 2f",
        "8:",
        "movups xmm2, [rsi]",
        "movups xmm3, [rsi + 16]",
        "movups xmm4, [rsi + 32]",
        "movups xmm5, [rsi + 48]",
        "movups [rdi], xmm2",
        "movups [rdi + 16], xmm3",
        "movups [rdi + 32], xmm4",
        "movups [rdi + 48], xmm5",
        "add rsi, 64",
        "add rdi, 64",
        "cmp rdi, r9",
        "jb 8b",
        "2:",
        "cmp rdi, r8",
        "jae 4f",
        "movups xmm0, [rsi]",
        "movups [rdi], xmm0",
        "add rsi, 16",
        "add rdi, 16",
        "jmp 2b",
        "4:",
        "movups [r8], xmm1",
        "ret",
        // Below 16 bytes: two moves that may overlap each other.
        "3:",
        "cmp edx, 8",
        "jb 5f",
        "mov r8, [rsi]",
        "mov r9, [rsi + rdx - 8]",
        "mov [rdi], r8",
        "mov [rdi + rdx - 8], r9",
        "ret",
        "5:",
        "cmp edx, 4",
        "jb 6f",
        "mov r8d, [rsi]",
        "mov r9d, [rsi + rdx - 4]",
        "mov [rdi], r8d",
        "mov [rdi + rdx - 4], r9d",
        "ret",
        "6:",
        "test edx, edx",
        "jz 7f",
        // 1 to 3 bytes: first, middle, last.
        "movzx r8d, byte ptr [rsi]",
        "movzx r9d, byte ptr [rsi + rdx - 1]",
        "mov rcx, rdx",
        "shr rcx, 1",
        "movzx r10d, byte ptr [rsi + rcx]",
        "mov [rdi], r8b",
        "mov [rdi + rcx], r10b",
        "mov [rdi + rdx - 1], r9b",
        "7:",
        "ret",
    )
}

/// Copies `n` bytes that may overlap. C's `memmove`.
///
/// # Safety
/// `src` must be readable and `dest` writable for `n` bytes.
#[unsafe(naked)]
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn memmove(dest: *mut u8, src: *const u8, n: usize) -> *mut u8 {
    naked_asm!(
        // Forwards is right unless dest lies inside the source (unsigned distance below n). memcpy above reads
        // the last 16 bytes before it writes any, and below 16 bytes it reads all first.
        "mov rax, rdi",
        "mov rcx, rdi",
        "sub rcx, rsi",
        "cmp rcx, rdx",
        "jae {memcpy}",
        "cmp rdx, 16",
        "jb {memcpy}",
        // Backwards, with the first 16 bytes taken now and stored at the end.
        "movups xmm1, [rsi]",
        "lea r8, [rdx - 16]",
        "2:",
        "test r8, r8",
        "jle 4f",
        "movups xmm0, [rsi + r8]",
        "movups [rdi + r8], xmm0",
        "sub r8, 16",
        "jmp 2b",
        "4:",
        "movups [rdi], xmm1",
        "ret",
        memcpy = sym memcpy,
    )
}

/// Fills `n` bytes. C's `memset`.
///
/// # Safety
/// `dest` must be writable for `n` bytes.
#[unsafe(naked)]
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn memset(dest: *mut u8, byte: i32, n: usize) -> *mut u8 {
    naked_asm!(
        "mov rax, rdi",
        "movzx esi, sil",
        "mov r8, 0x0101010101010101",
        "imul rsi, r8",
        "cmp rdx, 16",
        "jb 3f",
        "movq xmm0, rsi",
        "punpcklqdq xmm0, xmm0",
        "lea r8, [rdi + rdx - 16]",
        // 64 bytes at a time while there are more than 80.
        "lea r9, [r8 - 64]",
        "cmp rdx, 80",
        "jbe 2f",
        "8:",
        "movups [rdi], xmm0",
        "movups [rdi + 16], xmm0",
        "movups [rdi + 32], xmm0",
        "movups [rdi + 48], xmm0",
        "add rdi, 64",
        "cmp rdi, r9",
        "jb 8b",
        "2:",
        "cmp rdi, r8",
        "jae 4f",
        "movups [rdi], xmm0",
        "add rdi, 16",
        "jmp 2b",
        "4:",
        "movups [r8], xmm0",
        "ret",
        "3:",
        "cmp edx, 8",
        "jb 5f",
        "mov [rdi], rsi",
        "mov [rdi + rdx - 8], rsi",
        "ret",
        "5:",
        "test edx, edx",
        "jz 6f",
        "mov [rdi], sil",
        "inc rdi",
        "dec edx",
        "jmp 5b",
        "6:",
        "ret",
    )
}

/// Compares `n` bytes. C's `memcmp`.
///
/// # Safety
/// Both must be readable for `n` bytes.
#[unsafe(naked)]
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, n: usize) -> i32 {
    naked_asm!(
        // Eight at a time while they are equal, then byte by byte.
        "2:",
        "cmp rdx, 8",
        "jb 3f",
        "mov r8, [rdi]",
        "cmp r8, [rsi]",
        "jne 3f",
        "add rdi, 8",
        "add rsi, 8",
        "sub rdx, 8",
        "jmp 2b",
        "3:",
        "xor eax, eax",
        "4:",
        "test rdx, rdx",
        "jz 5f",
        "movzx eax, byte ptr [rdi]",
        "movzx ecx, byte ptr [rsi]",
        "sub eax, ecx",
        "jnz 5f",
        "inc rdi",
        "inc rsi",
        "dec rdx",
        "jmp 4b",
        "5:",
        "ret",
    )
}

/// Whether `n` bytes differ. The compiler calls it where the order does not matter.
///
/// # Safety
/// Both must be readable for `n` bytes.
#[unsafe(naked)]
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, n: usize) -> i32 {
    naked_asm!("jmp {memcmp}", memcmp = sym memcmp)
}

/// Length of a zero-terminated string. C's `strlen`; `core::ffi::CStr` calls it.
///
/// # Safety
/// There must be a zero, and all bytes up to it readable.
#[unsafe(naked)]
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    naked_asm!("mov rax, -1", "2:", "inc rax", "cmp byte ptr [rdi + rax], 0", "jne 2b", "ret",)
}

/// Named by the unwind tables of the prebuilt `core`. Nothing unwinds: a panic ends the image.
#[cfg(not(test))]
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// Landing pads of the prebuilt `alloc` name it. Nothing unwinds in an image (`panic = "abort"`), so none is ever entered.
#[cfg(not(test))]
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    crate::halt()
}

#[cfg(test)]
mod tests {
    //! Against the safe operations of the standard library, for all small lengths and distances.
    #![allow(clippy::undocumented_unsafe_blocks, reason = "every range below lies in a buffer of `SIZE` bytes")]

    use super::*;
    use std::vec::Vec;

    const SIZE: usize = 180;
    const LONGEST: usize = 150;
    const FARTHEST: usize = 20;

    fn noise(seed: usize) -> Vec<u8> {
        let mut state = u32::try_from(seed).expect("small").wrapping_mul(2_654_435_761) | 1;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_le_bytes()[2]
        };
        (0..SIZE).map(next).collect()
    }

    fn for_all(mut check: impl FnMut(usize, usize, usize)) {
        for len in 0..LONGEST {
            for from in 0..FARTHEST {
                for to in 0..FARTHEST {
                    check(len, from, to);
                }
            }
        }
    }

    #[test]
    fn copying() {
        for_all(|len, from, to| {
            let source = noise(len + from);
            let (mut expected, mut found) = (noise(to), noise(to));
            expected[to..to + len].copy_from_slice(&source[from..from + len]);
            let target = unsafe { found.as_mut_ptr().add(to) };
            assert_eq!(unsafe { memcpy(target, source.as_ptr().add(from), len) }, target);
            assert_eq!(found, expected, "{len} bytes from {from} to {to}");
        });
    }

    #[test]
    fn moving() {
        for_all(|len, from, to| {
            let (mut expected, mut found) = (noise(len), noise(len));
            expected.copy_within(from..from + len, to);
            let start = found.as_mut_ptr();
            unsafe { memmove(start.add(to), start.add(from), len) };
            assert_eq!(found, expected, "{len} bytes from {from} to {to}");
        });
    }

    #[test]
    fn filling() {
        for_all(|len, byte, to| {
            let (mut expected, mut found) = (noise(len), noise(len));
            expected[to..to + len].fill(u8::try_from(byte).expect("small"));
            let value = i32::try_from(byte | 0x5500).expect("small");
            unsafe { memset(found.as_mut_ptr().add(to), value, len) };
            assert_eq!(found, expected, "{len} bytes of {byte} to {to}");
        });
    }

    #[test]
    fn comparing() {
        for_all(|len, from, change| {
            let left = noise(len);
            let mut right = left.clone();
            if change < len {
                right[from + change] ^= 0x80;
            }
            let (a, b) = (&left[from..from + len], &right[from..from + len]);
            let order = unsafe { memcmp(a.as_ptr(), b.as_ptr(), len) };
            assert_eq!(order.cmp(&0), a.cmp(b), "{len} bytes from {from}, changed at {change}");
            assert_eq!(unsafe { bcmp(a.as_ptr(), b.as_ptr(), len) } == 0, a == b);
        });
    }

    #[test]
    fn measuring() {
        for text in [c"", c"a", c"cordon"] {
            assert_eq!(unsafe { strlen(text.as_ptr().cast()) }, text.count_bytes());
        }
    }
}
