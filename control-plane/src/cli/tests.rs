//! The arguments' own consistency, and what is refused before anything runs.

use clap::CommandFactory as _;

use super::*;

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn arguments_are_read_or_refused() {
    let read = [
        "request --from-url http://h/v1/requests/new?service=s --justification why",
        "request --service s --action a --resource r --justification why --duration 15m",
        "request --service s --method POST --path /x --justification why",
        "revoke grant_1 --reason done --wait",
        "revoke grant_1 --reason done --wait=5s --json",
        "lock create --everything --reason breach",
        "lock create --subject user:a --reason leaked --wait",
        "lock create --service s --action a --reason r --duration 1h --json",
        "lock remove lock_1 --reason done --wait=5s",
        "lock list --state active",
        "signal set incident.open --reason down --duration 1h --wait",
        "signal set incident.open --reason down --duration 1h --if-not-set",
        "signal clear incident.open",
        "signal list --json",
        "token ann --data-dir d --group g --claim department=sales --claim level=3 --claim act={\"sub\":\"bot\"}",
        "policy check a.yaml b",
        "policy apply a.yaml --message m --wait",
        "policy apply a.yaml --expected policy_1 --wait=5s",
        "policy apply a.yaml --force",
        "policy show --id policy_1",
        "policy show --revision 7 --canonical",
        "policy history --limit 5 --json",
        "policy diff a b --exit-code",
        "policy schema",
        "policy generate --openapi a.yaml --service s --host a.example --host b.example --base-path /v1 --strict",
        "policy generate --descriptor-set a.binpb --grpc-service a.v1.B --grpc-service a.v1.C",
        "audit verify --database sqlite:x",
        "doctor --envoy-config a.yaml b.json --single-use-route once --json",
        "serve --dev --data-dir d --operator user:a --operator group:b",
        "serve --dev=false --data-dir d",
    ];
    for line in read {
        assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err());
    }
    let refused = [
        "request --justification why",
        "request --service s --action a --justification why",
        "request --from-url http://h --service s --justification why",
        "request --service s --action a --resource r --method GET --path / --justification why",
        "request --service s --action a --resource r --justification why --duration soon",
        "deny req_1",
        "revoke grant_1",
        "lock create --reason r",
        "lock create --everything --service s --reason r",
        "lock create --action a --reason r",
        "lock create --service s",
        "signal set incident.open --reason down",
        "signal set incident.open --duration 1h",
        "token ann --data-dir d --claim sub=bob",
        "token ann --data-dir d --claim department",
        "policy check",
        "policy apply",
        "policy apply a.yaml --expected policy_1 --force",
        "policy show --id policy_1 --revision 7",
        "policy generate",
        "policy generate --openapi a.yaml --descriptor-set a.binpb",
        "policy generate --openapi a.yaml --grpc-service a.v1.B",
        "doctor",
        "doctor --envoy-config",
        "credential --name n --data-dir d",
    ];
    for line in refused {
        assert!(parse(line).is_err(), "{line}");
    }
}

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("grantmesh").chain(line.split(' ')))
}

#[test]
fn an_id_is_one_segment_of_a_path() {
    assert_eq!(segment("req_01"), "req_01");
    assert_eq!(segment("../grants?x=/#"), "---grants-x---");
}
