//! Owns what is asked of the kernel about links and routes, by rtnetlink.

use std::net::IpAddr;

use futures_util::TryStreamExt;
use ipnet::IpNet;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::{Handle, RouteMessageBuilder};

/// Who made a route, so that ours are known from all others; `ip route` shows it as `proto 75`.
const PROTOCOL: RouteProtocol = RouteProtocol::Other(75);

/// The kernel cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// There is no such socket.
    #[error("cannot talk to the kernel about links")]
    Socket(#[from] std::io::Error),
    /// It refused.
    #[error("the kernel refuses to {action}")]
    Refused {
        /// What it was asked.
        action: &'static str,
        /// Its answer.
        #[source]
        source: rtnetlink::Error,
    },
}

/// Where packets to a network of pods go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// To the node of this address.
    Node(IpAddr),
    /// Nowhere: what pods there are have routes of their own.
    Nowhere,
}

/// A route that this node made.
#[derive(Debug)]
pub(super) struct Route {
    pub net: IpNet,
    /// Nothing where it is of a kind that is not made here.
    pub target: Option<Target>,
    message: RouteMessage,
}

/// The kernel, while a connection to it is open.
#[derive(Debug)]
pub(super) struct Links {
    handle: Handle,
    task: tokio::task::AbortHandle,
}

impl Drop for Links {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Links {
    /// Opens a connection.
    pub fn open() -> Result<Self, LinkError> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        let task = tokio::spawn(connection).abort_handle();
        Ok(Self { handle, task })
    }

    /// Name and MTU of the link that has an address.
    pub async fn with_address(&self, address: IpAddr) -> Result<Option<(String, u32)>, LinkError> {
        let refused = |source| LinkError::Refused { action: "list addresses", source };
        let mut addresses = self.handle.address().get().execute();
        let mut index = None;
        while let Some(message) = addresses.try_next().await.map_err(refused)? {
            let is_it = |attribute: &AddressAttribute| match attribute {
                AddressAttribute::Address(found) | AddressAttribute::Local(found) => *found == address,
                _ => false,
            };
            if message.attributes.iter().any(is_it) {
                index = Some(message.header.index);
            }
        }
        let Some(index) = index else { return Ok(None) };
        let refused = |source| LinkError::Refused { action: "show a link", source };
        let link = self.handle.link().get().match_index(index).execute().try_next().await.map_err(refused)?;
        let (mut name, mut mtu) = (None, None);
        for attribute in link.into_iter().flat_map(|link| link.attributes) {
            match attribute {
                LinkAttribute::IfName(found) => name = Some(found),
                LinkAttribute::Mtu(found) => mtu = Some(found),
                _ => {}
            }
        }
        Ok(name.zip(mtu))
    }

    /// The routes that this node made.
    pub async fn routes(&self) -> Result<Vec<Route>, LinkError> {
        let refused = |source| LinkError::Refused { action: "list routes", source };
        let mut routes = Vec::new();
        for wanted in [
            RouteMessageBuilder::<std::net::Ipv4Addr>::new().build(),
            RouteMessageBuilder::<std::net::Ipv6Addr>::new().build(),
        ] {
            let mut found = self.handle.route().get(wanted).execute();
            while let Some(message) = found.try_next().await.map_err(refused)? {
                let ours = message.header.protocol == PROTOCOL && message.header.table == RouteHeader::RT_TABLE_MAIN;
                routes.extend(ours.then(|| route(message)).flatten());
            }
        }
        Ok(routes)
    }

    /// Makes a route, in the place of another to the same network. The kernel refuses one whose node is
    /// not on a network of this host's own: see [`unreachable`].
    pub async fn add_route(&self, net: IpNet, target: Target) -> Result<(), LinkError> {
        let mut message = RouteMessageBuilder::<IpAddr>::new().build();
        message.header.address_family = match net {
            IpNet::V4(_) => rtnetlink::packet_route::AddressFamily::Inet,
            IpNet::V6(_) => rtnetlink::packet_route::AddressFamily::Inet6,
        };
        message.header.protocol = PROTOCOL;
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.scope = RouteScope::Universe;
        message.header.destination_prefix_length = net.prefix_len();
        message.attributes.push(RouteAttribute::Destination(net.network().into()));
        match target {
            Target::Node(address) => {
                message.header.kind = RouteType::Unicast;
                message.attributes.push(RouteAttribute::Gateway(address.into()));
            }
            Target::Nowhere => message.header.kind = RouteType::Unreachable,
        }
        let refused = |source| LinkError::Refused { action: "make a route", source };
        self.handle.route().add(message).replace().execute().await.map_err(refused)
    }

    /// Takes a route away.
    pub async fn remove_route(&self, route: Route) -> Result<(), LinkError> {
        let refused = |source| LinkError::Refused { action: "remove a route", source };
        self.handle.route().del(route.message).execute().await.map_err(refused)
    }
}

/// Whether the kernel refused a route since its node is not on a network of this host's own.
pub(super) fn unreachable(error: &LinkError) -> bool {
    match error {
        LinkError::Refused { source: rtnetlink::Error::NetlinkError(message), .. } => {
            let code = message.raw_code();
            code == -libc::ENETUNREACH || code == -libc::EHOSTUNREACH || code == -libc::EINVAL
        }
        _ => false,
    }
}

fn route(message: RouteMessage) -> Option<Route> {
    let length = message.header.destination_prefix_length;
    let (mut net, mut gateway) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(found) => net = IpNet::new(ip(found)?, length).ok(),
            RouteAttribute::Gateway(found) => gateway = ip(found),
            _ => {}
        }
    }
    let target = match message.header.kind {
        RouteType::Unreachable => Some(Target::Nowhere),
        _ => gateway.map(Target::Node),
    };
    Some(Route { net: net?, target, message })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}
