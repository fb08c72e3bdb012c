//! Further files of a script.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::PoisonError;

use rquickjs::Value;

use crate::call::Call;
use crate::catalogue::Function;
use crate::runtime::evaluate;
use crate::script::Script;

/// Bytes of a file at most.
const LARGEST: u64 = 4 << 20;

/// What the oldest published scripts include, from a folder that nobody has any more: JSON, which is there without it.
const JSON: &str = "json2.js";

pub(crate) const FUNCTIONS: &[Function] = &[
    Function {
        name: "scriptdir",
        parameters: "",
        what: "Gives the folder of the script, an absolute path.",
        example: "logInfo('reading from ' + scriptdir());",
        call: |script, call| call.give_plain(script.folder().to_string_lossy().as_ref()),
    },
    Function {
        name: "include",
        parameters: "file",
        what: "Runs another file as if its text stood here: its variables and functions are the script's. The path is \
               absolute or begins at the script's folder, and must be in that folder, or in that of its application: \
               links that lead out of it are followed nowhere. A file has 4 MiB at most. One that is named `json2.js` may be \
               missing: what it would bring is there.",
        example: "try { include(scriptdir() + '/inc/trend.js'); } catch (e) { logWarning(e); }",
        call: include,
    },
    Function {
        name: "load",
        parameters: "file",
        what: "The same as `include`.",
        example: "try { load('inc/trend.js'); } catch (e) { logWarning(e); }",
        call: include,
    },
];

fn include<'js>(script: &Rc<Script>, call: Call<'js>) -> rquickjs::Result<Value<'js>> {
    let text = call.text(0)?;
    let folder = script.folder();
    let file = match find(&folder, script.app.is_some(), &text) {
        Err(_) if Path::new(&text).file_name().is_some_and(|name| name == JSON) => return call.nothing(),
        found => found.map_err(|why| call.fail(why))?,
    };
    let written = std::fs::metadata(&file).and_then(|known| known.modified()).ok();
    script.files.lock().unwrap_or_else(PoisonError::into_inner).insert(file.clone(), written);
    let source = std::fs::read_to_string(&file);
    let source = source.map_err(|error| call.fail(format!("{} cannot be read: {error}", file.display())))?;
    let name = file.strip_prefix(&folder).unwrap_or(&file).to_string_lossy().into_owned();
    evaluate(&call.ctx, &name, &source)?;
    call.nothing()
}

/// A file that a script may include. That of an application may be anywhere in the application's folder.
fn find(folder: &Path, of_app: bool, text: &str) -> Result<PathBuf, String> {
    let within = if of_app { folder.parent().unwrap_or(folder) } else { folder };
    // A path that is absolute stays what it is.
    let file = folder.join(text).canonicalize().map_err(|error| format!("{text}: {error}"))?;
    if !file.starts_with(within) {
        return Err(format!("{text} is not in {}, from which files may be included", within.display()));
    }
    let known = file.metadata().map_err(|error| format!("{text}: {error}"))?;
    if !known.is_file() {
        return Err(format!("{text} is no file"));
    }
    if known.len() > LARGEST {
        return Err(format!("{text} has more than {LARGEST} bytes"));
    }
    Ok(file)
}
