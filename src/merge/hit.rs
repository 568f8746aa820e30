//! One hit of a reply: its text, and where in it stands what is not the client's.

use super::error::MergeError;
use crate::split::document::RESERVED_PREFIX;
use crate::split::scanner::{Malformed, Scanner, string};

/// How many members of a hit are remembered that may have to go out of it; hits with more are read once again when they are
/// written.
const REMEMBERED: usize = 6;

/// A hit as its node wrote it. Its members were found when the reply was read, so that nobody reads it again: a losing hit costs
/// that one look, a winning one a copy of what stands between the members that go.
#[derive(Debug, Clone, Copy)]
pub struct Hit<'a> {
    pub text: &'a str,
    found: Found,
}

/// What was found in a hit.
#[derive(Debug, Clone, Copy)]
struct Found {
    details: Details,
    own: Own,
}

/// Where in a text a hit stands, and what was found in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    from: usize,
    to: usize,
    found: Found,
}

#[derive(Debug, Clone, Copy)]
enum Details {
    None,
    /// From here to there, counted from the beginning of the hit.
    At(usize, usize),
    /// No object, or one that states its scores twice.
    Unreadable,
}

/// The members that are Miroir's or were asked for only to compare.
#[derive(Debug, Clone, Copy)]
enum Own {
    Spans {
        spans: [Span; REMEMBERED],
        count: u8,
    },
    /// There are more, or something within a member has to go.
    Elsewhere,
}

/// From a member's name to the end of its value, counted from the beginning of the hit.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    from: u32,
    to: u32,
}

// === impl Own ===

impl Own {
    fn add(&mut self, from: usize, to: usize) {
        let span = u32::try_from(from).ok().zip(u32::try_from(to).ok()).map(|(from, to)| Span { from, to });
        match (&mut *self, span) {
            (Self::Spans { spans, count }, Some(span)) if usize::from(*count) < REMEMBERED => {
                spans[usize::from(*count)] = span;
                *count += 1;
            }
            (Self::Spans { .. } | Self::Elsewhere, _) => *self = Self::Elsewhere,
        }
    }
}

// === impl Place ===

impl Place {
    /// The hits of an array.
    pub fn read_list(scanner: &mut Scanner<'_>) -> Result<Vec<Self>, Malformed> {
        let mut places = Vec::with_capacity(20);
        let mut within = scanner.enter(b'[')?;
        while scanner.element(&mut within)? {
            places.push(Self::read(scanner)?);
        }
        Ok(places)
    }

    /// The hit that stands there in `text`, which is the one that was read.
    pub fn of(self, text: &str) -> Hit<'_> {
        Hit { text: &text[self.from..self.to], found: self.found }
    }

    fn read(scanner: &mut Scanner<'_>) -> Result<Self, Malformed> {
        let is_object = scanner.peek()? == b'{';
        let from = scanner.at();
        if !is_object {
            scanner.value()?;
            let found = Found { details: Details::Unreadable, own: Own::Elsewhere };
            return Ok(Self { from, to: scanner.at(), found });
        }
        let mut details = Details::None;
        let mut own = Own::Spans { spans: [Span::default(); REMEMBERED], count: 0 };
        let mut within = scanner.enter(b'{')?;
        let mut stated = false;
        while let Some((name_from, name)) = scanner.quoted_member(&mut within)? {
            let value = scanner.value()?;
            // Most names are told apart by one byte.
            if !name.starts_with("\"_") && !name.starts_with("\"\\") {
                continue;
            }
            let (begins, ends) = (name_from - from, scanner.at() - from);
            // What is written so that nobody can read it is no name of ours.
            match string(name).unwrap_or_default().as_ref() {
                "_rankingScoreDetails" => {
                    details = match (stated, value) {
                        (true, _) => Details::Unreadable,
                        (false, "null") => Details::None,
                        (false, value) => Details::At(ends - value.len(), ends),
                    };
                    stated = true;
                    own.add(begins, ends);
                }
                "_rankingScore" => own.add(begins, ends),
                "_formatted" | "_matchesPosition" => own = Own::Elsewhere,
                name if name.starts_with(RESERVED_PREFIX) => own.add(begins, ends),
                _ => {}
            }
        }
        Ok(Self { from, to: scanner.at(), found: Found { details, own } })
    }
}

// === impl Hit ===

impl<'a> Hit<'a> {
    /// Of one JSON object; what follows it is an error.
    pub fn parse(text: &'a str) -> Result<Self, Malformed> {
        let mut scanner = Scanner::new(text);
        let place = Place::read(&mut scanner)?;
        scanner.end()?;
        Ok(place.of(text))
    }

    /// Its `_rankingScoreDetails`.
    pub fn details(&self) -> Result<Option<&'a str>, MergeError> {
        match self.found.details {
            Details::None => Ok(None),
            Details::At(from, to) => Ok(Some(&self.text[from..to])),
            Details::Unreadable => Err(MergeError::Missing("the scores of a hit once")),
        }
    }

    /// Copies the hit without scores and hidden fields. False if it has to be read for that; nothing is written then.
    pub fn write_bare(&self, out: &mut Vec<u8>) -> bool {
        let Own::Spans { spans, count } = &self.found.own else { return false };
        out.push(b'{');
        let mut from = 1;
        let mut empty = true;
        for span in &spans[..usize::from(*count)] {
            write_run(&self.text[from..span.from as usize], &mut empty, out);
            from = span.to as usize;
        }
        write_run(&self.text[from..self.text.len() - 1], &mut empty, out);
        out.push(b'}');
        true
    }
}

/// Writes members that stand together, without the commas round them.
fn write_run(run: &str, empty: &mut bool, out: &mut Vec<u8>) {
    let run = run.trim_matches([',', ' ', '\n', '\r', '\t']);
    if run.is_empty() {
        return;
    }
    if !*empty {
        out.push(b',');
    }
    *empty = false;
    out.extend_from_slice(run.as_bytes());
}
