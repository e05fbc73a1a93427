// What a netlink message says of the ways that a route takes (rtnetlink(7)).
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "common/base/ip_address.hpp"
#include "tep/bpf/netlink_message.hpp"

namespace dstm::tep::bpf {

struct RouteHop {
    int interface = 0;
    std::optional<Ipv6Address> gateway;
    bool has_gateway = false;  // of whichever family
    unsigned weight = 1;
    bool is_dead = false;
    bool is_wrapped = false;  // packets get a header of the route's own (lwtunnel)
};

[[nodiscard]] inline std::optional<Ipv6Address> address_in(std::span<const std::uint8_t> value) {
    Ipv6Address::Bytes bytes;
    if (value.size() != bytes.size()) return std::nullopt;
    std::memcpy(bytes.data(), value.data(), bytes.size());
    return Ipv6Address(bytes);
}

// Of a route; a rule has its destination in the same place.
[[nodiscard]] inline Ipv6Prefix destination_in(const netlink::Message& message) {
    const auto body = message.body<rtmsg>();
    const auto address = address_in(message.attribute(sizeof body, RTA_DST));
    return {address.value_or(Ipv6Address()), std::min<std::uint8_t>(body.rtm_dst_len, 128)};
}

// `attributes` of a route's single way, or of one among several.
[[nodiscard]] inline RouteHop hop_in(std::span<const std::uint8_t> attributes) {
    using netlink::Message;
    RouteHop out;
    const auto gateway = Message::find(attributes, 0, RTA_GATEWAY);
    out.interface =
        static_cast<int>(netlink::number_in<std::uint32_t>(Message::find(attributes, 0, RTA_OIF)));
    out.gateway = address_in(gateway);
    out.has_gateway = !gateway.empty() || !Message::find(attributes, 0, RTA_VIA).empty();
    out.is_wrapped = !Message::find(attributes, 0, RTA_ENCAP_TYPE).empty();
    return out;
}

// Of an RTM_NEWROUTE. Empty: it has none, or names only an object (RTA_NH_ID).
[[nodiscard]] inline std::vector<RouteHop> hops_in(const netlink::Message& message) {
    std::vector<RouteHop> out;
    if (!message.attribute(sizeof(rtmsg), RTA_OIF).empty()) {
        out.push_back(hop_in(message.attributes(sizeof(rtmsg))));
        out.back().is_dead = (message.body<rtmsg>().rtm_flags & RTNH_F_DEAD) != 0;
    }
    auto left = message.attribute(sizeof(rtmsg), RTA_MULTIPATH);
    rtnexthop one{};
    while (left.size() >= sizeof one) {
        std::memcpy(&one, left.data(), sizeof one);
        if (one.rtnh_len < sizeof one || one.rtnh_len > left.size()) break;
        auto hop = hop_in(left.first(one.rtnh_len).subspan(sizeof one));
        hop.interface = one.rtnh_ifindex;
        hop.weight = one.rtnh_hops + 1U;
        hop.is_dead = (one.rtnh_flags & RTNH_F_DEAD) != 0;
        out.push_back(hop);
        left = left.subspan(std::min<std::size_t>(left.size(), RTNH_ALIGN(one.rtnh_len)));
    }
    return out;
}

}  // namespace dstm::tep::bpf
