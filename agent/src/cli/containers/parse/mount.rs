//! Owns `--mount`: `type=bind,source=/a,target=/b,readonly` and its like.

use std::collections::HashMap;

use bollard::models::{
    Mount, MountBindOptions, MountBindOptionsPropagationEnum as Propagation, MountTmpfsOptions, MountType,
    MountVolumeOptions, MountVolumeOptionsDriverConfig,
};

use keelson_containers::words;

/// One mount.
pub fn mount(text: &str) -> Result<Mount, String> {
    let mut mount = Mount { typ: Some(MountType::VOLUME), ..Mount::default() };
    let mut bind = None::<MountBindOptions>;
    let mut volume = None::<MountVolumeOptions>;
    let mut tmpfs = None::<MountTmpfsOptions>;
    for field in text.split(',') {
        let (key, value) = field.split_once('=').map_or((field, None), |(key, value)| (key, Some(value)));
        let key = key.to_lowercase();
        let wanted = || value.ok_or_else(|| format!("invalid field '{field}' must be a key=value pair"));
        match key.as_str() {
            "readonly" | "ro" => mount.read_only = Some(boolean(&key, value)?),
            "volume-nocopy" => volume.get_or_insert_default().no_copy = Some(boolean(&key, value)?),
            "bind-nonrecursive" => bind.get_or_insert_default().non_recursive = Some(boolean(&key, value)?),
            "type" => mount.typ = Some(kind(wanted()?)?),
            "source" | "src" => mount.source = Some(wanted()?.to_owned()),
            "target" | "dst" | "destination" => mount.target = Some(wanted()?.to_owned()),
            "consistency" => mount.consistency = Some(wanted()?.to_lowercase()),
            "bind-propagation" => bind.get_or_insert_default().propagation = Some(propagation(wanted()?)?),
            "bind-recursive" => recursive(bind.get_or_insert_default(), wanted()?)?,
            "volume-subpath" => volume.get_or_insert_default().subpath = Some(wanted()?.to_owned()),
            "volume-label" => {
                let (key, value) = wanted()?.split_once('=').unwrap_or((wanted()?, ""));
                let labels = volume.get_or_insert_default().labels.get_or_insert_default();
                labels.insert(key.to_owned(), value.to_owned());
            }
            "volume-driver" => driver(&mut volume).name = Some(wanted()?.to_owned()),
            "volume-opt" => {
                let (key, value) = wanted()?.split_once('=').unwrap_or((wanted()?, ""));
                driver(&mut volume).options.get_or_insert_with(HashMap::new).insert(key.to_owned(), value.to_owned());
            }
            "tmpfs-size" => {
                let bytes = words::size(wanted()?)
                    .map_err(|_| format!("invalid value for {key}: {}", value.unwrap_or_default()))?;
                tmpfs.get_or_insert_default().size_bytes = Some(bytes);
            }
            "tmpfs-mode" => {
                let mode = i64::from_str_radix(wanted()?, 8)
                    .map_err(|_| format!("invalid value for {key}: {}", value.unwrap_or_default()))?;
                tmpfs.get_or_insert_default().mode = Some(mode);
            }
            _ if value.is_none() => return Err(format!("invalid field '{field}' must be a key=value pair")),
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
    }
    check(&mount, bind.is_some(), volume.is_some(), tmpfs.is_some())?;
    (mount.bind_options, mount.volume_options, mount.tmpfs_options) = (bind, volume, tmpfs);
    Ok(mount)
}

fn check(mount: &Mount, bind: bool, volume: bool, tmpfs: bool) -> Result<(), String> {
    if mount.target.as_deref().is_none_or(str::is_empty) {
        return Err("target is required".to_owned());
    }
    let typ = mount.typ.unwrap_or(MountType::VOLUME);
    for (given, owner, name) in [
        (bind, MountType::BIND, "bind-*"),
        (volume, MountType::VOLUME, "volume-*"),
        (tmpfs, MountType::TMPFS, "tmpfs-*"),
    ] {
        if given && typ != owner {
            return Err(format!("cannot mix '{name}' options with mount type '{typ}'"));
        }
    }
    if typ == MountType::BIND && mount.source.as_deref().is_none_or(str::is_empty) {
        return Err("source is required when specifying mount type 'bind'".to_owned());
    }
    Ok(())
}

fn driver(volume: &mut Option<MountVolumeOptions>) -> &mut MountVolumeOptionsDriverConfig {
    volume.get_or_insert_default().driver_config.get_or_insert_default()
}

fn kind(text: &str) -> Result<MountType, String> {
    match text.to_lowercase().as_str() {
        "bind" => Ok(MountType::BIND),
        "volume" => Ok(MountType::VOLUME),
        "tmpfs" => Ok(MountType::TMPFS),
        other => Err(format!("mount type '{other}' is not one of bind, volume, tmpfs")),
    }
}

fn propagation(text: &str) -> Result<Propagation, String> {
    match text.to_lowercase().as_str() {
        "private" => Ok(Propagation::PRIVATE),
        "rprivate" => Ok(Propagation::RPRIVATE),
        "shared" => Ok(Propagation::SHARED),
        "rshared" => Ok(Propagation::RSHARED),
        "slave" => Ok(Propagation::SLAVE),
        "rslave" => Ok(Propagation::RSLAVE),
        other => Err(format!("invalid propagation mode: {other}")),
    }
}

fn recursive(bind: &mut MountBindOptions, text: &str) -> Result<(), String> {
    match text {
        "enabled" => {}
        "disabled" => bind.non_recursive = Some(true),
        "writable" => bind.read_only_non_recursive = Some(true),
        "readonly" => bind.read_only_force_recursive = Some(true),
        other => {
            return Err(format!(
                "invalid value for bind-recursive: {other} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
            ));
        }
    }
    Ok(())
}

fn boolean(key: &str, value: Option<&str>) -> Result<bool, String> {
    match value {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(other) => Err(format!("invalid value for {key}: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bind() {
        let mount = mount("type=bind,src=/a,dst=/b,ro,bind-propagation=rslave").unwrap();
        assert_eq!(mount.typ, Some(MountType::BIND));
        assert_eq!((mount.source.as_deref(), mount.target.as_deref()), (Some("/a"), Some("/b")));
        assert_eq!(mount.read_only, Some(true));
        assert_eq!(mount.bind_options.unwrap().propagation, Some(Propagation::RSLAVE));
    }

    #[test]
    fn volumes_and_tmpfs() {
        let volume = mount("source=data,target=/b,volume-nocopy,readonly=false").unwrap();
        assert_eq!((volume.typ, volume.read_only), (Some(MountType::VOLUME), Some(false)));
        assert_eq!(volume.volume_options.unwrap().no_copy, Some(true));
        let tmpfs = mount("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770").unwrap().tmpfs_options.unwrap();
        assert_eq!((tmpfs.size_bytes, tmpfs.mode), (Some(1 << 20), Some(0o1770)));
    }

    #[test]
    fn mistakes_are_named() {
        let why = |text| mount(text).unwrap_err();
        assert_eq!(why("type=bind,src=/a"), "target is required");
        assert_eq!(why("type=bind,target=/a"), "source is required when specifying mount type 'bind'");
        assert_eq!(why("target=/a,foo=1"), "unexpected key 'foo' in 'foo=1'");
        assert_eq!(why("target=/a,foo"), "invalid field 'foo' must be a key=value pair");
        assert_eq!(
            why("type=bind,src=/a,target=/a,volume-nocopy"),
            "cannot mix 'volume-*' options with mount type 'bind'"
        );
        assert_eq!(why("target=/a,ro=x"), "invalid value for ro: x");
        assert!(why("type=foo,target=/a").contains("mount type 'foo'"));
    }
}
