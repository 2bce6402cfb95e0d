//! The memory that this process can still take, on Linux.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

/// Returns the memory, in bytes, that this process can still take, if the system reports it. It is the smallest of three numbers: the
/// available memory of the machine, what its control groups (as of a container) still allow, and what its own limits (`ulimit -v`) still allow.
pub(super) fn available() -> Option<u64> {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let of_machine = in_meminfo(&text("/proc/meminfo"));
    let of_groups = in_groups(&text("/proc/self/cgroup"), Path::new("/sys/fs/cgroup"));
    let of_limits = in_limits(&text("/proc/self/limits"), &text("/proc/self/status"));
    [of_machine, of_groups, of_limits].into_iter().flatten().min()
}

fn in_meminfo(text: &str) -> Option<u64> {
    kilobytes(text, "MemAvailable:")
}

/// The number of a line such as `MemAvailable:  2048 kB`, in bytes.
fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// The files of a control group that limit memory.
///
/// # Source
///
/// Linux, Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
struct Version {
    /// Below the folder of all control groups.
    folder: &'static str,
    /// Exceeding the first ends the process. Above the second of version 2 it is slowed down until it takes less.
    limits: &'static [&'static str],
    used: &'static str,
    /// The pages of files in memory.stat. They are freed before a limit is exceeded, so they do not count as used.
    cache: [&'static str; 2],
}

const SECOND: Version = Version {
    folder: "",
    limits: &["memory.max", "memory.high"],
    used: "memory.current",
    cache: ["active_file", "inactive_file"],
};

const FIRST: Version = Version {
    folder: "memory",
    limits: &["memory.limit_in_bytes"],
    used: "memory.usage_in_bytes",
    cache: ["total_active_file", "total_inactive_file"],
};

impl Version {
    /// The memory that the limits of one group leave. A limit that is not a number does not count.
    fn room(&self, group: &Path) -> Option<u64> {
        let number = |file: &&str| fs::read_to_string(group.join(file)).ok()?.trim().parse::<u64>().ok();
        let limit = self.limits.iter().filter_map(number).min()?;
        let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
        let pages = stat.lines().filter_map(|line| line.split_once(' '));
        let pages = pages.filter(|(name, _)| self.cache.contains(name));
        let cache: u64 = pages.filter_map(|(_, bytes)| bytes.trim().parse::<u64>().ok()).sum();
        Some(limit.saturating_sub(number(&self.used)?.saturating_sub(cache)))
    }
}

/// The memory that the control groups in /proc/self/cgroup leave. The limits of a group hold for the groups in it too.
fn in_groups(text: &str, all: &Path) -> Option<u64> {
    let rooms = text.lines().filter_map(|line| {
        let [_, controllers, group] = line.splitn(3, ':').collect::<Vec<_>>().try_into().ok()?;
        let version = match controllers {
            "" => SECOND,
            _ if controllers.split(',').any(|controller| controller == "memory") => FIRST,
            _ => return None,
        };
        // In a container the path may be that outside, of which only the last group is mounted, in place of the root. A group
        // outside the root begins with `..`.
        let names = Path::new(group).components().filter(|part| matches!(part, Component::Normal(_)));
        let root = all.join(version.folder);
        let group: PathBuf = root.components().chain(names).collect();
        let groups = group.ancestors().take_while(|group| group.starts_with(&root));
        groups.filter_map(|group| version.room(group)).min()
    });
    rooms.min()
}

/// The memory that the limits on the address space and on data leave. Memory that the allocator has reserved and not touched counts as free.
fn in_limits(limits: &str, status: &str) -> Option<u64> {
    let soft = |name: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let data = kilobytes(status, "VmData:")?;
    let reserved = kilobytes(status, "RssAnon:").map_or(0, |touched| data.saturating_sub(touched));
    let room =
        |(name, mapped): (&str, u64)| Some(soft(name)?.saturating_sub(mapped.saturating_sub(reserved)));
    let mapped = [("Max address space", kilobytes(status, "VmSize:")?), ("Max data size", data)];
    mapped.into_iter().filter_map(room).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_the_machine_is_what_is_free_or_can_be_freed() {
        assert_eq!(in_meminfo("MemTotal:  9 kB\nMemAvailable:   2048 kB\n"), Some(2 << 20));
        assert_eq!(in_meminfo("MemTotal:  9 kB\n"), None);
    }

    /// A group with files of these contents.
    fn group(folder: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(folder).unwrap();
        for (name, content) in files {
            fs::write(folder.join(name), content).unwrap();
        }
    }

    #[test]
    fn the_narrowest_group_of_version_2_counts_and_its_cache_is_free() {
        let all = tempfile::tempdir().unwrap();
        let text = "0::/pod/container\n";
        assert_eq!(in_groups(text, all.path()), None);
        let stat = "anon 300\nactive_file 100\ninactive_file 50\nfile 200\n";
        let used = [("memory.current", "500\n"), ("memory.stat", stat)];
        let container = all.path().join("pod/container");
        group(&container, &used);
        group(&container, &[("memory.max", "max\n"), ("memory.high", "max\n")]);
        assert_eq!(in_groups(text, all.path()), None, "no limit");
        group(&container, &[("memory.max", "2000\n")]);
        assert_eq!(in_groups(text, all.path()), Some(2000 - (500 - 150)));
        group(&container, &[("memory.high", "1500\n")]);
        assert_eq!(in_groups(text, all.path()), Some(1500 - (500 - 150)));
        // The group around it.
        group(&all.path().join("pod"), &[("memory.max", "1000\n"), ("memory.current", "900\n")]);
        assert_eq!(in_groups(text, all.path()), Some(100));
        // A group that takes more than it may, as after its limit was lowered.
        group(&all.path().join("pod"), &[("memory.max", "800\n")]);
        assert_eq!(in_groups(text, all.path()), Some(0));
    }

    #[test]
    fn the_root_stands_for_a_group_whose_path_is_that_outside_the_container() {
        let all = tempfile::tempdir().unwrap();
        group(
            &all.path().join("memory"),
            &[
                ("memory.limit_in_bytes", "1000\n"),
                ("memory.usage_in_bytes", "700\n"),
                ("memory.stat", "active_file 7\ntotal_active_file 100\ntotal_inactive_file 200\n"),
            ],
        );
        for path in ["/docker/0123", "/", "/../other"] {
            let text = format!("5:devices:/x\n4:hugetlb,memory:{path}\n0::/\n");
            assert_eq!(in_groups(&text, all.path()), Some(1000 - (700 - 300)), "{path}");
        }
        // The memory of another controller, and no line of the format.
        assert_eq!(in_groups("4:memory_other:/\nmemory\n", all.path()), None);
    }

    #[test]
    fn limits_of_the_process_count_less_what_it_has_mapped_and_not_only_reserved() {
        let status = "VmSize:\t    1100 kB\nVmData:\t    900 kB\nRssAnon:\t      300 kB\n";
        let limits = |space: &str, data: &str| {
            let of = |name, soft| format!("{name:26}{soft:21}unlimited            bytes     \n");
            format!("Limit\n{}{}", of("Max address space", space), of("Max data size", data))
        };
        let room = |space: &str, data: &str| in_limits(&limits(space, data), status);
        assert_eq!(room("unlimited", "unlimited"), None);
        // 600 kB of the 900 are not touched.
        assert_eq!(room("1024000", "unlimited"), Some(1_024_000 - 500 * 1024));
        assert_eq!(room("unlimited", "1024000"), Some(1_024_000 - 300 * 1024));
        assert_eq!(room("1024000", "400000"), Some(400_000 - 300 * 1024));
        assert_eq!(room("1000", "unlimited"), Some(0));
    }
}
