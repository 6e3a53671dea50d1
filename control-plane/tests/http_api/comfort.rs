//! What makes the command line pleasant: it waits for decisions, watches, runs refused commands again, completes.

use std::time::Duration;

use super::cli::{Story, grantmesh};
use super::server::{ALICE, LEA, Server};

const ASK: &str = "request --service payments --action refund.create --resource account/acc-42 --justification why";

/// The id of the request that is pending, once there is one.
async fn pending(story: &Story) -> String {
    let look = async {
        loop {
            let listed = story.server.get(LEA, "/v1/requests?state=pending").await.expect(200);
            if let Some(id) = listed["items"][0]["id"].as_str() {
                return id.replace('_', "~");
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), look).await.expect("no request is filed")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_waited_for_and_the_exit_code_says_what_came_of_it() {
    let story = Story::with(Server::start().await).await;
    let wait = format!("{ASK} --wait");
    let decide = async |person, line: &str| {
        let asked = story.say(ALICE, &wait);
        let decided = async {
            let id = pending(&story).await;
            story.say(person, &line.replace("ID", &id)).await.fine();
        };
        tokio::join!(asked, decided).0
    };
    let approved = decide(LEA, "approve ID").await;
    assert!(approved.code == 0 && approved.out.contains("is approved"), "{approved:?}");
    assert!(approved.err.contains("is pending, 0 reviews"), "{approved:?}");
    let denied = decide(LEA, "deny ID --reason no").await;
    assert!(denied.code == 4 && denied.out.contains("is denied"), "{denied:?}");
    assert_eq!(decide(ALICE, "withdraw ID").await.code, 5);
    let still = story.say(ALICE, &format!("{ASK} --wait=1s --json")).await;
    assert!(still.code == 6 && still.out.contains("\"pending\""), "{still:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_watched_as_they_happen() {
    let story = Story::with(Server::start().await).await;
    let watched = story.say(LEA, "watch --count 2");
    tokio::pin!(watched);
    // Until it watches, nothing is told; so there is always one more.
    let said = loop {
        tokio::select! {
            said = &mut watched => break said,
            _ = story.server.request() => {}
        }
    };
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!(lines.len(), 2, "{said:?}");
    // Each of them is for another account, and the first ones may have been before it watched.
    assert!(
        lines[0].contains("request.filed") && lines[0].contains("alice: refund.create on account/acc-"),
        "{lines:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_command_is_asked_for_and_run_again() {
    let story = Story::with(Server::start().await).await;
    let file = story.server.folder.path().join("answer");
    let url = format!(
        "http://{}/v1/requests/new?service=payments&action=refund.create&resource=account%2Facc-42",
        story.address()
    );
    let challenge = serde_json::json!({ "status": 403, "decision": "ask", "request_url": url });
    std::fs::write(&file, challenge.to_string()).unwrap();
    let line = format!("run --justification charged_twice -- cat {}", file.display().to_string().replace('_', "~"));
    let ran = story.say(ALICE, &line);
    let decided = async {
        let id = pending(&story).await;
        std::fs::write(&file, "refunded\n").unwrap();
        story.say(LEA, &format!("approve {id}")).await.fine();
    };
    let (ran, ()) = tokio::join!(ran, decided);
    assert!(ran.code == 0 && ran.out == "refunded\n" && ran.err.contains("is approved"), "{ran:?}");

    // What is not refused is run once, and ends as it ends; nobody lends it the token.
    let plain = story.say(ALICE, "run --justification why -- sh -c echo_$GRANTMESH~TOKEN;exit_7").await;
    assert_eq!((plain.code, plain.out.as_str()), (7, "\n"), "{plain:?}");
    let missing = story.say(ALICE, "run --justification why -- no-such-program").await;
    assert!(missing.code == 1 && missing.err.contains("cannot be run"), "{missing:?}");

    // A challenge of another server gets no token.
    std::fs::write(&file, challenge.to_string().replace(&story.address().to_string(), "elsewhere.example")).unwrap();
    let elsewhere = story.say(ALICE, &line).await;
    assert!(elsewhere.code == 1 && elsewhere.err.contains("the token is not sent there"), "{elsewhere:?}");
}

#[tokio::test]
async fn shells_get_their_completion() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = grantmesh(&["completion", shell], &[]).await.fine();
        assert!(script.contains("grantmesh") && script.contains("withdraw"), "{shell}");
    }
}
