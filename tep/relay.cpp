// From the plane's thread to the event thread, and from there to a server.
#include "tep/relay.hpp"

#include <functional>
#include <random>
#include <string>
#include <utility>

#include "common/dataplane/data_plane.hpp"
#include "common/io/asio.hpp"
#include "tep/server_link.hpp"

namespace dstm::tep {
namespace {

std::uint64_t random_key() {
    std::random_device source;
    return static_cast<std::uint64_t>(source()) << 32 | source();
}

}  // namespace

Relay::Relay(asio::io_context& context, const Clock& clock, RateTable::Rate rate)
    : context_(context), clock_(clock), rates_(rate, random_key()) {}

void Relay::hand_over(const IpEndpoint& peer, ConstBytes datagram) {
    if (datagram.empty() || datagram.size() > teplink::datagram_size_max) {
        ++oversize_;
        return;
    }
    if (waiting_.fetch_add(1) >= waiting_max) {
        --waiting_;
        ++overrun_;
        return;
    }
    teplink::Datagram copy{peer, {reinterpret_cast<const char*>(datagram.data()), datagram.size()}};
    asio::post(context_, [this, copy = std::move(copy)] {
        --waiting_;
        relay(copy);
    });
}

void Relay::relay(const teplink::Datagram& datagram) {
    if (!rates_.take(source_prefix(datagram.peer.address), clock_.now())) {
        ++counters_.limited;
        return;
    }
    ServerLink* const server = server_of(datagram.peer);
    if (server == nullptr) {
        ++counters_.no_server;
    } else if (server->relay(datagram)) {
        ++counters_.relayed;
    } else {
        ++counters_.link_busy;
    }
}

ServerLink* Relay::server_of(const IpEndpoint& peer) {
    auto at = young_.find(peer);
    if (at == young_.end()) {
        if (young_.size() >= peers_max) old_ = std::exchange(young_, {});
        const auto earlier = old_.find(peer);
        const auto chosen = earlier == old_.end() ? choose(peer) : earlier->second;
        at = young_.emplace(peer, chosen).first;
    }
    if (at->second >= links_.size() || !links_[at->second]->is_up()) at->second = choose(peer);
    return at->second < links_.size() ? links_[at->second].get() : nullptr;
}

std::size_t Relay::Hash::operator()(const IpEndpoint& peer) const {
    return std::hash<IpAddress>{}(peer.address) * 31 + peer.port;
}

// Spreads the peers over the links that are up; links_.size(): there is none.
std::size_t Relay::choose(const IpEndpoint& peer) const {
    std::vector<std::size_t> up;
    for (std::size_t i = 0; i < links_.size(); ++i) {
        if (links_[i]->is_up()) up.push_back(i);
    }
    return up.empty() ? links_.size() : up[Hash{}(peer) % up.size()];
}

void Relay::send_back(dataplane::DataPlane& plane, const teplink::Datagram& reply) {
    const ConstBytes bytes(reinterpret_cast<const std::uint8_t*>(reply.data.data()),
                           reply.data.size());
    const auto sent = plane.send_tsp(reply.peer, bytes);
    ++(sent ? counters_.returned : counters_.not_sent);
}

RelayCounters Relay::counters() const {
    RelayCounters all = counters_;
    all.overrun = overrun_;
    all.oversize = oversize_;
    return all;
}

}  // namespace dstm::tep
