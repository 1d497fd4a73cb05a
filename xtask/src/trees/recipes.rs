//! The trees that can be made. Several small ones rather than one large: each run of a sandbox packs and loads its layers.

/// What a tree is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recipe {
    /// Its name, and that of its directory.
    pub(super) name: &'static str,
    /// What it is for.
    pub(super) about: &'static str,
    /// Debian's packages, without those that they depend on.
    pub(super) packages: &'static [&'static str],
    /// Links that maintainer scripts would have made: where, and to what.
    pub(super) links: &'static [(&'static str, &'static str)],
    /// What is taken of a source package.
    pub(super) source: Option<Source>,
}

/// A part of a source package.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    /// The package.
    pub(super) package: &'static str,
    /// A directory of its original archive, which is laid out,
    pub(super) directory: &'static str,
    /// below this one of the tree.
    pub(super) into: &'static str,
    /// Directories of the tree whose files appear, the later over the earlier ones,
    pub(super) merged: &'static [&'static str],
    /// here as well.
    pub(super) merged_into: &'static str,
}

/// What every tree begins with: users, groups and the layout of directories come with these.
pub(super) const EVERYWHERE: [&str; 3] = ["base-files", "base-passwd", "libc-bin"];

/// awk is one of several; so are pagers and editors, which nothing here needs.
const AWK: (&str, &str) = ("usr/bin/awk", "mawk");
/// Debian's dash makes this link in its script.
const SH: (&str, &str) = ("usr/bin/sh", "dash");

/// All of them.
pub(super) const RECIPES: &[Recipe] = &[
    Recipe {
        name: "shell",
        about: "shells, coreutils, busybox, find, grep, sed, awk, tar, gzip, bzip2, xz, make, sqlite3, openssl",
        packages: &[
            "busybox",
            "coreutils",
            "dash",
            "bash",
            "findutils",
            "grep",
            "sed",
            "gawk",
            "mawk",
            "tar",
            "gzip",
            "bzip2",
            "xz-utils",
            "diffutils",
            "procps",
            "util-linux",
            "make",
            "bc",
            "sqlite3",
            "openssl",
            "hostname",
            "debianutils",
        ],
        links: &[SH, AWK],
        source: None,
    },
    Recipe {
        name: "crun",
        about: "crun, which writes OCI's config.json, with dash and busybox",
        packages: &["crun", "busybox", "dash"],
        links: &[SH],
        source: None,
    },
    Recipe {
        name: "perl",
        about: "perl with its modules, and its core tests",
        packages: &["perl", "coreutils", "dash"],
        links: &[SH],
        // The tests look for modules in ../lib, as they are while perl is built.
        source: Some(Source {
            package: "perl",
            directory: "t",
            into: "usr/src/perl",
            merged: &[
                "usr/lib/x86_64-linux-gnu/perl-base",
                "usr/share/perl/5.36.0",
                "usr/lib/x86_64-linux-gnu/perl/5.36.0",
            ],
            merged_into: "usr/src/perl/lib",
        }),
    },
    Recipe {
        name: "python",
        about: "python3 with venv and sqlite3, its library compiled, and its own test suite",
        packages: &["python3", "python3-venv", "libpython3.11-testsuite", "coreutils", "dash"],
        links: &[SH],
        source: None,
    },
    Recipe {
        name: "gcc",
        about: "gcc, binutils, make, glibc's and musl's headers",
        packages: &["gcc", "libc6-dev", "make", "musl-tools", "coreutils", "dash", "grep"],
        links: &[SH],
        source: None,
    },
    Recipe {
        name: "git",
        about: "git with what its scripts need",
        packages: &["git", "coreutils", "dash", "sed", "grep", "gzip"],
        links: &[SH],
        source: None,
    },
    Recipe {
        name: "net",
        about: "redis, nginx and curl",
        packages: &["redis-server", "redis-tools", "nginx-light", "curl", "coreutils", "dash", "sed", "grep", "procps"],
        links: &[SH],
        source: None,
    },
    Recipe { name: "node", about: "node", packages: &["nodejs", "coreutils", "dash"], links: &[SH], source: None },
    Recipe {
        name: "java",
        about: "OpenJDK 17 without a compiler",
        packages: &["openjdk-17-jre-headless", "coreutils", "dash"],
        links: &[SH, ("usr/bin/java", "../lib/jvm/java-17-openjdk-amd64/bin/java")],
        source: None,
    },
    Recipe {
        name: "go",
        about: "programs that are written in Go: gron, fzf, shfmt",
        packages: &["gron", "fzf", "shfmt", "coreutils", "dash"],
        links: &[SH],
        source: None,
    },
    Recipe {
        name: "stress",
        about: "stress-ng",
        packages: &["stress-ng", "coreutils", "dash", "grep", "sed"],
        links: &[SH],
        source: None,
    },
];

/// Packages that others depend on only to be set up, shown or maintained.
pub(super) const LEFT_OUT_PACKAGES: &[&str] = &[
    "adduser",
    "ca-certificates",
    "ca-certificates-java",
    "debconf",
    "dpkg",
    "fontconfig-config",
    "fonts-dejavu-core",
    "gcc-12-base",
    "init-system-helpers",
    "iproute2",
    "libasan8",
    "libasound2",
    "libasound2-data",
    "libavahi-client3",
    "libavahi-common-data",
    "libavahi-common3",
    "libcc1-0",
    "libcups2",
    "libgprofng0",
    "libitm1",
    "liblsan0",
    "libpam-modules",
    "libpam-modules-bin",
    "libpam-runtime",
    "libsemanage-common",
    "libsemanage2",
    "libsepol2",
    "libtsan2",
    "libubsan1",
    "lsb-base",
    "media-types",
    "net-tools",
    "passwd",
    "sensible-utils",
    "tzdata",
    "usr-is-merged",
    "util-linux-extra",
    "xkb-data",
];

/// Parts of packages that no program needs to run: documentation, translations, and pieces of gcc for what is not tried here
/// (tar's patterns; `*` matches slashes too).
pub(super) const LEFT_OUT_FILES: &[&str] = &[
    "./usr/share/doc/*",
    "./usr/share/man/*",
    "./usr/share/info/*",
    "./usr/share/locale/*",
    "./usr/share/lintian/*",
    "./usr/share/bug/*",
    "./usr/share/i18n/*",
    "./usr/share/bash-completion/*",
    "./usr/share/zsh/*",
    "./usr/share/gdb/*",
    "./usr/share/icons/*",
    "./usr/share/applications/*",
    "./usr/share/pixmaps/*",
    "./lib/systemd/*",
    "./usr/lib/systemd/*",
    "./usr/lib/x86_64-linux-gnu/gconv/*",
    "./usr/lib/gcc/*san*.a",
    "./usr/lib/gcc/*/lto1",
    "./usr/lib/gcc/*/libitm.a",
    "./usr/lib/gcc/*/libquadmath.a",
    "./usr/bin/*lto-dump*",
    "./usr/bin/*gprofng*",
    "./usr/bin/gp-*",
    "./usr/bin/*-dwp",
    "./usr/share/perl/*.pod",
    "./usr/share/python-wheels/*.txt",
    "./var/cache/*",
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<&str> = RECIPES.iter().map(|recipe| recipe.name).collect();
        assert_eq!(names.len(), RECIPES.len());
    }
}
