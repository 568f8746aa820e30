//! `GET` and `DELETE /dumps/{uid}`: dumps for `miroir backup`, piece by piece, so that neither side holds one in memory.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use tokio::task::spawn_blocking;

use crate::meili::error::{Code, ResponseError};
use crate::meili::query::QueryMap;

/// The most bytes of one answer.
const MOST: u64 = 8 << 20;

/// A part of a dump.
pub struct Piece {
    pub bytes: Vec<u8>,
    /// Of the whole dump.
    pub size: u64,
}

/// At most [`MOST`] bytes of a dump from `?offset=` on.
pub async fn piece(folder: &Path, uid: &str, query: &str) -> Result<Piece, ResponseError> {
    let path = path_of(folder, uid)?;
    let offset = QueryMap::parse(query).get("offset").and_then(|offset| offset.parse().ok()).unwrap_or(0);
    let read = spawn_blocking(move || {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        file.take(MOST).read_to_end(&mut bytes)?;
        Ok(Piece { bytes, size })
    });
    read.await.map_err(io::Error::other).and_then(|read| read).map_err(|error| told(uid, &error))
}

/// Deletes a dump.
pub async fn delete(folder: &Path, uid: &str) -> Result<(), ResponseError> {
    let path = path_of(folder, uid)?;
    let deleted = spawn_blocking(move || fs::remove_file(path));
    deleted.await.map_err(io::Error::other).and_then(|deleted| deleted).map_err(|error| told(uid, &error))
}

/// A name is digits and one stroke: it leads nowhere else.
fn path_of(folder: &Path, uid: &str) -> Result<PathBuf, ResponseError> {
    if uid.is_empty() || !uid.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
        return Err(not_found(uid));
    }
    Ok(folder.join(format!("{uid}.dump")))
}

fn told(uid: &str, error: &io::Error) -> ResponseError {
    match error.kind() {
        io::ErrorKind::NotFound => not_found(uid),
        _ => ResponseError::new(Code::Internal, format!("The dump `{uid}` cannot be read: {error}.")),
    }
}

fn not_found(uid: &str) -> ResponseError {
    ResponseError::new(Code::DumpNotFound, format!("Dump `{uid}` not found."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dump_is_read_piece_by_piece_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("20260102-030405678.dump"), "twelve bytes").unwrap();
        fs::write(folder.path().join("secret"), "x").unwrap();
        let read = piece(folder.path(), "20260102-030405678", "offset=7").await.unwrap();
        assert_eq!((read.bytes.as_slice(), read.size), (b"bytes".as_slice(), 12));
        let end = piece(folder.path(), "20260102-030405678", "offset=12").await.unwrap();
        assert!(end.bytes.is_empty());
        for uid in ["", "1", "../secret", "..%2Fsecret", "secret"] {
            let error = piece(folder.path(), uid, "").await.err().unwrap();
            assert_eq!((error.code.as_str(), error.status), ("dump_not_found", 404), "{uid}");
        }
        delete(folder.path(), "20260102-030405678").await.unwrap();
        assert_eq!(delete(folder.path(), "20260102-030405678").await.unwrap_err().status, 404);
    }
}
