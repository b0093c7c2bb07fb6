//! One suite of the public API for all backends: our stack over UDP and over raw IP, the kernel's SCTP, TCP with
//! frames and TCP without. A case that needs what a backend cannot do is skipped, and says what it needs.
//!
//! `esock-suite --over udp` runs it; cases run one after the other, each with sockets of its own on loopback.

mod ending;
mod killed;
mod lookups;
mod messages;
mod owners;
mod paths;
mod restarts;
mod supervision;
mod world;

pub use killed::serve;
pub use world::{Over, World};

use esock::Capability;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

/// Longer than any case takes that works, in a guest as well.
const PATIENCE: Duration = Duration::from_secs(60);

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A case of the suite.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// What it shows.
    pub name: &'static str,
    /// What the backend must be able to do.
    pub needs: &'static [Capability],
    run: fn(World) -> Running,
}

/// `cases![name needs A B, ...]`: functions of a world, with the capabilities that they need.
macro_rules! cases {
    ($($name:ident $(needs $($capability:ident)+)?),* $(,)?) => {
        &[$(crate::suite::Case {
            name: stringify!($name),
            needs: &[$($(esock::Capability::$capability),+)?],
            run: |world| Box::pin($name(world)),
        }),*]
    };
}
pub(crate) use cases;

/// All cases, in the order in which they run.
pub fn all() -> impl Iterator<Item = Case> {
    let rooms: [&[Case]; 8] = [
        messages::CASES,
        lookups::CASES,
        owners::CASES,
        paths::CASES,
        ending::CASES,
        supervision::CASES,
        restarts::CASES,
        killed::CASES,
    ];
    rooms.into_iter().flatten().copied()
}

/// How a case ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Passed,
    /// The backend cannot do this.
    Skipped(Capability),
    /// It does not hold, and why.
    Failed(String),
}

/// Runs a case on a runtime of its own.
pub fn run(case: Case, over: Over) -> (Outcome, Duration) {
    let began = Instant::now();
    let capabilities = over.capabilities();
    if let Some(missing) = case.needs.iter().find(|needed| !capabilities.has(**needed)) {
        return (Outcome::Skipped(*missing), Duration::ZERO);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let outcome = match runtime {
        Err(error) => Outcome::Failed(error.to_string()),
        Ok(runtime) => {
            let outcome = runtime.block_on(async {
                let task = tokio::spawn((case.run)(World::new(over)));
                match tokio::time::timeout(PATIENCE, task).await {
                    Err(_) => Outcome::Failed(format!("it takes longer than {PATIENCE:?}")),
                    Ok(Ok(())) => Outcome::Passed,
                    Ok(Err(error)) => Outcome::Failed(words_of(error)),
                }
            });
            runtime.shutdown_timeout(Duration::from_secs(1));
            outcome
        }
    };
    (outcome, began.elapsed())
}

fn words_of(error: tokio::task::JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
            (Some(words), _) => words.clone(),
            (_, Some(words)) => (*words).to_owned(),
            _ => "it panicked".to_owned(),
        },
        Err(error) => error.to_string(),
    }
}
