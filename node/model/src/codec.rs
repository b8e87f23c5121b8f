//! The byte format of everything that is hashed, signed or kept: fixed-size fields as they are, integers as
//! LEB128 varints in their shortest form, byte strings after their length. There is one encoding per value.

use crate::{BadSignature, NameError, Signature, ViewError};

/// Bytes that are not what they claim to be. The value is refused whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The input ends inside the named field.
    #[error("{0} is cut short")]
    Truncated(&'static str),
    /// Bytes are left over after the last field.
    #[error("{0} surplus bytes")]
    Trailing(usize),
    /// A field has a value that it can't have.
    #[error("{0} is out of range")]
    OutOfRange(&'static str),
    /// A name is not acceptable.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A view contradicts itself.
    #[error(transparent)]
    View(#[from] ViewError),
    /// A signature does not verify.
    #[error(transparent)]
    Signature(#[from] BadSignature),
}

/// Appends fields to a byte string.
#[derive(Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    /// Bytes of a length that both sides know.
    pub fn fixed(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// One byte.
    pub fn byte(&mut self, byte: u8) -> &mut Self {
        self.0.push(byte);
        self
    }

    /// An integer as a varint.
    pub fn varint(&mut self, mut value: u64) -> &mut Self {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    /// Bytes after their length.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.varint(bytes.len() as u64).fixed(bytes)
    }
}

/// Takes fields off the front of a byte string.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// The next `len` bytes.
    pub fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let (head, tail) = self.0.split_at_checked(len).ok_or(DecodeError::Truncated(field))?;
        self.0 = tail;
        Ok(head)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        self.take(N, field)?.try_into().map_err(|_| DecodeError::Truncated(field))
    }

    /// A signature.
    pub fn signature(&mut self, field: &'static str) -> Result<Signature, DecodeError> {
        self.array(field).map(Signature::new)
    }

    /// One byte.
    pub fn byte(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    /// An integer; one that is not in its shortest form is refused.
    pub fn varint(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(field)?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 || byte == 0 && shift > 0 {
                return Err(DecodeError::OutOfRange(field));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::OutOfRange(field))
    }

    /// A varint that counts things, at most `max`.
    pub fn count(&mut self, max: usize, field: &'static str) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.varint(field)?).map_err(|_| DecodeError::OutOfRange(field))?;
        if count > max { Err(DecodeError::OutOfRange(field)) } else { Ok(count) }
    }

    /// Bytes after their length, at most `max`.
    pub fn bytes(&mut self, max: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let len = self.count(max, field)?;
        self.take(len, field)
    }

    /// Checks that nothing is left.
    pub fn end(&self) -> Result<(), DecodeError> {
        if self.0.is_empty() { Ok(()) } else { Err(DecodeError::Trailing(self.0.len())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_have_one_encoding() {
        for value in [0, 1, 127, 128, 300, u64::MAX] {
            let mut writer = Writer::default();
            writer.varint(value);
            let mut reader = Reader(&writer.0);
            assert_eq!(reader.varint("value"), Ok(value));
            assert_eq!(reader.end(), Ok(()));
        }
        assert_eq!(Reader(&[0x80, 0x00]).varint("value"), Err(DecodeError::OutOfRange("value")));
        assert_eq!(Reader(&[0xff; 10]).varint("value"), Err(DecodeError::OutOfRange("value")));
        assert_eq!(Reader(&[0x80]).varint("value"), Err(DecodeError::Truncated("value")));
    }
}
