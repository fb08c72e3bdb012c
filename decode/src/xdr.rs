//! External data representation (RFC 4506), as far as sFlow uses it: big-endian words, padded opaques.

/// The bytes end before the value does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated;

/// Reads values from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// How many bytes were not read yet.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// Fewer are left; nothing is then consumed.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    /// An unsigned word.
    ///
    /// # Errors
    /// Fewer than 4 bytes are left.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, Truncated> {
        self.array().map(u32::from_be_bytes)
    }

    /// An unsigned hyper.
    ///
    /// # Errors
    /// Fewer than 8 bytes are left.
    #[inline]
    pub fn u64(&mut self) -> Result<u64, Truncated> {
        self.array().map(u64::from_be_bytes)
    }

    /// The next `n` bytes, without padding.
    ///
    /// # Errors
    /// Fewer are left.
    #[inline]
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], Truncated> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    /// `n` bytes and the pad after them. A pad that is missing at the very end is forgiven: some switches
    /// leave it out after the last sampled header.
    ///
    /// # Errors
    /// Fewer than `n` bytes are left.
    #[inline]
    pub fn padded(&mut self, n: usize) -> Result<&'a [u8], Truncated> {
        let head = self.take(n)?;
        let pad = n.wrapping_neg() & 3;
        self.rest = self.rest.get(pad..).unwrap_or_default();
        Ok(head)
    }

    /// A variable-length opaque or string: its length, its bytes, its pad.
    ///
    /// # Errors
    /// The length says more than is left.
    #[inline]
    pub fn opaque(&mut self) -> Result<&'a [u8], Truncated> {
        let length = self.u32()?;
        self.padded(usize::try_from(length).map_err(|_| Truncated)?)
    }
}

/// The buffer has no room for the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Writes values to a caller's buffer.
#[derive(Debug)]
pub struct Writer<'b> {
    buffer: &'b mut [u8],
    length: usize,
}

impl<'b> Writer<'b> {
    /// A writer at the start of `buffer`.
    pub fn new(buffer: &'b mut [u8]) -> Self {
        Self { buffer, length: 0 }
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// What was written.
    pub fn written(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }

    /// Forgets what was written after the first `length` bytes.
    pub fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    /// Bytes as they are.
    ///
    /// # Errors
    /// They do not fit; nothing is then written.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let end = self.length.checked_add(bytes.len()).ok_or(Full)?;
        self.buffer.get_mut(self.length..end).ok_or(Full)?.copy_from_slice(bytes);
        self.length = end;
        Ok(())
    }

    /// An unsigned word.
    ///
    /// # Errors
    /// It does not fit.
    pub fn u32(&mut self, value: u32) -> Result<(), Full> {
        self.bytes(&value.to_be_bytes())
    }

    /// An unsigned hyper.
    ///
    /// # Errors
    /// It does not fit.
    pub fn u64(&mut self, value: u64) -> Result<(), Full> {
        self.bytes(&value.to_be_bytes())
    }

    /// Bytes and their pad.
    ///
    /// # Errors
    /// They do not fit.
    pub fn padded(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.bytes(bytes)?;
        let pad = bytes.len().wrapping_neg() & 3;
        self.bytes([0; 4].get(..pad).unwrap_or_default())
    }

    /// A length, the bytes and their pad.
    ///
    /// # Errors
    /// They do not fit.
    pub fn opaque(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.u32(u32::try_from(bytes.len()).map_err(|_| Full)?)?;
        self.padded(bytes)
    }

    /// Overwrites bytes at `at`, which were written before.
    ///
    /// # Errors
    /// Nothing was written there.
    pub fn patch(&mut self, at: usize, bytes: &[u8]) -> Result<(), Full> {
        let end = at.checked_add(bytes.len()).filter(|&end| end <= self.length).ok_or(Full)?;
        self.buffer.get_mut(at..end).ok_or(Full)?.copy_from_slice(bytes);
        Ok(())
    }

    /// Overwrites the word at `at`, which was written before.
    ///
    /// # Errors
    /// Nothing was written there.
    pub fn patch_u32(&mut self, at: usize, value: u32) -> Result<(), Full> {
        self.patch(at, &value.to_be_bytes())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn opaques_are_padded_and_lying_lengths_refused() {
        let mut buffer = [0xaa; 16];
        let mut writer = Writer::new(&mut buffer);
        writer.opaque(b"abcde").unwrap();
        assert_eq!(writer.written(), b"\0\0\0\x05abcde\0\0\0");
        assert_eq!(writer.u64(1), Err(Full));
        let mut reader = Reader::new(writer.written());
        assert_eq!(reader.opaque(), Ok(b"abcde".as_slice()));
        assert_eq!(reader.remaining(), 0);
        assert_eq!(Reader::new(b"\xff\xff\xff\xffabc").opaque(), Err(Truncated));
    }

    #[test]
    fn a_missing_last_pad_is_forgiven() {
        assert_eq!(Reader::new(b"\0\0\0\x05abcde").opaque(), Ok(b"abcde".as_slice()));
    }
}
