//! Texts that are nearly right: made of a language's own parts, some words of which are others, and sometimes damaged. What reads the language gets
//! deep into most of them before it finds something wrong, and finds nothing wrong with some.
use crate::Random;
use alloc::string::String;
use alloc::vec::Vec;

/// Most parts of a text.
const PARTS: usize = 4;
/// One of so many words is another one.
const ODDS: [usize; 4] = [16, 32, 64, 128];
/// A mark is that much less often another one, as hardly any text with such a one has a structure.
const MARKS: usize = 16;
/// One of so many texts is damaged.
const DAMAGED: usize = 8;

/// A language, by example.
#[derive(Clone, Copy, Debug)]
pub struct Language<'t> {
    /// What texts begin with one of. An empty line stands between two.
    pub heads: &'t str,
    /// What they have some of, in any order. An empty line stands between two.
    pub parts: &'t str,
    /// What a text has between two of them.
    pub between: &'t str,
    /// What texts end with.
    pub tail: &'t str,
    /// Words that are put in place of others as well, one a line.
    pub words: &'t str,
}

/// Makes texts of a language.
#[derive(Clone, Debug)]
pub struct Texts<'t> {
    heads: Vec<Vec<Word<'t>>>,
    parts: Vec<Vec<Word<'t>>>,
    between: &'t str,
    tail: Vec<Word<'t>>,
    /// The words of each kind, each one once.
    others: [Vec<&'t str>; KINDS],
    /// Characters that damage is done with.
    characters: Vec<char>,
}

/// A word of a text.
#[derive(Clone, Copy, Debug)]
struct Word<'t> {
    text: &'t str,
    kind: Kind,
}

/// What can stand where another one stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Before `=` or `:`.
    Key,
    Name,
    Number,
    /// In quotation marks.
    Text,
    Mark,
    Space,
}

const KINDS: usize = Kind::Space as usize;

impl<'t> Texts<'t> {
    /// Those of this language.
    #[must_use]
    pub fn of(language: &Language<'t>) -> Self {
        let split = |text: &'t str| text.split_inclusive("\n\n").map(words).collect::<Vec<_>>();
        let (heads, parts, tail) = (split(language.heads), split(language.parts), words(language.tail));
        let all = heads.iter().chain(&parts).chain([&tail]).flatten().copied().chain(words(language.words));
        let mut others = [const { Vec::new() }; KINDS];
        let mut characters = Vec::from(['\0', '\\', 'ü', '\n', ' ', '"']);
        for word in all {
            characters.extend(word.text.chars());
            if let Some(known) = others.get_mut(word.kind as usize) {
                known.push(word.text);
            }
        }
        for known in &mut others {
            known.sort_unstable();
            known.dedup();
        }
        characters.sort_unstable();
        characters.dedup();
        Self { heads, parts, between: language.between, tail, others, characters }
    }

    /// The texts without a change, with the first of their beginnings, one for each part.
    pub fn unchanged(&self) -> impl Iterator<Item = String> {
        let head = self.heads.iter().take(1).flatten();
        self.parts.iter().map(move |part| head.clone().chain(part).chain(&self.tail).map(|word| word.text).collect())
    }

    /// Writes one over `text`.
    pub fn write(&self, random: &mut Random, text: &mut String) {
        text.clear();
        let odds = random.pick(&ODDS);
        // A wrong beginning ends most readers' work.
        let head = random.below(self.heads.len());
        self.put(&self.heads[head], odds * MARKS, random, text);
        for nth in 0..random.below(PARTS + 1) {
            if nth > 0 {
                text.push_str(self.between);
            }
            let part = random.below(self.parts.len());
            self.put(&self.parts[part], odds, random, text);
        }
        self.put(&self.tail, odds * MARKS, random, text);
        if random.below(DAMAGED) == 0 {
            self.damage(random, text);
        }
    }

    fn put(&self, words: &[Word<'t>], odds: usize, random: &mut Random, text: &mut String) {
        for word in words {
            let odds = if word.kind == Kind::Mark { odds * MARKS } else { odds };
            let is_kept = word.kind == Kind::Space || random.below(odds) > 0;
            text.push_str(if is_kept { word.text } else { self.other(word.kind, random) });
        }
    }

    /// A word, most often of this kind; sometimes none.
    fn other(&self, kind: Kind, random: &mut Random) -> &'t str {
        let place = random.below(16);
        // The first ones say a kind, or, behind those, that there is to be no word.
        let kind = if place < KINDS { place } else { kind as usize };
        match self.others.get(kind) {
            Some(words) if !words.is_empty() && place != KINDS => random.pick(words),
            _ => "",
        }
    }

    /// Changes, takes away or puts in up to three characters, or cuts the text off.
    fn damage(&self, random: &mut Random, text: &mut String) {
        for _ in 0..=random.below(3) {
            let at = text.floor_char_boundary(random.below(text.len() + 1));
            let after = text[at..].chars().next().map_or(at, |character| at + character.len_utf8());
            let mut other = [0; 4];
            let other = random.pick(&self.characters).encode_utf8(&mut other);
            match random.below(16) {
                0 => text.truncate(at),
                1..=4 => text.replace_range(at..after, ""),
                5..=9 => text.replace_range(at..after, other),
                _ => text.insert_str(at, other),
            }
        }
    }
}

/// Takes a text apart.
fn words(text: &str) -> Vec<Word<'_>> {
    let (mut words, mut rest) = (Vec::new(), text);
    while let Some(first) = rest.chars().next() {
        let (len, kind) = match first {
            '"' => (quoted(rest), Kind::Text),
            _ if first.is_whitespace() => (len_while(rest, char::is_whitespace), Kind::Space),
            _ if is_word(first) => {
                let len = len_while(rest, is_word);
                (len, if first.is_ascii_digit() || first == '-' { Kind::Number } else { Kind::Name })
            }
            _ => (first.len_utf8(), Kind::Mark),
        };
        let (word, after) = rest.split_at(len);
        let is_key = matches!(kind, Kind::Name | Kind::Text) && after.trim_start().starts_with(['=', ':']);
        words.push(Word { text: word, kind: if is_key { Kind::Key } else { kind } });
        rest = after;
    }
    words
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '@' | '-' | '.')
}

fn len_while(text: &str, holds: impl Fn(char) -> bool) -> usize {
    text.find(|character| !holds(character)).unwrap_or(text.len())
}

/// How long the text in quotation marks is that begins here.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, character)| {
        let ends = *character == '"' && !escaped;
        escaped = *character == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANGUAGE: Language<'_> = Language {
        heads: "version = 1\n",
        parts: "[a]\nb = \"c \\\" d\"\n\n{ \"e\": [-1, f.g] }\n",
        between: "\n",
        tail: "# end\n",
        words: "0x7f\ntrue\n",
    };

    #[test]
    fn words_are_of_their_kinds() {
        let of = |wanted: Kind| -> Vec<&str> {
            words(LANGUAGE.parts).iter().filter(|word| word.kind == wanted).map(|word| word.text).collect()
        };
        assert_eq!(of(Kind::Key), ["b", "\"e\""]);
        assert_eq!((of(Kind::Name), of(Kind::Number)), (Vec::from(["a", "f.g"]), Vec::from(["-1"])));
        assert_eq!(of(Kind::Text), ["\"c \\\" d\""]);
        assert_eq!(of(Kind::Mark), ["[", "]", "=", "{", ":", "[", ",", "]", "}"]);
        assert_eq!(words("\"no end").first().map(|word| word.text), Some("\"no end"));
    }

    #[test]
    fn texts_are_like_the_language_and_differ() {
        let texts = Texts::of(&LANGUAGE);
        let unchanged: Vec<String> = texts.unchanged().collect();
        assert_eq!(unchanged[1], "version = 1\n{ \"e\": [-1, f.g] }\n# end\n");
        let (mut random, mut text, mut all) = (Random(1), String::new(), Vec::new());
        for _ in 0..1000 {
            texts.write(&mut random, &mut text);
            all.push(text.clone());
        }
        let whole = all.iter().filter(|text| text.starts_with(LANGUAGE.heads) && text.ends_with(LANGUAGE.tail)).count();
        assert!((700..980).contains(&whole), "{whole}");
        all.sort_unstable();
        all.dedup();
        assert!(all.len() > 150, "{}", all.len());
    }
}
