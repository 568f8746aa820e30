//! Documents on disk, a line each: memory does not grow with an index. The files have no name, so a gateway that is killed
//! leaves none behind.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read, Seek as _, Write as _};
use std::path::Path;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::format::without_empty_vectors;
use crate::split::Document;
use crate::split::primary_key::document_id;

/// A page of documents as reads answer it.
#[derive(Deserialize)]
pub struct Page<'a> {
    #[serde(borrow)]
    pub results: Vec<&'a RawValue>,
    pub total: u64,
}

/// Lines under way.
pub struct Lines {
    file: BufWriter<File>,
    bytes: u64,
    /// Eight bytes for each document, by which documents that were touched since are counted.
    hashes: Vec<u64>,
}

/// The documents of an index as they were at one moment: those that were read first without those that were touched since,
/// and the latter as they are.
pub struct Documents {
    first: Lines,
    touched: HashSet<String>,
    /// What is there of `first` after deletions by filter; `None` where there were none. By the hash of the id.
    kept: Option<HashSet<u128>>,
    fresh: Lines,
    primary_key: String,
}

/// Which of the documents that were read first stay.
struct Stays<'a> {
    touched: &'a HashSet<String>,
    kept: Option<&'a HashSet<u128>>,
    primary_key: &'a str,
}

// === impl Lines ===

impl Lines {
    /// In a file of `folder`.
    pub fn create(folder: &Path) -> io::Result<Self> {
        let file = BufWriter::with_capacity(1 << 18, tempfile::tempfile_in(folder)?);
        Ok(Self { file, bytes: 0, hashes: Vec::new() })
    }

    /// Takes the documents of a page.
    pub fn take(&mut self, page: &Bytes, primary_key: &str) -> io::Result<()> {
        let page: Page<'_> = serde_json::from_slice(page)?;
        for document in page.results {
            let id = id_of(document.get(), primary_key)?;
            self.hashes.push(xxh3_64(id.as_bytes()));
            let (document, end) = without_empty_vectors(document.get());
            for piece in [document, end, "\n"] {
                self.file.write_all(piece.as_bytes())?;
                self.bytes += piece.len() as u64;
            }
        }
        Ok(())
    }

    /// How many documents there are.
    pub fn count(&self) -> u64 {
        self.hashes.len() as u64
    }

    /// How many documents there are besides `touched`.
    pub fn count_without(&self, touched: &HashSet<String>) -> u64 {
        let touched: HashSet<u64> = touched.iter().map(|id| xxh3_64(id.as_bytes())).collect();
        self.hashes.iter().filter(|hash| !touched.contains(hash)).count() as u64
    }

    fn reader(&mut self) -> io::Result<BufReader<&File>> {
        self.file.flush()?;
        let mut file = self.file.get_ref();
        file.rewind()?;
        Ok(BufReader::with_capacity(1 << 18, file))
    }
}

// === impl Documents ===

impl Documents {
    /// `first` were read first, and `fresh` again, among those that were `touched` meanwhile. Of the others only those with a hash in `kept` are
    /// still there; all, if it is `None`.
    pub fn new(
        first: Lines,
        touched: HashSet<String>,
        kept: Option<HashSet<u128>>,
        fresh: Lines,
        primary_key: String,
    ) -> Self {
        Self { first, touched, kept, fresh, primary_key }
    }

    /// Those of an index that was not touched.
    pub fn whole(first: Lines, fresh: Lines, primary_key: String) -> Self {
        Self::new(first, HashSet::new(), None, fresh, primary_key)
    }

    /// How many bytes and how many documents [`Documents::each_line`] brings.
    pub fn size(&mut self) -> io::Result<(u64, u64)> {
        if self.is_as_read() {
            return Ok((self.first.bytes + self.fresh.bytes, self.first.count() + self.fresh.count()));
        }
        let (mut bytes, mut count) = (0, 0);
        self.each_line::<io::Error>(&mut |line| {
            bytes += line.len() as u64;
            count += 1;
            Ok(())
        })?;
        Ok((bytes, count))
    }

    /// Brings each document as a line with its end.
    pub fn each_line<E: From<io::Error>>(&mut self, visit: &mut dyn FnMut(&str) -> Result<(), E>) -> Result<(), E> {
        let as_read = self.is_as_read();
        let stays = Stays { touched: &self.touched, kept: self.kept.as_ref(), primary_key: &self.primary_key };
        let mut line = String::new();
        let mut first = self.first.reader()?;
        while first.read_line(&mut line)? > 0 {
            if as_read || stays.hold(line.trim_end())? {
                visit(&line)?;
            }
            line.clear();
        }
        let mut fresh = self.fresh.reader()?;
        while fresh.read_line(&mut line)? > 0 {
            visit(&line)?;
            line.clear();
        }
        Ok(())
    }

    /// Has `to` read all lines, which are as they were read: see [`Documents::compacted`].
    pub fn copy(&mut self, to: &mut dyn FnMut(&mut dyn Read) -> io::Result<()>) -> io::Result<()> {
        debug_assert!(self.is_as_read(), "lines that are gone would be copied");
        let mut all = self.first.reader()?.chain(self.fresh.reader()?);
        to(&mut all)
    }

    /// The same in one file, so that it can be copied as it is.
    pub fn compacted(mut self, folder: &Path) -> io::Result<Self> {
        if self.is_as_read() {
            return Ok(self);
        }
        let mut lines = Lines::create(folder)?;
        self.each_line::<io::Error>(&mut |line| {
            lines.hashes.push(0);
            lines.bytes += line.len() as u64;
            lines.file.write_all(line.as_bytes())
        })?;
        Ok(Self::whole(lines, Lines::create(folder)?, self.primary_key))
    }

    fn is_as_read(&self) -> bool {
        self.touched.is_empty() && self.kept.is_none()
    }
}

// === impl Stays ===

impl Stays<'_> {
    fn hold(&self, document: &str) -> io::Result<bool> {
        let id = id_of(document, self.primary_key)?;
        let is_there = self.kept.is_none_or(|kept| kept.contains(&hash_of(&id)));
        Ok(is_there && !self.touched.contains(&id))
    }
}

/// The id of a document as text.
pub fn id_of(document: &str, primary_key: &str) -> io::Result<String> {
    let parsed = Document::parse(document)?;
    document_id(&parsed, primary_key).map(|id| id.into_owned()).map_err(io::Error::other)
}

/// By which ids are told apart where there are many.
pub fn hash_of(id: &str) -> u128 {
    xxh3_128(id.as_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines(folder: &Path, documents: &[(u32, &str)]) -> Lines {
        let mut lines = Lines::create(folder).unwrap();
        let results: Vec<_> = documents.iter().map(|(id, text)| json!({"id": id, "t": text, "_vectors": {}})).collect();
        let page = json!({"results": results, "total": results.len()}).to_string();
        lines.take(&Bytes::from(page), "id").unwrap();
        lines
    }

    fn shown(documents: &mut Documents) -> Vec<String> {
        let mut found = Vec::new();
        documents
            .each_line::<io::Error>(&mut |line| {
                found.push(line.trim_end().to_owned());
                Ok(())
            })
            .unwrap();
        found
    }

    #[test]
    fn touched_documents_are_those_read_last_and_deleted_ones_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        let first = lines(folder.path(), &[(1, "old"), (2, "same"), (3, "deleted"), (4, "deleted by filter")]);
        let touched: HashSet<String> = ["1", "3", "5"].map(str::to_owned).into();
        assert_eq!(first.count_without(&touched), 2);
        let fresh = lines(folder.path(), &[(1, "new"), (5, "added")]);
        let kept = ["1", "2", "5"].map(hash_of).into();
        let mut documents = Documents::new(first, touched, Some(kept), fresh, "id".to_owned());
        let expected = [r#"{"id":2,"t":"same"}"#, r#"{"id":1,"t":"new"}"#, r#"{"id":5,"t":"added"}"#];
        assert_eq!(shown(&mut documents), expected);
        let size: u64 = expected.iter().map(|line| line.len() as u64 + 1).sum();
        assert_eq!(documents.size().unwrap(), (size, 3));
        let mut compacted = documents.compacted(folder.path()).unwrap();
        assert_eq!(shown(&mut compacted), expected);
        assert_eq!(compacted.size().unwrap(), (size, 3));
        let mut text = String::new();
        compacted.copy(&mut |all| all.read_to_string(&mut text).map(drop)).unwrap();
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }
}
