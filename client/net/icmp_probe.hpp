// ICMP or ICMPv6 echo through the tunnel (RFC 5572 s4.6, RFC 792, RFC 4443): a raw socket on the
// tunnel's device, so that neither routes nor other interfaces decide where the echo goes.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "client/ports.hpp"

namespace boost::asio {
class io_context;
}

namespace dstm::client {

struct EchoPacket {
    std::uint16_t identifier = 0;
    std::uint16_t sequence = 0;
    std::size_t payload_size = 0;  // of a request, zeros

    bool operator==(const EchoPacket&) const = default;
};

// An ICMP echo request without IP header, checksum set.
[[nodiscard]] std::vector<std::uint8_t> write_echo_request(const EchoPacket& echo);
// From an IPv4 packet as a raw socket delivers it; nullopt when it is no echo reply or damaged.
[[nodiscard]] std::optional<EchoPacket> read_echo_reply(std::span<const std::uint8_t> packet);

// The same for ICMPv6, whose checksum is the kernel's business; a raw socket delivers the message
// without the IPv6 header.
[[nodiscard]] std::vector<std::uint8_t> write_echo_request_v6(const EchoPacket& echo);
[[nodiscard]] std::optional<EchoPacket> read_echo_reply_v6(std::span<const std::uint8_t> message);

// "Fragmentation needed" (RFC 1191 s4) or "packet too big" (RFC 4443 s3.2), of the family of the
// addresses, about an echo reply from `to` to `from`; as the two above without IP header, and
// without checksum for ICMPv6.
[[nodiscard]] std::vector<std::uint8_t> write_too_big(const IpAddress& from, const IpAddress& to,
                                                      std::uint32_t mtu);

// `handler` is called on the context's thread. `context` outlives the result.
[[nodiscard]] std::unique_ptr<EchoProbe> make_icmp_probe(boost::asio::io_context& context,
                                                         std::string device, EventHandler handler);

}  // namespace dstm::client
