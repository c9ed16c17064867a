//! What the node's HTTP door answers.

use std::io::{Read, Write};
use std::net::TcpStream;

/// The answer to a GET, with its head.
pub fn get(metrics: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(metrics).expect("the door is open");
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("it is read");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("UTF-8");
    answer
}
