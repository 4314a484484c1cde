//! The shim by itself: what it says, and that nothing is left when it exits.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::proc::{Mark, poll};

/// A shim as understory would start it.
struct Shim {
    child: Child,
    control: UnixStream,
    output: BufReader<ChildStdout>,
    mark: Mark,
}

impl Shim {
    fn start(command: &[&str]) -> Self {
        let (control, theirs) = UnixStream::pair().expect("there are file descriptors left");
        let mark = Mark::new();
        let mut child = Command::new(env!("CARGO_BIN_EXE_understory"))
            .args(["__shim", "--"])
            .args(command)
            .env(Mark::NAME, mark.value())
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary is built");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Self {
            child,
            control,
            output,
            mark,
        }
    }

    fn shell(script: &str) -> Self {
        Self::start(&["sh", "-c", script])
    }

    fn order(&mut self, tag: u8, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("it is short");
        let frame = [&[tag], length.to_le_bytes().as_slice(), payload].concat();
        self.control.write_all(&frame).expect("the shim reads");
    }

    fn report(&mut self) -> (char, Vec<u8>) {
        let mut head = [0; 5];
        self.control
            .read_exact(&mut head)
            .expect("the shim reports");
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
        let mut payload = vec![0; usize::try_from(length).expect("it is short")];
        self.control
            .read_exact(&mut payload)
            .expect("the shim reports");
        (char::from(head[0]), payload)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output
            .read_line(&mut line)
            .expect("the command writes text");
        line.trim_end().to_owned()
    }

    /// Waits until the grandchildren are there, and those orphaned whose parents are to end.
    fn wait_for_orphans(&mut self) {
        assert_eq!(self.line(), "up");
        self.mark.wait_until_left(GRANDCHILDREN_AND_ALL);
    }

    /// Waits for the shim, and checks that nothing is left at that very moment.
    fn exit_code(&mut self) -> Option<i32> {
        let status = self.child.wait().expect("it was not waited for before");
        assert_eq!(self.mark.survivors(), Vec::<String>::new());
        status.code()
    }

    /// Waits for the end of the command as reported, and then for the shim.
    fn end(mut self) -> (char, i32) {
        loop {
            let (tag, payload) = self.report();
            if let 'E' | 'K' = tag {
                let number = payload
                    .try_into()
                    .map(i32::from_le_bytes)
                    .expect("four bytes");
                let expected = if tag == 'E' { number } else { 128 + number };
                assert_eq!(self.exit_code(), Some(expected));
                return (tag, number);
            }
        }
    }
}

/// Grandchildren in the group, in a session of their own, and orphaned twice; it tells when all are
/// there.
const GRANDCHILDREN: &str = "sleep 1000 & setsid sleep 1000 & \
                             (setsid sh -c 'sleep 1000 & sleep 1000 & echo up; exit' &);";
/// The shim, the shell and the four above.
const GRANDCHILDREN_AND_ALL: usize = 6;

#[test]
fn end_of_the_command_is_told_and_mirrored() {
    assert_eq!(Shim::shell("exit 0").end(), ('E', 0));
    assert_eq!(Shim::shell("exit 7").end(), ('E', 7));
    assert_eq!(Shim::shell("kill -9 $$").end(), ('K', 9));
}

#[test]
fn command_that_cannot_start_is_told() {
    let mut shim = Shim::start(&["/no/such/program"]);

    let (tag, reason) = shim.report();
    assert_eq!(tag, 'N');
    assert!(String::from_utf8_lossy(&reason).contains("No such file"));
    assert_eq!(shim.exit_code(), Some(127));
}

#[test]
fn nothing_outlives_the_command() {
    let mut shim = Shim::shell(&format!("{GRANDCHILDREN} read line; exit 3"));
    shim.wait_for_orphans();

    shim.order(b'I', b"go\n");
    assert_eq!(shim.end(), ('E', 3));
}

#[test]
fn nothing_escapes_by_forking_and_exiting_all_the_time() {
    // Each leaves its group, starts the next and ends.
    let script =
        "hop='setsid sh -c \"$hop\" & exit'; export hop; (setsid sh -c \"$hop\" &); echo hops";
    let mut shim = Shim::shell(&format!("{script}; read line"));
    assert_eq!(shim.line(), "hops");

    shim.order(b'C', &[]);
    assert_eq!(shim.end().0, 'E');
}

#[test]
fn end_of_the_control_stream_kills_everything() {
    let mut shim = Shim::shell(&format!(
        "trap '' TERM HUP INT; {GRANDCHILDREN} exec sleep 1000"
    ));
    shim.wait_for_orphans();

    shim.control
        .shutdown(std::net::Shutdown::Both)
        .expect("it is open");
    assert_eq!(shim.exit_code(), Some(128 + 9));
}

#[test]
fn terminate_reaches_the_group_and_waits_for_all_of_it() {
    // The shell dies of the signal at once; what it started wants to say goodbye first.
    let child = "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done";
    let mut shim = Shim::shell(&format!("sh -c \"{child}\" & wait"));
    assert_eq!(shim.line(), "ready");

    shim.order(b'T', &[]);
    assert_eq!(shim.line(), "bye");
    assert_eq!(shim.end(), ('K', 15));
}

#[test]
fn terminate_asked_of_the_shim_itself_is_handed_on() {
    let mut shim = Shim::shell("trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done");
    assert_eq!(shim.line(), "ready");

    let pid = rustix::process::Pid::from_child(&shim.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    assert_eq!(shim.end(), ('E', 5));
}

#[test]
fn input_that_nobody_reads_does_not_hold_a_stop_back() {
    let mut shim = Shim::start(&["sleep", "1000"]);
    for _ in 0..8 {
        shim.order(b'I', &vec![b'x'; 32 << 10]);
    }
    shim.order(b'T', &[]);
    assert_eq!(shim.end(), ('K', 15));
}

#[test]
fn input_beyond_the_window_ends_the_command() {
    let mut shim = Shim::start(&["sleep", "1000"]);
    // The pipe takes some, the window the rest, and the shim keeps no more than that.
    for _ in 0..64 {
        let frame = [
            b"I",
            32_768_u32.to_le_bytes().as_slice(),
            &vec![b'x'; 32 << 10],
        ]
        .concat();
        if shim.control.write_all(&frame).is_err() {
            break;
        }
    }
    assert_eq!(shim.exit_code(), Some(128 + 9));
}

#[test]
fn input_arrives_in_order_and_ends() {
    let mut shim = Shim::start(&["cat"]);
    let text = (0..1_000)
        .map(|number| number.to_string())
        .collect::<Vec<_>>()
        .join("\n");

    shim.order(b'I', text.as_bytes());
    shim.order(b'C', &[]);
    let mut output = String::new();
    shim.output
        .read_to_string(&mut output)
        .expect("cat copies text");
    assert_eq!(output, text);
    assert_eq!(shim.end(), ('E', 0));
}

#[test]
fn input_that_is_not_wanted_is_told() {
    let mut shim = Shim::shell("exec <&-; echo closed; exec sleep 1000");
    assert_eq!(shim.line(), "closed");

    shim.order(b'I', b"hello\n");
    assert_eq!(shim.report().0, 'G');
    shim.order(b'T', &[]);
    assert_eq!(shim.end(), ('K', 15));
}

#[test]
fn orphans_that_end_meanwhile_are_reaped() {
    let script = "for i in 1 2 3 4 5 6 7 8; do (true & ) ; done; echo done; read line";
    let mut shim = Shim::shell(script);
    assert_eq!(shim.line(), "done");

    let children = format!("/proc/{0}/task/{0}/children", shim.child.id());
    let count = || std::fs::read_to_string(&children).map_or(0, |list| list.split(' ').count());
    // Nobody but their parent hears of it.
    poll("the orphans to be reaped", || count() == 2);
    shim.order(b'C', &[]);
    assert_eq!(shim.end().0, 'E');
}
