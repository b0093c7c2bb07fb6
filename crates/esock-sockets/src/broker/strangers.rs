//! Connections of other users' programs that have not shown the key yet, if they ever will.
//!
//! Anybody on this host can connect. So a stranger costs a descriptor and nothing else, for a short time, and there are so many
//! and no more: what it says is looked at where it lies, in the kernel, until it is the key, and what it passes on is not taken.

use crate::engine::SocketId;
use crate::errno::Errno;
use crate::protocol::{self, MAX_KEY, Op, REQUEST_BYTES, ReplyHead, Request};
use mio::Token;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Strangers of one user: its oldest goes when another comes.
const OF_ONE: usize = 256;
/// Strangers in all: the oldest of the user who has the most goes, so that nobody is driven out by one other.
const IN_ALL: usize = 1024;
/// How long one may stay: whoever has the key shows it, and makes a socket, at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub struct Stranger {
    pub stream: UnixStream,
    /// An end of a socket, which is none before a program that has shown the key makes one of it; else it brings calls.
    socket: Option<SocketId>,
    user: u32,
    since: Instant,
}

/// All strangers.
#[derive(Debug, Default)]
pub struct Strangers {
    /// Tokens grow, so the first is the oldest.
    by_token: BTreeMap<Token, Stranger>,
    /// How many each user has.
    counts: HashMap<u32, usize>,
}

/// What a stranger has said.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// Not all of it yet.
    Nothing,
    /// The key. It was not read yet, nor what was passed on with it.
    Key,
    /// Something else instead of it: which error it is told.
    NoKey(Errno),
    /// What nobody says who is of this build; or it has gone.
    Nonsense,
}

impl Strangers {
    pub fn is_empty(&self) -> bool {
        self.by_token.is_empty()
    }

    pub fn get(&self, token: Token) -> Option<&Stranger> {
        self.by_token.get(&token)
    }

    pub fn take(&mut self, token: Token) -> Option<Stranger> {
        let stranger = self.by_token.remove(&token)?;
        if let Entry::Occupied(mut count) = self.counts.entry(stranger.user) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        Some(stranger)
    }

    /// Takes a socket's end.
    pub fn take_end(&mut self, socket: SocketId) -> Option<(Token, UnixStream)> {
        let token = self.oldest(|stranger| stranger.socket == Some(socket))?;
        self.take(token).map(|stranger| (token, stranger.stream))
    }

    /// One more, who may drive another out.
    pub fn add(&mut self, token: Token, stream: UnixStream, user: u32, socket: Option<SocketId>) {
        let goes = if self.counts.get(&user).is_some_and(|count| *count >= OF_ONE) {
            self.oldest(|stranger| stranger.user == user)
        } else if self.by_token.len() >= IN_ALL {
            let most = self.counts.values().copied().max();
            self.oldest(|stranger| self.counts.get(&stranger.user).copied() == most)
        } else {
            None
        };
        if let Some(oldest) = goes {
            self.take(oldest);
        }
        self.by_token.insert(token, Stranger { stream, socket, user, since: Instant::now() });
        *self.counts.entry(user).or_default() += 1;
    }

    fn oldest(&self, is_meant: impl Fn(&Stranger) -> bool) -> Option<Token> {
        self.by_token.iter().find(|(_, stranger)| is_meant(stranger)).map(|(token, _)| *token)
    }

    /// Ends those who have been here for too long.
    pub fn drop_old(&mut self) {
        while let Some((token, first)) = self.by_token.first_key_value() {
            if first.since.elapsed() < PATIENCE {
                return;
            }
            self.take(*token);
        }
    }
}

impl Stranger {
    /// What it has said so far, which stays where it is.
    pub fn said(&self, key: &[u8]) -> Said {
        let mut bytes = [0; REQUEST_BYTES + MAX_KEY];
        let bytes = match esock_io::peek(&self.stream, &mut bytes) {
            Ok(0) => return Said::Nonsense,
            Ok(count) => &bytes[..count],
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Said::Nothing,
            Err(_) => return Said::Nonsense,
        };
        if self.socket.is_some() {
            return Said::Nothing;
        }
        let Some(head) = bytes.first_chunk() else { return Said::Nothing };
        let request = match Request::from_bytes(head) {
            Ok(request) if request.op == Op::Hello && request.shared == 0 => request,
            _ => return Said::Nonsense,
        };
        if request.args[0].cast_unsigned() != protocol::VERSION {
            return Said::NoKey(Errno::EPROTO);
        }
        let length = request.body as usize;
        match bytes[REQUEST_BYTES..].get(..length) {
            _ if length > MAX_KEY => Said::Nonsense,
            None => Said::Nothing,
            Some(shown) if is_same(shown, key) => Said::Key,
            Some(_) => Said::NoKey(Errno::EACCES),
        }
    }

    /// Tells it why it is turned away; it ends with this.
    pub fn refuse(mut self, errno: Errno) {
        // Without this, what it has said and nobody read makes its end a reset connection.
        let _ = self.stream.read(&mut [0; REQUEST_BYTES + MAX_KEY]);
        let _ = self.stream.write(&ReplyHead { result: -errno.0, ..ReplyHead::default() }.to_bytes());
    }
}

/// Whether two texts are the same, in a time that does not tell where they differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(strangers: &mut Strangers, number: usize, user: u32) -> UnixStream {
        let (theirs, ours) = UnixStream::pair().unwrap();
        strangers.add(Token(number), ours, user, Some(SocketId(number as u64)));
        theirs
    }

    #[test]
    fn who_floods_drives_out_its_own_only() {
        let mut strangers = Strangers::default();
        let mut theirs = vec![add(&mut strangers, 0, 7)];
        theirs.extend((1..600).map(|number| add(&mut strangers, number, 8)));
        assert_eq!(strangers.by_token.len(), 1 + OF_ONE);
        assert!(strangers.take_end(SocketId(0)).is_some(), "it was there first, of another user");
        assert!(strangers.take_end(SocketId(343)).is_none() && strangers.take_end(SocketId(344)).is_some());
    }

    #[test]
    fn many_users_who_flood_drive_out_whoever_has_the_most() {
        let mut strangers = Strangers::default();
        let mut theirs = vec![add(&mut strangers, 0, 7)];
        theirs.extend((1..3000).map(|number| add(&mut strangers, number, 100 + number as u32 % 9)));
        assert_eq!(strangers.by_token.len(), IN_ALL);
        assert!(strangers.take_end(SocketId(0)).is_some());
    }
}
