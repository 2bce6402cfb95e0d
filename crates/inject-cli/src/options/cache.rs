//! The cache folder, where the program keeps data between commands.

use std::path::PathBuf;

/// The folder, unless the system names none. It need not exist.
pub(super) fn folder() -> Option<PathBuf> {
    of(|name| std::env::var_os(name).map(PathBuf::from))
}

fn of(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    // The XDG base directory specification: a path that is not absolute is ignored.
    let absolute = |name: &str| variable(name).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("LOCALAPPDATA"))
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(cache.join("inject"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn the_folder_is_that_of_the_system() {
        let with = |set: &[(&str, &str)]| {
            of(|name| set.iter().find(|(set, _)| *set == name).map(|(_, value)| PathBuf::from(value)))
        };
        assert_eq!(with(&[("XDG_CACHE_HOME", "/c"), ("HOME", "/h")]), Some(PathBuf::from("/c/inject")));
        assert_eq!(with(&[("XDG_CACHE_HOME", "c"), ("HOME", "/h")]), Some(PathBuf::from("/h/.cache/inject")));
        assert_eq!(with(&[]), None);
    }
}
