// The campus of tun_campus.hpp with IPv4 on its left side and IPv6 on its right one besides.
//
//   first  (10.0.1.5, inner 2001:db8:100::7) --+
//                                              +-- router ------- endpoint -------------- server
//   second (10.0.4.5, inner 2001:db8:100::8) --+   198.51.100.1, inner 2001:db8:100::1
//   2001:db8:3::80
//
// The router can be a NAT: then the endpoint sees 198.51.100.254 and a port of its choice.
#pragma once

#include <future>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <netinet/in.h>
#include <sys/socket.h>

#include "common/dataplane/outer_socket.hpp"
#include "tests/unit/dataplane/traffic.hpp"
#include "tests/unit/dataplane/tun_campus.hpp"

namespace dstm::dataplane::testing {

inline constexpr std::uint16_t signalling_port = 40000;  // of the client, on its side of a NAT
inline const std::string host_behind = "2001:db8:3::80";

// The client's end of the signalling: a UDP socket that the data will use too.
class Signalling {
public:
    Signalling(const Namespace& host, const std::string& address) {
        socket_ = host.in([&] {
            Descriptor udp(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
            const auto local = native(address, signalling_port);
            EXPECT_EQ(::bind(udp.number(), reinterpret_cast<const sockaddr*>(&local), sizeof local),
                      0);
            return udp;
        });
    }
    void send(const std::string& text, const std::string& to = "198.51.100.1") const {
        const auto peer = native(to, 3653);
        ::sendto(socket_.number(), text.data(), text.size(), 0,
                 reinterpret_cast<const sockaddr*>(&peer), sizeof peer);
    }
    [[nodiscard]] Result<Descriptor> duplicate() const {
        return Descriptor(::dup(socket_.number()));
    }
    // What the plane does not read reaches the dialogue. Empty when nothing comes.
    [[nodiscard]] std::string receive() const {
        std::array<char, 2048> buffer;
        ssize_t size = -1;
        wait_until([&] {
            size = ::recv(socket_.number(), buffer.data(), buffer.size(), 0);
            return size >= 0;
        });
        return size < 0 ? "" : std::string(buffer.data(), static_cast<std::size_t>(size));
    }

private:
    static sockaddr_in native(const std::string& address, std::uint16_t port) {
        sockaddr_in out{};
        out.sin_family = AF_INET;
        out.sin_port = htons(port);
        out.sin_addr.s_addr = htonl(v4(address).host_order());
        return out;
    }
    Descriptor socket_;
};

// Datagrams of signalling that a plane has handed over.
class Mailbox {
public:
    [[nodiscard]] TspDatagram entrance() {
        return [this](const IpEndpoint& peer, ConstBytes bytes) {
            const std::lock_guard lock(mutex_);
            letters_.emplace_back(peer, std::string(bytes.begin(), bytes.end()));
        };
    }
    [[nodiscard]] std::size_t size() const {
        const std::lock_guard lock(mutex_);
        return letters_.size();
    }
    // The oldest; an empty one when none comes.
    [[nodiscard]] std::pair<IpEndpoint, std::string> take() {
        wait_until([&] { return size() > 0; });
        const std::lock_guard lock(mutex_);
        if (letters_.empty()) return {};
        auto letter = letters_.front();
        letters_.erase(letters_.begin());
        return letter;
    }

private:
    mutable std::mutex mutex_;
    std::vector<std::pair<IpEndpoint, std::string>> letters_;
};

class TunIpv6Campus : public TunCampus {
protected:
    void SetUp() override {
        TunCampus::SetUp();
        if (IsSkipped()) return;
        first->ip_batch({"addr add 10.0.1.5/24 dev eth0", "route add default via 10.0.1.1"});
        second->ip_batch({"addr add 10.0.4.5/24 dev eth0", "route add default via 10.0.4.1"});
        router->ip_batch({"addr add 10.0.1.1/24 dev a0", "addr add 10.0.4.1/24 dev b0",
                          "addr add 198.51.100.254/24 dev e0"});
        endpoint->ip_batch({"addr add 198.51.100.1/24 dev eth0",
                            "addr add 2001:db8:3::1/64 dev s0 nodad",
                            "route add default via 198.51.100.254"});
        server->ip_batch(
            {"addr add 2001:db8:3::80/64 dev eth0 nodad", "route add default via 2001:db8:3::1"});
        router->sysctl("net/ipv4/ip_forward", "1");
        endpoint->sysctl("net/ipv6/conf/all/forwarding", "1");
        open_signalling();
    }
    void open_signalling() { signalling = std::make_unique<Signalling>(*first, "10.0.1.5"); }

    // Port 0: v6v4.
    [[nodiscard]] static TunnelSpec v6_spec(const std::string& inner, const std::string& outer,
                                            std::uint16_t port = 0, Generation generation = 1) {
        auto spec = make_spec("192.0.2.7", "2001:db8:1::5");
        spec.type = port == 0 ? TunnelType::v6v4 : TunnelType::v6udpv4;
        spec.inner = v6(inner);
        spec.outer_client = {v4(outer), port};
        spec.outer_server = v4("198.51.100.1");
        spec.generation = generation;
        return spec;
    }

    [[nodiscard]] TunPlaneConfig endpoint_v6_config() {
        auto config = endpoint_config();
        config.outer_ipv4 = v4("198.51.100.1");
        config.inner_ipv6 = v6("2001:db8:100::1");
        config.pools_ipv6 = {Ipv6Prefix::parse("2001:db8:100::/48").value(),
                             Ipv6Prefix::parse("2001:db8:200::/40").value()};
        config.udp_port = 3653;
        config.tsp_datagram = at_endpoint.entrance();
        return config;
    }

    [[nodiscard]] TunPlaneConfig client_v6_config() {
        auto config = client_config();
        config.udp_socket = [this](const TunnelSpec&) { return signalling->duplicate(); };
        config.tsp_datagram = at_client.entrance();
        return config;
    }

    void bring_up_v6(const TunnelSpec& spec) {
        start_endpoint();
        ASSERT_TRUE(tep->add(spec));
        client = start_client(*first, spec, client_v6_config());
    }
    void start_endpoint(bool hairpin = true) {
        auto config = endpoint_v6_config();
        config.hairpin = hairpin;
        tep = std::make_unique<HostedPlane>(*endpoint, config, clock);
        ASSERT_TRUE(tep->is_up()) << tep->why();
    }
    std::unique_ptr<HostedPlane> start_client(const Namespace& host, const TunnelSpec& spec,
                                              const TunPlaneConfig& config) {
        auto plane = std::make_unique<HostedPlane>(host, config, clock);
        EXPECT_TRUE(plane->is_up()) << plane->why();
        const auto added = plane->add(spec);
        EXPECT_TRUE(added) << to_string(added.error());
        host.ip("-6 route add 2000::/3 dev dstm0");
        return plane;
    }

    void make_router_a_nat() const {
        const auto said = router->exec(
            "nft 'table ip nat { chain post { type nat hook postrouting priority 100;"
            " oifname \"e0\" masquerade random; }; }'");
        EXPECT_EQ(said, "");
    }

    Mailbox at_endpoint, at_client;
    std::unique_ptr<Signalling> signalling;
};

}  // namespace dstm::dataplane::testing
