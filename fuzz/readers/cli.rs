//! The reader of chat templates.

use std::{fs, path::Path};

/// The readers, each with the name of its target and of its folder of seeds.
pub const READERS: &[(&str, fn(&[u8]))] = &[("chat_template", chat_template)];

/// A chat template, a `tokenizer_config.json` that has one, or one that lies beside a template. The first byte chooses.
pub fn chat_template(bytes: &[u8]) {
    render(bytes);
}

/// The same. Returns whether the template took too much time or memory, in which case a thread of it still runs.
pub fn render(bytes: &[u8]) -> bool {
    const TEMPLATE: &str = "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}";
    let Some((choice, bytes)) = bytes.split_first() else { return false };
    let folder = tempfile::tempdir().unwrap();
    let (template, settings) =
        (folder.path().join("chat_template.jinja"), folder.path().join("tokenizer_config.json"));
    let path: &Path = match choice % 3 {
        0 => {
            fs::write(&template, bytes).unwrap();
            &template
        }
        1 => {
            fs::write(&settings, bytes).unwrap();
            &settings
        }
        _ => {
            fs::write(&template, TEMPLATE).unwrap();
            fs::write(&settings, bytes).unwrap();
            &template
        }
    };
    let outcomes = [None, Some("Be kind.")].map(|system| inject_cli::text_before(path, system, None));
    outcomes
        .into_iter()
        .any(|outcome| outcome.is_err_and(|failure| failure.to_string().contains(" takes more than ")))
}
