//! Names of shards in an index, which are otherwise right: the answers about the index agree with it.

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
        ("very long", &"a".repeat(60_000)),
        ("an escape", "%2e%2e/%2e%2e/canary"),
    ] {
        let index = serde_json::json!({ "weight_map": { "a": "one.safetensors", "b": shard } }).to_string();
        let play = move |request: &Request, reply: Reply| {
            let is_index = request.path.ends_with("/model.safetensors.index.json") && reply.status == 200;
            let reply = match is_index {
                true => {
                    let bytes = index.clone().into_bytes();
                    set_etag(reply, &format!("\"{}\"", git_blob(&bytes))).with_body(bytes)
                }
                false => reply,
            };
            Answer::Reply(reply)
        };
        parts.play(&format!("index: {name}"), Error, play);
    }
}
