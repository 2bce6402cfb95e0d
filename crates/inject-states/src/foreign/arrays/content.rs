//! The bytes that arrays lie in: a file, or memory.

use std::{
    fs::File,
    io::{self, Cursor, Read, Seek, SeekFrom},
};

/// Bytes that can be read from any place.
#[derive(Debug)]
pub(in crate::foreign) enum Content {
    File(File),
    Memory(Cursor<Vec<u8>>),
}

impl Content {
    pub(in crate::foreign) fn memory(bytes: Vec<u8>) -> Self {
        Content::Memory(Cursor::new(bytes))
    }

    pub(in crate::foreign) fn length(&self) -> io::Result<u64> {
        match self {
            Content::File(file) => Ok(file.metadata()?.len()),
            Content::Memory(bytes) => Ok(bytes.get_ref().len() as u64),
        }
    }
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Content::File(file) => file.read(buffer),
            Content::Memory(bytes) => bytes.read(buffer),
        }
    }
}

impl Seek for Content {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Content::File(file) => file.seek(to),
            Content::Memory(bytes) => bytes.seek(to),
        }
    }
}
