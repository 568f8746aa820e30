//! Whether the shares of a page that nodes were asked for were enough of it.

use super::error::MergeError;
use super::hit::Hit;
use super::hits::{Page, is_surely_before};
use crate::plan::span::Span;

/// What one node listed of its share.
#[derive(Debug, Clone, Copy)]
pub struct Listed<'a> {
    /// Hits in its list.
    pub count: u64,
    pub first: Option<Hit<'a>>,
}

/// The lists that were too narrow, by their places, for the `page` of at most `take` hits that was merged out of them.
///
/// A list that ends within the page may go on there: too few were asked for, unless its last hit is the last of the page. A list
/// that does not begin before the page may have left out hits of it, and then every hit before the page was miscounted.
/// Example: node x lists its hits from the 5th on, and the page is to begin with the 11th of all. If x's 5th stands before
/// that, so do the four that it left out; if it is the 11th itself, the 4th may be, too, and was never seen.
pub fn too_narrow(page: &Page<'_>, take: u64, listed: &[Listed<'_>], spans: &[Span]) -> Result<Vec<usize>, MergeError> {
    let full = page.hits.len() as u64 >= take;
    let mut narrow = Vec::new();
    for (at, (listed, span)) in listed.iter().zip(spans).enumerate() {
        let ran_out = span.may_be_cut(listed.count) && page.used.get(at) == Some(&listed.count);
        let is_last = full && page.last == Some(at);
        let begins_late = match (page.hits.first(), listed.first) {
            _ if span.skip() == 0 => false,
            (Some(begin), Some(first)) => !is_surely_before(&first, begin)?,
            (_, None) | (None, _) => true,
        };
        if ran_out && !is_last || begins_late {
            narrow.push(at);
        }
    }
    Ok(narrow)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;
    use crate::merge::hits;
    use crate::plan::shown::Rules;

    /// A document by its rank, the less the better, and its place in the order of writes.
    type Doc = (u8, u32);

    fn text((rank, place): Doc) -> Box<RawValue> {
        let text = format!(
            r#"{{"id":{place},"_rankingScoreDetails":{{"words":{{"order":0,"score":{}}},"_miroir_written:asc":{{"order":1,"value":"{place:06}"}}}}}}"#,
            1.0 - f64::from(rank) / 256.0
        );
        RawValue::from_string(text).unwrap()
    }

    fn hit(text: &RawValue) -> Hit<'_> {
        Hit::parse(text.get()).unwrap()
    }

    fn texts<'a>(page: &Page<'a>) -> Vec<&'a str> {
        page.hits.iter().map(|hit| hit.text).collect()
    }

    fn merged<'a>(lists: &'a [Vec<Box<RawValue>>], skip: u64, take: u64) -> Page<'a> {
        let lists = lists.iter().map(|list| list.iter().map(|text| hit(text)).collect()).collect();
        hits::merge(lists, &Rules::default(), skip, take).unwrap()
    }

    fn cut(list: &[Box<RawValue>], span: Span) -> Vec<Box<RawValue>> {
        match span {
            Span::UpToTheEnd => list.to_vec(),
            Span::Share { skip, take } => list.iter().skip(skip as usize).take(take as usize).cloned().collect(),
            Span::Beyond { take } => list.iter().take(take as usize).cloned().collect(),
        }
    }

    proptest! {
        #[test]
        fn shares_that_are_not_too_narrow_make_the_page_of_whole_lists(
            docs in proptest::collection::vec((0u8..4, 0usize..3), 0..60),
            asked in proptest::collection::vec((0u64..12, 1u64..16), 3),
            skip in 12u64..40, take in 1u64..9,
        ) {
            let mut nodes: Vec<Vec<Doc>> = vec![Vec::new(); 3];
            for (place, (rank, node)) in docs.iter().enumerate() {
                nodes[*node].push((*rank, place as u32));
            }
            nodes.iter_mut().for_each(|node| node.sort_unstable());
            let whole: Vec<Vec<_>> = nodes.iter().map(|node| node.iter().copied().map(text).collect()).collect();
            let spans: Vec<Span> = asked.iter().map(|(skip, take)| Span::Share { skip: *skip, take: *take }).collect();
            let before: u64 = spans.iter().map(|span| span.skip()).sum();
            prop_assume!(before <= skip);
            let shares: Vec<Vec<_>> = whole.iter().zip(&spans).map(|(list, span)| cut(list, *span)).collect();
            let listed: Vec<Listed<'_>> = shares
                .iter()
                .map(|list| Listed { count: list.len() as u64, first: list.first().map(|text| hit(text)) })
                .collect();
            let page = merged(&shares, skip - before, take);
            if too_narrow(&page, take, &listed, &spans).unwrap().is_empty() {
                prop_assert_eq!(texts(&page), texts(&merged(&whole, skip, take)));
            }
        }
    }

    #[test]
    fn a_list_that_ends_within_the_page_or_begins_too_late_is_named() {
        let lists = [vec![text((0, 1)), text((0, 2))], vec![text((1, 3)), text((1, 4))]];
        let named = |lists: &[Vec<Box<RawValue>>], spans: [Span; 2], (skip, take): (u64, u64)| {
            let listed: Vec<Listed<'_>> = lists
                .iter()
                .map(|list| Listed { count: list.len() as u64, first: list.first().map(|text| hit(text)) })
                .collect();
            let before: u64 = spans.iter().map(|span| span.skip()).sum();
            too_narrow(&merged(lists, skip - before, take), take, &listed, &spans).unwrap()
        };
        let two = Span::Share { skip: 0, take: 2 };
        assert_eq!(named(&lists, [two, two], (0, 2)), [] as [usize; 0]);
        assert_eq!(named(&lists, [two, two], (0, 3)), [0]);
        assert_eq!(named(&lists, [two, two], (0, 5)), [0, 1]);
        assert_eq!(named(&lists, [Span::UpToTheEnd, two], (0, 3)), [] as [usize; 0]);
        // The second list's first hit is the first of the page, or lies before it.
        let third = Span::Share { skip: 1, take: 2 };
        assert_eq!(named(&lists, [Span::UpToTheEnd, third], (3, 1)), [1]);
        assert_eq!(named(&lists, [Span::UpToTheEnd, third], (4, 1)), [] as [usize; 0]);
    }
}
