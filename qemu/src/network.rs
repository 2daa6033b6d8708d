//! Owns a machine's network cards as data. No argument ever binds anything but the loopback address.

use std::net::Ipv4Addr;

use crate::machine::Args;

/// The hardware address of the first card, the one that QEMU itself routes.
pub const FIRST_CARD: &str = "52:54:00:12:34:56";

/// A TCP port of the host's loopback address that leads into the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// On 127.0.0.1; 0 lets the system choose a free one.
    pub host: u16,
    /// In the guest.
    pub guest: u16,
}

/// A further network card: its cable is a tap interface of this machine, made when the machine is switched
/// on and gone when it is off. Whoever wants it in a bridge or in a network namespace puts it there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tap {
    /// The interface's name, 15 bytes at most; not one that there is.
    pub name: String,
    /// The card's hardware address in the guest, `52:54:00:00:00:02`.
    pub mac: String,
}

/// A further network card, on a network of machines alone: every frame is a datagram to a multicast group on
/// this machine's loopback interface. It leads nowhere else, and takes neither root nor a program in between.
/// A card hears its own broadcasts again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The group, of 224.0.0.0/4; with the port, what makes it this network and no other.
    pub group: Ipv4Addr,
    /// The UDP port.
    pub port: u16,
    /// The card's hardware address in the guest.
    pub mac: String,
}

/// The arguments: the first card with what is forwarded into it, and all further ones. None has a boot ROM:
/// nothing boots from the network, and firmware starts faster.
pub(crate) fn argv(args: &mut Args, forwards: &[Forward], taps: &[Tap], segments: &[Segment]) {
    let forwards = forwards.iter();
    let forwards = forwards.map(|forward| format!(",hostfwd=tcp:127.0.0.1:{}-:{}", forward.host, forward.guest));
    args.option("-netdev", format!("user,id=net0{}", forwards.collect::<String>()));
    args.option("-device", format!("virtio-net-pci,netdev=net0,mac={FIRST_CARD},romfile="));
    for (index, Tap { name, mac }) in taps.iter().enumerate() {
        args.option("-netdev", format!("tap,id=tap{index},ifname={name},script=no,downscript=no"));
        args.option("-device", format!("virtio-net-pci,netdev=tap{index},mac={mac},romfile="));
    }
    for (index, Segment { group, port, mac }) in segments.iter().enumerate() {
        args.option("-netdev", format!("socket,id=segment{index},mcast={group}:{port},localaddr=127.0.0.1"));
        args.option("-device", format!("virtio-net-pci,netdev=segment{index},mac={mac},romfile="));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(forwards: &[Forward], taps: &[Tap], segments: &[Segment]) -> String {
        let mut args = Args::default();
        argv(&mut args, forwards, taps, segments);
        args.0.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn only_loopback_is_bound() {
        let line = words(&[Forward { host: 0, guest: 22 }, Forward { host: 8080, guest: 80 }], &[], &[]);
        assert!(line.contains("user,id=net0,hostfwd=tcp:127.0.0.1:0-:22,hostfwd=tcp:127.0.0.1:8080-:80"), "{line}");
        assert_eq!(line.matches("hostfwd").count(), line.matches("hostfwd=tcp:127.0.0.1:").count());
    }

    #[test]
    fn a_tap_is_a_card_with_its_own_address() {
        assert!(!words(&[], &[], &[]).contains("tap"));
        let line = words(&[], &[Tap { name: "one".into(), mac: "52:54:00:00:00:02".into() }], &[]);
        assert!(line.contains("-netdev tap,id=tap0,ifname=one,script=no,downscript=no -device"), "{line}");
        assert!(line.contains("virtio-net-pci,netdev=tap0,mac=52:54:00:00:00:02"), "{line}");
    }

    #[test]
    fn a_segment_stays_on_loopback() {
        let segment = Segment { group: [230, 77, 1, 2].into(), port: 4000, mac: "52:54:00:00:00:02".into() };
        let line = words(&[], &[], &[segment]);
        assert!(
            line.contains("-netdev socket,id=segment0,mcast=230.77.1.2:4000,localaddr=127.0.0.1 -device"),
            "{line}"
        );
        assert!(line.contains("virtio-net-pci,netdev=segment0,mac=52:54:00:00:00:02"), "{line}");
    }
}
