//! Owns parsing one manifest file's text into [`Raw`].

use keelson_common::strict::{Problem, Source};

use super::raw::Raw;

/// Keys of the top level; a table's own keys come with the error.
const TOP: [&str; 22] = [
    "name",
    "ref",
    "version",
    "architecture",
    "include",
    "local",
    "packages",
    "exclude",
    "recommends",
    "kargs",
    "hostname",
    "update",
    "postprocess",
    "drop",
    "units",
    "os-release",
    "initramfs",
    "repository",
    "file",
    "user",
    "group",
    "image",
];

/// Parses one file's text; the error points at the key or value it is about.
pub fn parse(source: &Source) -> Result<Raw, Problem> {
    keelson_common::strict::parse(source, &TOP)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let source = Source { path: "m.toml".into(), text: text.into() };
        parse(&source).unwrap_err().to_string()
    }

    #[test]
    fn unknown_keys_name_their_table_and_the_nearest_key() {
        assert_eq!(error("name = 'x'\npakages = []\n"), "m.toml:2:1: unknown key `pakages`; did you mean `packages`?");
        assert_eq!(
            error("[units]\n  enabel = []\n"),
            "m.toml:2:3: unknown key `enabel` in [units]; did you mean `enable`?"
        );
        assert_eq!(
            error("[[repository]]\nsuite = 'trixie'\nurl = 'x'\n"),
            "m.toml:3:1: unknown key `url` in [[repository]]; did you mean `uri`?"
        );
        assert_eq!(error("update = { uri = 'x' }"), "m.toml:1:12: unknown key `uri` in [update]; did you mean `url`?");
    }

    #[test]
    fn keys_like_none_list_the_valid_ones() {
        assert_eq!(
            error("[[group]]\nxyzzy = 1\n"),
            "m.toml:2:1: unknown key `xyzzy` in [[group]]; valid keys: name, gid"
        );
        assert_eq!(
            error("[units]\nkargs = []\n"),
            "m.toml:2:1: unknown key `kargs` in [units]; `kargs` belongs at the top of the file, before the first [table]"
        );
    }

    #[test]
    fn the_list_of_top_keys_is_the_parsers() {
        let message = error("xyzzy = 1");
        let known = message.split_once("valid keys: ").unwrap().1;
        let (mut known, mut top) = (known.split(", ").collect::<Vec<_>>(), TOP.to_vec());
        known.sort_unstable();
        top.sort_unstable();
        assert_eq!(known, top);
    }

    #[test]
    fn missing_and_wrong_values_name_their_key() {
        assert_eq!(error("[[repository]]\nname = 'x'\n"), "m.toml:1:1: the key `suite` is missing in [[repository]]");
        assert_eq!(
            error("recommends = 'no'"),
            "m.toml:1:14: `recommends`: invalid type: string \"no\", expected a boolean"
        );
        assert_eq!(
            error("packages = [\n  'a',\n  3,\n]"),
            "m.toml:3:3: `packages`: invalid type: integer `3`, expected a string"
        );
        assert!(error("version = 3").contains("expected a version such as \"13.1\" or a counter"));
        assert_eq!(
            error("version = { prefx = '1' }"),
            "m.toml:1:13: unknown key `prefx` in [version]; did you mean `prefix`?"
        );
    }

    #[test]
    fn broken_toml_has_a_line() {
        assert!(error("name = 'x'\npackages = [\n").starts_with("m.toml:"), "{}", error("name = 'x'\npackages = [\n"));
        assert!(error("a = 1\na = 2\n").starts_with("m.toml:2:1: "));
    }
}
