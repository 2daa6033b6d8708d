//! Chain ids: the name of a stack of layers, which is the key of the snapshot they make.

use sha2::{Digest, Sha256};

/// `sha256:…` of these bytes.
pub fn digest(data: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(data)))
}

/// The chain id after each layer, as the OCI image specification defines it: the first is the diff
/// id itself, every other the digest of `CHAIN DIFF_ID`.
pub fn chain_ids(diff_ids: &[String]) -> Vec<String> {
    let mut chains: Vec<String> = Vec::with_capacity(diff_ids.len());
    for diff in diff_ids {
        let chain = match chains.last() {
            None => diff.clone(),
            Some(parent) => digest(format!("{parent} {diff}").as_bytes()),
        };
        chains.push(chain);
    }
    chains
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_as_the_specification_says() {
        let diffs: Vec<String> = ["a", "b", "c"].iter().map(|text| digest(text.as_bytes())).collect();
        let chains = chain_ids(&diffs);
        assert_eq!(chains[0], diffs[0]);
        assert_eq!(chains[1], digest(format!("{} {}", diffs[0], diffs[1]).as_bytes()));
        // sha256sum of the same text, computed by coreutils.
        assert_eq!(chains[2], "sha256:2fce7f8ce91bcf0a1428b36e1024639fdbd9469eea762dba98aa749631885106");
        assert!(chain_ids(&[]).is_empty());
    }
}
