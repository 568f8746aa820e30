//! The header `traceparent` of W3C Trace Context: which trace a request belongs to.

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// What is known of a request's trace, for whoever asks nodes on its behalf.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Parent {
    /// Nobody follows it.
    #[default]
    None,
    /// The client's own, which nodes are told as it came: nothing is recorded here.
    Passed(SpanContext),
    /// The gateway's span of the request.
    Recorded(SpanContext),
}

/// The header's value, in lower case as it must be: `00-<trace>-<parent>-<flags>`. `None` where it is of no use, and where there are
/// several, none of which is to be trusted then.
pub fn read(mut values: impl Iterator<Item = impl AsRef<[u8]>>) -> Option<SpanContext> {
    let (value, None) = (values.next()?, values.next()) else { return None };
    let value = core::str::from_utf8(value.as_ref()).ok()?.trim();
    let (version, rest) = value.split_once('-')?;
    let is_hex =
        |text: &str, length| text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !is_hex(version, 2) || version == "ff" {
        return None;
    }
    let mut parts = rest.split('-');
    let (trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?);
    // A later version may say more behind; this one may not.
    if !is_hex(trace, 32) || !is_hex(parent, 16) || !is_hex(flags, 2) || (version == "00" && parts.next().is_some()) {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let (trace, parent) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(parent).ok()?);
    let context = SpanContext::new(trace, parent, flags, true, TraceState::default());
    context.is_valid().then_some(context)
}

/// As it goes over the wire.
pub fn write(context: &SpanContext) -> String {
    format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags().to_u8())
}

// === impl Parent ===

impl Parent {
    /// What nodes are told.
    pub fn context(&self) -> Option<&SpanContext> {
        match self {
            Self::None => None,
            Self::Passed(context) | Self::Recorded(context) => Some(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_parent_is_read_and_written_alike() {
        let context = read([VALUE].iter()).unwrap();
        assert_eq!(write(&context), VALUE);
        assert!(context.is_sampled() && context.is_remote());
        let unsampled = VALUE.replace("-01", "-00");
        assert!(!read([&unsampled].iter()).unwrap().is_sampled());
    }

    #[test]
    fn of_a_later_version_the_known_part_is_read() {
        let later = format!("01{}-more", &VALUE[2..]);
        assert_eq!(write(&read([&later].iter()).unwrap()), VALUE);
    }

    #[test]
    fn what_is_no_parent_is_left_out() {
        let zero_trace = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
        let zero_span = "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01";
        let broken = [
            "",
            "00",
            zero_trace,
            zero_span,
            &VALUE.to_uppercase(),
            &VALUE[..54],
            &format!("{VALUE}-more"),
            &format!("ff{}", &VALUE[2..]),
            &VALUE.replace('b', "\u{e9}"),
            &VALUE.replace('b', "g"),
            &VALUE.replace('-', "--"),
        ];
        for value in broken {
            assert_eq!(read([value].iter()), None, "{value}");
        }
        assert_eq!(read([VALUE, VALUE].iter()), None);
    }
}
