//! Random bytes: ChaCha20 (RFC 8439) keyed by the seed that the root gave, with the key replaced after each use.

/// A generator whose earlier output cannot be told from its present state.
pub struct Random {
    key: [u32; 8],
}

const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

impl Random {
    /// From 32 bytes of entropy.
    #[must_use]
    pub fn new(seed: &[u8; 32]) -> Self {
        let mut key = [0; 8];
        for (word, bytes) in key.iter_mut().zip(seed.chunks_exact(4)) {
            *word = bytes.iter().rev().fold(0, |sum, &byte| (sum << 8) | u32::from(byte));
        }
        Self { key }
    }

    /// Fills `out`.
    pub fn fill(&mut self, out: &mut [u8]) {
        for (counter, piece) in (1..).zip(out.chunks_mut(64)) {
            let block = block(&self.key, counter);
            for (bytes, word) in piece.chunks_mut(4).zip(block) {
                let word = word.to_le_bytes();
                for (byte, value) in bytes.iter_mut().zip(word) {
                    *byte = value;
                }
            }
        }
        let next = block(&self.key, 0);
        for (word, value) in self.key.iter_mut().zip(next) {
            *word = value;
        }
    }

    /// A number below `bound` (a power of two).
    pub fn below(&mut self, bound: u64) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes) & bound.wrapping_sub(1)
    }
}

fn block(key: &[u32; 8], counter: u32) -> [u32; 16] {
    let [c0, c1, c2, c3] = CONSTANTS;
    let [k0, k1, k2, k3, k4, k5, k6, k7] = *key;
    let start = [c0, c1, c2, c3, k0, k1, k2, k3, k4, k5, k6, k7, counter, 0, 0, 0];
    let mut state = start;
    for _ in 0..10 {
        for column in 0..4 {
            quarter(&mut state, [column, column + 4, column + 8, column + 12]);
        }
        for column in 0..4 {
            quarter(&mut state, [column, 4 + (column + 1) % 4, 8 + (column + 2) % 4, 12 + (column + 3) % 4]);
        }
    }
    for (word, first) in state.iter_mut().zip(start) {
        *word = word.wrapping_add(first);
    }
    state
}

fn quarter(state: &mut [u32; 16], [a, b, c, d]: [usize; 4]) {
    for (add, to, mix, turn) in [(b, a, d, 16), (d, c, b, 12), (b, a, d, 8), (d, c, b, 7)] {
        state[to] = state[to].wrapping_add(state[add]);
        state[mix] = (state[mix] ^ state[to]).rotate_left(turn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_is_the_one_of_rfc_8439_with_a_zero_nonce() {
        // RFC 8439, appendix A.1, test vectors 1 and 2 (zero key, zero nonce, counters 0 and 1).
        let first = block(&[0; 8], 0);
        assert_eq!(first[..4], [0xade0_b876, 0x903d_f1a0, 0xe56a_5d40, 0x28bd_8653]);
        let second = block(&[0; 8], 1);
        assert_eq!(second[..4], [0xbee7_079f, 0x7a38_5155, 0x7c97_ba98, 0x0d08_2d73]);
    }

    #[test]
    fn successive_fills_differ() {
        let mut random = Random::new(&[7; 32]);
        let (mut first, mut second) = ([0; 40], [0; 40]);
        random.fill(&mut first);
        random.fill(&mut second);
        assert_ne!(first, second);
        assert!(random.below(16) < 16);
    }
}
