//! The text of a minijail policy → what it says.
use super::super::constants;
use super::super::native::{self, Action};
use super::super::position::Position;
use policy::signature::Place;
use proto::syscalls;

/// Parentheses within parentheses, at most.
const MAX_DEPTH: usize = 16;

/// What a line says.
#[derive(Debug)]
pub(super) enum Statement {
    Call(&'static str, Filter),
    Include(String),
    /// `@default`: what is done with calls that no line names.
    Default(Action),
    DenyList,
}

/// What is done with a call.
#[derive(Debug, Default)]
pub(super) struct Filter {
    /// The first of these whose atoms all hold decides.
    pub(super) groups: Vec<Group>,
    /// What is done else, if that is not the default.
    pub(super) otherwise: Option<Action>,
}

/// `arg0 == 1 && arg1 == 2`, and what is done if they hold.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) atoms: Vec<Atom>,
    pub(super) action: Action,
    /// The byte with which it begins.
    pub(super) at: usize,
}

/// `arg0 == 1`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Atom {
    pub(super) argument: u8,
    pub(super) comparison: Comparison,
    pub(super) value: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Comparison {
    /// As our language has it.
    Plain(&'static str),
    AnyOf,
    Within,
}

const OPERATORS: [(&str, Comparison); 8] = [
    ("==", Comparison::Plain("==")),
    ("!=", Comparison::Plain("!=")),
    ("<=", Comparison::Plain("<=")),
    (">=", Comparison::Plain(">=")),
    ("<", Comparison::Plain("<")),
    (">", Comparison::Plain(">")),
    ("&", Comparison::AnyOf),
    ("in", Comparison::Within),
];

/// The statements of a text, each with the byte with which it begins. Errors begin with line and column.
pub(super) fn statements(text: &str) -> Result<Vec<(usize, Statement)>, String> {
    let mut cursor = Cursor { text, at: 0, braces: false };
    let mut all = Vec::new();
    loop {
        cursor.skip_lines();
        if cursor.rest().is_empty() {
            return Ok(all);
        }
        let at = cursor.at;
        let statement = cursor.statement().map_err(|error| format!("{}: {}", error.place, error.message))?;
        all.extend(statement.map(|statement| (at, statement)));
    }
}

/// What is wrong, and where.
struct Error {
    place: Position,
    message: String,
}

/// Where the reader is.
struct Cursor<'t> {
    text: &'t str,
    at: usize,
    /// Whether line ends are blanks here.
    braces: bool,
}

impl<'t> Cursor<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn error(&self, message: impl Into<String>) -> Error {
        Error { place: Position::of_offset(self.text, self.at), message: message.into() }
    }

    /// Goes to the next line that says something.
    fn skip_lines(&mut self) {
        self.braces = true;
        self.skip_blanks();
        self.braces = false;
    }

    /// Goes over blanks, comments and ends of lines that do not end a statement.
    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest();
            let comment = rest.starts_with('#').then(|| rest.find('\n').unwrap_or(rest.len()));
            let continued = ["\\\n", "\\\r\n"].iter().find(|end| rest.starts_with(**end)).map(|end| end.len());
            let blank = rest.starts_with([' ', '\t', '\r']) || (self.braces && rest.starts_with('\n'));
            match comment.or(continued).or(blank.then_some(1)) {
                Some(length) => self.at += length,
                None => return,
            }
        }
    }

    /// Takes `token` if it is next.
    fn takes(&mut self, token: &str) -> bool {
        self.skip_blanks();
        let found = self.rest().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn wants(&mut self, token: &str) -> Result<(), Error> {
        if self.takes(token) { Ok(()) } else { Err(self.error(format!("`{token}` must be here"))) }
    }

    /// The next word, without taking it: letters, digits, `_` and what else is in `more`.
    fn word(&mut self, more: &str) -> &'t str {
        self.skip_blanks();
        let is_part =
            |character: char| character.is_ascii_alphanumeric() || character == '_' || more.contains(character);
        let rest = self.rest();
        let end = rest.find(|character| !is_part(character)).unwrap_or(rest.len());
        rest.get(..end).unwrap_or("")
    }

    fn statement(&mut self) -> Result<Option<Statement>, Error> {
        if self.rest().starts_with('@') {
            return self.directive();
        }
        let word = self.word("");
        let number = word.parse().ok().and_then(syscalls::by_number).map(|call| call.name);
        let Some(call) = native::known(word).or(number) else {
            return Err(self.error(format!("`{word}` is no x86-64 system call")));
        };
        self.at += word.len();
        let is_ours = self.architectures()?;
        self.wants(":")?;
        let filter = self.filter(call)?;
        self.end_of_line()?;
        Ok(is_ours.then_some(Statement::Call(call, filter)))
    }

    /// `[arch=x86_64,arm]` after a call's name: whether x86-64 is meant.
    fn architectures(&mut self) -> Result<bool, Error> {
        if !self.takes("[") {
            return Ok(true);
        }
        self.wants("arch")?;
        self.wants("=")?;
        let mut is_ours = false;
        loop {
            let word = self.word("");
            self.at += word.len();
            is_ours |= word == "x86_64";
            if !self.takes(",") {
                self.wants("]")?;
                return Ok(is_ours);
            }
        }
    }

    fn directive(&mut self) -> Result<Option<Statement>, Error> {
        let word = self.word("@");
        match word {
            "@include" => {
                self.at += word.len();
                Ok(Some(Statement::Include(self.path()?.to_owned())))
            }
            // It only says which calls come often.
            "@frequency" => {
                self.at += word.len();
                self.path()?;
                Ok(None)
            }
            "@denylist" => {
                self.at += word.len();
                self.end_of_line()?;
                Ok(Some(Statement::DenyList))
            }
            "@default" => {
                self.at += word.len();
                let action = self.action()?.ok_or_else(|| self.error("an action must be here"))?;
                self.end_of_line()?;
                Ok(Some(Statement::Default(action)))
            }
            _ => Err(self.error(format!("`{word}` is no directive"))),
        }
    }

    /// A path, and the end of the line.
    fn path(&mut self) -> Result<&'t str, Error> {
        self.skip_blanks();
        let rest = self.rest();
        let path = rest.get(..rest.find(char::is_whitespace).unwrap_or(rest.len())).unwrap_or("");
        if path.is_empty() || path.chars().any(char::is_control) {
            return Err(self.error("the path of a file must be here"));
        }
        self.at += path.len();
        self.end_of_line()?;
        Ok(path)
    }

    fn end_of_line(&mut self) -> Result<(), Error> {
        self.skip_blanks();
        match self.rest().chars().next() {
            None | Some('\n') => Ok(()),
            Some(_) => Err(self.error("the line should end here")),
        }
    }

    fn filter(&mut self, call: &str) -> Result<Filter, Error> {
        let number = syscalls::by_name(call).map_or(0, |call| call.number);
        if self.takes("{") {
            self.braces = true;
            let filter = self.list(number);
            self.braces = false;
            return filter;
        }
        if let Some(action) = self.action()? {
            return Ok(Filter { groups: Vec::new(), otherwise: Some(action) });
        }
        let groups = self.groups(number)?;
        let otherwise = if self.takes(";") { Some(self.needed_action()?) } else { None };
        Ok(Filter { groups, otherwise })
    }

    /// `{ ATOMS: ACTION, ... ACTION }`, from behind the brace.
    fn list(&mut self, number: u32) -> Result<Filter, Error> {
        let mut filter = Filter::default();
        while !self.takes("}") {
            if let Some(action) = self.action()? {
                filter.otherwise = Some(action);
                self.takes(",");
                self.wants("}")?;
                break;
            }
            let groups = self.groups(number)?;
            self.wants(":")?;
            let action = self.needed_action()?;
            filter.groups.extend(groups.into_iter().map(|group| Group { action, ..group }));
            if !self.takes(",") {
                self.wants("}")?;
                break;
            }
        }
        Ok(filter)
    }

    fn needed_action(&mut self) -> Result<Action, Error> {
        self.action()?.ok_or_else(|| self.error("an action must be here, such as `return EPERM`"))
    }

    /// An action, if there is one here.
    fn action(&mut self) -> Result<Option<Action>, Error> {
        let word = self.word("-");
        let action = match word {
            "1" | "allow" => Action::Allow,
            "log" => Action::Log,
            "kill" | "kill-process" => Action::KillProcess,
            "kill-thread" => Action::KillThread,
            "trap" => Action::Trap,
            // Without a tracer or listener the call gives ENOSYS (seccomp(2)).
            "trace" | "user-notify" => Action::Errno(38),
            "return" => {
                self.at += word.len();
                let error = self.word("");
                let number = constants::errno(error);
                let number = number.ok_or_else(|| self.error(format!("`{error}` is no error of Linux")))?;
                self.at += error.len();
                return Ok(Some(Action::Errno(number)));
            }
            _ => return Ok(None),
        };
        self.at += word.len();
        Ok(Some(action))
    }

    /// Atoms joined by `&&`, and these by `||`, which allow.
    fn groups(&mut self, number: u32) -> Result<Vec<Group>, Error> {
        let mut groups = vec![self.group(number)?];
        while self.takes("||") {
            groups.push(self.group(number)?);
        }
        Ok(groups)
    }

    fn group(&mut self, number: u32) -> Result<Group, Error> {
        self.skip_blanks();
        let at = self.at;
        let mut atoms = vec![self.atom(number)?];
        while self.takes("&&") {
            atoms.push(self.atom(number)?);
        }
        Ok(Group { atoms, action: Action::Allow, at })
    }

    fn atom(&mut self, number: u32) -> Result<Atom, Error> {
        let word = self.word("");
        let Some(index) = word.strip_prefix("arg") else {
            return Err(self.error("an action or a condition must be here, such as `arg0 == 1`"));
        };
        let argument: u8 = index
            .parse()
            .ok()
            .filter(|index| *index < 6)
            .ok_or_else(|| self.error(format!("there is no argument {index}; they are arg0 to arg5")))?;
        self.at += word.len();
        let comparison = OPERATORS.iter().find(|(token, _)| self.takes(token)).map(|(_, comparison)| *comparison);
        let comparison = comparison.ok_or_else(|| self.error("a comparison must be here: == != < <= > >= & in"))?;
        let value = self.constant((number, argument), 0)?;
        Ok(Atom { argument, comparison, value })
    }

    /// Constants joined by `|`, each with `~` before it or not, or in parentheses.
    fn constant(&mut self, of: (u32, u8), depth: usize) -> Result<u64, Error> {
        if depth > MAX_DEPTH {
            return Err(self.error(format!("parentheses are more than {MAX_DEPTH} deep")));
        }
        let mut value = 0;
        loop {
            let inverted = self.takes("~");
            let one = if self.takes("(") {
                let inner = self.constant(of, depth + 1)?;
                self.wants(")")?;
                inner
            } else {
                self.single(of)?
            };
            value |= if inverted { !one } else { one };
            // `||` joins conditions.
            self.skip_blanks();
            if self.rest().starts_with("||") || !self.takes("|") {
                return Ok(value);
            }
        }
    }

    fn single(&mut self, (call, argument): (u32, u8)) -> Result<u64, Error> {
        let word = self.word("-");
        let value = constants::number(word).or_else(|| constants::named(word, call, Place::argument(argument)));
        let value = value
            .ok_or_else(|| self.error(format!("`{word}` is no number of 64 bits and no constant that is known")))?;
        self.at += word.len();
        Ok(value)
    }
}
