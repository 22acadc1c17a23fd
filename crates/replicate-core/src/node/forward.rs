//! Clients of the secondary: their requests go to the primary, and wait while there is none.

use super::{Command, Node, Origin, Reply};
use crate::locks::RangeLocks;
use crate::meta::Role;
use crate::wire::Message;
use bytes::Bytes;
use std::collections::{BTreeMap, HashSet};

/// Requests that the primary has not answered, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Forwarded {
    requests: BTreeMap<u64, (Origin, Command)>,
}

impl Forwarded {
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }
}

fn message(id: u64, command: &Command) -> Message {
    match command {
        Command::Read { offset, length } => Message::ForwardRead {
            id,
            offset: *offset,
            length: *length,
        },
        Command::Write { offset, data, fua } => Message::ForwardWrite {
            id,
            offset: *offset,
            fua: *fua,
            data: data.clone(),
        },
        Command::Zero {
            offset,
            length,
            fua,
        } => Message::ForwardZero {
            id,
            offset: *offset,
            length: *length,
            fua: *fua,
        },
        Command::Flush => Message::ForwardFlush { id },
    }
}

impl<W: AsRef<[u64]> + AsMut<[u64]>> Node<W> {
    pub(super) fn forward(&mut self, origin: Origin, command: Command) {
        let id = self.fresh_id();
        if self.link.joined {
            self.send(message(id, &command));
        }
        self.forwarded.requests.insert(id, (origin, command));
    }

    /// A new link to the primary: everything unanswered is asked again. Writes are the same bytes
    /// in the same places, so that asking twice changes nothing.
    pub(super) fn resend_forwarded(&mut self) {
        let messages: Vec<Message> = self
            .forwarded
            .requests
            .iter()
            .map(|(id, (_, command))| message(*id, command))
            .collect();
        for message in messages {
            self.send(message);
        }
    }

    pub(super) fn forward_replied(&mut self, id: u64, errno: u16, data: Bytes) {
        let Some((origin, command)) = self.forwarded.requests.remove(&id) else {
            return;
        };
        let reply = match (errno, command) {
            (0, Command::Read { .. }) => Reply::Data(data),
            (0, _) => Reply::Done,
            (errno, _) => Reply::Error(errno),
        };
        self.reply(origin, reply);
    }

    /// We are primary now: what was to be forwarded is done here.
    pub(super) fn release_forwarded(&mut self) {
        for (origin, command) in std::mem::take(&mut self.forwarded.requests).into_values() {
            self.request(origin, command);
        }
        self.release_held();
    }

    /// We are no longer primary: whoever was not answered asks the new one. Nothing that happened
    /// here since may be answered from this copy.
    pub(super) fn surrender(&mut self) {
        let mut unanswered: Vec<(u64, Origin, Command)> = Vec::new();
        for (id, read) in std::mem::take(&mut self.reads) {
            unanswered.push((id, read.origin, read.command()));
        }
        let waiting: HashSet<u64> = std::mem::take(&mut self.retries)
            .into_iter()
            .map(|(_, id)| id)
            .collect();
        for (id, op) in std::mem::take(&mut self.writes) {
            if op.started && !op.local_done && !waiting.contains(&id) {
                self.leftover_writes.insert(id);
            }
            unanswered.push((id, op.origin, op.command()));
        }
        for (id, origin) in std::mem::take(&mut self.local_flushes) {
            unanswered.push((id, origin, Command::Flush));
        }
        let flushes = self.flush.give_up();
        unanswered.extend(flushes.map(|origin| (u64::MAX, origin, Command::Flush)));
        self.awaiting_activity.clear();
        self.locks = RangeLocks::default();
        unanswered.sort_by_key(|(id, _, _)| *id);
        for (_, origin, command) in unanswered {
            if matches!(origin, Origin::Client { .. }) {
                self.forward(origin, command);
            }
        }
        self.release_held();
    }

    /// The other side forwards a request of its client.
    pub(super) fn peer_requests(&mut self, id: u64, command: Command) {
        if self.meta.role != Role::Primary {
            self.close_link("the other side takes this one for the primary");
            return;
        }
        let (offset, length) = match &command {
            Command::Read { offset, length } | Command::Zero { offset, length, .. } => {
                (*offset, *length)
            }
            Command::Write { offset, data, .. } => (*offset, data.len() as u64),
            Command::Flush => (0, 0),
        };
        if offset
            .checked_add(length)
            .is_none_or(|end| end > self.meta.size_bytes)
        {
            self.close_link("the other side named a range beyond the end of the volume");
            return;
        }
        self.request(
            Origin::Peer {
                id,
                link: self.link.number,
            },
            command,
        );
    }

    /// A client went away: nobody waits for its answers. Writes already taken in are finished.
    pub fn client_gone(&mut self, gone: u64) {
        let is_gone =
            |origin: &Origin| matches!(origin, Origin::Client { client, .. } if *client == gone);
        self.held.retain(|(origin, _)| !is_gone(origin));
        self.forwarded
            .requests
            .retain(|_, (origin, _)| !is_gone(origin));
    }
}
