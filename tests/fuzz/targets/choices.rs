//! An input as a list of decisions.

/// Numbers that arithmetic stumbles over.
const NUMBERS: [u64; 16] = [
    0,
    1,
    2,
    63,
    64,
    127,
    128,
    256,
    1 << 20,
    (1 << 20) + 1,
    u32::MAX as u64,
    i64::MAX as u64,
    i64::MAX as u64 + 1,
    u64::MAX / 2 - 1,
    u64::MAX - 1,
    u64::MAX,
];

/// A number: mostly one near an edge, else `raw`.
pub(crate) fn number(kind: u8, raw: u64) -> u64 {
    match kind {
        0..128 => NUMBERS[usize::from(kind) % NUMBERS.len()],
        128..160 => u64::MAX - raw % 300,
        160..224 => raw % 300,
        _ => raw,
    }
}

/// Takes decisions off the front of an input. When it is used up, every decision is the first.
pub(crate) struct Choices<'a>(pub(crate) &'a [u8]);

impl<'a> Choices<'a> {
    pub(crate) fn byte(&mut self) -> u8 {
        let [byte] = self.array();
        byte
    }

    /// A number below `end`, which is at most 65,536.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let choice = if end > 256 { usize::from(u16::from_le_bytes(self.array())) } else { usize::from(self.byte()) };
        choice % end.max(1)
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Any number; see [`number`].
    pub(crate) fn number(&mut self) -> u64 {
        let kind = self.byte();
        if kind < 128 { number(kind, 0) } else { number(kind, u64::from_le_bytes(self.array())) }
    }

    /// A number near `center`, or any.
    pub(crate) fn near(&mut self, center: u64) -> u64 {
        match self.byte() {
            kind @ 0..200 => center.saturating_add(u64::from(kind % 5)).saturating_sub(2),
            _ => self.number(),
        }
    }

    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// The next `N` bytes, zeros beyond the end.
    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        let (head, tail) = self.0.split_at(N.min(self.0.len()));
        self.0 = tail;
        let mut bytes = [0; N];
        bytes[..head.len()].copy_from_slice(head);
        bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
