//! Tests of the esock stack as short scripts: packets in, packets out, calls, time.
//!
//! A script drives one [`esock_proto::Stack`] in virtual time and plays its peer. The form is described in
//! this crate's README; [`Script::parse`] reads it, [`Script::run`] runs it.
//!
//! What is sent to the stack, and what is expected of it, is written and read by this crate's own small
//! encoder and decoder, not by the stack's: a mistake there does not hide itself.
#![forbid(unsafe_code)]

mod build;
mod calls;
mod compare;
mod dialogue;
mod facts;
mod folder;
mod layout;
mod lex;
mod machine;
mod packet;
mod parse;
mod report;
mod syntax;
mod value;

pub use dialogue::{Arrived, Dialogue, Ends, Written};
pub use folder::scripts_under;
pub use packet::Packet;
pub use report::{Entry, Failure, Passed, Report, Traffic};
pub use syntax::{Argument, ChunkSpec, Line, PacketSpec, Script, Statement, When};
pub use value::{Expr, Names, Value};

impl Script {
    /// Reads a script; `name` is what failures call it.
    pub fn parse(name: &str, text: &str) -> Result<Self, Failure> {
        parse::script(name, text, calls::WORDS)
    }

    /// Reads a script for another runner, whose statements begin with these words: it takes the packets from
    /// here ([`Dialogue`]) and does the rest itself.
    pub fn parse_with(name: &str, text: &str, words: &'static [&'static str]) -> Result<Self, Failure> {
        parse::script(name, text, words)
    }

    /// Runs the script against a new stack. The report has the trace, and the failure if there was one.
    pub fn run(&self) -> Report {
        machine::run(self, |_| {})
    }

    /// Runs the script against a stack with a fault on purpose.
    #[cfg(feature = "faults")]
    pub fn run_with_fault(&self, fault: esock_proto::Fault) -> Report {
        machine::run(self, |config| config.faults = esock_proto::Faults::of(fault))
    }
}
