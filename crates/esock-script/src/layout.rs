//! What chunks, parameters and causes look like on the wire: one table for writing, reading and showing.
//! It was written from RFC 9260 §3.3, apart from the stack's own.

/// A kind of chunk.
#[derive(Debug)]
pub struct Layout {
    pub kind: u8,
    pub name: &'static str,
    /// Fixed fields behind the chunk header, with their bytes.
    pub fields: &'static [(&'static str, usize)],
    pub tail: Tail,
    /// Letters of the flags, lowest bit first.
    pub flags: &'static str,
    /// The flags of a chunk whose script says nothing of them.
    pub usual_flags: u8,
}

/// What follows the fixed fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    Nothing,
    /// Bytes under this name.
    Bytes(&'static str),
    Params,
    Causes,
    /// Counts, gap blocks and duplicates of a SACK.
    Sack,
}

const fn chunk(kind: u8, name: &'static str, fields: &'static [(&'static str, usize)], tail: Tail) -> Layout {
    Layout { kind, name, fields, tail, flags: "", usual_flags: 0 }
}

const INIT_FIELDS: &[(&str, usize)] = &[("tag", 4), ("a_rwnd", 4), ("os", 2), ("is", 2), ("tsn", 4)];

/// RFC 9260 §3.3, RFC 4820 §3.
pub static CHUNKS: &[Layout] = &[
    Layout {
        flags: "EBUI",
        usual_flags: 3,
        ..chunk(0, "DATA", &[("tsn", 4), ("sid", 2), ("ssn", 2), ("ppid", 4)], Tail::Bytes("data"))
    },
    chunk(1, "INIT", INIT_FIELDS, Tail::Params),
    chunk(2, "INIT_ACK", INIT_FIELDS, Tail::Params),
    chunk(3, "SACK", &[("cum", 4), ("a_rwnd", 4)], Tail::Sack),
    chunk(4, "HEARTBEAT", &[], Tail::Params),
    chunk(5, "HEARTBEAT_ACK", &[], Tail::Params),
    Layout { flags: "T", ..chunk(6, "ABORT", &[], Tail::Causes) },
    chunk(7, "SHUTDOWN", &[("cum", 4)], Tail::Nothing),
    chunk(8, "SHUTDOWN_ACK", &[], Tail::Nothing),
    chunk(9, "ERROR", &[], Tail::Causes),
    chunk(10, "COOKIE_ECHO", &[], Tail::Bytes("cookie")),
    chunk(11, "COOKIE_ACK", &[], Tail::Nothing),
    chunk(12, "ECNE", &[("tsn", 4)], Tail::Nothing),
    chunk(13, "CWR", &[("tsn", 4)], Tail::Nothing),
    Layout { flags: "T", ..chunk(14, "SHUTDOWN_COMPLETE", &[], Tail::Nothing) },
    chunk(0x84, "PAD", &[], Tail::Bytes("data")),
];

pub fn chunk_named(name: &str) -> Option<&'static Layout> {
    CHUNKS.iter().find(|layout| layout.name == name)
}

pub fn chunk_of(kind: u8) -> Option<&'static Layout> {
    CHUNKS.iter().find(|layout| layout.kind == kind)
}

impl Layout {
    /// The flags that letters stand for.
    pub fn flags_of(&self, letters: &str) -> Option<u8> {
        letters.chars().try_fold(0, |flags, letter| Some(flags | 1 << self.flags.find(letter)?))
    }

    /// The letters of flags; what has no letter is told as a number.
    pub fn letters_of(&self, flags: u8) -> Option<String> {
        let known: String =
            self.flags.chars().enumerate().filter(|(bit, _)| flags & 1 << bit != 0).map(|(_, letter)| letter).collect();
        // "BE" reads better than "EB".
        let known = known.replace("EB", "BE");
        (self.flags_of(&known) == Some(flags)).then_some(known)
    }
}

/// How the value of a parameter or cause is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Nothing,
    Bytes,
    Address,
    /// One number of this many bytes, and then reserved ones.
    Number {
        bytes: usize,
        reserved: usize,
    },
    /// Numbers of two bytes; `counted` puts their number in front, in four bytes.
    Numbers {
        counted: bool,
    },
}

/// A kind of parameter or cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlvKind {
    pub number: u16,
    pub form: Form,
    /// `RAW`: the value is all of it, type and length included.
    pub raw: bool,
}

type Named = (&'static str, u16, Form);

const U32: Form = Form::Number { bytes: 4, reserved: 0 };

/// RFC 9260 §3.3.2, §3.3.3, §3.3.5; RFC 5061 §4.2.6; RFC 3758 §3.1.
const PARAMS: &[Named] = &[
    ("INFO", 1, Form::Bytes),
    ("IPV4", 5, Form::Address),
    ("IPV6", 6, Form::Address),
    ("COOKIE", 7, Form::Bytes),
    ("UNRECOGNIZED", 8, Form::Bytes),
    ("PRESERVATIVE", 9, U32),
    ("HOST_NAME", 11, Form::Bytes),
    ("SUPPORTED", 12, Form::Numbers { counted: false }),
    ("ECN", 0x8000, Form::Nothing),
    ("FORWARD_TSN", 0xc000, Form::Nothing),
    ("ADAPTATION", 0xc006, U32),
];

/// RFC 9260 §3.3.10.
const CAUSES: &[Named] = &[
    ("INVALID_STREAM", 1, Form::Number { bytes: 2, reserved: 2 }),
    ("MISSING_PARAMETER", 2, Form::Numbers { counted: true }),
    ("STALE_COOKIE", 3, U32),
    ("OUT_OF_RESOURCE", 4, Form::Nothing),
    ("UNRESOLVABLE_ADDRESS", 5, Form::Bytes),
    ("UNRECOGNIZED_CHUNK", 6, Form::Bytes),
    ("INVALID_MANDATORY_PARAMETER", 7, Form::Nothing),
    ("UNRECOGNIZED_PARAMETERS", 8, Form::Bytes),
    ("NO_USER_DATA", 9, U32),
    ("COOKIE_WHILE_SHUTTING_DOWN", 10, Form::Nothing),
    ("RESTART_WITH_NEW_ADDRESSES", 11, Form::Bytes),
    ("USER_ABORT", 12, Form::Bytes),
    ("PROTOCOL_VIOLATION", 13, Form::Bytes),
];

fn table(tail: Tail) -> (&'static [Named], &'static str) {
    match tail {
        Tail::Params => (PARAMS, "PARAM"),
        Tail::Causes => (CAUSES, "CAUSE"),
        Tail::Nothing | Tail::Bytes(_) | Tail::Sack => (&[], ""),
    }
}

/// The parameter or cause of this name, where a chunk with `tail` has such.
pub fn tlv_named(tail: Tail, name: &str) -> Option<TlvKind> {
    if name == "RAW" {
        return Some(TlvKind { number: 0, form: Form::Bytes, raw: true });
    }
    let (_, number, form) = *table(tail).0.iter().find(|(known, ..)| *known == name)?;
    Some(TlvKind { number, form, raw: false })
}

/// The one of this number: `PARAM(n)` or `CAUSE(n)`. `None` if `word` is not the right one.
pub fn tlv_numbered(tail: Tail, word: &str, number: u16) -> Option<TlvKind> {
    (!word.is_empty() && table(tail).1 == word).then_some(TlvKind { number, form: Form::Bytes, raw: false })
}

/// How one is called, and its form.
pub fn tlv_name(tail: Tail, number: u16) -> (String, Form) {
    let (names, word) = table(tail);
    match names.iter().find(|(_, known, _)| *known == number) {
        Some((name, _, form)) => ((*name).to_owned(), *form),
        None => (format!("{word}({number:#06x})"), Form::Bytes),
    }
}
