// The smallest campus on which the tun data plane can be seen working.
//
//   first  (2001:db8:1::5, inner 192.0.2.7) --+
//                                             +-- router ------ endpoint ------------ server
//   second (2001:db8:4::5, inner 192.0.2.8) --+   2001:db8:2::1, inner 192.0.2.1   203.0.113.80
//
// Left of the endpoint there is only IPv6, right of it only IPv4.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "common/dataplane/tun_plane.hpp"
#include "common/io/real_clock.hpp"
#include "tests/unit/dataplane/namespaces.hpp"

namespace dstm::dataplane::testing {

inline Ipv4Address v4(const std::string& text) { return Ipv4Address::parse(text).value(); }
inline Ipv6Address v6(const std::string& text) { return Ipv6Address::parse(text).value(); }

inline bool wait_until(const std::function<bool()>& condition,
                       std::chrono::milliseconds bound = std::chrono::seconds(5)) {
    const auto end = std::chrono::steady_clock::now() + bound;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > end) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return true;
}

inline TunnelSpec make_spec(const std::string& inner, const std::string& outer_client) {
    TunnelSpec spec;
    spec.inner = v4(inner);
    spec.outer_client = {v6(outer_client), 0};
    spec.outer_server = v6("2001:db8:2::1");
    spec.generation = 1;
    spec.expires_at = RealClock().wall() + std::chrono::hours(1);
    return spec;
}

// Which plane carries at the endpoint, and at a client. Another test program may choose another
// one, and then all that is seen here must be seen with it too.
using MakePlane = Result<std::unique_ptr<DataPlane>> (*)(const TunPlaneConfig&, const Clock&);
inline MakePlane make_endpoint_plane = make_tun_plane;
inline MakePlane make_client_plane = make_tun_plane;
// What such a plane needs of each end of a link.
inline void (*prepare_interface)(const Namespace& host, const std::string& name) = nullptr;

// A plane that is made, used and destroyed inside its namespace.
class HostedPlane {
public:
    HostedPlane(const Namespace& host, const TunPlaneConfig& config, const Clock& clock)
        : host_(host), plane_(host.in([&] {
              const bool is_client = config.role == TunPlaneConfig::Role::client;
              return (is_client ? make_client_plane : make_endpoint_plane)(config, clock);
          })) {}
    ~HostedPlane() { stop(); }
    void stop() {
        host_.in([this] { plane_ = fail(ErrorCode::closed, "stopped"); });
    }
    [[nodiscard]] bool is_up() const { return plane_.has_value(); }
    [[nodiscard]] std::string why() const { return is_up() ? "" : to_string(plane_.error()); }
    Result<void> add(const TunnelSpec& spec) {
        return host_.in([&] { return plane_.value()->add(spec); });
    }
    Result<void> remove(const std::string& inner, Generation up_to = 1) {
        return host_.in(
            [&] { return plane_.value()->remove(parse_ip_address(inner).value(), up_to); });
    }
    [[nodiscard]] std::uint64_t dropped(const std::string& name) {
        return plane_.value()->drops().at(name);
    }
    [[nodiscard]] DataPlane& plane() const { return *plane_.value(); }

private:
    const Namespace& host_;
    Result<std::unique_ptr<DataPlane>> plane_;
};

class TunCampus : public ::testing::Test {
protected:
    void SetUp() override {
        if (const auto why = why_no_namespaces(); !why.empty()) GTEST_SKIP() << why;
        first = std::make_unique<Namespace>("a");
        second = std::make_unique<Namespace>("b");
        router = std::make_unique<Namespace>("r");
        endpoint = std::make_unique<Namespace>("e");
        server = std::make_unique<Namespace>("s");
        connect(*first, "2001:db8:1::5/64", *router, "a0", "2001:db8:1::1/64");
        connect(*second, "2001:db8:4::5/64", *router, "b0", "2001:db8:4::1/64");
        connect(*endpoint, "2001:db8:2::1/64", *router, "e0", "2001:db8:2::ffff/64");
        connect(*server, "203.0.113.80/24", *endpoint, "s0", "203.0.113.1/24");
        first->ip("-6 route add default via 2001:db8:1::1");
        second->ip("-6 route add default via 2001:db8:4::1");
        endpoint->ip("-6 route add default via 2001:db8:2::ffff");
        server->ip("route add default via 203.0.113.1");
        router->sysctl("net/ipv6/conf/all/forwarding", "1");
        endpoint->sysctl("net/ipv4/ip_forward", "1");
    }

    // Both ends of a link, up and with addresses. The left one is called eth0.
    static void connect(const Namespace& left, const std::string& left_address,
                        const Namespace& right, const std::string& right_name,
                        const std::string& right_address) {
        left.ip_batch({"link add eth0 type veth peer name " + right_name + " netns " + right.name(),
                       "link set eth0 up", "addr add " + left_address + " dev eth0"});
        right.ip_batch(
            {"link set " + right_name + " up", "addr add " + right_address + " dev " + right_name});
        if (prepare_interface != nullptr) {
            prepare_interface(left, "eth0");
            prepare_interface(right, right_name);
        }
        EXPECT_TRUE(
            wait_until([&] { return left.is_ready("eth0") && right.is_ready(right_name); }));
    }

    [[nodiscard]] static TunPlaneConfig endpoint_config() {
        TunPlaneConfig config;
        config.outer = v6("2001:db8:2::1");
        config.inner = v4("192.0.2.1");
        config.pools = {Ipv4Prefix::parse("192.0.2.0/24").value()};
        return config;
    }

    [[nodiscard]] static TunPlaneConfig client_config() {
        TunPlaneConfig config;
        config.role = TunPlaneConfig::Role::client;
        return config;
    }

    // Endpoint and first client up, the tunnel between them and the client's default route.
    void bring_up(const TunPlaneConfig& config = endpoint_config(), bool client_clamps = true) {
        tep = std::make_unique<HostedPlane>(*endpoint, config, clock);
        ASSERT_TRUE(tep->is_up()) << tep->why();
        ASSERT_TRUE(tep->add(first_spec));
        auto of_client = client_config();
        of_client.mss_clamp = client_clamps;
        client = bring_up_client(*first, first_spec, of_client);
    }

    // The smallest links that IPv6 allows.
    void narrow_client_link() const {
        router->ip("link set a0 mtu 1280");
        first->ip("link set eth0 mtu 1280");
    }
    void narrow_endpoint_link() const {
        router->ip("link set e0 mtu 1280");
        endpoint->ip("link set eth0 mtu 1280");
    }

    std::unique_ptr<HostedPlane> bring_up_client(const Namespace& host, const TunnelSpec& spec,
                                                 const TunPlaneConfig& config) {
        auto plane = std::make_unique<HostedPlane>(host, config, clock);
        EXPECT_TRUE(plane->is_up()) << plane->why();
        const auto added = plane->add(spec);
        EXPECT_TRUE(added) << to_string(added.error());
        host.ip("route add default dev dstm0");
        return plane;
    }

    RealClock clock;
    const TunnelSpec first_spec = make_spec("192.0.2.7", "2001:db8:1::5");
    const TunnelSpec second_spec = make_spec("192.0.2.8", "2001:db8:4::5");
    std::unique_ptr<Namespace> first, second, router, endpoint, server;
    std::unique_ptr<HostedPlane> tep, client;
};

}  // namespace dstm::dataplane::testing
