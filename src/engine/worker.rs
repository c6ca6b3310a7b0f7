//! An engine on a separate thread, for callers that cannot wait for its steps, such as a server.
//!
//! The engine's thread belongs to a thread pool that only the model uses, so the other computations of the program do not
//! get in its way.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::draft::Models;
use super::{Draft, Engine, Event, Id, LanguageModel, Options, Progress, Request, RequestError, Stats};

/// Starts an engine with `threads` threads, by default one for each core of the machine.
///
/// The thread ends when the engine is [drained](Handle::drain) or [stopped](Handle::stop) and nothing is left to do, or
/// when all handles and all tickets are dropped. If the model panics, the thread ends at once.
///
/// # Errors
/// Returns an error if the system cannot start more threads.
pub fn spawn<M>(model: M, options: Options, threads: Option<usize>) -> io::Result<(Handle, Worker)>
where
    M: LanguageModel + Clone + Send + Sync + 'static,
{
    spawn_with_draft(model, Draft::None, options, threads)
}

/// Starts an engine as [`spawn`] does, which also [guesses](Engine::with_draft) tokens ahead.
///
/// # Errors
/// Returns an error if the system cannot start more threads.
///
/// # Panics
/// Panics if a draft model has another vocabulary than the model.
pub fn spawn_with_draft<M>(
    model: M,
    draft: Draft<M>,
    options: Options,
    threads: Option<usize>,
) -> io::Result<(Handle, Worker)>
where
    M: LanguageModel + Clone + Send + Sync + 'static,
{
    let builder = rayon::ThreadPoolBuilder::new().thread_name(|index| format!("engine-{index}"));
    let pool = builder.num_threads(threads.unwrap_or(0)).build().map_err(io::Error::other)?;
    let (commands, received) = mpsc::channel();
    let checked = Models::new(model.clone(), draft.clone());
    let shared = Arc::new(Shared {
        check: Box::new(move |request| request.check(&checked, options.cache_bytes)),
        draining: Mutex::new(false),
        stats: Mutex::default(),
        tickets: AtomicU64::new(0),
    });
    let engine = Engine::with_draft(model, draft, options);
    *lock(&shared.stats) = engine.stats();
    let seen = Arc::clone(&shared);
    let thread = thread::Builder::new().name("engine".into()).spawn(move || {
        pool.install(|| {
            Loop { engine, open: HashMap::new(), ids: HashMap::new() }.run(received, &seen.stats);
        });
    })?;
    Ok((Handle { shared, commands }, Worker(thread)))
}

/// Submits requests to an engine that runs on another thread. Clones submit to the same one.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
    commands: Sender<Command>,
}

/// The engine's thread.
pub struct Worker(JoinHandle<()>);

impl Worker {
    /// Waits until the thread has ended.
    ///
    /// # Errors
    /// Returns what the thread panicked with.
    pub fn join(self) -> thread::Result<()> {
        self.0.join()
    }
}

/// The engine's check of a request.
type Check = dyn Fn(&Request) -> Result<(), RequestError> + Send + Sync;

struct Shared {
    check: Box<Check>,
    /// Held while a command is sent, so that a request either comes before the end or is refused.
    draining: Mutex<bool>,
    /// Statistics as of the last turn of the engine's thread.
    stats: Mutex<Stats>,
    /// Number of requests so far.
    tickets: AtomicU64,
}

/// Receiver of the events of a request.
type Sink = Box<dyn FnMut(Event) + Send>;

/// Locks a mutex whose content no panic leaves half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

enum Command {
    Submit { ticket: u64, request: Box<Request>, sink: Sink },
    Cancel { ticket: u64 },
    CancelSequence { ticket: u64, sequence: usize },
    Drain,
    Stop,
}

/// Error from a request that was not taken.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The model can never answer it, or the engine is draining.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The engine's thread has ended.
    #[error("the engine has stopped")]
    Stopped,
}

impl Handle {
    /// Submits a request whose events are read one after the other. Does not block.
    ///
    /// # Errors
    /// Returns an error if the engine does not take the request.
    pub fn submit(&self, request: Request) -> Result<Responses, SubmitError> {
        let (sender, events) = mpsc::channel();
        let open = (0..request.sequences).collect();
        // A reader that is gone has dropped the ticket.
        let ticket = self.submit_to(request, move |event| drop(sender.send(event)))?;
        Ok(Responses { ticket, open, events })
    }

    /// Submits a request whose events the engine's thread passes to `sink`. Does not block.
    ///
    /// All requests wait while the sink runs, so it must not block; if it panics, the thread ends. The sink is dropped
    /// when the last response has ended or is cancelled, and when the engine's thread ends. If the sink sends to a
    /// channel, its receiver then finds the channel closed.
    ///
    /// # Errors
    /// Returns an error if the engine does not take the request.
    pub fn submit_to(
        &self,
        request: Request,
        sink: impl FnMut(Event) + Send + 'static,
    ) -> Result<Ticket, SubmitError> {
        (self.shared.check)(&request)?;
        let draining = lock(&self.shared.draining);
        if *draining {
            return Err(RequestError::Draining.into());
        }
        let ticket = self.shared.tickets.fetch_add(1, Ordering::Relaxed);
        let command = Command::Submit { ticket, request: Box::new(request), sink: Box::new(sink) };
        self.commands.send(command).map_err(|_| SubmitError::Stopped)?;
        Ok(Ticket { number: ticket, commands: self.commands.clone() })
    }

    /// Returns the statistics as of the last time the engine's thread looked for commands, which it does between two
    /// steps. Requests that it has not seen yet are not counted.
    pub fn stats(&self) -> Stats {
        *lock(&self.shared.stats)
    }

    /// Refuses all further requests. Requests that were taken are answered; then the thread ends.
    pub fn drain(&self) {
        self.end(Command::Drain);
    }

    /// Refuses all further requests, and ends all responses where they are. Then the thread ends.
    pub fn stop(&self) {
        self.end(Command::Stop);
    }

    fn end(&self, command: Command) {
        let mut draining = lock(&self.shared.draining);
        *draining = true;
        // If the thread has ended, the goal is reached.
        let _ = self.commands.send(command);
    }
}

/// A request that was taken. Dropping the ticket cancels the request.
pub struct Ticket {
    number: u64,
    commands: Sender<Command>,
}

impl Ticket {
    /// Cancels the request. Its sink may get a few more events before it is dropped.
    pub fn cancel(&self) {
        self.send(Command::Cancel { ticket: self.number });
    }

    /// Cancels one response. The sink may get a few more of its events.
    pub fn cancel_sequence(&self, sequence: usize) {
        self.send(Command::CancelSequence { ticket: self.number, sequence });
    }

    fn send(&self, command: Command) {
        // If the thread has ended, so has the request.
        let _ = self.commands.send(command);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// The events of one request as they come. Dropping it cancels the request.
///
/// The iterator ends with the last response, or when the engine's thread does.
pub struct Responses {
    ticket: Ticket,
    /// The responses that have not ended.
    open: BTreeSet<usize>,
    events: Receiver<Event>,
}

impl Responses {
    /// Ends one response. It has no further events.
    pub fn cancel_sequence(&mut self, sequence: usize) {
        if self.open.remove(&sequence) {
            self.ticket.cancel_sequence(sequence);
        }
    }
}

impl Iterator for Responses {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        while !self.open.is_empty() {
            let event = self.events.recv().ok()?;
            let is_open = match event {
                Event::Started { .. } => true,
                Event::Token { sequence, .. } => self.open.contains(&sequence),
                Event::Finished { sequence, .. } | Event::Failed { sequence, .. } => {
                    self.open.remove(&sequence)
                }
            };
            if is_open {
                return Some(event);
            }
        }
        None
    }
}

/// A request that is being answered.
struct Open {
    ticket: u64,
    sink: Sink,
    /// The responses that have not ended.
    sequences: BTreeSet<usize>,
}

/// State of the engine's thread.
struct Loop<M: LanguageModel> {
    engine: Engine<M>,
    open: HashMap<Id, Open>,
    /// The open requests by their tickets.
    ids: HashMap<u64, Id>,
}

impl<M: LanguageModel> Loop<M> {
    fn run(mut self, commands: Receiver<Command>, stats: &Mutex<Stats>) {
        let (mut events, mut progress, mut ending) = (Vec::new(), Progress::Idle, false);
        while progress == Progress::Running || !ending {
            let command = match progress {
                Progress::Idle => commands.recv().map_err(|_| TryRecvError::Disconnected),
                Progress::Running => commands.try_recv(),
            };
            match command {
                Ok(command) => {
                    ending |= matches!(command, Command::Drain | Command::Stop);
                    self.obey(command, &mut events);
                    // The next step shows whether there is something to do.
                    progress = Progress::Running;
                }
                Err(TryRecvError::Empty) => progress = self.engine.step(&mut events),
                // Nobody is left to read an answer.
                Err(TryRecvError::Disconnected) => return,
            }
            *lock(stats) = self.engine.stats();
            for event in events.drain(..) {
                self.give(event);
            }
        }
    }

    /// Gives an event to its sink.
    fn give(&mut self, event: Event) {
        let id = event.id();
        let Some(open) = self.open.get_mut(&id) else { return };
        let ended = match event {
            Event::Finished { sequence, .. } | Event::Failed { sequence, .. } => Some(sequence),
            _ => None,
        };
        (open.sink)(event);
        if let Some(sequence) = ended {
            self.end(id, sequence);
        }
    }

    /// Drops the sink of a request after its last response.
    fn end(&mut self, id: Id, sequence: usize) {
        if let Entry::Occupied(mut open) = self.open.entry(id) {
            open.get_mut().sequences.remove(&sequence);
            if open.get().sequences.is_empty() {
                self.ids.remove(&open.remove().ticket);
            }
        }
    }

    fn obey(&mut self, command: Command, events: &mut Vec<Event>) {
        match command {
            Command::Submit { ticket, request, sink } => {
                let sequences = (0..request.sequences).collect();
                // The handle has checked the request, so no error occurs; an error would drop the sink.
                if let Ok(id) = self.engine.submit(*request) {
                    self.open.insert(id, Open { ticket, sink, sequences });
                    self.ids.insert(ticket, id);
                }
            }
            Command::Cancel { ticket } => {
                if let Some(id) = self.ids.remove(&ticket) {
                    self.engine.cancel(id);
                    self.open.remove(&id);
                }
            }
            Command::CancelSequence { ticket, sequence } => {
                if let Some(&id) = self.ids.get(&ticket) {
                    self.engine.cancel_sequence(id, sequence);
                    self.end(id, sequence);
                }
            }
            Command::Drain => self.engine.drain(),
            Command::Stop => self.engine.stop(events),
        }
    }
}
