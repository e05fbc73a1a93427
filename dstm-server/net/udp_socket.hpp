// One UDP socket that knows to which of this host's addresses each datagram came, and sends replies
// from there (RFC 3542 s6, IP_PKTINFO of ip(7)). A reply from another address would be taken for
// nobody's by the client, and by any NAT before it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "common/base/ip_address.hpp"
#include "common/base/result.hpp"
#include "common/io/asio.hpp"

namespace dstm::server::net {

class UdpSocket {
public:
    struct Received {
        std::string_view bytes;  // in the buffer that was given
        bool is_cut = false;     // the datagram was longer than the buffer
        IpEndpoint peer;
        IpAddress local;
        std::uint32_t interface = 0;  // only of a link-local peer, whose address needs it
    };

    explicit UdpSocket(asio::io_context& events) : socket_(events) {}

    // `only_v6`: an IPv6 address does not serve IPv4 as well.
    [[nodiscard]] Result<void> open(const IpEndpoint& endpoint, bool only_v6);
    // nullopt: nothing more to read now.
    [[nodiscard]] std::optional<Received> receive(std::span<char> buffer);
    // False: the kernel would not take it.
    [[nodiscard]] bool send(std::string_view bytes, const IpEndpoint& peer, const IpAddress& local,
                            std::uint32_t interface);
    [[nodiscard]] IpEndpoint local_endpoint() const;

    template <class Handler>
    void when_readable(Handler handler) {
        socket_.async_wait(asio::socket_base::wait_read, std::move(handler));
    }

private:
    asio::ip::udp::socket socket_;
};

}  // namespace dstm::server::net
