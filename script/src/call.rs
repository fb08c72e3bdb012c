//! A call of one of our functions: its arguments as scripts write them, and the value that it gives.
//!
//! Arguments are taken leniently, as the field's scripts expect: `'10'` is a number where a number is wanted, `null` and
//! `undefined` are arguments that were left out.

use rquickjs::function::Rest;
use rquickjs::{Coerced, Ctx, Error, Exception, FromJs, Function, IntoJs, Object, Value};
use serde_json::Value as Json;

/// Arguments of a call, and whom to tell.
#[derive(Clone, Debug)]
pub(crate) struct Call<'js> {
    /// The context that calls.
    pub(crate) ctx: Ctx<'js>,
    name: &'static str,
    parameters: &'static str,
    arguments: Vec<Value<'js>>,
}

impl<'js> Call<'js> {
    pub(crate) fn new(
        ctx: Ctx<'js>,
        name: &'static str,
        parameters: &'static str,
        arguments: Rest<Value<'js>>,
    ) -> Self {
        Self { ctx, name, parameters, arguments: arguments.0 }
    }

    /// The function that is called.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// How many arguments were given.
    pub(crate) fn len(&self) -> usize {
        self.arguments.len()
    }

    /// An argument as it is; `None` where it is left out, `null` or `undefined`.
    pub(crate) fn value(&self, at: usize) -> Option<&Value<'js>> {
        self.arguments.get(at).filter(|value| !value.is_null() && !value.is_undefined())
    }

    /// An argument as JavaScript's `String` writes it, `null` and `undefined` too; one that is left out is `undefined`.
    pub(crate) fn written(&self, at: usize) -> rquickjs::Result<String> {
        self.arguments.get(at).map_or_else(|| Ok("undefined".to_owned()), |value| self.to_text(value))
    }

    /// A text. Numbers and booleans are written as JavaScript writes them.
    pub(crate) fn text(&self, at: usize) -> rquickjs::Result<String> {
        self.optional_text(at)?.ok_or_else(|| self.missing(at))
    }

    /// A text that may be left out.
    pub(crate) fn optional_text(&self, at: usize) -> rquickjs::Result<Option<String>> {
        self.value(at).map(|value| self.to_text(value)).transpose()
    }

    /// A finite number, or a text of one.
    pub(crate) fn number(&self, at: usize) -> rquickjs::Result<f64> {
        self.optional_number(at)?.ok_or_else(|| self.missing(at))
    }

    /// A number that may be left out.
    pub(crate) fn optional_number(&self, at: usize) -> rquickjs::Result<Option<f64>> {
        let Some(value) = self.value(at) else { return Ok(None) };
        let number = match value.as_number() {
            Some(number) => Some(number),
            None => self.to_text(value)?.trim().parse().ok(),
        };
        match number.filter(|number| number.is_finite()) {
            Some(number) => Ok(Some(number)),
            None => Err(self.wrong(at, "must be a number")),
        }
    }

    /// Texts: an array of them, or one text in which commas separate; none where it is left out.
    pub(crate) fn texts(&self, at: usize) -> rquickjs::Result<Vec<String>> {
        let Some(value) = self.value(at) else { return Ok(Vec::new()) };
        match value.as_array() {
            Some(array) => array.iter::<Value<'js>>().map(|one| self.to_text(&one?)).collect(),
            None => Ok(self.to_text(value)?.split(',').map(|one| one.trim().to_owned()).collect()),
        }
    }

    /// A value as JSON writes it.
    pub(crate) fn json(&self, at: usize) -> rquickjs::Result<Json> {
        self.optional_json(at)?.ok_or_else(|| self.missing(at))
    }

    /// A value as JSON writes it, that may be left out. A function, for which JSON has nothing, counts as left out.
    pub(crate) fn optional_json(&self, at: usize) -> rquickjs::Result<Option<Json>> {
        self.value(at).map_or(Ok(None), |value| self.to_json(value))
    }

    /// A function.
    pub(crate) fn function(&self, at: usize) -> rquickjs::Result<Function<'js>> {
        let value = self.value(at).ok_or_else(|| self.missing(at))?;
        value.as_function().cloned().ok_or_else(|| self.wrong(at, "must be a function"))
    }

    /// An object, as it is.
    pub(crate) fn object(&self, at: usize) -> rquickjs::Result<Object<'js>> {
        let value = self.value(at).ok_or_else(|| self.missing(at))?;
        value.as_object().cloned().ok_or_else(|| self.wrong(at, "must be an object"))
    }

    /// Any value as JSON; `None` where JSON has nothing for it.
    pub(crate) fn to_json(&self, value: &Value<'js>) -> rquickjs::Result<Option<Json>> {
        let Some(text) = self.ctx.json_stringify(value.clone())? else { return Ok(None) };
        serde_json::from_str(&text.to_string()?).map(Some).map_err(|error| self.fail(error))
    }

    /// Any value as text.
    pub(crate) fn to_text(&self, value: &Value<'js>) -> rquickjs::Result<String> {
        text_of(&self.ctx, value)
    }

    /// A JSON value as the script sees it.
    pub(crate) fn give(&self, json: &Json) -> rquickjs::Result<Value<'js>> {
        self.ctx.json_parse(json.to_string())
    }

    /// A text, number or boolean as the script sees it.
    pub(crate) fn give_plain(&self, value: impl IntoJs<'js>) -> rquickjs::Result<Value<'js>> {
        value.into_js(&self.ctx)
    }

    /// Nothing, where a function is called for what it does.
    pub(crate) fn nothing(&self) -> rquickjs::Result<Value<'js>> {
        Ok(Value::new_undefined(self.ctx.clone()))
    }

    /// `null`, where there is nothing to give.
    pub(crate) fn null(&self) -> rquickjs::Result<Value<'js>> {
        Ok(Value::new_null(self.ctx.clone()))
    }

    /// The exception `Error: NAME: why`, to be returned.
    pub(crate) fn fail(&self, why: impl std::fmt::Display) -> Error {
        Exception::throw_message(&self.ctx, &format!("{}: {why}", self.name))
    }

    /// The exception of an argument that is not what it has to be.
    pub(crate) fn wrong(&self, at: usize, what: &str) -> Error {
        let error = format!("{}: argument {} ({}) {what}", self.name, at + 1, self.parameter(at));
        Exception::throw_type(&self.ctx, &error)
    }

    fn missing(&self, at: usize) -> Error {
        self.wrong(at, "is missing")
    }

    fn parameter(&self, at: usize) -> &str {
        let plain = |c: char| c == '[' || c == ']' || c == ' ';
        self.parameters.split(',').nth(at).map_or("not named", |name| name.trim_matches(plain))
    }
}

/// A value as JavaScript's `String(value)` writes it.
pub(crate) fn text_of<'js>(ctx: &Ctx<'js>, value: &Value<'js>) -> rquickjs::Result<String> {
    Coerced::<String>::from_js(ctx, value.clone()).map(|text| text.0)
}
