//! Clients: random requests, several at once; after a lost connection they ask again.

use super::chance::Chance;
use super::disk::SECTOR_BYTES;
use super::world::{Happening, SIZE_BYTES, World};
use bytes::Bytes;
use std::collections::BTreeMap;
use yundu_replicate_core::node::{Command, Reply};

#[derive(Clone, Debug)]
pub struct Request {
    pub command: Command,
    pub issued: u64,
    pub value: u64,
}

pub struct Client {
    pub site: usize,
    pub connection: u64,
    pub connected: bool,
    depth: usize,
    next_cookie: u64,
    pub requests: BTreeMap<u64, Request>,
}

impl Client {
    pub fn new(site: usize, index: u64, depth: usize) -> Self {
        Self {
            site,
            connection: index * 1_000_000,
            connected: false,
            depth,
            next_cookie: 1,
            requests: BTreeMap::new(),
        }
    }
}

const SECTORS: u64 = SIZE_BYTES / SECTOR_BYTES;

/// Sectors around the borders of blocks, extents and the volume, so that requests collide.
pub fn some_sector(chance: &mut Chance) -> u64 {
    match chance.below(10) {
        0..=4 => chance.below(8 * 12),
        5..=6 => chance.between(8 * 1020, 8 * 1028),
        7 => SECTORS - 1 - chance.below(16),
        8 => 8 * 300 + chance.below(8 * 40),
        _ => chance.below(SECTORS),
    }
}

fn some_range(chance: &mut Chance) -> (u64, u64) {
    let first = some_sector(chance);
    let first = if chance.percent(50) {
        first / 8 * 8
    } else {
        first
    };
    let count = match chance.below(20) {
        0 => chance.between(1, 8 * 24),
        1..=5 => chance.between(1, 16),
        6..=12 => 8,
        13..=15 => 16,
        _ => chance.between(1, 7),
    };
    (first, count.min(SECTORS - first))
}

impl World {
    fn some_request(&mut self) -> Request {
        let chance = &mut self.chance;
        let (first, count) = some_range(chance);
        let (offset, length) = (first * SECTOR_BYTES, count * SECTOR_BYTES);
        self.issued += 1;
        let mut value = (self.issued << 20) | 0xf_0000;
        let command = match chance.below(100) {
            0..=29 => Command::Read { offset, length },
            30..=84 => {
                let mut data = vec![0; length as usize];
                for sector in data.chunks_mut(SECTOR_BYTES as usize) {
                    sector[..8].copy_from_slice(&value.to_le_bytes());
                }
                let fua = chance.percent(10);
                Command::Write {
                    offset,
                    data: Bytes::from(data),
                    fua,
                }
            }
            85..=91 => {
                value = 0;
                let fua = chance.percent(10);
                Command::Zero {
                    offset,
                    length,
                    fua,
                }
            }
            _ => Command::Flush,
        };
        Request {
            command,
            issued: self.step,
            value,
        }
    }

    /// Requests are spread over the faults.
    fn budget(&self) -> u64 {
        self.operations_max * (self.faults + 1) / (self.faults + self.faults_left + 1)
    }

    pub fn issue(&mut self, index: usize) {
        let idle = self.chance.delay_us(400);
        self.after(
            if self.calm { 50_000 } else { idle },
            Happening::Issue(index),
        );
        let client = &self.clients[index];
        let site = &self.sites[client.site];
        let ready = site
            .node
            .as_ref()
            .is_some_and(|node| node.meta().size_bytes > 0);
        if !ready || site.destroyed {
            return;
        }
        if !client.connected {
            self.reconnect(index);
            return;
        }
        if self.calm || self.issued >= self.budget() || client.requests.len() >= client.depth {
            return;
        }
        let request = self.some_request();
        if let Some((first, count)) = written(&request.command) {
            for sector in first..first + count {
                self.registers.issue(sector, request.value, request.issued);
            }
        }
        let client = &mut self.clients[index];
        client.next_cookie += 1;
        let cookie = client.next_cookie;
        client.requests.insert(cookie, request.clone());
        let (site, connection) = (client.site, client.connection);
        self.node(site).client(connection, cookie, request.command);
        self.pump(site);
    }

    /// A new connection; what was not answered is asked again.
    pub fn reconnect(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let site = client.site;
        if self.sites[site].node.is_none() {
            return;
        }
        client.connection += 1;
        client.connected = true;
        let connection = client.connection;
        let mut requests: Vec<(u64, Request)> = client
            .requests
            .iter()
            .map(|(cookie, request)| (*cookie, request.clone()))
            .collect();
        if self.chance.percent(30) {
            requests.reverse();
        }
        for (cookie, request) in requests {
            let Some(node) = self.sites[site].node.as_mut() else {
                return;
            };
            node.client(connection, cookie, request.command);
            self.pump(site);
        }
    }

    /// The answer to a client's request.
    pub fn replied(&mut self, site: usize, connection: u64, cookie: u64, reply: Reply) {
        let Some(index) = self
            .clients
            .iter()
            .position(|client| client.connection == connection)
        else {
            return;
        };
        let seed = self.seed;
        let Some(request) = self.clients[index].requests.remove(&cookie) else {
            panic!("seed {seed}: a request was answered twice");
        };
        self.check_who_replies(site);
        let oldest = self
            .clients
            .iter()
            .flat_map(|client| client.requests.values())
            .map(|request| request.issued)
            .min()
            .unwrap_or(self.step);
        self.step += 1;
        let now = self.step;
        match (&request.command, reply) {
            (_, Reply::Error(errno)) => panic!("seed {seed}: a client saw error {errno}"),
            (Command::Read { offset, length }, Reply::Data(data)) => {
                assert_eq!(data.len() as u64, *length, "seed {seed}");
                let first = (offset / SECTOR_BYTES) as usize;
                for (at, bytes) in data.chunks(SECTOR_BYTES as usize).enumerate() {
                    let value = u64::from_le_bytes(bytes[..8].try_into().unwrap());
                    self.check_value(first + at, value, request.issued, "a read returned");
                }
            }
            (Command::Write { fua, .. } | Command::Zero { fua, .. }, Reply::Done) => {
                let (first, count) = written(&request.command).unwrap();
                for sector in first..first + count {
                    self.registers
                        .reply(sector, request.value, request.issued, now, *fua, oldest);
                }
                self.step += 1;
                self.check_copies(first, count, *fua, request.issued);
            }
            (Command::Flush, Reply::Done) => {
                self.check_flush(request.issued);
                self.registers.flushed(request.issued);
            }
            (command, reply) => panic!("seed {seed}: {command:?} was answered with {reply:?}"),
        }
    }
}

/// First sector and number of sectors.
pub fn written(command: &Command) -> Option<(usize, usize)> {
    let (offset, length) = match command {
        Command::Write { offset, data, .. } => (*offset, data.len() as u64),
        Command::Zero { offset, length, .. } => (*offset, *length),
        Command::Read { .. } | Command::Flush => return None,
    };
    Some((
        (offset / SECTOR_BYTES) as usize,
        (length / SECTOR_BYTES) as usize,
    ))
}
