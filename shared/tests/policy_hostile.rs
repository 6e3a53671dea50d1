//! Policies that are meant to take all time or memory. What holds the work is a bound on sizes and counts, so that is what
//! is looked at here: what is refused, how many faults are told, how long they are.
#![expect(clippy::unwrap_used, reason = "test code: a fault ends the test")]

use std::fmt::Write as _;

use grantmesh_shared::wire::policy::{MAX_FAULTS, PolicyFault, PolicyFile, examine, parse};

const HEAD: &str = "apiVersion: grantmesh.dev/v1\n";

/// The faults of some files as a check tells them, all of which are short and not too many.
fn faults(texts: Vec<String>) -> Vec<PolicyFault> {
    let file = |(at, text): (usize, String)| PolicyFile { name: format!("{at}.yaml"), text };
    let files: Vec<PolicyFile> = texts.into_iter().enumerate().map(file).collect();
    let found = parse(&files).and_then(|documents| examine(&documents).policy).err().unwrap_or_default();
    assert!(found.len() <= MAX_FAULTS + 1, "{} faults", found.len());
    let longest = found.iter().map(|fault| fault.to_string().len()).max().unwrap_or(0);
    // A name that is not one is quoted whole, and files are bounded.
    assert!(longest < 1_100_000, "a fault of {longest} bytes");
    found
}

fn first(texts: Vec<String>) -> String {
    faults(texts).first().map(|fault| fault.message.chars().take(90).collect()).unwrap_or_default()
}

const TOO_MANY_PAIRS: &str = "`NAME` and what is before it name more than 1000000 pairs of an action and a principal";

fn document(kind: &str, name: &str, spec: &str) -> String {
    format!("{HEAD}kind: {kind}\nmetadata: {{ name: {name} }}\nspec: {{ {spec} }}\n")
}

/// A list of so many names.
fn list(count: usize, name: impl Fn(usize) -> String) -> String {
    format!("[{}]", (0..count).map(name).collect::<Vec<_>>().join(","))
}

/// So many documents in one file.
fn documents(count: usize, document: impl Fn(usize) -> String) -> String {
    (0..count).map(document).collect::<Vec<_>>().join("---\n")
}

fn service(name: &str, actions: &str) -> String {
    format!("{HEAD}kind: Service\nmetadata: {{ name: {name} }}\nspec:\n  actions:\n{actions}")
}

fn actions(count: usize, path: fn(usize) -> String) -> String {
    (0..count).fold(String::new(), |mut text, at| {
        writeln!(text, "  - {{name: a{at}, method: GET, path: \"{}\"}}", path(at)).unwrap();
        text
    })
}

#[test]
fn aliases_that_multiply_are_refused() {
    let mut text =
        format!("{HEAD}kind: Role\nmetadata: {{ name: laughs }}\nspec:\n  a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for at in 1..12 {
        let before = format!("*a{}", at - 1);
        writeln!(text, "  a{at}: &a{at} [{}]", vec![before; 9].join(", ")).unwrap();
    }
    assert_eq!(faults(vec![text]).len(), 1);
    // Where aliases are taken for values, they do not multiply either.
    let mut text = format!("{HEAD}kind: Rule\nmetadata: {{ name: laughs }}\nspec:\n  eligible: &e [\"user:a\"]\n");
    text.push_str("  reviewers: *e\n  actions: [*e, *e]\n");
    assert!(!faults(vec![text]).is_empty());
}

#[test]
fn nesting_is_refused() {
    for text in ["[".repeat(500_000), "{a: ".repeat(200_000), "- ".repeat(400_000), "!!x ".repeat(200_000)] {
        assert!(!faults(vec![format!("{HEAD}kind: Role\nspec: {text}")]).is_empty());
        assert!(!faults(vec![text]).is_empty());
    }
    let condition = format!("{}true{}", "(".repeat(2_000), ")".repeat(2_000));
    let binding = format!(
        "{HEAD}kind: Binding\nmetadata: {{ name: b }}\nspec: {{ role: r, subjects: [\"workload:spiffe://a/b\"], condition: \"{condition}\" }}"
    );
    let role = format!(
        "{HEAD}kind: Role\nmetadata: {{ name: r }}\nspec: {{ permissions: [{{ service: s, actions: [a0] }}] }}"
    );
    let found = first(vec![binding, role, service("s", &actions(1, |_| "/x".to_owned()))]);
    assert!(found.contains("nested"), "{found}");
}

#[test]
fn very_many_actions_are_refused_and_alike_ones_are_told_once() {
    let many: Vec<String> =
        (0..10).map(|at| service(&format!("s{at}"), &actions(10_000, |at| format!("/p/{at}")))).collect();
    assert_eq!(first(many), "there are 10000 actions, more than 5000");
    // Every path overlaps every other: one fault for each, not for each pair.
    assert_eq!(faults(vec![service("s", &actions(900, |_| "/same".to_owned()))]).len(), 899);
    let wide = actions(2_000, |at| format!("/{{a}}/{}/{{b}}/{{c}}", at % 7));
    assert_eq!(faults(vec![service("s", &wide)]).len(), MAX_FAULTS + 1);
    // Tools at one path are told apart pair by pair, all of them.
    let tools = (0..4_000).fold(String::new(), |mut text, at| {
        writeln!(text, "  - {{name: t{at}, method: POST, path: /mcp, mcpTool: t{at}, body: strict}}").unwrap();
        text
    });
    assert_eq!(faults(vec![service("s", &tools)]), []);
}

#[test]
fn very_many_small_documents_take_their_own_room_only() {
    // Each document was once read behind as many line breaks as stand before it.
    let text = "---\na\n".repeat(170_000);
    let found = faults(vec![text]);
    assert_eq!(found.len(), MAX_FAULTS + 1);
    assert_eq!(found.get(7).map(|fault| fault.line), Some(16));
}

#[test]
fn long_names_and_long_lists_are_not_compared_with_each_other() {
    let long = "a".repeat(400_000);
    let role =
        |at: usize| format!("{HEAD}kind: Role\nmetadata: {{ name: r{at} }}\nspec: {{ inherits: [{long}{at}] }}\n");
    assert_eq!(faults(vec![format!("{}---\n{}", role(0), role(1))]).len(), 2);
    let roles: Vec<String> = (0..3_000)
        .map(|at| {
            format!(
                "{HEAD}kind: Role\nmetadata: {{ name: role-number-{at} }}\nspec: {{ inherits: [rolle-numbre-{at}] }}\n"
            )
        })
        .collect();
    assert_eq!(faults(vec![roles.join("---\n")]).len(), MAX_FAULTS + 1);
    let claims = (0..30_000).map(|at| format!("{{name: c{at}, type: bool}}")).collect::<Vec<_>>().join(",");
    let defaults =
        format!("{HEAD}kind: Defaults\nmetadata: {{ name: d }}\nspec: {{ issuer: \"https://a\", claims: [{claims}] }}");
    assert_eq!(first(vec![defaults]), "there are 30000 claims, more than 256");
}

#[test]
fn roles_that_multiply_are_refused() {
    let chain: Vec<String> = (0..2_000)
        .map(|at| {
            format!(
                "{HEAD}kind: Role\nmetadata: {{ name: r{at} }}\nspec: {{ inherits: [r{}], permissions: [{{ service: s, actions: [a{at}] }}] }}\n",
                (at + 1) % 2_000
            )
        })
        .collect();
    let service = service("s", &actions(2_000, |at| format!("/p/{at}")));
    let found = first(vec![service.clone(), chain.join("---\n")]);
    assert_eq!(found, "the role `r0` inherits more than 256 roles");

    let all = (0..2_000).map(|at| format!("a{at}")).collect::<Vec<_>>().join(",");
    let role = format!(
        "{HEAD}kind: Role\nmetadata: {{ name: r }}\nspec: {{ permissions: [{{ service: s, actions: [{all}] }}] }}\n"
    );
    let bindings: Vec<String> = (0..600)
        .map(|at| format!("{HEAD}kind: Binding\nmetadata: {{ name: b{at} }}\nspec: {{ role: r, subjects: [\"workload:spiffe://a/b\"] }}\n"))
        .collect();
    let found = first(vec![service, role, bindings.join("---\n")]);
    assert_eq!(found, TOO_MANY_PAIRS.replace("NAME", "b499"));
}

#[test]
fn patterns_that_grow_are_refused() {
    let role = format!(
        "{HEAD}kind: Role\nmetadata: {{ name: r }}\nspec: {{ permissions: [{{ service: s, actions: [a0] }}] }}\n"
    );
    for pattern in [
        "(a|aa)*(b|bb)*.{0,900}c{0,900}",
        "(((a{0,99}){0,99}){0,99}){0,99}",
        "[ab]*a[ab]{14}",
        "([a-z]{1,30}x){1,30}[0-9]y",
    ] {
        let binding = format!(
            "{HEAD}kind: Binding\nmetadata: {{ name: b }}\nspec: {{ role: r, subjects: [\"workload:spiffe://a/b\"], condition: 'request.path.matches(\"{pattern}\")' }}"
        );
        let found = faults(vec![role.clone(), binding, service("s", &actions(1, |_| "/x".to_owned()))]);
        assert_eq!(found.len(), 1, "{pattern}: {found:?}");
    }
}

#[test]
fn warnings_are_bounded_too() {
    let text = service("s", &actions(4_900, |at| format!("/p/{at}"))) + &document_of_deny(200);
    let examined = examine(&parse(&[PolicyFile { name: "p.yaml".to_owned(), text }]).unwrap());
    assert!(examined.policy.is_ok());
    assert!(examined.warnings.len() <= MAX_FAULTS, "{}", examined.warnings.len());
    let text = service("s", &actions(4_900, |at| format!("/p/{at}")));
    let examined = examine(&parse(&[PolicyFile { name: "p.yaml".to_owned(), text }]).unwrap());
    assert_eq!(examined.warnings.len(), MAX_FAULTS);
}

fn document_of_deny(count: usize) -> String {
    (0..count).fold(String::new(), |mut text, at| {
        write!(text, "---\n{HEAD}kind: DenyRule\nmetadata: {{ name: d{at} }}\nspec: {{ service: s, actions: [\"*\"], reason: r }}\n").unwrap();
        text
    })
}

const SOMEONE: &str = "subjects: [\"workload:spiffe://a/b\"]";

#[test]
fn everything_for_everyone_is_counted_one_by_one() {
    let service = || service("s", &actions(5_000, |at| format!("/p/{at}")));
    let many = list(300, |at| format!("\"workload:spiffe://a/b{at}\""));
    let named = list(5_000, |at| format!("a{at}"));
    let role = || document("Role", "r", "permissions: [{ service: s, actions: [\"*\"] }]");
    let one = document("Binding", "b", &format!("role: r, subjects: {many}"));
    assert_eq!(first(vec![service(), role(), one]), TOO_MANY_PAIRS.replace("NAME", "b"));
    let each = documents(300, |at| document("Binding", &format!("b{at}"), &format!("role: r, {SOMEONE}")));
    assert_eq!(first(vec![service(), role(), each]), TOO_MANY_PAIRS.replace("NAME", "b199"));
    let people = format!("eligible: {many}, reviewers: [\"workload:spiffe://a/c\"], maxDuration: 1h");
    let rule = document("Rule", "q", &format!("service: s, actions: {named}, {people}"));
    assert_eq!(first(vec![service(), rule]), TOO_MANY_PAIRS.replace("NAME", "q"));
    let deny = |actions: &str, subjects: &str, at: usize| {
        document(
            "DenyRule",
            &format!("d{at}"),
            &format!("service: s, actions: {actions}, subjects: {subjects}, reason: r"),
        )
    };
    assert_eq!(first(vec![service(), deny(&named, &many, 0)]), TOO_MANY_PAIRS.replace("NAME", "d0"));
    let each = documents(300, |at| deny("[\"*\"]", "[]", at));
    assert_eq!(first(vec![service(), each]), TOO_MANY_PAIRS.replace("NAME", "d199"));
}

#[test]
fn a_condition_is_counted_once_for_each_service() {
    let services = documents(150, |at| service(&format!("s{at}"), &actions(1, |_| "/x".to_owned())));
    let permissions = list(150, |at| format!("{{ service: s{at}, actions: [\"*\"] }}"));
    let role = document("Role", "r", &format!("permissions: {permissions}"));
    let bound = |count: usize, condition: &str| {
        documents(count, |at| {
            document("Binding", &format!("b{at}"), &format!("role: r, {SOMEONE}, condition: '{condition}'"))
        })
    };
    let check = |count, condition: &str| faults(vec![services.clone(), role.clone(), bound(count, condition)]);
    let too_much = |found: Vec<PolicyFault>| {
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found.iter().all(|fault| fault.message.starts_with("the conditions up to here are too much")),
            "{found:?}"
        );
    };
    let plain = "principal.user == \"ann\"";
    assert_eq!(check(20_000 / 150, plain), []);
    too_much(check(20_000 / 150 + 1, plain));
    // Large ones, ones with large tables, and ones that could hold in many ways are too much sooner.
    let wide = (0..150).map(|at| format!("principal.user == \"{at}\"")).collect::<Vec<_>>().join("||");
    too_much(check(80, &wide));
    too_much(check(15, "request.path.matches(\"x[a-z]{9}$\")"));
    let ways = (0..12).map(|at| format!("(size(principal.groups) > {at} || principal.user == \"{at}\")"));
    too_much(check(60, &ways.collect::<Vec<_>>().join("&&")));
}

#[test]
fn patterns_that_are_refused_are_not_tried_without_end() {
    let role = document("Role", "r", "permissions: [{ service: s, actions: [a0] }]");
    let bindings = documents(400, |at| {
        let condition = format!("request.path.matches(\"{at}(a|aa)*(b|bb)*.{{0,900}}c{{0,900}}\")");
        document("Binding", &format!("b{at}"), &format!("role: r, {SOMEONE}, condition: '{condition}'"))
    });
    let found = faults(vec![role, bindings, service("s", &actions(1, |_| "/x".to_owned()))]);
    assert_eq!(found.len(), 100);
    assert!(found.iter().any(|fault| fault.message.starts_with("the conditions up to here are too much")));
}

#[test]
fn names_that_are_repeated_count_each_time() {
    let service = || service("s", &actions(1, |_| "/x".to_owned()));
    let gathered = "the roles up to here have more than 2000000 permissions, with what each of them inherits";
    // One role of a very long list, which many others inherit.
    let large = document(
        "Role",
        "r",
        &format!("permissions: [{{ service: s, actions: {} }}]", list(100_000, |_| "a0".to_owned())),
    );
    let heirs = documents(50, |at| document("Role", &format!("h{at}"), "inherits: [r]"));
    let bindings = documents(50, |at| document("Binding", &format!("b{at}"), &format!("role: h{at}, {SOMEONE}")));
    assert_eq!(first(vec![service(), large, heirs, bindings]), gathered);
    // Roles that inherit one and the same over and over.
    let repeated = document("Role", "r", &format!("inherits: {}", list(100_000, |_| "q".to_owned())));
    let heirs = documents(50, |at| document("Role", &format!("h{at}"), "inherits: [r]"));
    let last = document("Role", "q", "permissions: [{ service: s, actions: [a0] }]");
    assert_eq!(first(vec![service(), repeated, heirs, last]), gathered);
}

#[test]
fn masked_fields_are_looked_for_once() {
    let fields = list(60, |at| format!("{{ name: f{at}, in: response, mask: true }}"));
    let actions = (0..300).fold(String::new(), |mut text, at| {
        writeln!(text, "  - {{name: a{at}, method: GET, path: \"/p/{at}\", fields: {fields}}}").unwrap();
        text
    });
    let revealed = list(59, |at| format!("f{at}"));
    let permission = format!("{{ service: s, actions: [\"*\"], reveals: {revealed} }}");
    let role = document("Role", "r", &format!("permissions: {}", list(500, |_| permission.clone())));
    let named = list(300, |at| format!("a{at}"));
    let one = document("Role", "q", &format!("permissions: [{{ service: s, actions: {named}, reveals: {revealed} }}]"));
    let bindings = documents(20, |at| {
        let role = if at % 2 == 0 { "r" } else { "q" };
        document("Binding", &format!("b{at}"), &format!("role: {role}, {SOMEONE}"))
    });
    let text = [service("s", &actions), role, one, bindings].join("---\n");
    let files = [PolicyFile { name: "p.yaml".to_owned(), text }];
    let examined = examine(&parse(&files).unwrap());
    assert!(examined.policy.is_ok(), "{:?}", examined.policy.err());
    let hidden = examined.warnings.iter().filter(|warning| warning.message.starts_with("nothing reveals"));
    assert_eq!(hidden.count(), 300);
}

#[test]
fn close_names_are_looked_for_where_the_first_faults_are() {
    let names = |what: &str| list(900, |at| format!("{what}{}{at:03}", "x".repeat(50)));
    let role = document("Role", "r", &format!("permissions: [{{ service: s, actions: {} }}]", names("b")));
    let service = service(
        "s",
        &actions(1_000, |at| format!("/p/{at}")).replace("name: a", &format!("name: a{}", "x".repeat(50))),
    );
    let found = faults(vec![service, role]);
    assert_eq!(found.iter().filter(|fault| fault.help.is_some()).count(), 50);
    assert_eq!(found.len(), 900);
}
