//! A caller who gives up while a server says nothing.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    time::{Duration, Instant},
};

use inject_models::{Unit, hub::fetch};
use tempfile::TempDir;

use super::{
    SINGLE, fetch_text, options,
    server::{Answer, Body, REPO, Reply, Request, Server},
    wire::STUCK,
};

/// The reason to give up.
struct Enough;

type Spoil = fn(usize, &Request, Reply) -> Answer;

fn content(request: &Request, reply: Reply, body: Body) -> Answer {
    match request.method == "GET" {
        true => Answer::Reply(Reply { body, ..reply }),
        false => Answer::Reply(reply),
    }
}

#[test]
fn a_caller_can_give_up_while_a_server_says_nothing() {
    let silent: [(Spoil, Unit); 4] = [
        (|_, _, _| Answer::Raw(Body::Stuck(Vec::new())), Unit::Answers),
        (
            |number, _, reply| match number {
                0 => Answer::Reply(reply),
                _ => Answer::Raw(Body::Stuck(Vec::new())),
            },
            Unit::Answers,
        ),
        (|_, request, reply| content(request, reply, Body::Stuck(Vec::new())), Unit::Bytes),
        (
            |_, request, reply| {
                let reply = reply.without("Content-Length").with("Transfer-Encoding", "chunked");
                content(request, reply, Body::Stuck(b"2\r\n{}\r\n".to_vec()))
            },
            Unit::Answers,
        ),
    ];
    for (number, (spoil, unit)) in silent.into_iter().enumerate() {
        let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
        server.play(spoil);
        let patient = Duration::from_secs(24 * 60 * 60);
        let options = options(&server, &cache).with_timeouts(patient, patient).unwrap();
        let (repo, begin) = (REPO.parse().unwrap(), Instant::now());
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            fetch(&repo, &options, &mut |progress| {
                if progress.unit == unit {
                    resume_unwind(Box::new(Enough));
                }
            })
        }));
        assert!(unwound.unwrap_err().is::<Enough>(), "{number}");
        assert!(begin.elapsed() < STUCK, "{number}: {:?}", begin.elapsed());
        // No lock is left.
        server.be_honest();
        fetch_text(REPO, &options).unwrap();
    }
}
