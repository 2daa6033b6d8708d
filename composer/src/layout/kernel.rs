//! Owns where the kernel is: libostree reads it from `/usr/lib/modules/VERSION/vmlinuz`, with
//! `initramfs.img` beside it, and fills `/boot` itself.

use super::error::LayoutError;
use super::root::Root;

/// Moves the kernel, its configuration and its symbol map from `/boot` beside its modules, empties
/// `/boot` and drops the links Debian keeps at the top. A root without a kernel is fine.
pub fn place(root: &Root) -> Result<(), LayoutError> {
    for name in root.list("boot")? {
        for (prefix, to) in [("vmlinuz-", "vmlinuz"), ("config-", "config"), ("System.map-", "System.map")] {
            if let Some(version) = name.strip_prefix(prefix) {
                root.rename(&format!("boot/{name}"), &format!("usr/lib/modules/{version}/{to}"))?;
            }
        }
    }
    root.clear("boot")?;
    for link in ["vmlinuz", "vmlinuz.old", "initrd.img", "initrd.img.old"] {
        root.remove(link)?;
    }
    let found = versions(root)?;
    if found.len() > 1 { Err(LayoutError::Kernels { found }) } else { Ok(()) }
}

/// Versions of the kernels under `/usr/lib/modules`, sorted.
fn versions(root: &Root) -> Result<Vec<String>, LayoutError> {
    let mut found = Vec::new();
    for version in root.list("usr/lib/modules")? {
        if root.stat(&format!("usr/lib/modules/{version}/vmlinuz"))?.is_some() {
            found.push(version);
        }
    }
    Ok(found)
}
