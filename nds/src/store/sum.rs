//! Checksums of rows. SQLite notices a page that makes no sense, but not one in which a number has become another; and
//! an epoch that went down on the disk would let a leader back in that was replaced.

const SUM_BYTES: usize = 8;

/// `content` behind a checksum of itself and of the other columns of its row.
pub(super) fn add(content: &[u8], row: &[&[u8]]) -> Vec<u8> {
    [&sum(content, row), content].concat()
}

/// The content, if the checksum is right.
pub(super) fn check<'a>(column: &'a [u8], row: &[&[u8]]) -> Option<&'a [u8]> {
    let (found, content) = column.split_at_checked(SUM_BYTES)?;
    (found == sum(content, row)).then_some(content)
}

/// The content of a column that was written without a checksum.
pub(super) fn trust<'a>(column: &'a [u8], _row: &[&[u8]]) -> Option<&'a [u8]> {
    Some(column)
}

fn sum(content: &[u8], row: &[&[u8]]) -> [u8; SUM_BYTES] {
    let mut hasher = blake3::Hasher::new_derive_key("p2p-chat v1 record");
    for part in row.iter().chain([&content]) {
        hasher.update(&(part.len() as u64).to_be_bytes()).update(part);
    }
    let mut sum = [0; SUM_BYTES];
    hasher.finalize_xof().fill(&mut sum);
    sum
}
