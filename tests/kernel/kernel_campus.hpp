// The campus of tun_campus.hpp with the kernel data plane, at one end or both.
#pragma once

#include <cstdlib>
#include <functional>
#include <optional>
#include <tuple>
#include <type_traits>

#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>

#include "common/dataplane/kernel_plane.hpp"
#include "tests/unit/dataplane/hand_made_client.hpp"
#include "tests/unit/dataplane/traffic.hpp"
#include "tests/unit/dataplane/tun_ipv6_campus.hpp"

namespace dstm::dataplane::testing {

inline KernelPlaneConfig kernel_config(const TunPlaneConfig& tun) {
    KernelPlaneConfig config;
    config.device = tun.device;
    if (tun.role == TunPlaneConfig::Role::client) {
        config.role = KernelPlaneConfig::Role::client;
        return config;
    }
    config.outer = tun.outer;
    config.inner = tun.inner;
    config.pools = tun.pools;
    config.outside_pools = tun.outside_pools;
    config.outer_ipv4 = tun.outer_ipv4;
    config.inner_ipv6 = tun.inner_ipv6;
    config.pools_ipv6 = tun.pools_ipv6;
    config.hairpin = tun.hairpin;
    config.mss_clamp = tun.mss_clamp;
    config.tunnels_max = tun.tunnels_max;
    return config;
}

inline Result<std::unique_ptr<DataPlane>> make_kernel(const TunPlaneConfig& tun,
                                                      const Clock& clock) {
    return make_kernel_plane(kernel_config(tun), clock);
}

// In the guest everything must be there: skipping would hide that it is not.
inline bool must_run() { return std::getenv("DSTM_GUEST") != nullptr; }

inline std::string why_no_kernel_plane() {
    if (auto why = why_no_namespaces(); !why.empty()) return why;
    for (const auto type : {TunnelType::v4v6, TunnelType::v6v4}) {
        if (const auto probed = probe_kernel_plane(type); !probed) return to_string(probed.error());
    }
    return {};
}

// A network that is as it was built serves the next test too: building one is most of a test.
// `Campus`: TunCampus or TunIpv6Campus.
template <class Campus>
class Reused : public Campus {
protected:
    void SetUp() override {
        const auto why = why_no_kernel_plane();
        if (!why.empty() && must_run()) FAIL() << why;
        if (!why.empty()) GTEST_SKIP() << why;
        if (!spare_) return Campus::SetUp();
        std::tie(this->first, this->second, this->router, this->endpoint, this->server) =
            std::move(*spare_);
        spare_.reset();
        if constexpr (has_ipv6) this->open_signalling();
    }
    void TearDown() override {
        if (!this->endpoint) return;
        this->client.reset();
        if (this->tep) detach();
        if constexpr (has_ipv6) this->signalling.reset();
        if (is_changed || this->HasFailure()) return;
        this->server->ip(has_ipv6 ? "-6 route flush cache" : "route flush cache");  // sizes learned
        spare_.emplace(std::move(this->first), std::move(this->second), std::move(this->router),
                       std::move(this->endpoint), std::move(this->server));
    }
    static void TearDownTestSuite() { spare_.reset(); }

    [[nodiscard]] TunPlaneConfig config_of_endpoint() {
        if constexpr (has_ipv6) return this->endpoint_v6_config();
        return this->endpoint_config();
    }
    // What an endpoint's daemon leaves is meant to stay; here it is in the way.
    void detach() {
        this->tep->stop();
        const auto config = kernel_config(config_of_endpoint());
        const auto done = this->endpoint->in([&] { return detach_kernel_plane(config); });
        EXPECT_TRUE(done) << to_string(done.error());
        this->tep.reset();
    }

    bool is_changed = false;  // the network, by the test

private:
    static constexpr bool has_ipv6 = std::is_base_of_v<TunIpv6Campus, Campus>;
    using Host = std::unique_ptr<Namespace>;
    static inline std::optional<std::tuple<Host, Host, Host, Host, Host>> spare_;
};
using ReusedCampus = Reused<TunCampus>;
using ReusedIpv6Campus = Reused<TunIpv6Campus>;

// Every IPv6 packet that `interface` of a host sends or receives from now on.
class Capture {
public:
    Capture(const Namespace& host, const std::string& interface)
        : socket_(host.in([&] {
              Descriptor socket(::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
              sockaddr_ll address{};
              address.sll_family = AF_PACKET;
              address.sll_protocol = htons(ETH_P_ALL);
              address.sll_ifindex = static_cast<int>(::if_nametoindex(interface.c_str()));
              ::bind(socket.number(), reinterpret_cast<sockaddr*>(&address), sizeof address);
              return socket;
          })) {}

    // The next one that `is_meant`; an empty one when none comes.
    [[nodiscard]] std::vector<std::uint8_t> next(const std::function<bool(ConstBytes)>& is_meant) {
        std::vector<std::uint8_t> packet;
        wait_until([&] {
            packet.resize(65536);
            const auto size = ::recv(socket_.number(), packet.data(), packet.size(), 0);
            packet.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
            return !packet.empty() && is_meant(packet);
        });
        return packet;
    }

private:
    Descriptor socket_;
};

}  // namespace dstm::dataplane::testing
