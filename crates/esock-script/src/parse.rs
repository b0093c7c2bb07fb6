//! Reading a script.

use crate::calls;
use crate::layout::{self, Layout, Tail};
use crate::lex::{self, Token};
use crate::report::Failure;
use crate::syntax::{Argument, ChunkSpec, Line, PacketSpec, Script, Shape, Statement, TlvSpec, When};
use crate::value::{Expr, Value};
use std::time::Duration;

/// Reads a whole script.
pub fn script(name: &str, text: &str, words: &'static [&'static str]) -> Result<Script, Failure> {
    let mut out =
        Script { name: name.to_owned(), title: String::new(), covers: Vec::new(), purpose: None, lines: Vec::new() };
    let mut open: Option<(usize, String)> = None;
    for (at, raw) in text.lines().enumerate() {
        let number = at + 1;
        if open.is_none()
            && let Some(comment) = raw.trim_start().strip_prefix('#')
        {
            note(&mut out, comment.trim());
            continue;
        }
        let (first, mut statement) = open.take().unwrap_or((number, String::new()));
        if !statement.is_empty() {
            statement.push('\n');
        }
        statement.push_str(raw);
        let problem = |what: String| Failure::in_script(name, first, &statement, what);
        let tokens = lex::tokens(&statement).map_err(problem)?;
        // A statement goes on while a bracket is open.
        let is_sign = |token: &&Token, signs: &str| matches!(token, Token::Sign(sign) if signs.contains(*sign));
        let opened = tokens.iter().filter(|token| is_sign(token, "([")).count();
        let closed = tokens.iter().filter(|token| is_sign(token, ")]")).count();
        if opened > closed {
            open = Some((first, statement));
        } else if !tokens.is_empty() {
            let (when, what) = Parser { tokens: &tokens, at: 0, words }.line().map_err(problem)?;
            out.lines.push(Line { number: first, text: statement.trim().to_owned(), when, what });
        }
    }
    if let Some((number, statement)) = open {
        return Err(Failure::in_script(name, number, &statement, "a bracket is never closed".to_owned()));
    }
    Ok(out)
}

/// Takes a comment: the first is the title, some are for machines.
fn note(script: &mut Script, comment: &str) {
    if let Some(covers) = comment.strip_prefix("covers:") {
        script.covers.extend(covers.split(',').map(|section| section.trim().to_owned()));
    } else if let Some(purpose) = comment.strip_prefix("purpose:") {
        script.purpose = Some(purpose.trim().to_owned());
    } else if script.title.is_empty() {
        comment.clone_into(&mut script.title);
    }
}

/// Statements as the runner writes them for itself.
pub fn lines(text: &str) -> Result<Vec<Line>, Failure> {
    script("built in", text, calls::WORDS).map(|script| script.lines)
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    words: &'static [&'static str],
}

type Parsed<T> = Result<T, String>;

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += usize::from(token.is_some());
        token
    }

    fn takes(&mut self, sign: char) -> bool {
        let found = self.peek() == Some(&Token::Sign(sign));
        self.at += usize::from(found);
        found
    }

    fn wants(&mut self, sign: char) -> Parsed<()> {
        if self.takes(sign) { Ok(()) } else { Err(format!("`{sign}` is wanted {}", self.place())) }
    }

    fn place(&self) -> String {
        match self.peek() {
            Some(token) => format!("where {} stands", show(token)),
            None => "at the end of the line".to_owned(),
        }
    }

    fn word(&mut self) -> Parsed<String> {
        match self.next() {
            Some(Token::Word(word)) => Ok(word),
            other => Err(format!("a word is wanted, not {}", other.as_ref().map_or("the end".to_owned(), show))),
        }
    }

    fn line(&mut self) -> Parsed<(When, Statement)> {
        let when = if self.takes('+') { self.when()? } else { When::NOW };
        let what = if self.takes('<') {
            Statement::In(self.packet()?)
        } else if self.takes('>') {
            Statement::Out(self.packet()?)
        } else {
            self.worded()?
        };
        match self.peek() {
            None => Ok((when, what)),
            Some(_) => Err(format!("nothing more can follow {}", self.place())),
        }
    }

    fn when(&mut self) -> Parsed<When> {
        let word = self.word()?;
        let moment = |time: Duration| When { earliest: time, latest: time };
        match lex::value(&word) {
            Value::Time(time) => Ok(moment(time)),
            Value::Num(0) => Ok(When::NOW),
            Value::TimeRange(earliest, latest) => Ok(When { earliest, latest }),
            _ => Err(format!("`{word}` is no time: write 200ms, 1.5s or 1s..2s")),
        }
    }

    fn worded(&mut self) -> Parsed<Statement> {
        let word = self.word()?;
        match word.as_str() {
            "established" => {
                let active = self.peek() == Some(&Token::Word("active".to_owned()));
                self.at += usize::from(active);
                let name = if active { "INIT_ACK" } else { "INIT" };
                let layout = layout::chunk_named(name).ok_or("the table has no such chunk")?;
                let mut chunk = ChunkSpec::new(Shape::Known(layout));
                self.brackets(&mut chunk, layout.tail)?;
                Ok(Statement::Established { active, chunk })
            }
            "set" => {
                let Some(Token::Name(name)) = self.next() else { return Err("set takes a $name".to_owned()) };
                self.wants('=')?;
                Ok(Statement::Set(name, self.expr()?))
            }
            known if self.words.contains(&known) => {
                let mut arguments = Vec::new();
                while self.peek().is_some() {
                    arguments.push(self.argument()?);
                }
                Ok(Statement::Word(word, arguments))
            }
            _ => Err(format!(
                "there is no statement `{word}`; there are <, >, established, set, {}",
                self.words.join(", ")
            )),
        }
    }

    fn argument(&mut self) -> Parsed<Argument> {
        let keyed = matches!(self.tokens.get(self.at..), Some([Token::Word(_), Token::Sign('='), ..]));
        let key = if keyed {
            let key = self.word()?;
            self.wants('=')?;
            Some(key)
        } else {
            None
        };
        Ok(Argument { key, value: self.expr()? })
    }

    fn packet(&mut self) -> Parsed<PacketSpec> {
        let mut packet = PacketSpec::default();
        if self.takes('(') {
            while !self.takes(')') {
                let key = self.word()?;
                self.wants('=')?;
                packet.options.push((key, self.expr()?));
                self.takes(',');
            }
        }
        while self.peek().is_some() {
            if self.peek() == Some(&Token::Word("...".to_owned())) {
                self.at += 1;
                packet.open = true;
                break;
            }
            packet.chunks.push(self.chunk()?);
            self.takes(',');
        }
        if packet.chunks.is_empty() && !packet.open {
            return Err("a packet has at least one chunk".to_owned());
        }
        Ok(packet)
    }

    fn chunk(&mut self) -> Parsed<ChunkSpec> {
        let name = self.word()?;
        let (shape, tail) = match name.as_str() {
            "RAW" => (Shape::Raw, Tail::Bytes("data")),
            "CHUNK" => {
                let kind = self.number()?;
                let kind = u8::try_from(kind).map_err(|_| format!("there is no chunk type {kind}"))?;
                (Shape::Numbered(kind), Tail::Bytes("data"))
            }
            known => {
                let layout = layout::chunk_named(known).ok_or_else(|| unknown_chunk(known))?;
                (Shape::Known(layout), layout.tail)
            }
        };
        let mut chunk = ChunkSpec::new(shape);
        self.brackets(&mut chunk, tail)?;
        Ok(chunk)
    }

    /// `(n)`.
    fn number(&mut self) -> Parsed<i64> {
        self.wants('(')?;
        let word = self.word()?;
        let Value::Num(number) = lex::value(&word) else { return Err(format!("`{word}` is no number")) };
        self.wants(')')?;
        Ok(number)
    }

    /// What stands in the brackets of a chunk, if it has any.
    fn brackets(&mut self, chunk: &mut ChunkSpec, tail: Tail) -> Parsed<()> {
        if !self.takes('[') {
            return Ok(());
        }
        while !self.takes(']') {
            self.entry(chunk, tail)?;
            self.takes(',');
        }
        Ok(())
    }

    fn entry(&mut self, chunk: &mut ChunkSpec, tail: Tail) -> Parsed<()> {
        let absent = self.takes('!');
        let Some(Token::Word(word)) = self.peek().cloned() else {
            chunk.data = Some(self.expr()?);
            return Ok(());
        };
        if word == "..." {
            self.at += 1;
            chunk.open = true;
            return Ok(());
        }
        let upper = word.starts_with(|letter: char| letter.is_ascii_uppercase());
        if !upper {
            // `fill(3)`, `cut(...)`: data; else a field.
            if self.tokens.get(self.at + 1) != Some(&Token::Sign('=')) {
                chunk.data = Some(self.expr()?);
                return Ok(());
            }
            self.at += 1;
            self.wants('=')?;
            let value = self.expr()?;
            if word == "flags" {
                chunk.flags = Some(value);
            } else if word == "cookie" && tail == Tail::Bytes("cookie") {
                chunk.data = Some(value);
            } else {
                check_field(&chunk.shape, &word)?;
                chunk.fields.push((word, value));
            }
            return Ok(());
        }
        self.at += 1;
        if let Shape::Known(layout) = chunk.shape
            && let Some(flags) = layout.flags_of(&word)
        {
            chunk.flags = Some(Expr::Value(Value::Num(flags.into())));
            return Ok(());
        }
        let kind = match layout::tlv_named(tail, &word) {
            Some(kind) => kind,
            None if matches!(word.as_str(), "PARAM" | "CAUSE") => {
                let number = self.number()?;
                let number = u16::try_from(number).map_err(|_| format!("{number} does not fit into two bytes"))?;
                layout::tlv_numbered(tail, &word, number).ok_or(format!("this chunk has no {word}"))?
            }
            None => return Err(format!("`{word}` is neither flags, nor a parameter or cause of this chunk")),
        };
        let value = if self.takes('=') { Some(self.expr()?) } else { None };
        chunk.tlvs.push(TlvSpec { kind, value, absent });
        Ok(())
    }

    fn expr(&mut self) -> Parsed<Expr> {
        let first = self.atom()?;
        let sign = match self.peek() {
            Some(Token::Sign('+')) => 1,
            Some(Token::Sign('-')) => -1,
            _ => return Ok(first),
        };
        self.at += 1;
        let word = self.word()?;
        let Value::Num(offset) = lex::value(&word) else { return Err(format!("`{word}` cannot be added")) };
        match first {
            Expr::Name(name, 0) => Ok(Expr::Name(name, sign * offset)),
            Expr::Value(Value::Num(number)) => Ok(Expr::Value(Value::Num(number + sign * offset))),
            _ => Err("only numbers and names can be added to".to_owned()),
        }
    }

    fn atom(&mut self) -> Parsed<Expr> {
        match self.next() {
            Some(Token::Name(name)) => Ok(Expr::Name(name, 0)),
            Some(Token::Bytes(bytes)) => Ok(Expr::Value(Value::Bytes(bytes))),
            Some(Token::Sign('*')) => Ok(Expr::Value(Value::Any)),
            Some(Token::Sign('[')) => {
                let mut items = Vec::new();
                while !self.takes(']') {
                    items.push(self.expr()?);
                    self.takes(',');
                }
                Ok(Expr::List(items))
            }
            Some(Token::Word(word)) if self.peek() == Some(&Token::Sign('(')) => {
                self.at += 1;
                let mut arguments = Vec::new();
                while !self.takes(')') {
                    arguments.push(self.expr()?);
                    self.takes(',');
                }
                Ok(Expr::Call(word, arguments))
            }
            Some(Token::Word(word)) => Ok(Expr::Value(lex::value(&word))),
            other => Err(format!("a value is wanted, not {}", other.as_ref().map_or("the end".to_owned(), show))),
        }
    }
}

fn unknown_chunk(name: &str) -> String {
    let known: Vec<&str> = layout::CHUNKS.iter().map(|layout| layout.name).collect();
    format!("there is no chunk `{name}`; there are {}, CHUNK(n) and RAW", known.join(", "))
}

/// Fields that no chunk has on the wire under that name, but every script may give.
const COMMON_FIELDS: &[&str] = &["length", "len"];

fn check_field(shape: &Shape, name: &str) -> Parsed<()> {
    let Shape::Known(Layout { fields, tail, .. }) = shape else { return Ok(()) };
    let known = fields.iter().any(|(field, _)| *field == name)
        || COMMON_FIELDS.contains(&name)
        || (*tail == Tail::Sack && matches!(name, "gaps" | "dups" | "ngaps" | "ndups"));
    if known { Ok(()) } else { Err(format!("this chunk has no field `{name}`")) }
}

fn show(token: &Token) -> String {
    match token {
        Token::Word(word) => format!("`{word}`"),
        Token::Name(name) => format!("`${name}`"),
        Token::Bytes(_) => "a text".to_owned(),
        Token::Sign(sign) => format!("`{sign}`"),
    }
}
