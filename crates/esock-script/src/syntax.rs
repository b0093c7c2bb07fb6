//! What a script consists of.

use crate::layout::{Layout, TlvKind};
use crate::value::Expr;
use std::time::Duration;

/// A test of the stack: its title, what it covers, and its statements.
#[derive(Debug, Clone)]
pub struct Script {
    /// What failures call it: its path.
    pub name: String,
    /// The sentence of its first comment.
    pub title: String,
    /// The sections that its `covers:` comment names.
    pub covers: Vec<String>,
    /// The test purpose that its `purpose:` comment names.
    pub purpose: Option<String>,
    pub(crate) lines: Vec<Line>,
}

/// A statement, and when it happens.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub number: usize,
    pub text: String,
    pub when: When,
    pub what: Statement,
}

/// Time after the statement before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct When {
    pub earliest: Duration,
    pub latest: Duration,
}

#[derive(Debug, Clone)]
pub(crate) enum Statement {
    /// `< CHUNKS`: the peer sends.
    In(PacketSpec),
    /// `> CHUNKS`: the stack sends.
    Out(PacketSpec),
    /// `established`: the usual setup; the chunk is the peer's INIT or INIT ACK.
    Established { active: bool, chunk: ChunkSpec },
    /// `set $name = value`.
    Set(String, Expr),
    /// A call, a question or a setting.
    Word(String, Vec<Argument>),
}

/// What stands behind the word of a statement: `key=value`, or a value alone.
#[derive(Debug, Clone)]
pub(crate) struct Argument {
    pub key: Option<String>,
    pub value: Expr,
}

/// `(tag=.., from=..) CHUNK[..] CHUNK[..]`.
#[derive(Debug, Clone, Default)]
pub(crate) struct PacketSpec {
    pub options: Vec<(String, Expr)>,
    pub chunks: Vec<ChunkSpec>,
    /// More chunks may follow (`...`).
    pub open: bool,
}

/// `NAME[FLAGS, field=value, TLV=value, "data", ...]`.
#[derive(Debug, Clone)]
pub(crate) struct ChunkSpec {
    pub shape: Shape,
    pub flags: Option<Expr>,
    pub fields: Vec<(String, Expr)>,
    pub data: Option<Expr>,
    pub tlvs: Vec<TlvSpec>,
    /// More TLVs may be there (`...`).
    pub open: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// A chunk of the table.
    Known(&'static Layout),
    /// `CHUNK(n)`.
    Numbered(u8),
    /// `RAW`: bytes, whatever they are.
    Raw,
}

/// `NAME`, `NAME=value`, `PARAM(n)=value`, `!NAME`.
#[derive(Debug, Clone)]
pub(crate) struct TlvSpec {
    pub kind: TlvKind,
    pub value: Option<Expr>,
    /// It must not be there.
    pub absent: bool,
}

impl ChunkSpec {
    pub fn new(shape: Shape) -> Self {
        Self { shape, flags: None, fields: Vec::new(), data: None, tlvs: Vec::new(), open: false }
    }

    pub fn field(&self, name: &str) -> Option<&Expr> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    pub fn is(&self, name: &str) -> bool {
        matches!(self.shape, Shape::Known(layout) if layout.name == name)
    }
}

impl When {
    pub const NOW: Self = Self { earliest: Duration::ZERO, latest: Duration::ZERO };

    pub fn is_exact(self) -> bool {
        self.earliest == self.latest
    }
}
