//! A child with a few mapped pages, and a gate before it.

use gate::{Action, CallSite, Gate, INVALID_OPCODE, Mode};
use guestmem::GuestMemory;
use guestmem::double::VecMemory;
use proto::{CallResult, CopyHead, Grant};
use tlfs::addr::Gpa;
use trace::{Lines, Record, TaintRecord};

/// Where the child's pages start, and how many there are. The page behind them is not mapped.
pub(crate) const BASE: u64 = 0x40_0000;
pub(crate) const PAGES: u64 = 4;
/// The address of the first byte that is not mapped.
pub(crate) const END: u64 = BASE + PAGES * 4096;

const CR3: u64 = 0x1000;
const DATA: u64 = 0x8000;
const PRESENT_WRITABLE_USER: u64 = 7;

pub(crate) struct Child {
    pub(crate) memory: VecMemory,
    pub(crate) gate: Gate,
    pub(crate) lines: String,
    writer: Lines,
    records: Vec<Record>,
    pub(crate) now_100ns: u64,
    pub(crate) thread: u32,
}

impl Child {
    pub(crate) fn new(policy: &str, trace: bool) -> Self {
        let policy = policy::parse("dir/test.toml", policy).unwrap_or_else(|error| panic!("{error}"));
        let mut memory = VecMemory::new(0x1_0000);
        for (table, entry, target) in [(CR3, 0, 0x2000), (0x2000, 0, 0x3000), (0x3000, 2, 0x4000)] {
            memory.write_u64(Gpa(table + entry * 8), target | PRESENT_WRITABLE_USER).expect("memory");
        }
        for page in 0..PAGES {
            memory.write_u64(Gpa(0x4000 + page * 8), (DATA + page * 4096) | PRESENT_WRITABLE_USER).expect("memory");
        }
        let gate = Gate::new(policy.into(), Mode { record: trace, ..Mode::default() });
        Self { memory, gate, lines: String::new(), writer: Lines::new(), records: Vec::new(), now_100ns: 0, thread: 1 }
    }

    /// The same whose verdicts are only recorded.
    pub(crate) fn dry(policy: &str) -> Self {
        let child = Self::new(policy, true);
        let policy = policy::parse("dir/test.toml", policy).unwrap_or_else(|error| panic!("{error}"));
        Self { gate: Gate::new(policy.into(), Mode { record: true, dry_run: true, ask: false }), ..child }
    }

    /// The same with somebody who answers questions.
    pub(crate) fn asking(policy: &str, trace: bool) -> Self {
        let child = Self::new(policy, trace);
        let policy = policy::parse("dir/test.toml", policy).unwrap_or_else(|error| panic!("{error}"));
        Self { gate: Gate::new(policy.into(), Mode { record: trace, dry_run: false, ask: true }), ..child }
    }

    /// Does something with the gate that may make records.
    pub(crate) fn with_gate<T>(&mut self, work: impl FnOnce(&mut Gate, u64, &mut dyn FnMut(Record)) -> T) -> T {
        let records = &mut self.records;
        let done = work(&mut self.gate, self.now_100ns, &mut |record| records.push(record));
        self.write();
        done
    }

    /// Puts bytes at a mapped address.
    pub(crate) fn put(&mut self, address: u64, bytes: &[u8]) -> u64 {
        self.memory.write(Gpa(address - BASE + DATA), bytes).expect("mapped");
        address
    }

    /// Executes `syscall` with this number and these arguments.
    pub(crate) fn call(&mut self, name: &str, args: [u64; 6]) -> Action {
        let number = proto::syscalls::by_name(name).expect("a call").number;
        self.call_number(u64::from(number), args)
    }

    pub(crate) fn call_number(&mut self, number: u64, args: [u64; 6]) -> Action {
        self.fault(&CallSite { gprs: registers(number, args), ..site(&[0x0f, 0x05]) })
    }

    pub(crate) fn fault(&mut self, site: &CallSite<'_>) -> Action {
        let site = CallSite { thread: self.thread, ..*site };
        let records = &mut self.records;
        let action = self.gate.judge(&site, &self.memory, self.now_100ns, &mut |record| records.push(record));
        self.write();
        action
    }

    /// Another policy holds from now on.
    pub(crate) fn change_policy(&mut self, policy: &str, generation: u32) {
        let policy = policy::parse("dir/new.toml", policy).unwrap_or_else(|error| panic!("{error}"));
        let records = &mut self.records;
        self.gate.set_policy(policy.into(), generation, self.now_100ns, &mut |record| records.push(record));
        self.write();
    }

    /// The root has put taints in force.
    pub(crate) fn taint(&mut self, bits: u64, record: &TaintRecord) {
        let records = &mut self.records;
        self.gate.taint(bits, record, &mut |record| records.push(record));
        self.write();
    }

    /// The shim reports a result.
    pub(crate) fn completed(&mut self, sequence: u64, value: i64, flags: u64) {
        let records = &mut self.records;
        let result = CallResult { sequence, value, flags };
        self.gate.completed(result, self.now_100ns, &mut |record| records.push(record));
        self.write();
    }

    pub(crate) fn finish(&mut self) {
        self.writer.finish(&mut self.lines);
    }

    fn write(&mut self) {
        for record in self.records.drain(..) {
            self.writer.add(&record, &mut self.lines);
        }
    }

    /// The lines so far, which are then forgotten.
    pub(crate) fn take_lines(&mut self) -> String {
        std::mem::take(&mut self.lines)
    }
}

/// An invalid-opcode fault in ring 3 on these bytes at the start of the mapped pages.
pub(crate) fn site(instruction: &[u8]) -> CallSite<'_> {
    CallSite {
        vector: INVALID_OPCODE,
        error_code: 0,
        cpl: 3,
        gprs: [0; 16],
        rip: BASE,
        rflags: 0x202,
        cr3: CR3,
        instruction,
        thread: 1,
    }
}

/// General registers in the TLFS' order for a call of the x86-64 table.
pub(crate) fn registers(number: u64, [rdi, rsi, rdx, r10, r8, r9]: [u64; 6]) -> [u64; 16] {
    [number, 0, rdx, 0, 0, 0, rsi, rdi, r8, r9, r10, 0, 0, 0, 0, 0]
}

/// What a call that is carried out is granted.
pub(crate) fn granted(action: Action) -> Grant {
    let Action::Forward { grant, instruction_len: 2 } = action else { panic!("{action:?}") };
    grant
}

/// The copies that are handed over: form, address, bytes.
pub(crate) fn copies(child: &Child) -> Vec<(u64, u64, Vec<u8>)> {
    let there = child.gate.copies().filter(|(head, _)| head.address != 0);
    there.map(|(CopyHead { address, form, .. }, bytes)| (form, address, bytes.to_vec())).collect()
}
