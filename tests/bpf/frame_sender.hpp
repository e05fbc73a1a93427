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

    void send(std::uint16_t vlan, std::uint16_t ethertype,
              const std::vector<std::uint8_t>& packet) const {
        std::vector<std::uint8_t> frame(18);
        std::memcpy(frame.data(), to_.data(), to_.size());
        frame[6] = 2;  // from some station
        store16(frame, 12, ETH_P_8021Q);
        store16(frame, 14, vlan);
        store16(frame, 16, ethertype);
        frame.insert(frame.end(), packet.begin(), packet.end());
        EXPECT_EQ(::send(socket_.number(), frame.data(), frame.size(), 0),
                  static_cast<ssize_t>(frame.size()));
    }

private:
    Descriptor socket_;
    LinkBytes to_;
};

}  // namespace dstm::dataplane::testing
