//! Changes inside messages of protocol buffers that leave the lengths around them right, so that a change reaches
//! what is behind the decoder.

use crate::{mutate, rng::Rng, targets::number};

/// How deep messages are taken apart.
const MAX_DEPTH: usize = 6;

#[derive(Debug, Clone)]
struct Field {
    number: u64,
    value: Value,
}

#[derive(Debug, Clone)]
enum Value {
    Varint(u64),
    Fixed(Vec<u8>),
    Bytes(Vec<u8>),
    Message(Vec<Field>),
}

/// `message` with one change, perhaps with a piece of `donor`; `None` if it is not a message.
pub(crate) fn change(message: &[u8], donor: &[u8], rng: &mut Rng) -> Option<Vec<u8>> {
    let mut fields = parse(message, 0)?;
    let donor = parse(donor, 0).unwrap_or_default();
    change_fields(&mut fields, &donor, rng);
    Some(encode(&fields))
}

/// An unsigned number as a varint.
pub(crate) fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn change_fields(fields: &mut Vec<Field>, donor: &[Field], rng: &mut Rng) {
    let at = rng.below(fields.len() as u64) as usize;
    let Some(field) = fields.get_mut(at) else {
        fields.extend(donor.first().cloned());
        return;
    };
    match rng.below(12) {
        0 => drop(fields.remove(at)),
        1 => {
            let copy = field.clone();
            // Enough copies to go beyond a cap on a list, now and then.
            let copies = if rng.chance(20) { 1_001 } else { 1 };
            fields.extend(std::iter::repeat_n(copy, copies));
        }
        2 => field.number = rng.below(12),
        3 => {
            let to = rng.below(fields.len() as u64) as usize;
            fields.swap(at, to);
        }
        4 => {
            if let Some(taken) = any(donor, rng) {
                fields.insert(at, taken);
            }
        }
        _ => change_value(&mut field.value, donor, rng),
    }
}

fn change_value(value: &mut Value, donor: &[Field], rng: &mut Rng) {
    match value {
        Value::Varint(old) => *old = number(rng.next() as u8, old.wrapping_add(rng.below(5)).wrapping_sub(2)),
        Value::Fixed(bytes) => *bytes = mutate::random(rng, bytes.len() as u64),
        Value::Message(fields) if !fields.is_empty() || !donor.is_empty() => change_fields(fields, donor, rng),
        Value::Message(fields) => fields.push(Field { number: 1, value: Value::Varint(rng.next()) }),
        Value::Bytes(bytes) => {
            let other = match any(donor, rng) {
                Some(Field { value: Value::Bytes(other), .. }) => other,
                _ => Vec::new(),
            };
            if rng.chance(200) && !other.is_empty() {
                *bytes = other;
            } else {
                mutate::bytes(bytes, &other, rng);
            }
        }
    }
}

/// Some field of a tree.
fn any(fields: &[Field], rng: &mut Rng) -> Option<Field> {
    let field = fields.get(rng.below(fields.len() as u64) as usize)?;
    match &field.value {
        Value::Message(inner) if rng.chance(600) => any(inner, rng),
        _ => Some(field.clone()),
    }
}

fn parse(mut bytes: &[u8], depth: usize) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = take_varint(&mut bytes)?;
        let value = match tag & 7 {
            0 => Value::Varint(take_varint(&mut bytes)?),
            1 => Value::Fixed(take(&mut bytes, 8)?.to_vec()),
            5 => Value::Fixed(take(&mut bytes, 4)?.to_vec()),
            2 => {
                let len = take_varint(&mut bytes)?;
                let content = take(&mut bytes, usize::try_from(len).ok()?)?;
                let inner = if depth < MAX_DEPTH { parse(content, depth + 1) } else { None };
                inner.map_or_else(|| Value::Bytes(content.to_vec()), Value::Message)
            }
            _ => return None,
        };
        if tag >> 3 == 0 {
            return None;
        }
        fields.push(Field { number: tag >> 3, value });
    }
    Some(fields)
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, tail) = bytes.split_at_checked(len)?;
    *bytes = tail;
    Some(head)
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn encode(fields: &[Field]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for Field { number, value } in fields {
        let (wire_type, content) = match value {
            Value::Varint(value) => (0, varint(*value)),
            Value::Fixed(fixed) => (if fixed.len() == 8 { 1 } else { 5 }, fixed.clone()),
            Value::Bytes(content) => (2, content.clone()),
            Value::Message(fields) => (2, encode(fields)),
        };
        bytes.extend(varint(number << 3 | wire_type));
        if wire_type == 2 {
            bytes.extend(varint(content.len() as u64));
        }
        bytes.extend(content);
    }
    bytes
}
