//! Commands of the system, where the operator lets scripts run them.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use rquickjs::Value;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value as Json, json};

use crate::call::Call;
use crate::catalogue::Function;
use crate::script::Until;

/// What is kept of the output of a command and of its errors, bytes, each; what comes beyond is read and dropped.
const MOST_OUTPUT: usize = 1 << 20;

/// How often a command is looked after.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Variables that commands do not inherit: those of the collector itself, its token among them.
const OWN: &str = "FINDERSCOPE_";

pub(crate) const FUNCTIONS: &[Function] = &[Function {
    name: "runCmd",
    parameters: "command[, environment[, folder]]",
    what: "Runs a command, an array of its words, without a shell, and waits for its end. `environment` is an array of \
           `'NAME=value'`, or an object, and takes the place of the collector's own; `folder` is where it runs, that of the \
           script without it. Gives `{status, stdout: [lines], stderr: [lines]}`; of each 1 MiB is kept, and a command that \
           a signal ended has 128 more than that for a status. It may take as long as a call of the script, and 2 s when the \
           script is to end; then it is killed with all that it has started in its group, and this throws. Off unless the operator says \
           `--script-run-commands` (`run_commands = true` in `[scripts.actions]`).",
    example: "try {\n  var res = runCmd(['uname', '-r']);\n  if (res.status === 0) logInfo(res.stdout[0]);\n} \
              catch (e) { logWarning(e); }",
    call: |script, call| {
        let config = &script.world.config;
        if !config.run_commands {
            let why = "commands are off; the operator lets scripts run them with --script-run-commands, or run_commands = \
                       true in [scripts.actions]";
            return Err(call.fail(why));
        }
        let mut command = command(&call)?;
        match call.optional_text(2)? {
            Some(folder) => command.current_dir(folder),
            None => command.current_dir(script.folder()),
        };
        let ran = run(command, &script.until(config.limits.call));
        call.give(&ran.map_err(|why| call.fail(why))?)
    },
}];

/// The command that the first arguments say.
fn command(call: &Call<'_>) -> rquickjs::Result<Command> {
    if !call.value(0).is_some_and(Value::is_array) {
        return Err(call.wrong(0, "must be an array of words"));
    }
    let words = call.texts(0)?;
    let Some((program, words)) = words.split_first() else {
        return Err(call.wrong(0, "must have a word at least"));
    };
    let mut command = Command::new(program);
    command.args(words);
    match call.value(1) {
        None => {
            let own = std::env::vars_os().map(|(name, _)| name);
            own.filter(|name| name.to_string_lossy().starts_with(OWN)).for_each(|name| {
                command.env_remove(name);
            });
        }
        Some(value) if value.is_array() => {
            command.env_clear();
            for pair in call.texts(1)? {
                let pair = pair.split_once('=').filter(|(name, _)| !name.is_empty());
                let (name, value) = pair.ok_or_else(|| call.wrong(1, "must be NAME=value in each"))?;
                command.env(name, value);
            }
        }
        Some(_) => {
            command.env_clear();
            for property in call.object(1)?.props::<String, Value<'_>>() {
                let (name, value) = property?;
                command.env(name, call.to_text(&value)?);
            }
        }
    }
    Ok(command)
}

/// Runs it until this time.
fn run(mut command: Command, until: &Until) -> Result<Json, String> {
    let called = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(|error| format!("{called} cannot be run: {error}"))?;
    let came = outcome(&mut child, &called, until);
    if came.is_err() {
        // What it has started goes with it.
        if let Some(group) = Pid::from_raw(child.id().cast_signed()) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = child.wait();
    }
    came
}

fn outcome(child: &mut Child, called: &str, until: &Until) -> Result<Json, String> {
    let late = || match until.ends() {
        true => format!("{called} was killed, because the script is to end"),
        false => format!("{called} took longer than a call of a script may and was killed"),
    };
    let failed = |error: std::io::Error| format!("{called}: {error}");
    let (out, err) = (read(child.stdout.take()).map_err(failed)?, read(child.stderr.take()).map_err(failed)?);
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        if until.is_over() {
            return Err(late());
        }
        std::thread::sleep(LOOK_EVERY);
    };
    // What it has started may hold its output open.
    let whole = |output: Receiver<Vec<u8>>| loop {
        match output.recv_timeout(LOOK_EVERY) {
            Ok(output) => return Ok(output),
            Err(RecvTimeoutError::Timeout) if !until.is_over() => {}
            Err(_) => return Err(late()),
        }
    };
    let (out, err) = (whole(out)?, whole(err)?);
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    Ok(json!({ "status": code, "stdout": lines(&out), "stderr": lines(&err) }))
}

/// Reads a command's output to its end, on a thread of its own, so that a full pipe does not hold the command up.
fn read(from: Option<impl Read + Send + 'static>) -> std::io::Result<Receiver<Vec<u8>>> {
    let (came, comes) = channel();
    std::thread::Builder::new().name("script-command".to_owned()).spawn(move || {
        let mut kept = Vec::new();
        if let Some(mut from) = from {
            let mut part = [0; 8192];
            while let Ok(length) = from.read(&mut part)
                && length > 0
            {
                let room = MOST_OUTPUT - kept.len();
                kept.extend(part.iter().take(length.min(room)));
            }
        }
        let _ = came.send(kept);
    })?;
    Ok(comes)
}

fn lines(output: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(output).lines().map(str::to_owned).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::Instant;

    use tokio::sync::watch;

    use super::*;

    fn shell(text: &str, limit: Duration) -> Result<Json, String> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", text]);
        run(command, &Until::new(limit, watch::channel(false).1))
    }

    #[test]
    fn a_command_tells_its_status_and_both_outputs() {
        let minute = Duration::from_secs(60);
        assert_eq!(
            shell("echo a; echo b c; echo d >&2; exit 3", minute),
            Ok(json!({"status": 3, "stdout": ["a", "b c"], "stderr": ["d"]}))
        );
        assert_eq!(shell("kill -TERM $$", minute).unwrap()["status"], 143);
        let flood = shell("head -c 3000000 /dev/zero | tr '\\0' x", minute).unwrap();
        assert_eq!(flood["stdout"][0].as_str().unwrap().len(), MOST_OUTPUT);
        let nobody = Until::new(minute, watch::channel(false).1);
        let error = run(Command::new("/no/such/command"), &nobody).unwrap_err();
        assert!(error.starts_with("/no/such/command cannot be run"), "{error}");
    }

    #[test]
    fn a_command_without_end_is_killed_with_what_it_has_started() {
        for text in ["sleep 60", "sleep 60 & echo left"] {
            let began = Instant::now();
            let error = shell(text, Duration::from_millis(100)).unwrap_err();
            assert!(error.contains("was killed"), "{error}");
            assert!(began.elapsed() < Duration::from_secs(20));
        }
    }
}
