// From an outer address to an index, one question to the kernel for all clients with the same
// routes.
#include "tep/bpf/next_hops.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <utility>

#include "common/log/log.hpp"

namespace dstm::tep::bpf {
namespace {

constexpr std::size_t half = DSTM_NEXT_HOPS_MAX / 2;
constexpr std::size_t answers_max = 1 << 20;

// Of several ways each client has one, so that its packets stay in order.
const RouteHop& chosen(const std::vector<RouteHop>& hops, const Ipv6Address& client) {
    std::size_t weights = 0;
    for (const auto& hop : hops) weights += hop.weight;
    auto left = std::hash<Ipv6Address>{}(client) % weights;
    for (const auto& hop : hops) {
        if (left < hop.weight) return hop;
        left -= hop.weight;
    }
    return hops.back();
}

}  // namespace

// A daemon that was killed while it led tunnels to its own half has left both in use.
Result<NextHops> NextHops::open(const Programs& programs, HostNetwork& network, const Used& used) {
    auto shared = MappedArray<dstm_next_hop>::map(programs.next_hops(), DSTM_NEXT_HOPS_MAX);
    if (!shared) return tl::unexpected(shared.error());
    NextHops out(network, programs.settings().outer);
    out.shared_ = std::move(*shared);
    const auto in_second = (used >> (half + 1)).count();
    const auto in_first = ((used << half) >> (half + 1)).count();
    out.base_ = in_first > in_second ? half : 0;
    return out;
}

bool NextHops::is_ours(std::uint16_t place) const {
    return place > base_ && place < base_ + half;
}

void NextHops::forget_earlier() {
    for (auto& hop : shared_.elements().subspan(base_ == 0 ? half : 0, half)) hop = {};
}

std::uint16_t NextHops::to(const Ipv6Address& client) {
    const auto& answer = answer_for(client);
    if (answer.hops.empty()) return 0;
    const auto& hop = chosen(answer.hops, client);
    // On the link each client is its own next hop.
    return place_of({hop.interface, hop.gateway ? hop.gateway : client, answer.mtu});
}

const RouteAnswer& NextHops::answer_for(const Ipv6Address& client) {
    const auto cell = network_->cell_of(client);
    for (const auto& within : {cell, Ipv6Prefix{client, 128}}) {
        const auto known = answers_.find(within);
        if (known != answers_.end()) return known->second;
    }
    auto route = network_->route_to(client, source_);
    if (route) {
        refused_.erase(cell);
    } else if (route.error().code == ErrorCode::refused && refused_.insert(cell).second) {
        log_warning("BPF_NO_WAY", "destination={} {}; its clients' packets take the slow path",
                    cell.to_string(), route.error().context);
    }
    if (answers_.size() >= answers_max) answers_.clear();
    auto answer = route.value_or(RouteAnswer{});
    const auto within = answer.is_of_cell ? cell : Ipv6Prefix{client, 128};
    return answers_[within] = std::move(answer);
}

std::uint16_t NextHops::place_of(Hop hop) {
    auto found = places_.find(hop);
    // With the last places the kernel finds the neighbour, packet by packet.
    if (found == places_.end() && free_.empty() && hops_.size() >= half / 2) {
        is_crowded_ = true;
        hop.address.reset();
        found = places_.find(hop);
    }
    if (found != places_.end()) return static_cast<std::uint16_t>(base_ + found->second);
    auto place = hops_.size();
    if (!free_.empty()) {
        place = free_.front();
        free_.pop_front();
    } else if (place == half) {
        return 0;
    } else {
        hops_.emplace_back();
    }
    if (std::ranges::find(hops_, hop.interface, &Hop::interface) == hops_.end()) {
        has_new_interface_ = true;
        links_[hop.interface].reset();
        static_cast<void>(ask_for_link(hop.interface));
    }
    hops_[place] = hop;
    places_.emplace(hop, place);
    write(place);
    return static_cast<std::uint16_t>(base_ + place);
}

void NextHops::forget_unused(const Used& used) {
    for (std::size_t i = 1; i < hops_.size(); ++i) {
        if (hops_[i].interface == 0 || used[base_ + i]) continue;
        publish(shared_.elements()[base_ + i].mtu, __u16{0});
        places_.erase(hops_[i]);
        hops_[i] = {};
        free_.push_back(i);
    }
    is_crowded_ = false;
    may_have_unused_ = false;
}

std::set<int> NextHops::interfaces() {
    std::set<int> out;
    for (const auto& hop : hops_) out.insert(hop.interface);
    out.erase(0);
    has_new_interface_ = false;
    return out;
}

void NextHops::links_changed() {
    wants_links_ = false;
    std::map<int, bool> changed;
    for (std::size_t i = 1; i < hops_.size(); ++i) {
        const auto interface = hops_[i].interface;
        if (interface == 0) continue;
        const auto [known, is_first] = changed.try_emplace(interface);
        if (is_first) known->second = ask_for_link(interface);
        if (known->second) write(i);
    }
}

// Whether it is another than was known. What keeps the kernel from answering may pass: until then
// all stays as it is.
bool NextHops::ask_for_link(int interface) {
    const auto answer = network_->link(interface);
    if (!answer && answer.error().code != ErrorCode::not_found) {
        wants_links_ = true;
        return false;
    }
    const auto link = answer ? std::optional(*answer) : std::nullopt;
    return std::exchange(links_[interface], link) != link;
}

void NextHops::write(std::size_t index) {
    const auto& hop = hops_[index];
    const auto& link = links_[hop.interface];
    auto& out = shared_.elements()[base_ + index];
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
    ask_for_neighbour(index);
}

void NextHops::ask_for_neighbour(std::size_t index) {
    const auto& hop = hops_[index];
    const auto& link = links_[hop.interface];
    if (!link || !link->address || !hop.address) return;
    write_link_address(index, network_->neighbour(hop.interface, *hop.address));
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

void NextHops::neighbours_changed(const std::vector<NeighbourNews>& news) {
    for (const auto& neighbour : news) {
        for (std::size_t i = 1; i < hops_.size(); ++i) {
            const auto& hop = hops_[i];
            if (hop.interface != neighbour.interface || hop.address != neighbour.address) continue;
            const auto& link = links_[hop.interface];
            const bool has_header = link && link->address;
            write_link_address(i, has_header ? neighbour.link_address : std::nullopt);
            // The kernel sees no packet of ours and would never ask again on its own.
            if (neighbour.is_stale) network_->probe(hop.interface, neighbour.address);
        }
    }
}

void NextHops::neighbours_lost() {
    for (std::size_t i = 1; i < hops_.size(); ++i) {
        if (hops_[i].interface != 0) ask_for_neighbour(i);
    }
}

}  // namespace dstm::tep::bpf
