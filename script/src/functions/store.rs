//! Values that scripts keep.

use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value as Json;

use crate::call::Call;
use crate::catalogue::Function;
use crate::script::Script;
use crate::values::Store;

pub(crate) const FUNCTIONS: &[Function] = &[
    Function {
        name: "storeGet",
        parameters: "name",
        what: "Gives a value that was stored, `null` where there is none. Values belong to the script, or to all scripts \
               of an application, and are there after a restart, where the collector has a state directory.",
        example: "var starts = (storeGet('starts') || 0) + 1;\nstoreSet('starts', starts);\nlogInfo('start ' + starts);",
        call: |script, call| {
            let (name, store) = (call.text(0)?, store(script, &call)?);
            let value = lock(&store).get(&name).cloned();
            call.give(&value.unwrap_or(Json::Null))
        },
    },
    Function {
        name: "storeSet",
        parameters: "name, value",
        what: "Stores a value that JSON can write; it is on the disk when this returns. `null` takes it away. All values \
               of a script, or application, have 4 MiB at most, and a name 1000 bytes; throws beyond that and when it \
               cannot be written.",
        example: "storeSet('controls', {enabled: true, hosts: ['10.0.0.1']});",
        call: |script, call| {
            let (name, value) = (call.text(0)?, call.optional_json(1)?);
            let store = store(script, &call)?;
            let came = lock(&store).set(&name, value);
            came.map_err(|why| call.fail(why))?;
            call.nothing()
        },
    },
    Function {
        name: "storeDelete",
        parameters: "name",
        what: "Takes a stored value away.",
        example: "storeSet('old', 1);\nstoreDelete('old');",
        call: |script, call| {
            let (name, store) = (call.text(0)?, store(script, &call)?);
            let came = lock(&store).set(&name, None);
            came.map_err(|why| call.fail(why))?;
            call.nothing()
        },
    },
    Function {
        name: "storeKeys",
        parameters: "",
        what: "Gives an array of the names of all stored values, sorted.",
        example: "storeKeys().forEach(function(name) { logInfo(name + ' ' + JSON.stringify(storeGet(name))); });",
        call: |script, call| {
            let store = store(script, &call)?;
            let names: Json = lock(&store).names().cloned().collect();
            call.give(&names)
        },
    },
    Function {
        name: "sharedGet",
        parameters: "name",
        what: "Gives a value that a script has shared, `null` where there is none. All scripts see the same values, as \
               long as the collector runs; each gets a copy of its own.",
        example: "sharedSet('limits', {up: 10});\nlogInfo('up to ' + sharedGet('limits').up);",
        call: |script, call| {
            let value = script.world.shared.values.shared(&call.text(0)?);
            call.give(&value.unwrap_or(Json::Null))
        },
    },
    Function {
        name: "sharedSet",
        parameters: "name, value",
        what: "Shares a value that JSON can write with all scripts; `null` takes it away. All of them together have 16 MiB \
               at most, and a name 1000 bytes; throws beyond that.",
        example: "sharedSet('blocked', ['10.0.0.66']);",
        call: |script, call| {
            let (name, value) = (call.text(0)?, call.optional_json(1)?);
            script.world.shared.values.share(&name, value).map_err(|why| call.fail(why))?;
            call.nothing()
        },
    },
    Function {
        name: "sharedDelete",
        parameters: "name",
        what: "Takes a shared value away.",
        example: "sharedSet('old', 1);\nsharedDelete('old');",
        call: |script, call| {
            script.world.shared.values.share(&call.text(0)?, None).map_err(|why| call.fail(why))?;
            call.nothing()
        },
    },
];

/// The values of the script, or of its application.
fn store(script: &Rc<Script>, call: &Call<'_>) -> rquickjs::Result<Arc<Mutex<Store>>> {
    let owner = match &script.app {
        Some(app) => format!("app:{app}"),
        None => format!("script:{}", script.name),
    };
    let folder = script.world.config.store.as_deref();
    script.world.shared.values.store(&owner, folder).map_err(|why| call.fail(why))
}

fn lock(store: &Mutex<Store>) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}
