//! The socket end to end: who may say what, and what a bad line gets.

use super::*;
use crate::plan::MESSAGE_BYTES_MAX;

/// Sends one line and returns the answer.
async fn ask(path: &Path, line: &str) -> Answer {
    let mut stream = UnixStream::connect(path).await.expect("the socket is open");
    stream
        .write_all(line.as_bytes())
        .await
        .expect("the server reads");
    stream.shutdown().await.expect("the stream is open");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("the server answers");
    serde_json::from_str(&answer).expect("an answer is JSON")
}

fn send_line(token: &str, text: &str) -> String {
    let verb = Verb::Send {
        to: "docs".to_owned(),
        text: text.to_owned(),
    };
    Request {
        token: token.to_owned(),
        verb,
    }
    .to_line()
}

/// Answers the next call, and returns what it asked.
async fn answer(voice: &mut Voice, answer: Result<(), String>) -> Verb {
    let call = voice.next().await;
    call.answer.send(answer).expect("the client waits");
    call.verb
}

#[tokio::test]
async fn call_reaches_the_task_of_its_token_and_the_answer_comes_back() {
    let socket = Socket::open().expect("there is room in the temporary directory");
    let (mut one, mut other) = (socket.desk().admit(), socket.desk().admit());
    let line = send_line(one.token(), "hello");

    let (said, verb) = tokio::join!(ask(socket.desk().path(), &line), answer(&mut one, Ok(())));
    assert!(said.ok && said.error.is_none());
    assert_eq!(
        verb,
        Verb::Send {
            to: "docs".to_owned(),
            text: "hello".to_owned()
        }
    );

    let refusal = Err("no task is named so".to_owned());
    let line = send_line(other.token(), "hello");
    let (said, _) = tokio::join!(
        ask(socket.desk().path(), &line),
        answer(&mut other, refusal)
    );
    assert!(!said.ok);
    assert_eq!(said.error.as_deref(), Some("no task is named so"));
}

#[tokio::test]
async fn token_is_worth_nothing_when_it_is_wrong_or_its_task_has_ended() {
    let socket = Socket::open().expect("there is room in the temporary directory");
    let voice = socket.desk().admit();
    let stale = send_line(voice.token(), "hello");
    drop(voice);

    for line in [
        stale,
        send_line("", "hello"),
        send_line(&"0".repeat(32), "hello"),
    ] {
        let said = ask(socket.desk().path(), &line).await;
        assert!(
            said.error
                .expect("it is refused")
                .contains("does not run any more")
        );
    }
}

#[tokio::test]
async fn request_that_makes_no_sense_is_refused_with_the_reason() {
    let socket = Socket::open().expect("there is room in the temporary directory");
    let voice = socket.desk().admit();
    let long = "x".repeat(MESSAGE_BYTES_MAX + 1);
    let cases = [
        ("\n".to_owned(), "not a request"),
        ("{}\n".to_owned(), "not a request"),
        (
            "{\"token\":\"\",\"verb\":\"stop\"}\n".to_owned(),
            "not a request",
        ),
        (send_line(voice.token(), &long), "too long"),
        (send_line(voice.token(), "two\nlines"), "one line"),
        ("x".repeat(REQUEST_BYTES_MAX), "a request is one line"),
        ("{".to_owned(), "a request is one line"),
    ];
    for (line, reason) in cases {
        let said = ask(socket.desk().path(), &line).await;
        let error = said.error.expect("it is refused");
        assert!(error.contains(reason), "{error}");
    }
}

#[tokio::test]
async fn silent_clients_make_others_wait_but_not_for_ever() {
    let socket = Socket::open().expect("there is room in the temporary directory");
    let mut voice = socket.desk().admit();
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        silent.push(
            UnixStream::connect(socket.desk().path())
                .await
                .expect("the socket is open"),
        );
    }
    let line = send_line(voice.token(), "hello");
    let waiting = ask(socket.desk().path(), &line);
    tokio::pin!(waiting);

    // All seats are taken; one that gets free is for the client that waits.
    drop(silent.pop());
    let (said, _) = tokio::join!(waiting, answer(&mut voice, Ok(())));
    assert!(said.ok);
}

#[tokio::test]
async fn socket_is_for_its_user_only_and_leaves_nothing() {
    let mode = |path: &Path| fs::metadata(path).expect("it exists").permissions().mode() & 0o777;
    let socket = Socket::open().expect("there is room in the temporary directory");
    let path = socket.desk().path().to_owned();
    let directory = path.parent().expect("it stands in a directory").to_owned();

    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&directory), 0o700);
    drop(socket);
    assert!(!directory.exists());
}
