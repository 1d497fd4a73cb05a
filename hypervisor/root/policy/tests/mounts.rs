//! `[root]` and `[[bind]]`: what is read, how files come together, and what is refused where.
use policy::mounts::{BindMode, MAX_BINDS};
use policy::{File, parse, parse_files};

#[test]
fn files_of_the_host_are_named_with_the_file_that_names_them() {
    let first = "version = 1\ninclude = [\"b\"]\n[[bind]]\nhost = \"x\"\nat = \"/x//y\"\nmode = \"cow\"\nmerge = true\nexcept = [\"/a/b/\"]\n";
    let second = "version = 1\n[root]\npath = \"rootfs\"\n[[bind]]\nhost = \"/z\"\nat = \"/z\"\n";
    let policy = parse_files(&[File::new("a", first), File::new("b", second)]).unwrap();
    let mounts = policy.mounts();
    let root = mounts.root.as_ref().unwrap();
    assert_eq!((root.path.as_str(), root.file), ("rootfs", 1));
    let [x, z] = mounts.binds.as_slice() else { panic!("{mounts:?}") };
    assert_eq!((x.host.path.as_str(), x.host.file, x.at.as_str(), x.mode), ("x", 0, "/x//y", BindMode::CopyOnWrite));
    assert_eq!((x.merge, x.except.as_slice()), (true, ["a/b".to_owned()].as_slice()));
    assert_eq!((z.host.file, z.mode, z.merge), (1, BindMode::ReadOnly, false));
}

#[test]
fn what_cannot_be_is_refused_with_its_place() {
    for (line, column, why) in [
        ("root = 3", 8, "`root` must be a table"),
        ("root = {}", 8, "`[root]` has no `path`"),
        ("root = { path = \"\" }", 17, "`path` names no folder"),
        ("root = { path = \"a\", readonly = true }", 22, "unknown key `readonly`"),
        ("bind = 3", 8, "`bind` must be written as"),
        ("bind = [3]", 9, "`bind` must be a table"),
        ("bind = [{ at = \"/a\" }]", 9, "this bind has no `host`"),
        ("bind = [{ host = \"a\" }]", 9, "this bind has no `at`"),
        ("bind = [{ host = \"a\\u0000\", at = \"/a\" }]", 18, "has a NUL in it"),
        ("bind = [{ host = \"a\", at = \"a\" }]", 28, "`at` must be an absolute path"),
        ("bind = [{ host = \"a\", at = \"/a/../b\" }]", 28, "`at` must be an absolute path without"),
        ("bind = [{ host = \"a\", at = \"//\" }]", 28, "nothing can be bound over /"),
        ("bind = [{ host = \"a\", at = \"//proc/x\" }]", 28, "nothing can be bound over /"),
        ("bind = [{ host = \"a\", at = \"/a\", mode = \"w\" }]", 41, "`mode` must be \"ro\""),
        ("bind = [{ host = \"a\", at = \"/a\", mode = 1 }]", 41, "`mode` must be \"ro\""),
        ("bind = [{ host = \"a\", at = \"/a\", except = [\"../b\"] }]", 44, "write a path in the folder"),
    ] {
        let error = parse("p", &format!("version = 1\n{line}\n")).unwrap_err();
        assert_eq!((error.line, error.column), (2, column), "{line}: {error}");
        assert!(error.message.contains(why), "{line}: {error}");
    }
    let binds = "[[bind]]\nhost = \"a\"\nat = \"/a\"\n";
    let error = parse("p", &format!("version = 1\n{}", binds.repeat(MAX_BINDS + 1))).unwrap_err();
    assert_eq!((error.line, error.message.as_str()), (50, "more than 16 binds"));
    let half = format!("version = 1\ninclude = [\"b\"]\n{}", binds.repeat(MAX_BINDS / 2 + 1));
    let file = |name, text| File::new(name, text);
    let error = parse_files(&[file("a", half.as_str()), file("b", half.as_str())]).unwrap_err();
    assert_eq!(error.to_string(), "b:1:1: more than 16 binds in all files together");
}
