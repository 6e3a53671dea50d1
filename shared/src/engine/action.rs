//! An action of a service: how it is called, how critical it is, what is recorded of it and how strictly it is enforced.

use super::principal::Principal;
use super::template::ActionTemplates;

/// How much harm a wrongly admitted call does; sets how fresh the filter's table must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Criticality {
    /// Reading what many may read.
    Low,
    /// The default for changes.
    Standard,
    /// Money, keys, people's data.
    Critical,
}

impl Criticality {
    /// The word in policies, records and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Standard => "standard",
            Self::Critical => "critical",
        }
    }
}

/// Which calls allowed by a standing role are recorded. Refusals and calls under a grant always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audit {
    /// Every one.
    All,
    /// This share of them, in percent; the others are only counted in the metrics.
    Sampled(Percent),
    /// None; they are only counted in the metrics.
    Counted,
}

/// A share, 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(u8);

impl Percent {
    /// All.
    pub const ALL: Self = Self(100);

    /// So many of a hundred; nothing if it is more than a hundred.
    #[must_use]
    pub const fn new(percent: u8) -> Option<Self> {
        if percent <= 100 { Some(Self(percent)) } else { None }
    }

    /// So many of a hundred.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Whether a number that is as good as random falls into this share. What is in a share is in every larger one.
    #[must_use]
    pub const fn takes(self, draw: u64) -> bool {
        draw % 100 < self.0 as u64
    }
}

/// Whether a refusal is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Refused calls are refused.
    #[default]
    Enforce,
    /// Calls are decided and recorded, and let through.
    Shadow,
}

/// How strictly decisions are carried out: the mode, and for which share of principals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rollout {
    /// The mode.
    pub mode: Mode,
    /// With [`Mode::Enforce`]: the share of principals that it is for; the others are in shadow.
    pub percent: Percent,
}

impl Default for Rollout {
    fn default() -> Self {
        Self { mode: Mode::Enforce, percent: Percent::ALL }
    }
}

impl Rollout {
    /// Whether refusals of this principal are carried out. The same principal gets the same answer at the same service
    /// always, and keeps being enforced when the share grows. Nobody, where anybody is enforced, is.
    #[must_use]
    pub fn enforces(self, service: &str, principal: &Principal<'_>) -> bool {
        if self.mode == Mode::Shadow {
            return false;
        }
        // Nearly always: without a look at who it is.
        if self.percent == Percent::ALL {
            return true;
        }
        let draw = match (principal.user, principal.workload) {
            (Some((issuer, subject)), _) => fold_hash(&[service, issuer, subject]),
            (None, Some(workload)) => fold_hash(&[service, "", workload]),
            (None, None) => 0,
        };
        self.percent.takes(draw)
    }
}

/// A hash that is the same on every machine (FNV-1a). For shares and samples only: nothing depends on its strength.
#[must_use]
pub fn fold_hash(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0xff]));
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    // The low bits of FNV are weak for what is taken modulo a hundred.
    hash ^ (hash >> 32)
}

/// The half of a call that a body field belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldPlace {
    /// The request's body.
    Request,
    /// The response's body.
    Response,
}

/// A named place in the JSON body of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name, unique in the action.
    pub name: Box<str>,
    /// Whose body.
    pub place: FieldPlace,
    /// The JSON pointer (RFC 6901).
    pub pointer: Box<str>,
    /// Whether the response's value is masked unless a role or grant reveals it.
    pub mask: bool,
}

/// A part of the request's body that tells this action from others at the same method and path.
/// What a filter reads there is given to the engine as the body field that is named as the pointer;
/// a value that is no text, and every value of a body that is no JSON object, as [`super::FactValue::Other`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// The JSON pointer.
    pub pointer: Box<str>,
    /// The text that must stand there.
    pub value: Box<str>,
}

/// How the request's body is read before the call goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyMode {
    /// The service sees nothing of the call before it is decided.
    Strict,
    /// The service may see the head of the call before it is decided.
    HeadFirst,
}

/// A named operation of a service.
#[derive(Debug, Clone)]
pub struct Action {
    /// Its name, `refund.create`.
    pub name: Box<str>,
    /// The HTTP method.
    pub method: Box<str>,
    /// Its path and what it touches.
    pub templates: ActionTemplates,
    /// What in the body tells it from others at its method and path.
    pub selectors: Vec<Selector>,
    /// How critical it is.
    pub criticality: Criticality,
    /// Whether role-allowed calls are recorded.
    pub audit: Audit,
    /// How strictly it is enforced; as the service if nothing is said.
    pub rollout: Option<Rollout>,
    /// Declared query parameters.
    pub query: Vec<Box<str>>,
    /// How its request body is read, if it is.
    pub body: Option<BodyMode>,
    /// Declared body fields.
    pub fields: Vec<Field>,
}

impl Action {
    /// Its response fields that are masked unless revealed.
    pub fn masked_fields(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| field.mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_grows_without_letting_go_of_anyone() {
        let names: Vec<String> = (0..1_000).map(|number| format!("user-{number}")).collect();
        let enforced = |percent| {
            let rollout = Rollout { mode: Mode::Enforce, percent: Percent::new(percent).unwrap() };
            let at = |name: &&String| rollout.enforces("svc", &Principal::user("https://id.example", name, &[]));
            names.iter().filter(at).collect::<Vec<_>>()
        };
        let tenth = enforced(10);
        assert!((60..140).contains(&tenth.len()), "{}", tenth.len());
        assert!(tenth.iter().all(|name| enforced(35).contains(name)));
        assert_eq!((enforced(0).len(), enforced(100).len()), (0, 1_000));
        assert!(Percent::new(101).is_none());
        let shadow = Rollout { mode: Mode::Shadow, percent: Percent::ALL };
        assert!(!shadow.enforces("svc", &Principal::default()));
        assert!(Rollout::default().enforces("svc", &Principal::default()));
    }
}
