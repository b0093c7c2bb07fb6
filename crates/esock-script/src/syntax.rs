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
    /// The statements, in order.
    pub lines: Vec<Line>,
}

/// A statement, and when it happens.
#[derive(Debug, Clone)]
pub struct Line {
    /// The line of the script on which it begins.
    pub number: usize,
    /// As it is written.
    pub text: String,
    /// When it happens.
    pub when: When,
    /// What happens.
    pub what: Statement,
}

/// Time after the statement before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct When {
    /// Not before.
    pub earliest: Duration,
    /// Not after.
    pub latest: Duration,
}

/// What a line says.
#[derive(Debug, Clone)]
pub enum Statement {
    /// `< CHUNKS`: the peer sends.
    In(PacketSpec),
    /// `> CHUNKS`: the stack sends.
    Out(PacketSpec),
    /// `established`: the usual setup.
    Established {
        /// Whether the stack sets it up, not the peer.
        active: bool,
        /// The peer's INIT or INIT ACK.
        chunk: ChunkSpec,
    },
    /// `set $name = value`.
    Set(String, Expr),
    /// A call, a question or a setting.
    Word(String, Vec<Argument>),
}

/// What stands behind the word of a statement: `key=value`, or a value alone.
#[derive(Debug, Clone)]
pub struct Argument {
    /// The name in front of `=`.
    pub key: Option<String>,
    /// The value.
    pub value: Expr,
}

/// `(tag=.., from=..) CHUNK[..] CHUNK[..]`.
#[derive(Debug, Clone, Default)]
pub struct PacketSpec {
    /// What stands in front of the chunks.
    pub options: Vec<(String, Expr)>,
    /// The chunks.
    pub chunks: Vec<ChunkSpec>,
    /// More chunks may follow (`...`).
    pub open: bool,
}

/// `NAME[FLAGS, field=value, TLV=value, "data", ...]`.
#[derive(Debug, Clone)]
pub struct ChunkSpec {
    /// What it is.
    pub shape: Shape,
    /// Its flags, unless they are the usual ones.
    pub flags: Option<Expr>,
    /// Its fields that are named.
    pub fields: Vec<(String, Expr)>,
    /// Its content.
    pub data: Option<Expr>,
    /// Its parameters or causes.
    pub tlvs: Vec<TlvSpec>,
    /// More TLVs may be there (`...`).
    pub open: bool,
}

#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// A chunk of the table.
    Known(&'static Layout),
    /// `CHUNK(n)`.
    Numbered(u8),
    /// `RAW`: bytes, whatever they are.
    Raw,
}

/// `NAME`, `NAME=value`, `PARAM(n)=value`, `!NAME`.
#[derive(Debug, Clone)]
pub struct TlvSpec {
    pub kind: TlvKind,
    pub value: Option<Expr>,
    /// It must not be there.
    pub absent: bool,
}

impl ChunkSpec {
    /// One of which nothing is said.
    pub fn new(shape: Shape) -> Self {
        Self { shape, flags: None, fields: Vec::new(), data: None, tlvs: Vec::new(), open: false }
    }

    /// A field, if it is named.
    pub fn field(&self, name: &str) -> Option<&Expr> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Whether it is the one of this name.
    pub fn is(&self, name: &str) -> bool {
        matches!(self.shape, Shape::Known(layout) if layout.name == name)
    }
}

impl When {
    /// At the moment of the statement before.
    pub const NOW: Self = Self { earliest: Duration::ZERO, latest: Duration::ZERO };

    /// Whether it is a moment, not a range.
    pub fn is_exact(self) -> bool {
        self.earliest == self.latest
    }
}
