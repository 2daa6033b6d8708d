//! Owns `--device`: `HOST[:CONTAINER][:PERMISSIONS]`.

use bollard::models::DeviceMapping;

/// One device.
pub fn device(text: &str) -> Result<DeviceMapping, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (host, container, mode) = match parts.as_slice() {
        [host] => (*host, *host, "rwm"),
        [host, mode] if is_mode(mode) => (*host, *host, *mode),
        [host, container] => (*host, *container, "rwm"),
        [host, container, mode] if is_mode(mode) => (*host, *container, *mode),
        [_, _, mode] => return Err(format!("invalid device mode: {mode}")),
        _ => return Err(format!("invalid device specification: {text}")),
    };
    if !host.starts_with('/') || !container.starts_with('/') {
        return Err(format!("invalid device specification: {text}: paths are absolute"));
    }
    Ok(DeviceMapping {
        path_on_host: Some(host.to_owned()),
        path_in_container: Some(container.to_owned()),
        cgroup_permissions: Some(mode.to_owned()),
    })
}

/// Each of r, w and m at most once.
fn is_mode(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| "rwm".contains(c)) && "rwm".chars().all(|c| text.matches(c).count() <= 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        let of = |text| {
            device(text).map(|device| {
                [device.path_on_host, device.path_in_container, device.cgroup_permissions].map(Option::unwrap).join(" ")
            })
        };
        assert_eq!(of("/dev/sda").as_deref(), Ok("/dev/sda /dev/sda rwm"));
        assert_eq!(of("/dev/sda:r").as_deref(), Ok("/dev/sda /dev/sda r"));
        assert_eq!(of("/dev/sda:/dev/x").as_deref(), Ok("/dev/sda /dev/x rwm"));
        assert_eq!(of("/dev/sda:/dev/x:rm").as_deref(), Ok("/dev/sda /dev/x rm"));
        assert_eq!(of("/dev/sda:/dev/x:rr"), Err("invalid device mode: rr".to_owned()));
        assert!(of("a:b:c:d").is_err() && of("sda").is_err() && of("/dev/a:z").is_err());
    }
}
