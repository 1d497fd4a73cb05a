//! Random bytes.
use files::Errno;
use guestmem::GuestMemory;
use proto::op::Count;

use crate::request::{Exchange, put};
use crate::segments::Cursor;

/// A source of random bytes that is fit for keys.
pub trait Entropy {
    /// Fills `buf`.
    fn fill(&mut self, buf: &mut [u8]);
}

pub(crate) fn random<M: GuestMemory>(
    exchange: &mut Exchange,
    memory: &mut M,
    entropy: &mut dyn Entropy,
) -> Result<usize, Errno> {
    let parts = exchange.parts();
    parts.arguments.end()?;
    let mut cursor = Cursor::new(parts.segments);
    let mut bytes = 0u64;
    let mut piece = [0; 256];
    loop {
        let len = cursor.remaining().min(piece.len());
        let Some(part) = piece.get_mut(..len).filter(|part| !part.is_empty()) else {
            break;
        };
        entropy.fill(part);
        cursor.write(memory, part)?;
        bytes += part.len() as u64;
    }
    put(parts.body, &Count { bytes })
}
