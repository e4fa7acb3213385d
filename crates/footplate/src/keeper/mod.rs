//! `footplate keeper`: one small process that looks after one service and outlives whoever started it.
//!
//! Called by the agent alone, in four ways: plain, it starts itself once more in a session of its own and returns when that
//! one is ready; `--stay` is that one; `--end` ends what a former keeper left; `--launch` becomes the service.
//! Invariants: one thread, no async, no allocation that grows with time; a folder has one keeper at most (its lock).

mod keep;
mod notices;
mod post;
mod run;

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use footplate_drivers::disk::{self, HeldFolder};
use footplate_drivers::service::Folder;
use footplate_drivers::shell;

use crate::failure::{Exit, Failure};
use keep::Keeper;

/// How long what a killed keeper was just starting may hold its folder.
const FORMER_LIFE: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Look after one service (the agent calls this by itself)
#[derive(clap::Args, Debug)]
pub struct KeeperArgs {
    /// The service's folder
    #[arg(long, value_name = "DIR", required_unless_present = "launch")]
    folder: Option<PathBuf>,
    /// Stay and look after it, as a process of a session of one's own
    #[arg(long, conflicts_with_all = ["end", "launch"])]
    stay: bool,
    /// End what is left of it, and return
    #[arg(long, conflicts_with = "launch")]
    end: bool,
    /// Use no control group
    #[arg(long)]
    no_groups: bool,
    /// Become the service's command
    #[arg(long, requires = "command", requires = "files")]
    launch: bool,
    /// Most open files
    #[arg(long, value_name = "COUNT")]
    files: Option<u64>,
    /// Most bytes of private memory
    #[arg(long, value_name = "BYTES")]
    bytes: Option<u64>,
    /// Hand standard input over as descriptor 3
    #[arg(long)]
    socket: bool,
    /// The command line
    #[arg(last = true)]
    command: Option<String>,
}

/// Runs one of the four ways. Blocking, on the only thread of the process.
pub fn main(args: &KeeperArgs) -> ExitCode {
    let done = match (&args.command, &args.folder) {
        (Some(command), _) if args.launch => launch(args, command),
        (_, Some(folder)) if args.stay => stay(folder, !args.no_groups),
        (_, Some(folder)) if args.end => end(folder, !args.no_groups),
        (_, Some(folder)) => detach(folder, !args.no_groups),
        _ => unreachable!("clap asks for the folder or the command"),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(false),
    }
}

fn launch(args: &KeeperArgs, command: &str) -> Result<(), Failure> {
    let files = args.files.expect("clap asks for it");
    let error = shell::launched(command, args.bytes, files, args.socket);
    Err(failed("start the service").because(&error))
}

fn detach(folder: &Path, has_groups: bool) -> Result<(), Failure> {
    let errors = folder.join("keeper.log");
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&errors);
    let file = file.map_err(|error| failed("open the keeper's log").because(&error))?;
    let mut arguments = vec!["keeper".as_ref(), "--stay".as_ref(), "--folder".as_ref(), folder.as_os_str()];
    arguments.extend((!has_groups).then_some(OsStr::new("--no-groups")));
    shell::detach(&arguments, file).map_err(|error| {
        let said = std::fs::read_to_string(&errors).unwrap_or_default();
        failed("start the keeper").because(&error).details(last_lines(&said))
    })
}

fn stay(folder: &Path, has_groups: bool) -> Result<(), Failure> {
    let set_up = |error: rustix::io::Errno| failed("keep the service").because(&error);
    rustix::process::setsid().map_err(set_up)?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(set_up)?;
    let Some((_lock, folder)) = hold(folder)? else {
        // Another one looks after it already: that is what was asked for.
        return say_ready();
    };
    let mut keeper =
        Keeper::open(folder, has_groups).map_err(|error| failed("keep the service").because(&*error))?;
    say_ready()?;
    keeper.stay().map_err(|error| failed("keep the service").because(&*error))
}

fn end(folder: &Path, has_groups: bool) -> Result<(), Failure> {
    let Some((_lock, folder)) = hold(folder)? else {
        return Err(failed("end the service")
            .because_of("another keeper looks after it")
            .next("ask that one"));
    };
    let mut keeper =
        Keeper::open(folder, has_groups).map_err(|error| failed("end the service").because(&*error))?;
    keeper.stay().map_err(|error| failed("end the service").because(&*error))
}

/// Holds the folder; nothing while another keeper looks after it.
fn hold(folder: &Path) -> Result<Option<(HeldFolder, Folder)>, Failure> {
    let begun = Instant::now();
    loop {
        let held = HeldFolder::take(folder);
        let held =
            held.map_err(|error| failed("hold the service's folder").because(&error).next(error.next()))?;
        if held.is_some() || post::is_answered(folder) || begun.elapsed() > FORMER_LIFE {
            return Ok(held.map(|held| (held, Folder::at(folder))));
        }
        std::thread::sleep(LOCK_PAUSE);
    }
}

/// Tells whoever waits on our standard output, and lets go of it: nobody reads it any more.
fn say_ready() -> Result<(), Failure> {
    use std::io::Write;
    let quiet = || {
        std::io::stdout().write_all(b"!")?;
        std::io::stdout().flush()?;
        rustix::stdio::dup2_stdout(File::options().write(true).open("/dev/null")?)?;
        Ok::<(), std::io::Error>(())
    };
    quiet().map_err(|error| failed("tell that the keeper is ready").because(&error))
}

fn failed(what: &str) -> Failure {
    Failure::new(Exit::Failed, format!("cannot {what}"))
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// Anything that ends a keeper.
type Fatal = Box<dyn std::error::Error>;

/// Makes the named pipe that the service writes to, for its user to reopen.
fn make_pipe(folder: &Folder, owner: Option<&shell::User>) -> Result<(), Fatal> {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let path = folder.pipe();
    match mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(Box::new(disk::failed("create", &path)(error.into()))),
    }
    if let Some(user) = owner {
        std::os::unix::fs::chown(&path, Some(user.uid), Some(user.gid))
            .map_err(disk::failed("give away", &path))?;
    }
    Ok(())
}
