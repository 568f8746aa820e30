//! What operators make of requests and answers beside what clients ask: rules, in order, each with conditions and actions.
//! Pure: who asks, when and from where is told, and what comes out is data.
//!
//! A rule sees the client's request, once its key was checked, and never what nodes are asked. Each search of several is looked at
//! by itself, and a search by GET as the body that says the same. What a key allows is checked again on the result, and a tenant
//! token's own filter is joined after all rules: none of them can lift it.
//!
//! | module | what lives there |
//! |---|---|
//! | `action` | what a rule does, read from the file and worked out for one request |
//! | `answers` | answers after programs |
//! | `asked` | a request as rules see and change it |
//! | `book` | all rules in order, applied |
//! | `cap` | the most that a search may ask for |
//! | `concurrency` | how much may be under way at once |
//! | `conditions` | when a rule holds |
//! | `deed` | what is done, by names that rules use |
//! | `example` | the examples that a rule carries |
//! | `language` | Rhai: programs compiled, and run within bounds |
//! | `limit` | how often something may be asked |
//! | `making` | what rules make of documents, one after the other |
//! | `mask` | fields that some callers may not see, and the doors beside the front door |
//! | `mirror` | searches that are asked a second time of another index |
//! | `network` | addresses by network |
//! | `on_answer` | programs over the hits of a page |
//! | `on_document` | programs over documents that are written |
//! | `on_task` | who is told when a task has ended |
//! | `otherwise` | what becomes of what a rule cannot do |
//! | `patch` | JSON after a program, what has not changed byte by byte |
//! | `program` | conditions, and programs over the parameters of searches |
//! | `rule` | one rule as the file has it |
//! | `shape` | what documents must be, and what is made of them |
//! | `split` | shares of callers, always the same ones |
//! | `subject` | who asks for what |
//! | `template` | texts with values of the request in them |
//! | `term` | one value of the request, by name |
//! | `tested` | rules as they are read, each with its examples run |
//! | `trial` | a request, or the end of a task, that is tried on rules, without a gateway |

mod action;
pub mod answers;
pub mod asked;
pub mod book;
mod cap;
pub mod concurrency;
mod conditions;
pub mod deed;
mod example;
pub mod language;
pub mod limit;
pub mod making;
pub mod mask;
pub mod mirror;
pub mod network;
pub mod on_answer;
pub mod on_document;
pub mod on_task;
mod otherwise;
mod patch;
mod program;
pub mod rule;
pub mod shape;
mod split;
pub mod subject;
mod template;
mod term;
pub mod tested;
pub mod trial;
