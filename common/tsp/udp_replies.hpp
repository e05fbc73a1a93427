// How many replies go to peers that are not proven: so many a second to one prefix (the /24 or
// /64), and to one address a part of that only, so that no host can use up what its neighbours
// need. Who has gone on with its dialogue has a share of its own, which strangers cannot use up.
// Counting only, in tables of fixed size.
#pragma once

#include "common/base/rate_table.hpp"

namespace dstm::tsp {

class UdpReplies {
public:
    enum class Peer { stranger, stepped };
    static constexpr std::uint32_t addresses_per_share = 4;

    // `rate`: of one prefix, for strangers, and as many for those who have stepped.
    UdpReplies(RateTable::Rate rate, std::uint64_t key);

    // One reply; false: the address or its prefix has had its share. Nothing is taken then.
    [[nodiscard]] bool take(Peer peer, const IpAddress& address, Instant now);
    // Whether take() would succeed.
    [[nodiscard]] bool has(Peer peer, const IpAddress& address, Instant now);
    void set_rate(RateTable::Rate rate);

private:
    struct Share {
        RateTable addresses;
        RateTable prefixes;
    };
    [[nodiscard]] Share& share_of(Peer peer) {
        return peer == Peer::stepped ? stepped_ : strangers_;
    }

    Share strangers_;
    Share stepped_;
};

}  // namespace dstm::tsp
