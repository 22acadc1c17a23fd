//! Words in a shared file mapping: what is set here outlives the process without a system call.

use memmap2::MmapMut;
use std::fs::File;
use std::io;
use std::path::Path;

/// A file of 64-bit words, mapped shared.
#[derive(Debug)]
pub struct MappedWords {
    map: MmapMut,
    file: File,
}

impl MappedWords {
    /// Maps `count` words of the file at `path`, which is made or lengthened as needed.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn open(path: &Path, count: usize) -> io::Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let length_bytes = (count.max(1) * 8) as u64;
        if file.metadata()?.len() < length_bytes {
            file.set_len(length_bytes)?;
        }
        #[expect(
            unsafe_code,
            reason = "a shared mapping is the only way to keep marks over a kill at memory speed; \
                      the file is ours alone (the state directory is locked) and never shortened"
        )]
        // SAFETY: nobody else writes to or truncates the file while it is mapped.
        let map = unsafe {
            memmap2::MmapOptions::new()
                .len(count.max(1) * 8)
                .map_mut(&file)?
        };
        Ok(Self { map, file })
    }

    /// A handle with which another thread can make the words durable.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

impl AsRef<[u64]> for MappedWords {
    fn as_ref(&self) -> &[u64] {
        bytemuck::cast_slice(&self.map)
    }
}

impl AsMut<[u64]> for MappedWords {
    fn as_mut(&mut self) -> &mut [u64] {
        bytemuck::cast_slice_mut(&mut self.map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_there_after_the_mapping_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("words");
        let mut words = MappedWords::open(&path, 100).unwrap();
        words.as_mut()[99] = 7;
        drop(words);
        let again = MappedWords::open(&path, 100).unwrap();
        assert_eq!(again.as_ref()[99], 7);
        assert_eq!(again.as_ref().len(), 100);
    }
}
