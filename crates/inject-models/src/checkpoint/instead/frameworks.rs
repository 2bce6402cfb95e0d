//! Weights for TensorFlow, Flax, ONNX and OpenVINO.

use std::path::Path;

use super::names;

/// The folders in which exports put their files, and the folder itself.
const PLACES: [&str; 3] = ["", "onnx/", "openvino/"];

/// Returns the path within a folder of a file with weights for another framework.
pub(super) fn find(folder: &Path) -> Option<String> {
    PLACES.iter().find_map(|place| {
        let names = names(&folder.join(place));
        let ends = |name: &String| [".h5", ".msgpack", ".onnx"].iter().any(|end| name.ends_with(end));
        let file = names.iter().find(|name| ends(name) || is_openvino(name, &names))?;
        Some(format!("{place}{file}"))
    })
}

/// Whether a file holds the numbers of a model of OpenVINO, whose description lies beside it.
pub(super) fn is_openvino(name: &str, names: &[String]) -> bool {
    name.strip_suffix(".bin").is_some_and(|stem| names.contains(&format!("{stem}.xml")))
}
