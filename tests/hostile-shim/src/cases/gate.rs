//! Ring 3 at the gate, under a shim that lies: system calls by every instruction and from odd places, with pointers into page
//! tables that make no sense, and with grants and results that were never given.
//!
//! The runner turns the trace on, so that the root reads what pointers lead to.

use core::mem::offset_of;

use proto::{CallResult, GatePage, Grant};

use super::ring3::{CODE_VA, INT3, Space, USER, user};
use crate::Shim;
use crate::cpu::{self, GRANTED};
use crate::memory::{self, PAGE};
use crate::report::Tally;
use crate::rng::Rng;

/// The last page below the non-canonical hole.
const LAST_VA: u64 = 0x7fff_ffff_f000;
const SYSCALL: [u8; 2] = [0x0f, 0x05];
const GETPID: u64 = 39;
const OPENAT: u64 = 257;
const WRITEV: u64 = 20;

pub(super) fn run(shim: &mut Shim) {
    let space = Space::enter(shim);
    grants(shim, &space);
    instructions(shim, &space);
    edges(shim, &space);
    pointers(shim, &space);
    every_number(shim, &space);
    results(shim, &space);
}

fn grant(shim: &Shim) -> Grant {
    memory::read(shim.info.gate_gpa + offset_of!(GatePage, grant) as u64)
}

/// Each grant is the root's own, whatever the page said before.
fn grants(shim: &mut Shim, space: &Space) {
    let mut tally = Tally::new();
    space.put(0, &SYSCALL);
    let at = shim.info.gate_gpa + offset_of!(GatePage, grant) as u64;
    for sequence in 1..=50 {
        let forged = Grant {
            sequence: u64::MAX - sequence,
            number: 59,
            args: [u64::MAX; 6],
            flags: u64::MAX,
            fetch: 1,
            recall: u64::MAX,
        };
        memory::write(at, zerocopy::IntoBytes::as_bytes(&forged));
        let arguments = [1, 2, 3, 4, 5, sequence];
        tally.expect(user(CODE_VA, GETPID | 0xffff << 32, arguments).vector, GRANTED, "getpid");
        let grant = grant(shim);
        tally.expect((grant.sequence, grant.number, grant.fetch), (sequence, GETPID, 0), "the grant");
        tally.expect(grant.args, arguments, "its arguments");
    }
    shim.report("gate: grants", &tally);
}

/// Everything that is a system call to some processor, and much that is not.
fn instructions(shim: &mut Shim, space: &Space) {
    let mut tally = Tally::new();
    let cases: [(&[u8], u64); 18] = [
        (&[0x0f, 0x05], GRANTED),
        (&[0x48, 0x0f, 0x05], GRANTED),
        (&[0x66, 0x0f, 0x05], GRANTED),
        (&[0x2e, 0x66, 0x67, 0x48, 0x0f, 0x05], GRANTED),
        (&[0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x0f, 0x05], GRANTED),
        (&[0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x0f, 0x05], cpu::GP),
        (&[0xf0, 0x0f, 0x05], cpu::UD),
        (&[0x0f, 0x34], cpu::UD),
        (&[0xcd, 0x80], cpu::GP),
        (&[0xcd, 0x81], cpu::GP),
        (&[0x0f, 0x0b], cpu::UD),
        (&[0x0f, 0xff], cpu::UD),
        (&[0xf4], cpu::GP),
        (&[0x0f, 0x07], cpu::UD),
        (&[0x0f, 0x35], cpu::UD),
        (&[0x0f, 0x01, 0xd9], cpu::UD),
        (&[0x0f, 0x01, 0xc1], cpu::UD),
        (&[0xe6, 0xf4], cpu::GP),
    ];
    for (code, vector) in cases {
        space.put(64, code);
        let trap = user(CODE_VA + 64, GETPID, [0; 6]);
        tally.check(trap.vector == vector, format_args!("{code:x?}: {trap} instead of {vector}"));
    }
    shim.report("gate: instructions", &tally);
}

/// At the end of a page, of memory, and of the address space.
fn edges(shim: &mut Shim, space: &Space) {
    let mut tally = Tally::new();
    memory::write(space.code + PAGE - 2, &SYSCALL);
    tally.expect(user(CODE_VA + PAGE - 2, GETPID, [0; 6]).vector, GRANTED, "at the end of a page");
    // Across two pages that are apart.
    let other = shim.free.take_page();
    space.map(1, other | USER);
    memory::write(space.code + PAGE - 1, &SYSCALL[..1]);
    memory::write(other, &[SYSCALL[1], INT3]);
    tally.expect(user(CODE_VA + PAGE - 1, GETPID, [0; 6]).vector, GRANTED, "across two pages");
    space.map(1, 0);
    // Behind the last two bytes of user space no instruction can follow.
    let [third, second, table] = [(); 3].map(|()| shim.free.take_page());
    memory::write_word(space.top + 255 * 8, third | USER);
    memory::write_word(third + 511 * 8, second | USER);
    memory::write_word(second + 511 * 8, table | USER);
    memory::write_word(table + 511 * 8, space.code | USER);
    memory::write(space.code + PAGE - 2, &SYSCALL);
    let trap = user(LAST_VA + PAGE - 2, GETPID, [0; 6]);
    tally.check(matches!(trap.vector, cpu::GP | GRANTED), format_args!("before the hole: {trap}"));
    shim.report("gate: edges", &tally);
}

/// Pointers whose way through the page tables is odd. The call's arguments are read for the trace.
fn pointers(shim: &mut Shim, space: &Space) {
    let mut tally = Tally::new();
    space.put(0, &SYSCALL);
    let end = shim.info.free_end;
    let entries = [
        space.table | USER,
        end | USER,
        1 << 45 | USER,
        0x000f_ffff_ffff_f000 | USER,
        u64::MAX,
        1 << 63 | space.code | USER,
        shim.info.service_gpa | USER,
        memory::gpa_of_image(memory::victim_code()) | USER,
        USER,
        USER | 1 << 7,
        0,
    ];
    for entry in entries {
        space.map(1, entry);
        space.map(2, entry);
        for pointer in [CODE_VA + PAGE, CODE_VA + 2 * PAGE - 3, CODE_VA + 3 * PAGE - 1] {
            let trap = user(CODE_VA, OPENAT, [u64::MAX, pointer, 0, 0, 0, 0]);
            tally.expect(trap.vector, GRANTED, "openat");
            let trap = user(CODE_VA, WRITEV, [1, pointer, u64::MAX, pointer, pointer, pointer]);
            tally.expect(trap.vector, GRANTED, "writev");
        }
    }
    space.map(1, 0);
    space.map(2, 0);
    // Ring 3's top entry leads to the top again: a walk that never ends, but for its four steps.
    let own = memory::read::<u64>(space.top + 33 * 8);
    memory::write_word(space.top + 33 * 8, space.top | USER);
    for pointer in
        [33 << 39, 33 << 39 | 33 << 30, 33 << 39 | 33 << 30 | 33 << 21 | 33 << 12, u64::MAX, 1 << 47, 1 << 63]
    {
        let trap = user(CODE_VA, OPENAT, [0, pointer, 0, 0, 0, 0]);
        tally.expect(trap.vector, GRANTED, "openat of a loop");
    }
    memory::write_word(space.top + 33 * 8, own);
    shim.report("gate: pointers", &tally);
}

/// Every number with chance for arguments, and numbers that no table has.
fn every_number(shim: &mut Shim, space: &Space) {
    let mut rng = Rng::new(0x6761_7465);
    let mut tally = Tally::new();
    space.put(0, &SYSCALL);
    let odd = [470, 511, 512, 1024, 1 << 30, 1 << 30 | 59, 1 << 31, 0xffff_fffe, 0xffff_ffff];
    for number in (0..470).chain(odd) {
        let pick = [0, 1, u64::MAX, CODE_VA, CODE_VA + PAGE, 1 << 47, rng.next(), rng.next()];
        let arguments = [(); 6].map(|()| rng.pick(&pick));
        let trap = user(CODE_VA, number, arguments);
        // Granted, or answered in ring 3, which goes on to its `int3`.
        tally.check(matches!(trap.vector, GRANTED | cpu::BP), format_args!("call {number}: {trap}"));
    }
    shim.report("gate: every number", &tally);
}

/// Results of calls that were not made, again and again.
fn results(shim: &mut Shim, space: &Space) {
    let mut rng = Rng::new(0x7265_7375);
    let mut tally = Tally::new();
    space.put(0, &SYSCALL);
    let count = shim.info.gate_gpa + offset_of!(GatePage, result_count) as u64;
    let results = shim.info.gate_gpa + offset_of!(GatePage, results) as u64;
    for round in 0..200u64 {
        for slot in 0..proto::RESULT_SLOTS as u64 {
            let sequence = if rng.below(2) == 0 { rng.below(2000) } else { rng.next() };
            let result = CallResult { sequence, value: rng.next().cast_signed(), flags: rng.next() };
            let at = results + slot * size_of::<CallResult>() as u64;
            memory::write(at, zerocopy::IntoBytes::as_bytes(&result));
        }
        let lies = [round * 64, u64::MAX, 0, rng.next()];
        memory::write_word(count, rng.pick(&lies));
        tally.expect(user(CODE_VA, GETPID, [0; 6]).vector, GRANTED, "getpid");
        tally.expect(grant(shim).number, GETPID, "its grant");
    }
    shim.report("gate: results", &tally);
}
