//! The esock command.
#![forbid(unsafe_code)]

mod args;
mod broadcast;
mod connect;
mod console;
mod demo;
mod exit;
mod hosts;
mod interrupt;
mod listen;
mod open;
mod session;
mod style;
mod words;

use args::{Cli, Command};
use clap::Parser;
use console::{Output, say};
use exit::{Exit, Failure};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(run(&cli.command)),
        Err(error) => Err(Failure::new(Exit::Other, format!("cannot start: {error}"))),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => {
            say(&failure.to_string());
            failure.exit.into()
        }
    }
}

async fn run(command: &Command) -> Result<Exit, Failure> {
    if let Command::Demo = command {
        return demo::run().await;
    }
    let (output, writer) = Output::start();
    let outcome = match command {
        Command::Listen(args) => listen::run(args, output).await,
        Command::Connect(args) => connect::run(args, output).await,
        Command::Demo => Ok(Exit::Well),
    };
    if let Ok(Exit::Interrupted) = outcome {
        return outcome;
    }
    // What has arrived is written before we end.
    match tokio::task::spawn_blocking(move || writer.join()).await {
        Ok(Ok(Ok(()))) => outcome,
        Ok(Ok(Err(error))) => {
            let problem = format!("cannot write to standard output: {error}");
            Err(Failure::new(Exit::Other, problem))
        }
        _ => Err(Failure::new(Exit::Other, "the thread that writes to standard output failed")),
    }
}
