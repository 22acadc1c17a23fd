//! How a client negotiates: everything before the first request.

use super::client::{ClientError, ClientEvent, ClientSession, Phase, protocol};
use super::protocol::*;
use bytes::{Buf, BufMut, Bytes};

/// Longest reply to an option, bytes.
const OPTION_REPLY_BYTES_MAX: u32 = 16 << 10;
/// Replies that one option may have.
const OPTION_REPLIES_MAX: u32 = 1024;

impl ClientSession {
    pub(super) fn step_greeting(&mut self) -> Result<bool, ClientError> {
        let Some(greeting) = self.input.peek().first_chunk::<18>().copied() else {
            return Ok(false);
        };
        self.input.take(greeting.len());
        let mut greeting = greeting.as_slice();
        if greeting.get_u64() != INIT_MAGIC || greeting.get_u64() != OPTION_MAGIC {
            return Err(protocol(
                "the greeting is not that of a newstyle NBD server",
            ));
        }
        let flags = greeting.get_u16() & (FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES);
        self.no_zeroes = flags & FLAG_NO_ZEROES != 0;
        self.output.gather(|out| out.put_u32(u32::from(flags)));
        if flags & FLAG_FIXED_NEWSTYLE == 0 {
            self.ask_export_name();
        } else if self.options.structured {
            self.ask(OPT_STRUCTURED_REPLY, &[]);
        } else {
            self.ask_go();
        }
        Ok(true)
    }

    pub(super) fn step_option(&mut self, option: u32, replies: u32) -> Result<bool, ClientError> {
        let Some(header) = self.input.peek().first_chunk::<20>().copied() else {
            return Ok(false);
        };
        let mut header = header.as_slice();
        let (magic, subject) = (header.get_u64(), header.get_u32());
        let (kind, length) = (header.get_u32(), header.get_u32());
        if magic != OPTION_REPLY_MAGIC || subject != option {
            return Err(protocol(
                "an option reply with a wrong magic or to another option",
            ));
        }
        if length > OPTION_REPLY_BYTES_MAX || replies >= OPTION_REPLIES_MAX {
            return Err(protocol("option replies that are too long or too many"));
        }
        let total = 20 + length as usize;
        let Some(data) = self.input.peek().get(20..total) else {
            return Ok(false);
        };
        let data = Bytes::copy_from_slice(data);
        self.input.take(total);
        self.phase = Phase::Option {
            option,
            replies: replies + 1,
        };
        if kind & REP_ERROR_BIT != 0 {
            self.option_refused(option, kind, &data)?;
        } else if kind == REP_ACK {
            self.option_granted(option)?;
        } else if kind == REP_INFO {
            self.learn(data)?;
        } else if kind == REP_META_CONTEXT {
            self.granted.block_status |= data.get(4..) == Some(CONTEXT_BASE_ALLOCATION.as_bytes());
        }
        Ok(true)
    }

    fn option_refused(&mut self, option: u32, kind: u32, data: &[u8]) -> Result<(), ClientError> {
        match option {
            OPT_GO if kind == REP_ERR_UNSUP => self.ask_export_name(),
            OPT_STRUCTURED_REPLY => self.ask_go(),
            OPT_SET_META_CONTEXT => {
                self.granted.block_status = false;
                self.ask_go();
            }
            _ => {
                self.put_option(OPT_ABORT, &[]);
                return Err(ClientError::Refused {
                    export: self.options.export.clone(),
                    reply: kind,
                    message: String::from_utf8_lossy(data).into_owned(),
                });
            }
        }
        Ok(())
    }

    fn option_granted(&mut self, option: u32) -> Result<(), ClientError> {
        match option {
            OPT_STRUCTURED_REPLY => {
                self.granted.structured = true;
                if self.options.block_status {
                    self.ask_block_status();
                } else {
                    self.ask_go();
                }
            }
            OPT_SET_META_CONTEXT => self.ask_go(),
            _ if !self.size_known => {
                return Err(protocol("GO was granted without the size of the export"));
            }
            _ => self.enter(),
        }
        Ok(())
    }

    /// One aspect of the export, in reply to GO.
    fn learn(&mut self, mut data: Bytes) -> Result<(), ClientError> {
        let malformed = |_| protocol("a malformed description of the export");
        match data.try_get_u16().map_err(malformed)? {
            INFO_EXPORT => {
                self.granted.size_bytes = data.try_get_u64().map_err(malformed)?;
                self.granted.flags = data.try_get_u16().map_err(malformed)?;
                self.size_known = true;
            }
            INFO_BLOCK_SIZE => {
                self.granted.block_size_min = data.try_get_u32().map_err(malformed)?;
                self.granted.block_size_preferred = data.try_get_u32().map_err(malformed)?;
                let payload = data.try_get_u32().map_err(malformed)?;
                self.granted.payload_bytes_max = payload.min(PAYLOAD_BYTES_MAX);
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn step_export_name(&mut self) -> Result<bool, ClientError> {
        let total = if self.no_zeroes { 10 } else { 134 };
        let Some(mut data) = self.input.peek().get(..total) else {
            return Ok(false);
        };
        self.granted.size_bytes = data.get_u64();
        self.granted.flags = data.get_u16();
        self.input.take(total);
        self.enter();
        Ok(true)
    }

    fn enter(&mut self) {
        self.phase = Phase::Transmission;
        self.events
            .push_back(ClientEvent::Connected(self.granted.clone()));
    }

    fn ask(&mut self, option: u32, data: &[u8]) {
        self.put_option(option, data);
        self.phase = Phase::Option { option, replies: 0 };
    }

    fn ask_go(&mut self) {
        let mut data = string(&self.options.export);
        data.put_u16(1);
        data.put_u16(INFO_BLOCK_SIZE);
        self.ask(OPT_GO, &data);
    }

    fn ask_block_status(&mut self) {
        let mut data = string(&self.options.export);
        data.put_u32(1);
        data.extend_from_slice(&string(CONTEXT_BASE_ALLOCATION));
        self.ask(OPT_SET_META_CONTEXT, &data);
    }

    fn ask_export_name(&mut self) {
        let name = self.options.export.clone();
        self.put_option(OPT_EXPORT_NAME, name.as_bytes());
        self.phase = Phase::ExportName;
    }

    pub(super) fn put_option(&mut self, option: u32, data: &[u8]) {
        self.output.gather(|out| {
            out.put_u64(OPTION_MAGIC);
            out.put_u32(option);
            out.put_u32(data.len() as u32);
            out.put_slice(data);
        });
    }
}

/// A string behind its length of 32 bits.
fn string(text: &str) -> Vec<u8> {
    let mut data = Vec::with_capacity(8 + text.len());
    data.put_u32(text.len() as u32);
    data.put_slice(text.as_bytes());
    data
}
