//! Checks esock over the kernel's SCTP against programs that nobody here wrote: lksctp's `sctp_test` and `sctp_darn`,
//! over the loopback device of a kernel that has SCTP.
//!
//! `lksctp-check --tag TAG` prints a line for each check and one about all; exit status 0 only if all passed.

#![forbid(unsafe_code)]

use esock::{
    Association, Backend, CloseReason, ConnectTo, Endpoint, Event, Message, Received, Receiver, SendOptions, StreamId,
};
use std::future::Future;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Outcome = Result<(), Failure>;

/// Longer than any check takes that works.
const PATIENCE: Duration = Duration::from_secs(20);

/// What `sctp_test -c 4` sends, again and again (its help says so).
const SIZES: [usize; 10] = [1, 1000, 2000, 3000, 5000, 10000, 15000, 20000, 25000, 32768];

/// An address of loopback.
fn local(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

/// A foreign program; killed when it is dropped.
struct Tool {
    child: Child,
    output: std::sync::mpsc::Receiver<Vec<u8>>,
    said: String,
}

impl Tool {
    fn start(words: &str) -> Result<Self, Failure> {
        // Unbuffered: what it says comes when it says it.
        let mut child = Command::new("stdbuf")
            .args(["-o0"])
            .args(words.split(' '))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start `{words}`: {error}"))?;
        let mut stdout = child.stdout.take().ok_or("no output")?;
        let (sender, output) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = stdout.read(&mut buffer) {
                if sender.send(buffer[..len].to_vec()).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, output, said: String::new() })
    }

    /// Types a line.
    fn types(&mut self, line: &str) -> Outcome {
        Ok(self.child.stdin.as_mut().ok_or("no input")?.write_all(line.as_bytes())?)
    }

    /// All that it has said.
    fn said(&mut self) -> &str {
        while let Ok(bytes) = self.output.try_recv() {
            self.said.push_str(&String::from_utf8_lossy(&bytes));
        }
        &self.said
    }

    /// Waits until it has said `words` so often.
    async fn says(&mut self, words: &str, times: usize) -> Outcome {
        loop {
            if self.said().matches(words).count() >= times {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits for its end.
    async fn ends(&mut self) -> Outcome {
        while self.child.try_wait()?.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        // Errors: it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn open(port: u16, addresses: &[u8]) -> Result<Endpoint, Failure> {
    let addresses = addresses.iter().copied().map(local);
    Ok(Endpoint::builder().backend(Backend::Kernel).addresses(addresses).port(port).open().await?)
}

/// The peer's messages until it ends the association, and how it did.
async fn until_the_end(receiver: &mut Receiver) -> Result<(Vec<Message>, CloseReason), Failure> {
    let mut messages = Vec::new();
    while let Some(received) = receiver.recv().await {
        match received {
            Received::Message(message) => messages.push(message),
            Received::Event(Event::Closed(reason)) => return Ok((messages, reason)),
            _ => {}
        }
    }
    Err("no end was told".into())
}

async fn send(association: &Association, stream: u16, payload: Vec<u8>) -> Outcome {
    let options = SendOptions { stream: StreamId(stream), ..SendOptions::default() };
    Ok(association.send(options, payload).await?)
}

/// Connects to a tool as soon as it listens.
async fn reach(endpoint: &Endpoint, addresses: &[u8], port: u16) -> Result<(Association, Receiver), Failure> {
    loop {
        let peer = ConnectTo::new(addresses.iter().copied().map(local), port);
        match endpoint.connect(peer).await {
            Ok(connected) => return Ok(connected),
            Err(esock::ConnectError::Closed(CloseReason::Refused { .. })) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn expect(holds: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(otherwise().into()) }
}

/// Every size of its, ordered and over five streams, to us.
async fn sctp_test_sends() -> Outcome {
    let endpoint = open(7000, &[1]).await?;
    let mut tool = Tool::start("sctp_test -H 127.0.0.1 -P 7001 -h 127.0.0.1 -p 7000 -s -c 4 -x 5 -o 1 -M 5")?;
    let (_, mut receiver) = endpoint.accept().await?;
    let (messages, reason) = until_the_end(&mut receiver).await?;
    let sizes: Vec<usize> = messages.iter().map(|message| message.payload.len()).collect();
    expect(sizes == SIZES.repeat(5), || format!("sizes {sizes:?}"))?;
    expect(reason == CloseReason::Shutdown, || format!("ended by {reason:?}"))?;
    tool.ends().await
}

/// The same unordered, over two paths.
async fn sctp_test_sends_unordered_over_two_paths() -> Outcome {
    let endpoint = open(7010, &[1, 2]).await?;
    let words = "sctp_test -H 127.0.0.1 -B 127.0.0.2 -P 7011 -h 127.0.0.1 -p 7010 -s -c 4 -x 2 -o 0";
    let mut tool = Tool::start(words)?;
    let (association, mut receiver) = endpoint.accept().await?;
    let paths = association.stats().map_or(0, |stats| stats.paths.len());
    expect(paths == 2, || format!("{paths} paths"))?;
    let (messages, reason) = until_the_end(&mut receiver).await?;
    let mut sizes: Vec<usize> = messages.iter().map(|message| message.payload.len()).collect();
    sizes.sort_unstable();
    let mut expected = SIZES.repeat(2);
    expected.sort_unstable();
    expect(sizes == expected, || format!("sizes {sizes:?}"))?;
    expect(messages.iter().all(|message| message.unordered), || "some were ordered".to_owned())?;
    expect(reason == CloseReason::Shutdown, || format!("ended by {reason:?}"))?;
    tool.ends().await
}

/// Our messages, of its sizes, to it; and our shutdown.
async fn sctp_test_receives() -> Outcome {
    let endpoint = open(7020, &[1]).await?;
    let mut tool = Tool::start("sctp_test -H 127.0.0.1 -P 7021 -l -d 2")?;
    let (association, mut receiver) = reach(&endpoint, &[1], 7021).await?;
    for (number, size) in SIZES.into_iter().enumerate() {
        send(&association, number as u16 % 3, vec![number as u8; size]).await?;
    }
    association.shutdown().await;
    let (messages, reason) = until_the_end(&mut receiver).await?;
    expect(messages.is_empty() && reason == CloseReason::Shutdown, || format!("ended by {reason:?}"))?;
    tool.says("SCTP_ASSOC_CHANGE(SHUTDOWN_COMPLETE)", 1).await?;
    for size in SIZES {
        expect(tool.said().contains(&format!("Data {size} bytes.")), || format!("{size} bytes did not arrive"))?;
    }
    Ok(())
}

/// Lines that are typed into it.
async fn sctp_darn_sends() -> Outcome {
    let endpoint = open(7030, &[1]).await?;
    let mut tool = Tool::start("sctp_darn -H 127.0.0.1 -P 7031 -h 127.0.0.1 -p 7030 -s")?;
    tool.types("over the kernel\n")?;
    let (association, mut receiver) = endpoint.accept().await?;
    while let Some(received) = receiver.recv().await {
        if let Received::Message(message) = received {
            let text = String::from_utf8_lossy(&message.payload).into_owned();
            expect(text.starts_with("over the kernel"), || format!("it sent {text:?}"))?;
            break;
        }
    }
    association.abort(b"enough");
    Ok(())
}

/// It echoes nothing, but shows what we send; then we abort.
async fn sctp_darn_receives() -> Outcome {
    let endpoint = open(7040, &[1, 2]).await?;
    let mut tool = Tool::start("sctp_darn -H 127.0.0.1 -B 127.0.0.2 -P 7041 -l")?;
    let (association, mut receiver) = reach(&endpoint, &[1, 2], 7041).await?;
    send(&association, 4, b"hello darn".to_vec()).await?;
    // It shows all but the last character, which it takes for the end of a line.
    tool.says("sinfo_stream 4", 1).await?;
    tool.says("DATA(10):  hello dar", 1).await?;
    association.abort(b"enough");
    let (_, reason) = until_the_end(&mut receiver).await?;
    expect(reason == CloseReason::LocalAbort, || format!("ended by {reason:?}"))?;
    tool.says("COMM_LOST", 1).await
}

async fn check(tag: &str, name: &str, what: impl Future<Output = Outcome>) -> bool {
    let outcome = match tokio::time::timeout(PATIENCE, what).await {
        Ok(outcome) => outcome,
        Err(_) => Err("it hangs".into()),
    };
    let (event, why) = match &outcome {
        Ok(()) => ("passed", String::new()),
        Err(error) => ("failed", format!(" why={}", error.to_string().replace(char::is_whitespace, "_"))),
    };
    println!("@{tag} event={event} name={name}{why}");
    outcome.is_ok()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let tag = std::env::args().skip_while(|word| word != "--tag").nth(1).unwrap_or_else(|| "check".to_owned());
    let (mut passed, mut failed) = (0, 0);
    macro_rules! run {
        ($($check:ident)*) => {
            $(if check(&tag, stringify!($check), $check()).await { passed += 1 } else { failed += 1 })*
        };
    }
    run! {
        sctp_test_sends
        sctp_test_sends_unordered_over_two_paths
        sctp_test_receives
        sctp_darn_sends
        sctp_darn_receives
    }
    println!("@{tag} event=done passed={passed} failed={failed}");
    ExitCode::from(u8::from(failed > 0))
}
