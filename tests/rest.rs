//! HTTP from outside: the cache by REST, status, metrics, and who may come in.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use support::{Engine, Http, Server, Value, eventually, on_every_engine};

on_every_engine!(a_value_is_put_got_and_deleted, |server| {
    let mut http = Http::connect(&server);
    assert_eq!(http.get("/cache/key").status, 404);
    assert_eq!(http.put("/cache/key", b"value"), 200);
    let found = http.get("/cache/key");
    assert_eq!((found.status, found.text().as_str()), (200, "value"));
    assert_eq!(found.header("content-type"), Some("application/octet-stream"));
    assert_eq!(http.put("/cache/key", b""), 200);
    assert_eq!((http.get("/cache/key").status, http.get("/cache/key").body.len()), (200, 0));
    assert_eq!(http.request("DELETE", "/cache/key", "", b"").status, 200);
    assert_eq!(http.request("DELETE", "/cache/key", "", b"").status, 200);
    assert_eq!(http.get("/cache/key").status, 404);
});

on_every_engine!(a_client_that_looks_at_the_status_alone_keeps_its_connection, |server| {
    let mut http = Http::connect(&server);
    let local_address = http.0.get_ref().local_addr().expect("an address");
    for number in 0..300 {
        let request = |method: &str| format!("{method} /cache/k{number} HTTP/1.1\r\nHost: localhost\r\n");
        http.write(format!("{}\r\n", request("GET")).as_bytes());
        http.write(format!("{}Content-Length: 1\r\n\r\nv", request("PUT")).as_bytes());
        http.write(format!("{}\r\n", request("DELETE")).as_bytes());
        http.write(format!("{}\r\n", request("DELETE")).as_bytes());
        for status in [404, 200, 200, 200] {
            // The head of the next response follows at once.
            let head = http.head();
            assert_eq!((head.status, head.header("content-length")), (status, Some("0")));
            assert_eq!(head.header("content-type"), None);
        }
    }
    assert_eq!(http.0.get_ref().local_addr().expect("the same connection"), local_address);
    // What a person reads says why.
    let refused = http.request("PUT", "/cache/", "", b"v");
    assert_eq!((refused.status, refused.json()["error"].is_string()), (400, true));
});

on_every_engine!(a_page_of_another_site_gets_nothing, ["--http-hosts", "cache.example other"], |server| {
    let mut http = Http::connect(&server);
    assert_eq!(http.put("/cache/k", b"v"), 200);
    let mut ask = |method: &str, path: &str, host: &str, headers: &str| {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n{headers}\r\n");
        http.write(head.as_bytes());
        http.response(method)
    };
    // A name that somebody else's name server makes lead here.
    for host in ["evil.example", "evil.example:12345", "127.0.0.1.evil.example", "localhost.evil.example"] {
        for (method, path) in [
            ("GET", "/cache/k"),
            ("PUT", "/cache/k"),
            ("DELETE", "/cache/k"),
            ("GET", "/status"),
            ("GET", "/metrics"),
            ("GET", "/cluster"),
            ("POST", "/rebalance"),
            ("GET", "/nowhere"),
        ] {
            let refused = ask(method, path, host, "");
            assert_eq!((refused.status, refused.json()["error"].is_string()), (421, true), "{method} {path} {host}");
        }
    }
    for host in ["localhost", "LOCALHOST:1", "127.0.0.1:80", "10.9.8.7", "[::1]:12345", "cache.example", "Other:1"] {
        assert_eq!(ask("GET", "/cache/k", host, "").text(), "v", "{host}");
    }
    // A page that does not know what is answered, but has a browser ask.
    for headers in [
        "Origin: http://evil.example\r\n",
        "Origin: http://localhost:3000\r\n",
        "Origin: null\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: cross-site\r\nOrigin: http://localhost\r\n",
    ] {
        for (method, path) in [
            ("POST", "/rebalance"),
            ("PUT", "/cache/k"),
            ("DELETE", "/cache/k"),
            ("GET", "/cache/k"),
            ("OPTIONS", "/cache/k"),
        ] {
            assert_eq!(ask(method, path, "localhost", headers).status, 403, "{method} {path} {headers}");
        }
        assert_eq!(ask("GET", "/healthz", "localhost", headers).status, 200, "{headers}");
    }
    for headers in ["Origin: http://localhost:7\r\nSec-Fetch-Site: same-origin\r\n", "Sec-Fetch-Site: none\r\n"] {
        assert_eq!(ask("POST", "/rebalance", "localhost:7", headers).status, 200, "{headers}");
    }
    // Whatever is answered is no script, no page, and no other site's.
    for (path, status) in [("/cache/k", 200), ("/cache/no", 404), ("/status", 200), ("/", 404), ("/cache/", 400)] {
        let response = ask("GET", path, "localhost", "");
        assert_eq!(response.status, status, "{path}");
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(response.header("cross-origin-resource-policy"), Some("same-origin"), "{path}");
        assert_eq!(response.header("access-control-allow-origin"), None, "{path}");
    }
    assert_eq!(ask("GET", "/cache/k", "localhost", "").header("content-type"), Some("application/octet-stream"));
    // Whoever knows the password is no such page.
    assert_eq!(server.client().command(&["CONFIG", "SET", "requirepass", "secret"]), Value::ok());
    assert_eq!(ask("GET", "/status", "any.example", "Authorization: Bearer secret\r\n").status, 200);
    assert_eq!(ask("GET", "/status", "any.example", "").status, 401);
    let forged = "Authorization: Bearer secret\r\nOrigin: http://evil.example\r\n";
    assert_eq!(ask("POST", "/rebalance", "any.example", forged).status, 403);
});

on_every_engine!(keys_are_any_bytes, |server| {
    let mut http = Http::connect(&server);
    let all: Vec<u8> = (0..=255).collect();
    let encoded: String = all.iter().map(|byte| format!("%{byte:02x}")).collect();
    assert_eq!(http.put(&format!("/cache/{encoded}"), &all), 200);
    assert_eq!(http.get(&format!("/cache/{}", encoded.to_uppercase())).body, all);
    assert_eq!(server.client().command(&[b"GET".as_slice(), &all]), Value::bulk(&all));
    // Slashes are the key's, written out or not; a plus sign is itself.
    assert_eq!(http.put("/cache/a/b//c", b"deep"), 200);
    assert_eq!(http.get("/cache/a%2fb%2F/c").text(), "deep");
    assert_eq!(server.client().command(&["GET", "a/b//c"]), Value::bulk("deep"));
    assert_eq!(http.put("/cache/1+1", b"plus"), 200);
    assert_eq!(server.client().command(&["GET", "1+1"]), Value::bulk("plus"));
});

on_every_engine!(values_are_any_bytes_of_any_length, |server| {
    let mut http = Http::connect(&server);
    for length in [1, 255, 65_536, 3_000_000u32] {
        let value: Vec<u8> = (0..length).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        assert_eq!(http.put("/cache/large", &value), 200);
        assert!(http.get("/cache/large").body == value, "{length} bytes");
        let head = http.request("HEAD", "/cache/large", "", b"");
        assert_eq!((head.status, head.header("content-length")), (200, Some(length.to_string().as_str())));
    }
    http.write(b"PUT /cache/chunked HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    assert_eq!(http.response("PUT").status, 200);
    assert_eq!(http.get("/cache/chunked").text(), "abcde");
});

on_every_engine!(a_lifetime_is_taken, |server| {
    let mut http = Http::connect(&server);
    let mut resp = server.client();
    let mut left_ms = |key: &str| match resp.command(&["PTTL", key]) {
        Value::Integer(left_ms) => left_ms,
        other => panic!("{other:?}"),
    };
    assert_eq!(http.put("/cache/seconds?ttl=100", b"v"), 200);
    assert_eq!(http.put("/cache/milliseconds?ttl_ms=90000", b"v"), 200);
    assert!((90_001..=100_000).contains(&left_ms("seconds")));
    assert!((80_001..=90_000).contains(&left_ms("milliseconds")));
    assert_eq!(http.put("/cache/seconds", b"v"), 200);
    assert_eq!(left_ms("seconds"), -1);
    assert_eq!(http.put("/cache/short?ttl_ms=1", b"v"), 200);
    assert!(eventually(support::PATIENCE, || http.get("/cache/short").status == 404));
});

on_every_engine!(bad_requests_say_why, |server| {
    let mut http = Http::connect(&server);
    for path in [
        "/cache/",
        "/cache/%",
        "/cache/%zz",
        "/cache/k?ttl=0",
        "/cache/k?ttl=x",
        "/cache/k?ttl=-1",
        "/cache/k?tttl=1",
        "/cache/k?ttl=1&ttl_ms=1",
        "/cache/k?ttl=99999999999999999999",
        "/cache/k?ttl=9223372036854775807",
    ] {
        let response = http.request("PUT", path, "", b"v");
        assert_eq!((response.status, response.json()["error"].is_string()), (400, true), "{path}");
    }
    for path in ["/cache", "/caches/k", "/status/", "/favicon.ico"] {
        let response = http.get(path);
        assert_eq!((response.status, response.json()["error"].is_string()), (404, true), "{path}");
    }
    for (method, path, allowed) in [
        ("POST", "/cache/k", vec!["DELETE", "GET", "HEAD", "PUT"]),
        ("PUT", "/status", vec!["GET", "HEAD"]),
        ("DELETE", "/metrics", vec!["GET", "HEAD"]),
        ("GET", "/rebalance", vec!["POST"]),
    ] {
        let response = http.request(method, path, "", b"");
        let mut allow: Vec<&str> = response.header("allow").unwrap_or_default().split(',').map(str::trim).collect();
        allow.sort_unstable();
        assert_eq!((response.status, allow), (405, allowed), "{method} {path}");
        assert!(response.json()["error"].is_string());
    }
    assert_eq!(server.client().command(&["DBSIZE"]), Value::Integer(0));
});

on_every_engine!(a_value_past_the_limit_is_refused_before_it_came, ["--proto-max-bulk-len", "1mb"], |server| {
    let mut http = Http::connect(&server);
    assert_eq!(http.put("/cache/k", &vec![b'v'; 1 << 20]), 200);
    // Announced: not a byte of it is sent, nor asked for.
    http.write(b"PUT /cache/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048577\r\nExpect: 100-continue\r\n\r\n");
    let refused = http.response("PUT");
    assert_eq!((refused.status, refused.json()["error"].is_string()), (413, true));
    assert!(http.at_end());
    // Not announced: cut as soon as it is too long.
    let mut http = Http::connect(&server);
    http.write(b"PUT /cache/k HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n100001\r\n");
    http.write(&vec![b'v'; 0x10_0001]);
    assert_eq!(http.response("PUT").status, 413);
    assert_eq!(Http::connect(&server).get("/cache/k").body.len(), 1 << 20);
});

on_every_engine!(a_body_is_asked_for, |server| {
    let mut http = Http::connect(&server);
    http.write(b"PUT /cache/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(http.response("PUT").status, 100);
    http.write(b"value");
    assert_eq!(http.response("PUT").status, 200);
});

on_every_engine!(memory only, a_full_memory_is_507, ["--maxmemory", "1", "--maxmemory-policy", "noeviction"], |server| {
    let refused = Http::connect(&server).request("PUT", "/cache/k", "", b"v");
    assert_eq!(refused.status, 507);
    assert!(refused.json()["error"].as_str().is_some_and(|error| error.starts_with("OOM ")), "{}", refused.text());
});

on_every_engine!(status_counts_keys_and_their_bytes, |server| {
    let (mut http, mut resp) = (Http::connect(&server), server.client());
    let mut sizes = || {
        let status = http.get("/status").json();
        ["Count", "KeySize", "ValueSize"]
            .map(|name| status[name].as_u64().unwrap_or_else(|| panic!("{name}: {status}")))
    };
    assert_eq!(sizes(), [0, 0, 0]);
    resp.command(&["SET", "one", "12345"]);
    resp.command(&["SET", "three", "1234567890"]);
    assert_eq!(sizes(), [2, 8, 15]);
    resp.command(&["SET", "one", "1"]);
    resp.command(&["APPEND", "three", "x"]);
    assert_eq!(sizes(), [2, 8, 12]);
    resp.command(&["SELECT", "5"]);
    resp.command(&["SET", "k", "v"]);
    assert_eq!(sizes(), [3, 9, 13]);
    resp.command(&["DEL", "k"]);
    resp.command(&["SELECT", "0"]);
    resp.command(&["RENAME", "three", "3"]);
    assert_eq!(sizes(), [2, 4, 12]);
    resp.command(&["FLUSHALL"]);
    assert_eq!(sizes(), [0, 0, 0]);
});

on_every_engine!(the_node_is_its_only_member, ["--node", "10.0.0.7"], |server| {
    let mut http = Http::connect(&server);
    assert_eq!(http.get("/cluster").json(), serde_json::json!(["10.0.0.7"]));
    assert_eq!(http.request("POST", "/rebalance", "", b"").status, 200);
    let health = http.get("/healthz");
    assert_eq!((health.status, health.text().as_str()), (200, "ok\n"));
});

on_every_engine!(the_root_names_all_paths, |server| {
    let mut http = Http::connect(&server);
    let root = http.get("/");
    assert_eq!((root.status, root.header("content-type")), (200, Some("text/plain; charset=utf-8")));
    let text = root.text();
    let paths: Vec<&str> = text.split_whitespace().filter(|word| word.starts_with('/')).collect();
    assert_eq!(paths, ["/cache/KEY", "/status", "/metrics", "/healthz", "/cluster", "/rebalance"]);
    for path in paths {
        assert_ne!(http.get(path).text(), "no such path", "{path}");
    }
});

on_every_engine!(metrics_are_read_when_they_are_asked_for, |server| {
    let (mut http, mut resp) = (Http::connect(&server), server.client());
    resp.command(&["SET", "key", "value"]);
    resp.command(&["GET", "key"]);
    resp.command(&["GET", "no"]);
    resp.command(&["GET"]);
    let page = http.get("/metrics");
    assert_eq!(page.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    let text = page.text();
    for line in [
        "rockpool_commands_total{command=\"get\"} 2",
        "rockpool_commands_rejected_total{command=\"get\"} 1",
        "rockpool_keys{db=\"0\"} 1",
        "rockpool_values_size_bytes{db=\"0\"} 5",
        "rockpool_keyspace_hits_total 1",
        "rockpool_keyspace_misses_total 1",
        "rockpool_connected_clients 1.0",
        "# TYPE rockpool_commands counter",
        "# TYPE rockpool_memory_used_bytes gauge",
        "# EOF",
    ] {
        assert!(
            text.lines().any(|known| known.trim_end_matches(".0") == line.trim_end_matches(".0")),
            "{line}\n{text}"
        );
    }
    let version = format!("rockpool_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    assert!(text.contains(&version), "{text}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let value = line.rsplit(' ').next().unwrap_or_default();
        assert!(line.starts_with("rockpool_") && value.parse::<f64>().is_ok(), "{line}");
    }
});

on_every_engine!(a_password_is_asked_for, ["--requirepass", "se:cret"], |server| {
    let mut http = Http::connect(&server);
    for (path, headers) in [
        ("/cache/k", ""),
        ("/status", "Authorization: Bearer wrong\r\n"),
        ("/metrics", "Authorization: Basic d3Jvbmc=\r\n"),
        ("/nowhere", ""),
    ] {
        let refused = http.request("GET", path, headers, b"");
        assert_eq!(
            (refused.status, refused.header("www-authenticate")),
            (401, Some("Basic realm=\"rockpool\"")),
            "{path}"
        );
        assert!(refused.json()["error"].as_str().is_some_and(|error| error.starts_with("NOAUTH")));
    }
    let metrics = http.request("GET", "/metrics", "Authorization: Bearer se:cret\r\n", b"").text();
    assert!(metrics.contains("rockpool_wrong_passwords_total 2\n"), "{metrics}");
    // From the fourth wrong one on the answer takes its time.
    let start = Instant::now();
    for _ in 0..6 {
        assert_eq!(http.request("GET", "/cache/k", "Authorization: Bearer wrong\r\n", b"").status, 401);
    }
    assert!(start.elapsed() >= Duration::from_millis(700), "{:?}", start.elapsed());
    // default:se:cret
    for headers in ["Authorization: Bearer se:cret\r\n", "Authorization: Basic ZGVmYXVsdDpzZTpjcmV0\r\n"] {
        assert_eq!(http.request("PUT", "/cache/k", headers, b"v").status, 200);
        assert_eq!(http.request("GET", "/cache/k", headers, b"").text(), "v");
    }
    assert_eq!(http.get("/healthz").status, 200);
});

on_every_engine!(a_malformed_request_ends_its_connection_alone, |server| {
    let mut bystander = Http::connect(&server);
    assert_eq!(bystander.put("/cache/k", b"v"), 200);
    for bad in [
        &b"*1\r\n$4\r\nPING\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PUT /cache/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
    ] {
        let mut http = Http::connect(&server);
        http.write(bad);
        let status = http.response("GET").status;
        assert!((400..600).contains(&status), "{status} for {}", bad.escape_ascii());
        assert!(http.at_end(), "{}", bad.escape_ascii());
    }
    let mut http = Http::connect(&server);
    let endless = vec![b'a'; 256 * 1024];
    // It may be cut while it is written.
    let _ = http.0.get_mut().write_all(&[b"GET /", &endless[..]].concat());
    let mut rest = Vec::new();
    let _ = http.0.read_to_end(&mut rest);
    assert_eq!(bystander.get("/cache/k").text(), "v");
});

#[test]
fn a_request_that_has_begun_is_answered_at_the_end() {
    let mut server = Server::start(Engine::Memory);
    let mut idle = Http::connect(&server);
    assert_eq!(idle.get("/healthz").status, 200);
    let mut http = Http::connect(&server);
    http.write(b"PUT /cache/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(http.response("PUT").status, 100);
    let address = server.http_address();
    let ended = std::thread::spawn(move || server.terminate());
    assert!(idle.at_end(), "an idle connection is closed");
    assert!(eventually(support::PATIENCE, || TcpStream::connect(address).is_err()), "nobody else comes in");
    http.write(b"value");
    assert_eq!(http.response("PUT").status, 200);
    assert_eq!(ended.join().expect("the server ends").code(), Some(0));
}
