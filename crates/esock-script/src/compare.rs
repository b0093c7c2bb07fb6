//! Whether a packet is what a script expects, and what it teaches.

use crate::layout::{self, Tail};
use crate::packet::{Chunk, Packet, Tlv, show_tlv};
use crate::syntax::{ChunkSpec, PacketSpec, Shape, TlvSpec};
use crate::value::{self, Expr, Names, Value};

/// Compares the chunks of a packet. Names that stood for nothing are set; when it does not match, `names`
/// may have been changed.
pub fn chunks(spec: &PacketSpec, packet: &Packet, names: &mut Names) -> Result<(), String> {
    if let Some(fault) = &packet.fault {
        return Err(format!("it is malformed: {fault}"));
    }
    if !packet.checksum_ok {
        return Err("its checksum is wrong".to_owned());
    }
    for (at, wanted) in spec.chunks.iter().enumerate() {
        let Some(actual) = packet.chunks.get(at) else {
            return Err(format!("it has {} chunks; {} is missing", packet.chunks.len(), name(wanted)));
        };
        chunk(wanted, actual, names).map_err(|problem| format!("{}: {problem}", name(wanted)))?;
    }
    match packet.chunks.get(spec.chunks.len()) {
        Some(extra) if !spec.open => Err(format!("{extra} is one chunk more than expected")),
        _ => Ok(()),
    }
}

fn name(spec: &ChunkSpec) -> String {
    match spec.shape {
        Shape::Known(layout) => layout.name.to_owned(),
        Shape::Numbered(kind) => format!("CHUNK({kind:#04x})"),
        Shape::Raw => "RAW".to_owned(),
    }
}

fn chunk(spec: &ChunkSpec, actual: &Chunk, names: &mut Names) -> Result<(), String> {
    let (kind, usual_flags, tail) = match spec.shape {
        Shape::Known(layout) => (layout.kind, layout.usual_flags, layout.tail),
        Shape::Numbered(kind) => (kind, 0, Tail::Bytes("data")),
        Shape::Raw => return Err("RAW cannot be expected".to_owned()),
    };
    if kind != actual.kind {
        return Err(format!("{actual} stands in its place"));
    }
    let flags = spec.flags.clone().unwrap_or(Expr::Value(Value::Num(usual_flags.into())));
    same("flags", &flags, Value::Num(actual.flags.into()), 1, names)?;
    if let Shape::Known(layout) = spec.shape {
        for (field, bytes) in layout.fields {
            let value = actual.field(field).ok_or(format!("it is too short for {field}"))?;
            if let Some(wanted) = spec.field(field) {
                same(field, wanted, Value::Num(value as i64), *bytes, names)?;
            }
        }
    }
    let content = if matches!(spec.shape, Shape::Known(_)) { actual.rest() } else { &actual.value };
    if let Some(wanted) = spec.field("len") {
        same("len", wanted, Value::Num(content.len() as i64), 4, names)?;
    }
    if let Some(wanted) = spec.field("length") {
        same("length", wanted, Value::Num(4 + actual.value.len() as i64), 2, names)?;
    }
    if let Some(wanted) = &spec.data {
        same("content", wanted, Value::Bytes(content.to_vec()), 0, names)?;
    }
    match tail {
        Tail::Nothing if !content.is_empty() => Err(format!("{} bytes too many", content.len())),
        Tail::Nothing | Tail::Bytes(_) => Ok(()),
        Tail::Sack => sack(spec, actual, names),
        Tail::Params => params(spec, &actual.tlvs()?, names),
        Tail::Causes => causes(spec, &actual.tlvs()?, names),
    }
}

/// Compares one value; a name that stands for nothing takes it.
fn same(what: &str, wanted: &Expr, actual: Value, bytes: usize, names: &mut Names) -> Result<(), String> {
    if let Expr::Name(name, offset) = wanted
        && names.get(name).is_none()
    {
        if *offset != 0 {
            return Err(format!("${name} does not stand for anything yet"));
        }
        names.set(name, actual);
        return Ok(());
    }
    let mut wanted = names.eval(wanted)?;
    if let (Value::Num(number), 1..) = (&wanted, bytes) {
        wanted = Value::Num(((*number as u64) & value::mask(bytes)) as i64);
    }
    if wanted.accepts(&actual) { Ok(()) } else { Err(format!("{what} is {actual}, not {wanted}")) }
}

fn sack(spec: &ChunkSpec, actual: &Chunk, names: &mut Names) -> Result<(), String> {
    let (gaps, dups) = actual.sack().ok_or("its counts do not fit its length")?;
    // What a script says nothing of is not there: a SACK with gaps is another thing than one without.
    let none = || Expr::List(Vec::new());
    same("gaps", &spec.field("gaps").cloned().unwrap_or_else(none), Value::List(gaps), 0, names)?;
    same("dups", &spec.field("dups").cloned().unwrap_or_else(none), Value::List(dups), 0, names)
}

/// Parameters: those that are named are there, in any order; there may be others.
fn params(spec: &ChunkSpec, actual: &[Tlv], names: &mut Names) -> Result<(), String> {
    let mut used = vec![false; actual.len()];
    for wanted in &spec.tlvs {
        let title = layout::tlv_name(Tail::Params, wanted.kind.number).0;
        let candidates = || actual.iter().enumerate().filter(|(_, tlv)| tlv.kind == wanted.kind.number);
        if wanted.absent {
            if let Some((_, found)) = candidates().next() {
                return Err(format!("{} is there", show_tlv(Tail::Params, found)));
            }
            continue;
        }
        let mut problem = format!("{title} is missing");
        let mut found = false;
        for (at, tlv) in candidates() {
            if used[at] {
                continue;
            }
            match tlv_value(wanted, tlv, &title, names) {
                Ok(()) => {
                    (used[at], found) = (true, true);
                    break;
                }
                Err(why) => problem = why,
            }
        }
        if !found {
            return Err(problem);
        }
    }
    Ok(())
}

/// Causes: these, in this order, and no others unless the list is open.
fn causes(spec: &ChunkSpec, actual: &[Tlv], names: &mut Names) -> Result<(), String> {
    let wanted: Vec<&TlvSpec> = spec.tlvs.iter().filter(|tlv| !tlv.absent).collect();
    for (at, wanted) in wanted.iter().enumerate() {
        let title = layout::tlv_name(Tail::Causes, wanted.kind.number).0;
        let tlv = actual.get(at).ok_or(format!("{title} is missing"))?;
        if tlv.kind != wanted.kind.number {
            return Err(format!("{} stands in the place of {title}", show_tlv(Tail::Causes, tlv)));
        }
        tlv_value(wanted, tlv, &title, names)?;
    }
    match actual.get(wanted.len()) {
        Some(extra) if !spec.open => Err(format!("{} is one cause more than expected", show_tlv(Tail::Causes, extra))),
        _ => Ok(()),
    }
}

fn tlv_value(wanted: &TlvSpec, actual: &Tlv, title: &str, names: &mut Names) -> Result<(), String> {
    match &wanted.value {
        Some(expr) => {
            // Bytes compare with bytes, whatever the form.
            let literal = matches!(names.eval(expr), Ok(Value::Bytes(_)));
            let typed = if literal { Value::Bytes(actual.value.clone()) } else { actual.typed(wanted.kind.form) };
            same(title, expr, typed, 0, names)
        }
        None if actual.value.is_empty() => Ok(()),
        None => Err(format!("{title} has a value: {}", Value::Bytes(actual.value.clone()))),
    }
}
