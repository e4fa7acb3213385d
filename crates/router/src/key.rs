//! A client's key and its point in the draw: FNV-1a (64 bits) over salt, a zero byte and key, then the finaliser of MurmurHash3.
//!
//! The sum is written down in the API's reference, so that another router can give the same client the same version.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::COOKIE;

/// Returns the point of a key in the draw.
pub fn point(salt: &str, key: &[u8]) -> u64 {
    let bytes = salt.bytes().chain([0]).chain(key.iter().copied());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// Returns the point of an address. A client with IPv6 owns 64 bits of addresses: the upper half counts.
pub fn point_of_address(salt: &str, address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => point(salt, &address.octets()),
        IpAddr::V6(address) => point(salt, &address.octets()[..8]),
    }
}

/// Who asks, as far as anybody is told: a key that is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// The point of its cookie or header, where versions are drawn by one and the request has it; or of its address, where they are
    /// drawn by that.
    Point(u64),
    /// Its address.
    Address(IpAddr),
}

impl Client {
    /// Returns the key. It is the same at every router that has the same table.
    pub fn key(self) -> u64 {
        match self {
            Client::Point(point) => point,
            Client::Address(address) => point_of_address("", address),
        }
    }
}

/// Finds a cookie's value among a request's headers; the first one counts.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let pairs =
        headers.get_all(COOKIE).into_iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.into_iter().find_map(|pair| {
        let pair = pair.trim_ascii();
        let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        (!value.is_empty()).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_point_of_a_key_never_changes() {
        assert_eq!(point("", b""), 0xb903_4ad3_7056_f5fb);
        assert_eq!(point("salt", b"key"), 0x5529_b42c_b4b0_d639);
        assert_ne!(point("salt", b"key"), point("sal", b"tkey"));
    }

    #[test]
    fn a_cookie_is_found_among_others_and_not_in_the_tail_of_a_name() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, "xid=no; a=b".parse().unwrap());
        headers.append(COOKIE, "id=; id=yes; id=later".parse().unwrap());
        assert_eq!(cookie(&headers, "id"), Some(b"yes".as_slice()));
        assert_eq!(cookie(&headers, "b"), None);
    }
}
