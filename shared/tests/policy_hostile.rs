//! Policies that are meant to take all time or memory. What holds the work is a bound on sizes and counts, so that is what
//! is looked at here: what is refused, how many faults are told, how long they are.
#![expect(clippy::unwrap_used, reason = "test code: a fault ends the test")]

use std::fmt::Write as _;

use grantmesh_shared::wire::policy::{MAX_FAULTS, PolicyFault, PolicyFile, compile, examine, parse};

const HEAD: &str = "apiVersion: grantmesh.dev/v1\n";

/// The faults of some files, all of which are short and not too many.
fn faults(texts: Vec<String>) -> Vec<PolicyFault> {
    let file = |(at, text): (usize, String)| PolicyFile { name: format!("{at}.yaml"), text };
    let files: Vec<PolicyFile> = texts.into_iter().enumerate().map(file).collect();
    let found = parse(&files).and_then(|documents| compile(&documents)).err().unwrap_or_default();
    assert!(found.len() <= MAX_FAULTS + 1, "{} faults", found.len());
    let longest = found.iter().map(|fault| fault.to_string().len()).max().unwrap_or(0);
    // A name that is not one is quoted whole, and files are bounded.
    assert!(longest < 1_100_000, "a fault of {longest} bytes");
    found
}

fn first(texts: Vec<String>) -> String {
    faults(texts).first().map(|fault| fault.message.chars().take(90).collect()).unwrap_or_default()
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
    assert_eq!(found, "the bindings up to here give more than 1000000 actions, counted one by one");
}

#[test]
fn patterns_that_grow_are_refused() {
    let role = format!(
        "{HEAD}kind: Role\nmetadata: {{ name: r }}\nspec: {{ permissions: [{{ service: s, actions: [a0] }}] }}\n"
    );
    for pattern in [
        "(a|aa)*(b|bb)*.{0,900}c{0,900}",
        "(((a{0,99}){0,99}){0,99}){0,99}",
        "(.*a){40}.*",
        "[a-z]{1,60}[0-9]{1,60}(x+x+)+y",
    ] {
        let binding = format!(
            "{HEAD}kind: Binding\nmetadata: {{ name: b }}\nspec: {{ role: r, subjects: [\"workload:spiffe://a/b\"], condition: 'request.path.matches(\"{pattern}\")' }}"
        );
        let found = faults(vec![role.clone(), binding, service("s", &actions(1, |_| "/x".to_owned()))]);
        assert!(found.len() <= 1, "{pattern}: {found:?}");
    }
}

#[test]
fn warnings_are_bounded_too() {
    let text = service("s", &actions(4_900, |at| format!("/p/{at}"))) + &document_of_deny(2_000);
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
