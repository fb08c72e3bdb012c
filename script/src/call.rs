//! A call of one of our functions: its arguments as scripts write them, and the value that it gives.
//!
//! Arguments are taken leniently, as the field's scripts expect: `'10'` is a number where a number is wanted, `null` and
//! `undefined` are arguments that were left out.

use rquickjs::function::Rest;
use rquickjs::{Coerced, Ctx, Error, Exception, FromJs, Function, IntoJs, Object, Value};
use serde_json::Value as Json;

/// Texts of an argument at most, and bytes of all of them: an array can be far larger than the memory that it takes.
const MOST_TEXTS: usize = 10_000;
const MOST_TEXT_BYTES: usize = 1 << 20;

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
        let Some(array) = value.as_array() else {
            return Ok(self.to_text(value)?.split(',').map(|one| one.trim().to_owned()).collect());
        };
        let most = || self.wrong(at, "must have 10,000 texts at most, of 1 MiB together");
        // Asked as a number: rquickjs panics at an array that has more elements than an i32 counts.
        let count: f64 = array.as_object().get("length")?;
        if count > MOST_TEXTS as f64 {
            return Err(most());
        }
        let (mut texts, mut bytes) = (Vec::new(), 0);
        for index in 0..count as usize {
            let text = self.to_text(&array.get(index)?)?;
            bytes += text.len();
            if bytes > MOST_TEXT_BYTES {
                return Err(most());
            }
            texts.push(text);
        }
        Ok(texts)
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use rquickjs::{CatchResultExt, Context, Runtime};

    use super::*;

    /// What `work` makes of these arguments.
    fn called<T>(arguments: &str, work: impl FnOnce(&Call<'_>) -> rquickjs::Result<T>) -> Result<T, String> {
        let context = Context::full(&Runtime::new().unwrap()).unwrap();
        context.with(|ctx| {
            let arguments: Vec<Value<'_>> = ctx.eval(arguments).unwrap();
            let call = Call::new(ctx.clone(), "f", "names[, number]", Rest(arguments));
            work(&call).catch(&ctx).map_err(|error| error.to_string())
        })
    }

    #[test]
    fn arguments_are_taken_leniently() {
        let texts = |arguments: &str| called(arguments, |call| call.texts(0)).unwrap();
        assert_eq!(texts("[['a', 1, true]]"), ["a", "1", "true"]);
        assert_eq!(texts("['a, b,c']"), ["a", "b", "c"]);
        assert!(texts("[null]").is_empty() && texts("[]").is_empty());
        let number = |arguments: &str| called(arguments, |call| call.optional_number(1));
        assert_eq!(number("[0, ' 1e1 ']"), Ok(Some(10.0)));
        assert_eq!(number("[0, undefined]"), Ok(None));
        for wrong in ["'x'", "NaN", "'inf'", "true", "{}"] {
            let error = number(&format!("[0, {wrong}]")).unwrap_err();
            assert!(error.contains("f: argument 2 (number) must be a number"), "{wrong}: {error}");
        }
    }

    #[test]
    fn an_array_of_texts_takes_no_more_memory_than_it_may() {
        for many in ["[new Array(4e9)]", "[new Array(2000).fill('x'.repeat(1000))]"] {
            let error = called(many, |call| call.texts(0)).unwrap_err();
            assert!(error.contains("f: argument 1 (names) must have 10,000 texts at most"), "{error}");
        }
        let most = called("[new Array(10000).fill('x'.repeat(100))]", |call| call.texts(0));
        assert_eq!(most.map(|texts| texts.len()), Ok(10_000));
    }
}
