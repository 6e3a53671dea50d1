//! What the turns of Envoy's workers take of a processor: a library in front of glibc counts them (`turns.c`), since Envoy's own
//! statistics tell times by the clock, in which other programs run as well.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

const LIBRARY: &str = include_str!("turns.c");

/// The bounds above which turns are counted, as in `turns.c`.
const BOUNDS: [&str; 4] = ["0.5 ms", "1 ms", "2 ms", "5 ms"];

/// The counters of an Envoy's workers.
#[derive(Debug, Clone)]
pub struct Turns {
    folder: PathBuf,
}

/// What one worker's turns took so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    worker: String,
    turns: u64,
    longest: Duration,
    longer_than: [u64; 4],
}

impl Turns {
    /// Counters in a folder.
    ///
    /// # Errors
    /// If there is no C compiler.
    pub fn counted_in(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let source = folder.join("turns.c");
        std::fs::write(&source, LIBRARY)?;
        let mut compiler = Command::new("cc");
        compiler.args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"]).arg(folder.join("turns.so"));
        let done = compiler.arg(&source).arg("-ldl").output().context("`cc` cannot be run\ninstall a C compiler")?;
        ensure!(done.status.success(), "turns.c: {}", String::from_utf8_lossy(&done.stderr));
        Ok(Self { folder: folder.to_owned() })
    }

    pub(crate) fn give_to(&self, command: &mut Command) {
        command.env("LD_PRELOAD", self.folder.join("turns.so")).env("GRANTMESH_TURNS", &self.folder);
    }

    /// What every worker counted so far.
    ///
    /// # Errors
    /// If none did.
    pub fn read(&self) -> Result<Vec<Counted>> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let worker = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.extension().is_some() {
                continue;
            }
            let bytes = std::fs::read(&path)?;
            let numbers: Vec<u64> = bytes.as_chunks().0.iter().copied().map(u64::from_ne_bytes).collect();
            let [turns, longest, longer_than @ ..] = <[u64; 6]>::try_from(numbers).ok().context("six numbers")?;
            all.push(Counted { worker, turns, longest: Duration::from_nanos(longest), longer_than });
        }
        all.sort_unstable_by(|one, two| one.worker.cmp(&two.worker));
        ensure!(!all.is_empty(), "no worker has counted a turn in `{}`", self.folder.display());
        Ok(all)
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} turns, the longest {:.2?} of a processor", self.worker, self.turns, self.longest)?;
        let longer = BOUNDS.iter().zip(self.longer_than);
        longer.into_iter().try_for_each(|(bound, count)| write!(f, ", {count} above {bound}"))
    }
}
