//! Threads for what may wait for a disk, so that the event loop never does: one flushes, one
//! writes small durable state, one reads cold data, one reads and hashes in bulk.

use crate::image::Image;
use crate::state::write_activity;
use bytes::Bytes;
use mio::Waker;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use yundu_replicate_core::activity::Page;
use yundu_replicate_core::nbd::BufferPool;
use yundu_replicate_core::node::{LocalOp, LocalOutcome};

/// What a worker has finished.
#[derive(Debug)]
pub enum Finished {
    /// Work on the image.
    Local {
        /// Id of the node.
        id: u64,
        /// Outcome.
        outcome: LocalOutcome,
    },
    /// Pages of the activity log are durable.
    Activity(Vec<(usize, Page)>),
    /// The mapped bitmap is durable.
    Bitmap,
    /// Small state could not be made durable: the copy cannot go on.
    Broken(String),
}

enum Job {
    Local {
        id: u64,
        op: LocalOp,
    },
    Activity {
        file: File,
        pages: Vec<(usize, Page)>,
    },
    Bitmap(File),
    Events(File),
}

/// The threads, and how to hear of them.
#[derive(Debug)]
pub struct Workers {
    flush: Sender<Job>,
    durable: Sender<Job>,
    cold: Sender<Job>,
    bulk: Sender<Job>,
    finished: Receiver<Finished>,
}

impl Workers {
    /// Starts the threads; `waker` wakes the event loop when one has finished something.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn start(image: &Image, pool: &BufferPool, waker: &Arc<Waker>) -> io::Result<Self> {
        let (finish, finished) = channel();
        let spawn = |name: &str| -> io::Result<Sender<Job>> {
            let (sender, jobs) = channel();
            let (image, pool) = (image.clone(), pool.clone());
            let (finish, waker) = (finish.clone(), Arc::clone(waker));
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || work(&jobs, &image, &pool, &finish, &waker))?;
            Ok(sender)
        };
        Ok(Self {
            flush: spawn("flush")?,
            durable: spawn("durable")?,
            cold: spawn("cold-read")?,
            bulk: spawn("bulk")?,
            finished,
        })
    }

    /// What was finished, if anything.
    pub fn next_finished(&self) -> Option<Finished> {
        self.finished.try_recv().ok()
    }

    /// fdatasync of the image.
    pub fn flush(&self, id: u64) {
        send(
            &self.flush,
            Job::Local {
                id,
                op: LocalOp::Flush,
            },
        );
    }

    /// A client's read that was not in memory.
    pub fn read_cold(&self, id: u64, op: LocalOp) {
        send(&self.cold, Job::Local { id, op });
    }

    /// Reads and hashes that may give way.
    pub fn bulk(&self, id: u64, op: LocalOp) {
        send(&self.bulk, Job::Local { id, op });
    }

    /// Pages of the activity log.
    pub fn write_activity(&self, file: File, pages: Vec<(usize, Page)>) {
        send(&self.durable, Job::Activity { file, pages });
    }

    /// fdatasync of the mapped bitmap.
    pub fn sync_bitmap(&self, file: File) {
        send(&self.durable, Job::Bitmap(file));
    }

    /// fdatasync of the events.
    pub fn sync_events(&self, file: File) {
        send(&self.durable, Job::Events(file));
    }
}

fn send(sender: &Sender<Job>, job: Job) {
    // A worker ends only together with the process.
    let _ = sender.send(job);
}

fn work(
    jobs: &Receiver<Job>,
    image: &Image,
    pool: &BufferPool,
    finish: &Sender<Finished>,
    waker: &Waker,
) {
    while let Ok(job) = jobs.recv() {
        let finished = match job {
            Job::Local { id, op } => Some(Finished::Local {
                id,
                outcome: local(image, pool, &op),
            }),
            Job::Activity { file, pages } => Some(match write_activity(&file, &pages) {
                Ok(()) => Finished::Activity(pages),
                Err(error) => {
                    Finished::Broken(format!("the activity log cannot be written: {error}"))
                }
            }),
            Job::Bitmap(file) => Some(match file.sync_data() {
                Ok(()) => Finished::Bitmap,
                Err(error) => {
                    Finished::Broken(format!("the dirty bitmap cannot be written: {error}"))
                }
            }),
            Job::Events(file) => {
                if let Err(error) = file.sync_data() {
                    tracing::error!("events cannot be made durable: {error}");
                }
                None
            }
        };
        if let Some(finished) = finished {
            if finish.send(finished).is_err() {
                return;
            }
            let _ = waker.wake();
        }
    }
}

/// Carries out work on the image.
pub fn local(image: &Image, pool: &BufferPool, op: &LocalOp) -> LocalOutcome {
    let result = match op {
        LocalOp::Read { offset, length } => read(image, pool, *offset, *length),
        LocalOp::Write { offset, data } => image.write(data, *offset).map(|()| LocalOutcome::Done),
        LocalOp::Zero { offset, length } => {
            image.zero(*offset, *length).map(|()| LocalOutcome::Done)
        }
        LocalOp::Flush => image.flush().map(|()| LocalOutcome::Done),
        LocalOp::Hash { offset, length } => image.hash(*offset, *length).map(LocalOutcome::Hash),
    };
    result.unwrap_or_else(|error| LocalOutcome::Failed(errno_of(&error)))
}

fn read(image: &Image, pool: &BufferPool, offset: u64, length: u64) -> io::Result<LocalOutcome> {
    let mut buffer = pool.take(usize::try_from(length).map_err(io::Error::other)?);
    image.read(buffer.as_mut_slice(), offset)?;
    Ok(LocalOutcome::Data(buffer.freeze()))
}

/// A read that is answered at once when the data is in memory.
pub fn read_cached(image: &Image, pool: &BufferPool, offset: u64, length: u64) -> Option<Bytes> {
    let mut buffer = pool.take(usize::try_from(length).ok()?);
    match image.read_cached(buffer.as_mut_slice(), offset) {
        Ok(true) => Some(buffer.freeze()),
        Ok(false) | Err(_) => None,
    }
}

fn errno_of(error: &io::Error) -> u16 {
    const EIO: u16 = 5;
    error
        .raw_os_error()
        .and_then(|errno| u16::try_from(errno).ok())
        .unwrap_or(EIO)
}
