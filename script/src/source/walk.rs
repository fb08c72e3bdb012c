//! Follows the grammar of a JavaScript text from token to token, just closely enough to know where an expression ends, and notes
//! what to change where Rhino's extensions are used.
//!
//! - `for each (x in y)` becomes a `for (x of ...)` over a generator of the values of `y`, with `for ... in` inside, so that the
//!   order, inherited properties and `null` are as they are there.
//! - `function (x) expression` gets its braces and its `return`. It ends where an assignment expression ends: at a comma, a closing
//!   bracket, a semicolon, a colon of an outer condition, or at a token of a later line that can't go on.
//! - What is thrown, unless it is written `new ...`, is passed through a function of ours, which notes the place of what is no error.
//! - Array comprehensions and conditional `catch` are refused by line and column.
//!
//! What is open is a stack of [`Frame`]s and what may come next is a [`Place`]: no recursion, so no nesting is too deep, and one step
//! for each token. A text that isn't JavaScript is followed up to where that shows; QuickJS tells its author what is wrong there.

use super::Refused;
use super::edits::Edits;
use super::lexer::{Kind, Lexer, Token};
use super::place::{
    Frame, Open, Place, Role, after, begins_after_word, begins_expression, begins_pattern, goes_on, separates,
};

/// The values of an object in the order of `for ... in`, each read when its turn comes.
const VALUES: &str = "of (function*(o){for(var k in o)yield o[k]})((";
/// What an expression closure gets before and after its expression.
const BODY: (&str, &str) = ("{return ", "}");
/// What is thrown gets these before and after it.
const THROWN: (&str, &str) = (" __finderscope_thrown((", "))");

/// The state of a walk.
pub(super) struct Walk<'a> {
    lexer: Lexer<'a>,
    /// The frames that are open above the text itself.
    frames: Vec<Frame>,
    text: Frame,
    place: Place,
    /// The end of the token before.
    before: usize,
    /// The end of the template part that was read last.
    template_end: usize,
    /// Whether a `*` stands before the name of the function or method that is being read.
    star: bool,
    /// Whether the functions that are open are generators.
    generators: Vec<bool>,
    edits: Edits,
}

/// Why a walk ends before the text does.
enum Stop {
    /// Something that isn't JavaScript.
    Wrong,
    Refused(usize, &'static str),
}

/// What is to be changed in `text`, or why it is refused.
pub(super) fn edits(text: &str) -> Result<Edits, Refused> {
    let mut walk = Walk::new(text);
    match walk.follow() {
        Err(Stop::Refused(at, why)) => Err(Refused::at(text, at, why)),
        Ok(()) | Err(Stop::Wrong) => Ok(walk.edits),
    }
}

/// Whether `text` is followed to its end, with everything closed that was opened.
#[cfg(test)]
pub(super) fn is_followed(text: &str) -> bool {
    let mut walk = Walk::new(text);
    walk.follow().is_ok() && walk.frames.is_empty() && walk.text.conditions == 0
}

impl<'a> Walk<'a> {
    fn new(text: &'a str) -> Walk<'a> {
        Walk {
            lexer: Lexer::new(text),
            frames: Vec::new(),
            text: Frame { open: Open::Block, conditions: 0 },
            place: Place::Statement,
            before: 0,
            template_end: 0,
            star: false,
            generators: Vec::new(),
            edits: Edits::default(),
        }
    }

    /// Goes to the end of the text.
    fn follow(&mut self) -> Result<(), Stop> {
        loop {
            let token = self.next();
            self.take(token)?;
            if token.kind == Kind::End {
                return Ok(());
            }
            self.before = token.end.max(self.template_end);
        }
    }

    fn next(&mut self) -> Token<'a> {
        let after_newline = self.lexer.skip();
        let regex = match self.place {
            Place::Statement
            | Place::Operand
            | Place::ArrowBody
            | Place::Body { .. }
            | Place::Restricted
            | Place::Throw => true,
            Place::AfterArrow => after_newline,
            _ => false,
        };
        self.lexer.next(regex)
    }

    fn top(&self) -> Open {
        self.frames.last().unwrap_or(&self.text).open
    }

    fn frame(&mut self) -> &mut Frame {
        self.frames.last_mut().unwrap_or(&mut self.text)
    }

    fn push(&mut self, open: Open, place: Place) {
        if let Open::Body { generator, .. } = open {
            self.generators.push(generator);
        }
        self.frames.push(Frame { open, conditions: 0 });
        self.place = place;
    }

    fn pop(&mut self) -> Option<Open> {
        let open = self.frames.pop()?.open;
        if let Open::Body { .. } = open {
            self.generators.pop();
        }
        Some(open)
    }

    fn is_in_statements(&self) -> bool {
        matches!(self.top(), Open::Block | Open::Body { .. })
    }

    /// One token further.
    fn take(&mut self, token: Token<'a>) -> Result<(), Stop> {
        if token.kind == Kind::Bad {
            return Err(Stop::Wrong);
        }
        self.settle(token);
        if self.place == Place::Throw {
            self.begin_thrown(token);
        }
        if let Place::Body { role, generator } = self.place {
            if token.kind == Kind::OpenBrace {
                self.push(Open::Body { role, generator }, Place::Statement);
                return Ok(());
            }
            self.begin_closure(role, token);
        }
        self.end_closures(token);
        self.end_statement(token)?;
        self.dispatch(token)
    }

    /// What a place between two that a word left open turns out to be.
    fn settle(&mut self, token: Token<'a>) {
        let follows = !token.after_newline;
        let is_operator = matches!(token.word, "in" | "instanceof");
        self.place = match self.place {
            Place::Async { statement } if token.kind == Kind::Word && follows && !is_operator => {
                if statement { Place::Statement } else { Place::Operand }
            }
            Place::Await if follows && begins_after_word(token) => Place::Operand,
            Place::Let if begins_pattern(token) && !is_operator => Place::Operand,
            Place::Async { .. } | Place::Await | Place::Let => Place::Operator,
            Place::Restricted if !follows && self.is_in_statements() => Place::Statement,
            Place::Restricted => Place::Operand,
            // after `?.` a bracket or a call
            Place::Name if !matches!(token.kind, Kind::Word | Kind::Private) => Place::Operator,
            Place::Head(_) if token.kind != Kind::OpenParen => Place::Statement,
            Place::FunctionName { .. }
                if !matches!(token.kind, Kind::Word | Kind::Star | Kind::OpenParen) =>
            {
                Place::Operand
            }
            Place::ArrowBody if token.kind != Kind::OpenBrace => Place::Operand,
            place => place,
        };
    }

    /// Parameters without a brace behind them: an expression closure, where an expression can begin.
    fn begin_closure(&mut self, role: Role, token: Token<'a>) {
        self.place = after(role);
        if role != Role::Member && begins_expression(token) {
            self.edits.replace(token.start, 0, BODY.0);
            self.push(Open::Closure { role }, Place::Operand);
        }
    }

    /// After `throw`: what is thrown, on the same line.
    fn begin_thrown(&mut self, token: Token<'a>) {
        self.place = Place::Operand;
        let is_expression = begins_expression(token) || token.kind == Kind::OpenBrace;
        if is_expression && !token.after_newline && token.word != "new" {
            self.edits.replace(token.start, 0, THROWN.0);
            self.push(Open::Thrown, Place::Operand);
        }
    }

    /// Ends the expression closures that `token` is no part of, and what is thrown.
    fn end_closures(&mut self, token: Token<'a>) {
        while let open @ (Open::Closure { .. } | Open::Thrown) = self.top() {
            let ends = match token.kind {
                Kind::Comma => open != Open::Thrown,
                Kind::Colon => self.frame().conditions == 0,
                _ if separates(token.kind) => true,
                _ => self.cannot_go_on(token),
            };
            if !ends {
                return;
            }
            self.pop();
            match open {
                Open::Closure { role } => {
                    self.edits.replace(self.before, 0, BODY.1);
                    self.place = after(role);
                }
                _ => {
                    self.edits.replace(self.before, 0, THROWN.1);
                    self.place = Place::Operator;
                }
            }
        }
    }

    /// Whether an operand is complete and `token` is no operator that goes on from it.
    fn cannot_go_on(&self, token: Token<'a>) -> bool {
        match self.place {
            Place::AfterArrow => true,
            Place::Operator => match token.kind {
                Kind::Step => token.after_newline,
                Kind::Word => !matches!(token.word, "in" | "instanceof"),
                kind => !goes_on(kind),
            },
            _ => false,
        }
    }

    /// A semicolon that isn't written: a token that can't go on begins a statement, or a member of a class.
    fn end_statement(&mut self, token: Token<'a>) -> Result<(), Stop> {
        if separates(token.kind) || token.kind == Kind::Colon || !self.cannot_go_on(token) {
            return Ok(());
        }
        let is_class_head = matches!(self.top(), Open::ClassHead { .. });
        if token.kind == Kind::OpenBrace && is_class_head {
            return Ok(());
        }
        self.place = match (self.top(), token.word) {
            (Open::Block | Open::Body { .. }, _) => Place::Statement,
            (Open::Class { .. }, _) => Place::Member,
            (Open::For, "of") => Place::Operator,
            (Open::Bracket | Open::Paren, "for") => {
                return Err(Stop::Refused(
                    token.start,
                    "array comprehensions are not supported: write it with map() and filter()",
                ));
            }
            (Open::Catch, "if") => {
                return Err(Stop::Refused(
                    token.start,
                    "a condition in catch is not supported: write an if in its block, and throw the rest again",
                ));
            }
            _ => Place::Operand,
        };
        Ok(())
    }

    fn dispatch(&mut self, token: Token<'a>) -> Result<(), Stop> {
        match token.kind {
            Kind::Word => self.word(token),
            Kind::Private | Kind::Number | Kind::Text | Kind::Regex | Kind::Template => self.operand(),
            Kind::TemplateOpen => self.push(Open::Substitution, Place::Operand),
            Kind::OpenBrace => self.open_brace(),
            Kind::OpenParen => self.open_paren(),
            Kind::OpenBracket => match self.place {
                Place::Property | Place::AfterProperty => {
                    self.push(Open::Computed { class: false }, Place::Operand)
                }
                Place::Member | Place::AfterMember => {
                    self.push(Open::Computed { class: true }, Place::Operand)
                }
                _ => self.push(Open::Bracket, Place::Operand),
            },
            Kind::CloseBrace => return self.close_brace(),
            Kind::CloseParen => return self.close_paren(),
            Kind::CloseBracket => match self.pop() {
                Some(Open::Bracket) => self.place = Place::Operator,
                Some(Open::Computed { class: false }) => self.place = Place::AfterProperty,
                Some(Open::Computed { class: true }) => self.place = Place::AfterMember,
                _ => return Err(Stop::Wrong),
            },
            Kind::Semicolon => return self.semicolon(),
            Kind::Comma if self.top() == Open::Object => self.place = Place::Property,
            Kind::Colon => self.colon(),
            Kind::Question => {
                self.frame().conditions += 1;
                self.place = Place::Operand;
            }
            Kind::Dot | Kind::OptionalDot => self.place = Place::Name,
            Kind::Arrow => self.place = Place::ArrowBody,
            Kind::Step if self.place == Place::Operator => {}
            Kind::Star => self.star(),
            Kind::Comma | Kind::Spread | Kind::Step | Kind::Prefix | Kind::Sign | Kind::Operator => {
                self.place = Place::Operand
            }
            Kind::End | Kind::Bad => {}
        }
        Ok(())
    }

    /// A value, or the name of a property that is written as one.
    fn operand(&mut self) {
        self.place = match self.place {
            Place::Property | Place::AfterProperty => Place::AfterProperty,
            Place::Member | Place::AfterMember => Place::AfterMember,
            _ => Place::Operator,
        };
    }

    fn star(&mut self) {
        match self.place {
            Place::Property
            | Place::AfterProperty
            | Place::Member
            | Place::AfterMember
            | Place::FunctionName { .. } => {
                self.star = true;
            }
            _ => self.place = Place::Operand,
        }
    }

    fn word(&mut self, token: Token<'a>) {
        match self.place {
            Place::Statement | Place::Operand => self.keyword(token),
            Place::Operator if matches!(token.word, "in" | "instanceof" | "of") => {
                if let Open::ForEach { found: false, at } = self.top()
                    && token.word == "in"
                {
                    self.edits.replace(token.start, 2, VALUES);
                    self.frame().open = Open::ForEach { found: true, at };
                }
                self.place = Place::Operand;
            }
            Place::FunctionName { .. } => {}
            Place::ClassName if token.word == "extends" => self.place = Place::Operand,
            Place::ClassName => {}
            Place::ForHead { .. } if token.word == "each" => {
                self.place = Place::ForHead { each: Some(token.start) }
            }
            Place::ForHead { .. } => {}
            _ => self.operand(),
        }
    }

    /// A word where a statement or an operand begins.
    fn keyword(&mut self, token: Token<'a>) {
        let statement = self.place == Place::Statement;
        let role = if statement { Role::Declaration } else { Role::Expression };
        self.place = match token.word {
            "function" => {
                self.star = false;
                Place::FunctionName { role }
            }
            "class" => {
                self.push(Open::ClassHead { declaration: statement }, Place::ClassName);
                return;
            }
            "async" => Place::Async { statement },
            "await" => Place::Await,
            "let" => Place::Let,
            "yield" if self.generators.last() == Some(&true) => Place::Restricted,
            "return" => Place::Restricted,
            "throw" => Place::Throw,
            "if" | "while" | "with" | "switch" => Place::Head(Open::Condition),
            "catch" => Place::Head(Open::Catch),
            "for" => Place::ForHead { each: None },
            "do" | "else" | "try" | "finally" => Place::Statement,
            "var" | "const" | "case" | "new" | "typeof" | "void" | "delete" | "in" | "instanceof"
            | "extends" => Place::Operand,
            _ => Place::Operator,
        };
    }

    fn open_brace(&mut self) {
        match (self.place, self.top()) {
            (Place::ClassName | Place::Operator, Open::ClassHead { declaration }) => {
                self.pop();
                self.push(Open::Class { declaration }, Place::Member);
            }
            (Place::Statement, _) => self.push(Open::Block, Place::Statement),
            (Place::ArrowBody, _) => {
                self.push(Open::Body { role: Role::Arrow, generator: false }, Place::Statement)
            }
            // `static {`
            (Place::Member | Place::AfterMember, _) => {
                self.push(Open::Body { role: Role::Member, generator: false }, Place::Statement);
            }
            _ => self.push(Open::Object, Place::Property),
        }
    }

    fn open_paren(&mut self) {
        let generator = match self.place {
            Place::FunctionName { .. } | Place::AfterProperty | Place::AfterMember => {
                std::mem::take(&mut self.star)
            }
            _ => false,
        };
        let open = match self.place {
            Place::FunctionName { role } => Open::Parameters { role, generator },
            Place::AfterProperty => Open::Parameters { role: Role::Property, generator },
            Place::AfterMember => Open::Parameters { role: Role::Member, generator },
            Place::Head(open) => open,
            Place::ForHead { each: None } => Open::For,
            Place::ForHead { each: Some(at) } => {
                self.edits.replace(at, 4, "    ");
                Open::ForEach { found: false, at }
            }
            _ => Open::Paren,
        };
        self.push(open, Place::Operand);
    }

    fn close_paren(&mut self) -> Result<(), Stop> {
        self.place = match self.pop() {
            Some(Open::Paren) => Place::Operator,
            Some(Open::Condition | Open::Catch | Open::For) => Place::Statement,
            Some(Open::ForEach { found: true, .. }) => {
                self.edits.replace(self.before, 0, "))");
                Place::Statement
            }
            Some(Open::ForEach { found: false, at }) => return Err(Stop::Refused(at, FOR_EACH)),
            Some(Open::Parameters { role, generator }) => Place::Body { role, generator },
            _ => return Err(Stop::Wrong),
        };
        Ok(())
    }

    fn close_brace(&mut self) -> Result<(), Stop> {
        self.place = match self.pop() {
            Some(Open::Block) => Place::Statement,
            Some(Open::Body { role, .. }) => after(role),
            Some(Open::Object) => Place::Operator,
            Some(Open::Class { declaration: true }) => Place::Statement,
            Some(Open::Class { declaration: false }) => Place::Operator,
            Some(Open::Substitution) => {
                let part = self.lexer.template_part();
                self.template_end = part.end;
                match part.kind {
                    Kind::Template => self.place = Place::Operator,
                    Kind::TemplateOpen => self.push(Open::Substitution, Place::Operand),
                    _ => return Err(Stop::Wrong),
                }
                return Ok(());
            }
            _ => return Err(Stop::Wrong),
        };
        Ok(())
    }

    fn semicolon(&mut self) -> Result<(), Stop> {
        self.place = match self.top() {
            Open::Block | Open::Body { .. } => Place::Statement,
            Open::Class { .. } => Place::Member,
            Open::For => Place::Operand,
            Open::ForEach { at, .. } => return Err(Stop::Refused(at, FOR_EACH)),
            _ => return Err(Stop::Wrong),
        };
        Ok(())
    }

    fn colon(&mut self) {
        let is_name = self.place == Place::AfterProperty;
        let in_statements = self.is_in_statements();
        let frame = self.frame();
        self.place = if !is_name && frame.conditions > 0 {
            frame.conditions -= 1;
            Place::Operand
        } else if in_statements {
            // a label, `case` or `default`
            Place::Statement
        } else {
            Place::Operand
        };
    }
}

const FOR_EACH: &str = "for each without in: it is written for each (var value in object)";
