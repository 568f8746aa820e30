//! The unpackers of compressed bodies. Each reads in small steps, so that a bomb is found before it has gone off.

use std::io::{self, Write as _};
use std::pin::Pin;

use async_compression::tokio::bufread::{BrotliDecoder, ZstdDecoder};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use flate2::write::{GzDecoder, ZlibDecoder};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};
use tokio_util::io::StreamReader;

use super::{BodySource, ContentEncoding};

/// How much is decompressed at a time: what a small compressed chunk can grow to in memory.
pub(super) const DECODED_CHUNK: usize = 64 << 10;

/// A body as it comes, with what unpacks it.
pub(super) enum Packed<'a> {
    Plain(&'a mut dyn BodySource),
    /// Said to be zstd; its first bytes tell.
    Unseen(&'a mut dyn BodySource),
    /// The first bytes were read already.
    Begun(Bytes, &'a mut dyn BodySource),
    Pulled(Pulled<'a>),
    Pushed(Pushed<'a>),
    Ended,
}

/// Unpacked as it is asked for: a few bytes of brotli can be megabytes.
pub(super) struct Pulled<'a> {
    decoder: Decoder<'a>,
    buffer: BytesMut,
}

enum Decoder<'a> {
    Brotli(Box<BrotliDecoder<Chunks<'a>>>),
    Zstd(Box<ZstdDecoder<Chunks<'a>>>),
}

type Chunks<'a> = Pin<Box<dyn AsyncBufRead + Send + 'a>>;

/// Unpacked as it comes, by the unpacker that the engine has, which judges by the byte what is cut off and what is too much.
pub(super) struct Pushed<'a> {
    body: &'a mut dyn BodySource,
    unpacker: Unpacker,
    packed: Bytes,
    unpacked: BytesMut,
    ended: bool,
}

enum Unpacker {
    Gzip(GzDecoder<bytes::buf::Writer<BytesMut>>),
    Deflate(ZlibDecoder<bytes::buf::Writer<BytesMut>>),
}

/// How much goes into an unpacker at a time: it grows to a thousandfold at most.
const PACKED_CHUNK: usize = 64;

// === impl Packed ===

impl<'a> Packed<'a> {
    /// What `encoding` says is unpacked as it is read; zstd only if the body begins so.
    pub(super) fn new(body: &'a mut dyn BodySource, encoding: ContentEncoding) -> Self {
        match encoding {
            ContentEncoding::Identity => Self::Plain(body),
            ContentEncoding::Gzip => Self::Pushed(Pushed::new(body, Unpacker::Gzip(GzDecoder::new(sink())))),
            ContentEncoding::Deflate => Self::Pushed(Pushed::new(body, Unpacker::Deflate(ZlibDecoder::new(sink())))),
            ContentEncoding::Brotli => {
                let decoder = BrotliDecoder::new(reader(Bytes::new(), body));
                Self::Pulled(Pulled::new(Decoder::Brotli(Box::new(decoder))))
            }
            ContentEncoding::Zstd => Self::Unseen(body),
        }
    }

    /// The next piece, unpacked; `None` at the end. An error for what cannot be unpacked.
    pub(super) async fn read(&mut self) -> io::Result<Option<Bytes>> {
        if let Self::Unseen(_) = &*self {
            *self = match std::mem::replace(self, Self::Ended) {
                Self::Unseen(body) => unpacked_if_zstd(body).await?,
                other => other,
            };
        }
        match self {
            Self::Plain(body) => body.next().await.map_err(io::Error::other),
            Self::Begun(first, body) if first.is_empty() => body.next().await.map_err(io::Error::other),
            Self::Begun(first, _) => Ok(Some(std::mem::take(first))),
            Self::Pulled(pulled) => pulled.read().await,
            Self::Pushed(pushed) => pushed.read().await,
            Self::Unseen(_) | Self::Ended => Ok(None),
        }
    }
}

// === impl Pulled ===

impl<'a> Pulled<'a> {
    fn new(decoder: Decoder<'a>) -> Self {
        Self { decoder, buffer: BytesMut::new() }
    }

    async fn read(&mut self) -> io::Result<Option<Bytes>> {
        self.buffer.reserve(DECODED_CHUNK);
        let mut window = bytes::BufMut::limit(&mut self.buffer, DECODED_CHUNK);
        let read = match &mut self.decoder {
            Decoder::Zstd(decoder) => decoder.read_buf(&mut window).await?,
            Decoder::Brotli(decoder) => match decoder.read_buf(&mut window).await {
                // Where brotli ends too early, the engine takes what there is; it takes nothing that comes behind the end.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
                Ok(0) if !decoder.get_mut().fill_buf().await?.is_empty() => return Err(no_room()),
                read => read?,
            },
        };
        Ok((read > 0).then(|| self.buffer.split().freeze()))
    }
}

/// What the engine's unpackers say of bytes behind the end.
fn no_room() -> io::Error {
    let mut nowhere: &mut [u8] = &mut [];
    nowhere.write_all(b"x").err().unwrap_or_else(|| io::ErrorKind::WriteZero.into())
}

// === impl Pushed ===

impl<'a> Pushed<'a> {
    fn new(body: &'a mut dyn BodySource, unpacker: Unpacker) -> Self {
        Self { body, unpacker, packed: Bytes::new(), unpacked: BytesMut::new(), ended: false }
    }

    async fn read(&mut self) -> io::Result<Option<Bytes>> {
        while self.unpacked.len() < DECODED_CHUNK && !self.ended {
            if self.packed.is_empty() {
                match self.body.next().await.map_err(io::Error::other)? {
                    Some(packed) => self.packed = packed,
                    None => {
                        self.unpacker.finish()?;
                        self.ended = true;
                    }
                }
            }
            let length = self.packed.len().min(PACKED_CHUNK);
            self.unpacker.write_all(&self.packed[..length])?;
            self.packed.advance(length);
            self.unpacked.unsplit(self.unpacker.take());
        }
        let length = self.unpacked.len().min(DECODED_CHUNK);
        Ok((length > 0).then(|| self.unpacked.split_to(length).freeze()))
    }
}

// === impl Unpacker ===

impl Unpacker {
    fn write_all(&mut self, packed: &[u8]) -> io::Result<()> {
        match self {
            Self::Gzip(unpacker) => unpacker.write_all(packed),
            Self::Deflate(unpacker) => unpacker.write_all(packed),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        // The engine's version of the library takes deflate that ends too early, and finds no checksum in such gzip.
        match self {
            Self::Gzip(unpacker) => unpacker.try_finish().map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => {
                    io::Error::new(io::ErrorKind::InvalidInput, "corrupt gzip stream does not have a matching checksum")
                }
                _ => error,
            }),
            Self::Deflate(unpacker) => match unpacker.try_finish() {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
                finished => finished,
            },
        }
    }

    fn take(&mut self) -> BytesMut {
        match self {
            Self::Gzip(unpacker) => unpacker.get_mut().get_mut().split(),
            Self::Deflate(unpacker) => unpacker.get_mut().get_mut().split(),
        }
    }
}

fn sink() -> bytes::buf::Writer<BytesMut> {
    BytesMut::new().writer()
}

/// The engine does not know zstd, and takes a body that is said to be so as it is. Miroir reads those that are.
async fn unpacked_if_zstd(body: &mut dyn BodySource) -> io::Result<Packed<'_>> {
    const FRAME: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
    let mut first = BytesMut::new();
    while first.len() < FRAME.len() {
        match body.next().await.map_err(io::Error::other)? {
            Some(chunk) => first.extend_from_slice(&chunk),
            None => break,
        }
    }
    if !first.starts_with(&FRAME) {
        return Ok(Packed::Begun(first.freeze(), body));
    }
    let mut decoder = ZstdDecoder::new(reader(first.freeze(), body));
    decoder.multiple_members(true);
    Ok(Packed::Pulled(Pulled::new(Decoder::Zstd(Box::new(decoder)))))
}

/// What is left of a body of which `first` was read.
fn reader(first: Bytes, body: &mut dyn BodySource) -> Chunks<'_> {
    let chunks = futures::stream::try_unfold((first, body), |(first, body)| async move {
        if !first.is_empty() {
            return Ok(Some((first, (Bytes::new(), body))));
        }
        match body.next().await {
            Ok(Some(chunk)) => Ok(Some((chunk, (Bytes::new(), body)))),
            Ok(None) => Ok(None),
            Err(error) => Err(io::Error::other(error)),
        }
    });
    Box::pin(StreamReader::new(Box::pin(chunks)))
}
