//! Out of class: one task per connection, tokio with its default runtime.

mod lines;

use std::io;
use std::net::Ipv4Addr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn serve(mut client: TcpStream) -> io::Result<()> {
    let mut buffer = [0; lines::BUFFER];
    let mut used = 0;
    loop {
        let count = client.read(&mut buffer[used..]).await?;
        if count == 0 {
            return client.write_all(&buffer[..used]).await;
        }
        lines::rotate(&mut buffer[used..used + count]);
        used += count;
        let ready = lines::complete(&buffer[..used]);
        client.write_all(&buffer[..ready]).await?;
        buffer.copy_within(ready..used, 0);
        used -= ready;
    }
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, lines::port_argument())).await?;
    loop {
        let (client, _) = listener.accept().await?;
        client.set_nodelay(true)?;
        tokio::spawn(serve(client));
    }
}
