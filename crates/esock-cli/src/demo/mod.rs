//! `esock demo`: two endpoints in this process, one association over two paths. Messages go both
//! ways, one path is blocked and comes back, and everything that should hold is checked.

mod director;
mod messages;
mod stage;
mod steps;
mod tree;

use crate::console::print;
use crate::exit::{Exit, Failure};
use crate::style::Style;
use crate::words;
use std::time::{Duration, Instant};

/// The demo ends by itself before this.
const LIMIT: Duration = Duration::from_millis(9500);

/// Runs the demo and prints what happens.
pub async fn run() -> Result<Exit, Failure> {
    let style = Style::of_stdout();
    print(&style.strong("esock demo: two endpoints, one association, two paths, in UDP on loopback"));
    let began = Instant::now();
    let outcome = tokio::time::timeout(LIMIT, steps::play(style)).await;
    let took = words::duration(began.elapsed());
    match outcome {
        Ok(Ok(())) => {
            print(&format!("\n{}", style.good(&format!("Everything held. The demo took {took}."))));
            Ok(Exit::Well)
        }
        Ok(Err(problem)) => {
            print("");
            Err(Failure::new(Exit::Other, format!("the demo failed after {took}: {problem}")))
        }
        Err(_) => {
            print("");
            Err(Failure::new(Exit::Other, format!("the demo was not done after {took}")))
        }
    }
}
