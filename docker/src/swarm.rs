//! What a manager of a swarm is asked: its services, their tasks, and how many there should be. Nothing else is.

use serde::Deserialize;

use crate::engine::{Engine, Post};
use crate::error::{Error, shown};
use crate::service::{Service, ServiceSpec};
use crate::task::Task;
use crate::version::ApiVersion;

/// From here on a list says how many tasks run.
const WITH_STATUS: ApiVersion = ApiVersion { major: 1, minor: 41 };

/// Most letters of a service's name; engines take 63.
const NAME_LETTERS: usize = 255;

impl Engine {
    /// The services of the swarm, in the order of their names.
    ///
    /// # Errors
    /// The engine is no manager ([`Error::NotAManager`]), there is no answer, or it is not a list of services.
    pub async fn services(&mut self) -> Result<Vec<Service>, Error> {
        let call = "GET /services";
        let path = |api| if api >= WITH_STATUS { "/services?status=true" } else { "/services" };
        let answer = self.get_as(|api| path(api).to_owned(), call).await;
        let (_, body) = answer.map_err(of_swarm)?;
        Service::read_list(&body).map_err(|why| self.not_understood(call, why))
    }

    /// A service by its whole name or id, with its specification.
    ///
    /// # Errors
    /// There is no such service ([`Error::NotFound`]), the engine is no manager, there is no answer, or it is not about
    /// a service.
    pub async fn service(&mut self, name_or_id: &str) -> Result<ServiceSpec, Error> {
        named(name_or_id)?;
        let call = format!("GET /services/{name_or_id}");
        let path = format!("/services/{name_or_id}");
        let (api, body) = self.get_as(|_| path.clone(), &call).await.map_err(of_swarm)?;
        let found = ServiceSpec::read(&body, api).map_err(|why| self.not_understood(&call, why))?;
        if found.service.name != name_or_id && found.service.id != name_or_id {
            // Engines also take the beginning of an id.
            let message = format!("the answer is about service {}", shown(&found.service.name));
            return Err(Error::NotFound { endpoint: self.endpoint().to_string(), call, message });
        }
        Ok(found)
    }

    /// Makes the swarm give a service so many tasks, if it is still as it was read; what the engine warns of. It is
    /// sent once and never again.
    ///
    /// # Errors
    /// [`Error::OutOfSequence`]: it is not as it was read any more. [`Error::Undecided`]: it was sent, and there is no
    /// answer. After these and any other, the service is to be read again before anything is decided.
    /// [`Error::NotAsked`]: the service has no number of tasks.
    pub async fn set_replicas(&mut self, read: &ServiceSpec, replicas: u64) -> Result<Vec<String>, Error> {
        let id = &read.service.id;
        named(id)?;
        let post = Post {
            path: format!("/services/{id}/update?version={}", read.service.version_index),
            body: read.with_replicas(replicas)?,
            api: Some(read.api()),
            done: &[200],
            limit: self.limits().call,
            call: format!("POST /services/{}/update", shown(&read.service.name)),
        };
        let call = post.call.clone();
        let body = self.post(post).await.map_err(of_swarm)?;
        warnings(&body).map_err(|why| self.not_understood(&call, why))
    }

    /// The tasks of the service with this id, also some that have ended, in the order of their slots.
    ///
    /// # Errors
    /// There is no such service ([`Error::NotFound`]), the engine is no manager, there is no answer, or it is not a list
    /// of tasks.
    pub async fn tasks(&mut self, service_id: &str) -> Result<Vec<Task>, Error> {
        named(service_id)?;
        let call = "GET /tasks";
        let path = format!("/tasks?filters=%7B%22service%22:%5B%22{service_id}%22%5D%7D");
        let (_, body) = self.get_as(|_| path.clone(), call).await.map_err(of_swarm)?;
        let mut tasks = Task::read_list(&body).map_err(|why| self.not_understood(call, why))?;
        tasks.retain(|task| task.service_id == service_id);
        Ok(tasks)
    }
}

/// Refuses what cannot be a service's name or id, before it becomes a part of a path.
fn named(text: &str) -> Result<(), Error> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if first && text.len() <= NAME_LETTERS && text.bytes().all(letter) {
        return Ok(());
    }
    let why = "a service's name has letters, digits, - and _, and begins with a letter or digit".to_owned();
    Err(Error::NotAsked { what: format!("service {:?}", shown(text)), why })
}

/// What an error means of a swarm.
fn of_swarm(error: Error) -> Error {
    match error {
        Error::Status { endpoint, call, status: 503, message } => {
            Error::NotAManager { endpoint, call, message }
        }
        Error::Status { endpoint, call, status: 500, message } if message.contains("out of sequence") => {
            Error::OutOfSequence { endpoint, call, message }
        }
        other => other,
    }
}

/// What an engine warns of when a service is changed; engines before API 1.25 say nothing at all.
fn warnings(body: &[u8]) -> Result<Vec<String>, String> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(rename = "Warnings")]
        warnings: Option<Vec<String>>,
    }
    if body.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let answer: Answer = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    Ok(answer.warnings.unwrap_or_default())
}
