//! What was measured, as tables.

use std::time::Duration;

use crate::load::Tally;
use crate::moves::Moved;
use crate::outage::Outage;
use crate::times::Times;

const MIB: f64 = 1_048_576.0;

/// Times against those of the last cluster at rest before.
pub fn print_phases(phases: &[(String, Tally)]) {
    println!("\nSearches (ms), and the ratios of their quantiles to those of the cluster at rest before\n");
    println!(
        "| phase | s | searches | per s | p50 | p95 | p99 | longest | p50 : rest | p99 : rest | wrong | unanswered | checks failed |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    let mut rest: Option<&Tally> = None;
    for (name, tally) in phases {
        let is_rest = name.contains("at rest");
        let ratio = |share: f64| match rest {
            Some(rest) if !is_rest => format!("{:.2}", tally.searches.quantile(share) / rest.searches.quantile(share)),
            Some(_) | None => String::new(),
        };
        println!(
            "| {name} | {:.0} | {} | {:.0} | {:.1} | {:.1} | {:.1} | {:.1} | {} | {} | {} | {} | {} of {} |",
            tally.took.as_secs_f64(),
            tally.searches.0.len(),
            tally.searches.0.len() as f64 / tally.took.as_secs_f64(),
            tally.searches.median(),
            tally.searches.quantile(0.95),
            tally.searches.quantile(0.99),
            tally.searches.quantile(1.0),
            ratio(0.5),
            ratio(0.99),
            tally.wrong.len(),
            tally.unanswered.len(),
            tally.failed_checks.len(),
            tally.checks,
        );
        if is_rest {
            rest = Some(tally);
        }
    }
    println!("\nWrites (ms)\n");
    println!(
        "| phase | writes | acknowledged: p50 | p99 | longest | carried out: p50 | p99 | longest | refused or failed |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (name, tally) in phases {
        let three =
            |times: &Times| format!("{:.0} | {:.0} | {:.0}", times.median(), times.quantile(0.99), times.quantile(1.0));
        println!(
            "| {name} | {} | {} | {} | {} |",
            tally.acknowledged.0.len(),
            three(&tally.acknowledged),
            three(&tally.carried_out),
            tally.refused.len()
        );
    }
}

pub fn print_moves(moves: &[Moved]) {
    println!("\nMoves\n");
    println!(
        "| move | s | replicas planned and moved | documents planned | MiB planned | documents that must be copied | copied | \
         copied : must | compared | deleted by copies | MiB read | MiB sent | writes held back |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for moved in moves {
        let counted = &moved.counted;
        println!(
            "| {} | {} | {} | {} | {:.1} | {} | {} | {:.3} | {} | {} | {:.1} | {:.1} | {} times, {:.2} s in all |",
            moved.name,
            seconds(moved.took),
            moved.replicas,
            moved.planned_documents,
            moved.planned_bytes as f64 / MIB,
            moved.least,
            counted.copied,
            moved.surplus(),
            counted.compared,
            counted.deleted,
            counted.bytes_read as f64 / MIB,
            counted.bytes_sent as f64 / MIB,
            counted.holds,
            counted.held_seconds,
        );
    }
}

pub fn print_outages(outages: &[Outage]) {
    println!("\nA node is killed, misses documents, and returns\n");
    println!(
        "| what it missed | documents written | s until carried out | shards of the node | touched | stale | documents in stale \
         shards | missed | compared | copied | deleted | MiB read | MiB sent | s until it serves | s until in sync |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for outage in outages {
        let counted = &outage.counted;
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {:.1} | {:.1} | {} | {} |",
            outage.name,
            outage.written,
            seconds(outage.writing),
            outage.owned_shards,
            outage.touched_shards,
            outage.stale_shards,
            outage.in_stale_shards,
            outage.missed,
            counted.compared,
            counted.copied,
            counted.deleted,
            counted.bytes_read as f64 / MIB,
            counted.bytes_sent as f64 / MIB,
            seconds(outage.serves),
            seconds(outage.in_sync),
        );
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64())
}
