//! Compresses answers for clients that accept it.
//!
//! Answers are whole when they are written, so their length is stated. Pingora's own module is not used: it streams, picks
//! what the client names first even where it cannot do that, and does not end what it writes as br.

use std::sync::OnceLock;

use async_compression::Level;
use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

/// What compresses in less time than a request can wait for is done on the thread that answers it.
const SHORT: usize = 64 * 1024;

/// A way to compress, in the order in which they are chosen among those that a client likes equally: the fastest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Zstd,
    Gzip,
    Brotli,
    Deflate,
}

/// An answer that is sent more than once, packed as the first of its clients liked it.
#[derive(Debug, Default)]
pub struct Packed(OnceLock<(Encoding, Bytes)>);

// === impl Packed ===

impl Packed {
    /// [`Encoding::compress`] of `body`, which is always the same; done once.
    pub async fn get(&self, encoding: Encoding, body: &Bytes, level: u32) -> Option<Bytes> {
        match self.0.get() {
            Some((packed_as, packed)) if *packed_as == encoding => return Some(packed.clone()),
            Some(_) => return encoding.compress(body, level).await,
            None => {}
        }
        let packed = encoding.compress(body, level).await?;
        // Of two who come first, one is heard. What grew would take more room than it was counted for.
        if packed.len() <= body.len() {
            let _ = self.0.set((encoding, packed.clone()));
        }
        Some(packed)
    }
}

// === impl Encoding ===

impl Encoding {
    const ALL: [Self; 4] = [Self::Zstd, Self::Gzip, Self::Brotli, Self::Deflate];

    /// As `Accept-Encoding` and `Content-Encoding` call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Deflate => "deflate",
        }
    }

    /// False where a client with this `Accept-Encoding` takes none of these, and nothing that is sent as it is.
    pub fn is_any_acceptable(accepted: Option<&str>) -> bool {
        let Some(accepted) = accepted else { return true };
        let weight = |wanted| weight(accepted, wanted);
        let plain = weight("identity").or_else(|| weight("*")).is_none_or(|weight| weight > 0.0);
        plain || Self::ALL.iter().any(|encoding| weight(encoding.name()).is_some_and(|weight| weight > 0.0))
    }

    /// True where a client with this `Accept-Encoding` takes nothing that is sent as it is, however short.
    pub fn is_demanded(accepted: Option<&str>) -> bool {
        let Some(accepted) = accepted else { return false };
        weight(accepted, "identity").or_else(|| weight(accepted, "*")) == Some(0.0)
    }

    /// What a client with this `Accept-Encoding` likes best; `None` to send as it is.
    pub fn preferred(accepted: Option<&str>) -> Option<Self> {
        let accepted = accepted?;
        let weight = |wanted| weight(accepted, wanted);
        let any = weight("*").unwrap_or(0.0);
        let liked = Self::ALL.map(|encoding| (encoding, weight(encoding.name()).unwrap_or(any)));
        // `identity` is acceptable without being named, but nobody who names another prefers it then.
        let least = weight("identity").unwrap_or(0.0);
        let best = liked.iter().map(|(_, weight)| *weight).fold(0.0, f64::max);
        liked
            .into_iter()
            .find(|(_, weight)| *weight == best && best > 0.0 && best >= least)
            .map(|(encoding, _)| encoding)
    }

    /// `None` when that is not possible, and `body` is to be sent as it is.
    pub async fn compress(self, body: &Bytes, level: u32) -> Option<Bytes> {
        if body.len() <= SHORT {
            return Some(self.encode(body, level).await);
        }
        let body = body.clone();
        let runtime = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || runtime.block_on(self.encode(&body, level))).await.ok()
    }

    async fn encode(self, body: &[u8], level: u32) -> Bytes {
        let level = Level::Precise(i32::try_from(level).unwrap_or(i32::MAX));
        let out = Vec::with_capacity(body.len() / 4);
        Bytes::from(match self {
            Self::Zstd => {
                let mut encoder = ZstdEncoder::with_quality(out, level);
                fill(&mut encoder, body).await;
                encoder.into_inner()
            }
            Self::Gzip => {
                let mut encoder = GzipEncoder::with_quality(out, level);
                fill(&mut encoder, body).await;
                encoder.into_inner()
            }
            Self::Brotli => {
                let mut encoder = BrotliEncoder::with_quality(out, level);
                fill(&mut encoder, body).await;
                encoder.into_inner()
            }
            Self::Deflate => {
                let mut encoder = ZlibEncoder::with_quality(out, level);
                fill(&mut encoder, body).await;
                encoder.into_inner()
            }
        })
    }
}

/// How much an `Accept-Encoding` likes `wanted`; `None` where it does not name it.
fn weight(accepted: &str, wanted: &str) -> Option<f64> {
    let mut items = accepted.split(',').map(|item| item.split_once(';').unwrap_or((item, "")));
    let (_, parameters) = items.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted))?;
    let quality = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("q="));
    Some(quality.map_or(1.0, |quality| quality.trim().parse().unwrap_or(0.0)))
}

async fn fill(encoder: &mut (impl AsyncWrite + Unpin), body: &[u8]) {
    encoder.write_all(body).await.expect("memory takes what is written");
    encoder.shutdown().await.expect("memory takes what is written");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_decides_and_among_equals_the_fastest_is_taken() {
        let preferred = |accepted| Encoding::preferred(Some(accepted));
        assert_eq!(Encoding::preferred(None), None);
        assert_eq!(preferred(""), None);
        assert_eq!(preferred("gzip, deflate, br"), Some(Encoding::Gzip));
        assert_eq!(preferred("gzip, deflate, br, zstd"), Some(Encoding::Zstd));
        assert_eq!(preferred("br;q=1.0, gzip;q=0.8, *;q=0.1"), Some(Encoding::Brotli));
        assert_eq!(preferred("GZIP ; q=0.5"), Some(Encoding::Gzip));
        assert_eq!(preferred("*"), Some(Encoding::Zstd));
        assert_eq!(preferred("zstd;q=0, *"), Some(Encoding::Gzip));
    }

    #[test]
    fn who_takes_nothing_gets_nothing() {
        for nothing in ["identity;q=0", "*;q=0", "gzip;q=0, *;q=0", "compress, identity;q=0"] {
            assert!(!Encoding::is_any_acceptable(Some(nothing)), "{nothing}");
        }
        for something in ["", "identity", "gzip", "gzip;q=0", "gzip, identity;q=0", "*;q=0, identity", "compress", "*"]
        {
            assert!(Encoding::is_any_acceptable(Some(something)), "{something}");
        }
        assert!(Encoding::is_any_acceptable(None));
    }

    #[test]
    fn who_takes_nothing_plain_gets_short_answers_packed_too() {
        for packed in ["identity;q=0, gzip", "gzip, *;q=0", "identity; q=0.0, br"] {
            assert!(Encoding::is_demanded(Some(packed)), "{packed}");
        }
        for plain in ["", "gzip", "identity, *;q=0", "gzip;q=0"] {
            assert!(!Encoding::is_demanded(Some(plain)), "{plain}");
        }
        assert!(!Encoding::is_demanded(None));
    }

    #[test]
    fn who_wants_none_gets_none() {
        let preferred = |accepted| Encoding::preferred(Some(accepted));
        assert_eq!(preferred("identity"), None);
        assert_eq!(preferred("gzip;q=0"), None);
        assert_eq!(preferred("identity, gzip;q=0.5"), None);
        assert_eq!(preferred("compress, x-other"), None);
    }
}
