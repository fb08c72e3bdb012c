//! Values, files, properties and commands.

use serde_json::{Value as Json, json};

use super::{Known, Says};

const fn ask(name: &'static str, first: &'static str, asks: &'static str, is: &'static str) -> Known {
    Known { name, first, asks, says: Says::Json(is) }
}

pub(super) fn known() -> Vec<Known> {
    vec![
        ask("storeSet", "storeSet('a', {n: [1, 'two']});", "storeGet('a')", "{\"n\": [1, \"two\"]}"),
        ask("storeGet", "storeSet('b', 2);", "[storeGet('none'), storeGet('b')]", "[null, 2]"),
        ask(
            "storeDelete",
            "storeSet('c', 3); var before = storeGet('c'); storeDelete('c');",
            "[before, storeGet('c')]",
            "[3, null]",
        ),
        ask("storeKeys", "storeSet('y', 1); storeSet('x', 0);", "storeKeys()", "[\"x\", \"y\"]"),
        // The next one asks for what this one shares.
        ask(
            "sharedSet",
            "sharedSet('known_shared', {by: 'another'});",
            "sharedGet('known_shared').by",
            "\"another\"",
        ),
        ask("sharedGet", "", "sharedGet('known_shared')", "{\"by\": \"another\"}"),
        ask(
            "sharedDelete",
            "sharedSet('known_old', 1); var before = sharedGet('known_old'); sharedDelete('known_old');",
            "[before, sharedGet('known_old')]",
            "[1, null]",
        ),
        Known {
            name: "scriptdir",
            first: "",
            asks: "scriptdir()",
            says: Says::Is(|scene| {
                let folder = scene.host.folder.path().canonicalize().unwrap();
                folder.to_str().unwrap().into()
            }),
        },
        ask("include", "include(scriptdir() + '/included.inc');", "included", "\"yes 42\""),
        ask("load", "load('included.inc');", "included", "\"yes 42\""),
        ask(
            "getSystemProperty",
            "",
            "[getSystemProperty('known.text'), getSystemProperty('known.none')]",
            "[\"of the operator\", null]",
        ),
        Known {
            name: "getSystemPropertyNames",
            first: "",
            asks: "getSystemPropertyNames()",
            says: Says::Is(|_| super::properties().into_iter().map(|(name, _)| Json::from(name)).collect()),
        },
        Known {
            name: "runCmd",
            first: "",
            asks: "runCmd(['/bin/sh', '-c', 'echo $A; echo no >&2; exit 3'], ['A=six'])",
            says: Says::Is(|_| json!({ "status": 3, "stdout": ["six"], "stderr": ["no"] })),
        },
    ]
}
