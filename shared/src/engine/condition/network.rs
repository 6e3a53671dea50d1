//! Networks: an address and how many of its leading bits count.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::text::shortened;

/// A network in CIDR form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is not a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Another form.
    #[error("`{0}` is not a network\nwrite it like `10.0.0.0/8` or `fd00::/8`")]
    Form(String),
    /// Bits beyond the prefix, so that something else may have been meant.
    #[error("`{0}` has bits beyond its prefix\nwrite the network's first address, or `/32` or `/128` for a single one")]
    HostBits(String),
}

/// An IPv4 address in IPv6 clothes is the IPv4 address.
pub(crate) fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(six) => six.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

fn bits(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(four) => (u128::from(four.to_bits()), 32),
        IpAddr::V6(six) => (six.to_bits(), 128),
    }
}

fn below(bits: u128, width: u8, prefix: u8) -> u128 {
    bits.checked_shr(u32::from(width.saturating_sub(prefix))).unwrap_or(0)
}

impl Network {
    /// Whether the address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (own, width) = bits(self.address);
        let (other, other_width) = bits(plain(address));
        width == other_width && below(own, width, self.prefix) == below(other, width, self.prefix)
    }

    /// Whether every address of the other network is in it.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.prefix <= other.prefix && self.contains(other.address)
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let short = || shortened(text, 64);
        let read = || {
            let (address, prefix) = text.split_once('/')?;
            let plain_digits = prefix.bytes().all(|byte| byte.is_ascii_digit());
            let fine = plain_digits && (prefix == "0" || !prefix.starts_with('0'));
            let address: IpAddr = address.parse().ok()?;
            let prefix: u8 = prefix.parse().ok().filter(|_| fine)?;
            let mapped = plain(address) != address;
            (prefix <= bits(address).1 && !mapped).then_some(Self { address, prefix })
        };
        let network = read().ok_or_else(|| NetworkError::Form(short()))?;
        let (own, width) = bits(network.address);
        let rest = own.trailing_zeros() >= u32::from(width.saturating_sub(network.prefix)) || own == 0;
        if rest { Ok(network) } else { Err(NetworkError::HostBits(short())) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_its_addresses_and_no_others() {
        let has = |network: &str, address: &str| network.parse::<Network>().unwrap().contains(address.parse().unwrap());
        assert!(has("10.0.0.0/8", "10.255.255.255") && !has("10.0.0.0/8", "11.0.0.0"));
        assert!(has("0.0.0.0/0", "1.2.3.4") && !has("0.0.0.0/0", "fd00::1"));
        assert!(has("10.1.2.3/32", "10.1.2.3") && !has("10.1.2.3/32", "10.1.2.2"));
        assert!(has("fd00::/8", "fdff::1") && !has("fd00::/8", "fe00::1"));
        assert!(has("::/0", "fe80::1") && !has("::/0", "::ffff:10.1.2.3"));
        assert!(has("10.0.0.0/8", "::ffff:10.1.2.3"));
    }

    #[test]
    fn what_could_mean_something_else_is_refused() {
        for text in ["10.0.0.0", "10.0.0.0/33", "10.0.0.0/08", "10.0.0/8", "x/8", "10.0.0.0/+8", "::ffff:10.0.0.0/104"]
        {
            assert!(matches!(text.parse::<Network>(), Err(NetworkError::Form(_))), "{text}");
        }
        for text in ["10.0.0.1/8", "fd00::1/64"] {
            assert!(matches!(text.parse::<Network>(), Err(NetworkError::HostBits(_))), "{text}");
        }
    }
}
