//! The prompts of a file, or of a pipe whose writer may keep the program waiting.

use std::{
    collections::BTreeSet,
    fs, panic,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, sync_channel},
    },
    thread::{self, JoinHandle},
};

use clap::Args;
use inject_sipit::states::prompts::{IdList, IdPrompts, MAX_FILE_BYTES, PromptError, Prompts};

use crate::{interrupt, number, outcome::Failure, output::note};

/// The texts of a file of prompts.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Prompts")]
pub(crate) struct TextOptions {
    /// The field or column of the prompts. Dots name nested fields: messages.0.content. A conversation is read as its texts [default: text]
    #[arg(long, value_name = "NAME")]
    field: Option<String>,
    /// The most bytes of a prompt in the file. A longer one is an error
    #[arg(long, value_name = "BYTES", default_value_t = Prompts::DEFAULT_MAX_BYTES)]
    max_prompt_bytes: usize,
}

/// Prompts of a pipe that may be read before they are asked for.
const AHEAD: usize = 16;

/// Prompts that are read one by one.
pub(crate) trait ReadPrompts: Iterator {
    /// The number of empty prompts so far.
    fn left_out(&self) -> usize;
}

impl ReadPrompts for Prompts {
    fn left_out(&self) -> usize {
        Prompts::left_out(self)
    }
}

impl ReadPrompts for IdPrompts {
    fn left_out(&self) -> usize {
        IdPrompts::left_out(self)
    }
}

/// The prompts of a file. Says how many empty ones were left out when it is dropped.
pub(crate) struct FilePrompts<P: ReadPrompts> {
    path: PathBuf,
    source: Source<P>,
    left_out: usize,
}

/// The thread that reads the prompts.
enum Source<P: ReadPrompts> {
    /// The one that asks for them.
    This(P),
    /// Another one, so that a signal ends the program while nothing comes.
    Other(Reader<P>),
}

/// A thread that reads prompts, and sends each with the number of those left out so far.
struct Reader<P: ReadPrompts> {
    prompts: Receiver<(Option<P::Item>, usize)>,
    thread: Option<JoinHandle<()>>,
}

impl<P: ReadPrompts> Iterator for FilePrompts<P> {
    type Item = P::Item;

    fn next(&mut self) -> Option<P::Item> {
        match &mut self.source {
            Source::This(prompts) => {
                interrupt::check();
                let prompt = prompts.next();
                self.left_out = prompts.left_out();
                prompt
            }
            Source::Other(reader) => match interrupt::receive(&reader.prompts) {
                Some((prompt, left_out)) => {
                    self.left_out = left_out;
                    prompt
                }
                None => {
                    ended(reader.thread.take());
                    None
                }
            },
        }
    }
}

impl<P: ReadPrompts> Drop for FilePrompts<P> {
    fn drop(&mut self) {
        /// The files of which it was said. Some are read more than once.
        static TOLD: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
        if self.left_out > 0 && TOLD.lock().unwrap_or_else(PoisonError::into_inner).insert(self.path.clone())
        {
            let empty = number::counted(self.left_out, "empty prompt");
            note(&format!("left out {empty} of {}", self.path.display()));
        }
    }
}

impl TextOptions {
    /// The field `text`, and the usual limit.
    pub(crate) const DEFAULT: TextOptions =
        TextOptions { field: None, max_prompt_bytes: Prompts::DEFAULT_MAX_BYTES };

    /// Opens a file of prompts.
    pub(crate) fn open(&self, path: &Path) -> Result<FilePrompts<Prompts>, PromptError> {
        let (file, TextOptions { field, max_prompt_bytes }) = (path.to_owned(), self.clone());
        open(path, move || {
            let prompts = match &field {
                Some(field) => Prompts::open_field(&file, field),
                None => Prompts::open(&file),
            };
            Ok(prompts?.with_max_bytes(max_prompt_bytes))
        })
    }
}

/// Opens a file of prompts as token ids.
pub(crate) fn open_ids(path: &Path) -> Result<FilePrompts<IdPrompts>, PromptError> {
    let file = path.to_owned();
    open(path, move || IdPrompts::open(&file))
}

/// Reads all prompts of a file of token ids.
pub(crate) fn read_ids(path: &Path) -> Result<Vec<Vec<u32>>, Failure> {
    let mut list = IdList::new(MAX_FILE_BYTES);
    for ids in open_ids(path)? {
        list.push(ids?).map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
    }
    Ok(list.into_ids())
}

/// Opens a file here, and anything else in another thread, if the system allows one.
fn open<P>(
    path: &Path,
    open: impl Fn() -> Result<P, PromptError> + Send + Sync + 'static,
) -> Result<FilePrompts<P>, PromptError>
where
    P: ReadPrompts + 'static,
    P::Item: Send,
{
    let with = |source| FilePrompts { path: path.to_owned(), source, left_out: 0 };
    if fs::metadata(path).is_ok_and(|about| about.is_file()) {
        return open().map(|prompts| with(Source::This(prompts)));
    }
    let (open, (opened, outcome), (send, prompts)) = (Arc::new(open), sync_channel(1), sync_channel(AHEAD));
    let theirs = Arc::clone(&open);
    let thread = thread::Builder::new().spawn(move || {
        let read = theirs().map(|mut prompts| {
            // Nobody waits any more where a message cannot be sent.
            let _ = opened.send(Ok(()));
            loop {
                let prompt = prompts.next();
                let is_last = prompt.is_none();
                if send.send((prompt, prompts.left_out())).is_err() || is_last {
                    break;
                }
            }
        });
        if let Err(error) = read {
            let _ = opened.send(Err(error));
        }
    });
    match thread {
        Err(_) => open().map(|prompts| with(Source::This(prompts))),
        Ok(thread) => match interrupt::receive(&outcome) {
            Some(opened) => opened.map(|()| with(Source::Other(Reader { prompts, thread: Some(thread) }))),
            None => {
                ended(Some(thread));
                unreachable!("a thread that opens a file says so or panics")
            }
        },
    }
}

/// Passes on the panic of a thread that has ended.
fn ended(thread: Option<JoinHandle<()>>) {
    if let Some(Err(payload)) = thread.map(JoinHandle::join) {
        panic::resume_unwind(payload);
    }
}
