//! Commands in the fields of a request, as a client sends them.

use super::assembly::Expected;
use super::protocol::*;
use super::request::Command;

/// A command in the fields of a request.
pub(super) struct Encoded {
    pub(super) flags: u16,
    pub(super) kind: u16,
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) expected: Expected,
}

impl Encoded {
    pub(super) fn of(command: &Command) -> Self {
        let flag = |set: bool, flag: u16| if set { flag } else { 0 };
        let plain = |kind, offset, length, flags| Self {
            flags,
            kind,
            offset,
            length,
            expected: Expected::Nothing,
        };
        match *command {
            Command::Read {
                offset,
                length,
                dont_fragment,
            } => Self {
                expected: Expected::Data { offset, length },
                ..plain(
                    CMD_READ,
                    offset,
                    u64::from(length),
                    flag(dont_fragment, CMD_FLAG_DF),
                )
            },
            Command::Write {
                offset,
                ref data,
                fua,
            } => plain(
                CMD_WRITE,
                offset,
                data.len() as u64,
                flag(fua, CMD_FLAG_FUA),
            ),
            Command::WriteZeroes {
                offset,
                length,
                fua,
                no_hole,
                fast,
            } => {
                let flags = flag(fua, CMD_FLAG_FUA)
                    | flag(no_hole, CMD_FLAG_NO_HOLE)
                    | flag(fast, CMD_FLAG_FAST_ZERO);
                plain(CMD_WRITE_ZEROES, offset, length, flags)
            }
            Command::Trim {
                offset,
                length,
                fua,
            } => plain(CMD_TRIM, offset, length, flag(fua, CMD_FLAG_FUA)),
            Command::Flush => plain(CMD_FLUSH, 0, 0, 0),
            Command::Cache { offset, length } => plain(CMD_CACHE, offset, length, 0),
            Command::BlockStatus {
                offset,
                length,
                one,
            } => Self {
                expected: Expected::Extents,
                ..plain(
                    CMD_BLOCK_STATUS,
                    offset,
                    length,
                    flag(one, CMD_FLAG_REQ_ONE),
                )
            },
        }
    }
}
