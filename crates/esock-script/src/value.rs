//! Values of a script, and the names that stand for them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Num(i64),
    /// Both ends included.
    Range(i64, i64),
    /// A length of time.
    Time(Duration),
    /// Both ends included.
    TimeRange(Duration, Duration),
    /// Text or bytes.
    Bytes(Vec<u8>),
    /// An address.
    Address(IpAddr),
    /// A word.
    Word(String),
    /// Values.
    List(Vec<Value>),
    /// Whatever it is.
    Any,
}

/// What a script writes where a value is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expr {
    /// Itself.
    Value(Value),
    /// `$name`, `$name+1`.
    Name(String, i64),
    /// `cut(value, bytes)`, `flip(value, index)`.
    Call(String, Vec<Expr>),
    /// Values.
    List(Vec<Expr>),
}

/// What names stand for.
#[derive(Debug, Default, Clone)]
pub struct Names(BTreeMap<String, Value>);

impl Names {
    /// What a name stands for.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The number that a name stands for.
    pub fn number(&self, name: &str) -> Option<i64> {
        match self.get(name) {
            Some(Value::Num(number)) => Some(*number),
            _ => None,
        }
    }

    /// Has a name stand for something.
    pub fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// Sets a name unless it stands for something already.
    pub fn learn(&mut self, name: &str, value: Value) {
        self.0.entry(name.to_owned()).or_insert(value);
    }

    /// What an expression comes to.
    pub fn eval(&self, expr: &Expr) -> Result<Value, String> {
        match expr {
            Expr::Value(value) => Ok(value.clone()),
            Expr::Name(name, offset) => match self.get(name) {
                None => Err(format!("${name} does not stand for anything yet")),
                Some(Value::Num(number)) => Ok(Value::Num(number + offset)),
                Some(value) if *offset == 0 => Ok(value.clone()),
                Some(_) => Err(format!("${name} is no number")),
            },
            Expr::List(items) => Ok(Value::List(items.iter().map(|item| self.eval(item)).collect::<Result<_, _>>()?)),
            Expr::Call(function, arguments) => {
                let arguments: Vec<Value> = arguments.iter().map(|item| self.eval(item)).collect::<Result<_, _>>()?;
                call(function, &arguments)
            }
        }
    }
}

fn call(function: &str, arguments: &[Value]) -> Result<Value, String> {
    match (function, arguments) {
        ("cut", [Value::Bytes(bytes), Value::Num(length)]) => {
            let length = usize::try_from(*length).map_err(|_| "a length below zero".to_owned())?;
            bytes.get(..length).map(|cut| Value::Bytes(cut.to_vec())).ok_or(format!("there are only {}", bytes.len()))
        }
        ("flip", [Value::Bytes(bytes), Value::Num(index)]) => {
            let mut bytes = bytes.clone();
            let count = bytes.len();
            let byte = usize::try_from(*index).ok().and_then(|index| bytes.get_mut(index));
            *byte.ok_or(format!("there is no byte {index}: there are {count}"))? ^= 1;
            Ok(Value::Bytes(bytes))
        }
        ("join", parts) => {
            let mut joined = Vec::new();
            for part in parts {
                let Value::Bytes(bytes) = part else { return Err("join() takes bytes".to_owned()) };
                joined.extend_from_slice(bytes);
            }
            Ok(Value::Bytes(joined))
        }
        ("fill", [Value::Num(length)]) => usize::try_from(*length)
            .map(|length| Value::Bytes(fill(length)))
            .map_err(|_| "a length below zero".to_owned()),
        _ => Err(format!(
            "there is no {function}() with such arguments; cut(bytes, length), flip(bytes, index), join(bytes, ...) and fill(length) exist"
        )),
    }
}

/// This many bytes of payload, each telling where it stands.
pub fn fill(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

impl Value {
    /// As a number that fits into `bytes` bytes on the wire; what is below zero wraps, as TSNs do.
    pub fn as_wire(&self, bytes: usize) -> Option<u64> {
        match self {
            Self::Num(number) => Some(*number as u64 & mask(bytes)),
            _ => None,
        }
    }

    /// Whether `actual` is what this value asks for.
    pub fn accepts(&self, actual: &Self) -> bool {
        match (self, actual) {
            (Self::Any, _) => true,
            (Self::Range(low, high), Self::Num(number)) => (low..=high).contains(&number),
            (Self::TimeRange(low, high), Self::Time(time)) => (low..=high).contains(&time),
            (Self::List(wanted), Self::List(actual)) => {
                wanted.len() == actual.len() && wanted.iter().zip(actual).all(|(wanted, actual)| wanted.accepts(actual))
            }
            (Self::Num(0), Self::Time(time)) => time.is_zero(),
            // One byte range that is a single number: gap blocks.
            (Self::Num(number), Self::Range(low, high)) => number == low && number == high,
            _ => self == actual,
        }
    }
}

/// The bits of a field of `bytes` bytes.
pub fn mask(bytes: usize) -> u64 {
    if bytes >= 8 { u64::MAX } else { (1 << (8 * bytes)) - 1 }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Num(number) => write!(f, "{number}"),
            Self::Range(low, high) => write!(f, "{low}..{high}"),
            Self::Time(time) => write!(f, "{time:?}"),
            Self::TimeRange(low, high) => write!(f, "{low:?}..{high:?}"),
            Self::Bytes(bytes) => write_bytes(f, bytes),
            Self::Address(address) => write!(f, "{address}"),
            Self::Word(word) => f.write_str(word),
            Self::List(items) => {
                f.write_str("[")?;
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        f.write_str(" ")?;
                    }
                    write!(f, "{item}")?;
                }
                f.write_str("]")
            }
            Self::Any => f.write_str("*"),
        }
    }
}

/// Text as text, everything else as hex, long ones cut.
fn write_bytes(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    const MOST: usize = 40;
    let printable = !bytes.is_empty() && bytes.iter().all(|byte| (b' '..=b'~').contains(byte) && *byte != b'"');
    let shown = &bytes[..bytes.len().min(MOST)];
    if printable {
        write!(f, "\"{}", String::from_utf8_lossy(shown))?;
    } else {
        f.write_str("hex(")?;
        shown.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
    }
    if bytes.len() > MOST {
        write!(f, "… {} bytes", bytes.len())?;
    }
    f.write_str(if printable { "\"" } else { ")" })
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => write!(f, "{value}"),
            Self::Name(name, 0) => write!(f, "${name}"),
            Self::Name(name, offset) => write!(f, "${name}{offset:+}"),
            Self::Call(function, _) => write!(f, "{function}(...)"),
            Self::List(items) => write!(f, "a list of {}", items.len()),
        }
    }
}
