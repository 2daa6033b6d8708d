//! Decides what a container has mounted from outside: binds, volumes, those of its image, and those
//! of other containers.

use std::collections::HashMap;

use bollard::models::{HostConfig, Mount, MountPoint, MountType};

use crate::error::{Error, Result};

/// Something to mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Where.
    pub target: String,
    /// What.
    pub source: Source,
    /// May it be written?
    pub rw: bool,
    /// The options as they were written.
    pub mode: String,
    /// How mounts below it spread.
    pub propagation: String,
    /// Is a new volume filled with what is at this place in the image?
    pub copy: bool,
    /// Labels of a new volume.
    pub labels: HashMap<String, String>,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A path of the host; it is made when it is not there, if asked to.
    Bind {
        /// The path.
        path: String,
        /// Make it?
        create: bool,
    },
    /// A volume of this name, or a new one for this container alone.
    Volume(Option<String>),
}

/// All that `host` and `volumes` (of the image and of the request) ask for, each place once.
pub fn asked(host: &HostConfig, volumes: &[String]) -> Result<Vec<Asked>> {
    let mut all: Vec<Asked> = Vec::new();
    for text in host.binds.iter().flatten() {
        add(&mut all, bind(text)?)?;
    }
    for mount in host.mounts.iter().flatten() {
        if let Some(asked) = structured(mount)? {
            add(&mut all, asked)?;
        }
    }
    let taken_by_tmpfs = |target: &str| host.tmpfs.as_ref().is_some_and(|tmpfs| tmpfs.contains_key(target));
    for target in volumes {
        let target = clean(target)?;
        if !taken_by_tmpfs(&target) && !all.iter().any(|other| other.target == target) {
            all.push(Asked { source: Source::Volume(None), ..at(target) });
        }
    }
    Ok(all)
}

fn add(all: &mut Vec<Asked>, one: Asked) -> Result<()> {
    if all.iter().any(|other| other.target == one.target) {
        return Err(Error::Invalid(format!("Duplicate mount point: {}", one.target)));
    }
    all.push(one);
    Ok(())
}

fn at(target: String) -> Asked {
    Asked {
        target,
        source: Source::Volume(None),
        rw: true,
        mode: String::new(),
        propagation: String::new(),
        copy: true,
        labels: HashMap::new(),
    }
}

/// A place inside, absolute and without detours.
fn clean(target: &str) -> Result<String> {
    if !target.starts_with('/') {
        return Err(Error::Invalid(format!("invalid mount path: '{target}' mount path must be absolute")));
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        return Err(Error::Invalid("invalid specification: destination can't be '/'".to_owned()));
    }
    Ok(format!("/{}", parts.join("/")))
}

/// `SOURCE:TARGET[:OPTIONS]`, as `--volume` has it.
fn bind(text: &str) -> Result<Asked> {
    let invalid = || Error::Invalid(format!("invalid volume specification: '{text}'"));
    let fields: Vec<&str> = text.split(':').collect();
    let (source, target, mode) = match fields.as_slice() {
        [target] => ("", *target, ""),
        [source, target] => (*source, *target, ""),
        [source, target, mode] => (*source, *target, *mode),
        _ => return Err(invalid()),
    };
    let mut asked = at(clean(target).map_err(|_| invalid())?);
    asked.source = match source {
        "" => Source::Volume(None),
        path if path.starts_with('/') => Source::Bind { path: clean_source(path), create: true },
        name => Source::Volume(Some(volume_name(name)?.to_owned())),
    };
    asked.mode = mode.to_owned();
    for word in mode.split(',').filter(|word| !word.is_empty()) {
        match word {
            "ro" => asked.rw = false,
            "rw" | "z" | "Z" | "copy" | "consistent" | "cached" | "delegated" => {}
            "nocopy" => asked.copy = false,
            "shared" | "rshared" | "slave" | "rslave" | "private" | "rprivate" => asked.propagation = word.to_owned(),
            _ => return Err(Error::Invalid(format!("invalid mode: {mode}"))),
        }
    }
    spread(&mut asked)?;
    Ok(asked)
}

fn clean_source(path: &str) -> String {
    if path.len() > 1 { path.trim_end_matches('/').to_owned() } else { path.to_owned() }
}

fn spread(asked: &mut Asked) -> Result<()> {
    let bind = matches!(asked.source, Source::Bind { .. });
    if bind && asked.propagation.is_empty() {
        "rprivate".clone_into(&mut asked.propagation);
    }
    if !bind && !asked.propagation.is_empty() {
        return Err(Error::Invalid(format!("invalid mode: {}", asked.mode)));
    }
    Ok(())
}

/// A mount as `--mount` has it; a tmpfs is made with the spec.
fn structured(mount: &Mount) -> Result<Option<Asked>> {
    let invalid = |why: String| {
        let typ = mount.typ.map(|typ| typ.to_string()).unwrap_or_default();
        Error::Invalid(format!("invalid mount config for type \"{typ}\": {why}"))
    };
    let target = mount.target.as_deref().unwrap_or_default();
    if target.is_empty() {
        return Err(invalid("field Target must not be empty".to_owned()));
    }
    let mut asked = at(clean(target)?);
    asked.rw = !mount.read_only.unwrap_or(false);
    let source = mount.source.as_deref().unwrap_or_default();
    match mount.typ {
        Some(MountType::TMPFS) => return Ok(None),
        Some(MountType::BIND) => {
            let options = mount.bind_options.clone().unwrap_or_default();
            if !source.starts_with('/') {
                return Err(invalid(format!("invalid mount path: '{source}' mount path must be absolute")));
            }
            let create = options.create_mountpoint.unwrap_or(false);
            asked.source = Source::Bind { path: clean_source(source), create };
            asked.propagation = options.propagation.map(|word| word.to_string()).unwrap_or_default();
        }
        Some(MountType::VOLUME) => {
            let options = mount.volume_options.clone().unwrap_or_default();
            if options.subpath.is_some_and(|path| !path.is_empty()) {
                return Err(invalid("a part of a volume cannot be mounted: mount the whole volume".to_owned()));
            }
            asked.copy = !options.no_copy.unwrap_or(false);
            asked.labels = options.labels.unwrap_or_default();
            let name = Some(source).filter(|name| !name.is_empty()).map(volume_name).transpose()?;
            asked.source = Source::Volume(name.map(str::to_owned));
        }
        _ => return Err(invalid("mount type unknown: bind, volume and tmpfs are there".to_owned())),
    }
    spread(&mut asked)?;
    Ok(Some(asked))
}

/// What a volume may be called.
pub fn volume_name(name: &str) -> Result<&str> {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if first && name.len() > 1 && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)) {
        return Ok(name);
    }
    Err(Error::Invalid(format!(
        "create {name}: \"{name}\" includes invalid characters for a local volume name, only \
         \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )))
}

/// Adds the binds and volumes of another container (`--volumes-from NAME[:ro]`) where nothing else
/// is asked for.
pub fn from_other(mine: &mut Vec<MountPoint>, asked: &[Asked], other: &[MountPoint], mode: &str) -> Result<()> {
    let rw = match mode {
        "" | "rw" | "z" | "Z" => true,
        "ro" => false,
        other => return Err(Error::Invalid(format!("invalid mode: {other}"))),
    };
    for point in other {
        let target = point.destination.as_deref();
        let taken = asked.iter().any(|asked| Some(asked.target.as_str()) == target)
            || mine.iter().any(|point| point.destination.as_deref() == target);
        if !taken {
            mine.push(MountPoint { rw: Some(rw && point.rw.unwrap_or(true)), ..point.clone() });
        }
    }
    Ok(())
}

/// How `inspect` shows it, with where it is on the host.
pub fn point(asked: &Asked, source: String, name: Option<String>) -> MountPoint {
    let volume = name.is_some();
    MountPoint {
        typ: Some(if volume { "volume" } else { "bind" }.to_owned()),
        driver: volume.then(|| "local".to_owned()),
        name,
        source: Some(source),
        destination: Some(asked.target.clone()),
        mode: Some(asked.mode.clone()),
        rw: Some(asked.rw),
        propagation: Some(asked.propagation.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binds(list: &[&str], volumes: &[&str]) -> Result<Vec<Asked>> {
        let strings = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        asked(&HostConfig { binds: Some(strings(list)), ..HostConfig::default() }, &strings(volumes))
    }

    #[test]
    fn short_forms() {
        let all = binds(&["/srv:/data:ro,rshared", "cache:/var/cache:nocopy", "/anon"], &[]).unwrap();
        assert_eq!(all[0].source, Source::Bind { path: "/srv".to_owned(), create: true });
        assert_eq!((all[0].rw, all[0].propagation.as_str()), (false, "rshared"));
        assert_eq!((&all[1].source, all[1].copy), (&Source::Volume(Some("cache".to_owned())), false));
        assert_eq!(all[2].source, Source::Volume(None));
    }

    #[test]
    fn volumes_of_the_image_come_last() {
        let all = binds(&["/srv:/data/"], &["/data", "/log"]).unwrap();
        assert_eq!(all.iter().map(|one| one.target.as_str()).collect::<Vec<_>>(), ["/data", "/log"]);
        assert!(matches!(all[0].source, Source::Bind { .. }));
    }

    #[test]
    fn what_makes_no_sense() {
        for bad in ["/a:/b:/c:d", "/a:b", "/a:/", "/a:/b:xx", "a b:/x", "name:/x:shared"] {
            assert!(binds(&[bad], &[]).is_err(), "{bad}");
        }
        assert!(binds(&["/a:/x", "/b:/x/"], &[]).unwrap_err().to_string().contains("Duplicate"));
    }

    #[test]
    fn long_forms() {
        let mount = |typ, source: &str| Mount {
            typ: Some(typ),
            source: Some(source.to_owned()),
            target: Some("/x".to_owned()),
            read_only: Some(true),
            ..Mount::default()
        };
        let bind = structured(&mount(MountType::BIND, "/srv")).unwrap().unwrap();
        assert_eq!((bind.source, bind.rw), (Source::Bind { path: "/srv".to_owned(), create: false }, false));
        assert!(structured(&mount(MountType::BIND, "srv")).is_err());
        assert!(structured(&mount(MountType::TMPFS, "")).unwrap().is_none());
        assert!(structured(&mount(MountType::NPIPE, "x")).is_err());
        assert_eq!(structured(&mount(MountType::VOLUME, "")).unwrap().unwrap().source, Source::Volume(None));
    }

    #[test]
    fn volumes_of_others() {
        let asked = binds(&["/srv:/data"], &[]).unwrap();
        let other = binds(&["/a:/data", "/b:/log"], &[]).unwrap();
        let other: Vec<MountPoint> = other.iter().map(|one| point(one, "/a".to_owned(), None)).collect();
        let mut mine = Vec::new();
        from_other(&mut mine, &asked, &other, "ro").unwrap();
        assert_eq!(mine.len(), 1);
        assert_eq!((mine[0].destination.as_deref(), mine[0].rw), (Some("/log"), Some(false)));
    }
}
