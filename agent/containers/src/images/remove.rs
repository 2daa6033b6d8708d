//! `docker rmi` and `docker image prune`: what a name or an id takes with it is decided here, as
//! Docker decides it.

use std::collections::HashSet;

use bollard::models::{ImageDeleteResponseItem, ImagePruneResponse};
use containerd_client::services::v1::Image as Named;

use super::details::Details;
use super::{Images, User, digest_of, reference, unpack};
use crate::error::{Error, Result};
use crate::filters::Filters;

/// What removing takes away.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    /// These names.
    untag: Vec<String>,
    /// And with the last of them the image itself.
    delete: bool,
}

/// What is asked to be removed, and what is known of it.
struct Asked<'a> {
    /// The whole name, or none when it is asked by id.
    name: Option<&'a str>,
    /// The image's id.
    id: &'a str,
    /// All names of the image, whole.
    names: &'a [String],
    /// The containers made from it.
    users: &'a [User],
    /// Whether names of several repositories and stopped containers are no hindrance.
    force: bool,
}

fn short(id: &str) -> &str {
    let digits = id.strip_prefix("sha256:").unwrap_or(id);
    digits.get(..12).unwrap_or(digits)
}

/// Whether all names are one tag of one repository, and digests of the same.
fn one_reference(names: &[String]) -> bool {
    let (digests, tags): (Vec<&String>, Vec<&String>) = names.iter().partition(|name| reference::by_digest(name));
    let repositories: HashSet<&str> =
        digests.iter().chain(&tags).map(|name| reference::familiar_repository(name)).collect();
    names.len() <= 1 || (tags.len() <= 1 && repositories.len() == 1)
}

fn decide(asked: &Asked<'_>) -> Result<Plan> {
    match asked.name {
        Some(name) => decide_name(asked, name),
        None => decide_id(asked),
    }
}

fn decide_name(asked: &Asked<'_>, name: &str) -> Result<Plan> {
    if !asked.force
        && one_reference(asked.names)
        && let Some(user) = asked.users.first()
    {
        return Err(Error::Conflict(format!(
            "conflict: unable to remove repository reference \"{}\" (must force) - container {} is using its \
             referenced image {}",
            reference::familiar(name),
            short(&user.id),
            short(asked.id)
        )));
    }
    let mut untag = vec![name.to_owned()];
    let repository = reference::familiar_repository(name);
    let same = |other: &&String| other.as_str() != name && reference::familiar_repository(other) == repository;
    // Digests go with the last tag of their repository.
    if asked.names.iter().filter(same).all(|other| reference::by_digest(other)) {
        untag.extend(asked.names.iter().filter(same).cloned());
    }
    let last = asked.names.iter().all(|name| untag.contains(name));
    let in_use = asked.users.iter().any(|user| user.running) || (!asked.force && !asked.users.is_empty());
    Ok(Plan { untag, delete: last && !in_use })
}

fn decide_id(asked: &Asked<'_>) -> Result<Plan> {
    let conflict = |how: &str, why: String| {
        Err(Error::Conflict(format!("conflict: unable to delete {} ({how}) - {why}", short(asked.id))))
    };
    if let Some(user) = asked.users.iter().find(|user| user.running) {
        return conflict("cannot be forced", format!("image is being used by running container {}", short(&user.id)));
    }
    if !asked.force {
        if !one_reference(asked.names) {
            return conflict("must be forced", "image is referenced in multiple repositories".to_owned());
        }
        if let Some(user) = asked.users.first() {
            return conflict("must be forced", format!("image is being used by stopped container {}", short(&user.id)));
        }
    }
    Ok(Plan { untag: asked.names.to_vec(), delete: true })
}

fn untagged(name: &str) -> ImageDeleteResponseItem {
    ImageDeleteResponseItem { untagged: Some(reference::familiar(name).to_owned()), deleted: None }
}

fn deleted(id: &str) -> ImageDeleteResponseItem {
    ImageDeleteResponseItem { untagged: None, deleted: Some(id.to_owned()) }
}

impl Images {
    /// The containers made from an image.
    pub(super) fn users_of(&self, id: &str) -> Vec<User> {
        self.users.get().and_then(std::sync::Weak::upgrade).map(|users| users.of_image(id)).unwrap_or_default()
    }

    /// Removes a name, and with its last name or by its id the image.
    pub async fn remove(&self, text: &str, force: bool) -> Result<Vec<ImageDeleteResponseItem>> {
        // Two names of one image, removed at the same time, are not both its last.
        let _alone = self.locks.lock("names").await;
        let all = self.list_named().await?;
        let (id, name) = self.meant(&all, text).await?;
        let named = self.names_of(&all, &id).await;
        let names: Vec<String> =
            named.iter().map(|named| named.name.clone()).filter(|name| !reference::is_dangling(name)).collect();
        let users = self.users_of(&id);
        let plan = decide(&Asked { name: name.as_deref(), id: &id, names: &names, users: &users, force })?;
        let mut report = Vec::new();
        if plan.delete {
            report.extend(plan.untag.iter().map(|name| untagged(name)));
            report.extend(self.delete(&all, &named, &id).await?);
            plan.untag.iter().for_each(|name| self.tell("untag", &id, Some(reference::familiar(name))));
            self.tell("delete", &id, None);
            return Ok(report);
        }
        let lost: Vec<&&Named> = named.iter().filter(|named| !plan.untag.contains(&named.name)).collect();
        if lost.is_empty()
            && let Some(one) = named.first()
        {
            self.keep_nameless(&[], one).await?;
        }
        for name in &plan.untag {
            self.remove_name(name, false).await?;
            self.tell("untag", &id, Some(reference::familiar(name)));
            report.push(untagged(name));
        }
        Ok(report)
    }

    /// The id of what `text` means, and its name when it is meant by name.
    async fn meant(&self, all: &[Named], text: &str) -> Result<(String, Option<String>)> {
        let name = reference::whole(text).ok().filter(|name| all.iter().any(|named| named.name == *name));
        match name {
            Some(name) => {
                let target = all.iter().find(|named| named.name == name).map_or("", digest_of);
                Ok((self.details(target).await?.id.clone(), Some(name)))
            }
            None => Ok((self.find(text).await?.id, None)),
        }
    }

    /// Takes all names of an image away, waits for the collection, and tells what went.
    async fn delete(&self, all: &[Named], named: &[&Named], id: &str) -> Result<Vec<ImageDeleteResponseItem>> {
        let Some(first) = named.first() else { return Ok(Vec::new()) };
        let details = self.details(digest_of(first)).await?;
        let gone = self.only_of(all, id, &details).await;
        for (at, one) in named.iter().enumerate() {
            let last = at + 1 == named.len();
            self.remove_name(&one.name, last).await?;
        }
        Ok([deleted(id)].into_iter().chain(gone.iter().rev().map(|chain| deleted(chain))).collect())
    }

    /// The snapshots of an image that no other image has.
    async fn only_of(&self, all: &[Named], id: &str, details: &Details) -> Vec<String> {
        let mut others = HashSet::new();
        for named in all {
            if let Ok(other) = self.details(digest_of(named)).await
                && other.id != id
            {
                others.extend(other.chains.iter().cloned());
            }
        }
        details.chains.iter().filter(|chain| !others.contains(*chain)).cloned().collect()
    }

    /// Removes what no container uses: images without a name, or with `dangling=false` those with one
    /// as well.
    pub async fn prune(&self, filters: &Filters) -> Result<ImagePruneResponse> {
        let nameless = filters.flag("dangling")?.unwrap_or(true);
        let filters = filters.without("dangling");
        let _alone = self.locks.lock("names").await;
        let (mut report, mut space) = (Vec::new(), 0);
        for image in self.list(&filters).await? {
            let named = !image.repo_tags.is_empty() || !image.repo_digests.is_empty();
            if (nameless && named) || !self.users_of(&image.id).is_empty() {
                continue;
            }
            let all = self.list_named().await?;
            let named = self.names_of(&all, &image.id).await;
            let Some(first) = named.first() else { continue };
            // What the operating system brings, containers are declared to use.
            if named.iter().any(|named| named.labels.contains_key(super::baked::LABEL)) {
                continue;
            }
            let details = self.details(digest_of(first)).await?;
            let gone = self.only_of(&all, &image.id, &details).await;
            space += unpack::size(&self.containerd, &self.snapshotter, &gone).await?;
            report.extend(image.repo_tags.iter().map(|name| untagged(name)));
            report.extend(self.delete(&all, &named, &image.id).await?);
            self.tell("delete", &image.id, None);
        }
        Ok(ImagePruneResponse { images_deleted: Some(report), space_reclaimed: Some(space) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn plan(name: Option<&str>, names: &[&str], users: &[(&str, bool)], force: bool) -> Result<Plan> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let users: Vec<User> =
            users.iter().map(|(id, running)| User { id: (*id).to_owned(), running: *running }).collect();
        decide(&Asked { name, id: ID, names: &names, users: &users, force })
    }

    fn message(plan: Result<Plan>) -> String {
        plan.unwrap_err().to_string()
    }

    const A: &str = "docker.io/library/a:1";
    const B: &str = "docker.io/library/b:1";
    const A_DIGEST: &str = "docker.io/library/a@sha256:0";

    #[test]
    fn one_of_several_names_only_loses_its_tag() {
        let expected = Plan { untag: vec![A.to_owned()], delete: false };
        assert_eq!(plan(Some(A), &[A, B], &[], false).unwrap(), expected);
        // Even when a container runs: the other name keeps it.
        assert_eq!(plan(Some(A), &[A, B], &[("c", true)], false).unwrap(), expected);
    }

    #[test]
    fn the_last_tag_takes_the_image_with_it() {
        assert_eq!(plan(Some(A), &[A], &[], false).unwrap(), Plan { untag: vec![A.to_owned()], delete: true });
        let both = Plan { untag: vec![A.to_owned(), A_DIGEST.to_owned()], delete: true };
        assert_eq!(plan(Some(A), &[A, A_DIGEST], &[], false).unwrap(), both);
    }

    #[test]
    fn a_name_in_use_needs_force() {
        let refused = plan(Some(A), &[A], &[("0123456789abcdef", false)], false);
        assert_eq!(
            message(refused),
            "conflict: unable to remove repository reference \"a:1\" (must force) - container 0123456789ab is using \
             its referenced image 0123456789ab"
        );
        assert!(plan(Some(A), &[A], &[("c", false)], true).unwrap().delete);
        // What runs keeps its image, without a name.
        assert_eq!(
            plan(Some(A), &[A], &[("c", true)], true).unwrap(),
            Plan { untag: vec![A.to_owned()], delete: false }
        );
    }

    #[test]
    fn an_id_takes_all_names_of_one_repository() {
        assert!(plan(None, &[A, A_DIGEST], &[], false).unwrap().delete);
        assert!(plan(None, &[], &[], false).unwrap().delete);
        assert_eq!(
            message(plan(None, &[A, B], &[], false)),
            "conflict: unable to delete 0123456789ab (must be forced) - image is referenced in multiple repositories"
        );
        assert_eq!(plan(None, &[A, B], &[], true).unwrap().untag.len(), 2);
    }

    #[test]
    fn an_id_in_use_is_kept() {
        assert!(
            message(plan(None, &[A], &[("c", true)], true))
                .contains("(cannot be forced) - image is being used by running")
        );
        assert!(
            message(plan(None, &[A], &[("c", false)], false))
                .contains("(must be forced) - image is being used by stopped")
        );
        assert!(plan(None, &[A], &[("c", false)], true).unwrap().delete);
    }
}
