//! Names and paths of an archive.
use crate::limits;
use crate::{Kind, Path};

/// What whiteouts begin with.
pub(crate) const WHITEOUT: &[u8] = b".wh.";
/// What AUFS' own files begin with; all but the opaque mark mean nothing here.
const AUFS: &[u8] = b".wh..wh.";
/// The mark of an opaque directory.
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";

/// The names of a path. Leading slashes, empty names and `.` mean nothing, as to every tar.
pub(crate) fn split(path: &[u8]) -> Result<Path, &'static str> {
    if path.contains(&0) {
        return Err("there is a NUL in the name");
    }
    if path.len() > limits::PATH {
        return Err("the name is too long");
    }
    let mut names = Path::new();
    for name in path.split(|&byte| byte == b'/').filter(|name| !matches!(*name, b"" | b".")) {
        if name == b".." {
            return Err("the name leads out of the layer by `..`");
        }
        if name.len() > limits::NAME {
            return Err("a part of the name is too long");
        }
        names.push(name.to_vec());
    }
    if names.len() > limits::DEPTH {
        return Err("the directories are nested too deep");
    }
    Ok(names)
}

/// Checks the target of a symbolic link. Where it leads is decided in the sandbox, where nothing is above the root.
pub(crate) fn check_target(target: &[u8]) -> Result<(), &'static str> {
    if target.is_empty() {
        return Err("the link points nowhere");
    }
    if target.contains(&0) || target.len() > limits::PATH {
        return Err("the link's target cannot be one");
    }
    Ok(())
}

/// Whether a name is one of the layer format's own.
pub(crate) fn is_mark(name: &[u8]) -> bool {
    name.starts_with(WHITEOUT)
}

/// What a path stands for by its last name.
pub(crate) enum Marked {
    /// A file of that name.
    Plain(Path),
    /// The absence of something ([`Kind::Whiteout`] or [`Kind::Opaque`]) at this path.
    Mark(Path, Kind),
    /// Nothing: AUFS' own.
    Ignored,
}

/// Looks for the marks of the layer format in a path.
pub(crate) fn marks(mut path: Path) -> Result<Marked, &'static str> {
    let Some(last) = path.pop() else { return Ok(Marked::Plain(path)) };
    if last == OPAQUE && !path.iter().any(|name| name.starts_with(WHITEOUT)) {
        return Ok(Marked::Mark(path, Kind::Opaque));
    }
    if last.starts_with(AUFS) || path.iter().any(|name| name.starts_with(AUFS)) {
        return Ok(Marked::Ignored);
    }
    if path.iter().any(|name| name.starts_with(WHITEOUT)) {
        return Err("a whiteout has no files in it");
    }
    let Some(hidden) = last.strip_prefix(WHITEOUT) else {
        path.push(last);
        return Ok(Marked::Plain(path));
    };
    if matches!(hidden, b"" | b"." | b"..") {
        return Err("the whiteout is of no file");
    }
    path.push(hidden.to_vec());
    Ok(Marked::Mark(path, Kind::Whiteout))
}
