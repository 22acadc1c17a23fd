//! The image: a plain file or block device that holds one copy of a volume.

use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::{Errno, ReadWriteFlags};
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const ZEROES_BYTES: usize = 256 << 10;

/// An open image; clones share the file.
#[derive(Clone, Debug)]
pub struct Image {
    file: Arc<File>,
    path: PathBuf,
    device: bool,
}

/// Why an image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// It cannot be opened.
    #[error("image {path}: {source}; check the path and your rights")]
    Open {
        /// Path.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// It is neither a file nor a block device.
    #[error("image {path} is neither a regular file nor a block device")]
    Kind {
        /// Path.
        path: PathBuf,
    },
}

impl Image {
    /// Opens an image; `create` makes an empty file where there is none.
    ///
    /// # Errors
    /// [`ImageError`].
    pub fn open(path: &Path, create: bool) -> Result<Self, ImageError> {
        let open = |source| ImageError::Open {
            path: path.to_owned(),
            source,
        };
        let file = File::options()
            .read(true)
            .write(true)
            .create(create)
            .truncate(false)
            .open(path)
            .map_err(open)?;
        let kind = file.metadata().map_err(open)?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(ImageError::Kind {
                path: path.to_owned(),
            });
        }
        Ok(Self {
            file: Arc::new(file),
            path: path.to_owned(),
            device: kind.is_block_device(),
        })
    }

    /// Path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Present size, bytes.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn size_bytes(&self) -> io::Result<u64> {
        if self.device {
            Ok(rustix::fs::seek(&*self.file, SeekFrom::End(0))?)
        } else {
            Ok(self.file.metadata()?.len())
        }
    }

    /// Makes a file at least this large (sparse); a device must be large enough already.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn ensure_size(&self, size_bytes: u64) -> io::Result<()> {
        let present = self.size_bytes()?;
        if present < size_bytes {
            self.file.set_len(size_bytes)?;
            self.file.sync_all()?;
        }
        Ok(())
    }

    /// Reads only what is at hand in memory: `Ok(false)` when the disk would have to be waited
    /// for, with the content of `buffer` undefined.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn read_cached(&self, buffer: &mut [u8], offset_bytes: u64) -> io::Result<bool> {
        let wanted = buffer.len();
        let read = rustix::io::preadv2(
            &*self.file,
            &mut [IoSliceMut::new(buffer)],
            offset_bytes,
            ReadWriteFlags::NOWAIT,
        );
        match read {
            Ok(count) => Ok(count == wanted),
            Err(Errno::AGAIN | Errno::OPNOTSUPP) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn read(&self, buffer: &mut [u8], offset_bytes: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset_bytes)
    }

    /// Writes.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn write(&self, data: &[u8], offset_bytes: u64) -> io::Result<()> {
        self.file.write_all_at(data, offset_bytes)
    }

    /// Makes a range read as zeroes, giving the space back where the file system can.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn zero(&self, offset_bytes: u64, length_bytes: u64) -> io::Result<()> {
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&*self.file, punch, offset_bytes, length_bytes) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::NODEV) => {
                let zeroes = vec![0; ZEROES_BYTES];
                let mut at = offset_bytes;
                let end = offset_bytes + length_bytes;
                while at < end {
                    let take = usize::try_from(end - at)
                        .unwrap_or(ZEROES_BYTES)
                        .min(ZEROES_BYTES);
                    self.write(zeroes.get(..take).unwrap_or_default(), at)?;
                    at += take as u64;
                }
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// fdatasync.
    ///
    /// # Errors
    /// Whatever the disk says; never retried into success.
    pub fn flush(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Runs of data within `offset..offset+length`, as (offset, length) in bytes; at most
    /// `runs_max`, and whether these are all. What the file system cannot tell counts as data.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn data_extents(
        &self,
        offset_bytes: u64,
        length_bytes: u64,
        runs_max: usize,
    ) -> io::Result<(Vec<(u64, u64)>, bool)> {
        let end = offset_bytes + length_bytes;
        let mut runs = Vec::new();
        let mut at = offset_bytes;
        while at < end {
            let start = match rustix::fs::seek(&*self.file, SeekFrom::Data(at)) {
                Ok(start) if start < end => start,
                Ok(_) | Err(Errno::NXIO) => break,
                Err(Errno::INVAL) => {
                    runs.push((at, end - at));
                    break;
                }
                Err(error) => return Err(error.into()),
            };
            if runs.len() == runs_max {
                return Ok((runs, false));
            }
            let stop = match rustix::fs::seek(&*self.file, SeekFrom::Hole(start)) {
                Ok(stop) => stop.min(end),
                Err(_) => end,
            };
            runs.push((start, stop - start));
            at = stop;
        }
        Ok((runs, true))
    }

    /// Does it hold nothing but zeroes?
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn is_empty(&self) -> io::Result<bool> {
        let size = self.size_bytes()?;
        let (runs, _) = self.data_extents(0, size, usize::MAX)?;
        let mut buffer = vec![0; ZEROES_BYTES];
        for (start, length) in runs {
            let mut at = start;
            while at < start + length {
                let left = usize::try_from(start + length - at).unwrap_or(ZEROES_BYTES);
                let piece = buffer.get_mut(..left.min(ZEROES_BYTES)).unwrap_or_default();
                self.read(piece, at)?;
                if piece.iter().any(|byte| *byte != 0) {
                    return Ok(false);
                }
                at += piece.len() as u64;
            }
        }
        Ok(true)
    }

    /// BLAKE3 of a range.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn hash(&self, offset_bytes: u64, length_bytes: u64) -> io::Result<[u8; 32]> {
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; ZEROES_BYTES];
        let end = offset_bytes + length_bytes;
        let mut at = offset_bytes;
        while at < end {
            let left = usize::try_from(end - at).unwrap_or(ZEROES_BYTES);
            let piece = buffer.get_mut(..left.min(ZEROES_BYTES)).unwrap_or_default();
            self.read(piece, at)?;
            hasher.update(piece);
            at += piece.len() as u64;
        }
        Ok(*hasher.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_not_data_and_zeroing_makes_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image");
        let image = Image::open(&path, true).unwrap();
        image.ensure_size(1 << 20).unwrap();
        assert!(image.is_empty().unwrap());
        image.write(&[1; 65536], 131_072).unwrap();
        assert!(!image.is_empty().unwrap());
        let (runs, all) = image.data_extents(0, 1 << 20, 10).unwrap();
        assert_eq!((runs, all), (vec![(131_072, 65_536)], true));
        image.zero(131_072, 65_536).unwrap();
        assert!(image.is_empty().unwrap());
    }

    #[test]
    fn a_directory_is_no_image() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Image::open(directory.path(), false).is_err());
    }
}
