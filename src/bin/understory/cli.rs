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
pub(crate) use asks::{Ask, Respond, Resume, Suspend};
pub(crate) use verbs::{Cancel, Events, ParentEnd, RunChoice, Show, Spawn, Wait, Which, here};

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
    /// Time between SIGTERM and SIGKILL for tasks that name no grace of their own
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "5s")]
    pub(crate) grace: Duration,
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
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<OsString>,
}

const EXAMPLES: &str = "\
Examples:
  understory run PLAN.toml            run a crew, with a live tree
  understory run PLAN.toml --json     the same for programs
  understory check PLAN.toml          what is wrong with a plan?

In a process of a run, for what is below it:
  understory spawn --name docs -- agent \"read the docs\"
  understory tree
  understory wait docs --timeout 10m
  understory send docs \"look at src/, too\"
  understory cancel docs
From another terminal the same verbs reach the whole run.";

const RUN_HELP: &str = "\
A plan:
  [limits]
  heavy = 2                           # so many of this class at once

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
  retry = 2
  # also: kind, env, cwd, idle_timeout, on_parent_end, grace, messages, inbox

  [[task]]
  name = \"build\"
  command = [\"cargo\", \"build\"]
  parent = \"lead\"

Standard output and error of a task are shown as they come; its standard input is its inbox.
Ctrl-C asks all tasks to stop and waits for the grace; a second one kills them.

Exit codes:
  0    all tasks completed
  1    a task failed, timed out or was interrupted
  2    the plan or the command line is wrong
  130  cancelled by Ctrl-C or SIGTERM";

const CHECK_HELP: &str = "\
Each problem stands on a line of its own:
  PLAN.toml:12: no task is named \"biuld\"; write \"build\"

Exit codes:
  0    the plan is right
  2    it is wrong or cannot be read";

const SEND_HELP: &str = "\
Examples:
  understory send reviewer \"look at src/\"
  git ls-files | understory send reviewer

Exit codes:
  0    every line is in the inbox
  1    the run refused it, for the reason shown
  2    the command line is wrong, or there is no run";

const PROGRESS_HELP: &str = "\
Example:
  understory progress \"3 of 9\"

Exit codes:
  0    it was told
  1    the run refused it, for the reason shown
  2    the command line is wrong, or this process belongs to no run";
