//! The link to the other side: dialling, taking calls, reading and writing messages.

use super::VolumeProcess;
use crate::address::resolve;
use crate::peer::PeerConnection;
use crate::stream::Stream;
use mio::net::TcpStream;
use mio::{Interest, Token};
use std::time::{Duration, Instant};
use yundu_replicate_core::wire::Message;

const DIAL_TIMEOUT: Duration = Duration::from_secs(1);
const DIAL_PAUSE: Duration = Duration::from_millis(200);
const CANDIDATE_TIMEOUT: Duration = Duration::from_secs(5);
const CANDIDATES_MAX: usize = 8;
/// Messages taken from the other side before clients are looked after again.
const MESSAGES_AT_ONCE: usize = 64;

impl VolumeProcess {
    /// Someone calls; whether it is the other side shows in its first message.
    pub(super) fn add_candidate(&mut self, mut stream: Stream) -> std::io::Result<()> {
        if self.candidates.len() >= CANDIDATES_MAX {
            return Ok(());
        }
        let token = self.fresh_token();
        stream.register(self.poll.registry(), token)?;
        self.candidates
            .insert(token, (PeerConnection::new(stream), Instant::now()));
        self.hear_candidate(token);
        Ok(())
    }

    fn hear_candidate(&mut self, token: Token) {
        let Some((candidate, _)) = self.candidates.get_mut(&token) else {
            return;
        };
        match candidate.next_message(&mut self.scratch) {
            Ok(None) => {}
            Ok(Some(hello @ Message::Hello(_))) => {
                let Some((connection, _)) = self.candidates.remove(&token) else {
                    return;
                };
                if self.peer.take().is_some() {
                    self.node.link_down("the other side called again");
                }
                self.peer = Some((token, connection));
                self.node.link_up();
                self.node.peer(hello);
            }
            Ok(Some(_)) | Err(_) => {
                self.candidates.remove(&token);
            }
        }
    }

    pub(super) fn peer_ready(&mut self, token: Token, readable: bool, writable: bool) {
        if let Some((present, peer)) = &mut self.peer
            && *present == token
        {
            if readable {
                peer.set_readable();
            }
        } else if let Some((candidate, _)) = self.candidates.get_mut(&token) {
            if readable {
                candidate.set_readable();
                self.hear_candidate(token);
            }
        } else if writable || readable {
            self.dialled(token);
        }
    }

    fn dialled(&mut self, token: Token) {
        let Some((dialling, stream, _)) = self.dialling.take() else {
            return;
        };
        if dialling != token {
            self.dialling = Some((dialling, stream, Instant::now()));
            return;
        }
        let failure = match stream.take_error() {
            Ok(None) if stream.peer_addr().is_ok() => None,
            Ok(Some(error)) | Err(error) => Some(error.to_string()),
            Ok(None) => Some("no answer".to_owned()),
        };
        if let Some(reason) = failure {
            self.node.link_down(&reason);
            return;
        }
        if let Err(error) = stream.set_nodelay(true) {
            self.node.link_down(&error.to_string());
            return;
        }
        if self.peer.is_some() {
            return;
        }
        self.peer = Some((token, PeerConnection::new(Stream::Tcp(stream))));
        self.node.link_up();
    }

    /// Dials when this side is the one that dials, and gives up calls that lead nowhere.
    pub(super) fn look_after_link(&mut self) {
        let now = Instant::now();
        self.candidates
            .retain(|_, (_, since)| now.duration_since(*since) < CANDIDATE_TIMEOUT);
        if let Some((_, _, since)) = &self.dialling
            && now.duration_since(*since) > DIAL_TIMEOUT
        {
            self.dialling = None;
            self.node.link_down("no answer to the call");
        }
        let address = match &self.node.meta().peer {
            Some(peer) if !peer.address.is_empty() => peer.address.clone(),
            _ => return,
        };
        if self.peer.is_some() || self.dialling.is_some() || now < self.dial_at {
            return;
        }
        self.dial_at = now + DIAL_PAUSE;
        let Some(socket_address) = resolve(&address) else {
            self.node
                .link_down(&format!("`{address}` cannot be resolved"));
            return;
        };
        let token = self.fresh_token();
        let outcome = TcpStream::connect(socket_address).and_then(|mut stream| {
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll
                .registry()
                .register(&mut stream, token, interest)?;
            Ok(stream)
        });
        match outcome {
            Ok(stream) => self.dialling = Some((token, stream, now)),
            Err(error) => self.node.link_down(&error.to_string()),
        }
    }

    /// Takes messages in; says whether there were any.
    pub(super) fn receive_from_peer(&mut self) -> bool {
        let mut progress = false;
        for _ in 0..MESSAGES_AT_ONCE {
            let Some((_, peer)) = &mut self.peer else {
                return progress;
            };
            match peer.next_message(&mut self.scratch) {
                Ok(Some(message)) => {
                    progress = true;
                    self.node.peer(message);
                }
                Ok(None) => return progress,
                Err(reason) => {
                    self.peer = None;
                    self.node.link_down(&reason);
                    return true;
                }
            }
        }
        progress
    }

    pub(super) fn flush_peer(&mut self) {
        let Some((_, peer)) = &mut self.peer else {
            return;
        };
        if let Err(reason) = peer.flush() {
            self.peer = None;
            self.node.link_down(&reason);
            self.pump();
        }
    }

    /// The state machine gives the link up; what it still had to say is said if there is room.
    pub(super) fn close_peer(&mut self, reason: &str) {
        if let Some((_, mut peer)) = self.peer.take() {
            let _ = peer.flush();
        }
        self.node.link_down(reason);
        self.dial_at = Instant::now() + DIAL_PAUSE;
    }
}
