//! Prompts as token ids.

use std::path::Path;

use serde_json::Value;

use super::{
    PromptError, PromptProblem, bounded,
    input::ending,
    lines::Lines,
    reader::{KEPT, MAX_FILE_BYTES},
    values,
};

/// The longest line, in bytes: that of a prompt of a million ids.
const LONGEST_LINE: usize = 16 << 20;

/// The fields of an object that can hold ids. The first that is there counts.
const FIELDS: [&str; 4] = ["ids", "token_ids", "input_ids", "prompt_token_ids"];

/// Reads a file of prompts as token ids. A line is `1,2,3`, `[1, 2, 3]` or an object such as `{"ids": [1, 2, 3]}`, whose field may
/// also be `token_ids`, `input_ids` or `prompt_token_ids`. A file with the ending `.json` holds such values, or arrays of them. Empty
/// lines and empty prompts are skipped. The file may be compressed (`.gz`).
///
/// # Errors
///
/// [`PromptError`] if the file cannot be read, a line or value is none of these, or the ids take more than [`MAX_FILE_BYTES`].
///
/// # Example
///
/// ```
/// use inject_states::prompts::read_ids;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("ids.jsonl");
/// std::fs::write(&path, "1,2,3\n[4, 5]\n{\"ids\": [6]}\n")?;
/// assert_eq!(read_ids(&path)?, [vec![1, 2, 3], vec![4, 5], vec![6]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_ids(path: impl AsRef<Path>) -> Result<Vec<Vec<u32>>, PromptError> {
    read_ids_within(path, MAX_FILE_BYTES)
}

/// As [`read_ids`], with another limit: `most` bytes for the ids, and for keeping each prompt.
///
/// # Errors
///
/// As [`read_ids`].
pub fn read_ids_within(path: impl AsRef<Path>, most: usize) -> Result<Vec<Vec<u32>>, PromptError> {
    let path = path.as_ref();
    let mut prompts = Prompts { ids: Vec::new(), bytes: 0, most };
    let read = match ending(path).0.as_str() {
        "json" => prompts.read_values(path),
        _ => prompts.read_lines(path),
    };
    read.map_err(|problem| PromptError { path: path.to_owned(), problem })?;
    Ok(prompts.ids)
}

/// The prompts read so far.
#[derive(Debug)]
struct Prompts {
    ids: Vec<Vec<u32>>,
    bytes: usize,
    /// The largest number of bytes.
    most: usize,
}

impl Prompts {
    fn read_lines(&mut self, path: &Path) -> Result<(), PromptProblem> {
        let mut lines = Lines::open(path)?;
        while let Some(line) = lines.next_line(LONGEST_LINE)? {
            let text = line.trim_ascii();
            let place = || format!("line {}", lines.number());
            if text.starts_with(['[', '{']) {
                let value =
                    bounded::value(text).map_err(|error| PromptProblem::json(lines.number(), &error))?;
                self.push_value(&value, &place)?;
            } else if !text.is_empty() {
                let ids = text.split(',').map(|id| id.trim_ascii().parse().ok()).collect();
                self.push(ids, text, &place)?;
            }
        }
        Ok(())
    }

    fn read_values(&mut self, path: &Path) -> Result<(), PromptProblem> {
        let mut count = 0;
        values::each(path, &mut |value| {
            count += 1;
            self.push_value(&value, &|| format!("value {count}"))
        })
    }

    /// Adds the ids of an array or of an object, or those of each array in an array.
    fn push_value(&mut self, value: &Value, place: &dyn Fn() -> String) -> Result<(), PromptProblem> {
        let found = match value {
            Value::Object(object) => FIELDS.iter().find_map(|&field| object.get(field)),
            other => Some(other),
        };
        match found {
            Some(Value::Array(items)) if items.iter().any(Value::is_array) => {
                items.iter().try_for_each(|item| self.push_value(item, place))
            }
            Some(Value::Array(items)) => {
                let id = |item: &Value| u32::try_from(item.as_u64()?).ok();
                self.push(items.iter().map(id).collect(), &value.to_string(), place)
            }
            _ => self.push(None, &value.to_string(), place),
        }
    }

    fn push(
        &mut self,
        ids: Option<Vec<u32>>,
        found: &str,
        place: &dyn Fn() -> String,
    ) -> Result<(), PromptProblem> {
        const SHOWN: usize = 40;
        let Some(ids) = ids else {
            let cut: String = found.chars().take(SHOWN).collect();
            let found = if cut.len() < found.len() { format!("{cut}...") } else { cut };
            return Err(PromptProblem::NotIds { place: place(), found });
        };
        if ids.is_empty() {
            return Ok(());
        }
        self.bytes += size_of_val(ids.as_slice()) + KEPT;
        if self.bytes > self.most {
            return Err(PromptProblem::TooMuchText { prompts: self.ids.len(), most: self.most });
        }
        self.ids.push(ids);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, content: &str) -> Result<Vec<Vec<u32>>, PromptProblem> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        read_ids(&path).map_err(|error| {
            assert_eq!(error.path, path);
            error.problem
        })
    }

    #[test]
    fn every_form_of_a_prompt_is_read() {
        let content = "\u{feff}1, 2,3\r\n\n[4,5]\n {\"text\": \"a\", \"ids\": [6]}\n{\"input_ids\": [[7, 8], [9]]}\n[]\n";
        for name in ["a.txt", "a.jsonl", "a"] {
            let expected: [&[u32]; 5] = [&[1, 2, 3], &[4, 5], &[6], &[7, 8], &[9]];
            assert_eq!(read(name, content).unwrap(), expected, "{name}");
        }
        let expected = [vec![1, 2], vec![3]];
        for content in ["[[1, 2], [3]]", "[{\"token_ids\": [1, 2]},\n {\"token_ids\": [3]}]", "[1, 2]\n[3]"] {
            assert_eq!(read("a.json", content).unwrap(), expected, "{content}");
        }
        assert_eq!(read("a.json", "[1, 2]").unwrap(), [vec![1, 2]]);
    }

    #[test]
    fn what_is_not_a_list_of_ids_is_named_with_its_place() {
        for line in [
            "1,x",
            "1 2",
            "-1",
            "4294967296",
            "[1, -2]",
            "[1.5]",
            "[\"a\"]",
            "{\"text\": \"a\"}",
            "{\"ids\": 1}",
        ] {
            let problem = read("a.jsonl", &format!("1,2\n{line}\n")).unwrap_err();
            let message = problem.to_string();
            assert!(matches!(problem, PromptProblem::NotIds { .. }), "{line}: {message}");
            assert!(
                message.starts_with("line 2 is `") && message.contains("expected token ids"),
                "{message}"
            );
        }
        let problem = read("a.jsonl", "1,2\n\n[1, 2\n").unwrap_err();
        assert!(matches!(problem, PromptProblem::Json { line: 3, .. }), "{problem}");
        let problem = read("a.json", "[[1], [2, null]]").unwrap_err();
        assert!(problem.to_string().starts_with("value 2 is `[2,null]`"), "{problem}");
    }

    #[test]
    fn a_line_beyond_the_limit_is_not_held() {
        let problem = read("a.txt", &"1,".repeat(LONGEST_LINE / 2 + 8)).unwrap_err();
        assert!(matches!(problem, PromptProblem::LineTooLong { line: 1, .. }), "{problem}");
    }

    #[test]
    fn the_limit_counts_the_place_of_each_prompt_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, "1,2\n3\n").unwrap();
        let enough = 3 * 4 + 2 * KEPT;
        assert_eq!(read_ids_within(&path, enough).unwrap(), [vec![1, 2], vec![3]]);
        let problem = read_ids_within(&path, enough - 1).unwrap_err().problem;
        assert!(matches!(problem, PromptProblem::TooMuchText { prompts: 1, .. }), "{problem}");
    }
}
