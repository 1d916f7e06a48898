//! Out of class: one thread per connection, Rust's standard library.

mod lines;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::{io, thread};

fn serve(mut client: TcpStream) -> io::Result<()> {
    let mut buffer = [0; lines::BUFFER];
    let mut used = 0;
    loop {
        let count = client.read(&mut buffer[used..])?;
        if count == 0 {
            return client.write_all(&buffer[..used]);
        }
        lines::rotate(&mut buffer[used..used + count]);
        used += count;
        let ready = lines::complete(&buffer[..used]);
        client.write_all(&buffer[..ready])?;
        buffer.copy_within(ready..used, 0);
        used -= ready;
    }
}

fn main() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, lines::port_argument()))?;
    for client in listener.incoming() {
        let client = client?;
        client.set_nodelay(true)?;
        thread::spawn(move || serve(client));
    }
    Ok(())
}
