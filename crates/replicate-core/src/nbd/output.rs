//! What waits to be written to the peer.

use bytes::{BufMut, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::IoSlice;

/// Up to this size data is copied beside its header: one slice for many small replies costs the
/// kernel less than two slices for each.
const COPY_BYTES_MAX: usize = 8 << 10;
/// Room that the header buffer asks for at once.
const STAGE_BYTES: usize = 64 << 10;

/// A queue of chunks: headers and small data are gathered, large data is kept as it came.
#[derive(Debug, Default)]
pub struct OutputQueue {
    chunks: VecDeque<Bytes>,
    /// Gathered after the last chunk.
    stage: BytesMut,
    queued_bytes: usize,
}

impl OutputQueue {
    /// Bytes that wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.queued_bytes
    }

    /// The chunks in the order in which they are to be written.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        let stage: &[u8] = &self.stage;
        let stage = (!stage.is_empty()).then_some(stage);
        self.chunks.iter().map(AsRef::as_ref).chain(stage)
    }

    /// Fills `slices` for `writev` and returns how many were set.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        for (slot, chunk) in slices.iter_mut().zip(self.chunks()) {
            *slot = IoSlice::new(chunk);
            count += 1;
        }
        count
    }

    /// Forgets the first `written_bytes`.
    pub fn advance(&mut self, written_bytes: usize) {
        let mut left = written_bytes.min(self.queued_bytes);
        self.queued_bytes -= left;
        while let Some(first) = self.chunks.front_mut() {
            if left < first.len() {
                let _ = first.split_to(left);
                return;
            }
            left -= first.len();
            self.chunks.pop_front();
        }
        if left >= self.stage.len() {
            self.stage.clear();
        } else {
            let _ = self.stage.split_to(left);
        }
    }

    /// Where a header goes: `fill` appends to it.
    pub(super) fn gather(&mut self, fill: impl FnOnce(&mut BytesMut)) {
        if self.stage.capacity() - self.stage.len() < 64 {
            self.stage.reserve(STAGE_BYTES);
        }
        let before = self.stage.len();
        fill(&mut self.stage);
        self.queued_bytes += self.stage.len() - before;
    }

    /// Appends data; a large piece is not copied.
    pub(super) fn push(&mut self, data: Bytes) {
        if data.len() <= COPY_BYTES_MAX {
            self.gather(|stage| stage.put_slice(&data));
            return;
        }
        if !self.stage.is_empty() {
            self.chunks.push_back(self.stage.split().freeze());
        }
        self.queued_bytes += data.len();
        self.chunks.push_back(data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_order_whatever_the_socket_takes_at_once() {
        for step in [1, 3, 1000, 9000, 100_000] {
            let mut queue = OutputQueue::default();
            let mut expected = Vec::new();
            for index in 0..20_u8 {
                queue.gather(|stage| stage.put_slice(&[index; 5]));
                expected.extend_from_slice(&[index; 5]);
                let data = vec![index; 4000 * usize::from(index % 5)];
                expected.extend_from_slice(&data);
                queue.push(data.into());
            }
            let mut written: Vec<u8> = Vec::new();
            while queue.bytes() > 0 {
                let mut slices = [IoSlice::new(&[]); 8];
                let count = queue.slices(&mut slices);
                let before = written.len();
                let bytes = slices[..count].iter().flat_map(|slice| slice.iter());
                written.extend(bytes.take(step));
                queue.advance(written.len() - before);
            }
            assert_eq!(written, expected);
            assert_eq!(queue.chunks().count(), 0);
        }
    }

    #[test]
    fn large_data_is_not_copied() {
        let mut queue = OutputQueue::default();
        let data = Bytes::from(vec![1; 1 << 20]);
        let address = data.as_ptr();
        queue.gather(|stage| stage.put_u8(9));
        queue.push(data);
        assert_eq!(queue.chunks().nth(1).unwrap().as_ptr(), address);
    }
}
