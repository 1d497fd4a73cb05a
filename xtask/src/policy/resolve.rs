//! Names of hosts in policies: this host's resolver says what they stand for, once, when the policy is read.
use std::net::{IpAddr, ToSocketAddrs};

/// Adds to a policy's text the addresses of the hosts that it names without saying them itself. What does not resolve is left out, and
/// the policy's compiler says where it is named.
pub(super) fn hosts(text: &mut String) {
    let names = policy::hosts::names(text);
    if names.is_empty() {
        return;
    }
    let resolved: Vec<(String, Vec<IpAddr>)> = names
        .into_iter()
        .map(|name| {
            // The resolver wants a port beside the name.
            let mut found: Vec<IpAddr> = (name.as_str(), 0)
                .to_socket_addrs()
                .map(|addresses| addresses.map(|address| address.ip()).collect())
                .unwrap_or_default();
            found.sort_unstable();
            found.dedup();
            (name, found)
        })
        .filter(|(_, found)| !found.is_empty())
        .collect();
    *text = policy::hosts::with(text, &resolved);
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str =
        "version = 1\n[[rule]]\ncalls = [\"connect\"]\naction = \"allow\"\nwhen = [{ address = \"NAME:80\" }]\n";

    fn read(mut text: String) -> String {
        hosts(&mut text);
        text
    }

    #[test]
    fn names_are_resolved_where_the_policy_is_read() {
        let text = read(RULE.replace("NAME", "localhost"));
        assert!(text.contains("[hosts]\n\"localhost\" = [\"127.0.0.1\""), "{text}");
        assert!(policy::parse("p", &text).is_ok());
        // What names no host, and what says the addresses itself, stays as it is.
        for text in [RULE.replace("NAME", "127.0.0.1"), RULE.replace("NAME", "localhost") + "[hosts]\n", "what".into()]
        {
            assert_eq!(read(text.clone()), text);
        }
    }

    #[test]
    fn a_name_without_an_address_is_an_error_with_its_place() {
        // Names under .invalid never resolve (RFC 6761).
        let error = policy::parse("p", &read(RULE.replace("NAME", "x.invalid"))).unwrap_err();
        assert_eq!((error.line, error.column), (5, 21));
        assert!(error.message.contains("did not resolve"), "{error}");
    }
}
