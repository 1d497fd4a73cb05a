//! Names of files, and patterns for those that are other ones the next time.

/// Whether a path is a folder or in it.
pub(super) fn is_below(path: &[u8], folder: &[u8]) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// The folder that a path is in; of `/` itself.
pub(super) fn parent(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(0) | None => b"/",
        Some(at) => &path[..at],
    }
}

/// The names on the way to a path, the outermost first, and the path.
pub(super) fn above(path: &[u8]) -> Vec<&[u8]> {
    let slashes = path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/');
    slashes.map(|(at, _)| &path[..at]).chain([path]).collect()
}

/// The pattern for a folder and all that is below it.
pub(super) fn below(folder: &[u8]) -> String {
    if folder == b"/" { "/**".to_owned() } else { escaped(folder) + "/**" }
}

/// The pattern for what is in a folder.
pub(super) fn child(folder: &[u8]) -> String {
    if folder == b"/" { "/*".to_owned() } else { escaped(folder) + "/*" }
}

/// A path as a pattern that matches nothing else; what is no UTF-8 in it is any byte.
pub(super) fn escaped(path: &[u8]) -> String {
    let mut pattern = String::new();
    for piece in path.utf8_chunks() {
        for character in piece.valid().chars() {
            if matches!(character, '*' | '?' | '[' | '\\') {
                pattern.push('\\');
            }
            pattern.push(character);
        }
        pattern.extend(piece.invalid().iter().map(|_| '?'));
    }
    pattern
}

/// A path whose last name may be another one the next time.
pub(super) fn guessed(path: &[u8]) -> String {
    let folder = parent(path);
    let name = guessed_name(path.get(folder.len()..).unwrap_or(path).strip_prefix(b"/").unwrap_or(path));
    let folder = if folder == b"/" { String::new() } else { escaped(folder) };
    format!("{folder}/{name}")
}

/// A name that may be another one the next time: of runs of letters and digits that look random only the beginning is kept, and of numbers nothing.
pub(super) fn guessed_name(name: &[u8]) -> String {
    /// Letters of a random part that stay, digits of a number, letters of a random part.
    const KEPT: usize = 3;
    const NUMBER: usize = 3;
    const RANDOM: usize = 6;
    let name = escaped(name);
    let mut guessed = String::new();
    let mut rest = name.as_str();
    while !rest.is_empty() {
        let run = rest.find(|character: char| !character.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(run);
        if word.len() >= NUMBER && word.bytes().all(|byte| byte.is_ascii_digit()) {
            guessed.push('*');
        } else if word.len() >= RANDOM && switches(word) >= 2 {
            guessed.push_str(&word[..KEPT]);
            guessed.push('*');
        } else {
            guessed.push_str(word);
        }
        let next = after.chars().next().map_or(0, char::len_utf8);
        guessed.push_str(&after[..next]);
        rest = &after[next..];
    }
    guessed
}

/// How often small letters, capitals and digits follow one another in a word. A capital at its beginning is none.
fn switches(word: &str) -> usize {
    let class = |byte: &u8| (byte.is_ascii_digit(), byte.is_ascii_uppercase());
    let bytes = word.as_bytes();
    let skipped = usize::from(bytes.first().is_some_and(u8::is_ascii_uppercase));
    bytes.windows(2).skip(skipped).filter(|pair| class(&pair[0]) != class(&pair[1])).count()
}
