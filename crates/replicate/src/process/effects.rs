//! Carrying out what the state machine asks for.

use super::VolumeProcess;
use crate::control::{Handover, Response};
use crate::cut_hash::CutHash;
use crate::workers::{local, read_cached};
use mio::Token;
use std::time::Instant;
use yundu_replicate_core::node::{Effect, LocalOp, LocalOutcome};

impl VolumeProcess {
    pub(super) fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Local { id, op, background } => self.local_work(id, op, background),
            Effect::Send(message) => {
                if let Some((_, peer)) = &mut self.peer {
                    peer.send(message);
                }
            }
            Effect::CloseLink { reason } => self.close_peer(&reason),
            Effect::Reply {
                client,
                cookie,
                reply,
            } => {
                let token = Token(usize::try_from(client).unwrap_or(usize::MAX));
                self.answer(token, cookie, &reply);
            }
            Effect::PersistMeta { version, meta } => {
                // What was said before need not wait for the disk.
                if let Some((_, peer)) = &mut self.peer {
                    // A broken connection shows itself at the next use.
                    let _ = peer.flush();
                }
                match self.state.write_meta(&meta) {
                    Ok(()) => self.node.meta_durable(version),
                    Err(error) => {
                        self.broken =
                            Some(format!("the state of this copy cannot be written: {error}"));
                    }
                }
            }
            Effect::PersistActivity { pages } => match self.state.activity_file() {
                Ok(file) => self.workers.write_activity(file, pages),
                Err(error) => self.broken = Some(error.to_string()),
            },
            Effect::SyncBitmap => match self.node.dirty().words().file() {
                Ok(file) => self.workers.sync_bitmap(file),
                Err(error) => self.broken = Some(error.to_string()),
            },
            Effect::ScanData => {
                let size = self.node.meta().size_bytes;
                match self.image.data_extents(0, size, usize::MAX) {
                    Ok((runs, _)) => self.node.data_extents(&runs),
                    Err(error) => self.broken = Some(format!("the image cannot be read: {error}")),
                }
            }
            Effect::Resize { size_bytes } => self.resize(size_bytes),
            Effect::CutPoint { name, generation } => {
                let size_bytes = self.node.meta().size_bytes;
                self.cut_hash = Some(CutHash::start(name, generation, size_bytes));
            }
            Effect::HandoverEnded {
                name,
                outcome,
                hold_us,
            } => {
                self.handover_ended(name, outcome, hold_us);
            }
            Effect::Event { kind, body } => self.record(kind, body),
        }
    }

    fn local_work(&mut self, id: u64, op: LocalOp, background: bool) {
        let outcome = match &op {
            LocalOp::Flush => return self.workers.flush(id),
            LocalOp::Hash { .. } => return self.workers.bulk(id, op),
            LocalOp::Read { .. } if background => return self.workers.bulk(id, op),
            LocalOp::Read { offset, length } => {
                match read_cached(&self.image, &self.pool, *offset, *length) {
                    Some(data) => LocalOutcome::Data(data),
                    None => return self.workers.read_cold(id, op),
                }
            }
            LocalOp::Write { offset, data } => {
                self.before_write(*offset, data.len() as u64);
                local(&self.image, &self.pool, &op)
            }
            LocalOp::Zero { offset, length } => {
                self.before_write(*offset, *length);
                local(&self.image, &self.pool, &op)
            }
        };
        self.node.local_done(id, outcome);
    }

    fn before_write(&mut self, offset: u64, length: u64) {
        let Some(hash) = &mut self.cut_hash else {
            return;
        };
        if let Err(error) = hash.before_write(&self.image, offset, length) {
            tracing::error!("the digest of the cut was given up: {error}");
            self.cut_hash = None;
        }
    }

    fn resize(&mut self, size_bytes: u64) {
        let outcome = self
            .image
            .ensure_size(size_bytes)
            .map_err(|error| format!("the image cannot be made {size_bytes} bytes large: {error}"))
            .and_then(|()| {
                let words = self
                    .state
                    .map_bitmap(size_bytes)
                    .map_err(|e| e.to_string())?;
                let activity = self
                    .state
                    .load_activity(size_bytes)
                    .map_err(|e| e.to_string())?;
                self.node
                    .resized(words, activity)
                    .map_err(|refusal| refusal.to_string())
            });
        if let Err(reason) = outcome {
            self.broken = Some(reason);
        }
    }

    fn handover_ended(&mut self, name: String, outcome: Result<u64, String>, hold_us: u64) {
        let waiting: Vec<(Token, Instant)> = self
            .controls
            .iter()
            .filter_map(|(token, control)| {
                control
                    .waits_for
                    .as_ref()
                    .filter(|(cut, _)| *cut == name)
                    .map(|(_, at)| (*token, *at))
            })
            .collect();
        let since = waiting
            .iter()
            .map(|(_, at)| *at)
            .min()
            .unwrap_or_else(Instant::now);
        let total_us = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
        let response = match outcome {
            Ok(generation) => {
                let known = self.handover.clone().filter(|handover| handover.id == name);
                let handover = known.unwrap_or(Handover {
                    id: name,
                    generation,
                    hold_us,
                    total_us,
                });
                self.handover = Some(handover.clone());
                Response::Handover(handover)
            }
            Err(reason) => Response::Refused { reason },
        };
        for (token, _) in waiting {
            if let Some(control) = self.controls.get_mut(&token) {
                control.waits_for = None;
            }
            self.respond(token, &response);
        }
    }
}
