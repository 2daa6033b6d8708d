//! Owns what cgroups are called: `kubepods[/burstable|/besteffort]/podUID`, or the slices of systemd
//! that say the same. Pure.

use std::path::PathBuf;

use crate::config::CgroupDriver;
use crate::spec::Qos;

/// How cgroups are called on this host.
#[derive(Debug, Clone)]
pub struct Names {
    driver: CgroupDriver,
    root: String,
}

impl Names {
    /// Names below `root`, as `driver` wants them.
    pub fn new(driver: CgroupDriver, root: &str) -> Self {
        Self { driver, root: root.to_owned() }
    }

    /// Who makes them.
    pub fn driver(&self) -> CgroupDriver {
        self.driver
    }

    /// The steps to the cgroup of a class; guaranteed pods are right below the root.
    pub fn tier(&self, qos: Qos) -> Vec<String> {
        let mut steps = vec![self.root.clone()];
        steps.extend(match qos {
            Qos::Guaranteed => None,
            Qos::Burstable => Some("burstable".to_owned()),
            Qos::BestEffort => Some("besteffort".to_owned()),
        });
        steps
    }

    /// The steps to a pod's cgroup.
    pub fn pod(&self, qos: Qos, uid: &str) -> Vec<String> {
        let mut steps = self.tier(qos);
        steps.push(format!("pod{uid}"));
        steps
    }

    /// A cgroup as the CRI wants to have it: an absolute path, or the name of a slice.
    pub fn parent(&self, steps: &[String]) -> String {
        match self.driver {
            CgroupDriver::Cgroupfs => format!("/{}", steps.join("/")),
            CgroupDriver::Systemd => slice(steps),
        }
    }

    /// Where a cgroup lies below a mount.
    pub fn path(&self, steps: &[String]) -> PathBuf {
        match self.driver {
            CgroupDriver::Cgroupfs => steps.iter().collect(),
            CgroupDriver::Systemd => (1..=steps.len()).map(|length| slice(&steps[..length])).collect(),
        }
    }

    /// The UID of the pod whose cgroup is called `name` within the cgroup at `steps`.
    pub fn uid(&self, steps: &[String], name: &str) -> Option<String> {
        match self.driver {
            CgroupDriver::Cgroupfs => name.strip_prefix("pod").map(str::to_owned),
            CgroupDriver::Systemd => {
                let prefix = format!("{}-pod", slice(steps).strip_suffix(".slice")?);
                Some(name.strip_suffix(".slice")?.strip_prefix(&prefix)?.replace('_', "-"))
            }
        }
    }
}

/// The slice at the end of `steps`. A dash in a slice's name is a level, so those of a step are bent.
pub fn slice(steps: &[String]) -> String {
    let escaped: Vec<_> = steps.iter().map(|step| step.replace('-', "_")).collect();
    format!("{}.slice", escaped.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "12345678-9abc-def0";

    #[test]
    fn folders_are_nested_by_class() {
        let names = Names::new(CgroupDriver::Cgroupfs, "kubepods");
        assert_eq!(names.parent(&names.pod(Qos::Guaranteed, UID)), "/kubepods/pod12345678-9abc-def0");
        assert_eq!(names.parent(&names.pod(Qos::Burstable, UID)), "/kubepods/burstable/pod12345678-9abc-def0");
        assert_eq!(
            names.path(&names.pod(Qos::BestEffort, UID)),
            PathBuf::from("kubepods/besteffort/pod12345678-9abc-def0")
        );
    }

    #[test]
    fn slices_say_all_levels() {
        let names = Names::new(CgroupDriver::Systemd, "kubepods");
        let pod = names.pod(Qos::Burstable, UID);
        assert_eq!(names.parent(&pod), "kubepods-burstable-pod12345678_9abc_def0.slice");
        assert_eq!(
            names.path(&pod),
            PathBuf::from("kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod12345678_9abc_def0.slice")
        );
        assert_eq!(names.parent(&names.pod(Qos::Guaranteed, "a")), "kubepods-poda.slice");
    }

    #[test]
    fn pods_are_found_again() {
        for driver in [CgroupDriver::Systemd, CgroupDriver::Cgroupfs] {
            let names = Names::new(driver, "kubepods-b");
            for qos in Qos::ALL {
                let path = names.path(&names.pod(qos, UID));
                let name = path.file_name().unwrap().to_str().unwrap();
                assert_eq!(names.uid(&names.tier(qos), name).as_deref(), Some(UID));
            }
            assert_eq!(names.uid(&names.tier(Qos::Guaranteed), "burstable"), None);
        }
    }
}
