//! A TCP proxy that spoils what passes through it, as networks and dying machines do.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

use super::process::free_port;

/// What happens to the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Pass,
    /// Every piece, in both directions, is held back so long.
    Delay(Duration),
    /// The other end is so far away, one way: what is sent together arrives together.
    Far(Duration),
    /// Nobody listens, and open connections break.
    Refuse,
    /// Connections open, and nothing comes through, until the mode ends or one side gives up.
    BlackHole,
    /// What each connection sends behind its first so many bytes is kept, and arrives when the mode ends, whatever has become of the
    /// sender: it was in the network.
    HoldAfter(usize),
    /// Each connection ends, as if properly, after so many bytes of answers.
    CutAfter(usize),
    /// Each connection is reset after so many bytes of answers.
    ResetAfter(usize),
    /// Bytes of each answer behind the first so many are overwritten with what is in no text.
    Garble(usize),
}

/// A proxy before one node. Dropping it ends it.
pub struct FaultProxy {
    pub port: u16,
    modes: watch::Sender<Modes>,
    asked: Asked,
    callers: Callers,
}

/// What happens to whose bytes.
#[derive(Debug, Clone)]
struct Modes {
    all: Mode,
    /// Of single processes that connect, by their ids.
    single: BTreeMap<u32, Mode>,
}

/// The processes that are told apart, by their ids.
type Callers = Arc<Mutex<BTreeSet<u32>>>;

/// How many requests came for each path, whatever became of them. No more than [`PATHS`] are told apart.
type Asked = Arc<Mutex<BTreeMap<String, usize>>>;

const PATHS: usize = 1000;

/// Why a direction of a connection is over.
enum Over {
    /// The sender has closed it.
    Closed,
    Cut,
    Reset,
}

// === impl FaultProxy ===

impl FaultProxy {
    /// Listens on a port of its own and hands on to `target`.
    pub fn start(target: u16) -> Self {
        let port = free_port();
        let (modes, watched) = watch::channel(Modes { all: Mode::Pass, single: BTreeMap::new() });
        let (asked, callers) = (Asked::default(), Callers::default());
        let way = Way { target, modes: watched, asked: Arc::clone(&asked), callers: Arc::clone(&callers) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        std::thread::spawn(move || runtime.block_on(serve(port, way)));
        Self { port, modes, asked, callers }
    }

    /// How often the node was asked for paths that end so, without their query.
    pub fn asked(&self, path: &str) -> usize {
        self.asked.lock().iter().filter(|(asked, _)| asked.ends_with(path)).map(|(_, count)| count).sum()
    }

    pub fn set(&self, mode: Mode) {
        self.modes.send_modify(|modes| *modes = Modes { all: mode, single: BTreeMap::new() });
    }

    /// Tells this process apart from others that connect from now on.
    pub fn tell_apart(&self, process: u32) {
        self.callers.lock().insert(process);
    }

    /// As [`FaultProxy::set`], of one process that is told apart.
    pub fn set_for(&self, process: u32, mode: Mode) {
        self.modes.send_modify(|modes| {
            modes.single.insert(process, mode);
        });
    }
}

// === impl Modes ===

impl Modes {
    fn of(&self, caller: Option<u32>) -> Mode {
        caller.and_then(|caller| self.single.get(&caller)).copied().unwrap_or(self.all)
    }
}

/// What a connection needs to know.
#[derive(Clone)]
struct Way {
    target: u16,
    modes: watch::Receiver<Modes>,
    asked: Asked,
    callers: Callers,
}

async fn serve(port: u16, mut way: Way) {
    loop {
        if way.modes.borrow_and_update().all == Mode::Refuse {
            if way.modes.changed().await.is_err() {
                return;
            }
            continue;
        }
        // While the listener is gone its port could be taken for a moment only by a test's own search for a free one.
        let Ok(listener) = TcpListener::bind(("127.0.0.1", port)).await else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    if let Ok((client, from)) = accepted {
                        let caller = caller(from, &way.callers);
                        tokio::spawn(connection(client, caller, way.clone()));
                    }
                }
                changed = way.modes.changed() => match changed {
                    Ok(()) if way.modes.borrow_and_update().all == Mode::Refuse => break,
                    Ok(()) => {}
                    Err(_) => return,
                }
            }
        }
    }
}

/// Which of the processes that are told apart has the other end: the one with the socket that the system's table names for it.
fn caller(from: SocketAddr, callers: &Callers) -> Option<u32> {
    let callers = callers.lock().clone();
    if callers.is_empty() {
        return None;
    }
    let end = format!("0100007F:{:04X}", from.port());
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let line = table.lines().find(|line| line.split_whitespace().nth(1) == Some(&end))?;
    let socket = format!("socket:[{}]", line.split_whitespace().nth(9)?);
    callers.into_iter().find(|process| {
        let open = std::fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
        open.filter_map(|file| file.path().read_link().ok()).any(|file| file.as_os_str() == socket.as_str())
    })
}

async fn connection(client: TcpStream, caller: Option<u32>, way: Way) {
    let mut refused = way.modes.clone();
    if refused.borrow().of(caller) == Mode::Refuse {
        let _ = client.set_zero_linger();
        return;
    }
    let Ok(node) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], way.target))).await else {
        let _ = client.set_zero_linger();
        return;
    };
    for stream in [&client, &node] {
        let _ = stream.set_nodelay(true);
    }
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_node, mut to_node) = node.into_split();
    let (there, back) = (Faults { modes: way.modes.clone(), caller }, Faults { modes: way.modes, caller });
    let over = tokio::select! {
        over = pump(&mut from_client, &mut to_node, there, Direction::Request(&way.asked)) => over,
        over = pump(&mut from_node, &mut to_client, back, Direction::Answer) => over,
        _ = refused.wait_for(|modes| modes.of(caller) == Mode::Refuse) => Over::Reset,
    };
    match over {
        Over::Closed | Over::Cut => {}
        Over::Reset => {
            let _ = to_client.as_ref().set_zero_linger();
        }
    }
}

/// What happens to the bytes of one connection.
struct Faults {
    modes: watch::Receiver<Modes>,
    caller: Option<u32>,
}

#[derive(Clone, Copy)]
enum Direction<'a> {
    Request(&'a Asked),
    Answer,
}

/// Hands on what one side sends, until it or the mode ends the connection.
async fn pump(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, mut faults: Faults, direction: Direction<'_>) -> Over {
    let mut passed = 0;
    let mut buffer = vec![0; 16 << 10];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return Over::Closed };
        let mode = faults.modes.borrow_and_update().of(faults.caller);
        let piece = &mut buffer[..read];
        if let Direction::Request(asked) = direction {
            note(piece, asked);
        }
        let result = match (mode, direction) {
            (Mode::HoldAfter(most), Direction::Request(_)) if passed + read > most => {
                let held = hold(from, &mut faults, piece.to_vec()).await;
                to.write_all(&held).await
            }
            (Mode::Pass | Mode::Refuse | Mode::HoldAfter(_), _)
            | (Mode::CutAfter(_) | Mode::ResetAfter(_) | Mode::Garble(_), Direction::Request(_)) => {
                to.write_all(piece).await
            }
            (Mode::Far(time), _) => far(from, to, &mut faults, piece.to_vec(), time).await,
            (Mode::Delay(time), _) => {
                tokio::time::sleep(time).await;
                to.write_all(piece).await
            }
            (Mode::BlackHole, _) => {
                // What was on its way when the network broke arrives when it is whole again, if both ends are still
                // there: a packet that is sent again.
                if gone(from, &mut faults).await {
                    return Over::Closed;
                }
                to.write_all(piece).await
            }
            (Mode::CutAfter(most), Direction::Answer) if passed + read > most => {
                let _ = to.write_all(&piece[..most.saturating_sub(passed)]).await;
                return Over::Cut;
            }
            (Mode::ResetAfter(most), Direction::Answer) if passed + read > most => {
                let _ = to.write_all(&piece[..most.saturating_sub(passed)]).await;
                return Over::Reset;
            }
            (Mode::Garble(kept), Direction::Answer) => {
                spoil(piece, passed, kept);
                to.write_all(piece).await
            }
            (Mode::CutAfter(_) | Mode::ResetAfter(_), Direction::Answer) => to.write_all(piece).await,
        };
        passed += read;
        if result.is_err() {
            return Over::Closed;
        }
    }
}

/// Counts the request that begins with `piece`; the rest of a longer one begins with no method.
fn note(piece: &[u8], asked: &Asked) {
    let line = piece.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let Some((method, rest)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once(' ')) else { return };
    let Some((target, "HTTP/1.1")) = rest.rsplit_once(' ') else { return };
    if !["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&method) {
        return;
    }
    let path = target.split('?').next().unwrap_or_default();
    let mut asked = asked.lock();
    if let Some(count) = asked.get_mut(path) {
        *count += 1;
    } else if asked.len() < PATHS {
        asked.insert(path.to_owned(), 1);
    }
}

/// Waits for the end of a black hole; true when the sender gave up before.
async fn gone(from: &mut OwnedReadHalf, faults: &mut Faults) -> bool {
    let Faults { modes, caller } = faults;
    let over = |modes: &Modes| modes.of(*caller) != Mode::BlackHole;
    let mut one = [0];
    tokio::select! {
        _ = modes.wait_for(over) => return false,
        peeked = from.peek(&mut one) => if !matches!(peeked, Ok(1..)) { return true },
    }
    // It has even more to say: no end of it will be seen.
    let _ = modes.wait_for(over).await;
    false
}

/// Keeps what is sent, behind `held`, until the mode ends.
async fn hold(from: &mut OwnedReadHalf, faults: &mut Faults, mut held: Vec<u8>) -> Vec<u8> {
    let Faults { modes, caller } = faults;
    let mut over = std::pin::pin!(modes.wait_for(|modes| !matches!(modes.of(*caller), Mode::HoldAfter(_))));
    let mut is_open = true;
    loop {
        tokio::select! {
            _ = &mut over => return held,
            read = from.read_buf(&mut held), if is_open => is_open = matches!(read, Ok(1..)),
        }
    }
}

/// Hands on what is sent, behind `first`, each piece so much later, until the mode ends or the sender has closed.
async fn far(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    faults: &mut Faults,
    first: Vec<u8>,
    time: Duration,
) -> std::io::Result<()> {
    let Faults { modes, caller } = faults;
    let mut over = std::pin::pin!(async {
        _ = modes.wait_for(|modes| modes.of(*caller) != Mode::Far(time)).await;
    });
    let mut under_way = VecDeque::from([(Instant::now() + time, first)]);
    let mut is_open = true;
    let mut buffer = vec![0; 16 << 10];
    loop {
        let arrives = under_way.front().map(|(arrives, _)| *arrives);
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(arrives.unwrap_or_else(Instant::now)), if arrives.is_some() => {
                if let Some((_, piece)) = under_way.pop_front() {
                    to.write_all(&piece).await?;
                }
            }
            () = &mut over => break,
            read = from.read(&mut buffer), if is_open => match read {
                Ok(read @ 1..) => under_way.push_back((Instant::now() + time, buffer[..read].to_vec())),
                Ok(0) | Err(_) => is_open = false,
            },
        }
        if !is_open && under_way.is_empty() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    for (_, piece) in under_way {
        to.write_all(&piece).await?;
    }
    Ok(())
}

/// Overwrites eight bytes of a piece behind the first `kept` of its connection; the head of an answer stays whole, because
/// a status line that cannot be read is the case that every client knows.
fn spoil(piece: &mut [u8], passed: usize, kept: usize) {
    let head = piece.windows(4).position(|window| window == b"\r\n\r\n").map_or(0, |at| at + 4);
    let start = head.max(kept.saturating_sub(passed));
    for byte in piece.iter_mut().skip(start).take(8) {
        *byte = 0xFF;
    }
}
