//! Builds packages into modules that Envoy can load: `target/wasm/<name>.wasm`.
//!
//! The tests, the demo and the benches call it. Cargo decides whether anything has to be built. A module is refused
//! when it is larger than its budget or when a path of this machine got into it.

mod toolchain;

use std::path::{Path, PathBuf};

use crate::process;
use crate::report::{Failure, say, step};
use crate::workspace::Workspace;
use toolchain::Toolchain;

/// The target that Envoy loads.
pub(crate) const TARGET: &str = "wasm32-wasip1";

const KIB: u64 = 1024;

/// 128-bit vectors, which every proxy's V8 has: SHA-256, of which a record of a call takes ten blocks, is twice as quick.
const VECTORS: &str = "-Ctarget-feature=+simd128";

/// A package to be built for Envoy.
pub(crate) struct Module {
    /// Its Cargo.toml, from the root; it may stand outside the workspace if it has the profile `wasm`.
    pub(crate) manifest: &'static str,
    /// The file that cargo makes, without its ending.
    pub(crate) file: &'static str,
    /// Further arguments of cargo.
    pub(crate) arguments: &'static [&'static str],
    /// Bytes that the module may have at most. Raised only with a reason in the commit.
    pub(crate) budget: u64,
}

/// The filter. Every worker of every sidecar compiles it at start, so its size is start time and memory.
pub(crate) const FILTER: Module = Module {
    manifest: "filter/Cargo.toml",
    file: "grantmesh_filter",
    arguments: &["--no-default-features"],
    budget: 1_010 * KIB,
};

/// The filter that also reads bodies and masks responses.
pub(crate) const BODIES: Module = Module {
    manifest: "filter/bodies/Cargo.toml",
    file: "grantmesh_filter_bodies",
    arguments: &[],
    budget: 1_090 * KIB,
};

/// The least that a filter can do, as a yardstick for the overhead bench.
pub(crate) const TRIVIAL: Module = Module {
    manifest: "benches/overhead/trivial/Cargo.toml",
    file: "grantmesh_trivial_filter",
    arguments: &[],
    budget: 300 * KIB,
};

/// The engine with a bench around it, and with the policy's compiler to make its table.
pub(crate) const BENCH: Module = Module {
    manifest: "benches/wasm/Cargo.toml",
    file: "grantmesh_wasm_bench",
    arguments: &[],
    budget: 6 * 1024 * KIB,
};

/// Builds the filter, without and with what reads bodies, and returns the paths of the modules.
pub(crate) fn filters(workspace: &Workspace) -> Result<(PathBuf, PathBuf), Failure> {
    Ok((build(workspace, &FILTER)?, build(workspace, &BODIES)?))
}

/// Builds one module and returns its path.
pub(crate) fn build(workspace: &Workspace, module: &Module) -> Result<PathBuf, Failure> {
    let toolchain = Toolchain::find(workspace)?;
    let homes = machine_paths(workspace)?;
    step(&format!("building {} for {TARGET} ({})", module.file, toolchain.name()), || {
        let mut cargo = toolchain.cargo(workspace, &flags(workspace, &homes, &toolchain));
        cargo
            .args(["build", "--locked", "--lib", "--profile", "wasm", "--manifest-path", module.manifest])
            .args(module.arguments);
        process::stream(&mut cargo)
    })?;
    let made = folder(workspace).join(TARGET).join("wasm").join(format!("{}.wasm", module.file));
    let bytes =
        std::fs::read(&made).map_err(|error| Failure::new(format!("cargo made no `{}`: {error}", made.display())))?;
    judge(&bytes, module, &homes)?;
    let kept = workspace.target().join("wasm").join(format!("{}.wasm", module.file));
    if std::fs::read(&kept).ok().as_ref() != Some(&bytes) {
        workspace.write(&kept, &bytes)?;
        say(&format!("{}: {} KiB", module.file, bytes.len() / 1024));
    }
    Ok(kept)
}

/// The folder of wasm builds: apart, because two versions of cargo may take turns with the one of the native builds.
pub(crate) fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target().join("wasm-build")
}

/// A command of cargo for the wasm target with the flags of [`build`], for lints.
/// `Err` is the reason why the toolchain at hand cannot do it.
pub(crate) fn clippy(workspace: &Workspace) -> Result<std::process::Command, Failure> {
    let toolchain = Toolchain::find(workspace)?;
    toolchain.has_clippy()?;
    let homes = machine_paths(workspace)?;
    Ok(toolchain.cargo(workspace, &flags(workspace, &homes, &toolchain)))
}

fn judge(bytes: &[u8], module: &Module, homes: &[PathBuf]) -> Result<(), Failure> {
    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if size > module.budget {
        return Err(Failure::new(format!(
            "{} has {} KiB, its budget is {} KiB ({} bytes too many)",
            module.file,
            size / KIB,
            module.budget / KIB,
            size - module.budget
        ))
        .help("look at what came in (`cargo tree -p grantmesh-filter -e normal`), or raise the budget in tests/dev/src/wasm.rs"));
    }
    for home in homes {
        let text = home.as_os_str().as_encoded_bytes();
        if bytes.windows(text.len()).any(|window| window == text) {
            return Err(Failure::new(format!("{} holds the path `{}` of this machine", module.file, home.display()))
                .help("add a --remap-path-prefix in tests/dev/src/wasm.rs"));
        }
    }
    Ok(())
}

/// Folders that must not be readable in a module: the checkout and cargo's home.
fn machine_paths(workspace: &Workspace) -> Result<Vec<PathBuf>, Failure> {
    let home = match std::env::var_os("CARGO_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => std::env::home_dir()
            .ok_or_else(|| Failure::new("the home folder of cargo is not known").help("set CARGO_HOME"))?
            .join(".cargo"),
    };
    Ok(vec![workspace.root().to_owned(), home])
}

/// The compiler's flags for modules.
fn flags(workspace: &Workspace, homes: &[PathBuf], toolchain: &Toolchain) -> Vec<String> {
    let mut flags = remaps(workspace, homes, toolchain);
    flags.push(VECTORS.to_owned());
    flags
}

/// Panic messages hold source paths: they become the same everywhere, so that a module can be reproduced.
fn remaps(workspace: &Workspace, homes: &[PathBuf], toolchain: &Toolchain) -> Vec<String> {
    let mut pairs: Vec<(PathBuf, &str)> = homes.iter().map(|home| (home.clone(), "machine")).collect();
    // Later ones win, and these lie inside the others.
    pairs.extend(sources(workspace, homes).into_iter().map(|folder| (folder, "crates")));
    pairs.extend(toolchain.sources().into_iter().map(|folder| (folder, "rust")));
    pairs.into_iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())).collect()
}

/// Where cargo unpacks crates: one folder per registry, with its name in it.
fn sources(workspace: &Workspace, homes: &[PathBuf]) -> Vec<PathBuf> {
    let list = || -> Vec<PathBuf> {
        let folders = homes.iter().filter_map(|home| std::fs::read_dir(home.join("registry/src")).ok());
        folders.flatten().flatten().map(|entry| entry.path()).collect()
    };
    let mut found = list();
    if found.is_empty() && process::stream(workspace.cargo().args(["fetch", "--locked"])).is_ok() {
        // The flags are part of what cargo calls fresh: they must not differ between the first build and the second.
        found = list();
    }
    found.sort();
    found
}

/// Whether the package of this module is part of the checkout.
pub(crate) fn exists(workspace: &Workspace, module: &Module) -> bool {
    workspace.root().join(Path::new(module.manifest)).is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Module = Module { manifest: "", file: "small", arguments: &[], budget: 10 };

    #[test]
    fn a_module_over_its_budget_is_refused_with_the_numbers() {
        assert!(judge(&[0; 10], &SMALL, &[]).is_ok());
        let text = judge(&[0; 11], &SMALL, &[]).unwrap_err().to_string();
        assert!(text.contains("1 bytes too many"), "{text}");
    }

    #[test]
    fn a_path_of_the_machine_is_found() {
        let homes = [PathBuf::from("/h/me")];
        let roomy = Module { budget: 100, ..SMALL };
        assert!(judge(b"\0asm machine/lib.rs", &roomy, &homes).is_ok());
        let text = judge(b"\0asm /h/me/lib.rs", &roomy, &homes).unwrap_err().to_string();
        assert!(text.contains("`/h/me`"), "{text}");
    }
}
