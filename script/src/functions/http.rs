//! Calls over HTTP.

use std::rc::Rc;

use rquickjs::{Ctx, Function as JsFunction, Object, Persistent, Value};
use serde_json::Value as Json;

use super::wait;
use crate::call::Call;
use crate::catalogue::Function;
use crate::http::{Failure, Outgoing, OwnAddress, Reply};
use crate::lines::Level;
use crate::script::{Kept, Script};

pub(crate) const FUNCTIONS: &[Function] = &[
    Function {
        name: "http",
        parameters: "url[, method, ...]",
        what: "Asks and waits for the answer; gives its body, a text. `http(url[, 'get'[, user, password[, accept]]])` \
               reads; `http(url, 'put' | 'post' | 'patch' | 'delete', contentType, content[, user, password[, accept]])` \
               writes, an object as JSON. A `url` that begins with `/` is asked of this collector. Throws where there is \
               no answer, where its status is none from 200 to 299, and where the host is not allowed (`--allow`); the \
               error says why. A call ends within 10 s, its answer has 16 MiB at most. GET follows five redirects, to \
               allowed hosts only.",
        example: "try {\n  var list = http('https://lists.example.net/block.txt');\n  \
                  logInfo(list.split('\\n').length + ' lines');\n} catch (e) { logWarning('no list: ' + e); }",
        call: http,
    },
    Function {
        name: "http2",
        parameters: "request",
        what: "Asks and waits for the answer, of any status; gives `{status, headers, body}`, with the names of headers in \
               lower case. `request` is `{url, method, headers, body, user, password, certs}`, of which `url` is needed; \
               `operation` is another name of `method`, which is `get` without either. A `body` that is no text is sent as \
               JSON. `certs` is a folder with `ca.pem`, whom to trust, and `cert.pem` and `key.pem`, who we are; a key that \
               others can read is refused, and the other side is always verified. Throws only where there is no answer, or \
               the host is not allowed. Updates of a Docker service go at the engine's own version, with what the script \
               left out as it is (`docker_version`). Limits are those of `http`.",
        example: "try {\n  var res = http2({url: 'https://manager.example.net:2376/services/web', certs: '/tls/'});\n  \
                  if (res.status === 200) logInfo('version ' + JSON.parse(res.body).Version.Index);\n  \
                  else logWarning('no service: ' + res.status + ' ' + res.body);\n\
                  } catch (e) { logWarning('no manager: ' + e); }",
        call: http2,
    },
    Function {
        name: "httpAsync",
        parameters: "request",
        what: "Asks, and goes on with the script. `request` is that of `http2`, with the functions `success` and `error`, \
               either of which may be left out: one of them is called later with `{url, status, body}`, `success` for a \
               status from 200 to 299. Where there is no answer `status` is 0, and `error` says why; without a function \
               for it that is a line of the log. Four calls of a script are under way at once and 256 wait, with 16 MiB; \
               more throw, and are counted.",
        example: "httpAsync({\n  url: 'https://hooks.example.net/alarm', operation: 'post', body: {text: 'port down'},\n  \
                  success: function(res) { logInfo('told: ' + res.status); },\n  \
                  error: function(res) { logWarning('not told: ' + (res.error || res.status)); }\n});",
        call: http_async,
    },
];

fn own(script: &Script) -> OwnAddress {
    OwnAddress(script.world.own.get().map(|own| own.address))
}

fn http<'js>(script: &Rc<Script>, call: Call<'js>) -> rquickjs::Result<Value<'js>> {
    let arguments: Vec<Json> = (0..call.len())
        .map(|at| call.optional_json(at).map(Option::unwrap_or_default))
        .collect::<rquickjs::Result<_>>()?;
    let outgoing = Outgoing::of_http(&arguments, own(script)).map_err(|why| call.fail(why))?;
    let url = outgoing.url.to_string();
    let reply = wait(script, &call, script.http.call(outgoing))?.map_err(|failure| call.fail(failure))?;
    if !reply.is_success() {
        return Err(call.fail(format_args!("{url}: {}", reply.words())));
    }
    call.give_plain(reply.body)
}

fn http2<'js>(script: &Rc<Script>, call: Call<'js>) -> rquickjs::Result<Value<'js>> {
    let outgoing = Outgoing::of_request(&call.json(0)?, own(script)).map_err(|why| call.fail(why))?;
    let reply = wait(script, &call, script.http.call(outgoing))?.map_err(|failure| call.fail(failure))?;
    let given = Object::new(call.ctx.clone())?;
    given.set("status", reply.status)?;
    let headers = Object::new(call.ctx.clone())?;
    for (name, value) in &reply.headers {
        headers.set(name.as_str(), value.as_str())?;
    }
    given.set("headers", headers)?;
    given.set("body", reply.body)?;
    Ok(given.into_value())
}

fn http_async<'js>(script: &Rc<Script>, call: Call<'js>) -> rquickjs::Result<Value<'js>> {
    let request = call.json(0)?;
    let members = call.object(0)?;
    let handlers =
        Handlers { success: handler(&call, &members, "success")?, error: handler(&call, &members, "error")? };
    let outgoing = Outgoing::of_request(&request, own(script)).map_err(|why| call.fail(why))?;
    let url = request.get("url").and_then(Json::as_str).unwrap_or_default().to_owned();
    let asked = script.http.queue(outgoing).map_err(|failure| call.fail(failure))?;
    let own = Rc::clone(script);
    script.spawn(asked, move |ctx, (reply, place)| {
        let came = handlers.tell(ctx, &own, &url, reply);
        // Until here its answer was kept.
        drop(place);
        came
    });
    call.nothing()
}

/// Whom a script wants to be told.
struct Handlers {
    success: Option<Kept>,
    error: Option<Kept>,
}

fn handler<'js>(call: &Call<'js>, members: &Object<'js>, name: &str) -> rquickjs::Result<Option<Kept>> {
    let value: Value<'js> = members.get(name)?;
    if value.is_null() || value.is_undefined() {
        return Ok(None);
    }
    let function: JsFunction<'js> =
        value.into_function().ok_or_else(|| call.fail(format_args!("{name} is no function")))?;
    Ok(Some(Persistent::save(&call.ctx, function)))
}

impl Handlers {
    /// Calls the one that it is for.
    fn tell(
        self,
        ctx: &Ctx<'_>,
        script: &Script,
        url: &str,
        reply: Result<Reply, Failure>,
    ) -> rquickjs::Result<()> {
        let came = Object::new(ctx.clone())?;
        came.set("url", url)?;
        let (handler, why) = match reply {
            Ok(reply) => {
                let why = (!reply.is_success()).then(|| reply.words());
                came.set("status", reply.status)?;
                came.set("body", reply.body)?;
                (if why.is_none() { self.success } else { self.error }, why)
            }
            Err(failure) => {
                let why = failure.to_string();
                came.set("status", 0)?;
                came.set("body", "")?;
                came.set("error", why.as_str())?;
                (self.error, Some(why))
            }
        };
        match (handler, why) {
            (Some(handler), _) => handler.restore(ctx)?.call::<_, Value<'_>>((came,)).map(|_| ()),
            (None, Some(why)) => {
                script.log(Level::Warning, &format!("{}: httpAsync: {why}", script.name));
                Ok(())
            }
            (None, None) => Ok(()),
        }
    }
}
