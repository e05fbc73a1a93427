// IFLA_INFO_KIND "ip6tnl" and "sit" by libnl-3.
#include "common/dataplane/tunnel_links.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include <arpa/inet.h>
#include <linux/if.h>
#include <linux/if_tunnel.h>
#include <linux/ip6_tunnel.h>
#include <netlink/route/link/ip6tnl.h>
#include <netlink/route/link/sit.h>

#include "common/base/assert.hpp"
#include "common/dataplane/netlink_detail.hpp"

namespace dstm::dataplane {
namespace {

using namespace detail;

constexpr std::uint8_t hop_limit = 64;   // RFC 2473 s6.3, RFC 1700
constexpr std::uint8_t tos_inherit = 1;  // of sit: 1 copies the inner one

in6_addr native_v6(const IpAddress& address) {
    in6_addr out{};
    std::memcpy(&out, std::get<Ipv6Address>(address).bytes().data(), sizeof out);
    return out;
}

IpAddress value_of(const in6_addr& address) {
    Ipv6Address::Bytes bytes;
    std::copy_n(address.s6_addr, bytes.size(), bytes.begin());
    return Ipv6Address(bytes);
}

std::uint32_t native_v4(const IpAddress& address) {
    return htonl(std::get<Ipv4Address>(address).host_order());
}

Link native_ip6tnl(const TunnelLink& link) {
    auto out = owned<Link>(rtnl_link_ip6_tnl_alloc());
    auto local = native_v6(link.local);
    auto remote = native_v6(link.remote);
    rtnl_link_ip6_tnl_set_local(out.get(), &local);
    rtnl_link_ip6_tnl_set_remote(out.get(), &remote);
    rtnl_link_ip6_tnl_set_ttl(out.get(), hop_limit);
    rtnl_link_ip6_tnl_set_proto(out.get(), IPPROTO_IPIP);
    rtnl_link_ip6_tnl_set_flags(out.get(), IP6_TNL_F_IGN_ENCAP_LIMIT | IP6_TNL_F_USE_ORIG_TCLASS);
    return out;
}

Link native_sit(const TunnelLink& link) {
    auto out = owned<Link>(rtnl_link_sit_alloc());
    rtnl_link_sit_set_local(out.get(), native_v4(link.local));
    rtnl_link_sit_set_remote(out.get(), native_v4(link.remote));
    rtnl_link_sit_set_ttl(out.get(), hop_limit);
    rtnl_link_sit_set_tos(out.get(), tos_inherit);
    rtnl_link_sit_set_pmtudisc(out.get(), 1);
    return out;
}

Link native(const TunnelLink& link) {
    DSTM_ASSERT(link.type != TunnelType::v6udpv4);
    return link.type == TunnelType::v4v6 ? native_ip6tnl(link) : native_sit(link);
}

void read_counters(rtnl_link* from, TunnelLink& to) {
    to.packets_received = rtnl_link_get_stat(from, RTNL_LINK_RX_PACKETS);
    to.bytes_received = rtnl_link_get_stat(from, RTNL_LINK_RX_BYTES);
    to.packets_sent = rtnl_link_get_stat(from, RTNL_LINK_TX_PACKETS);
    to.bytes_sent = rtnl_link_get_stat(from, RTNL_LINK_TX_BYTES);
    to.congested = rtnl_link_get_stat(from, RTNL_LINK_RX_FRAME_ERR);
    to.send_errors = rtnl_link_get_stat(from, RTNL_LINK_TX_ERRORS);
}

// Nothing for a link of another kind.
std::optional<TunnelLink> value_of(rtnl_link* from) {
    TunnelLink link;
    if (rtnl_link_is_ip6_tnl(from) != 0) {
        in6_addr local{};
        in6_addr remote{};
        rtnl_link_ip6_tnl_get_local(from, &local);
        rtnl_link_ip6_tnl_get_remote(from, &remote);
        link.local = value_of(local);
        link.remote = value_of(remote);
    } else if (rtnl_link_is_sit(from) != 0) {
        link.type = TunnelType::v6v4;
        link.local = Ipv4Address(ntohl(rtnl_link_sit_get_local(from)));
        link.remote = Ipv4Address(ntohl(rtnl_link_sit_get_remote(from)));
    } else {
        return std::nullopt;
    }
    link.name = rtnl_link_get_name(from);
    if (const char* alias = rtnl_link_get_ifalias(from)) link.alias = alias;
    link.index = rtnl_link_get_ifindex(from);
    link.is_up = (rtnl_link_get_flags(from) & IFF_UP) != 0;
    read_counters(from, link);
    return link;
}

Link empty_link(int index) {
    auto out = owned<Link>(rtnl_link_alloc());
    rtnl_link_set_ifindex(out.get(), index);
    return out;
}

}  // namespace

struct TunnelLinks::Impl {
    Socket socket;

    Result<void> change(int index, rtnl_link* changes, const std::string& doing) {
        return check(rtnl_link_change(socket.get(), empty_link(index).get(), changes, 0), doing);
    }
};

TunnelLinks::TunnelLinks(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TunnelLinks::TunnelLinks(TunnelLinks&&) noexcept = default;
TunnelLinks& TunnelLinks::operator=(TunnelLinks&&) noexcept = default;
TunnelLinks::~TunnelLinks() = default;

Result<TunnelLinks> TunnelLinks::open() {
    auto socket = open_socket();
    if (!socket) return tl::unexpected(socket.error());
    return TunnelLinks(std::make_unique<Impl>(Impl{std::move(*socket)}));
}

Result<int> TunnelLinks::add(const TunnelLink& link) {
    const auto wanted = native(link);
    rtnl_link_set_name(wanted.get(), link.name.c_str());
    auto* socket = impl_->socket.get();
    int error = rtnl_link_add(socket, wanted.get(), NLM_F_CREATE | NLM_F_EXCL);
    if (error == -NLE_OPNOTSUPP) {
        const bool is_v4v6 = link.type == TunnelType::v4v6;
        return fail(ErrorCode::unavailable,
                    std::string("this kernel makes no ") + (is_v4v6 ? "ip6tnl" : "sit") +
                        " devices: it has no module " + (is_v4v6 ? "ip6_tunnel" : "sit"));
    }
    if (error < 0) return fail_netlink(error, "make device " + link.name);
    rtnl_link* found = nullptr;
    error = rtnl_link_get_kernel(socket, 0, link.name.c_str(), &found);
    if (error < 0) return fail_netlink(error, "find device " + link.name);
    const int index = rtnl_link_get_ifindex(Link(found).get());
    // The kernel takes no alias while it makes a device.
    if (auto said = set_alias(index, link.alias); !said) {
        static_cast<void>(remove(index));
        return tl::unexpected(said.error());
    }
    return index;
}

Result<void> TunnelLinks::change(const TunnelLink& link) {
    return impl_->change(link.index, native(link).get(), "change the ends of " + link.name);
}

Result<void> TunnelLinks::set_alias(int index, const std::string& alias) {
    auto changes = owned<Link>(rtnl_link_alloc());
    rtnl_link_set_ifalias(changes.get(), alias.c_str());
    return impl_->change(index, changes.get(), "set alias of device " + std::to_string(index));
}

Result<void> TunnelLinks::remove(int index) {
    const int error = rtnl_link_delete(impl_->socket.get(), empty_link(index).get());
    if (error < 0 && code_of(error) == ErrorCode::not_found) return {};
    return check(error, "remove device " + std::to_string(index));
}

Result<TunnelLink> TunnelLinks::read(int index) {
    rtnl_link* found = nullptr;
    const auto name = "device " + std::to_string(index);
    const int error = rtnl_link_get_kernel(impl_->socket.get(), index, nullptr, &found);
    if (error < 0) return fail_netlink(error, name);
    auto link = value_of(Link(found).get());
    if (!link) return fail(ErrorCode::invalid, name + " is no tunnel device");
    return *link;
}

Result<std::vector<TunnelLink>> TunnelLinks::list() {
    nl_cache* filled = nullptr;
    const int error = rtnl_link_alloc_cache(impl_->socket.get(), AF_UNSPEC, &filled);
    if (error < 0) return fail_netlink(error, "read devices");
    const Cache cache(filled);
    std::vector<TunnelLink> out;
    for (auto* item = nl_cache_get_first(filled); item != nullptr; item = nl_cache_get_next(item)) {
        if (auto link = value_of(reinterpret_cast<rtnl_link*>(item)))
            out.push_back(std::move(*link));
    }
    return out;
}

}  // namespace dstm::dataplane
