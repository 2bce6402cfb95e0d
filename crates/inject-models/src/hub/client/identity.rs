//! The content that a file must have, and the running hash that shows whether it does.

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::commit::is_hex;

/// The identity of a file's content, as its etag states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// The SHA-256 of the content: the etag of a file in large file storage.
    Sha256(String),
    /// The id of the git blob, which is a SHA-1: the etag of a file in git itself.
    GitBlob(String),
    /// An etag that is not a hash. The content cannot be checked.
    Opaque,
}

impl Identity {
    /// The identity that a plain etag, or the name of a blob in the cache, states.
    pub(super) fn of(name: &str) -> Self {
        match name {
            _ if is_hex(name, 64) => Identity::Sha256(name.to_owned()),
            _ if is_hex(name, 40) => Identity::GitBlob(name.to_owned()),
            _ => Identity::Opaque,
        }
    }

    /// The hash, which is also the name of the blob in the cache.
    pub(super) fn hash(&self) -> Option<&str> {
        match self {
            Identity::Sha256(hash) | Identity::GitBlob(hash) => Some(hash),
            Identity::Opaque => None,
        }
    }
}

/// The hash of the bytes seen so far.
pub(super) enum RunningHash {
    Sha256(Sha256),
    Sha1(Sha1),
}

impl RunningHash {
    /// Starts on a content of `size` bytes. Content without a known hash gets its SHA-256.
    pub(super) fn new(identity: &Identity, size: u64) -> Self {
        match identity {
            Identity::Sha256(_) | Identity::Opaque => RunningHash::Sha256(Sha256::new()),
            Identity::GitBlob(_) => RunningHash::Sha1(Sha1::new_with_prefix(format!("blob {size}\0"))),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            RunningHash::Sha256(hash) => hash.update(bytes),
            RunningHash::Sha1(hash) => hash.update(bytes),
        }
    }

    /// Returns the hash as hexadecimal digits.
    pub(super) fn finish(self) -> String {
        match self {
            RunningHash::Sha256(hash) => hex::encode(hash.finalize()),
            RunningHash::Sha1(hash) => hex::encode(hash.finalize()),
        }
    }
}

/// The SHA-256 of a text, in hexadecimal.
pub(super) fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(etag: &str, content: &[u8]) -> String {
        let mut hash = RunningHash::new(&Identity::of(etag), content.len() as u64);
        content.chunks(3).for_each(|bytes| hash.update(bytes));
        hash.finish()
    }

    #[test]
    fn a_git_blob_is_hashed_as_git_does() {
        // printf 'test content\n' | git hash-object --stdin
        let id = "d670460b4b4aece5915caf5c68d12f560a9fe3e4";
        assert_eq!(hash(id, b"test content\n"), id);
    }

    #[test]
    fn a_large_file_is_hashed_by_sha_256() {
        // FIPS 180-2, appendix B.1
        let id = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash(id, b"abc"), id);
        assert_eq!(hash("opaque", b"abc"), id);
        assert_eq!(sha256("abc"), id);
    }

    #[test]
    fn only_a_hash_is_an_identity() {
        for name in ["", "abc", "../x", &"A".repeat(40), &"a".repeat(41), &"g".repeat(64)] {
            assert_eq!(Identity::of(name), Identity::Opaque, "{name}");
        }
    }
}
