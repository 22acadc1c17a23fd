//! Payload buffers that return to where they came from.

use bytes::Bytes;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Smallest buffer that is kept, as a power of two (4 KiB).
const CLASS_BITS_MIN: u32 = 12;
/// Largest buffer that is kept, as a power of two (32 MiB).
const CLASS_BITS_MAX: u32 = 25;
const CLASSES: usize = (CLASS_BITS_MAX - CLASS_BITS_MIN + 1) as usize;
/// Room behind a large payload, so that the header of the next request arrives by the same read.
pub(super) const TAIL_BYTES: usize = 4096;
/// From this size on a buffer has the tail.
const TAIL_FROM_BYTES: usize = 16 << 10;

/// A store of payload buffers, shared by clones of it.
///
/// A buffer fresh from the operating system costs a page fault for every 4 KiB; at the speeds
/// wanted here that is more than the copy out of the socket. So a [`Bytes`] made from a
/// [`PooledBuffer`] gives its memory back when the last clone of it is dropped, on whatever thread.
#[derive(Clone, Debug)]
pub struct BufferPool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    free: Mutex<Free>,
    free_bytes_max: usize,
}

#[derive(Debug)]
struct Free {
    classes: [Vec<Vec<u8>>; CLASSES],
    bytes: usize,
}

impl BufferPool {
    /// A pool that keeps at most `free_bytes_max` bytes of unused buffers.
    #[must_use]
    pub fn new(free_bytes_max: usize) -> Self {
        let free = Free {
            classes: std::array::from_fn(|_| Vec::new()),
            bytes: 0,
        };
        Self(Arc::new(Shared {
            free: Mutex::new(free),
            free_bytes_max,
        }))
    }

    /// A buffer of exactly `length_bytes`. Its content is whatever an earlier user left there: fill
    /// all of it before handing it on.
    #[must_use]
    pub fn take(&self, length_bytes: usize) -> PooledBuffer {
        let class = class_of(length_bytes);
        let kept = class.and_then(|class| {
            let mut free = self.0.free.lock().unwrap_or_else(PoisonError::into_inner);
            let storage = free.classes.get_mut(class)?.pop()?;
            free.bytes = free.bytes.saturating_sub(storage.len());
            Some(storage)
        });
        let storage = kept.unwrap_or_else(|| vec![0; storage_bytes(class, length_bytes)]);
        PooledBuffer {
            storage,
            length_bytes,
            pool: self.clone(),
            in_flight: None,
        }
    }

    /// Bytes that lie unused.
    #[must_use]
    pub fn free_bytes(&self) -> usize {
        self.0
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .bytes
    }

    fn give_back(&self, length_bytes: usize, storage: Vec<u8>) {
        let Some(class) = class_of(length_bytes) else {
            return;
        };
        let mut free = self.0.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.bytes.saturating_add(storage.len()) > self.0.free_bytes_max {
            return;
        }
        free.bytes += storage.len();
        if let Some(kept) = free.classes.get_mut(class) {
            kept.push(storage);
        }
    }
}

/// Index of the size class that holds `length_bytes`; `None` when it is too large to keep.
fn class_of(length_bytes: usize) -> Option<usize> {
    let bits = length_bytes
        .max(1)
        .next_power_of_two()
        .trailing_zeros()
        .max(CLASS_BITS_MIN);
    (bits <= CLASS_BITS_MAX).then_some((bits - CLASS_BITS_MIN) as usize)
}

fn storage_bytes(class: Option<usize>, length_bytes: usize) -> usize {
    let payload = class.map_or(length_bytes, |class| 1 << (class + CLASS_BITS_MIN as usize));
    if payload < TAIL_FROM_BYTES {
        payload
    } else {
        payload.saturating_add(TAIL_BYTES)
    }
}

/// A buffer on loan from a [`BufferPool`].
#[derive(Debug)]
pub struct PooledBuffer {
    storage: Vec<u8>,
    length_bytes: usize,
    pool: BufferPool,
    in_flight: Option<Arc<AtomicUsize>>,
}

impl PooledBuffer {
    /// The buffer to fill.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        let length = self.length_bytes;
        self.storage.get_mut(..length).unwrap_or_default()
    }

    /// Hands the buffer on; its memory returns to the pool with the last clone.
    #[must_use]
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }

    /// Adds this buffer to a meter of bytes until it is dropped.
    pub(super) fn count_in(&mut self, meter: &Arc<AtomicUsize>) {
        meter.fetch_add(self.length_bytes, Ordering::Relaxed);
        self.in_flight = Some(Arc::clone(meter));
    }

    /// The buffer together with the room behind it.
    pub(super) fn storage_mut(&mut self) -> &mut [u8] {
        &mut self.storage
    }

    pub(super) fn length_bytes(&self) -> usize {
        self.length_bytes
    }
}

impl AsRef<[u8]> for PooledBuffer {
    fn as_ref(&self) -> &[u8] {
        self.storage.get(..self.length_bytes).unwrap_or_default()
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        if let Some(meter) = &self.in_flight {
            meter.fetch_sub(self.length_bytes, Ordering::Relaxed);
        }
        self.pool
            .give_back(self.length_bytes, std::mem::take(&mut self.storage));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_returns_with_the_last_clone_and_is_used_again() {
        let pool = BufferPool::new(1 << 20);
        let mut buffer = pool.take(5000);
        buffer.as_mut_slice().fill(7);
        let address = buffer.as_ref().as_ptr();
        let data = buffer.freeze();
        let clone = data.slice(100..200);
        drop(data);
        assert_eq!(pool.free_bytes(), 0);
        assert!(clone.iter().all(|byte| *byte == 7));
        drop(clone);
        assert_eq!(pool.free_bytes(), 8192);
        assert_eq!(pool.take(8192).as_ref().as_ptr(), address);
    }

    #[test]
    fn unused_memory_stays_below_its_bound() {
        let pool = BufferPool::new(100_000);
        let loans: Vec<_> = (0..64).map(|_| pool.take(4096)).collect();
        drop(loans);
        assert!(pool.free_bytes() <= 100_000);
        assert!(pool.free_bytes() > 90_000);
        drop(pool.take(64 << 20));
        assert!(pool.free_bytes() <= 100_000);
    }
}
