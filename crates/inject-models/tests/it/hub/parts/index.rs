//! Indices that are wrong although the answers about them agree with each other: their content, or the names of shards in them.

use super::super::server::git_blob;
use super::Expected::Error;
use super::{Answer, Parts, Reply, Request, Scene, set_etag};

pub(super) fn all(scene: &Scene<'_>, parts: &mut Parts) {
    let canary = scene.canary.display().to_string();
    for (name, shard) in [
        ("an absolute path", canary.as_str()),
        ("a path upwards", "../../../../canary"),
        ("a path upwards from a folder", "sub/../../../../../canary"),
        ("two dots", ".."),
        ("a backslash", "..\\..\\canary"),
        ("empty", ""),
        ("very long", &"a".repeat(3000)),
        ("an escape", "%2e%2e/%2e%2e/canary"),
        ("a file", "config.json"),
        ("below a file", "config.json/x"),
        ("below a file that the model lacks", "vocab.json/x"),
        ("below a shard", "one.safetensors/x"),
    ] {
        let index = serde_json::json!({ "weight_map": { "a": "one.safetensors", "b": shard } }).to_string();
        parts.play(&format!("index: {name}"), Error, with_index(index));
    }
    // Both files have the same blob.
    parts.play(
        "index: the content of the config",
        Error,
        with_index(super::super::hostile::CONFIG.to_owned()),
    );
}

/// The answers about the index are those about this text.
fn with_index(index: String) -> impl Fn(&Request, Reply) -> Answer + Send + Sync + 'static {
    move |request: &Request, reply: Reply| {
        let is_index = request.path.ends_with("/model.safetensors.index.json") && reply.status == 200;
        let reply = match is_index {
            true => {
                let bytes = index.clone().into_bytes();
                set_etag(reply, &format!("\"{}\"", git_blob(&bytes))).with_body(bytes)
            }
            false => reply,
        };
        Answer::Reply(reply)
    }
}
