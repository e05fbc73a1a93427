// From an outer address to an index, one question to the kernel for each network of clients.
#include "tep/bpf/next_hops.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

namespace dstm::tep::bpf {
namespace {

constexpr std::size_t half = DSTM_NEXT_HOPS_MAX / 2;
constexpr std::uint8_t network_length = 64;
constexpr std::size_t networks_max = 1 << 20;

std::uint64_t network_of(const Ipv6Address& address) {
    std::uint64_t out = 0;
    std::memcpy(&out, address.bytes().data(), sizeof out);
    return out;
}

}  // namespace

Result<NextHops> NextHops::open(const Programs& programs, HostNetwork& network) {
    auto shared = MappedArray<dstm_next_hop>::map(programs.next_hops(), DSTM_NEXT_HOPS_MAX);
    if (!shared) return tl::unexpected(shared.error());
    NextHops out(network, programs.settings().outer);
    out.shared_ = std::move(*shared);
    // Tunnels that an earlier daemon left still point into the half that it used.
    const auto first_half = out.shared_.elements().first(half);
    const bool is_first_used = std::ranges::any_of(
        first_half, [](const dstm_next_hop& hop) { return hop.interface != 0; });
    out.base_ = is_first_used ? half : 0;
    return out;
}

void NextHops::forget_earlier() {
    for (auto& hop : shared_.elements().subspan(base_ == 0 ? half : 0, half)) hop = {};
}

std::uint16_t NextHops::to(const Ipv6Address& client) {
    if (const auto known = by_network_.find(network_of(client)); known != by_network_.end()) {
        return known->second;
    }
    const auto route = network_->route_to(client, source_);
    if (!route) return 0;
    const auto index = find_or_make(*route, client);
    // On the link each client is its own next hop.
    if (route->gateway && route->prefix_length <= network_length &&
        by_network_.size() < networks_max) {
        by_network_.emplace(network_of(client), index);
    }
    return index;
}

std::uint16_t NextHops::find_or_make(const RouteAnswer& route, const Ipv6Address& client) {
    Hop wanted{route.interface, route.gateway ? route.gateway : client, route.mtu};
    const auto same = [&](const Hop& hop) {
        return hop.interface == wanted.interface && hop.address == wanted.address &&
               hop.mtu == wanted.mtu;
    };
    auto found = std::find_if(hops_.begin(), hops_.end(), same);
    // With the last places the kernel finds the neighbour, packet by packet.
    if (found == hops_.end() && hops_.size() >= half / 2) {
        wanted.address.reset();
        found = std::find_if(hops_.begin(), hops_.end(), same);
    }
    const auto place = static_cast<std::size_t>(found - hops_.begin());
    if (place == half) return 0;
    if (found == hops_.end()) {
        hops_.push_back(wanted);
        write(place);
    }
    return static_cast<std::uint16_t>(base_ + place);
}

void NextHops::write(std::size_t index) {
    const auto& hop = hops_[index];
    auto& out = shared_.elements()[base_ + index];
    const auto link = network_->link(hop.interface);
    if (!link) {
        publish(out.mtu, __u16{0});
        return;
    }
    const auto mtu = hop.mtu != 0 ? std::min(hop.mtu, link->mtu) : link->mtu;
    out.has_link_addresses = 0;
    out.takes_frames = link->takes_frames;
    if (link->address) std::memcpy(out.source, link->address->data(), sizeof out.source);
    out.interface = static_cast<__u32>(hop.interface);
    publish(out.mtu, static_cast<__u16>(std::min<std::uint32_t>(mtu, 0xffff)));
    if (link->address && hop.address) {
        write_link_address(index, network_->neighbour(hop.interface, *hop.address));
    }
}

// A program that reads meanwhile finds the flag off and asks the kernel instead.
void NextHops::write_link_address(std::size_t index, const std::optional<LinkAddress>& address) {
    auto& out = shared_.elements()[base_ + index];
    std::atomic_ref flag(out.has_link_addresses);
    if (address && flag.load() != 0 &&
        std::memcmp(out.destination, address->data(), sizeof out.destination) == 0) {
        return;
    }
    flag.store(0);
    if (!address) return;
    std::memcpy(out.destination, address->data(), sizeof out.destination);
    flag.store(1);
}

void NextHops::routes_changed() {
    by_network_.clear();
    for (std::size_t i = 1; i < hops_.size(); ++i) write(i);
}

void NextHops::neighbours_changed(const std::vector<NeighbourNews>& news) {
    for (const auto& neighbour : news) {
        for (std::size_t i = 1; i < hops_.size(); ++i) {
            const auto& hop = hops_[i];
            if (hop.interface != neighbour.interface || hop.address != neighbour.address) continue;
            const bool has_header =
                network_->link(hop.interface).value_or(Link{}).address.has_value();
            write_link_address(i, has_header ? neighbour.link_address : std::nullopt);
            // The kernel sees no packet of ours and would never ask again on its own.
            if (neighbour.is_stale) network_->probe(hop.interface, neighbour.address);
        }
    }
}

}  // namespace dstm::tep::bpf
