//! The command line: what can be asked, and its help.
//!
//! *Not here*: carrying it out (`main`).

mod asks;
mod verbs;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::plan::parse_duration;
use crate::records::{Choice, NO_FILE};
pub(crate) use asks::{Ask, Respond, Resume, Suspend};
pub(crate) use verbs::{Cancel, Events, ParentEnd, RunChoice, Show, Source, Spawn, Wait, Which};

/// Supervise a crew of processes as one tree.
#[derive(Debug, Parser)]
#[command(version, about, after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the crew that a plan describes and wait for its end
    Run(Run),
    /// Check a plan and tell everything that is wrong with it
    Check(Check),
    /// Start a command as a task below this one
    Spawn(Spawn),
    /// List the tasks below this one
    #[command(after_help = verbs::LS_HELP)]
    Ls(Which),
    /// Draw this task and those below it
    #[command(after_help = verbs::TREE_HELP)]
    Tree(Which),
    /// Show one task
    Show(Show),
    /// Send a line to the inbox of a task
    Send(Send),
    /// Stop a task and everything below it, and wait for its end
    Cancel(Cancel),
    /// Wait for the end of tasks
    Wait(Wait),
    /// Tell what happens to this task and those below it
    Events(Events),
    /// Tell how far the task is that this process belongs to
    Progress(Progress),
    /// Ask something and wait for the answer
    Ask(Ask),
    /// Answer what a task has asked
    Respond(Respond),
    /// Suspend the task that this process belongs to, when that has ended
    Suspend(Suspend),
    /// Let a suspended task go on
    Resume(Resume),
    /// Run one command so that nothing of it is left behind
    #[command(name = crate::process::SHIM_COMMAND, hide = true)]
    Shim(Shim),
}

#[derive(Debug, Args)]
#[command(after_help = RUN_HELP)]
pub(crate) struct Run {
    /// The plan, a TOML file
    pub(crate) plan: PathBuf,
    /// Print every event as a line of JSON on standard output
    #[arg(long)]
    pub(crate) json: bool,
    /// Keep the records in this file; without it, in a new one in `~/.local/state/understory`, or
    /// `$XDG_STATE_HOME/understory`
    #[arg(long, value_name = "FILE")]
    pub(crate) db: Option<PathBuf>,
    /// Keep no records: nothing is left of the run when it has ended
    #[arg(long, conflicts_with = "db")]
    pub(crate) no_db: bool,
    /// Go on with the run that was interrupted: of the file, else the newest one of this plan
    #[arg(long, conflicts_with = "no_db")]
    pub(crate) resume: bool,
    /// Time between SIGTERM and SIGKILL for tasks that name no grace of their own
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "5s")]
    pub(crate) grace: Duration,
}

impl Run {
    /// Where its records are.
    pub(crate) fn records(&self) -> Choice {
        match &self.db {
            _ if self.no_db => Choice::Memory,
            Some(file) if **file == *NO_FILE => Choice::Memory,
            Some(file) => Choice::File(file.clone()),
            None => Choice::Own {
                plan: self.plan.clone(),
            },
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = CHECK_HELP)]
pub(crate) struct Check {
    /// The plan, a TOML file
    pub(crate) plan: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = SEND_HELP)]
pub(crate) struct Send {
    /// The task: a name, path or id of the same tree, `parent` or `self`
    #[arg(value_name = "TARGET")]
    pub(crate) to: String,
    /// The line; without it, each line of standard input is sent
    pub(crate) text: Option<String>,
    #[command(flatten)]
    pub(crate) choice: RunChoice,
}

#[derive(Debug, Args)]
#[command(after_help = PROGRESS_HELP)]
pub(crate) struct Progress {
    /// What to tell
    pub(crate) text: String,
}

#[derive(Debug, Args)]
pub(crate) struct Shim {
    /// As many files the command may have open
    #[arg(long, value_name = "COUNT")]
    pub(crate) open_files: Option<u64>,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<OsString>,
}

const EXAMPLES: &str = "\
Examples:
  understory run PLAN.toml            run a crew, with a live tree
  understory run PLAN.toml --json     the same for programs
  understory run PLAN.toml --resume   go on where it was when it was killed
  understory check PLAN.toml          what is wrong with a plan?

In a process of a run, for what is below it:
  understory spawn --name docs -- agent \"read the docs\"
  understory tree
  understory wait docs --timeout 10m
  understory send docs \"look at src/, too\"
  understory cancel docs
From another terminal the same verbs reach the whole run. When it has ended, `ls`, `tree`, `show`
and `events` read its records.";

const RUN_HELP: &str = "\
A plan:
  [limits]
  heavy = 2                           # so many of this class at once; `global` counts every task

  [bounds]                            # how large the run may grow by what tasks spawn
  depth = 3                           # tasks above one
  children = 8                        # live tasks directly below one
  tasks = 40                          # live tasks of the run

  [[task]]
  name = \"lead\"
  command = [\"sh\", \"-c\", \"echo hello\"]

  [[task]]
  name = \"tests\"
  command = [\"cargo\", \"test\"]
  parent = \"lead\"                     # ends with it; the lead waits for it
  after = [\"build\"]                   # starts when these have completed
  limits = [\"heavy\"]
  timeout = \"10m\"
  retry = 2                           # or { count, delay, factor, cap }
  # also: kind, env, cwd, idle_timeout, on_parent_end, grace, messages, inbox

  [[task]]
  name = \"build\"
  command = [\"cargo\", \"build\"]
  parent = \"lead\"

Standard output and error of a task are shown as they come, a line of more than 64 KiB in
pieces; its standard input is its inbox. It has no terminal: what would ask there (git, ssh) fails
at once. Ctrl-C asks all tasks to stop and waits for the grace, and no task is taken any more; a
second one kills them.

Bounds of a plan: 1 MiB, 10,000 tasks, a depth of 64; sizes in [limits], `children` and `tasks` from
1 to 100,000, `depth` from 0 to 64; times of at most a year; `count` of a retry from 0 to 99, its
`factor` from 1 to 100; 1,024 names in `after`, 16 in `limits`; 1,000 messages, each one line of at
most 64 KiB. Without [bounds] 10,000 tasks may live beside those of the plan.

Records:
  All that is acknowledged, but for messages to an inbox, is in a file, one for each run; its path
  is told at the start and at the end. `understory ls`, `tree`, `show` and `events` read it with
  --db FILE, and so does the sqlite3 shell. It holds commands and the newest 100,000 events, output
  among them, and is for its owner only. In the folder of its own understory keeps the newest 100
  files. --no-db, or --db :memory:, keeps none.

  A run whose understory was killed goes on with `understory run --resume [--db FILE] PLAN.toml`:
  - its processes have ended before, all of them; if one has not, the run does not go on
  - what has settled is not run again
  - what was running is run again if it has attempts left (`retry`; the crash counts as one), and
    is interrupted otherwise
  - what had not started, starts; what was suspended, stays so
  - but below a task that was running all is cancelled, as its attempt has failed, unless it says
    on_parent_end = \"wait\" (or \"detach\"); so it is without a crash when an attempt fails
  - what `understory send` brought to an inbox and its process had not read is lost; the `messages`
    of the plan come again
  - the plan must be the one it was begun with; tasks may be added to it
  Ctrl-C ends a run for good: nothing of it goes on.
  When the disk is full, the run says so and waits until there is room.

Exit codes:
  0    all tasks completed
  1    a task failed, timed out, was interrupted or was cancelled; or what they wrote could not be
       shown, such as on a full disk (a reader that goes away is no error)
  2    the plan or the command line is wrong, or the file is of another run or plan
  3    the file of the records cannot be used, for the reason shown: another run uses it,
       processes of the run before go on, it is damaged, of a newer version, or not safe
  130  cancelled by Ctrl-C, SIGTERM or SIGHUP";

const CHECK_HELP: &str = "\
Each problem stands on a line of its own:
  PLAN.toml:12: no task is named \"biuld\"; write \"build\"

What is right and may surprise is told as a note, on standard error.

Exit codes:
  0    the plan is right
  2    it is wrong or cannot be read";

const SEND_HELP: &str = "\
Examples:
  understory send reviewer \"look at src/\"
  git ls-files | understory send reviewer

An inbox is in memory: what its process has not read is lost when understory is killed.

Exit codes:
  0    every line is in the inbox
  1    the run refused it, for the reason shown
  2    the command line is wrong, or there is no run
  4    no answer came; what was asked for may still be done";

const PROGRESS_HELP: &str = "\
Example:
  understory progress \"3 of 9\"

Exit codes:
  0    it was told
  1    the run refused it, for the reason shown
  2    the command line is wrong, or this process belongs to no run
  4    no answer came; what was asked for may still be done";
