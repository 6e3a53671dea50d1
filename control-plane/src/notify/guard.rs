//! Where notifications may be sent: to public addresses, and to those that the operator names. A name is resolved here and
//! only what was looked at is connected to, so that a name cannot mean one address when it is looked at and another later.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Addresses that are not on the public network, or are one's own machine, cloud or provider: what stands in the registries
/// of special-purpose addresses, and two metadata services that are elsewhere.
const NOT_PUBLIC: [&str; 31] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "2620:4f:8000::/48",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
];

/// Which addresses may be connected to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Guard {
    allowed: Arc<[IpNet]>,
    /// Whether only what is allowed by name may be connected to, because nothing keeps the connection secret.
    only_allowed: bool,
}

/// An address that is not connected to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{host}` is at no address that notifications may be sent to\nname its network under `allow` of the webhook if it is meant"
)]
pub struct Refused {
    host: String,
}

impl Guard {
    /// Public addresses, and these networks; without TLS only these networks.
    #[must_use]
    pub fn new(allowed: Vec<IpNet>, tls: bool) -> Self {
        Self { allowed: allowed.into(), only_allowed: !tls }
    }

    /// Whether an address may be connected to.
    #[must_use]
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = plain(address);
        if self.allowed.iter().any(|network| network.contains(&address)) {
            return true;
        }
        !self.only_allowed && is_public(address)
    }

    /// Refuses a URL whose host is an address that may not be connected to; a name is looked at when it is resolved.
    ///
    /// # Errors
    /// If it is one.
    pub fn permits_url(&self, url: &Url) -> Result<(), Refused> {
        let host = url.host_str().unwrap_or_default();
        match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) if !self.permits(address) => Err(Refused { host: host.to_owned() }),
            _ => Ok(()),
        }
    }
}

/// An address of IPv4 that is written as one of IPv6 is looked at as what it is.
fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(six) = address else { return address };
    let [first, second, ..] = six.segments();
    let [.., a, b, c, d] = six.octets();
    match (first, second) {
        // Translated, as stated at the end of the address.
        (0x64, 0xff9b) if six.segments()[2..6] == [0; 4] => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        // 6to4, as stated after the prefix.
        (0x2002, _) => {
            let [_, _, a, b, c, d, ..] = six.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        _ => six.to_ipv4_mapped().map_or(IpAddr::V6(six), IpAddr::V4),
    }
}

fn is_public(address: IpAddr) -> bool {
    let inside = |network: &&str| network.parse::<IpNet>().map_or(true, |network| network.contains(&address));
    let unicast = match address {
        IpAddr::V4(_) => true,
        // All that is given out is below this.
        IpAddr::V6(six) => six.segments()[0] & 0xe000 == 0x2000 && six != Ipv6Addr::UNSPECIFIED,
    };
    unicast && !NOT_PUBLIC.iter().any(inside)
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            let fine: Vec<SocketAddr> = found.filter(|address| guard.permits(address.ip())).collect();
            if fine.is_empty() {
                return Err(Refused { host }.into());
            }
            let addresses: Addrs = Box::new(fine.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_permitted() {
        assert!(NOT_PUBLIC.iter().all(|network| network.parse::<IpNet>().is_ok()));
        let guard = Guard::new(Vec::new(), true);
        for refused in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.100.100.200",
            "0.0.0.0",
            "168.63.129.16",
            "192.0.0.192",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00:ec2::254",
            "fc00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "2001:db8::1",
            "::127.0.0.1",
            "fec0::1",
            "2001::1",
            "4000::1",
        ] {
            assert!(!guard.permits(refused.parse().unwrap()), "{refused}");
        }
        for fine in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::101:101"] {
            assert!(guard.permits(fine.parse().unwrap()), "{fine}");
        }
    }

    #[test]
    fn what_is_named_is_permitted_and_without_tls_nothing_else() {
        let guard = Guard::new(vec!["10.1.0.0/16".parse().unwrap()], true);
        assert!(guard.permits("10.1.2.3".parse().unwrap()) && guard.permits("1.1.1.1".parse().unwrap()));
        assert!(guard.permits("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!guard.permits("10.2.2.3".parse().unwrap()));
        let plain = Guard::new(vec!["10.1.0.0/16".parse().unwrap()], false);
        assert!(plain.permits("10.1.2.3".parse().unwrap()) && !plain.permits("1.1.1.1".parse().unwrap()));
    }

    #[test]
    fn addresses_in_urls_are_looked_at_however_they_are_written() {
        let guard = Guard::new(Vec::new(), true);
        for refused in
            ["https://127.0.0.1/", "https://2130706433/", "https://0x7f.1/", "https://[::1]/", "https://0177.0.0.1/"]
        {
            assert!(guard.permits_url(&refused.parse().unwrap()).is_err(), "{refused}");
        }
        for fine in ["https://1.1.1.1/", "https://hooks.example/"] {
            assert!(guard.permits_url(&fine.parse().unwrap()).is_ok(), "{fine}");
        }
    }

    #[tokio::test]
    async fn a_name_of_a_private_address_is_refused_when_it_is_resolved() {
        let resolve = async |guard: Guard| guard.resolve("localhost".parse().unwrap()).await;
        assert!(resolve(Guard::new(Vec::new(), true)).await.is_err());
        let local = vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        assert!(resolve(Guard::new(local, false)).await.is_ok());
    }
}
