//! The end of a run: its exit status, and its error as one line.

use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use inject_sipit::{
    InvertError,
    states::{
        ExtractError,
        durable::JsonLinesError,
        prompts::{PromptError, TooManyIds},
    },
};
use inject_studies::StudyError;

use crate::{
    begun,
    number::{self, counted},
};

/// The exit statuses, as `--help` lists them.
pub(crate) const STATUSES: &str = "\
Exit status:
  0    the work is done, and all prompts were recovered: verified at each
       position, and equal to the prompt given, if there is one
  1    an error
  2    wrong usage: an unknown, contradictory or useless option
  3    the work is done, but some position of a prompt is open, ambiguous or failed
  4    the work is done, but a token that fits differs from that of the prompt given
  101  a defect of the program itself
  130  interrupted (SIGINT, Ctrl-C)
  143  terminated (SIGTERM)";

/// A run that came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything that was requested is done.
    Complete,
    /// The work is done, but some prompt is not recovered.
    NotRecovered,
    /// The work is done, but a settled token differs from that of the prompt it was compared with.
    Contradicted,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Complete => ExitCode::SUCCESS,
            Outcome::NotRecovered => ExitCode::from(3),
            Outcome::Contradicted => ExitCode::from(4),
        }
    }
}

/// The reason why a run did not come to its end, as one line for the user.
#[derive(Debug)]
pub struct Failure {
    message: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Error,
    Usage,
}

impl Failure {
    /// Creates a failure that the program itself found.
    pub fn new(message: impl Into<String>) -> Self {
        Failure { message: one_line(&message.into()), kind: Kind::Error }
    }

    /// Creates the failure of a wrong use of the program.
    pub fn usage(message: impl Into<String>) -> Self {
        Failure { kind: Kind::Usage, ..Failure::new(message) }
    }

    /// The failure of an operation on a file: `cannot ACTION PATH: REASON`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Failure {
        let path: PathBuf = path.to_owned();
        move |error| Failure::new(format!("cannot {action} {}: {}", path.display(), chain(&error)))
    }

    /// The same failure with some words replaced: a library names its arguments, and the program its options.
    pub(crate) fn rephrased(self, words: &[(&str, &str)]) -> Self {
        Failure { message: renamed(&self.message, words), ..self }
    }

    /// Returns the exit status: 1, or 2 for wrong usage.
    pub fn status(&self) -> u8 {
        match self.kind {
            Kind::Error => 1,
            Kind::Usage => 2,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Errors of the libraries. An I/O error is not among them: [`Failure::io`] names its file.
macro_rules! from_errors {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Failure::new(chain(&error))
            }
        })*
    };
}

from_errors!(
    inject_sipit::states::CoverError,
    crate::device::DeviceError,
    inject_sipit::collisions::CollisionError,
    inject_sipit::states::durable::FileError,
    inject_sipit::CalibrationError,
    inject_sipit::models::ModelError,
    inject_sipit::models::TapError,
    inject_sipit::states::foreign::ForeignError,
    inject_sipit::states::store::StoreError,
    serde_json::Error,
);

impl From<JsonLinesError> for Failure {
    fn from(error: JsonLinesError) -> Self {
        Failure::new(begun::with_option(&error).unwrap_or_else(|| chain(&error)))
    }
}

impl From<StudyError> for Failure {
    fn from(error: StudyError) -> Self {
        match error {
            StudyError::Journal(error) => (*error).into(),
            other => Failure::new(chain(&other)),
        }
    }
}

impl From<InvertError> for Failure {
    fn from(error: InvertError) -> Self {
        match error {
            InvertError::NoWholeScan { found, vocab_size } => Failure::usage(format!(
                "--max-candidates {found} excludes a test of the whole vocabulary of {} tokens, which --certify and --policy exhaustive ask for",
                number::count(vocab_size)
            )),
            other => Failure::new(chain(&other)),
        }
    }
}

impl From<PromptError> for Failure {
    fn from(error: PromptError) -> Self {
        let advice = match error.problem.is_limit_of_texts() {
            true => "; --max-prompt-bytes sets the limit of a prompt",
            false => "",
        };
        Failure::new(chain(&error) + advice).rephrased(&[("by `field`", "by --field")])
    }
}

impl From<ExtractError> for Failure {
    fn from(error: ExtractError) -> Self {
        match error {
            ExtractError::TooManyIds(error) => error.into(),
            other => Failure::new(chain(&other)),
        }
    }
}

impl From<TooManyIds> for Failure {
    fn from(error: TooManyIds) -> Self {
        let (found, most) = (counted(error.prompts, "prompt"), number::bytes(error.most as u64));
        Failure::new(format!(
            "the ids of {found} take more than {most}, half of the memory that is free: `--share` keeps only those of a share"
        ))
    }
}

#[cfg(feature = "hub")]
from_errors!(inject_sipit::models::hub::HubError);

/// A text with some words replaced.
pub(crate) fn renamed(text: &str, words: &[(&str, &str)]) -> String {
    words.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// An error and its causes in one line, each said once: a cause whose text its effect already contains is passed over.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut parts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
        cause = error.source();
    }
    let parts: Vec<String> = parts.iter().map(|part| shortened(part)).collect();
    one_line(&parts.join(": "))
}

/// A text whose parts are short: an error that lists several faults keeps each of them.
fn shortened(text: &str) -> String {
    const MOST: usize = 50;
    const BETWEEN: &str = "; ";
    let mut parts: Vec<String> = text.split(BETWEEN).take(MOST + 1).map(shortened_part).collect();
    if parts.len() > MOST {
        parts[MOST] = "[...]".to_owned();
    }
    parts.join(BETWEEN)
}

/// A text within a few lines of a terminal: of a longer one its beginning and its end.
fn shortened_part(text: &str) -> String {
    const LONGEST: usize = 600;
    const BEGINNING: usize = 400;
    const END: usize = 150;
    let count = text.chars().count();
    if count <= LONGEST {
        return text.to_owned();
    }
    let beginning: String = text.chars().take(BEGINNING).collect();
    let end: String = text.chars().skip(count - END).collect();
    format!("{beginning} [...] {end}")
}

/// A text without line breaks and other control characters.
pub(crate) fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("; ").chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use inject_sipit::states::prompts::IdList;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: String,
        source: Option<Box<Link>>,
    }

    fn link(texts: &[&str]) -> Link {
        let source = (texts.len() > 1).then(|| Box::new(link(&texts[1..])));
        Link { text: texts[0].to_owned(), source }
    }

    #[test]
    fn every_cause_is_said_once() {
        assert_eq!(chain(&link(&["cannot open a", "not found"])), "cannot open a: not found");
        assert_eq!(chain(&link(&["cannot open a: not found", "not found"])), "cannot open a: not found");
        assert_eq!(
            chain(&link(&["no model", "request failed", "host unknown"])),
            "no model: request failed: host unknown"
        );
    }

    #[test]
    fn an_error_is_one_short_line() {
        let long = "x".repeat(333_000);
        let text = chain(&link(&["first\nsecond\u{7}", &long]));
        assert!(text.starts_with("first; second : xxx") && text.ends_with("xxx"), "{text}");
        assert!(text.chars().count() < 700 && !text.contains(char::is_control));
    }

    #[test]
    fn each_fault_of_a_list_is_kept() {
        let faults: Vec<String> = (0..30).map(|i| format!("key `k{i}` is {}", "x".repeat(100))).collect();
        assert_eq!(chain(&link(&[&faults.join("; ")])), faults.join("; "));
        let text = chain(&link(&[&"fault; ".repeat(10_000)]));
        assert!(text.ends_with("fault; [...]") && text.len() < 500, "{text}");
    }

    #[test]
    fn prompts_that_take_too_much_memory_are_counted_with_the_remedy() {
        let error = IdList::new(2_000_000).push(vec![7; 500_000]).unwrap_err();
        let text = Failure::from(ExtractError::from(error)).to_string();
        assert!(
            text.starts_with("the ids of 1 prompt take more than 2 MB") && text.contains("--share"),
            "{text}"
        );
    }

    #[test]
    fn a_failure_of_a_file_names_it() {
        let error = io::Error::from(io::ErrorKind::PermissionDenied);
        let failure = Failure::io("write", Path::new("a/b.json"))(error);
        assert_eq!(failure.to_string(), "cannot write a/b.json: permission denied");
        assert_eq!(failure.status(), 1);
        assert_eq!(Failure::usage("no").status(), 2);
    }
}
