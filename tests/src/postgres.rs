//! A PostgreSQL of a story's own: fresh, on a socket in a temporary folder, with every durability it has by default.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::parts::Parts;
use crate::process::Process;
use crate::wait::{PATIENCE, until};

/// A running PostgreSQL. Ends when it is dropped.
#[derive(Debug)]
pub struct Postgres {
    // Ends before its folder goes.
    _process: Process,
    folder: TempDir,
}

impl Postgres {
    /// Makes a cluster and starts it.
    ///
    /// # Errors
    /// If the programs are missing or fail.
    pub async fn start(parts: &Parts) -> Result<Self> {
        let programs = parts.postgres()?;
        let folder = TempDir::with_prefix("grantmesh-pg-")?;
        let user = unprivileged()?;
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(folder.path(), Some(uid), Some(gid))?;
        }
        let command = |program: &str| {
            let mut command = Command::new(programs.join(program));
            command.current_dir(folder.path());
            if let Some((uid, gid)) = user {
                command.uid(uid).gid(gid);
            }
            command
        };
        let data = folder.path().join("data");
        let mut initdb = command("initdb");
        initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale", "C", "--no-sync", "-D"]).arg(&data);
        let made = initdb.output().context("initdb")?;
        ensure!(
            made.status.success(),
            "initdb: {}{}",
            String::from_utf8_lossy(&made.stdout),
            String::from_utf8_lossy(&made.stderr)
        );

        let mut server = command("postgres");
        server.arg("-D").arg(&data).args(["-c", "listen_addresses=", "-c"]);
        server.arg(format!("unix_socket_directories={}", folder.path().display()));
        // SIGQUIT lets it take its shared memory away.
        let log = folder.path().join("postgres.log");
        let mut process = Process::start("PostgreSQL", &mut server, &log)?.ending_by(Signal::QUIT);
        until("PostgreSQL is ready", PATIENCE, async || {
            process.alive()?;
            Ok(process.log().contains("ready to accept connections").then_some(()))
        })
        .await
        .with_context(|| process.log_tail())?;
        Ok(Self { _process: process, folder })
    }

    /// Where it is, as `--database` takes it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres:///postgres?user=postgres&host={}", self.folder.path().display())
    }
}

/// The programs refuse root: then they run as `nobody`.
fn unprivileged() -> Result<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let users = std::fs::read_to_string(Path::new("/etc/passwd"))?;
    let nobody = users
        .lines()
        .find(|line| line.starts_with("nobody:"))
        .context("PostgreSQL refuses root and there is no user `nobody`")?;
    let mut numbers = nobody.split(':').skip(2).map(str::parse::<u32>);
    let (Some(Ok(uid)), Some(Ok(gid))) = (numbers.next(), numbers.next()) else {
        anyhow::bail!("the entry of `nobody` in /etc/passwd is not understood");
    };
    Ok(Some((uid, gid)))
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection as _, PgConnection, Row as _};

    use super::*;

    #[tokio::test]
    async fn it_is_reached_by_its_url_and_durable() {
        let postgres = Postgres::start(&Parts::from_environment().unwrap()).await.unwrap();
        let mut connection = PgConnection::connect(&postgres.url()).await.unwrap();
        for (setting, value) in [("fsync", "on"), ("synchronous_commit", "on"), ("server_encoding", "UTF8")] {
            let row = sqlx::query("select current_setting($1)").bind(setting).fetch_one(&mut connection).await.unwrap();
            assert_eq!(row.get::<String, _>(0), value, "{setting}");
        }
    }
}
