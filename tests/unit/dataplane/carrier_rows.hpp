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

inline void expect_rows_up(CarrierWorld& world, const Ipv6Address& outer_source,
                           const std::vector<Row>& rows) {
    for (const auto& row : rows) {
        const auto outer = make_ipv6(outer_source, endpoint_outer, 0, 4, row.in);
        const auto outcome = world.up(outer);
        EXPECT_EQ(outcome.verdict.counter, row.counter) << row.description;
        EXPECT_EQ(outcome.verdict.packet, row.out) << row.description;
        expect_same(outcome, world.model_up(outer), row.description);
    }
}

inline void expect_rows_down(CarrierWorld& world, const Ipv6Address& from, const Ipv6Address& to,
                             const std::vector<Row>& rows) {
    for (const auto& row : rows) {
        const auto outcome = world.down(row.in);
        EXPECT_EQ(outcome.verdict.counter, row.counter) << row.description;
        const auto wanted =
            row.out.empty() ? Packet() : make_ipv6(from, to, row.out.at(1), 4, row.out);
        EXPECT_EQ(outcome.verdict.packet, wanted) << row.description;
        expect_same(outcome, world.model_down(row.in), row.description);
    }
}

}  // namespace dstm::dataplane::testing
