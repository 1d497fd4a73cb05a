//! Socket addresses as texts and as programs pass them.
use policy::symbols;
use std::net::SocketAddr;

/// The `struct sockaddr` of an address in the words of policies and traces, with a port and without wildcards.
pub(crate) fn of_text(text: &[u8]) -> Option<Vec<u8>> {
    if let Some(name) = text.strip_prefix(b"unix:") {
        let mut bytes = family(1);
        match name {
            b"@" => {}
            [b'@', name @ ..] => {
                bytes.push(0);
                bytes.extend_from_slice(name);
            }
            // Behind what tells it from an abstract name.
            [b'\\', path @ ..] | path => {
                bytes.extend_from_slice(path);
                bytes.push(0);
            }
        }
        return Some(bytes);
    }
    let text = std::str::from_utf8(text).ok()?;
    if let Some(number) = text.strip_prefix("family:") {
        return number.parse().ok().map(family);
    }
    if text.starts_with("AF_") {
        return symbols::FAMILY.value(text).and_then(|number| u16::try_from(number).ok()).map(family);
    }
    let address: SocketAddr = text.parse().ok()?;
    let mut bytes = family(if address.is_ipv4() { 2 } else { 10 });
    bytes.extend_from_slice(&address.port().to_be_bytes());
    match address {
        SocketAddr::V4(address) => {
            bytes.extend_from_slice(&address.ip().octets());
            bytes.extend_from_slice(&[0; 8]);
        }
        SocketAddr::V6(address) => {
            bytes.extend_from_slice(&[0; 4]);
            bytes.extend_from_slice(&address.ip().octets());
            bytes.extend_from_slice(&[0; 4]);
        }
    }
    Some(bytes)
}

fn family(number: u16) -> Vec<u8> {
    number.to_le_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::address::SocketAddress;

    #[test]
    fn texts_come_back() {
        for text in [
            "127.0.0.1:80",
            "[::1]:0",
            "unix:/run/x",
            "unix:@name",
            "unix:\\@name",
            "unix:\\\\x",
            "unix:@",
            "AF_NETLINK",
            "family:99",
        ] {
            let bytes = of_text(text.as_bytes()).unwrap();
            assert_eq!(SocketAddress::read(&bytes).unwrap().text(), text.as_bytes());
        }
        for text in ["127.0.0.1", "*:80", "10.0.0.0/8:80", "AF_WHAT", "family:x", ""] {
            assert_eq!(of_text(text.as_bytes()), None, "{text}");
        }
    }
}
