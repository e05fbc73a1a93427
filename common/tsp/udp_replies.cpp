// Two tables of buckets for each kind of peer.
#include "common/tsp/udp_replies.hpp"

#include <algorithm>

namespace dstm::tsp {
namespace {

RateTable::Rate address_rate(RateTable::Rate rate) {
    return {std::max(1u, rate.per_second / UdpReplies::addresses_per_share),
            std::max(1u, rate.burst / UdpReplies::addresses_per_share)};
}

}  // namespace

UdpReplies::UdpReplies(RateTable::Rate rate, std::uint64_t key)
    : strangers_{RateTable(address_rate(rate), key), RateTable(rate, key)}, stepped_(strangers_) {}

bool UdpReplies::has(Peer peer, const IpAddress& address, Instant now) {
    Share& share = share_of(peer);
    return share.addresses.has(address, now) && share.prefixes.has(source_prefix(address), now);
}

bool UdpReplies::take(Peer peer, const IpAddress& address, Instant now) {
    if (!has(peer, address, now)) return false;
    Share& share = share_of(peer);
    return share.addresses.take(address, now) && share.prefixes.take(source_prefix(address), now);
}

void UdpReplies::set_rate(RateTable::Rate rate) {
    for (Share* share : {&strangers_, &stepped_}) {
        share->addresses.set_rate(address_rate(rate));
        share->prefixes.set_rate(rate);
    }
}

}  // namespace dstm::tsp
