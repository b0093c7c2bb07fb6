//! What can be tested without SCTP in the kernel; the rest is tested in a guest that has it (`tests`).

mod absent;
mod layout;
mod notification;
