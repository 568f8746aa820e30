//! Which tasks a request means.

use miroir_words::pattern::IndexPattern;
use miroir_words::task::{TaskKind, TaskStatus};
use time::OffsetDateTime;

/// Conditions on tasks; a task meets all that are set.
#[derive(Debug, Clone, Default)]
pub struct TaskFilter {
    pub uids: Option<Vec<u32>>,
    pub batch_uids: Option<Vec<u32>>,
    pub canceled_by: Option<Vec<u32>>,
    pub kinds: Option<Vec<TaskKind>>,
    pub statuses: Option<Vec<TaskStatus>>,
    pub index_uids: Option<Vec<String>>,
    /// Exclusive bounds.
    pub enqueued: DateRange,
    pub started: DateRange,
    pub finished: DateRange,
    /// The indexes that the asking key may see; `None` is all, and tasks of no index with them.
    pub visible: Option<Vec<IndexPattern>>,
}

/// A part of a list of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskPage {
    pub limit: u32,
    pub from: Option<u32>,
    /// Oldest first.
    pub reverse: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DateRange {
    pub after: Option<OffsetDateTime>,
    pub before: Option<OffsetDateTime>,
}

/// A condition in SQL and the texts that stand for its `?`s.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Condition {
    pub sql: String,
    pub texts: Vec<String>,
}

// === impl TaskFilter ===

impl TaskFilter {
    pub fn by_uid(uid: u32) -> Self {
        Self { uids: Some(vec![uid]), ..Self::default() }
    }

    pub fn condition(&self) -> Condition {
        let mut condition = Condition { sql: "1".to_owned(), texts: Vec::new() };
        condition.and_numbers("uid", self.uids.as_deref());
        condition.and_numbers("batch_uid", self.batch_uids.as_deref());
        condition.and_numbers("canceled_by", self.canceled_by.as_deref());
        condition.and_words("kind", self.kinds.as_ref().map(|kinds| kinds.iter().map(|kind| kind.as_str()).collect()));
        condition.and_words(
            "status",
            self.statuses.as_ref().map(|statuses| statuses.iter().map(|status| status.as_str()).collect()),
        );
        condition
            .and_words("index_uid", self.index_uids.as_ref().map(|uids| uids.iter().map(String::as_str).collect()));
        condition.and_range("enqueued_at", self.enqueued);
        condition.and_range("started_at", self.started);
        condition.and_range("finished_at", self.finished);
        if let Some(patterns) = &self.visible
            && !patterns.iter().any(IndexPattern::is_all)
        {
            condition.and_visible(patterns);
        }
        condition
    }
}

// === impl Condition ===

impl Condition {
    fn and(&mut self, sql: &str) {
        self.sql.push_str(" AND ");
        self.sql.push_str(sql);
    }

    fn and_numbers(&mut self, column: &str, numbers: Option<&[u32]>) {
        let Some(numbers) = numbers else { return };
        let list: Vec<String> = numbers.iter().map(u32::to_string).collect();
        self.and(&format!("{column} IN ({})", list.join(",")));
    }

    fn and_words(&mut self, column: &str, words: Option<Vec<&str>>) {
        let Some(words) = words else { return };
        self.and(&format!("{column} IN ({})", vec!["?"; words.len()].join(",")));
        self.texts.extend(words.into_iter().map(str::to_owned));
    }

    fn and_range(&mut self, column: &str, range: DateRange) {
        if let Some(after) = range.after {
            self.and(&format!("{column} > {}", nanoseconds(after)));
        }
        if let Some(before) = range.before {
            self.and(&format!("{column} < {}", nanoseconds(before)));
        }
    }

    fn and_visible(&mut self, patterns: &[IndexPattern]) {
        let mut choices = vec!["0".to_owned()];
        for pattern in patterns {
            match pattern.as_str().strip_suffix('*') {
                Some(start) => {
                    choices.push(format!("substr(index_uid, 1, {}) = ?", start.len()));
                    self.texts.push(start.to_owned());
                }
                None => {
                    choices.push("index_uid = ?".to_owned());
                    self.texts.push(pattern.as_str().to_owned());
                }
            }
        }
        self.and(&format!("({})", choices.join(" OR ")));
    }
}

/// Moments as they are stored: nanoseconds since 1970, kept within what 64 bits hold (1677 to 2262).
pub fn nanoseconds(moment: OffsetDateTime) -> i64 {
    let wide = moment.unix_timestamp_nanos();
    i64::try_from(wide).unwrap_or(if wide < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_condition_means_all() {
        assert_eq!(TaskFilter::default().condition(), Condition { sql: "1".to_owned(), texts: vec![] });
    }

    #[test]
    fn conditions_join_with_and_and_keep_the_order_of_their_texts() {
        let filter = TaskFilter {
            uids: Some(vec![1, 2]),
            statuses: Some(vec![TaskStatus::Failed]),
            index_uids: Some(vec!["a".to_owned(), "b".to_owned()]),
            visible: Some(vec![IndexPattern::parse("x*").unwrap(), IndexPattern::parse("y").unwrap()]),
            ..TaskFilter::default()
        };
        assert_eq!(
            filter.condition(),
            Condition {
                sql: "1 AND uid IN (1,2) AND status IN (?) AND index_uid IN (?,?) \
                      AND (0 OR substr(index_uid, 1, 1) = ? OR index_uid = ?)"
                    .to_owned(),
                texts: ["failed", "a", "b", "x", "y"].map(str::to_owned).to_vec(),
            }
        );
    }
}
