//! The esock command.
#![forbid(unsafe_code)]
mod args;
mod console;
mod exit;
mod hosts;
mod words;
use clap::Parser;

fn main() {
    let cli = args::Cli::parse();
    println!("{cli:?}");
}
