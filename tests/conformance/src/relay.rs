//! A relay before a node: other nodes reach it there, until the relay is cut.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub struct Relay {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    cut: bool,
    over: bool,
    /// Both sides of every connection, to shut them.
    open: Vec<TcpStream>,
}

impl Relay {
    pub fn start(target: SocketAddr) -> io::Result<Relay> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let state = Arc::<Mutex<State>>::default();
        let shared = state.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                if lock(&shared).over {
                    break;
                }
                if let Ok(connection) = connection {
                    // A node that is down refuses, and whoever asked learns of it by the close.
                    let _ = pass_on(&shared, connection, target);
                }
            }
        });
        Ok(Relay { address, state })
    }

    /// Breaks every connection, and every new one at once, until it is mended.
    pub fn cut(&self) {
        let mut state = lock(&self.state);
        state.cut = true;
        shut(&mut state);
    }

    pub fn mend(&self) {
        lock(&self.state).cut = false;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.over = true;
        shut(&mut state);
        drop(state);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn pass_on(state: &Mutex<State>, near: TcpStream, target: SocketAddr) -> io::Result<()> {
    if lock(state).cut {
        return Ok(());
    }
    let far = TcpStream::connect(target)?;
    let (near_again, far_again) = (near.try_clone()?, far.try_clone()?);
    let mut state = lock(state);
    if state.cut || state.over {
        return Ok(());
    }
    state.open.extend([near.try_clone()?, far.try_clone()?]);
    drop(state);
    std::thread::spawn(move || copy(near, far));
    std::thread::spawn(move || copy(far_again, near_again));
    Ok(())
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    // However it ends, the other side learns of it.
    let _ = io::copy(&mut from, &mut to);
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

fn shut(state: &mut State) {
    for connection in state.open.drain(..) {
        let _ = connection.shutdown(Shutdown::Both);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
