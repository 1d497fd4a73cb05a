//! The files of a policy: that which was asked for, and those that it includes, each in our language.
use super::includes::Includes;
use super::model::Model;
use super::position::Position;
use super::{Container, Native, bytes_of, flatten, in_native, json, resolve, text_of_bytes, values};
use crate::exit::Failure;
use policy::mounts::HostPath;
use policy::{Include, Origins, PolicyError};
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// The file of an OCI bundle that says how it is run.
const CONFIG: &str = "config.json";

/// Key of a rule that says where it comes from, until it is written: none of the language's.
pub(super) const FROM: &str = "\0from";

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// Its name, for messages.
    pub(super) name: String,
    /// What it says, in our language.
    pub(super) text: String,
    /// The folder that it is in.
    folder: PathBuf,
    /// What of the file does not apply.
    pub(super) notes: Vec<String>,
    /// Where the parts of the text come from, if the file holds something else.
    origins: Vec<policy::Origin>,
    /// The further files that it was made of.
    origin_files: Vec<String>,
    /// It is a translation.
    translated: bool,
    /// What the file holds, if that is JSON of our language: the same bytes in the same places.
    json: Option<String>,
}

impl Part {
    /// What a file holds, in whatever format.
    fn new(name: &str, bytes: &[u8], container: &Container, includes: &mut Includes) -> Result<Self, String> {
        let text = text_of_bytes(name, bytes)?;
        let native = in_native(name, text, container, includes)?;
        let json = (!native.translated && native.text != text).then(|| text.to_owned());
        Ok(Self::of(name, includes.folder().to_owned(), native, json))
    }

    fn of(name: &str, folder: PathBuf, native: Native, json: Option<String>) -> Self {
        let Native { text, origins, origin_files, translated, notes } = native;
        Self { name: name.to_owned(), text, folder, notes, origins, origin_files, translated, json }
    }

    fn origins(&self) -> Origins<'_> {
        Origins { parts: &self.origins, files: &self.origin_files, translated: self.translated }
    }

    /// File and line of what stands there in its text, as far as it is no error.
    pub(super) fn place(&self, offset: usize) -> String {
        let origins = self.origins();
        let Some(origin) = origins.of(offset) else {
            return format!("{}:{}", policy::shown(&self.name), Position::of_offset(&self.text, offset).line);
        };
        let name = origins.file(origin).unwrap_or(&self.name);
        let column = if origin.narrow { format!(":{}", origin.column) } else { String::new() };
        format!("{}:{}{column}", policy::shown(name), origin.line)
    }

    /// The same of several, of which the same is said.
    pub(super) fn places(&self, offsets: &[usize]) -> String {
        let own = format!("{}:", policy::shown(&self.name));
        let mut places: Vec<String> = offsets.iter().map(|offset| self.place(*offset)).collect();
        places.dedup();
        // Of those in one file the first has its name.
        let next = |place: &String| place.strip_prefix(&own).unwrap_or(place).to_owned();
        places.iter_mut().skip(1).for_each(|place| *place = next(place));
        places.join(",")
    }

    /// The same to the character.
    fn exact(&self, offset: usize) -> String {
        let text = self.json.as_ref().unwrap_or(&self.text);
        format!("{}:{}", self.name, Position::of_offset(text, offset))
    }

    /// An error of our reader, with the place that it has in the file.
    fn said(&self, error: &PolicyError) -> String {
        match self.json {
            Some(_) => format!("{}: {}", self.exact(error.at), error.message),
            None => error.to_string(),
        }
    }

    /// Lets it hold another text, made from its own.
    pub(super) fn with_text(&self, text: String) -> Self {
        Self { text, origins: Vec::new(), origin_files: Vec::new(), translated: false, json: None, ..self.clone() }
    }

    /// What it says so that it can stand anywhere: with the host's folders by their whole names, and under [`FROM`] where each rule comes from.
    pub(super) fn table(&self) -> Result<Table, String> {
        let document = values::parse(&self.text)?;
        let mut table = values::table(document.get_ref())?;
        self.make_absolute(&mut table);
        let spans = document.get_ref().get("rule").and_then(|rules| rules.get_ref().as_array());
        let starts = spans.into_iter().flat_map(|rules| rules.iter().map(|rule| rule.span().start));
        let rules = table.get_mut("rule").and_then(Value::as_array_mut).into_iter().flatten();
        for (rule, start) in rules.filter_map(Value::as_table_mut).zip(starts) {
            rule.entry(FROM).or_insert_with(|| self.place(start).into());
        }
        Ok(table)
    }

    /// Whether it was translated from another format.
    pub(super) fn is_translated(&self) -> bool {
        self.translated
    }

    fn make_absolute(&self, table: &mut Table) {
        let absolute = |path: Option<&mut Value>| {
            if let Some(Value::String(path)) = path {
                *path = self.folder.join(&*path).display().to_string();
            }
        };
        absolute(table.get_mut("root").and_then(|root| root.get_mut("path")));
        if let Some(Value::Array(binds)) = table.get_mut("bind") {
            binds.iter_mut().for_each(|bind| absolute(bind.get_mut("host")));
        }
    }

    fn file(&self) -> policy::File<'_> {
        policy::File { name: &self.name, text: &self.text, origins: self.origins() }
    }
}

/// A policy.
#[derive(Clone, Debug)]
pub(crate) struct PolicyFiles {
    /// In the order in which their rules are tried; at least one.
    parts: Vec<Part>,
}

impl PolicyFiles {
    /// Reads a policy file of any format that is known, with all that it includes; the content says which format it is. `name` is for messages.
    /// A folder is an OCI bundle, which has its `config.json`.
    pub(crate) fn read(path: &Path, name: &str, container: &Container) -> Result<Self, Failure> {
        Self::read_watched(path, name, container, &mut Vec::new())
    }

    /// The same. `files` are the paths on which it depends, whatever comes of it.
    pub(crate) fn read_watched(
        path: &Path,
        name: &str,
        container: &Container,
        files: &mut Vec<PathBuf>,
    ) -> Result<Self, Failure> {
        if path.is_dir() {
            if !path.join(CONFIG).exists() {
                let why = format!(
                    "cannot read the policy {name}: that is a folder without a {CONFIG}; name a file, or the folder of an OCI bundle"
                );
                return Err(Failure::early(why));
            }
            let name = Path::new(name).join(CONFIG).display().to_string();
            return Self::read_watched(&path.join(CONFIG), &name, container, files);
        }
        *files = vec![path.to_owned()];
        let mut includes = Includes::of_file(path, name).mapped(&container.include_map);
        let policy = Self::with_includes(name, &bytes_of("policy", path, name)?, container, &mut includes);
        *files = includes.into_looked_for();
        let mut policy = policy.map_err(Failure::early)?;
        policy.parts.iter_mut().for_each(|part| resolve::hosts(&mut part.text));
        Ok(policy)
    }

    /// The same for a file that is read already.
    #[cfg(test)]
    pub(super) fn of_bytes(path: &Path, name: &str, bytes: &[u8], container: &Container) -> Result<Self, String> {
        let mut includes = Includes::of_file(path, name).mapped(&container.include_map);
        Self::with_includes(name, bytes, container, &mut includes)
    }

    fn with_includes(name: &str, bytes: &[u8], container: &Container, includes: &mut Includes) -> Result<Self, String> {
        let mut all = Self { parts: Vec::new() };
        all.add(name, bytes, container, includes)?;
        Ok(all)
    }

    /// Adds a file, and after it those that it includes. `includes` has it as the innermost, and bounds the depth.
    fn add(&mut self, name: &str, bytes: &[u8], container: &Container, includes: &mut Includes) -> Result<(), String> {
        let part = Part::new(name, bytes, container, includes)?;
        let named = policy::includes(name, &part.text).map_err(|error| part.said(&error))?;
        let placed = |include: Include| (part.exact(include.at), include.name);
        let named: Vec<(String, String)> = named.into_iter().map(placed).collect();
        self.parts.push(part);
        for (place, include) in named {
            let entered = includes.enter_new(&include).map_err(|why| format!("{place}: {why}"))?;
            let Some(included) = entered else { continue };
            self.add(&included.name, &included.bytes, container, includes)?;
            includes.leave();
        }
        Ok(())
    }

    /// Where a folder is that one of the files names.
    pub(crate) fn on_host(&self, path: &HostPath) -> PathBuf {
        self.parts.get(path.file).map_or(Path::new(""), |part| &part.folder).join(&path.path)
    }

    /// Name of the file that was asked for.
    pub(crate) fn name(&self) -> &str {
        self.parts.first().map_or("", |part| &part.name)
    }

    /// Whether this is one of the files.
    pub(crate) fn is_made_of(&self, path: &Path) -> bool {
        let Ok(path) = path.canonicalize() else { return false };
        let is_it = |part: &Part| {
            let name = Path::new(&part.name).file_name().unwrap_or_default();
            part.folder.join(name).canonicalize().is_ok_and(|own| own == path)
        };
        self.parts.iter().any(is_it)
    }

    /// The files one by one.
    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The texts of all files one behind the other.
    pub(crate) fn text(&self) -> String {
        self.parts.iter().map(|part| part.text.as_str()).collect()
    }

    /// As the root gets them.
    pub(crate) fn packed(&self) -> Vec<bundle::PolicyFile> {
        let file = |part: &Part| bundle::PolicyFile {
            name: part.name.clone(),
            text: part.text.clone(),
            origins: part.origins.clone(),
            origin_files: part.origin_files.clone(),
            translated: part.translated,
        };
        self.parts.iter().map(file).collect()
    }

    /// The compiled policy.
    pub(crate) fn compiled(&self) -> Result<policy::Policy, Failure> {
        let files: Vec<policy::File<'_>> = self.parts.iter().map(Part::file).collect();
        policy::parse_files(&files).map_err(|error| {
            let part = self.parts.iter().find(|part| part.name == error.file);
            Failure::early(part.map_or_else(|| error.to_string(), |part| part.said(&error)))
        })
    }

    /// Its rules one by one.
    pub(super) fn model(&self) -> Result<Model, Failure> {
        Model::read(&self.parts).map_err(Failure::early)
    }

    /// All of it as one file.
    pub(super) fn flat(&self) -> Result<String, Failure> {
        flatten::flatten(&self.parts).map_err(|why| Failure::early(format!("{}: {why}", self.name())))
    }

    /// The same as JSON.
    pub(super) fn json(&self) -> Result<String, Failure> {
        let written = match self.parts.as_slice() {
            [own] if !own.is_translated() => json::of_toml(&own.text),
            parts => flatten::with_reasons(parts).and_then(|whole| json::of(&whole)),
        };
        written.map_err(|why| Failure::early(format!("{}: {why}", self.name())))
    }

    /// The same, once it has been found good.
    pub(crate) fn checked(self) -> Result<Self, Failure> {
        self.compiled().map(|_| self)
    }
}

#[cfg(test)]
impl Part {
    /// A text in our language.
    pub(super) fn native(name: &str, text: &str) -> Self {
        let native = Native { text: text.to_owned(), ..Native::default() };
        Self::of(name, PathBuf::new(), native, None)
    }
}

#[cfg(test)]
impl PolicyFiles {
    /// A policy of one text in our language.
    pub(super) fn native(name: &str, text: &str) -> Self {
        Self::of_parts(vec![Part::native(name, text)])
    }

    pub(super) fn of_parts(parts: Vec<Part>) -> Self {
        Self { parts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Writes files and reads the first of them.
    fn of(files: &[(&str, &str)]) -> Result<PolicyFiles, String> {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let (name, text) = files[0];
        PolicyFiles::of_bytes(&directory.path().join(name), name, text.as_bytes(), &Container::default())
    }

    fn error(files: &[(&str, &str)]) -> String {
        match of(files) {
            Ok(policy) => policy.compiled().unwrap_err().to_string(),
            Err(why) => why,
        }
    }

    const READ: &str = "version = 1\n[[rule]]\ncalls = [\"read\"]\naction = \"allow\"\n";

    #[test]
    fn names_are_relative_to_where_they_stand_and_a_file_counts_once() {
        let policy = of(&[
            ("p/main.toml", "version = 1\ninclude = [\"lib/a.toml\", \"lib/b.json\"]\n"),
            ("p/lib/a.toml", "version = 1\ninclude = [\"../last.toml\", \"b.json\"]\n"),
            ("p/last.toml", READ),
            ("p/lib/b.json", "{\"version\": 1, \"include\": [\"../last.toml\"],\n \"default\": \"kill\"}"),
        ])
        .unwrap();
        let names: Vec<&str> = policy.parts().iter().map(|part| part.name.as_str()).collect();
        assert_eq!(names, ["p/main.toml", "p/lib/a.toml", "p/lib/../last.toml", "p/lib/b.json"]);
        let compiled = policy.compiled().unwrap();
        assert_eq!(compiled.judge(0, &[0; 6]).rule().to_string(), "rule 1 lib/../last.toml:2");
        assert_eq!(compiled.judge_unknown().action, policy::Action::Kill);
        assert_eq!(policy.packed().len(), 4);
    }

    #[test]
    fn other_formats_can_be_included() {
        let policy = of(&[
            ("main.toml", "version = 1\ninclude = [\"oci.json\", \"jail.policy\"]\n"),
            (
                "oci.json",
                r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["dup"], "action": "SCMP_ACT_ALLOW"}]}"#,
            ),
            ("jail.policy", "read: 1\n@include more\n"),
            ("more", "write: 1\n"),
        ]);
        let compiled = policy.unwrap().compiled().unwrap();
        for (call, rule) in [(32, "oci.json"), (0, "jail.policy"), (1, "more")] {
            let verdict = compiled.judge(call, &[0; 6]);
            assert_eq!((verdict.action, verdict.rule().place.file), (policy::Action::Allow, rule), "{call}");
        }
    }

    #[test]
    fn what_cannot_be_included_is_refused_with_place_and_chain() {
        let include = |name: &str| format!("version = 1\n\ninclude = [\"{name}\"]\n");
        let (a, b) = (include("d/b.toml"), include("../a.toml"));
        let circle = error(&[("a.toml", &a), ("d/b.toml", &b)]);
        let chain = "a.toml includes d/b.toml includes d/../a.toml";
        assert_eq!(circle, format!("d/b.toml:3:12: cannot include ../a.toml: that is a circle: {chain}"));
        assert!(error(&[("a.toml", &include("a.toml"))]).starts_with("a.toml:3:12: cannot include a.toml: that is a"));
        let missing = error(&[("a.toml", &a)]);
        assert!(missing.starts_with("a.toml:3:12: cannot include d/b.toml: No such file"), "{missing}");
        let json = error(&[("a.json", "{\"version\": 1,\n \"include\": [\"x\"]}")]);
        assert!(json.starts_with("a.json:2:14: cannot include x: No such file"), "{json}");
        let inner = error(&[("a.toml", &a), ("d/b.toml", "version = 1\nrules = 1\n")]);
        assert!(inner.starts_with("d/b.toml:2:1: unknown key `rules`"), "{inner}");
        let json = error(&[("a.toml", &include("b.json")), ("b.json", "{\"version\": 1,\n \"rule\": 3}")]);
        assert!(json.starts_with("b.json:2:10: `rule` must be"), "{json}");
        let folder = error(&[("a.toml", &include("d")), ("d/x", "")]);
        assert!(folder.starts_with("a.toml:3:12: cannot include d: "), "{folder}");
    }

    #[test]
    fn rules_of_json_in_one_line_have_columns() {
        let json = "{\"version\":1,\"limits\":{\"threads\":3},\"rule\":[{\"calls\":[\"read\"],\"action\":\"allow\"},{\"calls\":[\"write\"],\"action\":\"allow\"}]}";
        let files = of(&[("p.json", json)]).unwrap();
        let compiled = files.compiled().unwrap();
        let column = |what: &str| json.find(what).unwrap() + 1;
        let rule = |call| compiled.judge(call, &[0; 6]).rule().to_string();
        assert_eq!(rule(0), format!("rule 1 p.json:1:{}", column("{\"calls\":[\"read")));
        assert_eq!(rule(1), format!("rule 2 p.json:1:{}", column("{\"calls\":[\"write")));
        let wrong = error(&[("p.json", &json.replace("write", "wriet"))]);
        assert!(wrong.starts_with(&format!("p.json:1:{}: `wriet`", column("\"write"))), "{wrong}");
    }

    const JAIL: &str = "# for all\nread: 1\nwrite: arg0 == 1\n";

    #[test]
    fn what_is_converted_says_where_it_comes_from() {
        let files = of(&[("d/jail", JAIL)]).unwrap();
        let (text, json) = (files.flat().unwrap(), files.json().unwrap());
        assert!(
            text.contains("\n# jail:2\n[[rule]]\ncalls = [\"read\"]") && text.contains("reason = \"for all\""),
            "{text}"
        );
        assert!(json.contains("\"reason\": \"d/jail:2: for all\""), "{json}");
        let files = of(&[
            ("d/main.toml", "version = 1\ninclude = [\"jail\"]\n[[rule]]\ncalls = [\"dup\"]\naction = \"allow\"\n"),
            ("d/jail", JAIL),
        ])
        .unwrap();
        let (text, json) = (files.flat().unwrap(), files.json().unwrap());
        for line in ["# d/main.toml:3", "# d/jail:2", "# d/jail:3"] {
            assert!(text.lines().any(|known| known == line), "{text}");
        }
        assert!(json.contains("\"reason\": \"d/jail:2: for all\"") && json.contains("\"reason\": \"d/main.toml:3\""));
        assert!(policy::parse("p", &text).is_ok() && of(&[("p.json", &json)]).unwrap().compiled().is_ok());
    }

    #[test]
    fn errors_of_translations_have_the_place_in_the_file() {
        let entry = |n: usize| format!("read: arg0 == {n} && arg1 == {n}\n");
        let text: String = "dup: 1\n".to_owned() + &(0..300).map(entry).collect::<String>();
        let why = error(&[("jail", &text)]);
        assert!(why.starts_with("jail:258:") && why.contains("too many rules with conditions at `read`"), "{why}");
    }

    #[test]
    fn lines_in_json_are_those_of_the_file() {
        let json = "{\"version\": 1, \"default\": \"kill\",\n \"rule\": [\n  {\"calls\": [\"read\"],\n   \"action\": \"allow\"},\n  {\"calls\": [\"write\"], \"action\": \"allow\"}]}";
        let compiled = of(&[("p.json", json)]).unwrap().compiled().unwrap();
        assert_eq!(compiled.judge(0, &[0; 6]).rule().to_string(), "rule 1 p.json:3");
        assert_eq!(compiled.judge(1, &[0; 6]).rule().to_string(), "rule 2 p.json:5");
    }
}
