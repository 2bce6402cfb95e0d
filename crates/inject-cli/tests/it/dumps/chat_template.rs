//! Prompts in a chat template.

use super::*;

#[test]
fn the_tokens_of_a_chat_template_are_taken_as_given() {
    use inject_sipit::{
        TargetStates,
        models::{Bos, FloatFormat, Model, Origin, Tap},
        ndarray::s,
        states::foreign::write_npy,
    };

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("model");
    let model =
        Model::load(Origin::of_folder(&folder), FloatFormat::F32, &inject_testing::compiled().swap_remove(0))
            .unwrap();
    let encode = |text: &str| model.tokenizer().unwrap().encode(text, Bos::No).unwrap();
    let (before, own) = (encode("system: Be kind. user: "), encode("Once upon a time"));
    let ids = [&before[..], &own].concat();
    let states = TargetStates::of_prompt(&model.decoder, Tap::Block(2), &ids).unwrap();
    let states = states.states().mapv(|value| value as f32);
    let dir = tempfile::tempdir().unwrap();
    let template = dir.path().join("template.jinja");
    std::fs::write(
        &template,
        "{% for m in messages %}{{ m.role }}: {{ m.content }}{% if not loop.last %} {% endif %}{% endfor %}",
    )
    .unwrap();
    for (name, from) in [("whole.npy", 0), ("own.npy", before.len())] {
        let path = dir.path().join(name);
        write_npy(&path, states.slice(s![from.., ..])).unwrap();
        let mut arguments =
            vec!["invert", "--model", folder.to_str().unwrap(), "--states", path.to_str().unwrap()];
        arguments.extend(["--tap", "block-2", "--system", "Be kind.", "--json"]);
        arguments.extend(["--chat-template", template.to_str().unwrap()]);
        let ran = run_with(&fixtures(), &arguments).with_status(0);
        let json: Value = serde_json::from_str(&ran.out).unwrap();
        let recovered = &json["recovered"];
        assert_eq!(recovered["token_ids"], Value::from(&ids[..]), "{name}");
        let positions = recovered["positions"].as_array().unwrap();
        let given = positions.iter().filter(|row| row["verdict"] == "given").count();
        assert_eq!((given, positions.len()), (before.len(), ids.len()), "{name}");
    }
    let (states, template) = (dir.path().join("own.npy"), template.to_str().unwrap());
    let hostile = [
        ("{% set a = 'a' * 1000000 %}{{ a.replace('a', a) }}".to_owned(), "bytes of memory"),
        (
            "{% set n = namespace(a=[]) %}{% for i in range(60) %}{% set n.a = [n.a, n.a] %}{% endfor %}{{ n.a }}"
                .to_owned(),
            "takes more than",
        ),
        (format!("{{{{ a{} }}}}", "|upper".repeat(100_000)), "the template has 600007 bytes, expected at most 65536"),
    ];
    // Other systems do not report how much memory a process takes.
    let first = if cfg!(target_os = "linux") { 0 } else { 2 };
    for (text, words) in hostile.into_iter().skip(first) {
        std::fs::write(template, text).unwrap();
        let arguments =
            ["invert", "--states", states.to_str().unwrap(), "--tap", "block-2", "--chat-template", template];
        refused(&fixtures(), &arguments, 1, &["template.jinja", words]);
    }
}
