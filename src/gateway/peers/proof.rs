//! How gateways show each other that they know the cluster's secret, which never travels.
//!
//! The asker sends `x-miroir-peer: <protocol> <gateway> <nonce> <mac>`. The code is over all that the leader takes from this request on the
//! asker's word: its method and target, the client's address, the task's id. The answer bears a code over the nonce, so an
//! impostor's answer is no answer. What the secret protects is that word: a client's key is asked for all the same.
//!
//! ```text
//! request mac = HMAC-SHA256(secret, "ask\n1\ngw-b\n6f..\nPOST\n/indexes/a/documents\n10.0.0.9\n01..\nfirst")
//! answer mac  = HMAC-SHA256(secret, "answer\n6f..")
//! ```
//!
//! Who knows the secret and speaks another protocol is told so by an answer that is proved, whatever number it says: codes of all protocols
//! begin alike.

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use crate::settings::Secret;

/// The header of both directions.
pub const PEER: &str = "x-miroir-peer";
/// Beside it in the answer to who speaks another protocol: the one that is spoken here.
pub const SPEAKS: &str = "x-miroir-peer-protocol";

/// What gateways speak to each other. One that speaks another number is turned away by name.
pub const PROTOCOL: u32 = 1;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    pub gateway: String,
    pub nonce: String,
}

/// Why nobody is let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPeer {
    #[error("this listener is for gateways of the same cluster")]
    Unproved,
    #[error("gateways of this version speak protocol {PROTOCOL} to each other, not {protocol}")]
    Protocol { asker: Asker, protocol: u32 },
}

impl NoPeer {
    /// Each kind, as metrics call it.
    pub const ALL: [&str; 2] = ["unproved", "protocol"];

    /// Its kind: a place in [`Self::ALL`].
    pub fn kind(&self) -> usize {
        match self {
            Self::Unproved => 0,
            Self::Protocol { .. } => 1,
        }
    }
}

/// The header of a request; `said` is what it vouches for.
pub fn ask(secret: &Secret, gateway: &str, said: &[&str]) -> (Asker, String) {
    let asker = Asker { gateway: gateway.to_owned(), nonce: Uuid::new_v4().simple().to_string() };
    let mac = hex(&code(secret, &request(&asker, said)));
    let header = format!("{PROTOCOL} {} {} {mac}", asker.gateway, asker.nonce);
    (asker, header)
}

/// Reads the header of a request.
///
/// # Errors
///
/// When whoever sent it does not know the secret, or speaks otherwise.
pub fn check(secret: &Secret, header: Option<&str>, said: &[&str]) -> Result<Asker, NoPeer> {
    let mut words = header.unwrap_or_default().split(' ');
    let (Some(protocol), Some(gateway), Some(nonce), Some(mac), None) =
        (words.next(), words.next(), words.next(), words.next(), words.next())
    else {
        return Err(NoPeer::Unproved);
    };
    let protocol: u32 = protocol.parse().map_err(|_| NoPeer::Unproved)?;
    let asker = Asker { gateway: gateway.to_owned(), nonce: nonce.to_owned() };
    let expected = hex(&code(secret, &with_protocol(protocol, &asker, said)));
    if !bool::from(expected.as_bytes().ct_eq(mac.as_bytes())) {
        return Err(NoPeer::Unproved);
    }
    if protocol == PROTOCOL { Ok(asker) } else { Err(NoPeer::Protocol { asker, protocol }) }
}

/// The header of the answer to `asker`.
pub fn answer(secret: &Secret, asker: &Asker) -> String {
    hex(&code(secret, &["answer", &asker.nonce].map(str::to_owned)))
}

/// True if an answer with this header comes from who knows the secret, and is the answer to this question.
pub fn is_answer(secret: &Secret, asker: &Asker, header: Option<&str>) -> bool {
    header.is_some_and(|header| answer(secret, asker).as_bytes().ct_eq(header.as_bytes()).into())
}

fn request(asker: &Asker, said: &[&str]) -> Vec<String> {
    with_protocol(PROTOCOL, asker, said)
}

fn with_protocol(protocol: u32, asker: &Asker, said: &[&str]) -> Vec<String> {
    let head = ["ask".to_owned(), protocol.to_string(), asker.gateway.clone(), asker.nonce.clone()];
    head.into_iter().chain(said.iter().map(|part| (*part).to_owned())).collect()
}

/// No part has a line break: they are words of a head.
fn code(secret: &Secret, parts: &[String]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes a key of any length");
    mac.update(parts.join("\n").as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing into a text does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text)
    }

    #[test]
    fn a_request_is_believed_as_it_was_said_and_not_otherwise() {
        let (asker, header) = ask(&secret("s"), "gw-b", &["POST", "/a", "10.0.0.9"]);
        assert_eq!(check(&secret("s"), Some(&header), &["POST", "/a", "10.0.0.9"]), Ok(asker));
        for (key, header, said) in [
            ("other", Some(header.as_str()), ["POST", "/a", "10.0.0.9"]),
            ("s", Some(header.as_str()), ["POST", "/b", "10.0.0.9"]),
            ("s", Some(header.as_str()), ["POST", "/a", "10.0.0.1"]),
            ("s", Some("1 gw-b n"), ["POST", "/a", "10.0.0.9"]),
            ("s", None, ["POST", "/a", "10.0.0.9"]),
        ] {
            assert_eq!(check(&secret(key), header, &said), Err(NoPeer::Unproved), "{key} {header:?} {said:?}");
        }
    }

    #[test]
    fn another_protocol_is_told_by_its_number_and_only_to_who_knows_the_secret() {
        let asker = Asker { gateway: "gw-b".to_owned(), nonce: "n".to_owned() };
        let mac = hex(&code(&secret("s"), &with_protocol(2, &asker, &["GET"])));
        let refused = check(&secret("s"), Some(&format!("2 gw-b n {mac}")), &["GET"]);
        assert_eq!(refused, Err(NoPeer::Protocol { asker, protocol: 2 }));
        assert_eq!(check(&secret("t"), Some(&format!("2 gw-b n {mac}")), &["GET"]), Err(NoPeer::Unproved));
    }

    #[test]
    fn an_answer_belongs_to_its_question() {
        let (first, _) = ask(&secret("s"), "gw-b", &[]);
        let (second, _) = ask(&secret("s"), "gw-b", &[]);
        let header = answer(&secret("s"), &first);
        assert!(is_answer(&secret("s"), &first, Some(&header)));
        assert!(!is_answer(&secret("s"), &second, Some(&header)));
        assert!(!is_answer(&secret("t"), &first, Some(&header)) && !is_answer(&secret("s"), &first, None));
    }
}
