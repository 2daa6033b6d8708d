use serde_json::{Value, json};

use super::*;

fn pod(of_pod: Value, own: Value, more: Value) -> Pod {
    let mut spec = json!({"securityContext": of_pod, "containers": [{"name": "c", "securityContext": own}]});
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let meta = json!({"name": "p", "namespace": "ns", "uid": "u"});
    serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap()
}

fn try_confined(of_pod: Value, own: Value, user: ImageUser) -> Result<v1::LinuxContainerSecurityContext, String> {
    let pod = pod(of_pod, own, json!({}));
    let host = Host { thermal: vec!["/sys/devices/system/cpu/cpu0/thermal_throttle".into()], ..Host::default() };
    container(&pod, &pod.spec.as_ref().unwrap().containers[0], &user, Path::new("/root"), &host)
}

fn confined(of_pod: Value, own: Value) -> v1::LinuxContainerSecurityContext {
    try_confined(of_pod, own, ImageUser::Id(0)).unwrap()
}

#[test]
fn nothing_said_is_the_image_s_user_unconfined_by_seccomp() {
    let context = confined(json!({}), json!({}));
    assert_eq!(context.run_as_user, Some(v1::Int64Value { value: 0 }));
    assert_eq!(context.seccomp.unwrap().profile_type, i32::from(ProfileType::Unconfined));
    assert_eq!(context.apparmor, None);
    assert!(!context.no_new_privs && !context.privileged && !context.readonly_rootfs);
    assert!(context.masked_paths.contains(&"/proc/kcore".to_owned()));
    assert_eq!(context.masked_paths.last().unwrap(), "/sys/devices/system/cpu/cpu0/thermal_throttle");
    assert_eq!(context.readonly_paths.len(), READ_ONLY.len());
    let context = try_confined(json!({}), json!({}), ImageUser::Name("web".into())).unwrap();
    assert_eq!((context.run_as_user, context.run_as_username.as_str()), (None, "web"));
}

#[test]
fn the_container_goes_before_the_pod() {
    let of_pod = json!({"runAsUser": 1, "runAsGroup": 2, "fsGroup": 3, "supplementalGroups": [4, 5],
        "supplementalGroupsPolicy": "Strict", "seccompProfile": {"type": "RuntimeDefault"}});
    let context = confined(of_pod.clone(), json!({"runAsUser": 9}));
    assert_eq!(context.run_as_user.unwrap().value, 9);
    assert_eq!(context.run_as_group.unwrap().value, 2);
    assert_eq!(context.supplemental_groups, [3, 4, 5]);
    assert_eq!(context.supplemental_groups_policy, i32::from(v1::SupplementalGroupsPolicy::Strict));
    assert_eq!(context.seccomp.unwrap().profile_type, i32::from(ProfileType::RuntimeDefault));
    let own = json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "a/b.json"}});
    assert_eq!(confined(of_pod, own).seccomp.unwrap().localhost_ref, "/root/seccomp/a/b.json");
}

#[test]
fn rights_are_given_and_taken() {
    let context = confined(
        json!({}),
        json!({"privileged": true, "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
            "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}, "procMount": "Unmasked"}),
    );
    assert!(context.privileged && context.readonly_rootfs && context.no_new_privs);
    let capabilities = context.capabilities.unwrap();
    assert_eq!(capabilities.add_capabilities, ["NET_ADMIN"]);
    assert_eq!(capabilities.drop_capabilities, ["ALL"]);
    assert!(context.masked_paths.is_empty() && context.readonly_paths.is_empty());
    assert!(!confined(json!({}), json!({"allowPrivilegeEscalation": true})).no_new_privs);
}

#[test]
fn root_is_refused_where_it_must_not_be() {
    let must = json!({"runAsNonRoot": true});
    let error = |own: Value, user| try_confined(must.clone(), own, user).unwrap_err();
    assert_eq!(
        error(json!({"runAsUser": 0}), ImageUser::Id(7)),
        "container's runAsUser breaks non-root policy (pod: \"p_ns(u)\", container: c)"
    );
    assert_eq!(
        error(json!({}), ImageUser::Id(0)),
        "container has runAsNonRoot and image will run as root (pod: \"p_ns(u)\", container: c)"
    );
    assert!(error(json!({}), ImageUser::Name("web".into())).contains("non-numeric user (web)"));
    assert!(error(json!({}), ImageUser::Id(1 << 40)).contains("invalid user id"));
    assert!(try_confined(must.clone(), json!({}), ImageUser::Id(7)).is_ok());
    assert!(try_confined(must.clone(), json!({"runAsUser": 5}), ImageUser::Id(0)).is_ok());
    assert!(try_confined(must, json!({"runAsNonRoot": false}), ImageUser::Id(0)).is_ok());
}

#[test]
fn apparmor_is_the_containers_or_the_pods() {
    let own = json!({"appArmorProfile": {"type": "Localhost", "localhostProfile": "strict"}});
    let context = confined(json!({"appArmorProfile": {"type": "Unconfined"}}), own);
    assert_eq!(context.apparmor.unwrap().localhost_ref, "strict");
    let context = confined(json!({"appArmorProfile": {"type": "Unconfined"}}), json!({}));
    assert_eq!(context.apparmor.unwrap().profile_type, i32::from(ProfileType::Unconfined));
    assert!(wants_apparmor(&pod(json!({"appArmorProfile": {"type": "RuntimeDefault"}}), json!({}), json!({}))));
    assert!(!wants_apparmor(&pod(json!({"appArmorProfile": {"type": "Unconfined"}}), json!({}), json!({}))));
}

#[test]
fn namespaces_are_shared_as_asked() {
    use v1::NamespaceMode::{Container, Node, Pod};
    let modes = |more: Value| {
        let options = namespaces(&pod(json!({}), json!({}), more)).unwrap();
        (options.network(), options.pid(), options.ipc())
    };
    assert_eq!(modes(json!({})), (Pod, Container, Pod));
    assert_eq!(modes(json!({"hostNetwork": true, "hostPID": true, "hostIPC": true})), (Node, Node, Node));
    assert_eq!(modes(json!({"shareProcessNamespace": true})), (Pod, Pod, Pod));
    assert!(namespaces(&pod(json!({}), json!({}), json!({"hostUsers": false}))).is_err());
}

#[test]
fn a_sandbox_is_privileged_when_a_container_is() {
    let context = sandbox(&pod(json!({"fsGroup": 7}), json!({}), json!({}))).unwrap();
    assert!(!context.privileged);
    assert_eq!(context.supplemental_groups, [7]);
    assert_eq!(context.seccomp.unwrap().profile_type, i32::from(ProfileType::RuntimeDefault));
    assert!(sandbox(&pod(json!({}), json!({"privileged": true}), json!({}))).unwrap().privileged);
    let init = json!({"initContainers": [{"name": "i", "securityContext": {"privileged": true}}]});
    assert!(sandbox(&pod(json!({}), json!({}), init)).unwrap().privileged);
}
