//! The control plane as a process, with its data folder, its people's tokens and its command line.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;

use crate::api::Api;
use crate::parts::Parts;
use crate::people::Person;
use crate::process::{Process, without_our_environment};
use crate::wait::{PATIENCE, until};
use crate::wall_clock::WallClock;

/// A control plane: its folder, and its process while it runs.
#[derive(Debug)]
pub struct ControlPlane {
    grantmesh: PathBuf,
    folder: PathBuf,
    database: Option<String>,
    serve: &'static [&'static str],
    clock: Option<WallClock>,
    /// The port stays the same over restarts; before the first start it is 0.
    address: SocketAddr,
    process: Option<Process>,
    tokens: Mutex<HashMap<&'static str, String>>,
}

/// What a command printed, and how it ended.
#[derive(Debug, Clone)]
pub struct CliOutput {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl CliOutput {
    /// Standard output, if the command succeeded.
    ///
    /// # Errors
    /// If it did not.
    pub fn success(&self) -> Result<&str> {
        ensure!(self.code == 0, "the command ended with {}\n{}{}", self.code, self.out, self.err);
        Ok(&self.out)
    }

    /// Standard output as JSON, if the command succeeded.
    ///
    /// # Errors
    /// If it did not, or printed no JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(self.success()?).with_context(|| format!("no JSON: {}", self.out))
    }
}

impl ControlPlane {
    /// Starts one with the development issuer, further arguments and, if it is not the machine's, its own wall clock;
    /// everything it keeps is below `folder`.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start(
        parts: &Parts,
        folder: &Path,
        database: Option<String>,
        serve: &'static [&'static str],
        clock: Option<WallClock>,
    ) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut this = Self {
            grantmesh: parts.grantmesh.clone(),
            folder: folder.to_owned(),
            database,
            serve,
            clock,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            process: None,
            tokens: Mutex::default(),
        };
        this.run().await?;
        Ok(this)
    }

    /// Starts another process beside it that shares its database and keys, with a folder of its own.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn replica(&self, parts: &Parts, folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        for file in std::fs::read_dir(&self.folder)? {
            let file = file?;
            if Path::new(&file.file_name()).extension().is_some_and(|kind| kind == "key") {
                std::fs::copy(file.path(), folder.join(file.file_name()))?;
            }
        }
        Self::start(parts, folder, Some(self.database()), self.serve, self.clock.clone()).await
    }

    /// Starts it again where it was: same folder, same port.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn run(&mut self) -> Result<()> {
        let told = self.folder.join("listening");
        if told.exists() {
            std::fs::remove_file(&told)?;
        }
        let mut serve = self.program();
        serve.args(["serve", "--dev", "--operator", "group:platform", "--listen", &self.address.to_string()]);
        serve.arg("--data-dir").arg(&self.folder).arg("--listen-file").arg(&told);
        serve.args(self.serve);
        if let Some(database) = &self.database {
            serve.args(["--database", database]);
        }
        let mut process = Process::start("the control plane", &mut serve, &self.folder.join("serve.log"))?;
        self.address = until("the control plane listens", PATIENCE, async || {
            process.alive()?;
            Ok(std::fs::read_to_string(&told).ok().and_then(|address| address.trim().parse().ok()))
        })
        .await
        .with_context(|| process.log_tail())?;
        self.process = Some(process);
        let api = Api::new(&self.url(), None)?;
        until("the control plane is ready", PATIENCE, async || {
            Ok(api.get("/readyz").await.ok().filter(|reply| reply.status == 200))
        })
        .await?;
        Ok(())
    }

    fn program(&self) -> Command {
        let mut command = Command::new(&self.grantmesh);
        if let Some(clock) = &self.clock {
            clock.give_to(&mut command);
        }
        command
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The folder with its keys and, unless it uses PostgreSQL, its database.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where its database is, as `--database` takes it.
    #[must_use]
    pub fn database(&self) -> String {
        self.database.clone().unwrap_or_else(|| format!("sqlite:{}", self.folder.join("grantmesh.db").display()))
    }

    /// Ends it at once: `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Asks it to end, and waits.
    ///
    /// # Errors
    /// If it does not end cleanly and soon.
    pub async fn stop(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            let status = process.stop(Duration::from_secs(10)).await?;
            ensure!(status.success(), "the control plane ended with {status}\n{}", process.log_tail());
        }
        Ok(())
    }

    /// Its process id.
    ///
    /// # Errors
    /// If it does not run.
    pub fn id(&self) -> Result<u32> {
        Ok(self.process.as_ref().context("it does not run")?.id())
    }

    /// Freezes it: connections stay, nothing is answered.
    ///
    /// # Errors
    /// If it does not run.
    pub fn freeze(&self) -> Result<()> {
        self.process.as_ref().context("it does not run")?.signal(Signal::STOP)
    }

    /// Lets it go on after [`Self::freeze`].
    ///
    /// # Errors
    /// If it does not run.
    pub fn thaw(&self) -> Result<()> {
        self.process.as_ref().context("it does not run")?.signal(Signal::CONT)
    }

    /// All that it has logged since its folder was made.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("serve.log")).unwrap_or_default()
    }

    /// A token of the development issuer; one per person is made and kept.
    ///
    /// # Errors
    /// If the command fails.
    pub async fn token(&self, person: &Person) -> Result<String> {
        if let Some(token) = self.tokens.lock().unwrap_or_else(PoisonError::into_inner).get(person.name) {
            return Ok(token.clone());
        }
        let token = self.token_with(person, &[]).await?;
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).insert(person.name, token.clone());
        Ok(token)
    }

    /// A token of the development issuer, made with further arguments of `grantmesh token`.
    ///
    /// # Errors
    /// If the command fails.
    pub async fn token_with(&self, person: &Person, more: &[&str]) -> Result<String> {
        let mut arguments = vec!["token", person.name];
        arguments.extend(person.groups.iter().flat_map(|group| ["--group", group]));
        arguments.extend(more);
        Ok(self.offline(&arguments).await?.success()?.trim().to_owned())
    }

    /// A credential for a filter of the payments service.
    ///
    /// # Errors
    /// If the command fails.
    pub async fn filter_credential(&self, node: &str) -> Result<String> {
        let output = self.offline(&["credential", "--name", node, "--service", "payments"]).await?;
        Ok(output.success()?.trim().to_owned())
    }

    /// The public key that filters pin, in hexadecimal, and the log's verifier key.
    ///
    /// # Errors
    /// If the command fails or prints something else.
    pub async fn public_keys(&self) -> Result<(String, String)> {
        let keys = self.offline(&["keygen", "--json"]).await?.json()?;
        let filter = crate::json::text(&keys, "/filter_key")?.to_owned();
        Ok((filter, crate::json::text(&keys, "/log_key")?.to_owned()))
    }

    /// A client of the API with somebody's token.
    ///
    /// # Errors
    /// If no token can be made.
    pub async fn api(&self, person: &Person) -> Result<Api> {
        Api::new(&self.url(), Some(self.token(person).await?))
    }

    /// Runs the command line as somebody, against this server.
    ///
    /// # Errors
    /// If it cannot be run; that it refuses is no error here.
    pub async fn cli(&self, person: &Person, arguments: &[&str]) -> Result<CliOutput> {
        let mut command = self.program();
        without_our_environment(&mut command).args(arguments);
        command.env("GRANTMESH_SERVER", self.url()).env("GRANTMESH_TOKEN", self.token(person).await?);
        output(command).await
    }

    /// Runs a command that works on the data folder, with or without a server.
    ///
    /// # Errors
    /// If it cannot be run; that it refuses is no error here.
    pub async fn offline(&self, arguments: &[&str]) -> Result<CliOutput> {
        let mut command = self.program();
        without_our_environment(&mut command).args(arguments).arg("--data-dir").arg(&self.folder);
        output(command).await
    }

    /// Runs a command with exactly these arguments and no server.
    ///
    /// # Errors
    /// If it cannot be run; that it refuses is no error here.
    pub async fn bare(&self, arguments: &[&str]) -> Result<CliOutput> {
        let mut command = self.program();
        without_our_environment(&mut command).args(arguments);
        output(command).await
    }
}

async fn output(command: Command) -> Result<CliOutput> {
    let mut command = tokio::process::Command::from(command);
    let running = command.stdin(std::process::Stdio::null()).kill_on_drop(true).output();
    let output =
        tokio::time::timeout(Duration::from_secs(60), running).await.context("a command takes over 60 s")??;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(CliOutput { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) })
}
