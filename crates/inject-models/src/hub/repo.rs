//! The name of a repository on a Hub.

use std::{fmt, str::FromStr};

const DEFAULT_REVISION: &str = "main";
const MAX_PART: usize = 96;
/// Longest name of a file on the usual file systems.
const MAX_REVISION: usize = 255;

/// A model repository and one of its revisions: a branch, a tag or a commit.
///
/// Parsed from `owner/name` or a bare `name` (as `gpt2`), with an optional `@revision`; without one it is `main`.
/// Whatever parses is safe to use in a path and in a URL.
///
/// # Example
///
/// ```
/// use inject_models::hub::HubRepo;
///
/// let repo: HubRepo = "roneneldan/TinyStories-1M@refs/pr/8".parse()?;
/// assert_eq!((repo.id(), repo.revision()), ("roneneldan/TinyStories-1M", "refs/pr/8"));
/// assert_eq!("gpt2".parse::<HubRepo>()?.to_string(), "gpt2@main");
/// # Ok::<(), inject_models::hub::RepoIdError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HubRepo {
    id: String,
    revision: String,
}

impl HubRepo {
    /// `owner/name`, or `name` alone.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the branch, tag or commit.
    pub fn revision(&self) -> &str {
        &self.revision
    }
}

/// A text that is not `name`, `owner/name` or either with `@revision`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a repository id (owner/name, optionally @revision): {problem}")]
#[non_exhaustive]
pub struct RepoIdError {
    /// The text that was parsed.
    pub text: String,
    /// The rule that the text breaks.
    pub problem: &'static str,
}

impl fmt::Display for HubRepo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.revision)
    }
}

impl FromStr for HubRepo {
    type Err = RepoIdError;

    /// # Errors
    ///
    /// Fails for an id that `huggingface_hub.utils.validate_repo_id` refuses, and for a revision that is not the name of a
    /// git ref.
    fn from_str(text: &str) -> Result<Self, RepoIdError> {
        let (id, revision) = text.split_once('@').unwrap_or((text, DEFAULT_REVISION));
        check_id(id)
            .and_then(|()| check_revision(revision))
            .map_err(|problem| RepoIdError { text: text.to_owned(), problem })?;
        Ok(HubRepo { id: id.to_owned(), revision: revision.to_owned() })
    }
}

/// # Source
///
/// huggingface/huggingface_hub, `src/huggingface_hub/utils/_validators.py`, `REPO_ID_REGEX` and `validate_repo_id`.
fn check_id(id: &str) -> Result<(), &'static str> {
    let is_word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    if id.split('/').count() > 2 {
        return Err("more than one `/`");
    }
    for part in id.split('/').map(str::as_bytes) {
        let (Some(first), Some(last)) = (part.first(), part.last()) else { return Err("an empty part") };
        if !part.iter().all(|b| is_word(b) || matches!(b, b'-' | b'.')) {
            return Err("only letters, digits, `_`, `-` and `.` may occur in a part");
        }
        if !is_word(first) || !is_word(last) {
            return Err("a part must start and end with a letter, a digit or `_`");
        }
        if part.len() > MAX_PART {
            return Err("a part is longer than 96 characters");
        }
    }
    if id.contains("--") || id.contains("..") {
        return Err("`--` and `..` must not occur");
    }
    if id.ends_with(".git") {
        return Err("it must not end in `.git`");
    }
    Ok(())
}

/// The revision becomes a path below `refs/` and a part of the URL, so it is held to what needs no escaping.
fn check_revision(revision: &str) -> Result<(), &'static str> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'+' | b'=' | b'~');
    if revision.split('/').any(|part| part.is_empty() || part.starts_with('.') || part.contains("..")) {
        return Err("a part of the revision is empty, starts with `.` or contains `..`");
    }
    if revision.len() > MAX_REVISION {
        return Err("the revision is longer than 255 characters");
    }
    if !revision.bytes().all(|b| is_plain(b) || b == b'/') {
        return Err("only letters, digits and `_-.+=~/` may occur in the revision");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> &'static str {
        match text.parse::<HubRepo>() {
            Err(RepoIdError { problem, .. }) => problem,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn owner_name_and_revision_are_parsed() {
        let repo: HubRepo = "owner/a.name-1_b@v1.0".parse().unwrap();
        assert_eq!((repo.id(), repo.revision()), ("owner/a.name-1_b", "v1.0"));
        assert_eq!(repo.to_string(), "owner/a.name-1_b@v1.0");
        assert_eq!(repo.to_string().parse::<HubRepo>().unwrap(), repo);
    }

    #[test]
    fn a_bare_name_is_a_legacy_repository_at_main() {
        let repo: HubRepo = "gpt2".parse().unwrap();
        assert_eq!((repo.id(), repo.revision()), ("gpt2", "main"));
    }

    #[test]
    fn malformed_ids_are_refused_with_the_reason() {
        for text in ["", "owner/", "/name", "@main"] {
            assert_eq!(problem(text), "an empty part", "{text}");
        }
        assert!(problem("a/b/c").contains("more than one"));
        assert!(problem("own er/name").contains("only letters"));
        assert!(problem("https://huggingface.co").contains("more than one"));
        assert!(problem("../name").contains("start and end"));
        assert!(problem("owner/-name").contains("start and end"));
        assert!(problem("owner/na--me").contains("`--`"));
        assert!(problem("owner/name.git").contains(".git"));
        assert!(problem(&"x".repeat(97)).contains("96"));
    }

    #[test]
    fn a_revision_that_leaves_the_refs_folder_is_refused() {
        for text in ["gpt2@", "gpt2@../../x", "gpt2@/etc", "gpt2@a//b", "gpt2@.git/x"] {
            assert!(problem(text).contains("a part of the revision"), "{text}");
        }
        assert!(problem(&format!("gpt2@{}", "x".repeat(256))).contains("longer"));
        for text in ["gpt2@a\\b", "gpt2@a?b", "gpt2@a b", "gpt2@a%2Fb", "gpt2@a@b"] {
            assert!(problem(text).contains("may occur in the revision"), "{text}");
        }
    }
}
