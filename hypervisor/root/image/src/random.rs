//! Random bytes: ChaCha20, keyed by the host's seed, the processor's generator if it has one, and the time.
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use services::Entropy;

/// The root's generator.
pub(crate) struct Generator(ChaCha20Rng);

impl Generator {
    /// A generator whose output nobody can tell who does not know `seed`.
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        let mut key = seed;
        for chunk in key.chunks_exact_mut(8) {
            for (byte, extra) in chunk.iter_mut().zip(hardware().to_le_bytes()) {
                *byte ^= extra;
            }
        }
        Self(ChaCha20Rng::from_seed(key))
    }
}

impl Entropy for Generator {
    fn fill(&mut self, buf: &mut [u8]) {
        self.0.fill_bytes(buf);
    }
}

/// What the processor adds: RDRAND, or the time stamp where there is no such instruction.
fn hardware() -> u64 {
    let has = raw_cpuid::CpuId::new().get_feature_info().is_some_and(|features| features.has_rdrand());
    let mut value = 0;
    // SAFETY: the instruction is there.
    if has && unsafe { rdrand(&mut value) } {
        return value;
    }
    // SAFETY: every 64-bit processor has the instruction.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// # Safety
/// The processor has RDRAND.
#[target_feature(enable = "rdrand")]
unsafe fn rdrand(value: &mut u64) -> bool {
    core::arch::x86_64::_rdrand64_step(value) == 1
}
