//! The program itself against a server that listens: what people type, what they read, and the exit codes.

use std::net::SocketAddr;
use std::process::Output;

use grantmesh_control_plane::audit::LogHash;
use sqlx::{Connection as _, SqliteConnection};

use super::server::{ALICE, LEA, OLAF, POLICY, Person, Server};

pub(crate) struct Story {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
}

#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    #[track_caller]
    pub(crate) fn fine(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }
}

pub(crate) async fn grantmesh(arguments: &[&str], environment: &[(&str, &str)]) -> Said {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_grantmesh"));
    let known = ["GRANTMESH_SERVER", "GRANTMESH_TOKEN", "GRANTMESH_DATA_DIR", "GRANTMESH_LOG_KEY"];
    known.iter().for_each(|name| {
        command.env_remove(name);
    });
    command.args(arguments).envs(environment.iter().copied());
    let Output { status, stdout, stderr } = command.output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: status.code().unwrap(), out: text(stdout), err: text(stderr) }
}

impl Story {
    async fn begin() -> Self {
        Self::with(Server::bare().await).await
    }

    pub(crate) async fn with(mut server: Server) -> Self {
        let address = server.listen().await;
        Self { server, address }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) async fn say(&self, person: Person, line: &str) -> Said {
        let arguments: Vec<String> = line.split(' ').map(|word| word.replace('_', " ").replace('~', "_")).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (server, token) = (format!("http://{}", self.address), self.server.token(person));
        grantmesh(&arguments, &[("GRANTMESH_SERVER", &server), ("GRANTMESH_TOKEN", &token)]).await
    }
}

fn id(prefix: &str, text: &str) -> String {
    let at = text.find(prefix).unwrap_or_else(|| panic!("no {prefix} in {text}"));
    text[at..at + prefix.len() + 26].replace('_', "~")
}

#[tokio::test(flavor = "multi_thread")]
async fn asked_for_approved_revoked_and_verified() {
    let story = Story::begin().await;
    let folder = story.server.folder.path().display().to_string().replace('_', "~");
    let policies = story.server.folder.path().join("policies");
    std::fs::create_dir(&policies).unwrap();
    std::fs::write(policies.join("payments.yaml"), POLICY).unwrap();
    let applied = story.say(OLAF, &format!("policy apply {folder}/policies --message the_first")).await.fine();
    assert!(applied.contains("is in force, digest ") && applied.contains(", for payments"), "{applied}");
    assert!(story.say(OLAF, "policy show").await.fine().contains("kind: Rule"));

    let url = format!(
        "http://{}/v1/requests/new?service=payments&action=refund.create&resource=account%2Facc-42",
        story.address
    );
    let asked = story
        .say(ALICE, &format!("request --from-url {url} --justification charged_twice --duration 10m"))
        .await
        .fine();
    let request = id("req_", &asked);
    assert!(asked.contains("is pending") && asked.contains("why: charged twice"), "{asked}");
    let own = story.say(ALICE, &format!("approve {request}")).await;
    assert_eq!(own.code, 1);
    assert!(own.err.contains("self_approval") && own.err.contains("ask another reviewer"), "{own:?}");
    let listed = story.say(LEA, "requests --state pending").await.fine();
    assert!(listed.contains("REQUEST") && listed.contains("charged twice") && !listed.contains('\u{1b}'), "{listed}");

    let approved = story.say(LEA, &format!("approve {request} --reason seen")).await.fine();
    let grant = id("grant_", &approved);
    assert!(story.say(ALICE, "grants --state active").await.fine().contains("account/acc-42"));
    let revoked = story.say(LEA, &format!("revoke {grant} --reason done --wait")).await.fine();
    assert!(revoked.contains("is revoked") && revoked.contains("no filter"), "{revoked}");
    let again = story.say(LEA, &format!("revoke {grant} --reason done")).await;
    assert!(again.code == 1 && again.err.contains("already_ended"), "{again:?}");

    let tail = story.say(OLAF, "audit tail --limit 2").await.fine();
    assert_eq!(tail.lines().count(), 2, "{tail}");
    assert!(tail.contains("grant.revoked") && tail.contains("lea"), "{tail}");
    let vkey = story.server.log_vkey.replace('_', "~");
    assert!(story.say(OLAF, &format!("audit verify --log-key {vkey}")).await.fine().contains("is whole: 6 entries"));
    assert_eq!(story.say(OLAF, &format!("audit verify --database sqlite:{folder}/grantmesh.db")).await.code, 0);
    let other = "grantmesh/x+00000000+AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    assert_eq!(
        story.say(OLAF, &format!("audit verify --log-key {other}")).await.code,
        1,
        "a log of another key is not this one"
    );
    assert_eq!(story.say(ALICE, "audit tail").await.code, 1);
    assert!(story.say(OLAF, "fleet").await.err.contains("no filters"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_tree_is_not_over_its_entries_is_found_out_by_whoever_reads_it() {
    let story = Story::begin().await;
    let folder = story.server.folder.path().display().to_string();
    let policy = story.server.folder.path().join("policy.yaml");
    std::fs::write(&policy, POLICY).unwrap();
    let policy = policy.display().to_string().replace('_', "~");
    story.say(OLAF, &format!("policy apply {policy} --message first")).await.fine();
    let lock = "lock create --everything --reason drill";
    story.say(OLAF, lock).await.fine();
    let vkey = story.server.log_vkey.replace('_', "~");
    let verify = format!("audit verify --log-key {vkey}");
    assert!(story.say(OLAF, &verify).await.fine().contains("is whole"));

    // Somebody rewrites an entry and its leaf. What the root is made of stays, and so it is still signed.
    let mut database = SqliteConnection::connect(&format!("sqlite:{folder}/grantmesh.db")).await.unwrap();
    let first = "SELECT entry FROM log_entries WHERE seq = 0";
    let (mut forged,): (Vec<u8>,) = sqlx::query_as(first).fetch_one(&mut database).await.unwrap();
    // Its last digit: of a time, a number or a hash.
    let digit = forged.iter().rposition(u8::is_ascii_digit).unwrap();
    forged[digit] = if forged[digit] == b'9' { b'8' } else { b'9' };
    let leaf = LogHash::of_entry(&forged).0.to_vec();
    for (sql, bytes) in [
        ("UPDATE log_entries SET entry = $1 WHERE seq = 0", forged),
        ("UPDATE log_hashes SET hash = $1 WHERE idx = 0", leaf),
    ] {
        let changed = sqlx::query(sql).bind(bytes).execute(&mut database).await.unwrap();
        assert_eq!(changed.rows_affected(), 1, "{sql}");
    }
    let said = story.say(OLAF, &verify).await;
    assert!(said.code == 1 && said.err.contains("but the checkpoint says"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_applied_over_what_was_seen_and_its_history_is_kept() {
    let story = Story::begin().await;
    let file = story.server.folder.path().join("p.yaml");
    let write =
        |to: &str| std::fs::write(&file, POLICY.replace("maxDuration: 1h", &format!("maxDuration: {to}"))).unwrap();
    let path = file.display().to_string().replace('_', "~");
    write("1h");
    assert!(story.say(OLAF, "policy history").await.err.contains("no policy was applied yet"));
    let first = id("policy_", &story.say(OLAF, &format!("policy apply {path} --message the_first")).await.fine());
    let again = story.say(OLAF, &format!("policy apply {path}")).await.fine();
    assert!(again.contains("nothing to apply") && again.contains(&first.replace('~', "_")), "{again}");
    write("2h");
    let second = story.say(OLAF, &format!("policy apply {path} --message longer --wait")).await.fine();
    assert!(
        second.starts_with("changed: rule payments refund-by-support\n") && second.contains("no filter"),
        "{second}"
    );

    // Made from a version that is not in force any more.
    write("3h");
    let refused = story.say(OLAF, &format!("policy apply {path} --expected {first}")).await;
    assert_eq!(refused.code, 1);
    for part in [
        "policy_changed",
        "applied by `olaf`",
        "(longer)",
        "changed: rule payments refund-by-support",
        "maxDuration: 1h -> 2h",
    ] {
        assert!(refused.err.contains(part), "{part}: {}", refused.err);
    }
    assert!(story.say(OLAF, &format!("policy apply {path} --force")).await.fine().contains("is in force"));
    let elsewhere = story.say(LEA, &format!("policy apply {path}")).await;
    assert!(elsewhere.code == 1 && elsewhere.err.contains("not_auditor"), "{elsewhere:?}");

    let history = story.say(OLAF, "policy history").await.fine();
    let lines: Vec<&str> = history.lines().collect();
    assert_eq!(lines.len(), 4, "{history}");
    assert!(lines[2].contains("longer") && lines[3].contains("the first") && lines[3].contains("olaf"), "{history}");
    let short = story.say(OLAF, "policy history --limit 1").await;
    assert!(short.err.contains("there are older ones"), "{short:?}");
    let shown = story.say(OLAF, &format!("policy show --id {first}")).await.fine();
    assert!(
        shown.contains("# digest ") && shown.contains("# the first") && shown.contains("maxDuration: 1h"),
        "{shown}"
    );
    assert_eq!(story.say(OLAF, "policy show --revision 1").await.fine(), shown);
    assert_eq!(story.say(OLAF, "policy show --revision 0").await.code, 1);

    // The canonical form is the same policy.
    let canonical = story.say(OLAF, "policy show --canonical").await.fine();
    assert!(!canonical.contains("# file:"), "{canonical}");
    std::fs::write(&file, canonical).unwrap();
    assert!(story.say(OLAF, &format!("policy apply {path}")).await.fine().contains("nothing to apply"));
}

#[tokio::test(flavor = "multi_thread")]
async fn locked_listed_and_removed() {
    let story = Story::begin().await;
    let none = story.say(OLAF, "lock list").await;
    assert!(none.code == 0 && none.err.contains("no locks"), "{none:?}");
    let made =
        story.say(OLAF, "lock create --subject user:alice --reason key_leaked --duration 1h --wait").await.fine();
    assert!(made.contains("is active: user:alice") && made.contains("no filter"), "{made}");
    let lock = id("lock_", &made);
    let listed = story.say(OLAF, "lock list --state active").await.fine();
    assert!(listed.contains("user:alice") && listed.contains("key leaked") && listed.contains("olaf"), "{listed}");
    let refused = story.say(LEA, &format!("lock remove {lock}")).await;
    assert!(refused.code == 1 && refused.err.contains("not_operator"), "{refused:?}");
    let removed = story.say(OLAF, &format!("lock remove {lock} --reason rotated --json")).await.fine();
    assert!(removed.contains("\"end_reason\": \"rotated\""), "{removed}");
    let again = story.say(OLAF, &format!("lock remove {lock}")).await;
    assert!(again.code == 1 && again.err.contains("already_ended"), "{again:?}");
    let unknown = story.say(OLAF, "signal set incident.open --reason down --duration 1h").await;
    assert!(unknown.code == 1 && unknown.err.contains("not_found"), "{unknown:?}");
    assert!(story.say(OLAF, "signal list").await.err.contains("no signals"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_told_with_what_to_do() {
    let story = Story::begin().await;
    let elsewhere =
        story.say(ALICE, "request --from-url http://127.0.0.1:1/v1/requests/new?service=x --justification why").await;
    assert!(elsewhere.code == 1 && elsewhere.err.contains("the token is not sent there"), "{elsewhere:?}");
    // What stands behind a challenge's `#` is shown by no failure.
    for url in [
        "http://127.0.0.1:1/v1/requests/new?service=x#call=s3cret".to_owned(),
        format!("http://{}/v1/requests/new?service=x#call=s3cret", story.address),
        "http:// x#call=s3cret".to_owned(),
    ] {
        let token = story.server.token(ALICE);
        let server = format!("http://{}", story.address);
        let arguments = ["request", "--from-url", &url, "--justification", "why"];
        let said = grantmesh(&arguments, &[("GRANTMESH_SERVER", &server), ("GRANTMESH_TOKEN", &token)]).await;
        assert!(said.code == 1 && !said.err.contains("s3cret"), "{said:?}");
        let said = grantmesh(&arguments, &[("GRANTMESH_TOKEN", "t")]).await;
        assert!(said.code == 1 && !said.err.contains("s3cret"), "{said:?}");
    }
    let none = grantmesh(&["requests", "--server", "http://127.0.0.1:1"], &[]).await;
    assert!(none.code == 1 && none.err.contains("there is no token"), "{none:?}");
    let dead = grantmesh(&["requests", "--server", "http://127.0.0.1:1", "--token", "secret-token"], &[]).await;
    assert!(dead.code == 1 && dead.err.contains("cannot be reached") && !dead.err.contains("secret-token"), "{dead:?}");
    assert_eq!(grantmesh(&["requests", "--colour"], &[]).await.code, 2);
    let missing = grantmesh(&["serve", "--data-dir", "/nonexistent/x", "--dev", "--listen", "0.0.0.0:0"], &[]).await;
    assert!(missing.code == 1 && missing.err.contains("loopback only"), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folder_alone_is_enough_for_keys_and_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("data");
    let path = folder.to_str().unwrap();
    let serve =
        grantmesh(&["serve", "--data-dir", path, "--issuer", "i", "--audience", "a", "--jwks", "none.json"], &[]).await;
    assert!(serve.code == 1 && serve.err.contains("grantmesh keygen --data-dir"), "{serve:?}");
    let keys = grantmesh(&["keygen", "--data-dir", path, "--json"], &[]).await.fine();
    assert_eq!(grantmesh(&["keygen", "--data-dir", path, "--json"], &[]).await.fine(), keys, "keys are kept");
    let credential = grantmesh(&["credential", "--name", "n", "--service", "s", "--data-dir", path], &[]).await.fine();
    assert_eq!(credential.trim().split('.').count(), 3);
    let token = grantmesh(&["token", "ann", "--data-dir", path], &[]).await;
    assert!(token.code == 1 && token.err.contains("dev-issuer.key"), "{token:?}");
    let checked = grantmesh(&["serve", "--check", "--dev", "--data-dir", path], &[("GRANTMESH_LISTEN", "127.0.0.1:7")])
        .await
        .fine();
    assert!(checked.contains("listen: 127.0.0.1:7"), "{checked}");
    // A new epoch is told alike to people and programs, with what it comes after.
    let new_epoch = ["new-epoch", "--data-dir", path, "--reason", "restored"];
    let told = grantmesh(&new_epoch, &[]).await;
    assert!(told.out.contains("begins at revision") && told.err.contains("uses that were taken"), "{told:?}");
    let again = grantmesh(&[&new_epoch[..], &["--json"]].concat(), &[]).await;
    assert_eq!(again.err, told.err);
    let again: serde_json::Value = serde_json::from_str(&again.fine()).unwrap();
    let before = again["before"].clone();
    assert!(told.out.starts_with(&format!("epoch {} begins at revision {}", before["epoch"], before["revision"])));
    assert!(again["epoch"].as_u64() > before["epoch"].as_u64() && again["time_goes_back"].is_null(), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_faults_are_shown_where_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.yaml");
    std::fs::write(&file, POLICY.replace("refund.list]", "refund.lst]")).unwrap();
    let path = file.to_str().unwrap();
    let said = grantmesh(&["policy", "check", path], &[]).await;
    assert_eq!(said.code, 1);
    let shown = said.err.replace(path, "p.yaml");
    insta::assert_snapshot!(shown, @r"
    p.yaml:39:31: the service `payments` has no action `refund.lst`
      39 |       actions: [account.read, refund.lst]
         |                               ^
      help: did you mean `refund.list`?
    error: the policy has 1 fault(s)
    ");
    std::fs::write(&file, POLICY).unwrap();
    assert!(
        grantmesh(&["policy", "check", folder.path().to_str().unwrap()], &[]).await.fine().contains("ok: 1 file(s)")
    );
    let unused = "---\napiVersion: grantmesh.dev/v1\nkind: Role\nmetadata: { name: unused }\n\
                  spec: { permissions: [{ service: payments, actions: [account.read] }] }\n";
    std::fs::write(&file, format!("{POLICY}{unused}")).unwrap();
    let warned = grantmesh(&["policy", "check", path], &[]).await;
    assert!(warned.code == 0 && warned.out.contains("ok: 1 file(s), 1 warning(s)"), "{warned:?}");
    assert!(warned.err.contains(": warning: nobody has the role `unused`\n"), "{warned:?}");
    let denied = grantmesh(&["policy", "check", path, "--deny-warnings"], &[]).await;
    assert!(denied.code == 1 && denied.err.contains("nobody has the role"), "{denied:?}");
    let json = grantmesh(&["policy", "check", path, "--json"], &[]).await.fine();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (json["faults"].as_array().map(Vec::len), json["warnings"].as_array().map(Vec::len)),
        (Some(0), Some(1))
    );
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(grantmesh(&["policy", "check", empty.path().to_str().unwrap()], &[]).await.code, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_fails_open_is_refused_by_the_doctor() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plugin.yaml");
    let manifest = |strategy: &str| {
        format!(
            "kind: WasmPlugin\nmetadata: {{ name: grantmesh }}\nspec:\n  failStrategy: {strategy}\n  pluginConfig: \
             {{ services: [s], keys: [\"{}\"], credential: s3cret, public_url: 'https://g' }}\n",
            "00".repeat(32)
        )
    };
    let path = file.to_str().unwrap();
    std::fs::write(&file, manifest("FAIL_CLOSE")).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert!(grantmesh(&["doctor", "--envoy-config", path], &[]).await.fine().starts_with("ok: "));
    std::fs::write(&file, manifest("FAIL_OPEN")).unwrap();
    let said = grantmesh(&["doctor", "--envoy-config", path], &[]).await;
    assert_eq!(said.code, 1);
    assert!(said.out.contains("fail_open") && said.out.contains("help: ") && said.err.contains("1 fault"), "{said:?}");
    let said = grantmesh(&["doctor", "--json", "--envoy-config", path], &[]).await;
    assert!(said.code == 1 && said.out.contains("\"severity\": \"fault\"") && !said.out.contains("s3cret"), "{said:?}");
    let missing = grantmesh(&["doctor", "--envoy-config", "none.yaml"], &[]).await;
    assert!(missing.code == 1 && missing.err.contains("`none.yaml` cannot be read"), "{missing:?}");
}
