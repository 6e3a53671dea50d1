//! A policy is what its documents say: not where they stand, nor in which file or form, it comes off the wire as it went on, and
//! what is printed of it is the same policy.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test code: a fault ends the test")]

use grantmesh_shared::wire::policy::{Documents, Policy, PolicyFile, compile, parse, schema};
use grantmesh_shared::wire::table::Body;
use proptest::prelude::*;

const HEAD: &str = "apiVersion: grantmesh.dev/v1\n";

const FIXED: [&str; 6] = [
    "kind: Defaults\nmetadata: { name: d }\nspec: { issuer: https://id.example, claims: [{ name: level, type: number }], signals: [{ name: freeze, setters: [\"group:sre\"] }] }",
    "kind: Service\nmetadata: { name: shop }\nspec: { headers: [x-ticket], actions: [{ name: read, method: GET, path: \"/o/{o}\", fields: [{ name: card, in: response, mask: true }] }, { name: pay, method: POST, path: \"/o/{o}\", body: strict, fields: [{ name: amount, in: request, type: number }] }] }",
    "kind: Service\nmetadata: { name: stock }\nspec: { unmatched: allow, actions: [{ name: count, grpc: stock.V1/Count }] }",
    "kind: Role\nmetadata: { name: reader }\nspec: { permissions: [{ service: shop, actions: [read] }, { service: stock, actions: [\"*\"] }] }",
    "kind: Role\nmetadata: { name: clerk }\nspec: { inherits: [reader], permissions: [{ service: shop, actions: [pay] }, { service: shop, actions: [read], reveals: [card] }] }",
    "kind: Role\nmetadata: { name: all }\nspec: { inherits: [clerk], permissions: [{ service: shop, actions: [\"*\"] }] }",
];

const CONDITIONS: [&str; 4] = [
    "",
    ", condition: \"signals.freeze\"",
    ", condition: \"principal.claims.level >= 2.50\"",
    ", condition: \"request.time.getHours(\\\"Europe/Berlin\\\") in [8, 9] && 'a' in principal.groups\"",
];

/// A document that may stand anywhere; `at` makes its name.
fn free(at: usize, (kind, one, two, condition): (u8, usize, usize, usize)) -> String {
    let role = ["reader", "clerk", "all"][one % 3];
    let group = ["group:a", "user:ann", "workload:spiffe://mesh/a", "group:a + workload:spiffe://mesh/a"][two % 4];
    let person = ["group:a", "user:ann"][two % 2];
    let condition = CONDITIONS[condition % CONDITIONS.len()];
    let bind = ["", ", bind: { exact: true }", ", bind: { fields: [amount], headers: [x-ticket] }"][one % 3];
    match kind % 3 {
        0 => format!(
            "kind: Binding\nmetadata: {{ name: b{at} }}\nspec: {{ role: {role}, subjects: [\"{group}\"]{condition} }}"
        ),
        1 => format!(
            "kind: Rule\nmetadata: {{ name: r{at} }}\nspec: {{ service: shop, actions: [pay], eligible: [\"{person}\"], reviewers: [\"group:leads\"], maxDuration: 1h{bind} }}"
        ),
        _ => format!(
            "kind: DenyRule\nmetadata: {{ name: n{at} }}\nspec: {{ service: shop, actions: [\"*\"], subjects: [\"{group}\"], reason: not today{condition} }}"
        ),
    }
}

fn read(files: &[Vec<String>]) -> Documents {
    let file = |(at, documents): (usize, &Vec<String>)| PolicyFile {
        name: format!("{at}.yaml"),
        text: documents.iter().map(|document| format!("{HEAD}{document}\n")).collect::<Vec<_>>().join("---\n"),
    };
    let files: Vec<PolicyFile> = files.iter().enumerate().map(file).collect();
    parse(&files).unwrap()
}

fn compiled(files: &[Vec<String>]) -> Policy {
    compile(&read(files)).unwrap()
}

/// Prints documents, reads them again, and looks that nothing is another.
fn printed(documents: &Documents) -> Documents {
    let text = documents.to_yaml().unwrap();
    let again = parse(&[PolicyFile { name: "printed.yaml".to_owned(), text: text.clone() }]);
    let again = again.unwrap_or_else(|faults| panic!("{faults:?}\n{text}"));
    assert_eq!(again.digest().unwrap(), documents.digest().unwrap(), "{text}");
    assert_eq!(again.to_yaml().unwrap(), text);
    assert_eq!(
        compile(&again).map_err(|faults| faults.len()),
        compile(documents).map_err(|faults| faults.len()),
        "{text}"
    );
    again
}

fn written(policy: &Policy) -> Vec<String> {
    let items = policy.services.iter().cloned().map(|service| Body::Service(service).into_item().unwrap());
    items.map(|item| item.body.get().to_owned()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn order_and_files_do_not_matter(
        (documents, shuffled) in prop::collection::vec((any::<u8>(), any::<usize>(), any::<usize>(), any::<usize>()), 0..8)
            .prop_map(|free_ones| {
                let free = free_ones.into_iter().enumerate().map(|(at, parts)| free(at, parts));
                FIXED.map(str::to_owned).into_iter().chain(free).collect::<Vec<_>>()
            })
            .prop_flat_map(|documents| (Just(documents.clone()), Just(documents).prop_shuffle())),
        split in any::<prop::sample::Index>(),
    ) {
        let policy = compiled(&[documents]);
        let at = split.index(shuffled.len());
        let (one, two) = shuffled.split_at(at);
        let other = compiled(&[one.to_vec(), two.to_vec()].into_iter().filter(|file| !file.is_empty()).collect::<Vec<_>>());
        prop_assert_eq!(&policy, &other);
        prop_assert_eq!(written(&policy), written(&other));
        let halves = [one.to_vec(), two.to_vec()].into_iter().filter(|file| !file.is_empty()).collect::<Vec<_>>();
        prop_assert_eq!(read(std::slice::from_ref(&shuffled)).digest().unwrap(), read(&halves).digest().unwrap());
    }

    #[test]
    fn what_is_printed_is_the_same_policy_and_fits_the_schema(free_ones in prop::collection::vec((any::<u8>(), any::<usize>(), any::<usize>(), any::<usize>()), 0..8)) {
        let free = free_ones.into_iter().enumerate().map(|(at, parts)| free(at, parts));
        let documents: Vec<String> = FIXED.map(str::to_owned).into_iter().chain(free).collect();
        let validator = jsonschema::validator_for(&schema()).unwrap();
        for document in &documents {
            let value: serde_json::Value = serde_saphyr::from_str(&format!("{HEAD}{document}")).unwrap();
            prop_assert!(validator.is_valid(&value), "{document}");
        }
        let documents = read(&[documents]);
        let text = printed(&documents).to_yaml().unwrap();
        for document in text.split("---\n") {
            let value: serde_json::Value = serde_saphyr::from_str(document).unwrap();
            prop_assert!(validator.is_valid(&value), "{document}");
        }
    }

    #[test]
    fn any_text_prints_as_itself(texts in prop::collection::vec(prop_oneof![any::<String>(), "[ -~\n\t]{0,200}", "[-#:&*!|>'\"%@`{}, a1.~\n]{0,12}"], 3)) {
        let [description, condition, reason] = [&texts[0], &texts[1], &texts[2]];
        let document = |kind: &str, spec: serde_json::Value| {
            serde_json::json!({ "apiVersion": "grantmesh.dev/v1", "kind": kind, "metadata": { "name": reason }, "spec": spec }).to_string()
        };
        let service = document("Service", serde_json::json!({ "description": description, "hosts": [condition, reason], "actions": [{ "name": condition, "method": reason, "path": description }] }));
        let denial = document("DenyRule", serde_json::json!({ "service": reason, "actions": [condition], "condition": condition, "reason": description }));
        let files: Vec<PolicyFile> = [service, denial].into_iter().enumerate().map(|(at, text)| PolicyFile { name: at.to_string(), text }).collect();
        printed(&parse(&files).unwrap());
    }

    #[test]
    fn what_is_written_reads_back(free_ones in prop::collection::vec((any::<u8>(), any::<usize>(), any::<usize>(), any::<usize>()), 0..8)) {
        let free = free_ones.into_iter().enumerate().map(|(at, parts)| free(at, parts));
        let policy = compiled(&[FIXED.map(str::to_owned).into_iter().chain(free).collect()]);
        for service in &policy.services {
            let item = Body::Service(service.clone()).into_item().unwrap();
            let again: Body = serde_json::from_str(item.body.get()).unwrap();
            prop_assert_eq!(&again, &Body::Service(service.clone()));
            let again = again.into_item().unwrap();
            prop_assert_eq!(again.body.get(), item.body.get());
            prop_assert!(item.parse().is_ok());
        }
        let stored = serde_json::to_string(&policy).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Policy>(&stored).unwrap(), &policy);
    }
}

#[test]
fn the_examples_print_as_the_same_policies() {
    for text in [include_str!("../policies/payments/policy.yaml"), include_str!("../policies/agents/policy.yaml")] {
        let documents = parse(&[PolicyFile { name: "policy.yaml".to_owned(), text: text.to_owned() }]).unwrap();
        assert!(compile(&documents).is_ok());
        printed(&documents);
    }
}
