//! Bar charts as SVG: one panel for each size, one bar for each candidate, with the spread of its runs.

use crate::case::{Case, Measure, Spread, size_name};
use crate::results::Results;
use crate::tables::number;
use std::collections::BTreeSet;
use std::fmt::Write;

const PANEL_WIDTH: usize = 560;
const LABEL_WIDTH: usize = 250;
const BAR_WIDTH: f64 = 230.0;
const ROW: usize = 22;
const HEAD: usize = 56;
const PANEL_HEAD: usize = 34;

/// Readable on light and on dark pages.
const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#1f2328}.t{font-weight:600;font-size:17px}.p{font-weight:600}
.b{fill:#9aa4b2}.o{fill:#2f6fde}.w{stroke:#1f2328;stroke-width:1}.bg{fill:#fff}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.b{fill:#5d6773}.o{fill:#5b94f5}.w{stroke:#e6edf3}.bg{fill:#0d1117}}";

/// A bar.
#[derive(Debug, Clone)]
pub struct Bar {
    /// Whose it is.
    pub label: String,
    /// Its length, and its whisker.
    pub spread: Spread,
    /// Whether it stands out.
    pub ours: bool,
}

/// Bars that are compared with each other.
#[derive(Debug, Clone)]
pub struct Panel {
    /// Over the bars.
    pub title: String,
    /// The bars, longest first.
    pub bars: Vec<Bar>,
}

/// The charts of what was measured, with the names of their files.
pub fn all(results: &Results) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let bulk = results.cases(Measure::Bulk);
    for packet in bulk.iter().map(|case| case.packet_bytes).collect::<BTreeSet<_>>() {
        let cases: Vec<Case> = bulk.iter().copied().filter(|case| case.packet_bytes == packet).collect();
        let title = format!("User data over loopback, Gbit/s, packets of {packet} bytes (longer is better)");
        let panel = |size| format!("messages of {}", size_name(size));
        out.push((format!("bulk-{packet}.svg"), svg(&title, &panels(results, &cases, "Gbit/s", false, panel))));
    }
    let cases = results.cases(Measure::PingPong);
    if !cases.is_empty() {
        let mut both = Vec::new();
        for figure in ["p50 µs", "p99 µs"] {
            both.extend(panels(results, &cases, figure, true, |_| figure.to_owned()));
        }
        out.push(("ping-pong.svg".to_owned(), svg("Ping-pong of 64 bytes (shorter is better)", &both)));
    }
    let cases = results.cases(Measure::Setup);
    if !cases.is_empty() {
        let panel = |size| format!("{size} at once");
        let title = "Associations set up per second (longer is better)";
        out.push(("setup.svg".to_owned(), svg(title, &panels(results, &cases, "associations/s", false, panel))));
    }
    out
}

fn panels(
    results: &Results,
    cases: &[Case],
    figure: &str,
    ascending: bool,
    title: impl Fn(usize) -> String,
) -> Vec<Panel> {
    let sizes: BTreeSet<usize> = cases.iter().map(|case| case.size).collect();
    let of_size = |size| {
        let bar = |case: &Case| {
            let spread = results.spread(*case, figure)?;
            Some(Bar { label: case.peer.title().to_owned(), spread, ours: case.peer.is_ours() })
        };
        let mut bars: Vec<Bar> = cases.iter().filter(|case| case.size == size).filter_map(bar).collect();
        bars.sort_by(|a, b| b.spread.median.total_cmp(&a.spread.median));
        if ascending {
            bars.reverse();
        }
        Panel { title: title(size), bars }
    };
    sizes.into_iter().map(of_size).collect()
}

/// Panels, two beside each other.
pub fn svg(title: &str, panels: &[Panel]) -> String {
    let heights: Vec<usize> = panels
        .chunks(2)
        .map(|row| PANEL_HEAD + 14 + ROW * row.iter().map(|p| p.bars.len()).max().unwrap_or(0))
        .collect();
    let (width, height) = (2 * PANEL_WIDTH, HEAD + heights.iter().sum::<usize>());
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\">\n<style>{STYLE}</style>\n<rect class=\"bg\" width=\"{width}\" \
         height=\"{height}\"/>\n<text class=\"t\" x=\"20\" y=\"32\">{}</text>\n",
        escaped(title)
    );
    let mut top = HEAD;
    for (row, height) in panels.chunks(2).zip(heights) {
        for (column, panel) in row.iter().enumerate() {
            draw(&mut out, panel, 20 + column * PANEL_WIDTH, top).expect("a string takes all");
        }
        top += height;
    }
    out.push_str("</svg>\n");
    out
}

fn draw(out: &mut String, panel: &Panel, left: usize, top: usize) -> std::fmt::Result {
    writeln!(out, "<text class=\"p\" x=\"{left}\" y=\"{}\">{}</text>", top + 16, escaped(&panel.title))?;
    let most = panel.bars.iter().map(|bar| bar.spread.most).fold(f64::MIN_POSITIVE, f64::max);
    let (label_end, bar_left) = (left + LABEL_WIDTH - 8, left + LABEL_WIDTH);
    for (number_of, bar) in panel.bars.iter().enumerate() {
        let y = top + PANEL_HEAD + number_of * ROW;
        let at = |value: f64| value / most * BAR_WIDTH;
        let (class, long) = (if bar.ours { "o" } else { "b" }, at(bar.spread.median).max(1.0));
        let label = escaped(&bar.label);
        let weight = if bar.ours { " class=\"p\"" } else { "" };
        writeln!(out, "<text{weight} x=\"{label_end}\" y=\"{}\" text-anchor=\"end\">{label}</text>", y + 12)?;
        writeln!(
            out,
            "<rect class=\"{class}\" x=\"{bar_left}\" y=\"{y}\" width=\"{long:.1}\" height=\"16\" rx=\"2\"/>"
        )?;
        let (from, to) = (bar_left as f64 + at(bar.spread.least), bar_left as f64 + at(bar.spread.most));
        writeln!(out, "<line class=\"w\" x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{0}\" y2=\"{0}\"/>", y + 8)?;
        let value = number(bar.spread.median);
        writeln!(out, "<text x=\"{:.1}\" y=\"{}\">{value}</text>", to.max(bar_left as f64 + long) + 6.0, y + 12)?;
    }
    Ok(())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_a_bar_for_each_figure_and_says_it() {
        let spread = |median: f64| Spread { median, least: median * 0.9, most: median * 1.1 };
        let bar = |label: &str, median, ours| Bar { label: label.to_owned(), spread: spread(median), ours };
        let panel =
            Panel { title: "a < b".to_owned(), bars: vec![bar("them", 40.0, false), bar("us & co", 20.0, true)] };
        let text = svg("title", &[panel]);
        assert!(text.contains("a &lt; b") && text.contains("us &amp; co") && text.contains(">40.0</text>"));
        assert_eq!(text.matches("<rect class=\"b\"").count(), 1);
        assert_eq!(text.matches("<rect class=\"o\"").count(), 1);
        // The longest whisker ends where the bars may end.
        assert!(text.contains("x2=\"500.0\""), "{text}");
    }
}
