//! The archive that a dump is, a tar file packed by gzip: written and read as a stream, over anything that can be written or read.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use time::OffsetDateTime;

use super::format::Entry;

/// An archive under way.
pub struct ArchiveWriter<W: Write> {
    tar: tar::Builder<GzEncoder<W>>,
    /// The date of all its files, in seconds.
    date: u64,
}

// === impl ArchiveWriter ===

impl<W: Write> ArchiveWriter<W> {
    /// Packs into `to`; every entry has the time `date`.
    pub fn new(to: W, date: OffsetDateTime) -> Self {
        // A gateway's processors are there for searches: fast packs JSON nearly as well.
        let tar = tar::Builder::new(GzEncoder::new(to, Compression::fast()));
        Self { tar, date: u64::try_from(date.unix_timestamp()).unwrap_or(0) }
    }

    /// An empty folder.
    pub fn folder(&mut self, path: &str) -> io::Result<()> {
        let mut header = self.header(0, 0o755);
        header.set_entry_type(tar::EntryType::Directory);
        self.tar.append_data(&mut header, path, io::empty())
    }

    /// A file with this content.
    pub fn file(&mut self, entry: &Entry, content: &[u8]) -> io::Result<()> {
        self.stream(entry, content.len() as u64, content)
    }

    /// A file of `size` bytes, which `content` must have.
    pub fn stream(&mut self, entry: &Entry, size: u64, content: impl Read) -> io::Result<()> {
        let mut header = self.header(size, 0o644);
        self.tar.append_data(&mut header, entry.path(), content)
    }

    /// Writes the end of the archive.
    pub fn finish(self) -> io::Result<W> {
        self.tar.into_inner()?.finish()
    }

    fn header(&self, size: u64, mode: u32) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_size(size);
        header.set_mode(mode);
        header.set_mtime(self.date);
        header
    }
}

/// Reads an archive from its beginning to its end, and has `visit` read each file. An archive that ends too early or was
/// changed on its way is an error, found at the end at the latest.
pub fn read<E: From<io::Error>>(
    from: impl Read,
    visit: &mut dyn FnMut(Entry, &mut dyn Read) -> Result<(), E>,
) -> Result<(), E> {
    let mut archive = tar::Archive::new(GzDecoder::new(from));
    for file in archive.entries()? {
        let mut file = file?;
        if !file.header().entry_type().is_file() {
            continue;
        }
        let size = file.size();
        let entry = Entry::of(&file.path()?);
        let mut counted = Counted { from: &mut file, read: 0 };
        visit(entry, &mut counted)?;
        io::copy(&mut counted, &mut io::sink())?;
        if counted.read != size {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
    // The sum of all that was packed stands at the end.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    Ok(())
}

struct Counted<R> {
    from: R,
    read: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.read += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::super::format::IndexPart;
    use super::*;

    fn documents(uid: &str) -> Entry {
        Entry::Index { uid: uid.to_owned(), part: IndexPart::Documents }
    }

    fn sample(index: &str, lines: usize) -> Vec<u8> {
        let mut archive = ArchiveWriter::new(Vec::new(), datetime!(2026-01-02 03:04:05 UTC));
        archive.file(&Entry::Metadata, b"{}").unwrap();
        archive.folder("indexes/").unwrap();
        let text: String = (0..lines).map(|n| format!("{{\"id\":{n}}}\n")).collect();
        archive.stream(&documents(index), text.len() as u64, text.as_bytes()).unwrap();
        archive.finish().unwrap()
    }

    fn files(archive: &[u8]) -> io::Result<Vec<(Entry, usize)>> {
        let mut found = Vec::new();
        read(archive, &mut |entry, content| {
            let mut text = Vec::new();
            content.read_to_end(&mut text)?;
            found.push((entry, text.len()));
            Ok::<(), io::Error>(())
        })?;
        Ok(found)
    }

    #[test]
    fn what_was_written_is_read() {
        let found = files(&sample("movies", 3)).unwrap();
        assert_eq!(found, [(Entry::Metadata, 2), (documents("movies"), 27)]);
        // Longer than the plain header's name.
        let long = "a".repeat(300);
        assert_eq!(files(&sample(&long, 1)).unwrap()[1].0, documents(&long));
    }

    #[test]
    fn an_archive_that_ends_anywhere_is_refused() {
        let whole = sample("movies", 2000);
        for end in [0, 1, 10, 100, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
            assert!(files(&whole[..end]).is_err(), "{end} of {}", whole.len());
        }
    }

    #[test]
    fn an_archive_that_was_changed_is_refused() {
        let whole = sample("movies", 2000);
        for at in [0, whole.len() / 3, whole.len() - 6] {
            let mut changed = whole.clone();
            changed[at] ^= 0x55;
            assert!(files(&changed).is_err(), "byte {at}");
        }
    }

    #[test]
    fn what_is_not_looked_at_is_passed_over() {
        let mut seen = 0;
        read(sample("movies", 100).as_slice(), &mut |_, _| {
            seen += 1;
            Ok::<(), io::Error>(())
        })
        .unwrap();
        assert_eq!(seen, 2);
    }
}
