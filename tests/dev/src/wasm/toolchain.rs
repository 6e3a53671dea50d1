//! Which compiler and which wasm32-wasip1 standard library.
//!
//! The ordinary one is the compiler in use with the library that rustup installs. Where rustup has none for it and cannot
//! fetch one, Debian's second compiler builds the library from its own source (`-Zbuild-std`).

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{self, command};
use crate::report::{Failure, step};
use crate::setup::apt;
use crate::wasm::{TARGET, folder};
use crate::workspace::Workspace;

const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CLIPPY: &str = "/usr/bin/cargo-clippy";
const DEBIAN_LIBRARY: &str = "/usr/lib/rustlib/src/rust/library";
const DEBIAN_LIBC: &str = "/usr/lib/wasm32-wasi";
const DEBIAN_PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "wasi-libc"];
const DEBIAN_LINKER: &str = "/usr/bin/wasm-ld-19";

/// A way to build for wasm.
pub(super) enum Toolchain {
    /// The compiler in use has the library.
    Own,
    /// Debian's compiler, and the linker to use with it.
    Debian { linker: PathBuf },
}

impl Toolchain {
    /// Finds the toolchain, and installs what is missing.
    pub(super) fn find(workspace: &Workspace) -> Result<Self, Failure> {
        let sysroot = PathBuf::from(process::capture(command("rustc").args(["--print", "sysroot"]))?.trim());
        if has_library(&sysroot) {
            return Ok(Self::Own);
        }
        let _lock = workspace.lock_tools()?;
        let version = process::capture(command("rustc").arg("--version"))?;
        let attempt = format!("rustup-target-add-{TARGET}-{}", version.trim());
        if process::on_path("rustup").is_some() && !workspace.gave_up(&attempt) {
            let add = || process::capture(command("rustup").args(["target", "add", TARGET]));
            match step(&format!("rustup target add {TARGET}"), add) {
                Ok(_) if has_library(&sysroot) => return Ok(Self::Own),
                Ok(_) => workspace
                    .give_up(&attempt, &Failure::new(format!("rustup added no {TARGET} to the compiler in use")))?,
                Err(failure) => workspace.give_up(&attempt, &failure)?,
            }
        }
        debian(&sysroot).map_err(|failure| failure.help(format!("rustup target add {TARGET}")))
    }

    /// What is said about it while it builds.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Own => "the toolchain's own library",
            Self::Debian { .. } => "Debian's compiler, library from source",
        }
    }

    /// Where the library's source lies, if that is a folder of this machine.
    pub(super) fn sources(&self) -> Vec<PathBuf> {
        let Self::Debian { .. } = self else {
            return Vec::new();
        };
        let link = Path::new(DEBIAN_LIBRARY);
        [Some(link.to_owned()), link.canonicalize().ok()].into_iter().flatten().collect()
    }

    /// Cargo for the wasm target; the caller adds the subcommand's arguments after the subcommand.
    pub(super) fn cargo(&self, workspace: &Workspace, flags: &[String]) -> Command {
        let mut flags = flags.to_vec();
        let mut cargo = match self {
            Self::Own => workspace.cargo(),
            Self::Debian { linker } => {
                flags.extend([
                    format!("-Clinker={}", linker.display()),
                    "-Clink-self-contained=no".to_owned(),
                    format!("-Lnative={DEBIAN_LIBC}"),
                ]);
                let mut cargo = command(DEBIAN_CARGO);
                cargo.current_dir(workspace.root()).env_remove("LD_LIBRARY_PATH");
                // The library's source asks for unstable features; this compiler is its own release's bootstrap.
                cargo.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
                cargo.env("CARGO_UNSTABLE_BUILD_STD", "std,panic_abort");
                cargo
            }
        };
        cargo.env("CARGO_TARGET_DIR", folder(workspace)).env("CARGO_BUILD_TARGET", TARGET);
        cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        cargo
    }

    /// Whether clippy comes with it. The error is the reason why not.
    pub(super) fn has_clippy(&self) -> Result<(), Failure> {
        match self {
            Self::Debian { .. } if !Path::new(DEBIAN_CLIPPY).is_file() => {
                Err(Failure::new("Debian's compiler is in use and its package rust-web-clippy is not installed"))
            }
            Self::Own | Self::Debian { .. } => Ok(()),
        }
    }
}

fn has_library(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir()
}

fn debian(sysroot: &Path) -> Result<Toolchain, Failure> {
    // Asked by package: an older compiler of Debian has the same paths.
    if !process::works(command("dpkg").arg("--status").args(DEBIAN_PACKAGES)) {
        apt::install("a compiler for wasm", &DEBIAN_PACKAGES)?;
    }
    let host = std::fs::read_dir(sysroot.join("lib/rustlib")).into_iter().flatten().flatten();
    let bundled = host.map(|entry| entry.path().join("bin/rust-lld")).find(|linker| linker.is_file());
    let linker = match bundled {
        Some(linker) => linker,
        None => {
            if !Path::new(DEBIAN_LINKER).is_file() {
                apt::install("a linker for wasm", &["lld-19"])?;
            }
            PathBuf::from(DEBIAN_LINKER)
        }
    };
    Ok(Toolchain::Debian { linker })
}
