//! The control socket.

use super::{VolumeProcess, listen_for_clients};
use crate::address::Address;
use crate::control::{Request, Response};
use crate::stream::{Stream, Transfer};
use mio::Token;
use std::io::IoSlice;
use std::str::FromStr;
use std::time::Instant;

const LINE_BYTES_MAX: usize = 64 << 10;
const OUTPUT_BYTES_MAX: usize = 16 << 20;

/// A connection to the control socket.
#[derive(Debug)]
pub(super) struct ControlConnection {
    stream: Stream,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Name of the cut whose end is to be told, and since when it is waited for.
    pub(super) waits_for: Option<(String, Instant)>,
}

impl VolumeProcess {
    pub(super) fn add_control(&mut self, mut stream: Stream) -> std::io::Result<()> {
        let token = self.fresh_token();
        stream.register(self.poll.registry(), token)?;
        self.controls.insert(
            token,
            ControlConnection {
                stream,
                input: Vec::new(),
                output: Vec::new(),
                waits_for: None,
            },
        );
        self.serve_control(token, true);
        Ok(())
    }

    pub(super) fn serve_control(&mut self, token: Token, readable: bool) {
        if readable {
            let mut piece = [0; 4096];
            loop {
                let Some(control) = self.controls.get_mut(&token) else {
                    return;
                };
                match control.stream.read(&mut piece) {
                    Transfer::Bytes(count) => {
                        control
                            .input
                            .extend_from_slice(piece.get(..count).unwrap_or_default());
                        if control.input.len() > LINE_BYTES_MAX {
                            self.controls.remove(&token);
                            return;
                        }
                    }
                    Transfer::WouldBlock => break,
                    Transfer::Closed => {
                        self.controls.remove(&token);
                        return;
                    }
                }
            }
        }
        while let Some(control) = self.controls.get_mut(&token) {
            let Some(end) = control.input.iter().position(|byte| *byte == b'\n') else {
                break;
            };
            let line: Vec<u8> = control.input.drain(..=end).collect();
            match serde_json::from_slice::<Request>(&line) {
                Ok(request) => self.obey(token, request),
                Err(error) => {
                    let reason = format!("this is no control request: {error}");
                    self.respond(token, &Response::Refused { reason });
                }
            }
        }
        self.flush_control(token);
    }

    pub(super) fn respond(&mut self, token: Token, response: &Response) {
        if let Some(control) = self.controls.get_mut(&token) {
            if let Ok(json) = serde_json::to_vec(response)
                && control.output.len() + json.len() < OUTPUT_BYTES_MAX
            {
                control.output.extend_from_slice(&json);
                control.output.push(b'\n');
            }
            self.flush_control(token);
        }
    }

    fn flush_control(&mut self, token: Token) {
        let Some(control) = self.controls.get_mut(&token) else {
            return;
        };
        while !control.output.is_empty() {
            match control.stream.write(&[IoSlice::new(&control.output)]) {
                Transfer::Bytes(count) => {
                    control.output.drain(..count);
                }
                Transfer::WouldBlock => return,
                Transfer::Closed => {
                    self.controls.remove(&token);
                    return;
                }
            }
        }
    }

    fn obey(&mut self, token: Token, request: Request) {
        let refuse = |reason: String| Response::Refused { reason };
        let done = |outcome: Result<(), yundu_replicate_core::node::Refusal>| match outcome {
            Ok(()) => Response::Done,
            Err(refusal) => refuse(refusal.0),
        };
        let response = match request {
            Request::Status => Response::Status(Box::new(self.status())),
            Request::Replicate { to, mode, policy } => match crate::address::resolve(&to) {
                None => refuse(format!("`{to}` is no address: give HOST:PORT")),
                Some(_) => {
                    self.dial_at = Instant::now();
                    done(self.node.set_target(to, mode, policy))
                }
            },
            Request::Detach => done(self.node.forget_target()),
            Request::Cutover { id, to_me } => {
                if let Some(control) = self.controls.get_mut(&token) {
                    control.waits_for = Some((id.clone(), Instant::now()));
                }
                match self.node.hand_over(&id, to_me) {
                    Ok(()) => return,
                    Err(refusal) => {
                        if let Some(control) = self.controls.get_mut(&token) {
                            control.waits_for = None;
                        }
                        refuse(refusal.0)
                    }
                }
            }
            Request::Verify { repair } => done(self.node.start_verify(repair)),
            Request::Promote { accept_unknown_rpo } => done(self.node.promote(accept_unknown_rpo)),
            Request::Export { listen, export } => self.export(&listen, export),
            Request::Unexport => {
                self.unexport();
                Response::Done
            }
            Request::Events { since } => match self.state.events_since(since) {
                Ok(events) => Response::Events { events },
                Err(error) => refuse(format!("the events cannot be read: {error}")),
            },
            Request::ResetMeters => {
                self.meters.reset();
                Response::Done
            }
            Request::Stop => {
                self.stopping = true;
                Response::Done
            }
        };
        self.respond(token, &response);
    }

    fn export(&mut self, listen: &str, export: String) -> Response {
        let refuse = |reason: String| Response::Refused { reason };
        let address = match Address::from_str(listen) {
            Ok(address) => address,
            Err(error) => return refuse(error.to_string()),
        };
        if self.exports.contains(&address.to_string()) && self.options.name == export {
            return Response::Done;
        }
        if !address.is_local() && !self.options.allow_plaintext {
            return refuse(
                super::ProcessError::Plaintext {
                    address: address.to_string(),
                }
                .to_string(),
            );
        }
        match listen_for_clients(&address) {
            Ok(listener) => {
                self.options.name = export;
                match self.add_listener(listener, Some(address.to_string())) {
                    Ok(()) => Response::Done,
                    Err(error) => refuse(error.to_string()),
                }
            }
            Err(error) => refuse(error.to_string()),
        }
    }

    /// Nobody connects any more, and who is connected is cut off: this face is fenced.
    fn unexport(&mut self) {
        for token in std::mem::take(&mut self.client_tokens) {
            self.listeners.remove(&token);
        }
        self.exports.clear();
        let tokens: Vec<Token> = self.clients.keys().copied().collect();
        let count = tokens.len();
        for token in tokens {
            self.drop_client(token);
        }
        self.record(
            "volume.unexported",
            serde_json::json!({"clients_dropped": count}),
        );
    }
}
