//! The verbs for the tasks of a run: their arguments and their help.
//!
//! *Not here*: asking the run (`crate::verbs`).

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use understory::{Kind, Name, State};

use crate::plan::{RETRIES_MAX, parse_duration};

/// Which run is meant.
#[derive(Debug, Args)]
pub(crate) struct RunChoice {
    /// The run, by its socket or its number; without it the one that this process belongs to,
    /// else the only one of this user
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<String>,
}

/// Where to look: a run that goes on, or the records of one.
#[derive(Debug, Args)]
pub(crate) struct Source {
    #[command(flatten)]
    pub(crate) choice: RunChoice,
    /// Read the records in this file instead of asking a run; without both, and when no run goes
    /// on, those of the newest run
    #[arg(long, value_name = "FILE", conflicts_with = "run")]
    pub(crate) db: Option<PathBuf>,
}

/// Which tasks are meant.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Only tasks in this state; may be given several times
    #[arg(long = "state", value_name = "STATE", value_parser = state)]
    pub(crate) states: Vec<String>,
    /// Only tasks of this kind
    #[arg(long, value_name = "KIND", value_parser = kind)]
    pub(crate) kind: Option<String>,
    /// Only tasks with this label; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub(crate) labels: Vec<(String, String)>,
    /// Print a line of JSON for each task
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) source: Source,
}

#[derive(Debug, Args)]
#[command(after_help = SPAWN_HELP)]
pub(crate) struct Spawn {
    /// Its name, of which the run has one at a time; without it, only its id names it
    #[arg(long, value_parser = name)]
    pub(crate) name: Option<String>,
    /// What sort of work it is
    #[arg(long, value_parser = kind)]
    pub(crate) kind: Option<String>,
    /// A label; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub(crate) labels: Vec<(String, String)>,
    /// A limit class of the plan that it counts for; may be given several times
    #[arg(long = "limit", value_name = "CLASS")]
    pub(crate) limits: Vec<String>,
    /// Time of one attempt
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// How often it is started again after a failure
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = retries)]
    pub(crate) retry: u32,
    /// A task that must have completed before; may be given several times
    #[arg(long, value_name = "TARGET")]
    pub(crate) after: Vec<String>,
    /// The task it hangs below, instead of the one that this process belongs to
    #[arg(long, value_name = "TARGET")]
    pub(crate) parent: Option<String>,
    /// What becomes of it when its parent ends; by default the parent waits for it after success
    /// and cancels it otherwise
    #[arg(long, value_name = "POLICY")]
    pub(crate) on_parent_end: Option<ParentEnd>,
    /// Keep its standard input open for messages; by default it is empty
    #[arg(long)]
    pub(crate) inbox: bool,
    /// Print its output as it comes, and exit with its code
    #[arg(long)]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) choice: RunChoice,
    /// The program and its arguments
    #[arg(required = true, last = true)]
    pub(crate) command: Vec<std::ffi::OsString>,
}

/// What becomes of a task when its parent ends.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ParentEnd {
    Wait,
    Cancel,
    Detach,
}

#[derive(Debug, Args)]
#[command(after_help = SHOW_HELP)]
pub(crate) struct Show {
    /// The task: its name, a path such as `lead/docs`, its id, or `self`
    pub(crate) target: String,
    /// Print the record as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) source: Source,
}

#[derive(Debug, Args)]
#[command(after_help = CANCEL_HELP)]
pub(crate) struct Cancel {
    /// The task: its name, a path such as `lead/docs`, its id, or `self`
    pub(crate) target: String,
    /// Only this task; what is below it is treated as its `on_parent_end` says
    #[arg(long)]
    pub(crate) one: bool,
    /// Why, for the records
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Time between SIGTERM and SIGKILL, if that is less than the tasks' own
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) grace: Option<Duration>,
    #[command(flatten)]
    pub(crate) choice: RunChoice,
}

#[derive(Debug, Args)]
#[command(after_help = WAIT_HELP)]
pub(crate) struct Wait {
    /// The tasks: names, paths such as `lead/docs`, or ids
    #[arg(required = true, value_name = "TARGET")]
    pub(crate) targets: Vec<String>,
    /// One of them is enough
    #[arg(long)]
    pub(crate) any: bool,
    /// A task that is suspended or has asked something counts, too, so that somebody can help it
    #[arg(long)]
    pub(crate) or_stuck: bool,
    /// How long to wait
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Print the records as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) choice: RunChoice,
}

#[derive(Debug, Args)]
#[command(after_help = EVENTS_HELP)]
pub(crate) struct Events {
    /// Begin after this number; without it with the oldest that is kept, or with the next one if
    /// they are followed
    #[arg(long, value_name = "SEQ", value_parser = seq)]
    pub(crate) since: Option<u64>,
    /// Go on with what happens, to the end of the run
    #[arg(long, conflicts_with = "db")]
    pub(crate) follow: bool,
    /// Print each event as a line of JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) source: Source,
}

fn name(text: &str) -> Result<String, String> {
    let name = Name::new(text).map_err(|error| error.to_string())?;
    Ok(name.to_string())
}

fn kind(text: &str) -> Result<String, String> {
    let kind = Kind::new(text).map_err(|error| error.to_string())?;
    Ok(kind.to_string())
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .filter(|(key, _)| Name::new(key).is_ok())
        .ok_or("write KEY=VALUE, the key of A-Z a-z 0-9 . _ -")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn retries(text: &str) -> Result<u32, String> {
    let count = text.parse().ok().filter(|count| *count <= RETRIES_MAX);
    count.ok_or_else(|| format!("write a whole number from 0 to {RETRIES_MAX}"))
}

fn seq(text: &str) -> Result<u64, String> {
    let seq = text.parse();
    seq.map_err(|_| "write the number of an event, such as 120".to_owned())
}

fn state(text: &str) -> Result<String, String> {
    let state = State::parse(text).ok_or_else(|| {
        let names = State::ALL.map(State::as_str).join(", ");
        format!("write one of {names}")
    })?;
    Ok(state.as_str().to_owned())
}

const SPAWN_HELP: &str = "\
Examples:
  understory spawn --name docs -- agent \"read the docs\"
  understory spawn --wait --timeout 10m -- cargo test

It prints the id and the path of the new task, and exits with 0 when the task is recorded.
The task hangs below the one that this process belongs to: it is cancelled with it, and it
counts for the limits of the plan. It has the directory and the environment of this process.

Exit codes:
  0    it was taken; with --wait: it completed
  1    it was refused, for the reason shown
  2    the command line is wrong, or there is no run
  4    no answer came; what was asked for may still be done
With --wait, the exit code of the process, and:
  124  it took too long
  127  the program could not be started
  128  and more: the number of the signal that ended it is added
  130  it was cancelled";

pub(super) const LS_HELP: &str = "\
A line for each task below this one, the oldest first: id, state, kind, path.

Examples:
  understory ls --state running --state waiting
  understory ls --label role=reader --json
  understory ls --db crew.db --state interrupted

Exit codes:
  0    they are listed, perhaps none
  1    the run refused it, for the reason shown
  2    the command line is wrong, or there is neither a run nor records
  3    the file of the records cannot be read, for the reason shown
  4    no answer came from the run";

pub(super) const TREE_HELP: &str = "\
This task and those below it, each below its parent. Of those that match, whatever stands above
them is shown, too.

Exit codes:
  0    they are shown, perhaps none
  1    the run refused it, for the reason shown
  2    the command line is wrong, or there is neither a run nor records
  3    the file of the records cannot be read, for the reason shown
  4    no answer came from the run";

const SHOW_HELP: &str = "\
Exit codes:
  0    it is shown
  1    there is no such task
  2    the command line is wrong, or there is neither a run nor records
  3    the file of the records cannot be read, for the reason shown
  4    no answer came from the run";

const CANCEL_HELP: &str = "\
It asks the task and everything below it to stop, waits until nothing of it runs, and tells what
became of each.

Exit codes:
  0    nothing of it runs any more
  1    there is no such task, or something did not end in time
  2    the command line is wrong, or there is no run
  4    no answer came; what was asked for may still be done";

const WAIT_HELP: &str = "\
It prints a line for each task that has ended, with its state, in the order in which they end.
Those that had ended before count. Ctrl-C ends the waiting and nothing else.

Exit codes:
  0    all completed; with --any: the first one did
  1    one failed, timed out, was interrupted or cancelled; or there is no such task
  2    the command line is wrong, or there is no run
  3    with --or-stuck: none failed, and one is suspended or asks something
  4    no answer came from the run
  124  the time ran out";

const EVENTS_HELP: &str = "\
It prints what happened to this task and those below it, each with its number. A number is told
once and in order; what is no longer kept is told as `lagged`.

Examples:
  understory events
  understory events --since 120 --follow --json

Exit codes:
  0    they are told
  1    the run refused it, for the reason shown
  2    the command line is wrong, or there is neither a run nor records
  3    the file of the records cannot be read, for the reason shown
  4    no answer came from the run";
