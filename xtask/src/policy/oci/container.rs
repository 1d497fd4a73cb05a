//! Which entries of Docker's profiles count: those that are meant for a container with certain capabilities, a processor, or a newer kernel.
use super::super::options::ContainerOptions;
use policy::did_you_mean;
use serde::Deserialize;
use std::path::PathBuf;

/// Every capability (capabilities(7)).
const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];
/// What stands for all of them.
const ALL: &str = "CAP_ALL";

/// A capability as Docker's command line has it: in any case, with `CAP_` or without it.
pub(in crate::policy) fn capability(text: &str) -> Result<String, String> {
    let upper = text.to_ascii_uppercase();
    let name = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
    if name == ALL || CAPABILITIES.contains(&name.as_str()) {
        return Ok(name);
    }
    Err(format!("there is no such capability{}", did_you_mean(&name, CAPABILITIES.into_iter())))
}

/// What others' policies mean here: what Docker's includes and excludes are judged by, and where files are that they include.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Container {
    /// Names as in capabilities(7).
    pub(crate) capabilities: Vec<String>,
    /// The kernel's version, its first two numbers.
    pub(crate) kernel: (u32, u32),
    /// Folders that are somewhere else here.
    pub(crate) include_map: Vec<(PathBuf, PathBuf)>,
}

impl Default for Container {
    /// What Docker starts unless told otherwise, on the kernel that the sandbox resembles: Debian 12's.
    fn default() -> Self {
        let capabilities = "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP \
                            SETUID SYS_CHROOT";
        let capabilities = capabilities.split_whitespace().map(|name| format!("CAP_{name}")).collect();
        Self { capabilities, kernel: (6, 1), include_map: Vec::new() }
    }
}

impl Container {
    /// The usual one with the capabilities that the command line adds and drops.
    pub(crate) fn with(options: &ContainerOptions) -> Self {
        let ContainerOptions { cap_add: added, cap_drop: dropped, include_map } = options;
        let mut container = Self { include_map: include_map.clone(), ..Self::default() };
        let has = |names: &[String], name: &str| names.iter().any(|one| one == name);
        if has(added, ALL) {
            container.capabilities = CAPABILITIES.map(str::to_owned).to_vec();
        } else if has(dropped, ALL) {
            container.capabilities.clear();
        }
        container.capabilities.retain(|name| !has(dropped, name));
        container.capabilities.extend(added.iter().filter(|name| *name != ALL).cloned());
        container
    }

    /// Whether an entry is meant for such a container on this processor.
    pub(super) fn applies(&self, includes: Option<&Filter>, excludes: Option<&Filter>) -> Result<bool, String> {
        let arch = |arches: &Vec<String>| arches.iter().any(|arch| arch == "amd64");
        let capability = |name: &String| self.capabilities.contains(name);
        let kernel =
            |filter: &Filter| filter.min_kernel.as_deref().map(|version| self.is_new_enough(version)).transpose();
        let excluded = match excludes {
            None => false,
            Some(filter) => {
                filter.arches.as_ref().is_some_and(arch)
                    || filter.caps.iter().flatten().any(capability)
                    || kernel(filter)?.unwrap_or(false)
            }
        };
        let included = match includes {
            None => true,
            Some(filter) => {
                filter.arches.as_ref().is_none_or(|arches| arches.is_empty() || arch(arches))
                    && filter.caps.iter().flatten().all(capability)
                    && kernel(filter)?.unwrap_or(true)
            }
        };
        Ok(included && !excluded)
    }

    /// Whether the container's kernel is this version or newer.
    fn is_new_enough(&self, version: &str) -> Result<bool, String> {
        let numbers =
            version.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let numbers: (u32, u32) =
            numbers.ok_or_else(|| format!("`minKernel` is two numbers, such as \"4.8\", not {version:?}"))?;
        Ok(numbers <= self.kernel)
    }
}

/// Docker's condition on where a profile is used.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Filter {
    arches: Option<Vec<String>>,
    caps: Option<Vec<String>>,
    min_kernel: Option<String>,
}

impl Filter {
    /// What it asks for, if it does.
    pub(super) fn text(&self) -> Option<String> {
        let list = |key: &str, names: &Option<Vec<String>>| {
            let names = names.as_ref().filter(|names| !names.is_empty())?;
            Some(format!("{key} {}", names.join(" ")))
        };
        let kernel = self.min_kernel.as_ref().map(|version| format!("minKernel {version}"));
        let all = [list("caps", &self.caps), kernel, list("arches", &self.arches)];
        let all: Vec<String> = all.into_iter().flatten().collect();
        (!all.is_empty()).then(|| all.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_adds_and_drops_capabilities() {
        let with = |add: &[&str], drop: &[&str]| {
            let [cap_add, cap_drop] =
                [add, drop].map(|names| names.iter().map(|name| capability(name).unwrap()).collect());
            Container::with(&ContainerOptions { cap_add, cap_drop, ..ContainerOptions::default() }).capabilities
        };
        assert_eq!(with(&["sys_admin"], &["ALL"]), ["CAP_SYS_ADMIN"]);
        assert!(!with(&[], &["CAP_CHOWN"]).contains(&"CAP_CHOWN".to_owned()));
        assert!(with(&[], &["CAP_CHOWN"]).contains(&"CAP_KILL".to_owned()));
        // As Docker's command line means it.
        assert_eq!(with(&["ALL"], &["all"]).len(), CAPABILITIES.len());
        assert_eq!(with(&["all"], &["SYS_ADMIN", "kill"]).len(), CAPABILITIES.len() - 2);
        assert_eq!(capability("SYSADMIN").unwrap_err(), "there is no such capability; did you mean `CAP_SYS_ADMIN`?");
    }
}
