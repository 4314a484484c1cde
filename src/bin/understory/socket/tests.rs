//! The socket end to end: who may say what, and what a bad line gets.

use rustix::process::getpid;
use serde_json::{Value, json};

use super::*;
use crate::plan::MESSAGE_BYTES_MAX;

/// Requests of one caller that wait for nobody.
const CALLS_OF_ONE: usize = desk::CALLS_MAX + desk::RESERVE;

fn open() -> Socket {
    Socket::open().expect("there is room in the temporary directory")
}

/// The right to speak for a task that this very process belongs to.
fn voice(socket: &Socket) -> Voice {
    let voice = socket.desk().admit();
    voice.comes_from(Some(getpid()));
    voice
}

async fn connect(path: &Path) -> UnixStream {
    UnixStream::connect(path).await.expect("the socket is open")
}

/// Sends one line and returns all that is said until the run hangs up.
async fn ask_all(path: &Path, line: &str) -> Vec<Said> {
    let mut stream = connect(path).await;
    stream
        .write_all(line.as_bytes())
        .await
        .expect("the server reads");
    if !line.ends_with('\n') {
        stream.shutdown().await.expect("the stream is open");
    }
    let mut answers = String::new();
    stream
        .read_to_string(&mut answers)
        .await
        .expect("the server answers");
    let answers = answers.lines().map(Answer::parse);
    answers.map(|said| said.expect("it is an answer")).collect()
}

/// Sends one line and returns the last word.
async fn ask(path: &Path, line: &str) -> Said {
    ask_all(path, line).await.pop().expect("it is answered")
}

fn send_line(token: &str, text: &str) -> String {
    let verb = Verb::Send {
        to: "docs".to_owned(),
        text: text.to_owned(),
    };
    Request::new(Some(token.to_owned()), verb).to_line()
}

/// Answers the next call, and returns what it asked.
async fn answer(voice: &mut Voice, answer: Result<Value, String>) -> Verb {
    let call = voice.next().await;
    call.reply.end(answer).await;
    call.verb
}

#[track_caller]
fn refused(said: Said) -> String {
    match said {
        Said::Refused(reason) => reason,
        Said::Item(_) | Said::Done(_) => panic!("it was not refused: {said:?}"),
    }
}

#[tokio::test]
async fn call_reaches_the_task_of_its_token_and_the_answer_comes_back() {
    let socket = open();
    let (mut one, mut other) = (voice(&socket), voice(&socket));
    let path = socket.desk().path();
    let line = send_line(one.token(), "hello");

    let (said, verb) = tokio::join!(ask(path, &line), answer(&mut one, Ok(json!(7))));
    assert_eq!(said, Said::Done(json!(7)));
    assert_eq!(
        verb,
        Verb::Send {
            to: "docs".to_owned(),
            text: "hello".to_owned()
        }
    );

    let refusal = Err("no task is named so".to_owned());
    let line = send_line(other.token(), "hello");
    let (said, _) = tokio::join!(ask(path, &line), answer(&mut other, refusal));
    assert_eq!(refused(said), "no task is named so");
}

#[tokio::test]
async fn items_come_before_the_end_and_a_call_that_is_dropped_is_told() {
    let socket = open();
    let mut voice = voice(&socket);
    let line = send_line(voice.token(), "hello");
    let serve = async {
        let call = voice.next().await;
        for number in 0..100 {
            let told = call.reply.item(json!(number)).await;
            told.expect("the client listens");
        }
    };
    let (said, ()) = tokio::join!(ask_all(socket.desk().path(), &line), serve);

    let numbers = (0..100).map(|number| Said::Item(json!(number)));
    assert_eq!(said[..100], numbers.collect::<Vec<_>>());
    assert!(refused(said[100].clone()).contains("does not run any more"));
}

#[tokio::test]
async fn token_is_worth_nothing_when_it_is_wrong_or_its_task_has_ended() {
    let socket = open();
    let voice = voice(&socket);
    let stale = send_line(voice.token(), "hello");
    drop(voice);

    for line in [
        stale,
        send_line("", "hello"),
        send_line(&"0".repeat(32), "hello"),
    ] {
        let said = ask(socket.desk().path(), &line).await;
        assert!(refused(said).contains("does not run any more"));
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn token_is_worth_nothing_to_a_process_of_another_task() {
    let socket = open();
    let voice = socket.desk().admit();
    let other = std::process::Command::new("cat")
        .stdin(std::process::Stdio::piped())
        .spawn();
    let mut other = other.expect("cat is everywhere");
    voice.comes_from(Some(rustix::process::Pid::from_child(&other)));

    let line = send_line(voice.token(), "hello");
    let said = ask(socket.desk().path(), &line).await;
    assert!(refused(said).contains("does not belong to the task"));
    drop(other.stdin.take());
    other.wait().expect("it was not waited for");
}

#[tokio::test]
async fn process_of_the_run_without_a_token_is_not_its_user() {
    let socket = open();
    let _user = socket.desk().admit_user(None);
    let target = "lead".to_owned();
    let line = Request::new(None, Verb::Show { target }).to_line();

    let said = refused(ask(socket.desk().path(), &line).await);
    assert!(said.contains("no token"), "{said}");
}

#[tokio::test]
async fn request_that_makes_no_sense_is_refused_with_the_reason() {
    let socket = open();
    let voice = voice(&socket);
    let long = "x".repeat(MESSAGE_BYTES_MAX + 1);
    let cases = [
        ("\n".to_owned(), "not a request"),
        ("{}\n".to_owned(), "version null"),
        (
            "{\"token\":\"\",\"verb\":\"progress\",\"text\":\"\"}\n".to_owned(),
            "version null",
        ),
        ("{\"v\":2,\"ask\":{}}\n".to_owned(), "version 2"),
        (
            "{\"v\":1,\"ask\":{\"verb\":\"stop\"}}\n".to_owned(),
            "not a request",
        ),
        (
            "{\"v\":1,\"ask\":{\"verb\":\"show\",\"target\":\"a\",\"force\":true}}\n".to_owned(),
            "unknown field `force`",
        ),
        (send_line(voice.token(), &long), "too long"),
        (send_line(voice.token(), "two\nlines"), "one line"),
        ("x".repeat(REQUEST_BYTES_MAX), "a request is one line"),
        ("{".to_owned(), "a request is one line"),
    ];
    for (line, reason) in cases {
        let error = refused(ask(socket.desk().path(), &line).await);
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn answer_that_is_too_long_is_refused_instead() {
    let long = Value::from("x".repeat(protocol::ANSWER_BYTES_MAX));
    let line = Answer::line(Said::Done(long));
    let said = Answer::parse(&line).expect("it is an answer");
    assert!(refused(said).contains("the answer would have more"));
}

#[tokio::test]
async fn client_that_speaks_is_heard_at_once_however_many_are_silent() {
    let socket = open();
    let mut voice = voice(&socket);
    let mut silent = Vec::new();
    for _ in 0..seats::SEATS_MAX {
        silent.push(connect(socket.desk().path()).await);
    }
    let line = send_line(voice.token(), "hello");
    let waiting = ask(socket.desk().path(), &line);
    let (said, _) = tokio::join!(waiting, answer(&mut voice, Ok(Value::Null)));
    assert_eq!(said, Said::Done(Value::Null));

    // The first of them had to go.
    let mut end = Vec::new();
    let read = silent[0].read_to_end(&mut end).await;
    assert_eq!(read.expect("it was closed"), 0);
}

#[tokio::test]
async fn requests_of_one_caller_are_bounded_and_those_of_others_go_on() {
    let socket = open();
    let (mut greedy, mut modest) = (voice(&socket), voice(&socket));
    let path = socket.desk().path();
    let (mut clients, mut calls) = (Vec::new(), Vec::new());
    for _ in 0..CALLS_OF_ONE {
        let mut client = connect(path).await;
        let line = send_line(greedy.token(), "hello");
        let written = client.write_all(line.as_bytes()).await;
        written.expect("the server reads");
        calls.push(greedy.next().await);
        clients.push(client);
    }

    let line = send_line(greedy.token(), "one more");
    assert!(refused(ask(path, &line).await).contains("32 requests of this caller"));
    let line = send_line(modest.token(), "hello");
    let (said, _) = tokio::join!(ask(path, &line), answer(&mut modest, Ok(Value::Null)));
    assert_eq!(said, Said::Done(Value::Null));

    // A client that hangs up is heard, and its place is free when its request is over.
    drop(clients.pop());
    let last = calls.pop().expect("they are under way");
    last.reply.caller_gone().await;
    let line = send_line(greedy.token(), "too early");
    assert!(refused(ask(path, &line).await).contains("32 requests of this caller"));
    drop(last);
    let line = send_line(greedy.token(), "again");
    let (said, _) = tokio::join!(ask(path, &line), answer(&mut greedy, Ok(Value::Null)));
    assert_eq!(said, Said::Done(Value::Null));
}

#[tokio::test]
async fn socket_is_for_its_user_only_and_leaves_nothing() {
    let mode = |path: &Path| fs::metadata(path).expect("it exists").permissions().mode() & 0o777;
    let socket = open();
    let path = socket.desk().path().to_owned();
    let directory = path.parent().expect("it stands in a directory").to_owned();

    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&directory), 0o700);
    drop(socket);
    assert!(!directory.exists());
}
