// Packets that stand for many: what they are on the wire (segments.hpp), and that the carrier does
// to them what the reference model does to each of those.
#include <numeric>

#include "common/dataplane/segments.hpp"
#include "common/dataplane/transport.hpp"
#include "tests/unit/dataplane/carrier_world.hpp"

namespace dstm::dataplane::testing {
namespace {

constexpr std::uint8_t fin_psh_ack = 0x19;
constexpr std::uint8_t cwr_ack = 0x90;
constexpr std::size_t tcp_options_size = 12;

Packet payload_of(std::size_t size) {
    Packet out(size);
    std::iota(out.begin(), out.end(), std::uint8_t{1});
    return out;
}

Packet tcp_segment(std::uint32_t sequence, std::uint8_t flags, const Packet& payload) {
    Packet out(20 + tcp_options_size, 1);
    store16(out, 0, 40000);
    store16(out, 2, 80);
    store32(out, 4, sequence);
    store32(out, 8, 77);
    store8(out, 12, static_cast<std::uint8_t>(out.size() / 4 * 16));
    store8(out, 13, flags);
    store16(out, 16, 0);
    out.insert(out.end(), payload.begin(), payload.end());
    return out;
}

Packet udp_datagram(const Packet& payload) {
    Packet out(8);
    store16(out, 0, 40000);
    store16(out, 2, 443);
    store16(out, 4, static_cast<std::uint16_t>(8 + payload.size()));
    out.insert(out.end(), payload.begin(), payload.end());
    return out;
}

Packet in_ipv4(std::uint8_t protocol, const Packet& transport, std::uint16_t id = 0x1234,
               const std::string& source = "203.0.113.80",
               const std::string& destination = "192.0.2.7") {
    packets::Ipv4Fields of;
    of.source = v4(source);
    of.destination = v4(destination);
    of.traffic_class = 0x02;
    of.dont_fragment = true;
    of.protocol = protocol;
    of.payload = transport;
    auto out = packets::make_ipv4(of);
    store16(out, 4, id);
    packets::fix_header_checksum(out);
    return out;
}

Packet in_ipv6(std::uint8_t protocol, const Packet& transport) {
    return packets::make_ipv6(v6("2001:db8:3::80"), v6("2001:db8:100::7"), 0x02, protocol,
                              transport);
}

// The sum that a receiver makes over transport and pseudo-header; 0 when it is right.
std::uint16_t checksum_error(const Packet& packet) {
    if (load8(packet, 0) >> 4 == 6) {
        return packets::ipv6_checksum_error(packet, load8(packet, 6));
    }
    Packet covered(packet.begin() + 12, packet.begin() + 20);
    const auto size = packet.size() - 20;
    covered.insert(covered.end(), {0, packet[9], static_cast<std::uint8_t>(size >> 8),
                                   static_cast<std::uint8_t>(size)});
    covered.insert(covered.end(), packet.begin() + 20, packet.end());
    return internet_checksum(covered);
}

std::vector<Packet> cut(const Packet& packet, SegmentSize segment_size) {
    Segments segments;
    segments.add(packet, segment_size);
    std::vector<Packet> out;
    for (const auto bytes : segments.packets()) out.emplace_back(bytes.begin(), bytes.end());
    return out;
}

Packet with_right_checksum(Packet packet) {
    write_checksum(packet, read_inner_packet(packet, version_of(packet)).value());
    return packet;
}

struct Cut {
    const char* what;
    std::size_t payload;
    SegmentSize segment_size;
    std::vector<std::size_t> wanted;
};
const std::vector<Cut> cuts{
    {"even", 300, 100, {100, 100, 100}},    {"the last is shorter", 250, 100, {100, 100, 50}},
    {"odd sizes", 203, 101, {101, 101, 1}}, {"exactly one", 100, 100, {100}},
    {"less than one", 40, 100, {40}},       {"no payload", 0, 100, {0}},
};

TEST(Segments, TcpIsCutIntoWhatWouldHaveBeenSent) {
    for (const auto& row : cuts) {
        const auto payload = payload_of(row.payload);
        for (const bool is_ipv4 : {true, false}) {
            SCOPED_TRACE(std::string(row.what) + (is_ipv4 ? " IPv4" : " IPv6"));
            const auto make = [&](std::uint32_t at, std::size_t size, std::uint8_t flags,
                                  std::size_t number) {
                const auto begin = payload.begin() + at;
                const auto tcp = tcp_segment(0xffffffa0 + at, flags,
                                             Packet(begin, begin + static_cast<long>(size)));
                return is_ipv4 ? in_ipv4(6, tcp, static_cast<std::uint16_t>(0xffff + number))
                               : in_ipv6(6, tcp);
            };
            const auto got = cut(make(0, payload.size(), fin_psh_ack, 0), row.segment_size);
            ASSERT_EQ(got.size(), row.wanted.size());
            std::uint32_t at = 0;
            for (std::size_t i = 0; i < got.size(); ++i) {
                const bool is_last = i + 1 == got.size();
                const auto flags = static_cast<std::uint8_t>(is_last ? fin_psh_ack : 0x10);
                EXPECT_EQ(got[i], with_right_checksum(make(at, row.wanted[i], flags, i))) << i;
                EXPECT_EQ(checksum_error(got[i]), 0) << i;
                at += static_cast<std::uint32_t>(row.wanted[i]);
            }
        }
    }
}

TEST(Segments, CongestionWindowReducedIsSaidOnceAndEcnOnEach) {
    const auto got = cut(in_ipv4(6, tcp_segment(1, cwr_ack, payload_of(30))), 10);
    ASSERT_EQ(got.size(), 3u);
    for (std::size_t i = 0; i < got.size(); ++i) {
        EXPECT_EQ(load8(got[i], 33), i == 0 ? cwr_ack : 0x10);
        EXPECT_EQ(load8(got[i], 1), 0x02);
    }
}

TEST(Segments, UdpIsCutIntoDatagrams) {
    for (const bool is_ipv4 : {true, false}) {
        const auto udp = udp_datagram(payload_of(250));
        const auto got = cut(is_ipv4 ? in_ipv4(17, udp) : in_ipv6(17, udp), 100);
        ASSERT_EQ(got.size(), 3u);
        const std::size_t ip_size = is_ipv4 ? 20 : 40;
        for (const auto& datagram : got) {
            EXPECT_EQ(load16(datagram, ip_size + 4), datagram.size() - ip_size);
            EXPECT_EQ(checksum_error(datagram), 0);
        }
        EXPECT_EQ(got[2].size(), ip_size + 8 + 50);
    }
}

// RFC 768: zero would say that there is none.
TEST(Segments, UdpChecksumOfZeroIsSentAsOnes) {
    auto packet = in_ipv4(17, udp_datagram({0, 0}));
    auto sum = with_right_checksum(packet);
    store16(packet, 28, load16(sum, 26));  // makes the sum come out as zero
    EXPECT_EQ(load16(cut(packet, 2).at(0), 26), 0xffff);
}

TEST(Segments, OneThatStandsForNoOtherStaysAsItIs) {
    auto fragment = in_ipv4(6, tcp_segment(1, 0x10, payload_of(50)));
    store16(fragment, 6, 0x2000);
    auto cut_short = in_ipv4(6, tcp_segment(1, 0x10, payload_of(50)));
    cut_short.resize(45);
    const auto tcp = in_ipv4(6, tcp_segment(1, fin_psh_ack, payload_of(50)));
    EXPECT_EQ(cut(tcp, 0), std::vector<Packet>{tcp});
    for (const auto& packet : {fragment, cut_short, in_ipv4(1, payload_of(80)), Packet{}}) {
        EXPECT_EQ(cut(packet, 10), std::vector<Packet>{packet});
    }
}

TEST(Segments, MemoryIsUsedAgain) {
    Segments segments;
    const auto one = in_ipv4(1, payload_of(80));
    const auto other = in_ipv4(1, payload_of(30));
    segments.add(one, 0);
    segments.clear();
    segments.add(other, 0);
    segments.add(one, 0);
    ASSERT_EQ(segments.count(), 2u);
    EXPECT_TRUE(std::ranges::equal(segments.packets()[0], other));
    EXPECT_TRUE(std::ranges::equal(segments.packets()[1], one));
}

// Up, the carrier sees the whole: cut afterwards, it must be what the model makes of the pieces.
void expect_same_as_model(const Packet& whole, SegmentSize segment_size, std::uint8_t outer_class,
                          const std::string& outer_client, Now now = start) {
    CarrierWorld world(endpoint_config());
    world.add(make_spec("192.0.2.7", "2001:db8:1::5"));
    world.add(make_spec("192.0.2.8", "2001:db8:4::5"));
    std::vector<Packet> wanted;
    DropCounters wanted_drops;
    std::uint64_t bytes = 0;
    for (const auto& piece : cut(whole, segment_size)) {
        const auto outer = make_outer(TunnelType::v4v6, {v6(outer_client), 0}, {endpoint_outer, 0},
                                      outer_class, piece);
        const auto verdict = world.model_up(outer, now);
        if (!verdict.counter.empty()) ++wanted_drops[verdict.counter];
        if (verdict.packet.empty()) continue;
        wanted.push_back(verdict.packet);
        bytes += verdict.packet.size();
    }
    auto packet = whole;
    const auto verdict = world.carrier().up({TunnelType::v4v6, {v6(outer_client), 0}}, outer_class,
                                            packet, now, segment_size);
    packet.resize(verdict.size);
    EXPECT_EQ(verdict.drop ? std::vector<Packet>() : cut(packet, segment_size), wanted);
    for (const auto& [name, count] : world.carrier().drops().by_name()) {
        EXPECT_EQ(count, wanted_drops.contains(name) ? wanted_drops.at(name) : 0) << name;
    }
    const auto counters = world.carrier().tunnels().find(v4("192.0.2.7"))->counters;
    EXPECT_EQ(counters.packets_up, wanted.size());
    EXPECT_EQ(counters.bytes_up, bytes);
}

TEST(MergedPacket, IsCarriedUpAsTheModelCarriesEachOfItsSegments) {
    const auto tcp = tcp_segment(1, fin_psh_ack, payload_of(3000));
    const auto make = [&](const char* source) {
        return in_ipv4(6, tcp, 7, source, "203.0.113.80");
    };
    const auto expired = Now{start.instant, start.wall + std::chrono::hours(2)};
    for (const auto size : std::vector<SegmentSize>{1400, 1000, 999, 3000}) {
        SCOPED_TRACE(size);
        expect_same_as_model(make("192.0.2.7"), size, 0x02, "2001:db8:1::5");
        expect_same_as_model(make("192.0.2.7"), size, 0x03, "2001:db8:1::5");  // congested
        expect_same_as_model(make("192.0.2.7"), size, 0x02, "2001:db8:4::5");  // spoofed
        expect_same_as_model(make("192.0.2.9"), size, 0x02, "2001:db8:1::5");  // unknown
        expect_same_as_model(make("192.0.2.7"), size, 0x02, "2001:db8:1::5", expired);
    }
}

}  // namespace
}  // namespace dstm::dataplane::testing
