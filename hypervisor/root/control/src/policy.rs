//! Another policy while sandboxes run: the host sends it in pieces ([`crate::kind::POLICY`]) and says when it is whole
//! ([`crate::kind::POLICY_END`]).
use alloc::vec::Vec;

/// Most bytes of a policy that is sent so.
pub const MAX_POLICY: usize = 1280 * 1024;
/// Bytes of a piece.
pub const POLICY_PIECE: usize = 16 * 1024;

/// A policy that has been sent whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Which one it is, as the host counts them. The one that the machine was started with is 1.
    pub generation: u32,
    /// Its files, in postcard as the boot bundle has them; nothing if they were too long.
    pub bytes: Option<Vec<u8>>,
}

/// The pieces so far.
#[derive(Debug, Default)]
pub struct Gathered {
    bytes: Vec<u8>,
    too_long: bool,
}

impl Gathered {
    /// Takes a piece. What goes beyond [`MAX_POLICY`] is not kept, and the whole is given up.
    pub fn add(&mut self, piece: &[u8]) {
        self.too_long |= self.bytes.len().saturating_add(piece.len()) > MAX_POLICY;
        if self.too_long {
            self.bytes = Vec::new();
        } else {
            self.bytes.extend_from_slice(piece);
        }
    }

    /// All pieces are there: the whole, after which the next one begins.
    pub fn finish(&mut self, generation: u32) -> Sent {
        let Self { bytes, too_long } = core::mem::take(self);
        Sent { generation, bytes: (!too_long).then_some(bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn pieces_become_a_whole_and_too_many_nothing() {
        let mut gathered = Gathered::default();
        gathered.add(b"ab");
        gathered.add(b"c");
        assert_eq!(gathered.finish(2), Sent { generation: 2, bytes: Some(b"abc".to_vec()) });
        (0..81).for_each(|_| gathered.add(&vec![0; POLICY_PIECE]));
        assert!(gathered.bytes.is_empty(), "nothing is kept of what is too long");
        assert_eq!(gathered.finish(3), Sent { generation: 3, bytes: None });
        assert_eq!(gathered.finish(4).bytes, Some(Vec::new()), "the next one begins anew");
    }
}
