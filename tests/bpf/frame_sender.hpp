// Ethernet frames with an 802.1Q tag, as a switch would send them; no VLANs of the kernel needed.
#pragma once

#include <array>
#include <cstring>
#include <sstream>
#include <string>
#include <vector>

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "common/base/bytes.hpp"
#include "tests/unit/dataplane/tun_campus.hpp"

namespace dstm::dataplane::testing {

using LinkBytes = std::array<std::uint8_t, 6>;

inline LinkBytes link_address(const Namespace& host, const std::string& interface) {
    std::istringstream text(host.exec("cat /sys/class/net/" + interface + "/address"));
    LinkBytes out{};
    std::string part;
    for (auto& byte : out) {
        std::getline(text, part, ':');
        byte = static_cast<std::uint8_t>(std::stoul(part, nullptr, 16));
    }
    return out;
}

class FrameSender {
public:
    FrameSender(const Namespace& host, const std::string& interface, const LinkBytes& to)
        : socket_(host.in([&] {
              Descriptor out(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
              sockaddr_ll local{};
              local.sll_family = AF_PACKET;
              local.sll_ifindex = static_cast<int>(::if_nametoindex(interface.c_str()));
              const auto* address = reinterpret_cast<const sockaddr*>(&local);
              EXPECT_EQ(::bind(out.number(), address, sizeof local), 0);
              return out;
          })),
          to_(to) {}

    void send(std::uint16_t vlan, const std::vector<std::uint8_t>& ipv6) const {
        std::vector<std::uint8_t> frame(18);
        std::memcpy(frame.data(), to_.data(), to_.size());
        frame[6] = 2;  // from some station
        store16(frame, 12, ETH_P_8021Q);
        store16(frame, 14, vlan);
        store16(frame, 16, ETH_P_IPV6);
        frame.insert(frame.end(), ipv6.begin(), ipv6.end());
        EXPECT_EQ(::send(socket_.number(), frame.data(), frame.size(), 0),
                  static_cast<ssize_t>(frame.size()));
    }

private:
    Descriptor socket_;
    LinkBytes to_;
};

// From the first client of the campus to the server.
inline std::vector<std::uint8_t> echo_in_ipv6() {
    std::vector<std::uint8_t> inner(28);
    inner[0] = 0x45;
    store16(inner, 2, 28);
    inner[8] = 64;
    inner[9] = 1;
    store_ipv4(inner, 12, v4("192.0.2.7"));
    store_ipv4(inner, 16, v4("203.0.113.80"));
    store16(inner, 10, internet_checksum(inner));
    inner[20] = 8;
    const std::vector<std::uint8_t> echo(inner.begin() + 20, inner.end());
    store16(inner, 22, internet_checksum(echo));
    std::vector<std::uint8_t> outer(40);
    outer[0] = 0x60;
    store16(outer, 4, 28);
    outer[6] = 4;
    outer[7] = 64;
    store_ipv6(outer, 8, v6("2001:db8:1::5"));
    store_ipv6(outer, 24, v6("2001:db8:2::1"));
    outer.insert(outer.end(), inner.begin(), inner.end());
    return outer;
}

}  // namespace dstm::dataplane::testing
