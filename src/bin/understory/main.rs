//! The binary `understory`: a tree of processes under one supervisor, and the verbs for those in
//! it.
//!
//! *Not here*: everything but the choice of what to do.

// These bans are for the kernel of the library.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

#[cfg(not(unix))]
compile_error!("the feature `cli` needs a Unix system: process groups, signals and local sockets");

mod cli;
mod draw;
mod orphans;
mod plan;
mod process;
mod records;
mod run;
mod shim;
mod socket;
mod verbs;
mod wire;

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use plan::{PLAN_BYTES_MAX, Plan};
use records::RecordsError;
use socket::client::ClientError;

/// Everything asked for was done.
const CODE_DONE: u8 = 0;
/// It was asked rightly and could not be done.
const CODE_FAILED: u8 = 1;
/// It was asked wrongly.
const CODE_USAGE: u8 = 2;
/// The file of the records cannot be used.
const CODE_RECORDS: u8 = 3;
/// It was asked rightly, and nobody knows what became of it.
const CODE_UNANSWERED: u8 = 4;

fn main() -> ExitCode {
    let code = match Cli::parse().command {
        Command::Run(run) => start(&run),
        Command::Check(check) => match load(&check.plan) {
            Ok(plan) => {
                let count = plan.tasks.len();
                let tasks = if count == 1 { "task" } else { "tasks" };
                tell(&format!(
                    "{}: {count} {tasks}, nothing wrong",
                    check.plan.display()
                ));
                CODE_DONE
            }
            Err(reason) => usage_error(&reason),
        },
        Command::Spawn(spawn) => code_of(verbs::spawn(spawn)),
        Command::Ls(which) => code_of(verbs::ls(which)),
        Command::Tree(which) => code_of(verbs::tree(which)),
        Command::Show(show) => code_of(verbs::show(show)),
        Command::Send(send) => code_of(verbs::send(&send)),
        Command::Progress(progress) => code_of(verbs::progress(progress)),
        Command::Cancel(cancel) => code_of(verbs::cancel(cancel)),
        Command::Wait(wait) => code_of(verbs::wait(wait)),
        Command::Events(events) => code_of(verbs::events(&events)),
        Command::Ask(ask) => code_of(verbs::ask(ask)),
        Command::Respond(respond) => code_of(verbs::respond(respond)),
        Command::Suspend(suspend) => code_of(verbs::suspend(suspend)),
        Command::Resume(resume) => code_of(verbs::resume(resume)),
        Command::Shim(shim) => {
            if let Some(count) = shim.open_files {
                process::allow_open_files(count);
            }
            return ExitCode::from(shim::run(&shim.command));
        }
    };
    ExitCode::from(code)
}

fn start(run: &cli::Run) -> u8 {
    let plan = match load(&run.plan) {
        Ok(plan) => plan,
        Err(reason) => return usage_error(&reason),
    };
    let options = run::Options {
        records: run.records(),
        beginning: if run.resume {
            run::Beginning::Resumed
        } else {
            run::Beginning::New
        },
        grace: run.grace,
        is_json: run.json,
    };
    run::run(plan, options).unwrap_or_else(|error| {
        if let run::RunError::Records(error) = &error {
            return records_error(error);
        }
        complain(&error.to_string());
        CODE_FAILED
    })
}

/// Reads and checks a plan, and tells what may surprise; the reason of a refusal is for people.
fn load(path: &Path) -> Result<Plan, String> {
    let cannot_read = |error: io::Error| format!("cannot read {}: {error}", path.display());
    let mut text = String::new();
    // One byte more than allowed is enough to see that a plan is too long.
    let limit = u64::try_from(PLAN_BYTES_MAX + 1).unwrap_or(u64::MAX);
    let file = std::fs::File::open(path).map_err(cannot_read)?;
    file.take(limit)
        .read_to_string(&mut text)
        .map_err(cannot_read)?;
    let plan = Plan::parse(&path.display().to_string(), &text);
    let plan = plan.map_err(|problems| problems.to_string())?;
    for note in plan.notes() {
        complain(&note);
    }
    Ok(plan)
}

fn code_of(result: Result<u8, ClientError>) -> u8 {
    match result {
        Ok(code) => code,
        Err(error) if error.is_usage() => usage_error(&error.to_string()),
        Err(ClientError::NobodyReads) => CODE_FAILED,
        Err(ClientError::Records(error)) => records_error(&error),
        Err(error @ ClientError::Unanswered(_)) => {
            complain(&error.to_string());
            CODE_UNANSWERED
        }
        Err(error) => {
            complain(&error.to_string());
            CODE_FAILED
        }
    }
}

fn records_error(error: &RecordsError) -> u8 {
    complain(&error.to_string());
    if error.is_usage() {
        CODE_USAGE
    } else {
        CODE_RECORDS
    }
}

fn usage_error(reason: &str) -> u8 {
    complain(reason);
    CODE_USAGE
}

fn complain(text: &str) {
    // There is nobody to tell when standard error is closed.
    let _ = writeln!(io::stderr(), "{text}");
}

fn tell(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}
