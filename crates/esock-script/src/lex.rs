//! Words of a line.

use crate::value::Value;
use std::iter::Peekable;
use std::str::Chars;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// Letters, digits, `_`, `.` and `:`.
    Word(String),
    /// `$name`.
    Name(String),
    /// `"text"` or `hex(00 ff)`.
    Bytes(Vec<u8>),
    /// One of `[ ] ( ) , = + - * ! < >`.
    Sign(char),
}

const SIGNS: &str = "[](),=+-*!<>";

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | ':')
}

/// Cuts text into tokens. A `#` outside of quotes ends a line of it.
pub fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut letters = text.chars().peekable();
    let mut tokens = Vec::new();
    while let Some(&letter) = letters.peek() {
        match letter {
            ' ' | '\t' | '\n' => {
                letters.next();
            }
            '#' => while letters.next_if(|letter| *letter != '\n').is_some() {},
            '"' => tokens.push(Token::Bytes(quoted(&mut letters)?)),
            '$' => {
                letters.next();
                tokens.push(Token::Name(word(&mut letters)));
            }
            sign if SIGNS.contains(sign) => {
                letters.next();
                tokens.push(Token::Sign(sign));
            }
            other if is_word(other) => {
                let word = word(&mut letters);
                if word == "hex" && letters.peek() == Some(&'(') {
                    tokens.push(Token::Bytes(hex(&mut letters)?));
                } else {
                    tokens.push(Token::Word(word));
                }
            }
            other => return Err(format!("`{other}` means nothing here")),
        }
    }
    Ok(tokens)
}

fn word(letters: &mut Peekable<Chars<'_>>) -> String {
    let mut word = String::new();
    while let Some(letter) = letters.next_if(|letter| is_word(*letter)) {
        word.push(letter);
    }
    word
}

fn quoted(letters: &mut Peekable<Chars<'_>>) -> Result<Vec<u8>, String> {
    letters.next();
    let mut text = String::new();
    for letter in letters {
        if letter == '"' {
            return Ok(text.into_bytes());
        }
        text.push(letter);
    }
    Err("a text without its closing quote".to_owned())
}

fn hex(letters: &mut Peekable<Chars<'_>>) -> Result<Vec<u8>, String> {
    letters.next();
    let mut digits = Vec::new();
    for letter in letters {
        match letter.to_digit(16) {
            Some(digit) => digits.push(digit as u8),
            None if letter == ')' => {
                let pairs = digits.chunks_exact(2);
                return if pairs.remainder().is_empty() {
                    Ok(pairs.map(|pair| pair[0] << 4 | pair[1]).collect())
                } else {
                    Err("hex() with half a byte".to_owned())
                };
            }
            None if letter.is_whitespace() => {}
            None => return Err(format!("`{letter}` is no hex digit")),
        }
    }
    Err("hex( without its closing bracket".to_owned())
}

/// What a word is as a value.
pub fn value(word: &str) -> Value {
    if let Some(number) = number(word) {
        return Value::Num(number);
    }
    if let Some(time) = time(word) {
        return Value::Time(time);
    }
    if let Ok(address) = word.parse() {
        return Value::Address(address);
    }
    if let Some((low, high)) = word.split_once("..") {
        if let (Some(low), Some(high)) = (number(low), number(high)) {
            return Value::Range(low, high);
        }
        if let (Some(low), Some(high)) = (time_or_zero(low), time(high)) {
            return Value::TimeRange(low, high);
        }
    }
    Value::Word(word.to_owned())
}

fn number(word: &str) -> Option<i64> {
    match word.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None => word.starts_with(|letter: char| letter.is_ascii_digit()).then(|| word.parse().ok())?,
    }
}

/// `5us`, `200ms`, `1.5s`, `2min`.
pub fn time(word: &str) -> Option<Duration> {
    let at = word.find(|letter: char| letter.is_ascii_alphabetic())?;
    let (amount, unit) = word.split_at(at);
    let nanos: u64 = match unit {
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "min" => 60_000_000_000,
        _ => return None,
    };
    let (whole, part) = amount.split_once('.').unwrap_or((amount, ""));
    let whole: u64 = whole.parse().ok()?;
    let part_nanos = if part.is_empty() {
        0
    } else {
        let scale = 10u64.checked_pow(u32::try_from(part.len()).ok()?)?;
        part.parse::<u64>().ok()?.checked_mul(nanos)? / scale
    };
    Some(Duration::from_nanos(whole.checked_mul(nanos)?.checked_add(part_nanos)?))
}

/// The same, where a bare 0 will do.
pub fn time_or_zero(word: &str) -> Option<Duration> {
    if word == "0" { Some(Duration::ZERO) } else { time(word) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_and_comments_left_out() {
        let cut = tokens("+1.5s > DATA[BE, tsn=$tsn+1, \"a # b\"] # why").unwrap();
        assert_eq!(cut[0], Token::Sign('+'));
        assert_eq!(cut[1], Token::Word("1.5s".to_owned()));
        assert!(cut.contains(&Token::Bytes(b"a # b".to_vec())));
        assert_eq!(cut.last(), Some(&Token::Sign(']')));
        assert_eq!(tokens("hex(00 ff1)").unwrap_err(), "hex() with half a byte");
        assert!(tokens("\"open").is_err());
    }

    #[test]
    fn a_word_becomes_the_value_it_looks_like() {
        assert_eq!(value("0x10"), Value::Num(16));
        assert_eq!(value("1.5s"), Value::Time(Duration::from_millis(1500)));
        assert_eq!(value("2..3"), Value::Range(2, 3));
        assert_eq!(value("0.9s..1.1s"), Value::TimeRange(Duration::from_millis(900), Duration::from_millis(1100)));
        assert_eq!(value("10.0.0.1"), Value::Address("10.0.0.1".parse().unwrap()));
        assert_eq!(value("2001:db8::1"), Value::Address("2001:db8::1".parse().unwrap()));
        assert_eq!(value("closed"), Value::Word("closed".to_owned()));
    }
}
