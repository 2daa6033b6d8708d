//! Owns reading a request's address: its path and query, decoded once, so that what is allowed and what is
//! answered is the same path.

use hyper::Uri;
use percent_encoding::percent_decode_str;

/// A path and a query, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub path: String,
    pub query: Vec<(String, String)>,
}

impl Address {
    /// Reads the address; nothing if it is not UTF-8.
    pub fn parse(uri: &Uri) -> Option<Self> {
        let path = percent_decode_str(uri.path()).decode_utf8().ok()?.into_owned();
        let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let query = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name)?, decode(value)?))
        });
        Some(Self { path, query: query.collect::<Option<_>>()? })
    }

    /// The first value of a name.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// All values of a name.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.query.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

fn decode(text: &str) -> Option<String> {
    let text = text.replace('+', " ");
    Some(percent_decode_str(&text).decode_utf8().ok()?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_in_the_query() {
        let uri = "/exec/n/p/c?command=sh&command=-c&command=echo+%22a+b%22%26%2B&output=1&x";
        let address = Address::parse(&uri.parse().expect("an address")).expect("UTF-8");
        assert_eq!(address.path, "/exec/n/p/c");
        assert_eq!(address.values("command").collect::<Vec<_>>(), ["sh", "-c", "echo \"a b\"&+"]);
        assert_eq!(address.value("output"), Some("1"));
        assert_eq!(address.value("x"), Some(""));
        assert_eq!(address.value("y"), None);
    }

    #[test]
    fn a_path_is_decoded_once() {
        let path = |uri: &str| Address::parse(&uri.parse().expect("an address")).map(|address| address.path);
        assert_eq!(path("/logs/a%20b%252f").as_deref(), Some("/logs/a b%2f"));
        assert_eq!(path("/stats%2F..%2fpods").as_deref(), Some("/stats/../pods"));
        assert_eq!(path("/%ff"), None);
    }
}
