//! Tests of the built `esock` command.

mod arguments;
mod bench;
#[cfg(test)]
mod common;
mod demo;
mod exit_codes;
mod talk;
mod tcp;
