//! Where a request comes from, as far as browsers tell: they let pages of other sites send requests to this machine.
//!
//! A page can name an address here by a name of its own (DNS rebinding) and read the replies, which the name tells apart; or send
//! requests without reading replies (cross-site request forgery), which `Origin` and `Sec-Fetch-Site` tell apart. Programs
//! that are no browsers send neither of these two.

use std::borrow::Cow;
use std::net::IpAddr;

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, header};

use crate::config::Settings;

const FETCH_SITE: &str = "sec-fetch-site";
/// Of that header: a page of the server itself, and who typed the address.
const OWN_SITES: [&[u8]; 2] = [b"same-origin", b"none"];
/// In the list of names: any.
const ANY: &str = "*";

/// Whether a page of another site, or of another port, has a browser send the request.
pub fn is_foreign(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).map(|host| host.as_bytes());
    let is_own_origin = |origin: &[u8]| {
        let authority = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
        authority.zip(host).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host))
    };
    headers.get_all(header::ORIGIN).iter().any(|origin| !is_own_origin(origin.as_bytes()))
        || headers.get_all(FETCH_SITE).iter().any(|site| !OWN_SITES.contains(&site.as_bytes()))
}

/// The name by which the server is asked, if that is none of its names. Who tells none is no browser.
pub fn unknown_host<'r>(request: &'r Request, settings: &Settings) -> Option<Cow<'r, str>> {
    let (names, node) = (settings.http_hosts.get(), settings.node.get());
    let is_known = |authority: &Authority| {
        let name = authority.host();
        // A name of a user stands before the host's; behind it is nothing else than a port.
        let behind = authority.as_str().strip_prefix(name);
        if behind.is_none_or(|behind| !behind.is_empty() && authority.port().is_none()) {
            return false;
        }
        let name = name.strip_suffix('.').unwrap_or(name);
        // An IPv6 address is in brackets.
        let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let mut known = names.split_ascii_whitespace().chain([&*node, "localhost"]);
        address.parse::<IpAddr>().is_ok() || known.any(|known| known == ANY || known.eq_ignore_ascii_case(name))
    };
    let hosts = request.headers().get_all(header::HOST).iter().map(|host| String::from_utf8_lossy(host.as_bytes()));
    // The request's line may name it, too.
    let line = request.uri().authority().map(|authority| Cow::Borrowed(authority.as_str()));
    hosts.chain(line).find(|host| !host.parse::<Authority>().is_ok_and(|authority| is_known(&authority)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn request(headers: &[(&str, &str)]) -> Request {
        let mut builder = Request::builder().uri("/status");
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(Body::empty()).expect("a request")
    }

    #[test]
    fn browsers_tell_of_pages_of_other_sites() {
        let is_foreign = |headers: &[(&str, &str)]| is_foreign(request(headers).headers());
        let own: [&[(&str, &str)]; 6] = [
            &[],
            &[("host", "a:1")],
            &[("host", "a:1"), ("origin", "http://A:1")],
            &[("host", "a"), ("origin", "https://a")],
            &[("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "none")],
        ];
        for headers in own {
            assert!(!is_foreign(headers), "{headers:?}");
        }
        let foreign: [&[(&str, &str)]; 9] = [
            &[("host", "a:1"), ("origin", "http://b:1")],
            &[("host", "a:1"), ("origin", "http://a:2")],
            &[("host", "a:1"), ("origin", "null")],
            &[("host", "a:1"), ("origin", "")],
            &[("host", "a:1"), ("origin", "http://a:1"), ("origin", "http://b:1")],
            &[("origin", "http://a:1")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")],
        ];
        for headers in foreign {
            assert!(is_foreign(headers), "{headers:?}");
        }
    }

    #[test]
    fn the_server_is_asked_by_its_names() {
        let settings = Settings::default();
        settings.set(&[(b"http-hosts", b"cache.example two")]).expect("names");
        let is_known = |host: &str| unknown_host(&request(&[("host", host)]), &settings).is_none();
        for host in [
            "localhost",
            "LocalHost:12345",
            "localhost.",
            "127.0.0.1",
            "10.1.2.3:80",
            "[::1]",
            "[2001:db8::1]:12345",
            "Cache.Example:1",
            "two",
        ] {
            assert!(is_known(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:12345",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "cache.example.evil.example",
            "::1",
            "three",
            "*",
            "user@localhost",
            "localhost@localhost",
            "localhost:port",
            "localhost:",
            "a b",
            "",
            "\u{e4}",
        ] {
            assert!(!is_known(host), "{host}");
        }
        assert!(unknown_host(&request(&[]), &settings).is_none());
        let two = request(&[("host", "localhost"), ("host", "evil.example")]);
        assert_eq!(unknown_host(&two, &settings).as_deref(), Some("evil.example"));
        let mut line = request(&[("host", "localhost")]);
        *line.uri_mut() = "http://evil.example/status".parse().expect("an address");
        assert_eq!(unknown_host(&line, &settings).as_deref(), Some("evil.example"));
        settings.set(&[(b"http-hosts", b"*")]).expect("any name");
        assert!(unknown_host(&two, &settings).is_none());
    }
}
