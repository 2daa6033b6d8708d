//! Owns what the configuration takes from a kubeconfig: where the server is.

use kube::config::Kubeconfig;

/// The server of the current context.
pub fn server(text: &str) -> Result<String, String> {
    let config = Kubeconfig::from_yaml(text).map_err(|error| format!("this is no kubeconfig: {error}"))?;
    let wanted = config.current_context.as_deref().unwrap_or_default();
    let context = config.contexts.iter().find(|context| context.name == wanted);
    let context = context.and_then(|context| context.context.as_ref());
    let Some(context) = context else {
        return Err(format!("its current context \"{wanted}\" is not among its contexts"));
    };
    let cluster = config.clusters.iter().find(|cluster| cluster.name == context.cluster);
    let server = cluster.and_then(|cluster| cluster.cluster.as_ref()?.server.clone());
    server.ok_or_else(|| format!("its cluster \"{}\" has no server", context.cluster))
}
