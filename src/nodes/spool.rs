//! Bytes collected for a node before they are sent: in memory up to a bound, then in an unlinked temporary file. So
//! memory does not grow with a body, and a subrequest can be sent again.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::overload::spool_budget::{Reservation, SpoolBudget};

/// What a reader hands out at most at a time.
const CHUNK: usize = 64 << 10;
/// How much is written to or read from a file at a time.
const BLOCK: usize = 256 << 10;

/// A finished spool, or a slice of one. Cloning is cheap, and every clone can be read again from its start.
#[derive(Debug, Clone)]
pub struct Spool {
    storage: Storage,
    range: Range<u64>,
    /// What the bytes take of the budget; `None` where nobody counts them.
    _reservation: Option<Arc<Reservation>>,
}

#[derive(Debug, Clone)]
enum Storage {
    Memory(Bytes),
    File(Arc<File>),
}

/// Reads a spool chunk by chunk.
#[derive(Debug)]
pub struct SpoolReader {
    spool: Spool,
    /// Not yet handed out.
    block: Bytes,
    /// Where the file is read to. Once who got a block's chunks has dropped them, the next one takes its place in memory.
    room: BytesMut,
}

/// A spool that is being filled.
#[derive(Debug)]
pub struct SpoolWriter {
    /// What is not in the file: everything, while there is none.
    buffer: Vec<u8>,
    file: Option<Arc<File>>,
    /// How many bytes are in the file.
    written: u64,
    /// How much may stay in memory for good.
    memory: usize,
    max_part: u64,
    /// Where the parts after the first begin.
    cuts: Vec<u64>,
    reservation: Option<Reservation>,
}

// === impl Spool ===

impl Spool {
    /// In bytes.
    pub fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// True without a byte.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// A part of this spool, counted from its own start; cut to its length.
    pub fn slice(&self, range: Range<u64>) -> Spool {
        let end = self.range.end.min(self.range.start + range.end);
        let start = end.min(self.range.start + range.start);
        Spool { range: start..end, ..self.clone() }
    }

    /// Its bytes; `None` where they are in a file.
    pub fn in_memory(&self) -> Option<Bytes> {
        match &self.storage {
            Storage::Memory(bytes) => Some(bytes.slice(self.range.start as usize..self.range.end as usize)),
            Storage::File(_) => None,
        }
    }

    /// Reads it from its start, block by block. A file that cannot be read is an `io::Error` of [`SpoolReader::next`].
    pub fn reader(&self) -> SpoolReader {
        SpoolReader { spool: self.clone(), block: Bytes::new(), room: BytesMut::new() }
    }
}

impl From<Bytes> for Spool {
    fn from(bytes: Bytes) -> Self {
        let range = 0..bytes.len() as u64;
        Self { storage: Storage::Memory(bytes), range, _reservation: None }
    }
}

// === impl SpoolReader ===

impl SpoolReader {
    /// The next chunk of at most 64 KiB, `None` at the end. A file is read off the caller's thread.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.block.is_empty() {
            let range = &mut self.spool.range;
            if range.is_empty() {
                return Ok(None);
            }
            match &self.spool.storage {
                Storage::Memory(bytes) => {
                    self.block = bytes.slice(range.start as usize..range.end as usize);
                    range.start = range.end;
                }
                Storage::File(file) => {
                    let length = (range.end - range.start).min(BLOCK as u64) as usize;
                    let mut room =
                        read_block(Arc::clone(file), range.start, length, std::mem::take(&mut self.room)).await?;
                    self.block = room.split().freeze();
                    self.room = room;
                    range.start += length as u64;
                }
            }
        }
        Ok(Some(self.block.split_to(self.block.len().min(CHUNK))))
    }
}

async fn read_block(file: Arc<File>, at: u64, length: usize, mut room: BytesMut) -> io::Result<BytesMut> {
    let read = move || {
        room.resize(length, 0);
        file.read_exact_at(&mut room, at)?;
        Ok(room)
    };
    tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
}

// === impl SpoolWriter ===

impl SpoolWriter {
    /// Keeps up to `memory` bytes in memory; no part that [`SpoolWriter::finish`] gives is longer than `max_part`, save
    /// where one record alone is.
    pub fn new(memory: u64, max_part: u64) -> Self {
        let memory = usize::try_from(memory).unwrap_or(usize::MAX);
        Self { buffer: Vec::new(), file: None, written: 0, memory, max_part, cuts: Vec::new(), reservation: None }
    }

    /// Counts the bytes against `budget`: what its memory cannot hold goes to a file, and what it cannot hold at all is
    /// an error of the kind `QuotaExceeded`.
    pub fn within(&mut self, budget: &Arc<SpoolBudget>) {
        self.reservation = Some(Reservation::new(budget));
    }

    /// The bytes added so far, in memory and in the file.
    pub fn len(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// True without a byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a record, which no cut will divide. Returns true when the record begins a new part.
    pub fn append(&mut self, record: &[u8]) -> bool {
        let here = self.len();
        let part_start = self.cuts.last().copied().unwrap_or(0);
        let begins_part = here > part_start && here - part_start + record.len() as u64 > self.max_part;
        if begins_part {
            self.cuts.push(here);
        }
        self.buffer.extend_from_slice(record);
        begins_part
    }

    /// Brings what may not stay in memory to the file, off the caller's thread. To be called between records often
    /// enough for memory to stay bounded.
    pub async fn spill(&mut self) -> io::Result<()> {
        let length = self.len();
        let mut bound = if self.file.is_some() { BLOCK } else { self.memory.max(1) };
        if let Some(reservation) = &mut self.reservation {
            reservation.cover(length).map_err(|full| io::Error::new(io::ErrorKind::QuotaExceeded, full))?;
            if self.file.is_none() && !reservation.keep_in_memory(self.buffer.len() as u64) {
                bound = bound.min(BLOCK);
            }
        }
        if self.buffer.len() <= bound {
            return Ok(());
        }
        self.write_out().await
    }

    /// The parts in order; none if nothing was added.
    pub async fn finish(mut self) -> io::Result<Vec<Spool>> {
        let length = self.len();
        if self.file.is_some() && !self.buffer.is_empty() {
            self.write_out().await?;
        }
        let storage = match self.file {
            Some(file) => Storage::File(file),
            None => {
                self.buffer.shrink_to_fit();
                Storage::Memory(Bytes::from(self.buffer))
            }
        };
        let reservation = self.reservation.map(Arc::new);
        let starts = std::iter::once(0).chain(self.cuts.iter().copied());
        let ends = self.cuts.iter().copied().chain(std::iter::once(length));
        let parts = starts.zip(ends).filter(|(start, end)| start < end);
        let part =
            |(start, end)| Spool { storage: storage.clone(), range: start..end, _reservation: reservation.clone() };
        Ok(parts.map(part).collect())
    }

    async fn write_out(&mut self) -> io::Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        let file = self.file.clone();
        let at = self.written;
        let write = move || {
            let file = match file {
                Some(file) => file,
                None => Arc::new(tempfile::tempfile()?),
            };
            file.write_all_at(&buffer, at)?;
            io::Result::Ok((file, buffer))
        };
        let (file, mut buffer) = tokio::task::spawn_blocking(write).await.map_err(io::Error::other)??;
        self.written += buffer.len() as u64;
        self.file = Some(file);
        buffer.clear();
        // What the memory bound allowed is more than the file's buffer needs.
        buffer.shrink_to(2 * BLOCK);
        self.buffer = buffer;
        if let Some(reservation) = &mut self.reservation {
            reservation.leave_memory();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(spool: &Spool) -> Vec<u8> {
        let mut reader = spool.reader();
        let mut out = Vec::new();
        while let Some(chunk) = reader.next().await.unwrap() {
            assert!(!chunk.is_empty() && chunk.len() <= CHUNK);
            out.extend_from_slice(&chunk);
        }
        out
    }

    fn line(number: usize) -> Vec<u8> {
        format!("{{\"id\":{number},\"text\":\"{}\"}}\n", "x".repeat(number % 300)).into_bytes()
    }

    async fn fill(memory: u64, max_part: u64, lines: usize) -> (Vec<Spool>, Vec<u8>) {
        let mut writer = SpoolWriter::new(memory, max_part);
        let mut expected = Vec::new();
        for number in 0..lines {
            writer.append(&line(number));
            expected.extend_from_slice(&line(number));
            writer.spill().await.unwrap();
            assert!(writer.buffer.len() <= (memory as usize).max(BLOCK) + 1024);
        }
        (writer.finish().await.unwrap(), expected)
    }

    #[tokio::test]
    async fn what_goes_in_comes_out_again_and_again_from_memory_and_from_a_file() {
        for memory in [0, 1000, 10 << 20] {
            let (parts, expected) = fill(memory, u64::MAX, 10_000).await;
            assert_eq!(parts.len(), 1);
            assert_eq!(parts[0].len(), expected.len() as u64);
            assert!(read(&parts[0]).await == expected);
            assert!(read(&parts[0].clone()).await == expected);
            assert_eq!(matches!(parts[0].storage, Storage::Memory(_)), memory == 10 << 20);
        }
    }

    #[tokio::test]
    async fn parts_are_cut_between_records() {
        let (parts, expected) = fill(1000, 5000, 500).await;
        assert!(parts.len() > 10);
        let mut joined = Vec::new();
        for part in &parts {
            let bytes = read(part).await;
            assert!(bytes.len() <= 5000 && bytes.ends_with(b"\n"));
            joined.extend_from_slice(&bytes);
        }
        assert!(joined == expected);
    }

    #[tokio::test]
    async fn a_record_longer_than_a_part_stands_alone() {
        let mut writer = SpoolWriter::new(100, 10);
        assert!(!writer.append(b"a\n"));
        assert!(writer.append(b"a record of more than ten bytes\n"));
        assert!(writer.append(b"b\n"));
        let parts = writer.finish().await.unwrap();
        assert_eq!(parts.iter().map(Spool::len).collect::<Vec<_>>(), [2, 32, 2]);
    }

    #[tokio::test]
    async fn an_unused_spool_has_no_parts() {
        assert!(SpoolWriter::new(100, 10).finish().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_spool_counts_for_as_long_as_any_part_of_it_is_kept() {
        let gauge = prometheus::IntGauge::new("spooled", "help").unwrap();
        let budget = SpoolBudget::new(1 << 20, 2_200_000, gauge.clone());
        let record = vec![b'x'; 700_000];
        let fill = async |records: usize| {
            let mut writer = SpoolWriter::new(10 << 20, 1_000_000);
            writer.within(&budget);
            for _ in 0..records {
                writer.append(&record);
                writer.spill().await?;
            }
            writer.finish().await
        };
        let mut first = fill(1).await.unwrap();
        assert!(matches!(first[0].storage, Storage::Memory(_)));
        let second = fill(2).await.unwrap();
        assert!(matches!(second[0].storage, Storage::File(_)), "the memory of all spools is used up");
        assert_eq!(fill(1).await.unwrap_err().kind(), io::ErrorKind::QuotaExceeded);
        let reader = first.remove(0).reader();
        assert_eq!(gauge.get(), 2_100_000);
        drop(reader);
        assert!(fill(1).await.is_ok());
        drop(second);
        assert_eq!(gauge.get(), 0);
    }

    #[tokio::test]
    async fn a_slice_reads_its_range() {
        let spool = Spool::from(Bytes::from_static(b"0123456789"));
        assert_eq!(read(&spool.slice(2..5)).await, b"234");
        assert_eq!(read(&spool.slice(2..5).slice(1..99)).await, b"34");
        assert!(spool.slice(20..30).is_empty());
    }
}
