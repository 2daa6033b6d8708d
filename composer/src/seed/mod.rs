//! Seeds for a fleet: one template of user-data and a table of hosts become what cloud-init's NoCloud
//! datasource reads, for each host.
//!
//! ```text
//! hosts.toml -> hosts ─┐
//!                      ├─> render ─> check ─> one seed a host
//! user-data.yaml ──────┘
//! ```

pub mod check;
pub mod hosts;
pub mod template;
pub mod yaml;

use keelson_qemu::seed::Seed;
use sha2::{Digest, Sha256};

use hosts::Host;
use template::{Template, TemplateError};

/// The seed of a host. The same table and template give the same one; another one is, to cloud-init, another
/// instance, which it sets up anew.
pub fn seed(host: &Host, template: &Template) -> Result<Seed, TemplateError> {
    let user_data = template.render(&host.variables())?;
    let network_config = host.network_config();
    let mut hash = Sha256::new();
    for part in [&host.name, &user_data, network_config.as_deref().unwrap_or_default()] {
        hash.update(part);
        hash.update([0]);
    }
    let instance = format!("{}-{}", host.name, &hex::encode(hash.finalize())[..12]);
    Ok(Seed { instance, hostname: host.name.clone(), meta_data: String::new(), user_data, network_config })
}

#[cfg(test)]
mod tests {
    use super::*;
    use keelson_common::strict::Source;

    #[test]
    fn each_host_has_its_own_and_the_same_again() {
        let text = "[[host]]\nname = \"one\"\naddress = \"10.0.0.11/24\"\n[[host]]\nname = \"two\"\n";
        let hosts = hosts::parse(Source { path: "hosts.toml".into(), text: text.into() }).unwrap();
        let template = Template::new("t.yaml".as_ref(), "#cloud-config\nhostname: ${name}\n".into());
        let seeds: Vec<Seed> = hosts.iter().map(|host| seed(host, &template).unwrap()).collect();
        assert_eq!(seeds[0].user_data, "#cloud-config\nhostname: one\n");
        assert_eq!((seeds[0].network_config.is_some(), seeds[1].network_config.is_some()), (true, false));
        assert_ne!(seeds[0].instance, seeds[1].instance);
        assert_eq!(seeds[0], seed(&hosts[0], &template).unwrap());
    }
}
