//! The Hub's description of a file, checked once.

use super::{
    commit::Commit,
    http::Reply,
    http_error::{HttpError, shown},
    identity::Identity,
};

/// Longest etag. The Hub's have 40 or 64 characters.
const MAX_ETAG: usize = 128;
/// Names of files beside the blobs, which no blob may have.
const RESERVED: [&str; 4] = [".lock", ".part", ".incomplete", ".tmp"];

/// A file of one commit. Everything that is done with the file follows from this value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) commit: Commit,
    pub(super) identity: Identity,
    pub(super) size: u64,
}

impl Answer {
    /// The meaning of the headers: those of the file itself, or of a redirect to it, which describes it in `X-Linked-Etag`
    /// and `X-Linked-Size`.
    ///
    /// # Errors
    ///
    /// [`HttpError::Header`] for a header that is missing or malformed, [`HttpError::TooLarge`] for more than `limit` bytes,
    /// [`HttpError::Coded`] if the size is that of a compressed form.
    ///
    /// # Source
    ///
    /// huggingface/huggingface_hub, `file_download.py`, `get_hf_file_metadata`.
    pub(super) fn read(reply: &Reply, limit: u64) -> Result<Self, HttpError> {
        let commit = reply.header("x-repo-commit")?;
        let commit = commit.and_then(Commit::parse).ok_or_else(|| HttpError::Header {
            name: "X-Repo-Commit",
            found: found(commit),
            expected: "40 lower-case hexadecimal digits",
        })?;
        let (etag_name, etag) = match reply.header("x-linked-etag")? {
            Some(etag) => ("X-Linked-Etag", Some(etag)),
            None => ("ETag", reply.header("etag")?),
        };
        let etag = plain_etag(etag).ok_or_else(|| HttpError::Header {
            name: etag_name,
            found: found(etag),
            expected: "a quoted etag of at most 128 plain characters",
        })?;
        let (size_name, size) = match reply.header("x-linked-size")? {
            Some(size) => ("X-Linked-Size", Some(size)),
            // The length of a redirect's own body says nothing.
            None if reply.status != 200 => ("X-Linked-Size", None),
            None => {
                check_coding(reply)?;
                ("Content-Length", reply.header("content-length")?)
            }
        };
        let size = size.and_then(decimal).ok_or_else(|| HttpError::Header {
            name: size_name,
            found: found(size),
            expected: "a decimal number of bytes",
        })?;
        if size > limit {
            return Err(HttpError::TooLarge { found: size, limit });
        }
        Ok(Answer { commit, identity: Identity::of(etag), size })
    }
}

/// Fails if the body is not the file as it is.
pub(super) fn check_coding(reply: &Reply) -> Result<(), HttpError> {
    match reply.header("content-encoding")? {
        None | Some("" | "identity") => Ok(()),
        Some(coding) => Err(HttpError::Coded { coding: shown(coding) }),
    }
}

/// The number of an unsigned decimal without signs, spaces or leading plus.
pub(super) fn decimal(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A header's value as a message shows it.
pub(super) fn found(value: Option<&str>) -> String {
    value.map_or_else(|| "missing".to_owned(), |value| format!("\"{}\"", shown(value)))
}

/// The characters of a strong or weak etag, if they could be the name of a blob.
fn plain_etag(etag: Option<&str>) -> Option<&str> {
    let etag = etag?;
    let quoted = etag.strip_prefix("W/").unwrap_or(etag);
    let plain = quoted.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or(quoted);
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'+' | b'=' | b':');
    let is_reserved = RESERVED.iter().any(|end| plain.to_ascii_lowercase().ends_with(end));
    let is_name = (1..=MAX_ETAG).contains(&plain.len()) && !plain.starts_with('.') && !is_reserved;
    (is_name && plain.bytes().all(is_plain)).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_is_strong_weak_or_bare() {
        for etag in ["\"ab-12\"", "W/\"ab-12\"", "ab-12"] {
            assert_eq!(plain_etag(Some(etag)), Some("ab-12"), "{etag}");
        }
    }

    #[test]
    fn an_etag_that_could_be_a_path_or_another_file_is_refused() {
        let long = "a".repeat(129);
        for etag in [
            "",
            "\"\"",
            "W/\"\"",
            "/etc/passwd",
            "../x",
            "..",
            ".",
            "a/b",
            "a\\b",
            "a b",
            "a\0b",
            "x.lock",
            "x.PART",
        ]
        .into_iter()
        .chain(["\"x.incomplete\"", "x.tmp", "\"half", long.as_str(), "\u{e9}"])
        {
            assert_eq!(plain_etag(Some(etag)), None, "{etag}");
        }
        assert_eq!(plain_etag(None), None);
    }

    #[test]
    fn a_size_is_digits_only() {
        assert_eq!(decimal("0"), Some(0));
        assert_eq!(decimal("18446744073709551615"), Some(u64::MAX));
        for text in ["", "-1", "+1", "*", " 1", "1 ", "1e3", "0x10", "18446744073709551616", "\u{661}"] {
            assert_eq!(decimal(text), None, "{text}");
        }
    }
}
