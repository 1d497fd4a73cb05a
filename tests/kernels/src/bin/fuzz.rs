//! Random hypercalls, good ones and bad ones: the hypervisor lives through all of them, and everything is as it was when the
//! partitions that came of them are gone. The numbers are pseudo-random from a fixed seed.
#![no_std]
#![no_main]
#![allow(unsafe_code)]

use kernels::alloc::vec::Vec;
use kernels::child::{ALL, Child, FLAGS, RAX, VP};
use kernels::cpu::{self, Trap, read_msr};
use kernels::memory::{OwnPage, PAGE};
use kernels::parent::Parent;
use kernels::{Kernel, Outcome, code, ensure, ensure_eq, timer};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use tlfs::addr::PartitionId;
use tlfs::calls::SERVED;
use tlfs::hypercall::{CallCode, CallForm, HypercallInput};
use tlfs::msr::HV_X64_MSR_APIC_FREQUENCY;
use tlfs::register::HvRegisterName;
use tlfs::status::HvStatus;
use tlfs::vp_page::HvVpStatePageType;

kernels::kernel!(run);

const CALLS: u64 = 30_000;
/// Pages that may be given away, mapped and written over.
const POOL: u64 = 400;
/// Partitions at a time.
const PARTITIONS: usize = 24;
/// Words of input that are made up.
const WORDS: usize = 40;

code!(halt: "mov eax, 0x600d", "hlt");

fn run(kernel: &mut Kernel) {
    Parent::with(kernel, |kernel, parent| {
        kernel.case("random hypercalls", |kernel| {
            let pool = kernel.memory.take(POOL);
            let mut fuzzer = Fuzzer::new(parent, pool)?;
            let image = checksum();
            for _ in 0..CALLS {
                if fuzzer.one_in(40) {
                    fuzzer.bring_up(parent);
                }
                fuzzer.call(parent)?;
            }
            let Fuzzer { accepted, ran, seen, .. } = fuzzer;
            kernel.say(format_args!("{accepted} of {CALLS} calls succeeded, {ran} runs, {seen} kinds of status"));
            ensure!(accepted > CALLS / 20 && ran > 100 && seen >= 10, "the calls are too dull");
            fuzzer.clean_up(parent)?;
            ensure_eq!(checksum(), image, "checksum of this image's code");
            for page in 0..POOL {
                let address = pool.address() + page * PAGE;
                ensure!(cpu::read_byte(address).is_ok(), "page {address:#x} did not come back");
            }
            Ok(())
        });
        kernel.case("a child lives an ordinary life after that", |kernel| {
            let mut child = Child::new(kernel, parent, halt())?;
            child.run_to_halt(parent)?;
            ensure_eq!(child.gpr(RAX), 0x600d, "RAX");
            let pages = child.delete(parent)?;
            ensure_eq!(pages, 64, "pages that came back");
            Ok(())
        });
    });
}

/// Of the code and constants of this image.
fn checksum() -> u64 {
    let range = rt::image_range();
    let mut sum = 0u64;
    for address in (range.start..range.rodata_end).step_by(8) {
        let pointer: *const u64 = core::ptr::with_exposed_provenance(usize::try_from(address).unwrap_or(0));
        // SAFETY: the image's own code and constants.
        sum = sum.rotate_left(1) ^ unsafe { pointer.read() };
    }
    sum
}

struct Fuzzer {
    rng: ChaCha8Rng,
    pool: OwnPage,
    own: PartitionId,
    alive: Vec<PartitionId>,
    statuses: [bool; 256],
    seen: usize,
    accepted: u64,
    ran: u64,
    tick: u32,
}

impl Fuzzer {
    fn new(parent: &Parent, pool: OwnPage) -> Outcome<Self> {
        let control = HypercallInput::new(CallCode::GET_PARTITION_ID);
        parent.raw.memory(control).map_err(|_| "GetPartitionId faults")?;
        let hz = read_msr(HV_X64_MSR_APIC_FREQUENCY).map_err(|_| "no APIC frequency")?;
        Ok(Self {
            rng: ChaCha8Rng::seed_from_u64(0x0066_757a_7a00),
            pool,
            own: PartitionId(parent.raw.output.read_u64(0)),
            alive: Vec::with_capacity(PARTITIONS),
            statuses: [false; 256],
            seen: 0,
            accepted: 0,
            ran: 0,
            tick: u32::try_from(hz / 5000).unwrap_or(u32::MAX),
        })
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.rng.next_u64() % limit
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// A child, mostly one that is there. Never the caller itself: it must not take itself apart.
    fn partition(&mut self) -> u64 {
        if !self.alive.is_empty() && !self.one_in(10) {
            let index = self.below(self.alive.len() as u64);
            return self.alive[usize::try_from(index).unwrap_or(0)].0;
        }
        match self.below(3) {
            0 => 0,
            1 => self.below(1 << 20),
            _ => self.rng.next_u64() | 1 << 63 | 1,
        }
    }

    /// A page number: of the pool, or of nothing that this image needs.
    fn page(&mut self) -> u64 {
        match self.below(12) {
            0 => 0x100 + self.below(64), // the hypervisor's image
            1 => 0xfee00,
            2 => self.rng.next_u64() | 1 << 60,
            3 => (1 << 36) + self.below(1 << 20),
            _ => self.pool.number() + self.below(POOL),
        }
    }

    fn word(&mut self) -> u64 {
        match self.below(8) {
            0 => self.partition(),
            1 | 2 => self.page(),
            3 => self.below(8),
            4 => 1 << self.below(64),
            5 => self.rng.next_u64() | 1 << 62,
            6 => u64::from(HvRegisterName::X64_RAX.0) + self.below(18),
            _ => 0,
        }
    }

    /// The name of a register, of those that are known.
    fn register(&mut self) -> u64 {
        let named = HvRegisterName::NAMED;
        let index = usize::try_from(self.below(named.len() as u64)).unwrap_or(0);
        u64::from(named[index].0.0)
    }

    /// An address to write output to: in the pool, or nowhere.
    fn output_address(&mut self) -> u64 {
        match self.below(8) {
            0 => self.rng.next_u64() | 1 << 60,
            1 => self.pool.address() + self.below(POOL * PAGE),
            2 => (0x100 + self.below(64)) << 12,
            _ => self.pool.address() + (self.below(POOL) << 12),
        }
    }

    fn control(&mut self) -> HypercallInput {
        if self.one_in(30) {
            return HypercallInput(self.rng.next_u64());
        }
        let code = match self.below(10) {
            0 => CallCode(u16::try_from(self.below(0x200)).unwrap_or(0)),
            1 => CallCode::DEPOSIT_MEMORY,
            2 => CallCode::DISPATCH_VP,
            _ => SERVED[usize::try_from(self.below(SERVED.len() as u64)).unwrap_or(0)],
        };
        let mut control = HypercallInput::new(code);
        if code.form() == Some(CallForm::Rep) {
            control = control.with_rep_count(u16::try_from(1 + self.below(24)).unwrap_or(1));
        }
        if self.one_in(4) {
            control = control.fast();
        }
        if self.one_in(12) {
            control = HypercallInput(control.0 ^ 1 << self.below(64));
        }
        control
    }

    /// Input that is often what the call wants.
    fn input(&mut self, code: CallCode) -> [u64; WORDS] {
        let mut words: [u64; WORDS] = core::array::from_fn(|_| self.word());
        let good = !self.one_in(6);
        words[0] = self.partition();
        if !good {
            return words;
        }
        match code {
            CallCode::CREATE_PARTITION => words[..7].fill(0),
            CallCode::DEPOSIT_MEMORY => words[1..].iter_mut().for_each(|word| *word = self.page()),
            CallCode::MAP_GPA_PAGES => {
                words[1] = self.below(256);
                words[2] = [1, 3, 15, 13, 0x1_0000][usize::try_from(self.below(5)).unwrap_or(0)];
                words[3..].iter_mut().for_each(|word| *word = self.page());
            }
            CallCode::UNMAP_GPA_PAGES => (words[1], words[2]) = (self.below(256), 0),
            CallCode::INSTALL_INTERCEPT => (words[1], words[2]) = (self.below(8) | self.below(4) << 32, self.below(32)),
            CallCode::MAP_VP_STATE_PAGE | CallCode::UNMAP_VP_STATE_PAGE => words[1] = self.below(3) << 32,
            CallCode::SET_VP_REGISTERS => {
                words[1] = 0;
                for element in words[2..].chunks_exact_mut(4) {
                    (element[0], element[1]) = (self.register(), 0);
                }
            }
            CallCode::GET_VP_REGISTERS => {
                words[1] = 0;
                words[2..].iter_mut().for_each(|word| *word = self.register() | self.register() << 32);
            }
            CallCode::DISPATCH_VP => words[1..4].copy_from_slice(&[1 << 32, 0, 0]),
            CallCode::TRANSLATE_VIRTUAL_ADDRESS => words[1..3].copy_from_slice(&[0, self.below(256)]),
            _ => words[1..5].fill(0),
        }
        words
    }

    /// Helps some partition to all that it needs to run, as far as that goes; makes room for new ones.
    fn bring_up(&mut self, parent: &mut Parent) {
        let client = &mut parent.client;
        if self.alive.len() >= PARTITIONS / 2 {
            let index = usize::try_from(self.below(self.alive.len() as u64)).unwrap_or(0);
            let id = self.alive[index];
            let _ = client.finalize_partition(id);
            if client
                .delete_partition(id)
                .map_or_else(|error| error.status == HvStatus::INVALID_PARTITION_ID, |()| true)
            {
                self.alive.swap_remove(index);
            }
        }
        let Ok(id) = client.create_partition(FLAGS) else { return };
        self.alive.push(id);
        for _ in 0..16 {
            let _ = client.deposit(id, &[self.pool.number() + self.below(POOL)]);
        }
        let _ = client.initialize_partition(id);
        for page in 0..8 {
            let _ = client.map_gpa_pages(id, page, ALL, &[self.pool.number() + self.below(POOL)]);
        }
        let _ = client.create_vp(id, VP);
        for kind in [HvVpStatePageType::REGISTERS, HvVpStatePageType::INTERCEPT_MESSAGE] {
            let _ = client.map_vp_state_page(id, VP, kind);
        }
    }

    fn call(&mut self, parent: &mut Parent) -> Outcome {
        let control = self.control();
        let code = control.call_code();
        let mut words = self.input(code);
        // Its own registers and its own account are the two things by which a partition harms itself.
        if words[0] == self.own.0 || words[0] == u64::MAX {
            words[0] = 1;
        }
        if code == CallCode::CREATE_PARTITION && self.alive.len() >= PARTITIONS {
            return Ok(());
        }
        let dispatches = code == CallCode::DISPATCH_VP;
        if dispatches {
            timer::arm(self.tick);
        }
        for (offset, word) in (0..).step_by(8).zip(words) {
            parent.raw.input.write_u64(offset, word);
        }
        let output = self.output_address();
        let result = if control.is_fast() {
            let mut registers = [0; 14];
            registers.copy_from_slice(&words[..14]);
            parent.raw.xmm(control, registers)
        } else {
            let input = if self.one_in(20) { self.output_address() } else { parent.raw.input.address() };
            let harmless = !matches!(code, CallCode::SET_VP_REGISTERS | CallCode::DEPOSIT_MEMORY);
            let input = if harmless { input } else { parent.raw.input.address() };
            let output = if code == CallCode::CREATE_PARTITION { parent.raw.output.address() } else { output };
            parent.raw.registers(control, input, output)
        };
        if dispatches {
            timer::disarm();
            timer::take_pending();
        }
        let status = match result {
            Ok(returned) => returned.status(),
            Err(Trap::UD) => return Ok(()),
            Err(trap) => return Err(kernels::Failure(kernels::alloc::format!("{control:?} ({code}) raised {trap:?}"))),
        };
        self.note(parent, control, status);
        Ok(())
    }

    fn note(&mut self, parent: &Parent, control: HypercallInput, status: HvStatus) {
        if let Some(known) = self.statuses.get_mut(usize::from(status.0))
            && !*known
        {
            *known = true;
            self.seen += 1;
        }
        if status != HvStatus::SUCCESS {
            return;
        }
        self.accepted += 1;
        self.ran += u64::from(control.call_code() == CallCode::DISPATCH_VP);
        if control.call_code() == CallCode::CREATE_PARTITION {
            self.alive.push(PartitionId(parent.raw.output.read_u64(0)));
        }
    }

    /// Ends all partitions that are left.
    fn clean_up(&mut self, parent: &mut Parent) -> Outcome {
        for id in &self.alive {
            // Some are gone, some were never initialized.
            let _ = parent.client.finalize_partition(*id);
            match parent.client.delete_partition(*id) {
                Ok(()) => {}
                Err(error) if error.status == HvStatus::INVALID_PARTITION_ID => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
