//! Who writes the events down, in a thread of its own: a reader of the file who is slow, or a disk that is, must not keep the other frames of the
//! root from being taken.
//!
//! Between the two stands a queue that the root bounds: it has credit for so many bytes of records ([`control::kind::TRACE_CREDIT`]), and gets it back as they are
//! written. While something is to be written, the root and the one who waits for the end hear about it from time to time.
use super::event::{Event, What};
use super::log::Log;
use super::{Missed, Observer};
use anyhow::{Result, anyhow};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often it is told that something is still to be written.
const PULSE: Duration = Duration::from_secs(1);

/// Those who are told of events.
#[derive(Debug)]
pub(super) struct Watchers {
    log: Option<Log>,
    others: Vec<Box<dyn Observer>>,
    missed: Missed,
}

/// The way to them.
#[derive(Debug)]
pub(super) enum Recorder {
    /// They are told at once: the run has not begun.
    Idle(Watchers),
    Running(Running),
    Over,
}

/// The thread.
pub(super) struct Running {
    jobs: Sender<Job>,
    thread: JoinHandle<Done>,
}

/// Those who are told, once nobody tells them any more; and what could not be written at the end, or what kept it from coming.
type Done = (Watchers, Result<Vec<String>>);

enum Job {
    Tell(Box<Event>),
    /// So many bytes of the root's have been told of.
    Taken(usize),
    /// The run has ended as it should.
    Finish,
    /// It was stopped.
    Stop,
}

/// Told so many bytes as have been written (none: it goes on), and whether more is waiting.
pub(crate) type Progress = Box<dyn Fn(usize, bool) + Send + Sync>;

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Running")
    }
}

impl Watchers {
    fn tell(&mut self, event: &Event) -> Result<()> {
        if let What::Dropped(dropped) = &event.what {
            self.missed.add(dropped);
        }
        for observer in &mut self.others {
            observer.add(event)?;
        }
        self.log.as_mut().map_or(Ok(()), |log| log.add(event))
    }

    fn flush(&mut self) -> Result<()> {
        self.log.as_mut().map_or(Ok(()), Log::flush)
    }

    fn finish(&mut self) -> Vec<String> {
        let logged = self.log.take().map_or(Ok(()), Log::finish);
        self.conclude(logged)
    }

    /// The log stays without its end, as it should.
    fn stop(&mut self) -> Vec<String> {
        let logged = self.flush();
        self.conclude(logged)
    }

    /// Lets each of the others write what it has, whatever became of the ones before.
    fn conclude(&mut self, logged: Result<()>) -> Vec<String> {
        self.missed.say();
        let ends: Vec<Result<()>> = self.others.drain(..).map(|observer| observer.finish()).collect();
        [logged].into_iter().chain(ends).filter_map(|end| Some(format!("{:#}", end.err()?))).collect()
    }

    /// Takes jobs to the last, or to one that cannot be done.
    fn work(&mut self, jobs: &Receiver<Job>, progress: &Progress, busy: &AtomicBool) -> Result<Vec<String>> {
        let mut behind = false;
        loop {
            let job = jobs.try_recv().or_else(|_| {
                behind = false;
                busy.store(false, Ordering::Relaxed);
                jobs.recv()
            });
            busy.store(true, Ordering::Relaxed);
            // Whoever sends has gone without a word: as if it were stopped.
            match job.unwrap_or(Job::Stop) {
                Job::Tell(event) => self.tell(&event)?,
                Job::Taken(bytes) => {
                    self.flush()?;
                    progress(bytes, behind);
                    // Unless there is nothing more.
                    behind = true;
                }
                Job::Finish => return Ok(self.finish()),
                Job::Stop => return Ok(self.stop()),
            }
        }
    }
}

impl Recorder {
    /// For those who are told of events.
    pub(super) fn new(log: Option<Log>, others: Vec<Box<dyn Observer>>) -> Self {
        Self::Idle(Watchers { log, others, missed: Missed::default() })
    }

    /// The run begins. Without anybody to tell there is no thread.
    pub(super) fn start(&mut self, progress: Progress) {
        let Self::Idle(mut watchers) = std::mem::replace(self, Self::Over) else { return };
        if watchers.log.is_none() && watchers.others.is_empty() {
            return;
        }
        let (jobs, inbox) = mpsc::channel();
        let progress = Arc::new(progress);
        let busy = Arc::new(AtomicBool::new(false));
        pulse(&progress, &busy);
        let thread = thread::spawn(move || {
            let done = watchers.work(&inbox, &progress, &busy);
            busy.store(false, Ordering::Relaxed);
            (watchers, done)
        });
        *self = Self::Running(Running { jobs, thread });
    }

    /// Takes an event.
    ///
    /// # Errors
    /// An earlier one could not be written.
    pub(super) fn tell(&mut self, event: Event) -> Result<()> {
        match self {
            Self::Idle(watchers) => watchers.tell(&event),
            Self::Running(_) => self.send(Job::Tell(Box::new(event))),
            Self::Over => Ok(()),
        }
    }

    /// So many bytes of the root's have been told of. False: nobody will say that they are written, for that is nobody's affair.
    pub(super) fn taken(&mut self, bytes: usize) -> Result<bool> {
        match self {
            Self::Running(_) => self.send(Job::Taken(bytes)).map(|()| true),
            _ => Ok(false),
        }
    }

    /// All is told: waits until it is written. What could not be, for the user.
    pub(super) fn finish(&mut self) -> Vec<String> {
        self.end(Job::Finish)
    }

    /// The run was stopped: what there is is written.
    pub(super) fn stop(&mut self) -> Vec<String> {
        self.end(Job::Stop)
    }

    fn end(&mut self, last: Job) -> Vec<String> {
        match std::mem::replace(self, Self::Over) {
            Self::Running(Running { jobs, thread }) => {
                // If nobody takes it, the thread has ended, and says why.
                let _ = jobs.send(last);
                match thread.join() {
                    Ok((_, Ok(complaints))) => complaints,
                    Ok((mut watchers, Err(failure))) => [vec![format!("{failure:#}")], watchers.stop()].concat(),
                    Err(_) => vec!["the thread that writes events panicked".to_owned()],
                }
            }
            Self::Idle(mut watchers) => watchers.stop(),
            Self::Over => Vec::new(),
        }
    }

    fn send(&mut self, job: Job) -> Result<()> {
        let Self::Running(Running { jobs, .. }) = self else { return Ok(()) };
        if jobs.send(job).is_ok() {
            return Ok(());
        }
        let Self::Running(Running { thread, .. }) = std::mem::replace(self, Self::Over) else { return Ok(()) };
        let (watchers, done) = thread.join().map_err(|_| anyhow!("the thread that writes events panicked"))?;
        // What they have is still to be written.
        *self = Self::Idle(watchers);
        done.and(Err(anyhow!("events came behind their end")))
    }
}

/// Says that it goes on, as long as there is something to write and somebody who writes.
fn pulse(progress: &Arc<Progress>, busy: &Arc<AtomicBool>) {
    let (progress, busy) = (Arc::downgrade(progress), Arc::downgrade(busy));
    thread::spawn(move || {
        loop {
            thread::sleep(PULSE);
            let (Some(progress), Some(busy)) = (progress.upgrade(), busy.upgrade()) else { return };
            if busy.load(Ordering::Relaxed) {
                progress(0, true);
            }
        }
    });
}
