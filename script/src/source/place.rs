//! What may be open at a token, what may come there, and which tokens go on from an operand, end an expression or begin
//! one.

use super::lexer::{Kind, Token};

/// What a function is where it stands, which says what comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A statement: another one follows.
    Declaration,
    /// An operand: an operator follows.
    Expression,
    /// With `=>` and braces: its expression is at its end.
    Arrow,
    /// A method, getter or setter of an object literal.
    Property,
    /// The same of a class.
    Member,
}

/// What is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Open {
    /// The braces of a block, or the whole text.
    Block,
    /// The braces of a function.
    Body {
        role: Role,
        generator: bool,
    },
    /// An object literal or pattern.
    Object,
    /// `class` up to its brace.
    ClassHead {
        declaration: bool,
    },
    Class {
        declaration: bool,
    },
    /// Parentheses around an expression or arguments.
    Paren,
    /// Those of `if`, `while`, `with`, `switch`: a statement follows.
    Condition,
    Catch,
    For,
    /// Those of `for each`; whether its `in` has been seen; where `each` is.
    ForEach {
        found: bool,
        at: usize,
    },
    Parameters {
        role: Role,
        generator: bool,
    },
    Bracket,
    /// A computed name in an object or a class.
    Computed {
        class: bool,
    },
    /// `${` in a template.
    Substitution,
    /// The expression of an expression closure.
    Closure {
        role: Role,
    },
    /// What is thrown.
    Thrown,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) open: Open,
    /// Conditions whose colon is still to come.
    pub(super) conditions: u32,
}

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Statement,
    Operand,
    /// After an operand.
    Operator,
    /// After the braces of an arrow function: nothing can go on from there.
    AfterArrow,
    /// After `=>`.
    ArrowBody,
    /// A name in an object literal, and what is behind one.
    Property,
    AfterProperty,
    /// The same in a class.
    Member,
    AfterMember,
    /// After `.`: any word is a name.
    Name,
    /// After `function`.
    FunctionName {
        role: Role,
    },
    /// After a function's parameters.
    Body {
        role: Role,
        generator: bool,
    },
    ClassName,
    /// After `if`, `while` and so on: their parentheses.
    Head(Open),
    /// After `for`; where `each` is.
    ForHead {
        each: Option<usize>,
    },
    /// After a word which means something else before certain words.
    Async {
        statement: bool,
    },
    Await,
    Let,
    /// After `return` and `yield`, whose operand is on the same line.
    Restricted,
    /// After `throw`.
    Throw,
}

/// What may come after a function.
pub(super) fn after(role: Role) -> Place {
    match role {
        Role::Declaration => Place::Statement,
        Role::Expression | Role::Property => Place::Operator,
        Role::Arrow => Place::AfterArrow,
        Role::Member => Place::Member,
    }
}

/// What ends any expression of its bracket.
pub(super) fn separates(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Comma | Kind::Semicolon | Kind::CloseBrace | Kind::CloseParen | Kind::CloseBracket | Kind::End
    )
}

/// What goes on from an operand, on whatever line it is.
pub(super) fn goes_on(kind: Kind) -> bool {
    use Kind::{
        Arrow, Colon, Dot, OpenBracket, OpenParen, Operator, OptionalDot, Question, Sign, Star, Template,
        TemplateOpen,
    };
    matches!(
        kind,
        Arrow
            | Colon
            | Dot
            | OpenBracket
            | OpenParen
            | Operator
            | OptionalDot
            | Question
            | Sign
            | Star
            | Template
            | TemplateOpen
    )
}

/// What can stand behind `await` and nowhere behind a name.
pub(super) fn begins_after_word(token: Token<'_>) -> bool {
    match token.kind {
        Kind::Word => !matches!(token.word, "in" | "instanceof" | "of"),
        kind => matches!(kind, Kind::Number | Kind::Text | Kind::OpenBrace | Kind::Private),
    }
}

/// What makes `let` a declaration.
pub(super) fn begins_pattern(token: Token<'_>) -> bool {
    matches!(token.kind, Kind::Word | Kind::OpenBrace | Kind::OpenBracket)
}

/// What the expression of an expression closure can begin with.
pub(super) fn begins_expression(token: Token<'_>) -> bool {
    match token.kind {
        Kind::Word => !matches!(
            token.word,
            "break"
                | "case"
                | "catch"
                | "const"
                | "continue"
                | "debugger"
                | "default"
                | "do"
                | "else"
                | "export"
                | "extends"
                | "finally"
                | "for"
                | "if"
                | "in"
                | "instanceof"
                | "let"
                | "return"
                | "switch"
                | "throw"
                | "try"
                | "var"
                | "while"
                | "with"
        ),
        Kind::Number | Kind::Text | Kind::Regex | Kind::Template | Kind::TemplateOpen => true,
        Kind::OpenParen | Kind::OpenBracket | Kind::Prefix | Kind::Sign | Kind::Step => true,
        _ => false,
    }
}
