//! What a unit file assigns (systemd.syntax(7)), and which file that is: `systemctl cat` prints a unit and its drop-ins one behind the other, each with
//! a comment before it that names it.
use super::super::native::Origin;
use super::super::position::{Lines, Position};
use policy::limits::MAX_NAME;

/// Most files that are named; lines of others are those of what was printed.
const MAX_NAMED: usize = 128;
/// What names of units end with (systemd.unit(5)), as far as there can be a filter in them or a drop-in's folder is named so.
const UNITS: [&str; 5] = [".service", ".socket", ".mount", ".swap", ".slice"];

/// An assignment. Its value goes over several lines if these end with a backslash.
#[derive(Debug)]
pub(super) struct Assignment<'t> {
    pub(super) key: &'t str,
    /// The parts of the value, a line each.
    parts: Vec<&'t str>,
}

impl<'t> Assignment<'t> {
    pub(super) fn value(&self) -> String {
        self.parts.join(" ").trim().to_owned()
    }

    /// What stands in the value between blanks.
    pub(super) fn words(&self) -> impl Iterator<Item = &'t str> {
        self.parts.iter().flat_map(|part| part.split_whitespace())
    }
}

/// The assignments of a text, in their order. A line that ends with a backslash goes on in the next that is no comment, as long as that is of the same file.
pub(super) fn assignments<'t>(text: &'t str, files: &Files) -> Vec<Assignment<'t>> {
    let mut all: Vec<Assignment<'_>> = Vec::new();
    // Of what goes on: whether it is an assignment.
    let mut goes_on: Option<bool> = None;
    for (number, line) in (1..).zip(text.lines()) {
        if files.begins(number) {
            goes_on = None;
        }
        if is_comment(line) {
            continue;
        }
        let (content, more) = line.strip_suffix('\\').map_or((line, false), |content| (content, true));
        let is_assignment = match (goes_on, content.split_once('=')) {
            (Some(true), _) => {
                all.last_mut().into_iter().for_each(|begun| begun.parts.push(content));
                true
            }
            (None, Some((key, value))) => {
                all.push(Assignment { key: key.trim(), parts: vec![value] });
                true
            }
            _ => false,
        };
        goes_on = more.then_some(is_assignment);
    }
    all
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with(['#', ';'])
}

/// The file that such a line says what follows it is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Header<'t> {
    Unit { path: &'t str, name: &'t str },
    DropIn { path: &'t str },
}

impl<'t> Header<'t> {
    fn of(line: &'t str) -> Option<Self> {
        let path = line.strip_prefix("# ").filter(|path| path.starts_with('/') && path.len() < MAX_NAME)?;
        if path.chars().any(|c| policy::steers(c) || c.is_whitespace()) {
            return None;
        }
        let (folder, name) = path.rsplit_once('/')?;
        let is_unit = |name: &str| UNITS.iter().any(|end| name.ends_with(end));
        let of_unit = folder.strip_suffix(".d").and_then(|folder| folder.rsplit('/').next());
        // `x.service.d`, or `service.d` for all of them.
        let is_drop_in =
            name.ends_with(".conf") && of_unit.is_some_and(|unit| is_unit(unit) || is_unit(&format!(".{unit}")));
        match is_drop_in {
            true => Some(Self::DropIn { path }),
            false => is_unit(name).then_some(Self::Unit { path, name }),
        }
    }
}

/// The files that a text is made of.
pub(super) struct Files {
    /// What they are called, that which holds them all first.
    pub(super) names: Vec<String>,
    /// The lines in which each but the first is named, in their order, and which of the names that is.
    headers: Vec<(usize, u16)>,
}

impl Files {
    /// Those of a text, whose own name this is. It is what `systemctl cat` prints if it begins as that does.
    pub(super) fn of(name: &str, text: &str) -> Self {
        let mut files = Self { names: vec![name.to_owned()], headers: Vec::new() };
        if !matches!(text.lines().next().and_then(Header::of), Some(Header::Unit { .. })) {
            return files;
        }
        let mut units = Vec::new();
        for (number, header) in (1..).zip(text.lines().map(Header::of)) {
            let path = match header {
                // Of those with one name only one counts: it is a comment that tells of another.
                Some(Header::Unit { name, path }) if !units.contains(&name) && units.len() < MAX_NAMED => {
                    units.push(name);
                    path
                }
                Some(Header::DropIn { path }) => path,
                _ => continue,
            };
            let known = files.names.iter().skip(1).position(|known| known == path).map(|index| index + 1);
            let index = known.unwrap_or(files.names.len()).min(MAX_NAMED);
            if index == files.names.len() {
                files.names.push(path.to_owned());
            }
            // Of one too many the lines are those of the whole.
            files.headers.push((number, if index < MAX_NAMED { u16::try_from(index).unwrap_or(0) } else { 0 }));
        }
        files
    }

    /// Whether another one begins in this line.
    fn begins(&self, line: usize) -> bool {
        self.headers.binary_search_by_key(&line, |(line, _)| *line).is_ok()
    }

    /// Whether they are named in the text.
    pub(super) fn are_named(&self) -> bool {
        !self.headers.is_empty()
    }

    /// What stands at this place of the text.
    pub(super) fn origin(&self, place: Position) -> Origin {
        let before = self.headers.partition_point(|(line, _)| *line < place.line);
        match before.checked_sub(1).and_then(|index| self.headers.get(index)) {
            Some((line, file)) if *file > 0 => {
                Origin { file: *file, ..Origin::of(Position { line: place.line - line, ..place }) }
            }
            _ => Origin::of(place),
        }
    }
}

/// Where a part of a text stands.
pub(super) struct Places<'t> {
    pub(super) lines: Lines<'t>,
    pub(super) files: Files,
}

impl<'t> Places<'t> {
    pub(super) fn of(files: Files, text: &'t str) -> Self {
        Self { lines: Lines::new(text), files }
    }

    pub(super) fn origin(&self, part: &str) -> Origin {
        self.files.origin(self.lines.of_part(part))
    }

    /// A place in errors.
    pub(super) fn shown(&self, part: &str) -> String {
        let Origin { file, place, .. } = self.origin(part);
        let name = self.files.names.get(usize::from(file)).map_or("", String::as_str);
        format!("{}:{place}", policy::shown(name))
    }

    /// A line in what is said about the whole.
    pub(super) fn line(&self, part: &str) -> String {
        let Origin { file, place, .. } = self.origin(part);
        match self.files.names.get(usize::from(file)).filter(|_| file > 0) {
            Some(name) => format!("{name}:{}", place.line),
            None => format!("line {}", place.line),
        }
    }
}
