//! The endpoints of notifications in the configuration file: where each is, the file with its secret, what it is told.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use reqwest::Url;
use serde::Deserialize;

use crate::domain::EventKind;
use crate::notify::{EndpointSettings, Guard, Secret};

/// The most endpoints.
const MOST: usize = 32;

/// The most secrets of an endpoint.
const MOST_SECRETS: usize = 4;

/// An endpoint as the file states it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WebhookArgs {
    /// Its name; what was delivered to it is kept under this.
    name: String,
    /// Where it is: `https://…`, or `http://…` within `allow`.
    url: String,
    /// A file with its secret, `whsec_…`; several, one a line, all sign.
    secret_file: PathBuf,
    /// What it is told; everything if nothing is named.
    #[serde(default)]
    events: Vec<String>,
    /// Networks, like `10.1.0.0/16`, that it may be in although they are not public.
    #[serde(default)]
    allow: Vec<String>,
}

/// Validates the endpoints; what is wrong is added to the faults.
pub(super) fn endpoints(stated: Vec<WebhookArgs>, faults: &mut Vec<String>) -> Vec<EndpointSettings> {
    if stated.len() > MOST {
        faults.push(format!("there are {} webhooks, more than {MOST}\nname fewer", stated.len()));
        return Vec::new();
    }
    let mut names = BTreeSet::new();
    let mut endpoints = Vec::new();
    for webhook in stated {
        let name = webhook.name.clone();
        if !names.insert(name.clone()) {
            faults.push(format!("two webhooks have the name `{name}`\nname one of them otherwise"));
        }
        match endpoint(webhook) {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(fault) => faults.push(format!("the webhook `{name}`: {fault}")),
        }
    }
    endpoints
}

fn endpoint(WebhookArgs { name, url, secret_file, events, allow }: WebhookArgs) -> Result<EndpointSettings, String> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    if !(1..=64).contains(&name.len()) || !name.chars().all(plain) {
        return Err("its name is not 1 to 64 letters, digits, `-`, `_` or `.`\nname it otherwise".to_owned());
    }
    // Nothing of the URL is told: it may hold a secret.
    let url = Url::parse(&url).ok().filter(|url| url.has_host() && matches!(url.scheme(), "http" | "https"));
    let url = url.ok_or("its URL is none\nwrite it like `https://hooks.example.com/grantmesh`")?;
    let network = |text: &String| {
        text.parse::<IpNet>().map_err(|_| format!("`{text}` is not a network\nwrite it like `10.1.0.0/16`"))
    };
    let allow = allow.iter().map(network).collect::<Result<Vec<_>, _>>()?;
    if url.scheme() == "http" && allow.is_empty() {
        return Err("it would be sent to without TLS\nuse `https://`, or name its network under `allow`".to_owned());
    }
    let guard = Guard::new(allow, url.scheme() == "https");
    guard.permits_url(&url).map_err(|refused| refused.to_string())?;
    let kind = |word: &String| {
        EventKind::parse(word).ok_or_else(|| {
            format!("there is no event `{word}`\nuse some of {}", EventKind::ALL.map(EventKind::as_str).join(", "))
        })
    };
    let kinds = events.iter().map(kind).collect::<Result<Vec<_>, _>>()?;
    let kinds = if kinds.is_empty() { EventKind::ALL.to_vec() } else { kinds };
    Ok(EndpointSettings { name, url, secrets: secrets(&secret_file)?, kinds, guard })
}

fn secrets(path: &Path) -> Result<Vec<Secret>, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("the file `{}` with its secret cannot be read: {error}", path.display()))?;
    let secrets: Result<Vec<Secret>, _> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(Secret::parse).collect();
    let secrets = secrets.map_err(|error| format!("the file `{}`: {error}", path.display()))?;
    if !(1..=MOST_SECRETS).contains(&secrets.len()) {
        return Err(format!(
            "the file `{}` has {} secrets\nlet it have 1 to {MOST_SECRETS}, one a line",
            path.display(),
            secrets.len()
        ));
    }
    Ok(secrets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(more: &str) -> Result<EndpointSettings, String> {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        std::fs::write(folder.path().join("two"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\nhunter2\n").unwrap();
        let text = format!("name: chat\n{}", more.replace("SECRET", &secret.display().to_string()));
        let text = text.replace("TWO", &folder.path().join("two").display().to_string());
        let stated: WebhookArgs = serde_saphyr::from_str(&text).map_err(|error| error.to_string())?;
        let mut faults = Vec::new();
        endpoints(vec![stated], &mut faults).pop().ok_or_else(|| faults.join("\n"))
    }

    #[test]
    fn an_endpoint_is_read_and_is_told_everything_if_nothing_is_named() {
        let all = read("url: https://hooks.example/x\nsecret-file: SECRET\n").unwrap();
        assert_eq!(all.kinds.len(), EventKind::ALL.len());
        let some = read("url: http://10.1.2.3/x\nsecret-file: SECRET\nevents: [grant.revoked]\nallow: [10.1.0.0/16]\n");
        assert_eq!(some.unwrap().kinds, [EventKind::GrantRevoked]);
    }

    #[test]
    fn what_is_wrong_is_told_without_the_url_or_the_secret() {
        let cases = [
            ("url: hooks\nsecret-file: SECRET\n", "its URL is none"),
            ("url: http://hooks.example/hunter2\nsecret-file: SECRET\n", "without TLS"),
            ("url: https://169.254.169.254/hunter2\nsecret-file: SECRET\n", "no address that notifications"),
            ("url: https://hooks.example/x\nsecret-file: SECRET\nevents: [all]\n", "there is no event `all`"),
            ("url: https://hooks.example/x\nsecret-file: SECRET\nallow: [lan]\n", "`lan` is not a network"),
            ("url: https://hooks.example/x\nsecret-file: TWO\n", "a secret of webhooks is `whsec_`"),
            ("url: https://hooks.example/x\nsecret-file: /nowhere\n", "cannot be read"),
            ("url: https://hooks.example/x\nsecret-file: SECRET\ncolour: red\n", "colour"),
        ];
        for (text, told) in cases {
            let fault = read(text).unwrap_err();
            assert!(fault.contains(told) && !fault.contains("hunter2"), "{fault}");
        }
    }
}
