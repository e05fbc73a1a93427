// Rows of packets: what comes in, what goes out, which counter moves. Every row is put to the fast
// carrier and to the reference model.
#pragma once

#include <string>
#include <vector>

#include "tests/unit/dataplane/carrier_world.hpp"

namespace dstm::dataplane::testing {

using packets::Ipv4Fields;
using packets::make_ipv4;
using packets::make_ipv6;
using packets::make_syn;

inline const auto first_outer = v6("2001:db8:1::5");
inline const auto second_outer = v6("2001:db8:4::5");
inline const auto stranger_outer = v6("2001:db8:9::9");

inline Ipv4Fields fields(const std::string& source, const std::string& destination) {
    Ipv4Fields out;
    out.source = v4(source);
    out.destination = v4(destination);
    return out;
}

inline Packet plain(const std::string& source, const std::string& destination) {
    return make_ipv4(fields(source, destination));
}

inline Packet changed(Packet packet, std::size_t offset, std::uint8_t value) {
    packet.at(offset) = value;
    return packet;
}

inline Packet joined(Packet head, const Packet& tail) {
    head.insert(head.end(), tail.begin(), tail.end());
    return head;
}

inline Packet sized(const std::string& source, const std::string& destination, std::size_t size,
                    bool dont_fragment) {
    auto of = fields(source, destination);
    of.payload = Packet(size - 20, 0x5a);
    of.dont_fragment = dont_fragment;
    return make_ipv4(of);
}

struct Row {
    const char* description;
    Packet in;
    const char* counter;  // "" = goes on
    Packet out;           // inner packet, both ways
};

inline void expect_same(const Outcome& outcome, const model::Verdict& wanted,
                        const char* description) {
    EXPECT_EQ(outcome.verdict, wanted) << description;
    EXPECT_EQ(outcome.moved, counters_of(wanted)) << description;
}

inline void expect_rows_up(CarrierWorld& world, const Peer& from, const std::vector<Row>& rows) {
    const auto to = from.type == TunnelType::v4v6 ? IpEndpoint{endpoint_outer, 0}
                                                  : IpEndpoint{endpoint_outer_ipv4, endpoint_port};
    for (const auto& row : rows) {
        const auto outer = make_outer(from.type, from.endpoint, to, 0, row.in);
        const auto outcome = world.up(outer);
        EXPECT_EQ(outcome.verdict.counter, row.counter) << row.description;
        EXPECT_EQ(outcome.verdict.packet, row.out) << row.description;
        expect_same(outcome, world.model_up(outer), row.description);
    }
}

inline void expect_rows_up(CarrierWorld& world, const Ipv6Address& outer_source,
                           const std::vector<Row>& rows) {
    expect_rows_up(world, Peer{TunnelType::v4v6, {outer_source, 0}}, rows);
}

// `from` and `to` are the outer ends, of the type of `to`.
inline void expect_rows_down(CarrierWorld& world, const IpEndpoint& from, const Peer& to,
                             const std::vector<Row>& rows) {
    for (const auto& row : rows) {
        const auto outcome = world.down(row.in);
        EXPECT_EQ(outcome.verdict.counter, row.counter) << row.description;
        Packet wanted;
        if (!row.out.empty()) {
            const auto word = load16(row.out, 0);
            const auto traffic_class = word >> 12 == 6 ? word >> 4 : word;
            wanted = make_outer(to.type, from, to.endpoint,
                                static_cast<std::uint8_t>(traffic_class), row.out);
        }
        EXPECT_EQ(outcome.verdict.packet, wanted) << row.description;
        expect_same(outcome, world.model_down(row.in), row.description);
    }
}

inline void expect_rows_down(CarrierWorld& world, const Ipv6Address& from, const Ipv6Address& to,
                             const std::vector<Row>& rows) {
    expect_rows_down(world, IpEndpoint{from, 0}, Peer{TunnelType::v4v6, {to, 0}}, rows);
}

}  // namespace dstm::dataplane::testing
