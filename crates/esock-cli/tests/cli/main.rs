//! Tests of the built `esock` command.

mod arguments;
#[cfg(test)]
mod common;
mod demo;
mod exit_codes;
mod talk;
mod tcp;
