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
    let dir = tempfile::tempdir().unwrap();
    let template = dir.path().join("template.jinja");
    std::fs::write(
        &template,
        "{% for m in messages %}{{ m.role }}: {{ m.content }}{% if not loop.last %} {% endif %}{% endfor %}",
    )
    .unwrap();
    let before = encode("system: Be kind. user: ");
    let whole = encode("system: Be kind. user: Once upon a time");
    let shared = whole.iter().zip(&before).take_while(|(a, b)| a == b).count();
    // The space at the end of the template is a part of the first word.
    assert!(shared < before.len(), "{shared}");
    // A server that kept the tokens of the template, whatever follows them.
    let apart = [&before[..], &encode("Once upon a time")].concat();
    for (name, ids, from) in
        [("whole.npy", &whole, 0), ("own.npy", &whole, shared), ("apart.npy", &apart, before.len())]
    {
        let states = TargetStates::of_prompt(&model.decoder, Tap::Block(2), ids).unwrap();
        let states = states.states().mapv(|value| value as f32);
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
        match from {
            0 => assert!((1..=shared).contains(&given), "{given} of {shared}"),
            _ => assert_eq!(given, from, "{name}"),
        }
        let said = format!("taken as given: {given} of {} tokens of the template", before.len());
        assert_eq!(ran.err.contains(&said), given < before.len(), "{name}: {}", ran.err);
    }
    // The same text as a prefix.
    let own = dir.path().join("own.npy");
    for tap in ["block-2", "auto"] {
        let arguments = ["invert", "--states", own.to_str().unwrap(), "--tap", tap];
        let ran = run_with(&fixtures(), &[&arguments[..], &["--prefix", "system: Be kind. user: "]].concat());
        assert_eq!(ran.status, 0, "{tap}: {}{}", ran.out, ran.err);
        assert!(ran.out.contains("Once upon a time"), "{}", ran.out);
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

#[test]
fn a_json_file_is_never_rendered_as_a_template() {
    let dir = tempfile::tempdir().unwrap();
    let states = fixtures().join("any-name.safetensors");
    let model = model();
    for (json, words) in [
        (
            r#"{"chat_template": [{"name": "rag", "template": "x"}]}"#,
            "none of the templates rag is named \"default\"",
        ),
        (r#"{"chat_template": null}"#, "chat_template is null"),
        (r#"{"bos_token": "<s>"}"#, "no field chat_template"),
        ("[]", "no field chat_template"),
        ("{{ messages[0].content }}", "expected JSON"),
    ] {
        std::fs::write(dir.path().join("tokenizer_config.json"), json).unwrap();
        let mut arguments = vec!["invert", "--model", model.to_str().unwrap()];
        arguments.extend(["--states", states.to_str().unwrap(), "--tap", "block-2"]);
        arguments.extend(["--chat-template", "tokenizer_config.json"]);
        refused(dir.path(), &arguments, 1, &["tokenizer_config.json", words]);
    }
}
