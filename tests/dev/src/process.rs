//! Running other programs: streamed, captured, or in place of this one.
//!
//! Every child starts from an environment without what `cargo run` added for us: those variables would make cargo
//! rebuild packages whose build scripts look at them, and lead another toolchain to the wrong libraries.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::report::Failure;

/// A command without the traces of the `cargo run` that started us.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, value) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") || text == "CARGO" {
            command.env_remove(&name);
        } else if text == "LD_LIBRARY_PATH" {
            match libraries_of_the_user(&value) {
                Some(kept) => command.env(&name, kept),
                None => command.env_remove(&name),
            };
        }
    }
    command
}

/// The library path without the target folder and the toolchain, which cargo put in front.
fn libraries_of_the_user(value: &OsStr) -> Option<OsString> {
    let own = |folder: &PathBuf| {
        let text = folder.to_string_lossy();
        text.contains("/toolchains/")
            || text.contains("/rustlib/")
            || text.ends_with("/debug")
            || text.ends_with("/deps")
    };
    let kept: Vec<PathBuf> = std::env::split_paths(value).filter(|folder| !own(folder)).collect();
    if kept.is_empty() {
        return None;
    }
    std::env::join_paths(kept).ok()
}

/// Runs a program whose output the person should see as it comes.
pub(crate) fn stream(command: &mut Command) -> Result<(), Failure> {
    command.stdout(std::io::stderr());
    let status = command.status().map_err(|error| not_started(command, &error))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("`{}` failed ({status})", shown(command))))
}

/// Runs a program quietly and returns its standard output; what it said is part of the failure.
pub(crate) fn capture(command: &mut Command) -> Result<String, Failure> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| not_started(command, &error))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let said = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
    Err(Failure::new(format!("`{}` failed ({})", shown(command), output.status)).output(said))
}

/// How a program ended, and all that it said.
pub(crate) struct Ended {
    /// Its exit code; nothing if it was ended by a signal.
    pub(crate) code: Option<i32>,
    /// What it printed, anywhere.
    pub(crate) output: String,
}

/// Runs a program quietly, however it ends.
pub(crate) fn end(command: &mut Command) -> Result<Ended, Failure> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| not_started(command, &error))?;
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok(Ended { code: output.status.code(), output: said.concat() })
}

/// Whether the program starts and ends well; nothing is shown.
pub(crate) fn works(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// Becomes the program: Ctrl-C, its exit code and its last line are then exactly its own. Returns only if it cannot start.
#[cfg(unix)]
pub(crate) fn become_it(command: &mut Command) -> Failure {
    use std::os::unix::process::CommandExt as _;
    let error = command.exec();
    not_started(command, &error)
}

/// The nearest thing elsewhere: wait for it and end with its code.
#[cfg(not(unix))]
pub(crate) fn become_it(command: &mut Command) -> Failure {
    match command.status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => not_started(command, &error),
    }
}

/// The full path of a program of the search path.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// What the person could type to repeat it.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let mut text = name.to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

fn not_started(command: &Command, error: &std::io::Error) -> Failure {
    Failure::new(format!("`{}` could not be started: {error}", command.get_program().to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captured_output_is_part_of_the_failure() {
        let failure = capture(command("sh").args(["-c", "echo out; echo err >&2; exit 3"])).unwrap_err().to_string();
        assert!(failure.contains("  | out\n  | err\n"), "{failure}");
        assert!(failure.contains("`sh -c echo out"), "{failure}");
        assert_eq!(capture(command("sh").args(["-c", "echo fine"])).unwrap(), "fine\n");
    }

    #[test]
    fn a_missing_program_is_named() {
        let failure = stream(&mut command("no-such-program-here")).unwrap_err().to_string();
        assert!(failure.contains("`no-such-program-here` could not be started"), "{failure}");
        assert!(on_path("no-such-program-here").is_none());
        assert!(on_path("sh").is_some());
    }

    #[test]
    fn only_the_folders_of_cargo_leave_the_library_path() {
        let given = OsString::from("/p/target/debug:/p/target/debug/deps:/r/toolchains/stable/lib:/opt/mine/lib");
        assert_eq!(libraries_of_the_user(&given), Some(OsString::from("/opt/mine/lib")));
        assert_eq!(libraries_of_the_user(OsStr::new("/p/target/debug")), None);
    }
}
