//! The line work of the two Rust rivals: the same rule and the same cipher as the
//! server under test, so that only the way of serving differs.

/// Bytes kept for one client.
pub const BUFFER: usize = 4097;

/// How many of the pending bytes may go out: all complete lines, or a full buffer.
pub fn complete(pending: &[u8]) -> usize {
    match pending.iter().rposition(|&byte| byte == b'\n') {
        Some(newline) => newline + 1,
        None if pending.len() == BUFFER => BUFFER,
        None => 0,
    }
}

/// ROT13 in place.
pub fn rotate(text: &mut [u8]) {
    for byte in text {
        *byte = match *byte {
            b'a'..=b'm' | b'A'..=b'M' => *byte + 13,
            b'n'..=b'z' | b'N'..=b'Z' => *byte - 13,
            other => other,
        };
    }
}

/// The port, from the only argument.
pub fn port_argument() -> u16 {
    std::env::args()
        .nth(1)
        .and_then(|port| port.parse().ok())
        .expect("usage: rival PORT")
}
