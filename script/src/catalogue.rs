//! The functions that scripts have, one table: the globals of every script, the manual and the tests are made from it.

use std::rc::Rc;

use rquickjs::Value;

use crate::call::Call;
use crate::functions;
use crate::script::Script;

/// A function that scripts can call.
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// Its parameters as the manual writes them; those in brackets may be left out.
    pub parameters: &'static str,
    /// What it does and gives, with units and errors.
    pub what: &'static str,
    /// A script of a few lines. It is run by a test.
    pub example: &'static str,
    pub(crate) call: Body,
}

/// What a function does.
pub(crate) type Body = for<'js> fn(&Rc<Script>, Call<'js>) -> rquickjs::Result<Value<'js>>;

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({})", self.name, self.parameters)
    }
}

/// A family of functions, a section of the manual.
#[derive(Debug)]
pub struct Family {
    /// What they have in common.
    pub title: &'static str,
    /// The functions.
    pub functions: &'static [Function],
}

/// All families, in the order of the manual.
pub const FAMILIES: &[Family] = functions::FAMILIES;

/// All functions.
pub fn all() -> impl Iterator<Item = &'static Function> {
    FAMILIES.iter().flat_map(|family| family.functions)
}
