//! An HTTP client that shows what the server sends.

use super::{PATIENCE, Server};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{}", self.text());
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// A connection that is kept alive.
pub struct Http(pub BufReader<TcpStream>);

impl Http {
    pub fn connect(server: &Server) -> Http {
        let stream = TcpStream::connect(server.http_address()).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        stream.set_nodelay(true).expect("no delay");
        Http(BufReader::new(stream))
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("the server reads");
    }

    pub fn request(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> Response {
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{headers}\r\n");
        self.write(&[head.as_bytes(), body].concat());
        self.response(method)
    }

    pub fn response(&mut self, method: &str) -> Response {
        let mut response = self.head();
        let length = response.header("content-length").map_or(0, |length| length.parse().expect("a length"));
        if method != "HEAD" && response.status != 100 {
            response.body = vec![0; length];
            self.0.read_exact(&mut response.body).expect("the body");
        }
        response
    }

    /// A response's head; the body stays unread.
    pub fn head(&mut self) -> Response {
        let mut line = || {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("a line of the head");
            line.trim_end().to_owned()
        };
        let first = line();
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status in {first:?}"));
        let mut headers = Vec::new();
        loop {
            let line = line();
            match line.split_once(": ") {
                Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
                None => break,
            }
        }
        Response { status, headers, body: Vec::new() }
    }

    pub fn get(&mut self, path: &str) -> Response {
        self.request("GET", path, "", b"")
    }

    pub fn put(&mut self, path: &str, body: &[u8]) -> u16 {
        self.request("PUT", path, "", body).status
    }

    /// Whether the server closes with nothing left to read.
    pub fn at_end(&mut self) -> bool {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).is_ok() && rest.is_empty()
    }
}
