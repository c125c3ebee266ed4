//! The OCI `config.json` of one container: rules S1 to S6 in the words of the runtime specification.

use std::path::{Path, PathBuf};

use landfall_runtime_wire::shim::{BLOCK_SIZE, ShimConfig};
use oci_spec::OciSpecError;
use oci_spec::runtime::{
    LinuxBuilder, LinuxCapabilities, LinuxCapabilitiesBuilder, LinuxCpuBuilder, LinuxIdMapping, LinuxIdMappingBuilder, LinuxMemoryBuilder,
    LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType, LinuxPidsBuilder, LinuxResourcesBuilder, Mount, MountBuilder, PosixRlimit,
    PosixRlimitBuilder, PosixRlimitType, ProcessBuilder, RootBuilder, Spec, SpecBuilder, UserBuilder,
};

use crate::seccomp;

/// Where init is, inside.
pub(crate) const INIT: &str = "/.landfall/init";
/// Open files a process may have, where the host's hard limit allows.
const OPEN_FILES: u64 = 65_536;
/// `/dev/shm`; its pages count as the container's memory.
const SHM_BYTES: u64 = 64 * 1024 * 1024;
/// cgroup's CPU period, in microseconds.
const CPU_PERIOD: u64 = 100_000;

/// A host file or directory and its place inside.
pub(crate) struct Place {
    /// On the host (or in the shim's tmpfs).
    pub(crate) source: PathBuf,
    /// Inside.
    pub(crate) target: PathBuf,
    /// May be executed.
    pub(crate) exec: bool,
}

/// The whole specification.
pub(crate) fn spec(config: &ShimConfig, rootfs: &Path, places: &[Place]) -> Result<Spec, OciSpecError> {
    let user = UserBuilder::default()
        .uid(config.process.uid)
        .gid(config.process.gid)
        .additional_gids(config.process.additional_gids.clone())
        .umask(0o022_u32)
        .build()?;
    let process = ProcessBuilder::default()
        .terminal(false)
        .user(user)
        .args([INIT.to_owned()])
        .env(["PATH=/usr/bin:/bin".to_owned()])
        .cwd("/")
        .no_new_privileges(true)
        .capabilities(no_capabilities()?)
        .rlimits(rlimits()?)
        .build()?;
    let namespaces = [
        LinuxNamespaceType::Pid,
        LinuxNamespaceType::Mount,
        LinuxNamespaceType::Network,
        LinuxNamespaceType::Ipc,
        LinuxNamespaceType::Uts,
        LinuxNamespaceType::Cgroup,
        LinuxNamespaceType::User,
    ];
    let namespaces: Vec<LinuxNamespace> =
        namespaces.into_iter().map(|kind| LinuxNamespaceBuilder::default().typ(kind).build()).collect::<Result<_, _>>()?;
    let mapping: Vec<LinuxIdMapping> =
        vec![LinuxIdMappingBuilder::default().container_id(0_u32).host_id(config.user_base).size(BLOCK_SIZE).build()?];
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
    let linux = LinuxBuilder::default()
        .namespaces(namespaces)
        .uid_mappings(mapping.clone())
        .gid_mappings(mapping)
        .cgroups_path(config.cgroup_parent.join(config.id.as_str()))
        .resources(resources(config)?)
        .seccomp(seccomp::profile(config.oci_runtime.is_none())?)
        .masked_paths(owned(&[
            "/proc/acpi",
            "/proc/asound",
            "/proc/interrupts",
            "/proc/kcore",
            "/proc/keys",
            "/proc/latency_stats",
            "/proc/sched_debug",
            "/proc/scsi",
            "/proc/timer_list",
            "/proc/timer_stats",
            "/sys/devices/virtual/powercap",
            "/sys/firmware",
        ]))
        .readonly_paths(owned(&["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]))
        .build()?;
    SpecBuilder::default()
        .version("1.0.2")
        .hostname(config.hostname.clone())
        .root(RootBuilder::default().path(rootfs).readonly(false).build()?)
        .process(process)
        .mounts(mounts(places)?)
        .linux(linux)
        .build()
}

fn no_capabilities() -> Result<LinuxCapabilities, OciSpecError> {
    use std::collections::HashSet;
    LinuxCapabilitiesBuilder::default()
        .bounding(HashSet::new())
        .effective(HashSet::new())
        .permitted(HashSet::new())
        .inheritable(HashSet::new())
        .ambient(HashSet::new())
        .build()
}

/// Limits are lowered to the host's hard ones, never asked above them.
fn rlimits() -> Result<Vec<PosixRlimit>, OciSpecError> {
    use nix::sys::resource::{Resource, getrlimit};
    let hard = |resource| getrlimit(resource).map_or(1024, |(_, hard)| hard);
    let limit = |kind, soft: u64, hard: u64| PosixRlimitBuilder::default().typ(kind).soft(soft.min(hard)).hard(hard).build();
    Ok(vec![
        limit(PosixRlimitType::RlimitNofile, OPEN_FILES, hard(Resource::RLIMIT_NOFILE).min(1 << 20))?,
        // Not 0: the kernel starts a core_pattern program on the host for 0 too, and for 1 never.
        limit(PosixRlimitType::RlimitCore, 1, 1)?,
    ])
}

fn resources(config: &ShimConfig) -> Result<oci_spec::runtime::LinuxResources, OciSpecError> {
    let limits = &config.limits;
    let mut cpu = LinuxCpuBuilder::default().shares(limits.cpu_shares.max(2));
    if let Some(percent) = limits.cpu_percent {
        cpu = cpu.period(CPU_PERIOD).quota(i64::from(percent.max(1)) * (CPU_PERIOD as i64) / 100);
    }
    let memory = LinuxMemoryBuilder::default().limit(i64::try_from(limits.memory_bytes).unwrap_or(i64::MAX)).build()?;
    let pids = LinuxPidsBuilder::default().limit(i64::try_from(limits.pids).unwrap_or(i64::MAX)).build()?;
    LinuxResourcesBuilder::default().cpu(cpu.build()?).memory(memory).pids(pids).build()
}

fn mounts(places: &[Place]) -> Result<Vec<Mount>, OciSpecError> {
    let kernel = |target: &str, kind: &str, options: &[&str]| {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        MountBuilder::default().destination(target).typ(kind).source(kind).options(options).build()
    };
    let shm = format!("size={SHM_BYTES}");
    let mut mounts = vec![
        kernel("/proc", "proc", &["nosuid", "noexec", "nodev"])?,
        kernel("/dev", "tmpfs", &["nosuid", "noexec", "strictatime", "mode=755", "size=65536k"])?,
        kernel("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"])?,
        kernel("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", &shm])?,
        kernel("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"])?,
        kernel("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"])?,
    ];
    for place in places {
        let mut options = vec!["bind".to_owned(), "ro".to_owned(), "nosuid".to_owned(), "nodev".to_owned()];
        if !place.exec {
            options.push("noexec".to_owned());
        }
        mounts.push(MountBuilder::default().destination(&place.target).typ("bind").source(&place.source).options(options).build()?);
    }
    Ok(mounts)
}
