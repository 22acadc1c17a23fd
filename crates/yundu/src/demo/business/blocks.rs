//! The built-in ledger, for machines without root or PostgreSQL: double-entry transfers straight
//! on the volume over NBD. Every transfer is one checksummed record, flushed before it is
//! acknowledged; account pages follow. An archive of checksummed pages stands for the old years.
//!
//! ```text
//! 0        1 MiB                129 MiB          193 MiB
//! │ accounts │ journal: 4 × 32 MiB │ archive: 64 MiB │ …
//! ```
//! Each of the four writers has its own accounts and its own slice of the journal, so that none
//! waits for another.

use super::{CONNECTIONS, Desk, Dice, RATE};
use crate::demo::nbd;
use crate::demo::transfers::Transfer;
use anyhow::{Context as _, Result, bail};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use yundu_replicate::nbd_client::NbdClient;

const PAGE_BYTES: u64 = 4096;
const RECORD_BYTES: u64 = 512;
const CHUNK_BYTES: u64 = 1 << 20;
const DIGEST_BYTES: usize = 32;
/// Accounts of one writer.
const ACCOUNTS: i64 = 64;
const JOURNAL_AT: u64 = 1 << 20;
const SLICE_BYTES: u64 = 32 << 20;
const RECORDS_MAX: u64 = SLICE_BYTES / RECORD_BYTES;
const ARCHIVE_AT: u64 = JOURNAL_AT + CONNECTIONS as u64 * SLICE_BYTES;
/// Accounts of all writers.
pub const ACCOUNTS_COUNT: u64 = CONNECTIONS as u64 * ACCOUNTS as u64;
/// Size of the archive, bytes.
pub const ARCHIVE_BYTES: u64 = 64 << 20;

const RECORD_MARK: i64 = 0x5944_5245_434f_5244;
const PAGE_MARK: i64 = 0x5944_4143_434f_554e;
const ARCHIVE_MARK: i64 = 0x5944_4152_4348_4956;

/// `numbers` at the front, zeroes, and a SHA-256 over both at the end.
fn seal(numbers: &[i64], length: u64) -> Result<Vec<u8>> {
    let mut bytes: Vec<u8> = numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    bytes.resize(usize::try_from(length)? - DIGEST_BYTES, 0);
    let digest = Sha256::digest(&bytes);
    bytes.extend(digest);
    Ok(bytes)
}

/// The numbers at the front of a sealed block; `None` when its checksum does not hold.
fn unseal<const N: usize>(bytes: &[u8]) -> Option<[i64; N]> {
    let (content, digest) = bytes.split_at_checked(bytes.len().checked_sub(DIGEST_BYTES)?)?;
    if Sha256::digest(content)[..] != *digest {
        return None;
    }
    let mut numbers = [0; N];
    for (number, word) in numbers.iter_mut().zip(content.chunks_exact(8)) {
        *number = i64::from_le_bytes(word.try_into().ok()?);
    }
    Some(numbers)
}

fn record_offset(writer: u64, sequence: u64) -> u64 {
    JOURNAL_AT + writer * SLICE_BYTES + sequence * RECORD_BYTES
}

fn page_offset(writer: u64, account: i64) -> u64 {
    (writer * ACCOUNTS.unsigned_abs() + account.unsigned_abs()) * PAGE_BYTES
}

/// One page of the archive: its number and words that follow from it, sealed.
fn archive_page(index: u64) -> Result<Vec<u8>> {
    let mut state = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut numbers = vec![ARCHIVE_MARK, i64::try_from(index)?];
    while numbers.len() < 400 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        numbers.push(i64::from_le_bytes(state.to_le_bytes()));
    }
    seal(&numbers, PAGE_BYTES)
}

/// Fills the archive of a new ledger.
///
/// # Errors
/// When the volume does not take it.
pub fn load(address: &str) -> Result<()> {
    let mut client = nbd::connect(address)?;
    let pages_per_chunk = CHUNK_BYTES / PAGE_BYTES;
    for chunk in 0..ARCHIVE_BYTES / CHUNK_BYTES {
        let mut bytes = Vec::new();
        for page in 0..pages_per_chunk {
            bytes.extend(archive_page(chunk * pages_per_chunk + page)?);
        }
        client.write(ARCHIVE_AT + chunk * CHUNK_BYTES, bytes.into())?;
    }
    Ok(client.flush()?)
}

/// Byte offset of a page that is in use and never written again.
pub fn cold_page_offset() -> u64 {
    ARCHIVE_AT + ARCHIVE_BYTES / 2
}

/// Runs until the stop file appears.
///
/// # Errors
/// When the record outside cannot be written, the volume answers with an error, or the journal
/// is full.
pub fn run(desk: Desk, address: &str) -> Result<()> {
    let desk = Arc::new(desk);
    let writers: Vec<_> = (0..CONNECTIONS as u64)
        .map(|writer| {
            let (desk, address) = (Arc::clone(&desk), address.to_owned());
            std::thread::spawn(move || work(&desk, &address, writer))
        })
        .collect();
    for writer in writers {
        writer
            .join()
            .unwrap_or_else(|_| bail!("a writer of the ledger broke down"))?;
    }
    Ok(())
}

/// One account as its page says.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    balance: i64,
    /// Number of journal records applied to this page's writer when it was written.
    applied: i64,
}

fn work(desk: &Desk, address: &str, writer: u64) -> Result<()> {
    let mut client = nbd::connect(address)?;
    let mut accounts: BTreeMap<i64, Account> = BTreeMap::new();
    let mut sequence = 0;
    for (transfer, _) in journal(&mut client, writer)? {
        apply(&mut accounts, &transfer, sequence);
        sequence += 1;
    }
    let mut dice = Dice::new(writer);
    let pace = Duration::from_secs(1) * u32::try_from(CONNECTIONS)? / RATE;
    while !desk.is_stopped() {
        if sequence >= RECORDS_MAX {
            bail!("the journal of writer {writer} is full ({RECORDS_MAX} transfers)");
        }
        let account = dice.roll(0, ACCOUNTS - 1);
        let transfer = Transfer {
            id: desk.next_id.fetch_add(1, Ordering::SeqCst),
            account,
            counterpart: (account + dice.roll(1, ACCOUNTS - 1)) % ACCOUNTS,
            branch: i64::try_from(writer)?,
            amount: dice.roll(1, 500_000),
        };
        let begin = Instant::now();
        desk.log.intent(&transfer)?;
        if let Err(error) = commit(&mut client, &transfer, sequence) {
            let wait_us = i64::try_from(begin.elapsed().as_micros())?;
            desk.log.error(wait_us, &format!("commit: {error:#}"))?;
            return Err(error);
        }
        desk.log
            .acknowledged(transfer.id, i64::try_from(begin.elapsed().as_micros())?)?;
        apply(&mut accounts, &transfer, sequence);
        sequence += 1;
        for number in [transfer.account, transfer.counterpart] {
            let state = accounts.get(&number).copied().unwrap_or_default();
            let numbers = [PAGE_MARK, number, state.balance, state.applied];
            client.write(
                page_offset(writer, number),
                seal(&numbers, PAGE_BYTES)?.into(),
            )?;
        }
        std::thread::sleep(pace.saturating_sub(begin.elapsed()));
    }
    Ok(())
}

fn commit(client: &mut NbdClient, transfer: &Transfer, sequence: u64) -> Result<()> {
    let Transfer {
        id,
        account,
        counterpart,
        branch,
        amount,
    } = *transfer;
    let writer = branch.unsigned_abs();
    let numbers = [
        RECORD_MARK,
        i64::try_from(sequence)?,
        id,
        account,
        counterpart,
        branch,
        amount,
    ];
    client.write(
        record_offset(writer, sequence),
        seal(&numbers, RECORD_BYTES)?.into(),
    )?;
    Ok(client.flush()?)
}

fn apply(accounts: &mut BTreeMap<i64, Account>, transfer: &Transfer, sequence: u64) {
    for (number, amount) in [
        (transfer.account, -transfer.amount),
        (transfer.counterpart, transfer.amount),
    ] {
        let account = accounts.entry(number).or_default();
        account.balance += amount;
        account.applied = i64::try_from(sequence)
            .unwrap_or(i64::MAX)
            .saturating_add(1);
    }
}

/// The records of one writer, in order, up to the first that is not valid.
fn journal(client: &mut NbdClient, writer: u64) -> Result<Vec<(Transfer, u64)>> {
    let mut found = Vec::new();
    for at in (0..SLICE_BYTES).step_by(usize::try_from(CHUNK_BYTES)?) {
        let chunk = client.read(
            JOURNAL_AT + writer * SLICE_BYTES + at,
            u32::try_from(CHUNK_BYTES)?,
        )?;
        for bytes in chunk.chunks_exact(usize::try_from(RECORD_BYTES)?) {
            let expected = found.len() as u64;
            match unseal::<7>(bytes) {
                Some(
                    [
                        RECORD_MARK,
                        sequence,
                        id,
                        account,
                        counterpart,
                        branch,
                        amount,
                    ],
                ) if sequence.unsigned_abs() == expected && branch.unsigned_abs() == writer => {
                    found.push((
                        Transfer {
                            id,
                            account,
                            counterpart,
                            branch,
                            amount,
                        },
                        expected,
                    ));
                }
                _ => return Ok(found),
            }
        }
    }
    Ok(found)
}

/// What the ledger on the volume says.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// Every transfer in the journal, by id.
    pub transfers: BTreeMap<i64, Transfer>,
    /// Sum over all account pages as the journal gives it; 0 in double entry.
    pub balance_sum: i64,
    /// Account pages whose balance is not what the journal says.
    pub wrong_pages: u64,
    /// Account pages read.
    pub pages: u64,
    /// Archive pages with a wrong checksum.
    pub wrong_archive_pages: u64,
}

/// Reads and recomputes the whole ledger, also while transfers are being posted.
///
/// # Errors
/// When the volume cannot be read.
pub fn read_books(address: &str) -> Result<Books> {
    let mut client = nbd::connect(address)?;
    let mut books = Books::default();
    for writer in 0..CONNECTIONS as u64 {
        // Pages first: what they have applied is in the journal read afterwards.
        let mut pages = Vec::new();
        for number in 0..ACCOUNTS {
            let page = client.read(page_offset(writer, number), u32::try_from(PAGE_BYTES)?)?;
            if page.iter().any(|&byte| byte != 0) {
                pages.push((number, unseal::<4>(&page)));
            }
        }
        let records = journal(&mut client, writer)?;
        let mut accounts = BTreeMap::new();
        for (number, content) in pages {
            books.pages += 1;
            let right = matches!(content, Some([PAGE_MARK, stored, balance, applied])
                if stored == number && balance == balance_after(&records, number, applied));
            books.wrong_pages += u64::from(!right);
        }
        for (transfer, sequence) in records {
            apply(&mut accounts, &transfer, sequence);
            books.transfers.insert(transfer.id, transfer);
        }
        books.balance_sum += accounts
            .values()
            .map(|account| account.balance)
            .sum::<i64>();
    }
    let mut index = 0;
    for at in (0..ARCHIVE_BYTES).step_by(usize::try_from(CHUNK_BYTES)?) {
        let chunk = client
            .read(ARCHIVE_AT + at, u32::try_from(CHUNK_BYTES)?)
            .with_context(|| format!("archive at {at}"))?;
        for page in chunk.chunks_exact(usize::try_from(PAGE_BYTES)?) {
            let right = matches!(unseal::<2>(page), Some([ARCHIVE_MARK, stored])
                if stored.unsigned_abs() == index);
            books.wrong_archive_pages += u64::from(!right);
            index += 1;
        }
    }
    Ok(books)
}

/// Balance of one account after the first `applied` records.
fn balance_after(records: &[(Transfer, u64)], number: i64, applied: i64) -> i64 {
    records
        .iter()
        .take_while(|(_, sequence)| *sequence < applied.unsigned_abs())
        .map(|(transfer, _)| {
            let debit = if transfer.account == number {
                transfer.amount
            } else {
                0
            };
            let credit = if transfer.counterpart == number {
                transfer.amount
            } else {
                0
            };
            credit - debit
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_byte_breaks_the_seal() {
        let sealed = seal(&[PAGE_MARK, 3, -17], PAGE_BYTES).unwrap();
        assert_eq!(unseal::<3>(&sealed), Some([PAGE_MARK, 3, -17]));
        for at in (0..sealed.len()).step_by(97) {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert_eq!(unseal::<3>(&flipped), None, "byte {at}");
        }
    }

    #[test]
    fn transfers_between_accounts_leave_the_sum_at_zero() {
        let mut accounts = BTreeMap::new();
        let transfer = Transfer {
            id: 1,
            account: 3,
            counterpart: 9,
            branch: 0,
            amount: 25,
        };
        apply(&mut accounts, &transfer, 0);
        assert_eq!(accounts.values().map(|a| a.balance).sum::<i64>(), 0);
        assert_eq!(balance_after(&[(transfer, 0)], 9, 1), 25);
        assert_eq!(balance_after(&[(transfer, 0)], 9, 0), 0);
    }

    #[test]
    fn regions_do_not_overlap() {
        assert!(page_offset(CONNECTIONS as u64 - 1, ACCOUNTS - 1) + PAGE_BYTES <= JOURNAL_AT);
        assert_eq!(
            record_offset(CONNECTIONS as u64 - 1, RECORDS_MAX),
            ARCHIVE_AT
        );
    }
}
