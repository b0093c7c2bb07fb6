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
mod facts;
mod layout;
mod lex;
mod machine;
mod packet;
mod parse;
mod report;
mod syntax;
mod value;

pub use report::{Failure, Passed, Report, Traffic};
pub use syntax::Script;

use esock_proto::Fault;

impl Script {
    /// Reads a script; `name` is what failures call it.
    pub fn parse(name: &str, text: &str) -> Result<Self, Failure> {
        parse::script(name, text)
    }

    /// Runs the script against a new stack. The report has the trace, and the failure if there was one.
    pub fn run(&self) -> Report {
        machine::run(self, None)
    }

    /// Runs the script against a stack with a fault on purpose.
    pub fn run_with_fault(&self, fault: Fault) -> Report {
        machine::run(self, Some(fault))
    }
}
