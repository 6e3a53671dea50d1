//! Databases for scenarios: a SQLite file, or a database of a PostgreSQL cluster of our own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use tempfile::TempDir;

/// A fresh database.
#[derive(Debug)]
pub(crate) struct Db {
    pub(crate) url: String,
    _folder: Option<TempDir>,
}

impl Db {
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("grantmesh.db").display());
        Self { url, _folder: Some(folder) }
    }

    pub(crate) fn is_postgres(&self) -> bool {
        self.url.starts_with("postgres:")
    }

    /// Changes the database behind the back of everyone; gives how many rows it touched.
    pub(crate) async fn tamper(&self, sql: &str) -> u64 {
        let sql = AssertSqlSafe(sql.to_owned());
        if self.is_postgres() {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            sqlx::query(sql).execute(&mut connection).await.unwrap().rows_affected()
        } else {
            let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::query(sql).execute(&mut connection).await.unwrap().rows_affected()
        }
    }

    /// A literal of bytes in this database's SQL.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> String {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        if self.is_postgres() { format!("'\\x{hex}'::bytea") } else { format!("x'{hex}'") }
    }
}

/// A PostgreSQL cluster in a temporary folder, reached by a socket in it. Stopped and removed when it is dropped, also by
/// a panic; should the test process be killed, the kernel stops the server.
#[derive(Debug)]
pub(crate) struct Cluster {
    server: Child,
    folder: TempDir,
}

/// The account that runs the server when the tests run as root, which PostgreSQL refuses.
const NOBODY: u32 = 65_534;

#[expect(clippy::disallowed_methods, reason = "tests are told by their environment where PostgreSQL is")]
fn programs() -> PathBuf {
    let stated = std::env::var_os("GRANTMESH_POSTGRES_BIN").map(PathBuf::from);
    let debian = (13..=18).rev().map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")));
    let found = stated.into_iter().chain(debian).find(|folder| folder.join("initdb").exists());
    found.expect(
        "PostgreSQL's server programs are needed: install `postgresql`, or set GRANTMESH_POSTGRES_BIN to their folder",
    )
}

/// What databases are copies of.
const TEMPLATE: &str = "with_schema";

impl Cluster {
    pub(crate) async fn start() -> Self {
        let programs = programs();
        let folder = tempfile::tempdir().unwrap();
        let as_root = std::fs::metadata("/proc/self").is_ok_and(|of| std::os::unix::fs::MetadataExt::uid(&of) == 0);
        if as_root {
            std::os::unix::fs::chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let command = |program: &str| {
            let program = programs.join(program);
            if !as_root {
                return Command::new(program);
            }
            let mut command = Command::new("setpriv");
            let nobody = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")];
            command.args(nobody).args(["--clear-groups", "--pdeathsig=INT", "--"]).arg(program);
            command
        };
        let data = folder.path().join("data");
        let made = command("initdb")
            .args(["--auth=trust", "--username=grantmesh", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(&data)
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let server = command("postgres")
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(folder.path())
            .args(["-c", "listen_addresses=", "-c", "fsync=on", "-c", "max_connections=200"])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let cluster = Self { server, folder };
        cluster.wait_until_ready().await;
        cluster.make_template().await;
        cluster
    }

    /// A database with the whole schema, which all others are copies of: the steps to it are not what each scenario is about.
    async fn make_template(&self) {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/postgres"));
        let mut connection = PgConnection::connect(&self.url("postgres")).await.unwrap();
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {TEMPLATE}"))).execute(&mut connection).await.unwrap();
        let mut template = PgConnection::connect(&self.url(TEMPLATE)).await.unwrap();
        sqlx::migrate::Migrator::new(folder).await.unwrap().run(&mut template).await.unwrap();
        template.close().await.unwrap();
    }

    fn url(&self, database: &str) -> String {
        let host = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://grantmesh@{host}/{database}")
    }

    async fn wait_until_ready(&self) {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        let ready = async {
            while PgConnection::connect(&self.url("postgres")).await.is_err() {
                look.tick().await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(60), ready).await.is_err() {
            panic!("PostgreSQL did not start: {}", log(self.folder.path()));
        }
    }

    /// A fresh database.
    pub(crate) async fn database(&self, name: &str) -> Db {
        let name: String = name.chars().take(60).collect();
        let mut connection = PgConnection::connect(&self.url("postgres")).await.unwrap();
        let made = format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}");
        sqlx::query(AssertSqlSafe(made)).execute(&mut connection).await.unwrap();
        Db { url: self.url(&name), _folder: None }
    }
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap_or_default()
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Immediate shutdown: the data is thrown away.
        let told = Command::new("kill").args(["-QUIT", &self.server.id().to_string()]).status();
        if !told.is_ok_and(|status| status.success()) {
            self.server.kill().ok();
        }
        self.server.wait().ok();
    }
}
