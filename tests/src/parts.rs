//! Where the real parts are. `cargo dev` builds and finds them and says so in the environment; nothing is looked for here.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

/// The real parts, as paths.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Envoy.
    pub envoy: PathBuf,
    /// The filter, as Envoy loads it.
    pub filter: PathBuf,
    /// The filter that also reads bodies and masks responses.
    pub bodies: PathBuf,
    /// The control plane and command line.
    pub grantmesh: PathBuf,
    /// The folder of `initdb` and `postgres`; the demo does without.
    postgres: Option<PathBuf>,
}

impl Parts {
    /// Reads the environment.
    ///
    /// # Errors
    /// If a part is missing; the text says which command brings it.
    pub fn from_environment() -> Result<Self> {
        Ok(Self {
            envoy: part("ENVOY_PATH")?,
            filter: part("GRANTMESH_FILTER_WASM")?,
            bodies: part("GRANTMESH_FILTER_BODIES_WASM")?,
            grantmesh: part("GRANTMESH_BIN")?,
            postgres: part("GRANTMESH_POSTGRES_BIN").ok().or_else(installed_postgres),
        })
    }

    /// The folder of PostgreSQL's programs.
    ///
    /// # Errors
    /// If there is none.
    pub fn postgres(&self) -> Result<&PathBuf> {
        self.postgres
            .as_ref()
            .context("`GRANTMESH_POSTGRES_BIN` is not set\nrun `cargo dev e2e`, which builds and finds what this needs")
    }
}

/// A part by the variable that names it.
pub(crate) fn part(variable: &str) -> Result<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from).with_context(|| {
        format!("`{variable}` is not set\nrun `cargo dev e2e`, which builds and finds what this needs")
    })?;
    path.canonicalize().with_context(|| {
        format!(
            "`{variable}` names `{}`, which is not there\nrun `cargo dev e2e`, which builds and finds what this needs",
            path.display()
        )
    })
}

fn installed_postgres() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let folders = versions.flatten().map(|version| version.path().join("bin"));
    folders.filter(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file()).max()
}
