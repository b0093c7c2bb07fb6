//! The Linux kernel's own SCTP: its socket interface (RFC 6458, as Linux has it), without a C library.

#[expect(non_camel_case_types, reason = "the header's names")]
mod abi;
#[cfg_attr(not(test), expect(dead_code, reason = "stated whole, and compared whole by the layout test"))]
mod constants;
#[cfg(test)]
mod layout;
