# Sets a Debian 12 or 13 machine up to build, run and test Keelson. Sourced by qemu/run.sh and
# tests/run.sh at the top of the repository; `keelson_setup` says what it is about to install and
# installs what is missing. With nothing to do it takes a quarter of a second.
#
# Needs root or sudo for Debian packages. Debian 12 gets QEMU from bookworm-backports, because its
# own 7.2 corrupts guests. A Rust toolchain comes by Debian's rustup when the one present is too old.
# Go is only for the Kubernetes that tests run against: manifests/kubernetes/build.sh calls `keelson_go`.
#
# shellcheck shell=bash

# Debian packages: what builds, what composes, what makes images, what runs them, what tests them.
keelson_packages=(
    build-essential ca-certificates jq libostree-dev pkg-config protobuf-compiler
    apt-utils bubblewrap debian-archive-keyring gpg gpg-agent gpgv ostree xz-utils
    dosfstools e2fsprogs fdisk grub-common grub-efi-amd64-bin grub-pc-bin mtools
    openssh-client ovmf qemu-system-x86 qemu-utils xorriso
    curl dbus-daemon dpkg-dev python3 python3-yaml
    apache2-utils busybox-static containernetworking-plugins docker-registry golang-github-containers-common
    conntrack etcd-server iproute2 iptables mmdebstrap nftables openssl procps skopeo
)
# Programs that come from one of several packages, Docker's own among them.
keelson_programs=(containerd runc docker)
# Of those, servers that tests start for themselves: installing them here shall not set them going.
keelson_servers=(containerd.service docker.service docker.socket docker-registry.service etcd.service)
# The oldest QEMU that is sound, as a Debian version.
keelson_qemu='1:8'

keelson_say() { printf 'keelson: %s\n' "$*" >&2; }
keelson_fail() { keelson_say "$*" && exit 1; }

keelson_setup() {
    [ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] ||
        keelson_fail "this needs Debian 12 or 13 on amd64"
    keelson_debian
    keelson_rust
}

# As root: directly, or by sudo.
keelson_root() {
    if [ "$(id -u)" = 0 ]; then
        env DEBIAN_FRONTEND=noninteractive "$@"
    elif command -v sudo >/dev/null; then
        sudo env DEBIAN_FRONTEND=noninteractive "$@"
    else
        keelson_fail "installing packages needs root or sudo"
    fi
}

# --- Debian packages ---

keelson_debian() {
    local package version missing=() backports=()
    declare -A installed=()
    while read -r package version; do
        installed[$package]=$version
    done < <(dpkg-query -W -f '${db:Status-Status} ${Package} ${Version}\n' "${keelson_packages[@]}" 2>/dev/null |
        sed -n 's/^installed //p')
    for package in "${keelson_packages[@]}"; do
        [ -n "${installed[$package]-}" ] || missing+=("$package")
    done
    for package in "${keelson_programs[@]}"; do
        command -v "$package" >/dev/null || missing+=("$(keelson_package "$package")")
    done
    # QEMU's parts are of one version: a new one takes its firmware along.
    if ! dpkg --compare-versions "${installed[qemu-system-x86]-0}" ge "$keelson_qemu" &&
        [ "$(keelson_release)" = bookworm ]; then
        backports=(qemu-system-x86 qemu-utils)
    fi
    [ $((${#missing[@]} + ${#backports[@]})) = 0 ] && return
    [ ${#backports[@]} = 0 ] || keelson_say "Debian 12's QEMU corrupts guests: taking it from bookworm-backports"
    keelson_say "installing Debian packages: ${missing[*]:-${backports[*]}}"
    keelson_lists_are_fresh || keelson_update
    [ ${#backports[@]} = 0 ] || keelson_backports
    keelson_install "${missing[@]}" "${backports[@]/%//bookworm-backports}" ||
        # The lists may name versions that the mirror has replaced since.
        { keelson_update && keelson_install "${missing[@]}" "${backports[@]/%//bookworm-backports}"; } ||
        keelson_fail "apt could not install what is missing (see above)"
    keelson_idle "${missing[@]}"
}

# The package a program is in: Debian 12 has no package for Docker's client alone.
keelson_package() {
    case $1:$(keelson_release) in
    docker:bookworm) echo docker.io ;;
    docker:*) echo docker-cli ;;
    *) echo "$1" ;;
    esac
}

# Stops the servers that came with packages just installed.
keelson_idle() {
    local server
    [ -d /run/systemd/system ] || return 0
    for server in "${keelson_servers[@]}"; do
        case " $* " in
        *" ${server%.*} "* | *" ${server%.*}.io "* | *" ${server%.*}-server "*)
            keelson_root systemctl disable --now --quiet "$server" 2>/dev/null || true
            ;;
        esac
    done
}

keelson_release() { (. /etc/os-release && echo "${VERSION_CODENAME-}"); }

# Installs packages, where `PACKAGE/SUITE` wins over the plain name; waits for other installations.
# Each suite has a call of its own that prefers it: what such a package depends on, in that very version,
# then comes from there as well, and nothing else does.
keelson_install() {
    local package suite plain=()
    declare -A suites=()
    for package; do
        case $package in
        */*) suites[${package#*/}]+=" ${package%/*}" ;;
        *) case " $* " in *" $package/"*) ;; *) plain+=("$package") ;; esac ;;
        esac
    done
    for suite in "${!suites[@]}"; do
        # shellcheck disable=SC2086 # names of packages, to be split
        keelson_apt_install --target-release "$suite" ${suites[$suite]} || return
    done
    [ ${#plain[@]} = 0 ] || keelson_apt_install "${plain[@]}"
}

keelson_apt_install() {
    keelson_root apt-get install -y -q --no-install-recommends \
        -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 "$@" >&2
}

# Whether apt's lists are there and of the last day.
keelson_lists_are_fresh() {
    [ -n "$(find /var/lib/apt/lists -maxdepth 1 -name '*Packages*' -mmin -1440 -print -quit 2>/dev/null)" ]
}

# apt-get update, waiting for others at it: apt itself waits for dpkg's lock only.
keelson_update() {
    local output attempt
    for attempt in $(seq 60); do
        if output=$(keelson_root apt-get update -q 2>&1); then return; fi
        case $output in
            *'Could not get lock'* | *'Unable to lock'*) [ "$attempt" -gt 1 ] || keelson_say "waiting for apt's lock" ;;
            *) break ;;
        esac
        sleep 5
    done
    printf '%s\n' "$output" >&2
    return 1
}

# The mirror and keyring that apt takes this release's main section from.
keelson_mirror() {
    apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
        sed -n "s|^$(keelson_release) main ||p" | head -n 1
}

# Has what composes, and what makes images of Debian, take the mirror that apt of this machine is set up
# with, where that has all that is needed.
keelson_compose_mirror() {
    local mirrors base
    mirrors=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | sed 's|/*$||' | sort -u)
    base=$(keelson_mirror)
    base=${base%/debian*}
    [ -n "$base" ] && grep -qxF "$base/debian-security" <<<"$mirrors" || return 0
    export KEELSON_MIRROR="${KEELSON_MIRROR:-$base}"
}

# Adds bookworm-backports, from the mirror apt is set up with, unless it is there.
keelson_backports() {
    local mirror
    case $(apt-get indextargets --format '$(CODENAME)' 'Created-By: Packages') in *bookworm-backports*) return ;; esac
    mirror=$(keelson_mirror)
    [ -n "$mirror" ] || keelson_fail "apt has no source for bookworm main to take bookworm-backports from"
    keelson_say "adding bookworm-backports (/etc/apt/sources.list.d/keelson-backports.sources)"
    printf '%s\n' "Types: deb" "URIs: $mirror" "Suites: bookworm-backports" "Components: main" \
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg" |
        keelson_root tee /etc/apt/sources.list.d/keelson-backports.sources >/dev/null
    keelson_update || keelson_fail "apt cannot read bookworm-backports (see above)"
}

# --- Rust ---

# The version the workspace asks for.
keelson_rust_wanted() { sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml; }

# Whether the `cargo` in PATH works and is new enough.
keelson_rust_fits() {
    local version
    version=$(cargo --version 2>/dev/null | cut -d' ' -f2) && [ -n "$version" ] &&
        dpkg --compare-versions "${version%%-*}" ge "$1"
}

keelson_rust() {
    local wanted home rustup
    wanted=$(keelson_rust_wanted)
    home=${RUSTUP_HOME:-$HOME/.rustup}
    [ ! -d "${CARGO_HOME:-$HOME/.cargo}/bin" ] || PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
    keelson_rust_fits "$wanted" && return
    # One that this script put there before, beside an older one that goes first in PATH.
    keelson_rust_use "$home" "$wanted" && return
    rustup=(rustup)
    command -v rustup >/dev/null || keelson_rustup
    keelson_say "installing Rust $wanted by rustup, below $home"
    RUSTUP_HOME=$home "${rustup[@]}" toolchain install "$wanted" --profile minimal \
        --component clippy --component rustfmt --no-self-update >&2 ||
        keelson_fail "rustup could not install Rust $wanted (see above)"
    keelson_rust_use "$home" "$wanted" || keelson_fail "Rust $wanted is installed but does not run"
}

# Puts a toolchain's own programs first in PATH.
keelson_rust_use() {
    local bin=$1/toolchains/$2-x86_64-unknown-linux-gnu/bin
    [ -x "$bin/cargo" ] && PATH=$bin:$PATH && export PATH && keelson_rust_fits "$2"
}

# Finds a rustup and leaves how to call it in `rustup`: Debian 13's package; and where there is none
# (Debian 12), or where it would remove Debian's own Rust, that package unpacked into .cache.
keelson_rustup() {
    if [ "$(keelson_release)" != bookworm ]; then
        keelson_say "installing Debian packages: rustup"
        keelson_lists_are_fresh || keelson_update || true
        if keelson_root apt-get install -y -q --no-install-recommends --no-remove \
            -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 rustup >&2; then return; fi
        keelson_say "the package rustup does not go with the Rust packages installed"
    fi
    keelson_rustup_unpacked "$PWD/.cache/rustup"
}

# Debian 13's rustup with the libraries it needs, in a folder of its own: they are newer than Debian
# 12's, so they are neither installed nor found by anything else.
keelson_rustup_unpacked() {
    local dir=$1 mirror
    rustup=("$dir/root/usr/lib64/ld-linux-x86-64.so.2" --library-path "$dir/root/usr/lib/x86_64-linux-gnu"
        "$dir/root/usr/bin/rustup")
    [ ! -x "$dir/root/usr/bin/rustup" ] || return 0
    keelson_say "unpacking rustup and its libraries of Debian 13 into $dir (nothing of it is installed)"
    mirror=$(keelson_mirror)
    [ -n "$mirror" ] || keelson_fail "apt has no source for $(keelson_release) main to take rustup from"
    rm -rf "$dir"
    mkdir -p "$dir"/{state/lists/partial,cache/archives/partial,root}
    : >"$dir/state/status"
    printf '%s\n' "Types: deb" "URIs: $mirror" "Suites: trixie" "Components: main" \
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg" >"$dir/trixie.sources"
    printf '%s "%s";\n' Dir::Etc::sourcelist "$dir/trixie.sources" Dir::Etc::sourceparts /dev/null \
        Dir::Etc::main /dev/null Dir::Etc::parts /dev/null Dir::Etc::preferences /dev/null \
        Dir::Etc::preferencesparts /dev/null Dir::State "$dir/state" Dir::State::status "$dir/state/status" \
        Dir::Cache "$dir/cache" APT::Sandbox::User "$(id -un)" APT::Install-Recommends false \
        Acquire::Languages none >"$dir/apt.conf"
    if ! { APT_CONFIG=$dir/apt.conf apt-get update -q &&
        APT_CONFIG=$dir/apt.conf apt-get install -y -q --download-only rustup; } >"$dir/log" 2>&1; then
        cat "$dir/log" >&2
        keelson_fail "Debian 13's rustup cannot be had from $mirror (see above)"
    fi
    find "$dir/cache/archives" -name '*.deb' -exec dpkg-deb -x {} "$dir/root" \;
    rm -rf "$dir/cache" "$dir/state"
}

# --- Go ---

# The version that the module of Kubernetes asks for.
keelson_go_wanted() { sed -n 's/^go //p' manifests/kubernetes/go.mod; }

# Whether the `go` in PATH is, in the module, at least of this version; it may fetch another for that.
keelson_go_fits() {
    local version
    version=$(cd manifests/kubernetes && go env GOVERSION) && dpkg --compare-versions "${version#go}" ge "$1"
}

# Has a Go in PATH that is new enough: the one there is; or Debian's golang-go, which from 1.21 on takes
# a newer toolchain from the Go module proxy, as it does any module, and checks it.
keelson_go() {
    local wanted suite= packages
    wanted=$(keelson_go_wanted)
    GOTOOLCHAIN=local keelson_go_fits "$wanted" 2>/dev/null && return
    export GOTOOLCHAIN=auto
    keelson_go_takes "$wanted" && return
    [ "$(keelson_release)" != bookworm ] || suite=/bookworm-backports
    # The first depends on the second's version.
    packages=("golang-go$suite" "golang-src$suite")
    keelson_say "installing Debian packages: ${packages[*]}"
    keelson_lists_are_fresh || keelson_update || true
    [ -z "$suite" ] || keelson_backports
    keelson_install "${packages[@]}" || { keelson_update && keelson_install "${packages[@]}"; } ||
        keelson_fail "apt could not install golang-go (see above)"
    # One that is too old may go first in PATH.
    keelson_go_takes "$wanted" || { export PATH=/usr/bin:$PATH && keelson_go_takes "$wanted"; } ||
        keelson_fail "no Go $wanted: Debian's is installed, but the Go module proxy does not give it (see above)"
}

# Whether the `go` in PATH can be of this version, by way of the Go module proxy.
keelson_go_takes() {
    local version
    version=$(GOTOOLCHAIN=local go version 2>/dev/null | cut -d' ' -f3) && [ -n "$version" ] &&
        dpkg --compare-versions "${version#go}" ge 1.21 || return
    [ -d "$(go env GOMODCACHE)/golang.org/toolchain@v0.0.1-go$1.linux-amd64" ] ||
        keelson_say "fetching Go $1 through the Go module proxy, with $version"
    keelson_go_fits "$1"
}
