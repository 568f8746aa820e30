//! The PROXY protocol, versions 1 and 2: what a proxy says of the client before the first byte of TLS or HTTP.
//!
//! What is read is bounded, and nothing behind the header is touched.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str::FromStr;
use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// What a connection began with.
#[derive(Debug, PartialEq, Eq)]
pub enum Header {
    /// It is passed on for the client at this address.
    Of(SocketAddr),
    /// The proxy speaks for itself (a health check), or does not know for whom.
    Own,
    /// No header; these bytes were read to see that.
    Absent(Vec<u8>),
}

/// A header that breaks off or says nothing.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    #[error("the header of the PROXY protocol is broken: {0}")]
    Broken(&'static str),
    #[error("the header of the PROXY protocol breaks off: {0}")]
    Io(#[from] io::Error),
}

const V1: &[u8] = b"PROXY ";
/// With its beginning and its end.
const LONGEST_V1: usize = 107;
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Addresses and what proxies add to them; they send some hundred bytes.
const LONGEST_V2: usize = 4096;

/// Reads the header that `stream` begins with, if it does.
///
/// # Errors
///
/// When it begins like one and is none.
pub async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Header, HeaderError> {
    let mut begun = Vec::with_capacity(V2.len());
    loop {
        match stream.read_u8().await {
            Ok(byte) => begun.push(byte),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Header::Absent(begun)),
            Err(error) => return Err(error.into()),
        }
        if begun == V1 {
            return read_v1(stream).await;
        }
        if begun == V2 {
            return read_v2(stream).await;
        }
        if !V1.starts_with(&begun) && !V2.starts_with(&begun) {
            return Ok(Header::Absent(begun));
        }
    }
}

async fn read_v1<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Header, HeaderError> {
    let mut line = Vec::with_capacity(LONGEST_V1);
    while !line.ends_with(b"\r\n") {
        if V1.len() + line.len() == LONGEST_V1 {
            return Err(HeaderError::Broken("a line of more than 107 bytes"));
        }
        line.push(stream.read_u8().await?);
    }
    line.truncate(line.len() - 2);
    let line = str::from_utf8(&line).map_err(|_not| HeaderError::Broken("a line that is no text"))?;
    match line.split_once(' ') {
        Some(("TCP4", rest)) => source_of::<Ipv4Addr>(rest),
        Some(("TCP6", rest)) => source_of::<Ipv6Addr>(rest),
        Some(("UNKNOWN", _)) => Some(Header::Own),
        None if line == "UNKNOWN" => Some(Header::Own),
        Some(_) | None => None,
    }
    .ok_or(HeaderError::Broken("a line without two addresses and two ports"))
}

/// `192.0.2.1 198.51.100.1 56324 443`.
fn source_of<A: FromStr + Into<core::net::IpAddr>>(text: &str) -> Option<Header> {
    let mut words = text.split(' ');
    let (source, to) = (words.next()?.parse::<A>().ok()?, words.next()?);
    let (port, to_port) = (words.next()?, words.next()?);
    to.parse::<A>().ok()?;
    to_port.parse::<u16>().ok()?;
    let source = SocketAddr::new(source.into(), port.parse().ok()?);
    words.next().is_none().then_some(Header::Of(source))
}

async fn read_v2<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Header, HeaderError> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let [version, family, high, low] = head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST_V2 {
        return Err(HeaderError::Broken("more than 4096 bytes"));
    }
    let mut said = vec![0; length];
    stream.read_exact(&mut said).await?;
    match (version, family) {
        (0x20, _) => Ok(Header::Own),
        (0x21, 0x11) => address_of::<4>(&said),
        (0x21, 0x21) => address_of::<16>(&said),
        // It came to the proxy by a socket of the machine, or in a way that has no name.
        (0x21, 0x00 | 0x31) => Ok(Header::Own),
        (0x21, _) => Err(HeaderError::Broken("a transport that is not TCP")),
        (_, _) => Err(HeaderError::Broken("an unknown version or command")),
    }
}

/// Two addresses, two ports, and whatever the proxy adds.
fn address_of<const LENGTH: usize>(said: &[u8]) -> Result<Header, HeaderError>
where
    core::net::IpAddr: From<[u8; LENGTH]>,
{
    let short = HeaderError::Broken("addresses that break off");
    let Some((source, rest)) = said.split_first_chunk::<LENGTH>() else { return Err(short) };
    let Some([high, low, _, _]) = rest.get(LENGTH..LENGTH + 4) else { return Err(short) };
    Ok(Header::Of(SocketAddr::new((*source).into(), u16::from_be_bytes([*high, *low]))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is made of it, and what is left to read.
    async fn seen(sent: &[u8]) -> (Result<Header, HeaderError>, Vec<u8>) {
        let mut rest = sent;
        let header = read(&mut rest).await;
        (header, rest.to_vec())
    }

    fn v2(version: u8, family: u8, said: &[u8]) -> Vec<u8> {
        let length = u16::try_from(said.len()).unwrap().to_be_bytes();
        [V2, &[version, family], &length, said].concat()
    }

    fn of(address: &str) -> Header {
        Header::Of(address.parse().unwrap())
    }

    #[tokio::test]
    async fn a_header_says_the_client_and_ends_where_it_ends() {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 1, 0xDC, 0x04, 0x01, 0xBB];
        let mut v6 = [0; 36];
        v6[..4].copy_from_slice(&[0x20, 0x01, 0x0D, 0xB8]);
        (v6[15], v6[31], v6[33]) = (1, 2, 80);
        // Something that a proxy adds (its host's name).
        let more = [&v4[..], &[0x02, 0, 4], b"host"].concat();
        for (sent, expected) in [
            (b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n".to_vec(), of("192.0.2.1:56324")),
            (b"PROXY TCP6 2001:db8::1 2001:db8::2 80 443\r\n".to_vec(), of("[2001:db8::1]:80")),
            (b"PROXY UNKNOWN\r\n".to_vec(), Header::Own),
            (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n".to_vec(), Header::Own),
            (v2(0x21, 0x11, &v4), of("192.0.2.1:56324")),
            (v2(0x21, 0x21, &v6), of("[2001:db8::1]:80")),
            (v2(0x21, 0x11, &more), of("192.0.2.1:56324")),
            (v2(0x20, 0x11, &v4), Header::Own),
            (v2(0x20, 0x00, &[]), Header::Own),
            (v2(0x21, 0x00, &[]), Header::Own),
            (v2(0x21, 0x31, &[0; 216]), Header::Own),
        ] {
            let (header, rest) = seen(&[&sent[..], b"GET / HTTP/1.1\r\n"].concat()).await;
            assert_eq!(header.unwrap(), expected, "{}", sent.escape_ascii());
            assert_eq!(rest, b"GET / HTTP/1.1\r\n", "{}", sent.escape_ascii());
        }
    }

    #[tokio::test]
    async fn what_begins_with_none_is_given_back() {
        for sent in [&b"GET / HTTP/1.1\r\n"[..], b"PRI * HTTP/2.0\r\n", b"PROX", b"\x16\x03\x01", b"\r\n\r\nGET", b""] {
            let (header, rest) = seen(sent).await;
            let Header::Absent(read) = header.unwrap() else { panic!("{}", sent.escape_ascii()) };
            assert_eq!([read, rest].concat(), sent);
        }
    }

    #[tokio::test]
    async fn a_broken_header_is_refused_and_none_is_read_for_ever() {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 1, 0xDC, 0x04, 0x01, 0xBB];
        for sent in [
            b"PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 \r\n".to_vec(),
            b"PROXY TCP4 2001:db8::1 2001:db8::2 80 443\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 198.51.100.1 70000 443\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\n\r\n".to_vec(),
            b"PROXY UDP4 192.0.2.1 198.51.100.1 56324 443\r\n".to_vec(),
            b"PROXY \r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1".to_vec(),
            b"PROXY TCP4 \xFF\xFE\r\n".to_vec(),
            [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat(),
            v2(0x11, 0x11, &v4),
            v2(0x22, 0x11, &v4),
            v2(0x21, 0x12, &v4),
            v2(0x21, 0x11, &v4[..11]),
            v2(0x21, 0x21, &v4),
            v2(0x21, 0x11, &[0; 4097]),
            v2(0x21, 0x11, &v4)[..20].to_vec(),
            [V2, &[0x21, 0x11]].concat(),
        ] {
            let (header, _) = seen(&sent).await;
            assert!(header.is_err(), "{}: {header:?}", sent.escape_ascii());
        }
        let endless = [&b"PROXY UNKNOWN "[..], &[b'x'; 100_000]].concat();
        assert_eq!(seen(&endless).await.1.len(), endless.len() - LONGEST_V1);
    }
}
