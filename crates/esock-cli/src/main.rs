//! The esock command.
#![forbid(unsafe_code)]

mod args;
mod bench;
mod broadcast;
mod connect;
mod console;
mod demo;
mod exit;
mod hosts;
mod interrupt;
mod listen;
mod open;
mod preload;
mod session;
mod settings;
mod style;
mod words;

use args::{Cli, Command};
use clap::Parser;
use console::{Output, say};
use exit::{Exit, Failure};
use interrupt::Interrupt;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // What needs no runtime comes before it: its threads and descriptors would be in the way.
    let done = match &cli.command {
        Command::Run(args) => Some(preload::run(args)),
        Command::Broker(args) => Some(preload::serve(args)),
        _ => None,
    };
    if let Some(outcome) = done {
        return end(outcome);
    }
    let outcome = match runtime(&cli.command) {
        Ok(runtime) => {
            let outcome = runtime.block_on(run(&cli.command));
            // A look-up of a name may hang: it does not keep us.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(Failure::new(Exit::Other, format!("cannot start: {error}"))),
    };
    end(outcome)
}

/// One thread, unless shards are to have cores of their own.
fn runtime(command: &Command) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = match command {
        Command::Bench(args) if args.shards > 1 => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(args.shards.into());
            builder
        }
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    builder.enable_all().build()
}

fn end(outcome: Result<Exit, Failure>) -> ExitCode {
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
    if let Command::Bench(args) = command {
        return bench::run(args).await;
    }
    let (output, written) = Output::start();
    let interrupt = Interrupt::new();
    let outcome = match command {
        Command::Listen(args) => listen::run(args, output, interrupt.clone()).await,
        Command::Connect(args) => connect::run(args, output, interrupt.clone()).await,
        Command::Demo | Command::Run(_) | Command::Broker(_) | Command::Bench(_) => Ok(Exit::Well),
    };
    // What has arrived is written before we end, unless we are in a hurry.
    let written = tokio::select! {
        written = written => written,
        () = interrupt.twice() => return Ok(Exit::Interrupted),
    };
    match written {
        Ok(Ok(())) => outcome,
        Ok(Err(error)) => {
            let problem = format!("cannot write to standard output: {error}");
            Err(Failure::new(Exit::Other, problem))
        }
        Err(_) => Err(Failure::new(Exit::Other, "the thread that writes to standard output failed")),
    }
}
