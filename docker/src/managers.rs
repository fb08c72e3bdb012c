//! The managers of one swarm: whoever of them answers is asked.

use crate::endpoint::Endpoint;
use crate::engine::{Engine, Limits};
use crate::error::Error;
use crate::service::{Service, ServiceSpec};
use crate::task::Task;

/// The managers of one swarm. A question goes to the one that answered last, and to the next ones in turn when it does
/// not answer or is no manager; each may take the limits of a connection and two calls. A change goes to one of them.
#[derive(Debug)]
pub struct Managers {
    managers: Vec<Manager>,
    /// The one that answered last.
    good: usize,
    /// How often that was another one than before.
    moves: u64,
}

#[derive(Debug)]
struct Manager {
    engine: Engine,
    /// Why it was passed over when it was asked last.
    trouble: Option<Error>,
}

impl Managers {
    /// Those that answer here, in the order in which they are tried; nobody is asked yet.
    pub fn new(endpoints: impl IntoIterator<Item = Endpoint>, limits: Limits) -> Self {
        let manager = |endpoint| Manager { engine: Engine::new(endpoint, limits), trouble: None };
        Self { managers: endpoints.into_iter().map(manager).collect(), good: 0, moves: 0 }
    }

    /// The one that answered last; absent when there are none.
    pub fn current(&self) -> Option<&Endpoint> {
        self.managers.get(self.good).map(|manager| manager.engine.endpoint())
    }

    /// How often another one than before has answered.
    pub fn moves(&self) -> u64 {
        self.moves
    }

    /// Why each that did not answer when it was asked last did not.
    pub fn troubles(&self) -> impl Iterator<Item = &Error> {
        self.managers.iter().filter_map(|manager| manager.trouble.as_ref())
    }

    /// As [`Engine::services`].
    ///
    /// # Errors
    /// As there; with several managers [`Error::NoManager`] when none of them answers.
    pub async fn services(&mut self) -> Result<Vec<Service>, Error> {
        let mut round = self.round();
        while let Some(manager) = self.next(&mut round) {
            let answer = manager.engine.services().await;
            if let Some(settled) = self.settled(&round, answer) {
                return settled;
            }
        }
        Err(self.nobody())
    }

    /// As [`Engine::service`].
    ///
    /// # Errors
    /// As there; with several managers [`Error::NoManager`] when none of them answers.
    pub async fn service(&mut self, name_or_id: &str) -> Result<ServiceSpec, Error> {
        let mut round = self.round();
        while let Some(manager) = self.next(&mut round) {
            let answer = manager.engine.service(name_or_id).await;
            if let Some(settled) = self.settled(&round, answer) {
                return settled;
            }
        }
        Err(self.nobody())
    }

    /// As [`Engine::tasks`].
    ///
    /// # Errors
    /// As there; with several managers [`Error::NoManager`] when none of them answers.
    pub async fn tasks(&mut self, service_id: &str) -> Result<Vec<Task>, Error> {
        let mut round = self.round();
        while let Some(manager) = self.next(&mut round) {
            let answer = manager.engine.tasks(service_id).await;
            if let Some(settled) = self.settled(&round, answer) {
                return settled;
            }
        }
        Err(self.nobody())
    }

    /// As [`Engine::set_replicas`], by the first manager that can be connected to: whatever comes of it, it is sent to
    /// no other. One that did not do it for want of an answer or of its office is the last to be asked next.
    ///
    /// # Errors
    /// As there; with several managers [`Error::NoManager`] when none can be connected to, and then nothing was sent.
    pub async fn set_replicas(&mut self, read: &ServiceSpec, replicas: u64) -> Result<Vec<String>, Error> {
        let mut round = self.round();
        while let Some(manager) = self.next(&mut round) {
            if let Err(error) = manager.engine.reach().await {
                manager.trouble = Some(error);
                continue;
            }
            let answer = manager.engine.set_replicas(read, replicas).await;
            if let Err(error @ (Error::Undecided { .. } | Error::NotAManager { .. })) = &answer {
                manager.trouble = Some(error.clone());
                let next = (round.at + 1) % self.managers.len();
                self.moves += u64::from(self.good != next);
                self.good = next;
            } else {
                self.answered(&round);
            }
            return answer;
        }
        Err(self.nobody())
    }

    fn round(&self) -> Round {
        Round { at: self.good, asked: 0 }
    }

    /// The next manager to ask; `None` after each was asked once.
    fn next(&mut self, round: &mut Round) -> Option<&mut Manager> {
        if round.asked == self.managers.len() {
            return None;
        }
        round.at = (self.good + round.asked) % self.managers.len();
        round.asked += 1;
        self.managers.get_mut(round.at)
    }

    /// The answer, unless the next manager is to be asked for a better one.
    fn settled<T>(&mut self, round: &Round, answer: Result<T, Error>) -> Option<Result<T, Error>> {
        match answer {
            Ok(_) | Err(Error::NotFound { .. } | Error::NotAsked { .. }) => {
                self.answered(round);
                Some(answer)
            }
            Err(error) => {
                if let Some(manager) = self.managers.get_mut(round.at) {
                    manager.trouble = Some(error);
                }
                None
            }
        }
    }

    fn answered(&mut self, round: &Round) {
        if let Some(manager) = self.managers.get_mut(round.at) {
            manager.trouble = None;
        }
        self.moves += u64::from(self.good != round.at);
        self.good = round.at;
    }

    /// What is said after a round in which nobody answered.
    fn nobody(&self) -> Error {
        match &self.managers[..] {
            [Manager { trouble: Some(error), .. }] => error.clone(),
            [] => Error::NoManager { why: "none is configured".to_owned() },
            _ => {
                let all: Vec<String> = self.troubles().map(Error::to_string).collect();
                Error::NoManager { why: all.join("; ") }
            }
        }
    }
}

/// One question on its way from manager to manager.
struct Round {
    /// The one that is asked.
    at: usize,
    asked: usize,
}
