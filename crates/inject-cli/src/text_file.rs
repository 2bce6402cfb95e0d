//! Text files that the user names.

use std::{io::Read, path::Path};

use inject_sipit::states::durable;

use crate::outcome::Failure;

/// Reads an ordinary file of at most `most` bytes.
///
/// # Errors
///
/// [`Failure`] for a longer file, one that is not UTF-8, a folder, a device or a pipe, and if it cannot be read.
pub(crate) fn read(path: &Path, most: u64) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = durable::open_ordinary(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
    read.map_err(Failure::io("read", path))?;
    if bytes.len() as u64 > most {
        return Err(Failure::new(format!("{} has more than {most} bytes", path.display())));
    }
    String::from_utf8(bytes).map_err(|_| Failure::new(format!("{} is not UTF-8", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_up_to_the_limit_is_read_and_nothing_longer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(read(&path, 3).unwrap(), "abc");
        assert!(read(&path, 2).unwrap_err().to_string().ends_with("a.txt has more than 2 bytes"));
        std::fs::write(&path, b"\xff").unwrap();
        assert!(read(&path, 3).unwrap_err().to_string().ends_with("a.txt is not UTF-8"));
        assert!(read(folder.path(), 3).unwrap_err().to_string().contains("expected an ordinary file"));
    }

    #[cfg(unix)]
    #[test]
    fn a_device_without_end_is_refused() {
        assert!(
            read(Path::new("/dev/zero"), 3).unwrap_err().to_string().contains("expected an ordinary file")
        );
    }
}
