//! How rules get onto a switch and how it is read. A driver does what it is told, one thing at a time, and says what came
//! of it; when to read and what to change is decided elsewhere.

mod cumulus_acl;
mod cumulus_nvue;
mod dry_run;

use super::config::{DriverKind, Switch};
use super::wanted::{Change, Interest, Observed};
use crate::http::{Client, Credentials, Options, Tls, Url};

use cumulus_acl::CumulusAcl;
use cumulus_nvue::CumulusNvue;
use dry_run::DryRun;

/// A switch as it was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// Its rules that have our names.
    pub observed: Observed,
    /// What its last commit failed with.
    pub failing: Option<String>,
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The switch does not answer, or not in a way that makes sense: the same may work later.
    Unreachable(String),
    /// The switch does not want this rule.
    Refused(String),
}

/// What came of each change, in their order; those behind a switch that stopped answering were not tried.
pub type Done = Vec<Result<(), Trouble>>;

/// One driver of one switch.
#[derive(Debug)]
pub enum Driver {
    /// `finderscope-acl`, and the server of Cumulus Linux 3.
    CumulusAcl(CumulusAcl),
    /// Cumulus Linux 5.
    CumulusNvue(CumulusNvue),
    /// Nobody.
    DryRun(DryRun),
}

impl Driver {
    /// The driver of a switch; nothing is connected yet. `instance` marks our rules.
    ///
    /// # Errors
    /// The URL cannot be asked; the message says why.
    pub fn new(switch: &Switch, instance: &str) -> Result<Self, String> {
        let client = || {
            let url = Url::parse(switch.url.as_deref().unwrap_or_default())?;
            Ok::<_, String>(Client::new(url, options(switch)))
        };
        Ok(match switch.driver {
            DriverKind::CumulusAcl => Self::CumulusAcl(CumulusAcl::new(client()?, instance)),
            DriverKind::CumulusNvue => Self::CumulusNvue(CumulusNvue::new(client()?, instance)),
            DriverKind::DryRun => Self::DryRun(DryRun::default()),
        })
    }

    /// Reads all rules that have our names, and those of scripts that are of interest.
    ///
    /// # Errors
    /// The switch does not answer, or not in a way that makes sense.
    pub async fn read(&mut self, interest: &Interest) -> Result<Reading, String> {
        match self {
            Self::CumulusAcl(driver) => driver.read(interest).await,
            Self::CumulusNvue(driver) => driver.read().await,
            Self::DryRun(driver) => Ok(driver.read()),
        }
    }

    /// Makes changes. That one was made is known for certain only when it is read back.
    pub async fn apply(&mut self, changes: &[Change]) -> Done {
        match self {
            Self::CumulusAcl(driver) => driver.apply(changes).await,
            Self::CumulusNvue(driver) => driver.apply(changes).await,
            Self::DryRun(driver) => driver.apply(changes),
        }
    }
}

fn options(switch: &Switch) -> Options {
    let credentials = match (&switch.user, &switch.password_file, &switch.token_file) {
        (Some(user), Some(file), _) => Credentials::Basic { user: user.clone(), password_file: file.clone() },
        (_, _, Some(file)) => Credentials::Bearer { token_file: file.clone() },
        _ => Credentials::None,
    };
    let client = switch.certificate.clone().zip(switch.key.clone());
    Options { tls: Tls { ca_file: switch.ca.clone(), client }, credentials, ..Options::default() }
}
