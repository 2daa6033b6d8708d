//! What is written when Services come, change and go.

use super::*;

fn rules(chains: &[(&str, &[&str])], elements: &[(Collection, &str, &str)], affinities: &[(&str, u32)]) -> Rules {
    let owned = |rules: &[&str]| rules.iter().map(|rule| (*rule).to_owned()).collect();
    Rules {
        chains: chains.iter().map(|(name, rules)| ((*name).to_owned(), owned(rules))).collect(),
        elements: elements
            .iter()
            .map(|(which, key, value)| ((*which, (*key).to_owned()), (*value).to_owned()))
            .collect(),
        affinities: affinities.iter().map(|(set, seconds)| ((*set).to_owned(), *seconds)).collect(),
    }
}

fn service(rule: &str) -> Rules {
    let elements =
        [(Collection::ClusterIps, "10.96.0.9", ""), (Collection::Services, "10.96.0.9 . tcp . 80", "goto c")];
    rules(&[("c", &[rule])], &elements, &[("affinity/60/c", 60)])
}

fn written(table: &mut Table) -> String {
    let script = table.script();
    table.written();
    script
}

#[test]
fn a_new_service_is_added_whole() {
    let mut table = Table::new(Family::V4);
    assert_eq!(table.set("d/a", service("dnat to 10.0.0.1:80")), BTreeSet::new());
    let expected = "\
add set ip keelson-services affinity/60/c { type ipv4_addr; flags dynamic,timeout; timeout 60s; }
add chain ip keelson-services c
add rule ip keelson-services c dnat to 10.0.0.1:80
add element ip keelson-services cluster-ips { 10.96.0.9 }
add element ip keelson-services services { 10.96.0.9 . tcp . 80 : goto c }
";
    assert_eq!(written(&mut table), expected);
    assert_eq!(table.script(), "");
}

#[test]
fn only_what_changed_is_written() {
    let mut table = Table::new(Family::V4);
    table.set("d/a", service("dnat to 10.0.0.1:80"));
    written(&mut table);
    table.set("d/a", service("dnat to 10.0.0.1:80"));
    assert_eq!(table.script(), "");
    table.set("d/a", service("dnat to 10.0.0.2:80"));
    let expected = "flush chain ip keelson-services c\nadd rule ip keelson-services c dnat to 10.0.0.2:80\n";
    assert_eq!(written(&mut table), expected);
    assert_eq!(table.sweep(), "");
}

#[test]
fn a_service_that_goes_leaves_chains_to_be_swept() {
    let mut table = Table::new(Family::V4);
    table.set("d/a", service("dnat to 10.0.0.1:80"));
    written(&mut table);
    table.set("d/a", Rules::default());
    let expected = "\
flush chain ip keelson-services c
delete element ip keelson-services cluster-ips { 10.96.0.9 }
delete element ip keelson-services services { 10.96.0.9 . tcp . 80 : goto c }
delete set ip keelson-services affinity/60/c
";
    assert_eq!(written(&mut table), expected);
    assert!(table.is_empty());
    assert_eq!(table.sweep(), "delete chain ip keelson-services c\n");
    // Back before it was swept, it is in use again.
    table.set("d/a", service("dnat to 10.0.0.1:80"));
    written(&mut table);
    assert_eq!(table.sweep(), "");
}

#[test]
fn of_two_services_that_want_an_address_the_first_has_it_until_it_goes() {
    let mut table = Table::new(Family::V4);
    let wanting = |verdict| rules(&[], &[(Collection::Services, "192.0.2.7 . tcp . 80", verdict)], &[]);
    table.set("d/a", wanting("goto a"));
    table.set("d/b", wanting("goto b"));
    assert!(written(&mut table).ends_with(": goto a }\n"));
    assert_eq!(table.set("d/a", Rules::default()), BTreeSet::from(["d/b".to_owned()]));
    table.set("d/b", wanting("goto b"));
    let expected = "\
delete element ip keelson-services services { 192.0.2.7 . tcp . 80 : goto a }
add element ip keelson-services services { 192.0.2.7 . tcp . 80 : goto b }
";
    assert_eq!(written(&mut table), expected);
}

#[test]
fn an_element_that_changes_hands_and_not_its_value_is_left_alone() {
    let mut table = Table::new(Family::V4);
    let hairpin = || rules(&[], &[(Collection::Hairpin, "10.0.0.1 . 10.0.0.1", "")], &[]);
    table.set("d/a", hairpin());
    table.set("d/b", hairpin());
    written(&mut table);
    for next in table.set("d/a", Rules::default()) {
        table.set(&next, hairpin());
    }
    assert_eq!(table.script(), "");
}

#[test]
fn clients_of_an_earlier_run_stay_and_what_else_it_left_goes() {
    let mut table = Table::new(Family::V4);
    let sets = ["affinity/60/c", "affinity/60/gone", "cluster-ips"];
    table.adopt(["c", "old"].map(str::to_owned).into_iter(), sets.map(str::to_owned).into_iter());
    table.set("d/a", service("dnat to 10.0.0.1:80"));
    let script = written(&mut table);
    assert!(!script.contains("add set") && script.ends_with("delete set ip keelson-services affinity/60/gone\n"));
    assert_eq!(table.sweep(), "delete chain ip keelson-services old\n");
}
