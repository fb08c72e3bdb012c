//! Records of the flow log as handlers see them: the objects of `/flows/json`.
//!
//! Setting the attributes of an object one by one takes longer than most handlers do. So a function of the script's own
//! engine makes them from its arguments: an object of a known shape.

use std::fmt::Write as _;
use std::sync::Arc;

use engine::LoggedFlow;
use rquickjs::function::Args;
use rquickjs::{Ctx, Function, Object, Persistent, String as JsString, Undefined};
use tables::question::Source;

use crate::runtime::evaluate;

/// The maker. What an agent has of itself, not of a data source, has no `dataSource`, and what has one value no `values`.
const MAKER: &str = "\
(function(agent, dataSource, flowID, name, flowKeys, value, start, end, values) {
  var rec = dataSource === undefined
    ? {agent, flowID, name, flowKeys, value, start, end}
    : {agent, dataSource, flowID, name, flowKeys, value, start, end};
  return values === undefined ? rec : {...rec, values};
})";

/// Makes objects of records. None may be left when the runtime of its context ends.
pub struct Maker {
    make: Persistent<Function<'static>>,
    /// The name of the last one, which is most often that of the next.
    name: Option<(Arc<str>, Persistent<JsString<'static>>)>,
    /// Where texts are written.
    text: String,
}

impl Maker {
    /// One for the context of a script.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn new(ctx: &Ctx<'_>) -> rquickjs::Result<Self> {
        let maker = evaluate(ctx, "native", MAKER)?;
        let maker = maker.into_function().ok_or(rquickjs::Error::Unknown)?;
        Ok(Self { make: Persistent::save(ctx, maker), name: None, text: String::new() })
    }

    /// The object of a record.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn make<'js>(&mut self, ctx: &Ctx<'js>, record: &LoggedFlow) -> rquickjs::Result<Object<'js>> {
        let mut args = Args::new(ctx.clone(), 9);
        args.push_arg(self.written(&record.owner.agent))?;
        match &record.owner.source {
            Source::Agent => args.push_arg(Undefined)?,
            Source::Named(name) => args.push_arg(&**name)?,
            Source::Of(source) => args.push_arg(self.written(source))?,
        }
        args.push_arg(record.id as f64)?;
        args.push_arg(self.name(ctx, &record.name)?)?;
        args.push_arg(record.keys.as_str())?;
        args.push_arg(record.value)?;
        args.push_arg(record.start_ms as f64)?;
        args.push_arg(record.end_ms as f64)?;
        if !record.values.is_empty() {
            args.push_arg(record.values.as_slice())?;
        }
        self.make.clone().restore(ctx)?.call_arg(args)
    }

    fn written(&mut self, what: &impl std::fmt::Display) -> &str {
        self.text.clear();
        // A text takes all that is written.
        let _ = write!(self.text, "{what}");
        &self.text
    }

    fn name<'js>(&mut self, ctx: &Ctx<'js>, name: &Arc<str>) -> rquickjs::Result<JsString<'js>> {
        if let Some((last, text)) = &self.name
            && last == name
        {
            return text.clone().restore(ctx);
        }
        let text = JsString::from_str(ctx.clone(), name)?;
        self.name = Some((Arc::clone(name), Persistent::save(ctx, text.clone())));
        Ok(text)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::net::Ipv4Addr;

    use engine::json;
    use rquickjs::{Context, Runtime};
    use serde_json::Value as Json;
    use tables::question::{Address, DataSource, Owner};

    use super::*;

    #[test]
    fn a_record_is_that_of_rest() {
        let runtime = Runtime::new().unwrap();
        let context = Context::full(&runtime).unwrap();
        let mut maker = context.with(|ctx| Maker::new(&ctx).unwrap());
        let agent = Address::V4(Ipv4Addr::new(10, 0, 0, 1));
        for (source, values) in [
            (Source::Of(DataSource { class: 0, index: 7 }), vec![]),
            (Source::Of(DataSource { class: 3, index: 100_001 }), vec![1.5, 2.0]),
            (Source::Agent, vec![]),
        ] {
            let record = LoggedFlow {
                id: 1 << 40,
                name: "pairs".into(),
                owner: Owner { agent, source },
                keys: "10.0.0.2,\"é\",".to_owned(),
                value: 1234.5,
                values,
                start_ms: 1_700_000_000_123,
                end_ms: 1_700_000_001_456,
            };
            let shown = context.with(|ctx| {
                let object = maker.make(&ctx, &record).unwrap();
                ctx.json_stringify(object).unwrap().unwrap().to_string().unwrap()
            });
            let shown: Json = serde_json::from_str(&shown).unwrap();
            let wanted = json::record(&record);
            assert_eq!(shown.as_object().map(|o| o.len()), wanted.as_object().map(|o| o.len()), "{shown}");
            for (name, value) in wanted.as_object().unwrap() {
                let is = match value {
                    Json::Number(number) => shown[name].as_f64() == number.as_f64(),
                    Json::Array(_) => {
                        shown[name].to_string().replace(".0", "") == value.to_string().replace(".0", "")
                    }
                    other => shown[name] == *other,
                };
                assert!(is, "{name}: {shown}, not {wanted}");
            }
        }
        // Nothing that holds a value may be left when the runtime ends.
        drop(maker);
    }
}
