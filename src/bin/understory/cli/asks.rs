//! The verbs by which a process asks, waits to be told, and goes on: their arguments and their
//! help.
//!
//! *Not here*: asking the run (`crate::verbs`).

use clap::Args;

use super::verbs::RunChoice;

#[derive(Debug, Args)]
#[command(after_help = ASK_HELP)]
pub(crate) struct Ask {
    /// What the question is called; asked again, it is the same question
    pub(crate) key: String,
    /// The question
    pub(crate) question: String,
}

#[derive(Debug, Args)]
#[command(after_help = RESPOND_HELP)]
pub(crate) struct Respond {
    /// The task that asks: its name, a path such as `lead/docs`, or its id
    pub(crate) target: String,
    /// What its question is called
    pub(crate) key: String,
    /// The answer
    pub(crate) text: String,
    #[command(flatten)]
    pub(crate) choice: RunChoice,
}

#[derive(Debug, Args)]
#[command(after_help = SUSPEND_HELP)]
pub(crate) struct Suspend {
    /// What it waits for
    pub(crate) text: String,
}

#[derive(Debug, Args)]
#[command(after_help = RESUME_HELP)]
pub(crate) struct Resume {
    /// The task: its name, a path such as `lead/docs`, or its id
    pub(crate) target: String,
    /// What it waited for
    #[arg(default_value = "")]
    pub(crate) text: String,
    #[command(flatten)]
    pub(crate) choice: RunChoice,
}

const ASK_HELP: &str = "\
It puts the question into the record of the task that this process belongs to, waits until somebody
answers it with `understory respond`, and prints the answer. A later attempt that asks by the same
key gets the answer that was given.

Example:
  answer=$(understory ask deploy \"Deploy to production?\")

Exit codes:
  0    it was answered
  1    the task was asked to stop, or the run refused it
  2    the command line is wrong, or this process belongs to no run
  4    no answer came; what was asked for may still be done";

const RESPOND_HELP: &str = "\
`understory show` tells which questions are open. The first answer counts.

Example:
  understory respond lead/release deploy yes

Exit codes:
  0    the answer is recorded
  1    there is no such task or question, or it was answered; the reason is shown
  2    the command line is wrong, or there is no run
  4    no answer came; what was asked for may still be done";

const SUSPEND_HELP: &str = "\
When the processes of this task have ended, and the command with exit code 0, the task is suspended
instead of completed: it has no process and takes no slot until somebody resumes it. Then its
command runs again, as the same attempt, with UNDERSTORY_RESUMED in its environment.

Example:
  if [ -z \"${UNDERSTORY_RESUMED+set}\" ]; then
    understory suspend \"may I pay 20 EUR?\"; exit 0
  fi
  echo \"the answer was $UNDERSTORY_RESUMED\"

Exit codes:
  0    the task will be suspended
  1    the task was asked to stop, or the run refused it
  2    the command line is wrong, or this process belongs to no run
  4    no answer came; what was asked for may still be done";

const RESUME_HELP: &str = "\
Its command runs again and finds the text in UNDERSTORY_RESUMED. Of several that resume it one wins.
When a limit of it is full it waits for its slot.

Exit codes:
  0    it goes on
  1    there is no such task, or it is not suspended
  2    the command line is wrong, or there is no run
  4    no answer came; what was asked for may still be done";
