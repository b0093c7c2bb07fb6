//! Markdown tables of what was measured.

use crate::case::{Case, Measure, Spread, size_name};
use crate::peers::Peer;
use crate::results::Results;
use std::collections::BTreeSet;

/// A Markdown table.
pub fn table(head: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut out = line(head);
    out.push_str(&format!("|---|{}\n", "--:|".repeat(head.len().saturating_sub(1))));
    rows.iter().for_each(|row| out.push_str(&line(row)));
    out
}

/// A figure with three digits that count.
pub fn number(value: f64) -> String {
    match value.abs() {
        10_000.0.. => thousands(value),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The median, and behind it the least and the most.
fn cell(spread: Option<Spread>) -> String {
    spread.map_or_else(String::new, |Spread { median, least, most }| {
        format!("{} <sub>{}–{}</sub>", number(median), number(least), number(most))
    })
}

/// What was measured, one table each, with its title.
pub fn all(results: &Results) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for (packet, cases) in by_packet(&results.cases(Measure::Bulk)) {
        let title = format!("Bulk, packets of {packet} bytes: user data, Gbit/s");
        out.push((title, of_sizes(results, &cases, "Gbit/s", 1.0)));
        let small: Vec<Case> = cases.into_iter().filter(|case| case.size <= 1024).collect();
        if !small.is_empty() {
            let title = format!("Small messages, packets of {packet} bytes: million messages/s");
            out.push((title, of_sizes(results, &small, "messages/s", 1e-6)));
        }
    }
    let latencies = [
        (Measure::PingPong, "Ping-pong of 64 bytes, µs", &["p50 µs", "p99 µs"][..]),
        (Measure::Spinning, "Ping-pong of 64 bytes, both ends spinning, µs", &["p50 µs", "p99 µs"]),
        (
            Measure::BesideBulk,
            "Ping-pong of 64 bytes beside bulk on another association, µs",
            &["p50 µs", "p99 µs", "Gbit/s"],
        ),
    ];
    for (measure, title, figures) in latencies {
        let cases = results.cases(measure);
        if cases.is_empty() {
            continue;
        }
        let rows = cases.iter().map(|case| {
            let figures = figures.iter().map(|name| cell(results.spread(*case, name)));
            std::iter::once(name(case.peer)).chain(figures).collect()
        });
        let head = figures.iter().map(|figure| match figure.strip_suffix(" µs") {
            Some(percentile) => percentile.to_owned(),
            None => format!("bulk, {figure}"),
        });
        let head: Vec<_> = std::iter::once(String::new()).chain(head).collect();
        out.push((title.to_owned(), table(&head, &rows.collect::<Vec<_>>())));
    }
    let cases = results.cases(Measure::Crowd);
    if !cases.is_empty() {
        let sizes: BTreeSet<usize> = cases.iter().map(|case| case.size).collect();
        let columns: Vec<_> = sizes.iter().map(|size| format!("{} associations", number(*size as f64))).collect();
        let title = "A message of 64 bytes back and forth on each association at once, round trips per second";
        out.push((title.to_owned(), grid(results, &cases, &columns, "round trips/s", 1.0)));
    }
    let cases = results.cases(Measure::Several);
    if !cases.is_empty() {
        let sizes: BTreeSet<usize> = cases.iter().map(|case| case.size).collect();
        let plural = |size: &usize| if *size == 1 { "" } else { "s" };
        let columns: Vec<_> = sizes.iter().map(|size| format!("{size} association{}", plural(size))).collect();
        let title = "Bulk of 16 KiB on two cores that both ends share: user data, Gbit/s";
        out.push((title.to_owned(), grid(results, &cases, &columns, "Gbit/s", 1.0)));
    }
    let cases = results.cases(Measure::Setup);
    if !cases.is_empty() {
        let sizes: BTreeSet<usize> = cases.iter().map(|case| case.size).collect();
        let columns: Vec<_> = sizes.iter().map(|size| format!("{size} at once")).collect();
        out.push(("Associations set up per second".to_owned(), grid(results, &cases, &columns, "associations/s", 1.0)));
    }
    let cases = results.cases(Measure::SetupCurve);
    if !cases.is_empty() {
        let sizes: BTreeSet<usize> = cases.iter().map(|case| case.size).collect();
        let columns: Vec<_> = sizes.iter().map(|size| format!("beside {}", number(*size as f64))).collect();
        let title = "Associations set up per second, 64 at once, where there are others already";
        out.push((title.to_owned(), grid(results, &cases, &columns, "associations/s", 1.0)));
    }
    let cases = results.cases(Measure::InMemory);
    if !cases.is_empty() {
        let rows = cases.iter().map(|case| {
            let figure = |name| cell(results.spread(*case, name));
            let figures = ["associations/s", "bytes per idle end", "ns per message"].map(figure);
            // There is no driver in it.
            let title = if case.peer == Peer::Esock { "**esock**".to_owned() } else { name(case.peer) };
            let head = [title, number(case.size as f64)];
            head.into_iter().chain(figures).collect()
        });
        let head = ["", "associations", "set up per second", "bytes per idle end", "ns per message"].map(str::to_owned);
        out.push(("In memory, both ends".to_owned(), table(&head, &rows.collect::<Vec<_>>())));
    }
    out
}

fn by_packet(cases: &[Case]) -> Vec<(usize, Vec<Case>)> {
    let packets: BTreeSet<usize> = cases.iter().map(|case| case.packet_bytes).collect();
    let of = |packet| cases.iter().copied().filter(|case| case.packet_bytes == packet).collect();
    packets.into_iter().map(|packet| (packet, of(packet))).collect()
}

fn of_sizes(results: &Results, cases: &[Case], figure: &str, scale: f64) -> String {
    let sizes: BTreeSet<usize> = cases.iter().map(|case| case.size).collect();
    let columns: Vec<_> = sizes.iter().map(|size| size_name(*size)).collect();
    grid(results, cases, &columns, figure, scale)
}

/// A row for each candidate, a column for each size.
fn grid(results: &Results, cases: &[Case], columns: &[String], figure: &str, scale: f64) -> String {
    let sizes: BTreeSet<usize> = cases.iter().map(|case| case.size).collect();
    let peers: BTreeSet<Peer> = cases.iter().map(|case| case.peer).collect();
    let scaled = |spread: Spread| Spread {
        median: spread.median * scale,
        least: spread.least * scale,
        most: spread.most * scale,
    };
    let rows = peers.into_iter().map(|peer| {
        let of = |size: &usize| {
            let case = cases.iter().find(|case| case.peer == peer && case.size == *size);
            cell(case.and_then(|case| results.spread(*case, figure)).map(scaled))
        };
        std::iter::once(name(peer)).chain(sizes.iter().map(of)).collect()
    });
    let head: Vec<_> = std::iter::once(String::new()).chain(columns.iter().cloned()).collect();
    table(&head, &rows.collect::<Vec<_>>())
}

fn name(peer: Peer) -> String {
    if peer.is_ours() { format!("**{}**", peer.title()) } else { peer.title().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_that_count() {
        let said = [0.3333, 1.2345, 12.345, 123.45, 1234.5, 1_234_567.0].map(number);
        assert_eq!(said, ["0.333", "1.23", "12.3", "123", "1234", "1,234,567"]);
    }

    #[test]
    fn a_table_has_a_row_for_each_candidate() {
        let text = table(&["".to_owned(), "a".to_owned()], &[vec!["x".to_owned(), "1".to_owned()]]);
        assert_eq!(text, "|  | a |\n|---|--:|\n| x | 1 |\n");
    }
}
