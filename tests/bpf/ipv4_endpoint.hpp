// An endpoint of v4v6 beside the reference model: in a namespace with a way to every IPv4 address
// but those of 198.51.100.0/24.
#pragma once

#include <memory>

#include <net/if.h>

#include "bpf/random_packets.hpp"
#include "bpf/test_run.hpp"
#include "common/base/bytes.hpp"
#include "common/tunnel/reference_model.hpp"
#include "tests/unit/dataplane/namespaces.hpp"

namespace dstm::test {

using dataplane::testing::Namespace;

class Ipv4Endpoint : public ProgramTest {
protected:
    void SetUp() override {
        if (const auto why = dataplane::testing::why_no_namespaces(); !why.empty()) {
            GTEST_SKIP() << why;
        }
        ProgramTest::SetUp();
        if (!endpoint) return;
        host = std::make_unique<Namespace>("x");
        host->sysctl("net/ipv4/ip_forward", "1");
        host->ip_batch(
            {"link add eth0 type veth peer name nobody", "link set eth0 up", "link set nobody up",
             "addr add 203.0.113.1/24 dev eth0",
             "neigh add 203.0.113.254 lladdr 02:00:00:00:00:fe dev eth0 nud permanent",
             "route add default via 203.0.113.254",
             "neigh add 203.0.113.80 lladdr 02:00:00:00:00:80 dev eth0 nud permanent",
             "route add unreachable 198.51.100.0/24"});
        set_way_out(true);
        world.inner = v4(Endpoint::inner);
        now = RealClock().wall();
        know("192.0.2.7", "2001:db8:1::7", std::chrono::hours(1));
        know("192.0.2.8", "2001:db8:1::8", std::chrono::hours(1));
        know("192.0.2.9", "2001:db8:1::9", std::chrono::seconds(0));
    }

    void set_way_out(bool takes_frames) {
        const auto interface = host->in([] { return if_nametoindex("eth0"); });
        endpoint->set_port(static_cast<int>(interface), takes_frames);
    }

    std::unique_ptr<Namespace> host;
    model::World world;  // with the tunnels of ProgramTest
    WallTime now;
    Counters expected;

private:
    void know(const char* inner, const char* outer, std::chrono::seconds lifetime) {
        TunnelSpec spec;
        spec.inner = v4(inner);
        spec.outer_client = {v6(outer), 0};
        spec.outer_server = v6(Endpoint::outer);
        spec.expires_at = now + lifetime;
        world.tunnels.push_back(spec);
    }
};

// A right packet, one hop later.
inline Packet routed(Packet ipv4) {
    const auto before = load16(ipv4, 8);
    --ipv4.at(8);
    store16(ipv4, 10, updated_checksum(load16(ipv4, 10), before, load16(ipv4, 8)));
    return ipv4;
}

// Of tunnels, of the endpoint, of nobody, of the other side, and of no host.
inline const std::vector<Ipv4Address>& likely_addresses() {
    static const std::vector<Ipv4Address> all = [] {
        std::vector<Ipv4Address> out;
        for (const auto* text : {"192.0.2.7", "192.0.2.7", "192.0.2.7", "192.0.2.8", "192.0.2.9",
                                 "192.0.2.1", "192.0.2.77", "203.0.113.80", "203.0.113.80",
                                 "127.0.0.1", "224.0.0.5", "255.255.255.255"}) {
            out.push_back(v4(text));
        }
        return out;
    }();
    return all;
}

// From three senders with tunnels, one of them more likely, and from nobody; with an encapsulation
// limit now and then, and sometimes other padding behind it than Linux sends.
inline Outer random_outer(Dice& dice) {
    static const std::vector<Ipv6Address> senders{v6("2001:db8:1::7"), v6("2001:db8:1::7"),
                                                  v6("2001:db8:1::8"), v6("2001:db8:1::9"),
                                                  v6("2001:db8:66::1")};
    Outer outer{dice.of(senders), v6(Endpoint::outer)};
    outer.traffic_class = dice.byte();
    if (dice.one_in(5)) {
        outer.next_header = 60;
        const auto padding = dice.one_in(3) ? dice.byte() : std::uint8_t{1};
        outer.extension = {4, 0, 4, 1, dice.byte(), 1, padding, 0};
    }
    return outer;
}

// A program reads the one limit that Linux sends; others are for the kernel.
inline bool is_for_a_program(const Outer& outer) {
    return outer.extension.empty() || outer.extension[6] == 1;
}

}  // namespace dstm::test
