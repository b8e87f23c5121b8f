//! Which addresses count as one host, where hosts share something fairly.

use std::net::{IpAddr, Ipv6Addr};

/// What counts as one host: an IPv4 address, or the first 64 bits of an IPv6 address, as one host may own the rest.
pub fn host_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => first_bits(ip, 64),
        v4 => v4,
    }
}

/// The first bits of an address, 128 at most, with zeros for the others.
pub fn first_bits(ip: Ipv6Addr, bits: u32) -> IpAddr {
    let mask = u128::MAX.checked_shl(128_u32.saturating_sub(bits)).unwrap_or(0);
    Ipv6Addr::from_bits(ip.to_bits() & mask).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_one_whatever_address_it_takes() {
        let same = |one: &str, other: &str| host_of(one.parse().unwrap()) == host_of(other.parse().unwrap());
        assert!(same("2001:db8::1", "2001:db8::2:1"));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(same("::ffff:10.0.0.1", "10.0.0.1"));
        assert!(!same("10.0.0.1", "10.0.0.2"));
    }
}
