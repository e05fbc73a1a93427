// Layer 2: whole frames, from interface to interface. What is not plain goes on untouched to layer
// 1, which has its own tables; what is refused counts as there.
#include <linux/bpf.h>

#include "bpf/ipv4_endpoint.hpp"
#include "common/base/bytes.hpp"

namespace dstm::test {
namespace {

constexpr std::uint16_t ipv4 = 0x0800;
constexpr std::uint16_t ipv6 = 0x86dd;
constexpr std::uint16_t vlan = 0x8100;
constexpr std::uint8_t tcp_syn = 0x02;
constexpr std::uint8_t tcp_ack = 0x10;
constexpr std::uint16_t dont_fragment = 0x4000;
constexpr std::uint16_t more_fragments = 0x2000;

struct Row {
    const char* description;
    Packet frame;
    int verdict;
    Packet expected;  // the packet in the frame that leaves; as it was, when empty
    Counters drops;
};

Inner to_client() { return {v4("203.0.113.80"), v4("192.0.2.7")}; }
Inner from_client() { return {v4("192.0.2.7"), v4("203.0.113.80")}; }
Outer around_it() { return {v6("2001:db8:1::7"), v6(Endpoint::outer)}; }
Outer to_it() { return {v6(Endpoint::outer), v6("2001:db8:1::7")}; }

template <class Header, class Change>
Header with(Header header, Change change) {
    change(header);
    return header;
}

Packet down(const Inner& inner) { return frame(ipv4, make(inner)); }
Packet up(const Inner& inner, const Outer& outer = around_it()) {
    return frame(ipv6, make(outer, make(inner)));
}

// As it is one hop later.
Packet routed(Inner inner) {
    --inner.ttl;
    return make(inner);
}
Packet wrapped(const Inner& inner) {
    return make(with(to_it(), [&](Outer& o) { o.traffic_class = inner.tos; }), routed(inner));
}

Packet and_more(Packet packet) {
    packet.insert(packet.end(), {1, 2, 3});
    return packet;
}
Packet with_wrong_checksum(Packet packet, std::size_t header) {
    packet.at(header + 10) ^= 1;
    return packet;
}
Packet to_another_station(Packet frame) {
    frame.at(5) ^= 1;
    return frame;
}
Packet without_end(Packet packet) {
    packet.pop_back();
    return packet;
}

class ProgramXdp : public Ipv4Endpoint {
protected:
    void check(const std::vector<Row>& rows) {
        for (const auto& row : rows) {
            SCOPED_TRACE(row.description);
            const auto outcome = host->in([&] { return endpoint->xdp(row.frame); });
            EXPECT_EQ(outcome.verdict, row.verdict);
            if (!row.expected.empty()) {
                EXPECT_EQ(outcome.packet, row.expected);
            } else if (outcome.verdict == XDP_PASS) {
                EXPECT_EQ(outcome.frame, row.frame);
            }
            for (const auto& [name, count] : row.drops) expected[name] += count;
            EXPECT_EQ(endpoint->drops(), expected);
        }
    }
};

TEST_F(ProgramXdp, DownTable) {
    const auto marked = with(to_client(), [](Inner& i) { i.tos = 0xb9; });
    const auto whole = with(to_client(), [](Inner& i) { i.fragment = dont_fragment; });
    const auto large = [](std::size_t size) {
        return with(to_client(), [&](Inner& i) { i.payload.resize(size - 20); });
    };
    const auto tcp_of = [](std::uint8_t flags) { return frame(ipv4, tcp(to_client(), flags, {})); };
    check({
        {"plain", down(to_client()), XDP_TX, wrapped(to_client()), {}},
        {"DSCP and ECN", down(marked), XDP_TX, wrapped(marked), {}},
        {"DF", down(whole), XDP_TX, wrapped(whole), {}},
        {"as large as fits", down(large(1460)), XDP_TX, wrapped(large(1460)), {}},
        {"a byte too large", down(large(1461)), XDP_PASS, {}, {}},
        {"TTL 1", down(with(to_client(), [](Inner& i) { i.ttl = 1; })), XDP_PASS, {}, {}},
        {"TTL 0", down(with(to_client(), [](Inner& i) { i.ttl = 0; })), XDP_PASS, {}, {}},
        {"first fragment",
         down(with(to_client(), [](Inner& i) { i.fragment = more_fragments; })),
         XDP_PASS,
         {},
         {}},
        {"last fragment",
         down(with(to_client(), [](Inner& i) { i.fragment = 3; })),
         XDP_PASS,
         {},
         {}},
        {"options",
         down(with(to_client(), [](Inner& i) { i.options = {7, 4, 4, 0}; })),
         XDP_PASS,
         {},
         {}},
        {"SYN, whose MSS is layer 1's", tcp_of(tcp_syn), XDP_PASS, {}, {}},
        {"bytes behind the packet", and_more(down(to_client())), XDP_PASS, {}, {}},
        {"cut short", without_end(down(to_client())), XDP_PASS, {}, {}},
        {"of no tunnel",
         down(with(to_client(), [](Inner& i) { i.destination = v4("192.0.2.77"); })),
         XDP_PASS,
         {},
         {}},
        {"of no pool",
         down(with(to_client(), [](Inner& i) { i.destination = v4("203.0.113.9"); })),
         XDP_PASS,
         {},
         {}},
        {"expired",
         down(with(to_client(), [](Inner& i) { i.destination = v4("192.0.2.9"); })),
         XDP_DROP,
         {},
         {{"expired", 1}}},
        {"from this network",
         down(with(to_client(), [](Inner& i) { i.source = v4("0.1.2.3"); })),
         XDP_PASS,
         {},
         {}},
        {"from loopback",
         down(with(to_client(), [](Inner& i) { i.source = v4("127.0.0.1"); })),
         XDP_PASS,
         {},
         {}},
        {"from multicast",
         down(with(to_client(), [](Inner& i) { i.source = v4("224.1.1.1"); })),
         XDP_PASS,
         {},
         {}},
        {"from the endpoint",
         down(with(to_client(), [](Inner& i) { i.source = v4("192.0.2.1"); })),
         XDP_PASS,
         {},
         {}},
        {"a wrong checksum", with_wrong_checksum(down(to_client()), 14), XDP_PASS, {}, {}},
        {"to another station", to_another_station(down(to_client())), XDP_PASS, {}, {}},
        {"in a VLAN", frame(vlan, make(to_client())), XDP_PASS, {}, {}},
        {"version 6 in an IPv4 frame", frame(ipv4, make(around_it(), {})), XDP_PASS, {}, {}},
    });
    EXPECT_EQ(endpoint->entry("192.0.2.7").packets_down, 4u);
    EXPECT_EQ(endpoint->entry("192.0.2.7").bytes_down, 32u * 3 + 1460);
    EXPECT_EQ(host->in([&] { return endpoint->xdp(tcp_of(tcp_ack)).verdict; }), XDP_TX);
}

TEST_F(ProgramXdp, UpTable) {
    const auto outer = [](const char* source) {
        return with(around_it(), [&](Outer& o) { o.source = v6(source); });
    };
    const auto from = [](const char* source) {
        return with(from_client(), [&](Inner& i) { i.source = v4(source); });
    };
    const auto to = [](const char* destination) {
        return with(from_client(), [&](Inner& i) { i.destination = v4(destination); });
    };
    const auto congested = with(around_it(), [](Outer& o) { o.traffic_class = 3; });
    const auto ect = with(from_client(), [](Inner& i) { i.tos = 2; });
    const auto ce = with(from_client(), [](Inner& i) { i.tos = 3; });
    const auto next = [](std::uint8_t header, Packet extension) {
        return with(around_it(), [&](Outer& o) {
            o.next_header = header;
            o.extension = std::move(extension);
        });
    };
    check({
        {"plain", up(from_client()), XDP_REDIRECT, routed(from_client()), {}},
        {"congestion on the way", up(ect, congested), XDP_REDIRECT, routed(ce), {}},
        {"congestion, and no ECN inside",
         up(from_client(), congested),
         XDP_DROP,
         {},
         {{"ecn_congested", 1}}},
        {"inner of another client",
         up(from_client(), outer("2001:db8:1::8")),
         XDP_DROP,
         {},
         {{"spoofed_inner", 1}}},
        {"outer of nobody",
         up(from_client(), outer("2001:db8:66::1")),
         XDP_DROP,
         {},
         {{"spoofed_outer", 1}}},
        {"inner of nobody", up(from("192.0.2.77")), XDP_DROP, {}, {{"unknown_inner", 1}}},
        {"both of nobody",
         up(from("192.0.2.77"), outer("2001:db8:66::1")),
         XDP_DROP,
         {},
         {{"unknown_outer", 1}}},
        {"inner of the endpoint", up(from("192.0.2.1")), XDP_DROP, {}, {{"bad_source", 1}}},
        {"to multicast", up(to("239.1.1.1")), XDP_DROP, {}, {{"bad_destination", 1}}},
        {"expired",
         up(from("192.0.2.9"), outer("2001:db8:1::9")),
         XDP_DROP,
         {},
         {{"expired", 1}}},
        {"to the endpoint", up(to("192.0.2.1")), XDP_PASS, {}, {}},
        {"to another client", up(to("192.0.2.8")), XDP_PASS, {}, {}},
        {"no way", up(to("198.51.100.9")), XDP_PASS, {}, {}},
        {"TTL 1", up(with(from_client(), [](Inner& i) { i.ttl = 1; })), XDP_PASS, {}, {}},
        {"a wrong checksum", with_wrong_checksum(up(from_client()), 54), XDP_PASS, {}, {}},
        {"to another station", to_another_station(up(from_client())), XDP_PASS, {}, {}},
        {"encapsulation limit",
         up(from_client(), next(60, {4, 0, 4, 1, 4, 1, 0, 0})),
         XDP_PASS,
         {},
         {}},
        {"outer fragment", up(from_client(), next(44, {4, 0, 0, 1, 0, 0, 0, 7})), XDP_PASS, {}, {}},
        {"IPv6 inside", up(from_client(), next(41, {})), XDP_PASS, {}, {}},
        {"to another host",
         up(from_client(),
            with(around_it(), [](Outer& o) { o.destination = v6("2001:db8:2::2"); })),
         XDP_PASS,
         {},
         {}},
        {"SYN", frame(ipv6, make(around_it(), tcp(from_client(), tcp_syn, {}))), XDP_PASS, {}, {}},
        {"bytes behind the packet", and_more(up(from_client())), XDP_PASS, {}, {}},
        {"cut short", without_end(up(from_client())), XDP_PASS, {}, {}},
    });
    EXPECT_EQ(endpoint->entry("192.0.2.7").packets_up, 2u);
    EXPECT_EQ(endpoint->entry("192.0.2.7").bytes_up, 64u);
}

// A VLAN's interface, a bridge: what XDP would hand to them is lost.
TEST_F(ProgramXdp, WhatTheNextInterfaceDoesNotTakeIsLeftToLayerOne) {
    endpoint->set_mtu(1500, false);
    set_way_out(false);
    check({
        {"down", down(to_client()), XDP_PASS, {}, {}},
        {"up", up(from_client()), XDP_PASS, {}, {}},
    });
    EXPECT_EQ(endpoint->entry("192.0.2.7").packets_down, 0u);
    EXPECT_EQ(endpoint->entry("192.0.2.7").packets_up, 0u);
}

TEST_F(ProgramXdp, CutAtEveryByteIsLeftToLayerOne) {
    for (const auto& whole : {down(to_client()), up(from_client())}) {
        for (std::size_t size = 14; size < whole.size(); ++size) {
            SCOPED_TRACE(size);
            const Packet cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
            const auto outcome = host->in([&] { return endpoint->xdp(cut); });
            EXPECT_EQ(outcome.verdict, XDP_PASS);
            EXPECT_EQ(outcome.frame, cut);
        }
    }
    EXPECT_TRUE(endpoint->drops().empty());
}

}  // namespace
}  // namespace dstm::test
