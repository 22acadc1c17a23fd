//! The NBD face.

use super::{Listener, VolumeProcess};
use crate::client::{Client, UnderWay};
use crate::stream::Stream;
use mio::Token;
use std::time::Instant;
use yundu_replicate_core::meta::Role;
use yundu_replicate_core::nbd::{Command, ExportInfo, ServerSession, protocol};
use yundu_replicate_core::node;

/// Runs of a block status that are told at once.
const EXTENTS_MAX: usize = 1024;

impl VolumeProcess {
    pub(super) fn accept(&mut self, token: Token) {
        loop {
            let accepted = match self.listeners.get(&token) {
                Some(Listener::TcpClients(listener)) => listener
                    .accept()
                    .map(|(stream, _)| (Stream::Tcp(stream), 'c')),
                Some(Listener::UnixClients(listener)) => listener
                    .accept()
                    .map(|(stream, _)| (Stream::Unix(stream), 'c')),
                Some(Listener::Peers(listener)) => listener
                    .accept()
                    .map(|(stream, _)| (Stream::Tcp(stream), 'p')),
                Some(Listener::Control(listener)) => listener
                    .accept()
                    .map(|(stream, _)| (Stream::Unix(stream), 's')),
                None => return,
            };
            let Ok((stream, kind)) = accepted else { return };
            let outcome = match kind {
                'c' => self.add_client(stream),
                'p' => self.add_candidate(stream),
                _ => self.add_control(stream),
            };
            if let Err(error) = outcome {
                tracing::warn!("a connection could not be taken: {error}");
            }
        }
    }

    fn add_client(&mut self, mut stream: Stream) -> std::io::Result<()> {
        let token = self.fresh_token();
        stream.register(self.poll.registry(), token)?;
        let meta = self.node.meta();
        // A receiver that belongs to no set yet has nothing to show.
        let exports = if meta.set.is_empty() {
            Vec::new()
        } else {
            vec![ExportInfo {
                name: self.options.name.clone(),
                size_bytes: meta.size_bytes,
                read_only: false,
                block_size_min: 1,
                block_size_preferred: 4096,
                payload_bytes_max: protocol::PAYLOAD_BYTES_MAX,
            }]
        };
        let session = ServerSession::with_pool(exports, self.pool.clone());
        self.clients.insert(token, Client::new(stream, session));
        self.busy.insert(token);
        Ok(())
    }

    /// Takes requests in and sends replies out; says whether something moved.
    pub(super) fn serve_clients(&mut self) -> bool {
        let mut progress = false;
        for token in std::mem::take(&mut self.busy) {
            progress |= self.serve_client(token);
        }
        progress
    }

    fn serve_client(&mut self, token: Token) -> bool {
        let mut progress = false;
        let reason = loop {
            let Some(client) = self.clients.get_mut(&token) else {
                return progress;
            };
            match client.next_request() {
                Ok(Some((cookie, command))) => {
                    progress = true;
                    self.take_in(token, cookie, command);
                }
                Ok(None) => match client.flush() {
                    // What was written may have made room for requests that wait.
                    Ok(true) => progress = true,
                    Ok(false) => return progress,
                    Err(reason) => break reason,
                },
                Err(reason) => break reason,
            }
        };
        tracing::debug!("client {} closed: {reason}", token.0);
        self.drop_client(token);
        progress
    }

    pub(super) fn drop_client(&mut self, token: Token) {
        self.clients.remove(&token);
        self.node.client_gone(token.0 as u64);
    }

    fn take_in(&mut self, token: Token, cookie: u64, command: Command) {
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        let offset_bytes = match &command {
            Command::Read { offset, .. } => *offset,
            _ => 0,
        };
        client.under_way.insert(
            cookie,
            UnderWay {
                since: Instant::now(),
                offset_bytes,
            },
        );
        let number = token.0 as u64;
        let command = match command {
            Command::Read { offset, length, .. } => node::Command::Read {
                offset,
                length: u64::from(length),
            },
            Command::Write { offset, data, fua } => node::Command::Write { offset, data, fua },
            // Trimmed blocks read as zeroes, so that both copies stay equal.
            Command::WriteZeroes {
                offset,
                length,
                fua,
                ..
            }
            | Command::Trim {
                offset,
                length,
                fua,
            } => node::Command::Zero {
                offset,
                length,
                fua,
            },
            Command::Flush => node::Command::Flush,
            Command::Cache { .. } => {
                self.answer(token, cookie, &node::Reply::Done);
                return;
            }
            Command::BlockStatus {
                offset,
                length,
                one,
            } => {
                self.answer_block_status(token, cookie, offset, length, one);
                return;
            }
        };
        self.node.client(number, cookie, command);
    }

    /// Answers a client.
    pub(super) fn answer(&mut self, token: Token, cookie: u64, reply: &node::Reply) {
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        let Some(under_way) = client.under_way.remove(&cookie) else {
            return;
        };
        self.meters.replied(under_way.since);
        match reply {
            node::Reply::Done => client.session.reply_done(cookie),
            node::Reply::Data(data) => {
                client
                    .session
                    .reply_read(cookie, under_way.offset_bytes, data.clone());
            }
            node::Reply::Error(errno) => {
                self.meters.errors += 1;
                client.session.reply_error(
                    cookie,
                    u32::from(*errno),
                    "the image could not be read or written",
                );
            }
        }
        self.busy.insert(token);
    }

    fn answer_block_status(
        &mut self,
        token: Token,
        cookie: u64,
        offset: u64,
        length: u64,
        one: bool,
    ) {
        // Only the primary knows what is allocated; elsewhere everything may be data.
        let is_primary = self.node.meta().role == Role::Primary;
        let runs_max = if one { 1 } else { EXTENTS_MAX };
        let runs = if is_primary {
            self.image.data_extents(offset, length, runs_max)
        } else {
            Ok((vec![(offset, length)], true))
        };
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        client.under_way.remove(&cookie);
        match runs {
            Ok((runs, all)) => {
                let extents = describe(offset, length, &runs, all, one);
                client.session.reply_block_status(cookie, &extents);
            }
            Err(error) => client
                .session
                .reply_error(cookie, protocol::EIO, &error.to_string()),
        }
        self.busy.insert(token);
    }
}

/// `base:allocation` extents from runs of data: (length, flags).
fn describe(
    offset: u64,
    length: u64,
    runs: &[(u64, u64)],
    all: bool,
    one: bool,
) -> Vec<(u32, u32)> {
    let hole = protocol::STATE_HOLE | protocol::STATE_ZERO;
    let mut extents = Vec::new();
    let mut push = |bytes: u64, flags: u32| {
        if let Ok(bytes) = u32::try_from(bytes)
            && bytes > 0
        {
            extents.push((bytes, flags));
        }
    };
    let mut at = offset;
    for (start, run) in runs {
        push(start - at, hole);
        push(*run, 0);
        at = start + run;
    }
    if all {
        push(offset + length - at, hole);
    }
    if one {
        extents.truncate(1);
    }
    extents
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_cover_the_range_without_gaps() {
        let hole = protocol::STATE_HOLE | protocol::STATE_ZERO;
        assert_eq!(
            describe(100, 1000, &[(200, 300), (600, 500)], true, false),
            vec![(100, hole), (300, 0), (100, hole), (500, 0)]
        );
        assert_eq!(describe(0, 10, &[], true, false), vec![(10, hole)]);
        assert_eq!(describe(0, 10, &[(4, 6)], true, true), vec![(4, hole)]);
    }
}
