//! Inputs: examples of valid ones, changed. What the bytes are decides how.

use crate::{
    protobuf,
    rng::Rng,
    targets::{Shape, number},
};

/// Longest input that is made.
const MAX_BYTES: usize = 1 << 20;
/// Bytes that parsers stumble over.
const BYTES: [u8; 12] = [0, 1, 2, 0x0a, 0x12, 0x16, 0x20, 0x40, 0x7f, 0x80, 0xfe, 0xff];

/// Makes one input after the other.
pub(crate) struct Generator {
    rng: Rng,
    shape: Shape,
    seeds: Vec<Vec<u8>>,
}

impl Generator {
    pub(crate) fn new(rng: Rng, shape: Shape, seeds: Vec<Vec<u8>>) -> Self {
        Self { rng, shape, seeds }
    }

    /// The next input.
    pub(crate) fn next(&mut self) -> Vec<u8> {
        if self.seeds.is_empty() || self.rng.chance(60) {
            let len = self.rng.below(1 << self.rng.clone().below(11));
            return random(&mut self.rng, len);
        }
        let mut input = self.seed();
        for _ in 0..=self.rng.below(6) {
            let other = self.seed();
            self.change(&mut input, &other);
        }
        input.truncate(MAX_BYTES);
        input
    }

    fn seed(&mut self) -> Vec<u8> {
        let which = self.rng.below(self.seeds.len() as u64);
        self.seeds[which as usize].clone()
    }

    fn change(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        match self.shape {
            Shape::Protobuf { prefix } if input.len() > prefix && self.rng.chance(800) => {
                let body = &input[prefix..];
                let donor = other.get(prefix..).unwrap_or_default();
                if let Some(changed) = protobuf::change(body, donor, &mut self.rng) {
                    input.truncate(prefix);
                    input.extend(changed);
                    return;
                }
                bytes(input, other, &mut self.rng);
            }
            Shape::Text { words } if self.rng.chance(600) => {
                let word = self.rng.pick(words).unwrap_or_default();
                let at = self.rng.below(input.len() as u64 + 1) as usize;
                input.splice(at..at, word.bytes());
            }
            _ => bytes(input, other, &mut self.rng),
        }
    }
}

/// Changes bytes that nothing is known about.
pub(crate) fn bytes(input: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    let (start, end) = range(input.len(), rng);
    match rng.below(11) {
        0 | 1 if start < input.len() => input[start] ^= 1 << rng.below(8),
        2 if start < input.len() => input[start] = rng.pick(&BYTES).unwrap_or_default(),
        3 if start < input.len() => input[start] = input[start].wrapping_add(rng.between(254, 258) as u8),
        4 => input.truncate(start),
        5 => drop(input.drain(start..end)),
        6 => {
            let copy = input[start..end].to_vec();
            input.splice(end..end, copy);
        }
        7 => {
            let (from, to) = range(other.len(), rng);
            input.splice(start..end, other[from..to].iter().copied());
        }
        8 => {
            let varint = protobuf::varint(number(rng.next() as u8, rng.next()));
            input.splice(start..end.min(start + varint.len()), varint);
        }
        9 => {
            let len = rng.below(40);
            let noise = random(rng, len);
            input.splice(start..start, noise);
        }
        _ => {
            let number = number(rng.next() as u8, rng.next()).to_be_bytes();
            let len = end.min(start + number.len()) - start;
            input[start..start + len].copy_from_slice(&number[..len]);
        }
    }
}

/// A part of something with `len` bytes: mostly a short one.
fn range(len: usize, rng: &mut Rng) -> (usize, usize) {
    let start = rng.below(len as u64 + 1) as usize;
    let most = if rng.chance(700) { 8 } else { len as u64 };
    (start, (start + rng.below(most + 1) as usize).min(len))
}

/// `len` random bytes.
pub(crate) fn random(rng: &mut Rng, len: u64) -> Vec<u8> {
    (0..len).map(|_| rng.next() as u8).collect()
}
