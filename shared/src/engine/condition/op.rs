//! The operations of a compiled condition: one word each on the wire, its operands, and the types it takes and gives.

/// What an operation gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// `true` or `false`.
    Bool,
    /// A 64-bit integer.
    Int,
    /// An exact decimal.
    Number,
    /// A text.
    Text,
    /// A point in time, in milliseconds.
    Time,
    /// A length of time, in milliseconds; may be negative.
    Span,
    /// An IP address.
    Address,
    /// A list of texts.
    Texts,
    /// A list of integers.
    Ints,
    /// A list of numbers.
    Numbers,
}

impl Type {
    /// What a list of this type holds.
    #[must_use]
    pub const fn element(self) -> Option<Self> {
        match self {
            Self::Texts => Some(Self::Text),
            Self::Ints => Some(Self::Int),
            Self::Numbers => Some(Self::Number),
            _ => None,
        }
    }

    /// Whether two values of this type have an order.
    #[must_use]
    pub const fn is_ordered(self) -> bool {
        matches!(self, Self::Int | Self::Number | Self::Text | Self::Time | Self::Span | Self::Bool)
    }
}

/// What an operand is: the place of another node, or of a constant of some kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    /// A node before this one.
    Node,
    /// In the pool of integers.
    Int,
    /// In the pool of numbers.
    Number,
    /// In the pool of texts.
    Text,
    /// In the pool of addresses.
    Address,
    /// In the pool of networks.
    Network,
    /// In the pool of lists of texts.
    Texts,
    /// In the pool of lists of integers.
    Ints,
    /// In the pool of lists of numbers.
    Numbers,
    /// In the pool of time zones.
    Zone,
    /// In the pool of pattern automata.
    Automaton,
    /// One of the parts of a calendar date, [`super::zone::Part`].
    Part,
    /// The level of an enclosing `all` or `exists`, from 0.
    Level,
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident $word:literal [$($operand:ident)*];)*) => {
        /// An operation.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Op {
            $($(#[$doc])* $name,)*
        }

        impl Op {
            /// Its word on the wire.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// The operation of a word.
            #[must_use]
            pub fn of_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$name),)* _ => None }
            }

            /// Its operands.
            #[must_use]
            pub const fn operands(self) -> &'static [Operand] {
                match self { $(Self::$name => &[$(Operand::$operand),*],)* }
            }
        }
    };
}

operations! {
    /// True.
    True "true" [];
    /// False.
    False "false" [];
    /// An integer.
    Int "int" [Int];
    /// A number.
    Number "number" [Number];
    /// A text.
    Text "text" [Text];
    /// A point in time.
    Time "time" [Int];
    /// A length of time.
    Span "span" [Int];
    /// An address.
    Address "address" [Address];
    /// A list of texts.
    Texts "texts" [Texts];
    /// A list of integers.
    Ints "ints" [Ints];
    /// A list of numbers.
    Numbers "numbers" [Numbers];
    /// Both hold; false wins over an error.
    And "and" [Node Node];
    /// One of them holds; true wins over an error.
    Or "or" [Node Node];
    /// It does not hold.
    Not "not" [Node];
    /// The second if the first holds, else the third.
    If "if" [Node Node Node];
    /// Equal.
    Eq "eq" [Node Node];
    /// Not equal.
    Ne "ne" [Node Node];
    /// Less.
    Lt "lt" [Node Node];
    /// Less or equal.
    Le "le" [Node Node];
    /// Greater.
    Gt "gt" [Node Node];
    /// Greater or equal.
    Ge "ge" [Node Node];
    /// Sum.
    Add "add" [Node Node];
    /// Difference.
    Sub "sub" [Node Node];
    /// Product.
    Mul "mul" [Node Node];
    /// Quotient, towards zero.
    Div "div" [Node Node];
    /// Remainder.
    Rem "rem" [Node Node];
    /// The negative.
    Neg "neg" [Node];
    /// An integer as a number.
    Exact "exact" [Node];
    /// The first is an element of the second.
    In "in" [Node Node];
    /// The element of a list, from 0.
    Index "index" [Node Node];
    /// Characters of a text, elements of a list.
    Size "size" [Node];
    /// Begins with.
    StartsWith "starts_with" [Node Node];
    /// Ends with.
    EndsWith "ends_with" [Node Node];
    /// Has within it.
    Contains "contains" [Node Node];
    /// An automaton accepts the text.
    Matches "matches" [Automaton Node];
    /// The network has the address.
    Within "within" [Network Node];
    /// A part of the calendar date in a zone.
    Calendar "calendar" [Part Zone Node];
    /// The fact is there.
    Has "has" [Node];
    /// The condition holds for every element.
    All "all" [Node Node];
    /// The condition holds for one element.
    Exists "exists" [Node Node];
    /// The element of a list of texts that is gone through.
    EachText "each_text" [Level];
    /// The element of a list of integers.
    EachInt "each_int" [Level];
    /// The element of a list of numbers.
    EachNumber "each_number" [Level];
    /// The method.
    Method "method" [];
    /// The path without its query.
    Path "path" [];
    /// The authority.
    Host "host" [];
    /// The time.
    Now "now" [];
    /// The service.
    Service "service" [];
    /// The action.
    Action "action" [];
    /// The resource.
    Resource "resource" [];
    /// The criticality.
    Criticality "criticality" [];
    /// The user's subject.
    User "user" [];
    /// The user's issuer.
    Issuer "issuer" [];
    /// The workload's SPIFFE id.
    Workload "workload" [];
    /// Who acts for the user.
    Actor "actor" [];
    /// The user's groups.
    Groups "groups" [];
    /// When the user last proved who they are.
    AuthTime "auth_time" [];
    /// The peer's trust domain.
    TrustDomain "trust_domain" [];
    /// The peer's namespace.
    Namespace "namespace" [];
    /// The peer's service account.
    ServiceAccount "service_account" [];
    /// The mesh of the proxy.
    OriginMesh "origin_mesh" [];
    /// The namespace of the proxy.
    OriginNamespace "origin_namespace" [];
    /// The gateway of the proxy.
    OriginGateway "origin_gateway" [];
    /// The caller's address.
    SourceAddress "source_address" [];
    /// The caller's country.
    SourceCountry "source_country" [];
    /// A path parameter.
    Param "param" [Text];
    /// A query parameter.
    Query "query" [Text];
    /// A request header.
    Header "header" [Text];
    /// A signal.
    Signal "signal" [Text];
    /// A claim that is a text.
    ClaimText "claim_text" [Text];
    /// A claim that is a number.
    ClaimNumber "claim_number" [Text];
    /// A claim that is true or false.
    ClaimBool "claim_bool" [Text];
    /// A claim that is a list of texts.
    ClaimTexts "claim_texts" [Text];
    /// A body field that is a text.
    FieldText "field_text" [Text];
    /// A body field that is a number.
    FieldNumber "field_number" [Text];
    /// A body field that is true or false.
    FieldBool "field_bool" [Text];
}

impl Op {
    /// The type of a fact, which takes no other node; nothing for what is none.
    #[must_use]
    pub const fn fact(self) -> Option<Type> {
        Some(match self {
            Self::Method | Self::Path | Self::Host => Type::Text,
            Self::Service | Self::Action | Self::Resource | Self::Criticality => Type::Text,
            Self::User | Self::Issuer | Self::Workload | Self::Actor => Type::Text,
            Self::TrustDomain | Self::Namespace | Self::ServiceAccount => Type::Text,
            Self::OriginMesh | Self::OriginNamespace | Self::OriginGateway | Self::SourceCountry => Type::Text,
            Self::Param | Self::Query | Self::Header | Self::ClaimText | Self::FieldText => Type::Text,
            Self::ClaimNumber | Self::FieldNumber => Type::Number,
            Self::Signal | Self::ClaimBool | Self::FieldBool => Type::Bool,
            Self::Groups | Self::ClaimTexts => Type::Texts,
            Self::Now | Self::AuthTime => Type::Time,
            Self::SourceAddress => Type::Address,
            _ => return None,
        })
    }

    /// What it gives for children of these types; nothing if it does not take them.
    #[must_use]
    pub fn result(self, children: [Option<Type>; 3]) -> Option<Type> {
        use Type::{Address, Bool, Int, Ints, Number, Numbers, Span, Text, Texts, Time};
        if let Some(fact) = self.fact() {
            return Some(fact);
        }
        Some(match (self, children) {
            (Self::True | Self::False, _) => Bool,
            (Self::Int, _) => Int,
            (Self::Number, _) => Number,
            (Self::Text, _) => Text,
            (Self::Time, _) => Time,
            (Self::Span, _) => Span,
            (Self::Address, _) => Address,
            (Self::Texts, _) => Texts,
            (Self::Ints, _) => Ints,
            (Self::Numbers, _) => Numbers,
            (Self::EachText, _) => Text,
            (Self::EachInt, _) => Int,
            (Self::EachNumber, _) => Number,
            (Self::And | Self::Or, [Some(Bool), Some(Bool), None]) => Bool,
            (Self::Not, [Some(Bool), None, None]) => Bool,
            (Self::If, [Some(Bool), Some(one), Some(other)]) if one == other => one,
            (Self::Eq | Self::Ne, [Some(one), Some(other), None]) if one == other && one.element().is_none() => Bool,
            (Self::Lt | Self::Le | Self::Gt | Self::Ge, [Some(one), Some(other), None])
                if one == other && one.is_ordered() =>
            {
                Bool
            }
            (Self::Add | Self::Sub | Self::Mul | Self::Div | Self::Rem, [Some(Int), Some(Int), None]) => Int,
            (Self::Add | Self::Sub, [Some(Span), Some(Span), None]) => Span,
            (Self::Add | Self::Sub, [Some(Time), Some(Span), None]) => Time,
            (Self::Add, [Some(Span), Some(Time), None]) => Time,
            (Self::Sub, [Some(Time), Some(Time), None]) => Span,
            (Self::Neg, [Some(Int), None, None]) => Int,
            (Self::Exact, [Some(Int), None, None]) => Number,
            (Self::In, [Some(one), Some(list), None]) if list.element() == Some(one) => Bool,
            (Self::Index, [Some(list), Some(Int), None]) => return list.element(),
            (Self::Size, [Some(Text | Texts | Ints | Numbers), None, None]) => Int,
            (Self::StartsWith | Self::EndsWith | Self::Contains, [Some(Text), Some(Text), None]) => Bool,
            (Self::Matches, [Some(Text), None, None]) => Bool,
            (Self::Within, [Some(Address), None, None]) => Bool,
            (Self::Calendar, [Some(Time), None, None]) => Int,
            (Self::Has, [Some(_), None, None]) => Bool,
            (Self::All | Self::Exists, [Some(list), Some(Bool), None]) if list.element().is_some() => Bool,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_read_back_as_its_operation() {
        for op in [Op::True, Op::StartsWith, Op::FieldBool, Op::Exact] {
            assert_eq!(Op::of_word(op.word()), Some(op));
        }
        assert_eq!(Op::of_word("nothing"), None);
    }
}
