//! NumPy's `.npz`: a ZIP file of `.npy` files.

use std::collections::HashMap;

use super::{
    ForeignProblem,
    arrays::{Archive, Content},
    npy, zip_entries,
};

pub(super) fn read(content: Content, most_unpacked: u64) -> Result<Archive, ForeignProblem> {
    let mut contents = vec![content];
    let mut arrays = Vec::new();
    for entry in zip_entries::entries(&mut contents, most_unpacked)? {
        if let Some(name) = entry.name.strip_suffix(".npy") {
            let content = &mut contents[entry.content];
            arrays.push(npy::read_array(content, entry.content, name, entry.start, entry.length)?);
        }
    }
    Ok(Archive { contents, arrays, lists: HashMap::new(), metadata: HashMap::new() })
}
