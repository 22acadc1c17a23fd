//! Option haggling of a server: everything before the first request.

use super::input::Input;
use super::output::OutputQueue;
use super::protocol::*;
use super::request::ExportInfo;
use bytes::{Buf, BufMut};

/// Longest option data that is looked at, bytes: a name and seven queries of full length.
const OPTION_BYTES_MAX: u32 = 32 << 10;
/// Longest option data that is skipped rather than taken for an attack, bytes.
const OPTION_SKIP_BYTES_MAX: u32 = 1 << 20;
/// Options that one client may send.
const OPTIONS_MAX: u32 = 1024;
/// Option header, bytes.
const OPTION_HEADER_BYTES: usize = 16;

/// Outcome of one step.
pub(super) enum Step {
    NeedInput,
    Again,
    /// The client ended the session.
    Abort,
    Violation(String),
    /// Requests follow.
    Enter {
        export: usize,
        structured: bool,
        block_status: bool,
    },
}

/// State of the negotiation.
#[derive(Debug)]
pub(super) struct Handshake {
    greeted: bool,
    no_zeroes: bool,
    structured: bool,
    /// Index of the export for which `base:allocation` was selected.
    context_of: Option<usize>,
    options: u32,
}

/// An error reply: type and message for people.
type Refusal = (u32, &'static str);

impl Handshake {
    /// Sends the greeting.
    pub(super) fn new(output: &mut OutputQueue) -> Self {
        output.gather(|out| {
            out.put_u64(INIT_MAGIC);
            out.put_u64(OPTION_MAGIC);
            out.put_u16(FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES);
        });
        Self {
            greeted: false,
            no_zeroes: false,
            structured: false,
            context_of: None,
            options: 0,
        }
    }

    /// Consumes the client flags or one option.
    pub(super) fn step(
        &mut self,
        input: &mut Input,
        output: &mut OutputQueue,
        exports: &[ExportInfo],
    ) -> Step {
        if !self.greeted {
            return self.take_client_flags(input);
        }
        let Some(header) = input.peek().first_chunk::<OPTION_HEADER_BYTES>().copied() else {
            return Step::NeedInput;
        };
        let mut header = header.as_slice();
        let magic = header.get_u64();
        let (option, length) = (header.get_u32(), header.get_u32());
        if magic != OPTION_MAGIC {
            return Step::Violation("an option does not begin with IHAVEOPT".into());
        }
        if self.options >= OPTIONS_MAX {
            return Step::Violation(format!("more than {OPTIONS_MAX} options"));
        }
        if length > OPTION_BYTES_MAX {
            return self.skip_long_option(option, length, input, output);
        }
        let total = OPTION_HEADER_BYTES + length as usize;
        let Some(data) = input.peek().get(OPTION_HEADER_BYTES..total) else {
            return Step::NeedInput;
        };
        self.options += 1;
        let step = self.take_option(option, data, output, exports);
        input.take(total);
        step
    }

    fn take_client_flags(&mut self, input: &mut Input) -> Step {
        let Some(flags) = input.peek().first_chunk::<4>().copied() else {
            return Step::NeedInput;
        };
        input.take(4);
        let flags = u32::from_be_bytes(flags);
        let known = u32::from(FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES);
        if flags & !known != 0 {
            return Step::Violation(format!("unknown client flags {flags:#x}"));
        }
        self.greeted = true;
        self.no_zeroes = flags & u32::from(FLAG_NO_ZEROES) != 0;
        Step::Again
    }

    fn skip_long_option(
        &mut self,
        option: u32,
        length: u32,
        input: &mut Input,
        output: &mut OutputQueue,
    ) -> Step {
        if length > OPTION_SKIP_BYTES_MAX || option == OPT_EXPORT_NAME {
            return Step::Violation(format!("option {option} with {length} bytes of data"));
        }
        self.options += 1;
        input.take(OPTION_HEADER_BYTES);
        input.drain(u64::from(length));
        if option == OPT_ABORT {
            reply(output, option, REP_ACK, &[]);
            return Step::Abort;
        }
        let refusal = match option {
            OPT_LIST | OPT_STARTTLS | OPT_STRUCTURED_REPLY => UNWANTED_DATA,
            OPT_INFO | OPT_GO | OPT_LIST_META_CONTEXT | OPT_SET_META_CONTEXT => {
                (REP_ERR_TOO_BIG, "the option is too long")
            }
            _ => UNKNOWN_OPTION,
        };
        if option == OPT_SET_META_CONTEXT {
            self.context_of = None;
        }
        refuse(output, option, refusal);
        Step::Again
    }

    fn take_option(
        &mut self,
        option: u32,
        data: &[u8],
        output: &mut OutputQueue,
        exports: &[ExportInfo],
    ) -> Step {
        let outcome = match option {
            OPT_EXPORT_NAME => return self.export_name(data, output, exports),
            OPT_ABORT => {
                reply(output, option, REP_ACK, &[]);
                return Step::Abort;
            }
            OPT_INFO | OPT_GO => match self.describe(option, data, output, exports) {
                Ok(export) if option == OPT_GO => {
                    reply(output, option, REP_ACK, &[]);
                    return self.enter(export);
                }
                outcome => outcome.map(|_| ()),
            },
            OPT_LIST if data.is_empty() => {
                for export in exports {
                    let mut entry = Vec::with_capacity(4 + export.name.len());
                    entry.put_u32(export.name.len() as u32);
                    entry.put_slice(export.name.as_bytes());
                    reply(output, option, REP_SERVER, &entry);
                }
                Ok(())
            }
            OPT_STRUCTURED_REPLY if data.is_empty() => {
                self.structured = true;
                Ok(())
            }
            OPT_STARTTLS if data.is_empty() => Err((REP_ERR_UNSUP, "TLS is not offered here")),
            OPT_LIST | OPT_STRUCTURED_REPLY | OPT_STARTTLS => Err(UNWANTED_DATA),
            OPT_LIST_META_CONTEXT | OPT_SET_META_CONTEXT => {
                self.meta_context(option, data, output, exports)
            }
            _ => Err(UNKNOWN_OPTION),
        };
        match outcome {
            Ok(()) => reply(output, option, REP_ACK, &[]),
            Err(refusal) => refuse(output, option, refusal),
        }
        Step::Again
    }

    fn enter(&self, export: usize) -> Step {
        Step::Enter {
            export,
            structured: self.structured,
            block_status: self.structured && self.context_of == Some(export),
        }
    }

    /// The only option that cannot be answered with an error.
    fn export_name(&self, data: &[u8], output: &mut OutputQueue, exports: &[ExportInfo]) -> Step {
        let Some((index, export)) = find(exports, data) else {
            let name = String::from_utf8_lossy(data.get(..256).unwrap_or(data));
            return Step::Violation(format!("no export named '{name}'"));
        };
        output.gather(|out| {
            out.put_u64(export.size_bytes);
            out.put_u16(export.transmission_flags(self.structured));
            if !self.no_zeroes {
                out.put_bytes(0, 124);
            }
        });
        self.enter(index)
    }

    /// INFO and GO, up to the final reply.
    fn describe(
        &self,
        option: u32,
        mut data: &[u8],
        output: &mut OutputQueue,
        exports: &[ExportInfo],
    ) -> Result<usize, Refusal> {
        const MALFORMED: Refusal = (REP_ERR_INVALID, "the lengths in the option contradict");
        let name = take_string(&mut data).ok_or(MALFORMED)?;
        let count = data.try_get_u16().map_err(|_| MALFORMED)?;
        if data.len() != 2 * usize::from(count) {
            return Err(MALFORMED);
        }
        let mut wanted = data
            .chunks_exact(2)
            .filter_map(|mut item| item.try_get_u16().ok());
        let (name_wanted, description_wanted) =
            wanted
                .by_ref()
                .fold((false, false), |(name, description), item| {
                    (
                        name || item == INFO_NAME,
                        description || item == INFO_DESCRIPTION,
                    )
                });
        let (index, export) = find(exports, name).ok_or(UNKNOWN_EXPORT)?;
        let mut info = Vec::with_capacity(16);
        info.put_u16(INFO_EXPORT);
        info.put_u64(export.size_bytes);
        info.put_u16(export.transmission_flags(self.structured));
        reply(output, option, REP_INFO, &info);
        if name_wanted || name != export.name.as_bytes() {
            reply(
                output,
                option,
                REP_INFO,
                &[&INFO_NAME.to_be_bytes(), export.name.as_bytes()].concat(),
            );
        }
        if description_wanted {
            let description = export.description();
            let info = [&INFO_DESCRIPTION.to_be_bytes(), description.as_bytes()].concat();
            reply(output, option, REP_INFO, &info);
        }
        // Sent unasked too: a client that cares abides by it, any other ignores it.
        info.clear();
        info.put_u16(INFO_BLOCK_SIZE);
        info.put_u32(export.block_size_min);
        info.put_u32(export.block_size_preferred);
        info.put_u32(export.payload_bytes_max);
        reply(output, option, REP_INFO, &info);
        Ok(index)
    }

    fn meta_context(
        &mut self,
        option: u32,
        data: &[u8],
        output: &mut OutputQueue,
        exports: &[ExportInfo],
    ) -> Result<(), Refusal> {
        let select = option == OPT_SET_META_CONTEXT;
        if select {
            // Even a failed selection ends the earlier one.
            self.context_of = None;
            if !self.structured {
                return Err((
                    REP_ERR_INVALID,
                    "structured replies must be negotiated first",
                ));
            }
        }
        let (name, queries) =
            parse_queries(data).ok_or((REP_ERR_INVALID, "the lengths in the option contradict"))?;
        let (index, _) = find(exports, name).ok_or(UNKNOWN_EXPORT)?;
        let listed = !select && (queries.is_empty() || queries.contains(&b"base:".as_slice()));
        if listed || queries.contains(&CONTEXT_BASE_ALLOCATION.as_bytes()) {
            let identity = if select {
                CONTEXT_BASE_ALLOCATION_ID
            } else {
                0
            };
            let entry = [&identity.to_be_bytes(), CONTEXT_BASE_ALLOCATION.as_bytes()].concat();
            reply(output, option, REP_META_CONTEXT, &entry);
            if select {
                self.context_of = Some(index);
            }
        }
        Ok(())
    }
}

const UNWANTED_DATA: Refusal = (REP_ERR_INVALID, "this option takes no data");
const UNKNOWN_OPTION: Refusal = (REP_ERR_UNSUP, "this server does not know the option");
const UNKNOWN_EXPORT: Refusal = (REP_ERR_UNKNOWN, "no export of that name; ask for the list");

/// The export of that name; the empty name means the only one, where there is only one.
fn find<'a>(exports: &'a [ExportInfo], name: &[u8]) -> Option<(usize, &'a ExportInfo)> {
    let named = exports
        .iter()
        .enumerate()
        .find(|(_, export)| export.name.as_bytes() == name);
    match (named, exports) {
        (None, [only]) if name.is_empty() => Some((0, only)),
        _ => named,
    }
}

/// A string behind its length of 32 bits.
fn take_string<'a>(data: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(data.try_get_u32().ok()?).ok()?;
    if length > STRING_BYTES_MAX {
        return None;
    }
    let (string, rest) = data.split_at_checked(length)?;
    *data = rest;
    Some(string)
}

/// Export name and queries; the data must be used up exactly.
fn parse_queries(mut data: &[u8]) -> Option<(&[u8], Vec<&[u8]>)> {
    let name = take_string(&mut data)?;
    let count = data.try_get_u32().ok()?;
    // Each query needs four bytes: the number cannot exceed what was sent.
    if u64::from(count) * 4 > data.len() as u64 {
        return None;
    }
    let queries = (0..count)
        .map(|_| take_string(&mut data))
        .collect::<Option<Vec<_>>>()?;
    data.is_empty().then_some((name, queries))
}

fn reply(output: &mut OutputQueue, option: u32, kind: u32, data: &[u8]) {
    output.gather(|out| {
        out.put_u64(OPTION_REPLY_MAGIC);
        out.put_u32(option);
        out.put_u32(kind);
        out.put_u32(data.len() as u32);
        out.put_slice(data);
    });
}

fn refuse(output: &mut OutputQueue, option: u32, (kind, message): Refusal) {
    reply(output, option, kind, message.as_bytes());
}
